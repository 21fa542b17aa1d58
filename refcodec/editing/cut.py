"""Cutting frames out of a file (spec 3.5)."""
from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from ..errors import UsageError
from ..syntax.registry import UnitType
from ..writer import UnitWriter
from .source import EditReport, Source, frame_head


def cut(file: BinaryIO, out: BinaryIO, wanted: range, *, exact: bool = False,
        progress: Callable[[int], None] = lambda frame: None) -> EditReport:
    """Writes the frames with these numbers to `out` as a file; works from pipe to pipe.

    The first group is taken from its I-frame, since what follows it depends on it; the
    last ends with the last frame wanted. Numbers, time stamps and all payloads stay as
    they are. exact: refuse where that would give frames before `wanted.start`. progress:
    called with the number of each frame written. Nothing behind the group of the last frame
    is read but the next group header. Raises BitstreamError, UsageError.
    """
    source = Source(file)
    source.seek_frame(wanted.start)
    writer, report = UnitWriter(out, source.header, source.file_header.level), EditReport()
    report.details = dict(asked=dict(first=wanted.start, stop=wanted.stop), widened=None)
    keeping = False  # whether the units that follow belong to a group that is kept
    for unit in source.units():
        group = source.decoder.current_group
        if unit.type == UnitType.GROUP_HEADER:
            if group.first_frame >= wanted.stop:
                break
            keeping = group.meets(wanted)
            if not keeping:
                continue
            if not writer.groups:
                _begin(writer, source, report, wanted, exact)
            count = min(group.frame_count, wanted.stop - group.first_frame)
            writer.begin_group(group.first_frame, count, group.scene)
        elif unit.type == UnitType.FRAME:
            number, kind, _ = frame_head(unit.payload)
            if keeping and number < wanted.stop:
                writer.add_frame(number, kind, unit.payload)
                progress(number)
            keeping = keeping and (number + 1 < wanted.stop or not source.decoder.frames_left)
        elif keeping and unit.type not in (UnitType.INDEX, UnitType.END):
            writer.copy(unit)
    if not writer.groups:
        stop = f"{wanted.stop}" if wanted.stop <= 0xFFFFFFFF else ""
        raise UsageError(f"the stream holds no frame in {wanted.start}:{stop}")
    return report.close(writer)


def _begin(writer: UnitWriter, source: Source, report: EditReport, wanted: range, exact: bool) -> None:
    first = source.decoder.current_group.first_frame
    if first < wanted.start:
        if exact:
            raise UsageError(f"frame {wanted.start} is a P-frame: a cut can begin at frame {first}, which it depends "
                             "on, or at a later I-frame")
        report.details["widened"] = dict(first=first, last=wanted.start - 1)
        report.notes.append(f"begins with frame {first}: frame {wanted.start} is a P-frame that depends on it")
    writer.begin()
    for unit in source.prologue:
        writer.copy(unit)
