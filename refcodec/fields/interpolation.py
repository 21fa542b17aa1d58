"""Trilinear lookups with a fast gradient (torch).

`torch.nn.functional.grid_sample` runs one thread per batch entry on the CPU and is
an order of magnitude slower than a weighted embedding lookup from a table whose
channels lie side by side.
"""
from __future__ import annotations

import torch
from torch.nn import functional


class _Interpolate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, corners, weights):
        ctx.save_for_backward(corners, weights)
        ctx.cells = table.shape[0]
        return functional.embedding_bag(corners, table, per_sample_weights=weights, mode="sum")

    @staticmethod
    def backward(ctx, gradient):
        corners, weights = ctx.saved_tensors
        # Accumulated channel by channel: rows of a (C, cells) array, in a fixed order.
        values = gradient.t()[:, :, None] * weights
        channels = gradient.shape[1]
        out = gradient.new_zeros((channels, ctx.cells))
        out.scatter_add_(1, corners.reshape(1, -1).expand(channels, -1), values.reshape(channels, -1))
        return out.t(), None, None


def interpolate(table, corners, weights):
    """Σ_k weights[:, k] · table[corners[:, k]], differentiable with respect to `table` only.

    table (cells, C) float32, corners (N, 8) int64, weights (N, 8) float32 -> (N, C).
    """
    if not len(corners):  # embedding_bag refuses empty input
        return table[:0] + 0 * table.sum()
    return _Interpolate.apply(table, corners, weights)
