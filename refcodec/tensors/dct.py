"""The block DCT: an integer DCT of blocks of eight cells along each axis (spec 7.5.2)."""
from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from ..deferred import Deferred
from ..syntax.tools import Spatial, Stage, Transform
from .passes import INT32_MAX, INT32_MIN, PIECE, SPATIAL_AXES, box, in_pieces, root_mean

if TYPE_CHECKING:
    import numpy as np
else:
    np = Deferred("numpy")

BLOCK = 8  # cells of a block along an axis
SHIFT = 14
# Row u holds the cosine of frequency u, times 2**SHIFT.
ROWS = (
    (5793, 5793, 5793, 5793, 5793, 5793, 5793, 5793),
    (8035, 6811, 4551, 1598, -1598, -4551, -6811, -8035),
    (7568, 3135, -3135, -7568, -7568, -3135, 3135, 7568),
    (6811, -1598, -8035, -4551, 4551, 8035, 1598, -6811),
    (5793, -5793, -5793, 5793, 5793, -5793, -5793, 5793),
    (4551, -8035, 1598, 6811, -6811, -1598, 8035, -4551),
    (3135, -7568, 7568, -3135, -3135, 7568, -7568, 3135),
    (1598, -4551, 6811, -8035, 8035, -6811, 4551, -1598))


class _BlockDct(Transform):
    option, bands, by_frequency, compiled = "dct", "4", True, True

    def coefficient_shape(self, spatial: Sequence[int]) -> Spatial:
        z, y, x = (block_count(n) * BLOCK if n > 1 else n for n in spatial)
        return z, y, x

    def block_counts(self, shape: Sequence[int]) -> Spatial:
        z, y, x = (n // BLOCK if n > 1 else 1 for n in shape)
        return z, y, x

    def band_map(self, levels: int, spatial: Sequence[int]) -> np.ndarray:
        shape = self.coefficient_shape(spatial)
        bands = np.zeros(shape, np.uint8)
        of_frequency = np.array([u.bit_length() for u in range(BLOCK)], np.uint8)
        for axis, (n, size) in enumerate(zip(spatial, shape)):
            if n > 1:
                along = np.repeat(of_frequency, size // BLOCK)
                bands = np.maximum(bands, along.reshape([-1 if a == axis else 1 for a in range(3)]))
        return bands

    def support(self, levels: int, mask: np.ndarray) -> np.ndarray:
        spatial, out = mask.shape, mask
        for axis in SPATIAL_AXES:
            if spatial[axis] > 1:
                marked = np.logical_or.reduceat(out, range(0, spatial[axis], BLOCK), axis=axis)
                out = np.concatenate([marked] * BLOCK, axis=axis)
        return out

    def inverse(self, levels: int, coefficients: np.ndarray, spatial: Sequence[int]) -> np.ndarray:
        return in_pieces(lambda piece: _inverse(piece, spatial), coefficients)

    def forward(self, levels: int, values: np.ndarray) -> np.ndarray:
        """Clamped to 32 bits after every pass. Where nothing is clamped, `inverse` returns the values
        within 1.9, 6.7 or 19.4 units for 1, 2 or 3 axes, plus 2e-4, 4e-4 or 6e-4 of the largest magnitude."""
        return in_pieces(_forward, values)

    def stages(self, levels: int, spatial: Sequence[int]) -> list[Stage]:
        along = [(axis, spatial[axis]) for axis in SPATIAL_AXES if spatial[axis] > 1]
        axes, lengths = zip(*along) if along else ((), ())
        return [Stage(None, axes, lengths, _cells_from_frequencies, _frequencies_from_cells)]

    def gains(self, levels: int, spatial: Sequence[int]) -> tuple[float, ...]:
        boxes = [_energy(n) for n in spatial]
        energies = [math.prod(e[band] for e, _ in boxes) for band in range(4)]
        counts = [math.prod(c[band] for _, c in boxes) for band in range(4)]
        return tuple(root_mean(e, c) for e, c in zip(np.diff(energies, prepend=0.0).tolist(),
                                                     np.diff(counts, prepend=0).tolist()))


_BlockDct.add(1, "BLOCK_DCT")


def block_count(n: int) -> int:
    """Blocks along an axis of n > 1 cells."""
    return -(-n // BLOCK)


@lru_cache(maxsize=1)
def matrix() -> np.ndarray:
    """`ROWS`, int64 (frequency, cell)."""
    return np.array(ROWS, np.int64)


def _inverse(values: np.ndarray, spatial: Sequence[int]) -> np.ndarray:
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
    blocks, exact = blocks.astype(np.float64), matrix().astype(np.float64)
    for _ in SPATIAL_AXES:  # each pass takes the last axis and makes it the first of the three
        if blocks.shape[-1] > 1:
            lines = blocks.reshape(-1, BLOCK) @ exact
            lines += 1 << (SHIFT - 1)
            lines *= 2.0**-SHIFT
            np.floor(lines, out=lines)
            blocks = np.clip(lines, INT32_MIN, INT32_MAX, out=lines).reshape(blocks.shape)
        blocks = np.moveaxis(blocks, -1, 1)
    return blocks


def _forward(values: np.ndarray) -> np.ndarray:
    for axis in reversed(SPATIAL_AXES):
        if values.shape[axis] > 1:
            values = _to_frequencies(values, axis)
    return values


def _to_frequencies(values: np.ndarray, axis: int) -> np.ndarray:
    """Coefficients along one axis; the last cell is repeated to fill the last block."""
    at, count = axis + values.ndim, block_count(values.shape[axis])
    places = np.minimum(np.arange(count * BLOCK), values.shape[axis] - 1)
    padded = np.take(values, places, axis=axis)
    blocks = padded.reshape(*values.shape[:at], count, BLOCK, *values.shape[at + 1 :])
    return np.moveaxis(_product(matrix(), blocks, at + 1), 0, at).reshape(padded.shape)


def _product(factor: np.ndarray, blocks: np.ndarray, axis: int) -> np.ndarray:
    """The matrix times the given axis of `blocks`, which becomes the first, scaled back and clamped."""
    total = np.tensordot(factor, blocks, (1, axis))  # below 2**47
    total += 1 << (SHIFT - 1)
    total >>= SHIFT
    return np.clip(total, INT32_MIN, INT32_MAX, out=total)


@lru_cache
def _energy(n: int) -> tuple[list[float], list[int]]:
    """Of the positions along an axis in band b or below, for b = 0 .. 3: their energy in the cells and number."""
    if n == 1:
        return [1.0] * 4, [1] * 4
    frequency = np.square(_cells_from_frequencies(n)).sum(0).reshape(BLOCK, -1).sum(1)
    return [float(frequency[: 1 << b].sum()) for b in range(4)], [block_count(n) << b for b in range(4)]


def _cells_from_frequencies(n: int) -> np.ndarray:
    """(n, 8 * blocks): one inverse pass of the block DCT (spec 7.5.2)."""
    blocks = block_count(n)
    found: np.ndarray = np.einsum("ui,ab->aiub", matrix() * 2.0**-SHIFT, np.eye(blocks))
    return found.reshape(BLOCK * blocks, BLOCK * blocks)[:n]


def _frequencies_from_cells(n: int) -> np.ndarray:
    """(8 * blocks, n): one forward pass; the last cell is repeated to fill the last block."""
    blocks = block_count(n)
    found = np.einsum("ui,ab->ubai", matrix() * 2.0**-SHIFT, np.eye(blocks))
    found = found.reshape(BLOCK * blocks, BLOCK * blocks)
    found[:, n - 1] = found[:, n - 1 :].sum(1)
    return np.ascontiguousarray(found[:, :n])
