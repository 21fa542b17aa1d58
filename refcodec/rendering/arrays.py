"""The array operations of ray marching, once for numpy and once for torch.

Both libraries spell most of them alike; these classes hold the rest. Everything is
float32, int64 or bool.
"""
from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from refcodec.arrays import Array

if TYPE_CHECKING:
    from refcodec.fields import RadianceField


def arrays_of(field: RadianceField) -> NumpyArrays | TorchArrays:
    """The operations for the arrays that `field` computes with."""
    ops: Any = field.ops
    return TorchArrays(ops.torch, ops.device) if ops.name == "torch" else NumpyArrays()


class NumpyArrays:
    """numpy arrays on the CPU."""

    parallelism = 1  # how much more memory than the default a chunk may take
    threads = min(os.cpu_count() or 1, 8)  # chunks rendered at a time: bounds the memory too
    abs, ceil, exp, expm1 = np.abs, np.ceil, np.exp, np.expm1
    minimum, maximum = np.minimum, np.maximum
    # Not ufuncs, so they would become methods.
    where: Any = staticmethod(np.where)
    nonzero: Any = staticmethod(np.nonzero)
    full_like: Any = staticmethod(np.full_like)
    arange: Any = staticmethod(np.arange)

    def array(self, a: Array) -> Array:
        return np.asarray(a)

    def to_numpy(self, a: Array) -> np.ndarray:
        return np.asarray(a)

    def zeros(self, shape: Sequence[int]) -> Array:
        return np.zeros(shape, np.float32)

    def integers(self, a: Array) -> Array:
        return a.astype(np.int64)

    def floats(self, a: Array) -> Array:
        return a.astype(np.float32)

    def smallest(self, a: Array) -> Array:
        """Along the last axis."""
        return reduce(np.minimum, a.T)  # a short axis, along which numpy's own takes five times as long

    def largest(self, a: Array) -> Array:
        return reduce(np.maximum, a.T)

    def concatenate(self, arrays: Sequence[Array]) -> Array:
        """Along the last axis."""
        return np.concatenate(arrays, -1)

    def sort(self, a: Array) -> Array:
        """Along the last axis, ascending."""
        return np.sort(a)

    def take(self, a: Array, index: Array) -> Array:
        """a[n, index[n, k]] for all n, k."""
        return np.take_along_axis(a, index, 1)

    def search(self, a: Array, values: Array) -> Array:
        """For each of `values` (N, K): how many entries of its row of `a` are not above it.

        The rows of `a` ascend from 0 or more.
        """
        # One search through all rows, each lifted above the one before it.
        lift = np.arange(len(a), dtype=np.float64)[:, None] * (1 + max(a.max(initial=0), values.max(initial=0)))
        found = np.searchsorted((a + lift).reshape(-1), (values + lift).reshape(-1), "right").reshape(values.shape)
        return found - np.arange(len(a))[:, None] * a.shape[1]

    def count(self, a: Array, size: int) -> Array:
        """How often each of 0..size-1 occurs in `a`."""
        return np.bincount(a, minlength=size)

    def inference(self) -> AbstractContextManager[Any]:
        """The context in which to compute."""
        # Rays that miss give infinite or huge intermediate values on purpose.
        return np.errstate(over="ignore", invalid="ignore")


class TorchArrays:
    """torch tensors on the field's device."""

    def __init__(self, torch: Any, device: Any):
        self.torch, self.device = torch, device
        self.parallelism = 1 if device.type == "cpu" else 8
        self.threads = 1  # torch has its own
        self.abs, self.ceil, self.exp, self.expm1 = torch.abs, torch.ceil, torch.exp, torch.expm1
        self.minimum, self.maximum, self.where = torch.minimum, torch.maximum, torch.where
        self.full_like, self.inference = torch.full_like, torch.no_grad

    def array(self, a: Array) -> Array:
        return self.torch.from_numpy(np.array(a)).to(self.device)

    def to_numpy(self, a: Array) -> np.ndarray:
        return np.asarray(a.detach().cpu().numpy() if self.torch.is_tensor(a) else a)

    def zeros(self, shape: Sequence[int]) -> Array:
        return self.torch.zeros(shape, device=self.device)

    def arange(self, size: int) -> Array:
        return self.torch.arange(size, device=self.device)

    def integers(self, a: Array) -> Array:
        return a.long()

    def floats(self, a: Array) -> Array:
        return a.float()

    def smallest(self, a: Array) -> Array:
        return a.amin(-1)

    def largest(self, a: Array) -> Array:
        return a.amax(-1)

    def concatenate(self, arrays: Sequence[Array]) -> Array:
        return self.torch.cat(arrays, -1)

    def sort(self, a: Array) -> Array:
        return self.torch.sort(a).values

    def take(self, a: Array, index: Array) -> Array:
        return self.torch.gather(a, 1, index)

    def search(self, a: Array, values: Array) -> Array:
        return self.torch.searchsorted(a.contiguous(), values.contiguous(), right=True)

    def nonzero(self, a: Array) -> Any:
        return self.torch.nonzero(a, as_tuple=True)

    def count(self, a: Array, size: int) -> Array:
        return self.torch.bincount(a, minlength=size)
