"""Ends every writing command at random moments, and looks at what is left.

    python fuzz/kill.py --trials 200 --report kill.json

SIGKILL, SIGTERM and SIGINT in turn. What must hold afterwards (docs/cli.md, "Outputs"): no input has changed; what
stands under a final name is what was there before, or whole; SIGTERM and SIGINT leave no temporary file; and an
encode that is given again comes to the same bytes. Exit code 2 where it does not hold.

A process is forked from one that has loaded everything, so that moments are spread over the work and not over imports.
"""
from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


@dataclasses.dataclass(frozen=True)
class Case:
    """A command. words: FILE, TWO and DATA are inputs, OUT is the output. resumes: the same command goes on.
    reports: an interrupt is written down in a JSON report of what was done until then. torch: it needs it.
    """

    name: str
    words: str
    folder: bool = False
    resumes: bool = False
    reports: bool = False
    torch: bool = False


ENCODE = "--preset micro --intra-iterations 3 --inter-iterations 2 --threads 1 --no-evaluate --quiet"
CASES = (
    Case("cut", "cut FILE OUT --frames 1:4"),
    Case("concat", "concat FILE FILE OUT"),
    Case("repair", "repair FILE OUT --decode"),
    Case("extract", "extract FILE OUT --frame 1"),
    Case("recode", "recode FILE OUT --iterations 4", torch=True),
    Case("encode", f"encode DATA OUT {ENCODE} --group-size 2", resumes=True, torch=True),
    Case("encode-scenes", "encode-scenes DATA OUT --frames :2 --iterations 2 --rays 16 --no-evaluate --quiet",
         torch=True),
    Case("decode", "decode FILE OUT", folder=True),
    Case("decode-jobs", "decode FILE OUT --jobs 2", folder=True),
    Case("digests", "decode FILE OUT --digests-only"),
    Case("render", "render FILE OUT --scale 0.3 --backend numpy --depth", folder=True),
    Case("view", "view FILE --export OUT"),
    Case("dataset-check", "dataset check DATA --out OUT", folder=True),
    Case("conformance-run", f"conformance run --suite {ROOT / 'conformance'} --decoder DECODER --only order-* --jobs 1 "
                            "--quiet --json OUT", reports=True),
)


def run(words: list[str], errors: Path, delay: float | None = None, number: int = 0) -> tuple[int, float]:
    """(wait status, seconds) of a command in a forked process, sent a signal after `delay`."""
    started = time.monotonic()
    pid = os.fork()
    if not pid:
        code = 3
        try:
            from refcodec.cli import cli

            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            cli.main(words)
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else 3
        except KeyboardInterrupt:
            code = 130  # before or behind what the command does
        except BaseException as e:
            print(repr(e), file=sys.stderr, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            os._exit(code)
        os._exit(code)
    if delay is not None:
        time.sleep(delay)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return os.waitpid(pid, 0)[1], time.monotonic() - started


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def temporary(name: str) -> bool:
    return name.startswith(".") and ".part" in name


class Trials:
    """Of one command. failures: what did not hold."""

    def __init__(self, case: Case, folder: Path, seed: int):
        from synthetic import small_stream, write_dataset

        self.case, self.random = case, random.Random(f"{seed} {case.name}")
        self.inputs, self.place, self.errors = folder / "inputs", folder / "place", folder / "stderr"
        self.inputs.mkdir(parents=True)
        (self.inputs / "a.rfv").write_bytes(small_stream(groups=(3, 2, 3, 2, 3, 2)))
        write_dataset(self.inputs / "data", frames=3)
        self.before = content(self.inputs)
        self.failures: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.place.mkdir()
        for _ in range(2):  # the second time nothing has to be loaded
            self._clear()
            status, self.seconds = run(self.words(), self.errors)
        if status not in (0, 2 << 8):
            raise RuntimeError(f"{case.name} fails by itself: {self.errors.read_text()}")
        self.whole = content(self.place)
        assert self.whole, f"{case.name} writes nothing"

    def words(self) -> list[str]:
        meaning = {"FILE": self.inputs / "a.rfv", "DATA": self.inputs / "data", "OUT": self.place / "out",
                   "DECODER": f"{sys.executable} -S -c pass {{input}} {{output}}"}
        return [str(meaning.get(w, w)) for w in self.case.words.split()]

    def _clear(self) -> None:
        shutil.rmtree(self.place)
        self.place.mkdir()

    def trial(self, number: int) -> None:
        self._clear()
        replaces, words, case = self.random.random() < 0.5, self.words(), self.case
        old: dict[str, bytes] = {}
        if replaces:
            words.append("--force")
            for name in self.whole if case.folder else ["out"]:
                path = self.place / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(b"of before")
            old = content(self.place)
        delay = self.random.uniform(0, 1.1 * self.seconds)
        status, _ = run(words, self.errors, delay, number)
        code = os.waitstatus_to_exitcode(status)
        found = content(self.place)
        self.outcomes["done" if code in (0, 2) else "ended"] += 1
        what = f"{signal.Signals(number).name} after {delay:.3f} of {self.seconds:.3f} s, exit code {code}"
        if code not in (0, 2, -number, 128 + number):
            self._fail(what, f"exit code; {self.errors.read_text()[-300:]}")
        if content(self.inputs) != self.before:
            self._fail(what, "an input has changed")
        for name, data in found.items():
            if temporary(Path(name).name):
                if number != signal.SIGKILL:
                    self._fail(what, f"{name} is left")
            elif case.resumes and ".partial" in name:
                continue
            elif case.reports and data != old.get(name):
                json.loads((self.place / name).read_bytes())
            elif data not in (self.whole.get(name), old.get(name)):
                self._fail(what, f"{name} is neither whole nor what was there")
        if code in (0, 2) and not case.reports and {n: d for n, d in found.items() if not temporary(n)} != self.whole:
            self._fail(what, "it ended well and something is missing")
        if case.resumes and code not in (0, 2):
            self.outcomes["resumed"] += any(".partial.0" in n for n in found)
            status, _ = run(words, self.errors)
            after = {n: d for n, d in content(self.place).items() if not temporary(n)}
            if status or after != self.whole:
                self._fail(what, f"given again: status {status}, {sorted(after)}; {self.errors.read_text()[-300:]}")

    def _fail(self, what: str, how: str) -> None:
        self.failures.append(f"{self.case.name}: {what}: {how}")


def load(torch: bool) -> None:
    """Everything that commands import, before processes are forked."""
    import numpy  # noqa: F401

    import refcodec.commands.decode
    import refcodec.commands.render
    import refcodec.datasets.drawing
    import refcodec.editing
    import refcodec.fields
    import refcodec.rendering.march
    import refcodec.view.bundle  # noqa: F401

    if torch:
        import torch as t

        import refcodec.encoder.gop
        import refcodec.encoder.recode
        import refcodec.encoder.scenes  # noqa: F401

        t.set_num_threads(1)  # threads do not survive a fork


def trials(names: list[str], count: int, seed: int, tell: Callable[[str], None]) -> list[dict[str, object]]:
    torch = importlib.util.find_spec("torch") is not None
    load(torch)
    report: list[dict[str, object]] = []
    for case in CASES:
        if names and case.name not in names or case.torch and not torch:
            continue
        with tempfile.TemporaryDirectory() as folder:
            t = Trials(case, Path(folder), seed)
            for i in range(count):
                t.trial(SIGNALS[i % len(SIGNALS)])
        report.append(dict(command=case.name, trials=count, seconds=round(t.seconds, 3), **t.outcomes,
                           failures=t.failures))
        tell(json.dumps(report[-1]))
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(c.name for c in CASES)}; by default all")
    parser.add_argument("--trials", type=int, default=200, help="of each command (200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path)
    args = parser.parse_args()
    report = trials(args.cases, args.trials, args.seed, lambda line: print(line, flush=True))
    if args.report:
        args.report.write_text(json.dumps(report, indent=1) + "\n")
    failures = [f for entry in report for f in entry["failures"]]
    print(f"{sum(entry['trials'] for entry in report)} trials of {len(report)} commands, {len(failures)} failures")
    sys.exit(2 if failures else 0)


if __name__ == "__main__":
    main()
