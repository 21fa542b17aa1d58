"""Reader of NSVF's scenes: intrinsics.txt, pose/, rgb/, bbox.txt.

The first character of a picture's name is its part: 0 to train on, 1 to validate, 2 held out. Poses are camera to
world with OpenCV's axes.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np

from refcodec.datasets import checks
from refcodec.datasets.layout import DatasetLayout, Draft, FrameDraft, FrameSelection, pictures_in, select_frames
from refcodec.datasets.matrices import from_opencv, intrinsics, numbers_of
from refcodec.datasets.model import Split, View
from refcodec.errors import DatasetError

_FILES = ("intrinsics.txt", "pose", "rgb")


def find_nsvf(root: Path) -> Path | None:
    return root if (root / "pose").is_dir() and (root / "rgb").is_dir() and (root / _FILES[0]).is_file() else None


def read_nsvf(root: Path, found: Path, selection: FrameSelection) -> Draft:
    """A static scene. Raises DatasetError D02, D09, D10, D13; single views' are collected."""
    fx, fy, cx, cy = _intrinsics(root / "intrinsics.txt")
    poses = {path.stem: path for path in sorted((root / "pose").glob("*.txt"))}
    pictures = {path.stem: path for path in pictures_in(root / "rgb")}
    if not poses or poses.keys() != pictures.keys():
        odd = sorted(poses.keys() ^ pictures.keys())
        raise DatasetError("D10", f"pose/ has {len(poses)} poses, rgb/ {len(pictures)} pictures; "
                           + (f"{odd[0]} is in one of them only" if odd else "there must be one at least"), root)
    parts = {stem: stem.partition("_")[0] for stem in poses if "_" in stem}
    has_parts = len(parts) == len(poses) and {"0", "2"} <= set(parts.values())
    select_frames([0], selection, root)
    draft = Draft([], is_sequence=False, has_split=has_parts, aabb=_box(root / "bbox.txt"), foreign_poses=True)
    if has_parts and "1" in parts.values():
        draft.assumptions.append(f"the {sum(p == '1' for p in parts.values())} pictures of the validation part (1_…) "
                                 "are "
                                 "left out")
    views = []
    for index, stem in enumerate(stem for stem in poses if not (has_parts and parts[stem] == "1")):
        try:
            pose = from_opencv(_square(numbers_of(poses[stem]), poses[stem]), stem, poses[stem])
            header = checks.header_of(pictures[stem])
            camera = checks.camera(header.width, header.height, fx, fy, cx, cy, pose, stem, root / "intrinsics.txt")
            split: Split = "test" if has_parts and parts[stem] == "2" else "train"
            views.append(View(camera, pictures[stem], None, split, index))
        except DatasetError as error:
            draft.problems.add(error)
    draft.frames.append(FrameDraft(0, 0.0, views))
    if views and not all(0 < v.camera.cx < v.camera.width and 0 < v.camera.cy < v.camera.height for v in views):
        c = views[0].camera
        raise DatasetError("D07", f"the pictures are {c.width}x{c.height}, but the principal point is at ({cx:g}, "
                                  f"{cy:g}): "
                           "intrinsics.txt is for another size", root / "intrinsics.txt")
    return draft


def _intrinsics(path: Path) -> tuple[float, float, float, float]:
    """A matrix of 3x3 or 4x4, or a first line of `f cx cy 0`."""
    values = numbers_of(path)
    if len(values) in (9, 16):
        side = 3 if len(values) == 9 else 4
        return intrinsics(np.reshape(values, (side, side)), "all pictures", path)
    if len(values) >= 3:
        focal, cx, cy = values[:3]
        return focal, focal, cx, cy
    raise DatasetError("D09", "neither a matrix of intrinsics nor `f cx cy 0`", path)


def _square(values: list[float], path: Path) -> np.ndarray:
    if len(values) not in (12, 16):
        raise DatasetError("D06", f"a pose has 16 numbers, this file {len(values)}", path)
    return np.reshape(values, (-1, 4))


def _box(path: Path) -> np.ndarray | None:
    """`x y z X Y Z`, and perhaps a voxel's size."""
    if not path.is_file():
        return None
    values = numbers_of(path)
    if len(values) < 6:
        raise DatasetError("D13", f"a box has six numbers, the file {len(values)}", path)
    return checks.box(values[:6], path)


def _near(root: Path) -> str | None:
    there = [name + "/" * (root / name).is_dir() for name in _FILES if (root / name).exists()]
    missing = [name for name in _FILES if not (root / name).exists()]
    return f"{', '.join(there)} there, but no {', '.join(missing)}" if "pose/" in there and missing else None


LAYOUT = DatasetLayout(
    "NSVF", (("NSVF", "`intrinsics.txt`, `pose/0_0000.txt`, `rgb/0_0000.png`, `bbox.txt`; names with 2_ are held out, "
                      "those "
              "with 1_ left out"),),
    find_nsvf, read_nsvf, _near, "right, down, forward", "the corner", "as it is")
