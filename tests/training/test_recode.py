"""Re-encoding a file: the same frames, whatever tools they use, and no traceback."""
import io
import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

from checkout import ROOT

torch = pytest.importorskip("torch")

import refcodec
from refcodec.cli import cli
from refcodec.decoding import open_stream
from refcodec.editing import extract
from refcodec.encoder.recode import recode
from refcodec.errors import BitstreamError
from refcodec.validation import validate

VECTORS = ROOT / "conformance" / "vectors" / "valid"
SCHEMA = json.loads((Path(refcodec.__file__).parent / "schemas" / "edit.schema.json").read_text())
# Every transform, masks, a shared unit, coded occupancy, frames without some tensors, units of unknown type.
KINDS = ("real-fox-micro", "planes-dct", "planes-wavelet", "small-shared-dct", "mask-dct-and-occupancy",
         "template-15-planes", "occupancy-by-frequency", "mask-comes-and-goes", "unknown-ancillary-units",
         "transform-changes", "constant-offsets")


def recoded(data: bytes) -> bytes:
    out = io.BytesIO()
    report = recode(io.BytesIO(data), out, iterations=4)
    assert (report.bytes, report.details["bytes_before"]) == (len(out.getvalue()), len(data))
    return out.getvalue()


@pytest.mark.parametrize("name", KINDS)
def test_frames_stay_as_they_were(name):
    data = (VECTORS / name / "stream.rfv").read_bytes()
    again = recoded(data)
    before, after = open_stream(io.BytesIO(data)), open_stream(io.BytesIO(again))
    for a, b in zip(before, after, strict=True):
        assert (a.number, a.type, a.syntax.time_stamp, a.syntax.frame_digest) == (
            b.number, b.type, b.syntax.time_stamp, b.syntax.frame_digest)
        for x, y in zip(a.tensors, b.tensors, strict=True):
            np.testing.assert_array_equal(x, y)
        assert a.occupancy is None and b.occupancy is None or np.array_equal(a.occupancy, b.occupancy)
    assert [c.camera_to_world.tolist() for c in before.cameras] == [c.camera_to_world.tolist() for c in after.cameras]
    assert before.metadata == after.metadata


def test_a_file_coded_with_static_tables_becomes_smaller(tmp_path):
    wasteful, out = tmp_path / "wasteful.rfv", tmp_path / "out.rfv"
    with open(VECTORS / "real-fox-micro" / "stream.rfv", "rb") as file, open(wasteful, "wb") as target:
        extract(file, target, 1)
    result = CliRunner().invoke(cli, ["recode", str(wasteful), str(out), "--iterations", "60", "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    jsonschema.Draft202012Validator(SCHEMA).validate(report)
    assert report["written"]["bytes"] == out.stat().st_size <= report["bytes_before"] == wasteful.stat().st_size
    assert validate(out).verdict().startswith("conforms")


def test_damaged_files_are_refused_and_leave_nothing(tmp_path):
    data = (VECTORS / "planes-dct" / "stream.rfv").read_bytes()
    flipped = data[:200] + bytes([data[200] ^ 1]) + data[201:]
    for broken in (data[:-1], data[: len(data) // 2], flipped, b"", data + b"x"):
        with pytest.raises(BitstreamError):
            recode(io.BytesIO(broken), io.BytesIO(), iterations=4)
        source, out = tmp_path / "broken.rfv", tmp_path / "out.rfv"
        source.write_bytes(broken)
        result = CliRunner().invoke(cli, ["recode", str(source), str(out), "--iterations", "4"])
        assert result.exit_code == 2 and not out.exists()
        assert result.stderr.splitlines()[-1].startswith("refcodec: error: E") and "Traceback" not in result.output
