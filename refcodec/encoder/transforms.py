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

from refcodec.encoder.kernel import kernel
from refcodec.syntax.coding import Transform
from refcodec.tensors.dct import BLOCK
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
            region = _along(stage.synthesis, n, region, axis)
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
            region = _along(stage.analysis, n, region, axis)
        if size == cells:
            coefficients = region
        else:
            coefficients = coefficients.clone()
            coefficients[box(size)] = region
    return coefficients


def adjoint(transform: int, levels: int, gradient: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Derivatives of coefficients (..., *shape), (z, y, x), from those of the values that `inverse` makes of them."""
    stages = Transform.of(transform).stages(levels, tuple(gradient.shape[-3:]))
    coefficients = gradient
    for k in reversed(range(len(stages))):
        stage = stages[k]
        for axis, n in zip(reversed(stage.axes), reversed(stage.lengths)):
            gradient = _along(stage.synthesis, n, gradient, axis, transposed=True)
        size = tuple(stage.box or shape)
        if size == tuple(shape):
            coefficients = gradient
        else:
            coefficients[box(size)] = gradient
        if k:
            gradient = gradient[box(stages[k - 1].box or shape)]
    return coefficients


def band_gains(transform: int, levels: int, spatial: Sequence[int]) -> tuple[float, ...]:
    """Root mean square, over each band's coefficients, of the norm of what a unit coefficient becomes.

    The squared error in the cells is about the sum over the coefficients of (error * gain of the band)^2.
    A band without coefficients has gain 1.
    """
    return Transform.of(transform).gains(levels, spatial)


def _along(make: Callable[[int], np.ndarray], n: int, a: torch.Tensor, axis: int, *, transposed: bool = False
           ) -> torch.Tensor:
    """The matrix `make` gives for n cells, or its transpose, times every line of `a` along the axis (negative)."""
    matrix, by_frequency = _matrix(make, n, transposed, a.dtype, a.device)
    module = kernel() if by_frequency is not None and a.ndim == 4 and not a.requires_grad else None
    if module is not None and (lines := a.movedim(0, -1)).is_contiguous():
        before, after = lines.shape[: 3 + axis], lines.shape[4 + axis :]
        out = torch.empty((*before, len(matrix), *after))
        module.blocks(matrix.numpy(), *matrix.shape, by_frequency == "rows", lines.numpy(), out.numpy(),
                      math.prod(before), math.prod(after))
        return out.movedim(-1, 0)
    at = a.ndim + axis
    rest = math.prod(a.shape[at + 1 :])
    if rest == 1:
        product = a.reshape(-1, a.shape[at]) @ matrix.T
    else:
        product = matrix @ a.reshape(-1, a.shape[at], rest)
    return product.reshape(*a.shape[:at], len(matrix), *a.shape[at + 1 :])


@lru_cache(maxsize=256)
def _matrix(make: Callable[[int], np.ndarray], n: int, transposed: bool, dtype: torch.dtype, device: torch.device
            ) -> tuple[torch.Tensor, str | None]:
    """A matrix, and for the kernel which of its sides is in the order of the block DCT's coefficients, "rows" or
    "columns"; None where it is not of float32 on a processor, or relates more than the cells of a block."""
    found = torch.from_numpy(np.ascontiguousarray(make(n).T if transposed else make(n))).to(device, dtype)
    if dtype == torch.float32 and device.type == "cpu":
        for side, matrix in (("columns", found), ("rows", found.T)):
            cells, coefficients = matrix.shape
            blocks = coefficients // BLOCK
            if coefficients == -(-cells // BLOCK) * BLOCK:
                block = torch.arange(cells)[:, None] // BLOCK == torch.arange(coefficients) % blocks
                if not bool(matrix[~block].any()):
                    return found, side
    return found, None
