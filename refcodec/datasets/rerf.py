"""Reader of ReRF and TeTriRF scenes: one cams_<frame>.json a frame.

Each lists its pictures with a mask, a 4x4 camera-to-world matrix (axes right, down,
forward) and a 3x3 matrix of intrinsics in pixels. The scenes are published as videos;
their authors' data_util.py turns them into this form.
"""
from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from refcodec.datasets import checks
from refcodec.datasets.layout import Draft, FrameDraft, FrameSelection, last_number, numbered, select_frames
from refcodec.datasets.model import View
from refcodec.errors import DatasetError


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
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError("D02", f"not valid JSON: {error}", path) from error
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
    intrinsic = checks.array(item.get("intrinsic"), ((3, 3),), f"the intrinsics of {name}", "D09", path)
    if abs(intrinsic[0, 1]) > 1e-6 * abs(intrinsic[0, 0]):
        raise DatasetError("D09", f"the intrinsics of {name} are skewed", path)
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
