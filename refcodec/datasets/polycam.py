"""Reader of Polycam's raw data: keyframes/ with a JSON file a picture.

`corrected_cameras/` and `corrected_images/` are the poses after Polycam's own bundle adjustment, and come first.
"""
from __future__ import annotations

from pathlib import Path

from refcodec.datasets import checks
from refcodec.datasets.jsonfile import read_json
from refcodec.datasets.layout import DatasetLayout, Draft, FrameDraft, FrameSelection, pictures_in, select_frames
from refcodec.datasets.model import View
from refcodec.errors import DatasetError

_PAIRS = (("corrected_cameras", "corrected_images"), ("cameras", "images"))


def find_polycam(root: Path) -> tuple[Path, Path] | None:
    """(Folder of cameras, folder of pictures)."""
    for base in (root / "keyframes", root):
        for cameras, images in _PAIRS:
            if (base / images).is_dir() and (base / cameras).is_dir() and any((base / cameras).glob("*.json")):
                return base / cameras, base / images
    return None


def read_polycam(root: Path, found: tuple[Path, Path], selection: FrameSelection) -> Draft:
    """A static scene. Raises DatasetError D02, D10; single views' are collected."""
    cameras, images = found
    pictures = {path.stem: path for path in pictures_in(images)}
    select_frames([0], selection, root)
    draft, views = Draft([], is_sequence=False), []
    files = sorted(cameras.glob("*.json"))
    for index, path in enumerate(files):
        try:
            content = read_json(path)
            if not isinstance(content, dict):
                raise DatasetError("D02", "it needs an object with t_00 to t_23, fx, fy, cx, cy, width, height", path)
            matrix = [[content.get(f"t_{row}{column}") for column in range(4)] for row in range(3)]
            pose = checks.pose(matrix, path.stem, path)
            width, height = (checks.integer(content.get(key), f"`{key}`", "D09", path) for key in ("width", "height"))
            fx, fy, cx, cy = (checks.number(content.get(key), f"`{key}`", "D09", path)
                              for key in ("fx", "fy", "cx", "cy"))
            camera = checks.camera(width, height, fx, fy, cx, cy, pose, path.stem, path)
            views.append(View(camera, pictures.get(path.stem, images / f"{path.stem}.jpg"), None, "train", index))
        except DatasetError as error:
            draft.problems.add(error)
    draft.frames.append(FrameDraft(0, 0.0, views))
    if cameras.name == "cameras":
        draft.assumptions.append("the poses are those of the phone; Polycam's adjusted ones (corrected_cameras/) are "
                                 "not "
                                 "there")
    return draft


def _near(root: Path) -> str | None:
    base = root / "keyframes"
    if not base.is_dir():
        return None
    return f"keyframes/ is there, but not {_PAIRS[0][0]}/ with {_PAIRS[0][1]}/ or {_PAIRS[1][0]}/ with {_PAIRS[1][1]}/"


LAYOUT = DatasetLayout(
    "Polycam", (("Polycam, raw", "`keyframes/corrected_cameras/*.json` with `keyframes/corrected_images/`, or "
                                 "`cameras/` with "
                 "`images/`"),),
    find_polycam, read_polycam, _near, "right, up, backwards", "the corner", "as it is")
