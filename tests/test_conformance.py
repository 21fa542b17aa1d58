"""The conformance suite: complete, made by its generator, and decoded as expected by refcodec and by the text."""
from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import spec_decoder

from refcodec.requirements import ERROR_CODES, REQUIREMENTS
from refcodec.syntax.declare import Nested, Structure
from refcodec.syntax import structures

SUITE = Path(__file__).parent.parent / "conformance"
MANIFEST = json.loads((SUITE / "manifest.json").read_text("utf-8"))
VECTORS = MANIFEST["vectors"]
# Requirements on decoders, not on bitstreams: tests/test_stream.py breaks the limits.
NOT_ON_BITSTREAMS = {"R-LIM-01"}

sys.path.insert(0, str(SUITE))


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
    import io

    from refcodec.inspection import STRUCTURES
    from refcodec.syntax.headers import SequenceHeader
    from refcodec.syntax.registry import UnitType
    from refcodec.syntax.units import UnitReader

    seen = set()
    for vector in VECTORS:
        if vector["kind"] != "valid" or vector["size"] > 20000:
            continue
        reader, header = UnitReader(io.BytesIO(stream(vector))), None
        bounds = reader.read_file_header().bounds
        for unit in reader.units():
            if unit.known:
                value, trace = STRUCTURES[unit.type].parse(unit.payload, 0, level=bounds, header=header,
                                                           payload_size=len(unit.payload))
                if unit.type == UnitType.SEQUENCE_HEADER:
                    header = SequenceHeader.from_syntax(value)
                seen |= {s.path.rsplit(".", 1)[-1] for s in trace.spans if s.length}
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
    assert text.count("<!-- example:") == 7


def test_generator_refuses_what_the_two_decoders_see_differently(generate, monkeypatch):
    case = generate.Case("x", "y", ("frames",), stream(VECTORS[0]))
    assert generate.expectation(case)[-1] == f"end {VECTORS[0]['frames']}"
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
              f"print(sum(len(list(refcodec.open(p))) for p in sorted(glob.glob(r'{SUITE}/vectors/valid/t*/stream.rfv'))))")
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, cwd=SUITE.parent, check=True)
    assert int(done.stdout) == sum(v["frames"] for v in VECTORS if v["kind"] == "valid" and v["name"].startswith("t"))
