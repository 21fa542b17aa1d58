"""Reader of sequences as Dynamic 3D Gaussians lays them out: train_meta.json, test_meta.json, ims/."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from refcodec.datasets import checks
from refcodec.datasets.jsonfile import read_json
from refcodec.datasets.layout import DatasetLayout, Draft, FrameDraft, FrameSelection, select_frames
from refcodec.datasets.matrices import from_world_to_camera, intrinsics
from refcodec.datasets.model import Notice, Split, View
from refcodec.datasets.naming import Names
from refcodec.errors import DatasetError

_TRAIN, _TEST, _PICTURES = "train_meta.json", "test_meta.json", "ims"


def find_panoptic(root: Path) -> Path | None:
    return root / _TRAIN if (root / _TRAIN).is_file() else None


def read_panoptic(root: Path, path: Path, selection: FrameSelection) -> Draft:
    """The chosen instants. k and w2c are listed by time and camera; test_meta.json has the held-out cameras.

    Raises DatasetError D02, D09, D10; single views' are collected.
    """
    parts: list[tuple[Split, Path, dict[str, Any]]] = [("train", path, _meta(path))]
    draft = Draft([], is_sequence=True)
    if (root / _TEST).is_file():
        try:
            parts.append(("test", root / _TEST, _meta(root / _TEST)))
        except DatasetError as error:
            draft.notices.append(Notice("W15", f"the held-out part can't be used: {error}", root / _TEST))
    times = {len(meta["fn"]) for _, _, meta in parts}
    if len(times) > 1:
        raise DatasetError("D10", f"{_TRAIN} and {_TEST} have different numbers of instants: {sorted(times)}", root)
    names = Names(root / _PICTURES, root)
    draft.has_split = len(parts) > 1
    draft.is_sequence = max(times) > 1
    for number in select_frames(range(max(times)), selection, root):
        views, count = [], 0
        for split, file, meta in parts:
            for order, name in enumerate(meta["fn"][number]):
                index = _camera_number(meta, number, order, count)
                count += 1
                try:
                    views.append(_view(meta, number, order, index, names, str(name), split, file))
                except DatasetError as error:
                    draft.problems.add(error)
        draft.frames.append(FrameDraft(number, float(number), views))
    if (root / "seg").is_dir():
        draft.assumptions.append("seg/ tells what moves, not what there is: it is not used as masks")
    return draft


def _camera_number(meta: dict[str, Any], number: int, order: int, count: int) -> int:
    try:
        return int(meta["cam_id"][number][order])
    except (KeyError, IndexError, TypeError, ValueError):
        return count


def _view(meta: dict[str, Any], number: int, order: int, index: int, names: Names, name: str, split: Split,
          path: Path) -> View:
    try:
        k, w2c = meta["k"][number][order], meta["w2c"][number][order]
    except (IndexError, TypeError, KeyError):
        raise DatasetError("D02", f"`k` and `w2c` lack picture {order} of instant {number}", path) from None
    width, height = (checks.integer(meta.get(key), f"`{key}`", "D09", path) for key in "wh")
    fx, fy, cx, cy = intrinsics(k, name, path)
    pose = from_world_to_camera(w2c, name, path)
    camera = checks.camera(width, height, fx, fy, cx, cy, pose, f"camera {index}", path)
    return View(camera, names.where(name), None, split, index)


def _meta(path: Path) -> dict[str, Any]:
    content = read_json(path)
    names = content.get("fn") if isinstance(content, dict) else None
    if not (isinstance(names, list) and names and all(isinstance(row, list) and row for row in names)):
        raise DatasetError("D02", "it needs `fn`, a list of pictures for each instant, with `k`, `w2c`, `w`, `h`", path)
    return content  # type: ignore[no-any-return]


LAYOUT = DatasetLayout(
    "Dynamic 3D Gaussians",
    (("Dynamic 3D Gaussians (Panoptic Studio)", "`train_meta.json` with `w`, `h`, `k`, `w2c`, `fn`, `cam_id`; "
                                                "pictures in "
      "`ims/`; `test_meta.json` is held out"),),
    find_panoptic, read_panoptic, lambda root: None, "right, down, forward", "the corner", "as it is")
