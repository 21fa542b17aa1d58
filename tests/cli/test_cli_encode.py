"""`refcodec encode`: options, progress and logs. Training itself is tested with the encoder."""
from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from checkout import ROOT
from synthetic import write_dataset

pytest.importorskip("torch")

import refcodec.encoder
from refcodec.cli import cli
from refcodec.datasets import load_dataset
from refcodec.encoder import EncodeOptions, EncodeReport, FrameResult, Progress
from refcodec.writer import FrameReport

FOX = ROOT / "demo" / "fox"


@pytest.fixture
def calls(monkeypatch):
    """Stands in for training: records the call, reports two phases and one frame."""
    made = []

    def encode(dataset, out, options, on_progress):
        made.append((dataset, out, options))
        on_progress(Progress("train", 0, 2, "I", 20, 100, 0.0123, 27.5, 12.34, 1.0, 65.0))
        on_progress(Progress("train", 0, 2, "I", 30, 100, 0.0120, 27.9, 12.30, 1.1, 64.0))
        on_progress(Progress("coded", 0, 2, "I", 0, 0, None, 28.25, 12.1, 2.0, None))
        frame = FrameResult(0, "I", 2e-3, 12100, FrameReport(12100, 100, 200, {0: 11000}, {0: 88000.0}, 800, 40000),
                            11011.0, 11000, 28.25, 20.5, 2.0)
        return EncodeReport(Path(out), 12345, [frame], 1, 2.5)

    monkeypatch.setattr(refcodec.encoder, "encode", encode)
    return made


def run(*args):
    return CliRunner().invoke(cli, ["encode", *map(str, args)])


def test_defaults_are_the_library_s(calls):
    result = run(FOX, "out.rfv")
    assert result.exit_code == 0, result.output
    (dataset, out, options), = calls
    assert (dataset.source, len(dataset.frames), out, options) == (FOX, 8, "out.rfv", EncodeOptions())


def test_every_option_arrives(calls):
    result = run(FOX, "out.rfv", "--preset", "small", "--lambda", "1e-3", "--target-kb", "40", "--frames", "2:8",
                 "--group-size", "5", "--device", "cpu", "--seed", "7", "--intra-iterations", "11",
                 "--inter-iterations", "12", "--cameras", "all", "--holdout", "0,7", "--box", "-1", "-2", "-3", "1",
                 "2", "3", "--downscale", "2", "--metadata", "title=A=B", "--no-rate-loss", "--fixed-steps",
                 "--no-resume", "--no-evaluate", "--system", "ecrf", "--representation", "grid", "--transform", "dwt",
                 "--levels", "3", "--tensor-masks", "--model", "static", "--rdo", "--executor", "dask", "--jobs", "3",
                 "--scheduler", "tcp://host:1", "--threads", "4")
    assert result.exit_code == 0, result.output
    assert calls[0][2] == EncodeOptions(
        system="ecrf", representation="grid", transform="dwt", levels=3, masks=True, model="static", rdo=True,
        preset="small", lagrangian=1e-3, target_kb=40.0, frames=range(2, 8), group_size=5, device="cpu", seed=7,
        intra_iterations=11, inter_iterations=12, cameras="all", holdout=(0, 7),
        aabb=((-1.0, -2.0, -3.0), (1.0, 2.0, 3.0)), downscale=2.0, metadata={"title": "A=B"}, rate_loss=False,
        learn_steps=False, resume=False, evaluate=False, executor="dask", jobs=3, scheduler="tcp://host:1", threads=4)
    held_out = {v.camera_index for v in calls[0][0].frames[0].split("test")}
    assert (held_out, calls[0][0].aabb.tolist()) == ({0, 7}, [[-1, -2, -3], [1, 2, 3]])
    assert run(FOX, "out.rfv", "--quality", "3", "--holdout", "none").exit_code == 0
    assert calls[1][2].quality == 3 and calls[1][2].holdout == ()


@pytest.mark.parametrize("args, message", [
    (("--system", "nothing"), "no system 'nothing'"),
    (("--system", "dynamic-dif", "--representation", "vm"), "dynamic-dif does not code vm"),
    (("--representation", "voxels"), "no representation 'voxels'"),
    (("--levels", "3"), "levels are those of a wavelet"),
    (("--transform", "dct", "--levels", "3"), "levels are those of a wavelet"),
    (("--system", "cnerf", "--tensor-masks"), "can't have a mask"),
    (("--system", "cnerf", "--transform", "dct"), "can't have a transform"),
])
def test_what_does_not_go_together_is_refused(tmp_path, args, message):
    result = run(FOX, tmp_path / "out.rfv", *args)
    assert result.exit_code == 1 and message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_open_range_ends_with_the_dataset(calls):
    assert run(FOX, "out.rfv", "--frames", "5:").exit_code == 0
    assert calls[0][2].frames == range(5, 8) and len(calls[0][0].frames) == 3
    result = run(FOX, "out.rfv", "--frames", "50:")
    assert result.exit_code == 1 and "last frame is 7" in result.stderr


def test_plain_progress_and_summary(calls):
    result = run(FOX, "out.rfv")
    lines = result.stderr.splitlines()
    assert lines == ["frame 1/2 I train 20/100  loss 0.01230  PSNR 27.50  kB 12.3  1:05 left",
                     "frame 1/2 I coded  PSNR 28.25  kB 12.1"]  # one line in five seconds, and each frame
    assert "12,100 bytes  PSNR 20.50 dB inside the masks' boxes, 28.25 dB whole pictures  payload" in result.stdout
    assert "12,345 bytes, 1 frames" in result.stdout and "1 frames resumed" in result.stdout
    quiet = run(FOX, "out.rfv", "--quiet")
    assert quiet.exit_code == 0 and quiet.output == ""


def test_what_is_assumed_is_said_before_training(calls, tmp_path):
    folder = write_dataset(tmp_path / "ball")
    content = json.loads((folder / "transforms.json").read_text())
    del content["aabb"]
    (folder / "transforms.json").write_text(json.dumps(content))
    result = run(folder, "out.rfv", "--log-json", "-")
    said = [line.removeprefix("assumed: ") for line in result.stderr.splitlines() if line.startswith("assumed: ")]
    assert len(said) >= 2 and tuple(said) == calls[0][0].assumptions, result.output
    assert "assumed: the box is the cube" in result.stderr
    assert json.loads(result.stdout.splitlines()[0])["assumptions"] == said
    assert run(folder, "out.rfv", "--quiet").stderr == ""


def test_json_log(calls, tmp_path):
    assert run(FOX, "out.rfv", "--log-json", tmp_path / "log").exit_code == 0
    dataset, *events = (json.loads(line) for line in (tmp_path / "log").read_text().splitlines())
    assert dataset == dict(event="dataset", layout=load_dataset(FOX).layout, frames=8, assumptions=[], warnings=[])
    # Training is logged once a second at most.
    assert [e["event"] for e in events] == ["progress", "progress", "frame", "result"]
    assert events[0]["iteration"] == 20 and events[0]["eta_seconds"] == 65.0 and events[1]["phase"] == "coded"
    assert events[2]["report"]["tensors"] == {"0": 11000}
    assert events[3] == dict(event="result", path="out.rfv", bytes=12345, frames=1, resumed_frames=1, seconds=2.5,
                             warnings=[], iterations=None)
    result = run(FOX, "out.rfv", "--log-json", "-")
    assert [json.loads(line)["event"] for line in result.stdout.splitlines()] == ["dataset"] + [
        e["event"] for e in events]
    assert "12,345 bytes" in result.stderr
    assert run(FOX, "out.rfv", "--log-json", tmp_path / "no" / "log").exit_code == 1


@pytest.mark.parametrize("arguments, message", [
    (("--quality", "9"), "9"), (("--holdout", "a"), "camera numbers"), (("--metadata", "title"), "="),
    (("--group-size", "0"), "0"), (("--frames", "9:2"), "empty"), (("--downscale", "0.5"), "0.5"),
])
def test_wrong_usage(calls, arguments, message):
    result = run(FOX, "out.rfv", *arguments)
    assert result.exit_code == 1 and message in result.stderr and not calls


def test_errors_of_the_encoder_are_one_line(tmp_path):
    for arguments, message in (((tmp_path / "nothing", tmp_path / "o.rfv"), "D01"),
                               ((FOX, tmp_path / "o.rfv", "--preset", "huge"), "no preset 'huge'"),
                               ((FOX, tmp_path / "no" / "o.rfv"), "no such folder"),
                               ((FOX, tmp_path / "o.rfv", "--lambda", "1", "--quality", "2"), "not both")):
        result = run(*arguments)
        assert result.exit_code == 1 and message in result.stderr and result.stderr.count("\n") == 1, result.output
    assert list(tmp_path.iterdir()) == []


def test_scenes_options_arrive_and_the_summary_tells_of_every_scene(monkeypatch, tmp_path):
    import refcodec.encoder.scenes as scenes

    made = []

    def encode_scenes(datasets, out, options, on_progress):
        made.append((datasets, out, options))
        on_progress(Progress("train", 0, 2, "I", 20, 100, 0.01, 27.5, 12.3, 1.0, None))
        unit = FrameReport(5000, 0, 100, {0: 4800}, {0: 38000.0}, 100, 9000)
        return scenes.ScenesReport(Path(out), 12345, unit, 4800.0,
                                   [scenes.SceneResult("a", 0, unit, 4790.0, 4800, 28.5)] * 2, 189440, 3.0)

    monkeypatch.setattr(scenes, "encode_scenes", encode_scenes)
    log = tmp_path / "log.json"
    result = CliRunner().invoke(cli, ["encode-scenes", "a", "b", "out.rfv", "--lambda", "0.02", "--iterations", "9",
                                      "--frames", ":3", "--no-share", "--seed", "5", "--device", "cpu",
                                      "--log-json", str(log), "--metadata", "title=Two"])
    assert result.exit_code == 0, result.output
    (datasets, out, options), = made
    assert (datasets, out) == (["a", "b"], "out.rfv")
    t = options.training
    assert (t.lagrangian, t.intra_iterations, t.seed, options.share, options.frames) == (0.02, 9, 5, False, range(3))
    assert options.metadata == {"title": "Two"} and options.device == "cpu"
    assert "scene 1" in result.output and "28.50 dB" in result.output and "12,345 bytes" in result.output
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [e["event"] for e in events] == ["progress", "result"] and len(events[-1]["scenes"]) == 2


def test_scenes_need_a_positive_lambda():
    result = CliRunner().invoke(cli, ["encode-scenes", "a", "out.rfv", "--lambda", "0"])
    assert result.exit_code == 1 and "'--lambda': 0.0 is not in the range" in result.output
