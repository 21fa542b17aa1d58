"""Rays and training on the demo sequence, small enough for seconds."""
import dataclasses
import io

import numpy as np
import pytest
from hypothesis import given, strategies as st

from checkout import ROOT

torch = pytest.importorskip("torch")

from refcodec.datasets import load_dataset
from refcodec.decoding import open_stream
from refcodec.encoder import loop, presets, rays, train
from refcodec.encoder.latents import step_value
from refcodec.encoder.systems import SYSTEMS
from refcodec.fields import build, field_header
from refcodec.rendering.march import render_camera
from refcodec.syntax.headers import Representation
from refcodec.tensors.significance import coded_mask
from refcodec.tensors.state import FrameState
from refcodec.writer import StreamWriter

DEMO = ROOT / "demo" / "fox"
SETTINGS = dataclasses.replace(presets.preset("micro").training, lagrangian=3e-4, network_rate=5e-3,
                               intra_iterations=160, inter_iterations=40, rays=256)


def trainer(header, pictures, settings, previous=None):
    return train.FieldTrainer(header, pictures, settings, SYSTEMS["rate-aware"], previous)


@pytest.fixture(scope="module")
def scene():
    dataset = load_dataset(DEMO)
    header = field_header(presets.preset("micro").sizes[Representation.DIF], dataset.aabb, samples_per_diagonal=64,
                        occupancy_side=32, ticks_per_second=24)

    def pictures(frame, split):
        return [rays.TrainingPicture(v.camera.scaled(0.25), v.load(4)) for v in dataset.frames[frame].split(split)]

    return header, [pictures(i, "train") for i in range(2)], pictures(0, "test")


@pytest.fixture(scope="module")
def bank(scene):
    header, pictures, _ = scene
    hull = rays.visual_hull(pictures[0], header)
    return rays.RayBank(pictures[0], header, hull, torch.device("cpu"), torch.Generator().manual_seed(0))


def test_hidden_pixels_are_not_drawn(scene, bank):
    """Pixels that a mask says to ignore are no candidates, and no part of the mean over the pictures."""
    header, (pictures, *_), _ = scene
    kept = np.ones(pictures[0].rgba.shape[:2], bool)
    kept[:, : kept.shape[1] // 2] = False
    hull = rays.visual_hull(pictures, header)
    half = rays.RayBank([dataclasses.replace(p, kept=kept) for p in pictures], header, hull, torch.device("cpu"),
                        torch.Generator().manual_seed(0))
    assert half.pixels == kept.sum() * len(pictures) and 0 < len(half) < len(bank)
    assert int(half._column.min()) >= kept.shape[1] // 2
    wanted = (bank._column >= kept.shape[1] // 2).sum()
    assert len(half) == wanted


@pytest.fixture(scope="module")
def stream(scene):
    """An I- and a P-frame, written; the writer and what training handed over."""
    header, pictures, _ = scene
    out = io.BytesIO()
    writer = StreamWriter(out, header)
    writer.begin()
    writer.begin_group(0, 2)
    seen = []
    intra = train.train_intra(header, pictures[0], SETTINGS, on_progress=seen.append)
    reports = [writer.write_frame(intra.coding)]
    inter = train.train_inter(header, pictures[1], SETTINGS, writer.state, number=1, time_stamp=1)
    reports.append(writer.write_frame(inter.coding))
    writer.finish()
    return out.getvalue(), writer, (intra, inter), reports, seen


def test_hull_keeps_the_object_and_drops_most_of_the_box(scene):
    header, pictures, held_out = scene
    hull = rays.visual_hull(pictures[0], header)
    assert 0.005 < hull.mean() < 0.2
    points = rays.voxel_centres(header)[hull]
    for picture in held_out:  # every foreground pixel lies in the footprint of the hull
        radius = float(np.linalg.norm(2 / np.array(header.occupancy_dims)) / 2)
        shadow = rays.footprint(picture.camera, points, radius)
        assert shadow[picture.rgba[..., 3] > 0.5].all()


@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(1, 8)] * 3), st.sampled_from([0, 0.02, 0.2, 0.7, 1]))
def test_binary_closing_fills_concavities_and_removes_nothing(seed, shape, share):
    occupancy = np.random.default_rng(seed).random(shape) < share
    found = rays.binary_closing(occupancy)
    assert found.dtype == bool and found[occupancy].all() and np.array_equal(rays.binary_closing(found), found)
    # What it fills no cube of 3 voxels, all empty, reaches; those may stand out of the box.
    padded = np.pad(occupancy, 2)
    cubes = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3)).any((3, 4, 5))  # by lowest corner
    free = ~np.lib.stride_tricks.sliding_window_view(cubes, (3, 3, 3)).all((3, 4, 5))
    inside = (slice(1, -1),) * 3
    assert np.array_equal(found[inside], ~free[inside])


def test_hull_of_opaque_pictures_is_everything(scene):
    header, pictures, _ = scene
    opaque = [dataclasses.replace(p, rgba=np.ones_like(p.rgba)) for p in pictures[0][:3]]
    assert rays.visual_hull(opaque, header).all()


def test_batches_hold_occupied_samples_only(scene, bank):
    _, pictures, _ = scene
    assert len(bank) < bank.pixels == sum(p.rgba[..., 0].size for p in pictures[0])
    foreground = sum(int((p.rgba[..., 3] > 0.5).sum()) for p in pictures[0])
    assert float((bank._rgba[:, 3] > 0.5).sum()) == pytest.approx(foreground, rel=0.001)
    batch = bank.batch(300)
    samples, target = batch.samples, batch.target
    assert target.shape == (300, 4) and samples.shape[0] == 300 and len(samples.ray) > 300
    voxel = ((samples.position + 1) / 2 * 32).floor().long().clamp(0, 31)
    assert torch.from_numpy(bank.occupancy)[voxel[:, 2], voxel[:, 1], voxel[:, 0]].all()


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.3, 1.0]), st.integers(1, 5000))
def test_rays_are_drawn_by_their_errors_and_weighed_against_it(bank, seed, known, size):
    rng = np.random.default_rng(seed)
    error = torch.from_numpy(np.where(rng.random(len(bank)) < known, rng.exponential(size=len(bank)), np.nan)).float()
    bank._error, bank._batches = error, 0
    probability = torch.nan_to_num(error, nan=float(error.nanmean().nan_to_num(1))).double()
    probability = 0.2 / len(bank) + 0.8 * probability / probability.sum()
    drawn = bank.batch(size)
    counts = torch.bincount(drawn.rays, minlength=len(bank))
    # One from each of `size` slices of equal probability: of no run of rays more or fewer than two from what is due.
    assert ((counts - size * probability).cumsum(0).abs() < 1.01).all()
    torch.testing.assert_close(drawn.weight.double(), 1 / (len(bank) * probability[drawn.rays]), rtol=1e-3, atol=0)


def test_errors_without_any_are_drawn_evenly(bank):
    bank._error, bank._batches = torch.zeros(len(bank)), 0
    drawn = bank.batch(100)
    assert len(drawn.rays.unique()) == 100 and torch.allclose(drawn.weight, torch.ones(100))


def test_a_ray_remembers_its_errors(bank):
    bank._error = torch.full((len(bank),), torch.nan)
    bank._remember(torch.tensor([3, 5]), torch.tensor([1.0, 2.0]))
    bank._remember(torch.tensor([5]), torch.tensor([4.0]))
    assert bank._error[[3, 5]].tolist() == [1.0, 3.0] and int(bank._error.isnan().sum()) == len(bank) - 2


def test_training_sees_what_the_file_will_hold(scene):
    """Rounded values, whole steps each; learned steps follow the error of that rounding."""
    header, pictures, _ = scene
    training = trainer(header, pictures[0], SETTINGS)
    latents, quantiser = training.latents, training.quantiser
    training.set_values(False)
    assert torch.equal(latents.work, latents.values)
    training.set_values(True)
    gradient = torch.randn(latents.total, generator=torch.Generator().manual_seed(1))
    found = quantiser.step_gradient(gradient, torch.zeros_like(quantiser.log_step))
    for slot in latents.slots:
        steps = quantiser.in_steps(slot, quantiser.step(slot)).double()
        whole = latents.work[slot.part].double() / quantiser.step(slot)
        assert torch.allclose(whole, whole.round(), atol=1e-4)
        assert ((steps - whole).abs() <= 0.5 + SETTINGS.dead_zone + 1e-4).all()
        assert (whole[steps.abs() < 0.5 + SETTINGS.dead_zone - 1e-4].abs() < 1e-4).all()
        # Esser et al. 2020, equation 3, for the logarithm of the step.
        expected = (gradient[slot.part].double() * (whole - steps)).sum() * quantiser.step(slot)
        assert float(found[slot.bands]) == pytest.approx(float(expected), rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("iterations, first", [(1000, 100), (400, 80), (100, 30)])
def test_rate_waits_for_a_scene_to_find_its_shape(iterations, first):
    settings = dataclasses.replace(SETTINGS, intra_iterations=iterations, rate_start=0.1, rate_after=80)
    schedule = train.field_schedule(settings, inter=False)
    weights = [schedule.at(i).lagrangian for i in range(iterations)]
    assert not any(weights[:first + 1]) and all(weights[first + 1:]) and weights[-1] == SETTINGS.lagrangian


def test_decoder_has_what_the_encoder_has(stream, scene):
    data, writer, _, _, _ = stream
    frames = list(open_stream(io.BytesIO(data)))
    assert [f.type for f in frames] == [1, 2]
    for ours, theirs in zip(writer.state.tensors, frames[-1].tensors):
        np.testing.assert_array_equal(ours, theirs)
    for before, after, info in zip(frames[0].tensors, frames[1].tensors, scene[0].tensors):
        assert info.mapping or np.array_equal(before, after)  # networks are shared by the group


def test_estimate_agrees_with_the_payload(stream):
    _, _, trained, reports, _ = stream
    for frame, report in zip(trained, reports):
        estimate = sum(frame.estimated_bits.values())
        assert estimate == pytest.approx(sum(report.ideal_bits.values()), rel=0.01)


def test_only_cells_in_the_support_are_coded(stream, scene):
    header = scene[0]
    for frame in stream[2]:
        for tensor in frame.coding.tensors:
            if tensor.tools.significance:
                mask = coded_mask(header, header.tensors[tensor.tensor_id], frame.coding.occupancy)
                assert len(tensor.values) == mask.sum()


def test_training_shows_the_object(stream, scene):
    data, _, _, _, seen = stream
    header, _, held_out = scene
    frame = next(iter(open_stream(io.BytesIO(data))))
    field = build(header, frame.values())
    white = np.array(header.background) / 255
    errors, blank = [], []
    for picture in held_out:
        alpha = picture.rgba[..., 3:]
        truth = picture.rgba[..., :3] * alpha + (1 - alpha) * white
        errors.append(np.mean((render_camera(field, frame.occupancy, picture.camera, header).rgb - truth) ** 2))
        blank.append(np.mean((white - truth) ** 2))
    assert np.mean(errors) < 0.2 * np.mean(blank)
    assert seen[-1].iteration == SETTINGS.intra_iterations and seen[-1].kilobytes > 0


def test_a_seed_gives_the_same_frame_twice(scene):
    header, pictures, _ = scene
    short = dataclasses.replace(SETTINGS, intra_iterations=8)
    a, b = (train.train_intra(header, pictures[0][:6], short).coding for _ in range(2))
    for x, y in zip(a.tensors, b.tensors, strict=True):
        np.testing.assert_array_equal(x.values, y.values)
        assert x.tools.steps == y.tools.steps
    other = train.train_intra(header, pictures[0][:6], dataclasses.replace(short, seed=1)).coding
    assert not all(np.array_equal(x.values, y.values) for x, y in zip(a.tensors, other.tensors))


def test_reduced_precision_and_fused_kernels(scene, monkeypatch):
    """Both give the gradients of plain float32, the first roughly; the kernel is one graph for all sizes of batches."""
    header, pictures, _ = scene
    compiled, graphs = torch.compile, []

    def keep(graph, inputs):  # in place of a compiler, which not every machine has
        graphs.append(graph)
        return graph

    monkeypatch.setattr(torch, "compile", lambda function, **options: compiled(function, backend=keep, **options))
    monkeypatch.setattr("refcodec.fields.torch_ops._KERNELS", {})
    found = {}
    for name in ("plain", "mixed_precision", "compiled"):
        settings = dataclasses.replace(SETTINGS, fused=False, **({} if name == "plain" else {name: True}))
        training = trainer(header, pictures[0], settings)
        training.set_values(False)
        for _ in range(3):  # another number of samples each time
            error = training.backward()
        found[name] = float(error), training.gradient.clone()
    error, gradient = found["plain"]
    assert len(graphs) == 1
    assert found["compiled"][0] == pytest.approx(error, rel=1e-5)
    torch.testing.assert_close(found["compiled"][1], gradient, rtol=1e-3, atol=1e-3 * float(gradient.abs().max()))
    rough, rough_gradient = found["mixed_precision"]
    assert rough == pytest.approx(error, rel=0.02) and rough != error
    assert torch.nn.functional.cosine_similarity(rough_gradient, gradient, 0) > 0.99


def test_tools_can_be_switched_off(scene):
    header, pictures, _ = scene
    plain = dataclasses.replace(SETTINGS, intra_iterations=20, rate_loss=False, initial_step=0.125)
    fixed = dataclasses.replace(SETTINGS, intra_iterations=20, learn_steps=False, initial_step=0.125)
    for settings in (plain, fixed):
        coding = train.train_intra(header, pictures[0][:6], settings).coding
        assert step_value(coding.tensors[0].tools.steps[0], 16) == 0.125


def test_a_p_frame_after_a_blank_frame_is_trained(scene):
    header, pictures, _ = scene
    blank = FrameState(header)
    blank.set_occupancy(rays.visual_hull(pictures[0], header))
    short = dataclasses.replace(SETTINGS, inter_iterations=4)
    training = trainer(header, pictures[1], short, blank)
    assert [slot.id for slot in training.latents.active] == [i for i, t in enumerate(header.tensors) if t.mapping != 0]
    # Its networks are zero as well: nothing gets a gradient, and no tensor needs to be carried.
    loop.train(training)
    assert training.frame(0, 1, 1).coding.tensors == []
