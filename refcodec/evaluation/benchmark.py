"""The figures that the README quotes, all made by one command (`refcodec benchmark`).

Encodes a sequence with each coding tool switched off in turn (MM 2024, Table 4), then
measures sizes, overheads, decoding speed and memory on what came out. Encodes are kept, and an interrupted benchmark
resumes with them.
"""
from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import constriction
import numpy as np

from ..arrays import Array
from ..datasets import Dataset
from ..decoding import DecodedTensor, Frame, SequenceDecoder, open_stream
from ..entropy.laplace import laplace_tables
from ..entropy.layout import Layout
from ..entropy.models import EntropyModel, StaticModel, model_from_syntax
from ..errors import UsageError
from ..fields import Ops, choose_ops
from ..inspection import inspect
from ..kernels import Kernels, NumpyKernels, best
from ..syntax import structures as syn
from ..syntax.coding import step_index, step_of
from ..syntax.headers import Mapping, TensorInfo
from ..syntax.registry import UnitType
from ..syntax.units import Unit, UnitReader, build_unit
from ..tensors.state import frame_digest
from .held_out import render_views
from .metrics import psnr
from .published import requantised

if TYPE_CHECKING:
    from ..encoder import EncodeOptions, Progress

GROUPS = 8  # copies of a group to measure decoding side by side with
_PACKAGE = str(Path(__file__).parent.parent.parent)
_FINE_STEP = 2.0**-12  # of the field that the baseline quantises: as good as unquantised


@dataclass(frozen=True, slots=True)
class Configuration:
    """A row of the ablation: its name, and how it departs from the full codec."""

    name: str
    changes: dict[str, Any]


CONFIGURATIONS = (
    Configuration("independent frames, coded after training",
                  dict(group_size=1, rate_loss=False, learn_steps=False, step=_FINE_STEP)),
    Configuration("without P-frames", dict(group_size=1)),
    Configuration("without learned steps", dict(learn_steps=False)),
    Configuration("full", {}),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A point of one configuration. size: bytes a frame, all counted; psnr: dB, mean of frames."""

    configuration: str
    lagrangian: float | None
    size: float
    psnr: float


# Quality and size of whole files.


def require_held_out(dataset: Dataset) -> None:
    """Raises UsageError where a frame has no view to measure PSNR on."""
    if not all(frame.split("test") for frame in dataset.frames):
        raise UsageError(f"{dataset.source} has no held-out views to measure PSNR on")


def held_out_psnr(frames: Iterable[Frame], dataset: Dataset, ops: Ops[Array] | None = None) -> list[float]:
    """Mean PSNR over the held-out views of each decoded frame, paired by position; every frame has some."""
    found = []
    for frame, shot in zip(frames, dataset.frames, strict=True):
        views = ((v.camera, v.load()) for v in shot.split("test"))
        rendered = render_views(frame.header, frame.values(), frame.occupancy, views, ops or choose_ops("numpy"))
        found.append(float(np.mean([psnr(v.picture, v.truth) for v in rendered])))
    return found


class RatePoint(Protocol):
    """A size, in bytes a frame, and a PSNR, in dB."""

    @property
    def size(self) -> float: ...

    @property
    def psnr(self) -> float: ...


def interpolated_size(rows: Sequence[RatePoint], quality: float) -> float | None:
    """Bytes a frame at a PSNR, by a straight line through (PSNR, log size); None beyond 1 dB outside."""
    rows = sorted(rows, key=lambda r: r.psnr)
    if len(rows) < 2 or not rows[0].psnr - 1 <= quality <= rows[-1].psnr + 1:
        return None
    x, y = [r.psnr for r in rows], [np.log(r.size) for r in rows]
    k = int(np.clip(np.searchsorted(x, quality), 1, len(x) - 1))
    slope = (y[k] - y[k - 1]) / max(x[k] - x[k - 1], 1e-6)
    return float(np.exp(y[k - 1] + slope * (quality - x[k - 1])))


# The baseline: fields trained without the rate, quantised and entropy coded afterwards.


def requantise(frames: Sequence[Frame], step: float) -> bytes:
    """An RFV file of I-frames with the same fields, their grids quantised with one step size.

    Every tensor gets a static table of its own from its histogram: ideal first-order
    entropy coding, in the same format, with the same occupancy. Weights keep eight
    fractional bits.
    """
    def index(info: TensorInfo, values: np.ndarray) -> int:
        return step_index((step if info.mapping != Mapping.NONE else 2.0**-8) * 2.0**info.frac_bits)

    return requantised(frames, index, candidates=lambda values, band, bands: [histogram_model(values)])


def histogram_model(q: np.ndarray) -> StaticModel:
    """One static table with the frequencies of the values themselves; rare far ones escape."""
    low, high = (int(v) for v in np.quantile(q, [0.0005, 0.9995])) if q.size else (0, 0)
    low, high = max(low, -2000), min(high, 2000)
    inside = np.clip(q, low, high)
    counts = np.bincount((inside - low).reshape(-1), minlength=high - low + 1)
    outside = int(((q < low) | (q > high)).sum())
    scale = max(1.0, (counts.sum() + outside) / 60000)
    counts = np.ceil(counts / scale).astype(int)
    return StaticModel(((low, (*counts.tolist(), int(np.ceil(outside / scale)))),))


def baseline_at(frames: Sequence[Frame], dataset: Dataset, quality: float, ops: Ops[Array] | None = None,
                trials: int = 7) -> Row:
    """The baseline's largest step size that keeps a PSNR, by bisection on log(step)."""
    low, high, best = np.log(2.0**-9), np.log(2.0), None
    for _ in range(trials):
        middle = (low + high) / 2
        data = requantise(frames, float(np.exp(middle)))
        found = float(np.mean(held_out_psnr(open_stream(io.BytesIO(data)), dataset, ops)))
        if found >= quality:
            low, best = middle, Row(CONFIGURATIONS[0].name, None, len(data) / len(frames), found)
        else:
            high = middle
    if best is None:  # the float field itself is below that quality
        data = requantise(frames, 2.0**-9)
        found = float(np.mean(held_out_psnr(open_stream(io.BytesIO(data)), dataset, ops)))
        return Row(CONFIGURATIONS[0].name, None, len(data) / len(frames), found)
    return best


# Coding: overheads, speed, memory.


@dataclass(frozen=True, slots=True)
class CodingFigures:
    """Of one file. Overheads are fractions; speeds in symbols a second of one thread's processor time, with
    the best kernels there are. plain_speed: of entropy decoding in numpy. entropy_speeds: of entropy
    decoding by number of threads, in time that passes. frame_speeds, group_speeds:
    frames a second of whole decoding by number of threads, of the file and of GROUPS copies of its
    first group. memory: beyond the kernels; see `decoding_memory`.
    """

    symbols: int
    size: int
    ideal_ratio: float
    framing_intra: float
    framing_inter: float
    intra_bytes: float
    inter_bytes: float
    entropy_speed: float
    decode_speed: float
    raw_speed: float
    memory: int
    tensor_bytes: int
    kernels: str
    plain_speed: float
    frame_speeds: dict[int, float]
    group_speeds: dict[int, float]
    entropy_speeds: dict[int, float]

    @property
    def share_of_raw(self) -> float:
        return self.entropy_speed / self.raw_speed

    @property
    def memory_ratio(self) -> float:
        return self.memory / self.tensor_bytes


def decoded(path: Path) -> tuple[list[Frame], list[DecodedTensor]]:
    """A file's frames, and the symbols of their tensors."""
    frames: list[Frame] = []
    seen: list[DecodedTensor] = []
    with open(path, "rb") as file:
        reader = UnitReader(file)
        decoder = SequenceDecoder(reader.read_file_header(), on_tensor=seen.append)
        for unit in reader.units():
            if (frame := decoder.feed(unit)) is not None:
                frames.append(frame)
    return frames, seen


def _decode_values(t: DecodedTensor, kernels: Kernels) -> None:
    kernels.decode_symbols(t.model, t.bound.layout, t.syntax.value_data, t.selected)


def coding_figures(path: Path, repeats: int = 3) -> CodingFigures:
    """Measures a file by decoding it; the symbols are coded again for their ideal length."""
    kernels = best()
    frames, seen = decoded(path)
    symbols = sum(t.values.size for t in seen)
    ideal = coded = 0.0
    for t in seen:
        again, bits = kernels.encode_symbols(t.model, t.bound.layout, t.values, t.selected)
        if again != t.syntax.value_data:
            raise AssertionError("coding the decoded symbols again gives other data")
        ideal, coded = ideal + bits, coded + 8 * len(again)

    def decode(kernels: Kernels) -> None:
        for t in seen:
            _decode_values(t, kernels)

    def decode_together(jobs: int) -> None:
        with ThreadPoolExecutor(jobs) as pool:
            for _ in pool.map(partial(_decode_values, kernels=kernels), sorted(seen,
                    key=lambda t: -len(t.syntax.value_data))):
                pass

    entropy_time = _best(repeats, lambda: decode(kernels), time.thread_time)
    entropy_speeds = {jobs: symbols / _best(repeats, lambda: decode_together(jobs))
                      for jobs in sorted({1, 2, os.cpu_count() or 1})}
    plain_time = _best(repeats, lambda: decode(NumpyKernels()), time.thread_time)
    decode_time = _best(repeats, lambda: _decode(path, 1), time.thread_time)
    frame_speeds = {jobs: len(frames) / _best(repeats, lambda: _decode(path, jobs)) for jobs in (1, 2)}
    groups = repeated_group(path)
    count = sum(1 for _ in open_stream(io.BytesIO(groups)))
    group_speeds = {jobs: count / _best(repeats, lambda: _decode(io.BytesIO(groups), jobs))
                    for jobs in sorted({1, 2, os.cpu_count() or 1})}
    units = inspect(path).frames
    framing = {kind: [f.framing / f.bytes for f in units if f.type == kind] for kind in "IP"}
    size = {kind: [f.bytes for f in units if f.type == kind] for kind in "IP"}
    tensor_bytes = sum(t.nbytes for t in frames[0].tensors)
    return CodingFigures(
        symbols, path.stat().st_size, coded / ideal, _mean(framing["I"]), _mean(framing["P"]), _mean(size["I"]),
        _mean(size["P"]), symbols / entropy_time, symbols / decode_time,
        raw_speed(coded / symbols), decoding_memory(path), tensor_bytes, kernels.name, symbols / plain_time,
        frame_speeds, group_speeds, entropy_speeds)


def _decode(source: Path | BinaryIO, jobs: int) -> None:
    for frame in open_stream(source).frames(jobs=jobs):
        del frame  # before the next one's tensors are made


def repeated_group(path: Path, copies: int = GROUPS) -> bytes:
    """The first group of a file as `copies` groups, each with frame numbers, times and digests of its own."""
    with open(path, "rb") as file:
        reader = UnitReader(file)
        sequence = SequenceDecoder(reader.read_file_header())
        before: list[Unit] = []
        group: list[tuple[Unit, Frame]] = []
        for unit in reader.units():
            frame = sequence.feed(unit)
            if frame is not None:
                group.append((unit, frame))
            elif sequence.group is None:
                before.append(unit)
            if group and not sequence.frames_left:
                break
        file.seek(0)
        out = [file.read(before[0].offset), *(build_unit(u.type, u.payload) for u in before)]
    first, last, count = group[0][1], group[-1][1], len(group)
    for copy in range(copies):
        header = syn.GroupHeaderSyntax(group_sync=syn.GROUP_SYNC, scene_id=first.scene, first_frame_number=copy * count,
                      frame_count=count)
        out.append(build_unit(UnitType.GROUP_HEADER, syn.GROUP_HEADER.build(
            header, level=sequence.file_header.bounds, header=sequence.header)))
        for i, (unit, frame) in enumerate(group):
            number, time_stamp = copy * count + i, copy * (last.time_stamp + 1) + frame.time_stamp
            new = {"frame.frame_number": number.to_bytes(4, "little"),
                   "frame.time_stamp": time_stamp.to_bytes(8, "little"),
                   "frame.frame_digest": frame_digest(number, frame.occupancy, frame.tensors)}
            payload = bytearray(unit.payload)
            for span in frame.trace.spans:
                if span.path in new and span.length:
                    at = span.offset - unit.payload_offset
                    payload[at : at + span.length] = new[span.path][: span.length]
            out.append(build_unit(UnitType.FRAME, bytes(payload)))
    end = syn.END.build(syn.EndSyntax(group_total=copies, frame_total=copies * count, index_offset=0))
    return b"".join([*out, build_unit(UnitType.END, end)])


def start_times(path: Path, repeats: int = 3) -> dict[str, float]:
    """Seconds of fresh processes: `version`, and `decode` of the file."""

    def run(*arguments: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True,
                                      env={**os.environ, "PYTHONPATH": _PACKAGE})

    found = dict(version=_best(repeats, run("-m", "refcodec", "--version")))
    with tempfile.TemporaryDirectory() as folder:
        decode = ("-m", "refcodec", "decode", str(path), os.path.join(folder, "digests.txt"), "--digests-only",
                  "--force")
        found["decode"] = _best(repeats, run(*decode))
    return found


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _best(repeats: int, call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    times = []
    for _ in range(repeats):
        started = clock()
        call()
        times.append(clock() - started)
    return min(times)


def raw_speed(bits: float, count: int = 2_000_000) -> float:
    """constriction alone: symbols a second with one table of about `bits` a symbol, one call."""
    entropies = [float((t.frequencies / 2**24 * t.bits).sum()) for t in laplace_tables()]
    table = laplace_tables()[int(np.argmin(np.abs(np.array(entropies) - bits)))]
    entries = np.random.default_rng(0).choice(table.size + 1, count, p=table.frequencies / 2**24).astype(np.int32)
    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(entries, table.model)
    words = encoder.get_compressed()
    return count / _best(3, lambda: constriction.stream.queue.RangeDecoder(words).decode(table.model, count),
                         time.thread_time)


_MEMORY = """
import sys
import numpy, refcodec.decoding as d
from refcodec.kernels import best
best()
numpy.ones((64, 64), numpy.float32) @ numpy.ones((64, 64), numpy.float32)
def status(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
before = status("VmRSS")
for frame in d.open_stream(sys.argv[1]):
    del frame
print((status("VmHWM") - before) * 1024)
"""


def decoding_memory(path: Path) -> int:
    """Bytes by which decoding raises the peak memory of a fresh process that has imported the decoder
    and its kernels (Linux).

    The process lets go of each frame before it asks for the next."""
    done = subprocess.run([sys.executable, "-c", _MEMORY, str(path)], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": _PACKAGE})
    return int(done.stdout)


def published_size_speed(frames: Sequence[Frame], side: int = 96, repeats: int = 3) -> tuple[int, float] | None:
    """(symbols, symbols a second) on a grid of the published size; None where there is no dictionary field.

    The four-channel basis of the last frame and the one before, enlarged to side^3 by
    repetition in space, with the models of the stream's own statistics: a real grid's
    values, at the size at which the design was tried.
    """
    info_index = next((i for i, t in enumerate(frames[-1].header.tensors) if t.mapping == Mapping.SAWTOOTH), None)
    if info_index is None:
        return None
    coded = frames[-1].syntax.tensor
    entry = next((t for t in coded if t.tensor_id == info_index), None)
    if entry is None:
        raise ValueError("the last frame does not carry the first basis grid")
    unit = math.ldexp(*step_of(entry.step[0].step_index))

    def enlarge(values: np.ndarray) -> np.ndarray:
        tiles = [-(-side // n) for n in values.shape[1:]]
        return np.tile(values, (1, *tiles))[:, :side, :side, :side]

    now, before = (np.round(enlarge(f.tensors[info_index]) / unit).astype(np.int32) for f in
                   (frames[-1], frames[max(0, len(frames) - 2)]))
    shape = now.shape
    models = _models_of(frames[-1])
    model = models[entry.model_ref]
    values = np.moveaxis(now - before, 0, -1).reshape(-1, shape[0])
    previous = np.clip(np.moveaxis(before, 0, -1), -127, 127).astype(np.int8)
    layout = Layout(shape, previous=previous)
    kernels = best()
    data, _ = kernels.encode_symbols(model, layout, values)
    taken = _best(repeats, lambda: kernels.decode_symbols(model, layout, data), time.thread_time)
    return values.size, values.size / taken


def _models_of(frame: Frame) -> dict[int, EntropyModel]:
    return {m.model_id: model_from_syntax(m) for m in frame.syntax.model}


# All of it.


def run(dataset_path: str, folder: Path, options: EncodeOptions, lagrangians: Sequence[float],
        on_progress: Callable[[Progress], None] | None = None, tell: Callable[[str], None] = print) -> dict[str, Any]:
    """Encodes and measures; returns the report.

    The full codec is encoded at every lambda; the others at the first, and compared
    with the full codec's curve at their own PSNR.

    options: shared by all. Everything is kept in `folder`. Raises UsageError.
    """
    from ..datasets import load_dataset
    from ..encoder import encode

    dataset = load_dataset(dataset_path, frames=options.frames)
    require_held_out(dataset)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    files: dict[tuple[str, float | None], Path] = {}
    encodes = []
    trained: dict[str, Sequence[float | None]] = {CONFIGURATIONS[0].name: [None], "full": lagrangians}
    for configuration in CONFIGURATIONS:
        for value in trained.get(configuration.name, lagrangians[:1]):
            name = configuration.name.replace(" ", "-").replace(",", "") + (f"-{value:g}" if value else "")
            path = folder / f"{name}.rfv"
            chosen = dataclasses.replace(options, lagrangian=value, **configuration.changes)
            started = time.monotonic()
            if not path.exists():
                tell(f"encoding {name}")
                encode(dataset, path, dataclasses.replace(chosen, evaluate=False), on_progress)
                encodes.append(dict(name=name, seconds=time.monotonic() - started))
            files[configuration.name, value] = path
            if value is not None:
                quality = held_out_psnr(open_stream(path), dataset)
                rows.append(Row(configuration.name, value, path.stat().st_size / len(dataset.frames),
                                float(np.mean(quality))))
                tell(f"{name}: {rows[-1].size / 1000:.1f} KB a frame, {rows[-1].psnr:.2f} dB")
    full = [r for r in rows if r.configuration == "full"]
    reference = full[0]
    tell("quantising the fields trained without rate")
    baseline = baseline_at(list(open_stream(files[CONFIGURATIONS[0].name, None])), dataset, reference.psnr)
    table = []
    for configuration in CONFIGURATIONS:
        row = baseline if configuration.name == CONFIGURATIONS[0].name else \
            next(r for r in rows if r.configuration == configuration.name)
        equal = interpolated_size(full, row.psnr)
        table.append(dict(configuration=configuration.name, psnr=row.psnr, kilobytes=row.size / 1000,
                          ratio=row.size / equal if equal else None))
    tell("measuring decoding")
    path = files["full", lagrangians[0]]
    figures = coding_figures(path)
    published = published_size_speed(list(open_stream(path)))
    starts = start_times(path)
    report = dict(
        dataset=str(dataset_path), frames=len(dataset.frames), preset=options.preset, system=options.system,
        representation=options.representation, reference_psnr=reference.psnr, baseline_psnr=baseline.psnr,
        ablation=table, points=[dataclasses.asdict(r) for r in rows],
        coding={**dataclasses.asdict(figures), "share_of_raw": figures.share_of_raw,
                "memory_ratio": figures.memory_ratio},
        published_size=published and dict(zip(("symbols", "speed"), published)), start_times=starts, encodes=encodes)
    (folder / "benchmark.json").write_text(json.dumps(report, indent=1))
    return report


def markdown(report: dict[str, Any]) -> str:
    """The report as tables."""
    c = report["coding"]
    field = f" on {report['representation']}" if report["representation"] else ""
    lines = [f"{report['frames']} frames of {report['dataset']}, {report['system']}{field}, preset {report['preset']}; "
             "PSNR on held-out views.", "",
             "| configuration | KB a frame | PSNR | times the full codec at equal PSNR |", "|---|---|---|---|"]
    for row in report["ablation"]:
        ratio = f"{row['ratio']:.2f}" if row["ratio"] else "out of range"
        lines.append(f"| {row['configuration']} | {row['kilobytes']:.1f} | {row['psnr']:.2f} dB | {ratio} |")
    rows = [
        ("I-frame / P-frame", f"{c['intra_bytes'] / 1000:.1f} / {c['inter_bytes'] / 1000:.1f} KB, "
                              f"P = {c['inter_bytes'] / c['intra_bytes']:.3f} I"),
        ("coded size / ideal code length", f"{c['ideal_ratio']:.5f}"),
        ("headers, checksums, digest", f"{100 * c['framing_intra']:.2f} % of an I-frame, "
                                       f"{100 * c['framing_inter']:.2f} % of a P-frame"),
        ("entropy decoding", f"{c['entropy_speed'] / 1e6:.2f} M symbols/s, {100 * c['share_of_raw']:.1f} % of "
                             f"constriction alone ({c['raw_speed'] / 1e6:.1f})"),
        ("the same in numpy", f"{c['plain_speed'] / 1e6:.2f} M symbols/s"
                              + ("; all above, too" if c["kernels"] == "numpy" else "")),
        ("whole decoding", f"{c['decode_speed'] / 1e6:.2f} M symbols/s; {_by_jobs(c['frame_speeds'])}"),
        (f"whole decoding of {GROUPS} groups", _by_jobs(c["group_speeds"])),
        *([] if report["published_size"] is None else [
            ("entropy decoding, 96^3 x 4 grid", f"{report['published_size']['speed'] / 1e6:.2f} M symbols/s "
                                                f"({report['published_size']['symbols']} symbols)")]),
        ("memory of decoding", f"{c['memory'] / 1e6:.1f} MB, {c['memory_ratio']:.2f} times a frame's tensors"),
        ("start", ", ".join(f"{name} {seconds:.2f} s" for name, seconds in report["start_times"].items())),
    ]
    lines += ["", "| figure | |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)]
    return "\n".join(lines)


def _by_jobs(speeds: dict[int, float]) -> str:
    """Frames a second, and how they grow with the threads."""
    one = speeds[1]
    return ", ".join(f"{v:.1f} frames/s on {n} thread{'s' if n > 1 else ''}" + (f" (× {v / one:.2f})" if n > 1 else "")
                     for n, v in speeds.items())
