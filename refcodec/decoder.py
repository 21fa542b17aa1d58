"""From bytes to frames: the decoding process of spec chapters 3 to 7, without torch.

`SequenceDecoder` is fed units and gives frames; it does no input or output.
`open_stream`, `decode_frames` and `salvage` drive it over files and pipes.
"""
from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

import numpy as np

from . import acceleration
from .entropy.coder import EntropyError, decode_mask, decode_symbols
from .entropy.models import (
    BIT_FAMILIES,
    VALUE_FAMILIES,
    ContextModel,
    EntropyModel,
    StaticModel,
    fits,
    model_from_syntax,
    occupancy_fault,
    work,
)
from .errors import BitstreamError, UsageError
from .rendering.cameras import Camera
from .syntax import structures as syn
from .syntax.coding import OccupancyMode, Prediction, Tools
from .syntax.declare import Structure, Trace
from .syntax.headers import Mapping, SequenceHeader
from .syntax.registry import UnitType
from .syntax.tensor_list import tensor_list_fault
from .syntax.units import END_UNIT_SIZE, UNIT_OVERHEAD, FileHeader, Unit, UnitReader, resynchronise
from .tensors.state import FrameState, frame_digest, frame_occupancy

if TYPE_CHECKING:
    from .rendering.march import Picture

INTRA, INTER = 1, 2
SMALLEST_FRAME_UNIT = UNIT_OVERHEAD + 12
_LEAF = 4096  # elements of a tensor for which another thread is worth its while


@dataclass(frozen=True, slots=True)
class Limits:
    """What this decoder is willing to do beyond what levels say (spec 10.3); None: no own limit."""

    tensor_elements: int | None = None
    occupancy_voxels: int | None = None
    unit_size: int | None = None
    frames: int | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """A group header (spec 4.6)."""

    offset: int
    scene: int
    first_frame: int
    frame_count: int

    def meets(self, wanted: range | None) -> bool:
        """Whether the group holds a frame of the range."""
        return wanted is None or (self.first_frame < wanted.stop
                                  and self.first_frame + self.frame_count > wanted.start)


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame.

    number: in the sequence. scene: that it shows. type: 1 I, 2 P. time_stamp: ticks.
    header: as the scene sees it (`SequenceHeader.of_scene`). occupancy: bool
    (z, y, x) or None. tensors: int32 (C, z, y, x) in the order of the tensor list;
    value v stands for v * 2**-frac_bits. offset, size: of its unit in the stream.
    syntax: the parsed `frame` structure; trace: spans of its elements.
    """

    number: int
    scene: int
    type: int
    time_stamp: int
    header: SequenceHeader
    occupancy: np.ndarray | None
    tensors: tuple[np.ndarray, ...]
    offset: int
    size: int
    syntax: Any = field(repr=False)
    trace: Trace = field(repr=False)

    @property
    def seconds(self) -> float:
        return self.time_stamp / self.header.ticks_per_second

    def values(self) -> list[np.ndarray]:
        """The tensors as float32 (spec 7.3)."""
        return [t.astype(np.float32) * np.float32(2.0**-i.frac_bits)
                for t, i in zip(self.tensors, self.header.tensors)]

    def render(self, camera: Camera, *, backend: str = "auto",
               on_progress: Callable[[int, int], None] | None = None, **options: Any) -> Picture:
        """The frame as `camera` sees it (spec chapters 8 and 9), within the tolerance of section 9.5.

        backend: numpy, torch, or auto: torch where it finds a GPU.
        on_progress: called with (rays done, rays). options: of
        `refcodec.rendering.march.render_rays`; they override the header. Raises UsageError.
        """
        from .fields import build, choose_ops
        from .rendering.march import render_camera

        field = build(self.header, self.values(), choose_ops(backend))
        return render_camera(field, self.occupancy, camera, self.header, on_progress=on_progress, **options)


@dataclass(slots=True)
class FrameJob:
    """A frame whose syntax has been checked, still to be decoded.

    state: of its group, as the frame before leaves it. models: the entropy models that
    hold for it. needed: for a wanted frame, itself or one after it in its group.
    """

    syntax: Any
    trace: Trace
    offset: int
    size: int
    group: Group
    state: FrameState
    models: dict[int, EntropyModel]
    needed: bool
    wanted: bool

    def run(self) -> Frame:
        """Raises BitstreamError."""
        return self.check(self.decode())

    def occupancy(self, before: np.ndarray | None) -> np.ndarray | None:
        """The frame's occupancy, from that of the frame before it (spec 6.1): bool (z, y, x) or None.

        Changes nothing, so that it can be decoded ahead. Raises BitstreamError.
        """
        v = self.syntax
        try:
            return frame_occupancy(v, self.state.header.occupancy_shape, self.models, before)
        except EntropyError as e:
            path = "frame.occupancy_data"
            raise BitstreamError(e.requirement, self.trace.offset(path), path, str(e)) from None

    def decode(self, leaves: Executor | None = None, occupancy: Callable[[], np.ndarray | None] | None = None,
               on_occupancy: Callable[[np.ndarray | None], None] | None = None) -> Frame:
        """All of it but the comparison with the digest (spec 6 and 7). Raises BitstreamError.

        leaves: decodes the tensors side by side. occupancy: gives the frame's, where it is decoded elsewhere.
        on_occupancy: told of it before the tensors are decoded.
        """
        v, state = self.syntax, self.state
        state.models = self.models
        if v.occupancy_mode:
            state.set_occupancy(self.occupancy(state.occupancy) if occupancy is None else occupancy())
        if on_occupancy is not None:
            on_occupancy(state.occupancy)
        _decode_tensors(v, self.trace, "frame", state, self.models, leaves)
        return Frame(v.frame_number, self.group.scene, v.frame_type, v.time_stamp, state.header, state.occupancy,
                     tuple(state.tensors), self.offset, self.size, v, self.trace)

    def check(self, frame: Frame) -> Frame:
        """Compares the frame with its digest (R-DIG-01). Raises BitstreamError."""
        expected, path = self.syntax.frame_digest, "frame.frame_digest"
        if expected is not None and (found := frame_digest(frame.number, frame.occupancy, frame.tensors)) != expected:
            raise BitstreamError("R-DIG-01", self.trace.offset(path), path,
                                 f"The stream says {expected.hex()}, the decoded frame has {found.hex()}.")
        return frame


def tensor_symbols(t: Any, before: FrameState, after: FrameState) -> tuple[np.ndarray, np.ndarray | None]:
    """Quantised values int32 (coded cells, C) of a tensor of a frame that was decoded, and which of them are coded,
    bool, None for all (spec 6.3).

    t: its parsed structure. before, after: the decoder's states around the frame.
    """
    tools = Tools.from_syntax(t)
    shape = tools.coefficient_shape(after.header.tensors[t.tensor_id].shape)
    cells, bands, blocks = after.mask(t.tensor_id, tools), after.bands(t.tensor_id, tools), tools.block_counts(shape)
    previous, selected = before.contexts(t.tensor_id, tools), None
    if tools.masked:
        selected = decode_mask(after.models[t.mask_model_ref], shape, cells, previous, t.mask_data, bands, blocks)
    return decode_symbols(after.models[t.model_ref], shape, cells, previous, t.value_data, selected, bands,
                          blocks), selected


def _decode_tensors(v: Any, trace: Trace, unit: str, state: FrameState, models: dict[int, EntropyModel],
                    leaves: Executor | None = None) -> None:
    """The tensors of a frame or of the shared unit. They do not depend on each other."""

    def decode(i: int) -> None:
        tensor = v.tensor[i]
        tools, tensor_id = Tools.from_syntax(tensor), tensor.tensor_id
        shape = tools.coefficient_shape(state.header.tensors[tensor_id].shape)
        mask, previous = state.mask(tensor_id, tools), state.contexts(tensor_id, tools)
        used = [models[tensor.model_ref], *([models[tensor.mask_model_ref]] if tools.masked else [])]
        bands = state.bands(tensor_id, tools) if any(isinstance(m, StaticModel) for m in used) else None
        blocks, selected, element = tools.block_counts(shape), None, "value_data"
        try:
            if tools.masked:
                element = "mask_data"
                selected = decode_mask(models[tensor.mask_model_ref], shape, mask, previous,
                                       tensor.mask_data, bands, blocks)
                element = "value_data"
            values = decode_symbols(models[tensor.model_ref], shape, mask, previous,
                                    tensor.value_data, selected, bands, blocks)
        except EntropyError as e:
            path = f"{unit}.tensor[{i}].{element}"
            raise BitstreamError(e.requirement, trace.offset(path), path, str(e)) from None
        state.reconstruct(tensor_id, tools, values)

    if leaves is None:
        for i in range(len(v.tensor)):
            decode(i)
    else:
        sizes = [math.prod(state.header.tensors[t.tensor_id].shape) for t in v.tensor]
        large = sorted((i for i, n in enumerate(sizes) if n >= _LEAF), key=lambda i: -sizes[i])
        running = {i: leaves.submit(decode, i) for i in large}
        try:
            for i in range(len(v.tensor)):  # in this order, so that the first error is that of the first tensor
                running[i].result() if i in running else decode(i)
        finally:
            for future in running.values():
                future.cancel()
    state.forget_contexts({t.tensor_id for t in v.tensor})


class SequenceDecoder:
    """Turns units into frames and checks every requirement on the way.

    wanted: frame numbers to decode; groups outside are parsed but not decoded.
    mid_stream: True when fed from a group header inside a file (after a seek or
    damage): order and totals of the whole file are then not checked.
    state: there once the sequence header has been taken.
    """

    def __init__(self, file_header: FileHeader, *, limits: Limits = Limits(), wanted: range | None = None):
        self.file_header, self.limits, self.wanted = file_header, limits, wanted
        self.header: SequenceHeader | None = None
        self.cameras: tuple[Camera, ...] = ()
        self.metadata: dict[str, str] = {}
        self.state: FrameState
        self.group: Group | None = None
        self.groups = self.frames = 0
        self.ended = False
        self.mid_stream = False
        self.entries: list[tuple[int, int, int]] = []
        self._header_payload = b""
        self._in_group = 0
        self._last_frame = -1
        self._last_time = -1
        self._scene = 0
        self._index_offset = 0
        self._seen: set[int] = set()
        self._models: dict[int, EntropyModel] = {}  # of the group; `state` has those of the frame decoded last

    @property
    def sequence_header(self) -> SequenceHeader:
        """`header`, for when it has been taken: before any other unit (section 3.2)."""
        assert self.header is not None
        return self.header

    @property
    def current_group(self) -> Group:
        """`group`, for when its header has been taken: before any frame (section 3.2)."""
        assert self.group is not None
        return self.group

    @property
    def frames_left(self) -> int:
        """Frames of the current group that are still to come."""
        return self.group.frame_count - self._in_group if self.group is not None else 0

    def feed(self, unit: Unit) -> Frame | None:
        """Takes the next unit; returns a frame when the unit completes a wanted one.

        Raises BitstreamError.
        """
        job = self._take(unit)
        if job is None:
            return None
        frame = job.run() if job.needed else None
        self._advance(job)
        return frame if job.wanted else None

    def plan(self, unit: Unit) -> FrameJob | None:
        """As `feed`, but leaves the decoding of a frame to the caller: to run the jobs of a group in their
        order, at any time, and to tell which frames are `wanted`. A shared unit is decoded at once.
        """
        job = self._take(unit)
        if job is not None:
            self._advance(job)
        return job if job is not None and job.needed else None

    def _take(self, unit: Unit) -> FrameJob | None:
        self._check_order(unit)
        if (limit := self.limits.unit_size) is not None and len(unit.payload) > limit:
            raise BitstreamError("R-LIM-01", unit.offset + 2, "unit_header.unit_size",
                                 f"The unit has {len(unit.payload)} bytes; this decoder's limit is {limit}.")
        match unit.type:
            case UnitType.SEQUENCE_HEADER:
                self._sequence_header(unit)
            case UnitType.GROUP_HEADER:
                self._group_header(unit)
            case UnitType.FRAME:
                return self._frame(unit)
            case UnitType.CAMERAS:
                self._cameras(unit)
            case UnitType.METADATA:
                self._metadata(unit)
            case UnitType.SHARED:
                self._shared(unit)
            case UnitType.INDEX:
                self._index(unit)
            case UnitType.END:
                self._end(unit)
        return None

    def _parse(self, structure: Structure, unit: Unit) -> tuple[Any, Trace]:
        return structure.parse(unit.payload, unit.payload_offset, level=self.file_header.bounds,
                               header=self.header, payload_size=len(unit.payload))

    def _check_order(self, unit: Unit) -> None:
        """Section 3.2."""
        kind = unit.type

        def refuse(requirement: str, detail: str) -> NoReturn:
            raise BitstreamError(requirement, unit.offset, "unit_header.unit_type", detail)

        if self.header is None:
            if kind != UnitType.SEQUENCE_HEADER:
                refuse("R-UNIT-08", f"The first unit is {unit.label}, not a sequence header.")
            return
        if not unit.known:
            return
        if self._index_offset and kind != UnitType.END:
            refuse("R-UNIT-08", f"A {unit.label} unit follows the index.")
        group = self.group
        if group is not None and self.frames_left and kind != UnitType.FRAME:
            refuse("R-GRP-05", f"The group at byte {group.offset} declares {group.frame_count} frames; "
                   f"a {unit.label} unit follows its frame {self._in_group}.")
        if kind == UnitType.FRAME and not self.frames_left:
            if group is None:
                refuse("R-UNIT-08", "A frame comes before any group header.")
            refuse("R-GRP-05", f"The group at byte {group.offset} declares {group.frame_count} frames; "
                   "another one follows.")
        if kind in (UnitType.CAMERAS, UnitType.METADATA, UnitType.SHARED) and not self.mid_stream:
            if group is not None or kind in self._seen:
                refuse("R-UNIT-08", f"A {unit.label} unit is repeated or follows a group.")
        if kind in (UnitType.INDEX, UnitType.END) and group is None and not self.mid_stream:
            refuse("R-UNIT-08", f"A {unit.label} unit comes before any group.")
        self._seen.add(kind)

    def _sequence_header(self, unit: Unit) -> None:
        if self.header is not None:
            if unit.payload != self._header_payload:
                raise BitstreamError("R-SEQ-20", unit.payload_offset, "sequence_header")
            return
        value, trace = self._parse(syn.SEQUENCE_HEADER, unit)
        header = SequenceHeader.from_syntax(value)
        bounds = self.file_header.bounds
        elements, voxels = header.tensor_elements, header.occupancy_voxels
        count_at = trace.offset("sequence_header.tensor_count")
        if elements > bounds.tensor_elements:
            raise BitstreamError("R-SEQ-17", count_at, "sequence_header.tensor_count",
                                 f"{elements} tensor elements; the level allows {bounds.tensor_elements}.")
        if voxels > bounds.occupancy_voxels:
            raise BitstreamError("R-SEQ-17", trace.offset("sequence_header.occupancy_dims"),
                                 "sequence_header.occupancy_dims",
                                 f"{voxels} voxels; the level allows {bounds.occupancy_voxels}.")
        if fault := tensor_list_fault(header):
            raise BitstreamError("R-SEQ-16", count_at, "sequence_header.tensor_count", f"{fault.capitalize()}.")
        for what, found, limit in (("tensor elements", elements, self.limits.tensor_elements),
                                   ("occupancy voxels", voxels, self.limits.occupancy_voxels)):
            if limit is not None and found > limit:
                raise BitstreamError("R-LIM-01", count_at, "sequence_header.tensor_count",
                                     f"{found} {what}; this decoder's limit is {limit}.")
        self.header, self._header_payload = header, unit.payload
        self.state = FrameState(header)

    def _group_header(self, unit: Unit) -> None:
        value, trace = self._parse(syn.GROUP_HEADER, unit)
        header, first = self.sequence_header, value.first_frame_number
        if value.scene_id < self._scene:
            path = "group_header.scene_id"
            raise BitstreamError("R-GRP-06", trace.offset(path), path,
                                 f"It is {value.scene_id}; a group of scene {self._scene} came before.")
        if first <= self._last_frame or first + value.frame_count > 1 << 32:
            path = "group_header.first_frame_number"
            raise BitstreamError("R-GRP-04", trace.offset(path), path,
                                 f"It is {first}; frame {self._last_frame} came before.")
        self.group = Group(unit.offset, value.scene_id, first, value.frame_count)
        self._in_group = 0
        if value.scene_id != self._scene:
            self._scene, self._last_time = value.scene_id, -1
        shared, self.state = self.state.shared, FrameState(header.of_scene(value.scene_id))
        self.state.shared, self._models = shared, {}  # only what is shared goes from one group to the next
        self.groups += 1
        frames = value.frame_count if self.wanted is None else min(value.frame_count, max(0, self.wanted.stop - first))
        if self.group.meets(self.wanted):
            acceleration.expect(frames * header.tensor_elements)

    def _frame(self, unit: Unit) -> FrameJob:
        value, trace = self._parse(syn.FRAME, unit)
        if (limit := self.limits.frames) is not None and self.frames >= limit:
            raise BitstreamError("R-LIM-01", unit.offset, "frame",
                                 f"The stream holds more frames than this decoder's limit of {limit}.")
        self._check_frame(value, trace)
        number, wanted, group = value.frame_number, self.wanted, self.current_group
        return FrameJob(
            value, trace, unit.offset, unit.size, group, self.state, dict(self._models),
            needed=group.meets(wanted) and (wanted is None or number < wanted.stop),
            wanted=wanted is None or number in wanted)

    def _advance(self, job: FrameJob) -> None:
        v = job.syntax
        self.entries.append((v.frame_number, v.frame_type, job.group.offset if v.frame_type == INTRA else job.offset))
        self._in_group += 1
        self.frames += 1
        self._last_frame, self._last_time = v.frame_number, v.time_stamp

    def _check_frame(self, v: Any, trace: Trace) -> None:
        """Requirements that tie a frame to the sequence and its group (spec 4.7 to 4.11)."""

        def refuse(requirement: str, element: str, detail: str = "") -> NoReturn:
            path = f"frame.{element}"
            raise BitstreamError(requirement, trace.offset(path), path, detail)

        header, expected = self.sequence_header, self.current_group.first_frame + self._in_group
        if v.frame_number != expected:
            refuse("R-FRM-01", "frame_number", f"It is {v.frame_number}; the next frame is {expected}.")
        intra = self._in_group == 0
        if (v.frame_type == INTRA) != intra:
            refuse("R-FRM-02", "frame_type", "A P-frame has no frame before it to refer to." if intra else
                   "An I-frame stands inside a group.")
        if v.time_stamp <= self._last_time:
            refuse("R-FRM-04", "time_stamp", f"It is {v.time_stamp} after {self._last_time}.")
        allowed = (0,) if not header.has_occupancy else (1, 3) if intra else (0, 1, 2, 3)
        if v.occupancy_mode not in allowed:
            refuse("R-OCC-01", "occupancy_mode", f"It is {v.occupancy_mode}; allowed here: {allowed}.")
        self._check_coding(v, trace, "frame", self._models, intra)
        if intra and len(v.tensor) != len(header.tensors):
            refuse("R-FRM-05", "coded_count", f"{len(v.tensor)} of {len(header.tensors)} tensors.")

    def _check_coding(self, v: Any, trace: Trace, unit: str, models: dict[int, EntropyModel], intra: bool) -> None:
        """Requirements on the models and tensors of a frame or of the shared unit; adds to `models`."""

        def refuse(requirement: str, element: str, detail: str = "") -> NoReturn:
            path = f"{unit}.{element}"
            raise BitstreamError(requirement, trace.offset(path), path, detail)

        for i, model in enumerate(v.model):
            if i and model.model_id <= v.model[i - 1].model_id:
                refuse("R-MOD-01", f"model[{i}].model_id", f"{model.model_id} follows {v.model[i - 1].model_id}.")
        for model in v.model:
            models[model.model_id] = model_from_syntax(model)
        header, shared = self.sequence_header, unit == "shared"
        bounds, multiplications, coefficients = self.file_header.bounds, 0, 0
        if not shared and v.occupancy_mode == OccupancyMode.CODED:
            model = models.get(v.occupancy_model_ref)
            if model is None:
                refuse("R-OCC-05", "occupancy_model_ref", f"It is {v.occupancy_model_ref}.")
            if (fault := occupancy_fault(model)) is not None:
                refuse(fault, "occupancy_model_ref", f"It is {v.occupancy_model_ref}.")
            multiplications += work(model, (1, *header.occupancy_shape))
        for i, tensor in enumerate(v.tensor):
            at = f"tensor[{i}]."
            if tensor.tensor_id >= len(header.tensors) or (i and tensor.tensor_id <= v.tensor[i - 1].tensor_id):
                refuse("R-FRM-06", at + "tensor_id", f"It is {tensor.tensor_id}.")
            info, tools = header.tensors[tensor.tensor_id], Tools.from_syntax(tensor)
            if shared and tools.prediction in (Prediction.PREVIOUS, Prediction.BASE):
                refuse("R-SHR-01", at + "prediction")
            if tools.prediction == Prediction.PREVIOUS and intra:
                refuse("R-TEN-04", at + "prediction")
            if tools.prediction == Prediction.BASE and tensor.tensor_id not in self.state.shared:
                refuse("R-TEN-12", at + "prediction", f"Tensor {tensor.tensor_id} is not shared.")
            if tools.transform and (info.mapping == Mapping.NONE or sum(n > 1 for n in info.shape[1:]) < 2):
                refuse("R-TEN-10", at + "transform")
            if tools.significance and info.mapping == Mapping.NONE:
                refuse("R-TEN-11", at + "significance")
            if tools.by_occupancy and (shared or not header.has_occupancy):
                refuse("R-TEN-05", at + "significance")
            shape = tools.coefficient_shape(info.shape)
            coefficients += math.prod(shape)
            uses = [("mask_model_ref", tensor.mask_model_ref, BIT_FAMILIES)] if tools.masked else []
            for element, model_ref, families in [*uses, ("model_ref", tensor.model_ref, VALUE_FAMILIES)]:
                model = models.get(model_ref)
                if model is None:
                    refuse("R-TEN-06", at + element, f"Model {model_ref} is not defined.")
                if not fits(model, info.shape[0], len(tools.steps)):
                    refuse("R-TEN-07", at + element, f"Model {model_ref} does not fit {info.shape[0]} channels and "
                           f"{len(tools.steps)} bands.")
                if isinstance(model, ContextModel) and model.family not in families:
                    refuse("R-TEN-13", at + element, f"Model {model_ref} is of family {model.family}.")
                multiplications += work(model, shape)
        for requirement, found, allowed, what in (
            ("R-TEN-14", coefficients, bounds.tensor_elements, "coefficients"),
            ("R-TEN-09", multiplications, bounds.model_work, "multiplications"),
        ):
            if found > allowed:
                refuse(requirement, "coded_count", f"{found} {what}; the level allows {allowed}.")

    def _shared(self, unit: Unit) -> None:
        """Section 4.16."""
        value, trace = self._parse(syn.SHARED, unit)
        models: dict[int, EntropyModel] = {}
        self._check_coding(value, trace, "shared", models, True)
        state = FrameState(self.sequence_header)
        _decode_tensors(value, trace, "shared", state, models)
        self.state.shared = {t.tensor_id: state.tensors[t.tensor_id] for t in value.tensor}
        if value.shared_digest is not None and (found := self.state.shared_digest()) != value.shared_digest:
            self.state.shared = {}
            path = "shared.shared_digest"
            raise BitstreamError("R-DIG-02", trace.offset(path), path, f"The stream says {value.shared_digest.hex()}, "
                                 f"the decoded tensors have {found.hex()}.")

    def _cameras(self, unit: Unit) -> None:
        value, _ = self._parse(syn.CAMERAS, unit)
        self.cameras = tuple(
            Camera(c.camera_width, c.camera_height, c.focal[0], c.focal[1], c.centre[0], c.centre[1],
                   np.array(c.camera_to_world, np.float64).reshape(3, 4), c.camera_name.decode(), c.camera_scene)
            for c in value.camera)

    def _metadata(self, unit: Unit) -> None:
        value, trace = self._parse(syn.METADATA, unit)
        for i, entry in enumerate(value.entry):
            key = entry.key.decode()
            if key in self.metadata:
                path = f"metadata.entry[{i}].key"
                raise BitstreamError("R-MET-01", trace.offset(path), path, f"{key!r} is repeated.")
            self.metadata[key] = entry.value.decode()

    def _index(self, unit: Unit) -> None:
        value, trace = self._parse(syn.INDEX, unit)
        found = [(e.indexed_frame, e.indexed_type, e.frame_offset) for e in value.entry]
        self._index_offset = unit.offset
        if self.mid_stream or found == self.entries:
            return
        same = next((i for i, (a, b) in enumerate(zip(found, self.entries)) if a != b),
                    min(len(found), len(self.entries)))
        path = f"index.entry[{same}].indexed_frame" if same < len(found) else "index.index_count"
        raise BitstreamError("R-IDX-01", trace.offset(path), path,
                             f"Entry {same} of {len(found)} is not that of frame {same} of {len(self.entries)}.")

    def _end(self, unit: Unit) -> None:
        value, trace = self._parse(syn.END, unit)
        self.ended = True
        if self.mid_stream:
            return
        if (value.group_total, value.frame_total) != (self.groups, self.frames):
            raise BitstreamError("R-END-01", trace.offset("end.group_total"), "end.group_total",
                                 f"It counts {value.group_total} groups and {value.frame_total} frames; "
                                 f"the stream holds {self.groups} and {self.frames}.")
        if value.index_offset != self._index_offset:
            raise BitstreamError("R-END-02", trace.offset("end.index_offset"), "end.index_offset",
                                 f"It is {value.index_offset}; the index is at {self._index_offset}.")

    def jump(self) -> None:
        """Prepares for a group header that does not follow what was fed before."""
        self.mid_stream, self.group, self._in_group = True, None, 0
        self._last_frame = self._last_time = -1
        self._scene = self._index_offset = 0



def _units(reader: UnitReader, decoder: SequenceDecoder, first: Unit | None) -> Iterator[Unit]:
    """Units of a reader for a decoder, up to the end unit; checks that the stream ends as it should
    (R-FILE-06, R-FILE-07). first: a unit that has been read already.
    """
    while not decoder.ended:
        unit, first = first or reader.next_unit(), None
        yield unit
    if reader.stream.read(1):
        raise BitstreamError("R-FILE-07", reader.offset, "file")


class Stream:
    """An RFV stream opened for decoding: header, cameras and metadata at once, frames on demand.

    Works on files and, front to back, on pipes. Iterate for all frames, or call
    `frames(range)`; on a file with an index that starts at the group that is needed.
    Raises BitstreamError.
    """

    def __init__(self, file: BinaryIO, limits: Limits = Limits()):
        self._file, self._limits = file, limits
        self._start()

    def _start(self) -> None:
        """Reads what stands before the first group."""
        self._reader = UnitReader(self._file)
        self.file_header = self._reader.read_file_header()
        self._decoder = SequenceDecoder(self.file_header, limits=self._limits)
        self._pending: Unit | None = None
        while self._pending is None:
            unit = self._reader.next_unit()
            if unit.type in (UnitType.GROUP_HEADER, UnitType.FRAME, UnitType.END, UnitType.INDEX) \
                    and self._decoder.header is not None:
                self._pending = unit
            else:
                self._decoder.feed(unit)
        self.header = self._decoder.sequence_header
        self.cameras, self.metadata = self._decoder.cameras, self._decoder.metadata

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Frame]:
        return self.frames()

    def frames(self, wanted: range | None = None, jobs: int = 1) -> Iterator[Frame]:
        """Frames with these numbers (all by default), in order. One pass on a pipe.

        jobs: threads, which decode groups side by side, and the tensors of a frame. Frames,
        errors and their order are those of one thread. More than one pay with the compiled
        kernels (`refcodec.acceleration`); they hold the frames of `jobs` + 1 groups.
        """
        return self.map(lambda frame: frame, wanted, jobs)

    def map(self, function: Callable[[Frame], object], wanted: range | None = None,
            jobs: int = 1) -> Generator[Any, None, None]:
        """`function` of every frame, in order, worked out where the frame was decoded: with more than one job,
        in some thread, maybe of frames behind one whose error ends the iteration. What it raises is raised here.
        """
        if self._pending is None:
            if not self._file.seekable():
                raise UsageError("a pipe can be read only once")
            self._file.seek(0)
            self._start()
        decoder, pending, self._pending = self._decoder, self._pending, None
        decoder.wanted = wanted
        if wanted is not None and (start := self._seek_offset(wanted)) is not None:
            self._reader.seek(start)
            decoder.jump()
            pending = None
        last = wanted.stop - 1 if wanted is not None and pending is None else None
        if jobs > 1:
            from .parallel import map_frames

            yield from map_frames(_units(self._reader, decoder, pending), decoder, function, jobs, last)
            return
        for unit in _units(self._reader, decoder, pending):
            if (frame := decoder.feed(unit)) is not None:
                number, result = frame.number, function(frame)
                del frame  # so that the caller alone decides how long its tensors live
                yield result
                del result
                if number == last:
                    return

    def frame(self, number: int) -> Frame:
        """The frame with this number; reads from the start of its group where there is an index.

        Raises UsageError where the stream holds no such frame, or is a pipe that is past it.
        """
        for frame in self.frames(range(number, number + 1)):
            return frame
        raise UsageError(f"the stream holds no frame {number}")

    def index(self) -> list[tuple[int, int, int]] | None:
        """(frame number, type, offset) of every frame, from the index unit; None without one."""
        if not self._file.seekable():
            return None
        here = self._file.tell()
        try:
            return read_index(self._file, self.file_header)
        finally:
            self._file.seek(here)

    def _seek_offset(self, wanted: range) -> int | None:
        entries = self.index()
        if not entries:
            return None
        starts = [offset for number, kind, offset in entries if kind == INTRA and number <= wanted.start]
        return starts[-1] if starts else None


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
        value, _ = syn.INDEX.parse(index.payload, index.payload_offset, payload_size=len(index.payload))
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


def open_stream(source: str | Path | BinaryIO, limits: Limits = Limits()) -> Stream:
    """Opens an RFV file or binary stream. Raises BitstreamError, UsageError."""
    if isinstance(source, (str, Path)):
        try:
            source = open(source, "rb")
        except OSError as e:
            raise UsageError(f"can't open {source}: {e.strerror}") from None
    return Stream(source, limits)


@dataclass(slots=True)
class Salvage:
    """Outcome of `salvage`: the errors met, the frames decoded and those known to be lost."""

    errors: list[BitstreamError] = field(default_factory=list)
    decoded: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)


def salvage(data: bytes, report: Salvage, limits: Limits = Limits()) -> Iterator[Frame]:
    """Decodes every group that is intact and fills in `report` (spec 3.4).

    A frame is given out only when it and all frames before it in its group are whole.
    Raises BitstreamError when the file header or sequence header is lost.
    """
    reader = UnitReader(io.BytesIO(data))
    decoder = SequenceDecoder(reader.read_file_header(), limits=limits)
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
    known.update(number for number, _, _ in read_index(io.BytesIO(data), decoder.file_header) or ())
    report.lost.extend(sorted(known - set(report.decoded)))
