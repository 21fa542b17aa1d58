"""The command line: decode, failures, exit codes, what is imported."""
from __future__ import annotations

import hashlib
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import refcodec
from checkout import ROOT
from refcodec.cli import cli
from refcodec.commands.common import FrameRange
from refcodec.syntax.structures import GROUP_SYNC
from synthetic import small_stream

STREAM = small_stream()

# Importing torch (or, where asked, numpy) fails as if it were not installed.
BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError("No module named " + repr(name))
sys.meta_path.insert(0, Blocker())
from refcodec.cli import main
main()
"""


def run(*args, data=None):
    return CliRunner().invoke(cli, [str(a) for a in args], input=data)


def process(*args, blocked=(), **options) -> subprocess.Popen:
    command = ["-c", BLOCKER.format(blocked=set(blocked))] if blocked else ["-m", "refcodec.cli"]
    return subprocess.Popen([sys.executable, *command, *map(str, args)], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, **options)


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "small.rfv"
    path.write_bytes(STREAM)
    return path


def damaged(tmp_path, offset: int) -> Path:
    data = bytearray(STREAM)
    data[offset] ^= 0x10
    path = tmp_path / "damaged.rfv"
    path.write_bytes(data)
    return path


def group_offsets(data: bytes = STREAM) -> list[int]:
    found, at = [], data.find(GROUP_SYNC)
    while at >= 0:
        found.append(at - 6)
        at = data.find(GROUP_SYNC, at + 1)
    return found


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def frames_of(digests: str) -> dict[int, list[str]]:
    """Digest list -> frame number: its lines."""
    frames: dict[int, list[str]] = {}
    for line in digests.splitlines()[1:-1]:
        if line.startswith("frame "):
            current = frames.setdefault(int(line.split()[1]), [])
        current.append(line)
    return frames


# decode


def test_decode_writes_what_the_library_decodes(file, tmp_path):
    out = tmp_path / "out"
    result = run("decode", file, out)
    assert result.exit_code == 0, result.output
    assert names(out) == ["digests.txt", *(f"frame_{i:06d}.npz" for i in range(5)), "sequence.json"]
    lines = (out / "digests.txt").read_text().splitlines()
    assert lines[0] == "rfv-digests 1" and lines[-1] == "end 5"
    expected = []
    with refcodec.open(file) as stream:
        for frame in stream:
            with np.load(out / f"frame_{frame.number:06d}.npz") as arrays:
                assert len(arrays) == len(frame.tensors) + 1
                np.testing.assert_array_equal(arrays["occupancy"], frame.occupancy)
                expected.append(f"frame {frame.number} {'IP'[frame.type - 1]} {frame.time_stamp}")
                packed = np.packbits(arrays["occupancy"].ravel(), bitorder="little").tobytes()
                expected.append(f"occupancy {hashlib.sha256(packed).hexdigest()}")
                for i, tensor in enumerate(frame.tensors):
                    stored = arrays[f"tensor_{i:02d}"]
                    assert stored.dtype == np.int32
                    np.testing.assert_array_equal(stored, tensor)
                    expected.append(f"tensor {i} {hashlib.sha256(stored.astype('<i4').tobytes()).hexdigest()}")
    assert lines[1:-1] == expected
    sequence = json.loads((out / "sequence.json").read_text())
    assert [f["type"] for f in sequence["frames"]] == list("IPPIP")
    assert sequence["frames"][1]["file"] == "frame_000001.npz"
    assert sequence["cameras"][0]["name"] == "front" and sequence["metadata"]["comment"] == "ümlaut"
    assert sequence["sequence"]["tensors"][1]["shape"] == [2, 5, 6, 7]


def test_decode_safetensors(file, tmp_path):
    load_file = pytest.importorskip("safetensors.numpy").load_file
    assert run("decode", file, tmp_path / "a").exit_code == 0
    assert run("decode", file, tmp_path / "b", "--format", "safetensors").exit_code == 0
    for i in range(5):
        stored = load_file(tmp_path / "b" / f"frame_{i:06d}.safetensors")
        with np.load(tmp_path / "a" / f"frame_{i:06d}.npz") as arrays:
            assert set(stored) == set(arrays)
            for name in arrays:
                np.testing.assert_array_equal(stored[name], arrays[name])


def test_safetensors_missing_is_a_usage_error(file, tmp_path):
    p = process("decode", file, tmp_path / "out", "--format", "safetensors", blocked={"safetensors"})
    _, err = p.communicate()
    assert p.returncode == 1 and b"pip install safetensors" in err and b"Traceback" not in err


def test_digests_without_occupancy_and_digests_only(tmp_path):
    from synthetic import small_header

    path = tmp_path / "plain.rfv"
    path.write_bytes(small_stream(header=small_header(occupancy=(0, 0, 0))))
    target = tmp_path / "list.txt"
    assert run("decode", path, target, "--digests-only").exit_code == 0
    assert target.read_text().count("occupancy -\n") == 5
    assert names(tmp_path) == ["list.txt", "plain.rfv"]
    assert run("decode", path, "-", "--digests-only").stdout == target.read_text()


def scenes(tmp_path) -> Path:
    path = tmp_path / "scenes.rfv"
    path.write_bytes((ROOT / "conformance/vectors/valid/scenes-of-groups/stream.rfv").read_bytes())
    return path


@pytest.mark.parametrize("scene, numbers", [(0, [0, 1, 2]), (1, [5, 6, 7]), (3, [20, 21])])
def test_decode_one_scene(tmp_path, scene, numbers):
    path = scenes(tmp_path)
    whole = frames_of(run("decode", path, "-", "--digests-only").stdout)
    assert run("decode", path, tmp_path / "out", "--scene", scene).exit_code == 0
    found = frames_of((tmp_path / "out" / "digests.txt").read_text())
    assert found == {n: whole[n] for n in numbers}
    sequence = json.loads((tmp_path / "out" / "sequence.json").read_text())
    assert {f["scene"] for f in sequence["frames"]} == {scene} and len(sequence["sequence"]["further_scenes"]) == 3
    piped = run("decode", "-", "-", "--digests-only", "--scene", scene, data=path.read_bytes())
    assert frames_of(piped.stdout) == found


def test_decode_one_scene_refuses_what_is_not_there(tmp_path):
    path = scenes(tmp_path)
    for arguments, text in ((("--scene", 4), "there is no scene 4"), (("--scene", 2), "no such frame in scene 2"),
                            (("--scene", 1, "--frames", ":5"), "no such frame in scene 1")):
        result = run("decode", path, tmp_path / "out", *arguments)
        assert result.exit_code == 1 and text in result.output, result.output
    assert list(frames_of(run("decode", path, "-", "--digests-only", "--scene", 1, "--frames", "6:").stdout)) == [6, 7]


def test_decode_one_scene_of_a_damaged_file(tmp_path):
    path = scenes(tmp_path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    whole = frames_of(run("decode", path, "-", "--digests-only", "--salvage").stdout)
    result = run("decode", path, "-", "--digests-only", "--salvage", "--scene", 3)
    assert result.exit_code == 2 and frames_of(result.stdout) == {n: whole[n] for n in (20, 21)}
    assert run("decode", path, "-", "--digests-only", "--scene", 3).exit_code == 2


@pytest.mark.parametrize("text, numbers", [("3", [3]), ("1:4", [1, 2, 3]), (":2", [0, 1]), ("3:", [3, 4]),
                                           ("4:99", [4])])
@pytest.mark.parametrize("index", [True, False])
def test_frames_seek_to_the_same_digests(tmp_path, text, numbers, index):
    path = tmp_path / "s.rfv"
    path.write_bytes(small_stream(index=index))
    every = frames_of(run("decode", path, "-", "--digests-only").stdout)
    part = run("decode", path, "-", "--digests-only", "--frames", text)
    assert part.exit_code == 0
    assert frames_of(part.stdout) == {n: every[n] for n in numbers}
    assert part.stdout.splitlines()[-1] == f"end {len(numbers)}"


def test_seeking_does_not_read_what_lies_before(tmp_path):
    """A damaged first group is no obstacle to the second one, which the index gives."""
    path = damaged(tmp_path, group_offsets()[0] + 100)
    assert run("decode", path, "-", "--digests-only").exit_code == 2
    part = run("decode", path, "-", "--digests-only", "--frames", "3:5")
    assert part.exit_code == 0 and sorted(frames_of(part.stdout)) == [3, 4]


@pytest.mark.parametrize("text", ["", "x", "5:5", "5:4", "-1", "1:2:3", "1.5", "²", str(1 << 32)])
def test_bad_frame_ranges(file, text):
    result = run("decode", file, "-", "--digests-only", f"--frames={text}")
    assert result.exit_code == 1 and "frame" in result.stderr


def test_open_range_covers_every_frame_number():
    assert FrameRange().convert("4:", None, None) == range(4, 1 << 32)


def test_no_such_frame(file, tmp_path):
    result = run("decode", file, tmp_path / "out", "--frames", "77:80")
    assert result.exit_code == 1 and "no frame in 77:80" in result.stderr
    assert names(tmp_path / "out") == []


def test_pipe_gives_the_same_list(file):
    p = process("decode", "-", "-", "--digests-only")
    out, err = p.communicate(STREAM)
    assert p.returncode == 0 and err == b""
    assert out.decode() == run("decode", file, "-", "--digests-only").stdout


def test_salvage_decodes_intact_groups(file, tmp_path):
    every = frames_of(run("decode", file, "-", "--digests-only").stdout)
    path, out = damaged(tmp_path, group_offsets()[0] + 100), tmp_path / "out"
    result = run("decode", path, out, "--salvage")
    assert result.exit_code == 2
    assert "E0203" in result.stderr and "lost: 0-2" in result.stderr
    digests = (out / "digests.txt").read_text()
    assert frames_of(digests) == {n: every[n] for n in (3, 4)}
    assert digests.splitlines()[-1] == "error E0203 R-UNIT-03"
    report = json.loads((out / "salvage.json").read_text())
    assert report["decoded"] == [3, 4] and report["lost"] == [0, 1, 2]
    assert [e["requirement"] for e in report["errors"]] == ["R-UNIT-03"]
    assert json.loads((out / "sequence.json").read_text())["cameras"][0]["name"] == "front"


def test_salvage_of_an_intact_file_loses_nothing(file, tmp_path):
    result = run("decode", file, tmp_path / "out", "--salvage", "--quiet")
    assert result.exit_code == 0 and result.stderr == ""
    assert json.loads((tmp_path / "out" / "salvage.json").read_text()) == dict(
        decoded=[0, 1, 2, 3, 4], lost=[], errors=[])
    assert (tmp_path / "out" / "digests.txt").read_text() == run("decode", file, "-", "--digests-only").stdout


def test_an_error_ends_the_list_after_the_frames_before_it(file, tmp_path):
    every = frames_of(run("decode", file, "-", "--digests-only").stdout)
    path, out = damaged(tmp_path, group_offsets()[1] + 100), tmp_path / "out"
    result = run("decode", path, out)
    assert result.exit_code == 2
    digests = (out / "digests.txt").read_text()
    assert frames_of(digests) == {n: every[n] for n in range(3)}
    assert digests.splitlines()[-1] == "error E0203 R-UNIT-03"
    assert "frame_000002.npz" in names(out) and not any(".part" in n for n in names(out))


def test_limit_elements(file):
    result = run("decode", file, "-", "--digests-only", "--limit-elements", "100")
    assert result.exit_code == 2 and result.stdout.splitlines()[-1] == "error E1301 R-LIM-01"
    assert run("decode", file, "-", "--digests-only", "--limit-elements", "816").exit_code == 0


def test_tensors_do_not_go_to_standard_output(file):
    result = run("decode", file, "-")
    assert result.exit_code == 1 and "--digests-only" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_interrupt_leaves_whole_files_only(tmp_path):
    out = tmp_path / "out"
    # Tests may run where interrupts are ignored, which children would inherit.
    p = process("decode", "-", out, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    p.stdin.write(STREAM[: group_offsets()[1] + 40])  # one group and a little
    p.stdin.flush()
    deadline = time.monotonic() + 20
    while not (out / "frame_000002.npz").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    p.send_signal(signal.SIGINT)
    err = p.stderr.read()
    p.stdin.close()
    assert p.wait() == 130 and b"Traceback" not in err
    assert names(out) == [f"frame_{i:06d}.npz" for i in range(3)]
    for name in names(out):
        np.load(out / name).close()


# Failures


@pytest.mark.parametrize("command", ["decode", "inspect", "validate", "render"])
def test_missing_file_is_one_line_and_code_1(command, tmp_path):
    result = run(command, tmp_path / "nothing", *([tmp_path / "out"] if command in ("decode", "render") else []))
    assert result.exit_code == 1
    assert result.stderr.startswith("refcodec: error: can't") and result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["decode", "inspect", "validate", "render"])
@pytest.mark.parametrize("data, code", [(b"PK\3\4 not a radiance field", "E0101"), (b"", "E0101"),
                                        (STREAM[:9], "E0106"), (STREAM[:3000], "E0106"),
                                        (STREAM.replace(b"\r\n", b"\n"), "E0101")])
def test_not_conforming_is_code_2(command, data, code, tmp_path):
    path = tmp_path / "x.rfv"
    path.write_bytes(data)
    arguments = {"decode": ["-", "--digests-only"],
                 "render": [tmp_path / "out", "--scale", "0.1", "--backend", "numpy"]}
    result = run(command, path, *arguments.get(command, []))
    assert result.exit_code == 2
    assert code in result.output and "Traceback" not in result.output


@pytest.mark.parametrize("arguments", [(), ("--nonsense",), ("unknown",), ("decode",), ("decode", "a"),
                                       ("decode", "a", "b", "--format", "xml"), ("validate",)])
def test_wrong_usage_is_code_1(arguments):
    result = run(*arguments)
    assert result.exit_code == 1 and "Usage" in result.stderr


def test_an_unexpected_exception_is_a_defect(file, monkeypatch):
    monkeypatch.setattr("refcodec.validation.validate", lambda path, limits: 1 / 0)
    result = run("validate", file)
    assert result.exit_code == 3
    assert "ZeroDivisionError" in result.stderr and "report" in result.stderr and "Traceback" not in result.stderr
    result = run("--debug", "validate", file)
    assert result.exit_code == 3 and "Traceback" in result.stderr


def test_unwritable_output_is_code_1(file, tmp_path):
    (tmp_path / "taken").write_text("")
    result = run("decode", file, tmp_path / "taken")
    assert result.exit_code == 1 and "can't make the folder" in result.stderr
    result = run("decode", file, tmp_path / "no" / "list.txt", "--digests-only")
    assert result.exit_code == 1 and "no such folder" in result.stderr


def test_a_reader_that_leaves_early_causes_no_noise(file):
    p = process("inspect", file, "--hex")
    p.stdout.read(10)
    p.stdout.close()
    assert b"Traceback" not in p.stderr.read() and b"Exception" not in p.stderr.read()
    p.stdin.close()
    p.wait()


def test_output_is_utf8_without_a_terminal(file):
    p = process("inspect", file, env={**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    out, err = p.communicate()
    assert p.returncode == 0 and "ümlaut" in out.decode("utf-8") and b"\x1b" not in out + err


def test_metadata_cannot_steer_the_terminal(tmp_path):
    from refcodec.syntax.units import build_unit
    from refcodec.writer import build_metadata

    whole = small_stream(cameras=False, metadata=False, index=False)
    group = whole.find(GROUP_SYNC) - 6
    path = tmp_path / "m.rfv"
    path.write_bytes(whole[:group] + build_unit(7, build_metadata({"title": "a\x1b[31mb\nc"})) + whole[group:])
    result = run("inspect", path)
    assert result.exit_code == 0 and "\x1b" not in result.stdout and r"a\x1b[31mb\nc" in result.stdout


def test_help_and_version_list_the_commands():
    assert refcodec.__version__ in run("--version").stdout
    text = run("--help").stdout
    for name in ("encode", "decode", "render", "inspect", "validate"):
        assert name in text
        assert run(name, "--help").exit_code == 0


# Imports and start-up


def torch_free(*arguments, data=None, blocked=("torch",)):
    p = process(*arguments, blocked=blocked)
    out, err = p.communicate(data)
    return p.returncode, out, err


@pytest.mark.parametrize("arguments", [("decode", "-", "-", "--digests-only"), ("validate", "-"), ("inspect", "-"),
                                       ("inspect", "-", "--symbols")])
def test_reading_needs_no_torch(arguments):
    code, out, err = torch_free(*arguments, data=STREAM)
    assert code == 0 and out, err


def test_inspecting_needs_no_numpy(file):
    code, out, err = torch_free("inspect", file, "--hex", "--json", blocked=("torch", "numpy", "rich"))
    assert code == 0, err
    assert json.loads(out)["complete"]


def test_rendering_falls_back_to_numpy(file, tmp_path):
    code, _, err = torch_free("render", file, tmp_path / "r", "--frames", "0", "--scale", "0.2")
    assert code == 0 and b"(numpy)" in err, err
    assert names(tmp_path / "r") == ["frame_000000_camera_00_front.png"]
    code, _, err = torch_free("render", file, tmp_path / "r", "--backend", "torch", "--force")
    assert code == 1 and b"refcodec[encode]" in err and b"Traceback" not in err


def test_encoding_without_torch_says_what_to_install(tmp_path):
    code, _, err = torch_free("encode", "demo/fox", tmp_path / "x.rfv")
    assert code == 1 and b'pip install "refcodec[encode]"' in err and b"Traceback" not in err


def test_public_names_resolve_lazily(file):
    code = "import sys, refcodec; assert 'numpy' not in sys.modules; refcodec.open; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert set(refcodec.__all__) <= set(dir(refcodec))
    with refcodec.open(file) as stream:
        assert [f.number for f in stream.frames(range(3, 9))] == [3, 4]
    with pytest.raises(AttributeError):
        assert refcodec.nonsense


def test_future_version_is_named(tmp_path):
    head = STREAM[:8] + bytes([7, 3]) + STREAM[10:12]
    path = tmp_path / "future.rfv"
    path.write_bytes(head + struct.pack("<I", zlib.crc32(head)) + STREAM[16:])
    result = run("decode", path, "-", "--digests-only")
    assert result.exit_code == 2 and "E0103" in result.stderr and "7.3" in result.stderr
