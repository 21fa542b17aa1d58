"""Hunts for small files that take a decoder long, or much memory, within its limits.

    python fuzz/hunt.py --seconds 600 --keep worst/ --report worst.json

Starts from the seeds of the other targets and from files that are built to be expensive: many wavefronts, wide
models, many tables in a wavefront, large occupancies, masks of many geometries. Keeps the worst by four measures
(processor seconds, seconds a byte, peak memory, memory a byte), mutates them, and keeps what is worse. Every file is
decoded in a process of its own with the kernels in numpy.
"""
from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import io
import json
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mutate import mutate, seeds
from refcodec.decoding import Limits, open_stream
from refcodec.entropy import coder
from refcodec.entropy.bernoulli import BERNOULLI
from refcodec.entropy.coder import EntropyError
from refcodec.entropy.layout import Layout
from refcodec.entropy.mixture import MIXTURE
from refcodec.entropy.models import ContextModel, EntropyModel, StaticModel
from refcodec.errors import BitstreamError
from refcodec.kernels import NumpyKernels
from refcodec.syntax.coding import FrameType, Tools
from refcodec.syntax.headers import Representation, SequenceHeader
from refcodec.writer import FrameCoding, StreamWriter, TensorCoding
from targets import LIMITS

LARGEST = 4096  # bytes of a file, for which docs/robustness.md promises:
SECONDS, MEMORY = 10, 3 << 29
KEPT = 12  # files for each measure
NOTHING = 1 << 24  # bytes of memory that are not told from none
KERNELS = NumpyKernels()
FIXED = ContextModel.fixed([0], [22])


@dataclass(frozen=True)
class Cost:
    """Of decoding a file. seconds: of the processor. memory: peak, in bytes, `own` without what the process had
    before. outcome: requirement, `decoded`, or what ended the process."""

    size: int
    seconds: float
    memory: int
    own: int
    outcome: str

    def measures(self) -> dict[str, float]:
        own = self.own if self.own > NOTHING else 0
        return {"seconds": self.seconds, "seconds a byte": self.seconds / self.size, "memory": own,
                "memory a byte": own / self.size}


def measure(data: bytes, limits: Limits = LIMITS, seconds: int = 120, memory: int = 8 << 30) -> Cost:
    """Decodes a file in a process of its own, which may take so many seconds and bytes of address space."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        _decode(data, limits, writing, seconds, memory)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    _, status, usage = os.wait4(process, 0)
    before, _, outcome = told.partition(" ")
    if os.WIFSIGNALED(status):
        outcome = signal.Signals(os.WTERMSIG(status)).name
    peak = usage.ru_maxrss << 10
    return Cost(len(data), usage.ru_utime + usage.ru_stime, peak, peak - int(before), outcome)


def _decode(data: bytes, limits: Limits, out: int, seconds: int, memory: int) -> None:
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        os.write(out, f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10} ".encode())
        try:
            for _ in open_stream(data, limits, KERNELS):
                pass
            outcome = "decoded"
        except BitstreamError as e:
            outcome = e.requirement
        except BaseException as e:
            outcome = repr(e)
        os.write(out, outcome.encode())
    finally:
        os._exit(0)


# Files to start from


@functools.cache
def crafting():
    """What the conformance suite builds its files with."""
    sys.path.append(str(Path(__file__).resolve().parent.parent / "conformance"))
    import crafting

    return crafting


def cheap_values(model: EntropyModel, layout: Layout, start: bytes) -> np.ndarray:
    """Values that take hardly more bytes than `start`: what a decoder reads from it, and from the zeros behind it."""
    for data in (start, start[::-1], start[:1], b"\1", b""):
        decoder = coder.SymbolDecoder(data)
        try:
            return coder._code(model, layout, None, lambda run, low, size, _, d=decoder: d.values(run, low, size))
        except EntropyError:  # bytes that mean nothing
            pass
    raise AssertionError("no data mean something under any model")


def build(head: SequenceHeader, frames: int, models: dict[int, EntropyModel], use: dict[int, int], *,
          starts: Callable[[int], bytes] = lambda frame: b"", significance: int = 0, occupancy_model: int | None = None,
          voxels: Callable[[int], np.ndarray] | None = None) -> bytes:
    """A file of one group whose frames say next to nothing.

    use: model of each coded tensor; of the others the I-frame has what FIXED makes of no data. starts: first bytes of
    the data of each frame. voxels: occupancy of each frame, compressed, or coded by `occupancy_model`.
    """
    out, unused = io.BytesIO(), max(models) + 1
    models = {**models, unused: FIXED}
    writer = StreamWriter(out, head, 1)
    writer.begin()
    writer.begin_group(0, frames)
    state = writer.state
    for k in range(frames):
        kind = FrameType.INTER if k else FrameType.INTRA
        state.models.update(models)
        before = state.occupancy
        occupancy = before
        if voxels is not None:
            occupancy = voxels(k)
        state.set_occupancy(occupancy)
        coded = []
        for i in range(len(head.tensors)) if k == 0 else use:
            tools = Tools((3,), 0, significance if i in use else 0)
            bound, model = state.bind(i, tools), use.get(i, unused)
            coded.append(TensorCoding(i, cheap_values(models[model], bound.layout, starts(k)), model, tools))
        state.set_occupancy(before)
        writer.write_frame(FrameCoding(k, kind, k, occupancy, models if k == 0 else {}, coded, occupancy_model))
    writer.finish(index=False)
    return out.getvalue()


def near(count: int) -> list[tuple[int, int, int, int, int]]:
    """So many neighbours that are decoded before a cell, the nearest first, then those of the previous frame."""
    offsets = [(z, y, x) for z in range(-2, 3) for y in range(-2, 3) for x in range(-2, 3)]
    causal = [o for o in offsets if sum(o) < 0]
    return [(0, 0, *o) for o in causal[:count]] + [(1, 0, *o) for o in offsets[: max(0, count - len(causal))]]


def spread(channels: int, tables: int, outputs: int = 3) -> np.ndarray:
    """Biases that give every channel a table of its own, as far as there are so many."""
    scale, shape = np.arange(channels) % tables, np.arange(channels) // tables % 5
    return np.stack([np.arange(channels) % 50 - 25, scale, shape][:outputs], 1).reshape(-1)


def expensive() -> Iterator[tuple[str, bytes]]:
    """Files that are built to be expensive, all within LIMITS."""
    c = crafting()
    dice = c.Dice(1)

    def grids(z: int, y: int, x: int, channels: int = 1, **changes) -> SequenceHeader:
        # Its tensors: a density grid, features, and the weights of a network.
        tensors = c.grid_tensors((z, y, x), (2, 2, 2), channels)
        return c.field_header(Representation.GRID, tensors, digest_type=0, **changes)

    def model(channels: int, neighbours: int, hidden: int, joint: bool = True, scan=(0, 1, 1, 1), **changes):
        plain = dict(hidden_bias=np.ones(hidden, int), output_weight=dice.integers(-1, 1, 3 * channels, hidden),
                     output_bias=spread(channels, 44), location_shift=0, scale_shift=0, shape_shift=0)
        return c.context_model(dice, near(neighbours), joint=channels if joint else 0, hidden=hidden, scan=scan,
                             family=MIXTURE, **{**plain, **changes})

    starts = {"": lambda frame: b"", "-values": lambda frame: bytes([1 + frame % 255, 77])}
    for name, start in starts.items():
        for channels in (32, 64, 120):
            length = 16000 // channels - 4
            frames = min(64, LIMITS.steps // length - 1)
            yield f"tables-{channels}{name}", build(grids(1, 1, length, channels), frames,
                                                    {0: model(channels, 2, 1)}, {1: 0}, starts=start)
        for neighbours, hidden in ((100, 10), (180, 2)):
            yield f"neighbours-{neighbours}{name}", build(
                grids(5, 5, 240), 60, {0: model(1, neighbours, hidden, scan=(0, 0, 0, 1))}, {1: 0}, starts=start)
        order = (0, 0, 1, 3)  # a cell a wavefront
        yield f"wavefronts{name}", build(grids(1, 3, 4096), 1, {0: model(1, 180, 10, scan=order)}, {1: 0}, starts=start)
        yield f"wavefronts-of-64-frames{name}", build(grids(20, 3, 80), 60, {0: model(1, 100, 10, scan=order)}, {1: 0},
                                                      starts=start)
    for side, neighbours, hidden in ((40, 60, 20), (40, 150, 8), (40, 180, 2)):
        for scan in ((0, 0, 0, 0), (0, 1, 1, 1)):
            bits = c.context_model(dice, near(neighbours), hidden=hidden, scan=scan, family=BERNOULLI,
                                   output_bias=[0, 63 << 8], output_weight=np.zeros((2, hidden), int))
            yield f"occupancy-{side}-{neighbours}-{hidden}-{scan[1]}", build(
                grids(2, 2, 2, occupancy=(side,) * 3), 56, {0: bits}, {}, occupancy_model=0,
                voxels=lambda frame, side=side: np.ones((side,) * 3, bool))
    table = StaticModel(((0, (1, 1, 1 << 20)),))
    yield "escapes", build(grids(1, 4, 4000), 60, {0: table}, {1: 0}, starts=lambda frame: bytes([128, 1 + frame]))

    def flicker(frame: int) -> np.ndarray:
        found = np.zeros((40, 40, 40), bool)
        found[frame % 2 :: 2] = True
        return found

    bases = tuple((1, 16 - i % 2, 14 + i % 3, 16) for i in range(4))
    yield "masks", build(c.header((4, 2, 2, 2), bases, (40, 40, 40), frequency=40.0, digest_type=0), 40, {0: FIXED},
                         {i: 0 for i in range(1, 5)}, significance=1, voxels=flicker)


def richest() -> bytes:
    """As many wavefronts as LIMITS allow, under the widest model there is: more than LARGEST bytes."""
    c, channels = crafting(), 4
    dice = c.Dice(2)
    wide = c.context_model(dice, near(128), joint=channels, hidden=64, family=MIXTURE)
    assert wide.hidden_weight.shape == (64, 512)
    tensors = c.grid_tensors((1, 1, 4000), (2, 2, 2), channels)
    return build(c.field_header(Representation.GRID, tensors, digest_type=0), 4, {0: wide}, {1: 0},
                 starts=lambda frame: bytes([1 + frame, 77]))


# The hunt


class Hunt:
    """The worst files by each measure."""

    def __init__(self, seconds: int):
        self.seconds, self.costs, self.seen = seconds, dict[bytes, Cost](), set[bytes]()
        self.worst: dict[str, list[bytes]] = {name: [] for name in Cost(1, 0, 0, 0, "").measures()}
        self.names: dict[bytes, str] = {}

    def take(self, data: bytes, name: str) -> Cost | None:
        """Measures a file and keeps it where it is among the worst. None for one that was measured before."""
        key = hashlib.sha256(data).digest()
        if key in self.seen or not 0 < len(data) <= LARGEST:
            return None
        self.seen.add(key)
        cost = self.costs[data] = measure(data, seconds=self.seconds)
        self.names[data] = name
        for measured, kept in self.worst.items():
            kept.append(data)
            kept.sort(key=lambda d: -self.costs[d].measures()[measured])
            del kept[KEPT:]
        for data in set(self.costs) - {d for kept in self.worst.values() for d in kept}:
            del self.costs[data], self.names[data]
        return cost

    def offspring(self, rng: random.Random) -> tuple[bytes, str]:
        """One of the worst, changed, and where it comes from."""
        kept = self.worst[rng.choice(list(self.worst))]
        parent = kept[min(rng.randrange(len(kept)) for _ in range(2))]
        data = parent
        for _ in range(rng.randint(1, 2)):
            data = mutate(data, rng)
        return data, self.names[parent].removesuffix(", mutated") + ", mutated"

    def report(self) -> dict[str, dict]:
        """The worst file by each measure."""
        found = {}
        for name, kept in self.worst.items():
            cost = self.costs[kept[0]]
            found[name] = dict(bytes=cost.size, seconds=round(cost.seconds, 3), memory_mb=round(cost.memory / 2**20),
                               seconds_a_byte=round(cost.seconds / cost.size, 6), outcome=cost.outcome,
                               memory_a_byte=round(cost.own / cost.size), origin=self.names[kept[0]])
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600, help="of mutations, after the files to start from")
    parser.add_argument("--execution-seconds", type=int, default=60, help="of the processor, for one file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the worst files")
    parser.add_argument("--report", type=Path)
    arguments = parser.parse_args()
    if os.environ.get("OPENBLAS_NUM_THREADS") != "1":  # small products are not worth sharing
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    hunt = Hunt(arguments.execution_seconds)
    for name, data in expensive():
        print(name, hunt.take(data, name) or f"{len(data)} bytes: too large", flush=True)
    for data in seeds():
        hunt.take(data, "vector")
    rng, end, tried = random.Random(arguments.seed), time.monotonic() + arguments.seconds, len(hunt.seen)
    while time.monotonic() < end:
        hunt.take(*hunt.offspring(rng))
    report = dict(files=len(hunt.seen), mutants=len(hunt.seen) - tried, worst=hunt.report(),
                  richest=dataclasses.asdict(measure(richest())))
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        for name, kept in hunt.worst.items():
            (arguments.keep / f"{name.replace(' ', '-')}.rfv").write_bytes(kept[0])
    if arguments.report:
        arguments.report.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    return 2 if any(c.seconds > SECONDS or c.memory > MEMORY for c in hunt.costs.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
