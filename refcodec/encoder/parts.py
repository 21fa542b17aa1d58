"""The complete frames of an encode on disk: one part file for each group, and a journal.

For OUT there are OUT.partial.0, OUT.partial.1 ..., the streams of groups up to their last
whole frame (`group.encode_group`), and OUT.partial.json, which says of which encode they
are and holds the results of their frames. OUT.partial.0.training ... hold the state of
the training of a frame that is not finished (`checkpoint`).
"""
from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import stem_of
from ..writer import FrameReport
from .group import CodedFrame, FrameResult, read_group


@dataclass(slots=True)
class GroupPart:
    """The complete frames of a group: results, tensor digests, and the length of its stream."""

    results: list[FrameResult] = field(default_factory=list)
    digests: list[list[str]] = field(default_factory=list)
    size: int = 0


def journal_of(out: Path) -> Path:
    """The journal of the encode into `out`; there is one while frames are finished and the file is not."""
    stem = stem_of(out)
    return stem.with_name(f"{stem.name}.partial.json")


class Parts:
    """The parts of the encode into `out`.

    fingerprint: of dataset and options; parts with another one are thrown away, and so
    are all without `resume`. iterations: that a time budget chose; `save` keeps them.
    Raises UsageError when the folder can't be written.
    """

    def __init__(self, out: Path, fingerprint: str, groups: int, resume: bool):
        self.out, self.fingerprint, self.stem = out, fingerprint, stem_of(out)
        self.journal = journal_of(out)
        self.parts = [GroupPart() for _ in range(groups)]
        self.iterations: tuple[int, int] | None = None
        same = False
        try:
            journal = json.loads(self.journal.read_text()) if resume else {}
            if same := journal.get("fingerprint") == fingerprint:
                if (chosen := journal.get("iterations")) is not None:
                    self.iterations = int(chosen[0]), int(chosen[1])
                for number, results in journal["groups"].items():
                    self._take_up(int(number), [_result(r) for r in results])
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            pass  # no journal, or none of ours: nothing is finished
        for number, path in self._files():
            if number >= groups or not self.parts[number].results:
                path.unlink()
        if not same:
            self._remove_checkpoints()
        self.save()

    def __getitem__(self, number: int) -> GroupPart:
        return self.parts[number]

    def __iter__(self) -> Iterator[GroupPart]:
        return iter(self.parts)

    @property
    def results(self) -> list[FrameResult]:
        """Of all frames so far, in the order of the sequence."""
        return [r for part in self.parts for r in part.results]

    def path(self, number: int) -> Path:
        """Of a group's part file."""
        return self.stem.with_name(f"{self.stem.name}.partial.{number}")

    def checkpoint(self, number: int) -> Path:
        """Of a group's file with the state of a training (`checkpoint.CheckpointFile`)."""
        return self.stem.with_name(f"{self.stem.name}.partial.{number}.training")

    @property
    def is_begun(self) -> bool:
        """Whether there is anything worth keeping: a finished frame, or a training on its way."""
        return bool(self.results) or any(self.checkpoint(i).exists() for i in range(len(self.parts)))

    def stream(self, number: int) -> bytes:
        """A group's stream up to its last finished frame."""
        part = self.parts[number]
        return self.path(number).read_bytes()[:part.size] if part.results else b""

    def append(self, number: int, frame: CodedFrame) -> None:
        """Adds a group's next frame."""
        part = self.parts[number]
        try:
            with open(self.path(number), "r+b" if part.size else "wb") as file:
                file.truncate(part.size)
                file.seek(part.size)
                file.write(frame.data)
        except OSError as e:
            raise self._refused(e) from None
        part.size += len(frame.data)
        part.results.append(frame.result)
        part.digests.append(frame.digests)
        self.save()

    def remove(self) -> None:
        """Deletes part files, checkpoints and journal."""
        for _, path in self._files():
            path.unlink()
        self._remove_checkpoints()
        self.journal.unlink(missing_ok=True)

    def _remove_checkpoints(self) -> None:
        prefix = re.escape(f"{self.stem.name}.partial.")
        for path in list(self.out.parent.iterdir()):
            if re.fullmatch(prefix + r"\d+\.training(\.new)?", path.name):
                path.unlink(missing_ok=True)

    def _take_up(self, number: int, results: list[FrameResult]) -> None:
        """The frames of a part that are whole."""
        if number >= len(self.parts) or not self.path(number).exists():
            return
        found = read_group(self.path(number).read_bytes(), len(results))
        if found.digests:
            self.parts[number] = GroupPart(results[:len(found.digests)], found.digests, found.size)

    def _files(self) -> list[tuple[int, Path]]:
        """Part files that are there, whoever wrote them."""
        prefix = f"{self.stem.name}.partial."
        return [(int(p.name[len(prefix):]), p) for p in self.out.parent.iterdir()
                if p.name.startswith(prefix) and p.name[len(prefix):].isdecimal()]

    def save(self) -> None:
        """Writes the journal."""
        groups = {i: [dataclasses.asdict(r) for r in part.results] for i, part in enumerate(self.parts) if part.results}
        temporary = self.journal.with_name(f"{self.journal.name}.new")
        try:
            temporary.write_text(json.dumps(dict(fingerprint=self.fingerprint, groups=groups,
                                                 iterations=self.iterations)))
            os.replace(temporary, self.journal)
        except OSError as e:
            temporary.unlink(missing_ok=True)
            raise self._refused(e) from None

    def _refused(self, error: OSError) -> UsageError:
        return UsageError(f"can't write {self.out}: its finished frames can't be kept: {error.strerror}")


def _result(r: dict[str, Any]) -> FrameResult:
    """Inverse of `dataclasses.asdict`, from JSON."""
    report = dict(r["report"])
    for name in ("tensors", "ideal_bits", "masks"):
        report[name] = {int(k): v for k, v in report[name].items()}
    return FrameResult(**{**r, "report": FrameReport(**report)})
