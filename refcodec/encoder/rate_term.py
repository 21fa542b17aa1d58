"""The rate and magnitude terms of a field's loss: their gradients, renewed where they change slowly."""
from __future__ import annotations

from typing import Any

import torch

from refcodec.encoder.checkpoint import copy_into
from refcodec.encoder.contexts import RateModel
from refcodec.encoder.latents import Slot
from refcodec.encoder.quantiser import Latents, Masks, Quantiser, Support
from refcodec.encoder.systems import Rate

_PARTS = 4  # of the tensors, of which one is renewed each iteration


class RateTerm:
    """λ (R + α |residual| + β |coefficients|), see `refcodec.encoder.train`.

    model: of the probabilities. by_step: derivative of the bits by the logarithms of the step sizes.
    residual_weight: α.
    """

    def __init__(self, model: RateModel, latents: Latents, quantiser: Quantiser, masks: Masks,
                 residual_weight: float):
        self.model, self.latents, self.quantiser, self.masks = model, latents, quantiser, masks
        self.residual_weight = residual_weight
        self.by_value = torch.zeros_like(latents.values)
        self.by_step = torch.zeros_like(quantiser.log_step)
        self._magnitude: torch.Tensor | None = None  # weight of each value's sign, as a share of λ / pixels

    def set_support(self, support: Support) -> None:
        """Takes over which coefficients are coded."""
        self.model.cells = support.cells
        weights = [self._magnitude_weight(s) for s in self.latents.trained]
        self._magnitude = support.coded.clone() if any(weights) else None
        if self._magnitude is not None:
            for slot, weight in zip(self.latents.trained, weights):
                self._magnitude[slot.part] *= weight

    def state(self) -> dict[str, Any]:
        """Gradients that are not yet renewed, and the model's state."""
        return dict(by_value=self.by_value, by_step=self.by_step, model=self.model.state())

    def restore(self, state: dict[str, Any]) -> None:
        """Takes over what `state` returned, for the same support."""
        copy_into(self.by_value, state["by_value"])
        copy_into(self.by_step, state["by_step"])
        self.model.restore(state["model"])

    def _magnitude_weight(self, slot: Slot) -> float:
        if slot.id in self.latents.predicted:
            return self.residual_weight
        return self.latents.plan.sparsity if slot.transformed else 0.0

    def backward(self, gradient: torch.Tensor, iteration: int, share: float) -> None:
        """Adds the gradients of the rate and of the magnitudes. share: λ over the pixels."""
        self._renew(self._parts()[iteration % _PARTS])
        for part in (slot.part for slot in self.latents.active):
            gradient[part].add_(self.by_value[part], alpha=share)
            if self._magnitude is not None:
                gradient[part].add_(torch.sign(self.latents.values[part]) * self._magnitude[part], alpha=share)

    def _renew(self, slots: list[Slot]) -> None:
        for slot in slots:
            if slot.plan.rate == Rate.NONE:
                continue
            step = self.quantiser.step(slot)
            x = self.quantiser.in_steps(slot, step)
            slope = self.model.slope(slot, x)
            if slot in self.masks:
                slope *= self.masks.kept(slot).view(-1)
            self.by_step[slot.bands] = -slot.by_band(slope, x)
            torch.div(slope.view(-1, slot.channels), step, out=slot.cells(self.by_value))

    def _parts(self) -> list[list[Slot]]:
        """The active slots in parts of about the same size."""
        parts: list[list[Slot]] = [[] for _ in range(_PARTS)]
        sizes = [0] * _PARTS
        for slot in sorted(self.latents.active, key=lambda s: -s.size):
            k = sizes.index(min(sizes))
            parts[k].append(slot)
            sizes[k] += slot.size
        return parts
