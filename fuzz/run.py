"""Fuzzes refcodec for a time or a number of executions, and reports what was found.

    python fuzz/run.py structured --seconds 3600

Needs atheris for coverage guidance (`pip install "refcodec[fuzz]"`); `--engine random`
does without. docs/robustness.md says what is checked and what came of it.

A process (or several) does the work under a limit of address space; each execution
has a limit of time. A defect is saved under --crashes, once for each place that it
comes from, and the run goes on; a process that dies is started again.
"""
from __future__ import annotations

import argparse
import collections
import gc
import hashlib
import itertools
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
NAMES = ("parse", "entropy", "decode", "validate", "structured", "everything")
MAX_LENGTH = 4096
SAVE_EVERY = 1.0  # seconds


def arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("target", choices=NAMES)
    p.add_argument("--seconds", type=float, default=0, help="stop after this time (default: when --runs are done)")
    p.add_argument("--runs", type=int, default=0, help="stop after this many executions, of all workers together")
    p.add_argument("--workers", type=int, default=1, help="processes (1)")
    p.add_argument("--engine", choices=("atheris", "random", "replay"), default="atheris",
                   help="random: mutations of the seeds without coverage guidance; "
                                                                          "replay: the files of --corpus as they are")
    p.add_argument("--corpus", type=Path, help="folder of inputs to start from and add to (default: a temporary one)")
    p.add_argument("--crashes", type=Path, default=HERE / "crashes", help="folder for inputs that show a defect")
    p.add_argument("--memory-mb", type=int, default=1536, help="address space of a worker (1536)")
    p.add_argument("--execution-seconds", type=int, default=10, help="time of one execution (10)")
    p.add_argument("--seed", type=int, default=0, help="of the random numbers; 0: another each time")
    p.add_argument("--report", type=Path, help="write the summary there as JSON, also while the run lasts")
    p.add_argument("--worker", type=Path, help=argparse.SUPPRESS)  # folder of a worker's state
    args = p.parse_args()
    if args.engine == "replay" and not args.worker:
        if args.corpus is None:
            p.error("give --corpus to replay")
        args.runs, args.workers = len(list(args.corpus.iterdir())), 1
    if not args.runs and not args.seconds:
        p.error("give --runs or --seconds")
    return args


# In a worker


class Overtime(BaseException):
    """An execution took too long. No Exception, so that nothing swallows it."""


class Recorder:
    """Calls a target, keeps its books, and saves inputs that show a defect."""

    def __init__(self, args: argparse.Namespace):
        import targets

        self.args, self.target, self.counts = args, targets.TARGETS[args.target], targets.counts
        self.executions, self.slowest, self.places = 0, 0.0, {}
        self.began = self.saved = time.monotonic()

    def __call__(self, data: bytes) -> None:
        start = time.thread_time()
        try:
            self.target(data)
        except Exception as e:  # whatever it is, it is a defect
            self.defect(data, e)
        finally:
            self.slowest = max(self.slowest, time.thread_time() - start)
            self.executions += 1
        if time.monotonic() - self.saved > SAVE_EVERY or self.executions == self.args.runs:
            self.save()

    def defect(self, data: bytes, e: BaseException) -> None:
        last = [f for f in traceback.extract_tb(e.__traceback__) if f.name != "require"][-1]
        name = f"{type(e).__name__}-{last.name}-{last.lineno}"
        if name not in self.places:
            self.args.crashes.mkdir(parents=True, exist_ok=True)
            saved = self.args.crashes / f"{self.args.target}-{name}-{hashlib.sha256(data).hexdigest()[:8]}.rfv"
            saved.write_bytes(data)
            self.places[name] = dict(file=saved.name, times=0, message=f"{type(e).__name__}: {e}"[:500],
                                     at=f"{Path(last.filename).name}:{last.lineno} {last.name}")
            traceback.print_exc()
        self.places[name]["times"] += 1

    def save(self) -> None:
        state = dict(executions=self.executions, seconds=time.monotonic() - self.began, slowest=self.slowest,
                     memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                     counts=dict(self.counts), defects=self.places)
        part = self.args.worker / "state.partial"
        part.write_text(json.dumps(state))
        part.replace(self.args.worker / "state.json")
        self.saved = time.monotonic()


def work(args: argparse.Namespace) -> None:
    """The life of a worker."""
    resource.setrlimit(resource.RLIMIT_AS, (args.memory_mb << 20, args.memory_mb << 20))
    sys.path[:0] = [str(HERE), str(ROOT)]
    gc.set_threshold(200_000, 50, 1000)  # much is kept (`targets.remember`), and need not be looked through each time
    if args.engine != "atheris":
        return _without_guidance(args)
    import atheris

    with atheris.instrument_imports(include=["refcodec"]):
        import targets
    import mutate

    targets.remember()
    recorder = Recorder(args)

    def custom(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if args.target != "structured" and rng.randrange(4) == 0:
            return atheris.Mutate(data, max_size)
        # The corpus fills with files that are refused early; half of the time a whole one is the start.
        base = data if rng.randrange(2) else mutate.pick_seed(rng)
        for _ in range(8):
            if len(out := mutate.mutate(base, rng)) <= max_size:
                return out
        return data

    options = [sys.argv[0], f"-runs={args.runs or -1}", f"-max_len={MAX_LENGTH}", f"-seed={args.seed}",
               f"-timeout={args.execution_seconds}", f"-rss_limit_mb={args.memory_mb}",
               f"-artifact_prefix={args.crashes}/{args.target}-", "-print_final_stats=1", str(args.corpus)]
    if args.seconds:
        options.append(f"-max_total_time={int(args.seconds)}")
    if args.target == "entropy":
        atheris.Setup(options, recorder)
    else:
        atheris.Setup(options, recorder, custom_mutator=custom)
    atheris.Fuzz()


def _without_guidance(args: argparse.Namespace) -> None:
    import targets

    targets.remember()
    recorder = Recorder(args)

    def overtime(*_):
        raise Overtime

    signal.signal(signal.SIGALRM, overtime)
    for data in itertools.islice(_inputs(args), args.runs or None):
        signal.setitimer(signal.ITIMER_REAL, args.execution_seconds)
        try:
            recorder(data)
        except Overtime as e:
            recorder.defect(data, e)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    recorder.save()


def _inputs(args: argparse.Namespace) -> Iterator[bytes]:
    import mutate

    if args.engine == "replay":
        yield from (path.read_bytes() for path in sorted(args.corpus.iterdir()))
        return
    rng = random.Random(args.seed or None)
    end = time.monotonic() + args.seconds if args.seconds else float("inf")
    while time.monotonic() < end:
        if args.target == "entropy":
            yield rng.randbytes(rng.randrange(64, 512))
        else:
            yield mutate.mutate(mutate.pick_seed(rng), rng)


# In the process that was started


class Worker:
    """One process, started again when it dies, and the sum of what its lives reported."""

    def __init__(self, args: argparse.Namespace, number: int, folder: Path, share: int):
        self.args, self.number, self.folder, self.share = args, number, folder, share
        self.past: list[dict] = []
        self.deaths: list[str] = []
        self.coverage = 0
        self.process = None
        self.began = time.monotonic()

    def start(self) -> bool:
        """False when there is nothing left to do."""
        done = sum(s["executions"] for s in self.past)
        runs = self.share - done if self.share else 0
        seconds = self.args.seconds - (time.monotonic() - self.began) if self.args.seconds else 0
        if self.share and runs <= 0 or self.args.seconds and seconds < 1:
            return False
        life = self.folder / str(len(self.past))
        life.mkdir(parents=True)
        a = self.args
        seed = a.seed + 1000 * self.number + len(self.past) if a.seed else 0
        command = [sys.executable, __file__, a.target, "--runs", str(runs), "--seconds", str(seconds),
                   "--engine", a.engine,
                   "--crashes", str(a.crashes), "--corpus", str(a.corpus), "--memory-mb", str(a.memory_mb),
                   "--execution-seconds", str(a.execution_seconds), "--seed", str(seed), "--worker", str(life)]
        # One thread: the workers are the parallelism, and threads take address space.
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self.life, self.log = life, life / "log.txt"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=ROOT)
        return True

    def state(self) -> dict | None:
        path = self.life / "state.json"
        return json.loads(path.read_text()) if path.exists() else None

    def finished(self) -> bool:
        """Looks after the process; True when the worker has done its part."""
        self._read_coverage()
        if self.process.poll() is None:
            return False
        state = self.state() or dict(executions=0, seconds=0, slowest=0, memory_mb=0, counts={}, defects={})
        self.past.append(state)
        if self.process.returncode:
            tail = self.log.read_text(errors="replace").splitlines()[-30:]
            told = [line for line in tail if "ERROR" in line or "Error" in line or "artifact" in line]
            self.deaths.append(f"exit {self.process.returncode}: " + " | ".join(told or tail[-3:])[:1000])
            if len(self.deaths) > 50 or not state["executions"]:
                return True
        return not self.start()

    def _read_coverage(self) -> None:
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - 8192))
            found = re.findall(rb"cov: (\d+)", log.read())
        self.coverage = max([self.coverage, *map(int, found)])

    def states(self) -> list[dict]:
        running = self.process.poll() is None
        return self.past + ([self.state()] if running and self.state() else [])


def summary(args: argparse.Namespace, workers: list[Worker]) -> dict:
    """What a run did, so far."""
    states = [s for w in workers for s in w.states()]
    counts, defects = collections.Counter(), {}
    for s in states:
        counts.update(s["counts"])
        for name, d in s["defects"].items():
            defects.setdefault(name, {**d, "times": 0})["times"] += d["times"]
    executions, seconds = sum(s["executions"] for s in states), sum(s["seconds"] for s in states)
    return dict(
        target=args.target, engine=args.engine, executions=executions, hours=round(seconds / 3600, 3),
        executions_per_second=round(executions / seconds, 1) if seconds else None,
        coverage=max((w.coverage for w in workers), default=0),
        corpus=sum(1 for _ in args.corpus.iterdir()),
        slowest_seconds=round(max((s["slowest"] for s in states), default=0), 2),
        memory_mb=round(max((s["memory_mb"] for s in states), default=0)), memory_limit_mb=args.memory_mb,
        requirements_refused=sum(name.startswith("refused ") for name in counts),
        counts=dict(counts.most_common()), defects=defects, deaths=[d for w in workers for d in w.deaths])


def fill(corpus: Path, target: str) -> None:
    """Puts the small vectors of the conformance suite into the corpus, and the seeds without digests."""
    sys.path[:0] = [str(HERE), str(ROOT)]
    import mutate

    corpus.mkdir(parents=True, exist_ok=True)
    found = list(mutate.seeds())
    if target not in ("structured", "entropy"):
        paths = mutate.VECTORS.glob("*/*/stream.rfv")
        found += [p.read_bytes() for p in paths if p.stat().st_size <= mutate.SEED_SIZE]
    for data in found:
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


def main() -> int:
    args = arguments()
    if args.worker:
        work(args)
        return 0
    if args.engine == "atheris":
        try:
            import atheris  # noqa: F401
        except ImportError:
            print('atheris is missing: pip install "refcodec[fuzz]", or --engine random', file=sys.stderr)
            return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    args.crashes = args.crashes.resolve()
    args.crashes.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        args.corpus = (args.corpus or Path(folder) / "corpus").resolve()
        if args.engine != "replay":
            fill(args.corpus, args.target)
        share = -(-args.runs // args.workers)
        workers = [Worker(args, i, Path(folder) / f"worker{i}", share) for i in range(args.workers)]
        running = [w for w in workers if w.start()]
        told = time.monotonic()
        try:
            while running:
                time.sleep(0.2)
                running = [w for w in running if not w.finished()]
                if time.monotonic() - told > 30:
                    told, s = time.monotonic(), summary(args, workers)
                    print(f"{s['executions']} executions, {s['hours']} h, {s['executions_per_second']}/s, "
                          f"coverage {s['coverage']}, corpus {s['corpus']}, {len(s['defects'])} defects", flush=True)
                    _write(args.report, s)
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
        s = summary(args, workers)
        for w in running:
            w.process.kill()
    _write(args.report, s)
    print(json.dumps(s, indent=1))
    return 2 if s["defects"] or s["deaths"] else 0


def _write(path: Path | None, report: dict) -> None:
    if path is not None:
        part = path.with_name(path.name + ".partial")
        part.write_text(json.dumps(report, indent=1) + "\n")
        part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
