"""Encoding a sequence: groups, files, resuming, verification.

Training makes one frame at a time (`refcodec.encoder.train`); this module decides
which, writes what comes out, and publishes a file only after having decoded it.
"""
from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..datasets import Dataset, Frame as DatasetFrame, load_dataset
from ..decoder import INTER, INTRA, SequenceDecoder, open_stream
from ..errors import BitstreamError, RefcodecError, UsageError
from ..files import replacing
from ..syntax.headers import SequenceHeader
from ..syntax.units import UnitReader
from ..tensors.reconstruction import tensor_digest
from ..tensors.state import FrameState
from ..writer import FrameReport, StreamWriter
from .systems import DEFAULT_SYSTEM, ToolChoice, plan

# lambda of the four operating points of MM 2024, by quality.
QUALITIES = {1: 5e-3, 2: 2e-3, 3: 1e-3, 4: 7e-4}
_DEFAULT_RATE = 30  # frames a second where the dataset does not say
_TARGET_TOLERANCE = 0.08
_TARGET_TRIALS = 5


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """What an encode is asked for; None leaves the choice to the preset.

    system: rate-aware, dynamic-dif, masked-wavelet, ecrf or cnerf: the coding tools and the
    loss (`refcodec.encoder.systems`). representation: dif, vm, triplane, grid or mlp, by
    default the first that the system codes. transform (none, dct, dwt), levels (of dwt),
    masks, model (context, static), rdo (the smaller of both): in place of the system's.
    preset: tiny, small or paper. lagrangian: lambda, or by `quality` 1 (small) to 4.
    target_kb: kilobytes (1000 bytes) that each frame should come to; lambda is searched.
    frames: range of frame numbers or slice of positions. group_size: frames in a group;
    1 makes every frame an I-frame. device: auto, cpu, cuda, cuda:1 ...
    cameras: test, all or none: which the file carries. downscale: of the pictures.
    rate_loss, learn_steps: False switches the tool off (ablations of MM 2024, Table 4).
    step: quantisation step of the grids, in field values, at the start or, when steps
    are not learned, throughout.
    resume: go on with an interrupted encode of the same dataset and options.
    evaluate: measure PSNR on the held-out views after each frame.
    """

    system: str = DEFAULT_SYSTEM
    representation: str | None = None
    transform: str | None = None
    levels: int | None = None
    masks: bool | None = None
    model: str | None = None
    rdo: bool | None = None
    preset: str = "tiny"
    lagrangian: float | None = None
    quality: int | None = None
    target_kb: float | None = None
    frames: range | slice | None = None
    group_size: int = 20
    device: str = "auto"
    seed: int = 0
    intra_iterations: int | None = None
    inter_iterations: int | None = None
    cameras: str = "test"
    holdout: Collection[int] | None = None
    aabb: Sequence[Sequence[float]] | None = None
    downscale: float = 1
    rate_loss: bool = True
    learn_steps: bool = True
    step: float | None = None
    resume: bool = True
    evaluate: bool = True
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an encode stands. frame counts from 0; phase: load, train, code, evaluate, verify.

    psnr: dB on training rays, or on the held-out views in phase evaluate.
    kilobytes: estimated size of the frame while it trains, its real size afterwards.
    """

    phase: str
    frame: int
    frames: int
    frame_type: str
    iteration: int
    iterations: int
    loss: float | None
    psnr: float | None
    kilobytes: float | None
    elapsed_seconds: float
    eta_seconds: float | None


@dataclass(frozen=True, slots=True)
class FrameResult:
    """A coded frame: sizes, estimate against payload, quality, and time.

    estimated_bytes: of the entropy-coded data, by the rate model of training;
    payload_bytes: the same in the file. psnr, psnr_box: on the held-out views, whole
    picture and inside the bounding box of the mask.
    """

    number: int
    type: str
    lagrangian: float
    size: int
    report: FrameReport
    estimated_bytes: float
    payload_bytes: int
    psnr: float | None
    psnr_box: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class EncodeReport:
    """What `encode` did. resumed_frames: taken over from an interrupted encode."""

    path: Path
    size: int
    frames: list[FrameResult]
    resumed_frames: int
    seconds: float


def encode(dataset: str | Path | Dataset, out: str | Path, options: EncodeOptions = EncodeOptions(),
           on_progress: Callable[[Progress], None] | None = None) -> EncodeReport:
    """Trains and codes a dataset into the RFV file `out`.

    The file appears under its name only when it is complete and has been decoded to
    the same tensors. Until then `out`.partial holds the frames that are finished; the
    same call takes them up again. Raises UsageError, DatasetError.
    """
    return _Encode(dataset, Path(out), options, on_progress).run()


def pick_device(name: str) -> str:
    """The torch device of that name; auto: a GPU where there is one. Raises UsageError."""
    import torch

    if name != "auto":
        try:
            torch.empty(1, device=name)
        except (RuntimeError, AssertionError) as e:
            raise UsageError(f"device {name!r} can't be used: {str(e).splitlines()[0]}") from None
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


class _Encode:
    def __init__(self, dataset, out: Path, options: EncodeOptions, on_progress):
        self.started = time.monotonic()
        self.options, self.out, self.on_progress = options, out, on_progress
        self._check_options()
        self.plan, self.representation = plan(options.system, options.representation, ToolChoice(
            options.transform, options.levels, options.masks, options.model, options.rdo))
        # Networks have no P-frames: their frames are a group each.
        self.group_size = 1 if self.plan.dedicated else options.group_size
        self.device = pick_device(options.device)
        if not isinstance(dataset, Dataset):
            dataset = load_dataset(dataset, frames=options.frames, holdout=options.holdout, aabb=options.aabb)
        self.dataset = dataset
        self.settings = self._settings()
        self.header = self._header()
        self.partial = out.with_name(out.name + ".partial")
        self.journal = out.with_name(out.name + ".partial.json")
        self.digests: list[list[str]] = []
        self.results: list[FrameResult] = []
        self.frame_seconds: dict[int, list[float]] = {INTRA: [], INTER: []}
        self.slope = -0.7  # d log(size) / d log(lambda), refined as frames are coded

    def _check_options(self) -> None:
        o = self.options
        if o.lagrangian is not None and o.quality is not None:
            raise UsageError("give a lambda or a quality, not both")
        if o.quality is not None and o.quality not in QUALITIES:
            raise UsageError(f"quality is {o.quality}; it goes from {min(QUALITIES)} to {max(QUALITIES)}")
        if o.group_size < 1:
            raise UsageError("a group has at least one frame")
        if o.cameras not in ("test", "all", "none"):
            raise UsageError(f"cameras is {o.cameras!r}; it may be test, all or none")
        for name, value in (("lambda", o.lagrangian), ("target size", o.target_kb), ("step", o.step)):
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"the {name} must be a positive number")
        for value in (o.intra_iterations, o.inter_iterations):
            if value is not None and value < 1:
                raise UsageError("a frame needs at least one iteration")
        if not self.out.parent.is_dir():
            raise UsageError(f"there is no folder {self.out.parent}")

    def _settings(self):
        from .presets import preset

        o, settings = self.options, preset(self.options.preset).training_of(self.representation)
        changes = dict(rate_loss=o.rate_loss, learn_steps=o.learn_steps, seed=o.seed)
        if o.lagrangian is not None or o.quality is not None:
            changes["lagrangian"] = o.lagrangian if o.lagrangian is not None else QUALITIES[o.quality]
        for name, value in (("intra_iterations", o.intra_iterations), ("inter_iterations", o.inter_iterations),
                            ("initial_step", o.step), ("inter_step", o.step)):
            if value is not None:
                changes[name] = value
        return dataclasses.replace(settings, **changes)

    def _header(self) -> SequenceHeader:
        from ..fields import field_header
        from .presets import preset

        p = preset(self.options.preset)
        rate = self.dataset.frame_rate
        return field_header(
            p.sizes[self.representation], self.dataset.aabb,
            ticks_per_second=90000 if rate else _DEFAULT_RATE,
            occupancy_side=p.occupancy_side, samples_per_diagonal=p.samples_per_diagonal,
            background=[round(255 * c) for c in self.dataset.background])

    def _time_stamp(self, position: int) -> int:
        rate = self.dataset.frame_rate
        return round(position * 90000 / rate) if rate else position

    # Progress.

    def _tell(self, phase: str, position: int, **values) -> None:
        if self.on_progress is None:
            return
        frames = len(self.dataset.frames)
        kind = self._type(position)
        done = values.get("iteration", 0) / max(values.get("iterations", 1), 1)
        left = (1 - done) * self._expected(kind) if phase == "train" else 0.0
        left += sum(self._expected(self._type(k)) for k in range(position + 1, frames))
        known = any(self.frame_seconds.values())
        self.on_progress(Progress(
            phase, position, frames, "IP"[kind - 1], values.get("iteration", 0), values.get("iterations", 0),
            values.get("loss"), values.get("psnr"), values.get("kilobytes"),
            time.monotonic() - self.started, left if known else None))

    def _expected(self, kind: int) -> float:
        """Seconds that a frame of this type should take, from those seen."""
        own, other = self.frame_seconds[kind], self.frame_seconds[3 - kind]
        if own:
            return sum(own) / len(own)
        ratio = self.settings.inter_iterations / self.settings.intra_iterations
        return sum(other) / len(other) * (ratio if kind == INTER else 1 / ratio) if other else 0.0

    def _type(self, position: int) -> int:
        return INTRA if position % self.group_size == 0 else INTER

    # Resuming.

    def _fingerprint(self) -> str:
        """Everything that the file depends on; a partial file is taken up only when it matches."""
        o = dataclasses.asdict(self.options)
        for name in ("resume", "evaluate", "frames"):
            del o[name]
        pictures = [(str(v.image), v.image_position, v.image.stat().st_size, v.split) for f in self.dataset.frames for v in f.views]
        text = json.dumps([o, self.device, pictures, dataclasses.astuple(self.settings),
                           self.header.to_syntax()], default=str, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _open_partial(self) -> tuple[io.BufferedRandom, StreamWriter, int]:
        """The partial file, its writer, and the position of the next frame."""
        fingerprint, o = self._fingerprint(), self.options
        try:
            journal = json.loads(self.journal.read_text()) if o.resume else {}
        except (OSError, ValueError):
            journal = {}
        if journal.get("fingerprint") == fingerprint and self.partial.exists():
            file = open(self.partial, "r+b")
            if (resumed := self._resume(file, journal)) is not None:
                return file, *resumed
            file.close()
        file = open(self.partial, "w+b")
        writer = self._writer(file)
        writer.begin()
        self._save_journal(fingerprint)
        return file, writer, 0

    def _writer(self, file) -> StreamWriter:
        o, views = self.options, self.dataset.frames[0].views
        chosen = [] if o.cameras == "none" else [
            v.camera.scaled(1 / o.downscale) for v in views if o.cameras == "all" or v.split == "test"]
        from .. import __version__

        return StreamWriter(file, self.header, cameras=chosen,
                            metadata={"encoder": f"refcodec {__version__}", **o.metadata})

    def _resume(self, file, journal) -> tuple[StreamWriter, int] | None:
        """Takes in the whole frames of a partial file and cuts off what follows them."""
        reader, whole = UnitReader(file), 0
        finished = journal.get("frames", [])
        try:
            decoder = SequenceDecoder(reader.read_file_header())
            while len(self.digests) < len(finished) and (unit := reader.read_unit()) is not None:
                frame = decoder.feed(unit)
                if frame is not None:
                    self.digests.append([tensor_digest(t) for t in frame.tensors])
                    whole = reader.offset
        except BitstreamError:
            pass  # the unit that was being written
        frames = len(self.digests)
        if frames == 0:
            return None
        file.truncate(whole)
        file.seek(whole)
        writer = self._writer(file)
        writer.resume(decoder, whole)
        self.results = [_result_from_json(r) for r in finished[:frames]]
        for r in self.results:
            self.frame_seconds[INTRA if r.type == "I" else INTER].append(r.seconds)
        return writer, frames

    def _save_journal(self, fingerprint: str) -> None:
        text = json.dumps(dict(fingerprint=fingerprint, frames=[dataclasses.asdict(r) for r in self.results]))
        with replacing(self.journal) as temporary:
            temporary.write_text(text)

    # The work.

    def run(self) -> EncodeReport:
        file, writer, resumed = self._open_partial()
        fingerprint = self._fingerprint()
        with file:
            frames = self.dataset.frames
            for position in range(resumed, len(frames)):
                if self._type(position) == INTRA and writer.frames_left == 0:
                    writer.begin_group(position, min(self.group_size, len(frames) - position))
                self._frame(writer, position)
                file.flush()
                self._save_journal(fingerprint)
            writer.finish()
            file.flush()
            os.fsync(file.fileno())
        self._verify()
        os.replace(self.partial, self.out)
        self.journal.unlink(missing_ok=True)
        return EncodeReport(self.out, self.out.stat().st_size, self.results, resumed,
                            time.monotonic() - self.started)

    def _pictures(self, frame: DatasetFrame, split: str):
        from .rays import Picture

        o = self.options
        return [Picture(v.camera.scaled(1 / o.downscale), v.load(o.downscale)) for v in frame.split(split)]

    def _frame(self, writer: StreamWriter, position: int) -> None:
        started = time.monotonic()
        frame = self.dataset.frames[position]
        self._tell("load", position)
        pictures = self._pictures(frame, "train")
        before, trials, lagrangian = writer.state, [], self._first_lagrangian(position)
        while True:
            trained = self._train(pictures, before, position, lagrangian)
            self._tell("code", position)
            writer.state = before.copy()
            payload, report = writer.encode_frame(trained.coding)
            trials.append((lagrangian, trained, payload, report, writer.state))
            following = self._next_lagrangian(trials)
            if following is None:
                break
            lagrangian = following
        if self.options.target_kb:
            target = 1000 * self.options.target_kb
            lagrangian, trained, payload, report, state = min(
                trials, key=lambda t: abs(np.log(t[3].size / target)))
            writer.state = state
        writer.append_frame(trained.coding, payload)
        self.digests.append([tensor_digest(t) for t in writer.state.tensors])
        quality = self._evaluate(writer.state, frame, position) if self.options.evaluate else (None, None)
        kind = trained.coding.type
        seconds = time.monotonic() - started
        self.frame_seconds[kind].append(seconds)
        self.results.append(FrameResult(
            position, "IP"[kind - 1], lagrangian, report.size, report,
            sum(trained.estimated_bits.values()) / 8, sum(report.tensors.values()), *quality, seconds))
        self._tell("coded", position, psnr=quality[0], kilobytes=report.size / 1000)

    def _train(self, pictures, previous: FrameState, position: int, lagrangian: float):
        from .train import train_inter, train_intra

        # A seed for each frame, so that a resumed encode gives the same file.
        settings = dataclasses.replace(self.settings, lagrangian=lagrangian, seed=self.options.seed + position)
        tell = lambda p: self._tell("train", position, iteration=p.iteration, iterations=p.iterations,  # noqa: E731
                                    loss=p.loss, psnr=p.psnr, kilobytes=p.kilobytes)
        common = dict(number=position, time_stamp=self._time_stamp(position), device=self.device,
                      on_progress=tell if self.on_progress else None)
        if self.plan.dedicated:
            from .cnerf import train_cnerf

            return train_cnerf(self.header, pictures, settings, **common)
        if self._type(position) == INTRA:
            return train_intra(self.header, pictures, settings, plan=self.plan, **common)
        return train_inter(self.header, pictures, settings, previous, plan=self.plan, **common)

    def _first_lagrangian(self, position: int) -> float:
        same = [r.lagrangian for r in self.results if r.type == "IP"[self._type(position) - 1]]
        return same[-1] if same and self.options.target_kb else self.settings.lagrangian

    def _next_lagrangian(self, trials) -> float | None:
        """The next lambda to try for `target_kb`: secant steps on log(size) over log(lambda)."""
        if not self.options.target_kb or len(trials) >= _TARGET_TRIALS:
            return None
        points = [(np.log(t[0]), np.log(t[3].size / (1000 * self.options.target_kb))) for t in trials]
        x, y = points[-1]
        if abs(y) <= _TARGET_TOLERANCE:
            return None
        if len(points) > 1 and abs(x - points[-2][0]) > 1e-3:
            slope = (y - points[-2][1]) / (x - points[-2][0])
            if slope < -0.05:
                self.slope = float(np.clip(slope, -2.0, -0.1))
        return float(np.clip(np.exp(x - y / self.slope), 1e-6, 10.0))

    def _evaluate(self, state: FrameState, frame: DatasetFrame, position: int) -> tuple[float | None, float | None]:
        """Mean PSNR over the held-out views: whole picture, and inside the mask's box."""
        from ..evaluation.held_out import view_psnr
        from ..fields import TorchOps

        views = [(v.camera, v.rgba) for v in self._pictures(frame, "test")]
        if views:
            self._tell("evaluate", position)
        return view_psnr(state.header, state.tensors, state.occupancy, views, TorchOps(self.device))

    def _verify(self) -> None:
        """Decodes the finished file as anybody would and compares every tensor."""
        self._tell("verify", len(self.dataset.frames) - 1)
        try:
            with open_stream(self.partial) as stream:
                found = [[tensor_digest(t) for t in frame.tensors] for frame in stream]
        except RefcodecError as e:
            raise EncodeDefect(f"the encoded file can't be decoded: {e}. It is kept as {self.partial}.") from e
        if found != self.digests:
            raise EncodeDefect(f"the encoded file decodes to other tensors than were encoded. "
                               f"It is kept as {self.partial}.")


class EncodeDefect(RefcodecError):
    """The encoder produced a file that does not decode to what it encoded."""

    exit_code = 3


def _result_from_json(r: dict) -> FrameResult:
    report = dict(r["report"])
    for name in ("tensors", "ideal_bits", "masks"):
        report[name] = {int(k): v for k, v in report[name].items()}
    return FrameResult(**{**r, "report": FrameReport(**report)})
