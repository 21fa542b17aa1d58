"""Reader of SDFStudio's scenes: meta_data.json."""
from __future__ import annotations

from pathlib import Path

import numpy as np

from refcodec.datasets import checks
from refcodec.datasets.jsonfile import read_json
from refcodec.datasets.layout import BoxAssumption, DatasetLayout, Draft, FrameDraft, FrameSelection, select_frames
from refcodec.datasets.matrices import from_opencv, intrinsics
from refcodec.datasets.model import View
from refcodec.datasets.naming import Names
from refcodec.errors import DatasetError

_FILE = "meta_data.json"


def find_sdfstudio(root: Path) -> Path | None:
    return root / _FILE if (root / _FILE).is_file() else None


def read_sdfstudio(root: Path, path: Path, selection: FrameSelection) -> Draft:
    """A static scene. Raises DatasetError D02, D09, D13; single views' are collected."""
    content = read_json(path)
    items = content.get("frames") if isinstance(content, dict) else None
    if not (isinstance(items, list) and items and all(isinstance(item, dict) for item in items)):
        raise DatasetError("D02", "it needs `frames`, a list of objects", path)
    model = content.get("camera_model", "OPENCV")
    if model not in ("OPENCV", "PINHOLE"):
        raise DatasetError("D11", f"camera_model {model}: pictures of this kind can't be used here", path)
    width, height = (checks.integer(content.get(key), f"`{key}`", "D09", path) for key in ("width", "height"))
    select_frames([0], selection, root)
    draft = Draft([], is_sequence=False, foreign_poses=True)
    box = content.get("scene_box")
    if isinstance(box, dict) and box.get("aabb") is not None:
        draft.aabb = checks.box(box["aabb"], path)
        if box.get("collider_type", "box") != "box" or np.ptp(draft.aabb, 0).max() > 2.001:
            draft.assumptions.append(BoxAssumption(
                f"the box is the one of {_FILE}, which can be much larger than the object"))
    names, views = Names(root), []
    for index, item in enumerate(items):
        try:
            name = item.get("rgb_path")
            if not isinstance(name, str):
                raise DatasetError("D04", "an entry has no `rgb_path`", path)
            fx, fy, cx, cy = intrinsics(item.get("intrinsics"), name, path)
            pose = from_opencv(item.get("camtoworld"), name, path)
            camera = checks.camera(width, height, fx, fy, cx, cy, pose, name, path)
            mask = item.get("foreground_mask")
            views.append(View(camera, names.where(name), names.where(mask) if isinstance(mask, str) else None, "train",
                              index))
        except DatasetError as error:
            draft.problems.add(error)
    draft.frames.append(FrameDraft(0, 0.0, views))
    draft.assumptions += names.notes()
    return draft


LAYOUT = DatasetLayout(
    "SDFStudio", (("SDFStudio", "`meta_data.json`, with `rgb_path`, `camtoworld`, `intrinsics` and `foreground_mask` "
                                "of each "
                   "picture, and `scene_box`"),),
    find_sdfstudio, read_sdfstudio, lambda root: None, "right, down, forward", "the corner", "as it is")
