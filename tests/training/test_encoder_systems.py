"""Every system on every representation: its tools are in the stream, and the stream decodes."""
import dataclasses
import io

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from checkout import ROOT

torch = pytest.importorskip("torch")

from refcodec.datasets import load_dataset
from refcodec.decoding import open_stream
from refcodec.encoder import EncodeOptions, contexts, encode, latents, presets, rays, systems, train
from refcodec.encoder.systems import Kind, ToolChoice, kind_of
from refcodec.entropy.bernoulli import BERNOULLI
from refcodec.entropy.models import ContextModel, StaticModel
from refcodec.errors import UsageError
from refcodec.fields import DifSizes, GridSizes, TriplaneSizes, VmSizes, field_header
from refcodec.syntax.coding import Prediction, Transform
from refcodec.syntax.headers import Mapping, Representation, Role, TensorInfo
from refcodec.writer import StreamWriter

DEMO = ROOT / "demo" / "fox"
MICRO = presets.preset("micro")
PAIRS = [(s.name, r.name.lower()) for s in systems.SYSTEMS.values() if s.spatial for r in s.representations]
# As small as every tool still has something to do.
SIZES = {
    Representation.DIF: DifSizes(3, (6, 7), (2, 2), (1.6, 2.4), fusion_hidden=8, features=3, render_hidden=8,
                                 feature_frequencies=1, direction_frequencies=1),
    Representation.VM: VmSizes(2, 3, 24, features=3, render_hidden=8, feature_frequencies=1, direction_frequencies=1),
    Representation.TRIPLANE: TriplaneSizes(3, 24, 12, features=3, render_hidden=8, feature_frequencies=1,
                                           direction_frequencies=1),
    Representation.GRID: GridSizes(14, 12, 3, features=3, render_hidden=8, feature_frequencies=1,
                                   direction_frequencies=1),
}
BANDED = {"masked-wavelet": Transform.WAVELET, "ecrf": Transform.BLOCK_DCT}


@pytest.fixture(scope="module")
def scene():
    dataset = load_dataset(DEMO)
    views = [dataset.frames[i].split("train")[::3] for i in range(2)]
    return dataset.aabb, [[rays.TrainingPicture(v.camera.scaled(0.125), v.load(8)) for v in frame] for frame in views]


def prepared(scene, system, representation, tools=ToolChoice(), **changes):
    """Plan, header and settings of a very short training."""
    plan, kind = systems.plan(system, representation, tools)
    header = field_header(SIZES[kind], scene[0], samples_per_diagonal=48, occupancy_side=24)
    defaults = dict(lagrangian=1e-5, intra_iterations=24, inter_iterations=8, rays=64, initial_step=0.02, rate_after=0,
                    model_iterations=30)
    return plan, header, dataclasses.replace(MICRO.training_of(kind), **{**defaults, **changes})


def intra(scene, *arguments, **changes):
    """An I-frame and its size."""
    plan, header, chosen = prepared(scene, *arguments, **changes)
    return written(header, train.train_intra(header, scene[1][0], chosen, plan=plan))


def written(header, frame):
    writer = StreamWriter(io.BytesIO(), header)
    writer.begin()
    writer.begin_group(0, 1)
    return frame.coding, writer.write_frame(frame.coding).size


def encoded(scene, *arguments, **changes):
    """Two frames: bytes, the writer, and what training handed over."""
    plan, header, chosen = prepared(scene, *arguments, **changes)
    pictures, out = scene[1], io.BytesIO()
    writer = StreamWriter(out, header)
    writer.begin()
    writer.begin_group(0, 2)
    trained = [train.train_intra(header, pictures[0], chosen, plan=plan)]
    reports = [writer.write_frame(trained[0].coding)]
    trained.append(train.train_inter(header, pictures[1], chosen, writer.state, plan=plan, number=1, time_stamp=1))
    reports.append(writer.write_frame(trained[1].coding))
    writer.finish()
    return out.getvalue(), writer, trained, reports


@pytest.mark.parametrize("system, representation", PAIRS)
def test_a_system_s_tools_are_in_the_stream(scene, system, representation):
    data, writer, trained, reports = encoded(scene, system, representation)
    frames = list(open_stream(io.BytesIO(data)))
    assert [f.type for f in frames] == [1, 2]
    for ours, theirs in zip(writer.state.tensors, frames[1].tensors, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    header = frames[0].header
    models = {}
    for frame, made, report in zip(frames, trained, reports):
        models.update(made.coding.models)
        assert sum(made.estimated_bits.values()) == pytest.approx(sum(report.ideal_bits.values()), rel=0.02, abs=400)
        for t in frame.syntax.tensor:
            info, kind = header.tensors[t.tensor_id], kind_of(header.tensors[t.tensor_id])
            wide = kind in (Kind.GRID, Kind.PLANE)
            assert frame.type == 1 or kind != Kind.NETWORK  # networks are shared by the group
            assert t.transform == (BANDED.get(system, Transform.NONE) if wide else Transform.NONE)
            assert t.significance == (0 if kind == Kind.NETWORK else 1) + 2 * (system == "masked-wavelet" and wide)
            unpredicted = system == "dynamic-dif" and info.role == Role.DIF_COEFFICIENT
            assert t.prediction == (Prediction.NONE if frame.type == 1 or unpredicted else Prediction.PREVIOUS)
            context = isinstance(models[t.model_ref], ContextModel) and len(models[t.model_ref].template) > 0
            if system == "ecrf":  # where tables are larger
                assert not context or wide and models[t.model_ref].template_id == (14 if frame.type == 1 else 15)
            else:
                assert context == (wide and system in ("rate-aware", "dynamic-dif"))
            if t.significance >= 2:
                model = models[t.mask_model_ref]
                assert isinstance(model, StaticModel) or model.family == BERNOULLI
    carried = {t.tensor_id for t in frames[1].syntax.tensor}
    for i in range(len(header.tensors)):
        if i not in carried:
            np.testing.assert_array_equal(frames[1].tensors[i], frames[0].tensors[i])
    # A P-frame leaves out what does not change.
    assert all(t.values.any() for t in trained[1].coding.tensors if t.tools.prediction == Prediction.PREVIOUS)
    if system in BANDED:  # a P-frame repeats models where that is smaller
        assert any(isinstance(m, StaticModel) for m in models.values())
    assert any(values.any() for values in (t.values for t in trained[0].coding.tensors))


def test_tools_combine(scene):
    """What no publication combined: a dictionary field in wavelets, with masks and context models."""
    tools = ToolChoice(transform="dwt", levels=2, masks=True, model="context")
    data, _, trained, _ = encoded(scene, "rate-aware", "dif", tools)
    assert len(list(open_stream(io.BytesIO(data)))) == 2
    for made in trained:
        for t in made.coding.tensors[:3]:
            assert (t.tools.transform, t.tools.levels, t.tools.significance) == (Transform.WAVELET, 2, 3)
            assert len(t.tools.steps) == 3
            assert t.values[~t.mask].any() is np.False_ and t.values[t.mask].all()


def test_the_smaller_model_stays(scene):
    """With --rdo a frame is no larger than with the better of the two kinds of models for all its tensors."""
    plan, header, chosen = prepared(scene, "rate-aware", "vm")
    sizes = {}
    for model in systems.Model:  # trained alike, coded differently
        changed = dataclasses.replace(plan, plane=dataclasses.replace(plan.plane, model=model))
        sizes[model] = written(header, train.train_intra(header, scene[1][0], chosen, plan=changed))[1]
    tolerance = 4 * len(header.tensors)  # the last word of each tensor
    assert sizes[systems.Model.SMALLER] <= min(sizes.values()) + tolerance


def test_masks_drop_expensive_coefficients(scene):
    codings = [intra(scene, "masked-wavelet", "vm", lagrangian=w, mask_rate=0.1)[0] for w in (1e-7, 1.0)]
    many, few = (sum(int(t.mask.sum()) for t in coding.tensors if t.mask is not None) for coding in codings)
    assert few < 0.4 * many


def test_step_sizes_follow_the_range(scene):
    found = [t for t in intra(scene, "masked-wavelet", "vm")[0].tensors if t.tools.transform]
    assert len(found) == 6 and all(116 <= np.abs(t.values).max() <= 128 for t in found)


@pytest.mark.parametrize("system, representation, tools, message", [
    ("rate-aware", "mlp", ToolChoice(), "does not code mlp"),
    ("cnerf", "dif", ToolChoice(), "does not code dif"),
    ("cnerf", None, ToolChoice(masks=True), "can't have a mask"),
    ("cnerf", None, ToolChoice(model="context"), "can't have a context model"),
    ("cnerf", None, ToolChoice(rdo=True), "can't have a choice of models"),
    ("ecrf", None, ToolChoice(levels=2), "levels are those of a wavelet"),
    ("masked-wavelet", None, ToolChoice(levels=7), "1 to 6 levels"),
    ("rate-aware", None, ToolChoice(transform="fft"), "no transform 'fft'"),
    ("rate-aware", None, ToolChoice(model="best"), "probability model is 'best'"),
])
def test_refused(system, representation, tools, message):
    with pytest.raises(UsageError, match=message):
        systems.plan(system, representation, tools)


def test_asking_for_a_tool_replaces_the_system_s():
    plan, kind = systems.plan("masked-wavelet", None, ToolChoice(transform="none", masks=False, model="context"))
    assert kind == Representation.VM
    assert (plan.plane.transform, plan.plane.masks, plan.plane.model) == (Transform.NONE, False, systems.Model.CONTEXT)
    assert plan.line == systems.SYSTEMS["masked-wavelet"].line
    assert systems.plan("masked-wavelet", None, ToolChoice(levels=2))[0].plane.levels == 2


axis = st.integers(1, 20)


@settings(max_examples=40)
@given(st.integers(0, 2**31), st.tuples(axis, axis, axis).filter(lambda n: max(n) > 1),
       st.sampled_from(list(Transform)), st.integers(1, 3))
def test_latents_are_what_the_tensor_is_made_of(seed, spatial, transform, levels):
    """Synthesis inverts analysis; sums by band are sums by band."""
    info = TensorInfo(Role.FEATURE_GRID, 0, (2, *spatial), 16, Mapping.LINEAR)
    network = TensorInfo(Role.RENDER_WEIGHT, 0, (1, 1, 2, 3), 16)
    own = systems.TensorPlan(Transform(transform), levels if transform == Transform.WAVELET else 0)
    plan = systems.CodingPlan("test", grid=own, plane=own, line=own)
    header = dataclasses.replace(field_header(MICRO.sizes[Representation.GRID], ((-1, -1, -1), (1, 1, 1))),
                                 tensors=(info, network))
    slot, other = latents.slots(header, [plan.of(info) for info in header.tensors])
    assert other.part.start == slot.size and other.bands.start == slot.band_count == len(slot.band_gains())
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn((*spatial, 2), generator=generator)
    coefficients = slot.analysis(values)
    assert coefficients.shape == (*slot.shape, 2)
    torch.testing.assert_close(slot.synthesis(coefficients), values, atol=5e-3, rtol=1e-3)
    a, b = torch.randn((2, slot.size), generator=generator)
    band = slot.band if slot.band is not None else torch.zeros(slot.size // 2, dtype=torch.long)
    expected = [float((a * b).view(-1, 2)[band == k].sum()) for k in range(slot.band_count)]
    torch.testing.assert_close(slot.by_band(a, b), torch.tensor(expected), atol=1e-4, rtol=1e-4)
    spread = slot.per_cell(torch.arange(float(other.bands.stop)))
    assert torch.equal(spread.expand(len(band), 1)[:, 0], band.float())


def test_model_identifiers_fit(scene):
    """Every representation's models have different identifiers below 64, masks and contexts and tables together."""
    tools = ToolChoice(transform="dwt", masks=True, rdo=True)
    for representation in ("dif", "vm", "triplane", "grid"):
        plan, kind = systems.plan("rate-aware", representation, tools)
        header = field_header(presets.preset("paper").sizes[kind], scene[0])
        slots = latents.slots(header, [plan.of(info) for info in header.tensors])
        groups = contexts.context_groups(slots, True)
        assert len(groups) + 2 + len(slots) <= 64
        assert len({g.model_id for g in groups}) == len(groups)


def test_an_interrupted_encode_goes_on(tmp_path):
    """Options reach the training; masks and transforms survive the way through a partial file."""
    options = EncodeOptions(system="masked-wavelet", representation="grid", levels=1, preset="micro",
                            frames=range(0, 2), intra_iterations=6, inter_iterations=3, downscale=8, evaluate=False,
                            cameras="none")

    def interrupt(progress):
        if progress.frame == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(DEMO, tmp_path / "out.rfv", options, interrupt)
    assert not (tmp_path / "out.rfv").exists()
    report = encode(DEMO, tmp_path / "out.rfv", options)
    assert report.resumed_frames == 1 and [r.type for r in report.frames] == ["I", "P"]
    assert report.frames[0].report.masks and all(isinstance(i, int) for i in report.frames[0].report.masks)
    assert [p.name for p in tmp_path.iterdir()] == ["out.rfv"]
    with open_stream(tmp_path / "out.rfv") as stream:
        for frame in stream:
            assert all(t.wavelet_levels == 1 for t in frame.syntax.tensor if t.transform)
