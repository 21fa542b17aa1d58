"""The Kaitai Struct description gives every syntax element the value and the place that refcodec gives it."""
from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from checkout import ROOT
from refcodec.inspection import inspect
from refcodec.syntax import kaitai
from refcodec.syntax.declare import Structure
from refcodec.syntax.expressions import Scope, parse
from refcodec.syntax.structures import FILE_HEADER, FRAME, PAYLOADS

DESCRIPTION = ROOT / "spec/rfv.ksy"
VECTORS = sorted((ROOT / "conformance/vectors/valid").iterdir())
COMPILER = "kaitai-struct-compiler@0.11.0"

# debug: a parser that records where each element starts and ends.
COMPILE = """
const compiler = require('kaitai-struct-compiler');
const description = JSON.parse(require('fs').readFileSync(0, 'utf8'));
compiler.compile('python', description, null, true)
    .then(files => process.stdout.write(files['rfv.py']))
    .catch(error => { console.error(String(error)); process.exit(1); });
"""


def test_description_is_not_stale():
    assert DESCRIPTION.read_text("utf-8") == kaitai.description()


@pytest.mark.parametrize("text, reason", [
    ("level.group_frames", "level is not known"), ("rigid(frame_number)", "rigid has")])
def test_an_expression_that_kaitai_can_not_say_is_refused(text, reason):
    expression = parse(text, Scope({"frame_number": False}, {}, {}, {"rigid"}))
    with pytest.raises(ValueError, match=reason):
        kaitai._Kaitai(FRAME).write(expression)


@pytest.fixture(scope="module")
def parser(tmp_path_factory):
    """The description's parser, compiled to Python by Kaitai's own compiler."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is missing")
    pytest.importorskip("kaitaistruct", minversion="0.11", reason="kaitaistruct 0.11 is missing")
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    folder = tmp_path_factory.mktemp("kaitai")
    modules = os.environ.get("NODE_PATH", "")
    if not any((Path(path) / "kaitai-struct-compiler").is_dir() for path in modules.split(os.pathsep) if path):
        if shutil.which("npm") is None:
            pytest.skip("neither kaitai-struct-compiler in NODE_PATH nor npm is there")
        install = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), COMPILER],
                                 capture_output=True, text=True, timeout=120)
        if install.returncode:
            pytest.skip(f"npm can't install {COMPILER}: {install.stderr.strip()[-200:]}")
        modules = str(folder / "node_modules")
    description = yaml.safe_load(DESCRIPTION.read_text("utf-8"))
    done = subprocess.run(["node", "-e", COMPILE], input=json.dumps(description), capture_output=True, text=True,
                          timeout=60, env={**os.environ, "NODE_PATH": modules})
    assert done.returncode == 0, done.stderr
    path = folder / "rfv.py"
    path.write_text(done.stdout, "utf-8")
    spec = importlib.util.spec_from_file_location("rfv", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Rfv


def elements(node, structure: Structure, path: str, base: int) -> Iterator[tuple[str, int, int, object]]:
    """Path, offset, length and value of all syntax elements of a Kaitai object, in order; bits have no place."""
    for item in structure.items:
        value = getattr(node, item.element, None)
        if value is None:
            continue
        name, place = f"{path}.{item.element}", node._debug[item.element]
        inner = getattr(item, "structure", None)
        if inner is None:
            if hasattr(value, "_read"):  # uv, sv
                value = value.value
            elif item.descriptor == "b2":
                yield name, -1, 0, value
                continue
            elif isinstance(value, list):
                value = tuple(v.value if hasattr(v, "_read") else v for v in value)
            yield name, base + place["start"], place["end"] - place["start"], value
        elif isinstance(value, list):
            for i, one in enumerate(value):
                yield from elements(one, inner, f"{name}[{i}]", base)
        else:
            yield from elements(value, inner, name, base)


def parsed_by_kaitai(parser, data: bytes) -> list[list[tuple]]:
    """The elements of the file header and of every unit's payload."""
    from kaitaistruct import KaitaiStream

    root = parser(KaitaiStream(io.BytesIO(data)))
    root._read()
    found = [list(elements(root.file_header, FILE_HEADER, "file_header", 0))]
    for unit, place in zip(root.units, root._debug["units"]["arr"], strict=True):
        if isinstance(unit.payload, bytes):  # of an unknown type
            found.append([])
            continue
        structure = PAYLOADS[unit.unit_header.unit_type]
        found.append(list(elements(unit.payload, structure, structure.name, place["start"] + 6)))
        assert place["end"] - place["start"] == unit.unit_header.unit_size + 10
    return found


def parsed_by_refcodec(data: bytes) -> list[list[tuple]]:
    found: list[list[tuple]] = []
    report = inspect(io.BytesIO(data), on_unit=lambda number, unit, trace: found.append(
        [(s.path, -1, 0, s.value) if s.descriptor == "b2" else (s.path, s.offset, s.length, s.value)
         for s in trace.spans]))
    assert report.error is None
    return found


@pytest.mark.parametrize("part", range(4))
def test_all_valid_vectors_parse_alike(parser, part):
    compared = 0
    for folder in VECTORS[part::4]:
        data = (folder / "stream.rfv").read_bytes()
        ours, theirs = parsed_by_refcodec(data), parsed_by_kaitai(parser, data)
        assert theirs == ours, folder.name
        compared += sum(map(len, ours))
    assert compared > 5000


def test_a_difference_would_be_noticed(parser):
    data = bytearray((ROOT / "conformance/vectors/valid/real-fox-micro/stream.rfv").read_bytes())
    ours = parsed_by_refcodec(bytes(data))
    path, offset, length, value = ours[1][3]
    data[offset] ^= 1
    theirs = parsed_by_kaitai(parser, bytes(data))
    assert theirs[1][3] == (path, offset, length, value ^ 1) and theirs != ours
