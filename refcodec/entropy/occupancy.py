"""Occupancy bits as a bounded LZMA2 block (spec 6.1.1)."""
from __future__ import annotations

import lzma

import numpy as np

from .coder import EntropyError

DICT_SIZE = 1 << 20
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": DICT_SIZE}]


def pack(occupancy: np.ndarray) -> bytes:
    """bool (z, y, x) -> bits in raster order, x fastest, first voxel in bit 0 of byte 0."""
    return np.packbits(occupancy.reshape(-1), bitorder="little").tobytes()


def unpack(data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Inverse of `pack`."""
    count = shape[0] * shape[1] * shape[2]
    return np.unpackbits(np.frombuffer(data, np.uint8), count=count, bitorder="little").astype(bool).reshape(shape)


def compress(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_RAW, filters=_FILTERS)


def decompress(data: bytes, size: int) -> bytes:
    """At most `size` bytes are ever produced. Raises EntropyError."""
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS)
    try:
        # One byte more than allowed shows an overlong content without inflating it.
        out = decoder.decompress(data, max_length=size + 1)
    except lzma.LZMAError as e:
        raise _fault(str(e).capitalize() or "Corrupt LZMA2 data") from None
    if len(out) != size:
        raise _fault(f"The content has {'more than' if len(out) > size else 'only'} "
                     f"{min(len(out), size)} bytes; {size} are needed")
    if not decoder.eof:
        # The content is complete but its end marker has not been consumed yet.
        try:
            if decoder.decompress(b"", max_length=1) or not decoder.eof:
                raise _fault("The LZMA2 stream has no end")
        except (lzma.LZMAError, EOFError):
            raise _fault("The LZMA2 stream has no end") from None
    if decoder.unused_data:
        raise _fault(f"{len(decoder.unused_data)} bytes follow the LZMA2 stream")
    return out


def decompressed(data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Content of `occupancy_data`: bool `shape`, which is (z, y, x). Raises EntropyError."""
    voxels = shape[0] * shape[1] * shape[2]
    content = decompress(data, (voxels + 7) // 8)
    if voxels % 8 and content[-1] >> voxels % 8:
        raise EntropyError("R-OCC-03", "")
    return unpack(content, shape)


def _fault(detail: str) -> EntropyError:
    return EntropyError("R-OCC-02", f"{detail}.")
