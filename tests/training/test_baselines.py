"""Baselines: real files that decode to what was encoded, sizes that add up, quality that follows the parameter."""
from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from refcodec.decoding import open_stream
from refcodec.errors import UsageError
from refcodec.evaluation.baselines import (
    BASELINES,
    DamagedFile,
    FieldFrame,
    FieldSequence,
    SourceViews,
    Views,
    choose,
    dct,
    hevc,
    scalar,
)
from refcodec.evaluation.baselines.container import Component, Packer, Unpacker, read_fields, write_fields
from refcodec.evaluation.baselines.sequence import axes, occupied_cells
from refcodec.evaluation.baselines.views import nearest_view
from refcodec.fields import DifSizes, GridSizes, MlpSizes, TriplaneSizes, VmSizes, field_header
from refcodec.rendering.cameras import Camera
from refcodec.syntax.headers import Mapping, Representation

BOX = ((-1, -1, -1), (1, 1.2, 0.9))
_SMALL = dict(features=3, render_hidden=8, feature_frequencies=1, direction_frequencies=1)
SIZES = {
    "dif": DifSizes(4, (6, 9), (2, 2), (1.6, 2.4), fusion_hidden=8, **_SMALL), "vm": VmSizes(2, 3, 20, **_SMALL),
    "triplane": TriplaneSizes(3, 20, 9, **_SMALL), "grid": GridSizes(12, 9, 2, **_SMALL),
    "mlp": MlpSizes(position_frequencies=2, hidden_layers=2, hidden=16, skip_layer=0, **_SMALL),
}
# A network has no cells, and every frame has networks of its own.
with_grids = pytest.mark.parametrize("sequence", [name for name in SIZES if name != "mlp"], indirect=True)
FIELDS = [b for b in BASELINES.values() if not isinstance(b, Views)]


def usable(baseline):
    if reason := baseline.unavailable():
        pytest.skip(reason)
    return baseline


def smooth(rng, shape) -> np.ndarray:
    """Random values that vary slowly along every axis."""
    values = rng.laplace(0, 1, shape)
    for axis, n in enumerate(shape[1:], 1):
        if n > 3:
            values = sum(np.roll(values, k, axis) for k in range(-2, 3)) / 5
    return values


@pytest.fixture(scope="module", params=list(SIZES))
def sequence(request) -> FieldSequence:
    """Three frames, the second a P-frame with little that changed, of a field of each kind."""
    representation = Representation[request.param.upper()]
    header = field_header(SIZES[request.param], BOX, ticks_per_second=30, occupancy_side=16)
    rng, frames, tensors = np.random.default_rng(7), [], []
    occupancy = np.zeros(header.occupancy_shape, bool)
    occupancy[4:9, 5:12, 3:8] = True
    for number in range(3):
        intra = number != 1 or representation == Representation.MLP
        new = []
        for i, info in enumerate(header.tensors):
            cells = occupied_cells(header, i, occupancy)
            values = np.round(smooth(rng, info.shape) * 2.0**14) * 2.0**-14
            if not intra:
                change = 0.1 * values * (info.mapping != Mapping.NONE)
                values = tensors[i] + np.round(change * cells * 2.0**14) * 2.0**-14
            else:
                values = values * cells
            new.append(values.astype(np.float32))
        tensors = new
        frames.append(FieldFrame(tuple(tensors), occupancy.copy(), intra))
        occupancy = occupancy.copy()
        occupancy[9, 6:9, 4] = not intra
    return FieldSequence(header, tuple(frames))


def error(a: FieldSequence, b: FieldSequence) -> float:
    """Sum of squared differences in the cells that count."""
    total = 0.0
    for x, y in zip(a.frames, b.frames, strict=True):
        for i in range(len(a.header.tensors)):
            cells = occupied_cells(a.header, i, x.occupancy)
            total += float(((x.tensors[i] - y.tensors[i])[:, cells].astype(np.float64) ** 2).sum())
    return total


@pytest.mark.parametrize("baseline", FIELDS, ids=lambda b: b.name)
def test_files_decode_alone_and_follow_their_parameter(baseline, sequence):
    usable(baseline)
    sizes, errors = [], []
    # Range coders look for their tables at length: two of their values will do.
    values = baseline.values[::3] if baseline.suffix == ".rfv" else baseline.values
    for value in values:
        data = baseline.encode(sequence, value)
        found = baseline.decode(data)
        assert dataclasses.replace(found.header, ticks_per_second=30) == sequence.header
        assert len(found.frames) == 3
        independent = baseline.name.startswith("independent")
        for a, b in zip(found.frames, sequence.frames, strict=True):
            assert np.array_equal(a.occupancy, b.occupancy)
            assert a.intra == (b.intra or independent)
            assert [t.shape for t in a.tensors] == [t.shape for t in sequence.header.tensors]
            assert all(t.dtype == np.float32 and np.isfinite(t).all() for t in a.tensors)
        assert sum(baseline.components(data).values()) == len(data)
        sizes.append(len(data))
        errors.append(error(sequence, found))
    energy = sum(float((t.astype(np.float64) ** 2).sum()) for f in sequence.frames for t in f.tensors)
    assert errors[0] < 0.05 * energy
    if sequence.grids:
        assert all(a > b for a, b in zip(sizes, sizes[1:])), sizes
        assert all(a < b for a, b in zip(errors, errors[1:])), errors


@pytest.mark.parametrize("baseline", FIELDS, ids=lambda b: b.name)
def test_damage_is_an_error_or_a_picture_never_a_crash(baseline, sequence):
    usable(baseline)
    data = baseline.encode(sequence, baseline.values[-1])
    rng = np.random.default_rng(1)
    for cut in (0, 3, 5, 40, len(data) // 2, len(data) - 1):
        with pytest.raises(DamagedFile):
            baseline.decode(data[:cut])
    for _ in range(12):
        broken = bytearray(data)
        broken[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        try:
            baseline.decode(bytes(broken))
        except DamagedFile as e:
            assert "\n" not in str(e)


@pytest.mark.parametrize("baseline", FIELDS, ids=lambda b: b.name)
def test_the_same_field_gives_the_same_file(baseline, sequence):
    usable(baseline)
    assert baseline.encode(sequence, baseline.values[-1]) == baseline.encode(sequence, baseline.values[-1])


@with_grids
def test_occupancy_saves_bytes_and_changes_nothing_that_counts(sequence):
    for every, occupied in (("independent-lzma", "independent-lzma-occupied"),
                            ("independent-range", "independent-range-occupied")):
        whole, part = BASELINES[every].encode(sequence, 8), BASELINES[occupied].encode(sequence, 8)
        assert len(part) < len(whole)
        decoded = BASELINES[occupied].decode(part)
        for frame in decoded.frames:
            for i in sequence.grids:
                assert not frame.tensors[i][:, ~occupied_cells(sequence.header, i, frame.occupancy)].any()


def test_uniform_quantisation_is_what_it_says(sequence):
    found = BASELINES["independent-lzma"].decode(BASELINES["independent-lzma"].encode(sequence, 5))
    for a, b in zip(found.frames, sequence.frames):
        for i in sequence.grids:
            step = np.ptp(b.tensors[i]) / 31
            assert np.abs(a.tensors[i] - b.tensors[i]).max() <= 0.501 * step
            assert len(np.unique(a.tensors[i])) <= 32


def test_range_coded_frames_are_rfv_files(sequence):
    data = BASELINES["independent-range-occupied"].encode(sequence, 8)
    frames = list(open_stream(io.BytesIO(data)))
    assert [f.type for f in frames] == [1, 1, 1]
    for frame, again in zip(frames, BASELINES["independent-range-occupied"].decode(data).frames):
        assert all(np.array_equal(a, b) for a, b in zip(frame.values(), again.tensors))


def test_floats_are_exact(sequence):
    found = BASELINES["float32"].decode(BASELINES["float32"].encode(sequence, 32))
    assert all(np.array_equal(a, b)
               for x, y in zip(found.frames, sequence.frames) for a, b in zip(x.tensors, y.tensors))
    half = BASELINES["float16-lzma"].decode(BASELINES["float16-lzma"].encode(sequence, 16))
    assert all(np.array_equal(a, b.astype(np.float16).astype(np.float32))
               for x, y in zip(half.frames, sequence.frames) for a, b in zip(x.tensors, y.tensors))


def test_dct_decodes_to_what_its_encoder_predicts_from(sequence):
    data, rebuilt = BASELINES["dct"].reconstructing(sequence, 80)
    for frame, tensors in zip(BASELINES["dct"].decode(data).frames, rebuilt, strict=True):
        assert all(np.array_equal(frame.tensors[i], tensors[i]) for i in range(len(sequence.header.tensors)))


@with_grids
def test_closed_loops_do_not_drift(sequence):
    """P-frames of a field that stands still are as good as the I-frame: residuals are on what the decoder has."""
    for name in ("dct", "nnc"):
        baseline = BASELINES[name]
        if baseline.unavailable():
            continue
        repeated = FieldSequence(sequence.header, (sequence.frames[0], *(
            dataclasses.replace(sequence.frames[0], intra=False) for _ in range(3))))
        decoded = baseline.decode(baseline.encode(repeated, baseline.values[1]))
        errors = [error(FieldSequence(sequence.header, (a,)), FieldSequence(sequence.header, (b,)))
                  for a, b in zip(repeated.frames, decoded.frames)]
        assert all(e <= 1.1 * errors[0] + 1e-9 for e in errors), errors


def test_hevc_is_lossless_when_asked_to_be(sequence):
    """What is lost otherwise is lost by x265: packing, ranges and lines lose no more than 8 bits do."""
    usable(BASELINES["hevc"])
    baseline = hevc.HevcPlanes(lossless=True)
    found = baseline.decode(baseline.encode(sequence, 20))
    for i in sequence.grids:
        wanted = np.stack([f.tensors[i] for f in sequence.frames])
        got = np.stack([f.tensors[i] for f in found.frames])
        if axes(sequence.header.tensors[i].shape) > 1:
            sent, integers = scalar.quantise(wanted, 8)
            assert np.array_equal(got, scalar.dequantise(sent, integers))
        else:
            assert np.abs(got - wanted).max() <= np.ptp(wanted) / 255 * 0.501


@with_grids
def test_small_tensors_cost_nothing_where_nothing_changes(sequence):
    packer = Packer()
    rebuilt = scalar.eight_bits(packer, Component.NETWORKS, sequence, sequence.networks)
    unpacker = Unpacker(packer.data())
    found = scalar.eight_bits_inverse(unpacker, Component.NETWORKS, sequence.header, [f.intra for f in sequence.frames],
                                      sequence.networks)
    assert all(np.array_equal(a, b) for x, y in zip(rebuilt, found) for a, b in zip(x, y))
    parts = Unpacker(packer.data())
    assert [bool(parts.take(Component.NETWORKS)) for _ in range(3)] == [True, False, True]


def test_headers_and_occupancies_come_back(sequence):
    packer = Packer()
    write_fields(packer, sequence)
    header, intra, occupancies = read_fields(Unpacker(packer.data()))
    assert header == sequence.header and intra == [f.intra for f in sequence.frames]
    assert all(np.array_equal(a, f.occupancy) for a, f in zip(occupancies, sequence.frames))


# Parts of the coders.

shapes = st.tuples(st.integers(1, 3), *[st.integers(1, 20)] * 3).filter(lambda s: any(n > 1 for n in s[1:]))


@settings(max_examples=40, deadline=None)
@given(shapes, st.integers(0, 99))
def test_blocks_come_back(shape, seed):
    values = np.random.default_rng(seed).normal(size=shape)
    blocks = dct.to_blocks(values)
    assert blocks.shape[1:] == (8,) * axes(shape)
    assert np.array_equal(dct.from_blocks(blocks, shape), values)
    there = dct._transformed(blocks, dct._DCT)
    assert np.allclose(dct._transformed(there, dct._DCT.T), blocks)
    assert np.isclose((there**2).sum(), (blocks**2).sum())


@settings(max_examples=40, deadline=None)
@given(shapes.filter(lambda s: sum(n > 1 for n in s[1:]) > 1), st.integers(0, 99))
def test_mosaics_come_back(shape, seed):
    values = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    assert np.array_equal(hevc.from_picture(hevc.to_picture(values), shape), values)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 12), st.sampled_from([8, 64, 512]), st.floats(0, 1), st.integers(1, 15), st.integers(0, 99))
def test_run_length_symbols_come_back(blocks, count, density, bits, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-(1 << bits) + 1, 1 << bits, (blocks, count)) * (rng.random((blocks, count)) < density)
    symbols, coded = dct.encode_coefficients(values)
    assert np.array_equal(dct.decode_coefficients(symbols, coded, blocks, count), values)


def test_run_length_symbols_by_hand():
    block = np.zeros((1, 64), np.int64)
    block[0, [0, 2, 20]] = 5, -1, 2
    symbols, bits = dct.encode_coefficients(block)
    # 5: no zeros, 3 bits; -1: one zero, 1 bit; 2: seventeen zeros (sixteen and one), 2 bits.
    assert symbols.tolist() == [0x03, 0x11, 0xF0, 0x12, 0x00]
    assert bits.tolist() == [1, 0, 1, 0, 1, 0]


def test_step_sizes_are_jpegs():
    assert np.array_equal(dct.steps(2, 50), dct._TABLE)
    assert np.array_equal(dct.steps(2, 100), np.ones((8, 8)))
    assert dct.steps(3, 50)[0, 0, 0] == 16 and dct.steps(1, 50)[1] == 11.5  # (11 + 12) / 2


# Source views.


def camera(x: float, turn: float = 0.0, size=(40, 32)) -> Camera:
    c, s = np.cos(turn), np.sin(turn)
    pose = np.array([[c, 0, s, x], [0, 1, 0, 0], [-s, 0, c, 4]])
    return Camera(*size, 50, 50, size[0] / 2, size[1] / 2, pose, f"at {x}")


def source_views(cameras, frames=3, masks=True) -> SourceViews:
    """Pictures that tell which they are: a colour for the frame, a ramp for the camera."""
    pictures, alpha = [], []
    for t in range(frames):
        row = []
        for k, c in enumerate(cameras):
            ramp = np.linspace(20 + 30 * k, 60 + 30 * k, c.width)[None, :, None]
            row.append(np.clip(ramp + 40 * t + np.zeros((c.height, 1, 3)), 0, 255).astype(np.uint8))
        pictures.append(tuple(row))
        alpha.append(tuple((p[..., 0] > 60).astype(np.uint8) * 255 for p in row))
    return SourceViews(tuple(cameras), tuple(pictures), tuple(alpha) if masks else None)


@pytest.mark.parametrize("between", [True, False])
@pytest.mark.parametrize("masks", [True, False])
def test_source_views_come_back_in_their_places(between, masks):
    baseline = usable(Views(between, lossless=True))
    views = source_views([camera(0), camera(3), camera(1), camera(2, size=(48, 36))], masks=masks)
    data = baseline.encode(views, 20, 2)
    pictures, found = baseline.decode(data)
    for of_frame, truths in zip(pictures, views.pictures, strict=True):
        for picture, truth in zip(of_frame, truths, strict=True):
            assert picture.shape == truth.shape
            assert np.abs(picture.astype(int) - truth).max() <= 4  # colour conversion, nothing else
    assert (found is not None) == masks
    if masks:
        assert all(np.array_equal(a, b) for x, y in zip(found, views.masks) for a, b in zip(x, y))
    assert sum(baseline.components(data).values()) == len(data)
    for broken in (data[:-1], data[: len(data) // 2], data[:8], b""):
        with pytest.raises(DamagedFile):
            baseline.decode(broken)


@pytest.mark.parametrize("between", [True, False])
def test_source_views_follow_the_rate_factor(between):
    baseline = usable(Views(between))
    rng = np.random.default_rng(3)
    views = source_views([camera(k) for k in range(4)])
    noisy = tuple(tuple(np.clip(p + smooth(rng, (*p.shape[:2], 1)) * 60, 0, 255).astype(np.uint8) for p in row)
                  for row in views.pictures)
    views = dataclasses.replace(views, pictures=noisy)
    sizes, errors = [], []
    for value in baseline.values:
        data = baseline.encode(views, value, 20)
        pictures, _ = baseline.decode(data)
        sizes.append(len(data))
        errors.append(np.mean([(a.astype(float) - b) ** 2 for x, y in zip(pictures, noisy) for a, b in zip(x, y)]))
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 1.2 * sizes[-1]
    assert errors == sorted(errors) and errors[0] < errors[-1]


def test_random_access_and_order_of_views():
    baseline = Views(True)
    layout = dict(frames=4, sizes=[[8, 8]] * 3, chain=[0, 2, 1])
    order, = baseline._streams(layout)
    assert order == [(0, 0), (0, 2), (0, 1), (1, 1), (1, 2), (1, 0), (2, 0), (2, 2), (2, 1), (3, 1), (3, 2), (3, 0)]
    from refcodec.evaluation.baselines.views import _chain, _intra

    assert [k for k, first in enumerate(_intra(order, 2)) if first] == [0, 6]
    assert _chain([camera(0), camera(3), camera(1), camera(2)]) == [0, 2, 3, 1]
    assert nearest_view(camera(1.8), [camera(0), camera(3), camera(2), camera(1)]) == 2


# The choice of baselines.


def test_choices():
    assert list(choose([])) == list(BASELINES) == list(choose(["all"])) and choose(["none"]) == {}
    assert choose(["dct=90,50", "hevc"]) == {"dct": (90, 50), "hevc": tuple(BASELINES["hevc"].values)}
    assert choose(["all", "dct=7"])["dct"] == (7,)
    for wrong, said in (("jpeg", "no baseline 'jpeg'"), ("dct=0", "quality of dct: 0 is no whole number from 1 to 100"),
                        ("dct=x", "no list of numbers"), ("hevc=60", "CRF"), ("float32=16", "only value is 32"),
                        ("independent-lzma=8.5", "whole"), ("nnc=nan", "nan")):
        with pytest.raises(UsageError, match=said):
            choose([wrong])
