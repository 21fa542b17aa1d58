"""Positions and contexts of a tensor's symbols (spec 6.3, 6.4)."""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Shape = tuple[int, int, int, int]  # (C, z, y, x)
Spatial = tuple[int, int, int]  # (z, y, x)


@dataclass(frozen=True, slots=True)
class Layout:
    """The array whose elements are coded; decoder and encoder are given the same.

    shape: (C, z, y, x). mask: bool (z, y, x) of the coded cells, None for all.
    previous: int8 (z, y, x, C), the clamped values of the previous frame, None for all zero.
    band: uint8 (coded cells,), None when all cells are of band 0. blocks: cells from one frequency to the
    next along z, y, x, see `refcodec.syntax.coding.block_counts`.
    """

    shape: Shape
    mask: np.ndarray | None = None
    previous: np.ndarray | None = None
    band: np.ndarray | None = None
    blocks: Spatial = (1, 1, 1)

    @property
    def channels(self) -> int:
        return self.shape[0]

    @property
    def cells(self) -> int:
        """Number of coded cells."""
        return math.prod(self.shape[1:]) if self.mask is None else int(np.count_nonzero(self.mask))
