"""Decisions of the encoder that no size or picture of a short training shows: each by a case of its own."""
import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from refcodec.datasets import checks
from refcodec.encoder import encode, group, loop, rays, trainers
from refcodec.encoder.gop import EncodeOptions
from refcodec.encoder.model_selection import ModelSelection
from refcodec.entropy.fitting import fit_static, model_bytes
from refcodec.evaluation.benchmark import interpolated_size
from refcodec.fields import field_header
from refcodec.fields.grid import GridSizes
from refcodec.quantisation import TensorTools, quantise_frame
from refcodec.rendering.cameras import Camera
from refcodec.rendering.paths import look_at
from refcodec.tensors.state import FrameState
from synthetic import write_dataset

HEADER = field_header(GridSizes(4, 4, 2, render_hidden=4), [(-1, -1, -1), (1, 1, 1)], occupancy_side=12,
                      samples_per_diagonal=40)


class Field:
    """A field whose density is a function of the position."""

    def __init__(self, density):
        self.of = density

    def density(self, position):
        return self.of(position), None


def bank(occupancy=None, header=HEADER):
    """Rays of one camera that looks along x."""
    pose = look_at((4.0, 0.0, 0.0), (0, 0, 0), (0, 0, 1))
    camera = Camera(24, 24, 40.0, 40.0, 12.0, 12.0, pose, "c")
    picture = rays.TrainingPicture(camera, np.ones((24, 24, 4), np.float32))
    shape = header.occupancy_shape
    return rays.RayBank([picture], header, np.ones(shape, bool) if occupancy is None else occupancy,
                        torch.device("cpu"), torch.Generator().manual_seed(0))


def test_samples_are_jittered_by_a_step_at_most():
    """Without jitter a field is only seen on shells of constant depth."""
    found = bank()
    batch = found.batch(400)
    samples = batch.samples
    first = torch.full((400,), torch.inf).scatter_reduce(
        0, samples.ray, (samples.position - torch.tensor([4.0, 0.0, 0.0])).norm(dim=1), "amin")
    offset = ((first - found._near[batch.rays]) / found.step)
    offset = offset[torch.isfinite(first)] % 1.0
    counts = torch.histc(offset, 4, 0, 1)
    assert (counts > 0.15 * len(offset)).all()  # evenly over the step, each a quarter but for chance


def test_pruning_keeps_the_neighbours_of_what_is_solid():
    found = bank()
    assert found.prune(Field(lambda p: 1e3 * ((p.abs() < 4 / 12 - 1e-4).all(1)).float()))
    kept = np.argwhere(found.occupancy)
    # Solid are voxels 4 to 7 of each axis; a voxel more to each side stays, for a field may still grow there.
    assert kept.min(0).tolist() == [3, 3, 3] and kept.max(0).tolist() == [8, 8, 8] and len(kept) == 6**3


def test_pruning_leaves_a_field_alone_that_is_still_a_haze():
    found = bank()
    assert not found.prune(Field(lambda p: torch.full((len(p),), 1e-3))) and found.occupancy.all()


def test_a_voxel_is_empty_below_two_per_cent_of_a_step():
    for opacity, stays in ((0.03, True), (0.01, False)):
        found = bank()
        density = -np.log(1 - opacity) / found.step
        found.prune(Field(lambda p, d=density: torch.where(p[:, 0] > 0, d, 1e3)))  # noqa: B023
        assert found.occupancy[:, :, -1].all() == stays


def test_samples_are_left_out_behind_a_thousandth_of_the_light():
    """Where the voxels before it let 0.1 % through, by seven tenths of their density; a ray's samples before stay."""
    found = bank()
    voxels = 1728
    for optical, some_left_out in ((0.2, False), (0.9, True)):  # of a ray step; about 23 of them in the box
        found.set_occluders(torch.full((voxels,), optical / found.step))
        samples = found.batch(200).samples
        counts = torch.bincount(samples.ray, minlength=200)
        # Samples at an optical depth of less than 7, the share 0.7 of each counted.
        limit = int(np.ceil(7.0 / (0.7 * optical)))
        assert (counts <= limit).all() and int(counts.max()) == min(limit, int(counts.max()))
        assert bool((counts == limit).any()) == some_left_out


def test_a_box_from_cameras_is_by_the_median_of_what_they_see(tmp_path):
    """One camera that sees little does not shrink the box."""
    def camera(angle, focal):
        pose = look_at((4 * np.cos(angle), 4 * np.sin(angle), 0.5), (0, 0, 0), (0, 0, 1))
        return Camera(32, 32, focal, focal, 16.0, 16.0, pose, "c")

    cameras = [camera(a, 32.0) for a in (0.3, 1.2, 2.1, 3.5, 5.0)]
    even = checks.box_from_cameras(cameras, tmp_path)
    narrow = checks.box_from_cameras([*cameras[:-1], camera(5.0, 320.0)], tmp_path)
    np.testing.assert_allclose(even, narrow, atol=0.02 * np.ptp(even))


def test_a_known_model_serves_while_a_new_one_costs_more():
    """A new model counts with its own bytes: 40 symbols do not pay for tables that fit them better."""
    rng = np.random.default_rng(0)
    before, now = rng.integers(-3, 4, (2000, 1)).astype(np.int32), rng.integers(-2, 3, (40, 1)).astype(np.int32)
    known, fitted = fit_static(before), fit_static(now)

    def bits(model):
        table = model.tables[0]
        return float(table.bits[now.reshape(-1) - table.low].sum())

    assert bits(fitted) < bits(known) < bits(fitted) + 8 * model_bytes(fitted)
    previous = SimpleNamespace(models={7: known})
    selection = ModelSelection(SimpleNamespace(previous=previous, slots=[], groups=[]),
                               {0: SimpleNamespace(serves=lambda model: True)}, 10)
    assert selection._smallest(7, [fitted], {0: bits})[0].model is known
    alone = ModelSelection(SimpleNamespace(previous=previous, slots=[], groups=[]),
                           {0: SimpleNamespace(serves=lambda model: True)}, 10, reuse=False)
    assert alone._smallest(7, [fitted], {0: bits})[0].model is fitted
    # Where the symbols are worth it, the new model is taken.
    assert selection._smallest(7, [fitted], {0: lambda m: 100 * bits(m)})[0].model is fitted


class Quantised:
    """A trainer that does not train: the size of a fixed field follows λ by its quantisation step size alone."""

    def __init__(self, header, pictures, settings, plan, previous, following, device):
        self.header, self.step = header, settings.lagrangian**0.6
        self.schedule = loop.Schedule(0, settings.lagrangian, 0.0, 1.0, ())

    def frame(self, member, number, time_stamp):
        rng = np.random.default_rng(0)
        tensors = [rng.normal(0, 0.2, info.shape) for info in self.header.tensors]
        return loop.TrainedFrame(quantise_frame(
            FrameState(self.header), tensors, TensorTools(self.step), number=number, time_stamp=time_stamp,
            occupancy=np.ones(self.header.occupancy_shape, bool)), {})


@pytest.mark.parametrize("target", [6.0, 25.0])
def test_a_size_that_is_asked_for_is_reached(tmp_path, monkeypatch, target):
    """Within the tolerance, from a λ that gives another size."""
    monkeypatch.setitem(trainers.TRAINERS, "field", Quantised)
    ball = write_dataset(tmp_path / "ball", frames=1)
    options = EncodeOptions(preset="micro", system="rate-aware", representation="grid", device="cpu", evaluate=False)
    free = encode(ball, tmp_path / "free.rfv", options).frames[0]
    assert abs(np.log(free.size / 1000 / target)) > 3 * group._TARGET_TOLERANCE
    found = encode(ball, tmp_path / "out.rfv", dataclasses.replace(options, target_kb=target)).frames[0]
    assert abs(np.log(found.size / 1000 / target)) <= group._TARGET_TOLERANCE
    assert (found.lagrangian > free.lagrangian) == (found.size < free.size)


def test_sizes_are_interpolated_within_a_decibel_of_the_curve():
    points = [SimpleNamespace(psnr=30.0, size=1000), SimpleNamespace(psnr=32.0, size=4000)]
    assert interpolated_size(points, 31.0) == pytest.approx(2000)
    assert interpolated_size(points, 29.1) == pytest.approx(1000 * 4**-0.45)
    assert interpolated_size(points, 33.0) == pytest.approx(8000)
    assert interpolated_size(points, 28.9) is None and interpolated_size(points, 33.1) is None
