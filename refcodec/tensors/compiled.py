"""Compiled reconstruction of tensors without a transform or with the block DCT (needs numba):
`state.FrameState.reconstruct`, in one pass over the values."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit

from ..syntax.coding import BLOCK, Prediction, Tools, Transform, step_of
from .transforms import DCT_MATRIX, DCT_SHIFT, PIECE

_Int = int | np.integer[Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])
_BLOCK = 1 << 12
_MAX_INPUT = 127
_MIN, _MAX = -(1 << 31), (1 << 31) - 1
_BAND = np.array([u.bit_length() for u in range(BLOCK)])  # of a largest frequency
_T0, _T1, _T2, _T3, _, _T5, _T6, _T7 = (int(t) for t in DCT_MATRIX[:, 0])
_HALF = 1 << (DCT_SHIFT - 1)
_TWO, _THREE, _FOUR, _EIGHT = np.uint64(2), np.uint64(3), np.uint64(4), np.uint64(BLOCK)  # unsigned indices are faster
_NO_TENSOR, _NO_MASK = np.empty((0, 0), np.int32), np.empty(0, np.uint8)


def _jit(function: _Function) -> _Function:
    compiled: _Function = njit(function, cache=True, nogil=True, error_model="numpy")
    return compiled


def serves(transform: int) -> bool:
    """Whether `reconstruct` knows the transform."""
    return transform in (Transform.NONE, Transform.BLOCK_DCT)


def reconstruct(values: np.ndarray, mask: np.ndarray | None, tools: Tools, source: np.ndarray | None,
                shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The tensor int32 (C, z, y, x), and its clamped values int8 (z, y, x, C) (spec 7.2, 7.3, 7.5.2).

    values: int32 (coded cells, C). mask: bool (z, y, x), None: all. The clamped values and the mask are of
    coefficients where there is a transform. source: what is predicted from, int32 (C, z, y, x): the previous or
    the shared tensor, or None.
    """
    channels, *size = tools.coefficient_shape(shape)
    tensor, context = np.empty((channels, math.prod(shape[1:])), np.int32), np.zeros((*size, channels), np.int8)
    marked = _NO_MASK if mask is None else np.require(mask, bool, ["C", "W"]).reshape(-1).view(np.uint8)
    origin = _NO_TENSOR if source is None else np.require(source, np.int32, ["C", "W"]).reshape(tensor.shape)
    based, flat = tools.prediction == Prediction.BASE, context.reshape(-1, channels)
    if tools.transform == Transform.NONE:
        _reconstruct(values, marked, *step_of(tools.steps[0]), origin, based, *tools.base, tools.offset, tensor, flat)
    else:
        cells = np.array(shape[1:])
        sides = np.where(cells > 1, BLOCK, 1)
        blocks, side = np.array(size) // sides, int(sides.prod())
        together = max(1, min(channels, PIECE // math.prod(size)))
        scratch = np.zeros((together, math.prod(size) // side, side), np.int32)
        steps = np.array([step_of(s) for s in tools.steps])
        _reconstruct_blocks(values, marked, steps, origin, based, *tools.base, tools.offset, cells, sides, blocks,
                            scratch, np.zeros(scratch.shape[:2], np.uint8), tensor, flat)
    return tensor.reshape(shape), context


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
def _predict(source: np.ndarray, based: bool, base_mantissa: _Int, base_exponent: _Int, offset: _Int, c: _Int,
             start: _Int, stop: _Int, tensor: np.ndarray) -> None:
    """Some cells of a channel as they are where nothing is added."""
    if source.size == 0:
        tensor[c, start:stop] = offset
    elif not based:
        tensor[c, start:stop] = source[c, start:stop]
    else:
        for cell in range(start, stop):
            v = _predicted(source, based, c, cell, base_mantissa, base_exponent, offset)
            tensor[c, cell] = min(max(v, _MIN), _MAX)


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
            _predict(source, based, base_mantissa, base_exponent, offset, c, start, stop, tensor)
            for j in range(count):
                q = values[done + j, c]
                if q:
                    cell = place[j]
                    v = _predicted(source, based, c, cell, base_mantissa, base_exponent, offset)
                    v += _step(q, mantissa, exponent)
                    tensor[c, cell] = min(max(v, _MIN), _MAX)
                    context[cell, c] = min(max(q, -_MAX_INPUT), _MAX_INPUT)
        done += count


@_jit
def _reconstruct_blocks(values: np.ndarray, mask: np.ndarray, steps: np.ndarray, source: np.ndarray, based: bool,
                        base_mantissa: _Int, base_exponent: _Int, offset: _Int, cells: np.ndarray, sides: np.ndarray,
                        blocks: np.ndarray, scratch: np.ndarray, busy: np.ndarray, tensor: np.ndarray,
                        context: np.ndarray) -> None:
    """With the block DCT, some channels at a time.

    cells, sides, blocks int64: of the tensor, of a block and how many of these, each along z, y, x. scratch int32
    (channels, blocks, cells of one), busy uint8 (channels, blocks): coefficients of the blocks that have any other
    than zero; all zero before and after.
    """
    channels, size = tensor.shape
    lines, flat = np.empty(sides.prod(), np.int64), values.reshape(-1)
    for first in range(0, channels, len(scratch)):
        count = min(len(scratch), channels - first)
        cell, at = 0, np.uint64(first)
        for uz in range(sides[0]):
            for bz in range(blocks[0]):
                for uy in range(sides[1]):
                    for by in range(blocks[1]):
                        for ux in range(sides[2]):
                            band = _BAND[max(uz, uy, ux)]
                            mantissa, exponent = steps[band, 0], steps[band, 1]
                            place = (uz * sides[1] + uy) * sides[2] + ux
                            block = (bz * blocks[1] + by) * blocks[2]
                            for n in range(block, block + blocks[2]):
                                if mask.size == 0 or mask[cell]:
                                    for c in range(count):
                                        q = flat[at + np.uint64(c)]
                                        if q:
                                            v = _step(q, mantissa, exponent)
                                            scratch[c, n, place], busy[c, n] = min(max(v, _MIN), _MAX), 1
                                            context[cell, first + c] = min(max(q, -_MAX_INPUT), _MAX_INPUT)
                                    at += np.uint64(channels)
                                cell += 1
        for c in range(count):
            _predict(source, based, base_mantissa, base_exponent, offset, first + c, 0, size, tensor)
            block = 0
            for z in range(0, blocks[0] * sides[0], sides[0]):
                for y in range(0, blocks[1] * sides[1], sides[1]):
                    for x in range(0, blocks[2] * sides[2], sides[2]):
                        if busy[c, block]:
                            _inverse_block(scratch[c, block], sides, lines)
                            scratch[c, block], busy[c, block] = 0, 0
                            _add_block(source, based, base_mantissa, base_exponent, offset, first + c, (z, y, x), cells,
                                       sides, lines, tensor)
                        block += 1


@_jit
def _add_block(source: np.ndarray, based: bool, base_mantissa: _Int, base_exponent: _Int, offset: _Int, c: _Int,
               corner: tuple[_Int, _Int, _Int], cells: np.ndarray, sides: np.ndarray, values: np.ndarray,
               tensor: np.ndarray) -> None:
    """Adds to a channel the cells of a block that are not beyond its end."""
    depth, height = min(sides[0], cells[0] - corner[0]), min(sides[1], cells[1] - corner[1])
    width = min(sides[2], cells[2] - corner[2])
    for z in range(depth):
        for y in range(height):
            cell = ((corner[0] + z) * cells[1] + corner[1] + y) * cells[2] + corner[2]
            at = (z * sides[1] + y) * sides[2]
            for x in range(width):
                v: _Int = np.int64(tensor[c, cell + x])
                if based:  # it has been clamped there
                    v = _predicted(source, based, c, cell + x, base_mantissa, base_exponent, offset)
                tensor[c, cell + x] = min(max(v + values[at + x], _MIN), _MAX)


@_jit
def _inverse_block(coefficients: np.ndarray, sides: np.ndarray, values: np.ndarray) -> None:
    """values int64: the cells of one block of coefficients."""
    values[:] = coefficients
    stride, size = np.uint64(1), np.uint64(len(values))
    for axis in (2, 1, 0):
        if sides[axis] > 1:
            for outer in range(np.uint64(0), size, stride * _EIGHT):
                for at in range(outer, outer + stride):
                    _inverse_line(values, at, stride)
            stride *= _EIGHT


@_jit
def _inverse_line(v: np.ndarray, at: _Int, s: _Int) -> None:
    """One line of a block, `s` apart, in place. The matrix's rows are even or odd about their middle, so that four
    sums of the even frequencies and four of the odd ones give all eight cells."""
    c0, c1, c2, c3 = v[at], v[at + s], v[at + _TWO * s], v[at + _THREE * s]
    at4 = at + _FOUR * s
    c4, c5, c6, c7 = v[at4], v[at4 + s], v[at4 + _TWO * s], v[at4 + _THREE * s]
    if c0 | c1 | c2 | c3 | c4 | c5 | c6 | c7 == 0:
        return
    sum04, difference04 = (c0 + c4) * _T0, (c0 - c4) * _T0
    outer26, inner26 = c2 * _T2 + c6 * _T6, c2 * _T6 - c6 * _T2
    even0, even1, even2, even3 = sum04 + outer26, difference04 + inner26, difference04 - inner26, sum04 - outer26
    odd0 = c1 * _T1 + c3 * _T3 + c5 * _T5 + c7 * _T7
    odd1 = c1 * _T3 - c3 * _T7 - c5 * _T1 - c7 * _T5
    odd2 = c1 * _T5 - c3 * _T1 + c5 * _T7 + c7 * _T3
    odd3 = c1 * _T7 - c3 * _T5 + c5 * _T3 - c7 * _T1
    v[at], v[at + s] = _scaled(even0 + odd0), _scaled(even1 + odd1)
    v[at + _TWO * s], v[at + _THREE * s] = _scaled(even2 + odd2), _scaled(even3 + odd3)
    v[at4], v[at4 + s] = _scaled(even3 - odd3), _scaled(even2 - odd2)
    v[at4 + _TWO * s], v[at4 + _THREE * s] = _scaled(even1 - odd1), _scaled(even0 - odd0)


@_jit
def _scaled(total: _Int) -> _Int:
    return min(max((total + _HALF) >> DCT_SHIFT, _MIN), _MAX)
