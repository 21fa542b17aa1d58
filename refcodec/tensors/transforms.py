"""Integer transforms of the spatial axes of a tensor, by code point (spec 7.5).

Arrays are (..., z, y, x): any leading axes, usually the channels, are transformed side by side.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..syntax.coding import Transform, coefficient_shape


def band_map(transform: int, levels: int, spatial: Sequence[int]) -> np.ndarray:
    """Band of every coefficient: uint8 of the coefficient shape (spec 7.5.1)."""
    return Transform.of(transform).band_map(levels, spatial)


def inverse(transform: int, levels: int, coefficients: np.ndarray, spatial: Sequence[int]) -> np.ndarray:
    """Values of the cells from the coefficients (spec 7.5.2, 7.5.3).

    coefficients: integers of at most 32 bits, (..., *coefficient shape). Returns int64
    (..., *spatial) within 32 bits. No intermediate reaches 2**48. Raises ValueError for
    coefficients of another shape.
    """
    if coefficients.shape[-3:] != coefficient_shape(transform, levels, spatial):
        raise ValueError(f"coefficients {coefficients.shape[-3:]} do not belong to cells {tuple(spatial)}")
    return Transform.of(transform).inverse(levels, coefficients, spatial)


def forward(transform: int, levels: int, values: np.ndarray) -> np.ndarray:
    """Coefficients of the cells' values: what an encoder quantises (informative, spec 7.5).

    values: integers of at most 32 bits, (..., z, y, x). Returns int64 (..., *coefficient
    shape), clamped to 32 bits after every pass.
    """
    return Transform.of(transform).forward(levels, values)


def support_mask(transform: int, levels: int, mask: np.ndarray) -> np.ndarray:
    """Coefficients whose nominal support holds a marked cell (spec 7.5.1).

    mask: bool (z, y, x), the cells. Returns bool of the coefficient shape.
    """
    return Transform.of(transform).support(levels, mask)
