"""One frame as a file of its own (spec 3.5)."""
from __future__ import annotations

import io
from typing import BinaryIO

import numpy as np

from ..errors import UsageError
from ..syntax import structures as syn
from ..syntax.coding import FrameType, Prediction, Transform
from ..syntax.headers import lowest_level
from ..syntax.registry import LEVELS, UnitType
from ..syntax.units import FILE_HEADER_SIZE, UNIT_OVERHEAD, Unit, build_file_header
from ..writer import FrameCoding, StreamWriter, UnitWriter
from .exact import code_exactly
from .source import EditReport, Source


def extract(file: BinaryIO, out: BinaryIO, number: int) -> EditReport:
    """Writes one frame to `out` as a file of one I-frame with the same tensors, number and time stamp.

    An I-frame is copied. A P-frame is decoded and coded anew without loss; that takes more
    bytes, since its tensors are sums of what several frames say. Reads nothing behind the
    frame. Raises BitstreamError (also where the frame has another digest than it states)
    and UsageError.
    """
    source = Source(file, range(number, number + 1))
    source.seek_frame(number)
    steps: list[set[int]] = [set() for _ in source.header.tensors]
    for unit in source.units():
        group = source.decoder.current_group
        if unit.type == UnitType.GROUP_HEADER and group.first_frame > number:
            break
        if unit.type != UnitType.FRAME or not group.meets(source.decoder.wanted):
            continue
        frame, _ = syn.FRAME.parse(unit.payload, unit.payload_offset, level=source.file_header.bounds,
                                   header=source.header)
        _note_steps(steps, frame)
        if frame.frame_number == number:
            if frame.frame_type == FrameType.INTRA:
                return _copied(source, out, unit, frame)
            return _recoded(source, out, frame, steps)
    raise UsageError(f"the stream holds no frame {number}")


def _note_steps(steps: list[set[int]], frame: syn.FrameSyntax) -> None:
    """Keeps those steps of which the tensors may be multiples after a frame."""
    for t in frame.tensor:
        if not Prediction.of(t.prediction).needs_previous:
            steps[t.tensor_id].clear()
        if Transform.of(t.transform).identity:
            steps[t.tensor_id].update(s.step_index for s in t.step)


def _copied(source: Source, out: BinaryIO, unit: Unit, frame: syn.FrameSyntax) -> EditReport:
    writer = UnitWriter(out, source.header, source.file_header.level)
    needs_shared = any(Prediction.of(t.prediction).needs_shared for t in frame.tensor)
    writer.begin()
    for other in source.prologue:
        if other.type != UnitType.SHARED or needs_shared:
            writer.copy(other)
    writer.begin_group(frame.frame_number, 1, source.decoder.current_group.scene)
    writer.add_frame(frame.frame_number, FrameType.INTRA, unit.payload)
    return _report(writer, frame, recoded=False)


def _recoded(source: Source, out: BinaryIO, frame: syn.FrameSyntax, steps: list[set[int]]) -> EditReport:
    state, scene = source.decoder.state, source.decoder.current_group.scene
    coding = code_exactly(state.header, state.tensors, state.occupancy, steps)
    buffer = io.BytesIO()
    writer, payloads = StreamWriter(buffer, source.header, max(LEVELS)), [0]
    UnitWriter.begin(writer)
    for unit in source.prologue:
        if unit.type != UnitType.SHARED:
            writer.copy(unit)
    if coding.shared:
        payloads.append(writer.write_shared(coding.shared_models, coding.shared).size - UNIT_OVERHEAD)
    writer.begin_group(frame.frame_number, 1, scene)
    payloads.append(writer.write_frame(FrameCoding(
        frame.frame_number, FrameType.INTRA, frame.time_stamp, state.occupancy, coding.models,
        coding.tensors)).size - UNIT_OVERHEAD)
    if not all(map(np.array_equal, writer.state.tensors, state.tensors)):
        raise AssertionError(f"frame {frame.frame_number} was not coded exactly")
    level = lowest_level(source.header, max(payloads))
    if level is None:
        raise UsageError(f"frame {frame.frame_number}, coded as an I-frame, is larger than any level allows")
    report = _report(writer, frame, recoded=True)
    out.write(build_file_header(max(level, source.file_header.level)))
    out.write(buffer.getbuffer()[FILE_HEADER_SIZE:])
    report.notes.append(f"frame {frame.frame_number} is a P-frame; "
                        "it was coded anew as an I-frame with the same tensors")
    return report


def _report(writer: UnitWriter, frame: syn.FrameSyntax, recoded: bool) -> EditReport:
    report = EditReport().close(writer)
    report.details = dict(frame=frame.frame_number, recoded=recoded)
    return report
