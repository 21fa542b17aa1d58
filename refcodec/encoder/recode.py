"""Re-encoding the symbols of a file, without a change to what it decodes to.

Training fixes the values of a file. Model selection follows it and can be repeated: with models of a later version of
the format, or with longer fits.

    with open("old.rfv", "rb") as file, open("new.rfv", "wb") as out:
        report = recode(file, out)
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import BinaryIO

import numpy as np
import torch

from refcodec.decoding import DecodedTensor, Frame, Limits, SequenceDecoder
from refcodec.editing.source import EditReport
from refcodec.encoder.contexts import RateModel
from refcodec.encoder.latents import slots
from refcodec.encoder.model_selection import ModelSelection, Symbols
from refcodec.encoder.systems import Kind, Model, TensorPlan, kind_of
from refcodec.entropy.layout import Layout
from refcodec.syntax.coding import FrameType, Transform
from refcodec.syntax.registry import UnitType
from refcodec.syntax.units import UnitReader
from refcodec.tensors.bound import BoundTensor
from refcodec.tensors.state import FrameState
from refcodec.writer import FrameCoding, StreamWriter, UnitWriter

ITERATIONS = 400  # of Adam, for each model


def recode(file: BinaryIO, out: BinaryIO, *, iterations: int = ITERATIONS,
           on_frame: Callable[[int, int, int], None] | None = None, limits: Limits = Limits()) -> EditReport:
    """Writes the same sequence with models selected again: frames decode to the same tensors and digests, other units
    are copied, the index is made again. The report's details say how many bytes the file had.

    file: an RFV file, read front to back. iterations: of Adam, for each model. on_frame: called with the number of a
    frame, its bytes before and after. Raises BitstreamError where the file does not conform or goes beyond the limits.
    """
    reader = UnitReader(file)
    header = reader.read_file_header()
    tensors: list[DecodedTensor] = []  # of the unit
    decoder = SequenceDecoder(header, limits=limits, on_tensor=tensors.append)
    writer: StreamWriter | None = None
    for unit in reader.units():
        tensors.clear()
        frame = decoder.feed(unit)
        if unit.type == UnitType.SEQUENCE_HEADER:
            assert decoder.header is not None, "it was this unit"
            writer = StreamWriter(out, decoder.header, header.level)
            UnitWriter.begin(writer)
        assert writer is not None, "the sequence header is the first unit"
        match unit.type:
            case UnitType.GROUP_HEADER:
                group = decoder.current_group
                writer.begin_group(group.first_frame, group.frame_count, group.scene)
            case UnitType.FRAME:
                assert frame is not None, "decoding without a selection"
                written = writer.write_frame(_reencoded(frame, tensors, writer.state, iterations,
                                                         decoder.frames_left))
                if on_frame is not None:
                    on_frame(frame.number, unit.size, written.size)
            case UnitType.INDEX | UnitType.END:
                pass
            case _:
                writer.copy(unit)
                if unit.type == UnitType.SHARED:
                    writer.state.shared = dict(decoder.state.shared)
    if not decoder.ended:
        reader.next_unit()  # says so
    assert writer is not None, "it is the first unit"
    report = EditReport(details={"bytes_before": reader.offset}).close(writer)
    if report.bytes >= reader.offset:
        report.notes.append(f"the file is not smaller than before ({reader.offset} bytes)")
    return report


def _reencoded(frame: Frame, tensors: Sequence[DecodedTensor], ours: FrameState, iterations: int,
                following: int) -> FrameCoding:
    """tensors: the symbols of the frame. ours: the state of the new file, with its models. following: frames of the
    group after it."""
    plans = {t.bound.id: _plan(t.bound) for t in tensors}
    every = slots(frame.header, [plans.get(i, TensorPlan()) for i in range(len(frame.header.tensors))])
    carried = [every[t.bound.id] for t in tensors]
    symbols = {slot.id: Symbols(slot, t.values, t.bound.tools, t.bound.layout, t.selected)
               for t, slot in zip(tensors, carried)}
    intra = frame.type == FrameType.INTRA
    rate = RateModel(carried, None if intra else ours.copy(), torch.device("cpu"), torch.Generator().manual_seed(0),
                     torch.Generator().manual_seed(0))
    rate.cells = {s.slot.id: _cells(s.layout) for s in symbols.values()}
    flat, selected = {}, {}
    for i, s in symbols.items():
        size = math.prod(s.layout.shape[1:])
        flat[i] = torch.zeros((size, s.slot.channels))
        flat[i][rate.cells[i]] = torch.from_numpy(s.values).float()
        flat[i] = flat[i].reshape(-1)
        if s.mask is not None:
            selected[i] = torch.zeros((size, s.slot.channels), dtype=torch.bool)
            selected[i][rate.cells[i]] = torch.from_numpy(s.mask)
    selection = ModelSelection(rate, symbols, iterations, following=following)
    codings = selection.run(flat, selected)
    model = None if frame.occupancy is None else selection.occupancy(frame.occupancy)
    return FrameCoding(frame.number, frame.type, frame.time_stamp, frame.occupancy, selection.models, codings, model)


def _plan(bound: BoundTensor) -> TensorPlan:
    tools, wide = bound.tools, kind_of(bound.info) in (Kind.GRID, Kind.PLANE)
    return TensorPlan(Transform.of(tools.transform), tools.levels, tools.masked,
                      Model.SMALLER if wide else Model.STATIC)


def _cells(layout: Layout) -> torch.Tensor:
    if layout.mask is None:
        return torch.arange(layout.cells)
    return torch.from_numpy(np.flatnonzero(layout.mask))
