"""Reader of LLFF's poses_bounds.npy, with a folder of pictures or a video a camera.

One row a picture: a 3x5 matrix, row by row (axes down, right, backwards; position;
height, width and focal length in pixels), and the nearest and farthest depth.
"""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
    RigCamera,
    last_number,
    numbered,
    pictures_in,
    rig_draft,
    select_frames,
)
from refcodec.datasets.model import ImageHeader, View
from refcodec.datasets.naming import Names
from refcodec.datasets.shots import Shot, read_shots
from refcodec.datasets.videos import is_video
from refcodec.errors import DatasetError
from refcodec.rendering.cameras import Camera

FILE = "poses_bounds.npy"
_CAMERA_FOLDER = re.compile(r"^(cam|camera|cam_|view|c)?_?[0-9]+$", re.I)


def read_llff(root: Path, selection: FrameSelection) -> Draft:
    """A static scene of pictures, or a sequence of videos. Raises DatasetError D02, D09, D10, D13."""
    path = root / FILE
    rows = _rows(path)
    videos = sorted((p for p in root.iterdir() if is_video(p)), key=lambda p: (last_number(p.stem) or 0, p.name))
    if len(videos) != len(rows):  # then they are no cameras'
        videos = []
    folders = [] if videos else _camera_folders(root)
    files = videos or [pictures[min(pictures)] for _, pictures in folders] or _pictures(root, len(rows))
    if len(files) != len(rows):
        raise DatasetError("D10", _mismatch(root, len(rows), files, bool(folders)), path)

    depths = rows[:, 15:]
    if not (np.isfinite(depths).all() and (depths[:, 0] > 0).all() and (depths[:, 0] < depths[:, 1]).all()):
        raise DatasetError("D13", "the depths must be finite and positive, the nearest before the farthest", path)
    views, draft = [], Draft([], is_sequence=False)
    for index, (file, row) in enumerate(zip(files, rows, strict=True)):
        try:
            header = checks.header_of(file, "video", 0) if videos else checks.header_of(file)
            views.append(View(_camera(row[:15].reshape(3, 5), header, file, path), file, None, "train", index))
        except DatasetError as error:
            draft.problems.add(error)
    if folders and views:
        cameras = [RigCamera(v.camera_index, v.camera, folders[v.camera_index][1]) for v in views]
        problems, draft = draft.problems, rig_draft(cameras, selection, root)
        draft.problems.errors += problems.errors
        draft.assumptions.append(f"the rows of {FILE} are the folders' cameras in the order of their names, "
                                 f"{folders[0][0]} first")
    elif videos and views:
        shots = [Shot(v.camera, v.image, None, v.camera_index) for v in views]
        problems, draft = draft.problems, read_shots(shots, selection, root)
        draft.problems.errors += problems.errors
    else:
        select_frames([0], selection, root)
        draft.frames.append(FrameDraft(0, 0.0, views))
    draft.aabb = box_between(views, depths)
    draft.assumptions.append(BoxAssumption(
        "the box holds what all cameras see between the nearest and the farthest depth of "
        f"{FILE}; an unbounded scene has most of its box far away"))
    return draft


def _rows(path: Path) -> np.ndarray:
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)  # mapping compares the shape with the file's size
    except Exception as error:  # numpy parses the header as Python, with all that can go wrong there
        raise DatasetError("D02", f"can't read the file: {error}", path) from error
    if not isinstance(rows, np.ndarray) or rows.ndim != 2 or rows.shape[1] != 17 or rows.dtype.kind not in "fiu":
        raise DatasetError("D02", "it must hold a table of numbers of 17 columns", path)
    if not len(rows):
        raise DatasetError("D08", "the table has no rows", path)
    return rows.astype(np.float64)


def _camera_folders(root: Path) -> list[tuple[str, dict[int, Path]]]:
    """Folders of extracted videos, cam00/images/0000.png or cam00/0000.png, by name: pictures by number."""
    found = []
    for folder in sorted(root.iterdir(), key=lambda p: (last_number(p.name) or 0, p.name)):
        if folder.is_dir() and _CAMERA_FOLDER.match(folder.name):
            pictures = numbered(pictures_in(folder / "images") or pictures_in(folder), folder)
            if pictures:
                found.append((folder.name, dict(pictures)))
    return found


def _mismatch(root: Path, rows: int, files: list[Path], folders: bool) -> str:
    if folders:
        return (f"{FILE} has {rows} cameras, but there are {len(files)} folders of pictures ({files[0].parent.name}, "
                "…): "
                "they are matched by the order of their names, so take out what has no row")
    return (f"{FILE} has {rows} cameras, but images/ has {len(files)} pictures, and there are neither as many videos "
            "nor "
            "as many camXX/ folders. COLMAP leaves pictures out: remove those without a pose, or put a view_imgs.txt "
            "with the names of those that have one beside it")


def _pictures(root: Path, count: int) -> list[Path]:
    """The pictures as they were taken, or the largest of LLFF's smaller copies (images_4, images_8); of more than
    `count` those that view_imgs.txt names."""
    copies = numbered((p for p in root.glob("images_*") if p.is_dir()), root)
    folders = (root / "images", *(copies[factor] for factor in sorted(copies)))
    listed = root / "view_imgs.txt"
    if listed.is_file():
        names = sorted(line.strip() for line in read_text(listed).splitlines() if line.strip())
        for folder in folders:
            found = [Names(folder, extensions=True).find(Path(name).name) for name in names]
            if len(names) == count and all(found):
                return [path for path in found if path]
    for folder in folders:
        files = pictures_in(folder)
        if len(files) == count:
            return files
    return pictures_in(root / "images")


def _camera(matrix: np.ndarray, header: ImageHeader, file: Path, path: Path) -> Camera:
    height, width, focal = matrix[:, 4]
    if not (np.isfinite(matrix[:, 4]).all() and min(height, width, focal) > 0):
        raise DatasetError("D09", f"height, width and focal length of {file.name} must be positive", path)
    # The smaller copies are what is left of the picture after rounding.
    sx, sy = header.width / width, header.height / height
    if abs(sx * height - header.height) > 2 and abs(sy * width - header.width) > 2:
        raise DatasetError("D07", f"the picture is {header.width}x{header.height}, the camera {width:g}x{height:g}",
                           file)
    to_world = checks.pose(np.column_stack([matrix[:, 1], -matrix[:, 0], matrix[:, 2], matrix[:, 3]]), file.name, path)
    return checks.camera(header.width, header.height, focal * sx, focal * sy, header.width / 2, header.height / 2,
                         to_world, file.stem, path)


def box_between(views: list[View], depths: Mapping[int, Sequence[float]] | np.ndarray) -> np.ndarray | None:
    """Around the frusta of all cameras between their depths."""
    points = []
    for view in views:
        c = view.camera
        for depth in depths[view.camera_index]:
            for u in (0, c.width):
                for v in (0, c.height):
                    local = depth * np.array([(u - c.cx) / c.fx, (c.cy - v) / c.fy, -1])
                    points.append(c.camera_to_world[:, :3] @ local + c.camera_to_world[:, 3])
    return np.stack([np.min(points, 0), np.max(points, 0)]) if points else None


def _near(root: Path) -> str | None:
    if root.is_dir() and not (root / FILE).is_file() and (folders := _camera_folders(root)):
        return f"{folders[0][0]}/ and {len(folders) - 1} more folders of a rig's pictures are there, but no {FILE}"
    return None


LAYOUT = DatasetLayout(
    "LLFF",
    (("LLFF", "`poses_bounds.npy` with `images/` (or its copies `images_4/`, …; `view_imgs.txt` names those with a "
              "pose), "
      "or with one video a camera, in the order of their names (`cam00.mp4`, …: Neural 3D Video)"),
     ("Neural 3D Video, extracted", "`poses_bounds.npy` with a folder a camera, `cam00/images/0000.png`, … (or "
      "`cam00/0000.png`)")),
    lambda root: root if (root / FILE).is_file() else None, lambda root, found, selection: read_llff(root, selection),
    _near, "down, right, backwards", "– (the principal point is the middle)",
    "as it is, without normalised device coordinates")
