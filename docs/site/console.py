"""Runs the examples of the documentation: `python docs/site/console.py docs/faq.md …` writes what they print.

In a block marked `console`, lines that begin with `$ ` are commands, the lines after them
what they print. Blocks marked `python` are one program; a `text` block right behind one is
what it prints. All run in one folder, in which `fox.rfv` is a small real stream, and `demo`
and `conformance` are the repository's. A line `…` stands for any lines. Blocks behind a
comment that begins with `not run` are left alone.
"""
from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
STREAM = ROOT / "conformance/vectors/valid/real-fox-micro/stream.rfv"
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.S | re.M)
_PYTHON = re.compile(r"(?P<before><!-- not run[^>]*-->\n)?^```python\n(?P<code>.*?)^```\n"
                     r"(?P<shown>\n```text\n(?P<output>.*?)^```\n)?", re.S | re.M)
_SECONDS = 120
# Runs a page's blocks in one namespace; prints what each of them printed.
_DRIVER = """
import contextlib, io, json, sys
namespace, outputs = {"__name__": "example"}, []
for name, code in json.load(sys.stdin):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, name, "exec"), namespace)
    outputs.append(output.getvalue())
print(json.dumps(outputs))
"""


def prepare(folder: Path) -> dict[str, str]:
    """Fills the folder that commands run in; returns their environment."""
    (folder / "fox.rfv").write_bytes(STREAM.read_bytes())
    for name in ("demo", "conformance"):
        (folder / name).symlink_to(ROOT / name)
    programs = folder / ".bin"
    programs.mkdir()
    program = programs / "refcodec"
    program.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -m refcodec \"$@\"\n")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "COLUMNS": "100",
            "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}


def fill(text: str, folder: Path, wanted: Callable[[str], bool] = lambda block: True) -> str:
    """The page with what its commands print now; blocks that are not `wanted` stay as they are."""
    environment = prepare(folder)

    def run(command: list[str], given: str | None = None, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=folder, env=environment, text=True, timeout=_SECONDS, input=given or "",
                              stdout=subprocess.PIPE, **options)

    def block(match: re.Match[str]) -> str:
        if not wanted(match[1]):
            return match[0]
        lines = []
        for command, old in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", match[1], re.M):
            done = run(["bash", "-c", command], stderr=subprocess.STDOUT)
            lines.append(f"$ {command}\n{_kept(old, done.stdout)}")
        return f"```console\n{''.join(lines)}```"

    text = _BLOCK.sub(block, text)
    programs = [(m.start(), m["code"]) for m in _PYTHON.finditer(text) if not m["before"] and wanted(m["code"])]
    if not programs:
        return text
    done = run([sys.executable, "-c", _DRIVER], json.dumps([(f"line {text[:at].count(chr(10)) + 2} +", code)
                                                            for at, code in programs]), stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError(f"an example fails: {done.stderr}")
    outputs = dict(zip([at for at, _ in programs], json.loads(done.stdout)))

    def program(match: re.Match[str]) -> str:
        if match.start() not in outputs or not match["shown"]:
            return match[0]
        return f"```python\n{match['code']}```\n\n```text\n{_kept(match['output'], outputs[match.start()])}```\n"

    return _PYTHON.sub(program, text)


def _kept(old: str, new: str) -> str:
    """`old` where its lines `…` make it fit, else `new`."""
    return old if re.fullmatch(re.escape(old).replace("…\n", "(?:.*\n)*"), new) else new


def main() -> None:
    for name in sys.argv[1:]:
        path = Path(name)
        with tempfile.TemporaryDirectory() as folder:
            path.write_text(fill(path.read_text("utf-8"), Path(folder)), "utf-8")


if __name__ == "__main__":
    main()
