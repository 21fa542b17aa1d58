"""The array operations that fields and renderers need, once for numpy and once for torch.

Field definitions are written against these two small classes, so that the decoder's
numpy path and the encoder's torch path evaluate the same formulas (spec chapter 8).
torch is imported only when `TorchOps` is made.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial, reduce
from itertools import product
from operator import iadd
from typing import TYPE_CHECKING

import numpy as np

from refcodec.arrays import Array
from refcodec.errors import UsageError

if TYPE_CHECKING:
    import torch

# Magnitude at which values are clamped, so that any bitstream gives finite numbers
# (R-RND-15): 4096 inputs of this size times weights of 2**31 stay inside binary32.
LARGEST = 1e20

Spatial = tuple[int, int, int]  # (z, y, x)
Layout = tuple[list[tuple[int, ...]], Array, Array, Array]


class NumpyOps:
    """float32 numpy arrays."""

    name = "numpy"
    sin, cos, exp, floor = staticmethod(np.sin), staticmethod(np.cos), staticmethod(np.exp), staticmethod(np.floor)

    def asarray(self, a: Array) -> np.ndarray:
        """`a` as a float32 array."""
        return np.asarray(a, dtype=np.float32)

    def to_numpy(self, a: Array) -> np.ndarray:
        return np.asarray(a)

    def concatenate(self, arrays: Sequence[Array], axis: int = -1) -> Array:
        return np.concatenate(arrays, axis=axis)

    def clamp(self, a: Array, low: Array, high: Array) -> Array:
        return np.clip(a, low, high)

    def relu(self, a: Array) -> Array:
        return np.clip(a, 0, LARGEST)

    def bounded(self, a: Array) -> Array:
        return np.clip(a, -LARGEST, LARGEST)

    def sigmoid(self, a: Array) -> Array:
        # exp of a negative number only: no overflow at either end.
        e = np.exp(-np.abs(a))
        return np.where(a >= 0, 1, e) / (1 + e)

    def softplus(self, a: Array) -> Array:
        return np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))

    def linear(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        """x (N, inputs), weight (outputs, inputs), bias (outputs,) -> (N, outputs)."""
        y = x @ weight.T
        return y if bias is None else y + bias

    def zeros(self, *shape: int) -> Array:
        return np.zeros(shape, np.float32)

    def vanishes(self, tensor: Array) -> bool:
        """Whether a tensor is zero throughout, and stays so."""
        return not bool(tensor.any())

    def table(self, tensor: Array) -> Array:
        """A grid (C, z, y, x) laid out for lookups: (z*y*x, C), contiguous."""
        return np.ascontiguousarray(np.moveaxis(tensor, 0, -1).reshape(-1, tensor.shape[0]))

    def interpolate(self, table: Array, corners: Array, weights: Array) -> Array:
        """Σ_k weights[k] · table[corners[k]]; (cells, C), (K, N), (K, N) -> (N, C)."""
        def corner(rows: Array, weight: Array) -> Array:
            values = table.take(rows, 0)  # in a third of the time of table[rows]
            values *= weight[:, None]
            return values

        return reduce(iadd, map(corner, corners, weights))

    def cells(self, p: Array, sizes: Sequence[int]) -> tuple[Array, Array]:
        """Lower corner and distance from it on each axis: two (3, N), int64 and float.

        p: (N, 3), positions in units of grid samples. sizes: samples along x, y, z.
        """
        p = np.ascontiguousarray(p.T)
        i = np.minimum(np.floor(p), _last(sizes)[:, None])
        return i.astype(np.int64), p - i

    def corners(self, cell: Array, fraction: Array, shapes: tuple[Spatial, ...]) -> tuple[Array, Array]:
        """Rows of the samples around N points in the tables of M grids, one table below the other, and their weights:
        two (K, M·N), grid by grid.

        cell, fraction: from `cells`. shapes: (z, y, x) of each grid; axes with one sample take no part, so K is 1, 2,
        4 or 8, and must be the same for all.
        """
        return _assemble(cell, fraction, _layout(shapes), np.stack)


class TorchOps:
    """float32 torch tensors on `device`; differentiable with respect to tables and weights."""

    name = "torch"

    def __init__(self, device: torch.device | str = "cpu"):
        import torch

        from refcodec.fields.interpolation import interpolate

        self.torch, self.device = torch, torch.device(device)
        self.sin, self.cos, self.exp, self.floor = torch.sin, torch.cos, torch.exp, torch.floor
        functional = torch.nn.functional
        self.sigmoid, self.softplus, self.linear = torch.sigmoid, functional.softplus, functional.linear
        # Of the ways to clamp, the one with the fastest gradient.
        self.relu = partial(functional.hardtanh, min_val=0.0, max_val=LARGEST)
        self.bounded = partial(functional.hardtanh, min_val=-LARGEST, max_val=LARGEST)
        self.interpolate = interpolate
        self._layouts: dict[tuple[Spatial, ...], Layout] = {}

    def asarray(self, a: Array) -> Array:
        """`a` as a float32 tensor on the device; a tensor already there is returned as it is."""
        if not self.torch.is_tensor(a):
            a = self.torch.from_numpy(np.array(a, dtype=np.float32))
        return a.to(self.device, self.torch.float32)

    def to_numpy(self, a: Array) -> np.ndarray:
        return np.asarray(a.detach().cpu().numpy())

    def concatenate(self, arrays: Sequence[Array], axis: int = -1) -> Array:
        return self.torch.cat(tuple(arrays), dim=axis)

    def clamp(self, a: Array, low: Array, high: Array) -> Array:
        return self.torch.clamp(a, low, high)

    def zeros(self, *shape: int) -> Array:
        return self.torch.zeros(shape, device=self.device)

    def vanishes(self, tensor: Array) -> bool:
        return not tensor.requires_grad and not bool(tensor.any())

    def table(self, tensor: Array) -> Array:
        return tensor.permute(1, 2, 3, 0).reshape(-1, tensor.shape[0])

    def cells(self, p: Array, sizes: Sequence[int]) -> tuple[Array, Array]:
        p = p.t().contiguous()
        i = self.torch.minimum(self.torch.floor(p), self.asarray(_last(sizes))[:, None])
        return i.long(), p - i

    def corners(self, cell: Array, fraction: Array, shapes: tuple[Spatial, ...]) -> tuple[Array, Array]:
        if shapes not in self._layouts:
            axes, *numbers = _layout(shapes)
            strides, first, others = (self.torch.from_numpy(a).to(self.device) for a in numbers)
            self._layouts[shapes] = axes, strides, first, others
        return _assemble(cell, fraction, self._layouts[shapes], self.torch.stack)


Ops = NumpyOps | TorchOps


def choose_ops(backend: str = "auto") -> Ops:
    """The library that evaluates fields: numpy, torch, or auto: torch where it finds a GPU.

    On processors numpy is the faster one. Raises UsageError for another name, and for torch where it is missing.
    """
    if backend not in ("auto", "numpy", "torch"):
        raise UsageError(f"there is no backend {backend!r}; there are auto, numpy and torch")
    if backend == "numpy":
        return NumpyOps()
    try:
        import torch
    except ImportError:
        if backend == "torch":
            raise UsageError('the backend torch needs torch: pip install "refcodec[encode]"') from None
        return NumpyOps()
    if torch.cuda.is_available():
        return TorchOps("cuda")
    return TorchOps("cpu") if backend == "torch" else NumpyOps()


def _last(sizes: Sequence[int]) -> np.ndarray:
    """Highest lower corner on each axis."""
    return np.array([max(n - 2, 0) for n in sizes], np.float32)


@lru_cache(maxsize=256)
def _layout(shapes: tuple[Spatial, ...]) -> Layout:
    """Where the samples of M grids lie in their tables, one below the other.

    shapes: (z, y, x), as for `corners`. Returns for each axis that takes part, x before y before z, its number in every
    grid; its strides (axes, M, 1); the first row of each grid (M, 1); and how far each of a cell's corners lies behind
    the lowest, (K, M, 1), the neighbour in x changing fastest.
    """
    axes = [[axis for axis, n in enumerate(reversed(shape)) if n > 1] for shape in shapes]
    strides = np.array([[math.prod(shape[3 - axis:]) for axis in own] for shape, own in zip(shapes, axes)], np.int64)
    sizes = [math.prod(shape) for shape in shapes]
    first = np.cumsum([0, *sizes[:-1]])
    steps = np.array(list(product((0, 1), repeat=len(axes[0]))), np.int64)[:, ::-1]
    return list(zip(*axes)), strides.T[..., None], first[:, None], (steps @ strides.T)[..., None]


def _assemble(cell: Array, fraction: Array, layout: Layout, stack: Callable[[list[Array]], Array]
              ) -> tuple[Array, Array]:
    """The corners of the cell around each point, and their weights (R-FLD-05)."""
    axes, strides, first, others = layout
    row, weights = cell[0] * 0 + first, None
    for own, stride in zip(axes, strides):
        row = row + stack([cell[axis] for axis in own]) * stride
        part = stack([fraction[axis] for axis in own])
        ends = stack([1 - part, part])
        weights = ends if weights is None else (ends[:, None] * weights).reshape(2 * len(weights), *part.shape)
    if weights is None:
        weights = (fraction[0] * 0 + row * 0 + 1)[None]
    shape = len(others), row.shape[0] * row.shape[1]
    return (row + others).reshape(shape), weights.reshape(shape)
