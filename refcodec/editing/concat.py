"""Joining files (spec 3.5)."""
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from ..decoding import SequenceDecoder
from ..errors import BitstreamError, UsageError
from ..syntax import structures as syn
from ..syntax.registry import UnitType
from ..syntax.units import Unit, UnitReader
from ..writer import UnitWriter
from .source import EditReport, Source, frame_head, with_frame_head

_LAST = (1 << 32) - 1
_DEFAULT_RATE = 30  # frames per second, where single frames say nothing of it


@dataclass(slots=True)
class _Run:
    """The groups of one scene of one input, which stand together: bytes start .. stop of it.

    steps: from the first time stamp to the second, and from the last but one to the last.
    """

    source: Source
    name: str
    scene: int
    start: int
    stop: int = 0
    numbers: list[int] = field(default_factory=list)  # first and last
    times: list[int] = field(default_factory=list)  # first and last
    steps: list[int] = field(default_factory=list)

    def add(self, number: int, time_stamp: int) -> None:
        if self.times:
            self.steps = [*self.steps[:1], time_stamp - self.times[-1]]
        self.numbers, self.times = [*self.numbers[:1], number], [*self.times[:1], time_stamp]


def concat(files: Sequence[tuple[str, BinaryIO]], out: BinaryIO, *,
           progress: Callable[[int], None] = lambda frame: None) -> EditReport:
    """Joins files to one; their sequence headers must be equal.

    files: (name for messages, seekable stream). All of them are read and checked before
    anything is written. Groups of equal scenes are put together in the order of the
    files. Frames keep number and time stamp where they can; where they would not
    increase, all of a file's scene are moved on together: numbers without a gap, time by
    the interval between the frames around. A frame with a digest that gets another number
    is decoded, since the digest covers it (spec 7.4). Raises BitstreamError, UsageError.
    """
    sources, runs = [], []
    for name, file in files:
        with _named(name, len(files) > 1):
            sources.append((name, Source(file)))
            runs += _survey(*sources[-1])
    report, prologue = EditReport(), _prologue(sources)
    level = max(s.file_header.level for _, s in sources)
    writer = UnitWriter(out, sources[0][1].header, level)
    report.notes += prologue.notes
    report.details = dict(inputs=[])
    moves = _plan(sorted(runs, key=lambda r: r.scene))
    writer.begin()
    for unit in prologue.units:
        writer.copy(unit)
    for run, by_number, by_time in moves:
        report.details["inputs"].append(dict(
            path=run.name, scene=run.scene, first_frame=run.numbers[0], last_frame=run.numbers[-1],
            moved_by=by_number, moved_ticks=by_time))
        if by_number or by_time:
            report.notes.append(f"frames of {run.name}" + f", scene {run.scene}" * (run.scene > 0)
                                + f": numbers + {by_number}, time stamps + {by_time}")
        with _named(run.name, len(files) > 1):
            _copy(run, writer, by_number, by_time, progress)
    return report.close(writer)


@contextlib.contextmanager
def _named(name: str, several: bool) -> Iterator[None]:
    """Says in which of several files something is wrong."""
    try:
        yield
    except BitstreamError as e:
        raise BitstreamError(e.requirement, e.offset, e.element,
                             f"{name}: {e.detail}" if several else e.detail) from None


def _survey(name: str, source: Source) -> list[_Run]:
    runs: list[_Run] = []
    for unit in source.units():
        scene = source.decoder.current_group.scene
        if unit.type == UnitType.GROUP_HEADER and (not runs or runs[-1].scene != scene):
            if runs:
                runs[-1].stop = unit.offset
            runs.append(_Run(source, name, scene, unit.offset))
        elif unit.type == UnitType.FRAME:
            number, _, time_stamp = frame_head(unit.payload)
            runs[-1].add(number, time_stamp)
        elif unit.type in (UnitType.INDEX, UnitType.END) and not runs[-1].stop:
            runs[-1].stop = unit.offset
    return runs


@dataclass(slots=True)
class _Prologue:
    units: list[Unit]
    notes: list[str]

    def of(self, kind: UnitType | int) -> Unit | None:
        return next((u for u in self.units if u.type == kind), None)


def _prologue(sources: Sequence[tuple[str, Source]]) -> _Prologue:
    """The units of the first file before its groups, and what it lacks and another has."""
    (first_name, first), *others = sources
    prologue = _Prologue(list(first.prologue), [])
    for name, source in others:
        if source.prologue[0].payload != first.prologue[0].payload:
            raise UsageError(f"{name} does not continue {first_name}: sequence headers differ in "
                             + _differences(first, source))
        for unit in source.prologue:
            if unit.type == UnitType.SEQUENCE_HEADER:
                continue
            mine = prologue.of(unit.type) if unit.known else next(
                (u for u in prologue.units if (u.type, u.payload) == (unit.type, unit.payload)), None)
            if mine is not None and mine.payload == unit.payload:
                continue
            if mine is not None and unit.type == UnitType.SHARED:
                raise UsageError(f"{name} does not continue {first_name}: the tensors that their scenes share differ")
            if mine is None and unit.known:
                prologue.units.append(unit)
            else:
                prologue.notes.append(f"{unit.label} unit of {name} left out: "
                                      + ("it differs from the one before" if unit.known else "of unknown meaning"))
    return prologue


def _differences(a: Source, b: Source) -> str:
    """The elements of the sequence headers that differ, the first of them with their values."""
    first, second = ({s.path.split(".", 1)[1]: s.value for s in syn.SEQUENCE_HEADER.parse(
        s.prologue[0].payload, 0, level=s.file_header.bounds, header=None)[1].spans} for s in (a, b))
    paths = [p for p in {**first, **second} if first.get(p) != second.get(p)]
    shown = ", ".join(f"{p} ({first.get(p, 'none')}, {second.get(p, 'none')})" for p in paths[:3])
    return shown + (f" and {len(paths) - 3} other elements" if len(paths) > 3 else "")


def _plan(runs: list[_Run]) -> list[tuple[_Run, int, int]]:
    """Offsets of the numbers and time stamps of each run."""
    moves: list[tuple[_Run, int, int]] = []
    last_number, last_time, scene = -1, -1, -1
    steps: list[int] = []  # of the run before, if it is of the same scene
    for run in runs:
        if run.scene != scene:
            last_time, scene, steps = -1, run.scene, []
        by_number = max(0, last_number + 1 - run.numbers[0])
        by_time = 0
        if run.times[0] <= last_time:
            ticks = run.source.header.ticks_per_second
            step = (steps[-1:] or run.steps[:1] or [max(1, ticks // _DEFAULT_RATE)])[0]
            by_time = last_time + step - run.times[0]
        last_number, last_time = run.numbers[-1] + by_number, run.times[-1] + by_time
        if last_number > _LAST or last_time > _LAST:
            what = "frame numbers" if last_number > _LAST else "time stamps"
            raise UsageError(f"{run.name} does not fit behind the files before: {what} would exceed 32 bits")
        moves.append((run, by_number, by_time))
        steps = run.steps
    return moves


def _copy(run: _Run, writer: UnitWriter, by_number: int, by_time: int, progress: Callable[[int], None]) -> None:
    """The units of a run, which `_survey` has found in order."""
    source, decoder = run.source, None
    if by_number and source.header.digest_type:
        decoder = _decoder(source)
    source.file.seek(run.start)
    reader = UnitReader(source.file, run.start, source.file_header)
    while reader.offset < run.stop:
        unit = reader.read_unit()
        if unit is None:
            raise BitstreamError("R-FILE-06", reader.offset, "unit_header", "The file became shorter.")
        if decoder is not None:
            decoder.feed(unit)
        if unit.type == UnitType.GROUP_HEADER:
            group, _ = syn.GROUP_HEADER.parse(unit.payload, unit.payload_offset, level=source.file_header.bounds,
                                              header=source.header)
            writer.begin_group(group.first_frame_number + by_number, group.frame_count, group.scene_id)
        elif unit.type == UnitType.FRAME:
            number, kind, time_stamp = frame_head(unit.payload)
            payload = unit.payload
            if by_number or by_time:
                digest = decoder.state.digest(number + by_number) if decoder is not None else None
                payload = with_frame_head(payload, number + by_number, time_stamp + by_time, digest)
            writer.add_frame(number + by_number, kind, payload)
            progress(number + by_number)
        else:
            writer.copy(unit)


def _decoder(source: Source) -> SequenceDecoder:
    """A decoder of all frames that stands before a group of the source."""
    decoder = SequenceDecoder(source.file_header)
    for unit in source.prologue:
        decoder.feed(unit)
    decoder.jump()
    return decoder
