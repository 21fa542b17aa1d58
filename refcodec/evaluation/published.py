"""Published coding pipelines, complete and decodable, to run on the tensors of an RFV file.

The pipeline of masked wavelet fields (Rho et al., arXiv 2212.09069) as its code does it:
values that the mask keeps, 8 bits each, as they are; mask bits sub-band by sub-band with
channels innermost, packed into bytes, run-length coded as pairs (byte, run of at most
127), and all runs of all tensors coded with one Huffman code. Where the published code
stores Python objects for shapes and code trees, the containers here store a few bytes, so
that only the coding is compared.

And independent frames: each tensor quantised to 8 bits over its
range and entropy coded with static tables, as an RFV file.
"""
from __future__ import annotations

import heapq
import io
import math
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ..decoding import DecodedTensor, Frame, SequenceDecoder
from ..quantisation import Candidates, TensorTools, quantise_frame
from ..syntax.coding import STEP_INDICES, Tools, step_of
from ..syntax.headers import Mapping, SequenceHeader, TensorInfo
from ..syntax.units import UnitReader
from ..tensors.passes import box
from ..tensors.significance import coded_mask
from ..tensors.wavelet import box_sizes
from ..writer import StreamWriter

_LONGEST_RUN = 127  # of a pair: the published code stores runs as int8
_HEADER = struct.Struct("<4HBBi")  # shape, levels, bytes of a value, smallest value


# The symbols of a file.


@dataclass(frozen=True, slots=True)
class TensorSymbols:
    """One tensor of one frame as the file codes it.

    values: int32 (C, z, y, x), its quantised coefficients, 0 where none is coded; mask: bool,
    the elements that are coded; cells: bool (z, y, x), those that the occupancy leaves,
    None: all. value_bytes, mask_bytes: of entropy-coded data. model_id, mask_model_id: of
    the models; mask_model_id None without a coded mask.
    """

    tensor_id: int
    info: TensorInfo
    tools: Tools
    values: np.ndarray
    mask: np.ndarray
    cells: np.ndarray | None
    value_bytes: int
    mask_bytes: int
    model_id: int
    mask_model_id: int | None


@dataclass(frozen=True, slots=True)
class FrameSymbols:
    """The tensors that a frame carries, and the bytes of each model that it defines, by model_id."""

    frame: Frame
    tensors: tuple[TensorSymbols, ...]
    models: dict[int, int]


def coded_frames(path: str | Path) -> Iterator[FrameSymbols]:
    """Decodes a file and hands out its quantised values. Raises BitstreamError."""
    with open(path, "rb") as file:
        reader = UnitReader(file)
        found: list[DecodedTensor] = []
        decoder = SequenceDecoder(reader.read_file_header(), on_tensor=found.append)
        for unit in reader.units():
            found.clear()
            if (frame := decoder.feed(unit)) is not None:
                yield FrameSymbols(frame, tuple(map(_coded_tensor, found)), _model_bytes(frame))


def _coded_tensor(found: DecodedTensor) -> TensorSymbols:
    t, layout = found.syntax, found.bound.layout
    where = layout.mask if layout.mask is not None else np.ones(layout.shape[1:], bool)
    values, mask = np.zeros(layout.shape, np.int32), np.zeros(layout.shape, bool)
    values[:, where], mask[:, where] = found.values.T, found.selected.T if found.selected is not None else True
    tools = found.bound.tools
    return TensorSymbols(t.tensor_id, found.bound.info, tools, values, mask, layout.mask, len(t.value_data),
                         len(t.mask_data or b""), t.model_ref, t.mask_model_ref if tools.masked else None)


def _model_bytes(frame: Frame) -> dict[int, int]:
    sizes = {m.model_id: 0 for m in frame.syntax.model}
    order = list(sizes)
    for span in frame.trace.spans:
        if found := re.match(r"frame\.model\[(\d+)\]", span.path):
            sizes[order[int(found[1])]] += span.length
    return sizes


# Huffman coding of bytes.


def huffman_encode(symbols: np.ndarray) -> bytes:
    """uint8 (n,) -> count, code lengths of the symbols that occur, and the coded bits."""
    lengths = _code_lengths(np.bincount(symbols, minlength=256))
    codes = _canonical_codes(lengths)
    size = lengths[symbols]
    ends = np.cumsum(size)
    bits = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    for place in range(int(lengths.max(initial=0))):  # bit `place` of all codes at once, the first bit first
        has = np.flatnonzero(size > place)
        bits[ends[has] - size[has] + place] = codes[symbols[has]] >> (size[has] - 1 - place) & 1
    occurring = np.flatnonzero(lengths)
    table = np.stack([occurring, lengths[occurring]], 1).astype(np.uint8)
    return struct.pack("<IH", len(symbols), len(occurring)) + table.tobytes() + np.packbits(bits).tobytes()


def huffman_decode(data: bytes) -> tuple[np.ndarray, int]:
    """Inverse of `huffman_encode`: the symbols, and the number of bytes they took."""
    count, occurring = struct.unpack_from("<IH", data)
    at = 6 + 2 * occurring
    table = np.frombuffer(data, np.uint8, 2 * occurring, 6).reshape(-1, 2)
    lengths = np.zeros(256, np.int64)
    lengths[table[:, 0]] = table[:, 1]
    codes = _canonical_codes(lengths)
    symbol_of = {(int(lengths[s]), int(codes[s])): s for s in table[:, 0].tolist()}
    bits = np.unpackbits(np.frombuffer(data, np.uint8, offset=at)).tolist()
    out, place = np.empty(count, np.uint8), 0
    for i in range(count):
        length = code = 0
        while (length, code) not in symbol_of:
            code, length, place = code << 1 | bits[place], length + 1, place + 1
        out[i] = symbol_of[length, code]
    return out, at + -(-place // 8)


def _code_lengths(counts: np.ndarray) -> np.ndarray:
    """Length of each symbol's code, 0 where it does not occur; a lone symbol has one bit."""
    heap: list[tuple[int, int, tuple[int, ...]]] = [(int(n), s, (s,)) for s, n in enumerate(counts.tolist()) if n]
    lengths = np.zeros(len(counts), np.int64)
    if len(heap) == 1:
        lengths[heap[0][1]] = 1
    heapq.heapify(heap)
    while len(heap) > 1:
        (a, tie, some), (b, _, others) = heapq.heappop(heap), heapq.heappop(heap)
        lengths[list(some + others)] += 1
        heapq.heappush(heap, (a + b, tie, some + others))
    return lengths


def _canonical_codes(lengths: np.ndarray) -> np.ndarray:
    """Codes in the order of length and symbol."""
    codes, code, before = np.zeros(len(lengths), np.int64), 0, 0
    for s in sorted(np.flatnonzero(lengths).tolist(), key=lambda s: (lengths[s], s)):
        code <<= int(lengths[s]) - before
        codes[s], before = code, int(lengths[s])
        code += 1
    return codes


# Masks.


Cells = Sequence[np.ndarray | None] | None  # bool (z, y, x) for each tensor, or None for all of its cells


def _segments(shape: Sequence[int], levels: int, within: np.ndarray | None) -> list[np.ndarray]:
    """Flat positions (C, z, y, x) of each sub-band's elements, finest level first, in the order of the mask's bits.

    The orientations of a level one after the other; in each, raster order of the
    cells, channels innermost. within: bool (z, y, x), the cells that count, None: all.
    """
    channels, *spatial = shape
    cells = np.arange(np.prod(spatial)).reshape(spatial)
    sizes, boxes = box_sizes(levels, spatial), []
    for size, low in zip(sizes, sizes[1:]):
        halves = [((0, a), (a, n)) for a, n in zip(low, size)]
        for which in range(1, 8):  # bit a: the upper half of axis a
            boxes.append(cells[tuple(slice(*halves[a][which >> a & 1]) for a in range(3))])
    boxes.append(cells[box(sizes[-1])])
    if within is not None:
        boxes = [b[within.reshape(-1)[b]] for b in boxes]
    return [(b.reshape(-1, 1) + cells.size * np.arange(channels)).reshape(-1) for b in boxes if b.size]


def _pairs(data: np.ndarray) -> np.ndarray:
    """Run-length pairs (byte, run) of uint8 (n,): uint8 (2 * runs,)."""
    starts = np.flatnonzero(np.r_[True, data[1:] != data[:-1]]) if len(data) else np.zeros(0, np.int64)
    runs = np.diff(np.r_[starts, len(data)])
    pieces = -(-runs // _LONGEST_RUN)
    values, out = np.repeat(data[starts], pieces), np.full(int(pieces.sum()), _LONGEST_RUN, np.int64)
    out[np.cumsum(pieces) - 1] = runs - (pieces - 1) * _LONGEST_RUN
    return np.stack([values, out.astype(np.uint8)], 1).reshape(-1)


def rle_huffman(masks: Sequence[np.ndarray], levels: Sequence[int], cells: Cells = None) -> bytes:
    """Masks by packed bits, run lengths and Huffman codes. masks: bool (C, z, y, x) each; levels: of their
    wavelet transforms, 0 for none. cells: those outside of which no mask is set and the decoder knows it."""
    runs = [_pairs(np.packbits(mask.reshape(-1)[segment]))
            for mask, n, within in zip(masks, levels, cells or [None] * len(masks), strict=True)
            for segment in _segments(mask.shape, n, within)]
    return huffman_encode(np.concatenate(runs) if runs else np.zeros(0, np.uint8))


def rle_huffman_inverse(data: bytes, shapes: Sequence[Sequence[int]], levels: Sequence[int], cells: Cells = None
                        ) -> tuple[list[np.ndarray], int]:
    """Inverse of `rle_huffman`: the masks, and the number of bytes they took."""
    pairs, used = huffman_decode(data)
    packed = np.repeat(pairs[0::2], pairs[1::2])
    masks, at = [], 0
    for shape, n, within in zip(shapes, levels, cells or [None] * len(levels), strict=True):
        mask = np.zeros(int(np.prod(shape)), bool)
        for segment in _segments(shape, n, within):
            size = -(-len(segment) // 8)
            mask[segment] = np.unpackbits(packed[at : at + size], count=len(segment)).astype(bool)
            at += size
        masks.append(mask.reshape(shape))
    return masks, used


# The whole pipeline of masked wavelet fields.


def masked_wavelet_pipeline(values: Sequence[np.ndarray], masks: Sequence[np.ndarray],
                            levels: Sequence[int] | None = None, cells: Cells = None) -> bytes:
    """Quantised coefficients and their masks as the published pipeline stores them.

    values: int (C, z, y, x) each; masks: bool of the same shapes, True where a value is
    kept. levels: of the wavelet transforms, None: 0 for all. cells: see `rle_huffman`. A kept value takes 8 bits,
    or 16 in a tensor whose values span more than 256 numbers (the published code
    quantises to 8 bits; here nothing may be lost).
    """
    levels = list(levels) if levels is not None else [0] * len(values)
    out = [struct.pack("<H", len(values))]
    kept = [v[m].astype(np.int64) for v, m in zip(values, masks, strict=True)]
    widths = []
    for v, k, n in zip(values, kept, levels, strict=True):
        low = int(k.min()) if k.size else 0
        spread = int(k.max()) - low if k.size else 0
        if spread >= 1 << 16:
            raise ValueError(f"values span {spread} steps; the pipeline has 16 bits at most")
        widths.append(np.uint8 if spread < 256 else np.dtype("<u2"))
        out.append(_HEADER.pack(*v.shape, n, np.dtype(widths[-1]).itemsize, low))
    out.append(rle_huffman(masks, levels, cells))
    out += [(k - (k.min() if k.size else 0)).astype(width).tobytes() for k, width in zip(kept, widths)]
    return b"".join(out)


def masked_wavelet_inverse(data: bytes, cells: Cells = None) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Inverse of `masked_wavelet_pipeline`: values (0 where masked) and masks."""
    count, = struct.unpack_from("<H", data)
    at = 2 + count * _HEADER.size
    headers = [_HEADER.unpack_from(data, 2 + i * _HEADER.size) for i in range(count)]
    masks, used = rle_huffman_inverse(data[at:], [h[:4] for h in headers], [h[4] for h in headers], cells)
    at += used
    values = []
    for (*_, width, low), mask in zip(headers, masks):
        kept = np.frombuffer(data, f"<u{width}", int(mask.sum()), at).astype(np.int64) + low
        at += kept.size * width
        tensor = np.zeros(mask.shape, np.int32)
        tensor[mask] = kept
        values.append(tensor)
    return values, masks


# Independent frames.

class Recodable(Protocol):
    """The parts of a `decoding.Frame` that re-encoding a field reads."""

    @property
    def header(self) -> SequenceHeader: ...

    @property
    def time_stamp(self) -> int: ...

    @property
    def occupancy(self) -> np.ndarray | None: ...

    @property
    def tensors(self) -> Sequence[np.ndarray]: ...


def independent_frames(frames: Sequence[Recodable], bits: int = 8, occupied_only: bool = True) -> bytes:
    """An RFV file of I-frames: every tensor quantised to `bits` bits over its range, static tables.

    frames: decoded frames of any representation, trained without a rate. Cells outside the support of the occupied
    voxels are left out, as in any other file, unless `occupied_only` is
    False, and each tensor has the tables that code it in the fewest bytes, so that the comparison is of coding alone.
    Networks have 8 bits at least.
    """

    def step(info: TensorInfo, values: np.ndarray) -> int:
        spread = int(values.max()) - int(values.min()) if values.size else 0
        return _step_at_least(spread, (1 << (bits if info.mapping != Mapping.NONE else max(bits, 8))) - 2)

    return requantised(frames, step, occupied_only)


def requantised(frames: Sequence[Recodable], step: Callable[[TensorInfo, np.ndarray], int],
                occupied_only: bool = True, candidates: Candidates | None = None) -> bytes:
    """An RFV file of I-frames with the same fields, their tensors quantised again.

    step(info, values): `step_index` for integers (C, coded cells): those of the cells in the support of the occupied
    voxels or, without `occupied_only`, all. candidates: see `refcodec.quantisation.quantise_frame`.
    """
    header, out = frames[0].header, io.BytesIO()
    writer = StreamWriter(out, header)
    writer.begin()
    for position, frame in enumerate(frames):
        writer.begin_group(position, 1)
        tools = {}
        for i, (info, tensor) in enumerate(zip(header.tensors, frame.tensors)):
            occupancy = frame.occupancy if occupied_only and info.mapping != Mapping.NONE else None
            coded = tensor if occupancy is None else tensor[:, coded_mask(header, info, occupancy)]
            tools[i] = TensorTools(math.ldexp(*step_of(step(info, coded))) * 2.0**-info.frac_bits)
        values = [t * 2.0**-info.frac_bits for t, info in zip(frame.tensors, header.tensors)]
        writer.write_frame(quantise_frame(writer.state, values, tools, number=position, time_stamp=frame.time_stamp,
                                          occupancy=frame.occupancy, occupied_only=occupied_only,
                                          candidates=candidates))
    writer.finish()
    return out.getvalue()


def _step_at_least(spread: int, steps: int) -> int:
    """`step_index` of the smallest step size of which `steps` cover a spread of whole numbers."""
    return next(i for i in range(STEP_INDICES) if math.ldexp(*step_of(i)) * steps >= spread)
