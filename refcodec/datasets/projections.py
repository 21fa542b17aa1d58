"""Readers of scenes calibrated by matrices: DTU as IDR and NeuS have it, Middlebury's multi-view stereo.

Both count pixels from the centre of the top-left one, so that principal points move by
half a pixel here; their cameras' axes are right, down, forward.
"""
from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from refcodec.datasets import checks
from refcodec.datasets.layout import (
    BoxAssumption,
    DatasetLayout,
    Draft,
    FrameDraft,
    FrameSelection,
    pictures_in,
    select_frames,
)
from refcodec.datasets.model import View
from refcodec.errors import DatasetError
from refcodec.rendering.cameras import Camera

_IDR_FILES = ("cameras_sphere.npz", "cameras.npz")
_IDR_PICTURES = ("image", "images", "rgb", "")
# MonoSDF publishes DTU as the middle square of its 1600x1200 pictures, made smaller.
_DTU_SIZE, _DTU_CROP = (1600, 1200), 1200
_MATRIX = re.compile(r"(world|scale)_mat_[0-9]+")
_SINGULAR = 1e-13  # determinant, of a matrix of norm 1; K alone has 1e-7 at long focal lengths
_MAX_SKEW = 0.1  # pixels from one edge of a picture to the other; matrices have rounding errors
_README = "README.txt"
_NUMBER = r"([-+0-9.eE]+)"
_README_BOX = re.compile(r"bounding box[^()]*\(\s*" + r"\s+".join([_NUMBER] * 3) + r"\s*\)\s*\(\s*"
                         + r"\s+".join([_NUMBER] * 3) + r"\s*\)")
_README_MARGIN = 0.05  # the README calls its box tight


def find_idr(root: Path) -> Path | None:
    return next((root / name for name in _IDR_FILES if (root / name).is_file()), None)


def read_idr(root: Path, path: Path, selection: FrameSelection) -> Draft:
    """world_mat_i projects, scale_mat_i takes the unit sphere to the world; the scene is that sphere's box.

    Raises DatasetError D02, D08, D10; errors of single views are collected.
    """
    arrays = _arrays(path)
    count = next(i for i in range(len(arrays) + 1) if f"world_mat_{i}" not in arrays)
    if not count:
        raise DatasetError("D02", "there is no `world_mat_0`", path)
    scale = checks.array(arrays.get("scale_mat_0", np.eye(4)), ((4, 4),), "`scale_mat_0`", "D02", path)
    pictures = next((p for p in map(pictures_in, (root / name for name in _IDR_PICTURES)) if p), [])
    rgb = [p for p in pictures if p.stem.endswith("_rgb")]  # MonoSDF's, beside depths and normals
    pictures = rgb or pictures
    if len(pictures) != count:
        raise DatasetError("D10", f"{path.name} has {count} cameras, but there are {len(pictures)} pictures: they are "
                           "matched by order, so take out what has no camera or no picture", root)
    masks = pictures_in(root / "mask") or pictures_in(root / "masks")
    if masks and len(masks) != count:
        raise DatasetError("D10", f"there are {count} pictures, but {len(masks)} masks", root)

    select_frames([0], selection, root)
    draft = Draft([], is_sequence=False, aabb=np.array([[-1.0] * 3, [1.0] * 3]))
    draft.assumptions.append(BoxAssumption(f"the box is the one around the unit sphere of {path.name}"))
    views, cropped = [], False
    for index, picture in enumerate(pictures):
        try:
            name = picture.name
            own_scale = arrays.get(f"scale_mat_{index}", scale)
            if not np.allclose(own_scale, scale, rtol=1e-4, atol=1e-6 * np.abs(scale).max()):
                raise DatasetError("D06", f"`scale_mat_{index}` differs from that of the first picture, so that they "
                                   "do not show one scene", path)
            world = checks.array(arrays[f"world_mat_{index}"], ((4, 4), (3, 4)), f"`world_mat_{index}`", "D06", path)
            intrinsics, to_world = decompose(world[:3] @ scale, name, path)
            header = checks.header_of(picture)
            if rgb and header.width == header.height and max(intrinsics[0, 2], intrinsics[1, 2]) > header.width:
                cropped = True
                intrinsics[0, 2] -= (_DTU_SIZE[0] - _DTU_CROP) / 2
                intrinsics[:2] *= header.width / _DTU_CROP
            camera = _camera(intrinsics, to_world, (header.width, header.height), name, path)
            views.append(View(camera, picture, masks[index] if masks else None, "train", index))
        except DatasetError as error:
            draft.problems.add(error)
    if cropped:
        draft.assumptions.append(f"the pictures are the middle {_DTU_CROP}x{_DTU_CROP} of "
                                 f"{_DTU_SIZE[0]}x{_DTU_SIZE[1]}, made smaller, as MonoSDF has them")
    draft.frames.append(FrameDraft(0, 0.0, views))
    return draft


def find_middlebury(root: Path) -> Path | None:
    return next(iter(sorted(root.glob("*_par.txt"))), None) if root.is_dir() else None


def read_middlebury(root: Path, path: Path, selection: FrameSelection) -> Draft:
    """A line a picture: its name, K, R and t of the projection K [R | t].

    The box is that of README.txt, if there is one. Raises DatasetError D02; errors of
    single views are collected.
    """
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DatasetError("D02", f"can't read the file: {error}", path) from error
    if not lines or len(lines[0]) != 1 or lines[0][0] != str(len(lines) - 1) or len(lines) < 2:
        raise DatasetError("D02", "the first line must be the number of the lines that follow", path)
    select_frames([0], selection, root)
    draft = Draft([], is_sequence=False, aabb=_readme_box(root / _README))
    if draft.aabb is not None:
        draft.assumptions.append(BoxAssumption(
            f"the box is the one of {_README}, with {_README_MARGIN:.0%} more to each side"))
    views = []
    for index, (name, *words) in enumerate(lines[1:]):
        try:
            try:
                values = np.array([float(word) for word in words])
            except ValueError:
                values = np.empty(0)
            if len(values) != 21:
                raise DatasetError("D02", f"line {index + 2} must have a name and 21 numbers", path)
            k, rotation, translation = values[:9].reshape(3, 3), values[9:18].reshape(3, 3), values[18:]
            to_world = np.column_stack([rotation.T * (1, -1, -1), -rotation.T @ translation])
            header = checks.header_of(root / name)
            camera = _camera(k + [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]], checks.pose(to_world, name, path),
                             (header.width, header.height), name, path)
            views.append(View(camera, root / name, None, "train", index))
        except DatasetError as error:
            draft.problems.add(error)
    draft.frames.append(FrameDraft(0, 0.0, views))
    return draft


def decompose(projection: np.ndarray, name: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """K (3, 3), principal point from the top-left pixel's corner, and camera-to-world (3, 4) of a (3, 4) projection.

    Raises DatasetError D06 where there is no such camera.
    """
    square = projection[:, :3]
    if not np.isfinite(projection).all() or abs(np.linalg.det(square)) <= _SINGULAR * np.linalg.norm(square) ** 3:
        raise DatasetError("D06", f"the projection of {name} is singular or not finite", path)
    projection = projection * np.sign(np.linalg.det(square))
    square = projection[:, :3]
    # RQ by QR of the matrix turned over: square = upper @ rotation.
    q, r = np.linalg.qr(square[::-1].T)
    upper, rotation = r.T[::-1, ::-1], q.T[::-1]
    signs = np.sign(np.diag(upper))
    upper, rotation = upper * signs, rotation * signs[:, None]
    intrinsics = upper / upper[2, 2]
    intrinsics[:2, 2] += 0.5
    to_world = np.column_stack([rotation.T * (1, -1, -1), -np.linalg.solve(square, projection[:, 3])])
    return intrinsics, checks.pose(to_world, name, path)


def _camera(k: np.ndarray, to_world: np.ndarray, size: tuple[int, int], name: str, path: Path) -> Camera:
    camera = checks.camera(*size, float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2]), to_world, name, path)
    if abs(k[0, 1]) * size[1] / camera.fy > _MAX_SKEW:
        raise DatasetError("D09", f"the intrinsics of {name} are skewed", path)
    if not (0 <= camera.cx <= size[0] and 0 <= camera.cy <= size[1]):
        raise DatasetError("D07", f"the picture is {size[0]}x{size[1]}, but the principal point is at "
                           f"({camera.cx:.0f}, {camera.cy:.0f}): the calibration is for another size",
                           path.parent / name)
    return camera


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The matrices of an .npz file; shapes are looked at before anything is read."""
    arrays = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for name in filter(_MATRIX.fullmatch, file.files):
                with file.zip.open(f"{name}.npy") as member:
                    if np.lib.format.read_magic(member) != (1, 0):
                        raise ValueError(f"{name} is of another version of the format")
                    shape, *_ = np.lib.format.read_array_header_1_0(member)
                if shape not in ((4, 4), (3, 4)):
                    raise ValueError(f"{name} is not a 4x4 matrix")
                arrays[name] = file[name]
    except Exception as error:  # zipfile, zlib and numpy have their own kinds for damaged archives
        raise DatasetError("D02", f"can't read the file: {error}", path) from error
    return arrays


def _readme_box(path: Path) -> np.ndarray | None:
    try:
        match = _README_BOX.search(path.read_text(errors="replace"))
    except OSError:
        return None
    if not match:
        return None
    try:
        box = checks.box([float(value) for value in match.groups()], path)
    except (ValueError, DatasetError):
        return None
    margin = _README_MARGIN * (box[1] - box[0])
    return np.stack([box[0] - margin, box[1] + margin])


DTU = DatasetLayout(
    "DTU, NeuS",
    (("DTU, as IDR and NeuS have it", "`cameras_sphere.npz` or `cameras.npz` with `image/` (or `images/`, `rgb/`, or "
      "beside), `mask/`. `*_rgb.png` for which the matrices are too large are taken as MonoSDF's squares out of "
      "1600×1200"),),
    find_idr, read_idr, lambda root: None, "right, down, forward", "the centre of the top-left pixel",
    "the one in which `scale_mat` makes the object fit the unit sphere")
MIDDLEBURY = DatasetLayout(
    "Middlebury", (("Middlebury", "`*_par.txt` and pictures beside it; the box of `README.txt`"),),
    find_middlebury, read_middlebury, lambda root: None, "right, down, forward", "the centre (its README does not say)",
    "as it is")
