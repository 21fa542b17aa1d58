"""Files that a calibration names, however it spells them.

Calibrations travel between machines: names come with backslashes, drive letters, other letters' case, without an
extension, or with the whole path that they had elsewhere. A name is looked for as it is first; other spellings count
as found too, and `Names.respelled` says so.
"""
from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
_COPIES = (2, 4, 8)
_DRIVE = re.compile(r"^[A-Za-z]:/")


class Names:
    """Looks files up under some folders, the first folder that has one counting.

    respelled: names that were found under another spelling, with the file. smaller: folders of smaller copies used.
    """

    def __init__(self, *roots: Path, extensions: bool = False) -> None:
        self.roots = tuple(dict.fromkeys(roots))
        self.extensions = extensions
        self.respelled: dict[str, Path] = {}
        self.smaller: set[str] = set()
        self._folders: dict[Path, dict[str, str]] = {}

    def find(self, name: str) -> Path | None:
        """The file that `name` means; None where there is none."""
        for root in self.roots:
            if os.path.isfile(root / name):
                return root / name
            if self.extensions and (found := self._with_extension(root / name)):
                return found
        found = self._respelled(name)
        if found is not None:
            self.respelled[name] = found
        return found or self._smaller(name)

    def where(self, name: str) -> Path:
        """The file, or the path under which it is missing."""
        return self.find(name) or self.roots[0] / name

    def notes(self) -> list[str]:
        """Notes on other spellings and smaller copies."""
        notes = []
        if self.smaller:
            notes.append(f"the pictures are the smaller copies in {', '.join(sorted(self.smaller))}/, as the "
                         "full-size ones "
                         "are not there")
        if not self.respelled:
            return notes
        name, path = next(iter(self.respelled.items()))
        return [*notes, f"{len(self.respelled)} file{'s are' if len(self.respelled) > 1 else ' is'} spelled otherwise "
                        "on disk "
                f"than in the calibration: {name} is {path}"]

    def _smaller(self, name: str) -> Path | None:
        """The largest of the smaller copies of a folder (images_2/ for images/) that has the file."""
        parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in (".", "..")]
        if not parts or parts[0].startswith("/") or "\0" in name or len(name) > 4096:
            return None
        for root in self.roots:
            for factor in _COPIES:
                places = [(root.with_name(f"{root.name}_{factor}"), parts)] if root.name else []
                if len(parts) > 1:
                    places.append((root, [f"{parts[0]}_{factor}", *parts[1:]]))
                for folder, tail in places:
                    if folder.is_dir() and (found := self._any_case(folder, tail)):
                        self.smaller.add(str(found.relative_to(folder).parts[0] if folder == root else folder.name))
                        return found
        return None

    def _with_extension(self, path: Path) -> Path | None:
        return next((Path(f"{path}{e}") for e in EXTENSIONS + tuple(e.upper() for e in EXTENSIONS)
                     if os.path.isfile(f"{path}{e}")), None)

    def _respelled(self, name: str) -> Path | None:
        plain = name.replace("\\", "/")
        absolute = bool(_DRIVE.match(plain)) or plain.startswith("/")
        parts = [part for part in PurePosixPath(_DRIVE.sub("", plain).lstrip("/")).parts if part != "."]
        if not parts or "\0" in name or len(name) > 4096:
            return None
        # Of a path from another machine, the longest end that exists here.
        tails = [parts[i:] for i in range(len(parts))] if absolute else [parts]
        for tail in tails:
            for root in self.roots:
                if found := self._any_case(root, tail):
                    return found
        return None

    def _any_case(self, folder: Path, parts: list[str]) -> Path | None:
        for part in parts[:-1]:
            if part == "..":
                folder = folder / part
                continue
            actual = part if os.path.isdir(folder / part) else self._entries(folder).get(part.casefold())
            if actual is None:
                return None
            folder = folder / actual
        entries, last = self._entries(folder), parts[-1].casefold()
        endings = ("", *EXTENSIONS) if self.extensions else ("",)
        names = [entries[last + e] for e in endings if last + e in entries]
        return next((folder / n for n in names if os.path.isfile(folder / n)), None)

    def _entries(self, folder: Path) -> dict[str, str]:
        """Names in a folder by their case-folded spelling."""
        if folder not in self._folders:
            try:
                self._folders[folder] = {name.casefold(): name for name in sorted(os.listdir(folder), reverse=True)}
            except (OSError, ValueError):
                self._folders[folder] = {}
        return self._folders[folder]


def names_beside(path: Path, limit: int = 3) -> str:
    """A few files of the folder of `path` with the same stem, for messages; empty where there are none."""
    try:
        found = sorted(p.name for p in path.parent.iterdir() if p.stem.casefold() == path.stem.casefold())
    except (OSError, ValueError):
        return ""
    return ", ".join(found[:limit])


def normalised(name: str) -> str:
    """A spelling that equals that of other names of the same file: slashes, no `./`, no `..` inside."""
    return os.path.normpath(name.replace("\\", "/"))

