"""Reading the index of a file that can be sought in (spec 3.3)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..errors import BitstreamError
from ..syntax import structures as syn
from ..syntax.coding import FrameType
from ..syntax.registry import UnitType
from ..syntax.units import END_UNIT_SIZE, ByteStream, FileHeader, Unit, UnitReader

_TYPES = frozenset(FrameType)


class IndexEntry(NamedTuple):
    """A frame as the index lists it. offset: of its unit; of its group's header for an I-frame."""

    number: int
    type: FrameType
    offset: int


def read_index(file: ByteStream, size: int, file_header: FileHeader) -> list[IndexEntry] | None:
    """The index of a file of `size` bytes that can be sought in, found through its end unit (spec 3.3).

    None where there is none, or where it is damaged: decoding in order says how.
    """
    try:
        end = _unit_of(UnitType.END, file, size - END_UNIT_SIZE, file_header)
        if end is None:
            return None
        at = syn.END.parse(end.payload, end.payload_offset)[0].index_offset
        index = _unit_of(UnitType.INDEX, file, at, file_header) if at < end.offset else None
        if index is None:
            return None
        value, _ = syn.INDEX.parse(index.payload, index.payload_offset)
    except BitstreamError:
        return None
    if any(e.frame_offset >= at or e.indexed_type not in _TYPES for e in value.entry):
        return None
    return [IndexEntry(e.indexed_frame, FrameType(e.indexed_type), e.frame_offset) for e in value.entry]


def _unit_of(kind: UnitType, file: ByteStream, at: int, file_header: FileHeader) -> Unit | None:
    """The unit at an offset, None where it is of another kind. Raises BitstreamError."""
    if at <= 0:
        return None
    file.seek(at)
    unit = UnitReader(file, at, file_header).read_unit()
    return unit if unit is not None and unit.type == kind else None


def group_before(entries: Sequence[IndexEntry], number: int) -> IndexEntry | None:
    """The I-frame at which decoding has to start for a frame; None where none comes before it."""
    starts = [e for e in entries if e.type == FrameType.INTRA and e.number <= number]
    return starts[-1] if starts else None
