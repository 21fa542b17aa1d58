"""Reader of rigs as EasyMocap and EasyVolcap have them: intri.yml, extri.yml, images/CAMERA/FRAME.jpg.

Both files are OpenCV's YAML, of which the little that they use is parsed here: lists of texts, numbers and matrices.
"""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from refcodec.datasets import checks
from refcodec.datasets.actorshq import rotation_from_axis_angle
from refcodec.datasets.jsonfile import read_text
from refcodec.datasets.layout import DatasetLayout, Draft, FrameSelection, RigCamera, numbered, pictures_in, rig_draft
from refcodec.datasets.lenses import Lens
from refcodec.datasets.matrices import from_world_to_camera, intrinsics
from refcodec.datasets.shots import Shot, read_shots
from refcodec.datasets.videos import is_video
from refcodec.errors import DatasetError

_INTRI, _EXTRI = "intri.yml", "extri.yml"
_PICTURES, _MASKS, _VIDEOS = ("images", "image"), ("masks", "mask", "schp", "bgmtv2", "mask-schp"), ("videos", "")
_KEY = re.compile(r"^([^\s:#%-][^:]*):\s*(.*)$")
_MATRIX = re.compile(r"rows:\s*(\d+).*?cols:\s*(\d+).*?data:\s*\[(.*?)\]", re.S)
_DISTORTION = 5  # k1, k2, p1, p2, k3


def find_easyvolcap(root: Path) -> tuple[Path, Path] | None:
    for base in (root, root / "optimized", root / "cameras"):
        if (base / _INTRI).is_file() and (base / _EXTRI).is_file():
            return base / _INTRI, base / _EXTRI
    return None


def read_easyvolcap(root: Path, files: tuple[Path, Path], selection: FrameSelection) -> Draft:
    """The chosen frames. Raises DatasetError D02, D04, D06, D08 to D11."""
    intri, extri = (read_opencv_yaml(path) for path in files)
    names = intri.get("names") or extri.get("names") or [key[2:] for key in intri if key.startswith("K_")]
    if not isinstance(names, list) or not names:
        raise DatasetError("D02", "there is no list `names` of cameras", files[0])
    pictures = next((root / name for name in _PICTURES if (root / name).is_dir()), None)
    masks = next((root / name for name in _MASKS if (root / name).is_dir()), None)
    cameras, shots, missing = [], [], []
    for index, name in enumerate(map(str, names)):
        folder = pictures / name if pictures else None
        found = dict(numbered(pictures_in(folder), folder)) if folder else {}
        video = None if found else next((path for base in _VIDEOS for path in sorted((root / base).glob(f"{name}.*"))
                                         if is_video(path)), None)
        if not found and video is None:
            missing.append(name)
            continue
        picture = video or found[min(found)]
        header = checks.header_of(picture, "video", 0) if video else checks.header_of(picture)
        lens = _lens(intri, name, (header.width, header.height), files[0])
        camera, distorted = checks.lens_camera(lens, _pose(extri, name, files[1]), name, files[0])
        if video:
            shots.append(Shot(camera, video, None, index, lens=distorted))
            continue
        own = dict(numbered(pictures_in(masks / name), masks / name)) if masks and (masks / name).is_dir() else None
        cameras.append(RigCamera(index, camera, found, own, distorted))
    if not cameras and not shots:
        raise DatasetError("D04", f"there are no pictures of camera {names[0]}: neither images/{names[0]}/ nor "
                           f"videos/{names[0]}.mp4", root)
    draft = read_shots(shots, selection, root) if shots and not cameras else rig_draft(cameras, selection, root)
    if missing:
        draft.assumptions.append(f"cameras without pictures are left out: {', '.join(missing)}")
    bounds = next((intri.get(f"bounds_{n}", extri.get(f"bounds_{n}")) for n in names
                   if f"bounds_{n}" in intri or f"bounds_{n}" in extri), None)
    if bounds is not None and np.size(bounds) == 6:
        draft.aabb = checks.box(np.reshape(bounds, (2, 3)), files[1])
    return draft


def _lens(intri: dict[str, Any], name: str, size: tuple[int, int], path: Path) -> Lens:
    fx, fy, cx, cy = intrinsics(intri.get(f"K_{name}"), f"camera {name}", path)
    stated = intri.get(f"W_{name}"), intri.get(f"H_{name}")
    width, height = (checks.integer(s, f"`{key}_{name}`", "D09", path) if s is not None and s != -1 else n
                     for key, s, n in zip("WH", stated, size, strict=True))
    distortion = np.ravel(intri.get(f"D_{name}", intri.get(f"dist_{name}", ())))
    if not np.isfinite(distortion).all() or (len(distortion) > _DISTORTION and np.any(distortion[_DISTORTION:])):
        raise DatasetError("D11", f"the lens of camera {name} has more than k1, k2, p1, p2, k3", path)
    k1, k2, p1, p2, k3 = (*distortion[:_DISTORTION].tolist(), *[0.0] * _DISTORTION)[:_DISTORTION]
    return Lens("FULL_OPENCV", width, height, fx, fy, cx, cy, (k1, k2, p1, p2, k3, 0.0, 0.0, 0.0))


def _pose(extri: dict[str, Any], name: str, path: Path) -> np.ndarray:
    """Rot_ is the rotation, R_ the same as an axis times an angle; both from world to camera, with T_."""
    rotation = extri.get(f"Rot_{name}")
    if rotation is None:
        vector = checks.array(extri.get(f"R_{name}"), ((3, 1), (1, 3), (3,)), f"`Rot_{name}` or `R_{name}`", "D06",
                              path)
        rotation = rotation_from_axis_angle(vector.ravel())
    rotation = checks.array(rotation, ((3, 3),), f"`Rot_{name}`", "D06", path)
    translation = checks.array(extri.get(f"T_{name}"), ((3, 1), (1, 3), (3,)), f"`T_{name}`", "D06", path)
    return from_world_to_camera(np.column_stack([rotation, translation.ravel()]), f"camera {name}", path)


def read_opencv_yaml(path: Path) -> dict[str, Any]:
    """Keys of an OpenCV FileStorage: lists of texts, numbers, texts, matrices as arrays. Raises DatasetError D02."""
    found: dict[str, Any] = {}
    blocks: list[tuple[str, list[str]]] = []
    for line in read_text(path).splitlines():
        match = _KEY.match(line)
        if match:
            blocks.append((match[1].strip().strip('"'), [match[2]]))
        elif blocks and line.strip() and not line.startswith(("%", "---", "...")):
            blocks[-1][1].append(line)
    for key, lines in blocks:
        try:
            found[key] = _value("\n".join(lines))
        except ValueError as error:
            raise DatasetError("D02", f"`{key}` can't be read: {error}", path) from error
    if not found:
        raise DatasetError("D02", "no OpenCV YAML: it has no keys", path)
    return found


def _value(text: str) -> Any:
    text = text.strip()
    if text.startswith("!!opencv-matrix"):
        match = _MATRIX.search(text)
        if not match:
            raise ValueError("a matrix needs rows, cols and data")
        values = [float(word) for word in match[3].replace(",", " ").split()]
        rows, columns = int(match[1]), int(match[2])
        if rows * columns != len(values):
            raise ValueError(f"{rows}x{columns} are not {len(values)} numbers")
        return np.reshape(values, (rows, columns))
    if text.startswith("["):
        return [word.strip().strip("\"'") for word in text.strip("[]").split(",") if word.strip()]
    if re.match(r"^-(\s|$)", text):
        return [line.strip().removeprefix("-").strip().strip("\"'") for line in text.splitlines() if line.strip()]
    try:
        return float(text)
    except ValueError:
        return text.strip("\"'")


def _near(root: Path) -> str | None:
    there = [name for name in (_INTRI, _EXTRI) if (root / name).is_file()]
    return f"{there[0]} is there, but no {_EXTRI if there[0] == _INTRI else _INTRI}" if len(there) == 1 else None


LAYOUT = DatasetLayout(
    "EasyVolcap", (("EasyVolcap, EasyMocap", "`intri.yml`, `extri.yml` and `images/CAMERA/000000.jpg` (or "
                                             "`videos/CAMERA.mp4`),"
                    " with `masks/CAMERA/` or `mask/`; cameras without pictures are left out"),),
    find_easyvolcap, read_easyvolcap, _near, "right, down, forward", "the corner", "as it is")
