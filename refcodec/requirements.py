"""The register of requirements and error codes: the one source of spec chapter 11.

Every check that a decoder makes names a requirement; every requirement names the
code of the error that breaking it causes, and the section that states it. The
tables of the specification are generated from here, and the conformance suite
holds at least one vector that breaks each requirement.
"""
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """An entry of the error register.

    kind: `malformed` (can't be parsed), `invalid` (parses, breaks a rule) or
        `limit` (refused before anything large is allocated or computed).
    """

    code: str
    name: str
    kind: str
    summary: str
    cause: str


@dataclass(frozen=True, slots=True)
class Requirement:
    """One numbered sentence of the specification."""

    id: str
    code: str
    section: str
    text: str


def _codes(*rows: tuple[str, str, str, str, str]) -> dict[str, ErrorCode]:
    return {row[0]: ErrorCode(*row) for row in rows}


ERROR_CODES = _codes(
    ("E0101", "bad_signature", "malformed", "The file does not start with the RFV signature.",
     "Not an RFV file, or one damaged by a transfer that rewrote line ends or cleared bit 7."),
    ("E0102", "bad_file_header", "malformed", "The checksum of the file header is wrong.",
     "The first 16 bytes were damaged."),
    ("E0103", "unsupported_version", "invalid", "The format version is not one that this decoder knows.",
     "The file was written to a later (or an earlier draft) version of the specification."),
    ("E0104", "unsupported_profile", "invalid", "The profile is not one that this version defines.",
     "The file needs coding tools of a later version."),
    ("E0105", "unknown_level", "invalid", "The level is not one that this version defines.",
     "The file was written to a later version, or by a faulty encoder."),
    ("E0106", "truncated", "malformed", "The data end before the end unit is complete.",
     "An interrupted transfer or encode, or a unit_size that lies."),
    ("E0107", "trailing_data", "malformed", "Bytes follow the end unit.",
     "Two files were joined as bytes instead of being concatenated by groups."),
    ("E0201", "reserved_bits", "invalid", "A reserved bit is not zero.",
     "The file uses a later version's feature, or a faulty encoder."),
    ("E0202", "unit_too_large", "limit", "unit_size exceeds what the level allows.",
     "A damaged size field, or an encoder that declared too low a level."),
    ("E0203", "bad_unit_checksum", "malformed", "The checksum of a unit is wrong.",
     "The unit was damaged, its size field included."),
    ("E0204", "unknown_critical_unit", "invalid", "A unit of unknown type is not marked ancillary.",
     "The file needs a later version or a private extension."),
    ("E0205", "wrong_unit_flag", "invalid", "A unit of known type has the wrong ancillary flag.",
     "A faulty encoder."),
    ("E0206", "unit_has_excess", "malformed", "A unit holds bytes after its last syntax element.",
     "A faulty encoder, or a count that is too small."),
    ("E0207", "unit_too_short", "malformed", "A unit ends inside a syntax element.",
     "A faulty encoder, or a count or size that is too large."),
    ("E0208", "unit_order", "invalid", "A unit stands where its type is not allowed.",
     "A group cut in the middle, a missing header, or units in the wrong order."),
    ("E0209", "bad_varint", "malformed", "A uv or sv number is too long or not minimal.",
     "A faulty encoder."),
    ("E0210", "reserved_value", "invalid", "A syntax element has a reserved value.",
     "The file uses a later version's feature, or a faulty encoder."),
    ("E0211", "out_of_range", "invalid", "A syntax element is outside its range.",
     "A faulty encoder."),
    ("E0304", "bad_box", "invalid", "The bounding box is empty, inverted or too large a number.",
     "A faulty encoder."),
    ("E0305", "bad_occupancy_dims", "invalid", "The occupancy dimensions are not all zero and not all in range.",
     "A faulty encoder."),
    ("E0306", "bad_tensor_list", "invalid", "The tensor list does not make a field of the declared representation.",
     "A faulty encoder: a missing, extra, misplaced or misshapen tensor."),
    ("E0307", "exceeds_level", "limit", "The sequence header or a frame asks for more than the level allows.",
     "An encoder that declared too low a level, or an attack."),
    ("E0308", "not_finite", "invalid", "A floating-point element is not finite or outside its range.",
     "A faulty encoder."),
    ("E0309", "sequence_header_changed", "invalid", "A repeated sequence header differs from the first.",
     "Two different sequences were joined."),
    ("E0401", "bad_group_sync", "malformed", "The synchronisation bytes of a group header are wrong.",
     "A faulty encoder."),
    ("E0402", "bad_group_size", "limit", "frame_count is zero or exceeds the level.",
     "A faulty encoder."),
    ("E0404", "group_number_order", "invalid", "A group's frames do not come after those of the group before.",
     "Groups repeated, reordered or joined without renumbering."),
    ("E0405", "wrong_frame_count", "invalid", "A group does not hold the number of frames that it declares.",
     "A frame was lost or repeated, or a group was cut."),
    ("E0501", "bad_frame_number", "invalid", "A frame's number is not the next of its group.",
     "A frame was lost, repeated or reordered."),
    ("E0502", "wrong_frame_type", "invalid", "A group does not consist of one I-frame and then P-frames.",
     "A P-frame without its reference: the start of the group was lost."),
    ("E0505", "time_order", "invalid", "A time stamp is not greater than the one before it.",
     "A faulty encoder or editor."),
    ("E0506", "missing_tensor", "invalid", "An I-frame does not carry every tensor.",
     "A faulty encoder."),
    ("E0507", "bad_tensor_id", "invalid", "Tensor identifiers are not increasing or not in the tensor list.",
     "A faulty encoder."),
    ("E0601", "bad_occupancy_mode", "invalid", "occupancy_mode does not fit the frame or the sequence.",
     "A faulty encoder."),
    ("E0602", "bad_lzma", "malformed", "Occupancy data are not LZMA2 data of exactly the declared content size.",
     "A faulty encoder, or an attempt to make a decoder inflate without bound."),
    ("E0603", "occupancy_padding", "invalid", "Padding bits after the last voxel are not zero.",
     "A faulty encoder."),
    ("E0701", "bad_model_id", "invalid", "Model identifiers are not increasing or too large.",
     "A faulty encoder."),
    ("E0702", "model_too_large", "limit", "An entropy model has more inputs or units than allowed.",
     "A faulty encoder, or an attack."),
    ("E0703", "bad_model_structure", "invalid", "Template, channel mode and layers of a model do not fit together.",
     "A faulty encoder."),
    ("E0705", "bad_static_table", "invalid", "A static table has a wrong number of entries or no mass.",
     "A faulty encoder."),
    ("E0801", "bad_prediction", "invalid", "A tensor's prediction needs a frame that is not there.",
     "A faulty encoder."),
    ("E0802", "bad_significance", "invalid", "Significance by occupancy for a tensor or sequence without it.",
     "A faulty encoder."),
    ("E0803", "unknown_model", "invalid", "A tensor names an entropy model that its group has not defined.",
     "A faulty encoder, or a lost frame."),
    ("E0804", "model_mismatch", "invalid", "An entropy model does not fit the channels of a tensor.",
     "A faulty encoder."),
    ("E0901", "bad_entropy_data", "malformed", "The range decoder met a state that no encoder produces.",
     "Damaged data with a repaired checksum, or encoder and decoder disagree on a table."),
    ("E0902", "entropy_data_left", "malformed", "Words are left over after a tensor's last symbol.",
     "Encoder and decoder disagree on the number of symbols or on a table."),
    ("E0903", "bad_escape", "invalid", "An escape code is longer than allowed.",
     "Encoder and decoder disagree on a table."),
    ("E0904", "symbol_too_large", "invalid", "A quantised value is outside its range.",
     "A faulty encoder."),
    ("E1001", "digest_mismatch", "invalid", "The decoded frame does not have the digest that the stream states.",
     "A defect of the decoder, or of the encoder that wrote the file."),
    ("E1101", "bad_index", "invalid", "The index disagrees with the stream.",
     "The file was edited without its index being rewritten."),
    ("E1102", "bad_end_counts", "invalid", "The end unit's counts disagree with the stream.",
     "Groups were lost or added without the end unit being rewritten."),
    ("E1201", "bad_camera", "invalid", "A camera is not a pinhole camera with a rigid pose.",
     "A faulty encoder."),
    ("E1202", "bad_metadata", "invalid", "Metadata are not UTF-8 text under unique, well-formed keys.",
     "A faulty encoder or editor."),
    ("E1301", "decoder_limit", "limit", "The stream conforms but exceeds a limit that this decoder was given.",
     "Raise the decoder's own limit, or decode elsewhere."),
)


def _requirements(*rows: tuple[str, str, str, str]) -> dict[str, Requirement]:
    return {row[0]: Requirement(*row) for row in rows}


REQUIREMENTS = _requirements(
    ("R-FILE-01", "E0101", "4.1", "`signature` shall be the eight bytes 89 52 46 56 0D 0A 1A 0A."),
    ("R-FILE-02", "E0102", "4.1", "`header_crc` shall be the CRC-32 of the twelve bytes before it."),
    ("R-FILE-03", "E0103", "4.1", "`version_major` shall be 0 and `version_minor` 1 in files that follow this draft."),
    ("R-FILE-04", "E0104", "10.1", "`profile` shall be 1."),
    ("R-FILE-05", "E0105", "10.2", "`level` shall be 1, 2 or 3."),
    ("R-FILE-06", "E0106", "3.1", "A file shall hold every unit completely and its last unit shall be an end unit."),
    ("R-FILE-07", "E0107", "3.1", "Nothing shall follow the end unit."),
    ("R-UNIT-01", "E0201", "4.2", "Bits 1 to 7 of `unit_flags` shall be zero."),
    ("R-UNIT-02", "E0202", "10.2", "`unit_size` shall not exceed the level's maximum."),
    ("R-UNIT-03", "E0203", "4.2", "`unit_crc` shall be the CRC-32 of all bytes of the unit before it."),
    ("R-UNIT-04", "E0204", "4.2", "A unit whose type this version does not define shall be marked ancillary."),
    ("R-UNIT-05", "E0205", "4.2", "A unit of a defined type shall have the ancillary flag that Table 4-1 gives."),
    ("R-UNIT-06", "E0206", "4.2", "The syntax elements of a unit shall fill its payload to the last byte."),
    ("R-UNIT-07", "E0207", "4.2", "The payload of a unit shall hold every syntax element completely."),
    ("R-UNIT-08", "E0208", "3.2", "Units shall stand in the order of section 3.2."),
    ("R-VAR-01", "E0209", "2.3", "A `uv` or `sv` shall be coded in the fewest possible bytes, five at most, and be below 2^32."),
    ("R-SEQ-01", "E0210", "4.3", "`representation` shall be 1; other values are reserved."),
    ("R-SEQ-02", "E0210", "4.3", "`scene_count` shall be 1; other values are reserved."),
    ("R-SEQ-03", "E0210", "4.3", "`digest_type` shall be 0 or 1; other values are reserved."),
    ("R-SEQ-04", "E0211", "4.3", "`ticks_per_second` shall be at least 1."),
    ("R-SEQ-05", "E0304", "4.3", "Each `aabb_min` and `aabb_max` shall lie within ±(2^23 - 1), each minimum below its maximum."),
    ("R-SEQ-06", "E0304", "4.3", "`aabb_exponent` shall lie in -60 to 30."),
    ("R-SEQ-07", "E0305", "4.3", "The three `occupancy_dims` shall all be 0, or all lie in 1 to 512."),
    ("R-SEQ-08", "E0211", "4.3", "`samples_per_diagonal` shall be at least 1."),
    ("R-SEQ-09", "E0211", "4.3", "`tensor_count` shall lie in 1 to 64."),
    ("R-SEQ-10", "E0210", "4.4", "`tensor_role` shall be one of Annex A; other values are reserved."),
    ("R-SEQ-11", "E0211", "4.4", "`frac_bits` shall lie in 0 to 24."),
    ("R-SEQ-12", "E0211", "4.4", "`channels`, `depth`, `height` and `width` shall lie in 1 to 4096."),
    ("R-SEQ-13", "E0210", "4.4", "`mapping` shall be 0, 1 or 2; other values are reserved."),
    ("R-SEQ-14", "E0210", "4.4", "`alignment` shall be 0 or 1, and 0 when `mapping` is 0."),
    ("R-SEQ-15", "E0211", "4.4", "`frequency` shall lie in 1 to 2^22 when `mapping` is 2 and be 0 otherwise."),
    ("R-SEQ-16", "E0306", "8.1", "The tensor list shall be the one that section 8.1 prescribes for the representation."),
    ("R-SEQ-17", "E0307", "10.2", "The number of tensor elements and of occupancy voxels shall not exceed the level's maximum."),
    ("R-SEQ-18", "E0308", "4.5", "`density_shift` shall be finite and lie within ±10^6; `density_scale` shall be finite and lie in 0 to 10^6."),
    ("R-SEQ-19", "E0211", "4.5", "`feature_frequencies` and `direction_frequencies` shall lie in 0 to 16."),
    ("R-SEQ-20", "E0309", "3.2", "A repeated sequence header shall equal the first in every byte."),
    ("R-GRP-01", "E0401", "4.6", "`group_sync` shall be the eight bytes 89 52 46 47 0D 0A 1A 0A."),
    ("R-GRP-02", "E0402", "10.2", "`frame_count` shall be at least 1 and shall not exceed the level's maximum."),
    ("R-GRP-03", "E0210", "4.6", "`scene_id` shall be 0; other values are reserved."),
    ("R-GRP-04", "E0404", "4.6", "`first_frame_number` shall exceed the number of every frame before, and no frame number shall exceed 2^32 - 1."),
    ("R-GRP-05", "E0405", "3.2", "A group shall hold exactly `frame_count` frames."),
    ("R-FRM-01", "E0501", "4.7", "`frame_number` shall be `first_frame_number` plus the number of frames before it in its group."),
    ("R-FRM-02", "E0502", "4.7", "`frame_type` shall be 1 (I) in the first frame of a group and 2 (P) in all others."),
    ("R-FRM-03", "E0210", "4.7", "`frame_type` shall be 1 or 2; other values are reserved."),
    ("R-FRM-04", "E0505", "4.7", "`time_stamp` shall exceed the time stamp of the frame before."),
    ("R-FRM-05", "E0506", "4.7", "An I-frame shall carry every tensor of the tensor list."),
    ("R-FRM-06", "E0507", "4.7", "`tensor_id` shall increase from tensor to tensor within a frame and be below `tensor_count`."),
    ("R-OCC-01", "E0601", "4.7", "`occupancy_mode` shall be 0 when the sequence has no occupancy, 1 in an I-frame that has, and 0, 1 or 2 in a P-frame that has."),
    ("R-OCC-02", "E0602", "6.1", "`occupancy_data` shall be one LZMA2 stream with a dictionary of 2^20 bytes, ending at the last byte, whose content has exactly the size that section 6.1 gives."),
    ("R-OCC-03", "E0603", "6.1", "The unused bits of the last occupancy byte shall be zero in the content of `occupancy_data`."),
    ("R-OCC-04", "E0210", "4.7", "`occupancy_mode` values above 2 are reserved."),
    ("R-MOD-01", "E0701", "4.8", "`model_id` shall increase from model to model within a frame and be below 64."),
    ("R-MOD-02", "E0210", "4.8", "`model_type` shall be 1 or 2; other values are reserved."),
    ("R-MOD-03", "E0702", "4.9", "A context model shall have at most 512 inputs and 64 hidden units."),
    ("R-MOD-04", "E0703", "4.9", "`model_channels` shall be at least 1, and 1 when `channel_mode` is 0; `channel_mode` shall be 0 or 1."),
    ("R-MOD-05", "E0703", "4.9", "`hidden_count` shall be zero exactly when the template has no neighbours."),
    ("R-MOD-06", "E0211", "4.9", "Each `scan_weight` shall lie in 0 to 3; that of the channel shall be 0 when `channel_mode` is 1."),
    ("R-MOD-07", "E0210", "4.9", "`template_id` shall be one of Annex A; other values are reserved."),
    ("R-MOD-08", "E0210", "4.9", "`neighbour_source` shall be 0 to 3; other values are reserved."),
    ("R-MOD-09", "E0211", "4.9", "Each offset of a neighbour shall lie in -2 to 2, and its channel offset be 0 when `channel_mode` is 1 or the source is an energy."),
    ("R-MOD-10", "E0211", "4.9", "`hidden_shift` shall lie in 0 to 15, `location_shift` and `scale_shift` in 0 to 23."),
    ("R-MOD-11", "E0211", "4.9", "Each `output_bias` shall lie within ±(2^22 - 1)."),
    ("R-MOD-12", "E0705", "4.10", "`table_count` shall be at least 1."),
    ("R-MOD-13", "E0705", "4.10", "`entry_count` shall lie in 2 to 4096 and the counts of a table shall have a sum in 1 to 2^24."),
    ("R-MOD-14", "E0211", "4.10", "`first_value` shall lie within ±2^16."),
    ("R-TEN-01", "E0210", "4.11", "`prediction` shall be 0 or 1; other values are reserved."),
    ("R-TEN-02", "E0210", "4.11", "`significance` shall be 0 or 1; other values are reserved."),
    ("R-TEN-03", "E0210", "4.11", "`transform` shall be 0; other values are reserved."),
    ("R-TEN-04", "E0801", "4.11", "`prediction` shall be 0 in an I-frame."),
    ("R-TEN-05", "E0802", "4.11", "`significance` shall be 0 for a tensor whose `mapping` is 0, and in a sequence without occupancy."),
    ("R-TEN-06", "E0803", "4.11", "`model_ref` shall name a model defined in this frame or in an earlier frame of the group."),
    ("R-TEN-07", "E0804", "4.11", "A joint model's `model_channels` shall equal the tensor's `channels`; a static model's `table_count` shall be 1 or equal them."),
    ("R-TEN-08", "E0211", "4.11", "`step_mantissa` shall be at least 1 and `step_exponent` lie in -16 to 15."),
    ("R-TEN-09", "E0307", "10.2", "The multiplications that the models of a frame can cause shall not exceed the level's maximum."),
    ("R-ENT-01", "E0901", "6.2", "The quantile that the range decoder computes shall be below 2^24."),
    ("R-ENT-02", "E0902", "6.2", "After its last symbol the range decoder shall be exhausted as section 6.2 defines."),
    ("R-ENT-03", "E0903", "6.5", "The prefix of an escape code shall have at most 20 ones."),
    ("R-ENT-04", "E0904", "6.5", "The absolute value of a quantised value shall be below 2^20."),
    ("R-DIG-01", "E1001", "7.4", "`frame_digest` shall be the digest of the reconstructed frame."),
    ("R-IDX-01", "E1101", "4.12", "The index shall list every frame of the file, in order, with its type and the offset of its unit."),
    ("R-END-01", "E1102", "4.13", "`group_total` and `frame_total` shall be the numbers of groups and frames in the file."),
    ("R-END-02", "E1101", "4.13", "`index_offset` shall be the offset of the index unit, or 0 when there is none."),
    ("R-CAM-01", "E1201", "4.14", "`camera_width` and `camera_height` shall be at least 1; focal lengths shall be finite and positive; all other numbers finite."),
    ("R-CAM-02", "E1201", "4.14", "The first three columns of `camera_to_world` shall be orthonormal within 10^-3 and have a positive determinant."),
    ("R-CAM-03", "E1201", "4.14", "`camera_name` shall be UTF-8."),
    ("R-MET-01", "E1202", "4.15", "`key` shall consist of 1 to 64 of the characters a-z, 0-9, `.`, `_` and `-`, and be unique in its unit."),
    ("R-MET-02", "E1202", "4.15", "`value` shall be UTF-8."),
    ("R-LIM-01", "E1301", "10.3", "A decoder that refuses a conforming stream because of a limit of its own shall say so with this code."),
)

assert all(r.code in ERROR_CODES for r in REQUIREMENTS.values())
