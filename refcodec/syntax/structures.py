"""The syntax of an RFV file, declared once (spec chapter 4).

Parser, writer, `inspect` and the tables of chapter 4 all come from here.
"""
from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from .coding import OccupancyMode, Prediction, Transform, band_count
from .declare import Field, Nested, Structure
from .headers import Representation, Role
from .registry import SOURCES, TEMPLATES, Level, UnitType, is_energy

FILE_SIGNATURE = b"\x89RFV\r\n\x1a\n"
GROUP_SYNC = b"\x89RFG\r\n\x1a\n"
VERSION = (0, 5)
PROFILE_MAIN = 1


def _within(low: int, high: int) -> Callable[[Any, Any], bool]:
    return lambda v, _: all(low <= x <= high for x in v) if isinstance(v, tuple) else low <= v <= high


def _level(ctx: Any) -> Level:
    level: Level = ctx._params.level
    return level


FILE_HEADER = Structure(
    "file_header", "4.1",
    Field("signature", "bytes", "Identifies the file. Its bytes reveal transfers that clear the top bit or rewrite line ends.",
          (("R-FILE-01", lambda v, _: v == FILE_SIGNATURE),), count=8, count_text="8"),
    Field("version_major", "u8", "Major version of the specification. While it is 0 the format is a draft and `version_minor` must match exactly."),
    Field("version_minor", "u8", "Minor version of the specification."),
    Field("profile", "u8", "The set of coding tools that the file may use (section 10.1)."),
    Field("level", "u8", "The bounds that the file keeps (section 10.2)."),
    Field("header_crc", "u32", "CRC-32 (section 2.4) of the twelve bytes before it. It is checked before the four elements above are looked at."),
)

UNIT_HEADER = Structure(
    "unit_header", "4.2",
    Field("unit_type", "u8", "What the payload is (Table 4-1)."),
    Field("unit_flags", "u8", "Bit 0 (`ancillary`): a decoder that does not know the type skips the unit when the bit is 1 and stops when it is 0. Bits 1 to 7 are reserved."),
    Field("unit_size", "u32", "Number of bytes of the payload, without this header and without `unit_crc`."),
)

TENSOR_INFO = Structure(
    "tensor_info", "4.4",
    Field("tensor_role", "u8", "What the tensor is to the representation (Annex A.2).",
          (("R-SEQ-10", lambda v, _: v in Role),)),
    Field("role_index", "u8", "Distinguishes tensors of one role: the number of the basis grid, or of the layer."),
    Field("frac_bits", "u8", "A reconstructed integer v of this tensor stands for the number v / 2^`frac_bits`.",
          (("R-SEQ-11", _within(0, 24)),)),
    Field("channels", "u16", "Number of channels C.", (("R-SEQ-12", _within(1, 4096)),)),
    Field("depth", "u16", "Number of samples along z.", (("R-SEQ-12", _within(1, 4096)),)),
    Field("height", "u16", "Number of samples along y; rows (outputs) of a matrix.", (("R-SEQ-12", _within(1, 4096)),)),
    Field("width", "u16", "Number of samples along x; columns (inputs) of a matrix.", (("R-SEQ-12", _within(1, 4096)),)),
    Field("mapping", "u8", "How the spatial axes cover the bounding box: 0 not at all, 1 linearly, 2 as a sawtooth (section 8.3).",
          (("R-SEQ-13", _within(0, 2)),)),
    Field("alignment", "u8", "Where samples lie: 0 the first and last at the ends of the axis, 1 at cell centres (section 8.3).",
          (("R-SEQ-14", lambda v, c: v in (0, 1) and (c.mapping != 0 or v == 0)),)),
    Field("frequency", "u32", "Periods of the sawtooth along the longest side of the box, times 2^16.",
          (("R-SEQ-15", lambda v, c: 1 <= v <= 1 << 22 if c.mapping == 2 else v == 0),)),
)

FIELD_PARAMETERS = Structure(
    "field_parameters", "4.5",
    Field("density_shift", "f32", "Added to the density feature before softplus (section 8.2).",
          (("R-SEQ-18", lambda v, _: math.isfinite(v) and abs(v) <= 1e6),)),
    Field("density_scale", "f32", "Factor of the softplus (section 8.2).",
          (("R-SEQ-18", lambda v, _: math.isfinite(v) and 0 <= v <= 1e6),)),
    Field("feature_frequencies", "u8", "Number of frequencies in the encoding of the colour features (section 8.5).",
          (("R-SEQ-19", _within(0, 16)),)),
    Field("direction_frequencies", "u8", "Number of frequencies in the encoding of the view direction (section 8.5).",
          (("R-SEQ-19", _within(0, 16)),)),
)

NETWORK_PARAMETERS = Structure(
    "network_parameters", "4.5",
    Field("position_frequencies", "u8", "Number of frequencies in the encoding of the position (section 8.9).",
          (("R-SEQ-19", _within(0, 16)),)),
    Field("skip_layer", "u8", "Layer of the networks whose input is followed by the encoded position; 0: none.",
          (("R-SEQ-21", _within(0, 63)),)),
    Field("coarse_samples", "u16", "Samples on a ray for the coarse network; 0: the field has none (section 9.6).",
          (("R-SEQ-22", _within(0, 4096)),)),
    Field("fine_samples", "u16", "Further samples on a ray, placed by the coarse network.",
          (("R-SEQ-22", lambda v, c: v <= 4096 and (v > 0) == (c.coarse_samples > 0)),)),
)


def _box_rule(v: Any, c: Any) -> bool:
    limit = (1 << 23) - 1
    low = c.aabb_min
    return all(abs(x) <= limit for x in (*v, *low)) and all(a < b for a, b in zip(low, v))


_BOX = (
    Field("aabb_min", "s32", "Corner of the bounding box with the smallest coordinates (x, y, z), in units of 2^`aabb_exponent` scene units.", count=3),
    Field("aabb_max", "s32", "The opposite corner, in the same units.", (("R-SEQ-05", _box_rule),), count=3),
    Field("aabb_exponent", "s8", "Exponent of the unit of the two corners.", (("R-SEQ-06", _within(-60, 30)),)),
)
_SAMPLES = Field("samples_per_diagonal", "u16", "The ray step is the diagonal of the box divided by this number (section 9.2).",
                 (("R-SEQ-08", lambda v, _: v >= 1),))
_BACKGROUND = Field("background", "u8", "Colour (red, green, blue) behind the field (section 9.3).", count=3)

SCENE = Structure("scene", "4.3", *_BOX, _SAMPLES, _BACKGROUND)

SEQUENCE_HEADER = Structure(
    "sequence_header", "4.3",
    Field("representation", "u8", "The rule that turns the tensors into colour and density (Annex A.1).",
          (("R-SEQ-01", lambda v, _: v in Representation),)),
    Field("scene_count", "u8", "Number of scenes in the file.", (("R-SEQ-02", lambda v, _: v >= 1),)),
    Field("digest_type", "u8", "0: frames carry no digest. 1: SHA-256, first eight bytes (section 7.4).",
          (("R-SEQ-03", _within(0, 1)),)),
    Field("ticks_per_second", "u32", "Units of `time_stamp` in one second.", (("R-SEQ-04", lambda v, _: v >= 1),)),
    *_BOX,
    Field("occupancy_dims", "u16", "Number of occupancy voxels along (x, y, z); all zero: the sequence has no occupancy and everything counts as occupied.",
          (("R-SEQ-07", lambda v, _: v == (0, 0, 0) or all(1 <= x <= 512 for x in v)),), count=3),
    _SAMPLES,
    _BACKGROUND,
    Nested("scene", SCENE, count=lambda c: c.scene_count - 1, count_text="scene_count - 1"),
    Field("tensor_count", "u8", "Number of entries of the tensor list.", (("R-SEQ-09", _within(1, 64)),)),
    Nested("tensor", TENSOR_INFO, count=lambda c: c.tensor_count, count_text="tensor_count"),
    Nested("parameters", FIELD_PARAMETERS),
    Nested("network", NETWORK_PARAMETERS, when=lambda c: Representation.of(c.representation).has_network_parameters,
           when_text=" or ".join(f"representation == {int(r)}" for r in Representation if r.has_network_parameters)),
)

GROUP_HEADER = Structure(
    "group_header", "4.6",
    Field("group_sync", "bytes", "A pattern to search for when the data before are damaged (section 3.4).",
          (("R-GRP-01", lambda v, _: v == GROUP_SYNC),), count=8, count_text="8"),
    Field("scene_id", "u8", "The scene that the group belongs to.",
          (("R-GRP-03", lambda v, c: v < c._params.header.scene_count),)),
    Field("first_frame_number", "u32", "`frame_number` of the group's I-frame."),
    Field("frame_count", "u16", "Number of frames in the group.",
          (("R-GRP-02", lambda v, c: 1 <= v <= _level(c).group_frames),)),
)

NEIGHBOUR = Structure(
    "neighbour", "4.9",
    Field("neighbour_source", "u8", "0: value in the tensor being decoded; 1: value in the previous frame; 2 and 3: energy in the same two; 4 and 5: magnitude in the same two; 8 to 13: the same, at an offset that counts frequencies (section 6.4).",
          (("R-MOD-08", lambda v, _: v in SOURCES),)),
    Field("offset_c", "s8", "Channel offset.",
          (("R-MOD-09", lambda v, c: -2 <= v <= 2 and (v == 0 or (c._.channel_mode == 0 and not is_energy(c.neighbour_source)))),)),
    Field("offset_z", "s8", "Offset along z.", (("R-MOD-09", _within(-2, 2)),)),
    Field("offset_y", "s8", "Offset along y.", (("R-MOD-09", _within(-2, 2)),)),
    Field("offset_x", "s8", "Offset along x.", (("R-MOD-09", _within(-2, 2)),)),
)


def template_of(model: Any) -> list[tuple[int, int, int, int, int]]:
    """(source, dc, dz, dy, dx) of every neighbour of a parsed context model (spec 6.4)."""
    if model["template_id"] == 1:
        return [(n["neighbour_source"], n["offset_c"], n["offset_z"], n["offset_y"], n["offset_x"])
                for n in model["neighbour"]]
    return TEMPLATES[model["template_id"]]


def input_count(model: Any) -> int:
    """Number of inputs of a parsed context model (spec 6.4)."""
    if model["channel_mode"] == 0:
        return len(template_of(model))
    return sum(1 if is_energy(source) else model["model_channels"] for source, *_ in template_of(model))


def output_count(model: Any) -> int:
    """Number of outputs of a parsed context model for each of its channels (spec 6.4)."""
    return 3 if model["family"] == 2 else 2


CONTEXT_MODEL = Structure(
    "context_model", "4.9",
    Field("family", "u8", "The tables that the model chooses from: 0 Laplace (section 6.7), for values; 1 Bernoulli (section 6.8), for bits of masks and occupancy; 2 mixtures (section 6.9), for values.",
          (("R-MOD-15", _within(0, 2)),)),
    Field("channel_mode", "u8", "0: the model is applied to each channel by itself, with the same weights. 1: it predicts all channels of a cell jointly.",
          (("R-MOD-04", _within(0, 1)),)),
    Field("model_channels", "u8", "Channels of the tensors that the model serves when `channel_mode` is 1; 1 otherwise.",
          (("R-MOD-04", lambda v, c: v >= 1 and (c.channel_mode == 1 or v == 1)),)),
    Field("scan_weight", "u8", "Weights (c, z, y, x) of the decoding order (section 6.3).",
          (("R-MOD-06", lambda v, c: max(v) <= 3 and (c.channel_mode == 0 or v[0] == 0)),), count=4),
    Field("template_id", "u8", "The neighbours whose values are the model's inputs (Annex A.3). 1: listed here.",
          (("R-MOD-07", lambda v, _: v == 1 or v in TEMPLATES),)),
    Field("neighbour_count", "u8", "Number of neighbours in the list.", when=lambda c: c.template_id == 1, when_text="template_id == 1"),
    Nested("neighbour", NEIGHBOUR, count=lambda c: c.neighbour_count or 0, count_text="neighbour_count"),
    Field("hidden_count", "u8", "Number of hidden units H. The number of inputs N follows from the template (section 6.4).",
          (("R-MOD-03", lambda v, c: v <= 64 and input_count(c) <= 512),
           ("R-MOD-05", lambda v, c: (v == 0) == (len(template_of(c)) == 0)))),
    Field("hidden_shift", "u8", "Right shift after the hidden layer.", (("R-MOD-10", _within(0, 15)),),
          when=lambda c: c.hidden_count > 0, when_text="hidden_count > 0"),
    Field("hidden_weight", "s8", "Weights of the hidden layer: those of unit 0 first, N each.",
          count=lambda c: c.hidden_count * input_count(c), count_text="H * N"),
    Field("hidden_bias", "s16", "Biases of the hidden units.", count=lambda c: c.hidden_count, count_text="H"),
    Field("location_shift", "u8", "Right shift of the location output.", (("R-MOD-10", _within(0, 23)),)),
    Field("scale_shift", "u8", "Right shift of the scale output.", (("R-MOD-10", _within(0, 23)),)),
    Field("shape_shift", "u8", "Right shift of the shape output.", (("R-MOD-10", _within(0, 23)),),
          when=lambda c: c.family == 2, when_text="family == 2"),
    Field("output_weight", "s8", "Weights of the output layer, output 0 first, H each. A channel has K outputs, 2 or, with `family` 2, 3: its location, its scale and its shape; those of channel 0 come first.",
          count=lambda c: output_count(c) * c.model_channels * c.hidden_count, count_text="K * model_channels * H"),
    Field("output_bias", "s32", "Biases of the outputs.", (("R-MOD-11", _within(1 - (1 << 22), (1 << 22) - 1)),),
          count=lambda c: output_count(c) * c.model_channels, count_text="K * model_channels"),
)

STATIC_TABLE = Structure(
    "static_table", "4.10",
    Field("first_value", "sv", "The quantised value that entry 0 stands for; entry i stands for `first_value` + i.",
          (("R-MOD-14", _within(-(1 << 16), 1 << 16)),)),
    Field("entry_count", "uv", "Number of entries n, the escape entry included, which is the last.",
          (("R-MOD-13", _within(2, 4096)),)),
    Field("count", "uv", "Relative frequencies, made into a table by section 6.6.",
          (("R-MOD-13", lambda v, _: 1 <= sum(v) <= 1 << 24),),
          count=lambda c: c.entry_count, count_text="entry_count"),
)

STATIC_MODEL = Structure(
    "static_model", "4.10",
    Field("assignment", "u8", "What a symbol's table depends on: 0 nothing, 1 its channel, 2 its band, 3 both (section 6.4).",
          (("R-MOD-16", _within(0, 3)),)),
    Field("table_count", "u8", "Number of tables.",
          (("R-MOD-12", lambda v, c: v >= 1 and (c.assignment != 0 or v == 1)),)),
    Nested("table", STATIC_TABLE, count=lambda c: c.table_count, count_text="table_count"),
)

ENTROPY_MODEL = Structure(
    "entropy_model", "4.8",
    Field("model_id", "u8", "Name of the model. A definition replaces an earlier one and lasts to the end of the group.",
          (("R-MOD-01", lambda v, _: v < 64),)),
    Field("model_type", "u8", "1: context model. 2: static tables.", (("R-MOD-02", _within(1, 2)),)),
    Nested("context", CONTEXT_MODEL, when=lambda c: c.model_type == 1, when_text="model_type == 1"),
    Nested("static", STATIC_MODEL, when=lambda c: c.model_type == 2, when_text="model_type == 2"),
)

MAX_WAVELET_LEVELS = 6

STEP = Structure(
    "step", "4.11",
    Field("step_index", "u8", "The quantisation step, 2^(`step_index` / 8) units of the reconstructed integers (section 7.2)."),
)


def _masked(ctx: Any) -> bool:
    return bool(ctx.significance >= 2)


CODED_TENSOR = Structure(
    "coded_tensor", "4.11",
    Field("tensor_id", "u8", "Position of the tensor in the tensor list."),
    Field("prediction", "b2", "What the decoded values are added to: 0 nothing, 1 the same tensor of the previous frame, "
          "2 the same tensor of the shared unit, scaled, 3 a constant (section 7.3)."),
    Field("transform", "b2", "What the quantised values are: 0 the residual itself, 1 coefficients of the block DCT, "
          "2 of the wavelet transform (section 7.5).", (("R-TEN-03", _within(0, 2)),), shift=2),
    Field("significance", "b2", "Which elements are coded: 0 all, 1 those of the cells that occupied voxels can touch, "
          "2 those that a coded mask marks, 3 those that are both (section 7.1).", shift=4),
    Field("reserved_tools", "b2", "Reserved for later tools.", (("R-TEN-01", _within(0, 0)),), shift=6),
    Field("base_mantissa", "s16", "The factor of the shared tensor is `base_mantissa` * 2^`base_exponent`.",
          when=lambda c: c.prediction == Prediction.BASE, when_text="prediction == 2"),
    Field("base_exponent", "s8", "See `base_mantissa`.", (("R-TEN-08", _within(-16, 15)),),
          when=lambda c: c.prediction == Prediction.BASE, when_text="prediction == 2"),
    Field("base_offset", "s32", "Constant that is added to every element, in units of the reconstructed integers.",
          when=lambda c: c.prediction >= Prediction.BASE, when_text="prediction >= 2"),
    Field("wavelet_levels", "u8", "Number of levels of the wavelet transform.",
          (("R-TEN-03", _within(1, MAX_WAVELET_LEVELS)),),
          when=lambda c: c.transform == Transform.WAVELET, when_text="transform == 2"),
    Field("mask_model_ref", "u8", "`model_id` of the entropy model of the mask.", when=_masked, when_text="significance >= 2"),
    Field("mask_size", "uv", "Number of bytes of `mask_data`.", when=_masked, when_text="significance >= 2"),
    Field("mask_data", "bytes", "The mask, entropy coded (section 6.2).",
          count=lambda c: c.mask_size, count_text="mask_size", when=_masked, when_text="significance >= 2"),
    Field("model_ref", "u8", "`model_id` of the entropy model of the values."),
    Nested("step", STEP, count=lambda c: band_count(c.transform, c.wavelet_levels or 0), count_text="bands (section 7.5)"),
    Field("value_size", "uv", "Number of bytes of `value_data`."),
    Field("value_data", "bytes", "The quantised values, entropy coded (section 6.2).",
          count=lambda c: c.value_size, count_text="value_size"),
)

def _models() -> tuple[Field, Nested]:
    return (Field("model_count", "u8", "Number of entropy models that the unit defines."),
            Nested("model", ENTROPY_MODEL, count=lambda c: c.model_count, count_text="model_count"))


def _has_digest(ctx: Any) -> bool:
    return bool(ctx._params.header.digest_type == 1)


SHARED = Structure(
    "shared", "4.16",
    *_models(),
    Field("coded_count", "u8", "Number of tensors that the scenes share."),
    Nested("tensor", CODED_TENSOR, count=lambda c: c.coded_count, count_text="coded_count"),
    Field("shared_digest", "bytes", "Digest of the shared tensors (section 7.4).", count=8, count_text="8",
          when=_has_digest, when_text="digest_type == 1"),
)

FRAME = Structure(
    "frame", "4.7",
    Field("frame_number", "u32", "Number of the frame in the sequence."),
    Field("frame_type", "u8", "1: I-frame, decodable by itself. 2: P-frame, which refers to the frame before.",
          (("R-FRM-03", _within(1, 2)),)),
    Field("time_stamp", "u32", "Time of the frame in ticks (`ticks_per_second`)."),
    Field("occupancy_mode", "u8", "0: as in the previous frame, or none. 1: compressed by itself. 2: compressed as the exclusive or "
          "with the previous frame's. 3: entropy coded.",
          (("R-OCC-04", _within(0, 3)),)),
    Field("occupancy_model_ref", "u8", "`model_id` of the entropy model of the occupancy.",
          when=lambda c: c.occupancy_mode == OccupancyMode.CODED, when_text="occupancy_mode == 3"),
    Field("occupancy_size", "uv", "Number of bytes of `occupancy_data`.",
          when=lambda c: c.occupancy_mode != OccupancyMode.UNCHANGED, when_text="occupancy_mode > 0"),
    Field("occupancy_data", "bytes", "Occupancy bits, compressed or entropy coded (section 6.1).",
          count=lambda c: c.occupancy_size or 0, count_text="occupancy_size"),
    *_models(),
    Field("coded_count", "u8", "Number of tensors that the frame carries. The others keep their values."),
    Nested("tensor", CODED_TENSOR, count=lambda c: c.coded_count, count_text="coded_count"),
    Field("frame_digest", "bytes", "Digest of the reconstructed frame (section 7.4).", count=8, count_text="8",
          when=_has_digest, when_text="digest_type == 1"),
)

INDEX_ENTRY = Structure(
    "index_entry", "4.12",
    Field("indexed_frame", "u32", "`frame_number` of a frame."),
    Field("indexed_type", "u8", "Its `frame_type`."),
    Field("frame_offset", "u64", "Offset of the first byte of its unit, counted from the start of the file. "
          "For an I-frame, the offset of the group header before it."),
)

INDEX = Structure(
    "index", "4.12",
    Field("index_count", "u32", "Number of entries.",
          (("R-IDX-01", lambda v, c: 13 * v == c._params.payload_size - 4),)),
    Nested("entry", INDEX_ENTRY, count=lambda c: c.index_count, count_text="index_count"),
)

END = Structure(
    "end", "4.13",
    Field("group_total", "u32", "Number of groups in the file."),
    Field("frame_total", "u32", "Number of frames in the file."),
    Field("index_offset", "u64", "Offset of the index unit from the start of the file; 0: no index."),
)


def _finite(v: Any, _: Any) -> bool:
    return all(math.isfinite(x) for x in v)


def _rigid(v: Any, _: Any) -> bool:
    r = [v[0:3], v[4:7], v[8:11]]
    gram = (sum(r[k][i] * r[k][j] for k in range(3)) - (i == j) for i in range(3) for j in range(3))
    det = (r[0][0] * (r[1][1] * r[2][2] - r[1][2] * r[2][1])
           - r[0][1] * (r[1][0] * r[2][2] - r[1][2] * r[2][0])
           + r[0][2] * (r[1][0] * r[2][1] - r[1][1] * r[2][0]))
    return all(abs(x) <= 1e-3 for x in gram) and det > 0


def _utf8(v: Any, _: Any) -> bool:
    try:
        v.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


CAMERA = Structure(
    "camera", "4.14",
    Field("name_size", "u8", "Number of bytes of the name."),
    Field("camera_name", "bytes", "A label for people, UTF-8.", (("R-CAM-03", _utf8),),
          count=lambda c: c.name_size, count_text="name_size"),
    Field("camera_scene", "u8", "The scene that the camera looks at.",
          (("R-CAM-04", lambda v, c: v < c._params.header.scene_count),)),
    Field("camera_width", "u16", "Picture width in pixels.", (("R-CAM-01", lambda v, _: v >= 1),)),
    Field("camera_height", "u16", "Picture height in pixels.", (("R-CAM-01", lambda v, _: v >= 1),)),
    Field("focal", "f32", "Focal lengths (x, y) in pixels.",
          (("R-CAM-01", lambda v, _: all(math.isfinite(x) and x > 0 for x in v)),), count=2),
    Field("centre", "f32", "Principal point (x, y) in pixels; the first pixel's centre is (0.5, 0.5).", (("R-CAM-01", _finite),), count=2),
    Field("camera_to_world", "f32", "Three rows of the pose (section 9.1).",
          (("R-CAM-01", _finite), ("R-CAM-02", _rigid)), count=12),
)

CAMERAS = Structure(
    "cameras", "4.14",
    Field("camera_count", "u16", "Number of cameras."),
    Nested("camera", CAMERA, count=lambda c: c.camera_count, count_text="camera_count"),
)

METADATA_ENTRY = Structure(
    "metadata_entry", "4.15",
    Field("key_size", "u8", "Number of bytes of the key."),
    Field("key", "bytes", "Name of the entry; Annex A.5 lists registered keys.",
          (("R-MET-01", lambda v, _: re.fullmatch(rb"[a-z0-9._-]{1,64}", v) is not None),),
          count=lambda c: c.key_size, count_text="key_size"),
    Field("value_size", "u32", "Number of bytes of the value."),
    Field("value", "bytes", "Text, UTF-8.", (("R-MET-02", _utf8),),
          count=lambda c: c.value_size, count_text="value_size"),
)

METADATA = Structure(
    "metadata", "4.15",
    Field("entry_count", "u16", "Number of entries."),
    Nested("entry", METADATA_ENTRY, count=lambda c: c.entry_count, count_text="entry_count"),
)

# What each unit holds (Table 4-1).
PAYLOADS = {
    UnitType.SEQUENCE_HEADER: SEQUENCE_HEADER, UnitType.GROUP_HEADER: GROUP_HEADER,
    UnitType.FRAME: FRAME, UnitType.INDEX: INDEX, UnitType.END: END,
    UnitType.CAMERAS: CAMERAS, UnitType.METADATA: METADATA, UnitType.SHARED: SHARED,
}
