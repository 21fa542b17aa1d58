"""Reader of ActorsHQ sequences: a scale's folder with calibration.csv, rgbs/ and masks/.

Calibration: one line a camera; r is the axis-angle of the camera-to-world rotation, t
its position in metres, focal lengths and principal point are shares of the picture's
size; camera axes are right, down, forward.
"""
from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from refcodec.datasets import checks
from refcodec.datasets.layout import DatasetLayout, Draft, FrameDraft, FrameSelection, last_number, select_frames
from refcodec.datasets.model import View
from refcodec.errors import DatasetError
from refcodec.rendering.cameras import Camera

_FRAME_RATE = 25.0  # of all ActorsHQ recordings
_CALIBRATION = ("w", "h", "rx", "ry", "rz", "tx", "ty", "tz", "fx", "fy", "px", "py")
_BOX = tuple(f"aabb_{end}_{axis}" for end in ("min", "max") for axis in "xyz")


def is_actorshq(root: Path) -> bool:
    return (root / "calibration.csv").is_file() and (root / "rgbs").is_dir()


def scales_of(root: Path) -> list[str]:
    """The scales' folders where `root` is the folder of a whole sequence."""
    if not root.is_dir():
        return []
    return sorted(path.name for path in root.iterdir() if path.is_dir() and is_actorshq(path))


def read_actorshq(root: Path, selection: FrameSelection) -> Draft:
    """The chosen frames of one scale's folder; cameras without pictures are left out.

    Raises DatasetError D02, D06, D09, D10, D13.
    """
    cameras: list[tuple[int, Camera, dict[int, Path]]] = []
    for index, row in enumerate(_rows(root / "calibration.csv", ("name", *_CALIBRATION))):
        images = _images(root / "rgbs" / row["name"])
        if images:
            cameras.append((index, _camera(row, root / "calibration.csv"), images))
    if not cameras:
        raise DatasetError("D10", "none of the calibrated cameras has pictures in rgbs/", root)
    chosen = select_frames(set().union(*(images for _, _, images in cameras)), selection, root)

    draft = Draft([], is_sequence=True, frame_rate=_FRAME_RATE, aabb=_box(root, chosen))
    has_masks = (root / "masks").is_dir()
    for number in chosen:
        views = []
        for index, camera, images in cameras:
            missing = root / "rgbs" / camera.name / f"{camera.name}_rgb{number:06d}.jpg"
            mask = root / "masks" / camera.name / f"{camera.name}_mask{number:06d}.png"
            views.append(View(camera, images.get(number, missing), mask if has_masks else None, "train", index))
        draft.frames.append(FrameDraft(number, number / _FRAME_RATE, views))
    return draft


def _images(folder: Path) -> dict[int, Path]:
    if not folder.is_dir():
        return {}
    pictures = (path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    numbered = ((last_number(path.stem), path) for path in pictures)
    return {number: path for number, path in numbered if number is not None}


def _camera(row: dict[str, str], path: Path) -> Camera:
    value = {key: checks.number(_parse(row[key]), f"`{key}` of {row['name']}", "D09", path) for key in _CALIBRATION}
    width, height = (checks.integer(value[key], f"`{key}`", "D09", path) for key in "wh")
    rotation = rotation_from_axis_angle(np.array([value["rx"], value["ry"], value["rz"]]))
    position = np.array([value["tx"], value["ty"], value["tz"]])
    to_world = np.column_stack([rotation * (1, -1, -1), position])  # down, forward -> up, backwards
    return checks.camera(width, height, width * value["fx"], height * value["fy"], width * value["px"],
                         height * value["py"], checks.pose(to_world, row["name"], path), row["name"], path)


def rotation_from_axis_angle(vector: np.ndarray) -> np.ndarray:
    """Rodrigues' formula: (3,) axis times angle in radians to a (3, 3) rotation."""
    angle = float(np.linalg.norm(vector))
    if angle == 0:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation: np.ndarray = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return rotation


def _box(root: Path, chosen: list[int]) -> np.ndarray | None:
    """The union of the chosen frames' boxes; aabbs.csv lies beside the scales' folders."""
    path = root.parent / "aabbs.csv"
    if not path.is_file():
        return None
    boxes = []
    for row in _rows(path, ("frame_number", *_BOX)):
        if checks.integer(_parse(row["frame_number"]), "`frame_number`", "D13", path) in chosen:
            corners = [checks.number(_parse(row[key]), f"`{key}`", "D13", path) for key in _BOX]
            boxes.append(checks.box(corners, path))
    if not boxes:
        return None
    return np.stack([np.min([b[0] for b in boxes], 0), np.max([b[1] for b in boxes], 0)])


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """The lines of a CSV file with at least `columns`; spaces around names and values go."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if row]
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError("D02", f"can't read the file: {error}", path) from error
    header = rows[0] if rows else []
    missing = [name for name in columns if name not in header]
    if missing:
        raise DatasetError("D02", f"no column `{missing[0]}`", path)
    if any(len(row) != len(header) for row in rows):
        raise DatasetError("D02", "lines with different numbers of columns", path)
    return [dict(zip(header, row, strict=True)) for row in rows[1:]]


def _parse(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _near(root: Path) -> str | None:
    if scales := scales_of(root):
        return f"an ActorsHQ sequence: choose one of its scales, {', '.join(scales)}"
    if (root / "calibration.csv").is_file():
        return "calibration.csv is there, but no folder rgbs/"
    return None


LAYOUT = DatasetLayout(
    "ActorsHQ",
    (("ActorsHQ", "one scale's folder (`1x`, `2x`, `4x`): `calibration.csv`, `rgbs/CamXXX/CamXXX_rgb%06d.jpg`, "
      "`masks/CamXXX/CamXXX_mask%06d.png`; the boxes come from `../aabbs.csv`, the union of the chosen frames'. "
      "Cameras without pictures are left out."),),
    lambda root: root if is_actorshq(root) else None, lambda root, found, selection: read_actorshq(root, selection),
    _near, "right, down, forward", "the corner", "as it is")
