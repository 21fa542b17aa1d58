"""From quantised values to reconstructed tensors, in integers (spec 7.2 to 7.4)."""
from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

INT32_MIN, INT32_MAX = -(1 << 31), (1 << 31) - 1


def dequantise(q: np.ndarray, mantissa: int | np.ndarray, exponent: int | np.ndarray) -> np.ndarray:
    """q times the step size, rounded half up: int64, any shape (spec 7.2). Step sizes may differ by element."""
    product = q.astype(np.int64) * mantissa
    right = np.maximum(np.negative(exponent), 0)
    return ((product << np.maximum(exponent, 0)) + ((1 << right) >> 1)) >> right


def saturate(v: np.ndarray | int) -> np.ndarray:
    """Clamped to 32 bits (spec 7.3): int32."""
    return np.clip(v, INT32_MIN, INT32_MAX).astype(np.int32)


def digest(before: bytes, tensors: Sequence[np.ndarray]) -> bytes:
    """First eight bytes of SHA-256 over some bytes and then tensors (spec 7.4)."""
    sha = hashlib.sha256(before)
    for tensor in tensors:
        sha.update(np.ascontiguousarray(tensor, "<i4").data)
    return sha.digest()[:8]


def tensor_digest(tensor: np.ndarray) -> str:
    """SHA-256 of one tensor's values in stream order, as hexadecimal (spec 7.4)."""
    return hashlib.sha256(np.ascontiguousarray(tensor, "<i4").data).hexdigest()
