"""Tests any decoder against the conformance suite (docs/conformance.md).

A decoder is a command that reads a stream and writes a digest list. Every vector
ends with exactly one verdict; only `pass` is a pass. Needs neither numpy nor torch.
"""
from __future__ import annotations

import enum
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import UsageError

DIGEST_LIST = "rfv-digests 1"
# No file that a decoder writes may be larger: digest lists of the suite are far smaller.
MAX_OUTPUT = 1 << 24
_POLL = 0.25  # seconds between looks at whether the run was interrupted
EXIT_DONE, EXIT_REFUSED = 0, 2
_NAMES: dict[int, str] = {signal.SIGABRT: "aborted", signal.SIGSEGV: "segmentation fault", signal.SIGKILL: "killed",
          signal.SIGXFSZ: f"wrote more than {MAX_OUTPUT >> 20} MiB"}

_LINES = {
    "frame": re.compile(r"frame (0|[1-9]\d{0,9}) [IP] (0|[1-9]\d{0,9})"),
    "occupancy": re.compile(r"occupancy (-|[0-9a-f]{64})"),
    "tensor": re.compile(r"tensor (0|[1-9]\d{0,2}) [0-9a-f]{64}"),
    "end": re.compile(r"end (0|[1-9]\d{0,9})"),
    "error": re.compile(r"error E\d{4}( (R-[A-Z]+-\d\d|-))?"),
    "unsupported": re.compile(r"unsupported( [ -~]*)?"),
}
_LAST = ("end", "error", "unsupported")


class Verdict(enum.StrEnum):
    """Outcome of a vector."""

    PASS = "pass"
    MISMATCH = "mismatch"  # frames differ from the expected ones
    WRONGLY_ACCEPTED = "wrongly accepted"  # a bad stream decoded to its end
    WRONGLY_REJECTED = "wrongly rejected"  # a conforming stream refused
    WRONG_CODE = "wrong code"  # refused, with another error code
    CRASH = "crash"  # ended without a well-formed digest list
    TIMEOUT = "timeout"
    UNSUPPORTED = "unsupported"  # the decoder says that it can't do this
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Vector:
    """One entry of the manifest. stream, expected: paths of its files."""

    name: str
    kind: str
    description: str
    features: tuple[str, ...]
    requirement: str | None
    code: str | None
    stream: Path
    expected: Path

    def expected_lines(self) -> list[str]:
        return self.expected.read_text("utf-8").splitlines()


@dataclass(frozen=True, slots=True)
class Suite:
    """A conformance suite on disk. features: name -> what it covers, in order."""

    name: str
    version: str
    features: dict[str, str]
    vectors: tuple[Vector, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """A vector's verdict. detail: one line for people. frame, tensor: where a mismatch begins."""

    vector: Vector
    verdict: Verdict
    detail: str = ""
    seconds: float = 0.0
    frame: int | None = None
    tensor: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return dict(name=self.vector.name, kind=self.vector.kind, features=list(self.vector.features),
                    requirement=self.vector.requirement, code=self.vector.code, verdict=str(self.verdict),
                    detail=self.detail, frame=self.frame, tensor=self.tensor, seconds=round(self.seconds, 3))


@dataclass(frozen=True, slots=True)
class Decoder:
    """A decoder's command line with `{input}` and `{output}`, and the limits of each run.

    timeout: seconds. memory_mb: address space in MiB, None for no limit (needed by
    run-times that reserve much more than they use). Raises UsageError.
    """

    command: str
    timeout: float = 60.0
    memory_mb: int | None = 4096
    arguments: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        try:
            arguments = tuple(shlex.split(self.command))
        except ValueError as e:
            raise UsageError(f"{self.option} {self.command!r}: {e}") from None
        for place in self.places:
            if not any(place in a for a in arguments):
                raise UsageError(f"{self.option} {self.command!r} does not say where {place} goes")
        if shutil.which(arguments[0]) is None:
            raise UsageError(f"there is no program {arguments[0]!r} to run")
        object.__setattr__(self, "arguments", arguments)

    @property
    def places(self) -> tuple[str, ...]:
        """Placeholders that the command must contain."""
        return "{input}", "{output}"

    @property
    def option(self) -> str:
        """The option that gives the command."""
        return "--decoder"

    def fillings(self, vector: Vector) -> dict[str, str]:
        """Values of the placeholders other than `{input}` and `{output}`."""
        return {}

    def judge_run(self, vector: Vector, status: int, output: Path, errors: Path) -> Result:
        """The verdict on a run that ended by itself. status: of its exit. output, errors: what it wrote."""
        return _judge_run(vector, status, output, errors)

    def line(self, vector: Vector, source: Path, output: Path) -> list[str]:
        """The command line for one vector, behind a wrapper that sets the limits."""
        values = {"{input}": str(source), "{output}": str(output), **self.fillings(vector)}
        places = re.compile("|".join(map(re.escape, values)))
        line = [places.sub(lambda match: values[match[0]], a) for a in self.arguments]
        limits = [f"resource.setrlimit(resource.RLIMIT_FSIZE, ({MAX_OUTPUT}, {MAX_OUTPUT}))",
                  "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))"]
        if self.memory_mb is not None:
            limit = self.memory_mb << 20
            limits.append(f"resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))")
        wrapper = "; ".join(["import os, resource, sys", *limits, "os.execvp(sys.argv[1], sys.argv[1:])"])
        return [sys.executable, "-S", "-E", "-c", wrapper, *line]


def find_suite() -> Path:
    """The suite of the repository that this package was installed from. Raises UsageError."""
    for place in (Path(__file__).resolve().parents[2] / "conformance", Path.cwd() / "conformance"):
        if (place / "manifest.json").is_file():
            return place
    raise UsageError("there is no conformance suite here; name its folder with --suite")


def load_suite(folder: str | os.PathLike[str]) -> Suite:
    """Reads the manifest of a suite. Raises UsageError."""
    folder = Path(folder)
    try:
        manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
        vectors = tuple(
            Vector(v["name"], v["kind"], v["description"], tuple(v["features"]), v["requirement"], v["code"],
                   folder / v["path"] / "stream.rfv", folder / v["path"] / "expected.txt")
            for v in manifest["vectors"])
        suite = Suite(manifest["suite"], manifest["version"], dict(manifest["features"]), vectors)
    except OSError as e:
        raise UsageError(f"can't read the suite: {e.filename}: {e.strerror}") from None
    except (ValueError, KeyError, TypeError) as e:
        raise UsageError(f"{folder / 'manifest.json'} is not a manifest: {e!r}") from None
    for vector in suite.vectors:
        if not (vector.stream.is_file() and vector.expected.is_file()):
            raise UsageError(f"the suite is incomplete: {vector.name} lacks its files")
    return suite


def judge(vector: Vector, lines: Sequence[str]) -> Result:
    """The verdict on a digest list (without line ends) that a decoder wrote."""
    if fault := _fault(lines):
        return Result(vector, Verdict.CRASH, fault)
    if lines[-1].startswith("unsupported"):
        return Result(vector, Verdict.UNSUPPORTED, lines[-1].removeprefix("unsupported").strip())
    expected = vector.expected_lines()
    frames, wanted = list(lines[1:-1]), expected[1:-1]
    last, wanted_last = lines[-1].split(), expected[-1].split()
    frame = tensor = None
    for found, right in zip(frames, wanted):
        name, number = right.split()[:2]
        if name == "frame":
            frame, tensor = int(number), None
        elif name == "tensor":
            tensor = int(number)
        if found != right:
            return Result(vector, Verdict.MISMATCH, f"frame {frame}: {found!r} instead of {right!r}",
                          frame=frame, tensor=tensor)
    if last[0] == "error" and len(frames) <= len(wanted):
        if wanted_last[0] == "end":
            return Result(vector, Verdict.WRONGLY_REJECTED, f"refused with {' '.join(last[1:])}; the stream conforms")
        if last[1] != wanted_last[1]:
            return Result(vector, Verdict.WRONG_CODE, f"{' '.join(last[1:])} instead of {' '.join(wanted_last[1:])}")
    if last[0] == "end" and wanted_last[0] == "error":
        return Result(vector, Verdict.WRONGLY_ACCEPTED, f"the stream breaks {vector.requirement} ({vector.code})")
    if len(frames) != len(wanted):
        more = frames[len(wanted):] or wanted[len(frames):]
        word = "more than expected" if len(frames) > len(wanted) else "missing"
        return Result(vector, Verdict.MISMATCH, f"{len(more)} lines {word}, from {more[0]!r}", frame=frame)
    if last[0] == "end" and last != wanted_last:
        return Result(vector, Verdict.MISMATCH, f"{lines[-1]!r} instead of {expected[-1]!r}")
    return Result(vector, Verdict.PASS)


def _fault(lines: Sequence[str]) -> str | None:
    """The syntax error of a digest list, None where it is well-formed."""
    if not lines:
        return "the digest list is empty"
    if lines[0] != DIGEST_LIST:
        return f"the digest list begins with {lines[0][:60]!r}, not {DIGEST_LIST!r}"
    for number, line in enumerate(lines[1:], 2):
        pattern = _LINES.get(line.split(" ", 1)[0])
        if pattern is None or not pattern.fullmatch(line):
            return f"line {number} of the digest list is {line[:80]!r}"
        if line.split(" ", 1)[0] in _LAST and number < len(lines):
            return f"{len(lines) - number} lines follow {line!r}"
    if lines[-1].split(" ", 1)[0] not in _LAST:
        return "the digest list has no last line (end, error or unsupported)"
    return None


def run_vector(decoder: Decoder, vector: Vector, folder: Path, stopped: threading.Event | None = None) -> Result:
    """Runs the decoder on one vector, with files in an empty folder, and compares its output."""
    # The decoder gets a copy under a plain name, so that nothing but the bytes tells what is expected.
    source, output, errors = folder / "input.rfv", folder / "output.txt", folder / "errors.txt"
    shutil.copyfile(vector.stream, source)
    started = time.monotonic()
    with errors.open("wb") as said:
        try:
            process = subprocess.Popen(decoder.line(vector, source, output), stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=said, start_new_session=True)
        except OSError as e:
            return Result(vector, Verdict.NOT_RUN, f"the decoder can't be started: {e.strerror}")
        try:
            status = _wait(process, started + decoder.timeout, stopped)
        finally:
            _end_group(process)
    seconds = time.monotonic() - started
    if status is None:
        if stopped is not None and stopped.is_set():
            return Result(vector, Verdict.NOT_RUN, "interrupted", seconds)
        return Result(vector, Verdict.TIMEOUT, f"no result after {decoder.timeout:g} s", seconds)
    if status < 0:
        name = _NAMES.get(-status, signal.strsignal(-status) or "signal")
        detail = f"{name} (signal {-status}){last_words(errors)}"
        return Result(vector, Verdict.CRASH, detail, seconds)
    return replace(decoder.judge_run(vector, status, output, errors), seconds=seconds)


def _wait(process: subprocess.Popen[bytes], deadline: float, stopped: threading.Event | None) -> int | None:
    """The exit status; None when time is up or the run was interrupted."""
    while not (stopped is not None and stopped.is_set()):
        left = deadline - time.monotonic()
        try:
            return process.wait(max(0.0, min(_POLL, left)))
        except subprocess.TimeoutExpired:
            if left <= _POLL:
                return None
    return None


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends the decoder and whatever it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def _judge_run(vector: Vector, status: int, output: Path, errors: Path) -> Result:
    try:
        text = output.read_bytes().decode("ascii").replace("\r\n", "\n")
        lines = text.removesuffix("\n").split("\n") if text else []
    except OSError:
        return Result(vector, Verdict.CRASH, f"exit status {status} and no digest list{last_words(errors)}")
    except UnicodeDecodeError:
        return Result(vector, Verdict.CRASH, "the digest list is not ASCII text")
    result = judge(vector, lines)
    if result.verdict in (Verdict.UNSUPPORTED, Verdict.CRASH):
        return result
    allowed = (EXIT_DONE,) if lines[-1].startswith("end") else (EXIT_DONE, EXIT_REFUSED)
    if status not in allowed:
        return Result(vector, Verdict.CRASH, f"exit status {status} after {lines[-1]!r}{last_words(errors)}")
    return result


def last_words(errors: Path) -> str:
    """The last line that the decoder wrote to standard error, as an addition to a detail."""
    with errors.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 2000))
        lines = file.read().decode("utf-8", "replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    if not said:
        return ""
    return ": " + "".join(c if c.isprintable() else "?" for c in said[-1][:200])


def run(decoder: Decoder, vectors: Iterable[Vector], jobs: int = 1,
        on_result: Callable[[Result], None] = lambda result: None) -> list[Result]:
    """Results of all vectors, in their order. on_result: called as they come.

    After KeyboardInterrupt the vectors that have not been run are `not run`.
    """
    vectors = list(vectors)
    results: dict[str, Result] = {}
    stopped = threading.Event()

    def one(vector: Vector) -> Result:
        if stopped.is_set():
            return Result(vector, Verdict.NOT_RUN, "interrupted")
        with tempfile.TemporaryDirectory(prefix="rfv-conformance-") as folder:
            return run_vector(decoder, vector, Path(folder), stopped)

    with ThreadPoolExecutor(max(1, jobs)) as pool:
        waiting = [pool.submit(one, vector) for vector in vectors]
        try:
            for future in as_completed(waiting):
                result = future.result()
                results[result.vector.name] = result
                on_result(result)
        except KeyboardInterrupt:
            stopped.set()
    return [results.get(v.name) or Result(v, Verdict.NOT_RUN, "interrupted") for v in vectors]
