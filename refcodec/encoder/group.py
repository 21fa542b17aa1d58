"""Encoding one group: an I-frame and the P-frames that refer to it.

A group depends on no other: not on its neighbours' frames, nor on what the search for a
lambda found there. So groups can be encoded in any order and on any machine, from a
`GroupJob` to `CodedFrame`s, both plain data that can be pickled.
"""
from __future__ import annotations

import contextlib
import dataclasses
import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..datasets import DatasetFrame, Split, View
from ..decoding import SequenceDecoder
from ..errors import BitstreamError, UsageError
from ..syntax.coding import FrameType
from ..syntax.headers import SequenceHeader
from ..syntax.registry import UnitType
from ..syntax.units import UnitReader
from ..tensors.reconstruction import tensor_digest
from ..tensors.state import FrameState
from ..writer import FrameReport, StreamWriter
from .checkpoint import Checkpoint, CheckpointFile
from .devices import pick_device
from .presets import TrainingSettings
from .systems import CodingPlan

if TYPE_CHECKING:
    from .loop import TrainedFrame, Trainer, TrainingProgress
    from .preview import Preview
    from .rays import TrainingPicture

_TARGET_TOLERANCE = 0.08  # of the logarithm of a size
_PSNR_TOLERANCE = 0.1  # dB
_TARGET_TRIALS = 7
_LARGEST_STEP = 3.0  # of the search, in log(lambda), while the target is on one side
_JUDGED_VIEWS = 8  # training pictures, at most, whose PSNR stands for that of held-out ones where there are none
_PACE_ITERATIONS, _UNUSUAL_ITERATIONS = 48, 8  # by which the pace is measured; of these the first, which are slower


@dataclass(frozen=True, slots=True)
class FrameResult:
    """A coded frame: sizes, estimate against payload, quality, and time.

    estimated_bytes: of the entropy-coded data, by the rate model of training;
    payload_bytes: the same in the file. psnr, psnr_box: on the held-out views, whole
    picture and inside the bounding box of the mask. slope: of the logarithm of the size, or of the PSNR, over
    log(lambda), as far as the search for a target knew it afterwards. opacity: see `loop.TrainedFrame`.
    missed: the target that no lambda tried came near to, in words.
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
    slope: float | None = None
    opacity: float | None = None
    missed: str | None = None

    @property
    def warnings(self) -> list[str]:
        """Warnings about the frame, each with its code (docs/cli.md)."""
        from .loop import empty_warning

        empty = empty_warning(f"frame {self.number}", self.opacity)
        missed = self.missed and f"T03: frame {self.number} misses its target: {self.missed}"
        return [text for text in (empty, missed) if text]


@dataclass(frozen=True, slots=True)
class FrameProgress:
    """State of the encode of a frame; see `gop.Progress`. frame: number in the sequence.
    worker: that encodes it, if it is not the process that asked for it. seconds_left: of loading.
    remark: what is wrong with the frame."""

    frame: int
    phase: str
    iteration: int = 0
    iterations: int = 0
    loss: float | None = None
    psnr: float | None = None
    kilobytes: float | None = None
    worker: str | None = None
    seconds_left: float | None = None
    remark: str | None = None


@dataclass(frozen=True, slots=True)
class CodedFrame:
    """A finished frame. data: the bytes by which it makes its group's stream longer.
    digests: of its tensors."""

    data: bytes
    result: FrameResult
    digests: list[str]


@dataclass(frozen=True, slots=True)
class GroupJob:
    """A group to encode.

    number: of the group, from 0. first: number of its first frame in the sequence.
    frames, time_stamps: one for each of its frames; pictures are read where the group is
    encoded. settings: of its training; each frame has the seed `settings.seed` + its number.
    target_kb, target_psnr, evaluate, downscale, device, threads: see `gop.EncodeOptions`.
    checkpoint: file that keeps the state of a training, None: it is not kept; identity: of all that the encode
    depends on. preview: file for pictures of the training.
    stream, results: of the frames that are finished already, when an encode goes on.
    """

    number: int
    first: int
    header: SequenceHeader
    plan: CodingPlan
    settings: TrainingSettings
    frames: tuple[DatasetFrame, ...]
    time_stamps: tuple[int, ...]
    device: str
    downscale: float = 1
    target_kb: float | None = None
    target_psnr: float | None = None
    evaluate: bool = True
    threads: int | None = None
    checkpoint: str | None = None
    identity: str = ""
    preview: str | None = None
    stream: bytes = b""
    results: tuple[FrameResult, ...] = ()


def encode_group(job: GroupJob, tell: Callable[[FrameProgress | CodedFrame], None] = lambda message: None
                 ) -> list[CodedFrame]:
    """Encodes the frames of a group that are not finished, and returns them.

    The group's stream is an RFV file that ends behind its last frame: file header, sequence header, group header,
    frames. tell: is called at every iteration, and with each frame as soon as it is complete; an exception from it ends
    the encode. Raises UsageError, DatasetError.
    """
    with _threads(job.threads):
        return _Group(job, tell).run()


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds that an iteration takes, and a frame besides its iterations: loading, coding, evaluation."""

    iteration: float
    frame: float


def measure_pace(job: GroupJob) -> Pace:
    """Measures the first frame of a group by a training of few iterations, which is thrown away. Raises as
    `encode_group`."""
    with _threads(job.threads):
        return _Group(job, lambda message: None).pace()


def frame_type(position: int) -> int:
    """Type of a frame by its position in its group."""
    return FrameType.INTER if position else FrameType.INTRA


@dataclass(slots=True)
class GroupStream:
    """The whole frames at the beginning of a group's stream. size: bytes up to the end of the last.
    decoder: that has taken them in. digests: of the tensors of each."""

    decoder: SequenceDecoder | None = None
    size: int = 0
    digests: list[list[str]] = field(default_factory=list)


def read_group(data: bytes, most: int) -> GroupStream:
    """Decodes a group's stream, up to `most` frames; what is cut off or damaged ends it."""
    reader, found = UnitReader(io.BytesIO(data)), GroupStream()
    try:
        found.decoder = SequenceDecoder(reader.read_file_header())
        while len(found.digests) < most and (unit := reader.read_unit()) is not None:
            if (frame := found.decoder.feed(unit)) is not None:
                found.digests.append([tensor_digest(t) for t in frame.tensors])
                found.size = reader.offset
    except BitstreamError:
        pass  # the unit that was being written
    return found


def frame_units(stream: bytes) -> Iterator[bytes]:
    """The payloads of the frames of a group's stream."""
    reader = UnitReader(io.BytesIO(stream))
    reader.read_file_header()
    return (unit.payload for unit in reader.units() if unit.type == UnitType.FRAME)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """That many threads for each operation of torch; None leaves it as it is."""
    if count is None:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True)
class _CodedTrial:
    """A frame as it comes out with one lambda, and the decoder's state behind it. psnr: in a search for one, on the
    held-out views, or on some training views where there are none: whole picture, and in the masks' boxes."""

    trained: TrainedFrame
    payload: bytes
    report: FrameReport
    state: FrameState
    psnr: tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class _Trial:
    """What a lambda comes to: how far above the target, 0 without one, and the frame; None: an interrupted encode
    coded it."""

    lagrangian: float
    off: float
    coded: _CodedTrial | None = None


@dataclass(frozen=True, slots=True)
class _Target:
    """Target of a search for a lambda: a quantity that falls with log(lambda).

    off: how far a coded frame is above it. tolerance: of that. slope: of `off` over log(lambda) at first, refined as
    the frames of a group are coded. slopes: from the steepest to the flattest that is believed.
    """

    off: Callable[[_CodedTrial], float]
    tolerance: float
    slope: float
    slopes: tuple[float, float]
    reached: Callable[[_CodedTrial], str]

    @staticmethod
    def of(job: GroupJob) -> _Target | None:
        """The target of the job."""
        if job.target_kb is not None:
            size = 1000 * job.target_kb
            return _Target(lambda t: float(np.log(t.report.size / size)), _TARGET_TOLERANCE, -0.7, (-2.0, -0.1),
                           lambda t: f"{t.report.size / 1000:.3g} KB, where {job.target_kb:g} were asked for")
        if job.target_psnr is not None:
            wanted = job.target_psnr
            return _Target(lambda t: _judged(t.psnr) - wanted, _PSNR_TOLERANCE, -0.8, (-6.0, -0.1),
                           lambda t: f"{_judged(t.psnr):.2f} dB, where {wanted:g} were asked for")
        return None


def _judged(psnr: tuple[float | None, float | None]) -> float:
    """The PSNR that leads: inside the masks' boxes where there are any."""
    whole, boxed = psnr
    found = whole if boxed is None else boxed
    if found is None:
        raise UsageError("there is no picture by which a PSNR could be measured")
    return found


def _root(points: Sequence[tuple[float, float]]) -> float:
    """Root of a falling function, from at least three points (x, y) on both sides of it, in the order of their
    trials: by inverse quadratic interpolation through the nearest, or a straight line between the two that bracket it
    where that leads outside; in the middle between those where the last trial came hardly nearer, on the same side."""
    (xa, ya), (xb, yb), (xc, yc) = sorted(points, key=lambda p: abs(p[1]))[:3]
    low, above = max(p for p in points if p[1] > 0)
    high, below = min(p for p in points if p[1] <= 0)
    before, last = (y for _, y in points[-2:])
    if before * last > 0 and abs(last) > abs(before) / 2:
        return (low + high) / 2
    if len({ya, yb, yc}) == 3:
        found = (xa * yb * yc / ((ya - yb) * (ya - yc)) + xb * ya * yc / ((yb - ya) * (yb - yc))
                 + xc * ya * yb / ((yc - ya) * (yc - yb)))
        if low < found < high:
            return found
    return low + (high - low) * above / (above - below)


@dataclass(frozen=True, slots=True)
class _Views:
    """Pictures of a frame: to train on, and to measure."""

    pictures: Sequence[TrainingPicture]
    held_out: Sequence[TrainingPicture]


class _Group:
    def __init__(self, job: GroupJob, tell: Callable[[FrameProgress | CodedFrame], None]):
        self.job, self.tell = job, tell
        self.device = pick_device(job.device)
        self.results = list(job.results)
        self.target = _Target.of(job)
        self.checkpoints = CheckpointFile(job.checkpoint, job.identity)
        self.slope = (self.results[-1].slope if self.results else None) or (self.target.slope if self.target else 0.0)
        self.out = io.BytesIO()
        self.writer = StreamWriter(self.out, job.header)
        decoder = read_group(job.stream, len(job.results)).decoder
        if decoder is not None:
            self.out.write(job.stream)
            self.writer.resume(decoder, len(job.stream))
        else:
            self.writer.begin()
            self.writer.begin_group(job.first, len(job.frames))

    def run(self) -> list[CodedFrame]:
        coded: list[CodedFrame] = []
        told = len(self.job.stream)
        for position in range(len(self.job.results), len(self.job.frames)):
            self._frame(position)
            data = self.out.getvalue()
            digests = [tensor_digest(t) for t in self.writer.state.tensors]
            coded.append(CodedFrame(data[told:], self.results[-1], digests))
            told = len(data)
            self.tell(coded[-1])
        return coded

    def _tell(self, phase: str, position: int, iteration: int = 0, iterations: int = 0, loss: float | None = None,
              psnr: float | None = None, kilobytes: float | None = None, remark: str | None = None) -> None:
        self.tell(FrameProgress(self.job.first + position, phase, iteration, iterations, loss, psnr, kilobytes,
                                remark=remark))

    def _pictures(self, frame: DatasetFrame, split: Split, on_progress: Callable[[int, int], None] | None = None
                  ) -> list[TrainingPicture]:
        return self._load_pictures(frame.split(split), self.job.downscale, on_progress)

    @staticmethod
    def _load_pictures(views: Sequence[View], scale: float, on_progress: Callable[[int, int], None] | None = None
                       ) -> list[TrainingPicture]:
        from ..datasets.pixels import load_views
        from .rays import TrainingPicture

        return [TrainingPicture(v.camera.scaled(1 / scale), rgba, kept)
                for v, (rgba, kept) in zip(views, load_views(views, scale, on_progress), strict=True)]

    def _load(self, position: int) -> list[TrainingPicture]:
        """A frame's training pictures; how far it is, and the seconds left, are told once a second."""
        self._tell("load", position)
        started = told = time.monotonic()

        def on_progress(done: int, count: int) -> None:
            nonlocal told
            now = time.monotonic()
            if done and now - told >= 1:
                told = now
                self.tell(FrameProgress(self.job.first + position, "load", done, count,
                               seconds_left=(now - started) / done * (count - done)))

        return self._pictures(self.job.frames[position], "train", on_progress)

    def _frame(self, position: int) -> None:
        started = time.monotonic()
        writer, frame = self.writer, self.job.frames[position]
        pictures = self._load(position)
        before = writer.state
        held_out = self._pictures(frame, "test") if self.job.evaluate or self.job.target_psnr is not None else []
        views, target, kept = _Views(pictures, held_out), self.target, self.checkpoints.load(self.job.first + position)
        trials: list[_Trial] = []
        lagrangian: float | None = self._first_lagrangian(position)
        if kept is not None:
            trials = [_Trial(*tried) for tried in kept.tried]
            lagrangian, self.slope = kept.lagrangian, kept.slope
        while lagrangian is not None:
            known = kept or Checkpoint(self.job.first + position, lagrangian, 0, {},
                                       [(t.lagrangian, t.off) for t in trials], self.slope)
            if trials and kept is None:
                self.checkpoints.save(known)
            coded = self._code(position, lagrangian, views, before, known)
            trials.append(_Trial(lagrangian, target.off(coded) if target else 0.0, coded))
            lagrangian, kept = self._next_lagrangian(trials), None
        best, missed = min(trials, key=lambda t: abs(t.off)), None
        chosen = best.coded or self._code(position, best.lagrangian, views, before)
        if target is not None and abs(best.off) > target.tolerance:
            missed = (f"{target.reached(chosen)}, with lambda {best.lagrangian:.3g}, the nearest of {len(trials)} "
                      "trials; another preset, or other iterations, may come to it")
        writer.state = chosen.state
        coding, report = chosen.trained.coding, chosen.report
        writer.append_frame(coding, chosen.payload)
        psnr, psnr_box = (self._evaluate(writer.state, held_out, position) if self.job.target_psnr is None else
                          chosen.psnr if held_out else (None, None))
        self.results.append(FrameResult(
            coding.number, "IP"[coding.type - 1], best.lagrangian, report.size, report,
            sum(chosen.trained.estimated_bits.values()) / 8, sum(report.tensors.values()), psnr, psnr_box,
            time.monotonic() - started, self.slope if target is not None else None, chosen.trained.opacity, missed))
        self._tell("coded", position, psnr=psnr if psnr_box is None else psnr_box, kilobytes=report.size / 1000,
                   remark="; ".join(self.results[-1].warnings) or None)

    def _code(self, position: int, lagrangian: float, views: _Views, before: FrameState,
              known: Checkpoint | None = None) -> _CodedTrial:
        """A frame, trained, coded and measured. known: that the training goes on from, and that its checkpoints add to;
        None: it keeps none."""
        writer, pictures = self.writer, views.pictures
        trained = self._train(pictures, before, position, lagrangian, known=known)
        self._tell("code", position)
        writer.state = before.copy()
        payload, report = writer.encode_frame(trained.coding)
        judged: Sequence[TrainingPicture] = []
        if self.job.target_psnr is not None:
            judged = views.held_out or pictures[::-(-len(pictures) // _JUDGED_VIEWS)]
        psnr = self._evaluate(writer.state, judged, position)
        return _CodedTrial(trained, payload, report, writer.state, psnr)

    def pace(self) -> Pace:
        """See `measure_pace`."""
        started, times = time.monotonic(), list[float]()
        pictures, before = self._load(0), self.writer.state
        settings = dataclasses.replace(self.job.settings, intra_iterations=_PACE_ITERATIONS)
        trained = self._train(pictures, before, 0, settings.lagrangian, settings,
                              lambda iteration: times.append(time.monotonic()))
        self.writer.state = before.copy()
        self.writer.encode_frame(trained.coding)
        if self.job.evaluate:
            self._evaluate(self.writer.state, self._pictures(self.job.frames[0], "test"), 0)
        iteration = (times[-1] - times[_UNUSUAL_ITERATIONS - 1]) / (len(times) - _UNUSUAL_ITERATIONS)
        return Pace(iteration, max(time.monotonic() - started - iteration * _PACE_ITERATIONS, 0.0))

    def _train(self, pictures: Sequence[TrainingPicture], previous: FrameState, position: int, lagrangian: float,
               settings: TrainingSettings | None = None, after: Callable[[int], None] | None = None,
               known: Checkpoint | None = None) -> TrainedFrame:
        from .loop import train
        from .trainers import TRAINERS

        job, number, time_stamp = self.job, self.job.first + position, self.job.time_stamps[position]
        # A seed for each frame, so that an encode that goes on gives the same file.
        settings = dataclasses.replace(settings or job.settings, lagrangian=lagrangian, seed=job.settings.seed + number)

        def tell(p: TrainingProgress) -> None:
            self._tell("train", position, p.iteration, p.iterations, p.loss, p.psnr, p.kilobytes)

        def make() -> Trainer:
            return TRAINERS[job.plan.trainer](
                job.header, pictures, settings, job.plan,
                None if frame_type(position) == FrameType.INTRA else previous, len(job.frames) - position - 1,
                self.device)

        trainer = make()
        first = 0
        if known is not None and known.iteration:
            try:
                trainer.restore(known.state)
                first = known.iteration
            except (LookupError, TypeError, ValueError, RuntimeError, AttributeError):  # no state of ours
                trainer = make()
        preview = self._preview(position, pictures) if known is not None and self.job.preview else None

        def look(iteration: int) -> None:
            if after:
                after(iteration)
            if preview is not None:
                preview(trainer, iteration == trainer.schedule.total)
            if known is not None and iteration < trainer.schedule.total and self.checkpoints.due():
                refused = self.checkpoints.save(dataclasses.replace(known, iteration=iteration, state=trainer.state()))
                if refused:
                    self._tell("train", position, iteration, trainer.schedule.total, remark=refused)

        train(trainer, tell, look, first)
        return trainer.frame(0, number, time_stamp)

    def _preview(self, position: int, pictures: Sequence[TrainingPicture]) -> Preview:
        """Pictures of the first held-out view, or of the first that is trained on, smaller where it is large."""
        from .preview import SIDE, Preview

        frame = self.job.frames[position]
        view = (frame.split("test") or frame.split("train"))[0]
        longest = max(view.camera.width, view.camera.height)
        scale = min(max(self.job.downscale, longest / SIDE), 64.0)
        (picture,) = self._load_pictures([view], scale)
        return Preview(self.job.preview or "", self.job.header, picture, self.device)

    def _first_lagrangian(self, position: int) -> float:
        kind = "IP"[frame_type(position) - 1]
        same = [r.lagrangian for r in self.results if r.type == kind]
        return same[-1] if same and self.target is not None else self.job.settings.lagrangian

    def _next_lagrangian(self, trials: Sequence[_Trial]) -> float | None:
        """The next lambda to try for a target: secant steps over log(lambda), inside the bracket once trials on both
        sides of the target are known."""
        target = self.target
        if target is None or len(trials) >= _TARGET_TRIALS:
            return None
        points = [(float(np.log(t.lagrangian)), t.off) for t in trials]
        x, y = points[-1]
        if abs(y) <= target.tolerance:
            return None
        if len(points) > 1 and abs(x - points[-2][0]) > 1e-3:
            slope = (y - points[-2][1]) / (x - points[-2][0])
            if slope < -0.05:
                self.slope = float(np.clip(slope, *target.slopes))
        bracketed = len(points) > 2 and min(p[1] for p in points) <= 0 < max(p[1] for p in points)
        step = float(np.clip(-y / self.slope, -_LARGEST_STEP, _LARGEST_STEP))
        return float(np.clip(np.exp(_root(points) if bracketed else x + step), 1e-6, 10.0))

    def _evaluate(self, state: FrameState, pictures: Sequence[TrainingPicture], position: int
                  ) -> tuple[float | None, float | None]:
        """Mean PSNR over views: whole picture, and inside the mask's box."""
        if not pictures:
            return None, None
        from ..evaluation.held_out import view_psnr
        from ..fields import TorchOps

        views = [(v.camera, v.rgba, v.kept) for v in pictures]
        self._tell("evaluate", position)
        return view_psnr(state.header, state.tensors, state.occupancy, views, TorchOps(self.device))
