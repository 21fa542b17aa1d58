"""The encoder as a person uses it: fields that come out empty, defaults, budgets, targets, resuming, previews."""
import dataclasses
import json
import time

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

torch = pytest.importorskip("torch")

from refcodec.cli import cli
from refcodec.commands.encode import Duration
from refcodec.datasets import load_dataset
from refcodec.decoding import open_stream
from refcodec.encoder import EncodeOptions, checkpoint, cnerf, encode, gop, group, loop, preview, rays, train, trainers
from refcodec.encoder.gop import check_options, is_begun, is_finished
from refcodec.encoder.scenes import SceneOptions, encode_scenes
from refcodec.errors import UsageError
from refcodec.evaluation import held_out
from refcodec.fields import TorchOps, field_header
from refcodec.fields.grid import GridSizes
from refcodec.inspection import inspect
from refcodec.quantisation import TensorTools, quantise_frame
from refcodec.rendering.cameras import Camera
from refcodec.rendering.paths import look_at
from refcodec.rendering.pictures import composite, to_8bit
from refcodec.syntax.headers import Representation
from refcodec.tensors.state import FrameState
from synthetic import write_dataset

HEADER = field_header(GridSizes(4, 4, 2, render_hidden=4), [(-1, -1, -1), (1, 1, 1)], occupancy_side=12,
                      samples_per_diagonal=40)
OPTIONS = EncodeOptions(preset="micro", device="cpu", threads=1, group_size=1, frames=range(1), intra_iterations=60,
                        lagrangian=1e-6, settings={"model_iterations": 5, "rays": 128}, evaluate=False)


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("ball") / "data", 2)


class Haze:
    """A white field of even density."""

    ops, field_ops = TorchOps(), None

    def __init__(self, density):
        self.of = density

    def density(self, position):
        return torch.full((len(position),), self.of), position

    def radiance(self, features, direction, ray):
        return torch.ones((len(ray), 3))


def bank(alpha, occupancy=None, pose=None):
    pose = look_at((4.0, 0.0, 0.0), (0, 0, 0), (0, 0, 1)) if pose is None else pose
    camera = Camera(24, 24, 40.0, 40.0, 12.0, 12.0, pose, "c")
    rgba = np.ones((24, 24, 4), np.float32)
    rgba[..., 3] = alpha
    return rays.RayBank([rays.TrainingPicture(camera, rgba)], HEADER,
                         np.ones(HEADER.occupancy_shape, bool) if occupancy is None else occupancy,
                         torch.device("cpu"), torch.Generator().manual_seed(0))


def test_a_bank_knows_how_much_a_field_shows():
    found = bank(np.where(np.arange(24) < 12, 1.0, 0.0))
    before = found.generator.get_state()
    assert found.shown(Haze(0.0)) == 0
    # Rays at the rim of the box cross a little of it.
    assert 0.95 < found.shown(Haze(100.0)) <= 1.001
    thin = found.shown(Haze(0.2))  # some 2 units of path: 1 - exp(-0.4)
    assert 0.2 < thin < 0.4
    assert torch.equal(before, found.generator.get_state())  # nobody looked
    assert bank(0.0).shown(Haze(1.0)) is None


def test_a_field_that_comes_out_empty_is_said(ball, tmp_path):
    empty = encode(ball, tmp_path / "empty.rfv", OPTIONS, intra_iterations=2)
    (text,) = empty.warnings
    assert text.startswith("T01: frame 0 came out empty") and "more iterations" in text and "--box" in text
    assert empty.frames[0].opacity < 0.25
    whole = encode(ball, tmp_path / "whole.rfv", OPTIONS)
    assert whole.warnings == [] and whole.frames[0].opacity > 0.5


@pytest.mark.parametrize("opacity, said", [(0.2, ["T01: scene 0"]), (0.3, [])])
def test_so_is_a_network_s(ball, tmp_path, monkeypatch, opacity, said):
    """Random networks are not empty: what the rays see is put in."""
    monkeypatch.setattr(rays.RayBank, "shown", lambda bank, field: opacity * bool(field.density(bank.low[None])))
    options = SceneOptions(occupancy_side=12, samples_per_diagonal=40, evaluate=False, frames=range(1))
    training = dataclasses.replace(options.training, intra_iterations=2, rays=16)
    made = encode_scenes([ball], tmp_path / "out.rfv", dataclasses.replace(options, training=training))
    assert [w[:12] for w in made.warnings] == said


def test_the_command_says_it_even_when_it_is_quiet(ball, tmp_path):
    log = tmp_path / "log"
    result = CliRunner().invoke(cli, ["encode", str(ball), str(tmp_path / "out.rfv"), "--preset", "micro", "--frames",
                                      "0", "--intra-iterations", "2", "--device", "cpu", "--quiet", "--no-evaluate",
                                      "--set", "model_iterations=5", "--log-json", str(log)])
    assert result.exit_code == 0 and result.stdout == ""
    assert result.stderr.startswith("warning T01: frame 0 came out empty") and result.stderr.count("\n") == 1
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert events[-1]["event"] == "result" and [w[:4] for w in events[-1]["warnings"]] == ["T01:"]
    assert [e["remark"][:4] for e in events if e.get("phase") == "coded"] == ["T01:"]


def test_the_default_is_the_recommended_system():
    plan, representation, settings = check_options(EncodeOptions())
    assert (plan.name, representation) == ("ecrf", Representation.VM)
    assert settings == check_options(EncodeOptions(system="ecrf", representation="vm"))[2]
    assert check_options(EncodeOptions(system="rate-aware"))[1] == Representation.DIF
    said = CliRunner().invoke(cli, ["encode", "--help"]).output
    assert "[default: ecrf]" in " ".join(said.split())


def test_a_box_that_no_ray_meets_is_refused():
    with pytest.raises(UsageError, match="T02: no training ray meets the scene"):
        bank(1.0, np.zeros(HEADER.occupancy_shape, bool))
    away = look_at((4.0, 0.0, 0.0), (8, 0, 0), (0, 0, 1))
    with pytest.raises(UsageError, match="T02"):
        bank(1.0, pose=away)


class Quantised:
    """A trainer that does not train: sizes follow λ by a quantisation step size alone, PSNRs by `quality`."""

    def __init__(self, header, pictures, settings, plan, previous, following, device):
        self.header, self.step = header, settings.lagrangian**0.6
        self.schedule = loop.Schedule(0, settings.lagrangian, 0.0, 1.0, ())
        Quantised.lagrangian = settings.lagrangian

    def frame(self, member, number, time_stamp):
        rng = np.random.default_rng(0)
        tensors = [rng.normal(0, 0.2, info.shape) for info in self.header.tensors]
        return loop.TrainedFrame(quantise_frame(
            FrameState(self.header), tensors, TensorTools(self.step), number=number, time_stamp=time_stamp,
            occupancy=np.ones(self.header.occupancy_shape, bool)), {})


def quality(*_):
    """In place of renderings, which say little of random fields: some 0.8 dB for a factor of e in λ, less where λ is
    small, and chance."""
    x = np.log(Quantised.lagrangian / 1e-3)
    return 40.0, float(32 - 0.8 * x - 0.06 * x**2 + 0.04 * np.sin(50 * x))


@pytest.mark.parametrize("holdout", [None, ()])
@pytest.mark.parametrize("target", [28.0, 34.0])
def test_a_psnr_that_is_asked_for_is_reached(ball, tmp_path, monkeypatch, target, holdout):
    """Within the tolerance, from a λ that gives another; on training views where none is held out."""
    monkeypatch.setitem(trainers.TRAINERS, "field", Quantised)
    seen = []
    monkeypatch.setattr(held_out, "view_psnr", lambda *a: (seen.append(len(a[3])), quality(*a))[1])
    options = dataclasses.replace(OPTIONS, system="rate-aware", representation="grid", holdout=holdout,
                                  lagrangian=1e-3, target_psnr=target)
    report = encode(ball, tmp_path / "out.rfv", options)
    found = report.frames[0]
    assert 2 < len(seen) <= group._TARGET_TRIALS and set(seen) == {5 if holdout == () else 1}
    assert (found.psnr, found.psnr_box) == (None, None) if holdout == () else abs(found.psnr_box - target) <= 0.1
    assert (found.lagrangian < 1e-3) == (target == 34.0) and report.warnings == []


def test_a_target_that_can_t_be_reached_is_said(ball, tmp_path, monkeypatch):
    monkeypatch.setitem(trainers.TRAINERS, "field", Quantised)
    monkeypatch.setattr(held_out, "view_psnr", lambda *a: (22.0, None))
    report = encode(ball, tmp_path / "out.rfv", OPTIONS, representation="grid", target_psnr=50.0)
    (text,) = report.warnings
    assert text.startswith("T03: frame 0 misses its target: 22.00 dB, where 50 were asked for, with lambda ")


@pytest.mark.parametrize("changes, message", [
    (dict(target_kb=4.0, target_psnr=30.0), "a target size or a target PSNR, not both"),
    (dict(target_psnr=-1.0), "the target PSNR must be a positive number"),
    (dict(time_budget=float("nan"), intra_iterations=None), "the time budget must be a positive number"),
    (dict(time_budget=60.0), "give iterations or a time budget"),
    (dict(time_budget=60.0, intra_iterations=None, settings={"inter_iterations": 7}), "give iterations or a time"),
    (dict(time_budget=60.0, intra_iterations=None, target_psnr=30.0), "give one of them"),
    (dict(time_budget=60.0, intra_iterations=None, executor="processes"), "needs --executor local"),
])
def test_what_does_not_go_together_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        check_options(dataclasses.replace(OPTIONS, **changes))


def test_a_time_budget_chooses_iterations_that_make_the_same_again(ball, tmp_path, monkeypatch):
    # 0.05 s an iteration, 1 s a frame besides: of two I-frames and a clock that stands still.
    monkeypatch.setattr(gop, "measure_pace", lambda job: group.Pace(0.05, 1.0))
    options = dataclasses.replace(OPTIONS, frames=range(2), intra_iterations=None, time_budget=9.0)
    made = encode(ball, tmp_path / "out.rfv", options)
    intra, inter = made.iterations
    assert 50 <= intra <= 65 and inter == round(intra * 100 / 300)  # (0.95 · 9 s - 2 s) / (2 · 0.05 s), less the start
    found = inspect(tmp_path / "out.rfv")
    assert found.metadata["encode-iterations"] == f"intra {intra} inter {inter}"
    encode(ball, tmp_path / "again.rfv", options, time_budget=None, intra_iterations=intra, inter_iterations=inter)
    with open_stream(tmp_path / "out.rfv") as one, open_stream(tmp_path / "again.rfv") as other:
        for a, b in zip(one, other, strict=True):
            assert all(np.array_equal(x, y) for x, y in zip(a.tensors, b.tensors, strict=True))
    with pytest.raises(UsageError, match="a time budget of 3 s is too small for 2 frames: .* would take some [67] s"):
        encode(ball, tmp_path / "late.rfv", options, time_budget=3.0)
    assert is_finished(ball, tmp_path / "out.rfv", options)


def test_iterations_that_a_budget_chose_outlive_an_interruption(ball, tmp_path, monkeypatch):
    options = dataclasses.replace(OPTIONS, frames=range(2), intra_iterations=None, time_budget=9.0)
    monkeypatch.setattr(gop, "measure_pace", lambda job: group.Pace(0.05, 1.0))

    def stop(p):
        if p.frame == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(ball, tmp_path / "out.rfv", options, stop)
    chosen = json.loads((tmp_path / "out.rfv.partial.json").read_text())["iterations"]
    monkeypatch.setattr(gop, "measure_pace", None)
    made = encode(ball, tmp_path / "out.rfv", options)
    assert list(made.iterations) == chosen and made.resumed_frames == 1


def test_the_pace_is_that_of_the_trainer(ball):
    """Iterations of 20 ms are not taken for faster; what a frame costs besides is no part of them."""
    jobs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gop, "measure_pace", lambda job: jobs.append(job) or group.Pace(1.0, 1.0))
        with pytest.raises(UsageError, match="too small"):
            encode(ball, ball.parent / "none.rfv", dataclasses.replace(
                OPTIONS, intra_iterations=None, time_budget=9.0))
        slow = train.FieldTrainer.descend
        patch.setattr(train.FieldTrainer, "descend", lambda *a: (time.sleep(0.02), slow(*a))[1])
        found = group.measure_pace(jobs[0])
    assert found.iteration >= 0.02 and found.frame > 0


@pytest.mark.parametrize("text, seconds", [("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400), ("0.5h", 1800)])
def test_times_are_read(text, seconds):
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "m", "0", "-5m", "5m 3s", "1e9", "nan", "5x", "m5", "٣m"])
def test_other_times_are_refused(text):
    result = CliRunner().invoke(cli, ["encode", "d", "o.rfv", f"--time-budget={text}"])
    assert result.exit_code == 1 and "write 90s, 5m or 1h30m" in result.stderr


class Stopped(BaseException):
    """Ends an encode as a signal does."""


def stops(monkeypatch, trainer, iteration):
    """Lets a training end in the middle of an iteration; every iteration before it has left a checkpoint."""
    real, done = trainer.descend, [0]

    def descend(self, moment):
        if done[0] == iteration:
            raise Stopped
        done[0] += 1
        return real(self, moment)

    monkeypatch.setattr(trainer, "descend", descend)
    monkeypatch.setattr(checkpoint, "_SECONDS", 0.0)


STATIC = dataclasses.replace(OPTIONS, intra_iterations=40, inter_iterations=10, lagrangian=1e-4)
RESUMED = {  # options, and the iterations at which training is interrupted
    "ecrf": (dict(), [3, 27, 36]),
    "context models": (dict(system="rate-aware", representation="triplane"), [21]),
    "masks": (dict(system="masked-wavelet", representation="vm"), [25]),
    "networks": (dict(system="cnerf", settings={"rays": 32}), [7, 35]),
    "a P-frame": (dict(frames=range(2), group_size=2), [46]),
    "no compiled step": (dict(settings={"fused": "false", "model_iterations": 5, "rays": 64}), [30]),
}


@pytest.mark.parametrize("name", RESUMED)
def test_a_frame_resumes_where_it_was(ball, tmp_path, name):
    changes, interruptions = RESUMED[name]
    trainer = cnerf.NetworkTrainer if name == "networks" else train.FieldTrainer
    options = dataclasses.replace(STATIC, **changes)
    encode(ball, tmp_path / "whole.rfv", options)
    out, seen = tmp_path / "out.rfv", []
    for count, iteration in enumerate(interruptions):
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
            stops(patch, trainer, iteration - (interruptions[count - 1] if count else 0))
            encode(ball, out, options)
        assert is_begun(out) and [p.name for p in tmp_path.glob("*.training")] == ["out.rfv.partial.0.training"]
    encode(ball, out, options, lambda p: seen.append(p.iteration) if p.phase == "train" else None)
    assert out.read_bytes() == (tmp_path / "whole.rfv").read_bytes()
    if name != "a P-frame":  # 20 iterations between two reports: those before the interruption are not made again
        assert min(seen) > interruptions[-1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.rfv", "whole.rfv"]


@pytest.mark.parametrize("damage", [lambda data: data[:len(data) // 2], lambda data: b"no checkpoint",
                                    lambda data: b""])
def test_a_damaged_checkpoint_is_none(ball, tmp_path, monkeypatch, damage):
    out, options = tmp_path / "out.rfv", dataclasses.replace(STATIC, intra_iterations=12)
    encode(ball, tmp_path / "whole.rfv", options)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        stops(patch, train.FieldTrainer, 7)
        encode(ball, out, options)
    (path,) = tmp_path.glob("*.training")
    path.write_bytes(damage(path.read_bytes()))
    encode(ball, out, options)
    assert out.read_bytes() == (tmp_path / "whole.rfv").read_bytes()


def test_a_checkpoint_of_something_else_is_none(ball, tmp_path):
    """Of other options it is thrown away; of another trainer, under the right name, it is not believed."""
    out, options = tmp_path / "out.rfv", dataclasses.replace(STATIC, intra_iterations=12)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped):
        stops(patch, train.FieldTrainer, 7)
        encode(ball, out, options)
    other = dataclasses.replace(options, seed=3)
    encode(ball, tmp_path / "whole.rfv", other)
    encode(ball, out, other)
    assert out.read_bytes() == (tmp_path / "whole.rfv").read_bytes() and not list(tmp_path.glob("*partial*"))
    file = checkpoint.CheckpointFile(str(tmp_path / "c"), "one")
    assert file.save(checkpoint.Checkpoint(4, 1e-3, 7, {"values": torch.ones(3)}, [(1e-3, 0.5)], -0.7)) is None
    assert file.load(4).tried == [(1e-3, 0.5)] and file.load(5) is None
    assert checkpoint.CheckpointFile(str(tmp_path / "c"), "two").load(4) is None
    assert "no such file" in checkpoint.CheckpointFile(str(tmp_path / "d" / "c"), "one").save(
        checkpoint.Checkpoint(0, 1.0)).lower()


def test_a_search_for_a_target_resumes_with_its_trials(ball, tmp_path, monkeypatch):
    monkeypatch.setitem(trainers.TRAINERS, "field", Quantised)
    monkeypatch.setattr(held_out, "view_psnr", quality)
    options = dataclasses.replace(OPTIONS, representation="grid", lagrangian=1e-3, target_psnr=28.0)
    encode(ball, tmp_path / "whole.rfv", options)
    out, real, tried = tmp_path / "out.rfv", Quantised.frame, []

    def frame(self, *arguments):
        tried.append(Quantised.lagrangian)
        if len(tried) == 3:
            raise Stopped
        return real(self, *arguments)

    monkeypatch.setattr(Quantised, "frame", frame)
    with pytest.raises(Stopped):
        encode(ball, out, options)
    encode(ball, out, options)
    assert tried[3] == tried[2] and len(set(tried)) == len(tried) - 1  # none again but the one that was interrupted
    assert out.read_bytes() == (tmp_path / "whole.rfv").read_bytes()


@pytest.mark.parametrize("changes", [dict(), dict(system="cnerf", settings={"rays": 32}), dict(holdout=())])
def test_a_training_can_be_looked_at(ball, tmp_path, monkeypatch, changes):
    """Pictures of the field beside the truth, which change nothing; the last is that of the finished field."""
    written, real = [], preview.write_png
    monkeypatch.setattr(preview, "write_png", lambda path, rgb: (written.append(rgb), real(path, rgb)))
    monkeypatch.setattr(preview, "_SECONDS", 0.0)
    monkeypatch.setattr(preview, "_SHARE", 1e9)
    options = dataclasses.replace(STATIC, **changes)
    encode(ball, tmp_path / "without.rfv", options)
    encode(ball, tmp_path / "with.rfv", options, preview=str(tmp_path / "look.png"))
    assert (tmp_path / "with.rfv").read_bytes() == (tmp_path / "without.rfv").read_bytes()
    assert len(written) == 40
    shown = np.asarray(Image.open(tmp_path / "look.png"))
    assert shown.shape == (16, 32, 3) and np.array_equal(shown, to_8bit(written[-1]))
    frame = load_dataset(ball, holdout=changes.get("holdout")).frames[0]
    view = frame.split("train" if "holdout" in changes else "test")[0]
    np.testing.assert_allclose(written[-1][:, 16:], composite(view.load(1), (1, 1, 1)), atol=0.01)
    assert sum(np.abs(a[:, :16] - b[:, :16]).max() > 0 for a, b in zip(written, written[1:])) > 20


def test_a_preview_is_an_output_like_any_other(ball, tmp_path):
    picture = tmp_path / "look.png"
    picture.write_bytes(b"mine")
    arguments = ["encode", str(ball), str(tmp_path / "out.rfv"), "--preset", "micro", "--frames", "0", "--device",
                 "cpu", "--intra-iterations", "2", "--set", "model_iterations=5", "--preview"]
    result = CliRunner().invoke(cli, [*arguments, str(picture)])
    assert result.exit_code == 1 and "look.png exists; --force replaces it" in result.stderr
    assert picture.read_bytes() == b"mine" and not (tmp_path / "out.rfv").exists()
    assert CliRunner().invoke(cli, [*arguments, str(picture), "--force"]).exit_code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    for name, more, message in ((tmp_path / "look.jpg", (), "must be a PNG file"),
                                (picture, ("--executor", "processes"), "needs --executor local")):
        result = CliRunner().invoke(cli, [*arguments, str(name), "--force", *more])
        assert result.exit_code == 1 and message in result.stderr
