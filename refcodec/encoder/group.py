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

from ..datasets import DatasetFrame, Split
from ..decoding import SequenceDecoder
from ..errors import BitstreamError
from ..syntax.coding import FrameType
from ..syntax.headers import SequenceHeader
from ..syntax.registry import UnitType
from ..syntax.units import UnitReader
from ..tensors.reconstruction import tensor_digest
from ..tensors.state import FrameState
from ..writer import FrameReport, StreamWriter
from .devices import pick_device
from .presets import TrainingSettings
from .systems import CodingPlan

if TYPE_CHECKING:
    from .loop import TrainedFrame, TrainingProgress
    from .rays import TrainingPicture

_TARGET_TOLERANCE = 0.08
_TARGET_TRIALS = 7
_FIRST_SLOPE = -0.7  # d log(size) / d log(lambda), refined as the frames of a group are coded


@dataclass(frozen=True, slots=True)
class FrameResult:
    """A coded frame: sizes, estimate against payload, quality, and time.

    estimated_bytes: of the entropy-coded data, by the rate model of training;
    payload_bytes: the same in the file. psnr, psnr_box: on the held-out views, whole
    picture and inside the bounding box of the mask. slope: d log(size) / d log(lambda), as
    far as the search for `target_kb` knew it afterwards. opacity: see `loop.TrainedFrame`.
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

    @property
    def warning(self) -> str | None:
        """What is wrong with the frame, with a code (docs/cli.md); None: nothing that is known."""
        from .loop import empty_warning

        return empty_warning(f"frame {self.number}", self.opacity)


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
    target_kb, evaluate, downscale, device, threads: see `gop.EncodeOptions`.
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
    evaluate: bool = True
    threads: int | None = None
    stream: bytes = b""
    results: tuple[FrameResult, ...] = ()


def encode_group(job: GroupJob, tell: Callable[[FrameProgress | CodedFrame], None] = lambda message: None
                 ) -> list[CodedFrame]:
    """Encodes the frames of a group that are not finished, and returns them.

    The group's stream is an RFV file that ends behind its last frame: file header,
    sequence header, group header, frames. tell: is called at every iteration, and with each frame as soon as it is
    complete; an exception from it ends the encode.
    Raises UsageError, DatasetError.
    """
    with _threads(job.threads):
        return _Group(job, tell).run()


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
class _Trial:
    """A frame as it comes out with one lambda, and the decoder's state behind it."""

    lagrangian: float
    trained: TrainedFrame
    payload: bytes
    report: FrameReport
    state: FrameState


def _root(points: Sequence[tuple[float, float]]) -> float:
    """Where a falling function is 0, from at least three points (x, y) on both sides of it: by inverse quadratic
    interpolation through the nearest, or a straight line between the two that bracket it where that leads outside."""
    (xa, ya), (xb, yb), (xc, yc) = sorted(points, key=lambda p: abs(p[1]))[:3]
    low, above = max(p for p in points if p[1] > 0)
    high, below = min(p for p in points if p[1] <= 0)
    if len({ya, yb, yc}) == 3:
        found = (xa * yb * yc / ((ya - yb) * (ya - yc)) + xb * ya * yc / ((yb - ya) * (yb - yc))
                 + xc * ya * yb / ((yc - ya) * (yc - yb)))
        if low < found < high:
            return found
    return low + (high - low) * above / (above - below)


class _Group:
    def __init__(self, job: GroupJob, tell: Callable[[FrameProgress | CodedFrame], None]):
        self.job, self.tell = job, tell
        self.device = pick_device(job.device)
        self.results = list(job.results)
        self.slope = (self.results[-1].slope if self.results else None) or _FIRST_SLOPE
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
        from ..datasets.pixels import load_views
        from .rays import TrainingPicture

        scale, views = self.job.downscale, frame.split(split)
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
        trials: list[_Trial] = []
        lagrangian: float | None = self._first_lagrangian(position)
        while lagrangian is not None:
            trained = self._train(pictures, before, position, lagrangian)
            self._tell("code", position)
            writer.state = before.copy()
            payload, report = writer.encode_frame(trained.coding)
            trials.append(_Trial(lagrangian, trained, payload, report, writer.state))
            lagrangian = self._next_lagrangian(trials)
        chosen = trials[-1]
        if self.job.target_kb:
            target = 1000 * self.job.target_kb
            chosen = min(trials, key=lambda t: abs(np.log(t.report.size / target)))
            writer.state = chosen.state
        coding, report = chosen.trained.coding, chosen.report
        writer.append_frame(coding, chosen.payload)
        psnr, psnr_box = self._evaluate(writer.state, frame, position) if self.job.evaluate else (None, None)
        self.results.append(FrameResult(
            coding.number, "IP"[coding.type - 1], chosen.lagrangian, report.size, report,
            sum(chosen.trained.estimated_bits.values()) / 8, sum(report.tensors.values()), psnr, psnr_box,
            time.monotonic() - started, self.slope if self.job.target_kb else None, chosen.trained.opacity))
        self._tell("coded", position, psnr=psnr if psnr_box is None else psnr_box, kilobytes=report.size / 1000,
                   remark=self.results[-1].warning)

    def _train(self, pictures: Sequence[TrainingPicture], previous: FrameState, position: int, lagrangian: float
               ) -> TrainedFrame:
        from .loop import train
        from .trainers import TRAINERS

        job, number, time_stamp = self.job, self.job.first + position, self.job.time_stamps[position]
        # A seed for each frame, so that an encode that goes on gives the same file.
        settings = dataclasses.replace(job.settings, lagrangian=lagrangian, seed=job.settings.seed + number)

        def tell(p: TrainingProgress) -> None:
            self._tell("train", position, p.iteration, p.iterations, p.loss, p.psnr, p.kilobytes)

        trainer = TRAINERS[job.plan.trainer](
            job.header, pictures, settings, job.plan, None if frame_type(position) == FrameType.INTRA else previous,
            len(job.frames) - position - 1, self.device)
        train(trainer, tell)
        return trainer.frame(0, number, time_stamp)

    def _first_lagrangian(self, position: int) -> float:
        kind = "IP"[frame_type(position) - 1]
        same = [r.lagrangian for r in self.results if r.type == kind]
        return same[-1] if same and self.job.target_kb else self.job.settings.lagrangian

    def _next_lagrangian(self, trials: Sequence[_Trial]) -> float | None:
        """The next lambda to try for `target_kb`: secant steps on log(size) over log(lambda), inside the bracket once
        sizes on both sides of the target are known."""
        if not self.job.target_kb or len(trials) >= _TARGET_TRIALS:
            return None
        target = 1000 * self.job.target_kb
        points = [(np.log(t.lagrangian), np.log(t.report.size / target)) for t in trials]
        x, y = points[-1]
        if abs(y) <= _TARGET_TOLERANCE:
            return None
        if len(points) > 1 and abs(x - points[-2][0]) > 1e-3:
            slope = (y - points[-2][1]) / (x - points[-2][0])
            if slope < -0.05:
                self.slope = float(np.clip(slope, -2.0, -0.1))
        bracketed = len(points) > 2 and min(p[1] for p in points) <= 0 < max(p[1] for p in points)
        return float(np.clip(np.exp(_root(points) if bracketed else x - y / self.slope), 1e-6, 10.0))

    def _evaluate(self, state: FrameState, frame: DatasetFrame, position: int) -> tuple[float | None, float | None]:
        """Mean PSNR over the held-out views: whole picture, and inside the mask's box."""
        from ..evaluation.held_out import view_psnr
        from ..fields import TorchOps

        views = [(v.camera, v.rgba, v.kept) for v in self._pictures(frame, "test")]
        if views:
            self._tell("evaluate", position)
        return view_psnr(state.header, state.tensors, state.occupancy, views, TorchOps(self.device))
