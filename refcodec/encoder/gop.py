"""Encoding a sequence: groups are given to workers, their streams put together, the file verified.

`refcodec.encoder.group` encodes a group, `refcodec.encoder.executors` says where, and
`refcodec.encoder.parts` keeps what is finished. The file is the same wherever its groups
are encoded.
"""
from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from .. import __version__
from ..datasets import Dataset, DatasetFrame, load_dataset
from ..errors import RefcodecError, UsageError
from ..files import put, resolve, stem_of
from ..inspection import inspect
from ..syntax.coding import FrameType
from ..syntax.headers import Representation, SequenceHeader
from ..writer import StreamWriter
from .devices import pick_device
from .executors import Failure, Outcome, Workers, check_executor, open_workers
from .group import CodedFrame, FrameProgress, FrameResult, GroupJob, Pace, frame_type, frame_units, measure_pace
from .parts import Parts, journal_of
from .presets import TrainingSettings, changed, preset
from .systems import DEFAULT_SYSTEM, CodingPlan, ToolChoice, plan
from .verification import verify

# lambda of the four operating points of MM 2024, by quality.
QUALITIES = {1: 5e-3, 2: 2e-3, 3: 1e-3, 4: 7e-4}
_DEFAULT_RATE = 30  # frames a second where the dataset does not say
IDENTITY = "encode"  # key of the metadata that tell what a file was made of
_ATTEMPTS = 3  # at a group, on workers that may die
_POLL_SECONDS = 0.1
_WAIT_SECONDS = 5.0  # without a word from any worker
_ITERATIONS = "encode-iterations"  # key of the metadata that tell what a time budget came to
_BUDGET_SHARE = 0.95  # of the time left; the rest is for what the pace does not know, as verification
_FEWEST_ITERATIONS = 50  # of an I-frame that are worth a file


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """Options of an encode; None leaves the choice to the preset.

    system: rate-aware, dynamic-dif, masked-wavelet, ecrf or cnerf: the coding tools and the
    loss (`refcodec.encoder.systems`). representation: dif, vm, triplane, grid or mlp, by
    default the first that the system codes. transform (none, dct, dwt), levels (of dwt),
    masks, model (context, static), rdo (the smaller of both): in place of the system's.
    preset: tiny, small or paper. lagrangian: lambda, or by `quality` 1 (small) to 4.
    target_kb: kilobytes (1000 bytes) that each frame should come to; lambda is searched.
    target_psnr: dB that each frame should come to, on the held-out views, or on training views where none is held
    out; inside the boxes of their masks, if they have any. lambda is searched.
    time_budget: seconds that the encode should take. The pace is measured and the iterations are chosen by it, once:
    so the file depends on time. `EncodeReport.iterations` and the file's metadata say what was chosen.
    frames: range of frame numbers or slice of positions. group_size: frames in a group;
    1 makes every frame an I-frame. device: auto, cpu, cuda, cuda:1 ...
    cameras: test, all or none: which the file carries. downscale: of the pictures.
    rate_loss, learn_steps: False switches the tool off (ablations of MM 2024, Table 4).
    step: quantisation step size of the grids, in field values, at the start or, when step sizes are not learned,
    throughout.
    settings: other training settings by name (`refcodec.encoder.presets.TrainingSettings`), last of all.
    resume: go on with an interrupted encode of the same dataset and options.
    evaluate: measure PSNR on the held-out views after each frame.
    preview: a PNG file that shows, while a frame trains, its first held-out view (or the first that is trained on)
    as the field has it, beside the truth.
    executor: where groups are encoded: local (this process), processes or dask, whose
    scheduler has the address or scheduler file `scheduler`. jobs: groups at a time; by
    default one for each processor, or as many as the cluster takes. threads: of torch, for
    each group (docs/cluster.md).
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
    target_psnr: float | None = None
    time_budget: float | None = None
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
    preview: str | None = None
    settings: dict[str, object] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    executor: str = "local"
    jobs: int | None = None
    scheduler: str | None = None
    threads: int | None = None


class EncodeChoices(TypedDict, total=False):
    """The members of `EncodeOptions` by name, for the keywords of `refcodec.encode`."""

    system: str
    representation: str | None
    transform: str | None
    levels: int | None
    masks: bool | None
    model: str | None
    rdo: bool | None
    preset: str
    lagrangian: float | None
    quality: int | None
    target_kb: float | None
    target_psnr: float | None
    time_budget: float | None
    frames: range | slice | None
    group_size: int
    device: str
    seed: int
    intra_iterations: int | None
    inter_iterations: int | None
    cameras: str
    holdout: Collection[int] | None
    aabb: Sequence[Sequence[float]] | None
    downscale: float
    rate_loss: bool
    learn_steps: bool
    step: float | None
    resume: bool
    evaluate: bool
    preview: str | None
    settings: dict[str, object]
    metadata: dict[str, str]
    executor: str
    jobs: int | None
    scheduler: str | None
    threads: int | None


@dataclass(frozen=True, slots=True)
class Progress:
    """State of an encode. frame counts from 0; phase: measure (the pace), wait (for workers), load, train, code,
    evaluate, coded, retry (of a group whose worker failed), verify.

    psnr: dB on training rays, or on the held-out views in phase coded, there inside the
        boxes of their masks, if they have any.
    kilobytes: estimated size of the frame while it trains, its real size afterwards.
    done: frames that are finished, with fractions of those in work, whose order is any when
    several groups are encoded at a time; None: `frame` and `iteration` say it. worker: that
    is at the frame; None: this process. remark: why a group is tried again, or
    what is wrong with a coded frame.
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
    done: float | None = None
    worker: str | None = None
    remark: str | None = None


@dataclass(frozen=True, slots=True)
class EncodeReport:
    """The result of `encode`. resumed_frames: taken over from an interrupted encode. iterations: of an I- and of a
    P-frame, where a time budget chose them."""

    path: Path
    size: int
    frames: list[FrameResult]
    resumed_frames: int
    seconds: float
    iterations: tuple[int, int] | None = None

    @property
    def warnings(self) -> list[str]:
        """Warnings about frames, each with its code (docs/cli.md)."""
        return [text for f in self.frames for text in f.warnings]


def encode(dataset: str | Path | Dataset, out: str | Path, options: EncodeOptions = EncodeOptions(),
           on_progress: Callable[[Progress], None] | None = None) -> EncodeReport:
    """Trains and codes a dataset into the RFV file `out`.

    The file appears under its name only when it is complete and has been decoded to
    the same tensors. Until then files `out`.partial.* hold the frames that are finished, and the state of the training;
    the same call takes them up again, with whatever executor. Raises UsageError,
    DatasetError, GroupFailed.
    """
    return _Encode(dataset, Path(out), options, on_progress).run()


def is_finished(dataset: str | Path | Dataset, out: str | Path, options: EncodeOptions = EncodeOptions()) -> bool:
    """Whether `out` is the file that `encode` would make, by the metadata and the number of frames that it has.

    Raises UsageError, DatasetError.
    """
    return _Encode(dataset, Path(out), options, None).finished()


def is_begun(out: str | Path) -> bool:
    """Whether an interrupted encode left frames that `encode` may go on from."""
    there = resolve(out)
    return not there.through and journal_of(there.target).exists()


class GroupFailed(RefcodecError):
    """A group that no worker could encode."""

    def __init__(self, message: str, exit_code: int):
        super().__init__(message)
        self.exit_code = exit_code


def check_options(o: EncodeOptions) -> tuple[CodingPlan, Representation, TrainingSettings]:
    """The settings of the options, without a dataset. Raises UsageError for what is out of range or does not fit."""
    if o.lagrangian is not None and o.quality is not None:
        raise UsageError("give a lambda or a quality, not both")
    if o.quality is not None and o.quality not in QUALITIES:
        raise UsageError(f"quality is {o.quality}; it goes from {min(QUALITIES)} to {max(QUALITIES)}")
    if o.group_size < 1:
        raise UsageError("a group has at least one frame")
    if o.cameras not in ("test", "all", "none"):
        raise UsageError(f"cameras is {o.cameras!r}; it may be test, all or none")
    if o.target_kb is not None and o.target_psnr is not None:
        raise UsageError("give a target size or a target PSNR, not both")
    if o.time_budget is not None:
        _check_budget(o)
    for name, value in (("lambda", o.lagrangian), ("target size", o.target_kb), ("target PSNR", o.target_psnr),
                        ("time budget", o.time_budget), ("step", o.step)):
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"the {name} must be a positive number")
    for value in (o.intra_iterations, o.inter_iterations):
        if value is not None and value < 1:
            raise UsageError("a frame needs at least one iteration")
    check_executor(o.executor, o.jobs, o.scheduler, o.threads)
    if o.preview is not None and (o.executor != "local" or not o.preview.lower().endswith(".png")):
        raise UsageError(f"the preview {o.preview!r} must be a PNG file (.png)" if o.executor == "local" else
                         "a preview needs --executor local: other workers train several frames at a time")
    if not 1 <= o.downscale <= 64:
        raise UsageError(f"downscale is {o.downscale:g}; it goes from 1 to 64")
    chosen, representation = plan(o.system, o.representation, ToolChoice(
        o.transform, o.levels, o.masks, o.model, o.rdo))
    return chosen, representation, _settings(o, representation)


def _check_budget(o: EncodeOptions) -> None:
    iterations = {"intra_iterations", "inter_iterations"}
    if o.intra_iterations is not None or o.inter_iterations is not None or iterations & set(o.settings):
        raise UsageError("give iterations or a time budget, which chooses them, not both")
    if o.target_kb is not None or o.target_psnr is not None:
        raise UsageError("a search for a target trains each frame several times, which a time budget does not allow "
                         "for; give one of them")
    if o.executor != "local":
        raise UsageError("a time budget needs --executor local: the pace is measured in this process")


def _settings(o: EncodeOptions, representation: Representation) -> TrainingSettings:
    settings = preset(o.preset).training_of(representation)
    lagrangian = QUALITIES[o.quality] if o.quality is not None else o.lagrangian
    changes: dict[str, object] = dict(rate_loss=o.rate_loss, learn_steps=o.learn_steps, seed=o.seed)
    for name, value in (("lagrangian", lagrangian), ("intra_iterations", o.intra_iterations),
                        ("inter_iterations", o.inter_iterations), ("initial_step", o.step),
                        ("inter_step", o.step)):
        if value is not None:
            changes[name] = value
    return changed(settings, {**changes, **o.settings})


class _Encode:
    def __init__(self, dataset: str | Path | Dataset, out: Path, options: EncodeOptions,
                 on_progress: Callable[[Progress], None] | None):
        self.started = time.monotonic()
        self.options, self.out, self.on_progress = options, out, on_progress
        self.there = resolve(out)
        self.plan, self.representation, self.asked = check_options(options)
        self.settings = self.asked  # until a time budget has changed the iterations
        # Networks have no P-frames: their frames are a group each.
        self.group_size = options.group_size if self.plan.spatial else 1
        # A cluster's workers have devices of their own.
        self.device = options.device if options.executor == "dask" else pick_device(options.device)
        if not isinstance(dataset, Dataset):
            dataset = load_dataset(dataset, frames=options.frames, holdout=options.holdout, aabb=options.aabb)
        self.dataset = dataset
        self.header = self._header()
        self.parts: Parts  # while it runs
        self.fingerprint = ""
        self.in_work: dict[int, float] = {}  # frames that workers are at, and what share of each is done
        self.told = time.monotonic()
        # Seconds an iteration of the first frame takes, and what they are measured from: frame, iteration, time.
        self.pace: float | None = None
        self.pace_from: tuple[int, int, float] | None = None

    def _header(self) -> SequenceHeader:
        from ..fields import field_header

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

    def _fingerprint(self) -> str:
        """Everything that the file depends on; finished frames are taken up only when it matches."""
        o = dataclasses.asdict(self.options)
        for name in ("resume", "evaluate", "preview", "frames", "executor", "jobs", "scheduler"):
            del o[name]
        pictures = [(str(v.image), v.image_position, v.image.stat().st_size, v.split,
                     v.mask and (v.mask_use, v.mask.name), v.orientation)
                    for f in self.dataset.frames for v in f.views]
        text = json.dumps([o, self.device, pictures, dataclasses.astuple(self.asked),
                           self.header.to_syntax()], default=str, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def identity(self) -> str:
        """Of what the file is made of, wherever the dataset lies; the file carries it as metadata."""
        o = dataclasses.asdict(self.options)
        for name in ("resume", "evaluate", "preview", "frames", "executor", "jobs", "scheduler", "threads", "device"):
            del o[name]
        root = Path(self.dataset.source).absolute()
        pictures = [(os.path.relpath(v.image.absolute(), root), v.image_position, v.image.stat().st_size, v.split,
                     v.mask and (v.mask_use, v.mask.name), v.orientation)
                    for f in self.dataset.frames for v in f.views]
        text = json.dumps([__version__, o, pictures, dataclasses.astuple(self.asked), self.header.to_syntax()],
                          default=str, sort_keys=True)
        return hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:16]

    def finished(self) -> bool:
        """Whether the file is there already, made of the same by the same options."""
        if not self.there.exists:
            return False
        found = inspect(self.there.target)
        return found.error is None and found.metadata.get(IDENTITY) == self.identity() \
            and len(found.frames) == len(self.dataset.frames)

    # Groups.

    @property
    def _groups(self) -> int:
        return -(-len(self.dataset.frames) // self.group_size)

    def _range(self, number: int) -> range:
        """The frames of a group."""
        first = number * self.group_size
        return range(first, min(first + self.group_size, len(self.dataset.frames)))

    def _job(self, number: int, workers: Workers) -> GroupJob:
        o, frames = self.options, self._range(number)
        return GroupJob(
            number, frames.start, self.header, self.plan, self.settings,
            tuple(_absolute(self.dataset.frames[i]) for i in frames), tuple(map(self._time_stamp, frames)),
            self.device, o.downscale, o.target_kb, o.target_psnr, o.evaluate, o.threads or workers.threads,
            None if o.executor == "dask" else str(self.parts.checkpoint(number).absolute()), self.fingerprint,
            o.preview,
            self.parts.stream(number), tuple(self.parts[number].results))

    def _keep_to_budget(self, workers: Workers) -> None:
        """Chooses the iterations that fill what is left of a time budget, or takes those chosen before."""
        if self.options.time_budget is None:
            return
        if self.parts.iterations is None:
            self._tell(FrameProgress(0, "measure"))
            first = dataclasses.replace(self._job(0, workers), stream=b"", results=(), checkpoint=None, preview=None)
            self.parts.iterations = self._affordable(measure_pace(first), self.options.time_budget)
            self.parts.save()
        intra, inter = self.parts.iterations
        self.settings = dataclasses.replace(self.settings, intra_iterations=intra, inter_iterations=inter)

    def _affordable(self, pace: Pace, budget: float) -> tuple[int, int]:
        """Iterations of an I- and of a P-frame, in the preset's proportion. Raises UsageError for too few."""
        frames = range(len(self.dataset.frames))
        intra = sum(self._type(i) == FrameType.INTRA for i in frames)
        ratio = self.asked.inter_iterations / self.asked.intra_iterations
        shares, spent = intra + (len(frames) - intra) * ratio, time.monotonic() - self.started
        fixed = pace.frame * len(frames)
        found = int((_BUDGET_SHARE * (budget - spent) - fixed) / (pace.iteration * shares))
        if found < _FEWEST_ITERATIONS:
            least = (fixed + _FEWEST_ITERATIONS * pace.iteration * shares) / _BUDGET_SHARE + spent
            raise UsageError(f"a time budget of {budget:.0f} s is too small for {len(frames)} frames: at the pace "
                             f"measured, {_FEWEST_ITERATIONS} iterations an I-frame would take some {least:.0f} s")
        return found, max(1, round(found * ratio))

    # Progress.

    def _tell(self, step: FrameProgress, remark: str | None = None) -> None:
        self.told = time.monotonic()
        if self.on_progress is None:
            return
        results, frames = self.parts.results, range(len(self.dataset.frames))
        finished, expected = {r.number for r in results}, self._expected(results)
        left = sum((1 - self.in_work.get(i, 0.0)) * expected[self._type(i)] for i in frames if i not in finished)
        groups = {i // self.group_size for i in self.in_work}
        self.on_progress(Progress(
            step.phase, step.frame, len(frames), "IP"[self._type(step.frame) - 1], step.iteration, step.iterations,
            step.loss, step.psnr, step.kilobytes, time.monotonic() - self.started,
            left / max(len(groups), 1) if results or self.pace is not None else step.seconds_left,
            len(finished) + sum(self.in_work.values()), step.worker, remark or step.remark))

    def _expected(self, results: list[FrameResult]) -> dict[int, float]:
        """Seconds that a frame of each type should take, from those seen."""
        seen = {kind: [r.seconds for r in results if r.type == kind] for kind in "IP"}
        intra, inter = (sum(s) / len(s) if s else None for s in seen.values())
        ratio = self.settings.inter_iterations / self.settings.intra_iterations
        if intra is None:
            intra = inter / ratio if inter is not None else self.settings.intra_iterations * (self.pace or 0.0)
        return {FrameType.INTRA: intra, FrameType.INTER: inter if inter is not None else intra * ratio}

    def _type(self, number: int) -> int:
        return frame_type(number % self.group_size)

    def _hear(self, message: FrameProgress | CodedFrame) -> None:
        """Receives a worker's message."""
        if isinstance(message, CodedFrame):
            self._keep(message)
            return
        group = message.frame // self.group_size
        if message.frame >= self._next(group):
            for i in range(message.frame + 1, self._range(group).stop):  # of an attempt before
                self.in_work.pop(i, None)
            trained = message.phase != "load"
            share = message.iteration / message.iterations if message.iterations and trained else float(trained)
            self.in_work[message.frame] = share
        self._measure(message)
        self._tell(message)

    def _measure(self, step: FrameProgress) -> None:
        """Keeps the pace of the frame that trained first: before any frame is finished, it tells the time left."""
        if step.phase != "train":
            return
        now = time.monotonic()
        if self.pace_from is None:
            self.pace_from = step.frame, step.iteration, now
        frame, iteration, since = self.pace_from
        if step.frame == frame and step.iteration > iteration:
            self.pace = (now - since) / (step.iteration - iteration)

    def _keep(self, frame: CodedFrame) -> None:
        self.parts.append(frame.result.number // self.group_size, frame)
        self.in_work.pop(frame.result.number, None)

    def _next(self, group: int) -> int:
        """The first frame of a group that is not finished."""
        return self._range(group).start + len(self.parts[group].results)

    # The work.

    def run(self) -> EncodeReport:
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory()) if self.there.through else None
            base = Path(folder) / "stream" if folder else self.there.target  # a device has nothing beside it
            self.fingerprint = self._fingerprint()
            self.parts = Parts(base, self.fingerprint, self._groups, self.options.resume)
            return self._run(stem_of(base))

    def _run(self, stem: Path) -> EncodeReport:
        partial = stem.with_name(f"{stem.name}.partial")
        resumed = len(self.parts.results)
        unfinished = deque(n for n in range(self._groups) if self._next(n) < self._range(n).stop)
        if unfinished:
            o = self.options
            try:
                with open_workers(o.executor, o.jobs, o.scheduler, len(unfinished), self._hear) as workers:
                    self._keep_to_budget(workers)
                    self._encode_groups(workers, unfinished)
            finally:
                if not self.parts.is_begun:  # nothing that is worth keeping
                    self.parts.remove()
        self._assemble(partial)
        self._tell(FrameProgress(len(self.dataset.frames) - 1, "verify"))
        digests = [(0, d) for part in self.parts for d in part.digests]
        verify(partial, digests, f". It is kept as {partial}.")
        size = partial.stat().st_size
        try:
            put(partial, self.there)
        except OSError as e:
            raise UsageError(f"can't write {self.out}: {e.strerror}. The file is kept as {partial}.") from None
        iterations = self.parts.iterations
        self.parts.remove()
        return EncodeReport(self.out, size, self.parts.results, resumed,
                            time.monotonic() - self.started, iterations)

    def _encode_groups(self, workers: Workers, unfinished: deque[int]) -> None:
        running: dict[Future[Outcome], int] = {}
        attempts: Counter[int] = Counter()
        while unfinished or running:
            while unfinished and (workers.capacity is None or len(running) < workers.capacity):
                number = unfinished.popleft()
                running[workers.submit(self._job(number, workers))] = number
            finished, _ = wait(running, _POLL_SECONDS, FIRST_COMPLETED)
            workers.listen()
            for future in finished:
                number = running.pop(future)
                outcome = workers.outcome(future)
                if isinstance(outcome, Failure):
                    attempts[number] += 1
                    self._failed(number, outcome, attempts[number])
                    unfinished.append(number)
                    continue
                # Some workers have told of their frames one by one.
                for frame in outcome:
                    if frame.result.number == self._next(number):
                        self._keep(frame)
            if running and not self.in_work and time.monotonic() - self.told > _WAIT_SECONDS:
                self._tell(FrameProgress(self._range(min(running.values())).start, "wait"))

    def _failed(self, number: int, failure: Failure, attempts: int) -> None:
        """Lets the group be tried again, or raises GroupFailed."""
        frames = self._range(number)
        for i in frames:
            self.in_work.pop(i, None)
        text = f"group {number} (frames {frames.start} to {frames.stop - 1}) on {failure.worker}: {failure.message}"
        if failure.final or attempts == _ATTEMPTS:
            tried = "" if failure.final else f" ({attempts} attempts)"
            raise GroupFailed(text + tried, failure.exit_code)
        self._tell(FrameProgress(frames.start, "retry"), text)

    def _assemble(self, path: Path) -> None:
        """Writes the groups' streams as one."""
        o, views = self.options, self.dataset.frames[0].views
        chosen = [] if o.cameras == "none" else [
            v.camera.scaled(1 / o.downscale) for v in views if o.cameras == "all" or v.split == "test"]
        metadata = {"encoder": f"refcodec {__version__}", IDENTITY: self.identity()}
        if self.parts.iterations is not None:
            metadata[_ITERATIONS] = "intra {} inter {}".format(*self.parts.iterations)
        metadata |= o.metadata
        with open(path, "wb") as file:
            writer = StreamWriter(file, self.header, cameras=chosen, metadata=metadata)
            writer.begin()
            for number in range(self._groups):
                frames = self._range(number)
                writer.begin_group(frames.start, len(frames))
                for i, payload in zip(frames, frame_units(self.parts.stream(number)), strict=True):
                    writer.add_frame(i, self._type(i), payload)
            writer.finish()
            file.flush()
            os.fsync(file.fileno())


def _absolute(frame: DatasetFrame) -> DatasetFrame:
    """The frame with paths that mean the same in whatever folder a worker runs."""
    return dataclasses.replace(frame, views=tuple(
        dataclasses.replace(v, image=v.image.absolute(), mask=v.mask and v.mask.absolute()) for v in frame.views))
