"""Reading the index of a file that can be sought in (spec 3.3)."""
from __future__ import annotations

import os
from typing import BinaryIO

from ..errors import BitstreamError
from ..syntax import structures as syn
from ..syntax.registry import UnitType
from ..syntax.units import END_UNIT_SIZE, FileHeader, Unit, UnitReader


def read_index(file: BinaryIO, file_header: FileHeader) -> list[tuple[int, int, int]] | None:
    """The index of a seekable file, found through its end unit (spec 3.3).

    None where there is none, or where it is damaged: decoding in order says how.
    """
    try:
        end = _unit_of(UnitType.END, file, file.seek(0, os.SEEK_END) - END_UNIT_SIZE, file_header)
        if end is None:
            return None
        at = syn.END.parse(end.payload, end.payload_offset)[0].index_offset
        index = _unit_of(UnitType.INDEX, file, at, file_header) if at < end.offset else None
        if index is None:
            return None
        value, _ = syn.INDEX.parse(index.payload, index.payload_offset)
    except BitstreamError:
        return None
    if any(e.frame_offset >= at for e in value.entry):
        return None
    return [(e.indexed_frame, e.indexed_type, e.frame_offset) for e in value.entry]


def _unit_of(kind: UnitType, file: BinaryIO, at: int, file_header: FileHeader) -> Unit | None:
    """The unit at an offset, None where it is of another kind. Raises BitstreamError."""
    if at <= 0:
        return None
    file.seek(at)
    unit = UnitReader(file, at, file_header).read_unit()
    return unit if unit is not None and unit.type == kind else None
