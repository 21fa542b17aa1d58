"""Training one frame with its rate (MM 2024; Factor Fields for the dictionary field).

    loss = D + λ (R + M + α |residual| + β |coefficients|)

D  mean squared error over all pixels and channels of the training views, rendered on
   the sequence's background, in units of (full scale)².
R  estimated bits of all tensors that the frame carries,
M  for each element that a mask may drop the bits that keeping it is taken to cost, times
   the sigmoid of its logit (masked wavelet), and
|residual|, |coefficients|  the sums of the absolute values of what is coded on top of the
   frame before and, in I-frames, of what else is coded, in field values. All four are
   divided by the number of training pixels.

Multiplied by the pixels this is MM 2024's Σ‖C − Ĉ‖² + λ (L_rate + α ‖R‖₁). Being per
pixel, λ does not depend on the size of the field, and the published values (7e-4, 1e-3,
2e-3, 5e-3, with α = 10) span the useful range. Which terms apply to which tensor, and
what tools code it, is said by a `CodingPlan` (`refcodec.encoder.systems`).

Where MM 2024 adds uniform noise, values are rounded here as soon as R counts, and gradients
pass straight through: D is that of the file, and step sizes learn from real errors.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from refcodec import fields
from refcodec.encoder.adam import BETAS, BETAS_WITHOUT_RATE, Adam
from refcodec.encoder.checkpoint import copy_each, copy_into
from refcodec.encoder.contexts import ByTensor, RateModel
from refcodec.encoder.fused import FusedShading, serves
from refcodec.encoder.latents import Slot
from refcodec.encoder.loop import Moment, Schedule, TrainedFrame, TrainingProgress, train
from refcodec.encoder.model_selection import ModelSelection, Symbols
from refcodec.encoder.presets import TrainingSettings
from refcodec.encoder.quantiser import Latents, Masks, Quantiser, Support
from refcodec.encoder.rate_term import RateTerm
from refcodec.encoder.rays import ALPHA_WEIGHT, LEAST_WEIGHT, RayBank, TrainingPicture, visual_hull
from refcodec.encoder.systems import CodingPlan, plan as system_plan
from refcodec.entropy.layout import Layout
from refcodec.syntax.coding import FrameType, block_counts
from refcodec.syntax.headers import SequenceHeader
from refcodec.tensors.state import FrameState
from refcodec.writer import FrameCoding

# Shares of the iterations after which empty voxels are pruned, step sizes are frozen, context models take part, and
# grids that are zero are frozen.
_PRUNE_AT, _STEPS_UNTIL, _CONTEXT_START, _FREEZE_FROM = 0.25, 0.8, 0.35, 0.5
_INTER_RATE_START, _LATEST_RATE_START = 0.02, 0.3
_REFRESH = 40  # iterations between refreshes of the distributions
_STEP_RATE = 0.01  # Adam's learning rate for the logarithm of a step size


def train_intra(header: SequenceHeader, pictures: Sequence[TrainingPicture], settings: TrainingSettings, *,
                plan: CodingPlan | None = None, number: int = 0, time_stamp: int = 0, following: int = 0,
                device: torch.device | str = "cpu",
                on_progress: Callable[[TrainingProgress], None] | None = None) -> TrainedFrame:
    """Train an I-frame from nothing. plan: of the tools, None: the usual system's. following: frames of the
    group after it."""
    trainer = FieldTrainer(header, pictures, settings, plan or _usual(header), None, following, device)
    train(trainer, on_progress)
    return trainer.frame(0, number, time_stamp)


def train_inter(header: SequenceHeader, pictures: Sequence[TrainingPicture], settings: TrainingSettings,
                previous: FrameState, *, plan: CodingPlan | None = None, number: int, time_stamp: int,
                following: int = 0, device: torch.device | str = "cpu",
                on_progress: Callable[[TrainingProgress], None] | None = None) -> TrainedFrame:
    """Train a P-frame on the decoder's state after the frame before: residuals of the grids, planes and lines, or their
    values where the plan has no prediction; the networks stay. following: frames of the group after it."""
    trainer = FieldTrainer(header, pictures, settings, plan or _usual(header), previous, following, device)
    train(trainer, on_progress)
    return trainer.frame(0, number, time_stamp)


def _usual(header: SequenceHeader) -> CodingPlan:
    return system_plan("rate-aware", header.representation.name.lower())[0]


def field_schedule(settings: TrainingSettings, inter: bool) -> Schedule:
    """The schedule of an I-frame, or of a P-frame."""
    s = settings
    iterations = s.inter_iterations if inter else s.intra_iterations
    lagrangian = s.lagrangian * (s.inter_lagrangian if inter else 1.0)
    start = (_INTER_RATE_START if inter
             else max(s.rate_start, min(s.rate_after / iterations, _LATEST_RATE_START)))
    return Schedule(iterations, lagrangian if s.rate_loss else 0.0, start, _STEPS_UNTIL, (_PRUNE_AT,))


class FieldTrainer:
    """Trains one frame's field of grids, planes, lines and networks (`loop.Trainer`).

    Its parts: `latents` the trained values, `support` the coefficients that the occupancy lets be coded, `masks` and
    `quantiser` the symbols, `rate` their cost, `rays` the views, `optimiser` the updates.
    """

    def __init__(self, header: SequenceHeader, pictures: Sequence[TrainingPicture], settings: TrainingSettings,
                 plan: CodingPlan, previous: FrameState | None, following: int = 0,
                 device: torch.device | str = "cpu"):
        self.settings, self.previous, self.following = settings, previous, following
        self.schedule = field_schedule(settings, previous is not None)
        device = torch.device(device)
        # Two generators: the host's makes what must not depend on the device.
        generator = torch.Generator(device).manual_seed(settings.seed)
        host_generator = torch.Generator().manual_seed(settings.seed)
        self.generators = generator, host_generator
        self.ops = fields.TorchOps(device, mixed=settings.mixed_precision, compiled=settings.compiled)
        self.shading = None
        on_torch = device.type != "cpu" or settings.mixed_precision or settings.compiled or not settings.fused
        if not on_torch and serves(header):
            self.shading = FusedShading(header, opacity_weight=ALPHA_WEIGHT, least_weight=LEAST_WEIGHT,
                                        threads=torch.get_num_threads())
        self.latents = Latents(header, plan, previous, settings.spread, generator)
        self.masks = Masks(self.latents, settings.first_logit, plan.mask_bits)
        self.quantiser = Quantiser(self.latents, self.masks, settings)
        model = RateModel(self.latents.trained, previous, device, generator, host_generator, settings.activities)
        self.rate = RateTerm(model, self.latents, self.quantiser, self.masks, settings.residual_weight)
        self.rays = RayBank(pictures, header, visual_hull(pictures, header), device, generator)
        self._renew_support()
        self.optimiser = Optimiser(self.latents, self.masks, self.quantiser, settings)
        self.gradient = torch.empty_like(self.latents.values)

    @property
    def pixels(self) -> int:
        return self.rays.pixels

    @property
    def bits(self) -> float:
        return sum(self.rate.model.bits.values())

    def _renew_support(self) -> None:
        self.support = Support(self.latents, self.rays.occupancy)
        self.rate.set_support(self.support)

    def start_rate(self) -> None:
        pass  # values are rounded from the first iteration on whose λ is not 0

    def fix_steps(self) -> None:
        self.quantiser.fix()

    def prepare(self, moment: Moment) -> None:
        if moment.prunes:
            self.set_values(False)
            if self.rays.prune(self.latents.field(self.ops)):
                self._renew_support()
        if self.settings.rate_loss and moment.round % _REFRESH == 0:
            self._refresh(moment)
        self.set_values(bool(moment.lagrangian))

    def set_values(self, quantise: bool) -> None:
        """Fills `latents.work` with the values that the field is evaluated with: those of the file where it is
        quantised. Gradients pass through the rounding as if it were not there."""
        latents = self.latents
        for slot in latents.active:
            work = slot.cells(latents.work)
            if quantise:
                self.quantiser.round(slot)
            else:
                latents.work[slot.part] = latents.values[slot.part]
            if slot.transformed:  # what is not coded reaches coded cells all the same
                work *= slot.cells(self.support.coded)
            if slot in self.masks:
                self.masks.apply(slot)
            if slot.id in latents.predicted and not slot.transformed:
                latents.work[slot.part] += latents.base[slot.cells_part]

    def occlude(self, moment: Moment) -> None:
        self.rays.set_occluders(self.rays.voxel_density(self.latents.field(self.ops), 4).amin(0))

    def descend(self, moment: Moment) -> torch.Tensor:
        share = moment.lagrangian / self.pixels
        error = self.backward()
        self.masks.backward(self.gradient, self.support.coded, share)
        if moment.lagrangian:
            self.rate.backward(self.gradient, moment.round, share)
            if self.settings.learn_steps and moment.learns_steps:
                self.optimiser.learn_steps(self.quantiser.step_gradient(self.gradient, self.rate.by_step * share))
        self.optimiser.step(moment, self.gradient)
        return error

    def backward(self) -> torch.Tensor:
        """Gradient of D on a batch of rays into `gradient`; returns D over all pixels."""
        active = self.latents.active
        if self.shading is None:
            # One leaf a tensor: slices of a single one would each cost a full-length gradient.
            leaves = [slot.grid(self.latents.work).detach().requires_grad_() for slot in active]
            loss, distortion, _ = self.rays.error(self.latents.field(self.ops, leaves), self.settings.rays)
            changes: Sequence[torch.Tensor] = torch.autograd.grad(loss, leaves)
        else:
            distortion, changes = self._fused(self.shading)
        for slot, change in zip(active, changes):
            slot.grid(self.gradient).copy_(change)
            if slot.transformed:
                self.gradient[slot.part] *= self.support.coded[slot.part]
        return distortion

    def _fused(self, shading: FusedShading) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """D of a batch of rays, and the gradients of the active slots, (z, y, x, C)."""
        active, batch = self.latents.active, self.rays.batch(self.settings.rays)
        step = shading(self.latents.tensors(), {slot.id for slot in active}, batch.samples, batch.target,
                       self.rays.share(batch))
        distortion = self.rays.judge(batch, step.error[:, 0], step.error[:, 1])
        return distortion, [slot.adjoint(step.gradients[slot.id]) for slot in active]

    def _refresh(self, moment: Moment) -> None:
        """Recomputes what is not updated in every iteration: ranges, distributions, the active tensors."""
        self.quantiser.follow_ranges(self.support.coded)
        if moment.lagrangian and moment.done >= _CONTEXT_START:
            symbols, selected = self.quantiser.symbols()
            self.rate.model.refresh(symbols, selected)
            if moment.done >= _FREEZE_FROM:
                # Hardly any grid of zeros comes back, and each costs as much as any other.
                for slot in self.latents.grids:
                    if not symbols[slot.id].any():
                        self.latents.freeze(slot)

    def frame(self, member: int, number: int, time_stamp: int) -> TrainedFrame:
        self.quantiser.follow_ranges(self.support.coded)
        steps = self.quantiser.fix()
        flat, selected = self.quantiser.symbols()
        symbols = {s.id: self._symbols(s, steps[s.id], flat, selected) for s in self.latents.trained}
        selection = ModelSelection(self.rate.model, symbols, self.settings.model_iterations,
                                   self.settings.reuse_models, self.following)
        codings = selection.run(flat, selected)
        occupancy = self.rays.occupancy.copy()
        model = selection.occupancy(occupancy) if self.settings.code_occupancy else None
        kind = FrameType.INTER if self.latents.inter else FrameType.INTRA
        coding = FrameCoding(number, kind, time_stamp, occupancy, selection.models, codings, model)
        self.set_values(True)
        return TrainedFrame(coding, selection.estimated, self.rays.shown(self.latents.field(self.ops)))

    def state(self) -> dict[str, Any]:
        return dict(
            values=self.latents.values, active=[s.id for s in self.latents.active], logits=self.masks.logits,
            log_step=self.quantiser.log_step, rate=self.rate.state(), rays=self.rays.state(),
            optimiser=self.optimiser.state(), generators=[g.get_state() for g in self.generators])

    def restore(self, state: dict[str, Any]) -> None:
        copy_into(self.latents.values, state["values"])
        self.latents.active = [s for s in self.latents.trained if s.id in state["active"]]
        copy_each(self.masks.logits, state["logits"])
        copy_into(self.quantiser.log_step, state["log_step"])
        self.rays.restore(state["rays"])
        self._renew_support()
        self.rate.restore(state["rate"])
        self.optimiser.restore(state["optimiser"])
        for generator, known in zip(self.generators, state["generators"], strict=True):
            generator.set_state(known)

    def snapshot(self) -> tuple[list[np.ndarray], np.ndarray]:
        tensors = [t.detach().permute(3, 0, 1, 2).contiguous().cpu().numpy() for t in self.latents.tensors()]
        return tensors, self.rays.occupancy

    def _symbols(self, slot: Slot, steps: Sequence[int], flat: ByTensor, selected: ByTensor) -> Symbols:
        tools, cells = slot.tools(steps, self.latents.prediction(slot)), self.support.cells[slot.id]
        layout = Layout((slot.channels, *slot.shape), self.support.masks.get(slot.id),
                        self.previous.contexts(slot.id, tools) if self.previous is not None else None,
                        None if slot.band is None else slot.band[cells].to(torch.uint8).cpu().numpy(),
                        block_counts(slot.plan.transform, slot.shape))
        return Symbols(
            slot, flat[slot.id].view(-1, slot.channels)[cells].to(torch.int32).cpu().numpy(), tools, layout,
            selected[slot.id][cells].cpu().numpy() if slot.id in selected else None)


class Optimiser:
    """Adam for values, logits and step sizes, which it changes in place.

    Where the field's cells are coded by block DCT, it updates the cells at first. The DCT is orthonormal, but
    for cells that fill up a last block: gradients are transformed like values.
    """

    def __init__(self, latents: Latents, masks: Masks, quantiser: Quantiser, settings: TrainingSettings):
        s, self.latents, self.masks, self.settings = settings, latents, masks, settings
        self.cells = {slot.id: slot.synthesis(slot.grid(latents.values)).contiguous() for slot in latents.trained
                      if slot.plan.transform.by_frequency and s.cells_until > 0}
        # Factors of the updates of coefficients: (cells, 1).
        self.speeds = {slot.id: torch.tensor(slot.band_speeds(), device=latents.device)[slot.band][:, None]
                       for slot in latents.trained if slot.transformed}
        self.grid_rate = s.inter_rate if latents.inter else s.grid_rate
        values = {slot.id: latents.values[slot.part] for slot in latents.trained}
        betas = BETAS if s.rate_loss else BETAS_WITHOUT_RATE
        self.of_values, self.of_cells, self.of_logits, self.of_steps = (
            Adam(parameters, betas, 1e-15)
            for parameters in (values, self.cells, masks.logits, {0: quantiser.log_step}))

    def state(self) -> dict[str, Any]:
        """Moments of all that is trained, and the cells."""
        return dict(cells=self.cells, moments=[adam.state() for adam in self._all()])

    def restore(self, state: dict[str, Any]) -> None:
        copy_each(self.cells, state["cells"])
        for adam, known in zip(self._all(), state["moments"], strict=True):
            adam.restore(known)

    def _all(self) -> tuple[Adam[int], ...]:
        return self.of_values, self.of_cells, self.of_logits, self.of_steps

    def learn_steps(self, gradient: torch.Tensor) -> None:
        """One iteration for the quantisation step sizes. gradient: of their logarithms."""
        self.of_steps.step({0: gradient}, _STEP_RATE)

    def step(self, moment: Moment, gradient: torch.Tensor) -> None:
        """One iteration for everything else. gradient: of the values, flat."""
        s, values, active = self.settings, self.latents.values, self.latents.active
        decay = moment.learning
        in_cells = [slot for slot in active if slot.id in self.cells] if moment.done < s.cells_until else []
        others = [slot for slot in active if slot not in in_cells]
        before = [(slot, slot.cells(values).clone()) for slot in others if slot.transformed]
        self.of_cells.step({slot.id: slot.synthesis(slot.grid(gradient)).contiguous() for slot in in_cells},
                           decay * self.grid_rate)
        self.of_values.step({slot.id: gradient[slot.part] for slot in others if slot.is_grid}, decay * self.grid_rate)
        self.of_values.step({slot.id: gradient[slot.part] for slot in others if not slot.is_grid},
                            decay * s.network_rate)
        self.of_logits.step({slot.id: self.masks.gradients[slot.id] for slot in active if slot in self.masks},
                            decay * s.mask_rate)
        for slot in in_cells:
            slot.grid(values).copy_(slot.analysis(self.cells[slot.id]))
        for slot, old in before:
            now = slot.cells(values)
            torch.lerp(old, now, self.speeds[slot.id], out=now)
