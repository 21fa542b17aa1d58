"""Fuzzing, bounded: mutated files with right checksums, under a limit of memory; and inputs that once broke something.

docs/robustness.md tells of the long runs.
"""
from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from checkout import ROOT

FUZZ = ROOT / "fuzz"
sys.path.insert(0, str(FUZZ))

import differential
import mutate
import targets
from native import native
from refcodec.errors import BitstreamError


def run(*arguments, folder: Path) -> tuple[int, dict]:
    """Exit code and summary of fuzz/run.py."""
    report = folder / "report.json"
    done = subprocess.run([sys.executable, FUZZ / "run.py", *arguments, "--crashes", folder / "crashes",
                           "--report", report], capture_output=True, text=True, timeout=240)
    assert report.exists(), done.stderr[-2000:]
    return done.returncode, json.loads(report.read_text())


def test_random_mutations(tmp_path):
    """1,000 executions in a process with 1 GiB of address space."""
    code, report = run("structured", "--engine", "random", "--runs", "1000", "--seed", "4", "--memory-mb", "1024",
                       folder=tmp_path)
    assert (code, report["defects"], report["deaths"]) == (0, {}, []), report
    counts = report["counts"]
    assert report["executions"] == counts["right checksums"] == 1000
    # The mutations reach every part: many files decode, and many different requirements refuse the others.
    assert counts["decoded"] > 75 and report["requirements_refused"] >= 50
    assert all(counts[k] > 5 for k in ("validated", "inspected", "salvaged", "sought in"))


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
@pytest.mark.parametrize("target", ["structured", "entropy"])
def test_coverage_guided(tmp_path, target):
    code, report = run(target, "--runs", "300", "--seed", "5", folder=tmp_path)
    assert (code, report["defects"], report["deaths"]) == (0, {}, []), report
    # All vectors are run at the start, however few runs are asked for.
    assert report["executions"] >= 300 and report["coverage"] > 100


def test_inputs_that_broke_something(tmp_path):
    code, report = run("everything", "--engine", "replay", "--corpus", FUZZ / "regressions", "--memory-mb", "1024",
                       folder=tmp_path)
    assert (code, report["defects"], report["deaths"]) == (0, {}, []), report
    assert report["executions"] == len(list((FUZZ / "regressions").iterdir()))


def test_seeds_decode_and_survive_being_taken_apart():
    for data in mutate.seeds():
        assert mutate.split(data).join() == data and mutate.checksums_hold(data)
        assert targets.digests(data)[1] is None


def test_mutations_have_right_checksums_and_are_reproducible():
    for seed in range(200):
        first, again = (mutate.mutate(mutate.pick_seed(rng), rng) for rng in (random.Random(seed), random.Random(seed)))
        assert first == again and mutate.checksums_hold(first)
        raw = random.Random(seed).randbytes(40)
        targets.structured(raw)


def test_every_edit_changes_files():
    for edit in set(mutate.EDITS):
        changed = 0
        for seed in range(60):
            rng = random.Random(seed)
            data = mutate.pick_seed(rng)
            file = mutate.split(data)
            changed += edit(rng, file) and file.join() != data
        assert changed > 10, edit.__name__


@pytest.fixture
def broken(monkeypatch):
    """Replaces a part of refcodec as the targets see it."""
    return lambda name, value: monkeypatch.setattr(targets, name, value)


def test_defects_are_seen(broken):
    """The oracle fails what it must: undocumented errors, offsets outside, and parts that disagree."""
    data = mutate.seeds()[0]
    lines, error = targets.digests(data)
    with pytest.raises(targets.Defect):
        targets.compare_with_text(data, lines[:-1])
    with pytest.raises(targets.Defect):
        targets.documented(BitstreamError("R-UNIT-03", len(data) + 1, "unit_crc"), len(data))
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    with pytest.raises(targets.Defect):
        targets.salvage_file(damaged, *targets.digests(data))
    with pytest.raises(targets.Defect):
        targets.seek(damaged, *targets.digests(data))
    real = targets.validate_file
    broken("validate_file", lambda d: real(data))
    with pytest.raises(targets.Defect):
        targets.validate(damaged)

    def fails(*_):
        raise ValueError("an exception that nobody documents")

    broken("open_stream", fails)
    with pytest.raises(ValueError):
        targets.decode(data)


def test_the_runner_reports_defects_and_goes_on(tmp_path):
    """A mutant of refcodec whose decoder fails on some files: found, saved once, and the run completed."""
    (tmp_path / "sitecustomize.py").write_text(
        "import refcodec.decoding as d\n"
        "def fails(self, wanted=None): raise RuntimeError('mutant')\n"
        "d.Stream.frames = fails\n")
    root = FUZZ.parent
    done = subprocess.run(
        [sys.executable, FUZZ / "run.py", "decode", "--engine", "random", "--runs", "50", "--seed", "1",
         "--crashes", tmp_path / "crashes", "--report", tmp_path / "report.json"],
        capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": f"{tmp_path}:{root}"})
    report = json.loads((tmp_path / "report.json").read_text())
    assert done.returncode == 2 and report["executions"] == 50
    (defect,) = report["defects"].values()
    assert defect["times"] > 5 and "mutant" in defect["message"]
    assert mutate.checksums_hold((tmp_path / "crashes" / defect["file"]).read_bytes())


def test_decoders_agree_on_mutants():
    """A part of `python fuzz/differential.py`: the compiled kernels and numpy, and JavaScript where there is node."""
    native()
    with differential.comparison(shutil.which("node")) as compare:
        found = {compare(differential.mutant(number)) for number in range(150)}
        assert "decoded" in found and len(found) > 20
        assert sum(compare.counts.values()) == 150
        assert compare(mutate.seeds()[0], text=True) == "decoded" and compare.text == 1


def test_disagreements_are_seen(monkeypatch):
    native()
    with differential.comparison(None) as compare:
        real = targets.text_lines
        monkeypatch.setattr(targets, "text_lines", lambda data: [*real(data)[:-1], "end 0"])
        with pytest.raises(differential.Disagreement, match="text: end 0"):
            compare(mutate.seeds()[0], text=True)
        monkeypatch.setattr(targets, "digests", lambda data, kernels: (["end 1"], BitstreamError(
            "R-FRM-01", 1 if kernels is compare.native else 2, "frame.frame_number")))
        with pytest.raises(differential.Disagreement, match="native: "):
            compare(mutate.seeds()[0])
