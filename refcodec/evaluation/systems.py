"""Every published system on one scene, in one run (`refcodec benchmark systems`, docs/systems.md).

A point is one encode: a system, a representation and a lambda. Each is kept as a file
beside its measurements, and made again only when what it depends on has changed. All
sizes are of whole files or of whole frames, everything counted; all measurements are
taken from the decoded file.
"""
from __future__ import annotations

import csv
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..arrays import Array
from ..datasets import Dataset
from ..decoding import open_stream
from ..errors import RefcodecError, UsageError
from ..fields import Ops
from ..files import replacing
from ..inspection import inspect
from ..syntax.headers import Mapping
from ..text import suggestion
from .benchmark import held_out_psnr, interpolated_size, require_held_out
from .held_out import device_ops
from .points import PointStore, key_of, write_json
from .published import FrameSymbols, coded_frames, independent_frames, masked_wavelet_pipeline, rle_huffman

if TYPE_CHECKING:
    from ..encoder import EncodeOptions, Progress

_FINE_STEP = 2.0**-12  # of fields whose quantisation is the matter of the pipeline after it
MARKERS = "<!-- systems -->", "<!-- /systems -->"


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the comparison. changes: of `EncodeOptions`.

    bits: of a field trained without the rate and quantised afterwards, every frame by
    itself (`published.independent_frames`). once: lambda has no meaning; one point.
    """

    name: str
    changes: dict[str, Any]
    bits: int | None = None
    once: bool = False


_WITHOUT_RATE: dict[str, Any] = dict(system="rate-aware", group_size=1, rate_loss=False, learn_steps=False,
                                     step=_FINE_STEP)

ENTRIES = (
    Entry("rate-aware-dif", dict(system="rate-aware", representation="dif")),
    Entry("rate-aware-vm", dict(system="rate-aware", representation="vm")),
    Entry("dynamic-dif", dict(system="dynamic-dif", representation="dif")),
    Entry("masked-wavelet-vm", dict(system="masked-wavelet", representation="vm")),
    Entry("masked-wavelet-vm-unmasked", dict(system="masked-wavelet", representation="vm", masks=False), once=True),
    Entry("masked-wavelet-triplane", dict(system="masked-wavelet", representation="triplane")),
    Entry("ecrf-vm", dict(system="ecrf", representation="vm")),
    Entry("ecrf-grid", dict(system="ecrf", representation="grid")),
    Entry("cnerf", dict(system="cnerf", representation="mlp")),
    Entry("independent-dif", dict(_WITHOUT_RATE, representation="dif"), bits=8, once=True),
    Entry("independent-vm", dict(_WITHOUT_RATE, representation="vm"), bits=8, once=True),
)


def entries(names: Sequence[str] = ()) -> list[Entry]:
    """The entries of these names; a name without its ending means all that begin with it. None: all.

    Raises UsageError.
    """
    for name in names:
        if not any(_named(e, name) for e in ENTRIES):
            raise UsageError(f"no system {name!r} to compare; there are {', '.join(e.name for e in ENTRIES)}"
                             f"{suggestion(name, [e.name for e in ENTRIES])}")
    return [e for e in ENTRIES if not names or any(_named(e, name) for name in names)]


def _named(entry: Entry, name: str) -> bool:
    return entry.name == name or entry.name.startswith(name + "-")


@dataclass(frozen=True, slots=True)
class SystemPoint:
    """Measurements of one encode. Sizes in bytes, PSNR in dB on held-out views.

    size: of the file, a frame. intra, inter: mean frame units, None without such frames.
    zero_share: of the coefficients of transformed tensors that are 0, masked ones
    included. tensors, published: of the grids and planes of the I-frames, a frame: in
    this file with their models, and by the published pipeline. masks, run_lengths: the
    same for the masks alone, with their models, and by run lengths and Huffman codes.
    weights: of all tensors as 32-bit floats, a frame, of fields that are networks only.
    """

    name: str
    lagrangian: float | None
    frames: int
    size: float
    psnr: float
    psnr_frames: list[float]
    intra: float | None
    inter: float | None
    seconds: float
    zero_share: float | None = None
    tensors: float | None = None
    published: float | None = None
    masks: float | None = None
    run_lengths: float | None = None
    weights: float | None = None

    @property
    def label(self) -> str:
        return self.name if self.lagrangian is None else f"{self.name}, λ = {self.lagrangian:g}"


# One point.


def measure(path: Path, dataset: Dataset, name: str, lagrangian: float | None, seconds: float,
            ops: Ops[Array] | None = None) -> SystemPoint:
    """Decodes a file and measures it. seconds: that making it took. ops: for rendering."""
    with open_stream(path) as stream:
        header, quality = stream.header, held_out_psnr(stream, dataset, ops)
    kinds = inspect(path).by_type()
    mean = {kind: kinds[kind]["mean_bytes"] if kind in kinds else None for kind in "IP"}
    intra = [f for f in coded_frames(path) if f.frame.type == 1]
    weights = 4.0 * header.tensor_elements if all(t.role.network for t in header.tensors) else None
    size = path.stat().st_size / len(quality)
    return SystemPoint(name, lagrangian, len(quality), size, float(np.mean(quality)), quality, mean["I"],
                       mean["P"], seconds, zero_share(intra), **_against_published(intra), weights=weights)


def zero_share(frames: Sequence[FrameSymbols]) -> float | None:
    """Share of the transformed tensors' coefficients that are zero, coded or not; None without transforms."""
    values = [t.values for f in frames for t in f.tensors if t.tools.transform]
    total = sum(v.size for v in values)
    return 1 - sum(np.count_nonzero(v) for v in values) / total if total else None


def _against_published(frames: Sequence[FrameSymbols]) -> dict[str, float]:
    """The sizes of `SystemPoint` that compare with the published pipeline; none without coded masks.

    The pipeline runs twice, ignorant of the occupancy and knowing it; the smaller counts.
    """
    if not any(t.tools.masked for f in frames for t in f.tensors):
        return {}
    sums = dict(tensors=0, published=0, masks=0, run_lengths=0)
    for frame in frames:
        grids = [t for t in frame.tensors if t.info.mapping != Mapping.NONE]
        masked = [t for t in grids if t.tools.masked]
        mask_models = {t.mask_model_id for t in masked if t.mask_model_id is not None}
        used = mask_models | {t.model_id for t in grids}
        sums["tensors"] += sum(t.value_bytes + t.mask_bytes for t in grids) + sum(frame.models.get(i, 0) for i in used)
        sums["published"] += min(len(masked_wavelet_pipeline(
            [t.values for t in grids], [t.mask for t in grids], [t.tools.levels for t in grids], cells))
            for cells in (None, [t.cells for t in grids]))
        sums["masks"] += sum(t.mask_bytes for t in masked) + sum(frame.models.get(i, 0) for i in mask_models)
        sums["run_lengths"] += min(len(rle_huffman([t.mask for t in masked], [t.tools.levels for t in masked], cells))
                                   for cells in (None, [t.cells for t in masked]))
    return {k: v / len(frames) for k, v in sums.items()}


@dataclass(slots=True)
class SystemComparison:
    """Makes and keeps the points of one folder. options: shared by all."""

    dataset: Dataset
    folder: Path
    options: EncodeOptions
    tell: Callable[[str], None] = lambda text: None
    on_progress: Callable[[Progress], None] | None = None
    ops: Ops[Array] | None = None
    failures: dict[str, str] = field(default_factory=dict)

    def point(self, entry: Entry, lagrangian: float | None) -> SystemPoint | None:
        """The point, from its file where that is up to date; None, and an entry in `failures`,
        where the encoder refuses it."""
        stem = entry.name + (f"-{lagrangian:g}" if lagrangian is not None else "")
        chosen = dataclasses.replace(self.options, evaluate=False, lagrangian=lagrangian, **entry.changes)
        try:
            known = PointStore(self.folder, self.tell).point(
                stem, ".rfv", self._key(entry, chosen), lambda path: self._make(entry, chosen, path),
                lambda path, seconds: dataclasses.asdict(
                    measure(path, self.dataset, entry.name, lagrangian, seconds, self.ops)))
        except RefcodecError as e:
            self.failures[stem] = str(e)
            self.tell(f"{stem}: failed: {e}")
            return None
        point = SystemPoint(**known)
        self.tell(f"{stem}: {point.size / 1000:.1f} KB a frame, {point.psnr:.2f} dB")
        return point

    def _make(self, entry: Entry, chosen: EncodeOptions, path: Path) -> float:
        """Encodes; returns the seconds."""
        from ..encoder import encode

        started = time.monotonic()
        self.tell(f"encoding {path.stem}")
        if entry.bits is None:
            encode(self.dataset, path, chosen, self.on_progress)
        else:
            unquantised = path.with_name(f"{path.stem}.unquantised.rfv")
            encode(self.dataset, unquantised, chosen, self.on_progress)
            with replacing(path) as temporary, open_stream(unquantised) as stream:
                temporary.write_bytes(independent_frames(list(stream), entry.bits))
            unquantised.unlink()
        return time.monotonic() - started

    def _key(self, entry: Entry, chosen: EncodeOptions) -> str:
        """Everything that a point depends on."""
        options = dataclasses.asdict(chosen)
        for name in ("resume", "frames"):
            del options[name]
        return key_of(self.dataset, options, entry.bits)


# All of them.


def run(dataset_path: str, folder: Path, options: EncodeOptions, names: Sequence[str] = (),
        lagrangians: Sequence[float] = (), tell: Callable[[str], None] = print,
        on_progress: Callable[[Progress], None] | None = None) -> dict[str, Any]:
    """Encodes and measures the systems; writes systems.json, .csv, .md and .png after every point.

    options: shared by all. names: see `entries`. lagrangians: operating
    points; none: the preset's. Returns the report.
    """
    from ..datasets import load_dataset

    chosen = entries(names)
    dataset = load_dataset(dataset_path, frames=options.frames, holdout=options.holdout, aabb=options.aabb)
    require_held_out(dataset)
    folder.mkdir(parents=True, exist_ok=True)
    comparison = SystemComparison(dataset, folder, options, tell, on_progress, device_ops(options.device))
    wanted = [(e, v) for e in chosen for v in (tuple(lagrangians) or (None,))[: 1 if e.once else None]]
    points: list[SystemPoint] = []
    report: dict[str, Any] = {}
    for number, (entry, value) in enumerate(wanted, 1):
        tell(f"point {number} of {len(wanted)}")
        if (point := comparison.point(entry, None if entry.once else value)) is not None:
            points.append(point)
        report = dict(dataset=str(dataset_path), frames=len(dataset.frames), preset=options.preset,
                      complete=number == len(wanted), points=[dataclasses.asdict(p) for p in points],
                      comparisons=comparisons(points), failures=comparison.failures)
        write(report, points, folder)
    return report


def write(report: dict[str, Any], points: Sequence[SystemPoint], folder: Path) -> None:
    """The report as files."""
    write_json(folder / "systems.json", report)
    with replacing(folder / "systems.csv") as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        names = [f.name for f in dataclasses.fields(SystemPoint) if f.name != "psnr_frames"]
        rows = csv.writer(file)
        rows.writerow(names)
        rows.writerows([getattr(p, n) if getattr(p, n) is not None else "" for n in names] for p in points)
    with replacing(folder / "systems.md") as temporary:
        temporary.write_text(markdown(report) + "\n", encoding="utf-8", newline="\n")
    if points:
        plot(points, folder / "systems.png")


def comparisons(points: Sequence[SystemPoint]) -> list[dict[str, Any]]:
    """Comparisons among the points of this run: dictionaries of `what`, `value`, `unit`."""
    found: list[dict[str, Any]] = []

    def add(what: str, value: float | None, unit: str = "times") -> None:
        if value is not None and math.isfinite(value):
            found.append(dict(what=what, value=value, unit=unit))

    def ratio(size: float | None, to: float | None) -> float | None:
        return size / to if size is not None and to is not None else None

    def named(name: str) -> list[SystemPoint]:
        return [p for p in points if p.name == name]

    for p in points:
        if p.inter and p.intra:
            add(f"{p.label}: P-frame / I-frame", p.inter / p.intra)
        if p.masks is not None:
            add(f"{p.label}: coefficients that are zero", p.zero_share and 100 * p.zero_share, "%")
            add(f"{p.label}: published pipeline on the same tensors / this file", ratio(p.published, p.tensors))
            add(f"{p.label}: run lengths and Huffman codes of the same masks / coded masks",
                ratio(p.run_lengths, p.masks))
            for twin in named(f"{p.name}-unmasked"):
                add(f"{p.label}: PSNR against the same without masks", p.psnr - twin.psnr, "dB")
                add(f"{p.label}: size of the same without masks / with", twin.size / p.size)
        add(f"{p.label}: 32-bit weights / this file", ratio(p.weights, p.size))
        if p.name.startswith("rate-aware-"):
            for alone in named(p.name.replace("rate-aware", "independent")):
                add(f"{p.label}: independent frames / this file", alone.size / p.size)
                add(f"{p.label}: PSNR against independent frames", p.psnr - alone.psnr, "dB")
        if p.name.startswith("ecrf-"):
            others = named(p.name.replace("ecrf", "masked-wavelet"))
            equal = interpolated_size(others, p.psnr)
            add(f"{p.label}: masked wavelet at the same PSNR / this file", ratio(equal, p.size))
    return found


def markdown(report: dict[str, Any]) -> str:
    """The report as tables."""
    def kilobytes(size: float | None) -> str:
        return f"{size / 1000:.1f}" if size is not None else "–"

    lines = [f"{report['frames']} frame{'s' * (report['frames'] != 1)} of {report['dataset']}, preset "
             f"{report['preset']}; KB of 1000 bytes, everything counted; PSNR on held-out views.", "",
             "| system | λ | KB a frame | I | P | PSNR | zero |", "|---|---|---|---|---|---|---|"]
    for p in (SystemPoint(**p) for p in report["points"]):
        rate = f"{p.lagrangian:g}" if p.lagrangian is not None else "–"
        zero = f"{100 * p.zero_share:.1f} %" if p.zero_share is not None else "–"
        lines.append(f"| {p.name} | {rate} | {kilobytes(p.size)} | {kilobytes(p.intra)} | {kilobytes(p.inter)} "
                     f"| {p.psnr:.2f} dB | {zero} |")
    if report["comparisons"]:
        lines += ["", "| comparison | |", "|---|---|"]
        lines += [f"| {c['what']} | {c['value']:.2f} {c['unit']} |" for c in report["comparisons"]]
    lines += [f"\n{name} failed: {reason}" for name, reason in report["failures"].items()]
    if not report["complete"]:
        lines += ["", "The run is not complete."]
    return "\n".join(lines)


def insert(report: dict[str, Any], document: Path) -> None:
    """Puts the tables between the markers of a document. Raises UsageError where it has none."""
    try:
        text = document.read_text(encoding="utf-8")
    except OSError as e:
        raise UsageError(f"can't read {document}: {e.strerror}") from None
    head, begin, rest = text.partition(MARKERS[0])
    _, end, tail = rest.partition(MARKERS[1])
    if not (begin and end):
        raise UsageError(f"{document} has no place for the tables: {MARKERS[0]} … {MARKERS[1]}")
    with replacing(document) as temporary:
        temporary.write_text(f"{head}{begin}\n{markdown(report)}\n{end}{tail}", encoding="utf-8", newline="\n")


# The rate-distortion plot.

_SIZE, _MARGIN, _LEGEND, _SCALE = (760, 520), (70, 24, 24, 56), 330, 2  # margins: left, top, right, bottom
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
            "#ff7f0e", "#003f5c")


def plot(points: Sequence[SystemPoint], path: Path) -> None:
    """KB a frame (logarithmic) against PSNR of all systems, as a PNG; points of a system are joined."""
    width, height = _SIZE
    left, top, right, bottom = _MARGIN
    image = Image.new("RGB", ((width + _LEGEND) * _SCALE, height * _SCALE), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=13 * _SCALE)
    sizes = [math.log10(p.size / 1000) for p in points]
    quality = [p.psnr for p in points if math.isfinite(p.psnr)] or [0.0]
    x_low, x_high, y_low, y_high = min(sizes) - 0.08, max(sizes) + 0.08, min(quality) - 0.5, max(quality) + 0.5

    def place(kilobytes: float, quality: float) -> tuple[float, float]:
        across = (math.log10(kilobytes) - x_low) / (x_high - x_low)
        up = (min(max(quality, y_low), y_high) - y_low) / (y_high - y_low)
        x, y = left + across * (width - left - right), height - bottom - up * (height - top - bottom)
        return x * _SCALE, y * _SCALE

    for value in _ticks_log(10**x_low, 10**x_high):
        at, _ = place(value, y_low)
        draw.line([at, top * _SCALE, at, (height - bottom) * _SCALE], "#dddddd", _SCALE)
        draw.text((at, (height - bottom + 6) * _SCALE), f"{value:g}", "black", font, anchor="mt")
    for value in _ticks(y_low, y_high):
        _, at = place(10**x_low, value)
        draw.line([left * _SCALE, at, (width - right) * _SCALE, at], "#dddddd", _SCALE)
        draw.text(((left - 6) * _SCALE, at), f"{value:g}", "black", font, anchor="rm")
    draw.rectangle([*place(10**x_low, y_high), *place(10**x_high, y_low)], outline="black", width=_SCALE)
    draw.text(((left + width - right) / 2 * _SCALE, (height - 10) * _SCALE), "KB a frame", "black", font, anchor="mb")
    draw.text((8 * _SCALE, 4 * _SCALE), "PSNR (dB), held-out views", "black", font)
    for k, name in enumerate(dict.fromkeys(p.name for p in points)):
        colour, line_at = _COLOURS[k % len(_COLOURS)], (top + 10 + 22 * k) * _SCALE
        own = sorted((p for p in points if p.name == name), key=lambda p: p.size)
        places = [place(p.size / 1000, p.psnr) for p in own]
        if len(places) > 1:
            draw.line(places, colour, 2 * _SCALE)
        for spot in [*places, ((width + 14) * _SCALE, line_at)]:
            _marker(draw, spot, k, colour)
        draw.text(((width + 28) * _SCALE, line_at), name, "black", font, anchor="lm")
    with replacing(path) as temporary:
        image.resize((width + _LEGEND, height), Image.Resampling.LANCZOS).save(temporary, format="PNG")


def _marker(draw: ImageDraw.ImageDraw, at: tuple[float, float], kind: int, colour: str) -> None:
    """A shape as well as a colour tells systems apart."""
    (x, y), r = at, 5 * _SCALE
    if kind % 4 == 0:
        draw.ellipse([x - r, y - r, x + r, y + r], colour)
    elif kind % 4 == 1:
        draw.rectangle([x - r, y - r, x + r, y + r], colour)
    else:
        turn = {2: math.pi / 2, 3: -math.pi / 2}[kind % 4]
        angles = [turn + 2 * math.pi * i / 3 for i in range(3)]
        draw.polygon([(x + 1.3 * r * math.cos(a), y - 1.3 * r * math.sin(a)) for a in angles], colour)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers between the ends, about six."""
    step = 10 ** math.floor(math.log10((high - low) / 6))
    step *= next(m for m in (1, 2, 5, 10) if (high - low) / (m * step) <= 8)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _ticks_log(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten between the ends; where those are few, as `_ticks`."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [m * 10.0**k for k in powers for m in (1, 2, 5) if low <= m * 10.0**k <= high]
    return found if len(found) > 2 else _ticks(low, high)
