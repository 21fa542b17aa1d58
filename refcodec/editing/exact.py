"""Coding given integer tensors so that decoding gives exactly them (spec 7.2, 7.3).

Without a transform and with a step of which all values are multiples, dequantisation
loses nothing. Values that are too many or too far apart for one table are coded in two
layers: the high part in the shared unit, the low part as a residual to it (`prediction`
2). Two layers of 20 bits hold any tensor of 32-bit integers.
"""
from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..entropy.coder import MAX_SYMBOL
from ..entropy.fitting import best_static
from ..entropy.models import StaticModel
from ..syntax.coding import STEP_INDICES, STEPS_PER_OCTAVE, Prediction, Significance, Tools, step_of
from ..syntax.headers import Mapping, SequenceHeader, TensorInfo
from ..tensors.reconstruction import INT32_MAX, INT32_MIN, dequantise
from ..tensors.significance import coded_mask
from ..writer import TensorCoding

_LOW_BITS = (6, 8, 10, 12)  # of the low one of two layers
_TABLE = 1 << 12  # values that one table can hold


@dataclass(slots=True)
class ExactCoding:
    """What a file of one I-frame carries: tensors and models of the shared unit (none: it has none) and
    of the frame."""

    shared: list[TensorCoding] = field(default_factory=list)
    shared_models: dict[int, StaticModel] = field(default_factory=dict)
    tensors: list[TensorCoding] = field(default_factory=list)
    models: dict[int, StaticModel] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Grid:
    """values = dequantised(q) + offset, q: int64. step: its index."""

    q: np.ndarray
    step: int
    offset: int


def code_exactly(header: SequenceHeader, tensors: Sequence[np.ndarray], occupancy: np.ndarray | None,
                 steps: Sequence[Collection[int]]) -> ExactCoding:
    """How an I-frame carries these tensors.

    header: of the frame's scene. tensors: int32 (C, z, y, x). occupancy: bool (z, y, x) or
    None. steps: indices, of each tensor those that its values may be multiples of.
    """
    coding = ExactCoding()
    for i, (info, tensor) in enumerate(zip(header.tensors, tensors)):
        values = np.moveaxis(tensor, 0, -1).reshape(-1, info.shape[0]).astype(np.int64)
        cells = _coded_cells(header, info, occupancy)
        choices = [(grid, layers) for grid in _grids(values, steps[i]) for layers in _layers(grid)]
        grid, (low, high) = min(choices, key=lambda c: sum(_estimate(layer.q) for layer in c[1] if layer is not None))
        significance, symbols = Significance.ALL, low.q
        if cells is not None and not grid.q[~cells].any():
            significance, symbols = Significance.OCCUPIED, symbols[cells]
        prediction = Prediction.CONSTANT if grid.offset else Prediction.NONE
        if high is not None:
            coding.shared.append(TensorCoding(i, high.q.astype(np.int32), i, Tools((high.step,))))
            coding.shared_models[i] = best_static(high.q)
            prediction = Prediction.BASE
        coding.tensors.append(TensorCoding(
            i, symbols.astype(np.int32), i, Tools((low.step,), prediction, significance,
                                                  base=(1, 0) if high is not None else (0, 0), offset=low.offset)))
        coding.models[i] = best_static(symbols)
    return coding


def _coded_cells(header: SequenceHeader, info: TensorInfo, occupancy: np.ndarray | None) -> np.ndarray | None:
    """Cells that `significance` 1 codes, flat; None where it is not allowed."""
    if occupancy is None or info.mapping == Mapping.NONE:
        return None
    return coded_mask(header, info, occupancy).reshape(-1)


def _grids(values: np.ndarray, steps: Collection[int]) -> Iterator[_Grid]:
    """Ways to write the values as multiples of a step; the last always works."""
    for index in sorted(steps):
        mantissa, exponent = step_of(index)
        right = max(-exponent, 0)
        size = mantissa << max(exponent, 0)
        if size > 1 << right:
            q = ((values << right + 1) + size) // (2 * size)
            if np.array_equal(dequantise(q, mantissa, exponent), values):
                yield _Grid(q, index, 0)
    divisor = int(np.gcd.reduce((values - values.flat[0]).reshape(-1))) or 1
    divisor &= -divisor  # its power of two: those are steps
    if divisor > 1 or values.min() == values.max():
        offset = int(values.flat[0]) % divisor if divisor > 1 else int(values.flat[0])
        offset -= divisor if divisor > 1 and offset > divisor // 2 else 0
        yield _Grid((values - offset) // divisor, STEPS_PER_OCTAVE * (divisor.bit_length() - 1), offset)
    yield _Grid(values, 0, 0)


def _layers(grid: _Grid) -> Iterator[tuple[_Grid, _Grid | None]]:
    """(low, high or None): a grid in one layer or two."""
    q, (mantissa, exponent) = grid.q, step_of(grid.step)
    low, high = int(q.min()), int(q.max())
    if max(high, -low) <= MAX_SYMBOL:
        yield grid, None
    for bits in _LOW_BITS:
        coarser = grid.step + STEPS_PER_OCTAVE * bits
        size, part = divmod(mantissa << exponent + 15, 1 << 15)
        if part or high - low < 1 << bits or coarser >= STEP_INDICES:
            continue  # parts of a step are no whole numbers, which alone add up
        ends = [(end >> bits << bits) * size for end in (low, high)]
        if max(high >> bits, -(low >> bits)) <= MAX_SYMBOL and INT32_MIN <= ends[0] and ends[1] <= INT32_MAX:
            yield _Grid(q & (1 << bits) - 1, grid.step, grid.offset), _Grid(q >> bits, coarser, 0)


def _estimate(layer: np.ndarray) -> float:
    """Roughly the bits of symbols and model: a table of the values, or escapes from a small one."""
    counts = np.unique(layer, return_counts=True)[1]
    spread = int(layer.max() - layer.min()) + 1
    escapes = 2 * float(np.log2(1 + np.abs(layer - np.median(layer))).sum() + layer.size)
    if spread > _TABLE:
        return escapes
    return min(float(counts @ np.log2(layer.size / counts)) + 10 * spread, escapes)
