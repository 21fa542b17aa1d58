"""Repair of damaged files (spec 3.4, 3.5)."""
from __future__ import annotations

import io
import mmap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from ..decoding import Group, Limits, SequenceDecoder, read_index
from ..decoding.checks import Position
from ..errors import BitstreamError
from ..inspection import error_dict
from ..syntax.registry import UnitType
from ..syntax.units import FILE_HEADER_SIZE, FileHeader, Unit, UnitReader, following_unit, unit_at
from ..writer import UnitWriter
from .mend import mended_file_header, mended_unit
from .source import NOTHING, EditReport, frame_head

_CLOSING = (bytes([UnitType.INDEX, 1]), bytes([UnitType.END, 0]))  # are rewritten in any case
_ONCE = (UnitType.CAMERAS, UnitType.METADATA, UnitType.SHARED)


@dataclass(slots=True)
class _IntactGroup:
    """The intact part of a group: its header, and the positions of the units that are kept."""

    group: Group
    units: list[range] = field(default_factory=list)  # of the file's bytes
    frames: int = 0
    time_stamp: int = 0  # of the first frame
    last_time: int = 0

    def add(self, unit: Unit) -> None:
        if unit.type == UnitType.FRAME:
            _, _, self.last_time = frame_head(unit.payload)
            if not self.frames:
                self.time_stamp = self.last_time
            self.frames += 1
        self.units.append(range(unit.offset, unit.offset + unit.size))


def repair(data: bytes | mmap.mmap, out: BinaryIO, *, decode: bool = False,
           progress: Callable[[int], None] = lambda frame: None, limits: Limits = Limits()) -> EditReport:
    """Writes the intact parts of a file to `out`, as a conforming file with index and end unit.

    data: the whole file (mapped: it is not read into memory). Of a damaged group the frames
    before the damage are kept. A file, sequence or group header of which one byte was
    changed is set right by its checksum, and a lost sequence header replaced by a
    repetition of it. decode: decode every frame, too, and drop those that can't be or have
    another digest than they state. The report's details have `damage` (what was found,
    in order), `dropped` (parts of the file that were left out) and `lost` (numbers of frames
    that are known to have been there). Raises BitstreamError where nothing can be kept, and for
    what goes beyond the limits (R-LIM-01), which is no damage.
    """
    return _Repair(data, out, decode, progress, limits).run()


class _Repair:
    def __init__(self, data: bytes | mmap.mmap, out: BinaryIO, decode: bool, progress: Callable[[int], None],
                 limits: Limits):
        self.data, self.out, self.progress = data, out, progress
        self.report = EditReport()
        self.damage: list[BitstreamError] = []
        self.dropped: list[dict[str, Any]] = []
        self.known: set[int] = set()
        self.prologue: list[Unit] = []
        self.part: _IntactGroup | None = None
        self.groups_met = False
        self.position = Position()  # that the file written has come to
        self.writer: UnitWriter | None = None
        self.file_header = self._file_header()
        self.reader = UnitReader(io.BytesIO(data) if isinstance(data, bytes) else data, header=self.file_header)
        self.reader.seek(FILE_HEADER_SIZE)
        self.decoder = SequenceDecoder(self.file_header, limits=limits, wanted=None if decode else NOTHING)

    def run(self) -> EditReport:
        self._sequence_header()
        while not self.decoder.ended and self._next():
            pass
        self._flush()
        if self.reader.offset < len(self.data) and self.decoder.ended:
            self.damage.append(BitstreamError("R-FILE-07", self.reader.offset, "file"))
            self._drop(self.reader.offset, len(self.data), "what follows the end unit")
        if self.writer is None:
            raise self.damage[0] if self.damage else BitstreamError(
                "R-UNIT-08", self.reader.offset, "unit_header.unit_type", "There is no group.")
        report = self.report.close(self.writer)
        self.known.update(self._indexed())
        lost = sorted(self.known - {number for number, _, _ in self.writer.entries})
        report.details = dict(damage=[error_dict(e) for e in self.damage], dropped=self.dropped, lost=lost)
        return report

    # Headers

    def _file_header(self) -> FileHeader:
        try:
            return UnitReader(io.BytesIO(self.data[:FILE_HEADER_SIZE])).read_file_header()
        except BitstreamError as e:
            header = mended_file_header(self.data, e)
            self.damage.append(e)
            self.report.notes.append(f"the file header was rewritten, with level {header.level}")
            return header

    def _sequence_header(self) -> None:
        """Feeds the sequence header, or what can stand for it; raises what is wrong with it where nothing can."""
        start, header = self.reader.offset, self.file_header
        unit = unit_at(self.data, start, header)
        following: int | None
        if unit is not None and unit.type == UnitType.SEQUENCE_HEADER:
            following = start + unit.size
        else:
            following = start if unit is not None else following_unit(self.data, start, header)
            try:
                self.reader.read_unit()
                error = BitstreamError("R-UNIT-08", start, "unit_header.unit_type", "The first unit is another one.")
            except BitstreamError as e:
                error = e
            self.damage.append(error)
            if unit := mended_unit(self.data, start, UnitType.SEQUENCE_HEADER, header):
                following, how = start + unit.size, "one byte of it was set right by its checksum"
            elif following is not None and (unit := self._repetition(following)):
                how = "a repetition of it was taken in its place"
            else:
                raise error
            self.report.notes.append(f"the sequence header was damaged: {how}")
        self.decoder.feed(unit)
        self.prologue.append(unit)
        self.reader.seek(following)

    def _repetition(self, start: int) -> Unit | None:
        at: int | None = start
        while at is not None and at < len(self.data):
            unit = unit_at(self.data, at, self.file_header)
            if unit is not None and unit.type == UnitType.SEQUENCE_HEADER:
                return unit
            at = at + unit.size if unit is not None else following_unit(self.data, at, self.file_header)
        return None

    # Units


    def _next(self) -> bool:
        """Takes the next unit; False where there is none."""
        start = self.reader.offset
        try:
            unit = self.reader.next_unit()
        except BitstreamError as e:
            self.damage.append(e)
            if self.reader.offset > start:  # whole, but of an unknown critical type or with wrong flags
                self._drop(start, self.reader.offset, "a unit")
                self._give_up_group()
                return True
            return self._pass_damage(start)
        self._take(unit)
        return True

    def _pass_damage(self, start: int) -> bool:
        header = mended_unit(self.data, start, UnitType.GROUP_HEADER, self.file_header)
        if header is not None:
            self.report.notes.append(f"the group header at byte {start} was set right by its checksum")
            self.reader.seek(start + header.size)
            self._take(header)
            return True
        following = following_unit(self.data, start, self.file_header)
        unit = None if following is None else unit_at(self.data, following, self.file_header)
        stop = len(self.data) if unit is None else unit.offset
        closing = self.data[start : start + 2] in _CLOSING and (unit is None or unit.type == UnitType.END)
        if stop > start and not closing:
            self._drop(start, stop, "damaged data")
        if unit is None:
            return False
        # A group goes on when what was damaged was none of its frames.
        if not (self.part is not None and self.decoder.frames_left and unit.type == UnitType.FRAME
                and frame_head(unit.payload)[0] == self.part.group.first_frame + self.part.frames):
            self._give_up_group()
        self.reader.seek(stop)
        return True

    def _take(self, unit: Unit) -> None:
        if unit.type == UnitType.FRAME and self.decoder.group is None and self.damage:
            self._drop(unit.offset, unit.offset + unit.size, "a frame that depends on what was dropped")
            return
        if unit.type in _ONCE and not self.decoder.frames_left and (
                self.groups_met or any(u.type == unit.type for u in self.prologue)):
            self._refuse(unit, BitstreamError("R-UNIT-08", unit.offset, "unit_header.unit_type",
                                              f"A {unit.label} unit is repeated or follows a group."))
            return
        try:
            self.decoder.feed(unit)
        except BitstreamError as e:
            if e.requirement == "R-LIM-01":
                raise
            if unit.type != UnitType.FRAME and self.decoder.frames_left:
                self.damage.append(e)  # the group lacks frames; the unit itself may be as it should
                self._give_up_group()
                self._take(unit)
                return
            if unit.type == UnitType.INDEX or unit.type == UnitType.END:
                self.damage.append(e)  # rewritten in any case
            else:
                self._refuse(unit, e)
            if unit.type in (UnitType.FRAME, UnitType.GROUP_HEADER):
                self._give_up_group()
            return
        self._keep(unit)

    def _keep(self, unit: Unit) -> None:
        match unit.type:
            case UnitType.GROUP_HEADER:
                self._flush()
                group = self.decoder.current_group
                self.part, self.groups_met = _IntactGroup(group), True
                self.known.update(range(group.first_frame, group.first_frame + group.frame_count))
            case UnitType.INDEX | UnitType.END:
                pass
            case _ if self.part is not None:
                self.part.add(unit)
            case _ if self.groups_met:
                self._drop(unit.offset, unit.offset + unit.size, f"a {unit.label} unit of a group that was dropped")
            case _:
                self.prologue.append(unit)

    def _refuse(self, unit: Unit, error: BitstreamError) -> None:
        self.damage.append(error)
        self._drop(unit.offset, unit.offset + unit.size, f"a {unit.label} unit")

    def _drop(self, start: int, stop: int, what: str) -> None:
        self.dropped.append(dict(offset=start, bytes=stop - start, what=what))

    def _give_up_group(self) -> None:
        """Keeps what came of the current group; goes on at the next group header."""
        self._flush()
        self.decoder.jump()

    def _flush(self) -> None:
        """Writes the current group, which may have become shorter, where a file can hold it."""
        part, self.part = self.part, None
        if part is None or not part.frames:
            return
        group = part.group
        fault = (self.position.group_fault(group.scene, group.first_frame, part.frames)
                 or self.position.of_scene(group.scene).time_fault(part.time_stamp))
        if fault is not None:
            self.damage.append(BitstreamError(fault.requirement, group.offset, "group_header",
                                              "The group does not follow those that were kept."))
            self._drop(group.offset, part.units[-1].stop, "a group out of order")
            return
        if self.writer is None:
            self.writer = UnitWriter(self.out, self.decoder.sequence_header, self.file_header.level)
            self.writer.begin()
            for unit in self.prologue:
                self.writer.copy(unit)
        self.writer.begin_group(group.first_frame, part.frames, group.scene)
        for place in part.units:
            data = io.BytesIO(self.data[place.start : place.stop])
            unit = UnitReader(data, place.start, self.file_header).next_unit()
            if unit.type == UnitType.FRAME:
                number, kind, _ = frame_head(unit.payload)
                self.writer.add_frame(number, kind, unit.payload)
                self.progress(number)
            else:
                self.writer.copy(unit)
        self.position = Position(group.scene, group.first_frame + part.frames - 1, part.last_time)

    def _indexed(self) -> list[int]:
        """Frame numbers of the index, found through the end unit."""
        file = io.BytesIO(self.data) if isinstance(self.data, bytes) else self.data
        return [entry.number for entry in read_index(file, len(self.data), self.file_header) or ()]
