"""Files of rendered views, and camera paths."""
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from refcodec.errors import UsageError
from refcodec.rendering import pictures
from refcodec.rendering.cameras import Camera
from refcodec.rendering.paths import interpolate, look_at, orbit


def random_picture(height=17, width=23, seed=0):
    return np.random.default_rng(seed).random((height, width, 3))


def test_rounding_to_8_bits():
    values = np.array([-0.1, 0, 0.5 / 255 - 1e-9, 0.5 / 255 + 1e-9, 0.5, 1, 1.7])
    assert pictures.to_8bit(values).tolist() == [0, 0, 0, 1, 128, 255, 255]
    with pytest.raises(UsageError, match="not numbers"):
        pictures.to_8bit(np.array([0.1, math.nan]))


def test_png_holds_the_picture(tmp_path):
    picture = random_picture()
    pictures.write_png(tmp_path / "view.png", picture)
    read = np.asarray(Image.open(tmp_path / "view.png"))
    assert np.abs(read / 255 - picture).max() <= 0.5 / 255 + 1e-9
    assert [p.name for p in tmp_path.iterdir()] == ["view.png"]


def test_failed_writes_leave_the_old_file_alone(tmp_path):
    target = tmp_path / "view.png"
    target.write_text("old")
    with pytest.raises(RuntimeError):
        with pictures.replacing(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError
    with pytest.raises(UsageError, match="can't write"):
        pictures.write_png(tmp_path / "no such folder" / "view.png", random_picture())
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["view.png"]


@settings(max_examples=30)
@given(st.floats(1e-3, 1e4), st.integers(0, 1000))
def test_depth_png_holds_depth_and_unit(tmp_path_factory, far, seed):
    rng = np.random.default_rng(seed)
    depth, opacity = rng.uniform(0, far, (9, 7)), rng.random((9, 7))
    opacity[0, :2] = 0, 1
    path = tmp_path_factory.mktemp("depth") / "depth.png"
    pictures.write_depth_png(path, depth, opacity)
    image = Image.open(path)
    grey, unit = np.asarray(image), float(image.text["depth_unit"])
    assert grey.dtype == np.uint16 and math.log2(unit).is_integer()
    seen = opacity >= 0.5
    np.testing.assert_array_equal(grey == 0, ~seen)
    assert np.abs(grey * unit - depth)[seen].max() <= unit  # half a unit, but 0 becomes 1
    assert grey.max() > 30000 * depth[seen].max() / far or depth[seen].max() < far / 2


def test_depth_that_cannot_be_written(tmp_path):
    bad = np.full((2, 2), math.nan)
    with pytest.raises(UsageError, match="finite"):
        pictures.write_depth_png(tmp_path / "d.png", bad, np.ones((2, 2)), 0.1)
    with pytest.raises(UsageError, match="finite"):
        pictures.write_depth_png(tmp_path / "d.png", bad, np.ones((2, 2)))
    assert not list(tmp_path.iterdir())


def test_coloured_depth_orders_brightness():
    depth, opacity = np.array([[1.0, 2.0, 3.0, 9.0]]), np.array([[1, 1, 1, 0.0]])
    near, middle, far, empty = pictures.colour_depth(depth, opacity)[0].mean(-1)
    assert near > middle > far and empty == 1


def test_composite_is_straight_alpha_over():
    rgba = np.array([[[1.0, 0, 0, 0.25]]])
    np.testing.assert_allclose(pictures.composite(rgba, (0, 1, 0)), [[[0.25, 0.75, 0]]])


@pytest.mark.parametrize("size", [(200, 200), (30, 50), (90, 700)])
def test_comparison_shows_truth_render_and_error(size):
    truth = random_picture(*size)
    render = truth.copy()
    render[: size[0] // 2] = 1 - truth[: size[0] // 2]
    sheet = pictures.comparison(truth, render, caption="31.2 dB")
    zoom = max(1, math.ceil(240 / size[1]))
    height, width = size[0] * zoom, size[1] * zoom
    panels = sheet[-height:]  # the labels stand above
    middle = (sheet.shape[1] - width) // 2
    for left, picture in ((0, truth), (middle, render)):
        enlarged = pictures.to_8bit(picture).repeat(zoom, 0).repeat(zoom, 1)
        np.testing.assert_array_equal(panels[:, left : left + width], enlarged)
    error = panels[:, -width:].astype(int).sum(-1)
    assert error[: height // 2 - zoom].mean() > 4 * error[height // 2 + zoom :].mean()
    assert (sheet[:-height] < 100).any()  # text


def test_comparison_of_different_sizes():
    with pytest.raises(UsageError, match="can't be compared"):
        pictures.comparison(random_picture(8, 9), random_picture(9, 8))


def test_video_holds_the_frames(tmp_path):
    reader = pytest.importorskip("imageio_ffmpeg")
    y, x = np.mgrid[0:33, 0:47] / 47
    frames = [np.stack([x, y, np.full_like(x, i / 5)], -1) for i in range(5)]
    assert pictures.write_video(tmp_path / "a.mp4", (f for f in frames), fps=10) == 5
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    read = reader.read_frames(str(tmp_path / "a.mp4"))
    meta = next(read)
    decoded = [np.frombuffer(f, np.uint8).reshape(34, 48, 3)[:33, :47] / 255 for f in read]
    assert meta["size"] == (48, 34) and meta["fps"] == 10
    assert len(decoded) == 5
    assert max(np.abs(a - b).mean() for a, b in zip(decoded, frames)) < 0.03


def test_video_misuse(tmp_path, monkeypatch):
    pytest.importorskip("imageio_ffmpeg")
    picture = random_picture()
    with pytest.raises(UsageError, match="at least one frame"):
        pictures.write_video(tmp_path / "a.mp4", [], 10)
    with pytest.raises(UsageError, match="frame 1 is"):
        pictures.write_video(tmp_path / "a.mp4", [picture, picture[1:]], 10)
    with pytest.raises(UsageError, match="frame rate"):
        pictures.write_video(tmp_path / "a.mp4", [picture], 0)
    with pytest.raises(UsageError, match=".mp4"):
        pictures.write_video(tmp_path / "a.gif", [picture], 10)
    with pytest.raises(UsageError, match="can't write"):
        pictures.write_video(tmp_path / "no such folder" / "a.mp4", [picture] * 3, 10)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UsageError, match=r"pip install refcodec\[video\]"):
        pictures.write_video(tmp_path / "a.mp4", [picture], 10)
    assert not list(tmp_path.iterdir())


LOW, HIGH = np.array([-1.0, 0, 2]), np.array([1.0, 1, 5])
unit_vectors = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1)


def assert_rigid(camera):
    rotation = camera.camera_to_world[:, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)


@settings(max_examples=40)
@given(unit_vectors, st.floats(-80, 80), st.integers(1, 9), st.floats(20, 90))
def test_orbit_looks_at_the_whole_box(up, elevation, count, field_of_view):
    size = {"width": 64, "height": 48, "field_of_view": field_of_view}
    cameras = orbit(LOW, HIGH, count, up=up, elevation=elevation, **size)
    up = np.array(up) / np.linalg.norm(up)
    centre = (LOW + HIGH) / 2
    corners = np.stack(np.meshgrid(*zip(LOW, HIGH), indexing="ij"), -1).reshape(-1, 3)
    assert len(cameras) == count
    for camera in cameras:
        assert_rigid(camera)
        pose = camera.camera_to_world
        x, y, z = ((corners - pose[:, 3]) @ pose[:, :3]).T
        u, v = camera.cx + camera.fx * x / -z, camera.cy - camera.fy * y / -z
        assert (z < 0).all()
        assert u.min() >= 0 and u.max() <= 64 and v.min() >= 0 and v.max() <= 48
        offset = pose[:, 3] - centre
        height = offset @ up / np.linalg.norm(offset)
        assert math.degrees(math.asin(height)) == pytest.approx(elevation, abs=1e-6)
        assert pose[:, 1] @ up > 0  # upright
    positions = np.array([c.camera_to_world[:, 3] for c in cameras])
    steps = np.linalg.norm(np.roll(positions, -1, 0) - positions, axis=1)
    np.testing.assert_allclose(steps, steps[0], atol=1e-9)  # closes evenly


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.integers(2, 5), st.integers(1, 4), st.booleans())
def test_interpolation_passes_through_the_cameras(seed, count, between, closed):
    rng = np.random.default_rng(seed)
    given_cameras = [
        Camera(40, 30, *rng.uniform(20, 60, 4), look_at(p, (0, 0, 0), (0, 0, 1)))
        for p in rng.normal(size=(count, 3)) + (0.5, 0, 0)
    ]
    stops = count * between if closed else (count - 1) * between + 1
    path = interpolate(given_cameras, stops, closed=closed) if stops > 1 else given_cameras[:1]
    assert len(path) == stops
    for camera in path:
        assert_rigid(camera)
    for camera, met in zip(given_cameras, path[::between], strict=True):
        np.testing.assert_allclose(met.camera_to_world, camera.camera_to_world, atol=1e-6)
        assert (met.fx, met.fy, met.cx, met.cy) == pytest.approx(
            (camera.fx, camera.fy, camera.cx, camera.cy)
        )
        assert (met.width, met.height) == (40, 30)


def test_interpolation_turns_the_short_way():
    ends = [
        Camera(4, 4, 4, 4, 2, 2, look_at((math.cos(a), math.sin(a), 0), (0, 0, 0), (0, 0, 1)))
        for a in (0, 1.2)
    ]
    middle = interpolate(ends, 3)[1].camera_to_world
    np.testing.assert_allclose(middle[:, 2], (math.cos(0.6), math.sin(0.6), 0), atol=1e-9)


def test_other_picture_sizes_are_brought_to_the_first():
    pose = look_at((2, 0, 0), (0, 0, 0), (0, 0, 1))
    large, small = Camera(80, 60, 100, 90, 41, 29, pose), Camera(40, 30, 50, 45, 20.5, 14.5, pose)
    for camera in interpolate([large, small], 4):
        assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx((100, 90, 41, 29))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: orbit(LOW, HIGH, 0, width=4, height=4), "at least one camera"),
        (lambda: orbit(LOW, HIGH, 4, width=4, height=4, radius=-1), "radius"),
        (lambda: orbit(LOW, HIGH, 4, width=4, height=4, elevation=90), "up axis"),
        (lambda: orbit(LOW, HIGH, 4, width=4, height=4, up=(0, 0, 0)), "up axis"),
        (lambda: orbit(LOW, HIGH, 4, width=4, height=4, field_of_view=180), "field of view"),
        (lambda: look_at((0, 0, 0), (0, 0, 0), (0, 0, 1)), "up axis"),
        (lambda: interpolate([], 5), "two cameras"),
        (lambda: interpolate(orbit(LOW, HIGH, 3, width=4, height=4), 1), "two pictures"),
    ],
)
def test_path_misuse(call, message):
    with pytest.raises(UsageError, match=message):
        call()
