"""The transforms of spec 7.5 without their roundings: differentiable, for training.

Every pass is a product with a matrix. On the sizes of feature planes and grids that beats
lifting steps over slices several times, forwards and backwards.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch

from refcodec.syntax.coding import BLOCK, Transform
from refcodec.tensors.transforms import (
    DCT_MATRIX,
    DCT_SHIFT,
    LIFTING,
    LIFTING_SHIFT,
    SPATIAL_AXES,
    block_count,
    box,
    box_sizes,
    neighbour_sums,
)


def inverse(transform: int, levels: int, coefficients: torch.Tensor, spatial: Sequence[int]) -> torch.Tensor:
    """Values (..., *spatial) from coefficients (..., *coefficient shape), both (z, y, x); any float type (spec 7.5).

    Nothing is rounded or clamped. Where `refcodec.tensors.transforms.inverse` clamps nothing, the two
    differ, besides float rounding, by at most 0.5, 1.9 or 5.4 for a block DCT of 1, 2 or 3 axes, and by less
    than 40, 150 or 470 for a wavelet of six levels.
    """
    if transform == Transform.BLOCK_DCT:
        for axis, n in zip(SPATIAL_AXES, reversed(spatial)):
            if n > 1:
                coefficients = _along(_constant(_cells_from_frequencies, n, coefficients), coefficients, axis)
        return coefficients
    if transform == Transform.NONE or levels == 0:
        return coefficients
    sizes = box_sizes(levels, spatial)
    values = coefficients[box(sizes[-1])]
    for inner, outer in pairwise(reversed(sizes)):
        if outer != inner:
            merged = coefficients[box(outer)].clone()
            merged[box(inner)] = values
            for axis in SPATIAL_AXES:
                if outer[axis] > 1:
                    merged = _along(_constant(_merge_matrix, outer[axis], coefficients), merged, axis)
            values = merged
    return values


def forward(transform: int, levels: int, values: torch.Tensor) -> torch.Tensor:
    """Coefficients (..., *coefficient shape) whose inverse is `values` (..., z, y, x).

    Exactly so for the wavelet, but for float rounding; within 6e-4 for the block DCT, whose matrix is rounded.
    """
    spatial = values.shape[-3:]
    if transform == Transform.BLOCK_DCT:
        for axis in reversed(SPATIAL_AXES):
            if spatial[axis] > 1:
                values = _along(_constant(_frequencies_from_cells, spatial[axis], values), values, axis)
        return values
    if transform == Transform.NONE or levels == 0:
        return values
    sizes = box_sizes(levels, spatial)
    coefficients = values.clone()
    for outer, inner in pairwise(sizes):
        if outer != inner:
            split = coefficients[box(outer)]
            for axis in reversed(SPATIAL_AXES):
                if outer[axis] > 1:
                    split = _along(_constant(_split_matrix, outer[axis], values), split, axis)
            coefficients = coefficients.clone()
            coefficients[box(outer)] = split
    return coefficients


def band_gains(transform: int, levels: int, spatial: Sequence[int]) -> tuple[float, ...]:
    """Root mean square, over each band's coefficients, of the norm of what a unit coefficient becomes.

    The squared error in the cells is about the sum over the coefficients of (error * gain of the band)^2.
    A band without coefficients has gain 1.
    """
    if transform == Transform.BLOCK_DCT:
        boxes = [_dct_energy(n) for n in spatial]
        energies = [math.prod(e[band] for e, _ in boxes) for band in range(4)]
        counts = [math.prod(c[band] for _, c in boxes) for band in range(4)]
        return tuple(_gain(e, c) for e, c in zip(np.diff(energies, prepend=0.0).tolist(),
                                                 np.diff(counts, prepend=0).tolist()))
    if transform == Transform.NONE or levels == 0:
        return (1.0,)
    sizes = box_sizes(levels, spatial)
    axes = [_wavelet_energy(levels, n) for n in spatial]
    gains = [_gain(math.prod(axis[-1][0] for axis in axes), math.prod(sizes[-1]))]
    for level in range(levels, 0, -1):
        low, both = (math.prod(axis[level - 1][i] for axis in axes) for i in (0, 1))
        gains.append(_gain(both - low, math.prod(sizes[level - 1]) - math.prod(sizes[level])))
    return tuple(gains)


def _gain(energy: float, count: int) -> float:
    return math.sqrt(energy / count) if count else 1.0


@lru_cache
def _dct_energy(n: int) -> tuple[list[float], list[int]]:
    """Of the positions along an axis in band b or below, for b = 0 .. 3: their energy in the cells and number."""
    if n == 1:
        return [1.0] * 4, [1] * 4
    frequency = np.square(_cells_from_frequencies(n)).sum(0).reshape(BLOCK, -1).sum(1)
    return [float(frequency[: 1 << b].sum()) for b in range(4)], [block_count(n) << b for b in range(4)]


@lru_cache
def _wavelet_energy(levels: int, n: int) -> list[tuple[float, float]]:
    """For level 1, 2, ...: energy in the cells of the low part along an axis, and of both parts."""
    synthesis, found = np.eye(n), []
    for (size,), (inner,) in pairwise(box_sizes(levels, [n])):
        if size > 1:
            synthesis = synthesis @ _merge_matrix(size)
        energy = np.square(synthesis).sum(0)
        found.append((float(energy[:inner].sum()), float(energy.sum())))
        synthesis = synthesis[:, :inner]
    return found


def _along(matrix: torch.Tensor, a: torch.Tensor, axis: int) -> torch.Tensor:
    """The matrix times every line of `a` along the axis (negative)."""
    at = a.ndim + axis
    rest = math.prod(a.shape[at + 1 :])
    if rest == 1:
        product = a.reshape(-1, a.shape[at]) @ matrix.T
    else:
        product = matrix @ a.reshape(-1, a.shape[at], rest)
    return product.reshape(*a.shape[:at], len(matrix), *a.shape[at + 1 :])


def _constant(make: Callable[[int], np.ndarray], n: int, like: torch.Tensor) -> torch.Tensor:
    return _on_device(make, n, like.dtype, like.device)


@lru_cache(maxsize=256)
def _on_device(make: Callable[[int], np.ndarray], n: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(make(n)).to(device, dtype)


def _cells_from_frequencies(n: int) -> np.ndarray:
    """(n, 8 * blocks): one inverse pass of the block DCT (spec 7.5.2)."""
    blocks = block_count(n)
    matrix: np.ndarray = np.einsum("ui,ab->aiub", DCT_MATRIX * 2.0**-DCT_SHIFT, np.eye(blocks))
    return matrix.reshape(BLOCK * blocks, BLOCK * blocks)[:n]


def _frequencies_from_cells(n: int) -> np.ndarray:
    """(8 * blocks, n): one forward pass; the last cell is repeated to fill the last block."""
    blocks = block_count(n)
    matrix = np.einsum("ui,ab->ubai", DCT_MATRIX * 2.0**-DCT_SHIFT, np.eye(blocks))
    matrix = matrix.reshape(BLOCK * blocks, BLOCK * blocks)
    matrix[:, n - 1] = matrix[:, n - 1 :].sum(1)
    return np.ascontiguousarray(matrix[:, :n])


def _merge_matrix(n: int) -> np.ndarray:
    """(n, n): low and high part to samples, one pass of the wavelet's inverse (spec 7.5.3)."""
    count = (n + 1) // 2
    parts = np.split(np.eye(n), [count])
    for i in reversed(range(len(LIFTING))):
        changed = parts[(i + 1) % 2]
        changed -= LIFTING[i] * 2.0**-LIFTING_SHIFT * neighbour_sums(parts[i % 2], len(changed), i)
    matrix = np.empty((n, n))
    matrix[0::2], matrix[1::2] = parts
    return matrix


def _split_matrix(n: int) -> np.ndarray:
    """(n, n): samples to low and high part, the inverse of `_merge_matrix`."""
    parts = [np.eye(n)[0::2], np.eye(n)[1::2]]
    for i, factor in enumerate(LIFTING):
        changed = parts[(i + 1) % 2]
        changed += factor * 2.0**-LIFTING_SHIFT * neighbour_sums(parts[i % 2], len(changed), i)
    return np.concatenate(parts)
