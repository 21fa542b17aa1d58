# Generated from the declarations of the reference codec: python -m refcodec.spec
meta:
  id: rfv
  title: Radiance Field Video (RFV) 0.5
  file-extension: rfv
  license: Apache-2.0
  endian: le
  bit-endian: le
doc: |
  Where every syntax element of an RFV file lies. The specification says which values it may have
  and what they mean; checksums, entropy-coded data and occupancy are not decoded here.
seq:
  - id: file_header
    type: file_header
  - id: units
    type: unit
    repeat: until
    repeat-until: _.unit_header.unit_type == unit_type::end
instances:
  sequence_header:
    value: units[0].payload.as<sequence_header>
    doc: The first unit of every file.
types:
  unit:
    doc: A unit, section 4.2.
    seq:
      - id: unit_header
        type: unit_header
      - id: payload
        size: unit_header.unit_size
        type:
          switch-on: unit_header.unit_type
          cases:
            unit_type::sequence_header: sequence_header
            unit_type::group_header: group_header
            unit_type::frame: frame
            unit_type::index: index
            unit_type::end: end
            unit_type::cameras: cameras
            unit_type::metadata: metadata
            unit_type::shared: shared
      - id: unit_crc
        type: u4
        doc: CRC-32 of the unit header and the payload.
  file_header:
    doc: Section 4.1.
    seq:
      - id: signature
        size: "8"
        doc: "Identifies the file. Its bytes reveal transfers that clear the top bit or rewrite line ends. (R-FILE-01)"
      - id: version_major
        type: u1
        doc: "Major version of the specification. While it is 0 the format is a draft and `version_minor` must match exactly."
      - id: version_minor
        type: u1
        doc: "Minor version of the specification."
      - id: profile
        type: u1
        doc: "The set of coding tools that the file may use (section 10.1)."
      - id: level
        type: u1
        doc: "The bounds that the file keeps (section 10.2)."
      - id: header_crc
        type: u4
        doc: "CRC-32 (section 2.4) of the twelve bytes before it. It is checked before the four elements above are looked at."
  unit_header:
    doc: Section 4.2.
    seq:
      - id: unit_type
        type: u1
        enum: unit_type
        doc: "What the payload is (Table 4-1)."
      - id: unit_flags
        type: u1
        doc: "Bit 0 (`ancillary`): a decoder that does not know the type skips the unit when the bit is 1 and stops when it is 0. Bits 1 to 7 are reserved."
      - id: unit_size
        type: u4
        doc: "Number of bytes of the payload, without this header and without `unit_crc`."
  tensor_info:
    doc: Section 4.4.
    seq:
      - id: tensor_role
        type: u1
        enum: tensor_role
        doc: "What the tensor is to the representation (Annex A.2). (R-SEQ-10)"
      - id: role_index
        type: u1
        doc: "Distinguishes tensors of one role: the number of the basis grid, or of the layer."
      - id: frac_bits
        type: u1
        doc: "A reconstructed integer v of this tensor stands for the number v / 2^`frac_bits`. (R-SEQ-11)"
      - id: channels
        type: u2
        doc: "Number of channels C. (R-SEQ-12)"
      - id: depth
        type: u2
        doc: "Number of samples along z. (R-SEQ-12)"
      - id: height
        type: u2
        doc: "Number of samples along y; rows (outputs) of a matrix. (R-SEQ-12)"
      - id: width
        type: u2
        doc: "Number of samples along x; columns (inputs) of a matrix. (R-SEQ-12)"
      - id: mapping
        type: u1
        doc: "How the spatial axes cover the bounding box: 0 not at all, 1 linearly, 2 as a sawtooth (section 8.3). (R-SEQ-13)"
      - id: alignment
        type: u1
        doc: "Where samples lie: 0 the first and last at the ends of the axis, 1 at cell centres (section 8.3). (R-SEQ-14)"
      - id: frequency
        type: u4
        doc: "Periods of the sawtooth along the longest side of the box, times 2^16. (R-SEQ-15)"
  field_parameters:
    doc: Section 4.5.
    seq:
      - id: density_shift
        type: f4
        doc: "Added to the density feature before softplus (section 8.2). (R-SEQ-18)"
      - id: density_scale
        type: f4
        doc: "Factor of the softplus (section 8.2). (R-SEQ-18)"
      - id: feature_frequencies
        type: u1
        doc: "Number of frequencies in the encoding of the colour features (section 8.5). (R-SEQ-19)"
      - id: direction_frequencies
        type: u1
        doc: "Number of frequencies in the encoding of the view direction (section 8.5). (R-SEQ-19)"
  network_parameters:
    doc: Section 4.5.
    seq:
      - id: position_frequencies
        type: u1
        doc: "Number of frequencies in the encoding of the position (section 8.9). (R-SEQ-19)"
      - id: skip_layer
        type: u1
        doc: "Layer of the networks whose input is followed by the encoded position; 0: none. (R-SEQ-21)"
      - id: coarse_samples
        type: u2
        doc: "Samples on a ray for the coarse network; 0: the field has none (section 9.2.2). (R-SEQ-22)"
      - id: fine_samples
        type: u2
        doc: "Further samples on a ray, placed by the coarse network. (R-SEQ-22)"
  scene:
    doc: Section 4.3.
    seq:
      - id: aabb_min
        type: s4
        repeat: expr
        repeat-expr: "3"
        doc: "Corner of the bounding box with the smallest coordinates (x, y, z), in units of 2^`aabb_exponent` scene units."
      - id: aabb_max
        type: s4
        repeat: expr
        repeat-expr: "3"
        doc: "The opposite corner, in the same units. (R-SEQ-05)"
      - id: aabb_exponent
        type: s1
        doc: "Exponent of the unit of the two corners. (R-SEQ-06)"
      - id: samples_per_diagonal
        type: u2
        doc: "The ray step is the diagonal of the box divided by this number (section 9.2). (R-SEQ-08)"
      - id: background
        type: u1
        repeat: expr
        repeat-expr: "3"
        doc: "Colour (red, green, blue) behind the field (section 9.3)."
  sequence_header:
    doc: Section 4.3.
    seq:
      - id: representation
        type: u1
        enum: representation
        doc: "The rule that turns the tensors into colour and density (Annex A.1). (R-SEQ-01)"
      - id: scene_count
        type: u1
        doc: "Number of scenes in the file. (R-SEQ-02)"
      - id: digest_type
        type: u1
        doc: "0: frames carry no digest. 1: SHA-256, first eight bytes (section 7.4). (R-SEQ-03)"
      - id: ticks_per_second
        type: u4
        doc: "Units of `time_stamp` in one second. (R-SEQ-04)"
      - id: aabb_min
        type: s4
        repeat: expr
        repeat-expr: "3"
        doc: "Corner of the bounding box with the smallest coordinates (x, y, z), in units of 2^`aabb_exponent` scene units."
      - id: aabb_max
        type: s4
        repeat: expr
        repeat-expr: "3"
        doc: "The opposite corner, in the same units. (R-SEQ-05)"
      - id: aabb_exponent
        type: s1
        doc: "Exponent of the unit of the two corners. (R-SEQ-06)"
      - id: occupancy_dims
        type: u2
        repeat: expr
        repeat-expr: "3"
        doc: "Number of occupancy voxels along (x, y, z); all zero: the sequence has no occupancy and everything counts as occupied. (R-SEQ-07)"
      - id: samples_per_diagonal
        type: u2
        doc: "The ray step is the diagonal of the box divided by this number (section 9.2). (R-SEQ-08)"
      - id: background
        type: u1
        repeat: expr
        repeat-expr: "3"
        doc: "Colour (red, green, blue) behind the field (section 9.3)."
      - id: scene
        type: scene
        repeat: expr
        repeat-expr: "scene_count - 1"
      - id: tensor_count
        type: u1
        doc: "Number of entries of the tensor list. (R-SEQ-09)"
      - id: tensor
        type: tensor_info
        repeat: expr
        repeat-expr: "tensor_count"
      - id: parameters
        type: field_parameters
      - id: network
        type: network_parameters
        if: "representation.to_i == 5"
  group_header:
    doc: Section 4.6.
    seq:
      - id: group_sync
        size: "8"
        doc: "A pattern to search for when the data before are damaged (section 3.4). (R-GRP-01)"
      - id: scene_id
        type: u1
        doc: "The scene that the group belongs to. (R-GRP-03)"
      - id: first_frame_number
        type: u4
        doc: "`frame_number` of the group's I-frame."
      - id: frame_count
        type: u2
        doc: "Number of frames in the group. (R-GRP-02)"
  neighbour:
    doc: Section 4.9.
    params:
      - id: number
        type: s4
    seq:
      - id: neighbour_source
        type: u1
        doc: "0: value in the tensor being decoded; 1: value in the previous frame; 2 and 3: activity in the same two; 4 and 5: magnitude in the same two; 8 to 13: the same, at an offset that counts frequencies (section 6.4). (R-MOD-08)"
      - id: offset_c
        type: s1
        doc: "Channel offset. (R-MOD-09)"
      - id: offset_z
        type: s1
        doc: "Offset along z. (R-MOD-09)"
      - id: offset_y
        type: s1
        doc: "Offset along y. (R-MOD-09)"
      - id: offset_x
        type: s1
        doc: "Offset along x. (R-MOD-09)"
    instances:
      input_count:
        doc: Inputs of the model that this neighbour and those before it make (section 6.4).
        value: '(number == 0 ? 0 : _parent.neighbour[number - 1].input_count.as<s4>) + (_parent.channel_mode == 0 or (neighbour_source & 6) == 2 ? 1 : _parent.model_channels)'
  context_model:
    doc: Section 4.9.
    seq:
      - id: family
        type: u1
        doc: "The tables that the model chooses from (Annex A.6). (R-MOD-15)"
      - id: channel_mode
        type: u1
        doc: "0: the model is applied to each channel by itself, with the same weights. 1: it predicts all channels of a cell jointly. (R-MOD-04)"
      - id: model_channels
        type: u1
        doc: "Channels of the tensors that the model serves when `channel_mode` is 1; 1 otherwise. (R-MOD-04)"
      - id: scan_weight
        type: u1
        repeat: expr
        repeat-expr: "4"
        doc: "Weights (c, z, y, x) of the decoding order (section 6.3). (R-MOD-06)"
      - id: template_id
        type: u1
        doc: "The neighbours whose values are the model's inputs (Annex A.3). 1: listed here. (R-MOD-07)"
      - id: neighbour_count
        type: u1
        if: "template_id == 1"
        doc: "Number of neighbours in the list."
      - id: neighbour
        type: neighbour(_index)
        repeat: expr
        repeat-expr: "(template_id == 1 ? neighbour_count : 0)"
      - id: hidden_count
        type: u1
        doc: "Number of hidden units H. The number of inputs N follows from the template (section 6.4). (R-MOD-03, R-MOD-05)"
      - id: hidden_shift
        type: u1
        if: "hidden_count > 0"
        doc: "Right shift after the hidden layer. (R-MOD-10)"
      - id: hidden_weight
        type: s1
        repeat: expr
        repeat-expr: "hidden_count * input_count"
        doc: "Weights of the hidden layer: those of unit 0 first, N each."
      - id: hidden_bias
        type: s2
        repeat: expr
        repeat-expr: "hidden_count"
        doc: "Biases of the hidden units."
      - id: location_shift
        type: u1
        doc: "Right shift of the location output. (R-MOD-10)"
      - id: scale_shift
        type: u1
        doc: "Right shift of the scale output. (R-MOD-10)"
      - id: shape_shift
        type: u1
        if: "family == 2"
        doc: "Right shift of the shape output. (R-MOD-10)"
      - id: output_weight
        type: s1
        repeat: expr
        repeat-expr: "(family == 2 ? 3 : 2) * model_channels * hidden_count"
        doc: "Weights of the output layer, output 0 first, H each. A channel has K outputs, as Annex A.6 lists: its location, its scale and, where there are three, its shape; those of channel 0 come first."
      - id: output_bias
        type: s4
        repeat: expr
        repeat-expr: "(family == 2 ? 3 : 2) * model_channels"
        doc: "Biases of the outputs. (R-MOD-11)"
    instances:
      input_count:
        doc: Number of inputs N (section 6.4).
        value: 'template_id == 1 ? (neighbour_count == 0 ? 0 : neighbour[neighbour_count - 1].input_count) : template_id == 15 ? (channel_mode == 0 ? 31 : 17 * model_channels + 14) : template_id == 14 ? (channel_mode == 0 ? 23 : 13 * model_channels + 10) : template_id == 13 ? (channel_mode == 0 ? 15 : 11 * model_channels + 4) : template_id == 12 ? (channel_mode == 0 ? 9 : 6 * model_channels + 3) : template_id == 11 ? (channel_mode == 0 ? 15 : 11 * model_channels + 4) : template_id == 10 ? (channel_mode == 0 ? 9 : 6 * model_channels + 3) : template_id == 9 ? (channel_mode == 0 ? 15 : 11 * model_channels + 4) : template_id == 8 ? (channel_mode == 0 ? 9 : 6 * model_channels + 3) : template_id == 7 ? (channel_mode == 0 ? 16 : 16 * model_channels + 0) : template_id == 6 ? (channel_mode == 0 ? 9 : 9 * model_channels + 0) : template_id == 5 ? (channel_mode == 0 ? 18 : 14 * model_channels + 4) : template_id == 4 ? (channel_mode == 0 ? 10 : 7 * model_channels + 3) : template_id == 3 ? (channel_mode == 0 ? 14 : 14 * model_channels + 0) : template_id == 2 ? (channel_mode == 0 ? 7 : 7 * model_channels + 0) : 0'
  static_table:
    doc: Section 4.10.
    seq:
      - id: first_value
        type: sv
        doc: "The quantised value that entry 0 stands for; entry i stands for `first_value` + i. (R-MOD-14)"
      - id: entry_count
        type: uv
        doc: "Number of entries n, the escape entry included, which is the last. (R-MOD-13)"
      - id: count
        type: uv
        repeat: expr
        repeat-expr: "entry_count.value"
        doc: "Relative frequencies, made into a table by section 6.6. (R-MOD-13)"
  static_model:
    doc: Section 4.10.
    seq:
      - id: assignment
        type: u1
        doc: "What a symbol's table depends on: 0 nothing, 1 its channel, 2 its band, 3 both (section 6.4). (R-MOD-16)"
      - id: table_count
        type: u1
        doc: "Number of tables. (R-MOD-12)"
      - id: table
        type: static_table
        repeat: expr
        repeat-expr: "table_count"
  entropy_model:
    doc: Section 4.8.
    seq:
      - id: model_id
        type: u1
        doc: "Name of the model. A definition replaces an earlier one and lasts to the end of the group. (R-MOD-01)"
      - id: model_type
        type: u1
        doc: "1: context model. 2: static tables. (R-MOD-02)"
      - id: context
        type: context_model
        if: "model_type == 1"
      - id: static
        type: static_model
        if: "model_type == 2"
  step:
    doc: Section 4.11.
    seq:
      - id: step_index
        type: u1
        doc: "The quantisation step size, 2^(`step_index` / 8) units of the reconstructed integers (section 7.2)."
  coded_tensor:
    doc: Section 4.11.
    seq:
      - id: tensor_id
        type: u1
        doc: "Position of the tensor in the tensor list."
      - id: prediction
        type: b2
        doc: "What the decoded values are added to: 0 nothing, 1 the same tensor of the previous frame, 2 the same tensor of the shared unit, scaled, 3 a constant (section 7.3)."
      - id: transform
        type: b2
        doc: "What the quantised values are: 0 the residual itself, 1 coefficients of the block DCT, 2 of the wavelet transform (section 7.5). (R-TEN-03)"
      - id: significance
        type: b2
        doc: "Which elements are coded: 0 all, 1 those of the cells that occupied voxels can touch, 2 those that a coded mask marks, 3 those that are both (section 7.1)."
      - id: reserved_tools
        type: b2
        doc: "Reserved for later tools. (R-TEN-01)"
      - id: base_mantissa
        type: s2
        if: "prediction == 2"
        doc: "The factor of the shared tensor is `base_mantissa` * 2^`base_exponent`."
      - id: base_exponent
        type: s1
        if: "prediction == 2"
        doc: "See `base_mantissa`. (R-TEN-08)"
      - id: base_offset
        type: s4
        if: "prediction == 2 or prediction == 3"
        doc: "Constant that is added to every element, in units of the reconstructed integers."
      - id: wavelet_levels
        type: u1
        if: "transform == 2"
        doc: "Number of levels of the wavelet transform. (R-TEN-03)"
      - id: mask_model_ref
        type: u1
        if: "significance >= 2"
        doc: "`model_id` of the entropy model of the mask."
      - id: mask_size
        type: uv
        if: "significance >= 2"
        doc: "Number of bytes of `mask_data`."
      - id: mask_data
        size: "mask_size.value"
        if: "significance >= 2"
        doc: "The mask, entropy coded (section 6.2)."
      - id: model_ref
        type: u1
        doc: "`model_id` of the entropy model of the values."
      - id: step
        type: step
        repeat: expr
        repeat-expr: "transform == 2 ? (transform == 2 ? wavelet_levels : 0) + 1 : transform == 1 ? 4 : 1"
      - id: value_size
        type: uv
        doc: "Number of bytes of `value_data`."
      - id: value_data
        size: "value_size.value"
        doc: "The quantised values, entropy coded (section 6.2)."
  shared:
    doc: Section 4.16.
    seq:
      - id: model_count
        type: u1
        doc: "Number of entropy models that the unit defines."
      - id: model
        type: entropy_model
        repeat: expr
        repeat-expr: "model_count"
      - id: coded_count
        type: u1
        doc: "Number of tensors that the scenes share."
      - id: tensor
        type: coded_tensor
        repeat: expr
        repeat-expr: "coded_count"
      - id: shared_digest
        size: "8"
        if: "_root.sequence_header.digest_type == 1"
        doc: "Digest of the shared tensors (section 7.4)."
  frame:
    doc: Section 4.7.
    seq:
      - id: frame_number
        type: u4
        doc: "Number of the frame in the sequence."
      - id: frame_type
        type: u1
        doc: "1: I-frame, decodable by itself. 2: P-frame, which refers to the frame before. (R-FRM-03)"
      - id: time_stamp
        type: u4
        doc: "Time of the frame in ticks (`ticks_per_second`)."
      - id: occupancy_mode
        type: u1
        doc: "0: as in the previous frame, or none. 1: compressed by itself. 2: compressed as the exclusive or with the previous frame's. 3: entropy coded. (R-OCC-04)"
      - id: occupancy_model_ref
        type: u1
        if: "occupancy_mode == 3"
        doc: "`model_id` of the entropy model of the occupancy."
      - id: occupancy_size
        type: uv
        if: "occupancy_mode > 0"
        doc: "Number of bytes of `occupancy_data`."
      - id: occupancy_data
        size: "(occupancy_mode > 0 ? occupancy_size.value : 0)"
        doc: "Occupancy bits, compressed or entropy coded (section 6.1)."
      - id: model_count
        type: u1
        doc: "Number of entropy models that the unit defines."
      - id: model
        type: entropy_model
        repeat: expr
        repeat-expr: "model_count"
      - id: coded_count
        type: u1
        doc: "Number of tensors that the frame carries. The others keep their values."
      - id: tensor
        type: coded_tensor
        repeat: expr
        repeat-expr: "coded_count"
      - id: frame_digest
        size: "8"
        if: "_root.sequence_header.digest_type == 1"
        doc: "Digest of the reconstructed frame (section 7.4)."
  index_entry:
    doc: Section 4.12.
    seq:
      - id: indexed_frame
        type: u4
        doc: "`frame_number` of a frame."
      - id: indexed_type
        type: u1
        doc: "Its `frame_type`."
      - id: frame_offset
        type: u8
        doc: "Offset of the first byte of its unit, counted from the start of the file. For an I-frame, the offset of the group header before it."
  index:
    doc: Section 4.12.
    seq:
      - id: index_count
        type: u4
        doc: "Number of entries. (R-IDX-01)"
      - id: entry
        type: index_entry
        repeat: expr
        repeat-expr: "index_count"
  end:
    doc: Section 4.13.
    seq:
      - id: group_total
        type: u4
        doc: "Number of groups in the file."
      - id: frame_total
        type: u4
        doc: "Number of frames in the file."
      - id: index_offset
        type: u8
        doc: "Offset of the index unit from the start of the file; 0: no index."
  camera:
    doc: Section 4.14.
    seq:
      - id: name_size
        type: u1
        doc: "Number of bytes of the name."
      - id: camera_name
        size: "name_size"
        doc: "A label for people, UTF-8. (R-CAM-03)"
      - id: camera_scene
        type: u1
        doc: "The scene that the camera looks at. (R-CAM-04)"
      - id: camera_width
        type: u2
        doc: "Picture width in pixels. (R-CAM-01)"
      - id: camera_height
        type: u2
        doc: "Picture height in pixels. (R-CAM-01)"
      - id: focal
        type: f4
        repeat: expr
        repeat-expr: "2"
        doc: "Focal lengths (x, y) in pixels. (R-CAM-01)"
      - id: centre
        type: f4
        repeat: expr
        repeat-expr: "2"
        doc: "Principal point (x, y) in pixels; the first pixel's centre is (0.5, 0.5). (R-CAM-01)"
      - id: camera_to_world
        type: f4
        repeat: expr
        repeat-expr: "12"
        doc: "Three rows of the pose (section 9.1). (R-CAM-01, R-CAM-02)"
  cameras:
    doc: Section 4.14.
    seq:
      - id: camera_count
        type: u2
        doc: "Number of cameras."
      - id: camera
        type: camera
        repeat: expr
        repeat-expr: "camera_count"
  metadata_entry:
    doc: Section 4.15.
    seq:
      - id: key_size
        type: u1
        doc: "Number of bytes of the key."
      - id: key
        size: "key_size"
        doc: "Name of the entry; Annex A.5 lists registered keys. (R-MET-01)"
      - id: value_size
        type: u4
        doc: "Number of bytes of the value."
      - id: value
        size: "value_size"
        doc: "Text, UTF-8. (R-MET-02)"
  metadata:
    doc: Section 4.15.
    seq:
      - id: entry_count
        type: u2
        doc: "Number of entries."
      - id: entry
        type: metadata_entry
        repeat: expr
        repeat-expr: "entry_count"
  uv:
    doc: An unsigned number of variable length, section 2.3.
    seq:
      - id: groups
        type: u1
        repeat: until
        repeat-until: _ < 128
    instances:
      value:
        value: "(groups[0] & 127) + (groups.size > 1 ? (groups[1] & 127).as<u8> << 7 : 0) + (groups.size > 2 ? (groups[2] & 127).as<u8> << 14 : 0) + (groups.size > 3 ? (groups[3] & 127).as<u8> << 21 : 0) + (groups.size > 4 ? (groups[4] & 127).as<u8> << 28 : 0)"
  sv:
    doc: A signed number of variable length, section 2.3.
    seq:
      - id: magnitude
        type: uv
    instances:
      value:
        value: 'magnitude.value % 2 == 0 ? magnitude.value / 2 : -(magnitude.value / 2) - 1'
enums:
  unit_type:
    1: sequence_header
    2: group_header
    3: frame
    4: index
    5: end
    6: cameras
    7: metadata
    8: shared
  representation:
    1: dif
    2: vm
    3: triplane
    4: grid
    5: mlp
  tensor_role:
    1: dif_coefficient
    2: dif_basis
    3: density_plane
    4: density_line
    5: feature_plane
    6: feature_line
    7: density_grid
    8: feature_grid
    16: fusion_weight
    17: fusion_bias
    18: render_weight
    19: render_bias
    20: coarse_weight
    21: coarse_bias
