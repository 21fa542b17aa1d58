"""Entropy coding: exact integers through fast float units, and round trips of everything."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import spec_decoder
from refcodec.entropy import coder
from refcodec.entropy.bernoulli import BERNOULLI, bernoulli_tables
from refcodec.entropy.coder import (
    MAX_SYMBOL,
    EntropyError,
    SymbolDecoder,
    decode_symbols,
    encode_symbols,
    terminated,
    words_of,
)
from refcodec.entropy.laplace import LAPLACE, LAPLACE_REACH, laplace_tables
from refcodec.entropy.layout import Layout
from refcodec.entropy.mixture import MIXTURE, mixture_tables
from refcodec.entropy.models import ContextModel, StaticModel
from refcodec.entropy.occupancy import compress, decompress, pack, unpack
from refcodec.entropy.tables import TOTAL, Table, static_table
from refcodec.kernels import NumpyKernels
from refcodec.syntax.registry import SOURCES, is_activity
from synthetic import context_model, sparse_values


@st.composite
def tensors(draw):
    """(model, shape, mask, previous, values, selected, band, blocks) of one tensor, any tool combination."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 9)), *(draw(st.integers(1, 7)) for _ in range(3)))
    blocks = tuple(draw(st.integers(1, 3)) for _ in range(3))
    kind, bands = draw(st.sampled_from(["fixed", "static", "per-channel", "joint"])), draw(st.sampled_from([1, 3, 4]))
    family = draw(st.sampled_from([LAPLACE, MIXTURE, BERNOULLI]))
    if kind == "fixed":
        n = draw(st.sampled_from([1, shape[0]]))
        model = ContextModel.fixed(rng.integers(-127, 128, n).tolist(), rng.integers(0, 44, n).tolist(),
                                   BERNOULLI if family == BERNOULLI else LAPLACE)
    elif kind == "static":
        assignment = draw(st.integers(0, 3))
        n = (1, shape[0], bands, bands * shape[0])[assignment]
        model = StaticModel(tuple((int(rng.integers(-9, 9)), tuple(rng.integers(0, 50, 7).tolist() + [1]))
                                  for _ in range(n)), assignment)
    else:
        scan = [0 if kind == "joint" else draw(st.integers(0, 3)), *(draw(st.integers(0, 3)) for _ in range(3))]
        template_id = draw(st.integers(1, 15))
        template = None
        if template_id == 1:
            dc = st.integers(-2, 2) if kind == "per-channel" else st.just(0)
            template = draw(st.lists(st.sampled_from(sorted(SOURCES)).flatmap(lambda s: st.tuples(
                st.just(s), st.just(0) if is_activity(s) else dc, *[st.integers(-2, 2)] * 3)), min_size=1, max_size=6))
        model = context_model(rng, template_id, kind == "joint", shape[0], tuple(scan),
                              draw(st.integers(1, 9)), template, family)
    mask = rng.random(shape[1:]) < draw(st.sampled_from([0, 0.3, 1])) if draw(st.booleans()) else None
    cells = int(mask.sum()) if mask is not None else shape[1] * shape[2] * shape[3]
    values = sparse_values(rng, cells, shape[0], draw(st.sampled_from([0.1, 2, 300])))
    if values.size and draw(st.booleans()):
        values.flat[rng.integers(values.size)] = draw(st.sampled_from([MAX_SYMBOL, -MAX_SYMBOL, 255, -256]))
    previous = rng.integers(-127, 128, (*shape[1:], shape[0])).astype(np.int8) if draw(st.booleans()) else None
    band = rng.integers(0, bands, cells).astype(np.uint8) if bands > 1 else None
    selected = None
    if draw(st.booleans()):
        selected = rng.random(values.shape) < draw(st.sampled_from([0, 0.3, 1]))
        values[~selected] = 0
    return model, Layout(shape, mask, previous, band, blocks), values, selected


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.tuples(*[st.integers(1, 9)] * 3), st.sampled_from([0.0, 0.3, 1.0]), st.booleans())
def test_occupancy_round_trip(seed, shape, share, temporal):
    rng = np.random.default_rng(seed)
    occupancy = rng.random(shape) < share
    previous = (rng.random((*shape, 1)) < share).astype(np.int8) if temporal else None
    model = replace(context_model(rng, 7 if temporal else 6, False, 1, (0, 3, 2, 1), 5, None), family=BERNOULLI)
    data, bits = NumpyKernels().encode_occupancy(model, occupancy, previous)
    found = NumpyKernels().decode_occupancy(model, shape, previous, data)
    assert found.dtype == bool and np.array_equal(found, occupancy)
    assert 8 * len(data) <= bits + 16 + 1e-3 * occupancy.size


@settings(max_examples=150)
@given(tensors())
def test_round_trip(case):
    model, layout, values, selected = case
    data, bits = encode_symbols(model, layout, values, selected)
    assert np.array_equal(decode_symbols(model, layout, data, selected), values)
    assert 8 * len(data) <= bits + 16 + 1e-3 * values.size


@settings(max_examples=150)
@given(tensors(), st.data())
def test_there_is_one_way_to_write_symbols(case, choice):
    """R-ENT-02: of all data, those that the encoder writes are the only ones that decode to its symbols."""
    model, layout, values, selected = case
    data, _ = encode_symbols(model, layout, values, selected)
    number, change = int.from_bytes(data, "big"), choice.draw(st.integers(-3, 3))
    more = choice.draw(st.integers(-min(3, len(data)), 9))
    number = (number << 8 * more if more > 0 else number >> -8 * more) + change
    size = len(data) + more
    other = min(max(number, 0), (1 << 8 * size) - 1).to_bytes(size, "big")
    if other == data:
        return
    try:
        found = decode_symbols(model, layout, other, selected)
    except EntropyError as e:
        assert e.requirement in ("R-ENT-01", "R-ENT-02", "R-ENT-03", "R-ENT-04")
    else:
        assert not np.array_equal(found, values)


@settings(max_examples=60)
@given(tensors(), st.sampled_from([0, 0.2, 1]), st.integers(0, 2**32 - 1))
def test_masks_round_trip(case, share, seed):
    """Bits come back as bits, with models of either kind; anything else that a model can say is refused."""
    model, layout, values, _ = case
    bits = np.random.default_rng(seed).random(values.shape) < share
    data, _ = encode_symbols(model, layout, bits.astype(np.int32))
    found = NumpyKernels().decode_mask(model, layout, data)
    assert found.dtype == bool and np.array_equal(found, bits)
    others = bits.astype(np.int32)
    if others.size:
        others.flat[seed % others.size] = 2 if seed % 2 else -1
        data, _ = encode_symbols(model, layout, others)
        with pytest.raises(EntropyError) as refused:
            NumpyKernels().decode_mask(model, layout, data)
        assert refused.value.requirement == "R-ENT-05"


@settings(max_examples=60)
@given(tensors(), st.binary(max_size=160))
def test_garbage_is_decoded_or_refused(case, data):
    model, layout, _, selected = case
    try:
        values = decode_symbols(model, layout, data, selected)
    except EntropyError as e:
        assert e.requirement in ("R-ENT-01", "R-ENT-02", "R-ENT-03", "R-ENT-04")
    else:
        assert np.abs(values).max(initial=0) <= MAX_SYMBOL
        assert selected is None or not values[~selected].any()


@settings(max_examples=60)
@given(st.tuples(st.integers(1, 3), *[st.integers(1, 7)] * 3), st.tuples(*[st.integers(0, 3)] * 3))
def test_wavefronts_are_the_same_found_one_by_one_or_sorted(shape, weights):
    _, depth, height, width = shape
    one_by_one = coder._wavefronts(shape, (0, *weights))
    if one_by_one is None:
        return
    keys = sum(w * i for w, i in zip(weights, np.indices((depth, height, width)))).reshape(-1).astype(np.uint16)
    for found, expected in zip(one_by_one, coder._by_key(keys), strict=True):
        assert found.tolist() == expected.tolist()


@settings(max_examples=100)
@given(st.lists(st.lists(st.integers(0, 1 << 20), min_size=2, max_size=40).filter(any), min_size=1, max_size=4),
       st.integers(0, 2**32 - 1))
def test_constriction_uses_exactly_the_integer_tables(counts, seed):
    """constriction, given float weights, agrees with the specification's integer range decoder."""
    tables = [static_table(0, tuple(c)) for c in counts]
    for table, c in zip(tables, counts):
        assert table.frequencies.sum() == TOTAL and table.frequencies.min() >= 1
        assert table.frequencies.tolist() == spec_decoder.namespace()["static_table"](0, c)["frequencies"]
    rng = np.random.default_rng(seed)
    import constriction

    encoder, script = constriction.stream.queue.RangeEncoder(), []
    for _ in range(30):
        table = tables[rng.integers(len(tables))]
        entries = rng.integers(0, table.size + 1, rng.integers(1, 5)).astype(np.int32)
        encoder.encode(entries, table.model)
        script.append((table, entries))
    data = terminated(encoder)
    fast = constriction.stream.queue.RangeDecoder(words_of(data))
    slow = spec_decoder.namespace()["RangeDecoder"](data)
    for table, entries in script:
        assert fast.decode(table.model, len(entries)).tolist() == entries.tolist()
        assert [slow.entry(table.frequencies.tolist()) for _ in entries] == entries.tolist()
    slow.finish()


def test_laplace_tables_are_those_of_the_specification():
    spec = spec_decoder.namespace()["LAPLACE"]
    for table, expected, reach in zip(laplace_tables(), spec, LAPLACE_REACH, strict=True):
        assert table.low == expected["low"] == -reach
        assert table.frequencies.tolist() == expected["frequencies"]
        assert table.frequencies.sum() == TOTAL and table.frequencies.min() >= 1


def test_mixture_tables_are_those_of_the_specification():
    spec = spec_decoder.namespace()["MIXTURE"]
    laplace = laplace_tables()
    for n, (table, expected) in enumerate(zip(mixture_tables(), spec, strict=True)):
        assert table.low == expected["low"] == laplace[min(n % 44 + 8, 43)].low
        assert table.frequencies.tolist() == expected["frequencies"]
        assert table.frequencies.sum() == TOTAL and table.frequencies.min() >= 1
        assert table.frequencies[-table.low] >= 81245


def test_bernoulli_tables_are_those_of_the_specification():
    spec = spec_decoder.namespace()["BERNOULLI"]
    for k, (table, expected) in enumerate(zip(bernoulli_tables(), spec, strict=True)):
        assert table.low == expected["low"] == 0
        assert table.frequencies.tolist() == expected["frequencies"]
        assert table.frequencies.sum() == TOTAL and table.frequencies.min() == table.frequencies[-1] == 1
        assert table.frequencies[1] == round(TOTAL / (1 + 2 ** (3 * (32 - k) / 8)))


def test_laplace_tables_are_near_the_distribution():
    for k, table in enumerate(laplace_tables()):
        b, v = 0.06 * 2 ** (k / 4), np.arange(table.low, -table.low + 1)
        edge = lambda x: np.where(x < 0, 0.5 * np.exp(np.minimum(x, 0) / b), 1 - 0.5 * np.exp(-np.maximum(x, 0) / b))
        mass = edge(v + 0.5) - edge(v - 0.5)
        kept = mass > 1e-12
        loss = (mass[kept] * np.log2(mass[kept] * TOTAL / table.frequencies[:-1][kept])).sum()
        assert abs(loss) < 1e-4, k


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("inputs, hidden", [(512, 64), (1, 1), (14, 8)])
def test_float32_evaluates_the_integer_network_exactly_at_its_extremes(inputs, hidden, sign):
    rng = np.random.default_rng(inputs)
    for weight, bias, out_bias, shift in ((127, 32767, (1 << 22) - 1, 0), (-128, -32768, 1 - (1 << 22), 15),
                                          (127, 32767, (1 << 22) - 1, 15), (None, None, None, 3)):
        draw = lambda lo, hi, fixed, size: rng.integers(lo, hi + 1, size) if fixed is None else np.full(size, fixed)
        w1, w2 = draw(-128, 127, weight, (hidden, inputs)), draw(-128, 127, weight, (2, hidden))
        b1, b2 = draw(-32768, 32767, bias, hidden), draw(1 - (1 << 22), (1 << 22) - 1, out_bias, 2)
        model = ContextModel(False, 1, (0, 1, 1, 1), 1, ((0, 0, 0, 0, -1),) * inputs, shift, w1.astype(np.int8),
                             b1.astype(np.int16), 23, 17, w2.astype(np.int8), b2.astype(np.int32))
        x = np.concatenate([np.full((inputs, 1), sign * 127), rng.integers(-127, 128, (inputs, 20))], 1)
        rounding = lambda t, s: (t + ((1 << s) >> 1)) >> s
        h = np.clip(rounding(w1.astype(np.int64) @ x + b1[:, None], shift), 0, 1023)
        out = w2.astype(np.int64) @ h + b2[:, None]
        location, table = model.predict(x.astype(np.float32))
        assert np.array_equal(location[0], np.clip(rounding(out[0], 23), -127, 127))
        assert np.array_equal(table[0], np.clip(rounding(out[1], 17), 0, 43))


def test_escapes_reach_the_largest_values_and_no_further():
    model = ContextModel.fixed([0], [0])
    values = np.array([[MAX_SYMBOL], [-MAX_SYMBOL], [5], [-5], [4], [-4]], np.int32)
    data, _ = encode_symbols(model, Layout((1, 1, 1, 6)), values)
    assert np.array_equal(decode_symbols(model, Layout((1, 1, 1, 6)), data), values)
    with pytest.raises(ValueError):
        encode_symbols(model, Layout((1, 1, 1, 1)), np.array([[MAX_SYMBOL + 1]], np.int32))


def test_impossible_quantile_is_refused():
    with pytest.raises(EntropyError) as caught:
        decode_symbols(ContextModel.fixed([0], [20]), Layout((1, 1, 1, 9)), bytes([255] * 8))
    assert caught.value.requirement == "R-ENT-01"


def test_nothing_to_decode_needs_no_data():
    empty = np.zeros((3, 3, 3), bool)
    model = context_model(np.random.default_rng(0))
    data, bits = encode_symbols(model, Layout((2, 3, 3, 3), empty), np.zeros((0, 2), np.int32))
    assert data == b"" and bits == 0
    SymbolDecoder(data).finish()


@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 2**32 - 1))
def test_compressed_occupancy_round_trip(shape, seed):
    occupancy = np.random.default_rng(seed).random(shape) < 0.3
    data = pack(occupancy)
    assert np.array_equal(unpack(decompress(compress(data), len(data)), shape), occupancy)


@given(st.binary(max_size=60), st.integers(1, 100))
def test_occupancy_garbage_is_refused_or_has_the_size(data, size):
    try:
        assert len(decompress(data, size)) == size
    except EntropyError:
        pass


def test_occupancy_bomb_is_not_inflated():
    bomb = compress(bytes(30_000_000))
    assert len(bomb) < 10_000
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(EntropyError):
        decompress(bomb, 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


def test_table_with_one_entry_left_for_the_escape():
    table = Table(3, np.array([TOTAL - 1, 1], np.int64))
    assert table.size == 1 and table.bits[1] == 24
