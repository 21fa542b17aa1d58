"""Reader of multi-view stereo sets as MVSNet and BlendedMVS have them: cams/00000000_cam.txt."""
from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from refcodec.datasets import checks
from refcodec.datasets.jsonfile import read_text
from refcodec.datasets.layout import (
    BoxAssumption,
    DatasetLayout,
    Draft,
    FrameDraft,
    FrameSelection,
    numbered,
    pictures_in,
    select_frames,
)
from refcodec.datasets.llff import box_between
from refcodec.datasets.matrices import from_world_to_camera, intrinsics
from refcodec.datasets.model import View
from refcodec.errors import DatasetError

_CAMERA = re.compile(r"^([0-9]+)_cam\.txt$")
_PICTURES = ("blended_images", "images", "image")


def find_mvsnet(root: Path) -> list[Path] | None:
    """The files of cameras, by number."""
    for folder in (root / "cams", root / "cams_1"):
        if folder.is_dir():
            files = sorted(p for p in folder.iterdir() if _CAMERA.match(p.name))
            if files:
                return files
    return None


def read_mvsnet(root: Path, files: list[Path], selection: FrameSelection) -> Draft:
    """A static scene. Raises DatasetError D04; single views' are collected."""
    folder = next((root / name for name in _PICTURES if (root / name).is_dir()), None)
    if folder is None:
        raise DatasetError("D04", f"there is no folder {' or '.join(_PICTURES)}", root)
    # BlendedMVS has a version without background beside each picture.
    pictures = numbered((p for p in pictures_in(folder) if not p.stem.endswith("_masked")), folder)
    select_frames([0], selection, root)
    draft, views, depths = Draft([], is_sequence=False), [], {}
    for path in files:
        number = int(path.name.partition("_")[0])
        try:
            extrinsic, matrix, depth = _camera(path)
            picture = pictures.get(number)
            if picture is None:
                raise DatasetError("D04", "the image is missing", folder / f"{path.name.partition('_')[0]}.jpg")
            header = checks.header_of(picture)
            fx, fy, cx, cy = intrinsics(matrix, path.stem, path)
            if not (0 < cx < header.width and 0 < cy < header.height):
                raise DatasetError("D07", f"the picture is {header.width}x{header.height}, but the principal point is "
                                          "at "
                                   f"({cx:.0f}, {cy:.0f}): the calibration is for another size", picture)
            camera = checks.camera(header.width, header.height, fx, fy, cx, cy,
                                   from_world_to_camera(extrinsic, path.stem, path), path.stem, path)
            views.append(View(camera, picture, None, "train", number))
            if depth:
                depths[number] = depth
        except DatasetError as error:
            draft.problems.add(error)
    draft.frames.append(FrameDraft(0, 0.0, views))
    if views and len(depths) == len(views):
        draft.aabb = box_between(views, depths)
        draft.assumptions.append(BoxAssumption(
            "the box holds what the cameras see between their nearest and farthest depth"))
    return draft


def _camera(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[float, float] | None]:
    """World to camera (4, 4), intrinsics (3, 3), and nearest and farthest depth if both are given."""
    words = read_text(path).split()
    try:
        if words[0] != "extrinsic" or words[17] != "intrinsic":
            raise ValueError("it must have `extrinsic` with 16 numbers, then `intrinsic` with 9")
        extrinsic = np.array([float(w) for w in words[1:17]]).reshape(4, 4)
        matrix = np.array([float(w) for w in words[18:27]]).reshape(3, 3)
        rest = [float(w) for w in words[27:31]]
    except (ValueError, IndexError) as error:
        raise DatasetError("D02", f"can't read the camera: {error}", path) from error
    far = rest[3] if len(rest) > 3 else rest[0] + rest[1] * (rest[2] - 1) if len(rest) == 3 else None
    if far is None or not (np.isfinite([rest[0], far]).all() and 0 < rest[0] < far):
        return extrinsic, matrix, None
    return extrinsic, matrix, (rest[0], far)


def _near(root: Path) -> str | None:
    return "cams/ is there, but holds no 00000000_cam.txt" if (root / "cams").is_dir() else None


LAYOUT = DatasetLayout(
    "MVSNet", (("MVSNet, BlendedMVS", "`cams/00000000_cam.txt` with `blended_images/`, `images/` or `image/`"),),
    find_mvsnet, read_mvsnet, _near, "right, down, forward", "the corner", "as it is")
