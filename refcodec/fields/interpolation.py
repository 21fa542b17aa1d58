"""Linear lookups along one to three axes with a fast gradient (torch).

`torch.nn.functional.grid_sample` runs one thread per batch entry on the CPU and is
an order of magnitude slower than a weighted embedding lookup from a table whose
channels lie side by side.
"""
from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: torch.Tensor, corners: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(corners, weights)
        ctx.cells = table.shape[0]
        return functional.embedding_bag(corners.t().contiguous(), table, mode="sum",
                                        per_sample_weights=weights.t().contiguous())

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        corners, weights = ctx.saved_tensors
        gradient = gradient.t().contiguous()
        channels = gradient.shape[0]
        out = gradient.new_zeros((channels, ctx.cells))
        # One corner at a time: what is added stays in the cache.
        for index, weight in zip(corners, weights):
            out.scatter_add_(1, index.expand(channels, -1), gradient * weight)
        return out.t(), None, None


def interpolate(table: torch.Tensor, corners: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Σ_k weights[k] · table[corners[k]], differentiable with respect to `table` only.

    table (cells, C) float32, corners (K, N) int64, weights (K, N) float32 -> (N, C).
    """
    if not corners.shape[1]:  # embedding_bag refuses empty input
        return table[:0] + 0 * table.sum()
    found: torch.Tensor = _Interpolate.apply(table, corners, weights)  # type: ignore[no-untyped-call]
    return found
