"""Coding the symbols of one tensor: order, contexts, runs, escapes (spec 6.3 to 6.5).

Cells are visited in wavefronts. All contexts of a wavefront are already decoded, so it takes a gather of the
neighbours, one small matrix product, a stable sort by table, one run of the range coder for each table, and the
escapes. Encoder and decoder share everything but the last two.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np

from ..syntax.registry import is_activity, is_magnitude, is_previous
from .layout import Layout, Shape, Spatial
from .models import INPUT_LIMIT, ContextModel, EntropyModel, StaticModel, on_array
from .tables import PRECISION, TOTAL, Table

MAX_SYMBOL = (1 << 20) - 1
MAX_ESCAPE_PREFIX = 20
# Cells of one batch inside a wavefront: bounds its memory without an effect on the result.
BATCH = 1 << 16
_BLOCK = 1 << 14
# One equiprobable bit, for escapes.
HALF = Table(0, np.array([TOTAL // 2, TOTAL // 2], np.int64))

# Channel counts whose int8 values of one cell can be loaded as one number.
_PACKED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


class EntropyError(ValueError):
    """Entropy-coded data that no encoder produces; `requirement` names the rule."""

    def __init__(self, requirement: str, detail: str):
        self.requirement = requirement
        super().__init__(detail)

    def __reduce__(self) -> tuple[type[EntropyError], tuple[str, str]]:
        return type(self), (self.requirement, str(self))


@dataclass(frozen=True, slots=True)
class Run:
    """The symbols of one wavefront, sorted by table: entry indices fit `tables`."""

    tables: tuple[Table, ...]
    order: np.ndarray  # positions in the wavefront, sorted by table, stable
    counts: np.ndarray  # symbols of each table
    table: np.ndarray  # table of each symbol, sorted
    location: np.ndarray  # of each symbol, sorted


def words_of(data: bytes) -> np.ndarray:
    """The words, uint32, that a range decoder reads from entropy-coded data (spec 6.2)."""
    return np.frombuffer(data.ljust(-(-len(data) // 4) * 4, b"\0"), ">u4").astype(np.uint32)


def terminated(encoder: Any) -> bytes:
    """The data of what a constriction.stream.queue.RangeEncoder was given: the shortest that decode to it, and of
    those the smallest number (spec 6.2)."""
    count, (low, span) = encoder.pos()
    size = 4 * (count + 2)
    # The coder's own end lies at or above `low`, within the range, and has the words that were shifted out before it.
    end = int.from_bytes(encoder.get_compressed().astype(">u4").tobytes().ljust(size, b"\0"), "big")
    low = end - (end - low) % (1 << 64)
    if low == 0:
        return b""
    # A multiple of 2**k lies from `low` on within the range where its ends, the one before `low` for the first, differ
    # above their k lowest bits.
    dropped = (((low - 1) ^ (low + span - 1)).bit_length() - 1) // 8
    data: bytes = (-(-low >> 8 * dropped)).to_bytes(size - dropped, "big")
    return data


def code_length(frequencies: np.ndarray, counts: np.ndarray) -> float:
    """Ideal code length in bits of entries with these frequencies, of 2**24, each so many times: uint32 (N,) both."""
    return float(counts @ (PRECISION - np.log2(frequencies)))


class SymbolDecoder:
    """Reads values from entropy-coded data."""

    def __init__(self, data: bytes):
        import constriction  # here, for the compiled kernels do without

        self.data = data
        self.coder = constriction.stream.queue.RangeDecoder(words_of(data))
        # Encodes the decoded symbols again, in a fifth of the time: the coder does not tell where it ended.
        self.again = constriction.stream.queue.RangeEncoder()

    def values(self, run: Run, low: np.ndarray, size: np.ndarray) -> np.ndarray:
        entries = np.empty(len(run.order), np.int32)
        at = 0
        try:
            for k in np.flatnonzero(run.counts).tolist():
                n = int(run.counts[k])
                entries[at : at + n] = self.coder.decode(run.tables[k].model, n)
                self.again.encode(entries[at : at + n], run.tables[k].model)
                at += n
            entry_size = size[run.table]
            base = run.location + low[run.table]
            values: np.ndarray = entries + base
            escaped = np.flatnonzero(entries == entry_size)
            for i in escaped.tolist():
                values[i] = self._escape(int(base[i]), int(entry_size[i]))
        except AssertionError:
            raise EntropyError("R-ENT-01", "") from None
        return values

    def _bit(self) -> int:
        bit = int(self.coder.decode(HALF.model))
        self.again.encode(bit, HALF.model)
        return bit

    def _escape(self, low: int, size: int) -> int:
        below = self._bit()
        prefix = 0
        while self._bit():
            prefix += 1
            if prefix > MAX_ESCAPE_PREFIX:
                raise EntropyError("R-ENT-03", "")
        excess = 1
        for _ in range(prefix):
            excess = excess << 1 | self._bit()
        value = low - excess if below else low + size - 1 + excess
        if abs(value) > MAX_SYMBOL:
            raise EntropyError("R-ENT-04", f"It is {value}.")
        return value

    def finish(self) -> None:
        if terminated(self.again) != self.data:
            raise EntropyError("R-ENT-02", "")


class SymbolEncoder:
    """Writes known values."""

    def __init__(self) -> None:
        import constriction

        self.coder = constriction.stream.queue.RangeEncoder()
        self._written: dict[Table, list[np.ndarray]] = {}
        self._escape_bits = 0

    def write(self, run: Run, low: np.ndarray, size: np.ndarray, values: np.ndarray) -> None:
        entry_size = size[run.table]
        entries = values - run.location - low[run.table]
        escaped = (entries < 0) | (entries >= entry_size)
        entries = np.where(escaped, entry_size, entries).astype(np.int32)
        at = 0
        for k in np.flatnonzero(run.counts).tolist():
            n = int(run.counts[k])
            part = entries[at : at + n]
            self.coder.encode(part, run.tables[k].model)
            self._written.setdefault(run.tables[k], []).append(part)
            at += n
        for i in np.flatnonzero(escaped).tolist():
            base = int(run.location[i] + low[run.table[i]])
            self._escape(int(values[i]), base, int(entry_size[i]))

    def _escape(self, value: int, low: int, size: int) -> None:
        below = value < low
        excess = low - value if below else value - (low + size - 1)
        prefix = excess.bit_length() - 1
        bits = [int(below), *[1] * prefix, 0, *((excess >> i) & 1 for i in reversed(range(prefix)))]
        self.coder.encode(np.array(bits, np.int32), HALF.model)
        self._escape_bits += len(bits)

    def bits(self, tables: tuple[Table, ...]) -> float:
        """Ideal code length of what was written under these tables."""
        frequencies, counts = [np.empty(0, np.uint32)], [np.empty(0, np.uint32)]
        for table in tables:
            if table in self._written:
                found = np.bincount(np.concatenate(self._written[table]))
                used = np.flatnonzero(found)
                frequencies.append(table.frequencies[used].astype(np.uint32))
                counts.append(found[used].astype(np.uint32))
        return code_length(np.concatenate(frequencies), np.concatenate(counts)) + self._escape_bits

    def data(self) -> bytes:
        return terminated(self.coder)


def coded_blocks(mask: np.ndarray | None, size: int) -> Iterator[tuple[np.ndarray | slice, slice]]:
    """Blocks of the coded cells of an array of `size` cells: their flat positions, and where they
    lie among the coded cells. A few at a time, for intermediates may be wide.

    mask: bool, which cells are coded; None: all.
    """
    done = 0
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        if mask is None:
            yield slice(start, stop), slice(start, stop)
            continue
        cells = start + np.flatnonzero(mask.reshape(-1)[start:stop])
        yield cells, slice(done, done + len(cells))
        done += len(cells)


@dataclass(frozen=True)
class Margin:
    """The padded store of the contexts: an array with zeros around, so that no neighbour needs a check.

    before: zeros before the first cell along z, y, x. padded: (z, y, x) of the store, a row for each place.
    """

    before: Spatial
    padded: Spatial

    @classmethod
    @lru_cache(maxsize=256)  # a model serves many tensors of a few sizes
    def of(cls, model: ContextModel, spatial: Spatial) -> Margin:
        """For the neighbours of a model whose offsets count cells."""
        offsets = np.array([n[2:] for n in model.template] + [(0, 0, 0)])
        before, after = np.maximum(-offsets.min(0), 0).tolist(), np.maximum(offsets.max(0), 0).tolist()
        # As far on both sides of the outermost axis, and one cell more for what the others add: so the rows from
        # which a cell is seen are rows of the store, too.
        outermost = next((axis for axis in range(3) if before[axis] or after[axis]), 2)
        before[outermost] = after[outermost] = max(before[outermost], after[outermost]) + 1
        return cls(tuple(before), tuple(b + n + a for b, n, a in zip(before, spatial, after)))

    @property
    def size(self) -> int:
        """Number of rows."""
        return math.prod(self.padded)

    @property
    def stride(self) -> Spatial:
        """Rows from one cell to the next along z, y, x."""
        return self.padded[1] * self.padded[2], self.padded[2], 1

    def rows(self, cells: np.ndarray, spatial: Spatial) -> np.ndarray:
        """Rows of cells at flat positions in an array of `spatial` (z, y, x)."""
        lines, x = np.divmod(cells, spatial[2])
        z, y = np.divmod(lines, spatial[1])
        rows: np.ndarray = (((z + self.before[0]) * self.padded[1] + y + self.before[1]) * self.padded[2]
                            + x + self.before[2])
        return rows

    def inside(self, store: np.ndarray, spatial: Spatial) -> np.ndarray:
        """The cells of a store (z, y, x, ...)."""
        z, y, x = (slice(b, b + n) for b, n in zip(self.before, spatial))
        return store[z, y, x]


def _walk(mask: np.ndarray | None, shape: Shape, scan: Shape, margin: Margin
          ) -> tuple[Iterable[np.ndarray], Callable[[np.ndarray], np.ndarray]]:
    """The wavefronts in coding order (spec 6.3), and what gives the rows of coded cells in a padded store.

    A wavefront is an array of cells, or of symbols (cell * channels + channel) where the scan
    separates the channels of a cell; cells are counted among the coded ones.
    """
    _, depth, height, width = shape
    size = depth * height * width
    if mask is None and not scan[0] and (wavefronts := _wavefronts(shape, scan)) is not None:
        return wavefronts, lambda cells: margin.rows(cells, shape[1:])
    count = size if mask is None else int(np.count_nonzero(mask))
    key, rows = np.empty(count, np.uint16), np.empty(count, np.int32)
    for cells, part in coded_blocks(mask, size):
        cells = np.arange(cells.start, cells.stop) if isinstance(cells, slice) else cells
        z, y, x = cells // (height * width), cells // width % height, cells % width
        key[part] = scan[1] * z + scan[2] * y + scan[3] * x
        rows[part] = margin.rows(cells, shape[1:])
    if scan[0]:
        key = (key[:, None] + scan[0] * np.arange(shape[0], dtype=np.uint16)).reshape(-1)
    return _by_key(key), rows.take


def _wavefronts(shape: Shape, scan: Shape) -> Iterator[np.ndarray] | None:
    """The wavefronts of an array all of whose cells are coded, found one by one: a large occupancy's order need not
    be stored. None where sorting is less work."""
    _, depth, height, width = shape
    keys = scan[1] * (depth - 1) + scan[2] * (height - 1) + scan[3] * (width - 1) + 1
    if not scan[3] or keys > 8 * width:
        return None
    lines = (scan[1] * np.arange(depth, dtype=np.int32)[:, None] + scan[2] * np.arange(height, dtype=np.int32)).ravel()

    def each() -> Iterator[np.ndarray]:
        for key in range(keys):
            x, rest = np.divmod(key - lines, scan[3])
            found = np.flatnonzero((x >= 0) & (x < width) & (rest == 0))
            if len(found):
                yield found * width + x[found]

    return each()


def _by_key(key: np.ndarray) -> list[np.ndarray]:
    """Positions of equal keys, uint16, in their order: an array for each key, ascending."""
    bits = len(key).bit_length()
    if len(key) and int(key.max()) >> (32 - bits):
        order = np.argsort(key, kind="stable").astype(np.int32)
        return np.split(order, np.flatnonzero(np.diff(key[order])) + 1)
    # Keys and positions in one number: sorted in place, with half the memory.
    packed = np.left_shift(key, bits, dtype=np.uint32)
    packed |= np.arange(len(key), dtype=np.uint32)
    packed.sort()
    ends = np.flatnonzero(np.diff(packed >> bits)) + 1
    packed &= (1 << bits) - 1
    return np.split(packed.view(np.int32), ends)


class _Neighbourhood:
    """Padded copies of the current and previous values, and the gathering of contexts.

    Row r of `rows` holds the clamped values of one cell of the padded store, the
    previous frame's after the current one's; `activities` their activities. `active` marks
    the cells that have a neighbour other than zero: most of a sparse tensor has none, and the model is evaluated once
    for all of those.
    """

    def __init__(self, model: ContextModel, shape: Shape, margin: Margin, previous: np.ndarray | None):
        channels = shape[0]
        self.model, self.channels = model, channels
        sources = [n[0] for n in model.template]
        temporal = np.array([is_previous(s) for s in sources])
        values = np.zeros((1 + temporal.any(), *margin.padded, channels), np.int8)
        if temporal.any() and previous is not None:
            margin.inside(values[1], shape[1:])[:] = previous
        self.rows = values.reshape(-1, channels)
        self.packed = self.rows.view(_PACKED[channels]).reshape(-1) if channels in _PACKED else None
        plane = margin.size
        offsets = temporal * plane + np.array([n[2:] for n in model.template]) @ np.array(margin.stride)
        activity = np.array([is_activity(s) for s in sources])
        self.value, self.activity = np.flatnonzero(~activity), np.flatnonzero(activity)
        self.value_offsets, self.activity_offsets = offsets[~activity, None], offsets[activity, None]
        self.activities = np.zeros(len(self.rows), np.int8) if activity.any() else None
        self.shifted = [(k, model.template[i][1]) for k, i in enumerate(self.value) if model.template[i][1]]
        self.magnitudes = [k for k, i in enumerate(self.value) if is_magnitude(sources[i])]
        spatial = offsets - temporal * plane
        self.seen_from, seen_later = (np.array(sorted(set(part.tolist())), np.int64)
                                      for part in (spatial[~temporal], spatial[temporal]))
        self.active = np.zeros(plane, bool)
        if temporal.any() and previous is not None:
            busy = self._busy(self.rows[plane:])
            self.active[busy[:, None] - seen_later] = True
            if self.activities is not None:
                self.activities[busy + plane] = _activity(self.rows[busy + plane])
        location, table = model.predict(np.zeros((len(offsets) if not model.joint else model.hidden_weight.shape[1], 1),
                                                 np.float32))
        self.quiet = location[:, 0], table[:, 0]

    def _busy(self, values: np.ndarray) -> np.ndarray:
        """Which of the rows (n, C) int8 hold anything but zeros."""
        if self.channels in _PACKED:
            return np.flatnonzero(np.ascontiguousarray(values).view(_PACKED[self.channels]))
        return np.flatnonzero(values.any(axis=1))

    def inputs(self, rows: np.ndarray, channel: np.ndarray | None) -> np.ndarray:
        """Contexts as float32, one column each: (N, cells) for a joint model, else (N, symbols).

        rows: of the cells, or of each symbol's cell when `channel` is given
        (per-channel models whose scan separates the channels of a cell).
        """
        values = self._gather(self.value_offsets + rows)  # (neighbours, n, C)
        for k in self.magnitudes:
            np.abs(values[k], out=values[k])
        activity = self.activities.take(self.activity_offsets + rows) if self.activities is not None else None
        if self.model.joint:
            by_input = {i: values[k].T for k, i in enumerate(self.value.tolist())}
            if activity is not None:
                by_input |= {i: activity[k, None] for k, i in enumerate(self.activity.tolist())}
            return np.concatenate([by_input[i] for i in range(len(by_input))]).astype(np.float32)
        for k, dc in self.shifted:
            values[k] = _shift_channels(values[k], dc)
        if channel is not None:
            values = values[:, np.arange(len(rows)), channel, None]
        out = np.empty((len(self.model.template), *values.shape[1:]), np.float32)
        out[self.value] = values
        if activity is not None:
            out[self.activity] = activity[..., None]
        return out.reshape(len(out), -1)

    def _gather(self, rows: np.ndarray) -> np.ndarray:
        if self.packed is not None:  # all channels of a cell in one load
            return self.packed.take(rows).view(np.int8).reshape(*rows.shape, self.channels)
        return self.rows.take(rows, axis=0)

    def store(self, rows: np.ndarray, values: np.ndarray, channel: np.ndarray | None) -> None:
        """Takes in decoded values: (cells * C,), or of single channels when `channel` is given."""
        clamped = np.minimum(values, INPUT_LIMIT)
        np.maximum(clamped, -INPUT_LIMIT, out=clamped)
        clamped = clamped.astype(np.int8)
        if channel is None:
            clamped = clamped.reshape(-1, self.channels)
            busy = self._busy(clamped)
            rows, clamped = rows[busy], clamped[busy]
            self.rows[rows] = clamped
        else:
            busy = np.flatnonzero(clamped)
            rows = rows[busy]
            self.rows[rows, channel[busy]] = clamped[busy]
        if self.activities is not None:
            self.activities[rows] = _activity(self.rows[rows])
        self.active[rows[:, None] - self.seen_from] = True


def _activity(values: np.ndarray) -> np.ndarray:
    """Activity of each cell: int8 (n, C) -> int8 (n,)."""
    total = np.zeros(len(values), np.int32)
    for c in range(values.shape[1]):  # faster than a sum over a short axis
        total += np.abs(values[:, c])
    return np.minimum(total, INPUT_LIMIT).astype(np.int8)


def _shift_channels(values: np.ndarray, dc: int) -> np.ndarray:
    """values (n, C) read `dc` channels further, zero outside."""
    out = np.zeros_like(values)
    if abs(dc) < values.shape[1]:
        out[:, max(0, -dc) : values.shape[1] - max(0, dc)] = values[:, max(0, dc) : values.shape[1] + min(0, dc)]
    return out


def _runs(tables: tuple[Table, ...], table: np.ndarray, location: np.ndarray) -> Run:
    order = np.argsort(table, kind="stable")
    table = table[order]
    return Run(tables, order, np.bincount(table, minlength=len(tables)), table, location[order])


Pick = Callable[[np.ndarray], np.ndarray]


def _code(model: EntropyModel, layout: Layout, selected: np.ndarray | None,
          code: Callable[[Run, np.ndarray, np.ndarray, Pick], np.ndarray]) -> np.ndarray:
    """Walks the symbols of a tensor. `code(run, low, size, pick)` returns the sorted values
    of a wavefront; `pick(values)` takes its symbols, unsorted, from (cells, C) values.

    selected: (cells, C), which symbols there are; the others are 0. None: all.
    Returns the values, int32 (cells, C) in raster order of the coded cells.
    """
    shape, mask, band = layout.shape, layout.mask, layout.band
    channels, scan, around = shape[0], (0, 0, 0, 0), None
    margin = Margin((0, 0, 0), shape[1:])
    if isinstance(model, ContextModel):
        model = on_array(model, shape[1:], layout.blocks)
        margin = Margin.of(model, shape[1:])
        around = _Neighbourhood(model, shape, margin, layout.previous) if model.template else None
        scan = model.scan
    wavefronts, rows = _walk(mask, shape, scan, margin)
    values = np.zeros((layout.cells, channels), np.int32)
    if not len(values):
        return values
    tables = model.tables
    low = np.array([t.low for t in tables], np.int32)
    size = np.array([t.size for t in tables], np.int32)
    flat = values.reshape(-1)
    for part in wavefronts:
        part_channels = part % channels if scan[0] else None
        if around is None:
            location, table = _unconditional(model, part, part_channels, channels, band)
        else:
            part_rows = rows(part if part_channels is None else part // channels)
            location, table = _predict(around, part_rows, part_channels)
        pick = partial(_of_cells if part_channels is None else _of_symbols, part)
        if selected is None:
            run = _runs(tables, table, location)
            symbols = np.empty(len(table), np.int32)
            symbols[run.order] = code(run, low, size, pick)
        else:
            chosen = np.flatnonzero(pick(selected))
            run = _runs(tables, table[chosen], location[chosen])
            symbols = np.zeros(len(table), np.int32)
            symbols[chosen[run.order]] = code(run, low, size, lambda v: pick(v)[chosen])
        if part_channels is None:
            values[part] = symbols.reshape(-1, channels)
        else:
            flat[part] = symbols
        if around is not None:
            around.store(part_rows, symbols, part_channels)
    return values


def _of_cells(part: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Of (cells, C) values those of some cells, channels of a cell together."""
    found: np.ndarray = values[part].reshape(-1)
    return found


def _of_symbols(part: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Of (cells, C) values those of some symbols."""
    found: np.ndarray = values.reshape(-1)[part]
    return found


def _unconditional(model: EntropyModel, part: np.ndarray, channel: np.ndarray | None, channels: int,
                   band: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Location and table of the symbols of a wavefront whose model has no inputs.

    part: cells of the wavefront, or its symbols when `channel` is given.
    """
    if isinstance(model, StaticModel):  # one wavefront, whose cells are in their order
        table = model.table_of(len(part), channels, band).reshape(-1)
        return np.zeros(len(table), np.int32), table
    location, table = (np.broadcast_to(v[:, 0], channels) for v in model.predict(np.empty((0, 1), np.float32)))
    if channel is not None:
        return location[channel], table[channel]
    return np.tile(location, len(part)), np.tile(table, len(part))


def _predict(around: _Neighbourhood, rows: np.ndarray, channel: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Location and table of the symbols of a wavefront, in batches of cells."""
    symbols = around.channels if channel is None else 1  # of each row
    location, table = np.empty((len(rows), symbols), np.int32), np.empty((len(rows), symbols), np.uint8)
    location[:], table[:] = around.quiet
    busy = np.flatnonzero(around.active[rows])
    for start in range(0, len(busy), BATCH):
        part = busy[start : start + BATCH]
        found = around.model.predict(around.inputs(rows[part], None if channel is None else channel[part]))
        # A joint model has a row for each channel; symbols go cell by cell.
        location[part], table[part] = (v.T.reshape(len(part), symbols) for v in found)
    return location.reshape(-1), table.reshape(-1)


def decode_symbols(model: EntropyModel, layout: Layout, data: bytes, selected: np.ndarray | None = None
                   ) -> np.ndarray:
    """Decodes the quantised values of one tensor (spec 6.3).

    data: entropy coded. selected: bool (coded cells, C), the elements that are coded, None for all.
    Returns int32 (coded cells, C), cells in raster order. Raises EntropyError.
    """
    mask = layout.mask
    nothing = mask is not None and not mask.any() if selected is None else not selected.any()
    if data and nothing:
        raise EntropyError("R-ENT-02", "There are data but no coded elements.")
    decoder = SymbolDecoder(data)
    values = _code(model, layout, selected, lambda run, low, size, _: decoder.values(run, low, size))
    decoder.finish()
    if values.size and max(values.max(), -values.min()) > MAX_SYMBOL:
        raise EntropyError("R-ENT-04", "")
    return values


def encode_symbols(model: EntropyModel, layout: Layout, values: np.ndarray, selected: np.ndarray | None = None
                   ) -> tuple[bytes, float]:
    """Inverse of `decode_symbols`: (data, ideal code length in bits)."""
    encoder, values = SymbolEncoder(), np.ascontiguousarray(values, np.int32)
    if values.size and max(values.max(), -values.min()) > MAX_SYMBOL:
        raise ValueError(f"a quantised value exceeds ±{MAX_SYMBOL}")

    def code(run: Run, low: np.ndarray, size: np.ndarray, pick: Pick) -> np.ndarray:
        known: np.ndarray = pick(values)[run.order]
        encoder.write(run, low, size, known)
        return known

    _code(model, layout, selected, code)
    return encoder.data(), encoder.bits(model.tables)
