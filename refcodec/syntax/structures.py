"""The syntax of an RFV file, declared once (spec chapter 4).

Parser, writer, `inspect`, the tables of chapter 4, `spec/rfv.ksy` and the JavaScript decoder's tables all come from
here; docs/syntax.md says how to add an element.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from ..code_points import CodePoint
from .declare import Structure, element, nested, same_as, syntax
from .expressions import Function, PerMember
from .families import ProbabilityFamily
from .registry import (
    EXPLICIT,
    SOURCES,
    TEMPLATES,
    Alignment,
    Assignment,
    ChannelMode,
    DigestType,
    FrameType,
    Mapping,
    ModelType,
    Neighbour,
    OccupancyMode,
    UnitType,
    is_activity,
)
from .representation import Representation, Role
from .tools import Prediction, Transform

FILE_SIGNATURE = b"\x89RFV\r\n\x1a\n"
GROUP_SYNC = b"\x89RFG\r\n\x1a\n"
VERSION = (0, 5)
PROFILE_MAIN = 1
MAX_WAVELET_LEVELS = 6

Point = tuple[int, int, int]
T = TypeVar("T")


def template_inputs(template: Iterable[Neighbour], joint: bool, channels: int) -> int:
    """Number of inputs of a context model over these neighbours (spec 6.4). channels: of a joint model."""
    return sum(channels if joint and not is_activity(source) else 1 for source, *_ in template)


def _input_count(template_id: int, channel_mode: int, channels: int, listed: Sequence[NeighbourSyntax]) -> int:
    return template_inputs(_template(template_id, listed), channel_mode == ChannelMode.JOINT, channels)


def _template(template_id: int, listed: Sequence[NeighbourSyntax]) -> Sequence[Neighbour]:
    if template_id == EXPLICIT:
        return [(n.neighbour_source, n.offset_c, n.offset_z, n.offset_y, n.offset_x) for n in listed]
    return TEMPLATES[template_id]


def _rigid(pose: Sequence[float]) -> bool:
    """Whether the columns of a rotation (three rows of four) are orthonormal and right-handed (R-CAM-02)."""
    r = [pose[0:3], pose[4:7], pose[8:11]]
    gram = (sum(r[k][i] * r[k][j] for k in range(3)) - (i == j) for i in range(3) for j in range(3))
    det = (r[0][0] * (r[1][1] * r[2][2] - r[1][2] * r[2][1])
           - r[0][1] * (r[1][0] * r[2][2] - r[1][2] * r[2][0])
           + r[0][2] * (r[1][0] * r[2][1] - r[1][1] * r[2][0]))
    return all(abs(x) <= 1e-3 for x in gram) and det > 0


def _utf8(data: bytes) -> bool:
    """Whether bytes are UTF-8 (R-CAM-03, R-MET-02)."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_key(data: bytes) -> bool:
    """Whether bytes are a key of metadata (R-MET-01)."""
    return re.fullmatch(rb"[a-z0-9._-]{1,64}", data) is not None


class _Such:
    """The code points whose members have something, as they are registered now. attribute: of a member, a bool."""

    def __init__(self, points: type[CodePoint], attribute: str):
        self.points, self.attribute = points, attribute

    def __iter__(self) -> Iterator[int]:
        return (int(p) for p in self.points if getattr(p, self.attribute))

    def __contains__(self, value: object) -> bool:
        member = self.points.members().get(value) if isinstance(value, int) else None
        return member is not None and bool(getattr(member, self.attribute))


# What expressions may use: registries, constants, and functions for what takes more than an expression.
# Each function has a namesake in view/web/decoder/structures.js.
NAMES: dict[str, object] = {
    **{kind.__name__: kind for kind in (
        Alignment, Assignment, ChannelMode, DigestType, FrameType, Mapping, ModelType, OccupancyMode,
        Prediction, ProbabilityFamily, Representation, Role, Transform)},
    "FILE_SIGNATURE": FILE_SIGNATURE, "GROUP_SYNC": GROUP_SYNC, "MAX_WAVELET_LEVELS": MAX_WAVELET_LEVELS,
    "EXPLICIT": EXPLICIT, "TEMPLATES": TEMPLATES, "SOURCES": SOURCES,
    "WITH_NETWORK_PARAMETERS": _Such(Representation, "has_network_parameters"),
    "WITH_SHAPE": _Such(ProbabilityFamily, "has_shape"),
    "WITH_FACTOR": _Such(Prediction, "has_factor"), "WITH_OFFSET": _Such(Prediction, "has_offset"),
    "WITH_LEVELS": _Such(Transform, "has_levels"), "BANDS": PerMember(Transform, "bands"),
    "ACTIVITY_SOURCES": [source for source in SOURCES if is_activity(source)],
}
FUNCTIONS: dict[str, Function] = {"input_count": _input_count, "rigid": _rigid, "utf8": _utf8, "is_key": _is_key}


def _structure(kind: type[T]) -> Structure[T]:
    return Structure(kind, NAMES, FUNCTIONS)


@syntax("file_header", "4.1")
class FileHeaderSyntax:
    signature: bytes = element(
        "bytes", "Identifies the file. Its bytes reveal transfers that clear the top bit or rewrite line ends.",
        {"R-FILE-01": "signature == FILE_SIGNATURE"}, count=8)
    version_major: int = element(
        "u8", "Major version of the specification. While it is 0 the format is a draft and `version_minor` must match exactly.")
    version_minor: int = element("u8", "Minor version of the specification.")
    profile: int = element("u8", "The set of coding tools that the file may use (section 10.1).")
    level: int = element("u8", "The bounds that the file keeps (section 10.2).")
    header_crc: int = element(
        "u32", "CRC-32 (section 2.4) of the twelve bytes before it. It is checked before the four elements above are looked at.")


FILE_HEADER = _structure(FileHeaderSyntax)


@syntax("unit_header", "4.2")
class UnitHeaderSyntax:
    unit_type: int = element("u8", "What the payload is (Table 4-1).")
    unit_flags: int = element(
        "u8", "Bit 0 (`ancillary`): a decoder that does not know the type skips the unit when the bit is 1 and stops when it is 0. Bits 1 to 7 are reserved.")
    unit_size: int = element("u32", "Number of bytes of the payload, without this header and without `unit_crc`.")


UNIT_HEADER = _structure(UnitHeaderSyntax)


@syntax("tensor_info", "4.4")
class TensorInfoSyntax:
    tensor_role: int = element(
        "u8", "What the tensor is to the representation (Annex A.2).",
        {"R-SEQ-10": "tensor_role in Role"})
    role_index: int = element("u8", "Distinguishes tensors of one role: the number of the basis grid, or of the layer.")
    frac_bits: int = element(
        "u8", "A reconstructed integer v of this tensor stands for the number v / 2^`frac_bits`.",
        {"R-SEQ-11": "0 <= frac_bits <= 24"})
    channels: int = element("u16", "Number of channels C.", {"R-SEQ-12": "1 <= channels <= 4096"})
    depth: int = element("u16", "Number of samples along z.", {"R-SEQ-12": "1 <= depth <= 4096"})
    height: int = element(
        "u16", "Number of samples along y; rows (outputs) of a matrix.",
        {"R-SEQ-12": "1 <= height <= 4096"})
    width: int = element(
        "u16", "Number of samples along x; columns (inputs) of a matrix.",
        {"R-SEQ-12": "1 <= width <= 4096"})
    mapping: int = element(
        "u8", "How the spatial axes cover the bounding box: 0 not at all, 1 linearly, 2 as a sawtooth (section 8.3).",
        {"R-SEQ-13": "mapping in Mapping"})
    alignment: int = element(
        "u8", "Where samples lie: 0 the first and last at the ends of the axis, 1 at cell centres (section 8.3).",
        {"R-SEQ-14": "alignment in Alignment and (mapping != Mapping.NONE or alignment == 0)"})
    frequency: int = element(
        "u32", "Periods of the sawtooth along the longest side of the box, times 2^16.",
        {"R-SEQ-15": "1 <= frequency <= 2**22 if mapping == Mapping.SAWTOOTH else frequency == 0"})


TENSOR_INFO = _structure(TensorInfoSyntax)


@syntax("field_parameters", "4.5")
class FieldParametersSyntax:
    density_shift: float = element(
        "f32", "Added to the density feature before softplus (section 8.2).",
        {"R-SEQ-18": "-10**6 <= density_shift <= 10**6"})
    density_scale: float = element(
        "f32", "Factor of the softplus (section 8.2).",
        {"R-SEQ-18": "0 <= density_scale <= 10**6"})
    feature_frequencies: int = element(
        "u8", "Number of frequencies in the encoding of the colour features (section 8.5).",
        {"R-SEQ-19": "0 <= feature_frequencies <= 16"})
    direction_frequencies: int = element(
        "u8", "Number of frequencies in the encoding of the view direction (section 8.5).",
        {"R-SEQ-19": "0 <= direction_frequencies <= 16"})


FIELD_PARAMETERS = _structure(FieldParametersSyntax)


@syntax("network_parameters", "4.5")
class NetworkParametersSyntax:
    position_frequencies: int = element(
        "u8", "Number of frequencies in the encoding of the position (section 8.9).",
        {"R-SEQ-19": "0 <= position_frequencies <= 16"})
    skip_layer: int = element(
        "u8", "Layer of the networks whose input is followed by the encoded position; 0: none.",
        {"R-SEQ-21": "0 <= skip_layer <= 63"})
    coarse_samples: int = element(
        "u16", "Samples on a ray for the coarse network; 0: the field has none (section 9.2.2).",
        {"R-SEQ-22": "0 <= coarse_samples <= 4096"})
    fine_samples: int = element(
        "u16", "Further samples on a ray, placed by the coarse network.",
        {"R-SEQ-22": "fine_samples <= 4096 and (fine_samples > 0) == (coarse_samples > 0)"})


NETWORK_PARAMETERS = _structure(NetworkParametersSyntax)


@syntax("scene", "4.3")
class SceneSyntax:
    aabb_min: Point = element(
        "s32", "Corner of the bounding box with the smallest coordinates (x, y, z), in units of 2^`aabb_exponent` scene units.",
        count=3)
    aabb_max: Point = element(
        "s32", "The opposite corner, in the same units.",
        {"R-SEQ-05": "all(abs(a) < 2**23 and abs(b) < 2**23 and a < b for a, b in zip(aabb_min, aabb_max))"}, count=3)
    aabb_exponent: int = element(
        "s8", "Exponent of the unit of the two corners.",
        {"R-SEQ-06": "-60 <= aabb_exponent <= 30"})
    samples_per_diagonal: int = element(
        "u16", "The ray step is the diagonal of the box divided by this number (section 9.2).",
        {"R-SEQ-08": "samples_per_diagonal >= 1"})
    background: Point = element("u8", "Colour (red, green, blue) behind the field (section 9.3).", count=3)


SCENE = _structure(SceneSyntax)


@syntax("sequence_header", "4.3")
class SequenceHeaderSyntax:
    representation: int = element(
        "u8", "The rule that turns the tensors into colour and density (Annex A.1).",
        {"R-SEQ-01": "representation in Representation"})
    scene_count: int = element("u8", "Number of scenes in the file.", {"R-SEQ-02": "scene_count >= 1"})
    digest_type: int = element(
        "u8", "0: frames carry no digest. 1: SHA-256, first eight bytes (section 7.4).",
        {"R-SEQ-03": "digest_type in DigestType"})
    ticks_per_second: int = element(
        "u32", "Units of `time_stamp` in one second.",
        {"R-SEQ-04": "ticks_per_second >= 1"})
    aabb_min: Point = same_as(SCENE, "aabb_min")
    aabb_max: Point = same_as(SCENE, "aabb_max")
    aabb_exponent: int = same_as(SCENE, "aabb_exponent")
    occupancy_dims: Point = element(
        "u16", "Number of occupancy voxels along (x, y, z); all zero: the sequence has no occupancy and everything counts as occupied.",
        {"R-SEQ-07": "all(n == 0 for n in occupancy_dims) or all(1 <= n <= 512 for n in occupancy_dims)"}, count=3)
    samples_per_diagonal: int = same_as(SCENE, "samples_per_diagonal")
    background: Point = same_as(SCENE, "background")
    scene: tuple[SceneSyntax, ...] = nested(SCENE, count="scene_count - 1")
    tensor_count: int = element("u8", "Number of entries of the tensor list.", {"R-SEQ-09": "1 <= tensor_count <= 64"})
    tensor: tuple[TensorInfoSyntax, ...] = nested(TENSOR_INFO, count="tensor_count")
    parameters: FieldParametersSyntax = nested(FIELD_PARAMETERS)
    network: NetworkParametersSyntax | None = nested(NETWORK_PARAMETERS, when="representation in WITH_NETWORK_PARAMETERS")


SEQUENCE_HEADER = _structure(SequenceHeaderSyntax)


@syntax("group_header", "4.6")
class GroupHeaderSyntax:
    group_sync: bytes = element(
        "bytes", "A pattern to search for when the data before are damaged (section 3.4).",
        {"R-GRP-01": "group_sync == GROUP_SYNC"}, count=8)
    scene_id: int = element("u8", "The scene that the group belongs to.", {"R-GRP-03": "scene_id < header.scene_count"})
    first_frame_number: int = element("u32", "`frame_number` of the group's I-frame.")
    frame_count: int = element(
        "u16", "Number of frames in the group.",
        {"R-GRP-02": "1 <= frame_count <= level.group_frames"})


GROUP_HEADER = _structure(GroupHeaderSyntax)


@syntax("neighbour", "4.9")
class NeighbourSyntax:
    neighbour_source: int = element(
        "u8", "0: value in the tensor being decoded; 1: value in the previous frame; 2 and 3: activity in the same two; 4 and 5: magnitude in the same two; 8 to 13: the same, at an offset that counts frequencies (section 6.4).",
        {"R-MOD-08": "neighbour_source in SOURCES"})
    offset_c: int = element(
        "s8", "Channel offset.",
        {"R-MOD-09": "-2 <= offset_c <= 2 and (offset_c == 0 or outer.channel_mode == ChannelMode.SEPARATE and not neighbour_source in ACTIVITY_SOURCES)"})
    offset_z: int = element("s8", "Offset along z.", {"R-MOD-09": "-2 <= offset_z <= 2"})
    offset_y: int = element("s8", "Offset along y.", {"R-MOD-09": "-2 <= offset_y <= 2"})
    offset_x: int = element("s8", "Offset along x.", {"R-MOD-09": "-2 <= offset_x <= 2"})


NEIGHBOUR = _structure(NeighbourSyntax)


@syntax("context_model", "4.9", symbols={
    "H": "hidden_count",
    "K": "3 if family in WITH_SHAPE else 2",
    "N": "input_count(template_id, channel_mode, model_channels, neighbour)",
})
class ContextModelSyntax:
    family: int = element(
        "u8", "The tables that the model chooses from (Annex A.6).",
        {"R-MOD-15": "family in ProbabilityFamily"})
    channel_mode: int = element(
        "u8", "0: the model is applied to each channel by itself, with the same weights. 1: it predicts all channels of a cell jointly.",
        {"R-MOD-04": "channel_mode in ChannelMode"})
    model_channels: int = element(
        "u8", "Channels of the tensors that the model serves when `channel_mode` is 1; 1 otherwise.",
        {"R-MOD-04": "model_channels >= 1 and (channel_mode == ChannelMode.JOINT or model_channels == 1)"})
    scan_weight: tuple[int, int, int, int] = element(
        "u8", "Weights (c, z, y, x) of the decoding order (section 6.3).",
        {"R-MOD-06": "all(w <= 3 for w in scan_weight) and (channel_mode == ChannelMode.SEPARATE or scan_weight[0] == 0)"}, count=4)
    template_id: int = element(
        "u8", "The neighbours whose values are the model's inputs (Annex A.3). 1: listed here.",
        {"R-MOD-07": "template_id == EXPLICIT or template_id in TEMPLATES"})
    neighbour_count: int | None = element("u8", "Number of neighbours in the list.", when="template_id == EXPLICIT")
    neighbour: tuple[NeighbourSyntax, ...] = nested(NEIGHBOUR, count="neighbour_count")
    hidden_count: int = element(
        "u8", "Number of hidden units H. The number of inputs N follows from the template (section 6.4).",
        {"R-MOD-03": "hidden_count <= 64 and N <= 512", "R-MOD-05": "(hidden_count == 0) == (N == 0)"})
    hidden_shift: int | None = element(
        "u8", "Right shift after the hidden layer.",
        {"R-MOD-10": "0 <= hidden_shift <= 15"}, when="hidden_count > 0")
    hidden_weight: tuple[int, ...] = element(
        "s8", "Weights of the hidden layer: those of unit 0 first, N each.",
        count="H * N")
    hidden_bias: tuple[int, ...] = element("s16", "Biases of the hidden units.", count="H")
    location_shift: int = element(
        "u8", "Right shift of the location output.",
        {"R-MOD-10": "0 <= location_shift <= 23"})
    scale_shift: int = element("u8", "Right shift of the scale output.", {"R-MOD-10": "0 <= scale_shift <= 23"})
    shape_shift: int | None = element(
        "u8", "Right shift of the shape output.",
        {"R-MOD-10": "0 <= shape_shift <= 23"}, when="family in WITH_SHAPE")
    output_weight: tuple[int, ...] = element(
        "s8", "Weights of the output layer, output 0 first, H each. A channel has K outputs, as Annex A.6 lists: its location, its scale and, where there are three, its shape; those of channel 0 come first.",
        count="K * model_channels * H")
    output_bias: tuple[int, ...] = element(
        "s32", "Biases of the outputs.",
        {"R-MOD-11": "all(abs(b) < 2**22 for b in output_bias)"}, count="K * model_channels")


CONTEXT_MODEL = _structure(ContextModelSyntax)


@syntax("static_table", "4.10")
class StaticTableSyntax:
    first_value: int = element(
        "sv", "The quantised value that entry 0 stands for; entry i stands for `first_value` + i.",
        {"R-MOD-14": "-2**16 <= first_value <= 2**16"})
    entry_count: int = element(
        "uv", "Number of entries n, the escape entry included, which is the last.",
        {"R-MOD-13": "2 <= entry_count <= 4096"})
    count: tuple[int, ...] = element(
        "uv", "Relative frequencies, made into a table by section 6.6.",
        {"R-MOD-13": "1 <= sum(count) <= 2**24"}, count="entry_count")


STATIC_TABLE = _structure(StaticTableSyntax)


@syntax("static_model", "4.10")
class StaticModelSyntax:
    assignment: int = element(
        "u8", "What a symbol's table depends on: 0 nothing, 1 its channel, 2 its band, 3 both (section 6.4).",
        {"R-MOD-16": "assignment in Assignment"})
    table_count: int = element(
        "u8", "Number of tables.",
        {"R-MOD-12": "table_count >= 1 and (assignment != Assignment.ONE_TABLE or table_count == 1)"})
    table: tuple[StaticTableSyntax, ...] = nested(STATIC_TABLE, count="table_count")


STATIC_MODEL = _structure(StaticModelSyntax)


@syntax("entropy_model", "4.8")
class EntropyModelSyntax:
    model_id: int = element(
        "u8", "Name of the model. A definition replaces an earlier one and lasts to the end of the group.",
        {"R-MOD-01": "model_id < 64"})
    model_type: int = element("u8", "1: context model. 2: static tables.", {"R-MOD-02": "model_type in ModelType"})
    context: ContextModelSyntax | None = nested(CONTEXT_MODEL, when="model_type == ModelType.CONTEXT")
    static: StaticModelSyntax | None = nested(STATIC_MODEL, when="model_type == ModelType.STATIC")


ENTROPY_MODEL = _structure(EntropyModelSyntax)


@syntax("step", "4.11")
class StepSyntax:
    step_index: int = element(
        "u8", "The quantisation step size, 2^(`step_index` / 8) units of the reconstructed integers (section 7.2).")


STEP = _structure(StepSyntax)


@syntax("coded_tensor", "4.11", symbols={
    "bands": ("BANDS[transform]",
              "bands (section 7.5)"),
})
class CodedTensorSyntax:
    tensor_id: int = element("u8", "Position of the tensor in the tensor list.")
    prediction: int = element(
        "b2", "What the decoded values are added to: 0 nothing, 1 the same tensor of the previous frame, 2 the same tensor of the shared unit, scaled, 3 a constant (section 7.3).")
    transform: int = element(
        "b2", "What the quantised values are: 0 the residual itself, 1 coefficients of the block DCT, 2 of the wavelet transform (section 7.5).",
        {"R-TEN-03": "transform in Transform"})
    significance: int = element(
        "b2", "Which elements are coded: 0 all, 1 those of the cells that occupied voxels can touch, 2 those that a coded mask marks, 3 those that are both (section 7.1).")
    reserved_tools: int = element("b2", "Reserved for later tools.", {"R-TEN-01": "reserved_tools == 0"})
    base_mantissa: int | None = element(
        "s16", "The factor of the shared tensor is `base_mantissa` * 2^`base_exponent`.",
        when="prediction in WITH_FACTOR")
    base_exponent: int | None = element(
        "s8", "See `base_mantissa`.",
        {"R-TEN-08": "-16 <= base_exponent <= 15"}, when="prediction in WITH_FACTOR")
    base_offset: int | None = element(
        "s32", "Constant that is added to every element, in units of the reconstructed integers.",
        when="prediction in WITH_OFFSET")
    wavelet_levels: int | None = element(
        "u8", "Number of levels of the wavelet transform.",
        {"R-TEN-03": "1 <= wavelet_levels <= MAX_WAVELET_LEVELS"}, when="transform in WITH_LEVELS")
    mask_model_ref: int | None = element("u8", "`model_id` of the entropy model of the mask.", when="significance >= 2")
    mask_size: int | None = element("uv", "Number of bytes of `mask_data`.", when="significance >= 2")
    mask_data: bytes | None = element(
        "bytes", "The mask, entropy coded (section 6.2).",
        count="mask_size", when="significance >= 2")
    model_ref: int = element("u8", "`model_id` of the entropy model of the values.")
    step: tuple[StepSyntax, ...] = nested(STEP, count="bands")
    value_size: int = element("uv", "Number of bytes of `value_data`.")
    value_data: bytes = element("bytes", "The quantised values, entropy coded (section 6.2).", count="value_size")


CODED_TENSOR = _structure(CodedTensorSyntax)


@syntax("shared", "4.16")
class SharedSyntax:
    model_count: int = element("u8", "Number of entropy models that the unit defines.")
    model: tuple[EntropyModelSyntax, ...] = nested(ENTROPY_MODEL, count="model_count")
    coded_count: int = element("u8", "Number of tensors that the scenes share.")
    tensor: tuple[CodedTensorSyntax, ...] = nested(CODED_TENSOR, count="coded_count")
    shared_digest: bytes | None = element(
        "bytes", "Digest of the shared tensors (section 7.4).",
        count=8, when="header.digest_type == DigestType.SHA256")


SHARED = _structure(SharedSyntax)


@syntax("frame", "4.7")
class FrameSyntax:
    frame_number: int = element("u32", "Number of the frame in the sequence.")
    frame_type: int = element(
        "u8", "1: I-frame, decodable by itself. 2: P-frame, which refers to the frame before.",
        {"R-FRM-03": "frame_type in FrameType"})
    time_stamp: int = element("u32", "Time of the frame in ticks (`ticks_per_second`).")
    occupancy_mode: int = element(
        "u8", "0: as in the previous frame, or none. 1: compressed by itself. 2: compressed as the exclusive or with the previous frame's. 3: entropy coded.",
        {"R-OCC-04": "occupancy_mode in OccupancyMode"})
    occupancy_model_ref: int | None = element(
        "u8", "`model_id` of the entropy model of the occupancy.",
        when="occupancy_mode == OccupancyMode.CODED")
    occupancy_size: int | None = element(
        "uv", "Number of bytes of `occupancy_data`.",
        when="occupancy_mode > OccupancyMode.UNCHANGED")
    occupancy_data: bytes = element(
        "bytes", "Occupancy bits, compressed or entropy coded (section 6.1).",
        count="occupancy_size")
    model_count: int = same_as(SHARED, "model_count")
    model: tuple[EntropyModelSyntax, ...] = same_as(SHARED, "model")
    coded_count: int = element("u8", "Number of tensors that the frame carries. The others keep their values.")
    tensor: tuple[CodedTensorSyntax, ...] = nested(CODED_TENSOR, count="coded_count")
    frame_digest: bytes | None = element(
        "bytes", "Digest of the reconstructed frame (section 7.4).",
        count=8, when="header.digest_type == DigestType.SHA256")


FRAME = _structure(FrameSyntax)


@syntax("index_entry", "4.12")
class IndexEntrySyntax:
    indexed_frame: int = element("u32", "`frame_number` of a frame.")
    indexed_type: int = element("u8", "Its `frame_type`.")
    frame_offset: int = element(
        "u64", "Offset of the first byte of its unit, counted from the start of the file. For an I-frame, the offset of the group header before it.")


INDEX_ENTRY = _structure(IndexEntrySyntax)


@syntax("index", "4.12")
class IndexSyntax:
    index_count: int = element("u32", "Number of entries.", {"R-IDX-01": "13 * index_count == payload_size - 4"})
    entry: tuple[IndexEntrySyntax, ...] = nested(INDEX_ENTRY, count="index_count")


INDEX = _structure(IndexSyntax)


@syntax("end", "4.13")
class EndSyntax:
    group_total: int = element("u32", "Number of groups in the file.")
    frame_total: int = element("u32", "Number of frames in the file.")
    index_offset: int = element("u64", "Offset of the index unit from the start of the file; 0: no index.")


END = _structure(EndSyntax)


@syntax("camera", "4.14")
class CameraSyntax:
    name_size: int = element("u8", "Number of bytes of the name.")
    camera_name: bytes = element(
        "bytes", "A label for people, UTF-8.",
        {"R-CAM-03": "utf8(camera_name)"}, count="name_size")
    camera_scene: int = element(
        "u8", "The scene that the camera looks at.",
        {"R-CAM-04": "camera_scene < header.scene_count"})
    camera_width: int = element("u16", "Picture width in pixels.", {"R-CAM-01": "camera_width >= 1"})
    camera_height: int = element("u16", "Picture height in pixels.", {"R-CAM-01": "camera_height >= 1"})
    focal: tuple[float, float] = element(
        "f32", "Focal lengths (x, y) in pixels.",
        {"R-CAM-01": "all(finite(f) and f > 0 for f in focal)"}, count=2)
    centre: tuple[float, float] = element(
        "f32", "Principal point (x, y) in pixels; the first pixel's centre is (0.5, 0.5).",
        {"R-CAM-01": "all(finite(c) for c in centre)"}, count=2)
    camera_to_world: tuple[float, ...] = element(
        "f32", "Three rows of the pose (section 9.1).",
        {"R-CAM-01": "all(finite(x) for x in camera_to_world)", "R-CAM-02": "rigid(camera_to_world)"}, count=12)


CAMERA = _structure(CameraSyntax)


@syntax("cameras", "4.14")
class CamerasSyntax:
    camera_count: int = element("u16", "Number of cameras.")
    camera: tuple[CameraSyntax, ...] = nested(CAMERA, count="camera_count")


CAMERAS = _structure(CamerasSyntax)


@syntax("metadata_entry", "4.15")
class MetadataEntrySyntax:
    key_size: int = element("u8", "Number of bytes of the key.")
    key: bytes = element(
        "bytes", "Name of the entry; Annex A.5 lists registered keys.",
        {"R-MET-01": "is_key(key)"}, count="key_size")
    value_size: int = element("u32", "Number of bytes of the value.")
    value: bytes = element("bytes", "Text, UTF-8.", {"R-MET-02": "utf8(value)"}, count="value_size")


METADATA_ENTRY = _structure(MetadataEntrySyntax)


@syntax("metadata", "4.15")
class MetadataSyntax:
    entry_count: int = element("u16", "Number of entries.")
    entry: tuple[MetadataEntrySyntax, ...] = nested(METADATA_ENTRY, count="entry_count")


METADATA = _structure(MetadataSyntax)


# What has entropy models and coded tensors.
CodingSyntax = FrameSyntax | SharedSyntax

# What each unit holds (Table 4-1).
PAYLOADS: dict[UnitType, Structure[Any]] = {
    UnitType.SEQUENCE_HEADER: SEQUENCE_HEADER, UnitType.GROUP_HEADER: GROUP_HEADER,
    UnitType.FRAME: FRAME, UnitType.INDEX: INDEX, UnitType.END: END,
    UnitType.CAMERAS: CAMERAS, UnitType.METADATA: METADATA, UnitType.SHARED: SHARED,
}


def template_of(model: ContextModelSyntax) -> Sequence[Neighbour]:
    """(source, dc, dz, dy, dx) of every neighbour of a parsed context model (spec 6.4)."""
    return _template(model.template_id, model.neighbour)


def input_count(model: ContextModelSyntax) -> int:
    """Number of inputs of a parsed context model (spec 6.4)."""
    return _input_count(model.template_id, model.channel_mode, model.model_channels, model.neighbour)
