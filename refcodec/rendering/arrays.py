"""The array operations of ray marching, once for numpy and once for torch.

Both libraries spell most of them alike; these classes hold the rest. Everything is
float32, int64 or bool.
"""
from __future__ import annotations

import numpy as np


def arrays_of(field) -> NumpyArrays | TorchArrays:
    """The operations for the arrays that `field` computes with."""
    ops = field.ops
    return TorchArrays(ops.torch, ops.device) if ops.name == "torch" else NumpyArrays()


class NumpyArrays:
    """numpy arrays on the CPU."""

    parallelism = 1  # how much more memory than the default a chunk may take
    abs, ceil, exp, expm1 = np.abs, np.ceil, np.exp, np.expm1
    minimum, maximum, where = np.minimum, np.maximum, staticmethod(np.where)
    # Not ufuncs, so they would become methods.
    nonzero, full_like, arange = map(staticmethod, (np.nonzero, np.full_like, np.arange))

    def array(self, a) -> np.ndarray:
        return np.asarray(a)

    def to_numpy(self, a) -> np.ndarray:
        return np.asarray(a)

    def zeros(self, shape) -> np.ndarray:
        return np.zeros(shape, np.float32)

    def integers(self, a) -> np.ndarray:
        return a.astype(np.int64)

    def floats(self, a) -> np.ndarray:
        return a.astype(np.float32)

    def smallest(self, a) -> np.ndarray:
        """Along the last axis."""
        return a.min(-1)

    def largest(self, a) -> np.ndarray:
        return a.max(-1)

    def concatenate(self, arrays) -> np.ndarray:
        """Along the last axis."""
        return np.concatenate(arrays, -1)

    def sort(self, a) -> np.ndarray:
        """Along the last axis, ascending."""
        return np.sort(a)

    def take(self, a, index) -> np.ndarray:
        """a[n, index[n, k]] for all n, k."""
        return np.take_along_axis(a, index, 1)

    def search(self, a, values) -> np.ndarray:
        """For each of `values` (N, K): how many entries of its row of `a` are not above it.

        The rows of `a` ascend from 0 or more.
        """
        # One search through all rows, each lifted above the one before it.
        lift = np.arange(len(a), dtype=np.float64)[:, None] * (1 + max(a.max(initial=0), values.max(initial=0)))
        found = np.searchsorted((a + lift).reshape(-1), (values + lift).reshape(-1), "right").reshape(values.shape)
        return found - np.arange(len(a))[:, None] * a.shape[1]

    def count(self, a, size: int) -> np.ndarray:
        """How often each of 0..size-1 occurs in `a`."""
        return np.bincount(a, minlength=size)

    def inference(self):
        """The context in which to compute."""
        # Rays that miss give infinite or huge intermediate values on purpose.
        return np.errstate(over="ignore", invalid="ignore")


class TorchArrays:
    """torch tensors on the field's device."""

    def __init__(self, torch, device):
        self.torch, self.device = torch, device
        self.parallelism = 1 if device.type == "cpu" else 16
        self.abs, self.ceil, self.exp, self.expm1 = torch.abs, torch.ceil, torch.exp, torch.expm1
        self.minimum, self.maximum, self.where = torch.minimum, torch.maximum, torch.where
        self.full_like, self.inference = torch.full_like, torch.no_grad

    def array(self, a):
        return self.torch.from_numpy(np.array(a)).to(self.device)

    def to_numpy(self, a) -> np.ndarray:
        return a.detach().cpu().numpy() if self.torch.is_tensor(a) else np.asarray(a)

    def zeros(self, shape):
        return self.torch.zeros(shape, device=self.device)

    def arange(self, size: int):
        return self.torch.arange(size, device=self.device)

    def integers(self, a):
        return a.long()

    def floats(self, a):
        return a.float()

    def smallest(self, a):
        return a.amin(-1)

    def largest(self, a):
        return a.amax(-1)

    def concatenate(self, arrays):
        return self.torch.cat(arrays, -1)

    def sort(self, a):
        return self.torch.sort(a).values

    def take(self, a, index):
        return self.torch.gather(a, 1, index)

    def search(self, a, values):
        return self.torch.searchsorted(a.contiguous(), values.contiguous(), right=True)

    def nonzero(self, a):
        return self.torch.nonzero(a, as_tuple=True)

    def count(self, a, size: int):
        return self.torch.bincount(a, minlength=size)
