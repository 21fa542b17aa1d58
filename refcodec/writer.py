"""Writes quantised frames as a stream: the back end of every encoder.

It does not need torch: training is one source of a `FrameCoding`, an editor another.
The writer reconstructs every frame with the decoder's own integer code, so what it
returns as reference for the next frame is what a decoder will have.
"""
from __future__ import annotations

from collections.abc import Mapping as MappingType, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from .decoding import SequenceDecoder
from .entropy.models import EntropyModel, model_to_syntax
from .entropy.occupancy import compress, pack
from .errors import UsageError
from .rendering.cameras import Camera
from .syntax import structures as syn
from .syntax.coding import FrameType, OccupancyMode, Tools
from .syntax.headers import SequenceHeader, lowest_level
from .syntax.registry import LEVELS, UnitType
from .syntax.units import UNIT_OVERHEAD, Unit, build_file_header, build_unit
from .tensors.state import FrameState


@dataclass(frozen=True, slots=True)
class TensorCoding:
    """One tensor of a frame, quantised.

    values: int32 (coded cells, C), cells of the coefficient array in raster order
    (z, y, x), x fastest; 0 where a mask is False. tools: what the values mean (spec 4.11).
    mask: bool (coded cells, C), the elements that are coded, with significance 2 and 3.
    """

    tensor_id: int
    values: np.ndarray
    model_id: int
    tools: Tools
    mask: np.ndarray | None = None
    mask_model_id: int = 0


@dataclass(frozen=True, slots=True)
class FrameCoding:
    """The contents of one frame unit.

    type: I or P. occupancy: bool (z, y, x), or None when the sequence has none.
    models: entropy models that this frame defines. occupancy_model_id: of the model that
    codes the occupancy; None: it is compressed.
    """

    number: int
    type: FrameType
    time_stamp: int
    occupancy: np.ndarray | None
    models: MappingType[int, EntropyModel]
    tensors: Sequence[TensorCoding]
    occupancy_model_id: int | None = None


@dataclass(frozen=True, slots=True)
class FrameReport:
    """Size of a written unit, in bytes: whole unit and components.

    tensors: entropy-coded bytes by tensor_id, masks included. masks: theirs alone.
    ideal_bits: code length of each
    tensor's symbols under the transmitted model. framing: everything that is not occupancy, models, step sizes or
    entropy-coded data.
    """

    size: int
    occupancy: int
    models: int
    tensors: dict[int, int]
    ideal_bits: dict[int, float]
    framing: int
    symbols: int
    masks: dict[int, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Coded:
    """The tensors of a unit as syntax, and what they cost; see `FrameReport`."""

    syntax: list[syn.CodedTensorSyntax] = field(default_factory=list)
    sizes: dict[int, int] = field(default_factory=dict)
    masks: dict[int, int] = field(default_factory=dict)
    ideal_bits: dict[int, float] = field(default_factory=dict)
    symbols: int = 0


@dataclass(slots=True)
class UnitWriter:
    """Writes units front to back and keeps what index and end unit say of them (spec chapter 3).

    out: binary stream, never sought in. header, level: of the file. checked: whether what it is given has to keep the
    rules of syntax elements. position: bytes written.
    frames_left: frames that the current group still lacks.
    """

    out: BinaryIO
    header: SequenceHeader
    level: int | None = None
    checked: bool = field(default=True, kw_only=True)
    position: int = field(init=False, default=0)
    frames_left: int = field(init=False, default=0)
    groups: int = field(init=False, default=0)
    entries: list[tuple[int, int, int]] = field(init=False, default_factory=list)
    _group_offset: int = field(init=False, default=0)

    @property
    def _params(self) -> dict[str, Any]:
        assert self.level is not None, "set when it is made"
        return dict(level=LEVELS[self.level], header=self.header, checked=self.checked)

    def _put(self, data: bytes) -> int:
        at = self.position
        self.out.write(data)
        self.position += len(data)
        return at

    def begin(self) -> None:
        """The file header."""
        assert self.level is not None, "set when it is made"
        self._put(build_file_header(self.level))

    def copy(self, unit: Unit) -> None:
        """Copies a unit of another file, unless its content depends on its position."""
        self._put(build_unit(unit.type, unit.payload, unit.flags))

    def begin_group(self, first_frame: int, frame_count: int, scene_id: int = 0) -> None:
        payload = syn.GROUP_HEADER.build(
            syn.GroupHeaderSyntax(group_sync=syn.GROUP_SYNC, scene_id=scene_id, first_frame_number=first_frame,
                 frame_count=frame_count), **self._params)
        self._group_offset = self._put(build_unit(UnitType.GROUP_HEADER, payload))
        self.groups += 1
        self.frames_left = frame_count

    def add_frame(self, number: int, kind: int, payload: bytes) -> None:
        """A frame unit. number, kind (1 I, 2 P): as the payload says them."""
        at = self._put(build_unit(UnitType.FRAME, payload))
        self.entries.append((number, kind, self._group_offset if kind == FrameType.INTRA else at))
        self.frames_left -= 1

    def finish(self, index: bool = True) -> int:
        """Index and end unit. Returns the index's offset; 0: there is none, as asked or because no unit of
        the level could hold it."""
        assert self.level is not None, "set when it is made"
        at, size = 0, 4 + 13 * len(self.entries)
        if index and size <= LEVELS[self.level].unit_size:
            payload = syn.INDEX.build(
                syn.IndexSyntax(index_count=len(self.entries), entry=tuple(
                    syn.IndexEntrySyntax(indexed_frame=n, indexed_type=t, frame_offset=o) for n, t, o in self.entries)),
                payload_size=size, **self._params)
            at = self._put(build_unit(UnitType.INDEX, payload))
        self._put(build_unit(UnitType.END, syn.END.build(
            syn.EndSyntax(group_total=self.groups, frame_total=len(self.entries), index_offset=at))))
        return at


@dataclass(slots=True)
class StreamWriter(UnitWriter):
    """Writes one RFV file front to back (spec chapter 3).

    level: smallest that holds the sequence when None. `state`
    is the decoder's state after the last frame. Raises BitstreamError when given
    something that no conforming stream may hold.
    """

    cameras: Sequence[Camera] = ()
    metadata: MappingType[str, str] = field(default_factory=dict)
    state: FrameState = field(init=False)

    def __post_init__(self) -> None:
        self.level = self.level or lowest_level(self.header)
        if self.level is None:
            raise UsageError(f"no level holds {self.header.tensor_elements} tensor elements and "
                             f"{self.header.occupancy_voxels} voxels")
        self.state = FrameState(self.header)

    def begin(self) -> None:
        """File header, sequence header, cameras, metadata."""
        UnitWriter.begin(self)
        self._put(build_unit(UnitType.SEQUENCE_HEADER,
                             syn.SEQUENCE_HEADER.build(self.header.to_syntax(), **self._params)))
        if self.cameras:
            self._put(build_unit(UnitType.CAMERAS, build_cameras(self.cameras, **self._params)))
        if self.metadata:
            self._put(build_unit(UnitType.METADATA, build_metadata(self.metadata)))

    def resume(self, decoder: SequenceDecoder, position: int) -> None:
        """Goes on after what `decoder` has taken in, at this byte position of `out`."""
        self.state, self.position = decoder.state, position
        self.entries, self.groups = list(decoder.entries), decoder.groups
        if decoder.group is not None:
            self._group_offset, self.frames_left = decoder.group.offset, decoder.frames_left

    def write_shared(self, models: MappingType[int, EntropyModel], tensors: Sequence[TensorCoding]) -> FrameReport:
        """Codes the tensors that scenes share (spec 4.16); before the first group."""
        state = FrameState(self.header)
        coded = self._code_tensors(tensors, state, models)
        self.state.shared = {t.tensor_id: state.tensors[t.tensor_id] for t in tensors}
        syntax = self._models_to_syntax(models)
        payload = syn.SHARED.build(syn.SharedSyntax(
            model_count=len(models), model=syntax, coded_count=len(coded.syntax), tensor=tuple(coded.syntax),
            shared_digest=self.state.shared_digest()), **self._params)
        self._put(build_unit(UnitType.SHARED, payload))
        return self._report(payload, coded, 0, syntax)

    def begin_group(self, first_frame: int, frame_count: int, scene_id: int = 0) -> None:
        self.state.start_group(self.header.of_scene(scene_id))
        UnitWriter.begin_group(self, first_frame, frame_count, scene_id)

    def write_frame(self, frame: FrameCoding) -> FrameReport:
        """Codes a frame, appends its unit and moves `state` on."""
        payload, report = self.encode_frame(frame)
        self.append_frame(frame, payload)
        return report

    def append_frame(self, frame: FrameCoding, payload: bytes) -> None:
        """Appends the unit of a frame that `encode_frame` has coded."""
        self.add_frame(frame.number, frame.type, payload)

    def encode_frame(self, frame: FrameCoding) -> tuple[bytes, FrameReport]:
        """The payload of a frame unit; moves `state` on without writing anything."""
        state = self.state
        state.models.update(frame.models)
        coded_occupancy = self._code_occupancy(frame)
        state.set_occupancy(frame.occupancy)
        coded = self._code_tensors(frame.tensors, state, state.models)
        models = self._models_to_syntax(frame.models)
        payload = syn.FRAME.build(syn.FrameSyntax(
            frame_number=frame.number, frame_type=frame.type, time_stamp=frame.time_stamp,
            occupancy_mode=coded_occupancy.mode, occupancy_model_ref=coded_occupancy.model_id,
            occupancy_size=coded_occupancy.size, occupancy_data=coded_occupancy.data,
            model_count=len(models), model=models, coded_count=len(coded.syntax), tensor=tuple(coded.syntax),
            frame_digest=state.digest(frame.number)), **self._params)
        return payload, self._report(payload, coded, len(coded_occupancy.data), models)

    def _code_occupancy(self, frame: FrameCoding) -> CodedOccupancy:
        """Occupancy as the frame wants it: under its model, or compressed. Before `state` moves on."""
        intra, model_id = frame.type == FrameType.INTRA, frame.occupancy_model_id
        if model_id is None:
            return compressed_occupancy(frame.occupancy, self.state.occupancy, intra)
        assert frame.occupancy is not None
        data, _ = self.state.kernels.encode_occupancy(self.state.models[model_id], frame.occupancy,
                                                      self.state.occupancy_context(intra))
        return CodedOccupancy(OccupancyMode.CODED, data, model_id)

    def _code_tensors(self, tensors: Sequence[TensorCoding], state: FrameState,
                      models: MappingType[int, EntropyModel]) -> _Coded:
        """Entropy codes the tensors of a unit and moves `state` on."""
        coded = _Coded()
        for t in sorted(tensors, key=lambda t: t.tensor_id):
            bound, bits = state.bind(t.tensor_id, t.tools), 0.0
            mask_data: bytes | None = None
            if t.tools.masked:
                assert t.mask is not None and t.mask_model_id is not None, "a masked tensor comes with both"
                mask_data, bits = state.kernels.encode_symbols(models[t.mask_model_id], bound.layout,
                                                               t.mask.astype(np.int32))
                coded.masks[t.tensor_id] = len(mask_data)
                coded.symbols += t.mask.size
            data, value_bits = state.kernels.encode_symbols(models[t.model_id], bound.layout, t.values, t.mask)
            state.reconstruct(bound, t.values)
            coded.sizes[t.tensor_id] = len(data) + coded.masks.get(t.tensor_id, 0)
            coded.ideal_bits[t.tensor_id] = bits + value_bits
            coded.symbols += t.values.size if t.mask is None else int(t.mask.sum())
            coded.syntax.append(t.tools.to_syntax(
                t.tensor_id, t.model_id, data, t.mask_model_id if t.tools.masked else None, mask_data))
        state.forget_contexts(set(coded.sizes))
        return coded

    @staticmethod
    def _models_to_syntax(models: MappingType[int, EntropyModel]) -> tuple[syn.EntropyModelSyntax, ...]:
        return tuple(model_to_syntax(i, m) for i, m in sorted(models.items()))

    def _report(self, payload: bytes, coded: _Coded, occupancy: int,
                models: Sequence[syn.EntropyModelSyntax]) -> FrameReport:
        model_bytes = sum(len(syn.ENTROPY_MODEL.build(m, **self._params)) for m in models)
        size = len(payload) + UNIT_OVERHEAD
        steps = sum(len(t.step) for t in coded.syntax)
        framing = size - occupancy - model_bytes - steps - sum(coded.sizes.values())
        return FrameReport(size, occupancy, model_bytes, coded.sizes, coded.ideal_bits, framing,
                           coded.symbols, coded.masks)


@dataclass(frozen=True, slots=True)
class CodedOccupancy:
    """A frame's occupancy as it is in the stream (spec 4.7): its mode, data and, with mode 3, model."""

    mode: OccupancyMode
    data: bytes = b""
    model_id: int | None = None

    @property
    def size(self) -> int | None:
        """`occupancy_size`."""
        return len(self.data) if self.mode != OccupancyMode.UNCHANGED else None


def compressed_occupancy(occupancy: np.ndarray | None, previous: np.ndarray | None, intra: bool) -> CodedOccupancy:
    """The shortest of modes 0, 1 and 2 that the frame type allows. Occupancy: bool (z, y, x) or None."""
    if occupancy is None:
        return CodedOccupancy(OccupancyMode.UNCHANGED)
    alone = CodedOccupancy(OccupancyMode.COMPRESSED, compress(pack(occupancy)))
    if intra:
        return alone
    assert previous is not None, "a P-frame follows a frame with an occupancy"
    if np.array_equal(occupancy, previous):
        return CodedOccupancy(OccupancyMode.UNCHANGED)
    difference = CodedOccupancy(OccupancyMode.DIFFERENCE, compress(pack(occupancy ^ previous)))
    return difference if len(difference.data) <= len(alone.data) else alone


def build_cameras(cameras: Sequence[Camera], **params: Any) -> bytes:
    """Payload of a cameras unit (spec 4.14). params: context of the build, `header` at least."""
    entries = []
    for c in cameras:
        name = c.name.encode()[:255]
        entries.append(syn.CameraSyntax(
            name_size=len(name), camera_name=name, camera_scene=c.scene, camera_width=c.width, camera_height=c.height,
            focal=(c.fx, c.fy), centre=(c.cx, c.cy),
            camera_to_world=tuple(np.asarray(c.camera_to_world)[:3].reshape(-1).tolist())))
    return syn.CAMERAS.build(syn.CamerasSyntax(camera_count=len(entries), camera=tuple(entries)), **params)


def build_metadata(metadata: MappingType[str, str]) -> bytes:
    """Payload of a metadata unit (spec 4.15)."""
    entries = []
    for key, value in metadata.items():
        k, v = key.encode(), value.encode()
        entries.append(syn.MetadataEntrySyntax(key_size=len(k), key=k, value_size=len(v), value=v))
    return syn.METADATA.build(syn.MetadataSyntax(entry_count=len(entries), entry=tuple(entries)))

