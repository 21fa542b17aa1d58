"""Models fitted to final symbols, and the published pipelines they are compared with."""
from __future__ import annotations

import dataclasses
import io
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from synthetic import small_header, small_stream

torch = pytest.importorskip("torch")

from refcodec.decoding import open_stream
from refcodec.encoder.model_selection import ModelSelection
from refcodec.encoder.models import MaskSymbols, best_mask_model, fit_mask_model, fit_occupancy_model, occupancy_symbols
from refcodec.entropy.bernoulli import BERNOULLI
from refcodec.entropy.coder import MAX_SYMBOL, decode_symbols, encode_symbols
from refcodec.entropy.fitting import best_static, fit_static, model_bytes
from refcodec.entropy.layout import Layout
from refcodec.entropy.models import BY_BAND, BY_BAND_AND_CHANNEL, BY_CHANNEL, ONE_TABLE, fits, occupancy_fault
from refcodec.evaluation.published import (
    coded_frames,
    huffman_decode,
    huffman_encode,
    independent_frames,
    masked_wavelet_inverse,
    masked_wavelet_pipeline,
    rle_huffman,
    rle_huffman_inverse,
)
from refcodec.kernels import NumpyKernels
from refcodec.syntax.headers import Mapping
from refcodec.tensors.state import FrameState
from refcodec.writer import compressed_occupancy

ASSIGNMENTS = (ONE_TABLE, BY_CHANNEL, BY_BAND, BY_BAND_AND_CHANNEL)


@st.composite
def tensors(draw):
    """(values, band, bands, selected) of a tensor; scales differ by band and channel."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    cells, channels, bands = draw(st.integers(0, 400)), draw(st.integers(1, 5)), draw(st.integers(1, 4))
    band = rng.integers(0, draw(st.integers(1, bands)), cells).astype(np.uint8) if bands > 1 else None
    scale = draw(st.sampled_from([0.1, 1.0, 40.0])) * 3.0 ** rng.integers(-2, 3, (bands, channels))
    values = np.round(rng.laplace(0, 1, (cells, channels)) * scale[band if band is not None else 0]).astype(np.int32)
    if values.size and draw(st.booleans()):
        values.flat[rng.integers(values.size)] = draw(st.sampled_from([MAX_SYMBOL, -MAX_SYMBOL, 70000, 300]))
    selected = rng.random(values.shape) < 0.6 if draw(st.booleans()) else None
    return values if selected is None else values * selected, band, bands, selected


def histogram_bits(values: np.ndarray) -> float:
    """First-order entropy of all symbols together, in bits."""
    counts = np.unique(values, return_counts=True)[1]
    return float(-(counts * np.log2(counts / counts.sum())).sum()) if counts.size else 0.0


def parts(values, band, selected, assignment):
    """The symbols of each table."""
    keys = np.zeros(values.shape, int)
    if assignment in (BY_BAND, BY_BAND_AND_CHANNEL) and band is not None:
        keys += 100 * band[:, None]
    if assignment in (BY_CHANNEL, BY_BAND_AND_CHANNEL):
        keys += np.arange(values.shape[1])
    if selected is not None:
        values, keys = values[selected], keys[selected]
    return [values[keys == k] for k in np.unique(keys)]


@settings(max_examples=60)
@given(tensors(), st.sampled_from(ASSIGNMENTS))
def test_static_models_code_what_they_are_given(case, assignment):
    values, band, bands, selected = case
    model, shape = fit_static(values, band, selected, assignment, bands=bands), (values.shape[1], 1, 1, len(values))
    assert fits(model, values.shape[1], bands) and model.assignment == assignment
    if not len(values):
        return
    layout = Layout(shape, band=band)
    data, bits = encode_symbols(model, layout, values, selected)
    assert np.array_equal(decode_symbols(model, layout, data, selected), values)
    # No code is shorter than the entropy; and no table is worth less than its bytes: each symbol
    # could have been written with a table of one entry and the escape (at most 44 bits), and the
    # histogram as it is takes at most seven bytes a value.
    ideal = sum(map(histogram_bits, parts(values, band, selected, assignment)))
    assert bits >= ideal - 1e-6
    count = values.size if selected is None else int(selected.sum())
    empty = model_bytes(fit_static(values[:0], None, None, assignment, bands=bands))
    assert bits + 8 * model_bytes(model) <= 8 * empty + 44 * count + 8 * 8 * len(model.entries)


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 2.0, 15.0]), st.sampled_from([3000, 40000]))
def test_static_tables_are_near_the_entropy(seed, scale, count):
    values = np.round(np.random.default_rng(seed).laplace(0, scale, (count, 1))).astype(np.int32)
    model, ideal = fit_static(values), histogram_bits(values)
    bits = encode_symbols(model, Layout((1, 1, 1, count)), values)[1]
    # A histogram sent as it is: a value's count takes a byte or two.
    entries = int(values.max() - values.min()) + 1
    assert bits + 8 * model_bytes(model) < ideal + 8 * (1.6 * entries + 12) + 0.003 * ideal


@settings(max_examples=40)
@given(tensors())
def test_best_static_is_the_smallest(case):
    values, band, bands, selected = case
    shape = (values.shape[1], 1, 1, max(len(values), 1))

    def size(model):
        return 8 * model_bytes(model) + (encode_symbols(model, Layout(shape, band=band), values, selected)[1]
                                         if len(values) else 0)

    best = best_static(values, band, selected, bands=bands)
    assert fits(best, values.shape[1], bands)
    possible = [a for a in ASSIGNMENTS if (a in (ONE_TABLE, BY_CHANNEL) or bands > 1) and
                (a in (ONE_TABLE, BY_BAND) or values.shape[1] > 1)]
    assert size(best) <= min(size(fit_static(values, band, selected, a, bands=bands)) for a in possible) + 1e-6


def test_bands_are_checked():
    values, band = np.zeros((4, 1), np.int32), np.array([0, 1, 2, 1], np.uint8)
    assert len(fit_static(values, band, None, BY_BAND, bands=5).entries) == 5
    assert len(fit_static(values, band, None, BY_BAND).entries) == 3
    with pytest.raises(ValueError, match="band 2"):
        best_static(values, band, bands=2)
    with pytest.raises(ValueError, match="tables"):
        fit_static(np.zeros((2, 200), np.int32), np.zeros(2, np.uint8), None, BY_BAND_AND_CHANNEL, bands=4)


def blobs(rng, shape, share=0.1) -> np.ndarray:
    """A mask (z*y*x, C) of blobs that the channels have partly in common."""
    channels, *spatial = shape
    field = rng.standard_normal((channels, *spatial)) + rng.standard_normal(spatial)
    for axis in [a for a in (1, 2, 3) if shape[a] > 1] * 3:
        field = field + np.roll(field, 1, axis) + np.roll(field, -1, axis)
    return np.moveaxis(field > np.quantile(field, 1 - share), 0, -1).reshape(-1, channels)


@pytest.mark.parametrize("shape", [(6, 1, 40, 40), (1, 150, 1, 120), (3, 16, 18, 20)])
def test_mask_models_beat_static_tables_and_run_lengths(shape):
    mask = blobs(np.random.default_rng(1), shape)
    symbols = MaskSymbols(mask, Layout(shape))
    model = fit_mask_model([symbols], hidden=4, iterations=120)
    assert model.family == BERNOULLI and fits(model, shape[0], 1)
    context = symbols.coded_bytes(model) + model_bytes(model)
    static = best_static(mask.astype(np.int32))
    assert context < 0.8 * (symbols.coded_bytes(static) + model_bytes(static))
    assert context < 0.8 * len(rle_huffman([np.moveaxis(mask.reshape(*shape[1:], -1), -1, 0)], [0]))
    best = best_mask_model([symbols], iterations=60)
    assert symbols.coded_bytes(best) + model_bytes(best) <= 1.1 * context


@pytest.mark.parametrize("temporal", [False, True])
def test_an_occupancy_takes_fewer_bytes_under_a_context_model(temporal):
    rng = np.random.default_rng(2)
    occupancy = blobs(rng, (1, 32, 32, 32)).reshape(32, 32, 32)
    before = occupancy ^ (rng.random(occupancy.shape) < 0.01)
    previous = before.astype(np.int8)[..., None] if temporal else None
    symbols = occupancy_symbols(occupancy, previous)
    model = fit_occupancy_model(symbols, hidden=4, iterations=100)
    assert model.template_id == 6 + temporal and occupancy_fault(model) is None
    compressed = compressed_occupancy(occupancy, before if temporal else None, not temporal)
    assert symbols.coded_bytes(model) + model_bytes(model) < 0.8 * len(compressed.data)


@settings(max_examples=12)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans(), st.booleans(),
       st.sampled_from([(3, 1, 7, 8), (2, 5, 1, 6), (1, 4, 5, 3), (4, 1, 1, 9), (3, 5, 6, 1)]))
def test_mask_models_see_what_the_decoder_sees(seed, joint, temporal, sparse, shape):
    """The loss of training is the code length of the integer coder, to the table."""
    from refcodec.encoder import models

    rng = np.random.default_rng(seed)
    cells = rng.random(shape[1:]) < 0.7 if sparse else None
    count = int(cells.sum()) if cells is not None else int(np.prod(shape[1:]))
    previous = rng.integers(-3, 4, (*shape[1:], shape[0])).astype(np.int8) if temporal else None
    mask = rng.random((count, shape[0])) < 0.3
    symbols = MaskSymbols(mask, Layout(shape, cells, previous))
    model = fit_mask_model([symbols], hidden=3, iterations=8, joint=joint, seed=seed % 1000)
    inputs = models.mask_inputs(symbols, model.scan, model.template, joint)
    location, table = model.predict(inputs.T.astype(np.float32))
    assert not location.any()
    chosen = table.T if joint else table.reshape(-1, shape[0])
    bits = sum(float(model.tables[k].bits[int(b)]) for k, b in zip(chosen.reshape(-1), mask.reshape(-1)))
    data, coded = encode_symbols(model, symbols.layout, mask.astype(np.int32))
    assert coded == pytest.approx(bits, abs=1e-6)
    if count:
        assert np.array_equal(NumpyKernels().decode_mask(model, symbols.layout, data), mask)


def test_a_mask_without_cells_has_a_model():
    empty = MaskSymbols(np.zeros((0, 2), bool), Layout((2, 1, 4, 4), np.zeros((1, 4, 4), bool)))
    assert fits(best_mask_model([empty], iterations=3), 2, 1)
    assert np.abs(fit_mask_model([empty]).output_bias).max() < 1 << 21


def test_one_model_serves_planes_of_every_orientation():
    rng = np.random.default_rng(3)
    planes = [MaskSymbols(blobs(rng, shape), Layout(shape))
              for shape in ((5, 30, 32, 1), (5, 30, 1, 28), (3, 1, 32, 28))]
    shared = fit_mask_model(planes, hidden=4, iterations=100)
    static = best_static(np.concatenate([p.mask.reshape(-1, 1) for p in planes]).astype(np.int32))
    assert sum(p.coded_bytes(shared) for p in planes) < 0.7 * sum(p.coded_bytes(static) for p in planes)
    assert fits(best_mask_model(planes, iterations=30), 3, 1)


def test_tables_by_band_serve_every_tensor_or_are_not_used():
    rng = np.random.default_rng(0)

    def sparse(cells, bands):
        band = np.sort(rng.integers(0, bands, cells)).astype(np.uint8)
        return MaskSymbols(rng.random((cells, 1)) < np.array([0.9, 0.5, 0.02])[band][:, None],
                           Layout((1, 1, 1, cells), band=band))

    alike = best_mask_model([sparse(1200, 3), sparse(1200, 3)], bands=3, iterations=2)
    assert alike.assignment == BY_BAND and fits(alike, 1, 3)
    other = best_mask_model([sparse(1200, 3), sparse(1200, 2)], bands=3, iterations=2)
    assert fits(other, 1, 3) and fits(other, 1, 2)


# The published pipelines.


@settings(max_examples=60)
@given(st.lists(st.integers(0, 255), max_size=300) | st.lists(st.sampled_from([0, 0, 0, 127, 5]), max_size=300))
def test_huffman_round_trip(symbols):
    symbols = np.array(symbols, np.uint8)
    data = huffman_encode(symbols)
    found, used = huffman_decode(data + b"rest")
    assert np.array_equal(found, symbols) and used == len(data)
    # Huffman codes lie within a bit a symbol of the entropy.
    occurring = len(np.unique(symbols))
    assert 8 * (len(data) - 6 - 2 * occurring) <= histogram_bits(symbols) + len(symbols) + 8


@st.composite
def masked(draw):
    """(values, masks, levels, cells): tensors as the wavelet pipeline takes them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values, masks, levels, cells = [], [], [], []
    for _ in range(draw(st.integers(0, 3))):
        shape = tuple(draw(st.integers(1, n)) for n in (3, 4, 17, 9))
        within = rng.random(shape[1:]) < 0.6 if draw(st.booleans()) else None
        mask = rng.random(shape) < draw(st.sampled_from([0, 0.05, 0.5, 1]))
        mask &= within if within is not None else True
        low, spread = draw(st.sampled_from([(-128, 255), (0, 0), (-30000, 60000), (3, 256)]))
        values.append((rng.integers(low, low + spread + 1, shape) * mask).astype(np.int32))
        masks.append(mask)
        levels.append(draw(st.integers(0, 4)))
        cells.append(within)
    return values, masks, levels, draw(st.sampled_from([cells, None]))


@settings(max_examples=60)
@given(masked())
def test_masked_wavelet_pipeline_round_trip(case):
    values, masks, levels, cells = case
    data = masked_wavelet_pipeline(values, masks, levels, cells)
    found, found_masks = masked_wavelet_inverse(data, cells)
    assert all(np.array_equal(a, b) for a, b in zip(found, values, strict=True))
    assert all(np.array_equal(a, b) for a, b in zip(found_masks, masks, strict=True))
    coded = rle_huffman(masks, levels, cells)
    again, used = rle_huffman_inverse(coded, [m.shape for m in masks], levels, cells)
    assert used == len(coded) and all(np.array_equal(a, b) for a, b in zip(again, masks, strict=True))


def test_a_kept_value_takes_one_byte():
    rng = np.random.default_rng(0)
    mask = rng.random((4, 1, 32, 32)) < 0.1
    values = (rng.integers(-100, 100, mask.shape) * mask).astype(np.int32)
    data = masked_wavelet_pipeline([values], [mask], [3])
    assert len(data) == 2 + 14 + len(rle_huffman([mask], [3])) + mask.sum()


def test_symbols_of_a_file_are_those_that_were_written(tmp_path, monkeypatch):
    from refcodec.tensors.state import FrameState

    written = []
    original = FrameState.reconstruct

    def recording(self, bound, values):
        written.append((bound.id, bound.tools, values.copy()))
        original(self, bound, values)

    path = tmp_path / "small.rfv"
    with monkeypatch.context() as patch:
        patch.setattr(FrameState, "reconstruct", recording)
        path.write_bytes(small_stream(4))
    found = [(t, frame) for frame in coded_frames(path) for t in frame.tensors]
    assert [(t.tensor_id, t.tools) for t, _ in found] == [w[:2] for w in written]
    for (t, frame), (_, _, values) in zip(found, written):
        assert np.array_equal(np.moveaxis(t.values, 0, -1)[t.mask.any(0)], values)
        assert frame.models[t.model_id] > 0


def test_independent_frames_keep_eight_bits(tmp_path):
    for seed, header in enumerate((small_header(), small_header(occupancy=(0, 0, 0)))):
        before = list(open_stream(io.BytesIO(small_stream(seed, header=header))))
        after = list(open_stream(io.BytesIO(independent_frames(before))))
        assert [f.type for f in after] == [1] * len(before)
        for a, b in zip(before, after, strict=True):
            assert (a.occupancy is None) == (b.occupancy is None)
            for info, x, y in zip(a.header.tensors, a.tensors, b.tensors):
                if info.mapping == Mapping.NONE or a.occupancy is None:
                    spread = int(x.max()) - int(x.min())
                    # The step is the next one that the format has.
                    assert np.abs(x.astype(np.int64) - y).max() <= spread / 254 * 0.5 * 2 ** (1 / 8) * 1.001 + 1
        coarse = independent_frames([dataclasses.replace(f) for f in before], bits=4)
        assert len(coarse) < len(independent_frames(before))


def test_a_model_that_sees_the_frame_before_pays_in_longer_groups():
    """Each of them stays to be chosen; a new one is judged by its share of the frames that it serves."""
    z, y, x = np.indices((24, 24, 24))
    rng = np.random.default_rng(0)
    rough = rng.random((24, 24, 24)) < 0.25

    def ball(k):
        return ((z - 12) ** 2 + (y - 11) ** 2 + (x - 11 - k) ** 2 < 60) & ~(rough & (z > 12))

    state, defined = FrameState(small_header(occupancy=(24, 24, 24))), []
    for k, following in enumerate((3, 2, 1, 0)):
        rate = SimpleNamespace(previous=state.copy() if k else None, slots=[], groups=[])
        selection = ModelSelection(rate, {}, 60, following=following)
        used = selection.occupancy(ball(k))
        defined.append(sorted(selection.models))
        state.models.update(selection.models)
        context = state.occupancy_context(not k)
        sizes = {i: len(NumpyKernels().encode_occupancy(m, ball(k), context)[0]) for i, m in state.models.items()}
        assert sizes[used] == min(sizes.values())
        state.set_occupancy(ball(k))
    assert defined == [[63], [62], [], []]
    # Alone, the first P-frame does not pay for a model of its own.
    state = FrameState(state.header)
    state.set_occupancy(ball(0))
    intra = ModelSelection(SimpleNamespace(previous=None, slots=[], groups=[]), {}, 60, following=3)
    intra.occupancy(ball(0))
    state.models.update(intra.models)
    alone = ModelSelection(SimpleNamespace(previous=state, slots=[], groups=[]), {}, 60)
    assert alone.occupancy(ball(1)) != 62 and not alone.models
