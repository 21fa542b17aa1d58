"""Common to the transforms of the spatial axes (spec 7.5). Arrays are (..., z, y, x)."""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import EllipsisType
from typing import TYPE_CHECKING

from ..deferred import Deferred

if TYPE_CHECKING:
    import numpy as np
else:
    np = Deferred("numpy")

SPATIAL_AXES = (-1, -2, -3)  # in the order of the inverse transforms: x, y, z
PIECE = 1 << 16  # values worked on at a time
INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


def box(size: Sequence[int]) -> tuple[EllipsisType | slice, ...]:
    """Index of the corner of that size in an array (..., z, y, x)."""
    return (..., *(slice(n) for n in size))


def in_pieces(operation: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    """The operation on int64 (channels, z, y, x), some channels at a time: pieces that fit a processor's cache."""
    channels = values.reshape(-1, *values.shape[-3:])
    step = max(1, PIECE // channels[0].size)
    done = np.concatenate([operation(channels[i : i + step].astype(np.int64)) for i in range(0, len(channels), step)])
    return done.reshape(*values.shape[:-3], *done.shape[1:])


def root_mean(energy: float, count: int) -> float:
    """Root mean square of `count` numbers with this sum of squares; 1 where there are none."""
    return math.sqrt(energy / count) if count else 1.0
