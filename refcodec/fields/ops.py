"""The array operations that fields and renderers need, once for numpy and once for torch.

Field definitions are written against these two small classes, so that the decoder's
numpy path and the encoder's torch path evaluate the same formulas (spec chapter 8).
torch is imported only when `TorchOps` is made.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from refcodec.arrays import Array
from refcodec.errors import UsageError
from refcodec.kernels import Kernels, best

if TYPE_CHECKING:
    import torch

# Magnitude at which values are clamped, so that any bitstream gives finite numbers
# (R-RND-15): 4096 inputs of this size times weights of 2**31 stay inside binary32.
LARGEST = 1e20

Function = TypeVar("Function", bound=Callable[..., Any])
_KERNELS: dict[Callable[..., Any], Callable[..., Any]] = {}  # compiled once a process


class NumpyOps:
    """float32 numpy arrays. kernels: the best there are by default."""

    name = "numpy"
    sin, cos, exp, floor = staticmethod(np.sin), staticmethod(np.cos), staticmethod(np.exp), staticmethod(np.floor)

    def __init__(self, kernels: Kernels | None = None):
        self.kernels = kernels or best()

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

    def kernel(self, function: Function) -> Function:
        """A function of arrays as the library runs it best."""
        return function

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
        return self.kernels.interpolate(table, corners, weights)

    def cells(self, p: Array, sizes: Sequence[int]) -> tuple[Array, Array]:
        """Lower corner and distance from it on each axis: two (3, N), int64 and float.

        p: (N, 3), positions in units of grid samples. sizes: samples along x, y, z.
        """
        p = np.ascontiguousarray(p.T)
        i = np.minimum(np.floor(p), _last(sizes)[:, None])
        return i.astype(np.int64), p - i

    def corners(self, cell: Array, fraction: Array, shape: Sequence[int]) -> tuple[Array, Array]:
        """Table rows of the samples around points, and their weights: two (K, N).

        cell, fraction: from `cells`. shape: (z, y, x) of the grid; axes with one sample
        take no part, so K is 1, 2, 4 or 8.
        """
        return _assemble(cell, fraction, shape, np.minimum, np.stack)


class TorchOps:
    """float32 torch tensors on `device`; differentiable with respect to tables and weights.

    mixed: networks multiply in bfloat16. compiled: fused kernels where `kernel` is asked for one; the first call with
    a new kind of field takes a while.
    """

    name = "torch"

    def __init__(self, device: torch.device | str = "cpu", *, mixed: bool = False, compiled: bool = False):
        import torch

        from refcodec.fields.interpolation import interpolate

        self.torch, self.device = torch, torch.device(device)
        self.sin, self.cos, self.exp, self.floor = torch.sin, torch.cos, torch.exp, torch.floor
        functional = torch.nn.functional
        self.sigmoid, self.softplus = torch.sigmoid, functional.softplus
        self.linear: Callable[..., Array] = self._linear_in_bfloat16 if mixed else functional.linear
        # Of the ways to clamp, the one with the fastest gradient.
        self.relu = partial(functional.hardtanh, min_val=0.0, max_val=LARGEST)
        self.bounded = partial(functional.hardtanh, min_val=-LARGEST, max_val=LARGEST)
        self.interpolate = interpolate
        self._compiled = compiled

    def _linear_in_bfloat16(self, x: Array, weight: Array, bias: Array | None = None) -> Array:
        half = self.torch.bfloat16
        y = self.torch.nn.functional.linear(x.to(half), weight.to(half)).to(self.torch.float32)
        return y if bias is None else y + bias

    def kernel(self, function: Function) -> Function:
        if not self._compiled:
            return function
        if function not in _KERNELS:
            _KERNELS[function] = self.torch.compile(function, dynamic=True, fullgraph=True)
        return cast("Function", _KERNELS[function])

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

    def corners(self, cell: Array, fraction: Array, shape: Sequence[int]) -> tuple[Array, Array]:
        return _assemble(cell, fraction, shape, lambda a, n: a.clamp(max=n), self.torch.stack)


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


def _assemble(cell: Array, fraction: Array, shape: Sequence[int], minimum: Callable[[Array, int], Array],
              stack: Callable[[list[Array]], Array]) -> tuple[Array, Array]:
    """The corners of the cell around each point: the neighbour in x changes fastest, then y, then z."""
    indices: list[Array] = []
    weights: list[Array] = []
    stride = 1
    for axis, size in enumerate(reversed(shape)):
        if size == 1:
            continue
        low, high = cell[axis] * stride, minimum(cell[axis] + 1, size - 1) * stride
        ends = (low, 1 - fraction[axis]), (high, fraction[axis])
        if indices:
            indices, weights = ([i + j for j, _ in ends for i in indices], [v * w for _, w in ends for v in weights])
        else:
            indices, weights = map(list, zip(*ends))
        stride *= size
    if not indices:
        return stack([cell[0] * 0]), stack([fraction[0] * 0 + 1])
    return stack(indices), stack(weights)
