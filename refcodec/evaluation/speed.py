"""Decoding speed of a file, measured in one run beside its references: the figures of the README."""
from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..decoding import open_stream
from ..kernels import Kernels, NumpyKernels, best, described
from .benchmark import GROUPS, decoded, raw_speed, repeated_group

_PACKAGE = str(Path(__file__).parent.parent.parent)


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: what was measured, how much, and its unit. against: the same kind of figure that it is compared with."""

    name: str
    value: float
    unit: str
    against: str = ""

    def row(self) -> str:
        return f"| {self.name} | {self.value:.{3 if self.unit == 's' else 1}f} {self.unit} | {self.against} |"


def measure(path: Path, repeats: int = 5) -> list[Figure]:
    """Times the decoding of a file: entropy coding and reconstruction by one thread's processor time, in numpy, too;
    frames a second by the clock; whole processes; and in node, where it is installed."""
    kernels = best()
    figures = _kernel_figures(path, kernels, repeats)
    figures += _stream_figures(path, kernels, repeats)
    figures += _process_figures(path, repeats)
    if (node := shutil.which("node")) is not None:
        figures += _node_figures(node, path, repeats)
    return figures


def _kernel_figures(path: Path, kernels: Kernels, repeats: int) -> list[Figure]:
    _, tensors = decoded(path)
    symbols = sum(t.values.size for t in tensors)
    bits = 8 * sum(len(t.syntax.value_data) for t in tensors) / symbols

    def speed(call: Callable[[Any], object], repeats: int) -> float:
        return symbols / 1e6 / _best(repeats, lambda: [call(t) for t in tensors], time.thread_time)

    def operations(k: Kernels) -> dict[str, Callable[[Any], object]]:
        return {
            "entropy decoding": lambda t: k.decode_symbols(t.model, t.bound.layout, t.syntax.value_data, t.selected),
            "entropy encoding": lambda t: k.encode_symbols(t.model, t.bound.layout, t.values, t.selected),
            "reconstruction": lambda t: k.reconstruct(t.bound, t.values)}

    raw, figures = raw_speed(bits) / 1e6, []
    plain = operations(NumpyKernels())
    for name, call in operations(kernels).items():
        found = speed(call, repeats)
        against = f"numpy {speed(plain[name], 1):.1f}" if kernels.name != "numpy" else ""
        if name == "entropy decoding":
            against = f"{100 * found / raw:.0f} % of constriction alone ({raw:.1f}); " + against
        figures.append(Figure(f"{name}, one thread, {described(kernels)}", found, "M symbols/s", against.strip("; ")))
    return figures


def _stream_figures(path: Path, kernels: Kernels, repeats: int) -> list[Figure]:
    data, figures = repeated_group(path), []
    frames = sum(1 for _ in open_stream(io.BytesIO(data)))
    one = 0.0
    for jobs in sorted({1, 2, os.cpu_count() or 1}):
        def decode(jobs: int = jobs) -> None:
            for frame in open_stream(io.BytesIO(data), kernels=kernels).frames(jobs=jobs):
                del frame

        rate = frames / _best(repeats, decode)
        one = one or rate
        figures.append(Figure(f"whole decoding of {GROUPS} groups, digests checked, {jobs} thread{'s'[:jobs > 1]}",
                              rate, "frames/s", f"× {rate / one:.2f}" if jobs > 1 else ""))
    return figures


def _process_figures(path: Path, repeats: int) -> list[Figure]:
    def run(*arguments: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True,
                                      env={**os.environ, "PYTHONPATH": _PACKAGE})

    with tempfile.TemporaryDirectory() as folder:
        command = ("-m", "refcodec", "decode", str(path), os.path.join(folder, "digests.txt"), "--digests-only",
                   "--force")
        python, loaded = _best(repeats, run("-c", "import numpy")), _best(repeats, run("-c", _LOADED))
        whole = _best(repeats, run(*command))
    return [Figure("start: a process that is ready to decode", loaded, "s", f"Python and numpy alone {python:.3f} s"),
            Figure("`refcodec decode --digests-only`, whole process", whole, "s", f"of it the start {loaded:.3f} s")]


_LOADED = """
import refcodec.commands.decode, refcodec.decoding, refcodec.export, refcodec.inspection
from refcodec.kernels import best
best()
"""


def _node_figures(node: str, path: Path, repeats: int) -> list[Figure]:
    program = Path(_PACKAGE) / "refcodec" / "view" / "web" / "speed.mjs"

    def run(kernels: str) -> dict[str, Any]:
        done = subprocess.run([node, str(program), kernels, str(path), str(repeats)], check=True, capture_output=True,
                              text=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    wasm, plain = run("wasm"), run("javascript")
    symbols = wasm["symbols"] / 1e6
    return [Figure("entropy decoding in node, WebAssembly", symbols / wasm["entropy"], "M symbols/s"),
            Figure("tensors in node: entropy decoding and reconstruction, WebAssembly", symbols / wasm["tensors"],
                   "M symbols/s", f"JavaScript {symbols / plain['tensors']:.1f}"),
            Figure("whole decoding in node, WebAssembly", wasm["whole"], "s", f"JavaScript {plain['whole']:.3f} s")]


def markdown(figures: list[Figure]) -> str:
    """The figures as a table."""
    return "\n".join(["| figure | | against |", "|---|---|---|", *(f.row() for f in figures)])


def _best(repeats: int, call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    times = []
    for _ in range(repeats):
        started = clock()
        call()
        times.append(clock() - started)
    return min(times)
