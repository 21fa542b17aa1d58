"""Points of a comparison are stored: a file, and a record of its inputs and measurements. A point is reused when its
record names the same key (everything that it depends on) and its file is still the one that was measured; else both are
made again.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..datasets import Dataset
from ..files import replacing


def key_of(dataset: Dataset, *content: object) -> str:
    """A digest of the program's version, a dataset's pictures and box, and whatever else a point depends on."""
    pictures = [(f.number, [(str(v.image), v.image_position, v.image.stat().st_size, v.split) for v in f.views])
                for f in dataset.frames]
    text = json.dumps([__version__, *content, pictures, dataset.aabb.tolist()], default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str | None:
    """SHA-256 of a file, None where there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def write_json(path: Path, value: object) -> None:
    """Writes a JSON file that is there as a whole or not at all. Raises UsageError."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8", newline="\n")


@dataclass(frozen=True, slots=True)
class PointStore:
    """The points of one folder, each `<stem><suffix>` and `<stem>.json`. tell: what is going on."""

    folder: Path
    tell: Callable[[str], None] = lambda text: None

    def point(self, stem: str, suffix: str, key: str, make: Callable[[Path], float],
              measure: Callable[[Path, float], dict[str, Any]]) -> dict[str, Any]:
        """The measurements of a point, from its record where that is up to date.

        make(path): writes the file, returns the seconds that it took. measure(path,
        seconds): the point as plain JSON values. What they raise passes through.
        """
        path, record = self.folder / f"{stem}{suffix}", self.folder / f"{stem}.json"
        known = _recorded(record)
        if known.get("key") != key or known.get("file") != file_digest(path):
            seconds = make(path)
            self.tell(f"measuring {stem}")
            known = dict(key=key, file=file_digest(path), point=measure(path, seconds))
            write_json(record, known)
        point: dict[str, Any] = known["point"]
        return point


def _recorded(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
