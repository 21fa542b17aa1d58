"""`refcodec.rendering.arrays.MarchOps` of torch tensors."""
from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch


class TorchArrays:
    """`MarchOps` of torch tensors on a device."""

    threads = 1  # torch has its own

    def __init__(self, device: torch.device):
        self.device = device
        self.parallelism = 1 if device.type == "cpu" else 8
        self.abs, self.ceil, self.exp, self.expm1 = torch.abs, torch.ceil, torch.exp, torch.expm1
        self.minimum, self.maximum = torch.minimum, torch.maximum

    def where(self, test: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.where(test, a, b)

    def full_like(self, a: torch.Tensor, value: float) -> torch.Tensor:
        return torch.full_like(a, value)

    def array(self, a: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(a)).to(self.device)

    def to_numpy(self, a: torch.Tensor) -> np.ndarray:
        return np.asarray(a.detach().cpu().numpy())

    def zeros(self, shape: Sequence[int]) -> torch.Tensor:
        return torch.zeros(shape, device=self.device)

    def arange(self, size: int) -> torch.Tensor:
        return torch.arange(size, device=self.device)

    def integers(self, a: torch.Tensor) -> torch.Tensor:
        return a.long()

    def floats(self, a: torch.Tensor) -> torch.Tensor:
        return a.float()

    def smallest(self, a: torch.Tensor) -> torch.Tensor:
        return a.amin(-1)

    def largest(self, a: torch.Tensor) -> torch.Tensor:
        return a.amax(-1)

    def concatenate(self, arrays: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat(tuple(arrays), -1)

    def sort(self, a: torch.Tensor) -> torch.Tensor:
        return torch.sort(a).values

    def take(self, a: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
        return torch.gather(a, 1, index)

    def search(self, a: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        return torch.searchsorted(a.contiguous(), values.contiguous(), right=True)

    def nonzero(self, a: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found: tuple[torch.Tensor, ...] = torch.nonzero(a, as_tuple=True)
        return found

    def count(self, a: torch.Tensor, size: int) -> torch.Tensor:
        return torch.bincount(a, minlength=size)

    def inference(self) -> AbstractContextManager[object]:
        return torch.no_grad()
