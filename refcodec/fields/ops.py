"""The array operations that fields need, once for numpy and once for torch (`torch_ops`).

Field definitions are written against `Ops`, so that the decoder's numpy path and the encoder's torch path evaluate
the same formulas (spec chapter 8).
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from refcodec.arrays import A, Array
from refcodec.kernels import Kernels, best

# Magnitude at which values are clamped, so that any bitstream gives finite numbers
# (R-RND-15): 4096 inputs of this size times weights of 2**31 stay inside binary32.
LARGEST = 1e20

Function = TypeVar("Function", bound=Callable[..., Any])


class Ops(Protocol[A]):
    """Operations on the arrays of a library: float32, where nothing else is said."""

    @property
    def name(self) -> str:
        """`numpy` or `torch`."""

    # Of each element.
    @property
    def sin(self) -> Callable[[A], A]: ...
    @property
    def cos(self) -> Callable[[A], A]: ...
    @property
    def floor(self) -> Callable[[A], A]: ...
    @property
    def sigmoid(self) -> Callable[[A], A]: ...
    @property
    def softplus(self) -> Callable[[A], A]: ...

    @property
    def relu(self) -> Callable[[A], A]:
        """max(a, 0), at most `LARGEST`."""

    @property
    def bounded(self) -> Callable[[A], A]:
        """`a` within ±`LARGEST`."""

    @property
    def interpolate(self) -> Callable[[A, A, A], A]:
        """Σ_k weights[k] · table[corners[k]], of table (cells, C), corners (K, N) int64, weights (K, N) -> (N, C)."""

    def linear(self, x: A, weight: A, bias: A | None = None) -> A:
        """x (N, inputs), weight (outputs, inputs), bias (outputs,) -> (N, outputs)."""

    def asarray(self, a: Array | Sequence[float]) -> A:
        """`a` as a float32 array of the library, where the field is evaluated."""

    def to_numpy(self, a: A) -> np.ndarray: ...

    def concatenate(self, arrays: Sequence[A], axis: int = -1) -> A: ...

    def clamp(self, a: A, low: A | float, high: A | float) -> A:
        """`a` within bounds, which are both numbers or both arrays."""

    def kernel(self, function: Function) -> Function:
        """A function of arrays as the library runs it best."""

    def zeros(self, *shape: int) -> A: ...

    def vanishes(self, tensor: A) -> bool:
        """Whether a tensor is zero throughout, and stays so."""

    def table(self, tensor: A) -> A:
        """A grid (C, z, y, x) laid out for lookups: (z*y*x, C)."""

    def cells(self, p: A, sizes: Sequence[int]) -> tuple[A, A]:
        """Lower corner and distance from it on each axis: two (3, N), int64 and float.

        p: (N, 3), positions in units of grid samples. sizes: samples along x, y, z.
        """

    def corners(self, cell: A, fraction: A, shape: Sequence[int]) -> tuple[A, A]:
        """Table rows of the samples around points, and their weights: two (K, N).

        cell, fraction: from `cells`. shape: (z, y, x) of the grid; axes with one sample
        take no part, so K is 1, 2, 4 or 8.
        """


class NumpyOps:
    """`Ops` of numpy arrays. kernels: the best there are by default."""

    name = "numpy"

    def __init__(self, kernels: Kernels | None = None):
        self.kernels = kernels or best()
        self.sin: Callable[[np.ndarray], np.ndarray] = np.sin
        self.cos: Callable[[np.ndarray], np.ndarray] = np.cos
        self.floor: Callable[[np.ndarray], np.ndarray] = np.floor
        self.interpolate = self.kernels.interpolate

    def asarray(self, a: Array | Sequence[float]) -> np.ndarray:
        return np.asarray(a, dtype=np.float32)

    def to_numpy(self, a: np.ndarray) -> np.ndarray:
        return a

    def concatenate(self, arrays: Sequence[np.ndarray], axis: int = -1) -> np.ndarray:
        return np.concatenate(arrays, axis=axis)

    def clamp(self, a: np.ndarray, low: np.ndarray | float, high: np.ndarray | float) -> np.ndarray:
        found: np.ndarray = np.clip(a, low, high)
        return found

    def relu(self, a: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.clip(a, 0, LARGEST)
        return found

    def bounded(self, a: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.clip(a, -LARGEST, LARGEST)
        return found

    def sigmoid(self, a: np.ndarray) -> np.ndarray:
        # exp of a negative number only: no overflow at either end.
        e = np.exp(-np.abs(a))
        found: np.ndarray = np.where(a >= 0, 1, e) / (1 + e)
        return found

    def softplus(self, a: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))
        return found

    def linear(self, x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
        y: np.ndarray = x @ weight.T
        return y if bias is None else y + bias

    def kernel(self, function: Function) -> Function:
        return function

    def zeros(self, *shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    def vanishes(self, tensor: np.ndarray) -> bool:
        return not bool(tensor.any())

    def table(self, tensor: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.moveaxis(tensor, 0, -1).reshape(-1, tensor.shape[0]))

    def cells(self, p: np.ndarray, sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        p = np.ascontiguousarray(p.T)
        i: np.ndarray = np.minimum(np.floor(p), last_corners(sizes)[:, None])
        return i.astype(np.int64), p - i

    def corners(self, cell: np.ndarray, fraction: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        return assemble(cell, fraction, shape, np.minimum, np.stack)


def last_corners(sizes: Sequence[int]) -> np.ndarray:
    """Highest lower corner on each axis, (3,) float32."""
    return np.array([max(n - 2, 0) for n in sizes], np.float32)


def assemble(cell: A, fraction: A, shape: Sequence[int], minimum: Callable[[A, int], A],
             stack: Callable[[list[A]], A]) -> tuple[A, A]:
    """The corners of the cell around each point: the neighbour in x changes fastest, then y, then z."""
    indices: list[A] = []
    weights: list[A] = []
    stride = 1
    for axis, size in enumerate(reversed(shape)):
        if size == 1:
            continue
        low, high = cell[axis] * stride, minimum(cell[axis] + 1, size - 1) * stride
        ends = (low, 1 - fraction[axis]), (high, fraction[axis])
        if indices:
            indices, weights = ([i + j for j, _ in ends for i in indices], [v * w for _, w in ends for v in weights])
        else:
            indices, weights = [i for i, _ in ends], [w for _, w in ends]
        stride *= size
    if not indices:
        return stack([cell[0] * 0]), stack([fraction[0] * 0 + 1])
    return stack(indices), stack(weights)
