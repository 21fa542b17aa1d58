"""Baselines without transform: floats under a general compressor, and uniform quantisation.

`eight_bits` is what the other baselines code their networks and lines with.
"""
from __future__ import annotations

import io
import struct
from collections.abc import Sequence

import numpy as np

from ...decoding import open_stream
from ...errors import BitstreamError
from ...inspection import inspect
from ...syntax.headers import SequenceHeader
from ..published import independent_frames
from .base import FieldBaseline, within
from .container import (
    Component,
    DamagedFile,
    Packer,
    Unpacker,
    lzma_compress,
    lzma_decompress,
    read_array,
    read_fields,
    write_fields,
)
from .sequence import FieldFrame, FieldSequence, occupied_cells

_RANGE = struct.Struct("<ff")  # smallest value, step


def quantise(values: np.ndarray, bits: int) -> tuple[bytes, np.ndarray]:
    """Uniformly over the range of `values`: (smallest value and step as two floats, integers uint8)."""
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    sent = _RANGE.pack(low, (high - low) / ((1 << bits) - 1))
    low, step = _RANGE.unpack(sent)
    scaled = (values.astype(np.float64) - low) / step if step else np.zeros(values.shape)
    return sent, np.clip(np.round(scaled), 0, (1 << bits) - 1).astype(np.uint8)


def dequantise(sent: bytes, integers: np.ndarray) -> np.ndarray:
    """float32 values of what `quantise` made."""
    low, step = _RANGE.unpack(sent)
    with np.errstate(over="ignore"):  # of a damaged file
        values: np.ndarray = (low + step * integers.astype(np.float64)).astype(np.float32)
    return values


# Tensors that are a small part of a field.


def eight_bits(packer: Packer, part: Component, sequence: FieldSequence, ids: Sequence[int]) -> list[list[np.ndarray]]:
    """Codes some tensors of all frames with 8 bits over their ranges: a part a frame.

    In P-frames the difference of the integers to the frame before, modulo 256, by LZMA;
    nothing where nothing changed. Returns the reconstruction, by frame and tensor.
    """
    ranges: dict[int, bytes] = {}
    before: dict[int, np.ndarray] = {}
    out = []
    for position, frame in enumerate(sequence.frames):
        payload, changed, rebuilt = [], frame.intra, []
        for i in ids:
            if frame.intra:  # the range of its group
                group = [frame.tensors[i]]
                for later in sequence.frames[position + 1 :]:
                    if later.intra:
                        break
                    group.append(later.tensors[i])
                ranges[i], integers = quantise(np.stack(group), 8)
                integers = integers[0]
                payload.append(ranges[i] + integers.tobytes())
            else:
                low, step = _RANGE.unpack(ranges[i])
                scaled = (frame.tensors[i].astype(np.float64) - low) / step if step else np.zeros(before[i].shape)
                integers = np.clip(np.round(scaled), 0, 255).astype(np.uint8)
                payload.append((integers - before[i]).tobytes())
                changed = changed or not np.array_equal(integers, before[i])
            before[i] = integers
            rebuilt.append(dequantise(ranges[i], integers))
        if ids:
            packer.add(part, lzma_compress(b"".join(payload)) if changed else b"")
        out.append(rebuilt)
    return out


def eight_bits_inverse(unpacker: Unpacker, part: Component, header: SequenceHeader, intra: Sequence[bool],
                       ids: Sequence[int]) -> list[list[np.ndarray]]:
    """The tensors that `eight_bits` coded, by frame. Raises DamagedFile."""
    ranges: dict[int, bytes] = {}
    before: dict[int, np.ndarray] = {}
    out = []
    for first in intra:
        coded = unpacker.take(part) if ids else b""
        data, at, rebuilt = lzma_decompress(coded) if coded else None, 0, []
        for i in ids:
            info = header.tensors[i]
            if data is not None:
                if first:
                    ranges[i], at = data[at : at + _RANGE.size], at + _RANGE.size
                integers = read_array(data, np.uint8, info.size, at).reshape(info.shape)
                at += info.size
                before[i] = integers if first else before[i] + integers
            elif first:
                raise DamagedFile("an I-frame of the baseline's file is empty")
            rebuilt.append(dequantise(ranges[i], before[i]))
        out.append(rebuilt)
    return out


def assemble(header: SequenceHeader, intra: Sequence[bool], occupancies: Sequence[np.ndarray | None],
             tensors: Sequence[dict[int, np.ndarray]]) -> FieldSequence:
    """A sequence of decoded tensors, by frame and tensor_id."""
    return FieldSequence(header, tuple(
        FieldFrame(tuple(values[i] for i in range(len(header.tensors))), occupancy, first)
        for first, occupancy, values in zip(intra, occupancies, tensors, strict=True)))


# Floats.


class Floats(FieldBaseline):
    """All tensors as floating-point numbers, frame by frame, behind a general compressor.

    Networks are sent where they changed. No quality parameter: the number of bits of a value.
    """

    parameter = "bits"

    def __init__(self, compressor: str, bits: int):
        self.compressor, self.values = compressor, (bits,)
        self._dtype = {16: "<f2", 32: "<f4"}[bits]
        self.name = f"float{bits}" + (f"-{compressor}" if compressor != "raw" else "")
        self.title = f"{bits}-bit floats, " + {"raw": "as they are", "zstd": "Zstandard", "lzma": "LZMA"}[compressor]

    def unavailable(self) -> str | None:
        if self.compressor == "zstd":
            try:
                import zstandard  # noqa: F401
            except ImportError:
                return 'the package zstandard is missing: pip install "refcodec[evaluate]"'
        return None

    def check(self, value: float) -> str | None:
        return None if value == self.values[0] else f"its only value is {self.values[0]}"

    def encode(self, sequence: FieldSequence, value: float) -> bytes:
        packer = Packer()
        write_fields(packer, sequence)
        before = None
        for frame in sequence.frames:
            for part, ids in ((Component.GRIDS, sequence.grids), (Component.NETWORKS, sequence.networks)):
                data = b"".join(frame.tensors[i].astype(self._dtype).tobytes() for i in ids)
                if part == Component.NETWORKS and not frame.intra and data == before:
                    data = b""
                elif part == Component.NETWORKS:
                    before = data
                packer.add(part, self._compress(data) if data else b"")
        return packer.data()

    def decode(self, data: bytes) -> FieldSequence:
        unpacker = Unpacker(data)
        header, intra, occupancies = read_fields(unpacker)
        empty = FieldSequence(header, ())
        frames: list[dict[int, np.ndarray]] = []
        for _ in intra:
            values: dict[int, np.ndarray] = {}
            for part, ids in ((Component.GRIDS, empty.grids), (Component.NETWORKS, empty.networks)):
                coded = unpacker.take(part)
                if not coded:
                    if ids and not frames:
                        raise DamagedFile("the first frame of the baseline's file is empty")
                    values |= {i: frames[-1][i] for i in ids}
                    continue
                content, at = self._decompress(coded), 0
                for i in ids:
                    info = header.tensors[i]
                    values[i] = read_array(content, self._dtype, info.size, at).reshape(info.shape).astype(np.float32)
                    at += info.size * np.dtype(self._dtype).itemsize
            frames.append(values)
        return assemble(header, intra, occupancies, frames)

    def _compress(self, data: bytes) -> bytes:
        if self.compressor == "raw":
            return data
        if self.compressor == "lzma":
            return lzma_compress(data)
        import zstandard

        return zstandard.ZstdCompressor(level=22).compress(data)

    def _decompress(self, data: bytes) -> bytes:
        if self.compressor == "raw":
            return data
        if self.compressor == "lzma":
            return lzma_decompress(data)
        import zstandard

        try:
            return zstandard.ZstdDecompressor().decompress(data)
        except zstandard.ZstdError:
            raise DamagedFile("the baseline's file holds damaged Zstandard data") from None


# Independent frames.


class IndependentLzma(FieldBaseline):
    """Every frame by itself: each tensor quantised uniformly over its range, a byte a value, LZMA.

    occupied_only: cells outside the support of the occupied voxels are not sent, and ranges leave them out. Networks
    always have 8 bits.
    """

    parameter, values = "bits", (8, 5, 4, 3)

    def __init__(self, occupied_only: bool):
        self.occupied_only = occupied_only
        self.name = "independent-lzma" + "-occupied" * occupied_only
        self.title = "independent frames, LZMA, " + ("occupied cells" if occupied_only else "all cells")

    def check(self, value: float) -> str | None:
        return within(value, 2, 8)

    def encode(self, sequence: FieldSequence, value: float) -> bytes:
        alone = FieldSequence(sequence.header, tuple(
            FieldFrame(f.tensors, f.occupancy, True) for f in sequence.frames))
        packer = Packer()
        write_fields(packer, alone)
        for frame in alone.frames:
            for part, ids, bits in ((Component.GRIDS, sequence.grids, int(value)),
                                    (Component.NETWORKS, sequence.networks, 8)):
                coded = [quantise(frame.tensors[i][:, self._cells(alone.header, i, frame.occupancy)], bits)
                         for i in ids]
                packer.add(part, b"".join(sent for sent, _ in coded)
                           + lzma_compress(b"".join(integers.tobytes() for _, integers in coded)))
        return packer.data()

    def decode(self, data: bytes) -> FieldSequence:
        unpacker = Unpacker(data)
        header, intra, occupancies = read_fields(unpacker)
        empty, frames = FieldSequence(header, ()), []
        for occupancy in occupancies:
            values: dict[int, np.ndarray] = {}
            for part, ids in ((Component.GRIDS, empty.grids), (Component.NETWORKS, empty.networks)):
                coded = unpacker.take(part)
                ranges = len(ids) * _RANGE.size
                if len(coded) < ranges:
                    raise DamagedFile("the baseline's file holds too few ranges")
                content, at = lzma_decompress(coded[ranges:]), 0
                for k, i in enumerate(ids):
                    shape, cells = header.tensors[i].shape, self._cells(header, i, occupancy)
                    count = shape[0] * int(cells.sum())
                    integers = read_array(content, np.uint8, count, at).reshape(shape[0], -1)
                    at += count
                    values[i] = np.zeros(shape, np.float32)
                    values[i][:, cells] = dequantise(coded[k * _RANGE.size : (k + 1) * _RANGE.size], integers)
            frames.append(values)
        return assemble(header, intra, occupancies, frames)

    def _cells(self, header: SequenceHeader, tensor_id: int, occupancy: np.ndarray | None) -> np.ndarray:
        return occupied_cells(header, tensor_id, occupancy if self.occupied_only else None)


class IndependentRange(FieldBaseline):
    """The same quantisation, range coded with a static table for each tensor, as an RFV file."""

    parameter, values, suffix = "bits", (8, 5, 4, 3), ".rfv"

    def __init__(self, occupied_only: bool):
        self.occupied_only = occupied_only
        self.name = "independent-range" + "-occupied" * occupied_only
        self.title = "independent frames, range coder, " + ("occupied cells" if occupied_only else "all cells")

    def check(self, value: float) -> str | None:
        return within(value, 2, 16)

    def encode(self, sequence: FieldSequence, value: float) -> bytes:
        frames = [_FixedFrame(sequence.header, frame, position) for position, frame in enumerate(sequence.frames)]
        return independent_frames(frames, int(value), self.occupied_only)

    def decode(self, data: bytes) -> FieldSequence:
        try:
            return FieldSequence.of(open_stream(io.BytesIO(data)))
        except BitstreamError as e:
            raise DamagedFile(f"the baseline's file is damaged: {e}") from None

    def components(self, data: bytes) -> dict[str, int]:
        return inspect(io.BytesIO(data)).components()


class _FixedFrame:
    """A field as a decoder would return it: the part of `decoding.Frame` that re-encoding reads."""

    def __init__(self, header: SequenceHeader, frame: FieldFrame, position: int):
        self.header, self.occupancy, self.time_stamp = header, frame.occupancy, position
        self.tensors = [np.round(t.astype(np.float64) * 2.0**i.frac_bits).astype(np.int32)
                        for t, i in zip(frame.tensors, header.tensors)]


