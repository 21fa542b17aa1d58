"""Vectors that break one requirement each, at least one for every requirement, and the outer side of every bound."""
from __future__ import annotations

import lzma
import struct
from dataclasses import replace

import numpy as np

from cases import Collection
from crafting import (
    CAMERAS,
    END,
    FIXED,
    FRAME,
    GROUP_HEADER,
    INDEX,
    METADATA,
    SEQUENCE_HEADER,
    SHARED,
    DataWriter,
    Dice,
    Draft,
    Piece,
    context_model,
    grid,
    header,
    network,
    static_model,
    unit_offset,
    with_header,
)
from refcodec.entropy.mixture import MIXTURE
from refcodec.entropy.occupancy import compress
from refcodec.rendering.cameras import Camera
from refcodec.syntax.headers import Mapping, Role
from refcodec.syntax.registry import LEVELS, UnitType
from refcodec.syntax.units import build_file_header
from refcodec.writer import build_metadata
from valid_cases import CAMERA, POSE, data_at_a_bound, ordinary, work_at_bound

ALL_UNITS = tuple(UnitType)


def add_all(cases: Collection) -> None:
    _file(cases)
    _units(cases)
    _order_of_units(cases)
    _sequence_header(cases)
    _tensor_list(cases)
    _groups_and_frames(cases)
    _occupancy(cases)
    _models(cases)
    _tensors(cases)
    _work(cases)
    _entropy(cases)
    _index_and_end(cases)
    _cameras_and_metadata(cases)
    _order_of_checks(cases)


def complete(seed: int = 300) -> Draft:
    """A file with units of all types."""
    draft = ordinary(seed)
    draft.add(METADATA, build_metadata({"title": "a"}), at=1)
    draft.add_cameras([CAMERA])
    draft.shared(Dice(seed), (1, 2), at=1)
    return draft


def _file(cases: Collection) -> None:
    good = ordinary(301).bytes()

    def add(name, requirement, description, data):
        cases.add(name, "container", description, data, requirement)

    add("empty", "R-FILE-01", "A file without bytes.", b"")
    add("other-format", "R-FILE-01", "The signature of a PNG file.", b"\x89PNG" + good[4:])
    add("text-mode", "R-FILE-01", "Line ends rewritten by a transfer as text.", good.replace(b"\r\n", b"\n"))
    add("seven-bit", "R-FILE-01", "The top bit of every byte cleared.", bytes(b & 127 for b in good))
    add("signature-last-byte", "R-FILE-01", "Only the last byte of the signature is wrong.", good[:7] + b"\0" + good[8:])
    add("short-and-wrong", "R-FILE-01", "Three bytes that no signature begins with.", b"\x89RG")
    add("file-header-crc", "R-FILE-02", "A wrong checksum of the file header.", good[:12] + b"\0\0\0\0" + good[16:])
    add("file-header-damaged", "R-FILE-02", "The level changed, the checksum not.", good[:11] + b"\2" + good[12:])
    for major, minor in ((1, 5), (0, 4), (0, 6)):
        add(f"version-{major}-{minor}", "R-FILE-03", f"Version {major}.{minor}.", with_header(good, b8=major, b9=minor))
    for profile in (0, 2, 255):
        add(f"profile-{profile}", "R-FILE-04", f"Profile {profile}.", with_header(good, b10=profile))
    for level in (0, 4, 255):
        add(f"level-{level}", "R-FILE-05", f"Level {level}.", with_header(good, b11=level))
    p_frame, end = unit_offset(good, FRAME, 1), unit_offset(good, END)
    for name, size, where in (("signature", 5, "inside the signature"), ("file-header", 15, "inside the file header"),
                              ("after-file-header", 16, "after the file header"), ("unit-header", p_frame + 4, "inside a unit header"),
                              ("payload", p_frame + 40, "inside the payload of a P-frame"),
                              ("checksum", unit_offset(good, GROUP_HEADER, 1) - 1, "one byte before the end of a frame"),
                              ("group", p_frame, "between the frames of a group"), ("index", end, "before the end unit"),
                              ("end", len(good) - 1, "one byte before the end of the end unit")):
        add(f"truncated-{name}", "R-FILE-06", f"The file ends {where}.", good[:size])
    add("size-too-large-for-file", "R-FILE-06", "A unit of exactly the size that level 1 allows, of which only a few bytes "
        "are there.", good[:p_frame] + struct.pack("<BBI", 3, 0, LEVELS[1].unit_size) + good[p_frame + 6:])
    add("trailing-byte", "R-FILE-07", "One byte after the end unit.", good + b"\0")
    add("two-files", "R-FILE-07", "A second file after the end unit.", good + good)


def _units(cases: Collection) -> None:
    draft = complete()
    good = draft.bytes()

    def add(name, requirement, description, data, features="container"):
        cases.add(name, features, description, data, requirement)

    for bit in range(1, 8):
        draft = complete()
        draft.pieces[draft.position(FRAME, 1)].flags = 1 << bit
        add(f"reserved-flag-{bit}", "R-UNIT-01", f"Bit {bit} of unit_flags set in a frame.", draft.bytes())
    draft = complete()
    draft.add(200, b"", 3, at=4)
    add("reserved-flag-unknown-unit", "R-UNIT-01", "A reserved flag in an ancillary unit of unknown type.", draft.bytes())
    at = unit_offset(good, FRAME, 1)
    for level in LEVELS:
        size = LEVELS[level].unit_size + 1
        data = build_file_header(level) + good[16:at] + struct.pack("<BBI", 3, 0, size) + good[at + 6:]
        add(f"unit-too-large-level-{level}", "R-UNIT-02", f"A unit_size one above what level {level} allows.", data,
            "container levels")
    add("unit-of-4-gigabytes", "R-UNIT-02", "unit_size 2^32 - 1.", good[:at] + struct.pack("<BBI", 3, 0, (1 << 32) - 1) + good[at + 6:],
        "container levels")

    def flip(name, offset, description):
        changed = bytearray(good)
        changed[offset] ^= 1
        add(name, "R-UNIT-03", description, changed)

    flip("crc-payload", at + 30, "One bit of a frame's payload flipped.")
    flip("crc-type", at, "One bit of unit_type flipped.")
    flip("crc-flags", at + 1, "The ancillary flag flipped.")
    flip("crc-itself", unit_offset(good, GROUP_HEADER, 1) - 1, "One bit of unit_crc flipped.")
    skipped = ordinary(302)
    skipped.add(130, b"private", 1, at=2)
    data = bytearray(skipped.bytes())
    data[data.find(b"private")] ^= 1
    add("crc-skipped-unit", "R-UNIT-03", "A damaged unit of unknown type: its checksum is checked before it is skipped.", data)
    for kind in (0, 9, 127, 128, 255):
        draft = complete()
        draft.add(kind, b"content", 0, at=4)
        add(f"critical-type-{kind}", "R-UNIT-04", f"A unit of unknown type {kind} that is not ancillary.", draft.bytes())
    for kind in ALL_UNITS:
        draft = complete()
        draft.settle()
        piece = draft.pieces[draft.position(kind)]
        piece.flags = 1 - int(kind in (INDEX, CAMERAS, METADATA))
        name = kind.name.lower().replace("_", "-")
        add(f"flag-{name}", "R-UNIT-05", f"A {name} unit with ancillary flag {piece.flags}.", draft.bytes())
    for kind in ALL_UNITS:
        name, topic = kind.name.lower().replace("_", "-"), {
            INDEX: "index", END: "index", CAMERAS: "cameras", METADATA: "metadata"}.get(kind, "container")
        if kind != INDEX:  # a longer or shorter index breaks R-IDX-01 first
            draft = complete().resize(kind, 0, lambda p: p + b"\0")
            add(f"excess-{name}", "R-UNIT-06", f"One byte after the last syntax element of a {name} unit.", draft.bytes(), topic)
            draft = complete().resize(kind, 0, lambda p: p[:-1])
            add(f"short-{name}", "R-UNIT-07", f"The last byte of a {name} unit is missing.", draft.bytes(), topic)
        draft = complete()
        if kind == FRAME:  # whose numbers the index is made from
            draft.settle()
        draft.resize(kind, 0, lambda p: b"")
        add(f"without-payload-{name}", "R-UNIT-07", f"A {name} unit without payload.", draft.bytes(), topic)

    frame = complete().pieces[complete().position(FRAME)].payload
    for name, path, raw, description in (
        ("six-bytes", "occupancy_size", b"\x80\x80\x80\x80\x80\x00", "A uv of six bytes."),
        ("too-large", "occupancy_size", b"\xff\xff\xff\xff\x10", "A uv of 2^32 or more."),
        ("not-minimal", "tensor[0].value_size", b"\x81\x00", "A uv of two bytes where one would do."),
        ("zero-in-two", "tensor[0].value_size", b"\x80\x00", "Zero in two bytes."),
        ("not-minimal-five", "occupancy_size", b"\x81\x80\x80\x80\x00", "A uv of five bytes, the last of them zero."),
    ):
        add(f"uv-{name}", "R-VAR-01", description, complete().poke(FRAME, 0, path, raw).bytes())
    add("uv-largest", "R-UNIT-07", "value_size 2^32 - 1, the largest uv: read, and then the data are missing.",
        complete().poke(FRAME, 0, "tensor[0].value_size", b"\xff\xff\xff\xff\x0f").bytes())
    add("uv-cut", "R-UNIT-07", "The payload ends inside a uv.",
        complete().resize(FRAME, 0, lambda p: p[:10] + b"\x80").bytes())
    assert frame[9] == 1  # occupancy_mode, just before occupancy_size
    draft = Draft(header())
    draft.group(0, 1)
    draft.frame(Dice(303), {0: static_model((-3, (1, 2, 3)))})
    draft.poke(FRAME, 0, "model[0].static.table[0].first_value", b"\x85\x00")
    add("sv-not-minimal", "R-VAR-01", "An sv of two bytes where one would do.", draft.finish().bytes())


def _order_of_units(cases: Collection) -> None:
    def add(name, description, draft, requirement="R-UNIT-08", features="container"):
        cases.add(name, features, description, draft.bytes(), requirement)

    def moved(kind, n, to):
        draft = complete(304)
        draft.pieces.insert(to, draft.pieces.pop(draft.position(kind, n)))
        return draft

    def inserted(kind, at, payload=None, flags=None):
        draft = complete(304)
        if payload is None:
            payload = complete(304).piece(kind, 0).payload
        draft.pieces.insert(at if at >= 0 else len(draft.pieces) + at, Piece(kind, payload, flags))
        return draft

    base = complete(304)
    group_2, index = base.position(GROUP_HEADER, 1), base.position(INDEX)
    add("first-unit-group", "A group header before the sequence header.", moved(GROUP_HEADER, 0, 0))
    add("first-unit-metadata", "Metadata before the sequence header.", moved(METADATA, 0, 0))
    add("first-unit-unknown", "An ancillary unit of unknown type before the sequence header.", inserted(200, 0, b"", 1))
    add("first-unit-end", "An end unit before the sequence header.", moved(END, 0, 0))
    add("cameras-twice", "Two cameras units.", inserted(CAMERAS, 2))
    add("metadata-twice", "Two metadata units.", inserted(METADATA, 2))
    add("shared-twice", "Two shared units.", inserted(SHARED, 2), features="shared")
    add("shared-late", "A shared unit after a group.", moved(SHARED, 0, group_2 - 1), features="shared")
    add("shared-after-frames", "A shared unit after the last group.", moved(SHARED, 0, index - 1), features="shared")
    add("first-unit-shared", "A shared unit before the sequence header.", moved(SHARED, 0, 0), features="shared")
    add("shared-after-index", "A shared unit after the index.", inserted(SHARED, -1), features="shared")
    add("cameras-late", "Cameras after a group.", moved(CAMERAS, 0, group_2 - 1))
    add("metadata-late", "Metadata after the last group.", moved(METADATA, 0, index - 1))
    add("frame-first", "A frame before any group header.", moved(FRAME, 0, 1))
    add("index-first", "An index before any group.", inserted(INDEX, 4))
    add("end-first", "An end unit before any group.", inserted(END, 4))
    add("index-twice", "Two indices.", inserted(INDEX, -1))
    add("group-after-index", "A group header after the index.", inserted(GROUP_HEADER, -1))
    add("frame-after-index", "A frame after the index.", inserted(FRAME, -1))
    add("sequence-header-after-index", "A sequence header after the index.", inserted(SEQUENCE_HEADER, -1))
    for kind in (GROUP_HEADER, SEQUENCE_HEADER, INDEX, END, CAMERAS, METADATA, SHARED):
        name = kind.name.lower().replace("_", "-")
        add(f"group-cut-by-{name}", f"A {name} unit inside a group whose frames are not complete.",
            inserted(kind, base.position(FRAME, 1)), "R-GRP-05", "groups")
    add("frame-too-many", "A third frame in a group of two.", inserted(FRAME, group_2), "R-GRP-05", "groups")
    draft = complete(304)
    del draft.pieces[draft.position(FRAME, 1)]
    add("frame-missing", "A group of two with one frame.", draft, "R-GRP-05", "groups")
    draft = complete(304).set(GROUP_HEADER, 1, {"frame_count": 2})
    add("frame-missing-at-end", "The last group declares one frame more than there is.", draft, "R-GRP-05", "groups")


def _sequence_header(cases: Collection) -> None:
    def add(name, requirement, description, changes=None, poke=None):
        draft = ordinary(305)
        if changes:
            draft.set(SEQUENCE_HEADER, 0, changes)
        for path, raw in (poke or {}).items():
            draft.poke(SEQUENCE_HEADER, 0, path, raw)
        features = "sequence levels" if requirement == "R-SEQ-17" else "sequence"
        cases.add(name, features, description, draft.bytes(), requirement)

    for value in (0, 6, 255):
        add(f"representation-{value}", "R-SEQ-01", f"representation {value}.", poke={"representation": bytes([value])})
    add("scene-count-0", "R-SEQ-02", "scene_count 0.", poke={"scene_count": b"\0"})
    for value in (2, 255):
        add(f"digest-type-{value}", "R-SEQ-03", f"digest_type {value}.", {"digest_type": value})
    add("ticks-0", "R-SEQ-04", "ticks_per_second 0.", {"ticks_per_second": 0})
    for axis, name in enumerate("xyz"):
        for kind, value, limit in (("aabb_min", -(1 << 23), "below"), ("aabb_max", 1 << 23, "above")):
            add(f"box-{kind[5:]}-{name}", "R-SEQ-05", f"{kind} one {limit} its range on axis {name}.", {f"{kind}[{axis}]": value})
        add(f"box-empty-{name}", "R-SEQ-05", f"No extent along {name}.", {f"aabb_min[{axis}]": 10, f"aabb_max[{axis}]": 10})
    add("box-inverted", "R-SEQ-05", "aabb_min above aabb_max.", {"aabb_min[1]": 11, "aabb_max[1]": 10})
    add("box-lowest", "R-SEQ-05", "aabb_min -2^31.", {"aabb_min[0]": -(1 << 31)})
    for value in (-61, 31, 127, -128):
        add(f"box-exponent-{value}".replace("--", "-minus-"), "R-SEQ-06", f"aabb_exponent {value}.", {"aabb_exponent": value})
    for dims in ((0, 3, 3), (4, 0, 3), (4, 3, 0), (513, 1, 1), (1, 513, 1), (1, 1, 65535)):
        add("occupancy-dims-" + "x".join(map(str, dims)), "R-SEQ-07", f"occupancy_dims {dims}.", {"occupancy_dims": dims})
    add("samples-0", "R-SEQ-08", "samples_per_diagonal 0.", {"samples_per_diagonal": 0})
    for value in (0, 65, 255):
        add(f"tensor-count-{value}", "R-SEQ-09", f"tensor_count {value}.", poke={"tensor_count": bytes([value])})
    for value in (0, 9, 15, 22, 255):
        add(f"role-{value}", "R-SEQ-10", f"tensor_role {value}.", {"tensor[1].tensor_role": value})
    for value in (25, 255):
        add(f"frac-bits-{value}", "R-SEQ-11", f"frac_bits {value}.", {"tensor[0].frac_bits": value})
    for element in ("channels", "depth", "height", "width"):
        for value in (0, 4097):
            add(f"{element}-{value}", "R-SEQ-12", f"{element} {value} of a basis grid.", {f"tensor[1].{element}": value})
    for value in (3, 255):
        add(f"mapping-{value}", "R-SEQ-13", f"mapping {value}.", {"tensor[1].mapping": value})
    add("alignment-2", "R-SEQ-14", "alignment 2.", {"tensor[1].alignment": 2})
    add("alignment-without-mapping", "R-SEQ-14", "alignment 1 of a weight tensor.", {"tensor[2].alignment": 1})
    add("frequency-0", "R-SEQ-15", "A sawtooth of frequency 0.", {"tensor[1].frequency": 0})
    add("frequency-high", "R-SEQ-15", "frequency 2^22 + 1.", {"tensor[1].frequency": (1 << 22) + 1})
    add("frequency-linear", "R-SEQ-15", "A frequency with linear mapping.", {"tensor[0].frequency": 1})
    add("frequency-weights", "R-SEQ-15", "A frequency without mapping.", {"tensor[3].frequency": 65536})
    for name, raw in (("nan", 0x7FC00000), ("infinite", 0xFF800000), ("large", 0x49742401), ("large-negative", 0xC9742401)):
        for element in ("density_shift", "density_scale"):
            add(f"{element.replace('_', '-')}-{name}", "R-SEQ-18", f"{element} with the bits {raw:#010x}.",
                poke={f"parameters.{element}": struct.pack("<I", raw)})
    add("density-scale-negative", "R-SEQ-18", "density_scale below zero, by the smallest number.",
        poke={"parameters.density_scale": struct.pack("<I", 0x80000001)})
    for element in ("feature_frequencies", "direction_frequencies"):
        add(element.replace("_", "-") + "-17", "R-SEQ-19", f"{element} 17.", {f"parameters.{element}": 17})

    def sized(name, level, description, dims=(0, 0, 0), basis=(1, 1, 1, 1)):
        draft = Draft(header((1, 1, 1, 1), ((1, 1, 1, 1),)), level)
        draft.group(0, 1)
        names = ("channels", "depth", "height", "width")
        draft.set(SEQUENCE_HEADER, 0, {"occupancy_dims": dims, **{f"tensor[1].{n}": v for n, v in zip(names, basis)}})
        cases.add(name, "sequence levels", description, draft.bytes(), "R-SEQ-17")

    # 1 + 2 + 12 elements besides the basis grid: 2097138 + 15 = 2^21 + 1.
    sized("elements-level-1", 1, "2^21 + 1 tensor elements at level 1.", basis=(1, *_shape(2097138)))
    sized("elements-level-2", 2, "More than 2^24 tensor elements at level 2.", basis=(1, 256, 256, 256))
    sized("elements-level-3", 3, "More than 2^27 tensor elements at level 3.", basis=(1, 512, 512, 512))
    sized("elements-overflow", 3, "4096^4 tensor elements of one tensor: 2^48.", basis=(4096,) * 4)
    sized("voxels-level-1", 1, "512 * 9 * 456 voxels at level 1: more than 2^21.", dims=(512, 9, 456))
    sized("voxels-level-2", 2, "512 * 512 * 65 voxels at level 2.", dims=(512, 512, 65))
    draft = ordinary(305)
    changed = Draft(draft.header, 1).set(SEQUENCE_HEADER, 0, {"background": (255, 255, 254)}).pieces[0].payload
    for at, name in ((draft.position(GROUP_HEADER, 1), "between-groups"), (1, "at-once"), (draft.position(INDEX), "at-end")):
        draft = ordinary(305)
        draft.add(SEQUENCE_HEADER, changed, at=at)
        cases.add(f"sequence-header-changed-{name}", "sequence", "A repeated sequence header with another background.",
                  draft.bytes(), "R-SEQ-20")
    draft = ordinary(305)
    draft.add(SEQUENCE_HEADER, draft.pieces[0].payload + b"\0", at=1)
    cases.add("sequence-header-longer", "sequence", "A repeated sequence header with one byte more.", draft.bytes(), "R-SEQ-20")


def _shape(elements: int) -> tuple[int, int, int]:
    """Three sizes in 1 .. 4096 with this product."""
    for a in range(1, 4097):
        for b in range(1, 4097):
            if elements % (a * b) == 0 and elements // (a * b) <= 4096:
                return a, b, elements // (a * b)
    raise ValueError(elements)


def _tensor_list(cases: Collection) -> None:
    def add(name, description, *tensors):
        draft = Draft(header(tensors=list(tensors)))
        draft.group(0, 1)
        draft.frame(Dice(317))
        cases.add(f"list-{name}", "sequence", description, draft.finish().bytes(), "R-SEQ-16")

    coefficient = grid(Role.DIF_COEFFICIENT, 0, (2, 2, 2, 2), Mapping.LINEAR)
    basis = grid(Role.DIF_BASIS, 0, (2, 3, 3, 3))
    one, other = grid(Role.DIF_BASIS, 0, (1, 2, 2, 2)), grid(Role.DIF_BASIS, 1, (1, 2, 2, 2))
    fusion, render = network([(2, 2, False)], []), network([], [(3, 4, False)])
    grids = [coefficient, basis]

    add("no-coefficient", "No coefficient grid.", basis, *fusion, *render)
    add("coefficient-second", "A basis grid before the coefficient grid.", basis, coefficient, *fusion, *render)
    add("coefficient-index", "The coefficient grid has role_index 1.",
        grid(Role.DIF_COEFFICIENT, 1, (2, 2, 2, 2), Mapping.LINEAR), basis, *fusion, *render)
    add("coefficient-sawtooth", "A coefficient grid with sawtooth mapping.",
        grid(Role.DIF_COEFFICIENT, 0, (2, 2, 2, 2)), basis, *fusion, *render)
    add("coefficient-unmapped", "A coefficient grid without mapping.",
        grid(Role.DIF_COEFFICIENT, 0, (2, 2, 2, 2), Mapping.NONE), basis, *fusion, *render)
    add("no-basis", "No basis grid.", coefficient, *fusion, *render)
    add("basis-unmapped", "A basis grid without mapping.", coefficient,
        grid(Role.DIF_BASIS, 0, (2, 3, 3, 3), Mapping.NONE), *fusion, *render)
    add("basis-channels", "Basis grids with fewer channels than the coefficient grid.", coefficient, one, *fusion, *render)
    add("basis-order", "Basis grids 1 and 0.", coefficient, other, one, *fusion, *render)
    add("basis-gap", "Basis grids 0 and 2.", coefficient, one, grid(Role.DIF_BASIS, 2, (1, 2, 2, 2)), *fusion, *render)
    add("no-fusion", "No fusion network.", *grids, *render)
    add("fusion-inputs", "A fusion layer with three inputs for two channels.", *grids, *network([(2, 3, False)], []), *render)
    add("fusion-layers", "A second fusion layer that does not fit the first.", *grids,
        *network([(4, 2, False), (2, 5, False)], []), *render)
    add("bias-size", "A bias of two values for three outputs.", *grids, *network([(3, 2, False)], []),
        network([(2, 2, True)], [])[1], *render)
    add("bias-first", "A bias before its weights.", *grids, *reversed(network([(2, 2, True)], [])), *render)
    weights = fusion[0]
    add("weights-deep", "Fusion weights with depth 2.", *grids, replace(weights, shape=(1, 2, 2, 2)), *render)
    add("weights-channels", "Fusion weights with two channels.", *grids, replace(weights, shape=(2, 1, 2, 2)), *render)
    add("weights-mapped", "Fusion weights with a mapping.", *grids, grid(Role.FUSION_WEIGHT, 0, (1, 1, 2, 2)), *render)
    add("bias-mapped", "A bias with a mapping.", *grids, weights, grid(Role.FUSION_BIAS, 0, (1, 1, 1, 2)), *render)
    add("bias-column", "A bias with height 2 and width 1.", *grids, weights,
        replace(network([(2, 2, True)], [])[1], shape=(1, 1, 2, 1)), *render)
    add("no-render", "No colour network.", *grids, *fusion)
    add("render-inputs", "A colour layer with one input too many.", *grids, *fusion, *network([], [(3, 5, False)]))
    add("render-outputs", "A colour network with four outputs.", *grids, *fusion, *network([], [(4, 4, False)]))
    add("render-before-fusion", "The colour network before the fusion network.", *grids, *render, *fusion)
    add("no-features", "A fusion network whose only output is the density.", *grids,
        *network([(1, 2, False)], [(3, 3, False)]))
    add("extra-tensor", "A tensor after the last layer.", *grids, *fusion, *render, other)
    add("layer-gap", "Colour layers 0 and 2.", *grids, *fusion, render[0], network([], [(3, 3, False)] * 3)[2])


def _groups_and_frames(cases: Collection) -> None:
    def add(name, requirement, description, draft, features="groups"):
        cases.add(name, features, description, draft.bytes(), requirement)

    for byte in (0, 7):
        sync = bytearray(b"\x89RFG\r\n\x1a\n")
        sync[byte] ^= 0x80
        add(f"sync-byte-{byte}", "R-GRP-01", f"Byte {byte} of group_sync is wrong.",
            ordinary(306).set(GROUP_HEADER, 1, {"group_sync": bytes(sync)}))
    add("frame-count-0", "R-GRP-02", "A group of no frames.", ordinary(306).set(GROUP_HEADER, 0, {"frame_count": 0}))
    for level, bounds in LEVELS.items():
        draft = ordinary(306)
        draft.level = level
        add(f"frame-count-level-{level}", "R-GRP-02", f"A group of one frame more than level {level} allows.",
            draft.set(GROUP_HEADER, 0, {"frame_count": bounds.group_frames + 1}), "groups levels")
    for value in (1, 255):
        add(f"scene-id-{value}", "R-GRP-03", f"scene_id {value}.", ordinary(306).set(GROUP_HEADER, 1, {"scene_id": value}))
    for first, word in ((1, "the number of the last frame before"), (0, "a number that has been")):
        add(f"group-number-{first}", "R-GRP-04", f"The second group begins with {word}.",
            ordinary(306).set(GROUP_HEADER, 1, {"first_frame_number": first}))
    dice, draft = Dice(306), Draft(header())
    draft.group((1 << 32) - 1, 2)
    draft.frame(dice)
    add("group-number-overflow", "R-GRP-04", "A group of two frames that begins at 2^32 - 1.", draft.finish(index=False))

    def frame(name, requirement, description, n, changes, features="frames"):
        add(name, requirement, description, ordinary(307).set(FRAME, n, changes), features)

    frame("number-i", "R-FRM-01", "The number of an I-frame is not that of its group.", 0, {"frame_number": 1})
    frame("number-p", "R-FRM-01", "A P-frame with the number of the frame before.", 1, {"frame_number": 0})
    frame("number-gap", "R-FRM-01", "A number left out inside a group.", 1, {"frame_number": 2})
    frame("p-frame-first", "R-FRM-02", "A group that begins with a P-frame.", 2, {"frame_type": 2})
    frame("i-frame-inside", "R-FRM-02", "An I-frame inside a group.", 1, {"frame_type": 1})
    for value in (0, 3, 255):
        frame(f"frame-type-{value}", "R-FRM-03", f"frame_type {value}.", 1, {"frame_type": value})
    frame("time-equal", "R-FRM-04", "The time stamp of the frame before.", 1, {"time_stamp": 0})
    frame("time-backwards", "R-FRM-04", "A time stamp before that of the group before.", 2, {"time_stamp": 1})
    for n in (0, 2):
        draft = ordinary(307)
        payload = draft.parse(FRAME, draft.pieces[draft.position(FRAME, n)].payload)[0]
        draft.set(FRAME, n, {"coded_count": 3, "tensor": [t for t in payload.tensor if t.tensor_id != n]})
        add(f"tensor-missing-{n}", "R-FRM-05", f"An I-frame without tensor {n}.", draft, "frames")
    frame("tensor-id-outside", "R-FRM-06", "A tensor_id that is not in the list.", 0, {"tensor[3].tensor_id": 4}, "frames")
    frame("tensor-id-255", "R-FRM-06", "tensor_id 255.", 1, {"tensor[0].tensor_id": 255}, "frames")
    frame("tensor-id-twice", "R-FRM-06", "The same tensor twice.", 1, {"tensor[1].tensor_id": 0}, "frames")
    draft = ordinary(307)
    payload = draft.parse(FRAME, draft.pieces[draft.position(FRAME, 1)].payload)[0]
    draft.set(FRAME, 1, {"tensor": payload.tensor[::-1]})
    add("tensor-id-order", "R-FRM-06", "Tensors in decreasing order.", draft, "frames")
    for n, kind in ((0, "an I-frame"), (1, "a P-frame"), (2, "the I-frame of the second group")):
        digest = ordinary(308).parse(FRAME, ordinary(308).pieces[ordinary(308).position(FRAME, n)].payload)[0].frame_digest
        wrong = digest[:-1] + bytes([digest[-1] ^ 1])
        add(f"digest-{n}", "R-DIG-01", f"One bit of the digest of {kind} is wrong.",
            ordinary(308).set(FRAME, n, {"frame_digest": wrong}), "digests")
    draft = ordinary(308).set(GROUP_HEADER, 1, {"first_frame_number": 9}).set(FRAME, 2, {"frame_number": 9})
    add("digest-of-other-number", "R-DIG-01", "A group renumbered without its digests.", draft, "digests")
    draft = ordinary(308).set(FRAME, 1, {"tensor[1].step[0].step_index": 4})
    add("digest-of-other-step", "R-DIG-01", "A step changed without the digest.", draft, "digests")


def _occupancy(cases: Collection) -> None:
    def add(name, requirement, description, n, changes, draft=None):
        draft = (draft or ordinary(309)).set(FRAME, n, changes)
        cases.add(name, "occupancy", description, draft.bytes(), requirement)

    def data(raw, mode=1):
        return {"occupancy_mode": mode, "occupancy_size": len(raw), "occupancy_data": raw}

    add("occupancy-unasked", "R-OCC-01", "Occupancy in a sequence that has none.", 0, data(compress(b"\0")), ordinary(310, (0, 0, 0)))
    add("occupancy-unasked-difference", "R-OCC-01", "An occupancy difference in a sequence that has none.", 1,
        data(compress(b"\0"), 2), ordinary(310, (0, 0, 0)))
    add("occupancy-absent", "R-OCC-01", "An I-frame without occupancy in a sequence that has some.", 0,
        {"occupancy_mode": 0, "occupancy_size": None, "occupancy_data": b""})
    add("occupancy-difference-in-i", "R-OCC-01", "An I-frame whose occupancy is a difference.", 2, data(compress(bytes(5)), 2))
    for value in (4, 255):
        add(f"occupancy-mode-{value}", "R-OCC-04", f"occupancy_mode {value}.", 1,
            {"occupancy_mode": value, "occupancy_size": 0, "occupancy_data": b""})

    content = bytes([0x11, 0x22, 0x33, 0x44, 0x05])  # 36 voxels: five bytes, four bits unused
    packed = compress(content)
    xz = lzma.compress(content, lzma.FORMAT_XZ, check=lzma.CHECK_NONE, preset=0)
    fast = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 20}]
    large = lzma.compress(bytes(1 << 26), lzma.FORMAT_RAW, filters=fast)
    for name, raw, description in (
        ("garbage", bytes(range(200, 220)), "No LZMA2 data at all."),
        ("no-data", b"", "No bytes."),
        ("content-short", compress(content[:4]), "Content of four bytes where five are needed."),
        ("content-long", compress(content + b"\0"), "Content of six bytes where five are needed."),
        ("content-empty", b"\0", "An LZMA2 stream without content."),
        ("no-end-marker", packed[:-1], "The end marker is missing."),
        ("trailing", packed + b"\0", "A byte after the end marker."),
        ("chunk-after-content", bytes([1, 0, 4]) + content + bytes([2, 0, 0, 0, 0]), "A second chunk after the content."),
        ("bad-chunk-after-content", bytes([1, 0, 4]) + content + bytes([3, 0]), "A chunk of a reserved type after the content."),
        ("chunk-cut", bytes([1, 0, 4]) + content[:3], "The data end inside a chunk."),
        ("no-dictionary-reset", bytes([2, 0, 4]) + content + b"\0", "The first chunk does not reset the dictionary."),
        ("xz-container", xz, "A whole .xz file."),
        ("bomb", large, "Content of 64 MiB, which a decoder shall not inflate."),
    ):
        add(f"lzma-{name}", "R-OCC-02", description, 0, data(raw))
    add("lzma-in-p-frame", "R-OCC-02", "Content of the wrong size in a P-frame's difference.", 1, data(compress(content[:4]), 2))
    add("padding-i", "R-OCC-03", "A bit after the last voxel is set.", 0, data(compress(content[:4] + b"\x10")))
    add("padding-all", "R-OCC-03", "All bits after the last voxel are set.", 2, data(compress(content[:4] + b"\xf5")))
    add("padding-difference", "R-OCC-03", "A bit after the last voxel is set in a difference.", 1,
        data(compress(bytes(4) + b"\x80"), 2))


def _models(cases: Collection) -> None:
    dice = Dice(311)

    def draft_with(*models, head=None):
        draft = Draft(head or header((2, 2, 2, 2), ((2, 2, 2, 2),)))
        draft.group(0, 2)
        draft.frame(dice)
        draft.frame(dice, dict(enumerate(models, 1)))
        return draft.finish()

    def add(name, requirement, description, model, changes=None, poke=None, features="context-models"):
        draft = draft_with(model)
        if changes:
            draft.set(FRAME, 1, {f"model[0].{path}": value for path, value in changes.items()})
        for path, raw in (poke or {}).items():
            draft.poke(FRAME, 1, f"model[0].{path}", raw)
        cases.add(name, features, description, draft.bytes(), requirement)

    alone = context_model(dice, 3)
    joint = context_model(dice, 3, joint=2)
    listed = context_model(dice, [(0, 1, 0, 0, -1), (1, 0, 0, 0, 0), (2, 0, 0, 1, 0)])
    listed_joint = context_model(dice, [(0, 0, 0, 0, -1)], joint=2)
    static = static_model((-1, (1, 5, 1, 1)))

    for value in (64, 255):
        add(f"model-id-{value}", "R-MOD-01", f"model_id {value}.", alone, {"model_id": value}, features="frames")
    for ids, name in (((3, 3), "twice"), ((5, 2), "order")):
        draft = draft_with(alone, static).set(FRAME, 1, {"model[0].model_id": ids[0], "model[1].model_id": ids[1]})
        cases.add(f"model-id-{name}", "frames", f"Models {ids[0]} and {ids[1]} in one frame.", draft.bytes(), "R-MOD-01")
    for value in (0, 3, 255):
        add(f"model-type-{value}", "R-MOD-02", f"model_type {value}.", alone, poke={"model_type": bytes([value])})
    add("hidden-65", "R-MOD-03", "65 hidden units.", context_model(dice, 2, hidden=65))
    wide = header((19, 1, 1, 1), ((19, 1, 1, 1),))
    draft = draft_with(context_model(dice, [(1, 0, 0, 0, 0)] * 27, joint=19, hidden=1), head=wide)
    cases.add("inputs-513", "context-models", "513 inputs: 27 neighbours of 19 channels.", draft.bytes(), "R-MOD-03")
    add("channel-mode-2", "R-MOD-04", "channel_mode 2.", alone, poke={"context.channel_mode": b"\2"})
    add("model-channels-0", "R-MOD-04", "A joint model of no channels.", joint, poke={"context.model_channels": b"\0"})
    add("model-channels-0-alone", "R-MOD-04", "model_channels 0 with channel_mode 0.", alone, poke={"context.model_channels": b"\0"})
    add("model-channels-2-alone", "R-MOD-04", "model_channels 2 with channel_mode 0.", alone, poke={"context.model_channels": b"\2"})
    add("hidden-none", "R-MOD-05", "A template with neighbours and no hidden units.",
        context_model(dice, 2, hidden=0), {"context.hidden_shift": None})
    add("hidden-unneeded", "R-MOD-05", "Hidden units without neighbours.", context_model(dice, 0),
        {"context.hidden_count": 1, "context.hidden_shift": 0, "context.hidden_bias": (5,), "context.output_weight": (1, 2)})
    add("hidden-unneeded-listed", "R-MOD-05", "Hidden units with an empty list of neighbours.", context_model(dice, []),
        {"context.hidden_count": 1, "context.hidden_shift": 0, "context.hidden_bias": (5,), "context.output_weight": (1, 2)})
    for axis, name in enumerate("czyx"):
        scan = [0, 1, 1, 1]
        scan[axis] = 4
        add(f"scan-{name}-4", "R-MOD-06", f"The scan weight of {name} is 4.", alone, {"context.scan_weight": tuple(scan)})
    add("scan-joint", "R-MOD-06", "A joint model with a scan weight for the channel.", joint, {"context.scan_weight": (1, 1, 1, 1)})
    for value in (16, 255):
        add(f"template-{value}", "R-MOD-07", f"template_id {value}.", alone, poke={"context.template_id": bytes([value])})
    for value in (6, 7, 14, 15, 16, 255):
        add(f"source-{value}", "R-MOD-08", f"neighbour_source {value}.", listed, {"context.neighbour[1].neighbour_source": value})
    for element in ("offset_c", "offset_z", "offset_y", "offset_x"):
        for value, word in ((3, "3"), (-3, "minus-3")):
            add(f"{element.replace('_', '-')}-{word}", "R-MOD-09", f"{element} {value}.", listed,
                {f"context.neighbour[0].{element}": value})
    add("offset-c-energy", "R-MOD-09", "A channel offset of an energy.", listed, {"context.neighbour[2].offset_c": 1})
    add("offset-c-energy-by-frequency", "R-MOD-09", "A channel offset of an energy at an offset of frequencies.", listed,
        {"context.neighbour[2].neighbour_source": 10, "context.neighbour[2].offset_c": -1})
    add("offset-c-joint", "R-MOD-09", "A channel offset in a joint model.", listed_joint, {"context.neighbour[0].offset_c": -1})
    for source in (4, 5, 8, 9, 12, 13):
        add(f"offset-c-joint-source-{source}", "R-MOD-09", f"A channel offset of source {source} in a joint model.",
            listed_joint, {"context.neighbour[0].neighbour_source": source, "context.neighbour[0].offset_c": 1})
    add("hidden-shift-16", "R-MOD-10", "hidden_shift 16.", alone, {"context.hidden_shift": 16})
    for element in ("location_shift", "scale_shift"):
        add(f"{element.replace('_', '-')}-24", "R-MOD-10", f"{element} 24.", alone, {f"context.{element}": 24})
    add("output-bias-shape", "R-MOD-11", "An output_bias of 2^22 of a shape.", context_model(dice, 0, family=MIXTURE),
        {"context.output_bias": (0, 20, 1 << 22)}, features="context-models mixture-tables")
    add("shape-shift-24", "R-MOD-10", "shape_shift 24.", context_model(dice, 14, family=MIXTURE),
        {"context.shape_shift": 24}, features="context-models mixture-tables")
    for value, word in ((1 << 22, "high"), (-(1 << 22), "low"), (-(1 << 31), "lowest")):
        add(f"output-bias-{word}", "R-MOD-11", f"An output_bias of {value}.", alone, {"context.output_bias": (0, value)})

    def add_static(name, requirement, description, changes=None, poke=None, model=static):
        prefixed = {f"static.{k}": v for k, v in (changes or {}).items()}
        add(f"static-{name}", requirement, description, model, prefixed,
            {f"static.{k}": v for k, v in (poke or {}).items()}, "static-models")

    add_static("no-tables", "R-MOD-12", "table_count 0.", poke={"table_count": b"\0"})
    add_static("1-entry", "R-MOD-13", "A table of one entry.", model=static_model((0, (5,))))
    add_static("0-entries", "R-MOD-13", "A table without entries.", poke={"table[0].entry_count": b"\0"})
    add_static("4097-entries", "R-MOD-13", "A table of 4097 entries.", poke={"table[0].entry_count": b"\x81\x20"})
    add_static("sum-0", "R-MOD-13", "Counts that are all zero.", {"table[0].count": (0, 0, 0, 0)})
    add_static("sum-large", "R-MOD-13", "Counts with sum 2^24 + 1.", {"table[0].count": (1, 0, 0, 1 << 24)})
    for value in ((1 << 16) + 1, -(1 << 16) - 1):
        add_static(f"first-value-too-{'high' if value > 0 else 'low'}", "R-MOD-14", f"first_value {value}.", {"table[0].first_value": value})
    add("order-hidden-count-before-template", "R-MOD-03", "65 hidden units without neighbours.", context_model(dice, 0),
        {"context.hidden_count": 65, "context.hidden_shift": 0, "context.hidden_bias": (5,) * 65,
         "context.output_weight": (1,) * 130}, features="context-models order-of-checks")
    add("order-inputs-before-template", "R-MOD-03", "513 inputs and no hidden units.",
        context_model(dice, [(1, 0, 0, 0, 0)] * 27, joint=19, hidden=0), {"context.hidden_shift": None},
        features="context-models order-of-checks")


def _tensors(cases: Collection) -> None:
    def add(name, requirement, description, n, changes, draft=None, features="frames"):
        cases.add(name, features, description, (draft or ordinary(312)).set(FRAME, n, changes).bytes(), requirement)

    for value in (1, 2, 3):
        add(f"reserved-tools-{value}", "R-TEN-01", f"reserved_tools {value}.", 1, {"tensor[0].reserved_tools": value})
    for name, byte in (("3", 1 | 3 << 2 | 1 << 4), ("3-before-reserved", 255)):
        draft = ordinary(312).poke(FRAME, 1, "tensor[0].prediction", bytes([byte]))
        cases.add(f"transform-{name}", "transforms", f"transform 3{', and reserved_tools 3' * (byte == 255)}.",
                  draft.bytes(), "R-TEN-03")
    add("prediction-in-i", "R-TEN-04", "A predicted tensor in an I-frame.", 0, {"tensor[2].prediction": 1})
    add("prediction-in-second-i", "R-TEN-04", "A predicted tensor in the I-frame of the second group.", 2, {"tensor[0].prediction": 1})
    add("significance-of-weights", "R-TEN-11", "Significance by occupancy of a weight tensor.", 0, {"tensor[2].significance": 1},
        features="significance")
    add("significance-without-occupancy", "R-TEN-05", "Significance by occupancy in a sequence without occupancy.", 0,
        {"tensor[1].significance": 1}, ordinary(312, (0, 0, 0)), "significance")
    add("model-unknown", "R-TEN-06", "A model that nothing defines.", 1, {"tensor[0].model_ref": 8})
    add("model-ref-64", "R-TEN-06", "model_ref 64, which can't be defined.", 1, {"tensor[0].model_ref": 64})
    dice, draft = Dice(312), Draft(header())
    for first in (0, 1):
        draft.group(first, 1)
        draft.frame(dice, {0: FIXED, 2: FIXED} if first == 0 else {0: FIXED})
    add("model-of-group-before", "R-TEN-06", "A model that only the group before defines.", 1, {"tensor[0].model_ref": 2}, draft.finish())

    def mismatch(name, description, model, channels=3):
        draft = Draft(header((channels, 2, 2, 2), ((channels, 2, 2, 2),)))
        draft.group(0, 2)
        draft.frame(dice)
        draft.frame(dice, {5: model})
        add(name, "R-TEN-07", description, 1, {"tensor[1].model_ref": 5}, draft.finish())

    mismatch("joint-too-narrow", "A joint model of two channels for a tensor of three.", context_model(dice, 2, joint=2))
    mismatch("joint-too-wide", "A joint model of four channels for a tensor of three.", context_model(dice, 2, joint=4))
    mismatch("joint-one-for-three", "A joint model of one channel for a tensor of three.", context_model(dice, 2, joint=1))
    mismatch("tables-2-for-3", "Two tables for three channels.", static_model((0, (1, 1)), (0, (1, 1))))
    mismatch("tables-4-for-3", "Four tables for three channels.", static_model(*[(0, (1, 1))] * 4))
    mismatch("tables-2-for-1", "Two tables for one channel.", static_model((0, (1, 1)), (0, (1, 1))), 1)


def _work(cases: Collection) -> None:
    for level in (1, 2):
        draft = work_at_bound(level, excess=True)
        cases.add(f"model-work-level-{level}", "levels context-models", "Three multiplications more than level "
                  f"{level} allows.", draft.bytes(), "R-TEN-09")
    draft = work_at_bound(1, excess=True)
    coded = draft.parse(FRAME, draft.pieces[2].payload)[0].tensor
    draft.set(FRAME, 0, {"coded_count": 3, "tensor": coded[:3]})
    cases.add("order-work-before-missing-tensor", "order-of-checks", "Too many multiplications, in an I-frame without "
              "its last tensor.", draft.bytes(), "R-TEN-09")


def _entropy(cases: Collection) -> None:
    dice = Dice(313)

    def add(name, requirement, description, raw, cells=1, model=static_model((5, (1, 1))), features="range-coder"):
        """The data of a coefficient grid of one channel; the first table gives value 5 or an escape, half and half."""
        draft = Draft(header((1, 1, 1, cells), ((1, 1, 1, 1),)))
        draft.group(0, 2)
        draft.frame(dice)
        draft.frame(dice, {1: model}, use={0: 1}, values={0: np.full((cells, 1), 5)})
        draft.set(FRAME, 1, {"tensor[0].value_size": len(raw), "tensor[0].value_data": raw})
        cases.add(name, features, description, draft.finish().bytes(), requirement)

    add("quantile-first", "R-ENT-01", "The first quantile is 2^24 or more: all bits are ones.", b"\xff" * 8)
    writer = DataWriter()
    for _ in range(9):
        writer.put(0, 1 << 23)
    add("quantile-later", "R-ENT-01", "A quantile of 2^24 or more at the tenth symbol.", writer.words(writer.range - 1), 10)
    add("data-zero", "R-ENT-02", "A zero byte where no data would do.", b"\0")
    add("data-zeros", "R-ENT-02", "Forty words of zeros where no data would do.", bytes(160))
    add("data-one", "R-ENT-02", "A byte where none would do.", b"\1")
    add("data-unread", "R-ENT-02", "A byte that the decoder does not come to.", bytes(8) + b"\1")
    # Seventeen symbols, three of which are 6, by escape: low is no longer 0.
    writer = DataWriter()
    writer.bits(*(int(k in (3, 8, 16)) for k in range(17)), *[0] * 6)
    add("data-and-zero", "R-ENT-02", "Behind the data a zero byte.", writer.data() + b"\0", 17)
    add("data-and-one", "R-ENT-02", "Behind the data another byte.", writer.data() + b"\1", 17)
    add("data-not-smallest", "R-ENT-02", "Of the shortest data that decode to the symbols the second smallest.",
        writer.data(above=1), 17)
    for longer in (2, 3):
        data = writer.data(longer)
        assert data[-1] and len(data) == len(writer.data()) + longer
        add(f"data-longer-{longer}", "R-ENT-02", f"The smallest data of {longer} bytes more than are needed: they begin "
            "with other bytes than the shortest.", data, 17)
    writer = DataWriter()
    writer.bits(1, *[0] * 99, 0, 0)
    add("data-after-many", "R-ENT-02", "Data to the last word that is read, where they could end far before it.",
        writer.words(1), 100)
    early = DataWriter()
    early.bits(1, *[0] * 199, 0, 0)
    add("data-ends-early-and-zero", "R-ENT-02", "A zero byte behind data that end many words before those that the "
        "decoder reads.", early.data() + b"\0", 200)
    add("data-none-many-and-zero", "R-ENT-02", "A zero byte where many words are read and no data would do.", b"\0", 200)
    add("data-at-its-unit", "R-ENT-02", "`point - low` is one unit of the last byte, where no data would do.",
        bytes(25) + b"\1", 200)
    data_at_a_bound(cases, 1)
    for name, shape, model, kind in (
        ("context", (1, 3, 4, 5), context_model(dice, 3), 0),
        ("channels", (3, 3, 4, 5), context_model(dice, 3, scan=(1, 1, 1, 1)), 0),
        ("joint", (2, 3, 4, 5), context_model(dice, 3, joint=2), 0),
        ("mixtures", (2, 3, 4, 5), context_model(dice, 3, family=MIXTURE), 0),
        ("mixtures-joint", (2, 3, 4, 5), context_model(dice, 3, joint=2, family=MIXTURE), 0),
        ("dct", (2, 9, 8, 7), context_model(dice, 14, scan=(1, 1, 1, 1)), 1),
    ):
        draft = Draft(header((shape[0], 1, 1, 1), (shape,)))
        draft.group(0, 1)
        draft.frame(dice, {0: FIXED, 1: model}, use={1: 1}, transform={1: (kind, 0)})
        longer = draft.parse(FRAME, draft.piece(FRAME, 0).payload)[0].tensor[1].value_data + b"\1"
        draft.set(FRAME, 0, {"tensor[1].value_size": len(longer), "tensor[1].value_data": longer})
        cases.add(f"data-and-one-{name}", "range-coder context-models", f"A byte behind the data of a tensor under a "
                  f"context model ({name}).", draft.finish().bytes(), "R-ENT-02")
    empty = Draft(header(occupancy=(2, 2, 2)))
    empty.group(0, 1)
    empty.frame(dice, occupancy=np.zeros((2, 2, 2), bool))
    empty.set(FRAME, 0, {"tensor[0].value_size": 1, "tensor[0].value_data": b"\1"})
    cases.add("data-without-symbols", "range-coder significance", "A byte for a tensor without coded cells.",
              empty.finish().bytes(), "R-ENT-02")

    def escape(*bits):
        writer = DataWriter()
        writer.put(1 << 23, 1 << 23)
        writer.bits(*bits)
        return writer.data()

    add("escape-prefix-21", "R-ENT-03", "A prefix of 21 ones.", escape(0, *[1] * 21, 0, *[0] * 21), features="escapes")
    add("escape-prefix-endless", "R-ENT-03", "A prefix of a hundred ones.", escape(0, *[1] * 100), features="escapes")

    def distance(e):
        prefix = e.bit_length() - 1
        return [*[1] * prefix, 0, *((e >> i) & 1 for i in reversed(range(prefix)))]

    add("symbol-2-20", "R-ENT-04", "The value 2^20.", escape(0, *distance((1 << 20) - 5)), features="escapes")
    add("symbol-minus-2-20", "R-ENT-04", "The value -2^20.", escape(1, *distance((1 << 20) + 5)), features="escapes")
    add("symbol-largest-escape", "R-ENT-04", "The longest escape: 2^21 - 1 beyond the table.", escape(0, *distance((1 << 21) - 1)),
        features="escapes")


def _index_and_end(cases: Collection) -> None:
    def add(name, requirement, description, draft):
        cases.add(name, "index", description, draft.bytes(), requirement)

    base = ordinary(314)
    entries = base.parse(INDEX, base.piece(INDEX, 0).payload)[0].entry
    for name, changes, description in (
        ("number", {"entry[1].indexed_frame": 7}, "A wrong frame number."),
        ("type", {"entry[1].indexed_type": 1}, "A P-frame listed as an I-frame."),
        ("type-reserved", {"entry[1].indexed_type": 0}, "A type that is none."),
        ("offset", {"entry[2].frame_offset": entries[2].frame_offset + 1}, "An offset that is one too large."),
        ("offset-of-frame", {"entry[0].frame_offset": entries[0].frame_offset + 25}, "An I-frame with the offset of its own "
         "unit instead of its group header's."),
        ("order", {"entry": [entries[1], entries[0], entries[2]]}, "Entries in the wrong order."),
        ("entry-missing", {"index_count": 2, "entry": entries[:2]}, "The last frame is not listed."),
        ("entry-twice", {"index_count": 4, "entry": [*entries, entries[2]]}, "The last frame is listed twice."),
        ("without-entries", {"index_count": 0, "entry": []}, "No entries."),
    ):
        draft = ordinary(314)
        draft.settle()
        at = draft.position(END)
        add(f"index-{name}", "R-IDX-01", description, draft.set(INDEX, 0, changes))
        assert draft.pieces[at].type == END
    for value, word in ((2, "less"), (4, "more"), ((1 << 32) - 1, "2-32")):
        add(f"index-count-{word}", "R-IDX-01", f"index_count {value} with three entries.",
            ordinary(314).poke(INDEX, 0, "index_count", struct.pack("<I", value)))
    add("index-excess", "R-IDX-01", "A byte after the last entry: index_count does not fit unit_size.",
        ordinary(314).resize(INDEX, 0, lambda p: p + b"\0"))
    for path, value in (("group_total", 1), ("group_total", 3), ("frame_total", 2), ("frame_total", 4)):
        add(f"{path.replace('_', '-')}-{value}", "R-END-01", f"{path} {value}.", ordinary(314).set(END, 0, {path: value}))
    index_at = unit_offset(ordinary(314).bytes(), INDEX)
    add("index-offset-0", "R-END-02", "index_offset 0 although there is an index.", ordinary(314).set(END, 0, {"index_offset": 0}))
    add("index-offset-other", "R-END-02", "index_offset one too large.", ordinary(314).set(END, 0, {"index_offset": index_at + 1}))
    add("index-offset-without-index", "R-END-02", "index_offset of a file without index.",
        ordinary(314, index=False).set(END, 0, {"index_offset": index_at}))


def _cameras_and_metadata(cases: Collection) -> None:
    def camera(name, requirement, description, changes=None, poke=None, pose=POSE):
        draft = ordinary(315)
        draft.add_cameras([CAMERA, Camera(40, 30, 50, 51, 20, 15, pose, "second")])
        if changes:
            draft.set(CAMERAS, 0, {f"camera[1].{k}": v for k, v in changes.items()})
        for path, raw in (poke or {}).items():
            draft.poke(CAMERAS, 0, f"camera[1].{path}", raw)
        cases.add(f"camera-{name}", "cameras", description, draft.bytes(), requirement)

    nan, infinite = float("nan"), float("inf")
    camera("width-0", "R-CAM-01", "camera_width 0.", {"camera_width": 0})
    camera("height-0", "R-CAM-01", "camera_height 0.", {"camera_height": 0})
    for name, value in (("zero", (50, 0)), ("minus-zero", (-0.0, 50)), ("negative", (-50, 50)), ("nan", (nan, 50)), ("infinite", (50, infinite))):
        camera(f"focal-{name}", "R-CAM-01", f"Focal lengths {value}.", {"focal": value})
    camera("centre-nan", "R-CAM-01", "A principal point that is not a number.", {"centre": (nan, 0)})
    camera("centre-infinite", "R-CAM-01", "An infinite principal point.", {"centre": (0, -infinite)})
    for name, value in (("nan", nan), ("infinite", infinite)):
        pose = POSE.copy()
        pose[1, 3] = value
        camera(f"pose-{name}", "R-CAM-01", f"A position that is {value}.", pose=pose)
    for name, pose, description in (
        ("scaled", POSE * 1.01, "A pose with a scale of 1.01."), ("zero", POSE * 0, "A pose of zeros."),
        ("reflected", POSE * [-1, 1, 1, 1], "A reflection."), ("sheared", POSE @ [[1, 0.01, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
                                                              "Axes that are not orthogonal."),
        ("huge", POSE * 1e38, "Axes whose squares overflow binary32."),
    ):
        camera(f"pose-{name}", "R-CAM-02", description, pose=pose)
    camera("name-latin-1", "R-CAM-03", "A name in Latin-1.", {"name_size": 3, "camera_name": b"f\xfcr"})
    camera("name-surrogate", "R-CAM-03", "A name with an encoded surrogate.", {"name_size": 3, "camera_name": b"\xed\xa0\x80"})
    camera("name-overlong", "R-CAM-03", "A name with an overlong form.", {"name_size": 2, "camera_name": b"\xc0\x80"})
    camera("name-cut", "R-CAM-03", "A name that ends inside a character.", {"name_size": 1, "camera_name": b"\xc3"})

    def metadata(name, requirement, description, *entries):
        payload = struct.pack("<H", len(entries)) + b"".join(
            bytes([len(k)]) + k + struct.pack("<I", len(v)) + v for k, v in entries)
        draft = ordinary(315)
        draft.add(METADATA, payload, at=1)
        cases.add(f"metadata-{name}", "metadata", description, draft.bytes(), requirement)

    metadata("key-empty", "R-MET-01", "An empty key.", (b"", b"x"))
    metadata("key-65", "R-MET-01", "A key of 65 characters.", (b"a" * 65, b"x"))
    for name, key in (("capital", b"Title"), ("space", b"a b"), ("line-end", b"title\n"), ("other-letter", "tïtle".encode()), ("zero", b"a\0")):
        metadata(f"key-{name}", "R-MET-01", f"The key {key!r}.", (key, b"x"))
    metadata("key-twice", "R-MET-01", "The same key twice.", (b"a", b"x"), (b"b", b"y"), (b"a", b"z"))
    metadata("value-latin-1", "R-MET-02", "A value in Latin-1.", (b"title", b"F\xfcchse"))
    metadata("value-surrogate", "R-MET-02", "A value with an encoded surrogate.", (b"title", b"\xed\xb0\x80"))
    metadata("value-too-high", "R-MET-02", "A value with a character above U+10FFFF.", (b"title", b"\xf4\x90\x80\x80"))
    metadata("value-size-lies", "R-UNIT-07", "value_size 2^32 - 1.", (b"title", b"x"))
    case = cases.cases.pop()
    draft = ordinary(315)
    draft.add(METADATA, struct.pack("<HB5sI", 1, 5, b"title", (1 << 32) - 1) + b"x", at=1)
    cases.add(case.name, "metadata", case.description, draft.bytes(), "R-UNIT-07")


def _order_of_checks(cases: Collection) -> None:
    def add(name, requirement, description, data):
        cases.add(f"order-{name}", "order-of-checks", description, data, requirement)

    good = ordinary(316).bytes()
    add("crc-before-version", "R-FILE-02", "Another version and a wrong checksum of the file header.", with_header(good, b8=9)[:12] + good[12:])
    add("version-before-profile", "R-FILE-03", "Another version, profile and level.", with_header(good, b9=6, b10=9, b11=9))
    add("profile-before-level", "R-FILE-04", "Another profile and level.", with_header(good, b10=9, b11=9))
    at = unit_offset(good, FRAME, 1)
    add("size-before-end-of-data", "R-UNIT-02", "A unit that is too large and cut.", good[:at] + struct.pack("<BBI", 3, 0, 1 << 30))
    add("crc-before-flags", "R-UNIT-03", "Reserved flags and a wrong checksum.", good[:at] + b"\x03\xfe" + good[at + 2:])
    draft = ordinary(316)
    draft.add(99, b"", 2, at=2)
    add("flags-before-type", "R-UNIT-01", "A critical unit of unknown type with a reserved flag.", draft.bytes())
    draft = ordinary(316)
    draft.pieces[1].flags = 1
    draft.pieces.insert(0, draft.pieces.pop(1))
    add("flag-before-order", "R-UNIT-05", "A group header first, and marked ancillary.", draft.bytes())
    draft = ordinary(316)
    draft.add(99, b"", 0, at=0)
    add("type-before-order", "R-UNIT-04", "A critical unit of unknown type before the sequence header.", draft.bytes())
    draft = ordinary(316)
    draft.settle()
    draft.add(METADATA, b"", at=3)
    add("order-before-payload", "R-GRP-05", "A metadata unit without payload inside a group.", draft.bytes())
    draft = ordinary(316).set(GROUP_HEADER, 1, {"first_frame_number": 0}).resize(GROUP_HEADER, 1, lambda p: p + b"\0")
    add("excess-before-number", "R-UNIT-06", "A group header with an old number and a byte too many.", draft.bytes())
    draft = ordinary(316).set(GROUP_HEADER, 1, {"scene_id": 1, "frame_count": 0})
    add("scene-before-count", "R-GRP-03", "A group header with a scene that there is not, and no frames.", draft.bytes())
    draft = ordinary(316).set(FRAME, 1, {"frame_number": 9, "tensor[1].reserved_tools": 1})
    add("payload-before-frame-number", "R-TEN-01", "A frame with a wrong number and, far behind, a reserved value.", draft.bytes())
    draft = ordinary(316).set(FRAME, 1, {"frame_number": 9, "frame_type": 1, "time_stamp": 0})
    add("number-before-type", "R-FRM-01", "A frame with wrong number, type and time.", draft.bytes())
    draft = ordinary(316).set(FRAME, 1, {"frame_type": 1, "time_stamp": 0})
    add("type-before-time", "R-FRM-02", "A frame with wrong type and time.", draft.bytes())
    draft = ordinary(316).set(FRAME, 0, {"tensor[1].tensor_id": 0, "tensor[0].prediction": 1})
    add("tensor-by-tensor", "R-TEN-04", "A fault of tensor 0 and one of tensor 1's identifier.", draft.bytes())
    draft = ordinary(316).set(FRAME, 0, {"tensor[0].prediction": 1, "tensor[0].reserved_tools": 2})
    add("range-before-context", "R-TEN-01", "A tensor with a reserved value, predicted in an I-frame.", draft.bytes())
    payload = ordinary(316).parse(FRAME, ordinary(316).pieces[2].payload)[0]
    draft = ordinary(316).set(FRAME, 0, {"coded_count": 3, "tensor": payload.tensor[:3], "tensor[2].model_ref": 9})
    add("model-before-missing-tensor", "R-TEN-06", "An I-frame with an undefined model and without its last tensor.", draft.bytes())
    broken = b"\xff" * len(payload.occupancy_data)
    draft = ordinary(316).set(FRAME, 0, {"occupancy_data": broken, "tensor[3].model_ref": 9})
    add("checks-before-decoding", "R-TEN-06", "A frame with an undefined model and damaged occupancy.", draft.bytes())
    draft = ordinary(316).set(FRAME, 0, {"occupancy_data": broken, "tensor[0].value_size": 8, "tensor[0].value_data": b"\xff" * 8})
    add("occupancy-before-tensors", "R-OCC-02", "Damaged occupancy and damaged data of a tensor.", draft.bytes())
    draft = ordinary(316).set(FRAME, 0, {"tensor[2].value_size": 8, "tensor[2].value_data": b"\xff" * 8, "frame_digest": bytes(8)})
    add("data-before-digest", "R-ENT-01", "Damaged data and a wrong digest.", draft.bytes())
    draft = ordinary(316)
    draft.set(INDEX, 0, {"entry[0].indexed_frame": 5})
    draft.set(END, 0, {"group_total": 9, "index_offset": 0})
    add("index-before-end", "R-IDX-01", "Wrong index and end unit.", draft.bytes() + b"more")
    draft = ordinary(316).set(END, 0, {"group_total": 9, "index_offset": 0})
    add("counts-before-offset", "R-END-01", "An end unit wrong in everything, and bytes after it.", draft.bytes() + b"more")
    add("end-before-trailing", "R-END-02", "A wrong index_offset, and bytes after the end unit.",
        ordinary(316).set(END, 0, {"index_offset": 0}).bytes() + b"more")
    draft = Draft(header())
    draft.set(SEQUENCE_HEADER, 0, {"occupancy_dims": (512, 512, 9), "tensor[1].depth": 4096, "tensor[1].height": 4096,
                                    "tensor[1].channels": 1})
    add("level-before-list", "R-SEQ-17", "More elements and voxels than the level allows, and basis grids without their channels.", draft.bytes())
    draft = ordinary(316)
    draft.level = 1
    draft.set(SEQUENCE_HEADER, 0, {"ticks_per_second": 0, "aabb_exponent": 99, "tensor[0].frac_bits": 200})
    add("elements-in-turn", "R-SEQ-04", "Three elements of the sequence header out of range: the first counts.", draft.bytes())
