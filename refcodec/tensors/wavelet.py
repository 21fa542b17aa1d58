"""The wavelet transform: integer lifting, level by level (spec 7.5.3)."""
from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from ..deferred import Deferred
from ..syntax.tools import Stage, Transform
from .passes import INT32_MAX, INT32_MIN, SPATIAL_AXES, box, in_pieces, root_mean

if TYPE_CHECKING:
    import numpy as np
else:
    np = Deferred("numpy")

SHIFT = 12
# Analysis order: the odd samples, the even, the odd, the even are changed, each from its two neighbours.
LIFTING = (-6497, -217, 3616, 1817)


class _Wavelet(Transform):
    option, bands, has_levels, compiled = "dwt", "wavelet_levels + 1", True, True

    def label(self, levels: int) -> str:
        return f"wavelet-{levels}"

    def band_map(self, levels: int, spatial: Sequence[int]) -> np.ndarray:
        bands = np.zeros(spatial, np.uint8)
        for band, outer in enumerate(reversed(box_sizes(levels, spatial)[:-1]), start=1):
            # What is in this box but not in the one inside it.
            region = bands[box(outer)]
            region[_outside(box_sizes(1, outer)[1], outer)] = band
        return bands

    def support(self, levels: int, mask: np.ndarray) -> np.ndarray:
        out = mask.copy()
        for size in box_sizes(levels, mask.shape)[:-1]:
            region = out[box(size)]
            for axis in SPATIAL_AXES:
                if size[axis] > 1:
                    low = np.logical_or.reduceat(region, range(0, size[axis], 2), axis=axis)
                    both = np.concatenate([low, low], axis=axis)
                    region[...] = np.take(both, range(size[axis]), axis=axis)
        return out

    def inverse(self, levels: int, coefficients: np.ndarray, spatial: Sequence[int]) -> np.ndarray:
        return in_pieces(lambda piece: _inverse(piece, levels), coefficients)

    def forward(self, levels: int, values: np.ndarray) -> np.ndarray:
        """Clamped to 32 bits after every pass. Where nothing is clamped, `inverse` returns the values
        exactly."""
        return in_pieces(lambda piece: _forward(piece, levels), values)

    def stages(self, levels: int, spatial: Sequence[int]) -> list[Stage]:
        found = []
        for inner, outer in pairwise(reversed(box_sizes(levels, spatial))):
            if outer != inner:
                z, y, x = outer
                axes = tuple(axis for axis in SPATIAL_AXES if outer[axis] > 1)
                found.append(Stage((z, y, x), axes, tuple(outer[axis] for axis in axes), _merge_matrix, _split_matrix))
        return found

    def gains(self, levels: int, spatial: Sequence[int]) -> tuple[float, ...]:
        if levels == 0:
            return (1.0,)
        sizes = box_sizes(levels, spatial)
        axes = [_energy(levels, n) for n in spatial]
        gains = [root_mean(math.prod(axis[-1][0] for axis in axes), math.prod(sizes[-1]))]
        for level in range(levels, 0, -1):
            low, both = (math.prod(axis[level - 1][i] for axis in axes) for i in (0, 1))
            gains.append(root_mean(both - low, math.prod(sizes[level - 1]) - math.prod(sizes[level])))
        return tuple(gains)


_Wavelet.add(2, "WAVELET")


def box_sizes(levels: int, spatial: Sequence[int]) -> list[tuple[int, ...]]:
    """(z, y, x) of the box of the wavelet's approximation after 0 .. levels levels (spec 7.5.3)."""
    sizes = [tuple(spatial)]
    for _ in range(levels):
        sizes.append(tuple((n + 1) // 2 for n in sizes[-1]))
    return sizes


def _outside(inner: tuple[int, ...], outer: tuple[int, ...]) -> np.ndarray:
    mask = np.ones(outer, bool)
    mask[box(inner)] = False
    return mask


def _inverse(values: np.ndarray, levels: int) -> np.ndarray:
    """In place."""
    for size in reversed(box_sizes(levels, values.shape[-3:])[:-1]):
        for axis in SPATIAL_AXES:
            if size[axis] > 1:
                _merge(np.moveaxis(values[box(size)], axis, 0))
    return values


def _forward(values: np.ndarray, levels: int) -> np.ndarray:
    """In place."""
    for size in box_sizes(levels, values.shape[-3:])[:-1]:
        for axis in reversed(SPATIAL_AXES):
            if size[axis] > 1:
                _split(np.moveaxis(values[box(size)], axis, 0))
    return values


def _merge(lines: np.ndarray) -> None:
    """One level of synthesis along the first axis, in place: low and high part to samples."""
    count = (len(lines) + 1) // 2
    parts = lines[:count].copy(), lines[count:].copy()
    for i in reversed(range(len(LIFTING))):
        parts[(i + 1) % 2][...] -= _lift(parts[i % 2], len(parts[(i + 1) % 2]), i)
    for first, part in enumerate(parts):
        np.clip(part, INT32_MIN, INT32_MAX, out=lines[first::2])


def _split(lines: np.ndarray) -> None:
    """One level of analysis along the first axis, in place: samples to low and high part."""
    count = (len(lines) + 1) // 2
    parts = lines[0::2].copy(), lines[1::2].copy()
    for i in range(len(LIFTING)):
        parts[(i + 1) % 2][...] += _lift(parts[i % 2], len(parts[(i + 1) % 2]), i)
    np.clip(parts[0], INT32_MIN, INT32_MAX, out=lines[:count])
    np.clip(parts[1], INT32_MIN, INT32_MAX, out=lines[count:])


def _lift(source: np.ndarray, count: int, step: int) -> np.ndarray:
    """Update of `count` samples by lifting step `step` of the analysis, from those of the other part."""
    total = neighbour_sums(source, count, step)
    total *= LIFTING[step]
    total += 1 << (SHIFT - 1)
    total >>= SHIFT
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


@lru_cache
def _energy(levels: int, n: int) -> list[tuple[float, float]]:
    """For level 1, 2, ...: energy in the cells of the low part along an axis, and of both parts."""
    synthesis, found = np.eye(n), []
    for (size,), (inner,) in pairwise(box_sizes(levels, [n])):
        if size > 1:
            synthesis = synthesis @ _merge_matrix(size)
        energy = np.square(synthesis).sum(0)
        found.append((float(energy[:inner].sum()), float(energy.sum())))
        synthesis = synthesis[:, :inner]
    return found


def _merge_matrix(n: int) -> np.ndarray:
    """(n, n): low and high part to samples, one pass of the wavelet's inverse (spec 7.5.3)."""
    count = (n + 1) // 2
    parts = np.split(np.eye(n), [count])
    for i in reversed(range(len(LIFTING))):
        changed = parts[(i + 1) % 2]
        changed -= LIFTING[i] * 2.0**-SHIFT * neighbour_sums(parts[i % 2], len(changed), i)
    matrix = np.empty((n, n))
    matrix[0::2], matrix[1::2] = parts
    return matrix


def _split_matrix(n: int) -> np.ndarray:
    """(n, n): samples to low and high part, the inverse of `_merge_matrix`."""
    parts = [np.eye(n)[0::2], np.eye(n)[1::2]]
    for i, factor in enumerate(LIFTING):
        changed = parts[(i + 1) % 2]
        changed += factor * 2.0**-SHIFT * neighbour_sums(parts[i % 2], len(changed), i)
    return np.concatenate(parts)
