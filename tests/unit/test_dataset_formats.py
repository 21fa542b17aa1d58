"""One rig in every format: the same cameras come back; lenses, videos, real scenes, damaged calibrations.

REFCODEC_SCENES: a folder with Middlebury's templeSparseRing as temple_sparse_ring and
MonoSDF's DTU scan 24 as dtu_scan24, which can't be part of the repository.
"""
from __future__ import annotations

import json
import math
import os
import re
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image
from test_datasets import axis_angle

from refcodec.datasets import checks, load_dataset
from refcodec.datasets.colmap_model import box_of_points
from refcodec.datasets.lenses import MODELS, Lens, distort
from refcodec.datasets.pixels import straight
from refcodec.datasets.projections import decompose
from refcodec.errors import DatasetError
from refcodec.rendering.cameras import Camera

SCENES = Path(os.environ.get("REFCODEC_SCENES", "scenes"))
needs_scenes = pytest.mark.skipif(not SCENES.is_dir(), reason="not here: REFCODEC_SCENES names no folder of scenes")
BOX = [[-1, -1, -1], [1, 1, 1]]
POINTS = np.random.default_rng(7).uniform(-1, 1, (40, 3))
SIZE = 16, 12


# ---- A rig -------------------------------------------------------------------


def looking_at(position, target=(0, 0, 0), up=(0, 0, 1)) -> np.ndarray:
    """Camera to world (3, 4), OpenGL axes."""
    back = np.subtract(position, target)
    back = back / np.linalg.norm(back)
    right = np.cross(up, back)
    right = right / np.linalg.norm(right)
    return np.column_stack([right, np.cross(back, right), back, position])


def rig(seed: int = 0, count: int = 9, centred: bool = False) -> list[Camera]:
    """Cameras around the origin; unless centred, of non-square pixels and principal points off the middle."""
    rng, (width, height), cameras = np.random.default_rng(seed), SIZE, []
    for i in range(count):
        angle = 2 * math.pi * (i + rng.uniform(0, 0.5)) / count
        position = np.array([math.cos(angle), math.sin(angle), rng.uniform(-0.6, 0.6)]) * rng.uniform(3, 5)
        f = rng.uniform(20, 30)
        intrinsics = (f, f, width / 2, height / 2) if centred else (
            f, f * rng.uniform(0.8, 1.2), width / 2 + rng.uniform(-2, 2), height / 2 + rng.uniform(-2, 2))
        up = np.array([0, 0, 1]) + rng.uniform(-0.3, 0.3, 3)
        cameras.append(Camera(width, height, *intrinsics, looking_at(position, rng.uniform(-0.2, 0.2, 3), up)))
    return cameras


def picture_of(index: int, frame: int = 0) -> Image.Image:
    """Different for every camera and frame."""
    values = np.random.default_rng([index, frame]).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    return Image.fromarray(values)


def save(image: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def world_to_camera(c: Camera) -> tuple[np.ndarray, np.ndarray]:
    """R, t of cameras with axes right, down, forward."""
    rotation = (c.camera_to_world[:, :3] * (1, -1, -1)).T
    return rotation, -rotation @ c.camera_to_world[:, 3]


def k_matrix(c: Camera, shift: float = 0.0) -> np.ndarray:
    return np.array([[c.fx, 0, c.cx + shift], [0, c.fy, c.cy + shift], [0, 0, 1]])


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """w, x, y, z: the eigenvector of the symmetric 4x4 matrix that it maximises."""
    r = rotation
    k = np.array([[r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
                  [0, r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
                  [0, 0, r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1]],
                  [0, 0, 0, r[2, 2] - r[0, 0] - r[1, 1]]])
    values, vectors = np.linalg.eigh(k + np.triu(k, 1).T)
    return vectors[:, np.argmax(values)]


def pose4(c: Camera) -> list:
    return np.vstack([c.camera_to_world, (0, 0, 0, 1)]).tolist()


# ---- Writers: one a format ---------------------------------------------------


def write_transforms(cameras, root: Path) -> None:
    entries = []
    for i, c in enumerate(cameras):
        save(picture_of(i), root / f"images/{i:03d}.png")
        entries.append({"file_path": f"images/{i:03d}.png", "transform_matrix": pose4(c), "w": c.width, "h": c.height,
                        "fl_x": c.fx, "fl_y": c.fy, "cx": c.cx, "cy": c.cy})
    (root / "transforms.json").write_text(json.dumps({"frames": entries, "aabb": BOX}))


def write_colmap(cameras, root: Path, *, binary: bool, lenses: list[Lens] | None = None) -> Path:
    model = root / "sparse/0"
    model.mkdir(parents=True, exist_ok=True)
    lenses = lenses or [Lens("PINHOLE", c.width, c.height, c.fx, c.fy, c.cx, c.cy) for c in cameras]
    poses = [(quaternion(r), t) for r, t in map(world_to_camera, cameras)]
    order = list(range(len(cameras)))[::-1]  # COLMAP's order is that of matching
    for i in order:
        save(picture_of(i).resize((lenses[i].width, lenses[i].height)), root / f"images/{i:03d}.png")
    values = [((lens.fx,) if MODELS[lens.model][1] == 1 else (lens.fx, lens.fy)) + (lens.cx, lens.cy) + lens.parameters
              for lens in lenses]
    if binary:
        (model / "cameras.bin").write_bytes(struct.pack("<Q", len(order)) + b"".join(
            struct.pack(f"<IiQQ{len(values[i])}d", i + 10, MODELS[lenses[i].model][0], lenses[i].width,
                        lenses[i].height, *values[i]) for i in order))
        (model / "images.bin").write_bytes(struct.pack("<Q", len(order)) + b"".join(
            struct.pack("<I7dI", i, *poses[i][0], *poses[i][1], i + 10) + f"{i:03d}.png\0".encode()
            + struct.pack("<Q", 2) + struct.pack("<ddq", 1, 2, -1) * 2 for i in order))
        (model / "points3D.bin").write_bytes(struct.pack("<Q", len(POINTS)) + b"".join(
            struct.pack("<Q3d3BdQ", n, *p, 1, 2, 3, 0.5, 3) + struct.pack("<II", 0, 0) * 3
            for n, p in enumerate(POINTS)))
    else:
        floats = lambda row: " ".join(f"{v:.17g}" for v in row)
        (model / "cameras.txt").write_text("# Camera list\n" + "".join(
            f"{i + 10} {lenses[i].model} {lenses[i].width} {lenses[i].height} {floats(values[i])}\n" for i in order))
        (model / "images.txt").write_text("# Image list\n" + "".join(
            f"{i} {floats(poses[i][0])} {floats(poses[i][1])} {i + 10} {i:03d}.png\n{'1 2 -1' * (i % 2)}\n"
            for i in order))
        (model / "points3D.txt").write_text("".join(
            f"{n} {floats(p)} 1 2 3 0.5 0 0 1 1 2 2\n" for n, p in enumerate(POINTS)))
    return model


def write_llff(cameras, root: Path) -> None:
    rows = []
    for i, c in enumerate(cameras):
        save(picture_of(i), root / f"images/{i:03d}.png")
        right, up, back, position = c.camera_to_world.T
        matrix = np.column_stack([-up, right, back, position, (c.height, c.width, c.fx)])
        rows.append(np.concatenate([matrix.ravel(), (1.5, 6.0)]))
    np.save(root / "poses_bounds.npy", np.array(rows))


SPHERE = np.diag([2.5, 2.5, 2.5, 1.0])
SPHERE[:3, 3] = 0.3, -0.2, 0.1


def write_idr(cameras, root: Path) -> None:
    """In a world that `scale_mat` takes the cameras' own to."""
    arrays = {}
    for i, c in enumerate(cameras):
        save(picture_of(i), root / f"image/{i:03d}.png")
        rotation, translation = world_to_camera(c)
        projection = np.vstack([k_matrix(c, -0.5) @ np.column_stack([rotation, translation]), (0, 0, 0, 1)])
        arrays[f"world_mat_{i}"] = (projection @ np.linalg.inv(SPHERE)) * (-1) ** i * 3  # known up to a factor
        arrays[f"scale_mat_{i}"] = SPHERE
    np.savez(root / "cameras_sphere.npz", **arrays)


def write_middlebury(cameras, root: Path) -> None:
    lines = [str(len(cameras))]
    for i, c in enumerate(cameras):
        save(picture_of(i), root / f"x{i:03d}.png")
        rotation, translation = world_to_camera(c)
        numbers = [*k_matrix(c, -0.5).ravel(), *rotation.ravel(), *translation]
        lines.append(f"x{i:03d}.png " + " ".join(f"{v:.17g}" for v in numbers))
    (root / "x_par.txt").write_text("\n".join(lines) + "\n")
    (root / "README.txt").write_text("The (tight) bounding box for the x model is\n(-1 -1 -1)\n(1 1 1.0)\n\n---\n")


def write_nhr_calibration(cameras, root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    rows = [np.concatenate([-c.camera_to_world[:, 2], c.camera_to_world[:, 0], -c.camera_to_world[:, 1],
                            c.camera_to_world[:, 3]]) for c in cameras]
    np.savetxt(root / "CamPose.inf", rows)
    (root / "Intrinsic.inf").write_text("".join(
        f"{i}\n" + "".join(" ".join(f"{v:.17g}" for v in row) + "\n" for row in k_matrix(c)) + "\n"
        for i, c in enumerate(cameras)))


def write_nhr(cameras, root: Path) -> None:
    write_nhr_calibration(cameras, root)
    for frame in (0, 1):
        for i in range(len(cameras)):
            save(picture_of(i, frame), root / f"img/{frame}/img_{i:04d}.png")
            save(Image.new("L", SIZE, 10 * i), root / f"mask/{frame}/img_{i:04d}.png")


def write_actorshq(cameras, root: Path) -> None:
    lines = ["name,w,h,rx,ry,rz,tx,ty,tz,fx,fy,px,py"]
    for i, c in enumerate(cameras):
        save(picture_of(i), root / f"4x/rgbs/Cam{i:03d}/Cam{i:03d}_rgb000007.png")
        values = (*axis_angle(c.camera_to_world[:, :3] * (1, -1, -1)), *c.camera_to_world[:, 3], c.fx / c.width,
                  c.fy / c.height, c.cx / c.width, c.cy / c.height)
        lines.append(f"Cam{i:03d},{c.width},{c.height}," + ",".join(f"{v:.17g}" for v in values))
    (root / "4x/calibration.csv").write_text("\n".join(lines))


def write_rerf(cameras, root: Path) -> None:
    entries = []
    for i, c in enumerate(cameras):
        save(picture_of(i), root / f"image/3/img_{i:04d}.png")
        entries.append({"file": f"image/3/img_{i:04d}.png", "extrinsic": (np.array(pose4(c)) * (1, -1, -1, 1)).tolist(),
                        "intrinsic": k_matrix(c).tolist()})
    (root / "cams_3.json").write_text(json.dumps({"frames": entries}))


FORMATS = {
    "transforms": (write_transforms, ""),
    "COLMAP": (lambda cameras, root: write_colmap(cameras, root, binary=True), ""),
    "COLMAP text": (lambda cameras, root: write_colmap(cameras, root, binary=False), ""),
    "DTU, NeuS": (write_idr, ""),
    "Middlebury": (write_middlebury, ""),
    "ReRF, NHR": (write_nhr, ""),
    "ActorsHQ": (write_actorshq, "4x"),
    "ReRF, prepared": (write_rerf, ""),
}


def assert_same(actual: Camera, wanted: Camera, tolerance: float = 1e-6) -> None:
    """The same picture of every point, and the same numbers."""
    for a, b in zip(checks.project(actual, POINTS), checks.project(wanted, POINTS)):
        np.testing.assert_allclose(a, b, atol=tolerance * 10)
    np.testing.assert_allclose(actual.camera_to_world, wanted.camera_to_world, atol=tolerance)
    np.testing.assert_allclose([actual.fx, actual.fy, actual.cx, actual.cy],
                               [wanted.fx, wanted.fy, wanted.cx, wanted.cy], rtol=tolerance)
    assert (actual.width, actual.height) == (wanted.width, wanted.height)


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 2**31))
def test_one_rig_in_every_format(tmp_path_factory, seed):
    """N formats, the same cameras: projections agree, and pictures are attributed alike."""
    cameras, root = rig(seed), tmp_path_factory.mktemp("rig")
    for name, (write, folder) in FORMATS.items():
        place = root / name.replace(", ", "_").replace(" ", "_")
        place.mkdir()
        write(cameras, place)
        dataset = load_dataset(place / folder)
        assert dataset.layout == name.removesuffix(" text")
        views = dataset.frames[0].views
        assert [view.camera_index for view in views] == list(range(len(cameras)))
        for i, (view, wanted) in enumerate(zip(views, cameras)):
            assert_same(view.camera, wanted)
            shown = view.load()
            np.testing.assert_array_equal(np.round(shown[..., :3] * 255), np.asarray(picture_of(i)))
            # The picture's middle is seen along the camera's axis, whatever the format calls forward.
            origin, directions = view.camera.rays()
            assert directions[len(directions) // 2 + SIZE[0] // 2] @ -wanted.camera_to_world[:, 2] > 0.9


@settings(deadline=None, max_examples=6)
@given(st.integers(0, 2**31))
def test_llff_gives_a_centred_rig_back(tmp_path_factory, seed):
    cameras, root = rig(seed, centred=True), tmp_path_factory.mktemp("llff")
    write_llff(cameras, root)
    dataset = load_dataset(root)
    for view, wanted in zip(dataset.frames[0].views, cameras):
        assert_same(view.camera, wanted)
        # The box holds everything that the camera sees between its depths.
        origin, directions = view.camera.rays()
        for depth in (1.5, 6.0):
            along = -directions @ wanted.camera_to_world[:, 2]
            seen = origin + directions * (depth / along)[:, None]
            assert (seen >= dataset.aabb[0] - 1e-4).all() and (seen <= dataset.aabb[1] + 1e-4).all()
    assert any("poses_bounds" in text for text in dataset.assumptions)


def test_llff_smaller_copies_scale_the_focal_length(tmp_path):
    cameras = rig(centred=True)
    write_llff(cameras, tmp_path)
    for path in sorted((tmp_path / "images").iterdir()):
        save(Image.open(path).resize((SIZE[0] // 2, SIZE[1] // 2)), tmp_path / "images_2" / path.name)
        path.unlink()
    view = load_dataset(tmp_path).frames[0].views[3]
    assert (view.camera.width, view.camera.fx) == (SIZE[0] // 2, pytest.approx(cameras[3].fx / 2))
    assert view.image.parent.name == "images_2"


def test_boxes_and_what_is_assumed(tmp_path):
    cameras = rig()
    boxes = {}
    for name in ("COLMAP", "COLMAP text", "DTU, NeuS", "Middlebury"):
        place = tmp_path / name.replace(", ", "_")
        place.mkdir()
        FORMATS[name][0](cameras, place)
        dataset = load_dataset(place)
        boxes[name] = dataset.aabb
        assert any(text.startswith("the box") for text in dataset.assumptions)
        own = load_dataset(place, aabb=BOX)
        assert own.aabb.tolist() == BOX and not any(text.startswith("the box") for text in own.assumptions)
    assert boxes["COLMAP"].tolist() == boxes["COLMAP text"].tolist() == box_of_points(POINTS).tolist()
    assert boxes["DTU, NeuS"].tolist() == BOX
    np.testing.assert_allclose(boxes["Middlebury"], np.array(BOX) * 1.1)


@given(st.integers(0, 2**31), st.floats(0.01, 100))
def test_box_of_points_is_not_moved_by_a_few_strays(seed, scale):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(1000, 3)) * scale
    strays = np.concatenate([points, rng.normal(size=(5, 3)) * scale * 1e4])
    box, with_strays = box_of_points(points), box_of_points(strays)
    assert ((points >= box[0]) & (points <= box[1])).all(1).mean() > 0.93
    np.testing.assert_allclose(with_strays, box, atol=scale)
    assert box_of_points(points[:10]) is None and box_of_points(points * (1, 1, 0)) is None


def test_colmap_masks_and_several_models(tmp_path):
    write_colmap(rig(), tmp_path, binary=True)
    for i in range(9):
        save(Image.new("L", SIZE, 255 * (i % 2)), tmp_path / f"masks/{i:03d}.png.png")
    other = tmp_path / "sparse/1"
    other.mkdir()
    for name in ("cameras", "images"):
        (other / f"{name}.bin").write_bytes((tmp_path / f"sparse/0/{name}.bin").read_bytes())
    dataset = load_dataset(tmp_path)
    assert dataset.has_masks and [v.load()[..., 3].max() for v in dataset.frames[0].views] == [0, 1] * 4 + [0]
    assert any("model 0" in text for text in dataset.assumptions)
    assert len(load_dataset(tmp_path / "sparse/1").frames[0].views) == 9  # pictures are looked for above


@settings(deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 1e3), st.sampled_from([1, -1]))
def test_decomposition_of_any_projection(seed, factor, sign):
    c = rig(seed, 1)[0]
    rotation, translation = world_to_camera(c)
    projection = factor * sign * k_matrix(c, -0.5) @ np.column_stack([rotation, translation])
    k, to_world = decompose(projection, "x", Path("x"))
    np.testing.assert_allclose(k, k_matrix(c), atol=1e-8)
    np.testing.assert_allclose(to_world, c.camera_to_world, atol=1e-8)


# ---- Lenses ------------------------------------------------------------------

PARAMETERS = {
    "SIMPLE_PINHOLE": (), "PINHOLE": (), "SIMPLE_RADIAL": (-0.1,), "RADIAL": (0.1, -0.02),
    "OPENCV": (-0.1, 0.02, 1e-3, -2e-3),
    "OPENCV_FISHEYE": (0.02, -0.01, 1e-3, 1e-4), "FULL_OPENCV": (0.2, 0.05, 1e-3, 2e-3, 0.01, 0.1, 0.02, 1e-3),
    "FOV": (0.6,), "SIMPLE_RADIAL_FISHEYE": (-0.03,), "RADIAL_FISHEYE": (0.03, -0.01),
    "THIN_PRISM_FISHEYE": (0.02, -0.01, 1e-3, -2e-3, 1e-3, 1e-4, 2e-3, -1e-3),
    "RAD_TAN_THIN_PRISM_FISHEYE": (0.02, -0.01, 1e-3, 1e-4, 1e-5, 1e-6, 1e-3, -1e-3, 1e-3, 1e-4, -1e-3, 1e-4),
    "SIMPLE_DIVISION": (-0.1,), "DIVISION": (0.08,), "SIMPLE_FISHEYE": (), "FISHEYE": (), "EUCM": (0.5, 1.1),
}


# Where COLMAP 4.2 projects (0.3, -0.2, 1) and (-0.45, 0.4, 1) with `lens_of` these models.
PROJECTED = {
    "SIMPLE_PINHOLE": ((72.000000000, 17.000000000), (12.000000000, 65.000000000)),
    "PINHOLE": ((72.000000000, 15.400000000), (12.000000000, 68.200000000)),
    "SIMPLE_RADIAL": ((71.688000000, 17.208000000), (13.305000000, 63.840000000)),
    "RADIAL": ((72.303888000, 16.797408000), (10.789612500, 66.075900000)),
    "OPENCV": ((71.636912000, 15.662451200), (13.058787500, 67.139930000)),
    "OPENCV_FISHEYE": ((71.086179428, 16.070135086), (15.432242063, 64.844029983)),
    "FULL_OPENCV": ((72.360368770, 15.162422902), (10.686438006, 69.572982839)),
    "FOV": ((72.348280688, 15.144594162), (12.466321533, 67.744041167)),
    "SIMPLE_RADIAL_FISHEYE": ((70.951526471, 17.698982353), (15.881005337, 61.550217478)),
    "RADIAL_FISHEYE": ((71.113722596, 17.590851603), (15.337912886, 62.032966323)),
    "THIN_PRISM_FISHEYE": ((71.050807569, 16.096074449), (15.356404919, 64.918181857)),
    "RAD_TAN_THIN_PRISM_FISHEYE": ((71.127748541, 16.032806347), (15.530499886, 64.743617060)),
    "SIMPLE_DIVISION": ((71.695857597, 17.202761602), (13.218176465, 63.917176475)),
    "DIVISION": ((72.254930721, 15.213050804), (10.890667376, 69.284680788)),
    "SIMPLE_FISHEYE": ((71.034276056, 17.643815963), (15.595482438, 61.804015611)),
    "FISHEYE": ((71.034276056, 16.108197559), (15.595482438, 64.684417172)),
    "EUCM": ((71.198360013, 15.987869324), (15.013144973, 65.253813804)),
}


def lens_of(model: str, width=90, height=70, f=80.0) -> Lens:
    fy = f if MODELS[model][1] == 1 else f * 1.1
    return Lens(model, width, height, f, fy, width / 2 + 3, height / 2 - 2, PARAMETERS[model])


def undistorted_directions(lens: Lens) -> tuple[np.ndarray, np.ndarray]:
    """x, y of every pixel of the lens's picture: Newton's method on `distort`, with differences."""
    v, u = np.mgrid[:lens.height, :lens.width] + 0.5
    goal = np.stack([(u - lens.cx) / lens.fx, (v - lens.cy) / lens.fy])
    p, h = goal.copy(), 1e-6
    f = lambda q: np.stack(distort(lens.model, lens.parameters, *q))
    for _ in range(30):
        error = f(p) - goal
        dx, dy = (f(p + [[[h]], [[0]]]) - f(p)) / h, (f(p + [[[0]], [[h]]]) - f(p)) / h
        determinant = dx[0] * dy[1] - dx[1] * dy[0]
        p = p - np.stack([dy[1] * error[0] - dy[0] * error[1], dx[0] * error[1] - dx[1] * error[0]]) / determinant
    assert np.abs(f(p) - goal).max() < 1e-7
    return p[0], p[1]


def painted(x, y) -> np.ndarray:
    """Smooth colours of directions."""
    return np.stack([np.sin(3 * x + 1), np.cos(4 * y), np.sin(2 * (x + y))], -1) * 0.4 + 0.5


def test_every_model_has_parameters_here():
    assert PARAMETERS.keys() == MODELS.keys()
    assert all(len(PARAMETERS[name]) == extra for name, (_, _, extra) in MODELS.items())
    assert sorted(number for number, _, _ in MODELS.values()) == list(range(17))


@pytest.mark.parametrize("model", MODELS)
def test_models_are_colmaps(model):
    u, v = lens_of(model).project(np.array([0.3, -0.45]), np.array([-0.2, 0.4]))
    np.testing.assert_allclose(np.stack([u, v], -1), PROJECTED[model], atol=1e-8)


@pytest.mark.parametrize("model", MODELS)
def test_undistorted_picture_is_the_pinhole_cameras(model):
    """A picture painted through the lens, resampled, is the one painted through the pinhole camera."""
    lens = lens_of(model)
    rgba = np.ones((lens.height, lens.width, 4), np.float32)
    rgba[..., :3] = painted(*undistorted_directions(lens))
    camera = lens.undistorted(np.eye(4)[:3], "x", Path("x"))
    assert (camera.fx, camera.fy) == (lens.fx, lens.fy)
    v, u = np.mgrid[:camera.height, :camera.width] + 0.5
    x, y = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
    shown = lens.resample(rgba, camera)
    error = np.abs(shown[..., :3] - painted(x, y))
    assert error[1:-1, 1:-1].max() < 4e-3 and (shown[..., 3] == 1).all()
    assert camera.width * camera.height > 0.7 * lens.width * lens.height
    source = lens.project(x, y)  # every pixel comes from within the picture
    assert source[0].min() >= 0 and source[0].max() <= lens.width
    assert source[1].min() >= 0 and source[1].max() <= lens.height
    if model in ("SIMPLE_PINHOLE", "PINHOLE"):
        np.testing.assert_allclose(shown, rgba, atol=1e-7)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(sorted(MODELS)), st.lists(st.floats(-3, 3), min_size=12, max_size=12))
def test_any_parameters_undistort_or_are_refused(model, values):
    lens = Lens(model, 64, 48, 60.0, 60.0, 32.0, 24.0, tuple(values[:MODELS[model][2]]))
    try:
        camera, needed = checks.lens_camera(lens, np.eye(4)[:3], "x", Path("x"))
    except DatasetError as error:
        assert error.code == "D11"
        return
    assert 1 <= camera.width <= 2 * 64 and 1 <= camera.height <= 2 * 48
    if needed is None:
        assert not any(lens.parameters)
        return
    picture = lens.resample(np.ones((48, 64, 4), np.float32), camera)
    assert picture.shape == (camera.height, camera.width, 4) and np.isfinite(picture).all() and picture.min() > 0.999


def premultiplied(rgba: np.ndarray) -> np.ndarray:
    return np.concatenate([rgba[..., :3] * rgba[..., 3:], rgba[..., 3:]], -1).astype(np.float32)


def test_transparent_colour_does_not_bleed_through_a_lens():
    lens = lens_of("SIMPLE_RADIAL")
    rgba = np.zeros((lens.height, lens.width, 4), np.float32)
    rgba[:, :40] = 0.25, 0.5, 0.75, 1
    rgba[:, 40:] = 1, 0, 0, 0
    shown = straight(lens.resample(premultiplied(rgba), lens.undistorted(np.eye(4)[:3], "x", Path("x"))))
    visible = shown[..., 3] > 0
    np.testing.assert_allclose(shown[visible][:, :3], np.tile([0.25, 0.5, 0.75], (visible.sum(), 1)), atol=1e-6)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("model", MODELS)
def test_colmap_lenses(tmp_path, model, binary):
    """Every model is read in both encodings, and a view loads at its camera's size."""
    cameras = rig(count=9)
    lens = lens_of(model, *SIZE, f=20.0)
    write_colmap(cameras, tmp_path, binary=binary, lenses=[lens] * 9)
    view = load_dataset(tmp_path).frames[0].views[2]
    if model in ("SIMPLE_PINHOLE", "PINHOLE"):
        assert view.lens is None
    else:
        assert view.lens == lens
        assert view.camera.width == lens.undistorted(np.eye(4)[:3], "x", Path("x")).width
    assert view.load().shape == (view.camera.height, view.camera.width, 4)
    assert view.load(2).shape == (view.camera.scaled(0.5).height, view.camera.scaled(0.5).width, 4)


def test_lens_of_a_transforms_file(tmp_path):
    """OpenCV's parameters mean the same as in COLMAP; a mask goes the way of its picture."""
    write_transforms(rig(), tmp_path)
    path = tmp_path / "transforms.json"
    content = json.loads(path.read_text())
    save(Image.new("L", SIZE, 128), tmp_path / "mask.png")
    for entry in content["frames"]:
        entry["mask_path"] = "mask.png"
    for keys, model, parameters in (
            ({"camera_model": "OPENCV", "k1": -0.1, "k2": 0.02, "p1": 1e-3, "p2": -2e-3}, "OPENCV",
             (-0.1, 0.02, 1e-3, -2e-3)),
            ({"k1": 0.1, "k3": 0.01}, "FULL_OPENCV", (0.1, 0, 0, 0, 0.01, 0, 0, 0)),
            ({"camera_model": "FULL_OPENCV", "k4": 0.1}, "FULL_OPENCV", (0, 0, 0, 0, 0, 0.1, 0, 0)),
            ({"camera_model": "OPENCV_FISHEYE", "k1": 0.02, "k4": 1e-3}, "OPENCV_FISHEYE", (0.02, 0, 0, 1e-3)),
            ({"is_fisheye": True, "k2": 0.02}, "OPENCV_FISHEYE", (0, 0.02, 0, 0))):
        path.write_text(json.dumps(content | keys))
        view = load_dataset(tmp_path).frames[0].views[4]
        entry = content["frames"][4]
        wanted = Lens(model, *SIZE, entry["fl_x"], entry["fl_y"], entry["cx"], entry["cy"], parameters)
        camera = wanted.undistorted(view.camera.camera_to_world, "", path)
        assert (view.camera.width, view.camera.height) == (camera.width, camera.height) != (0, 0)
        plain = np.concatenate([np.asarray(picture_of(4)) / 255, np.full((*SIZE[::-1], 1), 128 / 255)], -1)
        np.testing.assert_allclose(view.load(), straight(wanted.resample(premultiplied(plain), camera)), atol=1e-5)


# ---- Videos ------------------------------------------------------------------


def write_video(path: Path, pictures, codec="ffv1", pix_fmt="bgr0", options=None, rate=25) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate), options=options or {})
        pictures = [np.asarray(p) for p in pictures]
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def write_videos(cameras, root: Path, frames=5, first=(0, 0, 2), **keys) -> None:
    """Videos beside one transforms.json; camera i's starts at frame first[i % 3]."""
    entries = []
    for i, c in enumerate(cameras):
        start = first[i % 3]
        write_video(root / f"cam{i}.mkv", [picture_of(i, start + n) for n in range(frames)])
        write_video(root / f"mask{i}.mkv", [Image.new("RGB", SIZE, (50 * n, 9, 9)) for n in range(frames)])
        entries.append({"file_path": f"cam{i}.mkv", "mask_path": f"mask{i}.mkv", "frame": start,
                        "transform_matrix": pose4(c), "fl_x": c.fx, "fl_y": c.fy, "cx": c.cx, "cy": c.cy})
    (root / "transforms.json").write_text(json.dumps({"frames": entries, "aabb": BOX, **keys}))


def test_rig_of_videos(tmp_path):
    """Frames that all videos show, at their offsets, whatever the order they are asked for in."""
    cameras = rig(count=3)
    write_videos(cameras, tmp_path)
    dataset = load_dataset(tmp_path)
    assert [frame.number for frame in dataset.frames] == [2, 3, 4]
    assert dataset.frame_rate == 25 and dataset.frames[1].time == 3 / 25 and dataset.has_masks
    assert any("which all videos show" in text for text in dataset.assumptions)
    for frame in (*dataset.frames[::-1], *dataset.frames):
        for i, view in enumerate(frame.views):
            assert_same(view.camera, cameras[i])
            rgba = np.round(view.load() * 255)
            np.testing.assert_array_equal(rgba[..., :3], np.asarray(picture_of(i, frame.number)))
            assert (rgba[..., 3] == 50 * (frame.number - (0, 0, 2)[i])).all()
    assert [f.number for f in load_dataset(tmp_path, frames=range(3, 5)).frames] == [3, 4]
    assert load_dataset(tmp_path, frames=slice(-1, None)).frames[0].number == 4


def test_any_picture_of_a_compressed_video(tmp_path):
    """B-frames and long groups: every position gives its own picture, in any order."""
    grey = lambda n: Image.new("RGB", (64, 48), (8 * n, 8 * n, 8 * n))
    write_video(tmp_path / "v.mp4", [grey(n) for n in range(30)], "libx264", "yuv444p",
                {"g": "12", "bf": "3", "crf": "10", "x264-params": "open-gop=1"})
    from refcodec.datasets.videos import read_picture, video_header

    header = video_header(tmp_path / "v.mp4")
    assert (header.width, header.height, header.frames, header.frame_rate) == (64, 48, 30, 25)
    for n in (29, 0, 13, 12, 11, 14, 28, 1, *range(30)):
        assert abs(read_picture(tmp_path / "v.mp4", n, "RGB").mean() - 8 * n) < 4
    with pytest.raises(DatasetError, match="D05"):
        read_picture(tmp_path / "v.mp4", 30, "RGB")


def test_published_rerf_and_videos_of_llff(tmp_path):
    cameras = rig(count=4)
    write_nhr_calibration(cameras, tmp_path / "rerf")
    for i in (0, 1, 3):
        write_video(tmp_path / f"rerf/image/{i:03d}.mkv", [picture_of(i, n) for n in range(3)])
        write_video(tmp_path / f"rerf/mask/{i:03d}.mkv", [Image.new("RGB", SIZE, (255, 0, 0))] * 3)
    dataset = load_dataset(tmp_path / "rerf", frames=range(1, 3))
    assert [view.camera_index for view in dataset.frames[0].views] == [0, 1, 3] and dataset.has_masks
    assert any("left out: 2" in text for text in dataset.assumptions)
    for view in dataset.frames[1].views:
        assert_same(view.camera, cameras[view.camera_index])
        np.testing.assert_array_equal(np.round(view.load()[..., :3] * 255),
                                      np.asarray(picture_of(view.camera_index, 2)))

    centred = rig(count=4, centred=True)
    write_llff(centred, tmp_path)
    for i in range(4):
        write_video(tmp_path / f"cam{i:02d}.mkv", [picture_of(i, n) for n in range(2)])
    dataset = load_dataset(tmp_path)
    assert dataset.layout == "LLFF" and len(dataset.frames) == 2
    for i, view in enumerate(dataset.frames[1].views):
        assert_same(view.camera, centred[i])
        np.testing.assert_array_equal(np.round(view.load()[..., :3] * 255), np.asarray(picture_of(i, 1)))


# ---- Broken calibrations -----------------------------------------------------


def code_of(root: Path, **options) -> str:
    with pytest.raises(DatasetError) as caught:
        load_dataset(root, **options)
    assert str(caught.value).count("\n") == 0 and caught.value.path is not None
    return caught.value.code


def replaced(name: str, old: str, new: str):
    def change(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))
    return change


def overwritten(name: str, offset: int, data: bytes):
    def change(root: Path) -> None:
        content = bytearray((root / name).read_bytes())
        content[offset:offset + len(data)] = data
        (root / name).write_bytes(content)
    return change


def cut(name: str, length: int):
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:length])


def gone(name: str):
    return lambda root: (root / name).unlink()


def bounds(change):
    def apply(root: Path) -> None:
        rows = np.load(root / "poses_bounds.npy")
        np.save(root / "poses_bounds.npy", change(rows))
    return apply


def with_cell(row, column, value):
    def change(rows):
        rows[row, column] = value
        return rows
    return bounds(change)


def matrices(**arrays):
    def apply(root: Path) -> None:
        content = dict(np.load(root / "cameras_sphere.npz")) | arrays
        np.savez(root / "cameras_sphere.npz", **{k: v for k, v in content.items() if v is not None})
    return apply


HUGE = struct.pack("<Q", 1 << 60)
BIN, TXT = "sparse/0/{}.bin", "sparse/0/{}.txt"
BROKEN = {
    "COLMAP": {
        "count of cameras": ("D02", overwritten(BIN.format("cameras"), 0, HUGE)),
        "count of pictures": ("D02", overwritten(BIN.format("images"), 0, HUGE)),
        "count of a picture's points": ("D02", overwritten(BIN.format("images"), 8 + 64 + 8, HUGE)),
        "count of points": ("D02", overwritten(BIN.format("points3D"), 0, HUGE)),
        "count of a track": ("D02", overwritten(BIN.format("points3D"), 8 + 43, HUGE)),
        "cameras cut": ("D02", cut(BIN.format("cameras"), 60)),
        "pictures cut": ("D02", cut(BIN.format("images"), 100)),
        "more than was announced": ("D02", overwritten(BIN.format("cameras"), 0, struct.pack("<Q", 3))),
        "name without end": ("D02", lambda root: (root / BIN.format("images")).write_bytes(
            struct.pack("<QI7dI", 1, 0, 1, 0, 0, 0, 0, 0, 0, 10) + b"x" * 30)),
        "name not UTF-8": ("D02", overwritten(BIN.format("images"), 8 + 64, b"\xff")),
        "unknown model": ("D11", overwritten(BIN.format("cameras"), 12, struct.pack("<i", 99))),
        "focal length NaN": ("D09", overwritten(BIN.format("cameras"), 32, struct.pack("<d", math.nan))),
        "zero quaternion": ("D06", overwritten(BIN.format("images"), 12, bytes(32))),
        "position NaN": ("D06", overwritten(BIN.format("images"), 44, struct.pack("<d", math.nan))),
        "camera that is not there": ("D02", overwritten(BIN.format("images"), 68, struct.pack("<I", 7))),
        "picture of another size": ("D07", lambda root: save(Image.new("RGB", (5, 5)), root / "images/003.png")),
        "pictures gone": ("D04", lambda root: [(root / f"images/00{i}.png").unlink() for i in range(5)]),
        "no pictures": ("D08", lambda root: (root / BIN.format("images")).write_bytes(bytes(8))),
        "no frame 3": ("D10", None),
    },
    "COLMAP text": {
        "width is text": ("D02", replaced(TXT.format("cameras"), "PINHOLE 16", "PINHOLE wide")),
        "parameter missing": ("D02", replaced(TXT.format("cameras"), "PINHOLE", "OPENCV")),
        "unknown model": ("D11", replaced(TXT.format("cameras"), "PINHOLE", "WIDE")),
        "whole panorama": ("D11", replaced(TXT.format("cameras"), "PINHOLE", "EQUIRECTANGULAR")),
        "text for a number": ("D02", replaced(TXT.format("images"), " 10 000.png", " x 000.png")),
        "line cut": ("D02", lambda root: (root / TXT.format("images")).write_text("1 1 0 0\n")),
        "not a text": ("D02", lambda root: (root / TXT.format("cameras")).write_bytes(b"\xff\xfe\xff")),
        "points cut": ("D02", lambda root: (root / TXT.format("points3D")).write_text("1 2\n")),
    },
    "LLFF": {
        "not an array": ("D02", lambda root: (root / "poses_bounds.npy").write_bytes(b"hello")),
        "array cut": ("D02", cut("poses_bounds.npy", 300)),
        "another shape": ("D02", bounds(lambda rows: rows[:, :15])),
        "shape larger than the file": ("D02", lambda root: (root / "poses_bounds.npy").write_bytes(
            (root / "poses_bounds.npy").read_bytes().replace(b"(9, 17), }" + b" " * 8, b"(900000000, 17), }"))),
        "no rows": ("D08", bounds(lambda rows: rows[:0])),
        "picture missing": ("D10", gone("images/003.png")),
        "far before near": ("D13", with_cell(2, 15, 99)),
        "near is NaN": ("D13", with_cell(2, 15, math.nan)),
        "focal length zero": ("D09", with_cell(2, 14, 0)),
        "pose NaN": ("D06", with_cell(2, 0, math.nan)),
        "pose singular": ("D06", bounds(lambda rows: np.concatenate([rows[:, :1] * 0, rows[:, 1:]], 1))),
        "proportions": ("D07", lambda root: save(Image.new("RGB", (12, 40)), root / "images/002.png")),
    },
    "DTU, NeuS": {
        "not an archive": ("D02", lambda root: (root / "cameras_sphere.npz").write_bytes(b"PK\3\4 hello")),
        "archive cut": ("D02", cut("cameras_sphere.npz", 500)),
        "no matrices": ("D02", matrices(world_mat_0=None)),
        "another shape": ("D02", matrices(world_mat_2=np.eye(2))),
        "pickled": ("D02", matrices(world_mat_2=np.array([[None] * 4] * 4))),
        "singular": ("D06", matrices(world_mat_2=np.zeros((4, 4)))),
        "NaN": ("D06", matrices(world_mat_2=np.full((4, 4), math.nan))),
        "scenes differ": ("D06", matrices(scale_mat_2=np.eye(4))),
        "picture gone": ("D10", gone("image/004.png")),
        "masks for some": ("D10", lambda root: save(Image.new("L", SIZE), root / "mask/000.png")),
        "calibration of another size": ("D07", lambda root: [
            save(Image.new("RGB", (4, 3)), path) for path in sorted((root / "image").iterdir())]),
    },
    "Middlebury": {
        "count": ("D02", replaced("x_par.txt", "9\n", "8\n")),
        "text for a number": ("D02", replaced("x_par.txt", "x003.png ", "x003.png a")),
        "number too many": ("D02", replaced("x_par.txt", "x003.png ", "x003.png 1 ")),
        "empty": ("D02", lambda root: (root / "x_par.txt").write_text("")),
        "pictures gone": ("D04", lambda root: [(root / f"x00{i}.png").unlink() for i in range(5)]),
        "rotation": ("D06", lambda root: (root / "x_par.txt").write_text(re.sub(
            r"^(x004.png(?: \S+){9}) \S+", r"\1 5", (root / "x_par.txt").read_text(), flags=re.M))),
    },
    "ReRF, NHR": {
        "poses cut": ("D02", lambda root: (root / "CamPose.inf").write_text("1 2 3\n")),
        "poses no numbers": ("D02", lambda root: (root / "CamPose.inf").write_text("x " * 12)),
        "intrinsics gone": ("D02", gone("Intrinsic.inf")),
        "intrinsics cut": ("D02", lambda root: (root / "Intrinsic.inf").write_text("0\n1 0 0.5\n0 1 0.5\n")),
        "intrinsics for fewer": ("D02", lambda root: (root / "Intrinsic.inf").write_text(
            "0\n20 0 8.0\n0 20 6.0\n0 0 1.0\n")),
        "pictures gone": ("D04", lambda root: (root / "img").rename(root / "other")),
        "no frames": ("D10", lambda root: [p.rename(p.with_name("a" * i)) for i, p in enumerate(
            sorted((root / "img").iterdir()), 1)]),
        "camera without a pose": ("D02", lambda root: save(Image.new("RGB", SIZE), root / "img/0/img_0050.png")),
        "mask gone": ("D04", gone("mask/1/img_0003.png")),
        "rotation": ("D06", lambda root: (root / "CamPose.inf").write_text(
            "\n".join(" ".join(["1"] * 12) for _ in range(9)))),
    },
}
WRITERS = {name: write for name, (write, _) in FORMATS.items()} | {
    "LLFF": lambda cameras, root: write_llff(rig(centred=True), root)}


@pytest.mark.parametrize("name, case", [(name, case) for name, cases in BROKEN.items() for case in cases])
def test_broken_calibration(tmp_path, name, case):
    code, break_it = BROKEN[name][case]
    WRITERS[name](rig(), tmp_path)
    load_dataset(tmp_path)  # sound before
    if break_it is None:
        assert code_of(tmp_path, frames=range(3, 4)) == code
        return
    break_it(tmp_path)
    assert code_of(tmp_path) == code


def test_broken_videos(tmp_path, monkeypatch):
    write_videos(rig(count=3), tmp_path, frames=3, first=(0, 0, 0))
    path = tmp_path / "transforms.json"
    content = json.loads(path.read_text())

    def with_entry(**values):
        entries = [dict(entry) for entry in content["frames"]]
        entries[1].update(values)
        path.write_text(json.dumps(content | {"frames": entries}))
        return tmp_path

    assert code_of(with_entry(file_path="nowhere.mp4")) == "D04"
    assert code_of(with_entry(frame=-1)) == "D10"
    assert code_of(with_entry(frame=3)) == "D10"  # no frame in common
    assert code_of(with_entry(camera=0)) == "D10"
    assert code_of(with_entry(w=99, h=99)) == "D07"
    assert code_of(with_entry(mask_path="nowhere.mkv")) == "D04"
    save(picture_of(1), tmp_path / "still.png")
    assert code_of(with_entry(file_path="still.png")) == "D10"
    save(Image.new("L", SIZE, 7), tmp_path / "mask.png")
    assert load_dataset(with_entry(mask_path="mask.png")).frames[2].views[1].load()[..., 3].max() == np.float32(7 / 255)
    (tmp_path / "text.mp4").write_text("no video")
    assert code_of(with_entry(file_path="text.mp4")) == "D05"
    write_video(tmp_path / "fast.mkv", [picture_of(1, n) for n in range(3)], rate=50)
    assert code_of(with_entry(file_path="fast.mkv")) == "D14"
    data = (tmp_path / "cam1.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[:len(data) // 3])
    assert code_of(with_entry(file_path="cut.mkv")) in ("D05", "D10")
    with_entry()
    load_dataset(tmp_path)
    from refcodec.datasets import videos

    monkeypatch.setattr(videos, "_pool", videos._Pool())
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    assert code_of(tmp_path) == "D16"


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sound")
    write_colmap(rig(), root / "colmap", binary=True)
    write_llff(rig(centred=True), root / "llff")
    (root / "idr").mkdir()
    write_idr(rig(), root / "idr")
    return root


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["colmap/sparse/0/cameras.bin", "colmap/sparse/0/images.bin", "colmap/sparse/0/points3D.bin",
                        "llff/poses_bounds.npy", "idr/cameras_sphere.npz"]), st.data())
def test_any_damage_gives_a_dataset_or_one_documented_error(sound, name, data):
    path = sound / name
    content = path.read_bytes()
    damaged = bytearray(content[:data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    for _ in range(data.draw(st.integers(0, 3))):
        if damaged:
            at = data.draw(st.integers(0, len(damaged) - 1))
            patch = data.draw(st.binary(min_size=1, max_size=8))
            damaged[at:at + len(patch)] = patch
    try:
        path.write_bytes(damaged)
        dataset = load_dataset(sound / name.split("/")[0])
    except DatasetError as error:
        assert re.fullmatch(r"D(0[1-9]|1[0-6])", error.code)
    else:
        assert np.isfinite(dataset.aabb).all() and (dataset.aabb[0] < dataset.aabb[1]).all()
    finally:
        path.write_bytes(content)


def test_cameras_that_do_not_see_the_box(tmp_path):
    write_transforms(rig(), tmp_path)
    assert code_of(tmp_path, aabb=[[0, 0, 90], [1, 1, 91]]) == "D15"
    path = tmp_path / "transforms.json"
    content = json.loads(path.read_text())
    for entry in content["frames"]:
        entry["transform_matrix"] = (np.array(entry["transform_matrix"]) * (1, -1, -1, 1)).tolist()
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="D15.*behind them.*right, up, backwards"):
        load_dataset(tmp_path)
    del content["aabb"]
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="D15.*behind them.*right, up, backwards"):
        load_dataset(tmp_path)


def test_whole_actorshq_sequence_asks_for_a_scale(tmp_path):
    write_actorshq(rig(), tmp_path)
    with pytest.raises(DatasetError, match="D03.*scales, 4x"):
        load_dataset(tmp_path)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=3), st.integers(0, 2**31))
def test_rays_that_hit_the_box(origin, seed):
    """Against samples along the rays."""
    rng, box = np.random.default_rng(seed), np.array([[-1.0, -0.5, -2.0], [1.0, 0.5, 0.25]])
    directions = rng.normal(size=(50, 3))
    points = np.array(origin) + directions[:, None] * np.linspace(0, 40, 800)[:, None]
    inside = ((points > box[0]) & (points < box[1])).all(-1).any(-1)
    hit = checks.hits(np.array(origin), directions, box)
    assert not (inside & ~hit).any()
    assert (hit & ~inside).sum() <= 10  # grazing, between two samples


# ---- Real scenes -------------------------------------------------------------


@needs_scenes
def test_real_scenes():
    temple = load_dataset(SCENES / "temple_sparse_ring")
    assert temple.layout == "Middlebury" and len(temple.frames[0].views) == 16
    # The object is lit on black: what is bright lies in the README's box.
    for view in temple.frames[0].views[:4]:
        y, x = np.nonzero(view.load(4)[..., :3].mean(-1) > 0.35)
        c = view.camera.scaled(1 / 4)
        local = np.stack([(x + 0.5 - c.cx) / c.fx, (c.cy - y - 0.5) / c.fy, -np.ones(len(x))], -1)
        assert checks.hits(c.camera_to_world[:, 3], local @ c.camera_to_world[:, :3].T, temple.aabb).mean() > 0.99
    dtu = load_dataset(SCENES / "dtu_scan24")
    assert dtu.layout == "DTU, NeuS" and len(dtu.frames[0].views) == 49
    assert any("1600x1200" in text for text in dtu.assumptions)
    assert {(round(v.camera.fx), round(v.camera.fy)) for v in dtu.frames[0].views} == {(926, 923)}
