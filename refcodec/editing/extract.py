"""One frame as a file of its own (spec 3.5)."""
from __future__ import annotations

import io
from collections import defaultdict
from typing import BinaryIO

import numpy as np

from ..errors import UsageError
from ..syntax import structures as syn
from ..syntax.coding import FrameType, Prediction
from ..syntax.headers import lowest_level
from ..syntax.registry import LEVELS, UnitType
from ..syntax.units import FILE_HEADER_SIZE, UNIT_OVERHEAD, Unit, build_file_header
from ..writer import FrameCoding, StreamWriter, UnitWriter
from .exact import History, code_exactly
from .source import EditReport, Source


def extract(file: BinaryIO, out: BinaryIO, number: int, *, lossy: float | None = None) -> EditReport:
    """Writes one frame to `out` as a file of one I-frame with the same tensors, number and time stamp.

    An I-frame is copied. A P-frame is decoded and re-encoded without loss; that takes more
    bytes, since its tensors are sums of the contributions of several frames. lossy: a quantisation step
    size in units of the field's values, by half of which each coefficient of a P-frame's grids,
    planes and lines may be off (but for rounding; where there is no transform, each value). The
    report's details then have the largest error of a value. Reads nothing behind the frame.
    Raises BitstreamError (also where the frame has another digest than it states) and UsageError.
    """
    histories: defaultdict[int, History] = defaultdict(History)
    source = Source(file, range(number, number + 1), lambda tensor: histories[tensor.bound.id].add(tensor))
    source.seek_frame(number)
    for unit in source.units():
        group = source.decoder.current_group
        if unit.type == UnitType.GROUP_HEADER and group.first_frame > number:
            break
        if unit.type != UnitType.FRAME or not group.meets(source.decoder.wanted):
            continue
        frame, _ = syn.FRAME.parse(unit.payload, unit.payload_offset, level=source.file_header.bounds,
                                   header=source.header)
        if frame.frame_number == number:
            if frame.frame_type == FrameType.INTRA:
                return _copied(source, out, unit, frame)
            of_tensors = [histories[i] for i in range(len(source.header.tensors))]
            return _recoded(source, out, frame, of_tensors, lossy)
    raise UsageError(f"the stream holds no frame {number}")


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


def _recoded(source: Source, out: BinaryIO, frame: syn.FrameSyntax, histories: list[History],
             lossy: float | None) -> EditReport:
    state, scene = source.decoder.state, source.decoder.current_group.scene
    coding = code_exactly(state.header, state.tensors, state.occupancy, histories, lossy=lossy)
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
    error = max(float(np.abs(a.astype(np.int64) - b).max()) * 2.0**-info.frac_bits
                for a, b, info in zip(writer.state.tensors, state.tensors, state.header.tensors))
    if error and lossy is None:
        raise AssertionError(f"frame {frame.frame_number} was not coded exactly")
    level = lowest_level(source.header, max(payloads), 1, coding.work, coding.coefficients)
    if level is None:
        raise UsageError(f"frame {frame.frame_number}, coded as an I-frame, is larger than any level allows")
    report = _report(writer, frame, recoded=True)
    out.write(build_file_header(max(level, source.file_header.level)))
    out.write(buffer.getbuffer()[FILE_HEADER_SIZE:])
    note = f"frame {frame.frame_number} is a P-frame; it was re-encoded as an I-frame with the same tensors"
    if lossy is not None:
        report.details["largest_error"] = error
        if error:
            note += f", up to {error:.2g}"
    report.notes.append(note)
    return report


def _report(writer: UnitWriter, frame: syn.FrameSyntax, recoded: bool) -> EditReport:
    report = EditReport().close(writer)
    report.details = dict(frame=frame.frame_number, recoded=recoded)
    return report
