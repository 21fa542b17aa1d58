"""`refcodec view`: the decoder in JavaScript, the server, the page joined to one script or file."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import zlib

import pytest
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st

from checkout import ROOT
from refcodec.cli import cli
from refcodec.errors import UsageError
from refcodec.requirements import ERROR_CODES, REQUIREMENTS
from refcodec.syntax import javascript
from refcodec.view import bundle, register
from refcodec.view.server import make_viewer

sys.path[:0] = [str(ROOT), str(ROOT / "conformance")]
from fuzz.mutate import mutate, pick_seed
from generate import refcodec_lines

WEB = ROOT / "refcodec" / "view" / "web"
FOX = ROOT / "conformance" / "sources" / "fox-micro.rfv"
VECTORS = sorted(p.parent for p in (ROOT / "conformance" / "vectors").glob("*/*/stream.rfv"))
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def node(*args, **options) -> subprocess.CompletedProcess:
    return subprocess.run([NODE, *map(str, args)], capture_output=True, text=True, timeout=120, **options)


def run(*args, data=None):
    return CliRunner().invoke(cli, [str(a) for a in args], input=data)


# The decoder


both_kernels = pytest.mark.parametrize("kernels", ["wasm", "javascript"])


@needs_node
@both_kernels
def test_every_vector_is_decoded_as_expected(kernels, tmp_path):
    pairs = [x for v in VECTORS for x in (v / "stream.rfv", tmp_path / v.name)]
    result = node(WEB / "conformance.mjs", f"--kernels={kernels}", *pairs)
    assert result.stderr == ""
    wrong = [v.name for v in VECTORS if (tmp_path / v.name).read_text() != (v / "expected.txt").read_text()]
    assert len(VECTORS) > 900 and wrong == []


@needs_node
@both_kernels
def test_damaged_files_have_the_errors_of_refcodec(kernels, tmp_path):
    """Files that the fuzzer has changed, with right checksums: every frame, every error code."""
    wanted = {}
    for number in range(120):
        rng = random.Random(number)
        data = mutate(mutate(pick_seed(rng), rng), rng)
        path = tmp_path / f"{number}.rfv"
        path.write_bytes(data)
        wanted[path] = refcodec_lines(data)
    pairs = [x for p in wanted for x in (p, p.with_suffix(".txt"))]
    assert node(WEB / "conformance.mjs", f"--kernels={kernels}", *pairs).stderr == ""
    found = {p: p.with_suffix(".txt").read_text().splitlines() for p in wanted}
    assert found == wanted and len({lines[-1] for lines in wanted.values()}) > 20


@needs_node
def test_the_runner_accepts_the_program(tmp_path):
    decoder = f"{NODE} {WEB / 'conformance.mjs'} {{input}} {{output}}"
    result = run(
        "conformance",
        "run",
        "--decoder",
        decoder,
        "--memory-mb",
        "0",
        "--only",
        "real-fox-micro",
        "--only",
        "box-empty-x",
        "--only",
        "scan-1*",
        "--json",
        tmp_path / "report.json",
    )
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["passed"] == report["vectors"] > 4


@needs_node
def test_checksums_agree_with_the_library(checksums):
    @settings(deadline=None, max_examples=60)
    @given(st.binary(max_size=300), st.integers(0, 3))
    def check(data, blocks):
        data += bytes(64 * blocks)
        assert checksums(data) == [f"{zlib.crc32(data):08x}", hashlib.sha256(data).hexdigest()]

    check()


@pytest.fixture
def checksums(tmp_path):
    """CRC-32 and SHA-256 (fed in two pieces) by a node process that answers line by line."""
    program = tmp_path / "program.mjs"
    program.write_text(f"""
import {{ createInterface }} from 'node:readline';
import {{ Sha256, crc32, hex }} from {json.dumps((WEB / "decoder" / "checksums.js").as_uri())};
for await (const line of createInterface({{ input: process.stdin }})) {{
  const data = Uint8Array.from(Buffer.from(line, 'hex'));
  const cut = Math.floor(data.length / 3);
  const hash = new Sha256().update(data.subarray(0, cut)).update(data.subarray(cut));
  console.log(crc32(data).toString(16).padStart(8, '0'), hex(hash.digest()));
}}""")
    with subprocess.Popen([NODE, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def answer(data: bytes) -> list[str]:
            process.stdin.write(data.hex() + "\n")
            process.stdin.flush()
            return process.stdout.readline().split()

        yield answer
        process.stdin.close()


@needs_node
def test_wrong_use_of_the_program_is_one_line():
    result = node(WEB / "conformance.mjs", "one")
    assert result.returncode == 1 and result.stderr.count("\n") == 1


def test_the_syntax_is_that_of_the_declarations():
    assert javascript.PATH.read_text("utf-8") == javascript.module(), "stale: python -m refcodec.syntax.javascript"


def test_the_register_is_that_of_the_specification():
    assert register.PATH.read_text("utf-8") == register.module(), "stale: python -m refcodec.view.register"
    text = register.module()
    assert all(f'"{name}"' in text for name in (*REQUIREMENTS, *ERROR_CODES))


# The page's files


def test_the_page_is_small_and_complete():
    files = bundle.served("a.rfv")
    assert sum(map(len, files.values())) < 1_500_000
    html = files["index.html"].decode()
    assert {"style.css", "viewer.js"} == set(re.findall(r'(?:href|src)="([^":]+)"', html))
    assert not re.search(r"https?://(?!www\.w3\.org)", "".join(f.decode() for f in files.values()))


@needs_node
@pytest.mark.parametrize("entry", ["main.js", "worker.js"])
def test_joined_modules_are_one_script(tmp_path, entry):
    path = tmp_path / "script.cjs"
    path.write_text(bundle.bundle(entry))
    assert node("--check", path).stderr == ""


@needs_node
def test_joined_decoder_decodes(tmp_path):
    path = tmp_path / "script.cjs"
    path.write_text(
        bundle.bundle("decoder/decoder.js")
        + f"""
let frames = 0;
const data = new Uint8Array(require('fs').readFileSync({json.dumps(str(FOX))}));
$modules['decoder/decoder.js'].decode(data, () => frames++);
console.log(frames);"""
    )
    assert node(path).stdout == "4\n"


def test_imports_that_cannot_be_joined_are_refused(monkeypatch):
    monkeypatch.setattr(bundle, "web_file", lambda path: "import * as all from './b.js';\n")
    with pytest.raises(ValueError, match="a.js"):
        bundle.bundle("a.js")


def test_every_module_of_the_page_is_joined():
    """A file that is in no script would be dead."""
    text = bundle.bundle("main.js") + bundle.bundle("worker.js")
    package = {"index.js", "player.js", "workers.js", "three.js"}  # of others' pages
    paths = {p.relative_to(WEB).as_posix() for p in WEB.rglob("*.js") if "node_modules" not in p.parts} - package
    assert {p for p in paths if f"$modules[{json.dumps(p)}] =" in text} == paths


# The server


@pytest.fixture(params=["file", "pipe"])
def server(request, tmp_path):
    """Of the fox, from a file or from memory."""
    with make_viewer(FOX if request.param == "file" else FOX.read_bytes(), "a <b>.rfv") as s:
        threading.Thread(target=s.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield s
        s.shutdown()


def get(server, path="/stream.rfv", method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def test_server_sends_page_and_stream(server):
    response, body = get(server, "/")
    assert response.status == 200 and b"a &lt;b&gt;.rfv" in body and b"viewer.js" in body
    assert response.headers["Content-Type"].startswith("text/html")
    for path, kind in (
        ("/viewer.js", "text/javascript"),
        ("/worker.js", "text/javascript"),
        ("/style.css", "text/css"),
    ):
        response, body = get(server, path)
        assert response.status == 200 and response.headers["Content-Type"].startswith(kind) and body
    for _ in range(2):
        response, body = get(server)
        assert response.status == 200 and body == FOX.read_bytes()
    response, body = get(server, Range="bytes=100-199")
    assert response.status == 206 and body == FOX.read_bytes()[100:200]


def test_server_has_nothing_else_and_answers_no_other_name(server):
    for path in ("/../pyproject.toml", "/server.py", "/conformance.mjs", "/web/main.js", "/index.html/"):
        assert get(server, path)[0].status == 404
    assert get(server, Host="example.org")[0].status == 421
    assert get(server, Host=f"localhost:{server.server_port}")[0].status == 200
    assert get(server, method="POST")[0].status == 501


def test_a_port_in_use_is_one_line(server):
    with pytest.raises(UsageError, match="can't listen on"):
        make_viewer(b"", "x", server.server_port)


# The command


def test_export_writes_one_page(tmp_path):
    page = tmp_path / "fox.html"
    result = run("view", FOX, "--export", page, "--json")
    assert result.exit_code == 0 and json.loads(result.stdout) == {"page": str(page), "bytes": page.stat().st_size}
    text = page.read_text("utf-8")
    assert text.count("<script") == text.count("</script>") == 2 and "src=" not in text and 'href="style' not in text
    assert page.stat().st_size < 1_500_000 and list(tmp_path.iterdir()) == [page]


def test_export_to_nowhere_and_with_a_server_fail(tmp_path):
    for args in (["--export", tmp_path / "no" / "x.html"], ["--export", tmp_path / "x.html", "--no-browser"]):
        result = run("view", FOX, *args)
        assert (
            result.exit_code == 1 and result.output.startswith("refcodec: error: ") and result.output.count("\n") == 1
        )
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_fails():
    result = run("view", "missing.rfv")
    assert result.exit_code == 1 and "can't open missing.rfv" in result.output


@pytest.mark.parametrize("source", ["file", "pipe"])
def test_view_serves_until_it_is_interrupted(source):
    args = [
        sys.executable,
        "-c",
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);from refcodec.cli import main; main()",
        "view",
        "-" if source == "pipe" else str(FOX),
        "--no-browser",
        "--json",
    ]
    process = subprocess.Popen(
        args,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        if source == "pipe":
            process.stdin.buffer.write(FOX.read_bytes())
        process.stdin.close()
        lines = [process.stdout.readline() for _ in range(3)]
        url = json.loads("".join(lines))["url"]
        connection = http.client.HTTPConnection(url.split("/")[2], timeout=10)
        connection.request("GET", "/stream.rfv")
        assert connection.getresponse().read() == FOX.read_bytes()
        connection.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0 and process.stdout.read() == "" and process.stderr.read().strip() == ""
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
