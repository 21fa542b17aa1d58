"""Decoding what is intact of a damaged file (spec 3.4)."""
from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import BitstreamError
from ..kernels import Kernels
from ..sources import StreamSource, read_stream
from ..syntax.registry import UnitType
from ..syntax.units import UNIT_OVERHEAD, UnitReader, resynchronise
from .frame import Frame, Limits
from .index import read_index
from .sequence import SequenceDecoder

SMALLEST_FRAME_UNIT = UNIT_OVERHEAD + 12


@dataclass(slots=True)
class Salvage:
    """Outcome of `salvage`: the errors met, the frames decoded and those known to be lost."""

    errors: list[BitstreamError] = field(default_factory=list)
    decoded: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)


def salvage(source: StreamSource, report: Salvage, limits: Limits = Limits(), kernels: Kernels | None = None
            ) -> Iterator[Frame]:
    """Decodes every group that is intact and fills in `report` (spec 3.4).

    source: what `open_stream` takes; it is read into memory. A frame is given out only when it
    and all frames before it in its group are whole. Raises UsageError, and
    BitstreamError when the file header or sequence header is lost.
    """
    data = read_stream(source).data
    reader = UnitReader(io.BytesIO(data))
    decoder = SequenceDecoder(reader.read_file_header(), limits=limits, kernels=kernels)
    while decoder.header is None:
        unit = reader.read_unit()
        if unit is None:
            raise BitstreamError("R-FILE-06", reader.offset, "unit_header", "There is no sequence header.")
        decoder.feed(unit)
    known: set[int] = set()
    expected = damaged = 0
    while not decoder.ended:
        tried = reader.offset
        try:
            unit = reader.next_unit()
            frame = decoder.feed(unit)
        except BitstreamError as error:
            report.errors.append(error)
            following = resynchronise(data, tried + 1)
            if following is None:
                break
            reader.seek(following)
            decoder.jump()
            damaged += following - tried
            continue
        if unit.type == UnitType.GROUP_HEADER:
            first, count = decoder.current_group.first_frame, decoder.current_group.frame_count
            # Frames between are lost, unless the damaged bytes have no room for so many.
            if not 0 <= first - expected <= damaged // SMALLEST_FRAME_UNIT:
                expected = first
            known.update(range(expected, first + count))
            expected, damaged = first + count, 0
        if frame is not None:
            report.decoded.append(frame.number)
            yield frame
    known.update(number for number, _, _ in read_index(io.BytesIO(data), len(data), decoder.file_header) or ())
    report.lost.extend(sorted(known - set(report.decoded)))
