"""`refcodec render`: pictures, videos, metrics against ground truth."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import refcodec
from checkout import ROOT
from refcodec.cli import cli
from refcodec.datasets import load_dataset
from refcodec.evaluation.metrics import mask_box, psnr, ssim
from refcodec.fields import build
from refcodec.rendering.march import render_camera
from refcodec.rendering.pictures import composite, to_8bit
from synthetic import small_header, small_stream

FOX = ROOT / "demo" / "fox"
STREAM = small_stream()


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "s.rfv"
    path.write_bytes(STREAM)
    return path


def run(*args, data=None):
    return CliRunner().invoke(cli, ["render", *map(str, args), "--backend", "numpy"], input=data)


def picture(path) -> np.ndarray:
    return np.asarray(Image.open(path))


def rendered(file, number: int, scale: float = 1.0):
    """What the library renders of the stream's camera."""
    with refcodec.open(file) as stream:
        frame = next(stream.frames(range(number, number + 1)))
        field = build(frame.header, frame.values())
        return render_camera(field, frame.occupancy, stream.cameras[0].scaled(scale), frame.header)


def test_the_stream_s_camera(file, tmp_path):
    out = tmp_path / "out"
    result = run(file, out, "--frames", "1:3", "--depth", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert [p["frame"] for p in report["pictures"]] == [1, 2] and report["backend"] == "numpy"
    for entry in report["pictures"]:
        expected = rendered(file, entry["frame"])
        np.testing.assert_array_equal(picture(out / entry["file"]), to_8bit(expected.rgb))
        assert picture(out / entry["depth_file"]).shape == (30, 40)
    assert len(list(out.iterdir())) == 4


def test_scale_and_size(file, tmp_path):
    assert run(file, tmp_path / "a", "--frames", "0", "--scale", "0.5").exit_code == 0
    path = tmp_path / "a" / "frame_000000_camera_00_front.png"
    np.testing.assert_array_equal(picture(path), to_8bit(rendered(file, 0, 0.5).rgb))
    assert run(file, tmp_path / "b", "--frames", "0", "--size", "24x10").exit_code == 0
    assert picture(tmp_path / "b" / path.name).shape == (10, 24, 3)


def test_cameras_by_name_number_and_all(file, tmp_path):
    for i, choice in enumerate((["--camera", "front"], ["--camera", "0"], ["--camera", "all"],
                                ["--camera", "0", "--camera", "front"], [])):
        out = tmp_path / str(i)
        assert run(file, out, "--frames", "4", "--scale", "0.2", *choice).exit_code == 0
        assert [p.name for p in out.iterdir()] == ["frame_000004_camera_00_front.png"]
    result = run(file, tmp_path / "x", "--camera", "back")
    assert result.exit_code == 1 and "no camera 'back'; it has 0 to 0" in result.stderr


def test_a_stream_without_cameras_is_seen_from_an_orbit(tmp_path):
    path = tmp_path / "n.rfv"
    path.write_bytes(small_stream(cameras=False))
    assert run(path, tmp_path / "out", "--frames", "0", "--size", "20x16").exit_code == 0
    assert picture(tmp_path / "out" / "frame_000000_orbit.png").shape == (16, 20, 3)
    result = run(path, tmp_path / "other", "--path", "cameras")
    assert result.exit_code == 1 and "at least two cameras" in result.stderr


def test_pipe(file, tmp_path):
    assert run("-", tmp_path / "a", "--scale", "0.2", data=STREAM).exit_code == 0
    assert len(list((tmp_path / "a").iterdir())) == 5


def test_video_plays_every_frame(file, tmp_path):
    imageio = pytest.importorskip("imageio_ffmpeg")
    result = run(file, tmp_path / "out", "--path", "orbit", "--seconds", "1", "--fps", "10", "--size", "32x32",
                 "--depth", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["frames_shown"] == 5 and report["seconds"] == 1
    frames = imageio.read_frames(str(tmp_path / "out" / "orbit.mp4"))
    meta = next(frames)
    assert meta["size"] == (64, 32) and meta["fps"] == 10  # colour and depth side by side
    assert sum(1 for _ in frames) == 10


def test_video_lasts_as_long_as_the_stream(file, tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    result = run(file, tmp_path / "out", "--path", "orbit", "--fps", "20", "--size", "16x16", "--json")
    assert json.loads(result.stdout)["seconds"] == pytest.approx(0.5)  # five frames, 0.1 s each


def test_metrics_against_held_out_views(tmp_path):
    """Every number of metrics.json, computed again from the library's render and the pictures."""
    path = tmp_path / "s.rfv"
    box = ((-64, -64, -64), (64, 64, 64))
    path.write_bytes(small_stream(header=small_header(box=box)))
    out = tmp_path / "out"
    result = run(path, out, "--dataset", FOX, "--dataset-frames", "1:6", "--frames", "2", "--scale", "0.25",
                 "--compare", "--depth")
    assert result.exit_code == 0, result.output
    metrics = json.loads((out / "metrics.json").read_text())
    dataset = load_dataset(FOX)
    views = dataset.frames[3].split("test")  # the stream's frame 2 of the dataset's 1, 2, 3 ...
    assert [p["camera"] for p in metrics["pictures"]] == [v.camera_index for v in views] == [0, 7, 14, 21]
    with refcodec.open(path) as stream:
        frame = next(stream.frames(range(2, 3)))
    field = build(frame.header, frame.values())
    for view, entry in zip(views, metrics["pictures"]):
        rgba = view.load(4)
        truth = composite(rgba, [1, 1, 1])
        rgb = render_camera(field, frame.occupancy, view.camera.scaled(0.25), frame.header).rgb
        part = mask_box(rgba[..., 3])
        assert entry["psnr"] == pytest.approx(psnr(rgb, truth))
        assert entry["ssim"] == pytest.approx(ssim(rgb, truth))
        assert entry["psnr_box"] == pytest.approx(psnr(rgb[part], truth[part]))
        np.testing.assert_array_equal(picture(out / entry["file"]), to_8bit(rgb))
        assert picture(out / entry["comparison_file"]).shape[1] > 3 * 50
        assert (out / entry["depth_file"]).is_file()
    mean = np.mean([p["psnr"] for p in metrics["pictures"]])
    assert metrics["mean"]["psnr"] == pytest.approx(mean) == metrics["frames"][0]["psnr"]
    assert f"frame 2: PSNR {mean:.2f}" in result.stdout


def test_dataset_with_too_few_frames(file, tmp_path):
    result = run(file, tmp_path / "out", "--dataset", FOX, "--dataset-frames", "6:")
    assert result.exit_code == 1 and "frame 4 has no counterpart: the dataset has 2 frames" in result.stderr


@pytest.mark.parametrize("arguments, message", [
    (("--camera", "0", "--path", "orbit"), "exclude each other"),
    (("--compare",), "--dataset"),
    (("--seconds", "3"), "--path"),
    (("--size", "8x8", "--scale", "2"), "--size"),
    (("--size", "0x8"), "picture size"),
    (("--dataset", "nowhere"), "D01"),
    (("--dataset", str(FOX), "--scale", "2"), "smaller"),
    (("--frames", "9"), "no frame in 9:10"),
])
def test_wrong_usage(file, tmp_path, arguments, message):
    result = run(file, tmp_path / "out", *arguments)
    assert result.exit_code == 1 and message in result.stderr and "Traceback" not in result.output


def test_damage_is_told_after_the_pictures_before_it(tmp_path):
    data = bytearray(small_stream())
    at = data.rindex(b"\x89RFG") + 40  # in the second group, which starts with frame 3
    data[at] ^= 1
    file = tmp_path / "damaged.rfv"
    file.write_bytes(data)
    for frames, pictures, code in (((), 3, 2), (("--frames", "0:2"), 2, 0), (("--frames", "3:"), 0, 2),
                                   (("--frames", "2:4"), 1, 2)):
        done = run(file, tmp_path / "out", "--size", "8x6", *frames)
        assert done.exit_code == code, frames
        assert ("E0203" in done.stderr) == (code == 2)
        folder = tmp_path / "out"
        assert len(list(folder.glob("*.png")) if folder.exists() else []) == pictures
        for path in folder.glob("*.png") if folder.exists() else ():
            path.unlink()
