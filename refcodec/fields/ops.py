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
        """Σ_k weights[k] · table[corners[k]]; (cells, C), (8, N), (8, N) -> (N, C)."""
        out = table[corners[0]] * weights[0][:, None]
        for k in range(1, len(corners)):
            out += table[corners[k]] * weights[k][:, None]
        return out

    def corners(self, p, shape):
        """Table rows around positions p (N, 3) of a (z, y, x) grid, and their weights: two (8, N)."""
        p = np.ascontiguousarray(p.T)
        i = np.minimum(np.floor(p), _last(shape, np.float32)[:, None])
        return _assemble(p - i, i.astype(np.int64), shape, np.minimum, np.stack)


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
        p = p.t().contiguous()
        i = self.torch.minimum(self.torch.floor(p), self.asarray(_last(shape, np.float32))[:, None])
        return _assemble(p - i, i.long(), shape, lambda a, n: a.clamp(max=n), self.torch.stack)


def _last(shape, dtype):
    """Highest lower corner on each axis (x, y, z)."""
    return np.array([max(n - 2, 0) for n in shape[::-1]], dtype)


def _assemble(f, cell, shape, minimum, stack):
    """Corner k takes the upper neighbour in x where bit 0 of k is set, in y bit 1, in z bit 2."""
    dz, dy, dx = shape
    axes = []
    for axis, (size, stride) in enumerate(((dx, 1), (dy, dx), (dz, dx * dy))):
        low, high = cell[axis], minimum(cell[axis] + 1, size - 1)
        axes.append(((low * stride, 1 - f[axis]), (high * stride, f[axis])))
    x, y, z = axes
    indices, weights = [], []
    for jz, wz in z:
        for jy, wy in y:
            j, w = jz + jy, wz * wy
            for jx, wx in x:
                indices.append(j + jx)
                weights.append(w * wx)
    return stack(indices), stack(weights)
