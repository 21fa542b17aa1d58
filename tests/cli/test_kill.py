"""Writing commands that are ended at random moments (fuzz/kill.py, a few trials of each; docs/robustness.md has the
long run)."""
from __future__ import annotations

import subprocess
import sys

import pytest

from checkout import ROOT

sys.path.insert(0, str(ROOT / "fuzz"))
import kill


def test_commands_that_are_ended_leave_nothing_half():
    done = subprocess.run([sys.executable, ROOT / "fuzz/kill.py", "--trials", "3"], capture_output=True, text=True,
                          timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 failures" in done.stdout


@pytest.mark.parametrize("fault, said", [
    ("half", "neither whole"), ("input", "an input has changed"), ("left", "is left")])
def test_the_trials_would_notice(fault, said, tmp_path, monkeypatch):
    trials = kill.Trials(next(c for c in kill.CASES if c.name == "cut"), tmp_path, 0)
    path = {"half": trials.place / "out", "input": trials.inputs / "a.rfv", "left": trials.place / ".x.part"}[fault]

    def run(*_):
        path.write_bytes(b"half")
        return 0, 0.0

    monkeypatch.setattr(kill, "run", run)
    trials.trial(kill.signal.SIGTERM)
    assert any(said in f for f in trials.failures), trials.failures
