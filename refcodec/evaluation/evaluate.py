"""One run that compares the codec with every alternative (`refcodec evaluate`, docs/evaluation.md).

For each dataset: files of the codec's systems at several values of lambda; one field a
representation, trained without a rate and handed to all baselines; and the source views as
video. A point is a file; it is decoded before anything is measured, and every byte of it
counts. Points are stored and reused (`refcodec.evaluation.points`).
"""
from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
import platform
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..arrays import Array
from ..datasets import Dataset, load_dataset
from ..decoding import Frame, open_stream
from ..errors import RefcodecError, UsageError
from ..fields import Ops
from ..files import replacing
from ..inspection import inspect
from ..rendering.pictures import composite
from ..syntax.headers import Representation
from .baselines import BASELINES, Baseline, FieldBaseline, FieldSequence, SourceViews, Views
from .baselines.views import Pictures, nearest_view
from .held_out import device_ops, render_views, view_mask
from .points import PointStore, file_digest, key_of
from .quality import Metrics, bounded_psnr, means
from .rates import difference, require_bjontegaard

if TYPE_CHECKING:
    from ..encoder import EncodeOptions, Progress
    from ..encoder.systems import CodingPlan

SCHEMA_VERSION = 1
_FINE_STEP = 2.0**-14  # of trained fields: finer than 16-bit floats where it matters
_PACKAGES = ("numpy", "torch", "av", "bjontegaard", "pytorch-msssim", "nncodec", "zstandard", "lpips")
HELD_OUT, SOURCE = "held-out views", "source views"

# Components of RFV files as all files have them; grids are called by their roles.
_COMPONENTS = {"headers": "header", "occupancy": "occupancy", "networks": "networks", "entropy models": "models",
               "steps": "framing", "framing": "framing", "index and end": "framing",
               "cameras and metadata": "cameras and metadata", "shared tensors": "shared tensors"}


@dataclass(frozen=True, slots=True)
class Request:
    """The scope of a comparison. systems, representations: of the codec, each system with those that it
    codes. lagrangians: operating points; none: the preset's. baselines: values by name
    (`baselines.choose`). anchor: the curve that others are compared with; None: the first
    of the codec's that has two points."""

    systems: Sequence[str] = ("rate-aware",)
    representations: Sequence[str] = ("vm",)
    lagrangians: Sequence[float] = ()
    baselines: dict[str, tuple[float, ...]] = field(default_factory=dict)
    anchor: str | None = None

    def codec_curves(self) -> list[tuple[str, str]]:
        """(system, representation) of the codec's curves. Raises UsageError."""
        from ..encoder.systems import SYSTEMS, plan

        for representation in self.representations:
            if not any(representation in _names(s) for s in SYSTEMS.values()):
                plan(representation=representation)  # says what there is
        for value in self.lagrangians:
            if not 0 < value < math.inf:
                raise UsageError(f"lambda must be a positive number, not {value:g}")
        found = []
        for system in self.systems:
            if system not in SYSTEMS:
                plan(system)
            coded = [r for r in self.representations if r in _names(SYSTEMS[system])]
            if not coded:
                plan(system, self.representations[0])
            found += [(system, r) for r in coded]
        return list(dict.fromkeys(found))


def _names(system: CodingPlan) -> list[str]:
    return [r.name.lower() for r in system.representations]


@dataclass(frozen=True, slots=True)
class MeasuredPoint:
    """One file, measured. Sizes in bytes a frame, quality in dB and as usual, means over frames.

    curve: what it belongs to. kind: codec, baseline, or views. parameter, value: what set
    its quality; value None: the preset's lambda. measured_on: the views behind `psnr` and
    the others. nearest_psnr: of source views shown in place of the held-out ones.
    components: bytes a frame by what they hold; they add up to `size`. encode_seconds,
    decode_seconds: a frame, without the training that baselines share; render_seconds: a picture.
    """

    curve: str
    title: str
    kind: str
    representation: str | None
    parameter: str
    value: float | None
    file: str
    frames: int
    size: float
    measured_on: str
    psnr: float
    psnr_frames: list[float]
    psnr_box: float | None
    ssim: float | None
    ms_ssim: float | None
    lpips: float | None
    nearest_psnr: float | None
    components: dict[str, float]
    encode_seconds: float
    decode_seconds: float
    render_seconds: float | None

    @property
    def label(self) -> str:
        return self.curve if self.value is None else f"{self.curve}, {self.parameter} = {self.value:g}"


@dataclass(slots=True)
class _Scene:
    """One dataset's points, in a folder of its own."""

    dataset: Dataset
    folder: Path
    options: EncodeOptions
    request: Request
    metrics: Metrics
    ops: Ops[Array]
    tell: Callable[[str], None]
    on_progress: Callable[[Progress], None] | None
    points: list[MeasuredPoint] = field(default_factory=list)
    training: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)
    _sequence: tuple[str, str | None, FieldSequence] | None = None

    def tasks(self) -> list[Callable[[], None]]:
        """The points that are to be made, each a call."""
        values = tuple(self.request.lagrangians) or (None,)
        tasks: list[Callable[[], None]] = [
            partial(self._codec, s, r, v) for s, r in self.request.codec_curves() for v in values]
        chosen = [(BASELINES[name], parameters) for name, parameters in self.request.baselines.items()
                  if self._runs(BASELINES[name])]
        for representation in self.request.representations:
            for baseline, parameters in chosen:
                if isinstance(baseline, FieldBaseline):
                    tasks += [partial(self._field, representation, baseline, p) for p in parameters]
        for baseline, parameters in chosen:
            if isinstance(baseline, Views):
                tasks += [partial(self._views, baseline, p) for p in parameters]
        return tasks

    def _runs(self, baseline: Baseline) -> bool:
        reason = baseline.unavailable()
        if reason is not None:
            self.not_run[baseline.name] = reason
        return reason is None

    # Points.

    def _take(self, stem: str, suffix: str, key: str, make: Callable[[Path], float],
              measure: Callable[[Path, float], dict[str, Any]]) -> dict[str, Any] | None:
        try:
            return PointStore(self.folder, self.tell).point(stem, suffix, key, make, measure)
        except RefcodecError as e:
            self.failures[stem] = str(e)
            self.tell(f"{stem}: failed: {e}")
            return None

    def _add(self, values: dict[str, Any] | None) -> None:
        if values is not None:
            point = MeasuredPoint(**values)
            self.points.append(point)
            self.tell(f"{point.label}: {point.size / 1000:.1f} KB a frame, {point.psnr:.2f} dB")

    def _key(self, *content: object) -> str:
        return key_of(self.dataset, SCHEMA_VERSION, self.metrics.identity, *content)

    def _encode(self, path: Path, chosen: EncodeOptions) -> float:
        from ..encoder import encode

        report = encode(self.dataset, path, chosen, self.on_progress)
        return sum(f.seconds for f in report.frames)  # also of those that an interrupted encode left

    def _codec(self, system: str, representation: str, lagrangian: float | None) -> None:
        curve = f"{system}-{representation}"
        stem = curve + (f"-{lagrangian:g}" if lagrangian is not None else "")
        chosen = dataclasses.replace(self.options, system=system, representation=representation, lagrangian=lagrangian)

        def make(path: Path) -> float:
            self.tell(f"encoding {stem}")
            return self._encode(path, chosen)

        def measure(path: Path, seconds: float) -> dict[str, Any]:
            started = time.perf_counter()
            frames = _decoded(path)
            decoding = time.perf_counter() - started
            return self._measured(
                FieldSequence.of(frames), curve=curve, title=f"refcodec, {system} on {representation}", kind="codec",
                representation=representation, parameter="λ", value=lagrangian, file=path.name,
                components=_rfv_components(inspect(path).components()), size=path.stat().st_size, encoding=seconds,
                decoding=decoding)

        self._add(self._take(stem, ".rfv", self._key(_said(chosen)), make, measure))

    def _trained(self, representation: str) -> tuple[str | None, FieldSequence] | None:
        """The field that baselines of a representation share, and its file's digest; trained where it is not
        there yet, decoded once."""
        if self._sequence is not None and self._sequence[0] == representation:
            return self._sequence[1:]
        from ..encoder.systems import SYSTEMS

        system = SYSTEMS[Representation.named(representation.upper()).systems[0]]
        chosen = dataclasses.replace(
            self.options, system=system.name, representation=representation,
            lagrangian=None, rate_loss=False, learn_steps=False, step=_FINE_STEP,
            model="static" if system.spatial else None)
        stem = f"trained-{representation}"
        if stem in self.failures:
            return None

        def make(path: Path) -> float:
            self.tell(f"training {representation} without a rate, for the baselines")
            return self._encode(path, chosen)

        known = self._take(stem, ".rfv", self._key(_said(chosen)), make,
                           lambda path, seconds: dict(file=path.name, seconds=seconds / len(self.dataset.frames)))
        if known is None:
            return None
        self.training[representation] = known
        path = self.folder / known["file"]
        self._sequence = representation, file_digest(path), FieldSequence.of(_decoded(path))
        return self._sequence[1:]

    def _field(self, representation: str, baseline: FieldBaseline, value: float) -> None:
        trained = self._trained(representation)
        if trained is None:
            return
        curve = f"{baseline.name}-{representation}"
        stem = f"{curve}-{value:g}"
        digest, sequence = trained
        key = self._key(baseline.name, baseline.revision, value, digest, _versions())

        def make(path: Path) -> float:
            started = time.monotonic()
            with replacing(path) as temporary:
                temporary.write_bytes(baseline.encode(sequence, value))
            return time.monotonic() - started

        def measure(path: Path, seconds: float) -> dict[str, Any]:
            data = path.read_bytes()
            started = time.perf_counter()
            found = baseline.decode(data)
            decoding = time.perf_counter() - started
            parts = baseline.components(data)
            return self._measured(
                found, curve=curve, title=f"{baseline.title}; {representation}", kind="baseline",
                representation=representation, parameter=baseline.parameter, value=value, file=path.name,
                components=_rfv_components(parts) if baseline.suffix == ".rfv" else parts, size=len(data),
                encoding=seconds, decoding=decoding)

        self._add(self._take(stem, baseline.suffix, key, make, measure))

    def _measured(self, sequence: FieldSequence, *, size: int, components: dict[str, int], encoding: float,
                  decoding: float, **values: Any) -> dict[str, Any]:
        """A point of fields: quality on the held-out views, through the codec's own renderer."""
        measured: list[list[dict[str, float | None]]] = []
        seconds: list[float] = []
        for frame, shot in zip(sequence.frames, self.dataset.frames, strict=True):
            views = ((v.camera.scaled(1 / self.options.downscale), v.load(self.options.downscale))
                     for v in shot.split("test"))
            rendered = list(render_views(sequence.header, frame.tensors, frame.occupancy, views, self.ops))
            measured.append([self.metrics.of(r.picture, r.truth, r.mask) for r in rendered])
            seconds += [r.seconds for r in rendered]
        return self._point(measured, size, components, encoding, decoding, measured_on=HELD_OUT, nearest_psnr=None,
                           render_seconds=float(np.mean(seconds)), **values)

    def _views(self, baseline: Views, value: float) -> None:
        name = baseline.name
        stem, key = f"{name}-{value:g}", self._key(name, baseline.revision, value, self.options.group_size,
                                                   self.options.downscale, _versions())

        def make(path: Path) -> float:
            views = SourceViews.of(self.dataset, self.options.downscale)
            started = time.monotonic()
            with replacing(path) as temporary:
                temporary.write_bytes(baseline.encode(views, value, self.options.group_size))
            return time.monotonic() - started

        def measure(path: Path, seconds: float) -> dict[str, Any]:
            views, data = SourceViews.of(self.dataset, self.options.downscale), path.read_bytes()
            started = time.perf_counter()
            pictures, _ = baseline.decode(data)
            decoding = time.perf_counter() - started
            measured = [[self.metrics.of(found / 255, truth / 255, mask) for found, truth, mask in
                         zip(of_frame, truths, masks)]
                        for of_frame, truths, masks in zip(pictures, views.pictures, _alpha(views), strict=True)]
            return self._point(
                measured, len(data), baseline.components(data), seconds, decoding, curve=name, title=baseline.title,
                kind="views", representation=None, parameter=baseline.parameter, value=value, file=path.name,
                measured_on=SOURCE, render_seconds=None,
                nearest_psnr=self._nearest_psnr(views, pictures))

        self._add(self._take(stem, baseline.suffix, key, make, measure))

    def _nearest_psnr(self, views: SourceViews, pictures: Pictures) -> float | None:
        """PSNR of the decoded source view nearest to each held-out one; None where sizes differ."""
        found = []
        for shot, decoded in zip(self.dataset.frames, pictures):
            for view in shot.split("test"):
                truth = composite(view.load(self.options.downscale), self.dataset.background)
                shown = decoded[nearest_view(view.camera, views.cameras)] / 255
                if shown.shape != truth.shape:
                    return None
                found.append(bounded_psnr(shown, truth))
        return float(np.mean(found)) if found else None

    def _point(self, measured: Sequence[Sequence[dict[str, float | None]]], size: int, components: dict[str, int],
               encoding: float, decoding: float, **values: Any) -> dict[str, Any]:
        """A point's values as plain JSON. Raises UsageError where the components do not add up."""
        if sum(components.values()) != size:
            raise UsageError(f"{values['file']}: components of {sum(components.values())} bytes in a file of {size}")
        frames = len(self.dataset.frames)
        return dataclasses.asdict(MeasuredPoint(
            **values, frames=frames, size=size / frames, **means(measured),
            components={k: v / frames for k, v in components.items()}, encode_seconds=encoding / frames,
            decode_seconds=decoding / frames))

    # What the points say.

    def report(self, name: str, complete: bool) -> dict[str, Any]:
        curves = list(dict.fromkeys(p.curve for p in self.points))
        anchor = self._anchor(curves)
        shot = self.dataset.frames[0]
        camera = shot.split("train")[0].camera.scaled(1 / self.options.downscale)
        return dict(
            name=name, source=str(self.dataset.source), frames=len(self.dataset.frames),
            views=dict(train=len(shot.split("train")), test=len(shot.split("test"))),
            width=camera.width, height=camera.height, complete=complete, anchor=anchor,
            points=[dataclasses.asdict(p) for p in self.points],
            comparisons=[self._compared(anchor, c) for c in curves if c != anchor] if anchor else [],
            training=self.training, not_run=self.not_run, failures=self.failures)

    def _anchor(self, curves: Sequence[str]) -> str | None:
        if self.request.anchor is not None:
            return self.request.anchor if self.request.anchor in curves else None
        codec = [c for c in curves if self._of(c)[0].kind == "codec"]
        return next((c for c in codec if len(self._of(c)) > 1), codec[0] if codec else None)

    def _of(self, curve: str) -> list[MeasuredPoint]:
        return [p for p in self.points if p.curve == curve]

    def _compared(self, anchor: str, curve: str) -> dict[str, Any]:
        points, against = self._of(curve), self._of(anchor)
        if points[0].measured_on != against[0].measured_on:
            return dict(curve=curve, bd_rate=None, bd_psnr=None,
                        note=f"quality is that of {points[0].measured_on}: it says nothing about other views")
        found = difference([(p.size, p.psnr) for p in against], [(p.size, p.psnr) for p in points])
        return dict(curve=curve, **dataclasses.asdict(found))


def _decoded(path: Path) -> list[Frame]:
    with open_stream(path) as stream:
        return list(stream)


def _alpha(views: SourceViews) -> Iterator[list[np.ndarray | None]]:
    """Masks of all pictures as `Metrics.of` wants them."""
    for t, pictures in enumerate(views.pictures):
        yield [None if views.masks is None else view_mask(np.repeat(views.masks[t][c][..., None] / 255, 4, 2))
               for c in range(len(pictures))]


def _rfv_components(components: dict[str, int]) -> dict[str, int]:
    """Components of an RFV file under the names that all files share."""
    out: dict[str, int] = {}
    for name, size in components.items():
        common = _COMPONENTS.get(name, "grids")
        out[common] = out.get(common, 0) + size
    return {name: size for name, size in out.items() if size}


def _said(options: EncodeOptions) -> dict[str, Any]:
    """Options that a file depends on."""
    return {k: v for k, v in dataclasses.asdict(options).items() if k not in ("resume", "frames", "evaluate")}


def _versions() -> dict[str, str | None]:
    """Versions of the packages that results depend on; None for those that are missing."""
    found: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


# All of it.


def run(dataset_paths: Sequence[str], folder: Path, options: EncodeOptions, request: Request,
        tell: Callable[[str], None] = print, on_progress: Callable[[Progress], None] | None = None,
        frames_of: Callable[[str], Dataset] | None = None) -> dict[str, Any]:
    """Makes and measures all points; writes the report's files after every one, plots at the end.

    options: EncodeOptions shared by all. frames_of: loads a dataset; None: by `options`.
    Returns the report, as `schemas/evaluate.schema.json` describes it. Raises UsageError,
    DatasetError; what goes wrong with a single point is kept in the report.
    """
    from . import report as writing

    require_bjontegaard()
    writing.require_packages()
    from ..encoder.presets import preset

    request.codec_curves()
    preset(options.preset)
    options = dataclasses.replace(options, evaluate=False, cameras="none")
    load = frames_of or (lambda path: load_dataset(path, frames=options.frames, holdout=options.holdout,
                                                   aabb=options.aabb))
    loaded = {path: load(path) for path in dict.fromkeys(dataset_paths)}
    for path, dataset in loaded.items():
        if not all(f.split("test") for f in dataset.frames):
            raise UsageError(f"{path} has no held-out views to measure quality on")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UsageError(f"can't make the folder {folder}: {e.strerror}") from None
    names = _folder_names(list(loaded))
    metrics, ops = Metrics(), device_ops(options.device)
    scenes: list[tuple[str, _Scene, list[Callable[[], None]]]] = []
    for dataset, name in zip(loaded.values(), names):
        own = folder / name
        own.mkdir(exist_ok=True)
        scene = _Scene(dataset, own, options, request, metrics, ops, tell, on_progress)
        for view in dataset.frames[0].split("test"):
            camera = view.camera.scaled(1 / options.downscale)
            metrics.expect(camera.height, camera.width)
        scenes.append((name, scene, scene.tasks()))
    total, done = sum(len(tasks) for _, _, tasks in scenes), 0
    report: dict[str, Any] = {}
    if total == 0:
        reasons = [f"{n}: {why}" for n, why in scenes[0][1].not_run.items()]
        raise UsageError(f"there is nothing to compare: {'; '.join(reasons) or 'no system and no baseline'}")
    for _, _, tasks in scenes:
        for task in tasks:
            done += 1
            tell(f"point {done} of {total}")
            task()
            report = _report(scenes, done, options, request, metrics)
            writing.write_tables(report, folder)
    writing.write_report(report, folder)
    return report


def _folder_names(paths: Sequence[str]) -> list[str]:
    """A name for each dataset: its folder's, numbered where two are the same."""
    names: list[str] = []
    for path in paths:
        stem = re.sub(r"[^\w.-]+", "-", Path(path).resolve().name) or "dataset"
        name, n = stem, 2
        while name in names:
            name, n = f"{stem}-{n}", n + 1
        names.append(name)
    return names


def _report(scenes: Sequence[tuple[str, _Scene, list[Callable[[], None]]]], done: int, options: EncodeOptions,
            request: Request, metrics: Metrics) -> dict[str, Any]:
    out, left = [], done
    for name, scene, tasks in scenes:
        out.append(scene.report(name, left >= len(tasks)))
        left -= len(tasks)
    said = {k: v for k, v in _said(options).items() if k not in ("system", "representation", "lagrangian", "metadata")}
    return dict(
        schema_version=SCHEMA_VERSION, tool=dict(name="refcodec", version=__version__),
        complete=all(d["complete"] for d in out), failed=sum(len(d["failures"]) for d in out),
        environment=dict(python=platform.python_version(), machine=platform.machine(), system=platform.system(),
                         packages=_versions()),
        options=json.loads(json.dumps(said, default=_plain)),
        request=dict(systems=list(request.systems), representations=list(request.representations),
                     lambdas=list(request.lagrangians), anchor=request.anchor,
                     baselines={k: list(v) for k, v in request.baselines.items()}),
        metrics_missing=dict(metrics.missing), datasets=out)


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return list(value) if isinstance(value, (set, frozenset, tuple)) else str(value)
