"""Block DCT with JPEG's quantisation tables and Huffman codes (the way of ReRF, Wang et al., CVPR 2023).

An I-frame codes every grid, plane and line, a P-frame its residual on the frame before as
the decoder has it: blocks of 8 cells along each axis, an orthonormal DCT over all of them,
steps from Table K.1 of ITU-T T.81 scaled by a quality from 1 to 100, and JPEG's run-length
symbols under a Huffman code made for the frame. Blocks outside the support of the occupied voxels are left out.
Networks have 8 bits as in `scalar.eight_bits`.
"""
from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from ...syntax.headers import SequenceHeader
from ..published import huffman_decode, huffman_encode
from .base import FieldBaseline, within
from .container import Component, DamagedFile, Packer, Unpacker, read_array, read_fields, write_fields
from .scalar import assemble, eight_bits, eight_bits_inverse
from .sequence import FieldSequence, occupied_cells

SIDE = 8
_LEVELS = 255.0  # a tensor's range is 8-bit samples, as JPEG's tables expect
_END, _ZEROS = 0x00, 0xF0  # end of block; sixteen zeros
_LARGEST = (1 << 15) - 1  # fifteen bits: what a symbol can say
_SCALE = struct.Struct("<f")
_COUNTS = struct.Struct("<II")

# ITU-T T.81, Table K.1 (luminance).
_TABLE = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99]], float)
_K = np.arange(SIDE)
_DCT = np.sqrt(2 / SIDE) * np.cos(np.pi * np.outer(_K, 2 * _K + 1) / (2 * SIDE))
_DCT[0] *= 0.5**0.5


def steps(dimensions: int, quality: int) -> np.ndarray:
    """Quantisation step sizes of a block, (8,) * dimensions, by the quality scale of the Independent JPEG Group.

    Table K.1 in two dimensions; in one and three the mean of its entries whose two
    frequencies have the same sum, the last one beyond.
    """
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    table = np.maximum(np.floor((_TABLE * scale + 50) / 100), 1)
    if dimensions == 2:
        return table
    sums = np.add.outer(_K, _K)
    means = np.array([table[sums == s].mean() for s in range(2 * SIDE - 1)])
    frequencies = _frequency_sums(dimensions)
    found: np.ndarray = means[np.minimum(frequencies, 2 * SIDE - 2)]
    return found


def _scan(dimensions: int) -> np.ndarray:
    """Flat positions of a block's coefficients, low frequencies first."""
    return np.argsort(_frequency_sums(dimensions).reshape(-1), kind="stable")


def _frequency_sums(dimensions: int) -> np.ndarray:
    """The sum of each coefficient's frequencies along the axes of a block, (8,) * dimensions."""
    sums: np.ndarray = np.indices((SIDE,) * dimensions).sum(0)
    return sums


def _transformed(blocks: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The matrix along every axis of blocks (n, 8, ...)."""
    for axis in range(1, blocks.ndim):
        blocks = np.moveaxis(np.tensordot(matrix, blocks, (1, axis)), 0, axis)
    return blocks


def to_blocks(values: np.ndarray) -> np.ndarray:
    """(C, z, y, x) -> (blocks, 8, ...): one axis for each with more than one cell, padded with its last cells."""
    squeezed = values.reshape(values.shape[0], *(n for n in values.shape[1:] if n > 1))
    padded = np.pad(squeezed, [(0, 0), *((0, -n % SIDE) for n in squeezed.shape[1:])], "edge")
    counts = [n // SIDE for n in padded.shape[1:]]
    split = padded.reshape(padded.shape[0], *(m for n in counts for m in (n, SIDE)))
    order = [0, *range(1, split.ndim, 2), *range(2, split.ndim, 2)]
    return split.transpose(order).reshape(-1, *[SIDE] * len(counts))


def from_blocks(blocks: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Inverse of `to_blocks`."""
    sides = [n for n in shape[1:] if n > 1]
    counts = [-(-n // SIDE) for n in sides]
    split = blocks.reshape(shape[0], *counts, *[SIDE] * len(sides))
    order = [0]
    for axis in range(len(sides)):
        order += [1 + axis, 1 + len(sides) + axis]
    padded = split.transpose(order).reshape(shape[0], *(SIDE * n for n in counts))
    return padded[(slice(None), *(slice(n) for n in sides))].reshape(shape)


# Run-length symbols.


def encode_coefficients(coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Integers (blocks, K) in scan order -> symbols uint8 (run << 4 | bits of the value), bits of the values.

    As JPEG: a symbol for each value that is not zero with the zeros before it, `_ZEROS` for
    sixteen more, `_END` after each block; a value's bits are those of its magnitude, all
    inverted where it is negative.
    """
    block, place = np.nonzero(coefficients)
    value = coefficients[block, place].astype(np.int64)
    first = np.r_[True, block[1:] != block[:-1]] if block.size else np.zeros(0, bool)
    run = place - np.where(first, -1, np.r_[0, place[:-1]]) - 1
    size = np.frexp(np.abs(value))[1]
    # Each value is preceded by its long runs; each block is followed by its end.
    lengths = run // 16 + 1
    ends = np.searchsorted(block, np.arange(len(coefficients)), side="right")
    starts = np.r_[0, np.cumsum(lengths)]
    symbols = np.full(starts[-1] + len(coefficients), _ZEROS, np.uint8)
    symbols[starts[1:] - 1 + block] = (run % 16) << 4 | size
    symbols[starts[ends] + np.arange(len(coefficients))] = _END
    coded = np.where(value > 0, value, value + (1 << size) - 1)
    return symbols, _bits(coded, size)


def _bits(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The `sizes` lowest bits of each value, highest first, one after the other."""
    start = np.cumsum(sizes) - sizes
    bits = np.zeros(int(sizes.sum()), np.uint8)
    for place in range(int(sizes.max(initial=0))):
        has = np.flatnonzero(sizes > place)
        bits[start[has] + place] = values[has] >> (sizes[has] - 1 - place) & 1
    return bits


def decode_coefficients(symbols: np.ndarray, bits: np.ndarray, blocks: int, count: int) -> np.ndarray:
    """Inverse of `encode_coefficients`: int64 (blocks, count). Raises DamagedFile."""
    ended = symbols == _END
    if int(ended.sum()) != blocks:
        raise DamagedFile("the baseline's file has another number of blocks than its tensors")
    block = np.cumsum(ended) - ended
    advance = np.where(ended, 0, (symbols >> 4).astype(np.int64) + 1)
    total = np.cumsum(advance)
    before = np.r_[0, total[ended]]
    place = total - before[block] - 1
    size = np.where(ended, 0, symbols & 15).astype(np.int64)
    valued = np.flatnonzero(size)
    if valued.size and place[valued].max() >= count:
        raise DamagedFile("the baseline's file has values beyond the end of a block")
    size, start = size[valued], np.r_[0, np.cumsum(size[valued])]
    if start[-1] > len(bits):
        raise DamagedFile("the baseline's file holds too few bits")
    coded = np.zeros(len(valued), np.int64)
    for k in range(int(size.max(initial=0))):
        has = np.flatnonzero(size > k)
        coded[has] = coded[has] << 1 | bits[start[has] + k]
    positive = coded >> np.maximum(size - 1, 0) & 1
    out = np.zeros((blocks, count), np.int64)
    out[block[valued], place[valued]] = np.where(positive, coded, coded - (1 << size) + 1)
    return out


# The baseline.


class BlockDct(FieldBaseline):
    """Block DCT of grids, planes and lines; residuals on the decoded frame before in P-frames."""

    name, title = "dct", "block DCT, JPEG's tables, Huffman codes, residual frames"
    parameter, values = "quality", (94, 80, 55, 30)

    def check(self, value: float) -> str | None:
        return within(value, 1, 100)

    def encode(self, sequence: FieldSequence, value: float) -> bytes:
        return self.reconstructing(sequence, value)[0]

    def reconstructing(self, sequence: FieldSequence, value: float) -> tuple[bytes, list[dict[int, np.ndarray]]]:
        """The file, and the tensors that the encoder predicts from, by frame and tensor_id."""
        packer, header = Packer(), sequence.header
        write_fields(packer, sequence)
        packer.add(Component.HEADER, bytes([int(value)]))
        before: dict[int, np.ndarray] = {}
        scales: dict[int, float] = {}
        rebuilt = []
        for frame in sequence.frames:
            sent, symbols, bits, tensors = [], [], [], {}
            for i in sequence.grids:
                values = frame.tensors[i]
                if frame.intra:
                    scales[i], = _SCALE.unpack(_SCALE.pack(float(np.ptp(values)) / _LEVELS or 1.0))
                    sent.append(_SCALE.pack(scales[i]))
                kept = _kept_blocks(header, i, frame.occupancy)
                residual = to_blocks(values if frame.intra else values - before[i])[kept]
                quantised = _quantised(residual / scales[i], int(value))
                own_symbols, own_bits = encode_coefficients(quantised)
                symbols.append(own_symbols)
                bits.append(own_bits)
                tensors[i] = _rebuilt(quantised, kept, scales[i], int(value), values.shape,
                                      None if frame.intra else before[i])
            before = tensors
            rebuilt.append(tensors)
            packed = np.packbits(np.concatenate(bits)).tobytes() if bits else b""
            coded = huffman_encode(np.concatenate(symbols)) if symbols else b""
            packer.add(Component.GRIDS, b"".join(sent) + _COUNTS.pack(len(coded), sum(map(len, bits))) + coded + packed)
        networks = eight_bits(packer, Component.NETWORKS, sequence, sequence.networks)
        for tensors, found in zip(rebuilt, networks):
            tensors.update(zip(sequence.networks, found))
        return packer.data(), rebuilt

    def decode(self, data: bytes) -> FieldSequence:
        unpacker = Unpacker(data)
        header, intra, occupancies = read_fields(unpacker)
        quality = int(read_array(unpacker.take(Component.HEADER), np.uint8, 1)[0])
        empty, scales = FieldSequence(header, ()), {}
        frames: list[dict[int, np.ndarray]] = []
        for first, occupancy in zip(intra, occupancies):
            payload, at = unpacker.take(Component.GRIDS), 0
            if first:
                scales = dict(zip(empty.grids, read_array(payload, "<f4", len(empty.grids)).tolist()))
                at = _SCALE.size * len(empty.grids)
            symbols, bits, tensors = *self._read(payload[at:]), {}
            ends = np.flatnonzero(symbols == _END)
            used_blocks = used_symbols = used_bits = 0
            for i in empty.grids:
                shape, kept = header.tensors[i].shape, _kept_blocks(header, i, occupancy)
                count, size = int(kept.sum()), SIDE ** _dimensions(shape)
                if used_blocks + count > len(ends):
                    raise DamagedFile("the baseline's file has too few blocks")
                stop = int(ends[used_blocks + count - 1]) + 1 if count else used_symbols
                own = symbols[used_symbols:stop]
                quantised = decode_coefficients(own, bits[used_bits:], count, size)
                used_blocks, used_symbols = used_blocks + count, stop
                used_bits += int((own[own != _END] & 15).sum())
                tensors[i] = _rebuilt(quantised, kept, scales[i], quality, shape, None if first else frames[-1][i])
            frames.append(tensors)
        networks = eight_bits_inverse(unpacker, Component.NETWORKS, header, intra, empty.networks)
        for tensors, found in zip(frames, networks):
            tensors.update(zip(empty.networks, found))
        return assemble(header, intra, occupancies, frames)

    @staticmethod
    def _read(payload: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Symbols and bits of a frame. Raises DamagedFile."""
        if len(payload) < _COUNTS.size:
            raise DamagedFile("the baseline's file holds a frame without data")
        size, count = _COUNTS.unpack_from(payload)
        coded = payload[_COUNTS.size : _COUNTS.size + size]
        if not coded:
            return np.zeros(0, np.uint8), np.zeros(0, np.uint8)
        try:
            symbols, _ = huffman_decode(coded)
        except (IndexError, struct.error, ValueError, OverflowError, MemoryError):
            raise DamagedFile("the baseline's file holds damaged Huffman codes") from None
        packed = read_array(payload, np.uint8, -(-count // 8), _COUNTS.size + size)
        return symbols, np.unpackbits(packed, count=count)


def _dimensions(shape: Sequence[int]) -> int:
    return sum(n > 1 for n in shape[1:])


def _kept_blocks(header: SequenceHeader, tensor_id: int, occupancy: np.ndarray | None) -> np.ndarray:
    """bool (blocks,): those with a cell in the support of the occupied voxels."""
    cells = occupied_cells(header, tensor_id, occupancy)
    channels = header.tensors[tensor_id].shape[0]
    blocks = to_blocks(cells[None].astype(np.uint8))
    return np.tile(blocks.reshape(len(blocks), -1).any(1), channels)


def _quantised(blocks: np.ndarray, quality: int) -> np.ndarray:
    """Coefficients over their steps, rounded, in scan order: int64 (blocks, K)."""
    dimensions = blocks.ndim - 1
    coefficients = _transformed(blocks.astype(np.float64), _DCT) / steps(dimensions, quality)
    rounded = np.clip(np.round(coefficients), -_LARGEST, _LARGEST).astype(np.int64)
    scanned: np.ndarray = rounded.reshape(len(blocks), -1)[:, _scan(dimensions)]
    return scanned


def _rebuilt(quantised: np.ndarray, kept: np.ndarray, scale: float, quality: int, shape: Sequence[int],
             before: np.ndarray | None) -> np.ndarray:
    """A tensor from its quantised blocks and, in P-frames, the tensor before: float32 (C, z, y, x)."""
    dimensions = _dimensions(shape)
    coefficients = np.zeros((len(quantised), SIDE**dimensions))
    coefficients[:, _scan(dimensions)] = quantised
    coefficients = coefficients.reshape(-1, *[SIDE] * dimensions) * steps(dimensions, quality)
    blocks = np.zeros((len(kept), *[SIDE] * dimensions))
    blocks[kept] = _transformed(coefficients, _DCT.T) * scale
    values = from_blocks(blocks, shape).astype(np.float32)
    return values if before is None else before + values
