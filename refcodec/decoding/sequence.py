"""The state machine of a decoder: units in, frames out (spec chapters 3 and 4)."""
from __future__ import annotations

import copy
import math
from typing import NoReturn, TypeVar

import numpy as np

from ..entropy.models import ContextModel, EntropyModel, fits, model_from_syntax, occupancy_fault, wavefronts, work
from ..errors import BitstreamError
from ..kernels import Kernels, best
from ..rendering.cameras import Camera
from ..syntax import structures as syn
from ..syntax.coding import FrameType, Prediction, Tools
from ..syntax.declare import Structure, Trace
from ..syntax.headers import Mapping, SequenceHeader
from ..syntax.registry import UnitType
from ..syntax.tensor_list import tensor_list_fault
from ..syntax.units import FileHeader, Unit
from ..tensors.state import FrameState
from . import checks
from .checks import Position
from .frame import Frame, Group, Limits
from .index import IndexEntry
from .job import FrameJob, OnTensor, decode_tensors

_T = TypeVar("_T")


class SequenceDecoder:
    """Decodes units to frames and checks every requirement.

    wanted: frame numbers to decode; groups outside are parsed but not decoded.
    mid_stream: True when fed from a group header inside a file (after a seek or
    damage): order and totals of the whole file are then not checked.
    on_tensor: told of the symbols of every tensor that is decoded. kernels: the best there are by default.
    state: there once the sequence header has been taken.
    """

    def __init__(self, file_header: FileHeader, *, limits: Limits = Limits(), wanted: range | None = None,
                 on_tensor: OnTensor | None = None, kernels: Kernels | None = None):
        self.file_header, self.limits, self.wanted, self.on_tensor = file_header, limits, wanted, on_tensor
        self.kernels = kernels or best()
        self.header: SequenceHeader | None = None
        self.cameras: tuple[Camera, ...] = ()
        self.metadata: dict[str, str] = {}
        self.state: FrameState
        self.group: Group | None = None
        self.groups = self.frames = 0
        self.wavefronts = 0  # to decode, by the syntax
        self.ended = False
        self.mid_stream = False
        self.entries: list[IndexEntry] = []
        self._header_payload = b""
        self._in_group = 0
        self._position = Position()
        self._index_offset = 0
        self._indexed: int | None = None  # frame that the index promises at the next group header
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

    def _parse(self, structure: Structure[_T], unit: Unit) -> tuple[_T, Trace]:
        return structure.parse(unit.payload, unit.payload_offset, level=self.file_header.bounds,
                               header=self.header)

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
        if group is None:
            if kind == UnitType.FRAME:
                refuse("R-UNIT-08", "A frame comes before any group header.")
        elif (kind == UnitType.FRAME) != bool(self.frames_left):
            found = self._in_group + (kind == UnitType.FRAME)
            if fault := checks.group_frames_fault(group.frame_count, found):
                refuse(fault.requirement, fault.detail)
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
        self.state = FrameState(header, self.kernels)

    def _group_header(self, unit: Unit) -> None:
        value, trace = self._parse(syn.GROUP_HEADER, unit)
        header, first = self.sequence_header, value.first_frame_number
        if fault := self._position.group_fault(value.scene_id, first, value.frame_count):
            raise fault.error(trace)
        if fault := checks.indexed_group_fault(self._indexed, first):
            raise BitstreamError(fault.requirement, unit.offset, fault.element, fault.detail)
        self._indexed = None
        self.group = Group(unit.offset, value.scene_id, first, value.frame_count)
        self._in_group = 0
        self._position = self._position.of_scene(value.scene_id)
        shared, self.state = self.state.shared, FrameState(header.of_scene(value.scene_id), self.kernels)
        self.state.shared, self._models = shared, {}  # only what is shared goes from one group to the next
        self.groups += 1

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
            wanted=wanted is None or number in wanted, on_tensor=self.on_tensor)

    def _advance(self, job: FrameJob) -> None:
        v = job.syntax
        start = job.group.offset if v.frame_type == FrameType.INTRA else job.offset
        self.entries.append(IndexEntry(v.frame_number, FrameType(v.frame_type), start))
        self._in_group += 1
        self.frames += 1
        self._position = Position(job.group.scene, v.frame_number, v.time_stamp)

    def _check_frame(self, v: syn.FrameSyntax, trace: Trace) -> None:
        """Requirements that tie a frame to the sequence and its group (spec 4.7 to 4.11)."""

        def refuse(requirement: str, element: str, detail: str = "") -> NoReturn:
            path = f"frame.{element}"
            raise BitstreamError(requirement, trace.offset(path), path, detail)

        header, expected = self.sequence_header, self.current_group.first_frame + self._in_group
        if v.frame_number != expected:
            refuse("R-FRM-01", "frame_number", f"It is {v.frame_number}; the next frame is {expected}.")
        intra = self._in_group == 0
        if (v.frame_type == FrameType.INTRA) != intra:
            refuse("R-FRM-02", "frame_type", "A P-frame has no frame before it to refer to." if intra else
                   "An I-frame stands inside a group.")
        if fault := self._position.time_fault(v.time_stamp):
            raise fault.error(trace)
        allowed = (0,) if not header.has_occupancy else (1, 3) if intra else (0, 1, 2, 3)
        if v.occupancy_mode not in allowed:
            refuse("R-OCC-01", "occupancy_mode", f"It is {v.occupancy_mode}; allowed here: {allowed}.")
        self._check_coding(v, trace, "frame", self._models, intra)
        if intra and len(v.tensor) != len(header.tensors):
            refuse("R-FRM-05", "coded_count", f"{len(v.tensor)} of {len(header.tensors)} tensors.")

    def _check_coding(self, v: syn.CodingSyntax, trace: Trace, unit: str, models: dict[int, EntropyModel],
                      intra: bool) -> None:
        """Requirements on the models and tensors of a frame or of the shared unit; adds to `models`."""

        def refuse(requirement: str, element: str, detail: str = "") -> NoReturn:
            path = f"{unit}.{element}"
            raise BitstreamError(requirement, trace.offset(path), path, detail)

        for i, defined in enumerate(v.model):
            if i and defined.model_id <= v.model[i - 1].model_id:
                refuse("R-MOD-01", f"model[{i}].model_id", f"{defined.model_id} follows {v.model[i - 1].model_id}.")
        for defined in v.model:
            models[defined.model_id] = model_from_syntax(defined)
        header, shared = self.sequence_header, unit == "shared"
        bounds, multiplications, coefficients, following = self.file_header.bounds, 0, 0, 0
        if isinstance(v, syn.FrameSyntax) and v.occupancy_model_ref is not None:
            model = models.get(v.occupancy_model_ref)
            if model is None:
                refuse("R-OCC-05", "occupancy_model_ref", f"It is {v.occupancy_model_ref}.")
            if (fault := occupancy_fault(model)) is not None:
                refuse(fault, "occupancy_model_ref", f"It is {v.occupancy_model_ref}.")
            multiplications += work(model, (1, *header.occupancy_shape))
            following += wavefronts(model, (1, *header.occupancy_shape))
        for i, tensor in enumerate(v.tensor):
            at = f"tensor[{i}]."
            if tensor.tensor_id >= len(header.tensors) or (i and tensor.tensor_id <= v.tensor[i - 1].tensor_id):
                refuse("R-FRM-06", at + "tensor_id", f"It is {tensor.tensor_id}.")
            info, tools = header.tensors[tensor.tensor_id], Tools.from_syntax(tensor)
            fault = Prediction.of(tools.prediction).fault(intra=intra, shared_unit=shared,
                                                          shared=tensor.tensor_id in self.state.shared)
            if fault is not None:
                refuse(fault, at + "prediction", f"It is {tools.prediction}, of tensor {tensor.tensor_id}.")
            if tools.transform and (info.mapping == Mapping.NONE or sum(n > 1 for n in info.shape[1:]) < 2):
                refuse("R-TEN-10", at + "transform")
            if tools.significance and info.mapping == Mapping.NONE:
                refuse("R-TEN-11", at + "significance")
            if tools.by_occupancy and (shared or not header.has_occupancy):
                refuse("R-TEN-05", at + "significance")
            shape = tools.coefficient_shape(info.shape)
            coefficients += math.prod(shape)
            uses = [("model_ref", tensor.model_ref, False)]
            if tensor.mask_model_ref is not None:
                uses.insert(0, ("mask_model_ref", tensor.mask_model_ref, True))
            for element, model_ref, bits in uses:
                model = models.get(model_ref)
                if model is None:
                    refuse("R-TEN-06", at + element, f"Model {model_ref} is not defined.")
                if not fits(model, info.shape[0], len(tools.steps)):
                    refuse("R-TEN-07", at + element, f"Model {model_ref} does not fit {info.shape[0]} channels and "
                           f"{len(tools.steps)} bands.")
                if isinstance(model, ContextModel) and model.family.codes_bits != bits:
                    refuse("R-TEN-13", at + element, f"Model {model_ref} is of family {model.family}.")
                multiplications += work(model, shape)
                following += wavefronts(model, shape)
        for requirement, found, allowed, what in (
            ("R-TEN-14", coefficients, bounds.tensor_elements, "coefficients"),
            ("R-TEN-09", multiplications, bounds.model_work, "multiplications"),
        ):
            if found > allowed:
                refuse(requirement, "coded_count", f"{found} {what}; the level allows {allowed}.")
        self.wavefronts += following
        if (limit := self.limits.steps) is not None and self.wavefronts > limit:
            refuse("R-LIM-01", "coded_count",
                   f"{self.wavefronts} wavefronts to decode; this decoder's limit is {limit} for the stream.")

    def _shared(self, unit: Unit) -> None:
        """Section 4.16."""
        value, trace = self._parse(syn.SHARED, unit)
        models: dict[int, EntropyModel] = {}
        self._check_coding(value, trace, "shared", models, True)
        state = FrameState(self.sequence_header, self.kernels)
        decode_tensors(value, trace, "shared", state, models, on_tensor=self.on_tensor)
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
        self._index_offset = unit.offset
        if not self.mid_stream and (fault := checks.index_fault(value, self.entries)):
            raise fault.error(trace)

    def _end(self, unit: Unit) -> None:
        value, trace = self._parse(syn.END, unit)
        self.ended = True
        if self.mid_stream:
            return
        fault = checks.totals_fault(value, self.groups, self.frames) or \
            checks.index_offset_fault(value, self._index_offset)
        if fault:
            raise fault.error(trace)

    def copy(self) -> SequenceDecoder:
        """A decoder that goes on from here by itself."""
        other = copy.copy(self)
        if self.header is not None:
            other.state = self.state.copy()
        other.metadata, other.entries, other._seen = dict(self.metadata), list(self.entries), set(self._seen)
        other._models = dict(self._models)
        return other

    def jump(self, indexed: int | None = None) -> None:
        """Prepares for a group header that does not follow what was fed before. indexed: number of its first frame
        by the index, which is checked."""
        self.mid_stream, self.group, self._in_group = True, None, 0
        self._position, self._index_offset, self._indexed = Position(), 0, indexed
