"""Datasets: every layout gives the demo sequence back, and every way to break one has its code.

The trees are exported from demo/fox, scaled to 25x25, into each layout.
"""
from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from checkout import ROOT
from refcodec.datasets import Dataset, View, check_images, checks, find_image_problems, load_dataset
from refcodec.datasets.actorshq import rotation_from_axis_angle
from refcodec.datasets.hull import foreground_box
from refcodec.datasets.model import downscale_rgba
from refcodec.errors import DatasetError

FOX = ROOT / "demo" / "fox"


def demo_script(name="prepare"):
    spec = importlib.util.spec_from_file_location(name, ROOT / "demo" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Dataset:
    """Two frames of the fox at 25x25 with all cameras, written by demo/prepare.py."""
    out = tmp_path_factory.mktemp("fox") / "small"
    demo_script().write_sequence(load_dataset(FOX, frames=slice(0, 2)), out, downscale=8)
    return load_dataset(out)


# ---- Exporters: one a layout -------------------------------------------------


def pose4(view: View) -> list:
    return np.vstack([view.camera.camera_to_world, (0, 0, 0, 1)]).tolist()


def save(view: View, path: Path, mode: str = "RGBA") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(view.image).convert(mode).save(path)


def save_mask(view: View, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    alpha = Image.open(view.image).getchannel("A")
    Image.merge("RGB", [alpha, Image.new("L", alpha.size), Image.new("L", alpha.size)]).save(path)


def save_rgb_without_coverage(view: View, path: Path) -> None:
    """Colour as it is under the alpha, alpha dropped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(Image.open(view.image))[..., :3]).save(path)


def write_json(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def document(views, *, folder: Path, **keys) -> dict:
    """A nerfstudio document of RGBA pictures, saved beside it in images/."""
    entries = []
    for view in views:
        name = f"images/{view.camera_index:04d}.png"
        save(view, folder / name)
        entries.append({"file_path": name, "transform_matrix": pose4(view)})
    camera = views[0].camera
    return {"w": camera.width, "h": camera.height, "fl_x": camera.fx, "fl_y": camera.fy,
            "cx": camera.cx, "cy": camera.cy, "aabb": [[-1, -1, -1], [1, 1, 1]], **keys, "frames": entries}


def export_nerfstudio(small: Dataset, root: Path, **keys) -> Path:
    write_json(root / "transforms.json", document(small.frames[0].views, folder=root, **keys))
    return root


def without_masks(small: Dataset, root: Path, of: Path | None = None) -> Path:
    """Makes the pictures of `export_nerfstudio` opaque: in place, or those of a copy of the document in `of`."""
    if of is not None:
        write_json(root / "transforms.json", json.loads((of / "transforms.json").read_text()))
    for view in small.frames[0].views:
        save(view, root / f"images/{view.camera_index:04d}.png", "RGB")
    return root


def export_masks(small: Dataset, root: Path) -> Path:
    content = document(small.frames[0].views, folder=root)
    for view, entry in zip(small.frames[0].views, content["frames"]):
        save_rgb_without_coverage(view, root / entry["file_path"])
        entry["mask_path"] = f"masks/{view.camera_index:04d}.png"
        save_mask(view, root / entry["mask_path"])
    write_json(root / "transforms.json", content)
    return root


def export_blender(small: Dataset, root: Path) -> Path:
    views = small.frames[0].views
    angle = 2 * math.atan(views[0].camera.width / 2 / views[0].camera.fx)
    for split in ("train", "test"):
        entries = []
        for view in small.frames[0].split(split):
            save(view, root / split / f"r_{view.camera_index}.png")
            entries.append({"file_path": f"./{split}/r_{view.camera_index}", "rotation": 0.01,
                            "camera": view.camera_index, "transform_matrix": pose4(view)})
        write_json(root / f"transforms_{split}.json", {"camera_angle_x": angle, "frames": entries})
    return root


def export_folders(small: Dataset, root: Path) -> Path:
    """Numbers without padding: 9 sorts before 10 only as a number."""
    for number, frame in zip((9, 10), small.frames):
        folder = root / f"frame_{number}"
        write_json(folder / "transforms.json", document(frame.views, folder=folder))
    return root


def export_files(small: Dataset, root: Path) -> Path:
    for frame in small.frames:
        content = document(frame.views, folder=root)
        for view, entry in zip(frame.views, content["frames"]):
            entry["file_path"] = f"pictures/{frame.number}_{view.camera_index}.png"
            save(view, root / entry["file_path"])
        write_json(root / f"{frame.number:03d}.json", content)
    return root


def export_times(small: Dataset, root: Path) -> Path:
    """One list, frames told apart by `time` alone, listed backwards."""
    content = document(small.frames[0].views, folder=root)
    content["frames"] = [
        {"file_path": str(view.image), "time": frame.time, "camera": view.camera_index,
         "transform_matrix": pose4(view)}
        for frame in reversed(small.frames) for view in frame.views]
    write_json(root / "transforms.json", content)
    return root


def axis_angle(rotation: np.ndarray) -> np.ndarray:
    skew = rotation - rotation.T
    axis = np.array([skew[2, 1], skew[0, 2], skew[1, 0]])
    return axis / np.linalg.norm(axis) * math.acos((np.trace(rotation) - 1) / 2)


def export_actorshq(small: Dataset, root: Path) -> Path:
    scale = root / "4x"
    lines = ["name, w, h, rx, ry, rz, tx, ty, tz, fx, fy, px, py"]
    for view in small.frames[0].views:
        c, name = view.camera, f"Cam{view.camera_index + 1:03d}"
        rotation = axis_angle(c.camera_to_world[:, :3] * (1, -1, -1))
        values = (*rotation, *c.camera_to_world[:, 3], c.fx / c.width, c.fy / c.height,
                  c.cx / c.width, c.cy / c.height)
        lines.append(f"{name}, {c.width}, {c.height}, " + ", ".join(f"{v:.17g}" for v in values))
        for frame in small.frames:
            own = frame.views[view.camera_index]
            save(own, scale / "rgbs" / name / f"{name}_rgb{frame.number:06d}.jpg", "RGB")
            save_mask(own, scale / "masks" / name / f"{name}_mask{frame.number:06d}.png")
    lines.append("Cam999" + ", 25, 25" + ", 0" * 6 + ", 1, 1, .5, .5")  # calibrated, without pictures
    (scale / "calibration.csv").write_text("\n".join(lines) + "\n")
    (root / "aabbs.csv").write_text(
        "frame_number,aabb_min_x,aabb_min_y,aabb_min_z,aabb_max_x,aabb_max_y,aabb_max_z\n"
        "0,-1,-.5,-1,1,1,.5\n1,-.5,-1,-1,1,1,1\n2,-9,-9,-9,9,9,9\n")
    return scale


def export_rerf(small: Dataset, root: Path) -> Path:
    for frame in small.frames:
        entries = []
        for view in reversed(frame.views):
            picture, mask = (f"{kind}/{frame.number}/img_{view.camera_index:04d}.png" for kind in ("image", "mask"))
            save_rgb_without_coverage(view, root / picture)
            save_mask(view, root / mask)
            c = view.camera
            entries.append({"file": f"/prepared/elsewhere/{picture}", "mask": mask,
                            "extrinsic": (np.array(pose4(view)) * (1, -1, -1, 1)).tolist(),
                            "intrinsic": [[c.fx, 0, c.cx], [0, c.fy, c.cy], [0, 0, 1]]})
        write_json(root / f"cams_{frame.number}.json", {"frames": entries})
    return root


def assert_same_views(actual: Dataset, expected: Dataset, frames: int, *, pixels: bool = True) -> None:
    assert len(actual.frames) == frames
    for frame, wanted in zip(actual.frames, expected.frames):
        assert [v.camera_index for v in frame.views] == [v.camera_index for v in wanted.views]
        for view, other in zip(frame.views, wanted.views):
            a, b = view.camera, other.camera
            np.testing.assert_allclose(a.camera_to_world, b.camera_to_world, atol=1e-9)
            np.testing.assert_allclose([a.width, a.height, a.fx, a.fy, a.cx, a.cy],
                                       [b.width, b.height, b.fx, b.fy, b.cx, b.cy], rtol=1e-9)
            if pixels:
                np.testing.assert_array_equal(view.load(), other.load())


# ---- Layouts -----------------------------------------------------------------


@pytest.mark.parametrize("export, frames, numbers", [
    (export_nerfstudio, 1, [0]),
    (export_masks, 1, [0]),
    (export_blender, 1, [0]),
    (export_folders, 2, [9, 10]),
    (export_files, 2, [0, 1]),
    (export_times, 2, [0, 1]),
    (export_actorshq, 2, [0, 1]),
    (export_rerf, 2, [0, 1]),
])
def test_layout_gives_the_sequence_back(small, tmp_path, export, frames, numbers):
    dataset = load_dataset(export(small, tmp_path))
    # ActorsHQ's pictures are JPEGs, so only their masks can be equal.
    assert_same_views(dataset, small, frames, pixels=export is not export_actorshq)
    assert [frame.number for frame in dataset.frames] == numbers
    assert dataset.has_masks and dataset.background == (1, 1, 1)
    if export is export_actorshq:
        for view, other in zip(dataset.frames[1].views, small.frames[1].views):
            np.testing.assert_array_equal(view.load()[..., 3], other.load()[..., 3])


def test_demo_sequence():
    dataset = load_dataset(FOX)
    assert [frame.number for frame in dataset.frames] == list(range(8))
    assert all(len(frame.split("train")) == 24 for frame in dataset.frames)
    assert [view.camera_index for view in dataset.frames[0].split("test")] == [0, 7, 14, 21]
    assert dataset.aabb.tolist() == [[-1, -1, -1], [1, 1, 1]] and dataset.has_masks
    rgba = dataset.frames[0].views[1].load()
    assert rgba.shape == (200, 200, 4) and rgba.dtype == np.float32
    assert 0.03 < (rgba[..., 3] > 0).mean() < 0.3
    assert np.abs(np.diff([v.load()[..., :3].sum() for v in (f.views[1] for f in dataset.frames)])).min() > 0


def test_blender_split_is_the_files(small, tmp_path):
    dataset = load_dataset(export_blender(small, tmp_path))
    assert [v.camera_index for v in dataset.frames[0].split("test")] == [0, 7, 14, 21]
    moved = load_dataset(tmp_path, holdout=[3])
    assert [v.camera_index for v in moved.frames[0].split("test")] == [3]


def test_val_serves_where_there_is_no_test(small, tmp_path):
    export_blender(small, tmp_path)
    (tmp_path / "transforms_test.json").rename(tmp_path / "transforms_val.json")
    assert len(load_dataset(tmp_path).frames[0].split("test")) == 4


def test_default_and_chosen_holdout(small, tmp_path):
    export_nerfstudio(small, tmp_path / "static")
    export_files(small, tmp_path / "sequence")
    test_of = lambda d: [v.camera_index for v in d.frames[-1].split("test")]
    assert test_of(load_dataset(tmp_path / "static")) == [0, 8, 16, 24]
    assert test_of(load_dataset(tmp_path / "sequence")) == [0, 7, 14, 21]
    assert test_of(load_dataset(tmp_path / "sequence", frames=slice(1))) == [0, 7, 14, 21]
    assert test_of(load_dataset(tmp_path / "sequence", holdout=[2, 5])) == [2, 5]
    assert test_of(load_dataset(tmp_path / "sequence", holdout=[])) == []


def test_nerfstudio_file_lists_and_overrides(small, tmp_path):
    export_nerfstudio(small, tmp_path, fps=30, background=[0, 0.5, 1], k1=0.0, camera_model="OPENCV",
                      train_filenames=[], test_filenames=["images/0003.png"])
    path = tmp_path / "transforms.json"
    content = json.loads(path.read_text())
    content["frames"][5] |= {"fl_x": 40.0, "cy": 11.0}
    content["frames"][6] |= {"camera_angle_x": math.pi / 2}
    path.write_text(json.dumps(content))
    dataset = load_dataset(tmp_path)
    views = dataset.frames[0].views
    assert [v.camera_index for v in dataset.frames[0].split("test")] == [3]
    assert (views[5].camera.fx, views[5].camera.cy, views[4].camera.cy) == (40, 11, 12.5)
    assert views[6].camera.fx == pytest.approx(12.5)
    assert dataset.frame_rate == 30 and dataset.background == (0, 0.5, 1)


def test_rgb_pictures_are_opaque(small, tmp_path):
    dataset = load_dataset(without_masks(small, export_nerfstudio(small, tmp_path)))
    assert not dataset.has_masks and dataset.background == (0, 0, 0)
    assert (dataset.frames[0].views[0].load()[..., 3] == 1).all()


def test_frame_selection(small):
    numbers = lambda selection: [f.number for f in load_dataset(FOX, frames=selection).frames]
    assert numbers(slice(-2, None)) == [6, 7]
    assert numbers(slice(None, None, 3)) == [0, 3, 6]
    assert numbers(range(2, 5)) == [2, 3, 4]
    assert load_dataset(FOX, frames=range(3, 4)).frames[0].time == pytest.approx(3 / 23)


# ---- Boxes -------------------------------------------------------------------


def test_box_from_the_file_or_the_caller(small, tmp_path):
    scale = export_actorshq(small, tmp_path / "hq")
    assert load_dataset(scale).aabb.tolist() == [[-1, -1, -1], [1, 1, 1]]
    assert load_dataset(scale, frames=slice(0, 1)).aabb.tolist() == [[-1, -0.5, -1], [1, 1, 0.5]]
    box = [[-2, -2, 0], [1, 1, 1]]
    assert load_dataset(scale, aabb=box).aabb.tolist() == box
    ngp = without_masks(small, export_nerfstudio(small, tmp_path / "ngp", aabb=None, aabb_scale=2, scale=0.5,
                                                 offset=[0.5, 0.5, 0.25]))
    assert load_dataset(ngp).aabb.tolist() == [[-2, -2, -1.5], [2, 2, 2.5]]


def test_box_from_cameras_holds_the_scene(small, tmp_path):
    """The rule finds where the cameras look, wherever the rig stands."""
    without_masks(small, export_nerfstudio(small, tmp_path, aabb=None))
    content = json.loads((tmp_path / "transforms.json").read_text())
    shift = np.array([10.0, -4.0, 3.0])
    for entry in content["frames"]:
        pose = np.array(entry["transform_matrix"])
        pose[:3, 3] += shift
        entry["transform_matrix"] = pose.tolist()
    write_json(tmp_path / "transforms.json", content)
    low, high = load_dataset(tmp_path).aabb
    np.testing.assert_allclose((low + high) / 2, shift, atol=1e-3)
    distance, half_angle = 3.19127, math.atan(100 / 274.7477)
    np.testing.assert_allclose(high - low, 2 * distance * math.sin(half_angle), rtol=1e-3)


def test_an_assumed_box_shrinks_to_the_foreground(small, tmp_path):
    export_nerfstudio(small, tmp_path, aabb=None)
    dataset, cameras = load_dataset(tmp_path), load_dataset(without_masks(small, tmp_path / "rgb", tmp_path)).aabb
    low, high = dataset.aabb
    assert (low >= cameras[0] - 1e-5).all() and (high <= cameras[1] + 1e-5).all()
    assert np.prod(high - low) < 0.5 * np.prod(cameras[1] - cameras[0])
    (told,) = (text for text in dataset.assumptions if "--box" in text)
    again = load_dataset(tmp_path, aabb=[float(v) for v in told.split("--box ")[1].split()])
    np.testing.assert_array_equal(again.aabb, dataset.aabb)  # what the note says is what was done
    for view in dataset.frames[0].views:  # it cuts nothing off, not in views either that had no say
        origins, directions = view.camera.rays()
        assert checks.hits(origins[0], directions[view.load()[..., 3].ravel() > 0.01], dataset.aabb).all()


def test_foreground_of_all_frames_and_thin_things(small, tmp_path):
    """A point that only one frame shows, of one pixel, is in the box."""
    box = np.array([[-1.5, -1.5, -1.5], [1.5, 1.5, 1.5]])
    point, frames = np.array([1.1, 0.2, 0.1]), []
    for frame in small.frames:
        views = []
        for view in frame.views:
            rgba = np.zeros((100, 100, 4), np.uint8)
            camera = view.camera.scaled(4)
            for at in (np.zeros(3), point) if frame.number else (np.zeros(3),):
                u, v, _ = checks.project(camera, at[None])
                column, row = int(u[0]), int(v[0])
                if 0 <= column < 100 and 0 <= row < 100:
                    rgba[row, column] = 255
            path = tmp_path / f"{frame.number}_{view.camera_index}.png"
            Image.fromarray(rgba).save(path)
            views.append(dataclasses.replace(view, image=path, camera=camera))
        frames.append(dataclasses.replace(frame, views=tuple(views)))
    first, both = foreground_box(frames[:1], box), foreground_box(frames, box)
    assert first[1, 0] < point[0] < both[1, 0]
    np.testing.assert_array_equal(first[0], both[0])
    assert foreground_box([dataclasses.replace(frames[1], views=frames[1].views[:3])], box) is None  # too few
    for place, view in zip(np.random.default_rng(1).integers(10, 90, (28, 2)), frames[0].views):
        rgba = np.zeros((100, 100, 4), np.uint8)
        rgba[place[0] - 4:place[0] + 4, place[1] - 4:place[1] + 4] = 255
        Image.fromarray(rgba).save(view.image)
    assert foreground_box(frames[:1], box) is None  # masks contradict each other


# ---- Pictures ----------------------------------------------------------------


def test_downscaling_averages_premultiplied_colour():
    rgba = np.zeros((2, 2, 4), np.float32)
    rgba[0, 0] = 1, 0, 0, 1        # red, opaque
    rgba[0, 1] = 0, 1, 0, 1 / 3    # green, one third
    rgba[1, 0] = 0, 0, 1, 0        # blue behind full transparency: must not show
    np.testing.assert_allclose(downscale_rgba(rgba, 1, 1)[0, 0], [0.75, 0.25, 0, 1 / 3], rtol=1e-6)


@settings(max_examples=50)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_downscaling_keeps_the_mean(height, width, out_height, out_width, seed):
    rgba = np.random.default_rng(seed).random((height, width, 4), np.float32)
    small_rgba = downscale_rgba(rgba, min(out_width, width), min(out_height, height))
    premultiplied = lambda p: np.concatenate([p[..., :3] * p[..., 3:], p[..., 3:]], -1).mean((0, 1))
    np.testing.assert_allclose(premultiplied(small_rgba), premultiplied(rgba), atol=1e-5)


@pytest.mark.parametrize("downscale", [1, 2, 3, 7.5])
def test_loaded_size_is_the_scaled_cameras(small, downscale):
    view = small.frames[0].views[2]
    camera = view.camera.scaled(1 / downscale)
    assert view.load(downscale).shape == (camera.height, camera.width, 4)


def test_downscale_below_one(small):
    with pytest.raises(ValueError):
        small.frames[0].views[0].load(0.5)


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_axis_angle_is_a_rotation_about_its_axis(vector):
    vector = np.array(vector)
    rotation = rotation_from_axis_angle(vector)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(rotation @ vector, vector, atol=1e-12)
    np.testing.assert_allclose(np.trace(rotation), 1 + 2 * math.cos(np.linalg.norm(vector)), atol=1e-9)


# ---- Broken datasets ---------------------------------------------------------


def edited(change):
    """A breaker that edits the document."""
    def apply(root: Path) -> None:
        content = json.loads((root / "transforms.json").read_text())
        change(content)
        (root / "transforms.json").write_text(json.dumps(content))
    return apply


def entry_with(**values):
    return edited(lambda content: content["frames"][3].update(values))


def entries_with(**values):
    return edited(lambda content: [entry.update(values) for entry in content["frames"]])


def document_with(**values):
    return edited(lambda content: content.update(values))


def without(*keys):
    def change(content):
        for key in keys:
            del content[key]
    return edited(change)


def rotation(matrix):
    return entry_with(transform_matrix=np.vstack([np.column_stack([matrix, (0, 0, 1)]), (0, 0, 0, 1)]).tolist())


def picture(name: str, size=(25, 25), mode="RGBA"):
    return lambda root: Image.new(mode, size).save(root / name)


def truncated(name: str):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:20])


BREAKERS = {
    "not JSON": ("D02", lambda root: (root / "transforms.json").write_text("{")),
    "not UTF-8": ("D02", lambda root: (root / "transforms.json").write_bytes(b'{"\xff": 0}')),
    "nested too deep": ("D02", lambda root: (root / "transforms.json").write_text("[" * 100000)),
    "no frames list": ("D02", without("frames")),
    "frames are no objects": ("D02", document_with(frames=[1])),
    "no layout": ("D03", lambda root: (root / "transforms.json").rename(root / "other.txt")),
    "images gone": ("D04", lambda root: [path.unlink() for path in list((root / "images").iterdir())[:20]]),
    "mask gone": ("D04", entry_with(mask_path="masks/none.png")),
    "no file_path": ("D04", entry_with(file_path=None)),
    "file_path is a number": ("D04", entry_with(file_path=7)),
    "impossible file name": ("D04", entries_with(file_path="a\0b")),
    "very long file name": ("D04", entries_with(file_path="x" * 5000)),
    "image cut short": ("D05", truncated("images/0005.png")),
    "image is text": ("D05", lambda root: (root / "images/0005.png").write_text("hello")),
    "16-bit image": ("D05", picture("images/0005.png", mode="I;16")),
    "no pose": ("D06", entry_with(transform_matrix=None)),
    "pose is 2x2": ("D06", entry_with(transform_matrix=[[1, 0], [0, 1]])),
    "pose has text": ("D06", entry_with(transform_matrix=[["a"] * 4] * 4)),
    "pose is ragged": ("D06", entry_with(transform_matrix=[[1, 2], [1]])),
    "pose is NaN": ("D06", rotation(np.full((3, 3), np.nan))),
    "pose is singular": ("D06", rotation(np.diag([1, 1, 0]))),
    "pose is zero": ("D06", rotation(np.zeros((3, 3)))),
    "pose scales": ("D06", rotation(2 * np.eye(3))),
    "pose mirrors": ("D06", rotation(np.diag([1, 1, -1]))),
    "pose is projective": ("D06", entry_with(transform_matrix=np.ones((4, 4)).tolist())),
    "image of another size": ("D07", picture("images/0005.png", (24, 25))),
    "declared size differs": ("D07", document_with(w=50)),
    "no pictures": ("D08", document_with(frames=[])),
    "all held out": ("D08", edited(lambda c: c.update(test_filenames=[e["file_path"] for e in c["frames"]]))),
    "no focal length": ("D09", without("fl_x", "fl_y")),
    "focal length is negative": ("D09", document_with(fl_x=-1)),
    "focal length is infinite": ("D09", document_with(fl_y=math.inf)),
    "focal length is text": ("D09", document_with(fl_x="long")),
    "angle beyond pi": ("D09", entry_with(camera_angle_x=4)),
    "half a pixel": ("D09", document_with(w=24.5)),
    "no width": ("D09", document_with(w=0)),
    "principal point is NaN": ("D09", document_with(cx=math.nan)),
    "some entries without frame": ("D10", entry_with(frame=1)),
    "negative frame": ("D10", edited(lambda c: [e.update(frame=-1) for e in c["frames"]])),
    "camera missing in a frame": ("D10", edited(
        lambda c: [e.update(frame=int(i > 4), camera=i % 5) for i, e in enumerate(c["frames"])]
        and c["frames"].__setitem__(slice(9, None), []))),
    "camera twice": ("D10", edited(lambda c: [e.update(camera=1) for e in c["frames"]])),
    "one camera": ("D10", edited(lambda c: [e.update(frame=i) for i, e in enumerate(c["frames"])])),
    "times differ in a frame": ("D10", edited(
        lambda c: [e.update(frame=0, time=i) for i, e in enumerate(c["frames"])])),
    "time is text": ("D10", entry_with(time="noon")),
    "distortion that folds the picture": ("D11", document_with(k1=-40)),
    "distortion of one camera is text": ("D11", entry_with(p2="much")),
    "k4 without a model": ("D11", document_with(k4=0.1)),
    "tangential fisheye": ("D11", document_with(camera_model="OPENCV_FISHEYE", p1=0.1)),
    "whole panorama": ("D11", document_with(camera_model="EQUIRECTANGULAR")),
    "f-theta lens": ("D11", document_with(ftheta_p0=0.1)),
    "mask of another size": ("D12", lambda root: (entry_with(mask_path="m.png")(root),
                                                  picture("m.png", (5, 7), "L")(root))),
    "box upside down": ("D13", document_with(aabb=[[1, 1, 1], [-1, -1, -1]])),
    "flat box": ("D13", document_with(aabb=[[0, 0, 0], [1, 0, 1]])),
    "box of NaN": ("D13", document_with(aabb=[[0, 0, 0], [1, math.nan, 1]])),
    "box of four numbers": ("D13", document_with(aabb=[0, 0, 1, 1])),
    "aabb_scale of zero": ("D13", document_with(aabb=None, aabb_scale=0)),
    "cameras look nowhere in common": ("D13", edited(lambda c: (c.pop("aabb"), [
        e.update(transform_matrix=np.eye(4).tolist()) for e in c["frames"]]))),
    "box that no camera sees": ("D15", document_with(aabb=[[90, 90, 90], [91, 91, 91]])),
    "cameras look away": ("D15", edited(lambda c: [e.update(transform_matrix=(
        np.array(e["transform_matrix"]) * (1, -1, -1, 1)).tolist()) for e in c["frames"]])),
    "background too bright": ("D14", document_with(background=[0, 0, 255])),
    "frame rate of zero": ("D14", document_with(fps=0)),
}


@pytest.mark.parametrize("name", BREAKERS)
def test_broken_dataset(small, tmp_path, name):
    code, break_it = BREAKERS[name]
    export_nerfstudio(small, tmp_path)
    load_dataset(tmp_path)  # sound before
    break_it(tmp_path)
    with pytest.raises(DatasetError) as caught:
        load_dataset(tmp_path)
    assert caught.value.code == code
    assert caught.value.path is not None and str(caught.value).count(f"{code}: ") == 1


def code_of(call) -> str:
    with pytest.raises(DatasetError) as caught:
        call()
    return caught.value.code


def test_bad_arguments(small, tmp_path):
    root = small.source
    assert code_of(lambda: load_dataset(tmp_path / "nowhere")) == "D01"
    assert code_of(lambda: load_dataset(tmp_path)) == "D03"
    assert code_of(lambda: load_dataset(__file__)) == "D03"
    assert code_of(lambda: load_dataset(root, holdout=[99])) == "D08"
    assert code_of(lambda: load_dataset(root, holdout=range(28))) == "D08"
    assert code_of(lambda: load_dataset(root, frames=slice(5, 9))) == "D10"
    assert code_of(lambda: load_dataset(root, frames=range(0, 3))) == "D10"
    assert code_of(lambda: load_dataset(root, aabb=[[0, 0, 0], [0, 0, 0]])) == "D13"


def test_other_layouts_broken(small, tmp_path):
    scale = export_actorshq(small, tmp_path / "hq")
    (scale / "rgbs/Cam003/Cam003_rgb000001.jpg").unlink()
    assert code_of(lambda: load_dataset(scale)) == "D04"
    text = (scale / "calibration.csv").read_text()
    (scale / "calibration.csv").write_text(text.replace("tz", "t"))
    assert code_of(lambda: load_dataset(scale)) == "D02"
    (scale / "calibration.csv").write_text(text.replace("Cam002, 25", "Cam002, wide"))
    assert code_of(lambda: load_dataset(scale)) == "D09"
    (scale / "calibration.csv").write_text(text + "Cam004,1\n")
    assert code_of(lambda: load_dataset(scale)) == "D02"

    rerf = export_rerf(small, tmp_path / "rerf")
    content = json.loads((rerf / "cams_1.json").read_text())
    content["frames"][0]["intrinsic"][0][1] = 3.0
    write_json(rerf / "cams_1.json", content)
    assert code_of(lambda: load_dataset(rerf)) == "D09"
    (rerf / "cams_1.json").write_text("[]")
    assert code_of(lambda: load_dataset(rerf)) == "D02"

    blender = export_blender(small, tmp_path / "blender")
    (blender / "transforms_train.json").unlink()
    assert code_of(lambda: load_dataset(blender)) == "D08"

    folders = export_folders(small, tmp_path / "folders")
    (folders / "frame_10").rename(folders / "copy_9")
    assert code_of(lambda: load_dataset(folders)) == "D10"


def test_all_problems_are_counted(small, tmp_path):
    export_nerfstudio(small, tmp_path)
    dataset = load_dataset(tmp_path)
    check_images(dataset)
    (tmp_path / "images/0002.png").unlink()
    picture("images/0004.png", (9, 9))(tmp_path)
    truncated("images/0006.png")(tmp_path)
    (tmp_path / "images/0008.png").unlink()
    with pytest.raises(DatasetError, match=r"D04: .*0002\.png.*3 more: 1 x D04, 1 x D05, 1 x D07") as caught:
        check_images(dataset)
    assert caught.value.path == tmp_path / "images/0002.png"
    assert [e.code for e in find_image_problems(dataset)] == ["D04", "D07", "D05", "D04"]
    assert code_of(lambda: load_dataset(tmp_path)) == "D07"  # missing pictures are left out


def test_damage_past_the_header_shows_on_loading(small, tmp_path):
    export_nerfstudio(small, tmp_path)
    path = tmp_path / "images/0001.png"
    path.write_bytes(path.read_bytes()[:60])
    view = load_dataset(tmp_path).frames[0].views[1]
    assert code_of(view.load) == "D05"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2), max_leaves=12)
KEYS = ("w", "h", "fl_x", "fl_y", "cx", "cy", "camera_angle_x", "k1", "camera_model", "is_fisheye", "aabb",
        "aabb_scale", "scale", "offset", "background", "fps", "frame_rate", "test_filenames", "time", "frames")
ENTRY_KEYS = ("file_path", "mask_path", "transform_matrix", "frame", "time", "camera", "w", "fl_x", "camera_label")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(KEYS), json_values, max_size=2),
       st.dictionaries(st.sampled_from(ENTRY_KEYS), json_values, max_size=2), st.booleans())
def test_any_content_gives_a_dataset_or_one_documented_error(small, tmp_path, keys, entry_keys, drop_aabb):
    """Two frames of three views with arbitrary JSON anywhere: DatasetError is all that may come out."""
    entries = [{"file_path": str(view.image), "frame": frame.number, "camera": view.camera_index,
                "transform_matrix": pose4(view)} for frame in small.frames for view in frame.views[:3]]
    entries[1] |= entry_keys
    content = {"camera_angle_x": 0.7, "aabb": [-1, -1, -1, 1, 1, 1], "frames": entries} | keys
    if drop_aabb:
        content.pop("aabb")
    write_json(tmp_path / "transforms.json", content)
    try:
        dataset = load_dataset(tmp_path)
    except DatasetError as error:
        assert re.fullmatch(r"D(0[1-9]|1[0-7])", error.code)
    else:
        assert (dataset.aabb[0] < dataset.aabb[1]).all() and np.isfinite(dataset.aabb).all()
        for frame in dataset.frames:
            assert frame.split("train")
            for view in frame.views:
                origin, direction = view.camera.rays()
                assert np.isfinite(origin).all() and np.isfinite(direction).all()


# ---- Documents ---------------------------------------------------------------


def test_every_code_is_documented_and_provoked():
    """Errors (D..) and the warnings of `dataset check` (W..)."""
    sources = "".join(path.read_text() for path in (ROOT / "refcodec/datasets").glob("*.py"))
    raised = set(re.findall(r'"([DW]\d\d)"', sources))
    table = set(re.findall(r"^\| ([DW]\d\d) \|", (ROOT / "docs/datasets.md").read_text(), re.M))
    tests = "".join(path.read_text() for path in ROOT.glob("tests/unit/test_dataset*.py"))
    provoked = set(re.findall(r'"([DW]\d\d)"', tests))
    assert raised == table == provoked


def test_loading_needs_no_torch_and_no_video_library():
    program = ("import sys; from refcodec.datasets import load_dataset; from refcodec.datasets.survey import survey; "
               f"load_dataset({str(FOX)!r}); survey({str(FOX)!r}, samples=1); "
               "sys.exit(bool({'torch', 'av'} & set(sys.modules)))")
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_prepare_command(tmp_path):
    script, out = ROOT / "demo/prepare.py", tmp_path / "out"
    command = [sys.executable, script, FOX, out, "--frames", "1:2", "--downscale", "10"]
    subprocess.run(command, cwd=ROOT, check=True, env={"PYTHONPATH": str(ROOT)})
    dataset = load_dataset(out)
    assert [f.number for f in dataset.frames] == [1] and dataset.frames[0].views[0].camera.width == 20
    again = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert again.returncode == 1 and "exists" in again.stderr and "Traceback" not in again.stderr


def test_middlebury_sets(tmp_path):
    """A bright square with a dark spot and an opening, on black cloth that is lit beside it, and something beyond the
    box, seen by a camera whose matrices are known."""
    source = tmp_path / "set"
    source.mkdir()
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[5:35, 2:24] = 50
    picture[10:30, 20:44], picture[18:22, 40:43], picture[12:26, 24:36], picture[:, 56:] = 200, 0, 0, 200
    for name in ("a.png", "b.png"):
        Image.fromarray(picture).save(source / name)
    angle = 0.3
    r = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    k, t = np.array([[70.0, 0, 29], [0, 71, 19], [0, 0, 1]]), np.array([0.01, -0.02, 0.6])
    line = " ".join(map(str, [*k.ravel(), *r.ravel(), *t]))
    (source / "x_par.txt").write_text(f"2\na.png {line}\nb.png {line}\n")
    box = np.array([[-0.15, -0.1, -0.05], [0.15, 0.2, 0.05]])
    demo_script("middlebury").convert(source, tmp_path / "out", box, 10, ["b.png"])
    dataset = load_dataset(tmp_path / "out")
    (train,), (test,) = (dataset.frames[0].split(part) for part in ("train", "test"))
    assert test.camera_index == 1 and dataset.aabb[1] == pytest.approx((box[1] - box.mean(0)) * 10.3)
    alpha, expected = train.load(1)[..., 3], np.zeros((40, 60))
    expected[10:30, 20:44], expected[12:26, 24:36] = 1, 0
    np.testing.assert_array_equal(alpha, expected)
    point = np.array([0.03, 0.05, 0.02])
    seen = k @ (r @ point + t)
    pose = np.asarray(train.camera.camera_to_world)
    local = pose[:3, :3].T @ ((point - box.mean(0)) * 10 - pose[:3, 3])
    ours = (train.camera.cx - 0.5 - train.camera.fx * local[0] / local[2],
            train.camera.cy - 0.5 + train.camera.fy * local[1] / local[2])
    assert ours == pytest.approx(tuple(seen[:2] / seen[2]))
