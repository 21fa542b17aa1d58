"""Coding given integer tensors so that decoding gives exactly them (spec 7.2, 7.3).

A tensor of a P-frame is the sum of the contributions of several frames. Two of them become two layers: the first in
the shared unit, the second as a residual to it (`prediction` 2), with their transforms, symbols and models. More of
them become one layer, of the sum of their coefficients, and a second one of the rounding difference. Any other tensor
is coded without a transform and with a step size of which all values are multiples, so that dequantisation is exact;
values too many or too far apart for one table take two layers, of high and low parts. Two layers of
20 bits hold any tensor of 32-bit integers.
"""
from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..decoding import DecodedTensor
from ..entropy.coder import MAX_SYMBOL, encode_symbols
from ..entropy.fitting import best_static, model_bytes
from ..entropy.models import EntropyModel, fits, work
from ..syntax.coding import STEP_INDICES, STEPS_PER_OCTAVE, Prediction, Significance, Tools, Transform, step_of
from ..syntax.headers import Mapping, SequenceHeader, TensorInfo
from ..tensors.bound import BoundTensor
from ..tensors.reconstruction import INT32_MAX, INT32_MIN, dequantise, saturate
from ..tensors.state import FrameState
from ..tensors.transforms import band_map
from ..writer import TensorCoding

_LOW_BITS = (6, 8, 10, 12)  # of the low one of two layers
_TABLE = 1 << 12  # values that one table can hold


@dataclass(slots=True)
class ExactCoding:
    """The content of a file of one I-frame: tensors and models of the shared unit (none: there is no such unit) and of
    the frame. work: multiplications of the unit that needs most; coefficients: of the one that has most.
    """

    shared: list[TensorCoding] = field(default_factory=list)
    shared_models: dict[int, EntropyModel] = field(default_factory=dict)
    tensors: list[TensorCoding] = field(default_factory=list)
    models: dict[int, EntropyModel] = field(default_factory=dict)
    work: int = 0
    coefficients: int = 0


@dataclass(frozen=True, slots=True)
class SymbolLayer:
    """One unit's contribution to a tensor. symbols: int32 (cells, C), of all cells of the coefficients. models: that
    may code them."""

    tools: Tools
    symbols: np.ndarray
    models: tuple[EntropyModel, ...] = ()

    @property
    def kind(self) -> tuple[int, int]:
        return self.tools.transform, self.tools.levels


class History:
    """The layers whose sum a tensor is, from the frames up to it. steps: `step_index` of the step sizes of which it may
    be a multiple. whole: whether `layers` are all of it.
    """

    def __init__(self) -> None:
        self.layers: list[SymbolLayer] = []
        self.steps: set[int] = set()
        self.whole = True

    def add(self, tensor: DecodedTensor) -> None:
        """Adds a frame's contribution."""
        tools, layout = tensor.bound.tools, tensor.bound.layout
        prediction = Prediction.of(tools.prediction)
        if not prediction.needs_previous:
            self.layers, self.steps, self.whole = [], set(), not prediction.needs_shared
        if Transform.of(tools.transform).identity:
            self.steps.update(tools.steps)
        if self.layers and not tensor.values.any():
            return
        symbols = tensor.values
        if layout.mask is not None:
            symbols = np.zeros((math.prod(layout.shape[1:]), layout.channels), np.int32)
            symbols[layout.mask.reshape(-1)] = tensor.values
        self.layers.append(SymbolLayer(tools, symbols, (tensor.model,)))

    def total(self, info: TensorInfo, allowed: int | None = None) -> SymbolLayer | None:
        """One layer with the sum of the coefficients; None where there is none.

        allowed: `step_index` of a step size, by half of which the sum may be off; None: the finest of the layers.
        """
        first, kinds = self.layers[0], {layer.kind for layer in self.layers}
        if len(kinds) > 1:
            return None
        transform, levels = first.kind
        band = band_map(transform, levels, info.shape[1:]).reshape(-1) if transform else np.zeros(1, np.uint8)
        by_band = zip(*(layer.tools.steps for layer in self.layers))
        steps = tuple(of_band[0] if len(set(of_band)) == 1 and of_band[0] >= (allowed or 0)
                      else min(of_band) if allowed is None else allowed for of_band in by_band)
        total = np.zeros(first.symbols.shape, np.int64)
        for layer in self.layers:
            mantissa, exponent = np.array([step_of(s) for s in layer.tools.steps])[band].T
            total += saturate(dequantise(layer.symbols, mantissa[:, None], exponent[:, None]))
        size = np.array([math.ldexp(*step_of(s)) for s in steps])[band][:, None]
        symbols = np.rint(total / size)
        if np.abs(symbols).max() > MAX_SYMBOL:
            return None
        models = tuple({id(m): m for layer in self.layers for m in layer.models}.values())
        return SymbolLayer(replace(first.tools, steps=steps), symbols.astype(np.int32), models)


def code_exactly(header: SequenceHeader, tensors: Sequence[np.ndarray], occupancy: np.ndarray | None,
                 histories: Sequence[History], *, lossy: float | None = None) -> ExactCoding:
    """The coding of these tensors in an I-frame.

    header: of the frame's scene. tensors: int32 (C, z, y, x). occupancy: bool (z, y, x) or
    None. histories: how each tensor has come about. lossy: a quantisation step size in units of the field, by half of
    which coefficients of grids, planes and lines may differ. None: tensors are the same.
    """
    coding, coder = ExactCoding(), _Coder(header, occupancy)
    totals = [[0, 0], [0, 0]]  # work and coefficients, of the frame and of the shared unit
    for i, (info, tensor, history) in enumerate(zip(header.tensors, tensors, histories)):
        allowed = lossy if info.mapping != Mapping.NONE else None
        found = [coder.code(i, layers) for layers in _splits(coder, i, info, tensor, history, allowed)]
        if allowed is None:
            found = [coded for coded in found if np.array_equal(coded.tensor, tensor)]
        if allowed is None or not found:
            bits, layers = _plain(tensor, history.steps)
            if not found or bits < min(f.bits for f in found):
                found.append(coder.code(i, layers))
        parts = min(found, key=lambda f: f.bits).parts
        if len(parts) > 1:
            coding.shared.append(parts[0].coding)
            coding.shared_models[i] = parts[0].model
        coding.tensors.append(parts[-1].coding)
        coding.models[i] = parts[-1].model
        for total, part in zip(totals, reversed(parts)):
            total[0] += work(part.model, part.shape)
            total[1] += math.prod(part.shape)
    coding.work, coding.coefficients = (max(values) for values in zip(*totals))
    return coding


def _splits(coder: _Coder, i: int, info: TensorInfo, tensor: np.ndarray, history: History,
            lossy: float | None) -> Iterator[list[SymbolLayer]]:
    """Layerings of a tensor that follow its frames; not all are exact. lossy: see `code_exactly`."""
    layers = history.layers
    if not history.whole or not layers:
        return
    if len(layers) <= 2:
        yield layers
    if lossy is not None and (total := history.total(info, _step_below(lossy * 2.0**info.frac_bits))) is not None:
        yield [total]
    elif lossy is None and len(layers) > 1 and (total := history.total(info)) is not None:
        yield [total]
        rest = tensor.astype(np.int64) - coder.code(i, [total]).tensor
        if np.abs(rest).max() <= MAX_SYMBOL:
            symbols = np.moveaxis(rest, 0, -1).reshape(-1, info.shape[0]).astype(np.int32)
            yield [total, SymbolLayer(Tools((0,)), symbols)]


def _step_below(size: float) -> int:
    """`step_index` of the largest step size of at most `size` reconstructed integers, 0 where there is none."""
    return max((i for i in range(STEP_INDICES) if math.ldexp(*step_of(i)) <= size), default=0)


@dataclass(frozen=True, slots=True)
class _CodedLayer:
    """A layer as it is coded. shape: of its coefficients. bits: with the model."""

    coding: TensorCoding
    model: EntropyModel
    shape: tuple[int, int, int, int]
    bits: float


@dataclass(frozen=True, slots=True)
class _LayeredTensor:
    """A tensor in one or two layers, the last of them the frame's, and what it decodes to."""

    parts: list[_CodedLayer]
    tensor: np.ndarray

    @property
    def bits(self) -> float:
        return sum(p.bits for p in self.parts)


class _Coder:
    """Codes tensors of a shared unit and of the frame after it."""

    def __init__(self, header: SequenceHeader, occupancy: np.ndarray | None):
        self.shared, self.frame = FrameState(header), FrameState(header)
        self.frame.set_occupancy(occupancy)

    def code(self, i: int, layers: Sequence[SymbolLayer]) -> _LayeredTensor:
        """One layer, or a shared one and the residual to it."""
        *before, last = layers
        parts: list[_CodedLayer] = []
        tools = replace(last.tools, significance=Significance.ALL)
        for layer in before:
            bound = self.shared.bind(i, replace(layer.tools, significance=Significance.ALL))
            parts.append(_part(bound, layer))
            self.shared.reconstruct(bound, parts[0].coding.values)
            self.frame.shared[i] = self.shared.tensors[i]
            tools = replace(tools, prediction=Prediction.BASE, base=(1, 0))
        bound = self.frame.bind(i, tools)
        if self.frame.occupancy is not None and bound.info.mapping != Mapping.NONE:
            occupied = self.frame.bind(i, replace(tools, significance=Significance.OCCUPIED))
            assert occupied.layout.mask is not None
            if not last.symbols[~occupied.layout.mask.reshape(-1)].any():
                bound = occupied
        parts.append(_part(bound, last))
        tensor, _ = self.frame.kernels.reconstruct(bound, parts[-1].coding.values)
        return _LayeredTensor(parts, tensor)


def _part(bound: BoundTensor, layer: SymbolLayer) -> _CodedLayer:
    """The layer under the model that takes the fewest bits, those of the model counted."""
    layout, values = bound.layout, layer.symbols
    if layout.mask is not None:
        values = values[layout.mask.reshape(-1)]
    bands = len(bound.tools.steps)
    offers = [(8 * model_bytes(model) + encode_symbols(model, layout, values)[1], model)
              for model in (*layer.models, best_static(values, layout.band, bands=bands))
              if fits(model, layout.channels, bands)]
    bits, model = min(offers, key=lambda o: o[0])
    return _CodedLayer(TensorCoding(bound.id, values, bound.id, bound.tools), model, layout.shape, bits)


def _plain(tensor: np.ndarray, steps: Collection[int]) -> tuple[float, list[SymbolLayer]]:
    """Layers without a transform that decode to any tensor, and roughly their bits."""
    values = np.moveaxis(tensor, 0, -1).reshape(-1, tensor.shape[0]).astype(np.int64)
    choices = [(sum(_estimate(layer.q) for layer in layers if layer is not None), layers)
               for grid in _grids(values, steps) for layers in _layers(grid)]
    bits, (low, high) = min(choices, key=lambda c: c[0])
    prediction = Prediction.CONSTANT if low.offset and high is None else Prediction.NONE
    layers = [SymbolLayer(Tools((low.step,), prediction, offset=low.offset), low.q.astype(np.int32))]
    if high is not None:
        layers.insert(0, SymbolLayer(Tools((high.step,)), high.q.astype(np.int32)))
    return bits, layers


@dataclass(frozen=True, slots=True)
class _Grid:
    """values = dequantised(q) + offset, q: int64. step: the `step_index`."""

    q: np.ndarray
    step: int
    offset: int


def _grids(values: np.ndarray, steps: Collection[int]) -> Iterator[_Grid]:
    """Representations of the values as multiples of a step size; one of the last two always works."""
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
    low, high = int(values.min()), int(values.max())
    if max(high, -low) > MAX_SYMBOL and high - low <= 2 * MAX_SYMBOL:  # far from zero, near to each other
        middle = (low + high) // 2
        yield _Grid(values - middle, 0, middle)
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
