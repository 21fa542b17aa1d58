"""Which cells of a grid are coded: those that an occupied voxel can touch (spec 7.1)."""
from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from ..syntax.headers import Alignment, Mapping, SequenceHeader, TensorInfo


def touched_cells(header: SequenceHeader, tensor: TensorInfo, axis: int) -> np.ndarray:
    """Cells along one axis that a sample inside each voxel can touch.

    axis: 0 = x, 1 = y, 2 = z. Returns bool (voxels, cells). Integers only, below 2**63.
    """
    return _touched(*_geometry(header, tensor, axis))


def _geometry(header: SequenceHeader, tensor: TensorInfo, axis: int) -> tuple[int, int, int, int, Mapping, Alignment]:
    """What `touched_cells` depends on: voxels, cells, voxels per period as a fraction, mapping, alignment."""
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


@lru_cache(maxsize=256)
def _runs(*geometry: Any) -> tuple[int, np.ndarray]:
    """Number of cells along an axis, and what each voxel touches: runs of cells, int64 (n, 3), voxel, first, end."""
    touched = _touched(*geometry)
    edges = np.diff(np.pad(touched, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    return touched.shape[1], np.column_stack([np.argwhere(edges == 1), np.argwhere(edges == -1)[:, 1]])


def coded_mask(header: SequenceHeader, tensor: TensorInfo, occupancy: np.ndarray) -> np.ndarray:
    """Cells of a tensor that are coded under `significance` 1.

    occupancy: bool (z, y, x). Returns bool (depth, height, width).
    """
    geometry = [_runs(*_geometry(header, tensor, axis)) for axis in range(3)]
    packed = np.packbits(occupancy, axis=2)  # eight cells along x at a time, as long as x is not touched
    packed = _spread(packed, *geometry[2])
    packed = _spread(np.ascontiguousarray(packed.swapaxes(0, 1)), *geometry[1])
    mask = np.unpackbits(packed, axis=2, count=occupancy.shape[2]).view(bool)
    mask = _spread(np.ascontiguousarray(mask.transpose(2, 1, 0)), *geometry[0])  # from (y, z, x) to (x, z, y)
    return np.ascontiguousarray(mask.transpose(1, 2, 0))


def _spread(mask: np.ndarray, cells: int, runs: np.ndarray) -> np.ndarray:
    """Along the first axis of a mask: from voxels to the cells that they touch."""
    out = np.zeros((cells, *mask.shape[1:]), mask.dtype)
    busy: np.ndarray = np.any(mask, axis=(1, 2))
    for voxel, first, end in runs[busy[runs[:, 0]]].tolist():
        out[first:end] |= mask[voxel]
    return out
