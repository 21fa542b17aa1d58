"""Which cells of a grid are coded: those that an occupied voxel can touch (spec 7.1)."""
from __future__ import annotations

import numpy as np

from ..syntax.headers import Alignment, Mapping, SequenceHeader, TensorInfo


def touched_cells(header: SequenceHeader, tensor: TensorInfo, axis: int) -> np.ndarray:
    """Cells along one axis that a sample inside each voxel can touch.

    axis: 0 = x, 1 = y, 2 = z. Returns bool (voxels, cells). Integers only, below 2**63.
    """
    voxels, cells = header.occupancy_dims[axis], tensor.shape[3 - axis]
    extents = [b - a for a, b in zip(header.aabb_min, header.aabb_max)]
    if tensor.mapping == Mapping.SAWTOOTH:
        numerator, denominator = extents[axis] * tensor.frequency, voxels * max(extents) << 16
    else:
        numerator, denominator = 1, voxels
    touched = np.zeros((voxels, cells), bool)
    for v in range(voxels):
        first_period, first = divmod(v * numerator, denominator)
        last_period, last = divmod((v + 1) * numerator, denominator)
        if tensor.mapping == Mapping.LINEAR and last_period:
            last_period, last = 0, denominator  # the far end of the box belongs to the only period
        low = _position(first, denominator, cells, tensor.alignment)
        high = min(_position(last, denominator, cells, tensor.alignment) + 1, cells - 1)
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


def coded_mask(header: SequenceHeader, tensor: TensorInfo, occupancy: np.ndarray) -> np.ndarray:
    """Cells of a tensor that are coded under `significance` 1.

    occupancy: bool (z, y, x). Returns bool (depth, height, width).
    """
    # A chain of boolean matrix products, one axis after the other; sums of
    # non-negative numbers, so float32 keeps zero and non-zero apart.
    mask = occupancy.astype(np.float32)
    for axis, product in enumerate(("zyx,xa->zya", "zya,yb->zba", "zba,zc->cba")):
        touch = touched_cells(header, tensor, axis).astype(np.float32)
        mask = (np.einsum(product, mask, touch, optimize=True) > 0).astype(np.float32)
    return mask > 0
