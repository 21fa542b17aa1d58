"""Compiled coding of the symbols of one tensor: the loops of `coder`, for numba (spec 6.2 to 6.5).

Imported only through `refcodec.acceleration`. The results are those of the array code in
`coder`, value by value and error by error.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba import njit

Int = int | np.integer[Any]  # compiled, all numbers are numpy's
Float = float | np.floating[Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])


def jit(function: _Function) -> _Function:
    # All arithmetic of the models is exact in binary32 (spec 6.4), so contraction changes nothing.
    compiled: _Function = njit(function, cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
    return compiled


BATCH = 64  # units whose network is evaluated side by side
UNROLL = 8  # inputs that are added up at a time: their number is padded to a multiple of it
BUCKETS = 256
ABSENT = 255  # in place of the table of a symbol that the mask leaves out; table numbers end at 254
_BUCKET_SHIFT, _TOTAL_SHIFT, _WORD = np.uint64(16), np.uint64(24), np.uint64(32)
_TOTAL, _HALF, _SMALL = np.uint64(1 << 24), np.uint64(1 << 23), np.uint64(1 << 32)
_SPARSE = 8  # symbols to each one with inputs from which on a step is mostly quiet
_MAX_SYMBOL, _MAX_PREFIX, _MAX_INPUT, _MAX_HIDDEN = (1 << 20) - 1, 20, 127, 1023
_LAST_BIT_TABLE = 63

DONE, QUANTILE, PREFIX, LARGE = 0, 1, 3, 4  # outcomes: the n of R-ENT-0n
ESCAPED = -1


class Tables(NamedTuple):
    """Tables one after the other, for a decoder (spec 6.2).

    start (K,) int64: of each table in `below`. below uint32: frequencies below each entry, and 2**24.
    low, size (K,) int64. likely (K,) int64: the likeliest entry, -1 where it is not worth a try or the escape.
    bucket (K, BUCKETS + 1) uint16: the entry of the first quantile of each bucket.
    """

    start: np.ndarray
    below: np.ndarray
    low: np.ndarray
    size: np.ndarray
    likely: np.ndarray
    bucket: np.ndarray


class Network(NamedTuple):
    """The integer network of a context model, and where its inputs lie (spec 6.4).

    Inputs are values first, then magnitudes, then energies. offsets (N,) uint64: of an input in the stores, from the
    place of its symbol, modulo 2**64. first (H, N padded), second (KC, H padded)
    float32, with the biases of both, rounding constants included; scales float32: 2**-shift of the hidden
    layer, locations, scales and, where there are any, shapes. limits int64: number of values, of magnitudes, of
    energies, largest location, last scale, last shape, whether the quiet outputs differ by channel.
    quiet_location int8, quiet_table uint8 (C): outputs where all inputs are zero.
    seen_from int64: of the rows whose inputs a row takes part in, how far back they lie.
    """

    offsets: np.ndarray
    first: np.ndarray
    first_bias: np.ndarray
    second: np.ndarray
    second_bias: np.ndarray
    scales: np.ndarray
    limits: np.ndarray
    quiet_location: np.ndarray
    quiet_table: np.ndarray
    seen_from: np.ndarray


class Walk(NamedTuple):
    """The symbols in coding order, by steps (spec 6.3).

    order int32: items in their order; an item is a cell, or one symbol (channel in the lowest bits, cell above
    them) where the scan separates the channels of a cell. ends int64: of the steps. rows int32: in the stores, of
    each cell, or of the first of each `run` of cells. selected uint8 (cells * C), or empty: all symbols. sizes int64:
    channels, symbols of an item, outputs of a unit of the network (C of a joint model, else 1), run, bits of the
    channel in an item, elements of a row of the store.
    """

    order: np.ndarray
    ends: np.ndarray
    rows: np.ndarray
    selected: np.ndarray
    sizes: np.ndarray


class Store(NamedTuple):
    """What contexts are read from: int8 values (rows * width: those of the channels, and zeros for channels that there
    are not), energies (rows) or empty, uint8 active (rows)."""

    values: np.ndarray
    energies: np.ndarray
    active: np.ndarray


class Scratch(NamedTuple):
    """Of the largest step. table uint8, location int8, order and values int32; inputs, hidden float32
    (N padded or H padded, BATCH), sums float32 (BATCH), place int64 (BATCH)."""

    table: np.ndarray
    location: np.ndarray
    order: np.ndarray
    values: np.ndarray
    inputs: np.ndarray
    hidden: np.ndarray
    sums: np.ndarray
    place: np.ndarray


# Order.


@jit
def count_keys(mask: np.ndarray, shape: tuple[int, ...], scan: np.ndarray, before: tuple[int, ...],
               padded: tuple[int, ...], counts: np.ndarray, rows: np.ndarray) -> None:
    """Sizes of the steps by key, and the rows of the coded cells. mask uint8 (cells), or empty: all cells, whose
    rows are then given for the first of each line alone, to save memory."""
    channels, depth, height, width = shape
    n = cell = 0
    for z in range(depth):
        for y in range(height):
            row = ((z + before[0]) * padded[1] + y + before[1]) * padded[2] + before[2]
            key = scan[1] * z + scan[2] * y
            if mask.size == 0:
                rows[z * height + y] = row
            for x in range(width):
                if mask.size == 0 or mask[n]:
                    if mask.size:
                        rows[cell] = row + x
                        cell += 1
                    if scan[0]:
                        for c in range(channels):
                            counts[key + scan[3] * x + scan[0] * c] += 1
                    else:
                        counts[key + scan[3] * x] += 1
                n += 1


@jit
def sort_keys(mask: np.ndarray, shape: tuple[int, ...], scan: np.ndarray, bits: int, ends: np.ndarray,
              order: np.ndarray) -> None:
    """Fills `order`, step by step (`Walk`). ends: before, where the steps begin; after, where they end."""
    channels, depth, height, width = shape
    n = cell = 0
    for z in range(depth):
        for y in range(height):
            key = scan[1] * z + scan[2] * y
            for x in range(width):
                if mask.size == 0 or mask[n]:
                    k = np.uint64(key + scan[3] * x)
                    if scan[0]:
                        for c in range(channels):
                            order[np.uint64(ends[k])] = cell << bits | c
                            ends[k] += 1
                            k += np.uint64(scan[0])
                    else:
                        order[np.uint64(ends[k])] = cell
                        ends[k] += 1
                    cell += 1
                n += 1


# Contexts.

@jit
def _row(rows: np.ndarray, cell: Int, run: Int) -> Int:
    """Row of a cell in the stores (`Walk`)."""
    if run == 1:
        return np.int64(rows[cell])
    return np.int64(rows[cell // run] + cell % run)


@jit
def take_previous(previous: np.ndarray, words: np.ndarray, shape: tuple[int, ...], before: tuple[int, ...],
                  padded: tuple[int, ...], width: Int, store: Store, seen_later: np.ndarray) -> None:
    """Puts the values of the previous frame, int8 (cells * C), into the second half of the store.

    words uint64: the same, eight by eight, without those that are left over at the end: most are zero.
    """
    channels, _, height, length = shape
    plane, marked = padded[0] * padded[1] * padded[2], -1
    for block in range(len(words) + 1):
        if block < len(words) and words[block] == 0:
            continue
        for i in range(8 * block, 8 * block + 8 if block < len(words) else len(previous)):
            v = np.int64(previous[np.uint64(i)])
            if v == 0:
                continue
            cell = i // channels
            line = cell // length
            row = (((line // height + before[0]) * padded[1] + line % height + before[1]) * padded[2]
                   + cell % length + before[2])
            store.values[(plane + row) * width + i - cell * channels] = v
            if store.energies.size:
                store.energies[plane + row] = min(store.energies[plane + row] + abs(v), _MAX_INPUT)
            if row != marked:
                marked = row
                for back in seen_later:
                    store.active[row - back] = 1


@jit
def _layer(weights: np.ndarray, bias: np.ndarray, k: Int, inputs: np.ndarray, sums: np.ndarray) -> None:
    """sums (BATCH): unit k of a layer for all columns of `inputs`."""
    for b in range(BATCH):
        sums[b] = bias[k]
    for n in range(0, weights.shape[1], UNROLL):
        w0, w1, w2, w3 = weights[k, n], weights[k, n + 1], weights[k, n + 2], weights[k, n + 3]
        w4, w5, w6, w7 = weights[k, n + 4], weights[k, n + 5], weights[k, n + 6], weights[k, n + 7]
        for b in range(BATCH):
            sums[b] += (w0 * inputs[n, b] + w1 * inputs[n + 1, b] + w2 * inputs[n + 2, b] + w3 * inputs[n + 3, b]
                        + w4 * inputs[n + 4, b] + w5 * inputs[n + 5, b] + w6 * inputs[n + 6, b] + w7 * inputs[n + 7, b])


@jit
def _scaled(sums: np.ndarray, scale: Float, low: Float, high: Float) -> None:
    """Shifts right by as many bits as the scale, 2**-bits, says, and clamps."""
    for b in range(BATCH):
        v = np.floor(sums[b] * scale)
        v = v if v > low else low
        sums[b] = v if v < high else high


@jit
def _evaluate(network: Network, count: Int, outputs: Int, scratch: Scratch) -> None:
    """The network for `count` columns of inputs; fills table and location at their places."""
    zero, hidden_limit = np.float32(0), np.float32(_MAX_HIDDEN)
    last_location, last_scale = np.float32(network.limits[3]), np.float32(network.limits[4])
    last_shape, scale_count = np.float32(network.limits[5]), network.limits[4] + 1
    step = 3 if network.limits[5] else 2
    scales, hidden, sums = network.scales, scratch.hidden, scratch.sums
    first, first_bias, second, second_bias = network.first, network.first_bias, network.second, network.second_bias
    inputs, location, table, place = scratch.inputs, scratch.location, scratch.table, scratch.place
    for h in range(first.shape[0]):
        _layer(first, first_bias, h, inputs, sums)
        _scaled(sums, scales[0], zero, hidden_limit)
        for b in range(BATCH):
            hidden[h, b] = sums[b]
    for c in range(outputs):
        _layer(second, second_bias, step * c, hidden, sums)
        _scaled(sums, scales[1], -last_location, last_location)
        for b in range(count):
            location[np.uint64(place[b] + c)] = np.int8(sums[b])
        _layer(second, second_bias, step * c + 1, hidden, sums)
        _scaled(sums, scales[2], zero, last_scale)
        for b in range(count):
            at = np.uint64(place[b] + c)
            if table[at] != ABSENT:
                table[at] = np.uint8(sums[b])
        if step == 3:
            _layer(second, second_bias, step * c + 2, hidden, sums)
            _scaled(sums, scales[3], zero, last_shape)
            for b in range(count):
                at = np.uint64(place[b] + c)
                if table[at] != ABSENT:
                    table[at] += np.uint8(scale_count * np.int64(sums[b]))


@jit
def _quiet(network: Network, symbols: Int, count: Int, scratch: Scratch) -> None:
    """Table and location of all symbols of a step as if all inputs were zero."""
    if symbols > 1 and network.limits[6]:
        for i in range(0, count, symbols):
            for c in range(symbols):
                scratch.table[i + c] = network.quiet_table[c]
                scratch.location[i + c] = network.quiet_location[c]
    else:
        scratch.table[:count] = network.quiet_table[0]
        scratch.location[:count] = network.quiet_location[0]


@jit
def _predict(walk: Walk, network: Network, store: Store, begin: Int, end: Int, scratch: Scratch) -> Int:
    """Table and location of the symbols of a step that have an input other than zero. Returns their number."""
    channels, symbols, outputs, run, bits, width = walk.sizes
    values, magnitudes = np.uint64(network.limits[0]), np.uint64(network.limits[0] + network.limits[1])
    energies = magnitudes + np.uint64(network.limits[2])
    # As local names: an array that is taken out of a tuple in a loop is counted each time.
    order, rows, active, stored, energy = walk.order, walk.rows, store.active, store.values, store.energies
    offsets, together = network.offsets, symbols == channels
    table, inputs, places = scratch.table, scratch.inputs, scratch.place
    count = busy_units = 0
    for i in range(begin, end):
        item = np.int64(order[i])
        cell = item if together else item >> bits
        row = _row(rows, cell, run)
        if not active[row]:
            continue
        first = row * width + item - (cell if together else cell << bits)
        at = (i - begin) * symbols
        for c in range(0, symbols, outputs):  # one unit of a joint model, else one for each channel
            if outputs == 1 and table[at + c] == ABSENT:
                continue
            place, column, busy = np.uint64(first + c), np.uint64(count), np.int8(0)  # unsigned, as in `_entries`
            for n in range(values):
                v = stored[place + offsets[n]]
                inputs[n, column] = v
                busy |= v
            for n in range(values, magnitudes):
                v = abs(stored[place + offsets[n]])
                inputs[n, column] = v
                busy |= v
            for n in range(magnitudes, energies):
                v = energy[np.uint64(row) + offsets[n]]
                inputs[n, column] = v
                busy |= v
            if busy == 0:
                continue
            places[count] = at + c
            busy_units += 1
            count += 1
            if count == BATCH:
                _evaluate(network, count, outputs, scratch)
                count = 0
    if count:
        _evaluate(network, count, outputs, scratch)
    busy_symbols: Int = busy_units * outputs
    return busy_symbols


@jit
def _keep(walk: Walk, network: Network, store: Store, begin: Int, count: Int, step: np.ndarray,
          values: np.ndarray) -> None:
    """Takes in the values of a step's symbols: the tensor's, and what later steps see of them."""
    channels, symbols, _, run, bits, width = walk.sizes
    marked: Int = -1
    i, following = begin, symbols  # item i has the symbols before `following`
    for at in range(count):
        v = step[at]
        if v == 0:
            continue
        while at >= following:
            i += 1
            following += symbols
        cell, c = np.int64(walk.order[i]), at + symbols - following
        if symbols != channels:
            cell, c = cell >> bits, cell & (1 << bits) - 1
        values[cell * channels + c] = v
        if store.active.size == 0:
            continue
        row = _row(walk.rows, cell, run)
        seen = min(max(v, -_MAX_INPUT), _MAX_INPUT)
        store.values[row * width + c] = seen
        if store.energies.size:
            store.energies[row] = min(store.energies[row] + abs(seen), _MAX_INPUT)
        if i != marked:
            marked = i
            for back in network.seen_from:
                store.active[row - back] = 1


# Runs.


@jit
def _sort(table: np.ndarray, count: Int, common: Int, starts: np.ndarray, order: np.ndarray) -> None:
    """Sorts the positions of a step's symbols by table, stable, but for those of the `common` one, if any (spec 6.3).

    starts (K + 1) receives where those of each table begin in `order`.
    """
    starts[:] = 0
    for i in range(count):
        k = table[i]
        if k != common and k != ABSENT:
            starts[k + 1] += 1
    for k in range(1, len(starts)):
        starts[k] += starts[k - 1]
    if starts[-1] == 0:
        return
    for i in range(count):
        k = table[i]
        if k != common and k != ABSENT:
            order[starts[k]] = i
            starts[k] += 1
    for k in range(len(starts) - 1, 0, -1):
        starts[k] = starts[k - 1]
    starts[0] = 0


@jit
def _entries(words: np.ndarray, state: np.ndarray, tables: Tables, k: Int, table: np.ndarray, order: np.ndarray,
             common: Int, begin: Int, end: Int, location: np.ndarray, values: np.ndarray) -> Int:
    """Decodes the symbols of table k, which lie at order[begin : end], or, of the common table, all
    over the step (begin .. end then are its symbols). location: of each symbol, or empty.
    Returns DONE, ESCAPED where there is an escape entry, or QUANTILE.
    """
    outcome, escape = DONE, tables.size[k]
    ahead, span, at = state[0], state[1], np.int64(state[2])
    start, base, likely = tables.start[k], tables.low[k], tables.likely[k]
    likely_below = likely_count = np.uint64(0)
    if likely >= 0:
        likely_below = np.uint64(tables.below[start + likely])
        likely_count = np.uint64(tables.below[start + likely + 1]) - likely_below
    for j in range(np.uint64(begin), np.uint64(end)):  # unsigned: numba counts negative positions from the end
        i: Int = j
        if not common:
            i = np.uint64(order[j])
        elif table[i] != k:
            continue
        scale = span >> _TOTAL_SHIFT
        beyond = ahead - scale * likely_below
        width = scale * likely_count
        if beyond < width:  # the same decision as by the quotient, without the division
            entry, ahead, span = likely, beyond, width
        else:
            quantile = ahead // scale
            if quantile >= _TOTAL:
                return QUANTILE
            b = np.int64(quantile >> _BUCKET_SHIFT)
            entry, last = np.int64(tables.bucket[k, b]), np.int64(tables.bucket[k, b + 1])
            while entry < last:
                middle = (entry + last + 1) >> 1
                if tables.below[start + middle] <= quantile:
                    entry = middle
                else:
                    last = middle - 1
            if entry == escape:
                outcome = ESCAPED
            below = np.uint64(tables.below[start + entry])
            ahead -= scale * below
            span = scale * (np.uint64(tables.below[start + entry + 1]) - below)
        if span < _SMALL:
            word = np.uint64(words[at]) if at < len(words) else np.uint64(0)
            ahead = (ahead << _WORD) | word
            span <<= _WORD
            at += 1
        values[i] = entry + base + (location[i] if location.size else 0)
    state[0], state[1], state[2] = ahead, span, np.uint64(at)
    return outcome


@jit
def _bit(words: np.ndarray, state: np.ndarray) -> Int:
    """One equiprobable bit; -1 where there is none."""
    scale = state[1] >> _TOTAL_SHIFT
    quantile = state[0] // scale
    if quantile >= _TOTAL:
        return -1
    bit = 0
    if quantile >= _HALF:
        bit = 1
        state[0] -= scale * _HALF
    state[1] = scale * _HALF
    if state[1] < _SMALL:
        word = np.uint64(words[state[2]]) if state[2] < len(words) else np.uint64(0)
        state[0] = (state[0] << _WORD) | word
        state[1] <<= _WORD
        state[2] += np.uint64(1)
    return bit


@jit
def _escape(words: np.ndarray, state: np.ndarray, low: Int, size: Int) -> tuple[Int, Int]:
    """(outcome, value) of an escape (spec 6.5)."""
    sign = _bit(words, state)
    prefix = 0
    while True:
        bit = _bit(words, state)
        if bit <= 0:
            break
        prefix += 1
        if prefix > _MAX_PREFIX:
            return PREFIX, np.int64(0)
    if sign < 0 or bit < 0:
        return QUANTILE, np.int64(0)
    distance = np.int64(1)
    for _ in range(prefix):
        bit = _bit(words, state)
        if bit < 0:
            return QUANTILE, np.int64(0)
        distance = distance << 1 | bit
    value = low - distance if sign else low + size - 1 + distance
    return LARGE if abs(value) > _MAX_SYMBOL else DONE, value


@jit
def _decode_step(words: np.ndarray, state: np.ndarray, tables: Tables, table: np.ndarray, common: Int,
                 location: np.ndarray, order: np.ndarray, starts: np.ndarray, count: Int,
                 values: np.ndarray) -> tuple[Int, Int]:
    """Values of a step's symbols. Returns (outcome, value at which it ended)."""
    _sort(table, count, common, starts, order)
    escaped = False
    for k in range(len(starts) - 1):
        begin, end = (np.int64(0), count) if k == common else (starts[k], starts[k + 1])
        if begin < end:
            outcome = _entries(words, state, tables, k, table, order, k == common, begin, end, location, values)
            if outcome == QUANTILE:
                return outcome, np.int64(0)
            escaped |= outcome == ESCAPED
    if not escaped:
        return DONE, np.int64(0)
    for k in range(len(starts) - 1):
        begin, end = (np.int64(0), count) if k == common else (starts[k], starts[k + 1])
        escape = tables.low[k] + tables.size[k]
        for j in range(begin, end):
            i: Int = j
            if k != common:
                i = np.int64(order[j])
            elif table[i] != k:
                continue
            location_ = np.int64(location[i]) if location.size else np.int64(0)
            if values[i] == escape + location_:
                outcome, value = _escape(words, state, tables.low[k] + location_, tables.size[k])
                if outcome:
                    return outcome, value
                values[i] = value
    return DONE, np.int64(0)


@jit
def decode_steps(words: np.ndarray, state: np.ndarray, tables: Tables, walk: Walk, network: Network, store: Store,
                 scratch: Scratch, starts: np.ndarray, step: int, budget: Int,
                 values: np.ndarray) -> tuple[Int, Int, int]:
    """Decodes steps from number `step` on, until about `budget` symbols are done.

    state uint64: point - low, range, words read. values int32 (cells * C), all 0 before.
    Returns (outcome, value at which it ended, next step).
    """
    channels, symbols, _, _, bits, _ = walk.sizes
    while step < len(walk.ends) and budget > 0:
        begin, end = walk.ends[step - 1] if step else np.int64(0), walk.ends[step]
        step += 1
        count = (end - begin) * symbols
        budget -= count
        if symbols == channels or not network.limits[6]:
            _quiet(network, symbols, count, scratch)
        else:
            for i in range(count):
                c = walk.order[begin + i] & (1 << bits) - 1
                scratch.table[i], scratch.location[i] = network.quiet_table[c], network.quiet_location[c]
        if walk.selected.size:
            for i in range(begin, end):
                item = np.int64(walk.order[i])
                first = item * channels if symbols == channels else (
                    (item >> bits) * channels + (item & (1 << bits) - 1))
                for c in range(symbols):
                    if not walk.selected[first + c]:
                        scratch.table[(i - begin) * symbols + c] = ABSENT
            scratch.values[:count] = 0
        common = network.quiet_table[0]
        if store.active.size and _predict(walk, network, store, begin, end, scratch) * _SPARSE > count:
            common = np.uint8(ABSENT)  # branches on the table would be guesses: sort them all
        outcome, value = _decode_step(words, state, tables, scratch.table, common, scratch.location,
                                      scratch.order, starts, count, scratch.values)
        if outcome:
            return outcome, value, step
        _keep(walk, network, store, begin, count, scratch.values, values)
    return DONE, np.int64(0), step


class Bits(NamedTuple):
    """Of an occupancy: the neighbourhood of each voxel as a number, a bit for each input of its model (spec 6.1.2).

    context uint16 (rows): of the voxels still to be decoded. table uint8 (2**N): of each context, ABSENT where it
    has not been worked out. weights int64 (H, N), (H), (1, H), (1): of the network, rounding constants included;
    shifts int64: of its layers. seen_from, seen_later int64 (N', 2): how far back the voxels lie whose inputs a row
    of this frame, or of the previous one, takes part in, and the bit that it has there.
    """

    context: np.ndarray
    table: np.ndarray
    hidden_weight: np.ndarray
    hidden_bias: np.ndarray
    output_weight: np.ndarray
    output_bias: np.ndarray
    shifts: np.ndarray
    seen_from: np.ndarray
    seen_later: np.ndarray


@jit
def _table_of_context(bits: Bits, context: Int) -> Int:
    """The network, for inputs that are bits."""
    out = np.int64(bits.output_bias[0])
    for h in range(len(bits.hidden_bias)):
        total = bits.hidden_bias[h]
        for n in range(bits.hidden_weight.shape[1]):
            if context >> n & 1:
                total += bits.hidden_weight[h, n]
        out += bits.output_weight[h] * min(max(total >> bits.shifts[0], 0), _MAX_HIDDEN)
    table: Int = min(max(out >> bits.shifts[1], 0), _LAST_BIT_TABLE)
    return table


@jit
def begin_bits(previous: np.ndarray, shape: tuple[int, ...], before: tuple[int, ...], padded: tuple[int, ...],
               bits: Bits) -> None:
    """Takes in the previous frame's occupancy, uint8 (voxels)."""
    depth, height, width = shape
    n = 0
    for z in range(depth):
        for y in range(height):
            row = ((z + before[0]) * padded[1] + y + before[1]) * padded[2] + before[2]
            for x in range(width):
                if previous[np.uint64(n)]:
                    for k in range(len(bits.seen_later)):
                        bits.context[row + x - bits.seen_later[k, 0]] |= np.uint16(bits.seen_later[k, 1])
                n += 1


@jit
def decode_bits(words: np.ndarray, state: np.ndarray, tables: Tables, bits: Bits, shape: tuple[int, ...],
                scan: np.ndarray, before: tuple[int, ...], padded: tuple[int, ...], scratch: Scratch, rows: np.ndarray,
                starts: np.ndarray, key: int, budget: Int, occupancy: np.ndarray) -> tuple[Int, Int, int]:
    """Decodes the steps of an occupancy from a key on, until about `budget` voxels are done.

    rows int32: scratch, with a place for every line, as `scratch` has. occupancy uint8 (voxels), all 0 before.
    Returns (outcome, value at which it ended, next key); the outcome is ESCAPED where a value is no bit.
    """
    depth, height, width = shape
    keys = scan[0] * (depth - 1) + scan[1] * (height - 1) + scan[2] * (width - 1) + 1
    table, values, nothing = scratch.table, scratch.values, scratch.location[:0]
    context, chosen = bits.context, bits.table
    while key < keys and budget > 0:
        count = 0
        for z in range(depth):
            rest = key - scan[0] * z
            if rest < 0:
                break
            first, excess = np.int64(0), rest - scan[2] * (width - 1)
            if excess > 0 and scan[1]:  # lines that end before
                first = (excess + scan[1] - 1) // scan[1]
                rest -= scan[1] * first
            row = ((z + before[0]) * padded[1] + first + before[1]) * padded[2] + before[2]
            for _ in range(first, height):
                x = rest
                if scan[2] > 1:
                    x = rest // scan[2]
                    if x * scan[2] != rest:
                        x = width
                if rest < 0:
                    break
                if x < width:
                    at = row + x
                    neighbourhood = context[np.uint64(at)]
                    k = chosen[np.uint64(neighbourhood)]
                    if k == ABSENT:
                        k = np.uint8(_table_of_context(bits, np.int64(neighbourhood)))
                        chosen[np.uint64(neighbourhood)] = k
                    rows[np.uint64(count)] = at
                    table[np.uint64(count)] = k
                    count += 1
                rest -= scan[1]
                row += padded[2]
        key += 1
        budget -= count
        if count == 0:
            continue
        outcome, value = _decode_step(words, state, tables, table, chosen[0], nothing, scratch.order, starts, count,
                                      values)
        if outcome:
            return outcome, value, key
        for i in range(count):
            v = values[i]
            if v == 0:
                continue
            if v != 1:
                return ESCAPED, np.int64(0), key
            voxel = np.int64(rows[i])
            for n in range(len(bits.seen_from)):
                context[voxel - bits.seen_from[n, 0]] |= np.uint16(bits.seen_from[n, 1])
            line = voxel // padded[2]
            line = (line // padded[1] - before[0]) * height + line % padded[1] - before[1]
            occupancy[line * width + voxel % padded[2] - before[2]] = 1
    return DONE, np.int64(0), key


@jit
def decode_static(words: np.ndarray, state: np.ndarray, tables: Tables, table: np.ndarray, order: np.ndarray,
                  starts: np.ndarray, values: np.ndarray) -> tuple[Int, Int]:
    """Decodes a tensor in one step, from the table of each symbol. Returns (outcome, value at which it ended)."""
    return _decode_step(words, state, tables, table, np.uint8(0), np.empty(0, np.int8), order, starts, len(values),
                        values)


@jit
def begin(words: np.ndarray, state: np.ndarray) -> None:
    """The first two words (spec 6.2)."""
    state[0] = np.uint64(0)
    for n in range(2):
        state[0] = state[0] << _WORD | (np.uint64(words[n]) if n < len(words) else np.uint64(0))
    state[1], state[2] = ~np.uint64(0), np.uint64(2)


@jit
def finished(size: Int, last: Int, state: np.ndarray) -> bool:
    """R-ENT-02. size: bytes of the data. last: the last one."""
    unread = 4 * np.int64(state[2]) - size
    if size == 0 or unread < 0 or last == 0 or unread >= 8:
        return bool(size == 0 or (unread >= 8 and last > 0))
    unit = np.uint64(1) << np.uint64(8 * unread)
    return bool(state[0] < unit and state[0] + np.uint64(256 - last) * unit >= state[1])
