"""The rule for outputs (docs/cli.md, "Outputs"), checked for every command that writes.

Devices and pipes are private ones in a temporary folder.
"""
from __future__ import annotations

import ast
import importlib.util
import io
import json
import os
import pty
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from checkout import ROOT
from command_line import ALL
from refcodec import files
from refcodec.cli import cli
from refcodec.commands.common import EditedFile, FileCommand, InputPath, OutputFile, OutputFolder
from refcodec.errors import UsageError
from synthetic import small_stream, write_dataset

STREAM = small_stream()
TORCH = importlib.util.find_spec("torch") is not None

# Every command that writes: {} FILE is a stream, DATA a dataset, SUITE a conformance suite, OUT what is written.
FILES = {
    ("cut",): "FILE OUT --frames :1",
    ("concat",): "FILE OUT",
    ("repair",): "FILE OUT",
    ("extract",): "FILE OUT --frame 0",
    ("recode",): "FILE OUT --iterations 4",
    ("encode",): "DATA OUT --preset micro --intra-iterations 2 --frames :1 --no-evaluate",
    ("encode-scenes",): "DATA OUT --iterations 2 --frames :1 --no-evaluate",
    ("decode",): "FILE OUT --digests-only",
    ("view",): "FILE --export OUT",
    ("conformance", "run"): "--suite SUITE --decoder DECODER --only order-* --json OUT --quiet",
    ("conformance", "picture"): "FILE 0 0 OUT",
}
FOLDERS = {
    ("decode",): "FILE OUT --frames 0",
    ("render",): "FILE OUT --frames 0 --scale 0.1 --backend numpy",
    ("dataset", "check"): "DATA --out OUT --sample 0",
}
RESUMING = {("evaluate",): "DATA OUT", ("benchmark", "tools"): "DATA OUT", ("benchmark", "systems"): "DATA OUT"}
NEEDS_TORCH = {("recode",), ("encode",), ("encode-scenes",), *RESUMING}
SLOW = {("encode-scenes",), ("recode",)}  # only what is refused before the work


def run(*args, **options):
    return CliRunner().invoke(cli, [str(a) for a in args], **options)


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "inputs"
    folder.mkdir()
    (folder / "a.rfv").write_bytes(STREAM)
    write_dataset(folder / "data", frames=1)
    return tmp_path


def words(path: tuple[str, ...], template: str, place: Path, out: object) -> list[str]:
    if path in NEEDS_TORCH and not TORCH:
        pytest.skip("not here: torch")
    meaning = {"FILE": place / "inputs/a.rfv", "DATA": place / "inputs/data", "OUT": out,
               "SUITE": ROOT / "conformance", "DECODER": f"{sys.executable} -c pass {{input}} {{output}}"}
    return [*path, *(str(meaning.get(word, word)) for word in template.split())]


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def each(table, without=()):
    return pytest.mark.parametrize("path", [p for p in table if p not in without], ids=" ".join)


# That no command is left out.


def parameters(kind):
    return {path: [p for p in command.params if isinstance(p.type, kind)] for path, command in ALL.items()
            if any(isinstance(p.type, kind) for p in command.params)}


def test_every_command_that_writes_is_tested():
    assert set(parameters((OutputFile, OutputFolder))) == {*FILES, *FOLDERS, *RESUMING}
    assert set(parameters(EditedFile)) == {("benchmark", "systems")}
    for path, found in parameters(OutputFolder).items():
        assert all((p.type.made is None) == (path in RESUMING) for p in found), path


def test_every_path_says_what_becomes_of_it():
    for path, command in ALL.items():
        for p in command.params:
            words = {*(p.metavar or "").translate(str.maketrans("|.", "  ")).split(), (p.name or "").upper()}
            if isinstance(p.type, click.Path) or not isinstance(p.type, click.Choice) and words & {
                    "FILE", "FILES", "FOLDER", "OUT", "PAGE", "DOCUMENT", "PATH"}:
                assert isinstance(p.type, (InputPath, OutputFile, OutputFolder, EditedFile)), (path, p.name)
                assert isinstance(command, FileCommand), path
        outputs = any(isinstance(p.type, (OutputFile, OutputFolder)) for p in command.params)
        assert outputs == any("--force" in p.opts for p in command.params), path


def test_nothing_is_written_past_the_rule():
    """In the commands, files are opened for writing and renamed by `refcodec.files` alone."""
    for source in (*(ROOT / "refcodec/commands").glob("*.py"), ROOT / "refcodec/export.py",
                   ROOT / "refcodec/conformance/cli.py"):
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name.endswith((".write_text", ".write_bytes")):
                assert name.startswith("temporary."), (source.name, node.lineno)
            assert name not in ("os.replace", "os.rename", "shutil.move"), (source.name, node.lineno)
            if name == "open" and len(node.args) > 1:
                assert ast.unparse(node.args[1]) in ("'rb'", "'r'"), (source.name, node.lineno)


# Files.


@each(FILES)
def test_what_is_there_is_not_replaced_unasked(path, place):
    out = place / "out.x"
    out.write_bytes(b"mine")
    before = content(place)
    result = run(*words(path, FILES[path], place, out))
    assert result.exit_code == 1 and f"{out} exists; --force replaces it" in result.stderr, result.output
    assert content(place) == before


@each(FILES, SLOW)
def test_force_replaces_and_new_files_need_none(path, place):
    out = place / "out.x"
    assert run(*words(path, FILES[path], place, out)).exit_code in (0, 2)
    made = out.read_bytes()
    assert made
    out.write_bytes(b"mine")
    out.chmod(0o600)
    assert run(*words(path, FILES[path], place, out), "--force").exit_code in (0, 2)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert len(out.read_bytes()) == len(made) or path in (("conformance", "run"), ("encode",))
    assert sorted(p.name for p in place.iterdir()) == ["inputs", "out.x"]


@each(FILES, {("conformance", "run")})  # which reads the repository's suite
@pytest.mark.parametrize("how", ["same", "link", "hard link", "other spelling"])
def test_an_input_is_no_output(path, how, place):
    own = place / "inputs/data/transforms.json" if "DATA" in FILES[path] else place / "inputs/a.rfv"
    out = place / "out.x"
    if how == "link":
        out.symlink_to(own)
    elif how == "hard link" and "DATA" not in FILES[path]:
        out.hardlink_to(own)
    else:
        out = own if how == "same" else own.parent / ".." / own.parent.name / own.name
    before = content(place / "inputs")
    result = run(*words(path, FILES[path], place, out), "--force")
    assert result.exit_code == 1 and "it is an input of the same command" in result.stderr, result.output
    assert content(place / "inputs") == before


@each(FILES)
@pytest.mark.parametrize("what, said", [
    ("folder", "it is a folder"), ("socket", "it is a socket"), ("self", "it is a link to itself"),
    ("slash", "it names a folder"), ("nowhere", "there is no such folder"), ("through", "Not a directory"),
    ("block", "it is a block device"), ("long", "File name too long")])
def test_what_can_not_be_written_is_refused_at_once(path, what, said, place, monkeypatch):
    monkeypatch.chdir(place)
    out = Path("out")
    if what == "folder":
        out.mkdir()
    elif what == "socket":
        socket.socket(socket.AF_UNIX).bind("out")
    elif what == "self":
        out.symlink_to("out")
    elif what == "block":
        node(out, stat.S_IFBLK, 7, 255)
    name = {"slash": "out/", "nowhere": "no/out", "through": "inputs/a.rfv/out", "long": "n" * 256}.get(what, "out")
    before = sorted(os.listdir())
    result = run(*words(path, FILES[path], place, name), "--force")
    assert result.exit_code == 1 and f"{name}: {said}" in result.stderr, result.output
    assert sorted(os.listdir()) == before


def node(path: Path, kind: int, major: int, minor: int) -> None:
    try:
        os.mknod(path, kind | 0o666, os.makedev(major, minor))
    except OSError:
        pytest.skip("not here: the right to make devices")


@each(FILES, SLOW)
@pytest.mark.parametrize("linked", [False, True])
def test_a_device_stays_one(path, linked, place):
    node(place / "null", stat.S_IFCHR, 1, 3)
    out = place / "null"
    if linked:
        out = place / "link"
        out.symlink_to("null")
    before = sorted(p.name for p in place.iterdir())
    result = run(*words(path, FILES[path], place, out))
    assert result.exit_code in (0, 2), result.output
    assert stat.S_ISCHR((place / "null").stat().st_mode) and out.is_symlink() == linked
    assert sorted(p.name for p in place.iterdir()) == before


@each(FILES, SLOW)
def test_a_pipe_gets_every_byte(path, place):
    fifo, file, got = place / "fifo", place / "out.x", io.BytesIO()
    os.mkfifo(fifo)
    reader = threading.Thread(target=lambda: got.write(fifo.read_bytes()), daemon=True)
    reader.start()
    assert run(*words(path, FILES[path], place, fifo)).exit_code in (0, 2)
    reader.join(20)
    assert stat.S_ISFIFO(fifo.stat().st_mode)
    assert run(*words(path, FILES[path], place, file)).exit_code in (0, 2)
    if path == ("conformance", "run"):
        assert json.loads(got.getvalue())["passed"] == json.loads(file.read_bytes())["passed"]
    else:
        assert got.getvalue() == file.read_bytes()


@each(FILES, SLOW)
def test_links_stay_and_their_target_is_written(path, place):
    target, link, chain = place / "target.x", place / "link.x", place / "inputs" / "chain.x"
    link.symlink_to("target.x")
    chain.symlink_to("../link.x")
    assert run(*words(path, FILES[path], place, chain)).exit_code in (0, 2)  # to nothing yet
    assert target.is_file() and not target.is_symlink() and link.is_symlink() and chain.is_symlink()
    target.write_bytes(b"mine")
    assert run(*words(path, FILES[path], place, link)).exit_code == 1 and target.read_bytes() == b"mine"
    assert run(*words(path, FILES[path], place, link), "--force").exit_code in (0, 2)
    assert target.read_bytes() != b"mine" and link.is_symlink()


@each(FILES, SLOW)
@pytest.mark.parametrize("name", ["n" * 255, "n" * 251 + ".rfv", "é" * 127, os.fsdecode(b"latin1-\xe4.rfv"),
                                  "new\nline", "-x.rfv", "🦊 写真.rfv"])
def test_names(path, name, place):
    out = place / name
    try:
        out.touch()
    except OSError:
        pytest.skip("not here: a file system with such names")
    out.unlink()
    result = run(*words(path, FILES[path], place, out))
    assert result.exit_code in (0, 2), result.output
    assert all(c.isprintable() or c == "\n" for c in result.output) and "\nline" not in result.output
    assert sorted(p.name for p in place.iterdir()) == sorted(["inputs", name])


def test_two_outputs_are_two_files(place):
    for names in (("a", "a"), ("a", "./a"), ("a", "link")):
        (place / "link").unlink(missing_ok=True)
        (place / "link").symlink_to("a")
        outs = [str(place / n) if n != "./a" else f"{place}/./a" for n in names]
        result = run("conformance", "run", "--suite", ROOT / "conformance", "--decoder", "true {input} {output}",
                     "--json", outs[0], "--junit", outs[1])
        assert result.exit_code == 1 and "another output" in result.stderr
        assert not (place / "a").exists()


def test_standard_output_that_is_the_input(place):
    file = place / "inputs/a.rfv"
    with open(file, "ab") as out:
        done = subprocess.run([sys.executable, "-m", "refcodec", "cut", file, "-", "--frames", ":1"], cwd=ROOT,
                              stdout=out, stderr=subprocess.PIPE)
    assert done.returncode == 1 and b"is an input" in done.stderr and file.read_bytes() == STREAM
    with open(file, "rb") as data:
        result = subprocess.run([sys.executable, "-m", "refcodec", "cut", "-", file, "--frames", ":1", "--force"],
                                cwd=ROOT, stdin=data, stderr=subprocess.PIPE)
    assert result.returncode == 1 and b"is an input" in result.stderr and file.read_bytes() == STREAM


def test_open_descriptors_are_written_where_they_stand(place):
    log = place / "log"
    log.write_bytes(b"before")
    (place / "stdout").symlink_to("/proc/self/fd/1")
    with open(log, "ab") as out:
        subprocess.run([sys.executable, "-m", "refcodec", "cut", place / "inputs/a.rfv", place / "stdout", "--frames",
                        ":1", "--quiet"], cwd=ROOT, stdout=out, check=True)
    assert log.read_bytes().startswith(b"before\x89RFV") and (place / "stdout").is_symlink()


@pytest.mark.parametrize("answer, code", [(b"y\n", 0), (b"n\n", 1), (b"\n", 1)])
def test_a_terminal_is_asked(answer, code, place):
    out = place / "out.x"
    out.write_bytes(b"mine")
    ours, theirs = pty.openpty()
    p = subprocess.Popen([sys.executable, "-m", "refcodec", "cut", place / "inputs/a.rfv", out, "--frames", ":1"],
                         cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    while b"Replace it? [y/N]" not in seen:
        seen += os.read(ours, 1000)
    os.write(ours, answer)
    assert p.wait(30) == code
    os.close(ours)
    assert (out.read_bytes() == b"mine") == bool(code)


# Folders.


@each(FOLDERS)
def test_former_files_of_a_folder_go_when_that_is_wanted_and_others_stay(path, place):
    out = place / "out"
    first = run(*words(path, FOLDERS[path], place, out))
    assert first.exit_code == 0, first.output
    made = content(out)
    if path == ("decode",):
        (out / "frame_000007.npz").write_bytes(b"stale")
    elif path == ("render",):
        (out / "frame_000007_camera_00_front.png").write_bytes(b"stale")
    (out / "notes.txt").write_bytes(b"mine")
    (out / ".frame_000001.77.0123abcd.part.npz").write_bytes(b"of a process that was killed")
    before = content(out)
    result = run(*words(path, FOLDERS[path], place, out))
    assert result.exit_code == 1 and "of a former run" in result.stderr and "--force replaces" in result.stderr
    assert content(out) == before
    assert run(*words(path, FOLDERS[path], place, out), "--force").exit_code == 0
    assert set(content(out)) == {*made, "notes.txt"} and content(out)["notes.txt"] == b"mine"


@each(FOLDERS)
@pytest.mark.parametrize("what", ["file", "dangling", "under a file", "self"])
def test_what_can_be_no_folder(path, what, place):
    out = place / "out"
    if what == "file":
        out.write_bytes(b"mine")
    elif what == "dangling":
        out.symlink_to("nothing")
    elif what == "self":
        out.symlink_to("out")
    else:
        out = place / "inputs/a.rfv/out"
    before = content(place)
    result = run(*words(path, FOLDERS[path], place, out), "--force")
    assert result.exit_code == 1 and "can't make the folder" in result.stderr, result.output
    assert content(place) == before


@pytest.mark.parametrize("path", [p for p, t in {**FOLDERS, **RESUMING}.items() if "DATA" in t], ids=" ".join)
def test_a_dataset_is_no_folder_to_write_to(path, place):
    before = content(place)
    (place / "link").symlink_to("inputs/data")
    for out in (place / "inputs/data", place / "link"):
        result = run(*words(path, {**FOLDERS, **RESUMING}[path], place, out), "--force")
        assert result.exit_code == 1 and "is an input" in result.stderr, result.output
    assert {k: v for k, v in content(place).items() if not k.startswith("link")} == before


def test_a_stream_that_can_not_be_decoded_removes_no_former_frame(place):
    out, bad = place / "out", place / "bad.rfv"
    assert run("decode", place / "inputs/a.rfv", out).exit_code == 0
    before = content(out)
    for data in (b"not a stream", b"", STREAM[:40]):
        bad.write_bytes(data)
        for more in ((), ("--salvage",)):
            assert run("decode", bad, out, "--force", *more).exit_code in (1, 2)
            if not (more and data == STREAM[:40]):
                assert content(out) == before


# The encoder.


@pytest.mark.skipif(not TORCH, reason="not here: torch")
def test_a_finished_encode_says_so_unless_something_changed(place, monkeypatch):
    out, data = place / "out.rfv", place / "inputs/data"
    common = ["encode", data, out, "--preset", "micro", "--intra-iterations", "2", "--frames", ":1", "--no-evaluate"]
    assert run(*common).exit_code == 0
    made, written = out.read_bytes(), out.stat().st_mtime_ns
    again = run(*common)
    assert again.exit_code == 0 and "the result of this encode already" in again.stderr
    assert (out.read_bytes(), out.stat().st_mtime_ns) == (made, written)
    monkeypatch.chdir(place / "inputs")
    data.rename("moved")
    assert "already" in run(*("moved" if w == data else w for w in common)).stderr  # wherever it lies
    (place / "inputs/moved").rename(data)
    for change in (["--seed", "1"], ["--lambda", "1e-2"], ["--set", "rays=99"], ["--cameras", "none"]):
        changed = run(*common, *change)
        assert changed.exit_code == 1 and "--force replaces it" in changed.stderr and out.read_bytes() == made
    assert run(*common, "--force").exit_code == 0 and out.stat().st_mtime_ns != written and out.read_bytes() == made
    assert run(*common, "--seed", "1", "--force").exit_code == 0 and out.read_bytes() != made


@pytest.mark.skipif(not TORCH, reason="not here: torch")
def test_a_log_goes_on_with_its_encode(place):
    from refcodec.encoder.parts import journal_of

    out, log = place / "out.rfv", place / "log.json"
    common = ["encode", place / "inputs/data", out, "--preset", "micro", "--intra-iterations", "2", "--frames", ":1",
              "--no-evaluate", "--log-json", log]
    log.write_text('{"event": "earlier"}\n')
    assert run(*common).exit_code == 1 and log.read_text() == '{"event": "earlier"}\n'
    journal_of(out).write_text("{}")  # as an interrupted encode leaves one
    assert run(*common).exit_code == 0 and log.read_text().startswith('{"event": "earlier"}\n{"event": "dataset"')


# Signals.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_clean_up(number, place):
    out = place / "out.rfv"
    p = subprocess.Popen([sys.executable, "-m", "refcodec", "cut", "-", out, "--frames", ":"], cwd=ROOT,
                         stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                         preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    p.stdin.write(STREAM[:-200])
    p.stdin.flush()
    deadline = time.monotonic() + 30
    while len(list(place.iterdir())) == 1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(list(place.glob(".*.part.rfv"))) == 1
    p.send_signal(number)
    err = p.stderr.read()
    p.stdin.close()
    # An interrupt inside `exec`, which imports use, makes CPython end by the signal itself: a shell's 130, too.
    codes = {128 + number, -number} if number == signal.SIGINT else {128 + number}
    assert p.wait(30) in codes and err.strip().count(b"\n") == 0 and b"Traceback" not in err
    assert [e.name for e in place.iterdir()] == ["inputs"]


def test_what_nohup_ignores_stays_ignored(place):
    code = ("import signal, os; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
            "from refcodec.cli import cli\nimport refcodec.commands.inspect as i\n"
            "i.inspect = lambda *a, **k: os.kill(os.getpid(), signal.SIGHUP) or exit(5)\n"
            f"cli.main(['inspect', {str(place / 'inputs/a.rfv')!r}])")
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 5


# The module by itself.


def test_a_failing_writer_leaves_what_was_there(tmp_path):
    out = tmp_path / "out"
    out.write_bytes(b"mine")
    for write in (files.replacing, files.writing):
        with pytest.raises(RuntimeError), write(out) as opened:
            (open(opened, "wb") if write is files.replacing else opened).write(b"half")
            raise RuntimeError
        assert out.read_bytes() == b"mine" and os.listdir(tmp_path) == ["out"]
        with pytest.raises(UsageError, match="can't write .*out: No space"), write(out):
            raise OSError(28, "No space left on device")
    with files.replacing(out) as temporary:
        temporary.write_bytes(b"whole")
        assert out.read_bytes() == b"mine"
    assert out.read_bytes() == b"whole" and os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("name", ["", "\0", "a\0b"])
def test_names_that_are_none(name):
    with pytest.raises(UsageError):
        files.resolve(name)
