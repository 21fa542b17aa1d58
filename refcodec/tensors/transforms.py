"""Integer block DCT and wavelet of the spatial axes of a tensor (spec 7.5).

Arrays are (..., z, y, x): any leading axes, usually the channels, are transformed side by side.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import EllipsisType

import numpy as np

from ..syntax.coding import BLOCK, Transform, coefficient_shape

SPATIAL_AXES = (-1, -2, -3)  # in the order of the inverse transforms: x, y, z
DCT_SHIFT = 14
# Row u holds the cosine of frequency u, times 2**DCT_SHIFT.
DCT_MATRIX = np.array([
    [5793, 5793, 5793, 5793, 5793, 5793, 5793, 5793],
    [8035, 6811, 4551, 1598, -1598, -4551, -6811, -8035],
    [7568, 3135, -3135, -7568, -7568, -3135, 3135, 7568],
    [6811, -1598, -8035, -4551, 4551, 8035, 1598, -6811],
    [5793, -5793, -5793, 5793, 5793, -5793, -5793, 5793],
    [4551, -8035, 1598, 6811, -6811, -1598, 8035, -4551],
    [3135, -7568, 7568, -3135, -3135, 7568, -7568, 3135],
    [1598, -4551, 6811, -8035, 8035, -6811, 4551, -1598]])
_DCT_EXACT = DCT_MATRIX.astype(np.float64)
LIFTING_SHIFT = 12
# Analysis order: the odd samples, the even, the odd, the even are changed, each from its two neighbours.
LIFTING = (-6497, -217, 3616, 1817)
PIECE = 1 << 16  # values worked on at a time

_INT32 = np.iinfo(np.int32)
Shape3 = tuple[int, int, int]


def block_count(n: int) -> int:
    """DCT blocks along an axis of n > 1 cells."""
    return -(-n // BLOCK)


def box_sizes(levels: int, spatial: Sequence[int]) -> list[tuple[int, ...]]:
    """(z, y, x) of the box of the wavelet's approximation after 0 .. levels levels (spec 7.5.3)."""
    sizes = [tuple(spatial)]
    for _ in range(levels):
        sizes.append(tuple((n + 1) // 2 for n in sizes[-1]))
    return sizes


def box(size: Sequence[int]) -> tuple[EllipsisType | slice, ...]:
    """Index of the corner of that size in an array (..., z, y, x)."""
    return (..., *(slice(n) for n in size))


def band_map(transform: int, levels: int, spatial: Sequence[int]) -> np.ndarray:
    """Band of every coefficient: uint8 of the coefficient shape (spec 7.5.1)."""
    shape = coefficient_shape(transform, levels, spatial)
    bands = np.zeros(shape, np.uint8)
    if transform == Transform.BLOCK_DCT:
        of_frequency = np.array([u.bit_length() for u in range(BLOCK)], np.uint8)
        for axis, (n, size) in enumerate(zip(spatial, shape)):
            if n > 1:
                along = np.repeat(of_frequency, size // BLOCK)
                bands = np.maximum(bands, along.reshape([-1 if a == axis else 1 for a in range(3)]))
    elif transform == Transform.WAVELET:
        for band, outer in enumerate(reversed(box_sizes(levels, spatial)[:-1]), start=1):
            # What is in this box but not in the one inside it.
            region = bands[box(outer)]
            region[_outside(box_sizes(1, outer)[1], outer)] = band
    return bands


def _outside(inner: tuple[int, ...], outer: tuple[int, ...]) -> np.ndarray:
    mask = np.ones(outer, bool)
    mask[box(inner)] = False
    return mask


def inverse(transform: int, levels: int, coefficients: np.ndarray, spatial: Sequence[int]) -> np.ndarray:
    """Values of the cells from the coefficients (spec 7.5.2, 7.5.3).

    coefficients: integers of at most 32 bits, (..., *coefficient shape). Returns int64
    (..., *spatial) within 32 bits. No intermediate reaches 2**48. Raises ValueError for
    coefficients of another shape.
    """
    if coefficients.shape[-3:] != coefficient_shape(transform, levels, spatial):
        raise ValueError(f"coefficients {coefficients.shape[-3:]} do not belong to cells {tuple(spatial)}")
    if transform == Transform.BLOCK_DCT:
        return _in_pieces(lambda piece: _inverse_dct(piece, spatial), coefficients)
    if transform == Transform.WAVELET:
        return _in_pieces(lambda piece: _inverse_wavelet(piece, levels), coefficients)
    return coefficients.astype(np.int64)


def forward(transform: int, levels: int, values: np.ndarray) -> np.ndarray:
    """Coefficients of the cells' values: what an encoder quantises (informative, spec 7.5).

    values: integers of at most 32 bits, (..., z, y, x). Returns int64 (..., *coefficient
    shape), clamped to 32 bits after every pass. Where nothing is clamped, `inverse` of the
    wavelet returns the values exactly, and that of the block DCT within 1.9, 6.7 or 19.4 units
    for 1, 2 or 3 axes, plus 2e-4, 4e-4 or 6e-4 of the largest magnitude.
    """
    if transform == Transform.BLOCK_DCT:
        return _in_pieces(_forward_dct, values)
    if transform == Transform.WAVELET:
        return _in_pieces(lambda piece: _forward_wavelet(piece, levels), values)
    return values.astype(np.int64)


def support_mask(transform: int, levels: int, mask: np.ndarray) -> np.ndarray:
    """Coefficients whose nominal support holds a marked cell (spec 7.5.1).

    mask: bool (z, y, x), the cells. Returns bool of the coefficient shape.
    """
    spatial, out = mask.shape, mask
    if transform == Transform.BLOCK_DCT:
        for axis in SPATIAL_AXES:
            if spatial[axis] > 1:
                marked = np.logical_or.reduceat(out, range(0, spatial[axis], BLOCK), axis=axis)
                out = np.concatenate([marked] * BLOCK, axis=axis)
    elif transform == Transform.WAVELET:
        out = mask.copy()
        for size in box_sizes(levels, spatial)[:-1]:
            region = out[box(size)]
            for axis in SPATIAL_AXES:
                if size[axis] > 1:
                    low = np.logical_or.reduceat(region, range(0, size[axis], 2), axis=axis)
                    both = np.concatenate([low, low], axis=axis)
                    region[...] = np.take(both, range(size[axis]), axis=axis)
    return out


def _in_pieces(operation: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    """The operation on int64 (channels, z, y, x), some channels at a time: pieces that fit a processor's cache."""
    channels = values.reshape(-1, *values.shape[-3:])
    step = max(1, PIECE // channels[0].size)
    done = np.concatenate([operation(channels[i : i + step].astype(np.int64)) for i in range(0, len(channels), step)])
    return done.reshape(*values.shape[:-3], *done.shape[1:])


def _inverse_dct(values: np.ndarray, spatial: Sequence[int]) -> np.ndarray:
    """Of blocks with a coefficient other than zero, some at a time; the others' values are zero."""
    channels, *size = values.shape
    counts = [block_count(n) if n > 1 else 1 for n in spatial]
    sides = [n // count for n, count in zip(size, counts)]
    cells = np.zeros((channels, *(n for pair in zip(counts, sides) for n in pair)), np.int64)
    frequencies = values.reshape(channels, *(n for pair in zip(sides, counts) for n in pair))
    busy = frequencies
    for axis in (1, 2, 3):
        busy = np.bitwise_or.reduce(busy, axis=axis)
    places = np.nonzero(busy)
    # Both as (channel, three numbers of the block, three places in it).
    of_blocks, frequencies = cells.transpose(0, 1, 3, 5, 2, 4, 6), frequencies.transpose(0, 2, 4, 6, 1, 3, 5)
    step = max(1, PIECE // math.prod(sides))
    for start in range(0, len(places[0]), step):
        at = tuple(p[start : start + step] for p in places)
        of_blocks[at] = _block_cells(frequencies[at])
    return cells.reshape(values.shape)[box(spatial)]


def _block_cells(blocks: np.ndarray) -> np.ndarray:
    """Cells (n, z, y, x) of blocks (n, z, y, x) of frequencies, with axes of one or BLOCK.

    All numbers are integers below 2**47, so binary64 is exact, in whatever order products are added.
    """
    blocks = blocks.astype(np.float64)
    for _ in SPATIAL_AXES:  # each pass takes the last axis and makes it the first of the three
        if blocks.shape[-1] > 1:
            lines = blocks.reshape(-1, BLOCK) @ _DCT_EXACT
            lines += 1 << (DCT_SHIFT - 1)
            lines *= 2.0**-DCT_SHIFT
            np.floor(lines, out=lines)
            blocks = np.clip(lines, _INT32.min, _INT32.max, out=lines).reshape(blocks.shape)
        blocks = np.moveaxis(blocks, -1, 1)
    return blocks


def _forward_dct(values: np.ndarray) -> np.ndarray:
    for axis in reversed(SPATIAL_AXES):
        if values.shape[axis] > 1:
            values = _to_frequencies(values, axis)
    return values


def _inverse_wavelet(values: np.ndarray, levels: int) -> np.ndarray:
    """In place."""
    for size in reversed(box_sizes(levels, values.shape[-3:])[:-1]):
        for axis in SPATIAL_AXES:
            if size[axis] > 1:
                _merge(np.moveaxis(values[box(size)], axis, 0))
    return values


def _forward_wavelet(values: np.ndarray, levels: int) -> np.ndarray:
    """In place."""
    for size in box_sizes(levels, values.shape[-3:])[:-1]:
        for axis in reversed(SPATIAL_AXES):
            if size[axis] > 1:
                _split(np.moveaxis(values[box(size)], axis, 0))
    return values


def _to_frequencies(values: np.ndarray, axis: int) -> np.ndarray:
    """Coefficients along one axis; the last cell is repeated to fill the last block."""
    at, count = axis + values.ndim, block_count(values.shape[axis])
    places = np.minimum(np.arange(count * BLOCK), values.shape[axis] - 1)
    padded = np.take(values, places, axis=axis)
    blocks = padded.reshape(*values.shape[:at], count, BLOCK, *values.shape[at + 1 :])
    return np.moveaxis(_product(DCT_MATRIX, blocks, at + 1), 0, at).reshape(padded.shape)


def _product(matrix: np.ndarray, blocks: np.ndarray, axis: int) -> np.ndarray:
    """The matrix times the given axis of `blocks`, which becomes the first, scaled back and clamped."""
    total = np.tensordot(matrix, blocks, (1, axis))  # below 2**47
    total += 1 << (DCT_SHIFT - 1)
    total >>= DCT_SHIFT
    return np.clip(total, _INT32.min, _INT32.max, out=total)


def _merge(lines: np.ndarray) -> None:
    """One level of synthesis along the first axis, in place: low and high part to samples."""
    count = (len(lines) + 1) // 2
    parts = lines[:count].copy(), lines[count:].copy()
    for i in reversed(range(len(LIFTING))):
        parts[(i + 1) % 2][...] -= _lift(parts[i % 2], len(parts[(i + 1) % 2]), i)
    for first, part in enumerate(parts):
        np.clip(part, _INT32.min, _INT32.max, out=lines[first::2])


def _split(lines: np.ndarray) -> None:
    """One level of analysis along the first axis, in place: samples to low and high part."""
    count = (len(lines) + 1) // 2
    parts = lines[0::2].copy(), lines[1::2].copy()
    for i in range(len(LIFTING)):
        parts[(i + 1) % 2][...] += _lift(parts[i % 2], len(parts[(i + 1) % 2]), i)
    np.clip(parts[0], _INT32.min, _INT32.max, out=lines[:count])
    np.clip(parts[1], _INT32.min, _INT32.max, out=lines[count:])


def _lift(source: np.ndarray, count: int, step: int) -> np.ndarray:
    """What lifting step `step` of the analysis adds to `count` samples, given those of the other part."""
    total = neighbour_sums(source, count, step)
    total *= LIFTING[step]
    total += 1 << (LIFTING_SHIFT - 1)
    total >>= LIFTING_SHIFT
    return total


def neighbour_sums(source: np.ndarray, count: int, step: int) -> np.ndarray:
    """Sums of the two neighbours that `count` samples have in `source`, along the first axis (spec 7.5.3).

    step: index of the lifting step; in the odd ones sample k lies between k - 1 and k of `source`, else
    between k and k + 1. Beyond an end lies the mirror image: the same neighbour again.
    """
    before, pairs = step % 2, len(source) - 1
    total = np.empty_like(source, shape=(count, *source.shape[1:]))
    total[:before] = 2 * source[:1]
    np.add(source[:-1], source[1:], out=total[before : before + pairs])
    total[before + pairs :] = 2 * source[-1:]
    return total
