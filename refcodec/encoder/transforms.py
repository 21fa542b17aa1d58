"""The transforms of spec 7.5 without their roundings: differentiable, for training.

Every pass is a product with a matrix. On the sizes of feature planes and grids that beats
lifting steps over slices several times, forwards and backwards.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import torch

from refcodec.syntax.coding import Transform
from refcodec.tensors.passes import box


def inverse(transform: int, levels: int, coefficients: torch.Tensor, spatial: Sequence[int]) -> torch.Tensor:
    """Values (..., *spatial) from coefficients (..., *coefficient shape), both (z, y, x); any float type (spec 7.5).

    Nothing is rounded or clamped. Where `refcodec.tensors.transforms.inverse` clamps nothing, the two
    differ, besides float rounding, by at most 0.5, 1.9 or 5.4 for a block DCT of 1, 2 or 3 axes, and by less
    than 40, 150 or 470 for a wavelet of six levels.
    """
    values = None
    for stage in Transform.of(transform).stages(levels, spatial):
        region = coefficients if stage.box is None else coefficients[box(stage.box)]
        if values is not None:
            region = region.clone()
            region[box(values.shape[-3:])] = values
        for axis, n in zip(stage.axes, stage.lengths):
            region = _along(_constant(stage.synthesis, n, coefficients), region, axis)
        values = region
    return coefficients if values is None else values


def forward(transform: int, levels: int, values: torch.Tensor) -> torch.Tensor:
    """Coefficients (..., *coefficient shape) whose inverse is `values` (..., z, y, x).

    Exactly so for the wavelet, but for float rounding; within 6e-4 for the block DCT, whose matrix is rounded.
    """
    coefficients, cells = values, tuple(values.shape[-3:])
    for stage in reversed(Transform.of(transform).stages(levels, cells)):
        size = stage.box or cells
        region = coefficients if size == cells else coefficients[box(size)]
        for axis, n in zip(reversed(stage.axes), reversed(stage.lengths)):
            region = _along(_constant(stage.analysis, n, values), region, axis)
        if size == cells:
            coefficients = region
        else:
            coefficients = coefficients.clone()
            coefficients[box(size)] = region
    return coefficients


def band_gains(transform: int, levels: int, spatial: Sequence[int]) -> tuple[float, ...]:
    """Root mean square, over each band's coefficients, of the norm of what a unit coefficient becomes.

    The squared error in the cells is about the sum over the coefficients of (error * gain of the band)^2.
    A band without coefficients has gain 1.
    """
    return Transform.of(transform).gains(levels, spatial)


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
