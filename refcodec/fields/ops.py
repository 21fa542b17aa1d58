"""The array operations that fields and renderers need, once for numpy and once for torch.

Field definitions are written against these two small classes, so that the decoder's
numpy path and the encoder's torch path evaluate the same formulas (spec chapter 8).
torch is imported only when `TorchOps` is made.
"""
from __future__ import annotations

import numpy as np


class NumpyOps:
    """float32 numpy arrays."""

    name = "numpy"
    sin, cos, exp, floor = staticmethod(np.sin), staticmethod(np.cos), staticmethod(np.exp), staticmethod(np.floor)

    def asarray(self, a) -> np.ndarray:
        """`a` as a float32 array."""
        return np.asarray(a, dtype=np.float32)

    def to_numpy(self, a) -> np.ndarray:
        return np.asarray(a)

    def concatenate(self, arrays, axis: int = -1):
        return np.concatenate(arrays, axis=axis)

    def clamp(self, a, low, high):
        return np.clip(a, low, high)

    def relu(self, a):
        return np.maximum(a, 0)

    def sigmoid(self, a):
        # exp of a negative number only: no overflow at either end.
        e = np.exp(-np.abs(a))
        return np.where(a >= 0, 1, e) / (1 + e)

    def softplus(self, a):
        return np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))

    def linear(self, x, weight, bias=None):
        """x (N, inputs), weight (outputs, inputs), bias (outputs,) -> (N, outputs)."""
        y = x @ weight.T
        return y if bias is None else y + bias

    def table(self, tensor):
        """A grid (C, z, y, x) laid out for lookups: (z*y*x, C), contiguous."""
        return np.ascontiguousarray(np.moveaxis(tensor, 0, -1).reshape(-1, tensor.shape[0]))

    def interpolate(self, table, corners, weights):
        """Σ_k weights[:, k] · table[corners[:, k]]; (cells, C), (N, 8), (N, 8) -> (N, C)."""
        out = table[corners[:, 0]] * weights[:, :1]
        for k in range(1, corners.shape[1]):
            out += table[corners[:, k]] * weights[:, k:k + 1]
        return out

    def corners(self, p, shape):
        """Surroundings of grid positions; see `trilinear_corners`."""
        i = np.minimum(np.floor(p), np.maximum(np.asarray(shape[::-1], np.float32) - 2, 0))
        return _assemble(p, i, i.astype(np.int64), shape, np.minimum, np.stack)


class TorchOps:
    """float32 torch tensors on `device`; differentiable with respect to tables and weights."""

    name = "torch"

    def __init__(self, device="cpu"):
        import torch

        from refcodec.fields.interpolation import interpolate

        self.torch, self.device = torch, torch.device(device)
        self.sin, self.cos, self.exp, self.floor = torch.sin, torch.cos, torch.exp, torch.floor
        self.relu, self.sigmoid = torch.relu, torch.sigmoid
        self.softplus, self.linear = torch.nn.functional.softplus, torch.nn.functional.linear
        self.interpolate = interpolate

    def asarray(self, a):
        """`a` as a float32 tensor on the device; a tensor already there is returned as it is."""
        if not self.torch.is_tensor(a):
            a = self.torch.from_numpy(np.array(a, dtype=np.float32))
        return a.to(self.device, self.torch.float32)

    def to_numpy(self, a) -> np.ndarray:
        return a.detach().cpu().numpy()

    def concatenate(self, arrays, axis: int = -1):
        return self.torch.cat(arrays, dim=axis)

    def clamp(self, a, low, high):
        return self.torch.clamp(a, low, high)

    def table(self, tensor):
        return tensor.permute(1, 2, 3, 0).reshape(-1, tensor.shape[0])

    def corners(self, p, shape):
        torch = self.torch
        last = torch.tensor([max(n - 2, 0) for n in shape[::-1]], dtype=p.dtype, device=p.device)
        i = torch.minimum(torch.floor(p), last)
        return _assemble(p, i, i.long(), shape, lambda a, n: a.clamp(max=n), torch.stack)


def _assemble(p, i, cell, shape, minimum, stack):
    """Corner indices and weights, x fastest: corner k takes bit 0 of k for x, 1 for y, 2 for z."""
    dz, dy, dx = shape
    f = p - i
    axes = []
    for axis, (size, stride) in enumerate(((dx, 1), (dy, dx), (dz, dx * dy))):
        low = cell[:, axis]
        high = minimum(low + 1, size - 1)
        axes.append(((low * stride, 1 - f[:, axis]), (high * stride, f[:, axis])))
    indices, weights = [], []
    for k in range(8):
        (jx, wx), (jy, wy), (jz, wz) = axes[0][k & 1], axes[1][k >> 1 & 1], axes[2][k >> 2]
        indices.append(jx + jy + jz)
        weights.append(wx * wy * wz)
    return stack(indices, 1), stack(weights, 1)
