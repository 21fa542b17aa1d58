"""`refcodec.fields.ops.Ops` of torch tensors."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch.nn import functional

from refcodec.arrays import Array
from refcodec.fields.interpolation import interpolate
from refcodec.fields.ops import LARGEST, Function, assemble, last_corners

_KERNELS: dict[Callable[..., Any], Callable[..., Any]] = {}  # compiled once a process


class TorchOps:
    """`Ops` of torch tensors on `device`; differentiable with respect to tables and weights.

    mixed: networks multiply in bfloat16. compiled: fused kernels where `kernel` is asked for one; the first call with
    a new kind of field takes a while.
    """

    name = "torch"

    def __init__(self, device: torch.device | str = "cpu", *, mixed: bool = False, compiled: bool = False):
        self.device = torch.device(device)
        self.sin, self.cos, self.floor = torch.sin, torch.cos, torch.floor
        self.sigmoid: Callable[[torch.Tensor], torch.Tensor] = torch.sigmoid
        self.softplus: Callable[[torch.Tensor], torch.Tensor] = functional.softplus
        # Of the ways to clamp, the one with the fastest gradient.
        self.relu = partial(functional.hardtanh, min_val=0.0, max_val=LARGEST)
        self.bounded = partial(functional.hardtanh, min_val=-LARGEST, max_val=LARGEST)
        self.interpolate = interpolate
        self._mixed, self._compiled = mixed, compiled

    def linear(self, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        if not self._mixed:
            return functional.linear(x, weight, bias)
        half = torch.bfloat16
        y = functional.linear(x.to(half), weight.to(half)).to(torch.float32)
        return y if bias is None else y + bias

    def kernel(self, function: Function) -> Function:
        if not self._compiled:
            return function
        if function not in _KERNELS:
            _KERNELS[function] = torch.compile(function, dynamic=True, fullgraph=True)
        return cast("Function", _KERNELS[function])

    def asarray(self, a: Array | Sequence[float]) -> torch.Tensor:
        """`a` as a float32 tensor on the device; a tensor already there is returned as it is."""
        tensor = a if isinstance(a, torch.Tensor) else torch.from_numpy(np.array(a, dtype=np.float32))
        return tensor.to(self.device, torch.float32)

    def to_numpy(self, a: torch.Tensor) -> np.ndarray:
        return np.asarray(a.detach().cpu().numpy())

    def concatenate(self, arrays: Sequence[torch.Tensor], axis: int = -1) -> torch.Tensor:
        return torch.cat(tuple(arrays), dim=axis)

    def clamp(self, a: torch.Tensor, low: torch.Tensor | float, high: torch.Tensor | float) -> torch.Tensor:
        return torch.clamp(a, low, high)  # type: ignore[arg-type]  # both numbers or both tensors

    def zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, device=self.device)

    def vanishes(self, tensor: torch.Tensor) -> bool:
        return not tensor.requires_grad and not bool(tensor.any())

    def table(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.permute(1, 2, 3, 0).reshape(-1, tensor.shape[0])

    def cells(self, p: torch.Tensor, sizes: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        p = p.t().contiguous()
        i = torch.minimum(torch.floor(p), self.asarray(last_corners(sizes))[:, None])
        return i.long(), p - i

    def corners(self, cell: torch.Tensor, fraction: torch.Tensor, shape: Sequence[int]
                ) -> tuple[torch.Tensor, torch.Tensor]:
        return assemble(cell, fraction, shape, lambda a, n: a.clamp(max=n), torch.stack)
