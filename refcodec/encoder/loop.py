"""The training loop over a `Trainer` with a `Schedule`.

The loop is the same for a field of grids (`refcodec.encoder.train`) and for networks alone (`refcodec.encoder.cnerf`);
shares of the iterations and other constants stand here once.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from refcodec.encoder.presets import TrainingSettings
from refcodec.encoder.rays import TrainingPicture
from refcodec.encoder.systems import CodingPlan
from refcodec.syntax.headers import SequenceHeader
from refcodec.tensors.state import FrameState
from refcodec.writer import FrameCoding

_RATE_RAMP = 0.1  # share of the iterations that λ takes to reach its full value
_LAST_RATE = 0.05  # share of the learning rates that is left at the end
_OCCLUSION_EVERY = 50  # iterations between renewals of what is occluded
_REPORT_EVERY = 20
_ERROR_DECAY = 0.95  # of the running mean of D


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """State of a frame's training. psnr: dB over the training views' pixels (all of
    them, not only those drawn); kilobytes: estimated size of the frame's tensors."""

    iteration: int
    iterations: int
    loss: float
    psnr: float
    kilobytes: float


@dataclass(frozen=True, slots=True)
class TrainedFrame:
    """A frame ready to be written, and the estimated bits of each tensor's symbols.

    opacity: what the field shows where the training pictures are opaque, as a share of their opacity; None: unknown.
    """

    coding: FrameCoding
    estimated_bits: dict[int, float]
    opacity: float | None = None


_EMPTY = 0.25  # share of the pictures' opacity below which a field counts as empty


def empty_warning(what: str, opacity: float | None) -> str | None:
    """The warning about a frame or scene, `what`, by its `TrainedFrame.opacity`; None where there is none."""
    if opacity is None or opacity >= _EMPTY:
        return None
    return (f"T01: {what} came out empty: where its training pictures are opaque, it has {100 * opacity:.0f} % of "
            "their opacity. Train longer (more iterations, or a preset that has more); if that does not help, see "
            "whether the box holds the scene (--box) and the masks are those of its objects (--masks)")


@dataclass(frozen=True, slots=True)
class Moment:
    """An iteration, as the schedule sees it.

    member: whose turn it is, of those that are trained together. round: iterations of this member before. done: share
    of all iterations. lagrangian: λ now, 0 before the rate sets in. learning: factor of the learning rates.
    starts_rate, fixes_steps: whether this is the first iteration of that kind. prunes: whether empty voxels go.
    occludes: whether occluders are renewed. learns_steps: whether quantisation step sizes still change.
    """

    member: int
    round: int
    done: float
    lagrangian: float
    learning: float
    starts_rate: bool
    fixes_steps: bool
    prunes: bool
    occludes: bool
    learns_steps: bool


@dataclass(frozen=True, slots=True)
class Schedule:
    """The phases of a training. iterations: of each of `members` that take turns (scenes of one file). lagrangian: λ in
    the end; 0: no rate term. rate_start, steps_until, prune_at: shares of the iterations after which the rate sets in,
    step sizes are frozen, and empty voxels are pruned. warm_up: iterations in which the learning rates rise.
    """

    iterations: int
    lagrangian: float
    rate_start: float
    steps_until: float
    prune_at: Sequence[float]
    members: int = 1
    warm_up: int = 0

    @property
    def total(self) -> int:
        return self.iterations * self.members

    def at(self, iteration: int) -> Moment:
        """An iteration from 0 to `total` - 1."""
        turn, member = divmod(iteration, self.members)
        done = iteration / self.total
        fixed = math.ceil(self.steps_until * self.iterations) * self.members
        learning = _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))
        if self.warm_up:
            learning *= min(1.0, (turn + 1) / self.warm_up)
        return Moment(
            member, turn, done, self.lagrangian * min(1.0, max(0.0, (done - self.rate_start) / _RATE_RAMP)), learning,
            bool(self.lagrangian) and iteration == round(self.rate_start * self.iterations) * self.members,
            bool(self.lagrangian) and iteration == fixed,
            turn in [round(share * self.iterations) for share in self.prune_at],
            turn % _OCCLUSION_EVERY == _OCCLUSION_EVERY - 1, iteration < fixed)


class Trainer(Protocol):
    """A training of one frame, or of scenes that are trained together, as `train` drives it.

    pixels: of the training pictures of all members.
    """

    @property
    def schedule(self) -> Schedule: ...

    @property
    def pixels(self) -> int: ...

    @property
    def bits(self) -> float:
        """Estimated bits of all tensors that the frames carry."""

    def start_rate(self) -> None:
        """The rate sets in."""

    def fix_steps(self) -> None:
        """Freezes the quantisation step sizes at the nearest values that the stream can express."""

    def prepare(self, moment: Moment) -> None:
        """Makes the field's values for the iteration, quantised once the rate has set in; prunes when the schedule says
        so."""

    def occlude(self, moment: Moment) -> None:
        """Recomputes the occluders from the present field."""

    def descend(self, moment: Moment) -> torch.Tensor:
        """One iteration of the optimisers; returns D over all pixels of the member, a tensor of no dimensions."""

    def frame(self, member: int, number: int, time_stamp: int) -> TrainedFrame:
        """A member, trained, as a frame ready to be written."""

    def state(self) -> dict[str, Any]:
        """Everything that the next iterations depend on, between two iterations: tensors, numbers, lists and
        dictionaries of them, which may be those of the trainer itself."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continues from a `state` of a trainer made alike. Raises any of LookupError, TypeError, ValueError,
        RuntimeError for what is none; the trainer is of no use then."""

    def snapshot(self) -> tuple[list[np.ndarray], np.ndarray]:
        """The field of the member trained last: tensors, float32 (C, z, y, x), and occupancy, bool (z, y, x)."""


class TrainerFactory(Protocol):
    """Factory of a frame's trainer. Raises UsageError for what it can't train."""

    def __call__(self, header: SequenceHeader, pictures: Sequence[TrainingPicture], settings: TrainingSettings,
                 plan: CodingPlan, previous: FrameState | None, following: int,
                 device: torch.device | str) -> Trainer:
        """previous: the decoder's state after the frame before, None for an I-frame. following: frames of the group
        after this one."""


def train(trainer: Trainer, on_progress: Callable[[TrainingProgress], None] | None = None,
          after: Callable[[int], None] | None = None, first: int = 0) -> None:
    """Runs a training to its last iteration. after: called behind each, with the number done. first: iterations done
    before, by a trainer whose state this one has."""
    schedule = trainer.schedule
    errors: dict[int, torch.Tensor] = {}  # running mean of D by member
    for i in range(first, schedule.total):
        moment = schedule.at(i)
        if moment.starts_rate:
            trainer.start_rate()
        if moment.fixes_steps:
            trainer.fix_steps()
        trainer.prepare(moment)
        if moment.occludes:
            trainer.occlude(moment)
        error = trainer.descend(moment)
        before = errors.get(moment.member)
        errors[moment.member] = error if before is None else _ERROR_DECAY * before + (1 - _ERROR_DECAY) * error
        if on_progress and (i % _REPORT_EVERY == _REPORT_EVERY - 1 or i + 1 == schedule.total):
            distortion, bits = sum(map(float, errors.values())) / len(errors), trainer.bits
            on_progress(TrainingProgress(
                i + 1, schedule.total,
                distortion + moment.lagrangian * schedule.members / trainer.pixels * bits,
                -10 * math.log10(max(distortion, 1e-10)), bits / 8000))
        if after:
            after(i + 1)
