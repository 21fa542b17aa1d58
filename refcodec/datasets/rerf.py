"""Readers of ReRF and TeTriRF scenes, as published and as prepared.

Published, as NHR before it: CamPose.inf, Intrinsic.inf and a video a camera, or a folder
of pictures a frame. Prepared by ReRF's data_util.py: one cams_<frame>.json a frame,
which lists its pictures with a mask, a 4x4 camera-to-world matrix and a 3x3 matrix of
intrinsics in pixels. Camera axes are right, down, forward in both.
"""
from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from refcodec.datasets import checks
from refcodec.datasets.jsonfile import read_json, read_text
from refcodec.datasets.layout import (
    DatasetLayout,
    Draft,
    FrameDraft,
    FrameSelection,
    last_number,
    numbered,
    pictures_in,
    select_frames,
)
from refcodec.datasets.model import ImageHeader, View
from refcodec.datasets.shots import Shot, read_shots
from refcodec.datasets.videos import is_video
from refcodec.errors import DatasetError

_POSES, _INTRINSICS = "CamPose.inf", "Intrinsic.inf"
_NUMBER_LINE = 5  # characters: as ReRF's own reader tells a camera's number from its matrix
_PICTURES, _MASKS = ("image", "img", "images"), ("mask", "masks")


def is_rerf(root: Path) -> bool:
    return any(root.glob("cams_*.json"))


def read_rerf(root: Path, selection: FrameSelection) -> Draft:
    """The chosen frames. Raises DatasetError D02, D10; errors of single views are collected."""
    files = numbered(root.glob("cams_*.json"), root)
    if not files:
        raise DatasetError("D10", "no cams_<frame>.json carries a frame number", root)
    draft = Draft([], is_sequence=True)
    for number in select_frames(files, selection, root):
        views = []
        for order, item in enumerate(_items(files[number])):
            try:
                views.append(_view(root, files[number], item, order))
            except DatasetError as error:
                draft.problems.add(error)
        draft.frames.append(FrameDraft(number, float(number), views))
    return draft


def _items(path: Path) -> list[dict[str, Any]]:
    content = read_json(path)
    items = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(items, list) or not all(
            isinstance(item, dict) and isinstance(item.get("file"), str) for item in items):
        raise DatasetError("D02", "it needs a `frames` list of objects with a `file`", path)
    return sorted(items, key=lambda item: item["file"])


def _view(root: Path, path: Path, item: dict[str, Any], order: int) -> View:
    name = item["file"]
    image = _locate(root, name)
    header = checks.header_of(image)
    matrix = checks.pose(item.get("extrinsic"), name, path)
    matrix[:, 1:3] *= -1  # down, forward -> up, backwards
    intrinsic = _intrinsics(item.get("intrinsic"), name, path)
    index = last_number(PurePosixPath(name).stem)
    index = order if index is None else index
    camera = checks.camera(header.width, header.height, float(intrinsic[0, 0]), float(intrinsic[1, 1]),
                           float(intrinsic[0, 2]), float(intrinsic[1, 2]), np.ascontiguousarray(matrix),
                           f"camera {index}", path)
    mask = item.get("mask")
    return View(camera, image, _locate(root, mask) if isinstance(mask, str) else None, "train", index)


def _locate(root: Path, name: str) -> Path:
    """A file named relative to the scene, or by the path it had where the scene was prepared."""
    tail = PurePosixPath(name).parts[-3:]  # image/<frame>/img_<camera>.png
    for candidate in (root / name, root.joinpath(*tail)):
        if os.path.isfile(candidate):
            return candidate
    return root.joinpath(*tail)


# ---- As published ------------------------------------------------------------


def is_nhr(root: Path) -> bool:
    return (root / _POSES).is_file()


def read_nhr(root: Path, selection: FrameSelection) -> Draft:
    """The chosen frames of a scene as ReRF and NHR publish theirs: videos, or a folder of pictures a frame.

    Cameras without a video are left out, as in data_util.py; its moving and scaling of
    the cameras is not repeated. Raises DatasetError D02, D04, D06, D09, D10.
    """
    poses, intrinsics = _read_poses(root / _POSES), _read_intrinsics(root / _INTRINSICS)
    if len(poses) != len(intrinsics):
        raise DatasetError("D02", f"{_POSES} has {len(poses)} cameras, {_INTRINSICS} {len(intrinsics)}", root)
    folder = next((root / name for name in _PICTURES if (root / name).is_dir()), None)
    if folder is None:
        raise DatasetError("D04", "there is no folder image/", root)
    masks = next((root / name for name in _MASKS if (root / name).is_dir()), None)

    def view(index: int, image: Path, mask: Path | None, header: ImageHeader) -> View:
        name, k = f"camera {index}", _intrinsics(intrinsics[index], f"camera {index}", root / _INTRINSICS)
        camera = checks.camera(header.width, header.height, float(k[0, 0]), float(k[1, 1]), float(k[0, 2]),
                               float(k[1, 2]), checks.pose(poses[index], name, root / _POSES), name, root / _INTRINSICS)
        return View(camera, image, mask, "train", index)

    if any(is_video(path) for path in folder.iterdir()):
        return _nhr_videos(root, folder, masks, len(poses), selection, view)
    frames = numbered((path for path in folder.iterdir() if path.is_dir()), root)
    if not frames:
        raise DatasetError("D10", f"{folder.name}/ holds neither a video a camera nor a folder a frame", root)
    draft, headers = Draft([], is_sequence=True), {}
    for number in select_frames(frames, selection, root):
        views = []
        own_masks = numbered(pictures_in(masks / frames[number].name), root) if masks else {}
        for index, image in sorted(numbered(pictures_in(frames[number]), root).items()):
            try:
                if index >= len(poses):
                    raise _no_pose(index, len(poses), image)
                if index not in headers:  # one rig: the loader compares the others with this
                    headers[index] = checks.header_of(image)
                mask = own_masks.get(index, masks / frames[number].name / image.name) if masks else None
                views.append(view(index, image, mask, headers[index]))
            except DatasetError as error:
                draft.problems.add(error)
        draft.frames.append(FrameDraft(number, float(number), views))
    return draft


def _nhr_videos(root: Path, folder: Path, masks: Path | None, count: int, selection: FrameSelection,
                view: Callable[[int, Path, Path | None, ImageHeader], View]) -> Draft:
    videos = numbered(filter(is_video, folder.iterdir()), root)
    mask_videos = numbered(filter(is_video, masks.iterdir()), root) if masks else {}
    shots, problems = [], []
    for index, video in sorted(videos.items()):
        try:
            if index >= count:
                raise _no_pose(index, count, video)
            mask = mask_videos.get(index, masks / video.name) if masks else None
            made = view(index, video, mask, checks.header_of(video, "video", 0))
            shots.append(Shot(made.camera, video, mask, index))
        except DatasetError as error:
            problems.append(error)
    if problems and not shots:
        raise problems[0]
    draft = read_shots(shots, selection, root)
    draft.problems.errors += problems
    missing = sorted(set(range(count)) - videos.keys())
    if missing:
        draft.assumptions.append(f"cameras without a video are left out: {', '.join(map(str, missing))}")
    return draft


def _no_pose(index: int, count: int, path: Path) -> DatasetError:
    return DatasetError("D02", f"there is no pose for camera {index}, only for 0 to {count - 1}", path)


def _read_poses(path: Path) -> list[np.ndarray]:
    """Camera-to-world matrices (3, 4), OpenGL axes; a line holds the axes z, x, y and the position."""
    rows = [_floats(line, path) for line in _text(path) if line]
    if not rows or any(len(row) != 12 for row in rows):
        raise DatasetError("D02", "every line must have the 12 numbers of a camera", path)
    poses = []
    for row in rows:
        z, x, y, position = np.array(row).reshape(4, 3)
        poses.append(np.column_stack([x, -y, -z, position]))
    return poses


def _read_intrinsics(path: Path) -> list[np.ndarray]:
    """3x3 matrices, in three lines each; the lines between them, with the camera's number or empty, are shorter."""
    lines = iter(_text(path))
    matrices: list[np.ndarray] = []
    for line in lines:
        if len(line) <= _NUMBER_LINE:
            continue
        rows = [_floats(row, path) for row in (line, next(lines, ""), next(lines, ""))]
        if any(len(row) != 3 for row in rows):
            raise DatasetError("D02", f"the matrix of camera {len(matrices)} must be three lines of three numbers",
                               path)
        matrices.append(np.array(rows))
    return matrices


def _text(path: Path) -> list[str]:
    return [line.strip() for line in read_text(path).splitlines()]


def _floats(line: str, path: Path) -> list[float]:
    try:
        return [float(word) for word in line.split()]
    except ValueError as error:
        raise DatasetError("D02", f"{error}", path) from error


def _intrinsics(value: Any, name: str, path: Path) -> np.ndarray:
    matrix = checks.array(value, ((3, 3),), f"the intrinsics of {name}", "D09", path)
    if abs(matrix[0, 1]) > 1e-6 * abs(matrix[0, 0]):
        raise DatasetError("D09", f"the intrinsics of {name} are skewed", path)
    return matrix


def _near_published(root: Path) -> str | None:
    return f"{_INTRINSICS} is there, but no {_POSES}" if (root / _INTRINSICS).is_file() else None


_AXES = ("right, down, forward", "the corner", "as it is; ReRF's moving and scaling of published poses is not repeated")
PREPARED = DatasetLayout(
    "ReRF, prepared",
    (("ReRF, TeTriRF, prepared", "`cams_<frame>.json`, `image/<frame>/img_%04d.png`, `mask/<frame>/img_%04d.png`, as "
      "ReRF's `data_util.py` writes them"),),
    lambda root: root if root.is_dir() and is_rerf(root) else None,
    lambda root, found, selection: read_rerf(root, selection), lambda root: None, *_AXES)
PUBLISHED = DatasetLayout(
    "ReRF, NHR",
    (("ReRF, NHR, as published", "`CamPose.inf`, `Intrinsic.inf`, and either videos, `image/%03d.mp4` and "
      "`mask/%03d.mp4`, or a folder a frame, `image/<frame>/img_%04d.png` (or `img/`) and `mask/…`. Cameras without a "
      "video are left out."),),
    lambda root: root if is_nhr(root) else None, lambda root, found, selection: read_nhr(root, selection),
    _near_published, *_AXES)
