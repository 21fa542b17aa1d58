"""The compiled way through `coder.decode_symbols`: the same result, several times faster (needs numba)."""
from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..syntax.registry import ENERGY, PREVIOUS, PREVIOUS_ENERGY
from . import kernels
from .models import BERNOULLI, LOCATION_LIMIT, ContextModel, EntropyModel, StaticModel
from .tables import PRECISION, TOTAL, Table

PAD = 2
BUDGET = 1 << 31  # multiplications, about, between two looks at interrupts
_NONE = {dtype: np.empty(0, dtype) for dtype in (np.uint8, np.int8, np.int32)}


class Failure(Exception):
    """requirement, detail: of the EntropyError to raise."""

    def __init__(self, requirement: str, detail: str = ""):
        self.requirement, self.detail = requirement, detail


def decode_symbols(model: EntropyModel, shape: tuple[int, ...], mask: np.ndarray | None, previous: np.ndarray | None,
                   words: np.ndarray, selected: np.ndarray | None = None, band: np.ndarray | None = None) -> np.ndarray:
    """As `coder.decode_symbols`, after its check of empty tensors. Raises Failure."""
    size = shape[1] * shape[2] * shape[3]
    cells = size if mask is None else int(np.count_nonzero(mask))
    values = np.zeros((cells, shape[0]), np.int32)
    words, state, flat = np.array(words, np.uint32), np.empty(3, np.uint64), values.reshape(-1)
    kernels.begin(words, state)
    chosen = _NONE[np.uint8] if selected is None else np.require(selected, bool, ["C", "W"]).reshape(-1).view(np.uint8)
    if cells:
        if isinstance(model, ContextModel):
            _decode_contexts(model, shape, mask, previous, words, state, chosen, flat)
        else:
            _decode_static(model, shape, band, words, state, chosen, flat)
    if not kernels.finished(words, state):
        raise Failure("R-ENT-02")
    return values


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


def _decode_contexts(model: ContextModel, shape: tuple[int, ...], mask: np.ndarray | None, previous: np.ndarray | None,
                     words: np.ndarray, state: np.ndarray, chosen: np.ndarray, values: np.ndarray) -> None:
    channels, padded = shape[0], tuple(n + 2 * PAD for n in shape[1:])
    temporal = any(n[0] in (PREVIOUS, PREVIOUS_ENERGY) for n in model.template)
    network = _network(model, channels, padded)
    walk = _walk(model, shape, mask, padded, len(values), chosen)
    store = _store(model, shape, padded, previous if temporal else None, temporal)
    longest = int(np.diff(walk.ends, prepend=0).max()) * int(walk.sizes[1])
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
    return kernels.Tables(start, np.concatenate(below).astype(np.uint64), np.array([t.low for t in tables], np.int64),
                          sizes, np.array(likely), bucket)


@lru_cache(maxsize=64)
def _network(model: ContextModel, channels: int, padded: tuple[int, ...]) -> kernels.Network:
    """For a store of `padded` rows whose second half is the previous frame, as arrays of their kernels' types."""
    plane = padded[0] * padded[1] * padded[2]
    stride = np.array([padded[1] * padded[2], padded[2], 1])
    values, energies, column = [], [], 0  # (column of the weights, offset, shift of the channel)
    seen_from = set()
    for source, dc, *place in model.template:
        row = int(np.dot(place, stride))
        if source not in (PREVIOUS, PREVIOUS_ENERGY):
            seen_from.add(row)
        row += plane if source in (PREVIOUS, PREVIOUS_ENERGY) else 0
        if source in (ENERGY, PREVIOUS_ENERGY):
            energies.append((column, row, 0))
            column += 1
        else:
            for c in range(channels if model.joint else 1):
                values.append((column, row * channels + c + dc, dc))
                column += 1
    inputs = np.array(values + energies, np.int64).reshape(-1, 3)
    first, first_bias, _, second, second_bias, _ = model._layers
    location, table = model.predict(np.zeros((column, 1), np.float32))
    limits = (len(values), len(energies), 0 if model.family == BERNOULLI else LOCATION_LIMIT, len(model.tables) - 1,
              inputs[:, 2].any(), np.ptp(location) + np.ptp(table))
    return kernels.Network(
        inputs[:, 1].astype(np.uint64), inputs[:, 2].copy(), _widened(first[:, inputs[:, 0]]), first_bias[:, 0].copy(),
        _widened(second), second_bias[:, 0].copy(),
        np.float32(2.0) ** -np.array([model.hidden_shift, model.location_shift, model.scale_shift], np.float32),
        np.array(limits, np.int64),
        np.resize(location[:, 0], channels).astype(np.int8), np.resize(table[:, 0], channels),
        np.array(sorted(seen_from), np.int64))


def _widened(weights: np.ndarray) -> np.ndarray:
    """With columns of zeros up to a multiple of UNROLL."""
    return np.ascontiguousarray(np.pad(weights, ((0, 0), (0, -weights.shape[1] % kernels.UNROLL))))


def _walk(model: ContextModel, shape: tuple[int, ...], mask: np.ndarray | None, padded: tuple[int, ...], count: int,
          chosen: np.ndarray) -> kernels.Walk:
    channels, scan = shape[0], np.array(model.scan, np.int64)
    marked = _NONE[np.uint8] if mask is None else np.require(mask, bool, ["C", "W"]).reshape(-1).view(np.uint8)
    run = shape[3] if mask is None else 1
    rows = np.empty(count // channels // run, np.int32)
    counts = np.zeros(int(scan @ (np.array(shape) - 1)) + 1, np.int64)
    kernels.count_keys(marked, shape, scan, padded, counts, rows)
    order, ends = np.empty(int(counts.sum()), np.int32), np.cumsum(counts)
    begins = ends - counts
    kernels.sort_keys(marked, shape, scan, begins, order)
    symbols = 1 if scan[0] else channels
    return kernels.Walk(order, ends[counts > 0], rows, chosen,
                        np.array([channels, symbols, channels if model.joint else 1, run]))


def _store(model: ContextModel, shape: tuple[int, ...], padded: tuple[int, ...], previous: np.ndarray | None,
           temporal: bool) -> kernels.Store:
    if not model.template:
        return kernels.Store(_NONE[np.int8], _NONE[np.int8], _NONE[np.uint8])
    plane = padded[0] * padded[1] * padded[2]
    rows = plane * (2 if temporal else 1)
    energetic = any(n[0] in (ENERGY, PREVIOUS_ENERGY) for n in model.template)
    store = kernels.Store(np.zeros(rows * shape[0], np.int8), np.zeros(rows if energetic else 0, np.int8),
                          np.zeros(plane, np.uint8))
    if previous is not None:
        stride = np.array([padded[1] * padded[2], padded[2], 1])
        seen_later = {int(np.dot(n[2:], stride)) for n in model.template if n[0] in (PREVIOUS, PREVIOUS_ENERGY)}
        lines = np.require(previous, np.int8, ["C", "W"]).reshape(*shape[1:3], -1)
        kernels.take_previous(lines, shape, padded, store.values, store.energies, store.active,
                              np.array(sorted(seen_later), np.int64))
    return store
