"""Coding the symbols of a file anew, without a change to what it decodes to.

Training decides which values a file holds; how they are coded is decided after it, and can
be decided again: with models that a later version of the format has, or fitted for longer.

    with open("old.rfv", "rb") as file, open("new.rfv", "wb") as out:
        report = recode(file, out)
"""
from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import torch

from refcodec.decoding import Frame, SequenceDecoder, tensor_symbols
from refcodec.editing.source import EditReport
from refcodec.encoder.contexts import RateModel
from refcodec.encoder.finish import Finish, Symbols
from refcodec.encoder.latents import Slot, slots
from refcodec.encoder.systems import Kind, Model, TensorPlan, kind_of
from refcodec.syntax.coding import FrameType, Tools, Transform
from refcodec.syntax.registry import UnitType
from refcodec.syntax.units import UnitReader
from refcodec.tensors.state import FrameState
from refcodec.writer import FrameCoding, StreamWriter, UnitWriter

ITERATIONS = 400  # of Adam, for each model


def recode(file: BinaryIO, out: BinaryIO, *, iterations: int = ITERATIONS,
           on_frame: Callable[[int, int, int], None] | None = None) -> EditReport:
    """Writes the same sequence with models chosen anew: frames decode to the same tensors and digests, other units are
    copied, the index is made again. The report's details say how many bytes the file had.

    file: an RFV file, read front to back. iterations: of Adam, for each model. on_frame: called with the number of a
    frame, its bytes before and after. Raises BitstreamError where the file does not conform.
    """
    reader = UnitReader(file)
    header = reader.read_file_header()
    decoder = SequenceDecoder(header)
    writer: StreamWriter | None = None
    for unit in reader.units():
        before = decoder.state.copy() if decoder.header is not None else None
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
                assert frame is not None and before is not None, "decoding without a selection"
                written = writer.write_frame(_coded_anew(frame, before, decoder.state, writer.state, iterations,
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


def _coded_anew(frame: Frame, before: FrameState, after: FrameState, ours: FrameState, iterations: int,
                following: int) -> FrameCoding:
    """before, after: the decoder's states around the frame. ours: that of the new file, with its models. following:
    frames of the group after it."""
    v, intra = frame.syntax, frame.type == FrameType.INTRA
    plans = {t.tensor_id: _plan(t, after) for t in v.tensor}
    every = slots(after.header, [plans.get(i, TensorPlan()) for i in range(len(after.header.tensors))])
    carried = [every[t.tensor_id] for t in v.tensor]
    symbols = {slot.id: _symbols(t, slot, before, after) for t, slot in zip(v.tensor, carried)}
    rate = RateModel(carried, None if intra else ours.copy(), torch.device("cpu"), torch.Generator().manual_seed(0),
                     torch.Generator().manual_seed(0))
    rate.cells = {s.slot.id: _cells(s) for s in symbols.values()}
    flat, selected = {}, {}
    for i, s in symbols.items():
        flat[i] = torch.zeros((np.prod(s.shape[1:]), s.slot.channels))
        flat[i][rate.cells[i]] = torch.from_numpy(s.values).float()
        flat[i] = flat[i].reshape(-1)
        if s.mask is not None:
            selected[i] = torch.zeros((np.prod(s.shape[1:]), s.slot.channels), dtype=torch.bool)
            selected[i][rate.cells[i]] = torch.from_numpy(s.mask)
    finish = Finish(rate, symbols, iterations, following=following)
    codings = [dataclasses.replace(c, base=symbols[c.tensor_id].tools.base, offset=symbols[c.tensor_id].tools.offset)
               for c in finish.run(flat, selected)]
    model = None if after.occupancy is None else finish.occupancy(after.occupancy)
    return FrameCoding(frame.number, frame.type, v.time_stamp, after.occupancy, finish.models, codings, model)


def _plan(t: Any, state: FrameState) -> TensorPlan:
    """t: the parsed structure of a tensor."""
    wide = kind_of(state.header.tensors[t.tensor_id]) in (Kind.GRID, Kind.PLANE)
    return TensorPlan(Transform(t.transform), t.wavelet_levels or 0, Tools.from_syntax(t).masked,
                      Model.SMALLER if wide else Model.STATIC)


def _symbols(t: Any, slot: Slot, before: FrameState, after: FrameState) -> Symbols:
    tools = Tools.from_syntax(t)
    values, mask = tensor_symbols(t, before, after)
    return Symbols(slot, values, tools, after.mask(slot.id, tools), after.bands(slot.id, tools), mask,
                   before.contexts(slot.id, tools))


def _cells(s: Symbols) -> torch.Tensor:
    if s.coded is None:
        return torch.arange(int(np.prod(s.shape[1:])))
    return torch.from_numpy(np.flatnonzero(s.coded))
