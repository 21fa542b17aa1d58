"""The compiled way through `coder.decode_symbols`: the same result, several times faster (needs numba)."""
from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..syntax.registry import is_energy, is_magnitude, is_previous
from . import kernels
from .coder import Margin, words_of
from .layout import Shape, Spatial
from .models import BERNOULLI, LOCATION_LIMIT, MIXTURE, SHAPES, ContextModel, EntropyModel, StaticModel, on_array
from .tables import PRECISION, TOTAL, Table

_BIT_INPUTS = 16  # of a model whose contexts are kept as numbers
BUDGET = 1 << 31  # multiplications, about, between two looks at interrupts
_NONE: dict[type[np.generic], np.ndarray] = {
    dtype: np.empty(0, dtype) for dtype in (np.uint8, np.int8, np.int32, np.uint64)}


class Failure(Exception):
    """requirement, detail: of the EntropyError to raise."""

    def __init__(self, requirement: str, detail: str = ""):
        self.requirement, self.detail = requirement, detail


def decode_symbols(model: EntropyModel, shape: Shape, mask: np.ndarray | None, previous: np.ndarray | None,
                   data: bytes, selected: np.ndarray | None, band: np.ndarray | None, blocks: Spatial
                   ) -> np.ndarray:
    """As `coder.decode_symbols`, after its check of empty tensors. Raises Failure."""
    size = shape[1] * shape[2] * shape[3]
    cells = size if mask is None else int(np.count_nonzero(mask))
    values = np.zeros((cells, shape[0]), np.int32)
    words, state, flat = words_of(data), np.empty(3, np.uint64), values.reshape(-1)
    kernels.begin(words, state)
    chosen = _NONE[np.uint8] if selected is None else np.require(selected, bool, ["C", "W"]).reshape(-1).view(np.uint8)
    if cells:
        if isinstance(model, ContextModel):
            _decode_contexts(on_array(model, shape[1:], blocks), shape, mask, previous, words, state, chosen, flat)
        else:
            _decode_static(model, shape, band, words, state, chosen, flat)
    _check_end(data, state)
    return values


def decode_occupancy(model: EntropyModel, shape: Spatial, previous: np.ndarray | None, data: bytes
                     ) -> np.ndarray | None:
    """Occupancy, bool (z, y, x); None where `decode_symbols` has to look at it: a model with many inputs or an order
    that is rare, or a value that is no bit. Raises Failure."""
    if not isinstance(model, ContextModel) or model.scan[3] == 0:
        return None
    model = on_array(model, shape, (1, 1, 1))
    if len(model.template) > _BIT_INPUTS or not model.template:
        return None
    margin = Margin.of(model, shape)
    bits = _bits(model, margin)._replace(context=np.zeros(margin.size, np.uint16))
    if previous is not None:
        kernels.begin_bits(np.require(previous, np.int8, ["C", "W"]).reshape(-1).view(np.uint8), shape, margin.before,
                           margin.padded, bits)
    words, state, lines = words_of(data), np.empty(3, np.uint64), shape[0] * shape[1]
    kernels.begin(words, state)
    scratch = kernels.Scratch(
        np.empty(lines, np.uint8), _NONE[np.int8], np.empty(lines, np.int32), np.empty(lines, np.int32),
        np.empty((0, 0), np.float32), np.empty((0, 0), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))
    rows, starts = np.empty(lines, np.int32), np.empty(len(model.tables) + 1, np.int64)
    occupancy, scan, key = np.zeros(shape, np.uint8), np.array(model.scan[1:], np.int64), 0
    while key <= int(scan @ (np.array(shape) - 1)):
        outcome, value, key = kernels.decode_bits(words, state, _packed(model.tables), bits, shape, scan, margin.before,
                                                  margin.padded, scratch, rows, starts, key, BUDGET // 64,
                                                  occupancy.reshape(-1))
        if outcome == kernels.ESCAPED:
            return None
        _check(outcome, value)
    _check_end(data, state)
    return occupancy.view(bool)


@lru_cache(maxsize=16)
def _bits(model: ContextModel, margin: Margin) -> kernels.Bits:
    """For an occupancy; without contexts, and with tables that are worked out as they come."""
    seen: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    for n, (source, dc, *place) in enumerate(model.template):
        if dc == 0 or model.joint or is_energy(source):  # there is one channel
            seen[is_previous(source)].append((sum(a * b for a, b in zip(place, margin.stride)), 1 << n))
    hidden_round, output_round = ((1 << shift) >> 1 for shift in (model.hidden_shift, model.scale_shift))
    return kernels.Bits(
        np.empty(0, np.uint16), np.full(1 << len(model.template), kernels.ABSENT, np.uint8),
        model.hidden_weight.astype(np.int64), model.hidden_bias.astype(np.int64) + hidden_round,
        model.output_weight[1].astype(np.int64), model.output_bias[1:].astype(np.int64) + output_round,
        np.array([model.hidden_shift, model.scale_shift]), *(np.array(s, np.int64).reshape(-1, 2) for s in seen))


def _check_end(data: bytes, state: np.ndarray) -> None:
    if not kernels.finished(len(data), data[-1] if data else 0, state):
        raise Failure("R-ENT-02")


def _check(outcome: kernels.Int, value: kernels.Int) -> None:
    if outcome != kernels.DONE:
        raise Failure(f"R-ENT-0{outcome}", f"It is {value}." if outcome == kernels.LARGE else "")


def _decode_static(model: StaticModel, shape: tuple[int, ...], band: np.ndarray | None, words: np.ndarray,
                   state: np.ndarray, chosen: np.ndarray, values: np.ndarray) -> None:
    table = model.table_of(len(values) // shape[0], shape[0], band).reshape(-1)
    if len(chosen):
        table[chosen == 0] = kernels.ABSENT
    _check(*kernels.decode_static(words, state, _packed(model.tables), table,
                                  np.empty(0 if len(model.tables) == 1 else len(values), np.int32),
                                  np.empty(len(model.tables) + 1, np.int64), values))


def _decode_contexts(model: ContextModel, shape: Shape, mask: np.ndarray | None, previous: np.ndarray | None,
                     words: np.ndarray, state: np.ndarray, chosen: np.ndarray, values: np.ndarray) -> None:
    margin = Margin.of(model, shape[1:])
    width, network, seen_later = _network(model, shape[0], margin)
    walk, longest = _walk(model, shape, mask, margin, len(values), width, chosen)
    store = _store(model, shape, margin, width, previous if len(seen_later) else None, seen_later)
    scratch = kernels.Scratch(
        np.empty(longest, np.uint8), np.empty(longest, np.int8), np.empty(longest, np.int32),
        np.empty(longest, np.int32), np.zeros((network.first.shape[1], kernels.BATCH), np.float32),
        np.zeros((network.second.shape[1], kernels.BATCH), np.float32), np.empty(kernels.BATCH, np.float32),
        np.empty(kernels.BATCH, np.int64))
    tables, starts = _packed(model.tables), np.empty(len(model.tables) + 1, np.int64)
    budget = BUDGET // (64 + (model.hidden_weight.size + model.output_weight.size) // int(walk.sizes[2]))
    step = 0
    while step < len(walk.ends):
        outcome, value, step = kernels.decode_steps(words, state, tables, walk, network, store, scratch, starts, step,
                                                    budget, values)
        _check(outcome, value)


@lru_cache(maxsize=64)
def _packed(tables: tuple[Table, ...]) -> kernels.Tables:
    sizes = np.array([t.size for t in tables])
    start = np.concatenate([[0], np.cumsum(sizes + 2)[:-1]])
    below, bucket, likely = [], np.empty((len(tables), kernels.BUCKETS + 1), np.uint16), []
    firsts = np.arange(kernels.BUCKETS + 1) << (PRECISION - kernels.BUCKETS.bit_length() + 1)
    for k, table in enumerate(tables):
        edges = np.concatenate([[0], np.cumsum(table.frequencies)])
        bucket[k] = np.minimum(np.searchsorted(edges[1:], firsts, side="right"), table.size)
        below.append(edges)
        best = int(table.frequencies.argmax())
        likely.append(best if best < table.size and table.frequencies[best] * 3 > TOTAL else -1)
    return kernels.Tables(start, np.concatenate(below).astype(np.uint32), np.array([t.low for t in tables], np.int64),
                          sizes, np.array(likely), bucket)


def _reach(model: ContextModel) -> int:
    """How many channels that there are not an input may lie beyond the first or last."""
    return 0 if model.joint else max((abs(dc) for _, dc, *_ in model.template), default=0)


@lru_cache(maxsize=64)
def _network(model: ContextModel, channels: int, margin: Margin) -> tuple[int, kernels.Network, np.ndarray]:
    """Elements of a row of the store; the network for it, whose second half is the previous frame; and how far back
    of a cell of the previous frame the rows lie whose inputs it takes part in. As arrays of the kernels' types."""
    width = channels + _reach(model)
    values: list[tuple[int, int]] = []  # (column of the weights, offset)
    magnitudes: list[tuple[int, int]] = []
    energies: list[tuple[int, int]] = []
    column = 0
    seen: tuple[set[int], set[int]] = (set(), set())
    for source, dc, *place in model.template:
        row = sum(a * b for a, b in zip(place, margin.stride))
        seen[is_previous(source)].add(row)
        if is_previous(source):
            row += margin.size
        if is_energy(source):
            energies.append((column, row))
            column += 1
        else:
            for c in range(channels if model.joint else 1):
                place_ = row * width + (c if model.joint else dc)
                (magnitudes if is_magnitude(source) else values).append((column, place_))
                column += 1
    inputs = np.array(values + magnitudes + energies, np.int64).reshape(-1, 2)
    first, first_bias, _, second, second_bias, _ = model._layers
    location, table = model.predict(np.zeros((column, 1), np.float32))
    limits = (len(values), len(magnitudes), len(energies), 0 if model.family == BERNOULLI else LOCATION_LIMIT,
              model.scales - 1, SHAPES - 1 if model.family == MIXTURE else 0,
              len(set(zip(location[:, 0].tolist(), table[:, 0].tolist()))) > 1)
    seen_from, seen_later = (np.array(sorted(rows), np.int64) for rows in seen)
    return width, kernels.Network(
        inputs[:, 1].astype(np.uint64), _widened(first[:, inputs[:, 0]]), first_bias[:, 0].copy(),
        _widened(second), second_bias[:, 0].copy(),
        np.float32(2.0) ** -np.array([model.hidden_shift, *model.shifts], np.float32),
        np.array(limits, np.int64),
        np.resize(location[:, 0], channels).astype(np.int8), np.resize(table[:, 0], channels),
        seen_from), seen_later


def _widened(weights: np.ndarray) -> np.ndarray:
    """With columns of zeros up to a multiple of UNROLL."""
    rows, columns = weights.shape
    wide = np.zeros((rows, columns + -columns % kernels.UNROLL), weights.dtype)
    wide[:, :columns] = weights
    return wide


def _walk(model: ContextModel, shape: Shape, mask: np.ndarray | None, margin: Margin, count: int, width: int,
          chosen: np.ndarray) -> tuple[kernels.Walk, int]:
    """The walk, and the symbols of its longest step."""
    channels, scan = shape[0], np.array(model.scan, np.int64)
    marked = _NONE[np.uint8] if mask is None else np.require(mask, bool, ["C", "W"]).reshape(-1).view(np.uint8)
    run = shape[3] if mask is None else 1
    rows = np.empty(count // channels // run, np.int32)
    counts = np.zeros(int(scan @ (np.array(shape) - 1)) + 1, np.int64)
    kernels.count_keys(marked, shape, scan, margin.before, margin.padded, counts, rows)
    order, ends = np.empty(int(counts.sum()), np.int32), np.cumsum(counts)
    begins = ends - counts
    bits = (channels - 1).bit_length()
    kernels.sort_keys(marked, shape, scan, bits, begins, order)
    symbols = 1 if scan[0] else channels
    sizes = np.array([channels, symbols, channels if model.joint else 1, run, bits, width])
    return kernels.Walk(order, ends[counts > 0], rows, chosen, sizes), int(counts.max()) * symbols


def _store(model: ContextModel, shape: Shape, margin: Margin, width: int, previous: np.ndarray | None,
           seen_later: np.ndarray) -> kernels.Store:
    if not model.template:
        return kernels.Store(_NONE[np.int8], _NONE[np.int8], _NONE[np.uint8])
    rows = margin.size * (2 if len(seen_later) else 1)
    energetic = any(is_energy(n[0]) for n in model.template)
    store = kernels.Store(np.zeros(rows * width, np.int8), np.zeros(rows if energetic else 0, np.int8),
                          np.zeros(margin.size, np.uint8))
    if previous is not None:
        flat = np.require(previous, np.int8, ["C", "W"]).reshape(-1)
        words = flat[: len(flat) // 8 * 8].view(np.uint64) if flat.ctypes.data % 8 == 0 else _NONE[np.uint64]
        kernels.take_previous(flat, words, shape, margin.before, margin.padded, width, store, seen_later)
    return store
