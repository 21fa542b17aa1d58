"""The viewer's reader of streams and its camera, in node: what they must not trust, and where they stop."""
from __future__ import annotations

import json
import shutil
import struct
import subprocess
import zlib

import pytest

from checkout import ROOT
from refcodec.syntax.registry import UnitType
from synthetic import small_stream

WEB = ROOT / "refcodec" / "view" / "web"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


def node(source: str, *arguments: object) -> object:
    """What a module prints as JSON; WEB stands for the address of the viewer's modules."""
    program = source.replace("WEB", WEB.as_uri())
    done = subprocess.run([NODE, "--input-type=module", "-e", program, *map(str, arguments)],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


READER = """
import { readFileSync } from 'node:fs';
import { StreamReader } from 'WEB/stream.js';
const data = new Uint8Array(readFileSync(process.argv[1]));
const source = { size: data.length, read: async (at, length) => data.subarray(at, at + length) };
const reader = await new StreamReader(source).open();
const decoded = [];
await reader.decode(reader.frames.at(-1).number, async (frame) => decoded.push(frame.number));
console.log(JSON.stringify({ frames: reader.frames.map((f) => [f.number, f.offset]), decoded }));
"""


def with_entries(data: bytes, order) -> bytes:
    """The stream with the entries of its index in another order, and a right checksum."""
    at = 16
    while data[at] != UnitType.INDEX:
        at += 6 + struct.unpack_from("<I", data, at + 2)[0] + 4
    size, = struct.unpack_from("<I", data, at + 2)
    payload = data[at + 6 : at + 6 + size]
    count, = struct.unpack_from("<I", payload)
    width = (size - 4) // count
    entries = [payload[4 + i * width : 4 + (i + 1) * width] for i in range(count)]
    unit = data[at : at + 6] + payload[:4] + b"".join(order(entries))
    return data[:at] + unit + struct.pack("<I", zlib.crc32(unit)) + data[at + len(unit) + 4 :]


@pytest.mark.parametrize("order", [
    lambda e: [e[1], e[0], *e[2:]], lambda e: e[::-1], lambda e: [e[0], e[2], e[1], *e[3:]], lambda e: [*e[:-1], e[0]]],
    ids=["first two", "reversed", "within a group", "repeated"])
def test_an_index_out_of_order_is_not_trusted(order, tmp_path):
    """Frames are then found front to back, in their order."""
    data = small_stream(seed=4, groups=(3, 2))
    (tmp_path / "sound.rfv").write_bytes(data)
    (tmp_path / "mixed.rfv").write_bytes(with_entries(data, order))
    assert with_entries(data, lambda e: e) == data
    sound, mixed = node(READER, tmp_path / "sound.rfv"), node(READER, tmp_path / "mixed.rfv")
    assert [number for number, _ in sound["frames"]] == [0, 1, 2, 3, 4]
    assert [number for number, _ in mixed["frames"]] == [0, 1, 2, 3, 4]
    assert mixed["decoded"] == sound["decoded"]


CAMERA = """
import { Camera } from 'WEB/camera.js';
const distances = [];
for (const factor of [1e9, 1e-9, 0.5, 1e-300]) {
  const camera = new Camera();
  camera.around([[-1, -1, -1], [1, 1, 1]], [0, 0, 1]);
  for (let i = 0; i < 3; i++) camera.zoom(factor);
  distances.push([Math.hypot(...camera.eye), ...camera.eye].map((v) => (Number.isFinite(v) ? v : null)));
}
console.log(JSON.stringify(distances));
"""


def test_zoom_has_bounds():
    """The eye stays between a hundredth of and twenty times the box's diagonal from the target."""
    diagonal = 12**0.5
    far, near, middle, least = node(CAMERA)
    assert all(None not in found for found in (far, near, middle, least))
    assert far[0] == pytest.approx(20 * diagonal)
    assert near[0] == pytest.approx(0.01 * diagonal) and least[0] == pytest.approx(0.01 * diagonal)
    assert 0.01 * diagonal < middle[0] < 20 * diagonal
