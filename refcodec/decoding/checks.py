"""Requirements that tie the units of a stream to each other, once for decoder, validator and repair (spec 3.2, 3.3)."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import BitstreamError
from ..syntax import structures as syn
from ..syntax.declare import Trace
from .index import IndexEntry


class Fault(NamedTuple):
    """A broken requirement of a unit. element: path of the syntax element."""

    requirement: str
    element: str
    detail: str

    def error(self, trace: Trace) -> BitstreamError:
        """The error at the element's place in the parsed unit."""
        return BitstreamError(self.requirement, trace.offset(self.element), self.element, self.detail)


@dataclass(frozen=True, slots=True)
class Position:
    """The scene, frame number and time stamp that a stream has come to; those that follow are larger."""

    scene: int = 0
    number: int = -1
    time_stamp: int = -1

    def of_scene(self, scene: int) -> Position:
        """The position as a group of this scene finds it: time stamps start again with every scene."""
        return self if scene == self.scene else Position(scene, self.number)

    def group_fault(self, scene: int, first: int, frames: int) -> Fault | None:
        """R-GRP-06, R-GRP-04: a group of `frames` frames from number `first` on."""
        if scene < self.scene:
            return Fault("R-GRP-06", "group_header.scene_id",
                         f"It is {scene}; a group of scene {self.scene} came before.")
        if first <= self.number or first + frames > 1 << 32:
            return Fault("R-GRP-04", "group_header.first_frame_number",
                         f"It is {first}; frame {self.number} came before.")
        return None

    def time_fault(self, time_stamp: int) -> Fault | None:
        """R-FRM-04: the next frame of the scene."""
        if time_stamp > self.time_stamp:
            return None
        return Fault("R-FRM-04", "frame.time_stamp", f"It is {time_stamp} after {self.time_stamp}.")


def group_frames_fault(declared: int, found: int) -> Fault | None:
    """R-GRP-05: a group that declares so many frames, and of which `found` have come."""
    if found == declared:
        return None
    return Fault("R-GRP-05", "group_header.frame_count", f"The group declares {declared} frames; {found} follow.")


def index_fault(index: syn.IndexSyntax, entries: Sequence[IndexEntry]) -> Fault | None:
    """R-IDX-01: a parsed index against the frames that came before it."""
    found: list[tuple[int, int, int]] = [(e.indexed_frame, e.indexed_type, e.frame_offset) for e in index.entry]
    if found == list(entries):
        return None
    same = next((i for i, (a, b) in enumerate(zip(found, entries)) if a != b), min(len(found), len(entries)))
    return Fault("R-IDX-01", f"index.entry[{same}].indexed_frame" if same < len(found) else "index.index_count",
                 f"Entry {same} of {len(found)} is not that of frame {same} of {len(entries)}.")


def indexed_group_fault(indexed: int | None, first: int) -> Fault | None:
    """R-IDX-01: a group header, found through the entry of frame `indexed`, whose first frame is `first`."""
    if indexed in (None, first):
        return None
    return Fault("R-IDX-01", "index.entry.frame_offset",
                 f"The index says that frame {indexed} begins here, not frame {first}.")


def totals_fault(end: syn.EndSyntax, groups: int, frames: int) -> Fault | None:
    """R-END-01: a parsed end unit against the groups and frames of the stream."""
    if (end.group_total, end.frame_total) == (groups, frames):
        return None
    return Fault("R-END-01", "end.group_total", f"It counts {end.group_total} groups and {end.frame_total} frames; "
                 f"the stream holds {groups} and {frames}.")


def index_offset_fault(end: syn.EndSyntax, index_offset: int) -> Fault | None:
    """R-END-02: a parsed end unit against the offset of the index, 0 where there is none."""
    if end.index_offset == index_offset:
        return None
    return Fault("R-END-02", "end.index_offset", f"It is {end.index_offset}; the index is at {index_offset}.")
