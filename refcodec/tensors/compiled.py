"""Compiled reconstruction of tensors without a transform: `state.FrameState.reconstruct` in one pass (needs numba)."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit

from ..syntax.coding import Prediction, Tools

_Int = int | np.integer[Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])
_BLOCK = 1 << 12
_MAX_INPUT = 127
_MIN, _MAX = -(1 << 31), (1 << 31) - 1
_NO_TENSOR, _NO_MASK = np.empty((0, 0), np.int32), np.empty(0, np.uint8)


def _jit(function: _Function) -> _Function:
    compiled: _Function = njit(function, cache=True, nogil=True, error_model="numpy")
    return compiled


def reconstruct(values: np.ndarray, mask: np.ndarray | None, tools: Tools, source: np.ndarray | None,
                shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The tensor int32 (C, z, y, x), and its clamped values int8 (z, y, x, C) (spec 7.2, 7.3).

    values: int32 (coded cells, C). mask: bool (z, y, x), None: all. source: what is predicted
    from, int32 (C, z, y, x): the previous or the shared tensor, or None.
    """
    channels, size = shape[0], shape[1] * shape[2] * shape[3]
    tensor, context = np.empty((channels, size), np.int32), np.zeros((size, channels), np.int8)
    based = tools.prediction == Prediction.BASE
    _reconstruct(
        values, _NO_MASK if mask is None else np.require(mask, bool, ["C", "W"]).reshape(-1).view(np.uint8),
        *tools.steps[0],
        _NO_TENSOR if source is None else np.require(source, np.int32, ["C", "W"]).reshape(channels, size), based,
        *tools.base, tools.offset, tensor, context)
    return tensor.reshape(shape), context.reshape(*shape[1:], channels)


@_jit
def _step(q: _Int, mantissa: _Int, exponent: _Int) -> _Int:
    product = np.int64(q) * mantissa
    if exponent >= 0:
        return product << exponent
    return (product + (np.int64(1) << (-exponent - 1))) >> -exponent


@_jit
def _predicted(source: np.ndarray, based: bool, c: _Int, cell: _Int, mantissa: _Int, exponent: _Int,
               offset: _Int) -> _Int:
    if source.size == 0:
        return np.int64(offset)
    return _step(source[c, cell], mantissa, exponent) + offset if based else np.int64(source[c, cell])


@_jit
def _reconstruct(values: np.ndarray, mask: np.ndarray, mantissa: _Int, exponent: _Int, source: np.ndarray, based: bool,
                 base_mantissa: _Int, base_exponent: _Int, offset: _Int, tensor: np.ndarray,
                 context: np.ndarray) -> None:
    channels, size = tensor.shape
    place = np.empty(_BLOCK, np.int64)
    done = 0
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        count = 0
        for cell in range(start, stop):
            if mask.size == 0 or mask[cell]:
                place[count] = cell
                count += 1
        for c in range(channels):
            if source.size == 0:
                tensor[c, start:stop] = offset
            elif not based:
                tensor[c, start:stop] = source[c, start:stop]
            else:
                for cell in range(start, stop):
                    v = _predicted(source, based, c, cell, base_mantissa, base_exponent, offset)
                    tensor[c, cell] = min(max(v, _MIN), _MAX)
            for j in range(count):
                q = values[done + j, c]
                if q:
                    cell = place[j]
                    v = _predicted(source, based, c, cell, base_mantissa, base_exponent, offset)
                    v += _step(q, mantissa, exponent)
                    tensor[c, cell] = min(max(v, _MIN), _MAX)
                    context[cell, c] = min(max(q, -_MAX_INPUT), _MAX_INPUT)
        done += count
