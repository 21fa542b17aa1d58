"""The package is typed: mypy --strict finds nothing, and programs that use the package see its types.

ruff, whose settings stand beside mypy's, finds nothing either.
"""
from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from checkout import ROOT

pytest.importorskip("mypy", reason='mypy is missing: pip install ".[test]"')

PROGRAM = """
import numpy as np
import refcodec

with refcodec.open("fox.rfv") as stream:
    for frame in stream.frames(range(3)):
        first: np.ndarray = frame.tensors[0]
    picture = frame.render(stream.cameras[0], backend="numpy")
reveal_type(picture.rgb.shape)
reveal_type(refcodec.validate("fox.rfv").conforming)
reveal_type(refcodec.inspect("fox.rfv").frames[0].bytes)
reveal_type(refcodec.encode("demo/fox", "out.rfv", preset="tiny").size)
frame.number = "seven"
refcodec.open(7)
"""


def mypy(*arguments: str, folder: Path) -> subprocess.CompletedProcess:
    environment = {**os.environ, "MYPYPATH": str(ROOT), "MYPY_CACHE_DIR": str(folder / ".mypy")}
    return subprocess.run([sys.executable, "-m", "mypy", *arguments], cwd=folder, capture_output=True, text=True,
                          timeout=240, env=environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def test_package_is_strictly_typed(folder):
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert settings["strict"]
    done = mypy("--config-file", str(ROOT / "pyproject.toml"), folder=folder)
    assert done.returncode == 0, done.stdout


def test_programs_see_the_types(folder):
    (folder / "program.py").write_text(PROGRAM)
    done = mypy("--strict", "--config-file", str(ROOT / "pyproject.toml"), "program.py", folder=folder)
    lines = [line.partition("program.py:")[2] for line in done.stdout.splitlines() if "program.py" in line]
    shown = "\n".join(lines)
    assert 'Revealed type is "bool"' in shown and shown.count('Revealed type is "int"') == 2
    assert "tuple[Any, ...]" in shown
    assert 'Property "number" defined in "Frame" is read-only' in shown
    assert 'Argument 1 to "open_stream" has incompatible type "int"' in shown
    assert shown.count("error:") == 3  # the assignment's two, the call's one


def test_ruff_finds_nothing():
    pytest.importorskip("ruff", reason='ruff is missing: pip install ".[test]"')
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "."], cwd=ROOT, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
