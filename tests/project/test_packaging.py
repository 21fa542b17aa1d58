"""What `pip install refcodec` gives: a wheel that decodes with nothing but the declared dependencies."""
from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from checkout import ROOT

pytest.importorskip("build", reason='build is missing: pip install ".[test]"')

SOURCES = ("refcodec", "spec", "LICENSES", "pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")
VECTOR = ROOT / "conformance/vectors/valid/real-fox-micro"


def run(*command: object, **options) -> subprocess.CompletedProcess:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=180, env=environment,
                          **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    """The sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("package")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            (folder / "source").mkdir(exist_ok=True)
            shutil.copy2(source, folder / "source" / name)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder / "source")
    (sdist,), (wheel,) = (folder / "dist").glob("*.tar.gz"), (folder / "dist").glob("*.whl")
    return sdist, wheel


def closure(requirements: list[str]) -> set[str]:
    """Names of the distributions that these requirements bring, extras left out."""
    found: set[str] = set()
    queue = [r for r in requirements if "extra ==" not in r]
    while queue:
        name = re.match(r"[\w.-]+", queue.pop())[0]
        if name.lower() not in found:
            try:
                distribution = importlib.metadata.distribution(name)
            except importlib.metadata.PackageNotFoundError:
                continue  # for another system or version of Python
            found.add(name.lower())
            queue += [r for r in distribution.requires or () if "extra ==" not in r]
    return found


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """The `bin` of a virtual environment with the wheel and, as links, its dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", "--no-compile",
        "--disable-pip-version-check", built[1])
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    requirements = next(d for d in importlib.metadata.distributions(path=[str(site)]) if d.name == "refcodec").requires
    for name in closure(requirements):
        distribution = importlib.metadata.distribution(name)
        for top in {f.parts[0] for f in distribution.files if f.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():
                (site / top).symlink_to(distribution.locate_file(top))
    return folder / "bin"


def test_sdist_and_wheel_hold_what_they_should(built):
    sdist, wheel = built
    chapters = {path.name for path in (ROOT / "spec").iterdir()}
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    assert {f"refcodec/specification/{name}" for name in chapters} <= in_wheel
    assert {"refcodec/py.typed", "refcodec/schemas/inspect.schema.json", "refcodec/encoder/train.py"} <= in_wheel
    assert not [n for n in in_wheel if n.endswith((".c", ".h", ".inc"))]
    assert not [n for n in in_wheel if not n.startswith(("refcodec/", "refcodec-"))]
    modules = {f"refcodec/{p.relative_to(ROOT / 'refcodec').as_posix()}" for p in (ROOT / "refcodec").rglob("*.py")}
    assert modules <= in_wheel
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition("/")[2] for name in archive.getnames()}
    sources = {p.relative_to(ROOT).as_posix() for p in (ROOT / "refcodec/kernels/src").iterdir()}
    assert {"refcodec/kernels/src/coder.c", "refcodec/kernels/src/rfv.h"} <= sources <= in_sdist
    assert {f"spec/{name}" for name in chapters} | {"setup.py", "LICENSE", "refcodec/py.typed"} <= in_sdist


def test_extras_cover_what_is_optional(built):
    metadata = zipfile.ZipFile(built[1]).read(next(
        n for n in zipfile.ZipFile(built[1]).namelist() if n.endswith("METADATA"))).decode()
    extras = set(re.findall(r"^Provides-Extra: (.*)$", metadata, re.M))
    assert {"encode", "video", "safetensors", "all", "docs", "test"} <= extras
    assert re.search(r"^Requires-Dist: refcodec\[.*encode.*\] ?; extra == .all.", metadata, re.M)
    assert re.search(r"^License-Expression: Apache-2.0$", metadata, re.M)


def test_wheel_decodes_without_torch(installed, tmp_path):
    run(installed / "python", "-c", "import refcodec, sys, pathlib; from importlib.util import find_spec;"
        "assert find_spec('torch') is None and find_spec('pytest') is None;"
        "assert pathlib.Path(refcodec.__file__).is_relative_to(sys.prefix)", cwd=tmp_path)
    run(installed / "refcodec", "decode", VECTOR / "stream.rfv", "digests.txt", "--digests-only", cwd=tmp_path)
    assert (tmp_path / "digests.txt").read_text() == (VECTOR / "expected.txt").read_text()
    assert "conforms to RFV" in run(installed / "refcodec", "validate", VECTOR / "stream.rfv", cwd=tmp_path).stdout
    run(installed / "refcodec", "render", VECTOR / "stream.rfv", "views", "--size", "24x16", "--frames", "0",
        cwd=tmp_path)
    assert len(list((tmp_path / "views").glob("*.png"))) == 1


def test_wheel_explains_with_the_words_of_the_specification(installed, tmp_path):
    shown = run(installed / "refcodec", "validate", "--explain", "R-UNIT-03", cwd=tmp_path).stdout
    assert "04-syntax.md:" in shown and "After the payload follows `unit_crc`" in shown


def test_wheel_says_what_encoding_needs(installed, tmp_path):
    done = subprocess.run([installed / "refcodec", "encode", ROOT / "demo/fox", "x.rfv"], cwd=tmp_path,
                          capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 1
    assert done.stderr == 'refcodec: error: encoding needs torch: pip install "refcodec[encode]"\n'
