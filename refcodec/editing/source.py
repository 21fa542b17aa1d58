"""Input and report of all editors (spec 3.5)."""
from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from ..decoding import DecodedTensor, SequenceDecoder, group_before, read_index
from ..inspection import tool_dict
from ..syntax.registry import UnitType
from ..syntax.units import Unit, UnitReader
from ..writer import UnitWriter

NOTHING = range(0)  # frames to decode: their syntax is checked all the same
_FRAME_HEAD = struct.Struct("<IBI")  # frame_number, frame_type, time_stamp (spec 4.7)


class Source:
    """A file or pipe, read unit by unit: everything is checked but entropy-coded data.

    prologue: the units before the first group. `decoder` has the state after the latest
    unit; wanted is what it decodes, and on_tensor is told of the symbols. Raises BitstreamError.
    """

    def __init__(self, file: BinaryIO, wanted: range | None = NOTHING,
                 on_tensor: Callable[[DecodedTensor], None] | None = None):
        self.file, self.reader = file, UnitReader(file)
        self.file_header = self.reader.read_file_header()
        self.decoder = SequenceDecoder(self.file_header, wanted=wanted, on_tensor=on_tensor)
        self.prologue: list[Unit] = []
        while (unit := self.reader.next_unit()).type != UnitType.GROUP_HEADER or self.decoder.header is None:
            self.decoder.feed(unit)
            self.prologue.append(unit)
        self.header = self.decoder.header
        self._pending: Unit | None = unit

    def units(self) -> Iterator[Unit]:
        """The units from the first group header on, the end unit included, after they were checked."""
        while not self.decoder.ended:
            unit, self._pending = self._pending or self.reader.next_unit(), None
            self.decoder.feed(unit)
            yield unit
        self.reader.expect_end()

    def seek_frame(self, number: int) -> None:
        """Goes to the group that holds a frame, where the file can be sought in and has an index."""
        if not self.file.seekable():
            return
        here = self.file.tell()
        start = group_before(read_index(self.file, self.file.seek(0, os.SEEK_END), self.file_header) or (), number)
        if start is None or (self._pending is not None and start.offset <= self._pending.offset):
            self.file.seek(here)
            return
        self.reader.seek(start.offset)
        self._pending = None
        self.decoder.jump(start.number)


@dataclass(slots=True)
class EditReport:
    """Result of an editor. notes: remarks for the user, one line each. details: figures of one command alone, for JSON.
    """

    groups: int = 0
    frames: int = 0
    first_frame: int | None = None
    last_frame: int | None = None
    bytes: int = 0
    index: bool = False
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def close(self, writer: UnitWriter) -> EditReport:
        """Ends the file and takes down what is in it."""
        self.index = writer.finish() > 0
        if not self.index:
            self.notes.append("no index was written: no unit of this level could hold it")
        self.groups, self.frames, self.bytes = writer.groups, len(writer.entries), writer.position
        self.first_frame, self.last_frame = writer.entries[0][0], writer.entries[-1][0]
        return self

    def to_dict(self, command: str) -> dict[str, Any]:
        """The JSON report, as `schemas/edit.schema.json` describes it."""
        return dict(
            **tool_dict(), command=command,
            written=dict(groups=self.groups, frames=self.frames, first_frame=self.first_frame,
                         last_frame=self.last_frame, bytes=self.bytes, index=self.index),
            notes=self.notes, **self.details)


def frame_head(payload: bytes) -> tuple[int, int, int]:
    """(frame_number, frame_type, time_stamp) of a frame unit's payload."""
    return _FRAME_HEAD.unpack_from(payload)


def with_frame_head(payload: bytes, number: int, time_stamp: int, digest: bytes | None) -> bytes:
    """The payload of a frame with another number and time; digest: the new one, None where there is none."""
    kind = payload[4]
    rest = payload[_FRAME_HEAD.size :]
    if digest is not None:
        rest = rest[: -len(digest)] + digest
    return _FRAME_HEAD.pack(number, kind, time_stamp) + rest
