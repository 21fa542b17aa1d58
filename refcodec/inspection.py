"""Reads the structure of a file from its headers: no entropy decoding, no numpy (unless symbols are counted).

`inspect` walks the units of a stream up to the first damage and returns an `InspectionReport`;
`elements` and `hex_lines` serve the tree and hex views of the command line.
"""
from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, TypedDict

from .errors import BitstreamError, UsageError
from .sources import ByteSource, StreamSource
from .syntax import structures as syn
from .syntax.coding import OccupancyMode, Tools, step_of
from .syntax.declare import Span, Trace
from .syntax.families import ProbabilityFamily
from .syntax.headers import Mapping, SequenceHeader, TensorInfo, lowest_level
from .syntax.registry import ChannelMode, Level, UnitType
from .syntax.units import FILE_HEADER_SIZE, UNIT_OVERHEAD, ByteStream, FileHeader, Unit, UnitReader

if TYPE_CHECKING:
    from .tensors.state import FrameState

SCHEMA = "inspect.schema.json"
OnUnit = Callable[[int, Unit | None, Trace], None]


@dataclass(slots=True)
class CodedTensor:
    """One tensor of a unit. steps: quantisation step size of each band, in the field's values. bytes: entropy-coded
    data, those of the mask included. family: of the value model's tables, "static" for tables of the stream, None
    where the model is not defined. symbols: of values, None unless counted. levels: of
    the wavelet, else 0."""

    id: int
    label: str
    prediction: int
    transform: int
    levels: int
    significance: int
    model: int
    family: str | None
    steps: list[float]
    bytes: int
    mask_bytes: int
    elements: int
    symbols: int | None

    @property
    def bits_per_element(self) -> float:
        return 8 * self.bytes / self.elements

    @property
    def bits_per_symbol(self) -> float | None:
        return 8 * self.bytes / self.symbols if self.symbols else None

    def to_dict(self) -> dict[str, object]:
        return dict(id=self.id, label=self.label, prediction=self.prediction, transform=self.transform,
                    levels=self.levels, significance=self.significance, model=self.model, family=self.family,
                    steps=self.steps, bytes=self.bytes, mask_bytes=self.mask_bytes, elements=self.elements,
                    symbols=self.symbols, bits_per_element=self.bits_per_element,
                    bits_per_symbol=self.bits_per_symbol)


@dataclass(slots=True)
class FrameEntry:
    """One frame unit. bytes: the whole unit; framing: what belongs to no other component."""

    number: int
    type: str
    time_stamp: int
    seconds: float
    unit: int
    offset: int
    bytes: int
    occupancy_mode: int
    occupancy: int
    models: int
    steps: int
    tensors: list[CodedTensor]
    digest: str | None

    @property
    def framing(self) -> int:
        return self.bytes - self.occupancy - self.models - self.steps - sum(t.bytes for t in self.tensors)

    def components(self, infos: Sequence[TensorInfo]) -> dict[str, int]:
        """Bytes by component, in the order of the file; the networks' tensors as one."""
        parts = {"occupancy": self.occupancy, "entropy models": self.models, "steps": self.steps}
        for t in self.tensors:
            name = "networks" if infos[t.id].role.network else t.label
            parts[name] = parts.get(name, 0) + t.bytes
        parts["framing"] = self.framing
        return parts

    def to_dict(self) -> dict[str, object]:
        return dict(number=self.number, type=self.type, time_stamp=self.time_stamp, seconds=self.seconds,
                    unit=self.unit, offset=self.offset, bytes=self.bytes, occupancy_mode=self.occupancy_mode,
                    components=dict(occupancy=self.occupancy, models=self.models, steps=self.steps,
                                    tensors=sum(t.bytes for t in self.tensors), framing=self.framing),
                    digest=self.digest, tensors=[t.to_dict() for t in self.tensors])


class Demand:
    """Demands of units on a decoder (spec 10.2), from their syntax: the most of any unit so far.

    Identifiers of tensors and models that a unit has no right to are passed over.
    """

    def __init__(self, header: SequenceHeader):
        self.header = header
        self.coefficients = self.work = 0
        self._models: dict[int, tuple[bool, int]] = {}

    def frame(self, value: syn.FrameSyntax) -> None:
        """Takes in a parsed frame."""
        if value.frame_type == 1:
            self._models = {}
        self._unit(value, self._models, value.occupancy_model_ref)

    def shared(self, value: syn.SharedSyntax) -> None:
        """Takes in a parsed shared unit."""
        self._unit(value, {})

    def level(self, unit_size: int, group_frames: int) -> int | None:
        """The lowest level that holds the stream; None when none does."""
        return lowest_level(self.header, unit_size, group_frames, self.work, self.coefficients)

    def _unit(self, value: syn.CodingSyntax, models: dict[int, tuple[bool, int]],
              occupancy_model: int | None = None) -> None:
        """models: of each whether it is joint, and the multiplications of one use. occupancy_model: its `model_id`."""
        for m in value.model:
            c = m.context
            models[m.model_id] = (False, 0) if c is None else (
                c.channel_mode == ChannelMode.JOINT,
                c.hidden_count * (syn.input_count(c) + ProbabilityFamily.of(c.family).outputs * c.model_channels))
        coefficients = work = 0
        if occupancy_model is not None:
            work += self.header.occupancy_voxels * models.get(occupancy_model, (False, 0))[1]
        for t in value.tensor:
            if t.tensor_id >= len(self.header.tensors):
                continue
            channels, *size = Tools.from_syntax(t).coefficient_shape(self.header.tensors[t.tensor_id].shape)
            cells = math.prod(size)
            coefficients += cells * channels
            for model in (t.mask_model_ref, t.model_ref):
                joint, cost = models.get(model, (False, 0)) if model is not None else (False, 0)
                work += cells * (1 if joint else channels) * cost
        self.coefficients, self.work = max(self.coefficients, coefficients), max(self.work, work)


# Entries of the report, as `schemas/inspect.schema.json` describes them. unit: its number; offset: its byte.

class UnitEntry(TypedDict):
    number: int
    offset: int
    type: int
    label: str
    bytes: int
    ancillary: bool
    known: bool


class GroupEntry(TypedDict):
    unit: int
    offset: int
    scene: int
    first_frame: int
    frame_count: int


class IndexedFrame(TypedDict):
    frame: int
    type: str
    offset: int


class IndexReport(TypedDict):
    unit: int
    offset: int
    entries: list[IndexedFrame]


class SharedEntry(TypedDict):
    unit: int
    offset: int
    bytes: int
    models: int
    tensors: list[dict[str, object]]
    digest: str | None


class CameraEntry(TypedDict):
    name: str
    width: int
    height: int
    focal: list[float]
    centre: list[float]
    camera_to_world: list[list[float]]
    scene: int


class TypeEntry(TypedDict):
    """Frames of a type; bytes: of all of them."""

    frames: int
    bytes: int
    mean_bytes: float
    mean_components: dict[str, float]


@dataclass(slots=True)
class InspectionReport:
    """The result of `inspect`, up to `error` (None for an undamaged stream)."""

    path: str
    size: int | None
    file_header: FileHeader | None = None
    header: SequenceHeader | None = None
    cameras: list[CameraEntry] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    units: list[UnitEntry] = field(default_factory=list)
    groups: list[GroupEntry] = field(default_factory=list)
    frames: list[FrameEntry] = field(default_factory=list)
    index: IndexReport | None = None
    shared: SharedEntry | None = None
    complete: bool = False
    needed_level: int | None = None
    error: BitstreamError | None = None

    def components(self) -> dict[str, int]:
        """Bytes by component over the whole stream; they add up to what was read."""
        totals: dict[str, int] = {}
        infos = self.header.tensors if self.header is not None else ()
        for frame in self.frames:
            for name, size in frame.components(infos).items():
                totals[name] = totals.get(name, 0) + size
        named = {"sequence_header": "headers", "group_header": "headers", "cameras": "cameras and metadata",
                 "metadata": "cameras and metadata", "index": "index and end", "end": "index and end",
                 "shared": "shared tensors"}
        if self.file_header:
            totals["headers"] = FILE_HEADER_SIZE
        for unit in self.units:
            if unit["type"] != UnitType.FRAME:
                name = named.get(unit["label"], "unknown units")
                totals[name] = totals.get(name, 0) + unit["bytes"]
        return totals

    def by_type(self) -> dict[str, TypeEntry]:
        """For `I` and `P`: number of frames, bytes, mean bytes, mean bytes by component."""
        result: dict[str, TypeEntry] = {}
        for kind in "IP":
            frames = [f for f in self.frames if f.type == kind]
            if not frames:
                continue
            sums: dict[str, int] = {}
            for frame in frames:
                for name, size in frame.components(self.header.tensors if self.header is not None else ()).items():
                    sums[name] = sums.get(name, 0) + size
            total = sum(f.bytes for f in frames)
            result[kind] = TypeEntry(frames=len(frames), bytes=total, mean_bytes=total / len(frames),
                                     mean_components={n: s / len(frames) for n, s in sums.items()})
        return result

    def to_dict(self) -> dict[str, object]:
        """The JSON report, as `schemas/inspect.schema.json` describes it."""
        return dict(
            **tool_dict(),
            file=dict(path=self.path, bytes=self.size),
            stream=self.file_header and dict(
                version="{}.{}".format(*self.file_header.version), profile=self.file_header.profile,
                level=self.file_header.level, needed_level=self.needed_level),
            sequence=self.header and header_dict(self.header),
            cameras=self.cameras, metadata=self.metadata, units=self.units, groups=self.groups,
            frames=[f.to_dict() for f in self.frames], index=self.index, shared=self.shared,
            totals=dict(frames=len(self.frames), components=self.components(), by_type=self.by_type()),
            complete=self.complete, error=self.error and error_dict(self.error))


def tool_dict() -> dict[str, object]:
    """The head of every JSON report: tool and specification, with versions."""
    from . import __version__

    return dict(tool=dict(name="refcodec", version=__version__),
                specification=dict(name="RFV", version="{}.{}".format(*syn.VERSION)))


def error_dict(e: BitstreamError) -> dict[str, object]:
    return dict(code=e.code, name=e.name, kind=e.kind, requirement=e.requirement, section=e.section,
                offset=e.offset, element=e.element, message=e.detail)


def tensor_label(info: TensorInfo) -> str:
    return f"{info.role.name.lower()}[{info.index}]"


def header_dict(h: SequenceHeader) -> dict[str, object]:
    """A sequence header for JSON."""
    low, high = h.box
    p = h.parameters
    return dict(
        representation=h.representation.name.lower(), ticks_per_second=h.ticks_per_second,
        box=dict(min=list(low), max=list(high)), occupancy_dims=list(h.occupancy_dims),
        samples_per_diagonal=h.samples_per_diagonal, background=list(h.background), digest_type=h.digest_type,
        parameters=dict(density_shift=p.density_shift, density_scale=p.density_scale,
                        feature_frequencies=p.feature_frequencies, direction_frequencies=p.direction_frequencies,
                        position_frequencies=p.position_frequencies, skip_layer=p.skip_layer,
                        coarse_samples=p.coarse_samples, fine_samples=p.fine_samples),
        further_scenes=[dict(box=dict(zip(("min", "max"), map(list, h.of_scene(i).box))),
                             samples_per_diagonal=s.samples_per_diagonal, background=list(s.background))
                        for i, s in enumerate(h.further_scenes, 1)],
        tensors=[dict(id=i, label=tensor_label(t), role=t.role.name.lower(), role_index=t.index,
                      shape=list(t.shape), frac_bits=t.frac_bits, mapping=t.mapping.name.lower(),
                      alignment=t.alignment.name.lower(), frequency=t.frequency / 65536)
                 for i, t in enumerate(h.tensors)])


def camera_dict(name: str, width: int, height: int, focal: Sequence[float], centre: Sequence[float],
                pose: Sequence[float], scene: int) -> CameraEntry:
    """A camera for JSON; pose: 12 numbers, row by row."""
    return CameraEntry(name=name, width=width, height=height, focal=list(focal), centre=list(centre),
                       camera_to_world=[list(pose[i : i + 4]) for i in (0, 4, 8)], scene=scene)


def inspect(source: StreamSource, *, symbols: bool = False, on_unit: OnUnit | None = None) -> InspectionReport:
    """Reads the headers of a stream, front to back; stops at the first damage.

    source: a path, a binary file (from its position on), a pipe, or a file's bytes. symbols: decode the
    occupancy and count the coded symbols of every tensor, for bits per symbol (imports numpy).
    on_unit: called with (number, Unit, Trace) for every unit, unit 0 being the file
    header (Unit None). Violations are not raised but end the report as its `error`.
    Raises UsageError for a file that can't be read.
    """
    opened = ByteSource(source)
    try:
        size = opened.size() if opened.seekable and opened.name != "-" else None
        return _Inspector(opened.cursor(), opened.name, size, symbols, on_unit).run()
    finally:
        opened.close()


def _families(value: syn.CodingSyntax) -> dict[int, str]:
    """Names of the families of the models that a unit defines, by model_id."""
    return {m.model_id: "static" if m.context is None else ProbabilityFamily.of(m.context.family).name.lower()
            for m in value.model}


class _Inspector:
    def __init__(self, file: ByteStream, path: str, size: int | None, symbols: bool, on_unit: OnUnit | None):
        self.report = InspectionReport(path, size)
        self.reader = UnitReader(file)
        self.on_unit = on_unit or (lambda number, unit, trace: None)
        self.counting = symbols
        self.state: FrameState | None = None  # for counting symbols
        self.families: dict[int, str] = {}  # by model_id, those in force
        self.demand: Demand  # once the sequence header is read

    def run(self) -> InspectionReport:
        report = self.report
        try:
            report.file_header = self.reader.read_file_header()
            assert self.reader.header_trace is not None
            self.on_unit(0, None, self.reader.header_trace)
            for unit in self.reader.units():
                self._unit(unit)
                if unit.type == UnitType.END:
                    report.complete = True
                    self.reader.expect_end()
                    break
            else:
                raise BitstreamError("R-FILE-06", self.reader.offset, "unit_header", "There is no end unit.")
        except BitstreamError as e:
            report.error = e
        if report.size is None:
            report.size = self.reader.offset if report.error is None else None
        if report.header:
            report.needed_level = self.demand.level(
                max(u["bytes"] for u in report.units) - UNIT_OVERHEAD,
                max((g["frame_count"] for g in report.groups), default=0))
        return report

    def _unit(self, unit: Unit) -> None:
        report, number = self.report, len(self.report.units) + 1
        report.units.append(UnitEntry(number=number, offset=unit.offset, type=int(unit.type), label=unit.label,
                                      bytes=unit.size, ancillary=bool(unit.flags & 1), known=unit.known))
        if not unit.known:
            self.on_unit(number, unit, Trace(unit.payload_offset))
            return
        if report.header is None and unit.type != UnitType.SEQUENCE_HEADER:
            raise BitstreamError("R-UNIT-08", unit.offset, "unit_header.unit_type",
                                 f"The first unit is {unit.label}, not a sequence header.")
        assert report.file_header is not None
        try:
            value, trace = parse_unit(unit, report.file_header, report.header)
        except BitstreamError:
            self.on_unit(number, unit, partial_trace(unit, report.file_header, report.header))
            raise
        self.on_unit(number, unit, trace)
        getattr(self, "_" + unit.label)(value, trace, unit, number)

    def _sequence_header(self, value: syn.SequenceHeaderSyntax, trace: Trace, unit: Unit, number: int) -> None:
        if self.report.header is None:
            self.report.header = SequenceHeader.from_syntax(value)
            self.demand = Demand(self.report.header)
            if self.counting:
                self.state = self._safe_state(self.report.header)

    def _safe_state(self, header: SequenceHeader) -> FrameState | None:
        """State for counting symbols, unless the header asks for more than its level allows."""
        from .tensors.state import FrameState

        bounds = self._bounds
        if header.tensor_elements > bounds.tensor_elements or header.occupancy_voxels > bounds.occupancy_voxels:
            return None
        return FrameState(header)

    @property
    def _bounds(self) -> Level:
        assert self.report.file_header is not None, "read first of all"
        return self.report.file_header.bounds

    @property
    def _header(self) -> SequenceHeader:
        assert self.report.header is not None, "the first unit"
        return self.report.header

    def _cameras(self, value: syn.CamerasSyntax, trace: Trace, unit: Unit, number: int) -> None:
        self.report.cameras = [
            camera_dict(c.camera_name.decode(), c.camera_width, c.camera_height, c.focal, c.centre,
                        c.camera_to_world, c.camera_scene) for c in value.camera]

    def _metadata(self, value: syn.MetadataSyntax, trace: Trace, unit: Unit, number: int) -> None:
        self.report.metadata.update((e.key.decode(), e.value.decode()) for e in value.entry)

    def _group_header(self, value: syn.GroupHeaderSyntax, trace: Trace, unit: Unit, number: int) -> None:
        self.report.groups.append(GroupEntry(
            unit=number, offset=unit.offset, scene=value.scene_id, first_frame=value.first_frame_number,
            frame_count=value.frame_count))

    def _index(self, value: syn.IndexSyntax, trace: Trace, unit: Unit, number: int) -> None:
        self.report.index = IndexReport(unit=number, offset=unit.offset, entries=[
            IndexedFrame(frame=e.indexed_frame, type=frame_type(e.indexed_type), offset=e.frame_offset)
            for e in value.entry])

    def _end(self, value: syn.EndSyntax, trace: Trace, unit: Unit, number: int) -> None:
        pass

    def _frame(self, value: syn.FrameSyntax, trace: Trace, unit: Unit, number: int) -> None:
        header = self._header
        if value.frame_type == 1:
            self.families = {}
        self.families.update(_families(value))
        occupied = self.state is not None and self._occupancy(value, self.state)
        tensors = self._tensors(value, trace, "frame", occupied, self.families)
        self.demand.frame(value)
        models = sum(s.length for s in trace.spans if s.path.startswith("frame.model["))
        steps = sum(s.length for s in trace.spans if ".step[" in s.path)
        self.report.frames.append(FrameEntry(
            value.frame_number, frame_type(value.frame_type), value.time_stamp,
            value.time_stamp / header.ticks_per_second, number, unit.offset, unit.size, value.occupancy_mode,
            len(value.occupancy_data), models, steps, tensors,
            None if value.frame_digest is None else value.frame_digest.hex()))

    def _tensors(self, value: syn.CodingSyntax, trace: Trace, unit: str, occupied: bool,
                 families: dict[int, str]) -> list[CodedTensor]:
        """The coded tensors of a frame or of the shared unit. families: of the models in force, by model_id."""
        found, infos = [], self._header.tensors
        for i, t in enumerate(value.tensor):
            if t.tensor_id >= len(infos):
                path = f"{unit}.tensor[{i}].tensor_id"
                raise BitstreamError("R-FRM-06", trace.offset(path), path, f"It is {t.tensor_id}.")
            info, tools, count = infos[t.tensor_id], Tools.from_syntax(t), None
            if not tools.significance:
                count = math.prod(tools.coefficient_shape(info.shape))
            elif not tools.masked and occupied and info.mapping != Mapping.NONE:
                assert self.state is not None
                mask = self.state.mask(t.tensor_id, tools)
                assert mask is not None, "significance is by occupancy"
                count = int(mask.sum()) * info.shape[0]
            steps = [math.ldexp(m, e - info.frac_bits) for m, e in map(step_of, tools.steps)]
            masks = len(t.mask_data or b"")
            found.append(CodedTensor(t.tensor_id, tensor_label(info), t.prediction, t.transform, tools.levels,
                                     t.significance, t.model_ref, families.get(t.model_ref), steps,
                                     len(t.value_data) + masks, masks, info.size, count))
        return found

    def _shared(self, value: syn.SharedSyntax, trace: Trace, unit: Unit, number: int) -> None:
        tensors = self._tensors(value, trace, "shared", False, _families(value))
        self.demand.shared(value)
        self.report.shared = SharedEntry(
            unit=number, offset=unit.offset, bytes=unit.size,
            models=sum(s.length for s in trace.spans if s.path.startswith("shared.model[")),
            tensors=[t.to_dict() for t in tensors],
            digest=None if value.shared_digest is None else value.shared_digest.hex())

    def _occupancy(self, value: syn.FrameSyntax, state: FrameState) -> bool:
        """Brings the state's occupancy up to date; False when the data don't allow it."""
        from .entropy.coder import EntropyError
        from .entropy.models import model_from_syntax, occupancy_fault, work

        header = self._header
        if value.frame_type == 1:
            state.start_group(header)
        state.models.update((m.model_id, model_from_syntax(m)) for m in value.model)
        if not header.has_occupancy:
            return False
        readable = True
        if value.occupancy_model_ref is not None:
            model = state.models.get(value.occupancy_model_ref)
            readable = (model is not None and occupancy_fault(model) is None
                        and work(model, (1, *header.occupancy_shape)) <= self._bounds.model_work)
        elif value.occupancy_mode == OccupancyMode.DIFFERENCE:
            readable = state.occupancy is not None
        try:
            state.set_occupancy(state.decode_occupancy(value) if readable else None)
        except EntropyError:
            state.set_occupancy(None)
        return state.occupancy is not None


def scene_frames(source: BinaryIO, scene: int) -> range | None:
    """Numbers of the frames of one scene, from the group headers of a file; None when it is damaged.

    Leaves the file where it was. Raises UsageError for a scene that the file does not have.
    """
    here, found = source.tell(), range(0)
    try:
        reader, header = UnitReader(source), None
        file_header = reader.read_file_header()
        for unit in reader.units():
            if unit.type == UnitType.SEQUENCE_HEADER and header is None:
                header = SequenceHeader.from_syntax(parse_unit(unit, file_header, None)[0])
                if scene >= header.scene_count:
                    raise UsageError(f"the file has scenes 0 to {header.scene_count - 1}; there is no scene {scene}")
            elif unit.type == UnitType.GROUP_HEADER and header is not None:
                group, _ = parse_unit(unit, file_header, header)
                if group.scene_id == scene:
                    first = found.start if found else group.first_frame_number
                    found = range(first, group.first_frame_number + group.frame_count)
            if unit.type == UnitType.END:
                return found
        return None
    except BitstreamError:
        return None
    finally:
        source.seek(here)


def frame_type(value: int) -> str:
    return {1: "I", 2: "P"}.get(value, str(value))


def parse_unit(unit: Unit, file_header: FileHeader, header: SequenceHeader | None) -> tuple[Any, Trace]:
    """(parsed structure, Trace) of a unit of known type. Raises BitstreamError."""
    structure = syn.PAYLOADS[UnitType(unit.type)]
    return structure.parse(unit.payload, unit.payload_offset, level=file_header.bounds, header=header)


def partial_trace(unit: Unit, file_header: FileHeader, header: SequenceHeader | None) -> Trace:
    """The elements of a unit up to the one that breaks it."""
    structure = syn.PAYLOADS[UnitType(unit.type)]
    trace = Trace(unit.payload_offset, [structure.name])
    try:
        structure.parse_into(trace, unit.payload, level=file_header.bounds, header=header)
    except BitstreamError:
        pass
    return trace


def elements(unit: Unit | None, trace: Trace) -> Iterator[tuple[Span, bytes]]:
    """Every syntax element of a unit, header and checksum included, with its bytes in the stream.

    unit None: the file header.
    """
    if unit is None:
        data = b"".join(_file_header_bytes(trace))
        for span in trace.spans:
            yield span, data[span.offset : span.offset + span.length]
        return
    head = struct.pack("<BBI", unit.type, unit.flags, len(unit.payload))
    _, head_trace = syn.UNIT_HEADER.parse(head, unit.offset)
    for span in head_trace.spans:
        yield span, head[span.offset - unit.offset :][: span.length]
    at = unit.payload_offset
    for span in trace.spans:
        yield span, unit.payload[span.offset - unit.payload_offset :][: span.length]
        at = span.offset + span.length
    end = unit.payload_offset + len(unit.payload)
    if at < end:
        rest = unit.payload[at - unit.payload_offset :]
        yield Span("payload" if not unit.known else "(not parsed)", at, len(rest), rest, "4.2", "bytes"), rest
    crc = zlib.crc32(unit.payload, zlib.crc32(head))
    yield Span("unit_crc", end, 4, crc, "4.2", "u32"), struct.pack("<I", crc)


def _file_header_bytes(trace: Trace) -> Iterator[bytes]:
    formats = {"u8": "<B", "u32": "<I"}
    for span in trace.spans:
        yield span.value if isinstance(span.value, bytes) else struct.pack(formats[span.descriptor], span.value)


def hex_lines(data: bytes, width: int = 8, limit: int = 4) -> list[str]:
    """Lines of `width` bytes in hexadecimal; the last of `limit` lines says how many more there are."""
    lines = [data[i : i + width].hex(" ") for i in range(0, min(len(data), width * limit), width)]
    if len(data) > width * limit:
        lines.append(f"… {len(data) - width * limit} more bytes")
    return lines or [""]
