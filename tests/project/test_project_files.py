"""What surrounds the code: rules that recognise files, policies, metadata, the entries for fuzzing services."""
from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree

import pytest
import yaml

from checkout import ROOT
from refcodec.syntax.structures import FILE_SIGNATURE

MIME = "{http://www.freedesktop.org/standards/shared-mime-info}"
VECTOR = ROOT / "conformance/vectors/valid/minimal/stream.rfv"


@pytest.mark.skipif(shutil.which("file") is None, reason="file is not installed")
def test_file_recognises_rfv():
    def kind(*options: str) -> str:
        done = subprocess.run(["file", "-b", "-m", ROOT / "packaging/rfv.magic", *options, VECTOR],
                              capture_output=True, text=True, check=True)
        return done.stdout.strip()

    version = ".".join(map(str, VECTOR.read_bytes()[8:10]))
    assert kind() == f"Radiance Field Video, format {version}, profile Main, level 1"
    assert kind("--mime-type") == "application/x-rfv"


def test_desktops_recognise_rfv():
    (kind,) = ElementTree.parse(ROOT / "packaging/rfv-mime.xml").getroot()
    match = kind.find(f"{MIME}magic/{MIME}match")
    assert match is not None and match.get("offset") == "0"
    assert match.get("value").encode().decode("unicode_escape").encode("latin-1") == FILE_SIGNATURE
    assert kind.find(f"{MIME}glob").get("pattern") == "*.rfv"


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == project["version"] and citation["license"] == project["license"]
    assert f"## {project['version']}" in (ROOT / "CHANGELOG.md").read_text()
    minimum = project["requires-python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {minimum}" in project["classifiers"]


@pytest.mark.parametrize("name", [p.name for p in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")])
def test_issue_forms_are_complete(name):
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE" / name).read_text())
    if name != "config.yml":
        assert form["name"] and form["description"]
        assert all(part["attributes"]["label"] for part in form["body"])


@pytest.mark.parametrize("page", ["SECURITY.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md",
                                  "docs/stability.md"])
def test_links_of_policies_lead_somewhere(page):
    path = ROOT / page
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text()):
        assert (path.parent / target).exists(), target


@pytest.mark.parametrize("entry", ["fuzz_file", "fuzz_symbols"])
def test_entries_for_fuzzing_services_run(entry, tmp_path):
    pytest.importorskip("atheris", reason="atheris is not installed")
    source = "\n".join([
        "import runpy, sys",
        f"sys.path[:0] = {[str(ROOT), str(ROOT / 'fuzz'), str(ROOT / 'tests')]!r}",
        f"sys.argv = ['fuzz', '-runs=60', '-seed=1', '-artifact_prefix={tmp_path}/']",
        f"runpy.run_path({str(ROOT / 'packaging/oss-fuzz' / f'{entry}.py')!r}, run_name='__main__')",
    ])
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and "DONE" in done.stderr, done.stderr[-2000:]
