"""Reader of COLMAP's sparse models, binary or text: cameras, images, points3D.

A pose is the rotation (quaternion w, x, y, z) and translation that take the world to the
camera, whose axes are right, down, forward. Lengths that a binary file states are
compared with what the file holds before anything is read or allocated.
"""
from __future__ import annotations

import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refcodec.datasets import checks
from refcodec.datasets.jsonfile import read_text
from refcodec.datasets.layout import BoxAssumption, Draft, FrameDraft, pictures_in
from refcodec.datasets.lenses import MODELS, Lens
from refcodec.datasets.model import Notice, View
from refcodec.datasets.naming import Names
from refcodec.errors import DatasetError

# Folders of models, of which COLMAP numbers the parts; the last but one is what 3DGS's convert.py starts from.
_MODEL_FOLDERS = ("sparse", "colmap/sparse", "dense/sparse", "dense/0/sparse", "distorted/sparse", "")
_PICTURE_FOLDERS = ("images", "input", "")
_MIN_SHARE = 0.8  # of the pictures, that a model should have poses for
FILES = ("cameras", "images")
_NAMES = {number: name for name, (number, _, _) in MODELS.items()}
_EQUIRECTANGULAR = 17
# A point that only two pictures show is as likely as not a wrong match.
_LOOKED_FOR = 8  # pictures, of which some may be deleted
_MIN_TRACK, _MIN_POINTS = 3, 16
_BOX_QUANTILE, _BOX_MARGIN = 0.01, 0.05


@dataclass(frozen=True)
class _Image:
    name: str
    rotation: np.ndarray
    translation: np.ndarray
    camera_id: int


def find_model(root: Path) -> Path | None:
    """The folder with the sparse model of `root`, which may be that folder itself; of several the largest."""
    for name in _MODEL_FOLDERS:
        folder = root / name
        if not folder.is_dir():
            continue
        parts = [folder / part for part in ("0", *_numbers(folder)) if _is_model(folder / part)]
        if name and parts or not name and not _is_model(folder) and parts:
            return max(dict.fromkeys(parts), key=_picture_count)
        if _is_model(folder):
            return folder
    return None


def _numbers(folder: Path) -> list[str]:
    return sorted((path.name for path in folder.iterdir() if path.name.isdigit() and path.is_dir()), key=int)


def _is_model(folder: Path) -> bool:
    return any(all((folder / f"{file}{extension}").is_file() for file in FILES) for extension in (".bin", ".txt"))


def _picture_count(model: Path) -> int:
    """Number of pictures that a model has poses for, from its header; 0 where it can't be read."""
    try:
        if (model / "images.bin").is_file():
            with open(model / "images.bin", "rb") as file:
                return int(struct.unpack("<Q", file.read(8))[0])
        with open(model / "images.txt", encoding="utf-8", errors="replace") as file:
            return sum(len(line.split()) >= 10 and not line.startswith("#") for line in file)
    except (OSError, struct.error):
        return 0


def read_model(root: Path, model: Path) -> Draft:
    """One frame with all of a model's pictures; the camera's name is the picture's. Raises DatasetError D02, D08."""
    extension = ".bin" if all((model / f"{name}.bin").is_file() for name in FILES) else ".txt"
    paths = {name: model / f"{name}{extension}" for name in (*FILES, "points3D")}
    binary = extension == ".bin"
    lenses = (_binary_cameras if binary else _text_cameras)(paths["cameras"])
    images = (_binary_images if binary else _text_images)(paths["images"])
    if not images:
        raise DatasetError("D08", "the model holds no pictures", paths["images"])
    draft = Draft([], is_sequence=False)
    pictures = _picture_folder(root, model, images)
    names, mask_names = Names(pictures), _mask_names(pictures)
    views = []
    for index, image in enumerate(sorted(images, key=lambda image: image.name)):
        try:
            lens = lenses.get(image.camera_id)
            if lens is None:
                raise DatasetError("D02", f"{image.name} was taken by camera {image.camera_id}, which is not in "
                                   f"{paths['cameras'].name}", paths["images"])
            if isinstance(lens, DatasetError):
                raise lens
            camera, distorted = checks.lens_camera(lens, _pose(image, paths["images"]), image.name, paths["cameras"])
            mask = mask_of(mask_names, image.name) if mask_names else None
            views.append(View(camera, names.where(image.name), mask, "train", index, distorted))
        except DatasetError as error:
            draft.problems.add(error)
    draft.frames.append(FrameDraft(0, 0.0, views))
    draft.assumptions += names.notes()
    _count(draft, root, model, len(images), pictures)
    if paths["points3D"].is_file():
        points = (_binary_points if binary else _text_points)(paths["points3D"])
        draft.aabb = box_of_points(points)
        if draft.aabb is not None:
            draft.assumptions.append(BoxAssumption(
                f"the box holds the middle {1 - 2 * _BOX_QUANTILE:.0%} of the model's {len(points)} points along each "
                f"axis, and {_BOX_MARGIN:.0%} more to each side"))
    return draft


def _count(draft: Draft, root: Path, model: Path, registered: int, pictures: Path) -> None:
    """Says which of several models this is, and how many of the pictures it has poses for."""
    others = [(name, _picture_count(model.parent / name)) for name in _numbers(model.parent)
              if model.parent / name != model and _is_model(model.parent / name)]
    if model.name.isdigit() and others:
        listed = ", ".join(f"{name} has {count}" for name, count in others)
        draft.assumptions.append(f"model {model.name} of the several in {model.parent.name}/, with poses of "
                                 f"{registered} "
                                 f"pictures; its pictures are not aligned with those of the others ({listed}; to take "
                                 f"one of them, give the path of its folder)")
    found = len(pictures_in(pictures))
    if pictures.is_dir() and registered < _MIN_SHARE * found:
        draft.notices.append(Notice("W17", f"the model has poses for {registered} of the {found} pictures in "
                                    f"{pictures.name}/: COLMAP could not place the others; more overlap between "
                                    "pictures, or exhaustive matching, helps", model))


def box_of_points(points: np.ndarray) -> np.ndarray | None:
    """A box around most of (n, 3) points, (2, 3); None if they are too few or flat."""
    if len(points) < _MIN_POINTS:
        return None
    low, high = np.quantile(points, (_BOX_QUANTILE, 1 - _BOX_QUANTILE), axis=0)
    if not (low < high).all():
        return None
    margin = _BOX_MARGIN * (high - low)
    return np.stack([low - margin, high + margin])


def _pose(image: _Image, path: Path) -> np.ndarray:
    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(image.rotation))
    if not (math.isfinite(length) and abs(length - 1) < 1e-2):
        raise DatasetError("D06", f"the pose of {image.name} has a quaternion of length {length:g}, not 1", path)
    w, x, y, z = image.rotation / length
    rotation = np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                         [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                         [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]])
    to_world = np.column_stack([rotation.T * (1, -1, -1), -rotation.T @ image.translation])
    return checks.pose(to_world, image.name, path)


def _lens(name: str, width: int, height: int, values: tuple[float, ...], camera_id: int,
          path: Path) -> Lens:
    _, focal, extra = MODELS[name]
    if len(values) != focal + 2 + extra:
        raise DatasetError("D02", f"camera {camera_id} ({name}) has {len(values)} parameters, not {focal + 2 + extra}",
                           path)
    fx, fy = values[0], values[focal - 1]
    return Lens(name, width, height, fx, fy, values[focal], values[focal + 1], tuple(values[focal + 2:]))


def _unknown_model(camera_id: int, name: str | int, path: Path) -> DatasetError:
    return DatasetError("D11", f"camera {camera_id} is of the model {name}, which can't be undistorted here: use "
                        "COLMAP's image_undistorter, or make perspective views", path)


def _mask_names(pictures: Path) -> Names | None:
    is_inner = pictures.name.casefold() in _PICTURE_FOLDERS or pictures.name.startswith("images_")
    folder = (pictures.parent if is_inner else pictures) / "masks"
    return Names(folder, extensions=True) if folder.is_dir() else None


def mask_of(masks: Names, name: str) -> Path | None:
    """COLMAP names a mask after its picture, with .png behind; others replace the extension."""
    stem = name.rpartition(".")[0] or name
    return next((path for n in (f"{name}.png", name, stem) if (path := masks.find(n))), None)


def _folders(base: Path) -> list[Path]:
    """Folders that may hold pictures, whatever the case of its letters."""
    if not base.is_dir():
        return []
    inner = {path.name.casefold(): path for path in sorted(base.iterdir()) if path.is_dir()}
    return [inner[name] if name else base for name in _PICTURE_FOLDERS if not name or name in inner]


def _picture_folder(root: Path, model: Path, images: list[_Image]) -> Path:
    """The folder of the first of the model's pictures that exists; `images` of the root, if none does."""
    around = dict.fromkeys([root, model, *list(model.parents)[:3]])
    folders = [folder for base in around for folder in _folders(base)]
    first = sorted(image.name for image in images)[:_LOOKED_FOR]
    for name in first:
        if exact := next((folder for folder in folders if os.path.isfile(folder / name)), None):
            return exact
    for folder in folders:
        if any(Names(folder).find(name) for name in first):
            return folder
    return root / "images"


# ---- Binary files ------------------------------------------------------------


class _Bytes:
    """A little-endian file in memory, read in order; reading past its end is D02."""

    def __init__(self, path: Path) -> None:
        self.path, self.offset = path, 0
        try:
            self.data = path.read_bytes()
        except OSError as error:
            raise DatasetError("D02", f"can't read the file: {error.strerror}", path) from error

    def take(self, layout: str) -> tuple[Any, ...]:
        fields = struct.Struct("<" + layout)
        start = self.skip(fields.size)
        return fields.unpack_from(self.data, start)

    def skip(self, count: int) -> int:
        """The offset before the skipped bytes."""
        start, end = self.offset, self.offset + count
        if end > len(self.data):
            raise DatasetError("D02", f"the file ends at byte {len(self.data)}, in what starts at byte {start}",
                               self.path)
        self.offset = end
        return start

    def count(self, smallest: int) -> int:
        """A number of things of at least `smallest` bytes each, that the file has room for."""
        start = self.offset
        count: int = self.take("Q")[0]
        if count > (len(self.data) - self.offset) // smallest:
            raise DatasetError("D02", f"the count at byte {start} is {count}, more than the file has room for",
                               self.path)
        return count

    def text(self) -> str:
        end = self.data.find(b"\0", self.offset)
        if end < 0:
            raise DatasetError("D02", f"the name at byte {self.offset} has no end", self.path)
        start = self.skip(end + 1 - self.offset)
        try:
            return self.data[start:end].decode()
        except UnicodeDecodeError as error:
            raise DatasetError("D02", f"the name at byte {start} is not UTF-8", self.path) from error

    def end(self) -> None:
        if self.offset != len(self.data):
            raise DatasetError("D02", f"{len(self.data) - self.offset} bytes follow the last entry", self.path)


def _binary_cameras(path: Path) -> dict[int, Lens | DatasetError]:
    """Lenses by camera; a DatasetError in place of one that can't be used, for the pictures that need it."""
    data = _Bytes(path)
    lenses: dict[int, Lens | DatasetError] = {}
    for _ in range(data.count(24)):
        camera_id, number, width, height = data.take("IiQQ")
        if number not in _NAMES:
            if number != _EQUIRECTANGULAR:  # how many parameters to skip is not known
                raise _unknown_model(camera_id, number, path)
            data.skip(16)
            lenses[camera_id] = _unknown_model(camera_id, "EQUIRECTANGULAR", path)
            continue
        name = _NAMES[number]
        _, focal, extra = MODELS[name]
        lenses[camera_id] = _lens(name, width, height, data.take(f"{focal + 2 + extra}d"), camera_id, path)
    data.end()
    return lenses


def _binary_images(path: Path) -> list[_Image]:
    data, images = _Bytes(path), []
    for _ in range(data.count(73)):
        _, *pose, camera_id = data.take("I7dI")
        name = data.text()
        data.skip(24 * data.count(24))
        images.append(_Image(name, np.array(pose[:4]), np.array(pose[4:]), camera_id))
    data.end()
    return images


def _binary_points(path: Path) -> np.ndarray:
    data, points, tracks = _Bytes(path), [], []
    for _ in range(data.count(51)):
        _, x, y, z, *_ = data.take("Q3d3Bd")
        track = data.count(8)
        data.skip(8 * track)
        points.append((x, y, z))
        tracks.append(track)
    data.end()
    return _seen_often(points, tracks)


def _seen_often(points: Sequence[Sequence[float]], tracks: Sequence[int]) -> np.ndarray:
    """Finite points of enough pictures, or all where there are none such."""
    array, often = np.array(points, np.float64).reshape(-1, 3), np.array(tracks) >= _MIN_TRACK
    finite = np.isfinite(array).all(1)
    chosen: np.ndarray = array[finite & often if often.any() else finite]
    return chosen


# ---- Text files --------------------------------------------------------------


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbered lines without comments; empty ones count, as a picture without points has one."""
    text = read_text(path)
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return [(number, line) for number, line in lines if not line.startswith("#")]


def _fields(words: list[str], kinds: tuple[type[int | float | str], ...], path: Path, number: int) -> list[Any]:
    """The first words of a line, converted."""
    try:
        return [kind(word) for kind, word in zip(kinds, words, strict=True)]
    except (ValueError, OverflowError) as error:
        raise DatasetError("D02", f"line {number} can't be read: {error}", path) from error


def _text_cameras(path: Path) -> dict[int, Lens | DatasetError]:
    lenses: dict[int, Lens | DatasetError] = {}
    for number, line in _lines(path):
        if not line:
            continue
        words = line.split()
        camera_id, name, width, height = _fields(words[:4], (int, str, int, int), path, number)
        if name not in MODELS:
            lenses[camera_id] = _unknown_model(camera_id, name, path)
            continue
        values = _fields(words[4:], (float,) * len(words[4:]), path, number)
        lenses[camera_id] = _lens(name, width, height, tuple(values), camera_id, path)
    return lenses


def _text_images(path: Path) -> list[_Image]:
    images, lines = [], [(number, line) for number, line in _lines(path)]
    position = 0
    while position < len(lines):
        number, line = lines[position]
        position += 1
        if not line:
            continue
        *values, name = _fields(line.split(maxsplit=9), (int, *(float,) * 7, int, str), path, number)
        images.append(_Image(name, np.array(values[1:5]), np.array(values[5:8]), values[8]))
        # The second line holds its points. Some programs leave it out: then the next picture follows.
        if position < len(lines) and not _starts_picture(lines[position][1]):
            position += 1
    return images


def _starts_picture(line: str) -> bool:
    """Whether a line has a picture's ten words, the last a name; a line of points has three numbers for each."""
    words = line.split(maxsplit=9)
    if len(words) < 10 or not (words[0].isdigit() and words[8].isdigit()):
        return False
    try:
        float(words[9].split()[0])
    except ValueError:
        return True
    return False


def _text_points(path: Path) -> np.ndarray:
    points, tracks = [], []
    for number, line in _lines(path):
        if line:
            words = line.split()
            points.append(_fields(words[:4], (int, float, float, float), path, number)[1:])
            tracks.append(max(0, len(words) - 8) // 2)
    return _seen_often(points, tracks)
