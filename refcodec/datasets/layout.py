"""What every layout's reader hands to the loader."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from refcodec.datasets.checks import Problems
from refcodec.datasets.model import View
from refcodec.errors import DatasetError

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
FrameSelection = range | slice | None


@dataclass
class FrameDraft:
    """A frame before splits are settled; the views' split is "test" where the layout says so."""

    number: int
    time: float
    views: list[View]


@dataclass
class Draft:
    """A dataset as its files describe it.

    is_sequence: the layout has frames, even if one only was chosen.
    has_split: the layout itself says which views are held out.
    aabb, background, frame_rate: None where the layout does not say.
    assumptions: see Dataset.
    """

    frames: list[FrameDraft]
    is_sequence: bool
    has_split: bool = False
    aabb: np.ndarray | None = None
    background: tuple[float, float, float] | None = None
    frame_rate: float | None = None
    problems: Problems = field(default_factory=Problems)
    assumptions: list[str] = field(default_factory=list)


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
