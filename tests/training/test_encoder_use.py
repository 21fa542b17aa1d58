"""The encoder as a person uses it: fields that come out empty, defaults, budgets, targets, resuming, previews."""
import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

torch = pytest.importorskip("torch")

from refcodec.cli import cli
from refcodec.encoder import EncodeOptions, encode, rays
from refcodec.encoder.gop import check_options
from refcodec.encoder.scenes import SceneOptions, encode_scenes
from refcodec.errors import UsageError
from refcodec.fields import TorchOps, field_header
from refcodec.fields.grid import GridSizes
from refcodec.rendering.cameras import Camera
from refcodec.rendering.paths import look_at
from refcodec.syntax.headers import Representation
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
    return rays.RayBank([rays.Picture(camera, rgba)], HEADER,
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
