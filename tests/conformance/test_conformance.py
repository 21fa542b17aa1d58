"""The conformance suite: complete, made by its generator, and decoded as expected by refcodec and by the text."""
from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import spec_decoder
from checkout import ROOT
from refcodec.entropy import occupancy
from refcodec.requirements import ERROR_CODES, REQUIREMENTS
from refcodec.syntax import structures
from refcodec.syntax.declare import Nested, Structure

SUITE = ROOT / "conformance"
MANIFEST = json.loads((SUITE / "manifest.json").read_text("utf-8"))
VECTORS = MANIFEST["vectors"]
# Requirements on decoders, not on bitstreams: tests/unit/test_stream.py breaks the limits.
NOT_ON_BITSTREAMS = {"R-LIM-01"}

sys.path.insert(0, str(SUITE))
import lzma2


def stream(vector) -> bytes:
    return (SUITE / vector["path"] / "stream.rfv").read_bytes()


def expected(vector) -> list[str]:
    return (SUITE / vector["path"] / "expected.txt").read_text("utf-8").splitlines()


@pytest.fixture(scope="module")
def generate():
    import generate

    return generate


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_refcodec_decodes_as_expected(vector, generate):
    assert generate.refcodec_lines(stream(vector)) == expected(vector)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_the_text_decodes_as_expected(vector):
    assert spec_decoder.digest_lines(stream(vector)) == expected(vector)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_description_agrees_with_the_files(vector):
    folder = SUITE / vector["path"]
    digests = (folder / "expected.txt").read_bytes()
    assert hashlib.sha256(stream(vector)).hexdigest() == vector["sha256"]
    assert hashlib.sha256(digests).hexdigest() == vector["expected_sha256"]
    assert len(stream(vector)) == vector["size"]
    description = json.loads((folder / "vector.json").read_text("utf-8"))
    jsonschema.validate(description, json.loads((SUITE / "schema/vector.schema.json").read_text()))
    assert description == {k: v for k, v in vector.items() if k not in ("path", "expected_sha256")}
    assert vector["path"] == f"vectors/{vector['kind']}/{vector['name']}"
    last = digests.decode().splitlines()[-1].split()
    if vector["kind"] == "valid":
        assert last == ["end", str(vector["frames"])] and vector["requirement"] is vector["code"] is None
    else:
        rule = REQUIREMENTS[vector["requirement"]]
        assert last == ["error", vector["code"], vector["requirement"]]
        assert vector["code"] == rule.code and vector["kind"] == ERROR_CODES[rule.code].kind


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_validate_finds_the_broken_requirement_first(vector):
    from refcodec.validation import validate

    broken = [f.requirement for f in validate(stream(vector)).findings if f.severity == "error"]
    assert broken[:1] == ([vector["requirement"]] if vector["requirement"] else [])


def content_or_none(decode, raw, size, *more):
    try:
        return decode(raw, size, *more)
    except ValueError:
        return None


def inflated_by_the_text(raw: bytes, size: int) -> bytes:
    space = spec_decoder.namespace()
    try:
        return space["inflate"](raw, size)
    except space["Refused"] as e:
        raise ValueError(e.requirement) from None


@pytest.fixture(scope="module")
def lzma2_streams(generate) -> list[tuple[bytes, int, bytes | None]]:
    """Occupancy of the vectors that are about LZMA2, the size of its content, and the content by Python's lzma."""
    from refcodec.syntax.headers import SequenceHeader
    from refcodec.syntax.registry import LEVELS, UnitType
    from refcodec.syntax.units import UnitReader

    streams = []
    for vector in VECTORS:
        if vector["name"].startswith("lzma-"):
            reader, header = UnitReader(io.BytesIO(stream(vector))), None
            level = LEVELS[reader.read_file_header().level]
            for unit in reader.units():
                if unit.type in (UnitType.SEQUENCE_HEADER, UnitType.FRAME):
                    structure = structures.FRAME if header else structures.SEQUENCE_HEADER
                    value, _ = structure.parse(unit.payload, 0, level=level, header=header)
                    if header:
                        size = (np.prod(header.occupancy_shape, dtype=int) + 7) // 8
                        content = content_or_none(occupancy.decompress, value.occupancy_data, size)
                        streams.append((value.occupancy_data, size, content))
                    else:
                        header = SequenceHeader.from_syntax(value)
    return streams


def test_lzma2_read_by_hand_is_what_the_library_reads(lzma2_streams):
    assert len(lzma2_streams) > 70
    for raw, size, content in lzma2_streams:
        assert content_or_none(lzma2.decode, raw, size) == content
        assert content_or_none(inflated_by_the_text, raw, size) == content


@pytest.mark.parametrize("wrong", lzma2.WRONG_READINGS)
def test_a_vector_decides_against_every_wrong_reading_of_lzma2(wrong, lzma2_streams):
    """The content differs, or a stream is refused that is right, or the other way round."""
    assert any(content_or_none(lzma2.decode, raw, size, wrong) != content for raw, size, content in lzma2_streams)


@settings(max_examples=40)
@given(st.data())
def test_lzma2_written_by_hand_is_read_by_the_library(data):
    import lzma_cases
    from crafting import Dice

    made, dice = lzma2.Stream(), Dice(data.draw(st.integers(0, 1 << 40)))
    controls = data.draw(st.lists(st.sampled_from([2, 0x80, 0xA0, 0xC0, 0xE0]), max_size=6))
    for control in [0xE0, *controls]:
        position = 0 if control == 0xE0 else len(made.content) - made.start
        if control == 2:
            made.stored(bytes(dice.integers(0, 255, data.draw(st.integers(1, 9))).tolist()))
        else:
            lc, pb = data.draw(st.integers(0, 4)), data.draw(st.integers(0, 4))
            operations = lzma_cases.operations(dice, position, data.draw(st.integers(1, 60)))
            made.lzma(control, operations, (lc, data.draw(st.integers(0, 4 - lc)), pb))
    raw, size = made.bytes(), len(made.content)
    assert occupancy.decompress(raw, size) == lzma2.decode(raw, size) == made.content
    damage = data.draw(st.dictionaries(st.integers(0, len(raw) - 1), st.sampled_from([0, 1, 0x80, 255]), max_size=2))
    for place, byte in damage.items():
        raw = raw[:place] + bytes([byte]) + raw[place + 1 :]
    assert content_or_none(inflated_by_the_text, raw, size) == content_or_none(occupancy.decompress, raw, size)


def test_manifest_keeps_its_schema():
    jsonschema.validate(MANIFEST, json.loads((SUITE / "schema/manifest.schema.json").read_text()))
    names = [v["name"] for v in VECTORS]
    assert len(set(names)) == len(names)
    assert {f for v in VECTORS for f in v["features"]} == set(MANIFEST["features"])


def test_every_requirement_and_every_code_has_a_vector():
    broken = {v["requirement"] for v in VECTORS} - {None}
    assert set(REQUIREMENTS) - broken == NOT_ON_BITSTREAMS
    codes = {v["code"] for v in VECTORS} - {None}
    assert set(ERROR_CODES) - codes == {REQUIREMENTS[r].code for r in NOT_ON_BITSTREAMS}


def test_every_syntax_element_occurs_in_a_valid_vector():
    from refcodec.syntax.headers import SequenceHeader
    from refcodec.syntax.registry import UnitType
    from refcodec.syntax.structures import PAYLOADS
    from refcodec.syntax.units import UnitReader

    seen = set()
    for vector in VECTORS:
        if vector["kind"] != "valid" or vector["size"] > 20000:
            continue
        reader, header = UnitReader(io.BytesIO(stream(vector))), None
        bounds = reader.read_file_header().bounds
        for unit in reader.units():
            if unit.known:
                value, trace = PAYLOADS[unit.type].parse(unit.payload, 0, level=bounds, header=header)
                if unit.type == UnitType.SEQUENCE_HEADER:
                    header = SequenceHeader.from_syntax(value)
                seen |= {s.path.rsplit(".", 1)[-1] for s in trace.spans if s.length or s.descriptor == "b2"}
    declared = {item.element for s in vars(structures).values() if isinstance(s, Structure)
                and s.name not in ("file_header", "unit_header") for item in s.items if not isinstance(item, Nested)}
    assert declared == seen


def test_suite_is_what_its_generator_makes(generate):
    files = generate.render(generate.collect(), generate.stored_expectations())
    stored = generate.stored()
    assert files.keys() == stored.keys()
    assert [path for path in files if files[path] != stored[path]] == []


def test_worked_examples_are_made_from_vectors(generate):
    text = generate.EXAMPLES.read_text("utf-8")
    vectors = {v["name"]: stream(v) for v in VECTORS if v["name"] in ("minimal", "two-frames", "small-wavelet-masked")}
    assert generate.examples.fill(text, vectors) == text
    assert text.count("<!-- example:") == 17


@pytest.mark.parametrize("name", ["dct", "wavelet"])
def test_worked_transforms_are_those_of_the_codec(generate, name):
    from refcodec.tensors import transforms

    text = generate.EXAMPLES.read_text("utf-8").split(f"<!-- example: transform {name} -->")[1]
    coefficients, cells = ([int(v) for v in line.split()[1:]] for line in text.splitlines()[2:4])
    kind, levels, count, _ = generate.examples.TRANSFORMS[name]
    assert len(cells) == count and len(set(cells)) > 5
    array = np.array(coefficients, np.int64).reshape(1, 1, -1)
    assert transforms.inverse(kind, levels, array, (1, 1, count)).reshape(-1).tolist() == cells


def test_generator_refuses_what_the_two_decoders_see_differently(generate, monkeypatch):
    vector = next(v for v in VECTORS if v["name"] == "two-frames")
    case = generate.Case("x", "y", ("frames",), stream(vector))
    assert generate.expectation(case)[-1] == "end 2"
    with pytest.raises(ValueError, match="ends with"):
        generate.expectation(generate.Case("x", "y", ("frames",), case.data, "R-DIG-01"))
    monkeypatch.setattr(generate, "refcodec_lines", lambda data: ["rfv-digests 1", "end 0"])
    with pytest.raises(ValueError, match="refcodec says"):
        generate.expectation(case)


def test_suite_is_small_and_has_no_links():
    paths = list(SUITE.rglob("*"))
    assert not any(p.is_symlink() for p in paths)
    assert sum(p.stat().st_size for p in paths if p.is_file() and "__pycache__" not in p.parts) < 6_000_000
    assert (SUITE.parent / "LICENSES" / f"{MANIFEST['licence']}.txt").is_file()


def test_conforming_vectors_decode_without_torch():
    source = ("import sys, glob; sys.modules['torch'] = None; import refcodec\n"
              "print(sum(len(list(refcodec.open(p))) for p in "
              f"sorted(glob.glob(r'{SUITE}/vectors/valid/t*/stream.rfv'))))")
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, cwd=SUITE.parent, check=True)
    assert int(done.stdout) == sum(v["frames"] for v in VECTORS if v["kind"] == "valid" and v["name"].startswith("t"))
