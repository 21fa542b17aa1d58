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
pass straight through: D is that of the file, and steps learn from real errors.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from refcodec import fields
from refcodec.encoder.adam import BETAS, BETAS_WITHOUT_RATE, Adam
from refcodec.encoder.contexts import ByTensor, RateModel
from refcodec.encoder.finish import Finish, Symbols
from refcodec.encoder.latents import Slot, flatten, integer_step, slots, step_value
from refcodec.encoder.presets import TrainingSettings
from refcodec.encoder.rays import Picture, RayBank, visual_hull
from refcodec.encoder.systems import CodingPlan, Rate, Steps, plan as system_plan
from refcodec.entropy.coder import MAX_SYMBOL
from refcodec.entropy.layout import Layout
from refcodec.syntax.coding import STEPS_PER_OCTAVE, FrameType, Prediction, Transform, block_counts
from refcodec.syntax.headers import SequenceHeader
from refcodec.syntax.representation import Start
from refcodec.tensors.significance import coded_mask
from refcodec.tensors.state import FrameState
from refcodec.tensors.transforms import support_mask
from refcodec.writer import FrameCoding

INTRA, INTER = FrameType.INTRA, FrameType.INTER
# Shares of the iterations: when empty voxels go, how long the rate takes to set in, from when on steps stay.
_PRUNE_AT, _RATE_RAMP, _STEPS_UNTIL = 0.25, 0.1, 0.8
_CONTEXT_START, _INTER_RATE_START, _LATEST_RATE_START = 0.35, 0.02, 0.3
_RETIRE_FROM = 0.5  # share of the iterations after which grids that are zero are left out
_LAST_RATE = 0.05  # what is left of the learning rates at the end
_STEP_RATE = 0.01  # Adam's learning rate for the logarithm of a step
_REFRESH = 40  # iterations between refreshes of the distributions
_RANGE_STEPS = 127  # steps from zero to the largest value, where steps follow the range
_SMALLEST_STEP = 2.0**-14
_OCCLUSION_EVERY = 50


@dataclass(frozen=True, slots=True)
class Progress:
    """State of a frame's training. psnr: dB over the training views' pixels (all of
    them, not only those drawn); kilobytes: estimated size of the frame's tensors."""

    iteration: int
    iterations: int
    loss: float
    psnr: float
    kilobytes: float


@dataclass(frozen=True, slots=True)
class TrainedFrame:
    """A frame ready to be written, and the estimated bits of each tensor's symbols."""

    coding: FrameCoding
    estimated_bits: dict[int, float]


def train_intra(header: SequenceHeader, pictures: Sequence[Picture], settings: TrainingSettings, *,
                plan: CodingPlan | None = None, number: int = 0, time_stamp: int = 0, following: int = 0,
                device: torch.device | str = "cpu",
                on_progress: Callable[[Progress], None] | None = None) -> TrainedFrame:
    """Train an I-frame from nothing. plan: of the tools, None: the rate-aware system's. following: frames of the
    group after it."""
    return _Training(header, pictures, settings, plan, None, device, on_progress, following).run(number, time_stamp)


def train_inter(header: SequenceHeader, pictures: Sequence[Picture], settings: TrainingSettings,
                previous: FrameState, *, plan: CodingPlan | None = None, number: int, time_stamp: int,
                following: int = 0, device: torch.device | str = "cpu",
                on_progress: Callable[[Progress], None] | None = None) -> TrainedFrame:
    """Train a P-frame on the decoder's state after the frame before: residuals of the grids,
    planes and lines, or those anew that the plan wants so; the networks stay. following: frames of the group behind."""
    return _Training(header, pictures, settings, plan, previous, device, on_progress, following).run(number, time_stamp)


class _Training:
    """State of one frame's training. Vectors are flat over all tensors (`latents.Slot`)."""

    def __init__(self, header: SequenceHeader, pictures: Sequence[Picture], settings: TrainingSettings,
                 plan: CodingPlan | None, previous: FrameState | None, device: torch.device | str,
                 on_progress: Callable[[Progress], None] | None, following: int = 0):
        self.header, self.settings, self.previous, self.following = header, settings, previous, following
        self.plan = plan or system_plan(representation=header.representation.name.lower())[0]
        self.on_progress = on_progress
        self.device = torch.device(device)
        self.inter = previous is not None
        self.lagrangian = settings.lagrangian * (settings.inter_lagrangian if self.inter else 1.0)
        self.iterations = settings.inter_iterations if self.inter else settings.intra_iterations
        # Two generators: the host's makes what must not depend on the device.
        self.generator = torch.Generator(self.device).manual_seed(settings.seed)
        self.host_generator = torch.Generator().manual_seed(settings.seed)
        self.ops = fields.TorchOps(self.device, mixed=settings.mixed_precision, compiled=settings.compiled)

        self.slots = slots(header, [self.plan.of(info) for info in header.tensors], self.device)
        self.grids = [s for s in self.slots if s.is_grid]
        self.trained = self.grids if self.inter else self.slots
        self.total = self.trained[-1].part.stop
        # What the trained values are added to, and the networks of a P-frame.
        cells = self.slots[-1].cells_part.stop
        self.base = (flatten(header, previous.tensors, self.device) if previous is not None
                     else torch.zeros(cells, device=self.device))
        self.predicted = {s.id for s in self.trained if self._prediction(s) == Prediction.PREVIOUS}
        # Slots that still take part. What is zero before a P-frame, or half-way (`_retire`), stays so.
        # Where all of it is zero there is no better guess than that anything may change.
        self.active = [s for s in self.trained
                       if s.id not in self.predicted or bool(s.reconstructed(self.base).any())] or list(self.trained)
        self.values = self._initial_values()
        self.log_step = self._initial_steps()
        self.work = torch.empty_like(self.values)
        self.rounding = torch.zeros_like(self.values)
        self.rate_gradient = torch.zeros_like(self.values)
        self.step_rate = torch.zeros_like(self.log_step)
        self.rate = RateModel(self.trained, previous, self.device, self.generator, self.host_generator,
                              settings.energies)
        # A mask has a logit for each coefficient; `unmasked` keeps what it is applied to.
        self.masked = [s for s in self.trained if s.plan.masks]
        self.logits = {s.id: torch.full((s.size,), settings.first_logit, device=self.device) for s in self.masked}
        self.unmasked: dict[int, torch.Tensor] = {}
        # Of the optimiser's steps on coefficients, the parts that are taken: (cells, 1).
        self.speeds = {s.id: torch.tensor(s.band_speeds(), device=self.device)[s.band][:, None]
                       for s in self.trained if s.transformed}

        occupancy = visual_hull(pictures, header)
        self.rays = RayBank(pictures, header, occupancy, self.device, self.generator)
        self._mark_coded()

    def _prediction(self, slot: Slot) -> Prediction:
        return self.plan.inter_prediction(slot.info) if self.inter else Prediction.NONE

    def _initial_values(self) -> torch.Tensor:
        """Zero residuals; the frame before, as new values; in an I-frame the usual random starts."""
        values = torch.zeros(self.total, device=self.device)
        for slot in self.trained:
            if slot.id in self.predicted:
                continue
            if self.inter:
                slot.grid(values).copy_(slot.analysis(slot.reconstructed(self.base)))
                slot.reconstructed(self.base).zero_()
                continue
            part = torch.zeros((*slot.info.shape[1:], slot.channels), device=self.device)
            match slot.info.role.start:
                case Start.ONE:
                    part.fill_(1.0)
                case Start.RANDOM:
                    part.normal_(0, self.settings.spread, generator=self.generator)
                case Start.FAN_IN:
                    bound = 1 / math.sqrt(slot.info.shape[3])
                    part.uniform_(-bound, bound, generator=self.generator)
            slot.grid(values).copy_(slot.analysis(part))
        return values

    def _initial_steps(self) -> torch.Tensor:
        """Logarithms of the steps: of equal error in the reconstructed values for all bands of a grid."""
        steps, first = [], self.settings.inter_step if self.inter else self.settings.initial_step
        for slot in self.slots:
            if slot.is_grid:
                steps += [first / gain for gain in slot.band_gains()]
            else:
                # Not coarser than grids that are as good as unquantised.
                steps.append(min(first, 2.0**-6 if slot.info.role.start == Start.FAN_IN else 2.0**-8))
        return torch.tensor([math.log(s) for s in steps], device=self.device)

    def _mark_coded(self) -> None:
        """Finds the coefficients that the occupancy lets be coded."""
        self.masks = {s.id: support_mask(s.plan.transform, s.levels,
                                         coded_mask(self.header, s.info, self.rays.occupancy)) for s in self.grids}
        self.coded = torch.ones_like(self.values)
        cells = {}
        for slot in self.trained:
            if slot.is_grid:
                found = self.masks[slot.id].reshape(-1)
                cells[slot.id] = torch.from_numpy(np.flatnonzero(found)).to(self.device)
                slot.cells(self.coded)[:] = torch.from_numpy(found[:, None].astype(np.float32)).to(self.device)
            else:
                cells[slot.id] = torch.arange(slot.size // slot.channels, device=self.device)
        self.rate.cells = cells
        # Weight of the sign of each value in the gradient, as a share of λ / pixels.
        self.magnitude: torch.Tensor | None = None
        weights = [self._magnitude_weight(s) for s in self.trained]
        if any(weights):
            self.magnitude = self.coded.clone()
            for slot, weight in zip(self.trained, weights):
                self.magnitude[slot.part] *= weight

    def _magnitude_weight(self, slot: Slot) -> float:
        if slot.id in self.predicted:
            return self.settings.residual_weight
        return self.plan.sparsity if slot.transformed else 0.0

    # The loop.

    def run(self, number: int, time_stamp: int) -> TrainedFrame:
        s, descent = self.settings, _Descent(self)
        gradient = torch.empty_like(self.values)
        mask_gradients = {i: torch.zeros_like(logits) for i, logits in self.logits.items()}
        mean_error = None
        for i in range(self.iterations):
            done = i / self.iterations
            weight, learning = self._rate_weight(done), s.learn_steps and done < _STEPS_UNTIL
            share = weight / self.rays.pixels
            if weight and done >= _STEPS_UNTIL and (i - 1) / self.iterations < _STEPS_UNTIL:
                self._fix_steps()  # what follows adapts the values to them
            if i == round(_PRUNE_AT * self.iterations):
                self._prune()
            if s.rate_loss and i % _REFRESH == 0:
                self._refresh(weight, done)
            self._quantised_values(bool(weight))
            if i % _OCCLUSION_EVERY == _OCCLUSION_EVERY - 1:
                self.rays.set_occluders(self.rays.voxel_density(self._field(), 4).amin(0))
            error = self._backward(gradient)
            self._mask_gradients(gradient, mask_gradients, share)
            if weight:
                self._add_rate(gradient, i, share)
                if learning:
                    descent.learn_steps(self._step_gradient(gradient, share))
            descent.step(done, gradient, mask_gradients)
            mean_error = error if mean_error is None else 0.95 * mean_error + 0.05 * error
            if self.on_progress and (i % 20 == 19 or i + 1 == self.iterations):
                d, bits = float(mean_error), sum(self.rate.bits.values())
                self.on_progress(Progress(i + 1, self.iterations, d + share * bits,
                                          -10 * math.log10(max(d, 1e-10)), bits / 8000))
        return self._finish(number, time_stamp)

    def _rate_weight(self, done: float) -> float:
        """λ after a share of the iterations: it sets in gently."""
        s = self.settings
        start = (_INTER_RATE_START if self.inter
                 else max(s.rate_start, min(s.rate_after / self.iterations, _LATEST_RATE_START)))
        return self.lagrangian * min(1.0, max(0.0, (done - start) / _RATE_RAMP)) if s.rate_loss else 0.0

    def _refresh(self, weight: float, done: float) -> None:
        """Renews what follows the values only now and then: ranges, distributions, the tensors that take part."""
        self._follow_ranges()
        if weight and done >= _CONTEXT_START:
            symbols, selected = self._symbols()
            self.rate.refresh(symbols, selected)
            if done >= _RETIRE_FROM:
                self._retire(symbols)

    def _add_rate(self, gradient: torch.Tensor, iteration: int, share: float) -> None:
        """Adds the gradients of the rate and of the magnitudes. share: λ over the pixels."""
        self._rate_slopes(iteration)
        for part in (slot.part for slot in self.active):
            gradient[part].add_(self.rate_gradient[part], alpha=share)
            if self.magnitude is not None:
                gradient[part].add_(torch.sign(self.values[part]) * self.magnitude[part], alpha=share)

    def _step_gradient(self, gradient: torch.Tensor, share: float) -> torch.Tensor:
        """Gradient with respect to the logarithms of the steps: roundings take them to the error (Esser et al. 2020,
        "Learned step size quantization"), sizes to the rate."""
        found = self.step_rate * share
        for slot in self.active:
            if slot.plan.steps == Steps.LEARNED:
                change = slot.by_band(gradient[slot.part], self.rounding[slot.part])
                found[slot.bands] += change * torch.exp(self.log_step[slot.bands])
        return found

    def _step(self, slot: Slot) -> torch.Tensor | float:
        """Step of every cell of a tensor: (cells, 1), or the number where there is one band."""
        if slot.band is None:
            return math.exp(float(self.log_step[slot.bands.start]))
        return slot.per_cell(torch.exp(self.log_step))

    def _kept(self, slot: Slot) -> torch.Tensor:
        """Whether the mask keeps each coefficient, bool (cells, C)."""
        return (self.logits[slot.id] >= 0).view(-1, slot.channels)

    def _quantised_values(self, quantise: bool) -> None:
        """Fills `work` with what the field is to be evaluated with, and `rounding` with what rounding adds, in steps.

        Gradients pass through the rounding as if it were not there.
        """
        for slot in self.active:
            part, work = slot.part, slot.cells(self.work)
            if quantise:
                step = self._step(slot)
                x = self._in_steps(slot, step)
                rounded = self._nearest(slot, x)
                torch.sub(rounded, x, out=self.rounding[part])
                torch.mul(rounded.view_as(work), step, out=work)
            else:
                self.work[part] = self.values[part]
            if slot.transformed:  # what is not coded reaches coded cells all the same
                work *= slot.cells(self.coded)
            if slot.id in self.logits:
                self.unmasked[slot.id] = self.work[part].clone()
                work *= self._kept(slot)
            if slot.id in self.predicted and not slot.transformed:
                self.work[part] += self.base[slot.cells_part]

    def _in_steps(self, slot: Slot, step: torch.Tensor | float) -> torch.Tensor:
        """Values of a tensor over their steps, flat. step: `_step` of it."""
        return (slot.cells(self.values) / step).view(-1)

    def _nearest(self, slot: Slot, v: torch.Tensor) -> torch.Tensor:
        """Quantised values, float: to the nearest, with a dead zone that favours zero where zeros are cheap."""
        if not self.settings.rate_loss or slot.plan.rate == Rate.NONE:
            return torch.floor(v + 0.5)
        return torch.sign(v) * torch.floor(v.abs() + (0.5 - self.settings.dead_zone))

    def _symbols(self) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor]]:
        """Quantised values of all trained tensors, zero where a mask drops them, and the masks."""
        symbols = {s.id: self._nearest(s, self._in_steps(s, self._step(s))).clamp(-MAX_SYMBOL, MAX_SYMBOL)
                   for s in self.trained}
        selected = {}
        for slot in self.masked:
            # What is zero anyway is told by the mask.
            selected[slot.id] = self._kept(slot) & (symbols[slot.id] != 0).view(-1, slot.channels)
            symbols[slot.id] *= selected[slot.id].view(-1)
        return symbols, selected

    def _follow_ranges(self) -> None:
        """Steps that are a part of the range of their band's values."""
        for slot in self.trained:
            if slot.plan.steps != Steps.RANGE:
                continue
            size = slot.cells(self.values).abs() * slot.cells(self.coded)
            if slot.id in self.logits:
                size = size * self._kept(slot)
            largest = size.new_zeros(slot.band_count)
            size = size.amax(1)
            if slot.band is None:
                largest[0] = size.amax()
            else:
                largest.scatter_reduce_(0, slot.band, size, "amax")
            # The next step that the stream can express, so that there are no more of them in the range.
            steps = torch.log2((largest / _RANGE_STEPS).clamp(min=_SMALLEST_STEP))
            self.log_step[slot.bands] = torch.ceil(steps * STEPS_PER_OCTAVE - 1e-3) * (math.log(2) / STEPS_PER_OCTAVE)

    def _field(self, leaves: Sequence[torch.Tensor] = ()) -> fields.RadianceField:
        """The field of the values in `work`; leaves: (z, y, x, C), to differentiate instead."""
        tensors = {}
        for slot, leaf in zip(self.active, leaves or [slot.grid(self.work) for slot in self.active]):
            values = slot.synthesis(leaf)
            if slot.transformed and slot.id in self.predicted:
                values = values + slot.reconstructed(self.base)
            tensors[slot.id] = values
        for slot in self.slots:
            if slot.id not in tensors:
                tensors[slot.id] = slot.reconstructed(self.base)
        return fields.build(self.header, [tensors[s.id].permute(3, 0, 1, 2) for s in self.slots], self.ops)

    def _backward(self, gradient: torch.Tensor) -> torch.Tensor:
        """Gradient of D on a batch of rays into `gradient`; returns D over all pixels."""
        # One leaf a tensor: slices of a single one would each cost a full-length gradient.
        leaves = [slot.grid(self.work).detach().requires_grad_() for slot in self.active]
        loss, distortion, _ = self.rays.error(self._field(leaves), self.settings.rays)
        for slot, change in zip(self.active, torch.autograd.grad(loss, leaves)):
            slot.grid(gradient).copy_(change)
            if slot.transformed:
                gradient[slot.part] *= self.coded[slot.part]
        return distortion

    def _mask_gradients(self, gradient: torch.Tensor, out: dict[int, torch.Tensor], weight: float) -> None:
        """Gradients of the logits, as if the mask were their sigmoid; zeroes those of dropped coefficients."""
        for slot in self.masked:
            if slot not in self.active:
                continue
            share = torch.sigmoid(self.logits[slot.id])
            change = gradient[slot.part] * self.unmasked[slot.id]
            change += self.coded[slot.part] * (weight * self.plan.mask_bits)
            torch.mul(change, share * (1 - share), out=out[slot.id])
            slot.cells(gradient).mul_(self._kept(slot))

    # Rate.

    def _rate_slopes(self, iteration: int) -> None:
        """Renews the derivative of the rate for a quarter of the tensors: it changes slowly."""
        for slot in self._quarters()[iteration % 4]:
            if slot.plan.rate == Rate.NONE:
                continue
            step = self._step(slot)
            x = self._in_steps(slot, step)
            slope = self.rate.slope(slot, x)
            if slot.id in self.logits:
                slope *= self._kept(slot).view(-1)
            self.step_rate[slot.bands] = -slot.by_band(slope, x)
            torch.div(slope.view(-1, slot.channels), step, out=slot.cells(self.rate_gradient))

    def _quarters(self) -> list[list[Slot]]:
        parts: list[list[Slot]] = [[], [], [], []]
        sizes = [0] * 4
        for slot in sorted(self.active, key=lambda s: -s.size):
            k = sizes.index(min(sizes))
            parts[k].append(slot)
            sizes[k] += slot.size
        return parts

    def _retire(self, symbols: dict[int, torch.Tensor]) -> None:
        """Leaves out the grids all of whose symbols are zero: hardly any comes back, and each costs as
        much as any other."""
        for slot in self.grids:
            if slot in self.active and not symbols[slot.id].any() and len(self.active) > 1:
                self.active.remove(slot)
                self.values[slot.part] = 0.0

    # Occupancy.

    def _prune(self) -> None:
        """Drops the voxels that turn out to be empty."""
        self._quantised_values(False)
        if self.rays.prune(self._field()):
            self._mark_coded()

    # Coding.

    def _finish(self, number: int, time_stamp: int) -> TrainedFrame:
        self._follow_ranges()
        steps = self._fix_steps()
        flat, selected = self._symbols()
        symbols = {s.id: self._of_tensor(s, steps[s.id], flat[s.id], selected.get(s.id)) for s in self.trained}
        finish = Finish(self.rate, symbols, self.settings.model_iterations, self.settings.reuse_models, self.following)
        codings = finish.run(flat, selected)
        occupancy = self.rays.occupancy.copy()
        model = finish.occupancy(occupancy) if self.settings.code_occupancy else None
        coding = FrameCoding(number, INTER if self.inter else INTRA, time_stamp, occupancy, finish.models, codings,
                             model)
        return TrainedFrame(coding, finish.estimated)

    def _fix_steps(self) -> dict[int, list[int]]:
        """Takes the nearest steps that the stream can express: `step_index` of each tensor's bands."""
        steps = {}
        for slot in self.trained:
            steps[slot.id] = [integer_step(math.exp(v), slot.info.frac_bits)
                              for v in self.log_step[slot.bands].tolist()]
            self.log_step[slot.bands] = torch.tensor(
                [math.log(step_value(step, slot.info.frac_bits)) for step in steps[slot.id]], device=self.device)
        return steps

    def _of_tensor(self, slot: Slot, steps: Sequence[int], flat: torch.Tensor,
                   selected: torch.Tensor | None) -> Symbols:
        tools, cells = slot.tools(steps, self._prediction(slot)), self.rate.cells[slot.id]
        layout = Layout((slot.channels, *slot.shape), self.masks.get(slot.id),
                        self.previous.contexts(slot.id, tools) if self.previous is not None else None,
                        None if slot.band is None else slot.band[cells].to(torch.uint8).cpu().numpy(),
                        block_counts(slot.plan.transform, slot.shape))
        return Symbols(
            slot, flat.view(-1, slot.channels)[cells].to(torch.int32).cpu().numpy(), tools, layout,
            None if selected is None else selected[cells].cpu().numpy())


class _Descent:
    """The optimisers of a training, which change its values, logits and steps in place.

    Where the field's cells are coded by block DCT, steps are taken in the cells at first. The DCT is orthonormal, but
    for cells that fill up a last block: gradients are transformed like values.
    """

    def __init__(self, training: _Training):
        t, s = training, training.settings
        self.training = t
        self.cells = {slot.id: slot.synthesis(slot.grid(t.values)).contiguous()
                      for slot in t.trained if slot.plan.transform == Transform.BLOCK_DCT and s.cells_until > 0}
        self.grid_rate = s.inter_rate if t.inter else s.grid_rate
        values = {slot.id: t.values[slot.part] for slot in t.trained}
        betas = BETAS if s.rate_loss else BETAS_WITHOUT_RATE
        self.of_values, self.of_cells, self.of_logits, self.of_steps = (
            Adam(parameters, betas, 1e-15) for parameters in (values, self.cells, t.logits, {0: t.log_step}))

    def learn_steps(self, gradient: torch.Tensor) -> None:
        """A step of the quantisation steps. gradient: of their logarithms."""
        self.of_steps.step({0: gradient}, _STEP_RATE)

    def step(self, done: float, gradient: torch.Tensor, mask_gradients: ByTensor) -> None:
        """A step of everything else, after a share of the iterations."""
        t, s = self.training, self.training.settings
        decay = _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))
        in_cells = [slot for slot in t.active if slot.id in self.cells] if done < s.cells_until else []
        others = [slot for slot in t.active if slot not in in_cells]
        before = {slot.id: slot.cells(t.values).clone() for slot in others if slot.transformed}
        self.of_cells.step({slot.id: slot.synthesis(slot.grid(gradient)).contiguous() for slot in in_cells},
                           decay * self.grid_rate)
        self.of_values.step({slot.id: gradient[slot.part] for slot in others if slot.is_grid}, decay * self.grid_rate)
        self.of_values.step({slot.id: gradient[slot.part] for slot in others if not slot.is_grid},
                            decay * s.network_rate)
        self.of_logits.step({slot.id: mask_gradients[slot.id] for slot in t.active if slot.id in t.logits},
                            decay * s.mask_rate)
        for slot in in_cells:
            slot.grid(t.values).copy_(slot.analysis(self.cells[slot.id]))
        for i, old in before.items():
            values = t.slots[i].cells(t.values)
            torch.lerp(old, values, t.speeds[i], out=values)
