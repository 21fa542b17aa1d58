"""The file that a baseline writes: labelled parts, of which every byte is counted.

Magic, then parts: one byte that says what it holds, four bytes of length, the payload.
The header part is a file header and a sequence header as an RFV file has them, so that all
files say the same about the scene. Occupancy is compressed as RFV files may have it: LZMA2,
P-frames as the difference where that is shorter.
"""
from __future__ import annotations

import io
import lzma
import struct
from enum import IntEnum

import numpy as np
from numpy.typing import DTypeLike

from ...decoding import SequenceDecoder
from ...entropy import occupancy as occupancy_coding
from ...entropy.coder import EntropyError
from ...errors import RefcodecError, UsageError
from ...syntax.headers import SequenceHeader
from ...syntax.units import UnitReader
from ...writer import StreamWriter
from .sequence import FieldSequence

MAGIC = b"RFVB"
_LABEL = struct.Struct("<BI")
_SMALLEST_DICTIONARY, _DICTIONARY = 1 << 12, 1 << 24


class Component(IntEnum):
    """Content of a part of the file: the components of a report."""

    HEADER = 1
    OCCUPANCY = 2
    GRIDS = 3
    NETWORKS = 4
    PICTURES = 5
    MASKS = 6


class DamagedFile(UsageError):
    """A baseline's file that its decoder can't read."""


class Packer:
    """Collects the parts of a file."""

    def __init__(self) -> None:
        self._parts = [MAGIC]

    def add(self, part: Component, payload: bytes) -> None:
        self._parts += [_LABEL.pack(part, len(payload)), payload]

    def data(self) -> bytes:
        return b"".join(self._parts)


class Unpacker:
    """Hands out the parts of a file in their order. Raises DamagedFile."""

    def __init__(self, data: bytes):
        if data[: len(MAGIC)] != MAGIC:
            raise DamagedFile("this is not a baseline's file")
        self._data, self._at = data, len(MAGIC)

    def take(self, part: Component) -> bytes:
        found, payload = self._next()
        if found != part:
            raise DamagedFile(f"the baseline's file has {_name(found)} where it needs {_name(part)}")
        return payload

    def components(self) -> dict[str, int]:
        """Bytes of each kind of part, from here to the end; labels and magic as framing."""
        sizes = {"framing": len(MAGIC)}
        while self._at < len(self._data):
            kind, payload = self._next()
            sizes[_name(kind)] = sizes.get(_name(kind), 0) + len(payload)
            sizes["framing"] += _LABEL.size
        return sizes

    def _next(self) -> tuple[int, bytes]:
        try:
            kind, size = _LABEL.unpack_from(self._data, self._at)
        except struct.error:
            raise DamagedFile("the baseline's file ends too early") from None
        start = self._at + _LABEL.size
        if start + size > len(self._data):
            raise DamagedFile("the baseline's file ends too early")
        self._at = start + size
        return kind, self._data[start : self._at]


def _name(kind: int) -> str:
    return Component(kind).name.lower() if kind in list(Component) else f"part {kind}"


def _filters(size: int) -> list[dict[str, int]]:
    dictionary = min(max(size, _SMALLEST_DICTIONARY), _DICTIONARY)
    return [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary}]


def lzma_compress(data: bytes) -> bytes:
    return lzma.compress(data, lzma.FORMAT_RAW, filters=_filters(len(data)))


def lzma_decompress(data: bytes) -> bytes:
    """Inverse of `lzma_compress`. Raises DamagedFile."""
    try:
        return lzma.decompress(data, lzma.FORMAT_RAW, filters=_filters(_DICTIONARY))
    except lzma.LZMAError:
        raise DamagedFile("the baseline's file holds damaged LZMA data") from None


def read_array(data: bytes, dtype: DTypeLike, count: int, offset: int = 0) -> np.ndarray:
    """`numpy.frombuffer` that raises DamagedFile where there is too little."""
    try:
        return np.frombuffer(data, dtype, count, offset)
    except ValueError:
        raise DamagedFile("the baseline's file holds too few values") from None


# What the files of all fields begin with.


def write_fields(packer: Packer, sequence: FieldSequence) -> None:
    """Header, the types of the frames, and their occupancies."""
    out = io.BytesIO()
    StreamWriter(out, sequence.header).begin()
    packer.add(Component.HEADER, out.getvalue() + bytes(f.intra for f in sequence.frames))
    before = None
    for frame in sequence.frames if sequence.header.has_occupancy else ():
        assert frame.occupancy is not None  # the header says so
        packed = occupancy_coding.pack(frame.occupancy)
        choices = [b"\0" + occupancy_coding.compress(packed)]
        if before is not None and not frame.intra:
            difference = (np.frombuffer(packed, np.uint8) ^ np.frombuffer(before, np.uint8)).tobytes()
            choices.append(b"\1" + occupancy_coding.compress(difference))
        packer.add(Component.OCCUPANCY, min(choices, key=len))
        before = packed


def read_fields(unpacker: Unpacker) -> tuple[SequenceHeader, list[bool], list[np.ndarray | None]]:
    """Inverse of `write_fields`: the header, whether each frame is an I-frame, the occupancies."""
    data = unpacker.take(Component.HEADER)
    try:
        reader = UnitReader(io.BytesIO(data))
        decoder = SequenceDecoder(reader.read_file_header())
        unit = reader.read_unit()
        if unit is not None:
            decoder.feed(unit)
        header, intra = decoder.header, [bool(b) for b in data[reader.offset :]]
        if header is None:
            raise DamagedFile("no sequence header")
    except RefcodecError as e:
        raise DamagedFile(f"the header of the baseline's file is damaged: {e}") from None
    if not header.has_occupancy:
        return header, intra, [None] * len(intra)
    occupancies: list[np.ndarray | None] = []
    shape, before = header.occupancy_shape, None
    for _ in intra:
        coded = unpacker.take(Component.OCCUPANCY)
        try:
            packed = occupancy_coding.decompress(coded[1:], -(-header.occupancy_voxels // 8))
        except EntropyError as e:
            raise DamagedFile(f"the occupancy of the baseline's file is damaged: {e}") from None
        if coded[0] and before is not None:
            packed = (np.frombuffer(packed, np.uint8) ^ np.frombuffer(before, np.uint8)).tobytes()
        occupancies.append(occupancy_coding.unpack(packed, shape))
        before = packed
    return header, intra, occupancies
