"""The result of every layout's reader."""
from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from refcodec.datasets.checks import Problems
from refcodec.datasets.lenses import Lens
from refcodec.datasets.model import Notice, View
from refcodec.errors import DatasetError
from refcodec.rendering.cameras import Camera

_STANDS = 1e-2  # of the rig's extent: how far a standing camera's poses may differ
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
FrameSelection = range | slice | None
MaskOption = Literal["auto", "foreground", "ignore", "none"]


@dataclass(frozen=True)
class DatasetLayout:
    """One way to lay a dataset out. The registry asks each in turn; docs and schema are made from these.

    name: in reports. rows: of the documentation's table: (layout, files). axes, pixels, world: the layout's
    conventions; empty for one that shares another's. find: what `read` needs, where a folder (or file) has this layout,
    else None. near: where a folder lacks a little to be it, what was seen and what is missing. read: the dataset as its
    files describe it. masks: what its masks mean where the caller does not say.
    """

    name: str
    rows: tuple[tuple[str, str], ...]
    find: Callable[[Path], Any]
    read: Callable[[Path, Any, FrameSelection], Draft]
    near: Callable[[Path], str | None] = lambda root: None
    axes: str = ""
    pixels: str = ""
    world: str = ""
    masks: MaskOption = "foreground"


@dataclass
class FrameDraft:
    """A frame before splits are settled; the views' split is "test" where the layout says so."""

    number: int
    time: float
    views: list[View]


class BoxAssumption(str):
    """An assumption, in words, about the scene's box: one that another box makes idle."""


class CubeAssumption(BoxAssumption):
    """That the box is instant-ngp's cube, which is no more than a bound."""


@dataclass
class Draft:
    """A dataset as its files describe it.

    is_sequence: the layout has frames, even if one only was chosen.
    has_split: the layout itself says which views are held out.
    aabb, background, frame_rate: None where the layout does not say.
    assumptions: see Dataset. notices: warnings so far. masks: in place of the layout's.
    held_out_problems: errors of held-out views, which can be left out.
    foreign_poses: the calibration's file does not say which axes its poses have. partial: some of what it lists is
        left out on purpose, or could not be read.
    """

    frames: list[FrameDraft]
    is_sequence: bool
    has_split: bool = False
    aabb: np.ndarray | None = None
    background: tuple[float, float, float] | None = None
    frame_rate: float | None = None
    problems: Problems = field(default_factory=Problems)
    assumptions: list[str] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    masks: MaskOption | None = None
    held_out_problems: Problems = field(default_factory=Problems)
    foreign_poses: bool = False
    partial: bool = False


@dataclass
class RigCamera:
    """A camera of a rig: its pictures, and masks if there are any, by frame."""

    index: int
    camera: Camera
    pictures: Mapping[int, Path]
    masks: Mapping[int, Path] | None = None
    lens: Lens | None = None
    split: Literal["train", "test"] = "train"


def rig_draft(cameras: list[RigCamera], selection: FrameSelection, root: Path, rate: float | None = None) -> Draft:
    """The chosen ones of the frames that all cameras show. Raises DatasetError D08, D10."""
    cameras = [c for c in cameras if c.pictures]
    if not cameras:
        raise DatasetError("D08", "none of the calibrated cameras has pictures", root)
    common = set.intersection(*(set(c.pictures) for c in cameras))
    if not common:
        raise DatasetError("D10", "there is no frame that all cameras show: each camera's pictures must have the same "
                           "numbers", root)
    draft = Draft([], is_sequence=len(set.union(*(set(c.pictures) for c in cameras))) > 1, frame_rate=rate)
    lacking = sorted(set.union(*(set(c.pictures) for c in cameras)) - common)
    if lacking:
        short = min(cameras, key=lambda c: len(c.pictures))
        draft.assumptions.append(f"only the {len(common)} frames that all cameras show: frame {lacking[0]} and "
                                 f"{len(lacking) - 1} others are missing from some, camera {short.camera.name} has "
                                 f"{len(short.pictures)}")
    for number in select_frames(common, selection, root):
        views = []
        for c in cameras:
            mask = None if c.masks is None else c.masks.get(number)
            views.append(View(c.camera, c.pictures[number], mask, c.split, c.index, c.lens))
        draft.frames.append(FrameDraft(number, number / rate if rate else float(number), views))
    draft.has_split = any(c.split == "test" for c in cameras)
    return draft


def instants(names: list[str], poses: list[np.ndarray]) -> list[tuple[int, int]] | None:
    """(camera, frame) of pictures that are instants of a standing rig, one folder a camera; else None.

    names: cam00/0000.png, … poses: camera to world (3, 4). They are where several folders hold the same two or more
    numbers, and the camera of a folder stands still while the folders differ. A camera that is carried about is no
    such thing.
    """
    split = [Path(name.replace("\\", "/")) for name in names]
    numbers = [last_number(path.stem) for path in split]
    folders: dict[str, dict[int, int]] = {}
    for i, (path, number) in enumerate(zip(split, numbers, strict=True)):
        if number is None or number in folders.setdefault(str(path.parent), {}):
            return None
        folders[str(path.parent)][number] = i
    shown = {frozenset(own) for own in folders.values()}
    if len(folders) < 2 or len(shown) != 1 or len(next(iter(shown))) < 2:
        return None
    positions = np.array([pose[:, 3] for pose in poses])
    extent = float(np.ptp(positions, axis=0).max())
    for own in folders.values():
        if np.ptp(positions[list(own.values())], axis=0).max() > _STANDS * extent:
            return None
    rank = {folder: i for i, folder in enumerate(sorted(folders))}
    return [(rank[str(path.parent)], number or 0) for path, number in zip(split, numbers, strict=True)]


def select_frames(numbers: Iterable[int], selection: FrameSelection, path: Path) -> list[int]:
    """The chosen frame numbers, ascending.

    A slice counts positions, as in a list; a range names frame numbers, all of which
    must exist. Raises DatasetError D10.
    """
    numbers = sorted(numbers)
    if selection is None:
        chosen = numbers
    elif isinstance(selection, slice):
        chosen = sorted(numbers[selection])
    else:
        chosen = sorted(selection)
        missing = sorted(set(chosen) - set(numbers))
        if missing:
            raise DatasetError("D10", f"frame {missing[0]} does not exist; the dataset has "
                               f"{len(numbers)} frames, {numbers[0]} to {numbers[-1]}", path)
    if not chosen:
        raise DatasetError("D10", f"no frame is selected; the dataset has {len(numbers)}", path)
    return chosen


def numbered(paths: Iterable[Path], parent: Path) -> Mapping[int, Path]:
    """Paths by the last number in their stem. Raises DatasetError D10 for a number used twice."""
    result: dict[int, Path] = {}
    for path in sorted(paths):
        value = last_number(path.stem if path.is_file() else path.name)
        if value is None:
            continue
        if value in result:
            raise DatasetError("D10", f"{path.name} and {result[value].name} are both frame {value}", parent)
        result[value] = path
    return result


def last_number(text: str) -> int | None:
    """The last run of digits in `text`."""
    digits = re.findall(r"[0-9]+", text)
    return int(digits[-1]) if digits else None


def pictures_in(folder: Path) -> list[Path]:
    """The pictures in a folder by name; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir()
                  if path.suffix.lower() in _PICTURES and not path.name.startswith("."))
