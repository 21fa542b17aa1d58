"""Several scenes in one file: their NeRFs are trained together and share what they can
(cNeRF, Bird et al. 2021, section 3.3; spec 4.16, 7.3).

The weights of scene s are α_s Ŵ_s + β_s + γ_s S. S is in the file once, in its shared
unit, and every scene can be decoded with that unit and its own group.
"""
from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypedDict

from .. import fields
from ..datasets import Dataset, DatasetFrame, Split, load_dataset
from ..datasets.pixels import load_views
from ..errors import UsageError
from ..evaluation.held_out import view_psnr
from ..fields import MlpSizes, field_header
from ..files import replacing, resolve
from ..rendering.cameras import Camera
from ..syntax.headers import Scene, SequenceHeader
from ..tensors.reconstruction import tensor_digest
from ..tensors.state import FrameState
from ..writer import FrameReport, StreamWriter
from .cnerf import NetworkTrainer
from .gop import Progress
from .loop import empty_warning, train
from .presets import TrainingSettings
from .rays import TrainingPicture
from .verification import verify

_MOST_SCENES = 255


@dataclass(frozen=True, slots=True)
class SceneOptions:
    """Options of an encode of scenes.

    sizes: of every scene's network. samples_per_diagonal, occupancy_side: spec 9.2, 7.1.
    training: λ, iterations for each scene, and the rest; see `cnerf.train_cnerf`.
    share: False codes the scenes of the file each by itself, with no shared unit.
    frames: frames of the datasets that are given by their paths; every frame of a dataset
    is a scene. downscale: of all pictures, or one number for each dataset.
    cameras: test, all or none: which the file carries. evaluate: measure PSNR on the
    held-out views. device: as torch names it.
    """

    sizes: MlpSizes = MlpSizes()
    samples_per_diagonal: int = 128
    occupancy_side: int = 32
    training: TrainingSettings = TrainingSettings(lagrangian=5e-3, intra_iterations=1500, network_rate=1e-2)
    share: bool = True
    frames: range | slice | None = None
    downscale: float | Sequence[float] = 1
    cameras: str = "test"
    evaluate: bool = True
    device: str = "cpu"
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SceneResult:
    """One scene of a file: source and frame of the dataset, size of its unit and its parts, estimated and
    real bytes of the entropy-coded data, PSNR of the held-out views (None: not measured), and opacity as
    `loop.TrainedFrame` has it."""

    source: str
    frame: int
    report: FrameReport
    estimated_bytes: float
    payload_bytes: int
    psnr: float | None
    opacity: float | None = None


@dataclass(frozen=True, slots=True)
class ScenesReport:
    """The result of `encode_scenes`. shared: the shared unit's sizes, None without one; estimated_shared_bytes: of
    its entropy-coded data. float_bytes: of all weights and biases in 32 bits each."""

    path: Path
    size: int
    shared: FrameReport | None
    estimated_shared_bytes: float
    scenes: list[SceneResult]
    float_bytes: int
    seconds: float

    @property
    def warnings(self) -> list[str]:
        """Warnings about scenes, each with its code (docs/cli.md)."""
        found = (empty_warning(f"scene {i}", s.opacity) for i, s in enumerate(self.scenes))
        return [text for text in found if text is not None]


class SharingRow(TypedDict):
    """A row of `compare_sharing`, which says what the keys mean."""

    lagrangian: float | None
    shared: bool
    bytes: int
    psnr: list[float | None]
    float_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class _Source:
    """A scene to be: one frame of a dataset."""

    dataset: Dataset
    frame: DatasetFrame
    downscale: float

    def pictures(self, split: Split) -> list[TrainingPicture]:
        views = self.frame.split(split)
        return [TrainingPicture(v.camera.scaled(1 / self.downscale), rgba, kept)
                for v, (rgba, kept) in zip(views, load_views(views, self.downscale), strict=True)]

    def cameras(self, wanted: str, scene: int) -> list[Camera]:
        """Those of the wanted split, or all, or none, as cameras of the scene."""
        views = [v for v in self.frame.views if wanted in ("all", v.split)]
        return [dataclasses.replace(v.camera.scaled(1 / self.downscale), scene=scene) for v in views]


def scenes_header(headers: Sequence[SequenceHeader]) -> SequenceHeader:
    """The header of a file that holds the scenes of several single-scene headers.

    They keep their boxes, ray steps and backgrounds. Raises UsageError where anything
    else differs, the shapes of tensors above all.
    """
    if not 1 <= len(headers) <= _MOST_SCENES:
        raise UsageError(f"a file holds 1 to {_MOST_SCENES} scenes, not {len(headers)}")
    first, *others = headers
    further = []
    for number, h in enumerate(others, 1):
        for i, (a, b) in enumerate(zip(first.tensors, h.tensors)):
            if a != b:
                raise UsageError(f"scenes of one file have equal tensors: tensor {i} of scene {number} is "
                                 f"{b.role.name} {b.shape}, that of scene 0 {a.role.name} {a.shape}")
        scene = Scene(h.aabb_min, h.aabb_max, h.aabb_exponent, h.samples_per_diagonal, h.background)
        if dataclasses.replace(first, further_scenes=(scene,)).of_scene(1) != dataclasses.replace(
                h, further_scenes=(scene,)):
            raise UsageError(f"scene {number} differs from scene 0 in more than box, ray step and background")
        further.append(scene)
    return dataclasses.replace(first, further_scenes=tuple(further))


def encode_scenes(datasets: Sequence[str | Path | Dataset], out: str | Path, options: SceneOptions = SceneOptions(),
                  on_progress: Callable[[Progress], None] | None = None) -> ScenesReport:
    """Trains the frames of datasets as the scenes of one RFV file, `out`.

    Each scene is a group of one frame; frame numbers count the scenes. The file appears
    under its name only when it is complete and has been decoded to the same tensors.
    Raises UsageError, DatasetError.
    """
    return _ScenesEncode(datasets, Path(out), options, on_progress).run()


class _ScenesEncode:
    def __init__(self, datasets: Sequence[str | Path | Dataset], out: Path, options: SceneOptions,
                 on_progress: Callable[[Progress], None] | None):
        self.started = time.monotonic()
        self.out, self.options, self.on_progress = out, options, on_progress
        if options.cameras not in ("test", "all", "none"):
            raise UsageError(f"cameras is {options.cameras!r}; it may be test, all or none")
        resolve(out)  # says at once what can't be written
        scales = options.downscale
        scales = [scales] * len(datasets) if isinstance(scales, (int, float)) else list(scales)
        if len(scales) != len(datasets):
            raise UsageError(f"{len(scales)} values of downscale for {len(datasets)} datasets")
        loaded = [d if isinstance(d, Dataset) else load_dataset(d, frames=options.frames) for d in datasets]
        self.sources = [_Source(d, f, s) for d, s in zip(loaded, scales) for f in d.frames]
        self.header = scenes_header(self._headers())

    def _headers(self) -> list[SequenceHeader]:
        o = self.options
        headers: list[SequenceHeader] = []
        for source in self.sources:
            h = field_header(o.sizes, source.dataset.aabb, occupancy_side=o.occupancy_side,
                           samples_per_diagonal=o.samples_per_diagonal,
                           background=[round(255 * c) for c in source.dataset.background])
            # The occupancy has the same dimensions in all scenes, whatever the shape of their boxes.
            headers.append(dataclasses.replace(h, occupancy_dims=headers[0].occupancy_dims) if headers else h)
        return headers

    def _tell(self, phase: str, scene: int = 0, iteration: int = 0, iterations: int = 0, loss: float | None = None,
              psnr: float | None = None, kilobytes: float | None = None) -> None:
        if self.on_progress is None:
            return
        elapsed = time.monotonic() - self.started
        done = iteration / max(iterations, 1)
        self.on_progress(Progress(
            phase, scene, len(self.sources), "I", iteration, iterations, loss, psnr, kilobytes, elapsed,
            elapsed * (1 - done) / done if done else None))

    def run(self) -> ScenesReport:
        o = self.options
        self._tell("load")
        training = NetworkTrainer(self.header, [s.pictures("train") for s in self.sources], o.training, share=o.share,
                                  device=o.device)
        train(training, lambda p: self._tell("train", 0, p.iteration, p.iterations, p.loss, p.psnr, p.kilobytes))
        training.finish()
        shared, estimated_shared, digests, results = None, 0.0, [], []
        with replacing(self.out) as temporary:
            with open(temporary, "wb") as file:
                writer = self._writer(file)
                writer.begin()
                if training.shared is not None:
                    models, codings, estimated = training.shared.coding()
                    shared = writer.write_shared(models, codings)
                    estimated_shared = sum(estimated.values()) / 8
                for i, source in enumerate(self.sources):
                    self._tell("code", i)
                    trained = training.frame(i, i, 0)
                    writer.begin_group(i, 1, i)
                    report = writer.write_frame(trained.coding)
                    digests.append((i, [tensor_digest(t) for t in writer.state.tensors]))
                    results.append(SceneResult(
                        str(source.dataset.source), source.frame.number, report,
                        sum(trained.estimated_bits.values()) / 8, sum(report.tensors.values()),
                        self._quality(i, writer.state) if o.evaluate else None, trained.opacity))
                    self._tell("coded", i, psnr=results[-1].psnr, kilobytes=report.size / 1000)
                writer.finish()
                file.flush()
                os.fsync(file.fileno())
            self._tell("verify", len(self.sources) - 1)
            verify(temporary, digests)
            size = temporary.stat().st_size
        return ScenesReport(self.out, size, shared, estimated_shared, results,
                            4 * self.header.tensor_elements * len(results), time.monotonic() - self.started)

    def _writer(self, file: BinaryIO) -> StreamWriter:
        from .. import __version__

        o = self.options
        cameras = [c for i, s in enumerate(self.sources) for c in s.cameras(o.cameras, i)]
        return StreamWriter(file, self.header, cameras=cameras,
                            metadata={"encoder": f"refcodec {__version__}", **o.metadata})

    def _quality(self, scene: int, state: FrameState) -> float | None:
        """Mean PSNR of the held-out views, rendered from reconstructed tensors."""
        views = [(v.camera, v.rgba, v.kept) for v in self.sources[scene].pictures("test")]
        if views:
            self._tell("evaluate", scene)
        return view_psnr(state.header, state.tensors, state.occupancy, views, fields.TorchOps(self.options.device))[0]


def compare_sharing(datasets: Sequence[str | Path | Dataset], folder: str | Path, lagrangians: Sequence[float],
                    options: SceneOptions = SceneOptions(),
                    on_row: Callable[[SharingRow], None] | None = None) -> list[SharingRow]:
    """The cost of coding and the saving by sharing: every scene alone and all in one file.

    Rows have the keys lagrangian (None: trained without a rate term), shared, bytes (of
    the files), psnr (one for each scene), float_bytes (of the weights in 32 bits each) and
    seconds. Files go to `folder`.
    """
    loaded = [d if isinstance(d, Dataset) else load_dataset(d, frames=options.frames) for d in datasets]
    alone = [dataclasses.replace(d, frames=(f,)) for d in loaded for f in d.frames]
    scales = options.downscale
    if not isinstance(scales, (int, float)):
        scales = [s for d, s in zip(loaded, scales) for _ in d.frames]
    rows: list[SharingRow] = []
    for lagrangian in (None, *lagrangians):
        training = dataclasses.replace(
            options.training, rate_loss=lagrangian is not None,
            lagrangian=options.training.lagrangian if lagrangian is None else lagrangian)
        o = dataclasses.replace(options, training=training)
        name = "float" if lagrangian is None else f"{lagrangian:g}"
        files = [encode_scenes([d], Path(folder) / f"scene{i}-{name}.rfv", dataclasses.replace(
            o, share=False, downscale=scales if isinstance(scales, (int, float)) else scales[i]))
            for i, d in enumerate(alone)]
        runs = [(False, files)]
        if lagrangian is not None:
            runs.append((True, [encode_scenes(alone, Path(folder) / f"shared-{name}.rfv", dataclasses.replace(
                o, share=True, downscale=scales))]))
        for share, reports in runs:
            rows.append(SharingRow(
                lagrangian=lagrangian, shared=share, bytes=sum(r.size for r in reports),
                psnr=[s.psnr for r in reports for s in r.scenes], float_bytes=sum(r.float_bytes for r in reports),
                seconds=sum(r.seconds for r in reports)))
            if on_row:
                on_row(rows[-1])
    return rows
