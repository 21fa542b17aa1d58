"""`inspect`: what it reports, that the sums add up, and what damage does to it."""
from __future__ import annotations

import io
import json
import math
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st

import refcodec
from checkout import ROOT
from refcodec.cli import cli
from refcodec.decoding import open_stream
from refcodec.inspection import elements, hex_lines, inspect
from refcodec.kernels import NumpyKernels
from refcodec.syntax.coding import step_of
from refcodec.syntax.registry import LEVELS, UnitType
from refcodec.syntax.units import build_unit
from synthetic import small_header, small_stream

STREAM = small_stream()
SCHEMA = json.loads((Path(refcodec.__file__).parent / "schemas" / "inspect.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def of(data: bytes, **options):
    return inspect(io.BytesIO(data), **options)


def vector(name: str) -> bytes:
    """A conforming vector of the suite."""
    return (ROOT / f"conformance/vectors/valid/{name}/stream.rfv").read_bytes()


SCENES, SHARED = vector("scenes-with-shared-tensors"), vector("shared-all-tools")


def run(data: bytes | str, *args):
    return CliRunner().invoke(cli, ["inspect", "-" if isinstance(data, bytes) else data, *map(str, args)],
                              input=data if isinstance(data, bytes) else None)


def with_unknown_unit(data: bytes = STREAM) -> bytes:
    """The stream with an ancillary unit of a private type before its end unit (index left out)."""
    plain = small_stream(index=False)
    return plain[:-26] + build_unit(200, b"private", flags=1) + plain[-26:]


def test_the_report_agrees_with_the_decoder():
    report = of(STREAM)
    assert report.error is None and report.complete and report.size == len(STREAM)
    frames = list(open_stream(io.BytesIO(STREAM)))
    assert [(f.number, f.type, f.time_stamp, f.offset, f.bytes) for f in report.frames] == [
        (f.number, "IP"[f.type - 1], f.time_stamp, f.offset, f.size) for f in frames]
    for entry, frame in zip(report.frames, frames):
        assert entry.occupancy == len(frame.syntax.occupancy_data)
        assert [t.bytes for t in entry.tensors] == [len(t.value_data) for t in frame.syntax.tensor]
        assert entry.digest == frame.syntax.frame_digest.hex()
        infos = frame.header.tensors
        for t, coded in zip(entry.tensors, frame.syntax.tensor):
            scale = 2.0**-infos[t.id].frac_bits
            assert t.steps == [math.ldexp(*step_of(s.step_index)) * scale for s in coded.step]
            assert t.elements == infos[t.id].size
    assert [e["offset"] for e in report.index["entries"]] == [o for _, _, o in open_stream(io.BytesIO(STREAM)).index()]
    assert report.cameras[0]["camera_to_world"][0] == [1, 0, 0, 0.5]


@pytest.mark.parametrize("data", [STREAM, with_unknown_unit(), small_stream(cameras=False, metadata=False),
                                  small_stream(header=small_header(occupancy=(0, 0, 0))), SCENES, SHARED])
def test_components_add_up_to_the_file(data):
    report = of(data)
    assert sum(report.components().values()) == len(data)
    for frame in report.frames:
        assert sum(frame.components(report.header.tensors).values()) == frame.bytes
        assert frame.framing > 0
    assert sum(t["bytes"] for t in report.by_type().values()) == sum(f.bytes for f in report.frames)


def test_symbols_are_those_that_the_decoder_decodes():
    counted = []

    class Counting(NumpyKernels):
        def decode_symbols(self, *arguments):
            values = super().decode_symbols(*arguments)
            counted.append(values.size)
            return values

    list(open_stream(io.BytesIO(STREAM), kernels=Counting()))
    report = of(STREAM, symbols=True)
    assert [t.symbols for f in report.frames for t in f.tensors] == counted
    for t in report.frames[0].tensors:
        assert t.bits_per_symbol is None if not t.symbols else t.bits_per_symbol == 8 * t.bytes / t.symbols
    without = of(STREAM)
    assert all((t.symbols is None) == bool(t.significance) for f in without.frames for t in f.tensors)
    assert "bits/sym" in run(STREAM, "--symbols").stdout and "bits/elem" in run(STREAM).stdout


def test_elements_cover_every_byte_once():
    covered = bytearray()

    def collect(number, unit, trace):
        for span, data in elements(unit, trace):
            assert span.offset == len(covered) - (span.descriptor == "b2" and not span.length), span
            assert span.length == len(data), span
            covered.extend(data)

    data = with_unknown_unit()
    of(data, on_unit=collect)
    assert bytes(covered) == data


def test_the_tree_gives_name_value_and_section():
    text = run(STREAM, "--tree").stdout
    assert "sequence_header.tensor[1].channels" in text and "frame.model[3].context.hidden_weight" in text
    line = next(line for line in text.splitlines() if "group_header.frame_count" in line)
    offset, length, path, value, descriptor, section = line.split()
    assert (length, value, descriptor, section) == ("2", "3", "u16", "4.6")
    assert int.from_bytes(STREAM[int(offset) : int(offset) + 2], "little") == 3


def test_hex_shows_the_bytes_beside():
    text = run(STREAM, "--hex", "--unit", "0").stdout
    assert len(text.splitlines()) == 8
    assert "89 52 46 56 0d 0a 1a 0a  file_header.signature" in text
    assert hex_lines(bytes(100), 8, 2) == ["00 00 00 00 00 00 00 00"] * 2 + ["… 84 more bytes"]


def test_filters():
    report = of(STREAM)
    unit = report.frames[4].unit
    by_unit, by_frame = run(STREAM, "--unit", unit).stdout, run(STREAM, "--frame", 4).stdout
    assert by_unit == by_frame and by_unit.startswith(f"unit {unit}: frame")
    both = run(STREAM, "--frame", 4, "--unit", 0).stdout
    assert both.startswith("unit 0") and both.endswith(by_frame)
    result = run(STREAM, "--unit", 99)
    assert result.exit_code == 1 and "no such unit" in result.stderr


def test_summary_names_everything():
    text = run(with_unknown_unit()).stdout
    for part in ("RFV 0.5, profile 1, level 1", "dif_basis[1]", "Bytes by component", "unknown, ancillary",
                 "unit_type_200", "Index: none", "front: 40x30", "title: synthetic", "█"):
        assert part in text, part
    assert "Index: 5 entries" in run(STREAM).stdout


@pytest.mark.parametrize("arguments", [(), ("--symbols",), ("--tree",), ("--hex", "--frame", 1)])
@pytest.mark.parametrize("data", [STREAM, with_unknown_unit(), STREAM[:2000], STREAM[:14], b"nothing",
                                  small_stream(header=small_header(occupancy=(0, 0, 0), digest_type=0)), SCENES, SHARED,
                                  vector("mlp-coarse"), vector("mask-wavelet-and-occupancy")])
def test_json_keeps_to_its_schema(data, arguments):
    result = run(data, "--json", *arguments)
    report = json.loads(result.stdout)
    VALIDATOR.validate(report)
    assert report["tool"] == dict(name="refcodec", version=refcodec.__version__)
    assert report["specification"]["version"] == "0.5"
    assert result.exit_code == (2 if report["error"] else 0)
    assert ("elements" in report) == any(a in arguments for a in ("--tree", "--hex"))


def test_schema_is_a_schema_and_not_a_formality():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    report = of(STREAM).to_dict()
    assert VALIDATOR.is_valid(report)
    for broken in ({**report, "extra": 1}, {k: v for k, v in report.items() if k != "units"},
                   {**report, "frames": [{**report["frames"][0], "bytes": "many"}]}):
        assert not VALIDATOR.is_valid(broken)


def test_json_of_a_missing_file(tmp_path):
    result = run(str(tmp_path / "nothing"), "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    VALIDATOR.validate(report)
    assert "No such file" in report["failure"]


def test_damage_ends_the_report_where_it_is():
    whole = of(STREAM)
    data = bytearray(STREAM)
    data[whole.frames[2].offset + 50] ^= 1
    report = of(bytes(data))
    assert report.error.requirement == "R-UNIT-03" and not report.complete
    assert [f.number for f in report.frames] == [0, 1]
    result = run(bytes(data))
    assert result.exit_code == 2 and result.stderr.count("E0203") == 1
    assert "Frames (2 in 1 groups" in result.stdout


def test_a_malformed_unit_is_shown_up_to_the_element_that_breaks_it():
    whole = of(STREAM)
    group = whole.groups[0]
    payload = bytearray(STREAM[group["offset"] + 6 : group["offset"] + 21])
    payload[8] = 9  # scene_id
    data = STREAM[: group["offset"]] + build_unit(UnitType.GROUP_HEADER, bytes(payload))
    result = run(data, "--tree", "--unit", group["unit"])
    assert result.exit_code == 2 and "R-GRP-03" in result.stderr
    assert "group_header.scene_id" in result.stdout and "(not parsed)" in result.stdout
    assert "first_frame_number" not in result.stdout


@settings(max_examples=60)
@given(cut=st.integers(0, len(STREAM)), flips=st.lists(st.tuples(st.integers(0, len(STREAM) - 1),
                                                                 st.integers(1, 255)), max_size=3))
def test_any_damage_gives_a_valid_report(cut, flips):
    data = bytearray(STREAM)
    for at, value in flips:
        data[at] ^= value
    data = bytes(data[:cut])
    report = of(data, symbols=True)
    VALIDATOR.validate(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    assert report.error is not None or data == STREAM
    assert sum(report.components().values()) <= len(data)


def test_coding_tools_are_reported():
    report = of(SHARED).to_dict()
    shared, frame = report["shared"], report["frames"][0]["tensors"]
    assert [t["transform"] for t in shared["tensors"]] == [0, 0, 1, 2, 0]
    assert [t["levels"] for t in shared["tensors"]] == [0, 0, 0, 2, 0]
    assert [len(t["steps"]) for t in shared["tensors"]] == [1, 1, 4, 3, 1]
    assert [t["steps"][0] * 65536 for t in shared["tensors"]][2] == math.ldexp(*step_of(41))
    assert [t["mask_bytes"] > 0 for t in shared["tensors"]] == [False, True, False, True, False]
    assert all(t["bytes"] >= t["mask_bytes"] for t in shared["tensors"] + frame)
    assert [t["prediction"] for t in frame] == [2] * 5 + [0] and shared["models"] > 0
    text = run(SHARED).stdout
    for part in ("Shared tensors (5)", "Coding tools", "shared previous", "wavelet-1", "dct", "occupied, mask"):
        assert part in text, part


def test_scenes_are_reported():
    report = of(SCENES).to_dict()
    assert [g["scene"] for g in report["groups"]] == [0, 1, 2]
    assert [c["scene"] for c in report["cameras"]] == [2, 0, 1, 1]
    (first, second) = report["sequence"]["further_scenes"]
    assert first["samples_per_diagonal"] == 99 and second["box"]["max"] == [4000 / 4096, 9 / 4096, 300 / 4096]
    text = run(SCENES).stdout
    assert "Scenes (3)" in text and "scene 1: scene 1, 40x30" in text
    assert f"6 in 3 groups, {3 * 3 / 30:.3f} s" in text  # three ticks in each of three scenes


@pytest.mark.parametrize("name", ["model-work-level-1-full", "model-work-masks-full", "level-2-small"])
def test_needed_level_of_vectors(name):
    assert of(vector(name)).needed_level == 1


@pytest.mark.parametrize("name", ["model-work-level-1", "model-work-masks", "coefficients-level-1",
                                  "shared-model-work"])
def test_a_higher_level_is_needed_for_what_breaks_a_bound(name):
    data = (ROOT / f"conformance/vectors/limit/{name}/stream.rfv").read_bytes()
    assert of(data).needed_level == 2


def test_needed_level_is_the_lowest_that_holds_the_sequence():
    report = of(STREAM)
    assert report.needed_level == 1
    from refcodec.syntax.headers import lowest_level

    assert lowest_level(report.header, LEVELS[1].unit_size, LEVELS[1].group_frames) == 1
    assert lowest_level(report.header, LEVELS[1].unit_size + 1, 1) == 2
    assert lowest_level(report.header, 1, LEVELS[2].group_frames + 1) == 3
    assert lowest_level(report.header, LEVELS[3].unit_size + 1, 1) is None
    assert lowest_level(report.header, 1, 1, LEVELS[1].model_work + 1) == 2
    assert lowest_level(report.header, 1, 1, 1, LEVELS[2].tensor_elements + 1) == 3
