"""Static tables fitted to the symbols of a tensor: compact histograms (spec 6.6). No torch.

    static = best_static(values, band, selected, bands=len(tools.steps))
"""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..syntax.structures import ENTROPY_MODEL
from .models import BY_BAND, BY_BAND_AND_CHANNEL, BY_CHANNEL, ONE_TABLE, EntropyModel, StaticModel, model_to_syntax
from .tables import TOTAL, static_table


def model_bytes(model: EntropyModel) -> int:
    """Bytes of a model in the stream (spec 4.8 to 4.10)."""
    return len(ENTROPY_MODEL.build(model_to_syntax(0, model)))


_MAX_ENTRIES, _MAX_FIRST, _MAX_TABLES = 4096, 1 << 16, 255
# Largest count of a table: small ones take one byte each, large ones are nearer to the frequencies.
_PEAKS = (3, 7, 15, 31, 63, 127, 511, 2047, 16383)
_VARINT_ENDS = 1 << np.array([7, 14, 21, 28])  # numbers from here on take a byte more
_FIRST_PEAKS = (1, 3, 5, 7)  # places in `_PEAKS` with which the search begins
# Parts of the symbols beyond either end of a table with which the search for its range begins.
_TAILS = (0.0, 1e-4, 1e-3, 4e-3, 0.015, 0.05)


@dataclass(frozen=True, slots=True)
class _Histogram:
    """values, ascending, and how often each occurs."""

    values: np.ndarray
    counts: np.ndarray


def fit_static(values: np.ndarray, band: np.ndarray | None = None, selected: np.ndarray | None = None,
               assignment: int = ONE_TABLE, *, bands: int | None = None) -> StaticModel:
    """Static tables with the frequencies of the symbols themselves (spec 6.6).

    values: int (cells, C). band: uint8 (cells,), None: all of band 0. selected: bool
    (cells, C), the symbols that are coded; None: all. assignment: what a table depends
    on. bands: number of the tensor's, to be given where the last may not occur; None:
    as many as there are. Counts are scaled down and tails left to the escape wherever
    that makes tables and symbols together smaller. Raises ValueError where a band is not
    below `bands` or there are more tables than a model may have.
    """
    return _fit_static(values, band, selected, assignment, bands)[0]


def best_static(values: np.ndarray, band: np.ndarray | None = None, selected: np.ndarray | None = None,
                *, bands: int | None = None) -> StaticModel:
    """The smallest of the static models of all assignments, tables counted; arguments as in `fit_static`."""
    bands = band_number(band, bands)
    possible = {ONE_TABLE: 1, BY_CHANNEL: values.shape[1], BY_BAND: bands, BY_BAND_AND_CHANNEL: bands * values.shape[1]}
    tried = [_fit_static(values, band, selected, assignment, bands) for assignment, tables in possible.items()
             if assignment == ONE_TABLE or 1 < tables <= _MAX_TABLES]
    return min(tried, key=lambda t: 8 * model_bytes(t[0]) + t[1])[0]


def band_number(band: np.ndarray | None, bands: int | None) -> int:
    """Number of bands: `bands`, or as many as occur. Raises ValueError where one is not below `bands`."""
    occurring = int(band.max()) + 1 if band is not None and band.size else 1
    if bands is not None and occurring > bands:
        raise ValueError(f"there is a band {occurring - 1}; the tensor has {bands}")
    return bands or occurring


def _fit_static(values: np.ndarray, band: np.ndarray | None, selected: np.ndarray | None, assignment: int,
                bands: int | None) -> tuple[StaticModel, float]:
    """The model, and the ideal code length of the symbols in bits."""
    cells, channels = values.shape
    bands = band_number(band, bands)
    table: np.ndarray = np.zeros((cells, channels), np.int64)
    if assignment in (BY_BAND, BY_BAND_AND_CHANNEL) and band is not None:
        table += band[:, None].astype(np.int64) * (1 if assignment == BY_BAND else channels)
    if assignment in (BY_CHANNEL, BY_BAND_AND_CHANNEL):
        table += np.arange(channels)
    counts: dict[int, int] = {ONE_TABLE: 1, BY_CHANNEL: channels, BY_BAND: bands,
                              BY_BAND_AND_CHANNEL: bands * channels}
    count = counts[assignment]
    if count > _MAX_TABLES:
        raise ValueError(f"{count} tables; a model has at most {_MAX_TABLES}")
    values, table = (a[selected] if selected is not None else a.reshape(-1) for a in (values, table))
    order = np.argsort(table, kind="stable")
    parts = np.split(values[order], np.searchsorted(table[order], np.arange(1, count)))
    fitted = [_fit_table(_Histogram(*np.unique(part.astype(np.int64), return_counts=True))) for part in parts]
    return StaticModel(tuple(entry for entry, _ in fitted), assignment), sum(bits for _, bits in fitted)


def _fit_table(h: _Histogram) -> tuple[tuple[int, tuple[int, ...]], float]:
    """(first_value, counts), and the code length of the symbols in bits, the table not counted."""
    if not len(h.values):
        return (0, (1, 0)), 0.0
    below = np.cumsum(h.counts) / h.counts.sum()
    last = len(h.values) - 1

    def end(part: float) -> tuple[int, int]:
        return (min(int(np.searchsorted(below, part, "right")), last) if part else 0,
                min(int(np.searchsorted(below, 1 - part)), last) if part else last)

    seen: dict[tuple[int, int, int], tuple[int, tuple[int, ...], float, float] | None] = {}

    def cost(state: tuple[int, int, int]) -> float:
        if state not in seen:
            seen[state] = _table(h, *state)
        found = seen[state]
        return found[2] if found is not None else math.inf

    common = int(h.counts.argmax())
    ends = {end(part) for part in _TAILS} | {(common, common)}
    best = min(((*e, peak) for e in sorted(ends) for peak in _FIRST_PEAKS), key=cost)
    if cost(best) == math.inf:  # too far from 0 for a table: escapes alone
        first, counts, _, bits = _costed(h, 0, (0, 1))
        return (first, counts), bits
    reach = max(1, (best[1] - best[0]) // 8)
    while reach:  # descend, moving one end or the precision at a time
        low, high, peak = best
        near = [(low - reach, high, peak), (low + reach, high, peak), (low, high - reach, peak),
                (low, high + reach, peak), (low, high, peak - 1), (low, high, peak + 1)]
        near = [s for s in near if 0 <= s[0] <= s[1] <= last and 0 <= s[2] < len(_PEAKS)]
        better = min(near, key=cost, default=best)
        if cost(better) < cost(best):
            best = better
        else:
            reach //= 2
    found = seen[best]
    assert found is not None, "it has a cost"
    first, counts, _, bits = found
    return (first, counts), bits


def _table(h: _Histogram, low: int, high: int, peak: int) -> tuple[int, tuple[int, ...], float, float] | None:
    """A table over the values from the `low`-th to the `high`-th that occur, see `_costed`; None where no
    model may hold it."""
    first, size = int(h.values[low]), int(h.values[high] - h.values[low]) + 1
    if size >= _MAX_ENTRIES or abs(first) > _MAX_FIRST:
        return None
    occurring = np.append(h.counts[low : high + 1], h.counts[:low].sum() + h.counts[high + 1 :].sum())
    scaled = np.maximum(np.round(occurring * (_PEAKS[peak] / occurring.max())).astype(np.int64), occurring > 0)
    counts = np.zeros(size + 1, np.int64)
    counts[h.values[low : high + 1] - first], counts[-1] = scaled[:-1], scaled[-1]
    return _costed(h, first, tuple(counts.tolist())) if counts.sum() <= TOTAL else None


def _costed(h: _Histogram, first: int, counts: tuple[int, ...]) -> tuple[int, tuple[int, ...], float, float]:
    """first_value and counts of a table, the bits of the symbols with the table, and without."""
    length, size = static_table(first, counts).bits, len(counts) - 1
    entries = h.values - first
    beyond = np.maximum(-entries, entries - (size - 1))
    escaped = beyond > 0
    bits = float(h.counts @ length[np.where((entries < 0) | (entries >= size), size, entries)])
    if escaped.any():  # Exp-Golomb code of the distance, and its side
        bits += float(h.counts[escaped] @ (2 * np.frexp(beyond[escaped].astype(np.float64))[1]))
    table = int(np.searchsorted(_VARINT_ENDS, [2 * abs(first), size + 1, *counts], "right").sum()) + 2 + len(counts)
    return first, counts, bits + 8 * table, bits
