"""The array operations of ray marching, once for numpy and once for torch (`torch_arrays`).

Both libraries spell most of them alike; these classes hold the rest. Everything is
float32, int64 or bool.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import reduce
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np

from refcodec.arrays import A

if TYPE_CHECKING:
    from refcodec.fields import RadianceField
    from refcodec.fields.torch_ops import TorchOps


class MarchOps(Protocol[A]):
    """Operations on the arrays of a library."""

    @property
    def parallelism(self) -> int:
        """Factor of a chunk's memory over the default."""

    @property
    def threads(self) -> int:
        """Chunks rendered at a time."""

    # Of each element.
    @property
    def abs(self) -> Callable[[A], A]: ...
    @property
    def ceil(self) -> Callable[[A], A]: ...
    @property
    def exp(self) -> Callable[[A], A]: ...
    @property
    def expm1(self) -> Callable[[A], A]: ...
    @property
    def minimum(self) -> Callable[[A, A], A]: ...
    @property
    def maximum(self) -> Callable[[A, A], A]: ...

    def where(self, test: A, a: A, b: A) -> A: ...

    def full_like(self, a: A, value: float) -> A: ...

    def array(self, a: np.ndarray) -> A:
        """A numpy array as one of the library, where the field is evaluated."""

    def to_numpy(self, a: A) -> np.ndarray: ...

    def zeros(self, shape: Sequence[int]) -> A:
        """float32."""

    def arange(self, size: int) -> A: ...

    def integers(self, a: A) -> A: ...

    def floats(self, a: A) -> A: ...

    def smallest(self, a: A) -> A:
        """Along the last axis."""

    def largest(self, a: A) -> A:
        """Along the last axis."""

    def concatenate(self, arrays: Sequence[A]) -> A:
        """Along the last axis."""

    def sort(self, a: A) -> A:
        """Along the last axis, ascending."""

    def take(self, a: A, index: A) -> A:
        """a[n, index[n, k]] for all n, k."""

    def search(self, a: A, values: A) -> A:
        """For each of `values` (N, K): how many entries of its row of `a` are not above it.

        The rows of `a` ascend from 0 or more.
        """

    def nonzero(self, a: A) -> tuple[A, ...]:
        """Indices of what is not zero, one array for each axis."""

    def count(self, a: A, size: int) -> A:
        """Number of occurrences of each of 0..size-1 in `a`."""

    def inference(self) -> AbstractContextManager[object]:
        """The context in which to compute."""


def arrays_of(field: RadianceField[A]) -> MarchOps[A]:
    """The operations for the arrays that `field` computes with."""
    if field.ops.name == "numpy":
        return cast("MarchOps[A]", NumpyArrays())
    from refcodec.rendering.torch_arrays import TorchArrays

    return cast("MarchOps[A]", TorchArrays(cast("TorchOps", field.ops).device))


class NumpyArrays:
    """`MarchOps` of numpy arrays."""

    parallelism = 1
    threads = min(os.cpu_count() or 1, 8)  # bounds the memory too

    def __init__(self) -> None:
        self.abs: Callable[[np.ndarray], np.ndarray] = np.abs
        self.ceil: Callable[[np.ndarray], np.ndarray] = np.ceil
        self.exp: Callable[[np.ndarray], np.ndarray] = np.exp
        self.expm1: Callable[[np.ndarray], np.ndarray] = np.expm1
        self.minimum: Callable[[np.ndarray, np.ndarray], np.ndarray] = np.minimum
        self.maximum: Callable[[np.ndarray, np.ndarray], np.ndarray] = np.maximum

    def where(self, test: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(test, a, b)

    def full_like(self, a: np.ndarray, value: float) -> np.ndarray:
        return np.full_like(a, value)

    def array(self, a: np.ndarray) -> np.ndarray:
        return np.asarray(a)

    def to_numpy(self, a: np.ndarray) -> np.ndarray:
        return np.asarray(a)

    def zeros(self, shape: Sequence[int]) -> np.ndarray:
        return np.zeros(shape, np.float32)

    def arange(self, size: int) -> np.ndarray:
        return np.arange(size)

    def integers(self, a: np.ndarray) -> np.ndarray:
        return a.astype(np.int64)

    def floats(self, a: np.ndarray) -> np.ndarray:
        return a.astype(np.float32)

    def smallest(self, a: np.ndarray) -> np.ndarray:
        return reduce(self.minimum, a.T)  # a short axis, along which numpy's own takes five times as long

    def largest(self, a: np.ndarray) -> np.ndarray:
        return reduce(self.maximum, a.T)

    def concatenate(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate(arrays, -1)

    def sort(self, a: np.ndarray) -> np.ndarray:
        return np.sort(a)

    def take(self, a: np.ndarray, index: np.ndarray) -> np.ndarray:
        return np.take_along_axis(a, index, 1)

    def search(self, a: np.ndarray, values: np.ndarray) -> np.ndarray:
        # One search through all rows, each lifted above the one before it.
        lift = np.arange(len(a), dtype=np.float64)[:, None] * (1 + max(a.max(initial=0), values.max(initial=0)))
        found = np.searchsorted((a + lift).reshape(-1), (values + lift).reshape(-1), "right").reshape(values.shape)
        counts: np.ndarray = found - np.arange(len(a))[:, None] * a.shape[1]
        return counts

    def nonzero(self, a: np.ndarray) -> tuple[np.ndarray, ...]:
        return np.nonzero(a)

    def count(self, a: np.ndarray, size: int) -> np.ndarray:
        return np.bincount(a, minlength=size)

    def inference(self) -> AbstractContextManager[object]:
        # Rays that miss give infinite or huge intermediate values on purpose.
        return np.errstate(over="ignore", invalid="ignore")
