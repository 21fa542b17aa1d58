"""Reader of MVHumanNet's sequences: camera_intrinsics.json, camera_extrinsics.json, images/, fmask/."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from refcodec.datasets import checks
from refcodec.datasets.jsonfile import read_json
from refcodec.datasets.layout import DatasetLayout, Draft, FrameSelection, RigCamera, numbered, pictures_in, rig_draft
from refcodec.datasets.matrices import from_world_to_camera, intrinsics
from refcodec.errors import DatasetError

_INTRINSICS, _EXTRINSICS = "camera_intrinsics.json", "camera_extrinsics.json"
_PICTURES, _MASKS = ("images", "images_lr"), ("fmask", "fmask_lr", "fmasks")


def find_mvhumannet(root: Path) -> Path | None:
    return root if (root / _INTRINSICS).is_file() and (root / _EXTRINSICS).is_file() else None


def read_mvhumannet(root: Path, found: Path, selection: FrameSelection) -> Draft:
    """The chosen frames. Intrinsics are those of pictures of twice the size as published, as the principal point tells.

    Raises DatasetError D02, D04, D06, D08 to D10.
    """
    shared, poses = read_json(root / _INTRINSICS), read_json(root / _EXTRINSICS)
    if not isinstance(shared, dict) or not isinstance(poses, dict):
        raise DatasetError("D02", "it needs an object",
                           root / (_EXTRINSICS if isinstance(shared, dict) else _INTRINSICS))
    pictures = next((root / name for name in _PICTURES if (root / name).is_dir()), None)
    if pictures is None:
        raise DatasetError("D04", "there is no folder images/", root)
    masks = next((root / name for name in _MASKS if (root / name).is_dir()), None)
    cameras, factors, without = [], set(), []
    for index, folder in enumerate(sorted(p for p in pictures.iterdir() if p.is_dir())):
        key = next((k for k in sorted(poses) if folder.name in k), None)
        if key is None:
            without.append(folder.name)
            continue
        images = dict(numbered(pictures_in(folder), folder))
        if not images:
            continue
        header = checks.header_of(images[min(images)])
        pose = poses[key] if isinstance(poses[key], dict) else {}
        rotation = checks.array(pose.get("rotation"), ((3, 3),), f"`rotation` of {key}", "D06", root / _EXTRINSICS)
        translation = checks.array(pose.get("translation"), ((3,), (3, 1), (1, 3)), f"`translation` of {key}", "D06",
                                   root / _EXTRINSICS)
        fx, fy, cx, cy = intrinsics(_of(shared, key, folder.name), folder.name, root / _INTRINSICS)
        factor = _factor(cx, cy, header.width, header.height)
        factors.add(factor)
        camera = checks.camera(
            header.width, header.height, fx / factor, fy / factor, cx / factor, cy / factor,
            from_world_to_camera(np.column_stack([rotation, translation.ravel()]), key, root / _EXTRINSICS),
            folder.name, root / _INTRINSICS)
        own = dict(numbered(pictures_in(masks / folder.name), masks)) if masks else None
        cameras.append(RigCamera(index, camera, images, own))
    if without and not cameras:
        raise DatasetError("D02", f"no pose for {without[0]}, nor any other folder of {pictures.name}/",
                           root / _EXTRINSICS)
    draft = rig_draft(cameras, selection, root)
    for factor in sorted(factors - {1}):
        draft.assumptions.append(f"the pictures are 1/{factor} of the size that {_INTRINSICS} is for, as the principal "
                                 "point tells: the intrinsics are scaled (write scaled ones to say otherwise)")
    if without:
        draft.assumptions.append(f"cameras without a pose are left out: {', '.join(without)}")
    if (root / "camera_scale.pkl").is_file():
        draft.assumptions.append("the world keeps the unit of the calibration: camera_scale.pkl is not read")
    return draft


def _of(shared: dict[str, Any], key: str, name: str) -> Any:
    """One matrix for all cameras, or one each."""
    for value in (shared.get("intrinsics"), shared.get(key), shared.get(name)):
        if isinstance(value, dict):
            value = value.get("intrinsics", value.get(key, value.get(name)))
        if value is not None:
            return value
    return None


def _factor(cx: float, cy: float, width: int, height: int) -> int:
    """Scale of the calibrated pictures against those at hand: the principal point is near the middle."""
    return min((1, 2, 4), key=lambda f: abs(cx / f / width - 0.5) + abs(cy / f / height - 0.5))


def _near(root: Path) -> str | None:
    there = [name for name in (_INTRINSICS, _EXTRINSICS) if (root / name).is_file()]
    if len(there) != 1:
        return None
    return f"{there[0]} is there, but no {_EXTRINSICS if there[0] == _INTRINSICS else _INTRINSICS}"


LAYOUT = DatasetLayout(
    "MVHumanNet", (("MVHumanNet", "`camera_intrinsics.json`, `camera_extrinsics.json`, `images/CAMERA/0005_img.jpg` "
                    "(or `images_lr/`), `fmask/CAMERA/0005_img_fmask.png`; cameras without a pose or pictures are left "
                    "out"),),
    find_mvhumannet, read_mvhumannet, _near, "right, down, forward", "the corner", "in the calibration's unit")
