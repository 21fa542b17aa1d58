"""`validate`: finds every violation, blames nothing that is right, explains itself."""
from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st

import refcodec
from checkout import ROOT
from refcodec.cli import cli
from refcodec.decoding import open_stream
from refcodec.entropy.models import ContextModel
from refcodec.errors import BitstreamError, UsageError
from refcodec.inspection import inspect
from refcodec.requirements import ERROR_CODES, REQUIREMENTS
from refcodec.syntax.registry import UnitType
from refcodec.syntax.units import build_file_header, build_unit
from refcodec.validation import NOTES, explain, specification_folder, validate
from synthetic import small_header, small_stream

MODELS = {0: ContextModel.fixed([0], [22])}
STREAM = small_stream(groups=(3, 2, 2), models=MODELS)
REPORT = inspect(io.BytesIO(STREAM))
SCHEMA = json.loads((Path(refcodec.__file__).parent / "schemas" / "validate.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def errors(data: bytes) -> list[str]:
    return [f.requirement for f in validate(data).findings if f.severity == "error"]


def notes(data: bytes) -> list[str]:
    return [f.code for f in validate(data).findings if f.severity != "error"]


def flip(data: bytes, *offsets: int) -> bytes:
    out = bytearray(data)
    for at in offsets:
        out[at] ^= 0x40
    return bytes(out)


def units(data: bytes = STREAM) -> list[bytes]:
    """The bytes of every unit."""
    return [data[u["offset"] : u["offset"] + u["bytes"]] for u in inspect(io.BytesIO(data)).units]


def join(parts: list[bytes]) -> bytes:
    return STREAM[:16] + b"".join(parts)


def payload_changed(unit: bytes, at: int, new: bytes) -> bytes:
    """The unit with bytes of its payload replaced and its checksum made right."""
    payload = unit[6:-4]
    return build_unit(unit[0], payload[:at] + new + payload[at + len(new) :], unit[1])


# Numbers of units in STREAM.
CAMERAS, METADATA, GROUP_0, FRAME_0, FRAME_1, FRAME_2, GROUP_1 = 1, 2, 3, 4, 5, 6, 7
FRAME_3, FRAME_4, GROUP_2, FRAME_5, FRAME_6, INDEX, END = 8, 9, 10, 11, 12, 13, 14


def changed(*changes: tuple[int, int, bytes]) -> bytes:
    """STREAM with (unit, payload offset, bytes) replaced, checksums right."""
    parts = units()
    for number, at, new in changes:
        parts[number] = payload_changed(parts[number], at, new)
    return join(parts)


def test_a_conforming_stream():
    report = validate(STREAM)
    assert report.conforming and report.findings == []
    assert (report.groups, report.frames, report.checked, report.needed_level) == (3, 7, 7, 1)
    assert report.verdict() == ("conforms to RFV 0.5, profile 1 (Main), level 1; "
                                "7 of 7 frames in 3 groups checked")


def test_every_damaged_unit_is_reported_and_the_rest_checked():
    at = [REPORT.frames[1].offset + 20, REPORT.frames[4].offset + 20, REPORT.units[METADATA]["offset"] + 8]
    report = validate(flip(STREAM, *at))
    found = [f for f in report.findings if f.severity == "error"]
    assert [f.requirement for f in found] == ["R-UNIT-03"] * 3
    assert [f.offset for f in found] == sorted(
        u["offset"] + u["bytes"] - 4 for u in REPORT.units if u["number"] - 1 in (METADATA, FRAME_1, FRAME_4))
    assert report.checked == 1 + 1 + 2  # frames 0; 3; 5 and 6
    texts = [f.message for f in report.findings if f.code == "I001"]
    assert texts[0].startswith("Frames 1 to 2") and texts[1].startswith("Frames 4:")


def test_a_damaged_size_is_passed_by():
    """The size of frame 0 lies, so the unit's end is unknown: the next group is found by its pattern."""
    report = validate(flip(STREAM, REPORT.frames[0].offset + 4))
    assert [f.code for f in report.findings if f.severity == "error"] == ["E0202"]
    assert report.checked == 4


def test_violations_in_several_frames():
    data = changed((FRAME_1, 5, b"\0\0\0\0"),  # time_stamp not after the one before
                   (FRAME_3, len(units()[FRAME_3]) - 11, b"\xff"),  # last byte of the digest
                   (FRAME_6, 0, struct.pack("<I", 60)))  # frame_number
    report = validate(data)
    found = [(f.requirement, f.frame) for f in report.findings if f.severity == "error"]
    assert found[:3] == [("R-FRM-04", 1), ("R-DIG-01", 3), ("R-FRM-01", 60)]
    assert found[3:] == [("R-IDX-01", None)]  # which says frame 6, and the stream 60
    assert report.checked == 1 + 0 + 1


def test_syntax_is_checked_in_frames_that_cannot_be_decoded():
    data = changed((FRAME_0, 5, b"\xff\xff\xff\xff"), (FRAME_2, 4, b"\x07"))  # time; then frame_type 7
    assert errors(data) == ["R-FRM-03"] or errors(data)[:2] == ["R-FRM-04", "R-FRM-03"]


def test_index_and_totals_are_checked_in_spite_of_other_violations():
    data = changed((FRAME_1, 5, b"\0\0\0\0"), (INDEX, 4, struct.pack("<I", 9)), (END, 0, struct.pack("<I", 8)))
    assert errors(data) == ["R-FRM-04", "R-IDX-01", "R-END-01"]
    assert errors(changed((END, 8, struct.pack("<Q", 5)))) == ["R-END-02"]
    assert errors(changed((FRAME_1, 5, b"\0\0\0\0"), (END, 8, struct.pack("<Q", 5)))) == ["R-FRM-04", "R-END-02"]
    assert errors(changed((INDEX, 4, struct.pack("<I", 9)))) == ["R-IDX-01"]


def test_index_is_not_judged_when_frames_are_lost():
    found = notes(flip(STREAM, REPORT.frames[1].offset + 20))
    assert found == ["I001", "I001", "I001"]  # the frames, the index, the totals


def test_flags_are_reported_and_the_unit_still_used():
    parts = units()
    parts[FRAME_1] = build_unit(UnitType.FRAME, parts[FRAME_1][6:-4], flags=1)
    parts[CAMERAS] = build_unit(UnitType.CAMERAS, parts[CAMERAS][6:-4], flags=0x21)
    report = validate(join(parts))
    assert [f.requirement for f in report.findings] == ["R-UNIT-01", "R-UNIT-05"]
    assert report.checked == 7


def test_missing_and_surplus_frames():
    parts = units()
    short = join(parts[:FRAME_2] + parts[FRAME_2 + 1 :])
    assert errors(short)[0] == "R-GRP-05" and validate(short).checked == 6
    surplus = join(parts[: FRAME_2 + 1] + [parts[FRAME_2]] + parts[GROUP_1:])
    assert errors(surplus)[0] == "R-GRP-05" and validate(surplus).checked == 7


def test_groups_out_of_order():
    parts = units()
    swapped = join(parts[:GROUP_1] + parts[GROUP_2:INDEX] + parts[GROUP_1:GROUP_2] + parts[INDEX:])
    found = errors(swapped)
    assert found[0] == "R-GRP-04" and validate(swapped).checked >= 5


def test_all_violations_of_the_file_header():
    head = STREAM[:8] + bytes([9, 9, 7, 200])
    data = head + b"\0\0\0\0" + STREAM[16:]
    report = validate(data)
    assert [f.requirement for f in report.findings if f.severity == "error"] == [
        "R-FILE-02", "R-FILE-03", "R-FILE-04", "R-FILE-05"]
    assert report.file_header is None and not report.conforming
    # A wrong checksum alone hides nothing of the rest.
    report = validate(flip(STREAM, 13, REPORT.frames[0].offset + 9))
    assert [f.requirement for f in report.findings if f.severity == "error"] == ["R-FILE-02", "R-UNIT-03"]


@pytest.mark.parametrize("data, expected", [
    (b"", ["R-FILE-01"]), (b"GIF89a", ["R-FILE-01"]), (STREAM[:9], ["R-FILE-06"]), (STREAM[:16], ["R-FILE-06"]),
    (STREAM + b"x", ["R-FILE-07"]), (STREAM[:-26], ["R-FILE-06"]), (STREAM[:-1], ["R-FILE-06"]),
])
def test_beginnings_and_ends(data, expected):
    assert errors(data) == expected
    assert validate(data).verdict().startswith("does not conform")


def test_without_sequence_header_checksums_are_still_checked():
    report = validate(flip(STREAM, 30, REPORT.frames[0].offset + 9))
    assert [f.requirement for f in report.findings if f.severity == "error"][:2] == ["R-UNIT-03", "R-UNIT-03"]
    assert report.header is None and report.findings[-1].code == "I001"


def test_warnings():
    high = build_file_header(3) + STREAM[16:]
    assert notes(high) == ["W001"] and validate(high).conforming and validate(high).needed_level == 1
    assert notes(small_stream(models=MODELS, index=False)) == ["W004"]
    assert notes(small_stream(models=MODELS, header=small_header(digest_type=0))) == ["W005"]
    assert set(notes(small_stream())) == {"W002"}  # its P-frames define models that no tensor names
    parts = units(small_stream(models=MODELS, index=False))
    private = STREAM[:16] + b"".join([*parts[:-1], build_unit(200, b"private", flags=1), parts[-1]])
    assert notes(private) == ["W003", "W004"] and validate(private).conforming


def vector(name: str, kind: str = "valid") -> bytes:
    return (ROOT / f"conformance/vectors/{kind}/{name}/stream.rfv").read_bytes()


def unit_of(data: bytes, kind: UnitType, n: int = 0) -> dict:
    return [u for u in inspect(io.BytesIO(data)).units if u["type"] == kind][n]


def test_models_of_masks_and_of_the_shared_unit_are_used():
    assert notes(vector("mask-fixed")) == []
    found = [f for f in validate(vector("shared-unused")).findings if f.code == "W002"]
    assert found == []  # its model serves the shared tensor, which no frame needs
    data = vector("shared-nothing")
    (finding,) = [f for f in validate(data).findings if f.element == "shared.model.model_id"]
    shared = unit_of(data, UnitType.SHARED)
    assert finding.code == "W002" and finding.frame is None
    assert shared["offset"] < finding.offset < shared["offset"] + shared["bytes"]


def test_a_lost_shared_unit_is_blamed_once():
    data = vector("scenes-with-shared-tensors")
    shared = unit_of(data, UnitType.SHARED)
    damaged = flip(data, shared["offset"] + 30)
    assert errors(damaged) == ["R-UNIT-03"]
    assert notes(damaged).count("I001") == 5  # of three groups, the index and the end
    assert validate(damaged).checked == 0
    both = flip(damaged, unit_of(data, UnitType.FRAME, 2)["offset"] + 9)
    assert errors(both) == ["R-UNIT-03"] * 2


def test_scenes_are_checked_behind_violations():
    data = vector("scenes-of-groups")
    assert validate(data).conforming and validate(data).groups == 6
    damaged = flip(data, unit_of(data, UnitType.FRAME, 0)["offset"] + 20)
    report = validate(damaged)
    assert [f.requirement for f in report.findings if f.severity == "error"] == ["R-UNIT-03"]
    assert report.checked == report.frames - 1  # the two frames of the first group are lost, one of them unreadable
    for name in ("scenes-backwards", "scenes-interleaved"):
        report = validate(vector(name, "invalid"))
        assert [f.requirement for f in report.findings if f.severity == "error"] == ["R-GRP-06"]
        assert report.checked == report.frames


def test_scene_order_is_checked_behind_damage():
    data = vector("scenes-interleaved", "invalid")
    report = validate(flip(data, _offset(data, UnitType.FRAME, 1) + 20))
    assert [f.requirement for f in report.findings if f.severity == "error"] == ["R-UNIT-03", "R-GRP-06"]


def _offset(data: bytes, kind: UnitType, n: int) -> int:
    """Offset of the n-th unit of a type in a file that need not conform."""
    at = 16
    while data[at] != kind or n:
        n -= data[at] == kind
        at += 10 + int.from_bytes(data[at + 2 : at + 6], "little")
    return at


@pytest.mark.parametrize("name", ["model-work-level-1-full", "model-work-masks-full"])
def test_needed_level_counts_the_models_work(name):
    assert validate(vector(name)).needed_level == 1
    raised = bytearray(vector(name.replace("-full", ""), "limit"))
    raised[:16] = build_file_header(2)
    assert validate(bytes(raised)).needed_level == 2 and notes(bytes(raised)).count("W001") == 0


def test_unused_models_are_named_where_they_are_defined():
    data = small_stream()
    for finding in validate(data).findings:
        frame = next(f for f in inspect(io.BytesIO(data)).frames if f.number == finding.frame)
        assert frame.offset < finding.offset < frame.offset + frame.bytes


# One deliberate violation each, at the place and of the kind that the register says.

VIOLATIONS = [
    ("R-SEQ-04", 0, 3, b"\0\0\0\0"), ("R-CAM-01", CAMERAS, 8, b"\0\0"), ("R-MET-01", METADATA, 3, b"T"),
    ("R-GRP-01", GROUP_1, 0, b"x"), ("R-GRP-03", GROUP_1, 8, b"\x05"), ("R-FRM-02", FRAME_4, 4, b"\x01"),
    ("R-OCC-04", FRAME_0, 9, b"\x04"), ("R-FRM-04", FRAME_3, 5, b"\0\0\0\0"),
]


@pytest.mark.parametrize("requirement, unit, at, new", VIOLATIONS, ids=[v[0] for v in VIOLATIONS])
def test_findings_carry_what_the_register_says(requirement, unit, at, new):
    finding = next(f for f in validate(changed((unit, at, new))).findings if f.severity == "error")
    rule = REQUIREMENTS[requirement]
    assert (finding.requirement, finding.code, finding.section) == (requirement, rule.code, rule.section)
    assert finding.cause == ERROR_CODES[rule.code].cause and finding.name == ERROR_CODES[rule.code].name
    start = REPORT.units[unit]["offset"]
    assert start <= finding.offset < start + REPORT.units[unit]["bytes"] and finding.element


def first_error(data: bytes) -> str | None:
    try:
        for _ in open_stream(io.BytesIO(data)):
            pass
    except BitstreamError as e:
        return e.requirement
    return None


@settings(max_examples=80)
@given(changes=st.lists(st.tuples(st.integers(0, 14), st.integers(0, 400), st.integers(0, 255)), max_size=3),
       damage=st.lists(st.integers(0, len(STREAM) - 1), max_size=2))
def test_the_verdict_is_the_decoders(changes, damage):
    """Whatever is done to a stream, also behind valid checksums: the first error is the decoder's, or none is."""
    parts = units()
    for number, at, value in changes:
        size = len(parts[number]) - 10
        parts[number] = payload_changed(parts[number], at % size, bytes([value]))
    data = flip(join(parts), *damage)
    report = validate(data)
    expected = first_error(data)
    assert report.conforming == (expected is None)
    if expected is not None:
        assert report.findings[[f.severity for f in report.findings].index("error")].requirement == expected
    VALIDATOR.validate(json.loads(json.dumps(dict(
        tool=dict(name="", version=""), specification=dict(name="", version=""), files=[report.to_dict()]))))


@settings(max_examples=60)
@given(cut=st.integers(0, len(STREAM) - 1))
def test_every_truncation_is_found(cut):
    assert "R-FILE-06" in errors(STREAM[:cut]) or cut < 8 and errors(STREAM[:cut])


# Command line


def run(*args, data=None):
    return CliRunner().invoke(cli, ["validate", *map(str, args)], input=data)


@pytest.fixture
def good(tmp_path) -> Path:
    path = tmp_path / "good.rfv"
    path.write_bytes(STREAM)
    return path


@pytest.fixture
def bad(tmp_path) -> Path:
    path = tmp_path / "bad.rfv"
    path.write_bytes(flip(STREAM, REPORT.frames[1].offset + 20, REPORT.frames[4].offset + 20))
    return path


def test_exit_codes(good, bad, tmp_path):
    assert run(good).exit_code == 0
    assert run(bad).exit_code == 2
    assert run(tmp_path / "nothing").exit_code == 1
    assert run(good, tmp_path / "nothing").exit_code == 1
    assert run(good, tmp_path / "nothing", bad).exit_code == 2
    assert run("-", data=STREAM).exit_code == 0
    assert run(tmp_path).exit_code == 1


def test_text_report(good, bad):
    result = run(good, bad)
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"{good}: conforms to RFV 0.5")
    assert lines[-1].startswith(f"{bad}: does not conform") and "2 errors" in lines[-1]
    assert "likely cause: The unit was damaged, its size field included." in result.stdout
    assert "(R-UNIT-03, section 4.2)" in result.stdout
    assert len(run(good, bad, "--quiet").stdout.splitlines()) == 2


def test_json_report(good, bad, tmp_path):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    result = run(good, bad, tmp_path / "nothing", "--json")
    report = json.loads(result.stdout)
    VALIDATOR.validate(report)
    assert result.exit_code == 2 and result.stderr == ""
    conforming, damaged, missing = report["files"]
    assert conforming["conforming"] and not damaged["conforming"] and "No such file" in missing["failure"]
    assert damaged["counts"]["error"] == len([f for f in damaged["findings"] if f["severity"] == "error"]) == 2
    for broken in ({**report, "extra": 1}, {**report, "files": [{**damaged, "conforming": "no"}]}):
        assert not VALIDATOR.is_valid(broken)


@pytest.mark.parametrize("name", [*ERROR_CODES, *REQUIREMENTS, *NOTES])
def test_everything_is_explained(name):
    text = explain(name)
    if name in NOTES:
        assert NOTES[name].text in text
        return
    rules = [REQUIREMENTS[name]] if name in REQUIREMENTS else [r for r in REQUIREMENTS.values() if r.code == name]
    for rule in rules:
        assert f"{rule.id} (section {rule.section})\n  {rule.text}" in text
    assert ERROR_CODES[rules[0].code].cause in text


def test_explain_quotes_the_specification(tmp_path):
    text = run("--explain", "r-unit-03").stdout
    assert "| After the payload follows `unit_crc`, a `u32`: **R-UNIT-03**" in text
    assert run("--explain", "bad_unit_checksum").stdout.startswith("E0203 bad_unit_checksum")
    row = run("--explain", "R-SEQ-04").stdout
    assert "| | `ticks_per_second` | `u32` |" in row and "R-SEQ-03 |" not in row
    assert "R-UNIT-03" in explain("R-UNIT-03", tmp_path)  # without the text, the register's words
    result = run("--explain", "E9999")
    assert result.exit_code == 1 and "E9999" in result.stderr
    with pytest.raises(UsageError):
        explain("R-UNIT-99")


def test_every_requirement_is_in_the_text():
    folder = specification_folder()
    text = "\n".join(p.read_text("utf-8") for p in folder.glob("*.md") if not p.name.startswith("11-"))
    assert [r for r in REQUIREMENTS if r not in text] == []


def test_the_manual_lists_every_remark():
    manual = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for note in NOTES.values():
        assert f"| {note.code} `{note.name}` |" in manual


def test_the_model_of_the_occupancy_is_used():
    """A stream whose occupancy is entropy coded has a model that no tensor names."""
    source = ROOT / "conformance/sources/fox-micro.rfv"
    with refcodec.open(source) as stream:
        assert any(frame.syntax.occupancy_model_ref is not None for frame in stream)
    assert refcodec.validate(source).findings == []
