"""The coded cells of a grid: the support of the occupied voxels (spec 7.1)."""
from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any

import numpy as np

from ..syntax.headers import Alignment, Mapping, SequenceHeader, TensorInfo

_PIECE = 1 << 14  # items of a mask worked on at a time


def touched_cells(header: SequenceHeader, tensor: TensorInfo, axis: int) -> np.ndarray:
    """Support of each voxel along one axis: the cells that a sample inside it interpolates. axis: 0 = x, 1 = y, 2 = z.
    Returns bool (voxels, cells). Integers only, below 2**63.
    """
    return _touched(*axis_geometry(header, tensor, axis))


def axis_geometry(header: SequenceHeader, tensor: TensorInfo, axis: int
                  ) -> tuple[int, int, int, int, Mapping, Alignment]:
    """The parameters of `touched_cells`: voxels, cells, voxels per period as a fraction, mapping, alignment."""
    voxels, cells = header.occupancy_dims[axis], tensor.shape[3 - axis]
    if tensor.mapping != Mapping.SAWTOOTH:
        return voxels, cells, 1, voxels, tensor.mapping, tensor.alignment
    extents = [b - a for a, b in zip(header.aabb_min, header.aabb_max)]
    return (voxels, cells, extents[axis] * tensor.frequency, voxels * max(extents) << 16, tensor.mapping,
            tensor.alignment)


def _touched(voxels: int, cells: int, numerator: int, denominator: int, mapping: Mapping,
             alignment: Alignment) -> np.ndarray:
    touched = np.zeros((voxels, cells), bool)
    for v in range(voxels):
        first_period, first = divmod(v * numerator, denominator)
        last_period, last = divmod((v + 1) * numerator, denominator)
        if mapping == Mapping.LINEAR and last_period:
            last_period, last = 0, denominator  # the far end of the box belongs to the only period
        low = _position(first, denominator, cells, alignment)
        high = min(_position(last, denominator, cells, alignment) + 1, cells - 1)
        if first_period == last_period:
            touched[v, low : high + 1] = True
        elif first_period + 1 == last_period:
            touched[v, low:] = True
            touched[v, : high + 1] = True
        else:
            touched[v] = True
    return touched


def _position(remainder: int, denominator: int, cells: int, alignment: Alignment) -> int:
    """Cell at or below the place remainder / denominator of a period."""
    if alignment == Alignment.CORNERS:
        return remainder * (cells - 1) // denominator
    return min(max((2 * remainder * cells - denominator) // (2 * denominator), 0), cells - 1)


def mask_geometry(header: SequenceHeader, tensor: TensorInfo) -> Hashable:
    """The parameters of `coded_mask` beside the occupancy: tensors with equal ones have the same mask."""
    return tuple(axis_geometry(header, tensor, axis) for axis in range(3))


@lru_cache(maxsize=64)
def _touching(*geometry: Any) -> tuple[np.ndarray, np.ndarray]:
    """The voxels that touch each cell along an axis, (n, cells): the last one again where another cell has more; any
    one where no voxel does, which cells come second."""
    touched = _touched(*geometry)
    counts = touched.sum(axis=0)
    cell, voxel = np.nonzero(touched.T)
    nth = np.arange(len(cell)) - np.repeat(np.cumsum(counts) - counts, counts)
    voxels = np.zeros((counts.max(), len(counts)), np.int32)
    voxels[nth, cell] = voxel
    return np.maximum.accumulate(voxels), np.flatnonzero(counts == 0)


def packed_lines(occupancy: np.ndarray) -> np.ndarray:
    """Lines along x of bool (z, y, x) as bits of bytes, the first in the highest bit, filled up: uint64 (z, y, n)."""
    packed = np.packbits(occupancy, axis=2)
    return np.pad(packed, ((0, 0), (0, 0), (0, -packed.shape[2] % 8))).view(np.uint64)


def coded_mask(header: SequenceHeader, tensor: TensorInfo, occupancy: np.ndarray,
               packed: np.ndarray | None = None) -> np.ndarray:
    """Cells of a tensor that are coded under `significance` 1.

    occupancy: bool (z, y, x). packed: its `packed_lines`, where they are known. Returns bool (depth, height, width).
    """
    x, y, z = (None if cells == 1 else _touching(*axis_geometry(header, tensor, axis))
               for axis, cells in enumerate(reversed(tensor.shape[1:])))
    lines = packed_lines(occupancy) if packed is None else packed
    # All voxels touch an axis's only cell. These axes come first, for what is left is small.
    if z is None:
        lines = np.bitwise_or.reduce(lines, axis=0, keepdims=True)
    if y is None:
        lines = np.bitwise_or.reduce(lines, axis=1, keepdims=True)
    if x is None:
        mask = np.any(lines, axis=2, keepdims=True)
        mask = _spread(np.ascontiguousarray(_spread(mask, z).swapaxes(0, 1)), y)
        return np.ascontiguousarray(mask.swapaxes(0, 1))
    lines = _spread(np.ascontiguousarray(_spread(lines, z).swapaxes(0, 1)), y)
    mask = np.unpackbits(lines.view(np.uint8), axis=2, count=occupancy.shape[2]).view(bool)
    mask = _spread(np.ascontiguousarray(mask.transpose(2, 1, 0)), x)  # from (y, z, x) to (x, z, y)
    return np.ascontiguousarray(mask.transpose(1, 2, 0))


def _spread(mask: np.ndarray, touching: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    """Along the first axis of a mask: from voxels to the cells that they touch. touching: None where that is done."""
    if touching is None:
        return mask
    voxels, untouched = touching
    out = np.empty((voxels.shape[1], *mask.shape[1:]), mask.dtype)
    step = max(1, _PIECE // mask[0].size)
    for start in range(0, len(out), step):
        first, *others = voxels[:, start : start + step]
        piece = mask.take(first, axis=0, out=out[start : start + step], mode="clip")  # none is outside
        for other in others:
            piece |= mask.take(other, axis=0)
    out[untouched] = 0
    return out
