"""Quantisation, masks and support in training: from trained values to those that the field is evaluated with.

Vectors are flat over all tensors (`latents.Slot`).
"""
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from refcodec import fields
from refcodec.encoder.latents import Slot, flatten, integer_step, slots, step_value
from refcodec.encoder.presets import TrainingSettings
from refcodec.encoder.systems import CodingPlan, Rate, Steps
from refcodec.entropy.coder import MAX_SYMBOL
from refcodec.syntax.coding import STEPS_PER_OCTAVE, Prediction
from refcodec.syntax.headers import SequenceHeader
from refcodec.syntax.representation import Start
from refcodec.tensors.significance import coded_mask
from refcodec.tensors.state import FrameState
from refcodec.tensors.transforms import support_mask

_RANGE_STEPS = 127  # step sizes from zero to the largest value, where they follow the range
_SMALLEST_STEP = 2.0**-14


class Latents:
    """The trained values of a frame, and the field that they make with what the frame before has.

    slots: of all tensors; grids: of those that are not layers; trained: all in an I-frame, the grids in a P-frame.
    values: flat over the trained slots. base: reconstructed values that residuals are added to, and the networks of a
    P-frame. predicted: tensor_ids with a residual. active: slots that still take part; the others are frozen at zero.
    work: values as the field is evaluated with.
    """

    def __init__(self, header: SequenceHeader, plan: CodingPlan, previous: FrameState | None, spread: float,
                 generator: torch.Generator):
        self.header, self.plan, self.device = header, plan, generator.device
        self.inter = previous is not None
        self.slots = slots(header, [plan.of(info) for info in header.tensors], self.device)
        self.grids = [s for s in self.slots if s.is_grid]
        self.trained = self.grids if self.inter else self.slots
        self.total = self.trained[-1].part.stop
        self.base = (flatten(header, previous.tensors, self.device) if previous is not None
                     else torch.zeros(self.slots[-1].cells_part.stop, device=self.device))
        self.predicted = {s.id for s in self.trained if self.prediction(s) == Prediction.PREVIOUS}
        # A residual of what is zero starts out frozen. Where all of it is zero, all of it takes part: nothing tells
        # which of it may change.
        self.active = [s for s in self.trained
                       if s.id not in self.predicted or bool(s.reconstructed(self.base).any())] or list(self.trained)
        self.values = self._start(spread, generator)
        self.work = torch.empty_like(self.values)

    def prediction(self, slot: Slot) -> Prediction:
        return self.plan.inter_prediction(slot.info) if self.inter else Prediction.NONE

    def _start(self, spread: float, generator: torch.Generator) -> torch.Tensor:
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
                    part.normal_(0, spread, generator=generator)
                case Start.FAN_IN:
                    bound = 1 / math.sqrt(slot.info.shape[3])
                    part.uniform_(-bound, bound, generator=generator)
            slot.grid(values).copy_(slot.analysis(part))
        return values

    def freeze(self, slot: Slot) -> None:
        """Freezes a slot at zero and excludes it from the optimisation; the last active one stays."""
        if slot in self.active and len(self.active) > 1:
            self.active.remove(slot)
            self.values[slot.part] = 0.0

    def tensors(self, leaves: Sequence[torch.Tensor] = ()) -> list[torch.Tensor]:
        """Real values (z, y, x, C) of all tensors, from `work`; leaves: (z, y, x, C) for each active slot, to
        differentiate instead."""
        found = {}
        for slot, leaf in zip(self.active, leaves or [slot.grid(self.work) for slot in self.active]):
            values = slot.synthesis(leaf)
            if slot.transformed and slot.id in self.predicted:
                values = values + slot.reconstructed(self.base)
            found[slot.id] = values
        return [found[s.id] if s.id in found else s.reconstructed(self.base) for s in self.slots]

    def field(self, ops: fields.TorchOps, leaves: Sequence[torch.Tensor] = ()) -> fields.RadianceField[torch.Tensor]:
        """The field of `tensors`."""
        return fields.build(self.header, [t.permute(3, 0, 1, 2) for t in self.tensors(leaves)], ops)


class Support:
    """The coefficients that an occupancy lets be coded (spec 7.4).

    masks: bool (z, y, x) by tensor_id, of grids. cells: raster numbers of coded cells by tensor_id, of trained
    tensors. coded: 1.0 or 0.0, flat.
    """

    def __init__(self, latents: Latents, occupancy: np.ndarray):
        device = latents.device
        self.masks = {s.id: support_mask(s.plan.transform, s.levels, coded_mask(latents.header, s.info, occupancy))
                      for s in latents.grids}
        self.coded = torch.ones_like(latents.values)
        self.cells: dict[int, torch.Tensor] = {}
        for slot in latents.trained:
            if slot.is_grid:
                found = self.masks[slot.id].reshape(-1)
                self.cells[slot.id] = torch.from_numpy(np.flatnonzero(found)).to(device)
                slot.cells(self.coded)[:] = torch.from_numpy(found[:, None].astype(np.float32)).to(device)
            else:
                self.cells[slot.id] = torch.arange(slot.size // slot.channels, device=device)


class Masks:
    """Trained masks of coefficients (masked wavelet): a logit for each, which is kept where that is not negative.

    logits, gradients: flat by tensor_id.
    """

    def __init__(self, latents: Latents, first_logit: float, bits: float):
        """bits: assumed cost of keeping a coefficient."""
        self.latents, self.bits = latents, bits
        self.slots = [s for s in latents.trained if s.plan.masks]
        self.logits = {s.id: torch.full((s.size,), first_logit, device=latents.device) for s in self.slots}
        self.gradients = {i: torch.zeros_like(logits) for i, logits in self.logits.items()}
        self._unmasked: dict[int, torch.Tensor] = {}

    def __contains__(self, slot: Slot) -> bool:
        return slot.id in self.logits

    def kept(self, slot: Slot) -> torch.Tensor:
        """Whether the mask keeps each coefficient, bool (cells, C)."""
        return (self.logits[slot.id] >= 0).view(-1, slot.channels)

    def apply(self, slot: Slot) -> None:
        """Zeroes what the mask drops in `work`."""
        self._unmasked[slot.id] = self.latents.work[slot.part].clone()
        slot.cells(self.latents.work).mul_(self.kept(slot))

    def backward(self, gradient: torch.Tensor, coded: torch.Tensor, share: float) -> None:
        """Gradients of the logits, as if the mask were their sigmoid; zeroes those of dropped coefficients.

        share: λ over the pixels.
        """
        for slot in self.slots:
            if slot not in self.latents.active:
                continue
            sigmoid = torch.sigmoid(self.logits[slot.id])
            change = gradient[slot.part] * self._unmasked[slot.id]
            change += coded[slot.part] * (share * self.bits)
            torch.mul(change, sigmoid * (1 - sigmoid), out=self.gradients[slot.id])
            slot.cells(gradient).mul_(self.kept(slot))


class Quantiser:
    """Quantisation step sizes of all bands, and rounding by them.

    log_step: natural logarithms, one for each band of all slots. rounding: error of the last rounding, in step sizes,
    flat.
    """

    def __init__(self, latents: Latents, masks: Masks, settings: TrainingSettings):
        self.latents, self.masks = latents, masks
        # Without the rate in the loss zeros are not cheaper than other values.
        self.dead_zone = settings.dead_zone if settings.rate_loss else None
        self.rounding = torch.zeros_like(latents.values)
        first = settings.inter_step if latents.inter else settings.initial_step
        steps: list[float] = []
        for slot in latents.slots:
            if slot.is_grid:  # of equal error in the reconstructed values for all bands
                steps += [first / gain for gain in slot.band_gains()]
            else:  # not coarser than grids that are as good as unquantised
                steps.append(min(first, 2.0**-6 if slot.info.role.start == Start.FAN_IN else 2.0**-8))
        self.log_step = torch.tensor([math.log(s) for s in steps], device=latents.device)

    def step(self, slot: Slot) -> torch.Tensor | float:
        """Step size of every cell of a tensor: (cells, 1), or the number where there is one band."""
        if slot.band is None:
            return math.exp(float(self.log_step[slot.bands.start]))
        return slot.per_cell(torch.exp(self.log_step))

    def in_steps(self, slot: Slot, step: torch.Tensor | float) -> torch.Tensor:
        """Values of a tensor over their step sizes, flat. step: as `step` gives it."""
        return (slot.cells(self.latents.values) / step).view(-1)

    def nearest(self, slot: Slot, v: torch.Tensor) -> torch.Tensor:
        """Quantised values, float: to the nearest, with a dead zone that favours zero where zeros are cheap."""
        if self.dead_zone is None or slot.plan.rate == Rate.NONE:
            return torch.floor(v + 0.5)
        return torch.sign(v) * torch.floor(v.abs() + (0.5 - self.dead_zone))

    def round(self, slot: Slot) -> None:
        """Fills `work` with the tensor's rounded values."""
        work, step = slot.cells(self.latents.work), self.step(slot)
        x = self.in_steps(slot, step)
        rounded = self.nearest(slot, x)
        torch.sub(rounded, x, out=self.rounding[slot.part])
        torch.mul(rounded.view_as(work), step, out=work)

    def symbols(self) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor]]:
        """Quantised values of all trained tensors, zero where a mask drops them, and the masks."""
        symbols = {s.id: self.nearest(s, self.in_steps(s, self.step(s))).clamp(-MAX_SYMBOL, MAX_SYMBOL)
                   for s in self.latents.trained}
        selected = {}
        for slot in self.masks.slots:
            # What is zero anyway is told by the mask.
            selected[slot.id] = self.masks.kept(slot) & (symbols[slot.id] != 0).view(-1, slot.channels)
            symbols[slot.id] *= selected[slot.id].view(-1)
        return symbols, selected

    def step_gradient(self, gradient: torch.Tensor, of_rate: torch.Tensor) -> torch.Tensor:
        """Gradient with respect to `log_step`: roundings take them to the error (Esser et al. 2020, "Learned step size
        quantization"), sizes to the rate. gradient: of the values; of_rate: of the rate by `log_step`."""
        found = of_rate.clone()
        for slot in self.latents.active:
            if slot.plan.steps == Steps.LEARNED:
                change = slot.by_band(gradient[slot.part], self.rounding[slot.part])
                found[slot.bands] += change * torch.exp(self.log_step[slot.bands])
        return found

    def follow_ranges(self, coded: torch.Tensor) -> None:
        """Renews the step sizes that are a part of the range of their band's values."""
        for slot in self.latents.trained:
            if slot.plan.steps != Steps.RANGE:
                continue
            size = slot.cells(self.latents.values).abs() * slot.cells(coded)
            if slot in self.masks:
                size = size * self.masks.kept(slot)
            largest = size.new_zeros(slot.band_count)
            size = size.amax(1)
            if slot.band is None:
                largest[0] = size.amax()
            else:
                largest.scatter_reduce_(0, slot.band, size, "amax")
            # The next step size that the stream can express, so that there are no more of them in the range.
            steps = torch.log2((largest / _RANGE_STEPS).clamp(min=_SMALLEST_STEP))
            self.log_step[slot.bands] = torch.ceil(steps * STEPS_PER_OCTAVE - 1e-3) * (math.log(2) / STEPS_PER_OCTAVE)

    def fix(self) -> dict[int, list[int]]:
        """Takes the nearest step sizes that the stream can express: `step_index` of each trained tensor's bands."""
        steps = {}
        for slot in self.latents.trained:
            steps[slot.id] = [integer_step(math.exp(v), slot.info.frac_bits)
                              for v in self.log_step[slot.bands].tolist()]
            self.log_step[slot.bands] = torch.tensor(
                [math.log(step_value(step, slot.info.frac_bits)) for step in steps[slot.id]],
                device=self.latents.device)
        return steps
