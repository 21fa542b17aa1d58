"""Makes the conformance suite: `python conformance/generate.py [--check | --stress DIR]`.

Writes vectors/, manifest.json and the worked examples of spec/annex-b-examples.md.
The expected results come from the decoder that the text of the specification
contains; a vector on which refcodec disagrees with it, or that breaks another
requirement than it is meant to, is not written: the generator stops. The same
sources give the same bytes (as long as liblzma compresses as it did).

`--check` only names what is stale. `--stress DIR` writes a suite of large streams
instead, whose expected results are refcodec's alone: the text's decoder is too slow.
"""
from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT), str(ROOT / "tests")]

import bad_cases  # noqa: E402
import bad_tool_cases  # noqa: E402
import context_cases  # noqa: E402
import examples  # noqa: E402
import field_cases  # noqa: E402
import lzma_cases  # noqa: E402
import occupancy_cases  # noqa: E402
import spec_decoder  # noqa: E402
import stress_cases  # noqa: E402
import tool_cases  # noqa: E402
import valid_cases  # noqa: E402
from cases import FEATURES, Case, Collection  # noqa: E402
from refcodec.decoding import open_stream  # noqa: E402
from refcodec.errors import BitstreamError  # noqa: E402
from refcodec.export import DigestList  # noqa: E402
from refcodec.files import replacing  # noqa: E402
from refcodec.inspection import inspect  # noqa: E402
from refcodec.requirements import ERROR_CODES, REQUIREMENTS  # noqa: E402

VERSION = "0.5.0"
LICENCE = "CC0-1.0"
# Vectors that come with the report of `refcodec inspect --json`.
INSPECTED = ("minimal", "two-frames", "ordinary", "cameras-and-metadata", "unknown-ancillary-units", "small-shared-dct",
             "planes-wavelet")
EXAMPLES = ROOT / "spec" / "annex-b-examples.md"


def collect() -> list[Case]:
    """All cases, conforming ones first."""
    collection = Collection()
    for module in (valid_cases, field_cases, tool_cases, bad_cases, bad_tool_cases, lzma_cases):
        module.add_all(collection)
    occupancy_cases.add_valid(collection)
    context_cases.add_all(collection)
    context_cases.add_bad(collection)
    occupancy_cases.add_bad(collection)
    return collection.cases


def refcodec_lines(data: bytes) -> list[str]:
    """The digest list of refcodec for a file."""
    out = io.StringIO()
    digests, error = DigestList(out), None
    try:
        for frame in open_stream(io.BytesIO(data)):
            digests.add(frame)
    except BitstreamError as e:
        error = e
    digests.end(error)
    return out.getvalue().splitlines()


def last_line(case: Case) -> str:
    """How the expected digest list of a case begins its last line, or the whole of it."""
    if case.requirement is None:
        return "end "
    return f"error {REQUIREMENTS[case.requirement].code} {case.requirement}"


def expectation(case: Case) -> list[str]:
    """The digest list on which the text and refcodec agree. Raises ValueError when they don't."""
    text, own = spec_decoder.digest_lines(case.data), refcodec_lines(case.data)
    if text != own:
        at = next(i for i, (a, b) in enumerate(zip([*text, None], [*own, None])) if a != b)
        raise ValueError(f"{case.name}: the text says {text[at:]}, refcodec says {own[at:]}")
    if not text[-1].startswith(last_line(case)):
        raise ValueError(f"{case.name}: ends with {text[-1]!r}, not {last_line(case)!r}")
    return text


def kind_of(case: Case) -> str:
    """valid, malformed, invalid or limit: the folder of the vector."""
    return "valid" if case.requirement is None else ERROR_CODES[REQUIREMENTS[case.requirement].code].kind


def to_json(value) -> bytes:
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def inspection(data: bytes) -> dict:
    """What `refcodec inspect` reports, without the names of program and file."""
    report = inspect(io.BytesIO(data)).to_dict()
    del report["tool"], report["file"]["path"]
    return report


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def render(cases: list[Case], expected: dict[str, list[str]]) -> dict[str, bytes]:
    """Every file of the suite: path below conformance/ -> content."""
    files, vectors = {}, []
    for case in cases:
        folder = f"vectors/{kind_of(case)}/{case.name}"
        lines = expected[case.name]
        description = dict(
            name=case.name, kind=kind_of(case), description=case.description, features=list(case.features),
            requirement=case.requirement, code=REQUIREMENTS[case.requirement].code if case.requirement else None,
            frames=sum(line.startswith("frame ") for line in lines), size=len(case.data), sha256=sha256(case.data))
        digests = "".join(line + "\n" for line in lines).encode()
        files |= {f"{folder}/stream.rfv": case.data, f"{folder}/vector.json": to_json(description),
                  f"{folder}/expected.txt": digests}
        if case.name in INSPECTED:
            files[f"{folder}/inspect.json"] = to_json(inspection(case.data))
        vectors.append(dict(path=folder, **description, expected_sha256=sha256(digests)))
    files["manifest.json"] = to_json(dict(
        suite="RFV conformance suite", version=VERSION, specification="0.5", licence=LICENCE,
        features=FEATURES, vectors=vectors))
    return files


def stored() -> dict[str, bytes]:
    """The generated files that are there."""
    paths = [p for p in (HERE / "vectors").rglob("*") if p.is_file()] + [HERE / "manifest.json"]
    return {p.relative_to(HERE).as_posix(): p.read_bytes() for p in paths if p.exists()}


def stored_expectations() -> dict[str, list[str]]:
    """The digest lists that are there, by name of the vector."""
    return {p.parent.name: p.read_text().splitlines() for p in HERE.glob("vectors/*/*/expected.txt")}


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_stress(folder: Path) -> int:
    """Writes the suite of large streams."""
    collection = Collection()
    stress_cases.add_all(collection)
    expected = {case.name: refcodec_lines(case.data) for case in collection.cases}
    for path, data in render(collection.cases, expected).items():
        write(folder / path, data)
    print(f"{len(collection.cases)} vectors in {folder}")
    return 0


def main() -> int:
    match sys.argv[1:]:
        case [] | ["--check"]:
            check = len(sys.argv) > 1
        case ["--stress", folder]:
            return write_stress(Path(folder))
        case _:
            print("usage: generate.py [--check | --stress DIR]", file=sys.stderr)
            return 1
    cases = collect()
    files = render(cases, {case.name: expectation(case) for case in cases})
    old = stored()
    annex = examples.fill(EXAMPLES.read_text("utf-8"), {case.name: case.data for case in cases})
    stale = [p for p in sorted(files.keys() | old.keys()) if files.get(p) != old.get(p)]
    if annex != EXAMPLES.read_text("utf-8"):
        stale.append("../spec/annex-b-examples.md")
    if not check:
        for path in stale:
            if path in files:
                write(HERE / path, files[path])
            elif path in old:
                (HERE / path).unlink()
        write(EXAMPLES, annex.encode())
    total = sum(len(data) for data in files.values())
    print(f"{len(cases)} vectors, {total} bytes, {len(stale)} files {'stale' if check else 'changed'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
