"""Training one frame with its rate (MM 2024; Factor Fields for the field itself).

    loss = D + λ (R + α |residual|)

D  mean squared error over all pixels and channels of the training views, rendered on
   the sequence's background, in units of (full scale)².
R  estimated bits of all tensors, divided by the number of grid elements: bits per
   element, so that λ means the same for every size of field.
|residual|  mean absolute value of the grid elements' residuals, in field values
   (P-frames only).

With these units the published λ (7e-4, 1e-3, 2e-3, 5e-3) and α = 10 span the useful
range.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from refcodec import fields
from refcodec.encoder.latents import MAX_SYMBOL, Slot, flatten, integer_step, slots, step_value
from refcodec.encoder.presets import TrainingSettings
from refcodec.encoder.rate import (
    ContextNetwork,
    Neighbourhood,
    laplace_bits,
    laplace_slope,
    table_index,
    table_scale,
)
from refcodec.encoder.rays import Picture, RayBank, shade, visual_hull, voxel_centres
from refcodec.entropy.models import ContextModel
from refcodec.syntax.headers import Role, SequenceHeader
from refcodec.tensors.significance import coded_mask
from refcodec.tensors.state import PREDICT_NONE, PREDICT_PREVIOUS, FrameState
from refcodec.writer import FrameCoding, TensorCoding

INTRA, INTER = 1, 2
_INTRA_TEMPLATE, _INTER_TEMPLATE = 4, 5
_ALPHA_WEIGHT = 0.1  # of the error of opacity, which the background colour alone can hide
_PRUNE_ALPHA = 0.02
_WEIGHTS = (Role.FUSION_WEIGHT, Role.RENDER_WEIGHT)
_HIDDEN_UNITS = 8
# Shares of the iterations: when empty voxels go, when the rate sets in, when noise
# gives way to true rounding.
_PRUNE_AT, _RATE_START, _RATE_RAMP, _ROUNDING_START = 0.25, 0.1, 0.2, 0.8
_DEAD_ZONE = 0.1
_STEP_RATE = 0.01  # Adam's learning rate for the logarithm of a step
_REFRESH, _REFRESH_STEPS, _FINAL_STEPS = 40, 10, 150
_FIT_SYMBOLS = 16384
_CELLS = 1 << 17  # cells predicted at once


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
                number: int = 0, time_stamp: int = 0, device="cpu",
                on_progress: Callable[[Progress], None] | None = None) -> TrainedFrame:
    """Train an I-frame from nothing."""
    return _Training(header, pictures, settings, None, device, on_progress).run(number, time_stamp)


def train_inter(header: SequenceHeader, pictures: Sequence[Picture], settings: TrainingSettings,
                previous: FrameState, *, number: int, time_stamp: int, device="cpu",
                on_progress: Callable[[Progress], None] | None = None) -> TrainedFrame:
    """Train a P-frame: residuals of the grids on the decoder's state after the frame before."""
    return _Training(header, pictures, settings, previous, device, on_progress).run(number, time_stamp)


class _Training:
    """State of one frame's training. Vectors are flat over all tensors (`latents.Slot`)."""

    def __init__(self, header, pictures, settings, previous: FrameState | None, device, on_progress):
        self.header, self.settings, self.previous = header, settings, previous
        self.on_progress = on_progress
        self.device = torch.device(device)
        self.inter = previous is not None
        self.iterations = settings.inter_iterations if self.inter else settings.intra_iterations
        # Two generators: the host's makes what must not depend on the device.
        self.generator = torch.Generator(self.device).manual_seed(settings.seed)
        self.host_generator = torch.Generator().manual_seed(settings.seed)
        self.ops = fields.TorchOps(self.device)
        self.background = torch.tensor(header.background, device=self.device) / 255

        self.slots = slots(header)
        self.grids = [s for s in self.slots if s.is_grid]
        self.trained = self.grids if self.inter else self.slots
        self.elements = sum(s.info.size for s in self.grids)
        self.total = self.trained[-1].part.stop
        everything = self.slots[-1].part.stop
        if self.inter:
            self.base = flatten(header, previous.tensors, self.device)
            self.values = torch.zeros(self.total, device=self.device)
        else:
            self.base = torch.zeros(everything, device=self.device)
            self.values = self._initial_values()
        self.log_step = torch.tensor([math.log(self._initial_step(s)) for s in self.slots], device=self.device)
        self.noise = torch.rand(self.total + (1 << 16), generator=self.generator, device=self.device) - 0.5
        self.work = torch.empty_like(self.values)
        self.location = torch.zeros_like(self.values)
        self.scale = torch.full_like(self.values, 0.5)
        self.rate_gradient = torch.zeros_like(self.values)
        self.step_rate = torch.zeros_like(self.log_step)
        self.networks = [ContextNetwork(_INTER_TEMPLATE if self.inter else _INTRA_TEMPLATE, _HIDDEN_UNITS,
                                        self.host_generator).to(self.device) for _ in self._model_groups()]
        self.bits = torch.zeros(len(self.slots))

        occupancy = visual_hull(pictures, header)
        self.rays = RayBank(pictures, header, occupancy, self.device, self.generator)
        self._mark_coded()

    def _initial_values(self) -> torch.Tensor:
        values = torch.zeros(self.total, device=self.device)
        for slot in self.slots:
            part = values[slot.part]
            if slot.info.role == Role.DIF_COEFFICIENT:
                part.fill_(1.0)
            elif slot.info.role == Role.DIF_BASIS:
                part.normal_(0, 0.1, generator=self.generator)
            elif slot.info.role in _WEIGHTS:
                bound = 1 / math.sqrt(slot.info.shape[3])
                part.uniform_(-bound, bound, generator=self.generator)
        return values

    def _initial_step(self, slot: Slot) -> float:
        if slot.is_grid:
            return self.settings.initial_step
        return 2.0**-6 if slot.info.role in _WEIGHTS else 2.0**-8

    def _model_groups(self) -> list[list[Slot]]:
        """Grids that share an entropy model: the coefficients, the coarse bases, the fine ones."""
        bases = self.grids[1:]
        half = (len(bases) + 1) // 2
        return [g for g in (self.grids[:1], bases[:half], bases[half:]) if g]

    def _mark_coded(self) -> None:
        """Finds the cells that the occupancy lets be coded."""
        self.masks = {s.id: coded_mask(self.header, s.info, self.rays.occupancy) for s in self.grids}
        self.cells = {i: torch.from_numpy(np.flatnonzero(m)).to(self.device) for i, m in self.masks.items()}
        self.coded = torch.ones_like(self.values)
        for slot in self.grids:
            slot.cells(self.coded)[:] = torch.from_numpy(
                self.masks[slot.id].reshape(-1, 1).astype(np.float32)).to(self.device)

    # The loop.

    def run(self, number: int, time_stamp: int) -> TrainedFrame:
        s = self.settings
        network_start = self.grids[-1].part.stop
        groups = [(slice(0, network_start), s.inter_rate if self.inter else s.grid_rate)]
        if not self.inter:
            groups.append((slice(network_start, self.total), s.network_rate))
        parameters = [torch.nn.Parameter(self.values[part]) for part, _ in groups]
        optimiser = torch.optim.Adam(
            [dict(params=[p], lr=lr, base=lr) for p, (_, lr) in zip(parameters, groups)],
            betas=(0.9, 0.99), eps=1e-15, fused=True)
        step_parameter = torch.nn.Parameter(self.log_step)
        step_optimiser = torch.optim.Adam([step_parameter], lr=_STEP_RATE, betas=(0.9, 0.99), eps=1e-15)
        gradient = torch.empty_like(self.values)
        mean_error = None
        for i in range(self.iterations):
            done = i / self.iterations
            decay = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))
            for group in optimiser.param_groups:
                group["lr"] = group["base"] * decay
            rounding = s.rate_loss and done >= _ROUNDING_START
            weight = s.lagrangian * min(1.0, max(0.0, (done - _RATE_START) / _RATE_RAMP)) if s.rate_loss else 0.0
            if i == round(_PRUNE_AT * self.iterations):
                self._prune()
            if weight and i % _REFRESH == 0:
                self._refresh_contexts()
            noise = self._quantised_values(rounding)
            error = self._backward(gradient)
            if weight:
                self._rate_slopes(i)
                gradient.add_(self.rate_gradient, alpha=weight / self.elements)
                if self.inter:
                    gradient.add_(torch.sign(self.values) * self.coded,
                                  alpha=weight * s.residual_weight / self.elements)
                if s.learn_steps and not rounding:
                    step_parameter.grad = self.step_rate * (weight / self.elements)
                    for slot in self.trained:
                        step_parameter.grad[slot.id] += (gradient[slot.part] @ noise[slot.part]) * self._step(slot)
                    step_optimiser.step()
            for parameter, (part, _) in zip(parameters, groups):
                parameter.grad = gradient[part]
            optimiser.step()
            mean_error = error if mean_error is None else 0.95 * mean_error + 0.05 * error
            if self.on_progress and (i % 20 == 19 or i + 1 == self.iterations):
                d = float(mean_error)
                bits = float(self.bits.sum())
                self.on_progress(Progress(i + 1, self.iterations, d + weight * bits / self.elements,
                                          -10 * math.log10(max(d, 1e-10)), bits / 8000))
        return self._finish(number, time_stamp)

    def _step(self, slot: Slot) -> float:
        return math.exp(float(self.log_step[slot.id]))

    def _quantised_values(self, rounding: bool):
        """Fills `work` with what the field is to be evaluated with; returns the noise used."""
        start = int(torch.randint(1 << 16, (1,), generator=self.host_generator))
        noise = self.noise[start:start + self.total]
        if not self.settings.rate_loss:
            torch.add(self.values, self.base[:self.total], out=self.work)
            return noise
        for slot in self.trained:
            part, step = slot.part, self._step(slot)
            if rounding:
                torch.mul(self._rounded(slot), step, out=self.work[part])
            else:
                torch.add(self.values[part], noise[part], alpha=step, out=self.work[part])
        self.work += self.base[:self.total]
        return noise

    def _rounded(self, slot: Slot) -> torch.Tensor:
        """Quantised values, float: to the nearest, with a dead zone that favours zero."""
        v = self.values[slot.part] / self._step(slot)
        if not self.settings.rate_loss:
            return torch.floor(v + 0.5)
        return torch.sign(v) * torch.floor(v.abs() + (0.5 - _DEAD_ZONE))

    def _field(self, leaf: torch.Tensor):
        tensors = []
        for slot in self.slots:
            source = leaf if slot.part.stop <= self.total else self.base
            tensors.append(slot.grid(source).permute(3, 0, 1, 2))
        return fields.build(self.header, tensors, self.ops)

    def _backward(self, gradient: torch.Tensor) -> torch.Tensor:
        """Gradient of D on a batch of rays into `gradient`; returns D over all pixels."""
        samples, target = self.rays.batch(self.settings.rays)
        leaf = self.work.detach().requires_grad_()
        colour, opacity = shade(self._field(leaf), samples, self.rays.step)
        share = len(self.rays) / self.rays.pixels
        alpha_error = opacity - target[:, 3]
        colour_error = colour - target[:, :3] - alpha_error[:, None] * self.background
        distortion = colour_error.square().mean() * share
        loss = distortion + _ALPHA_WEIGHT * share * alpha_error.square().mean()
        loss.backward()
        gradient.copy_(leaf.grad)
        return distortion.detach()

    # Rate.

    def _rate_slopes(self, iteration: int) -> None:
        """Renews the derivative of the rate for a quarter of the tensors: it changes slowly."""
        for slot in self._quarters()[iteration % 4]:
            step = self._step(slot)
            x = self.values[slot.part] / step
            slope = laplace_slope(x - self.location[slot.part], self.scale[slot.part]) * self.coded[slot.part]
            self.step_rate[slot.id] = -(slope @ x)
            torch.div(slope, step, out=self.rate_gradient[slot.part])

    def _quarters(self) -> list[list[Slot]]:
        parts, sizes = [[], [], [], []], [0] * 4
        for slot in sorted(self.trained, key=lambda s: -s.info.size):
            k = sizes.index(min(sizes))
            parts[k].append(slot)
            sizes[k] += slot.info.size
        return parts

    @torch.no_grad()
    def _neighbourhood(self, slot: Slot, template: int, values: torch.Tensor) -> Neighbourhood:
        channels, *spatial = slot.info.shape
        context = self.previous.contexts[slot.id] if self.inter else None
        if context is not None:
            context = torch.from_numpy(context).to(self.device)
        coded = values.view(*spatial, channels) * slot.grid(self.coded)
        return Neighbourhood(template, coded, context)

    def _refresh_contexts(self) -> None:
        """Trains the entropy networks a little, then predicts every symbol's distribution."""
        for network, group in zip(self.networks, self._model_groups()):
            symbols = {s.id: self._rounded(s) for s in group}
            around = {s.id: self._neighbourhood(s, network.template_id, symbols[s.id]) for s in group}
            self._fit(network, group, symbols, around, _REFRESH_STEPS, 0.01)
            for slot in group:
                self._predict(network, slot, around[slot.id], symbols[slot.id])
        for slot in self.trained:
            if not slot.is_grid:
                q = self._rounded(slot)
                self.scale[slot.part] = max(float(q.abs().mean()), 0.05)
                self.bits[slot.id] = float(laplace_bits(q, self.scale[slot.part]).sum())

    @torch.no_grad()
    def _predict(self, network, slot: Slot, around: Neighbourhood, symbols: torch.Tensor) -> None:
        cells, channels = self.cells[slot.id], slot.info.shape[0]
        total = 0.0
        for part in cells.split(_CELLS):
            location, index = network(around.inputs(part))
            scale = table_scale(index)
            slot.cells(self.location)[part] = location.view(-1, channels)
            slot.cells(self.scale)[part] = scale.view(-1, channels)
            total += float(laplace_bits(symbols.view(-1, channels)[part].reshape(-1) - location, scale).sum())
        self.bits[slot.id] = total

    def _fit(self, network, group, symbols, around, steps: int, rate: float) -> None:
        """Adam on random symbols of the group, each grid in proportion to its size."""
        optimiser = torch.optim.Adam(network.parameters(), lr=rate)
        counts = [len(self.cells[s.id]) * s.info.shape[0] for s in group]
        if not sum(counts):
            return
        for i in range(steps):
            loss = 0.0
            for slot, count in zip(group, counts):
                cells, channels = self.cells[slot.id], slot.info.shape[0]
                n = math.ceil(_FIT_SYMBOLS * count / sum(counts) / channels)
                if not len(cells):
                    continue
                chosen = cells[torch.randint(len(cells), (n,), generator=self.generator, device=self.device)]
                location, index = network(around[slot.id].inputs(chosen))
                q = symbols[slot.id].view(-1, channels)[chosen].reshape(-1)
                loss = loss + laplace_bits(q - location, table_scale(index)).mean() * (count / sum(counts))
            optimiser.zero_grad()
            loss.backward()
            optimiser.param_groups[0]["lr"] = rate * (1 - 0.9 * i / steps)
            optimiser.step()

    # Occupancy.

    @torch.no_grad()
    def _prune(self) -> None:
        """Drops voxels that the field shows to be empty, but keeps their neighbours."""
        self._quantised_values(False)
        field = self._field(self.work)
        occupancy = self.rays.occupancy
        centres = torch.from_numpy(voxel_centres(self.header)[occupancy]).float().to(self.device)
        size = (self.rays.high - self.rays.low) / torch.tensor(self.rays.dims, device=self.device)
        alpha = torch.zeros(len(centres), device=self.device)
        for _ in range(8):
            jitter = torch.rand(centres.shape, generator=self.generator, device=self.device) - 0.5
            for part in torch.arange(len(centres), device=self.device).split(1 << 16):
                sigma, _ = field.density(centres[part] + jitter[part] * size)
                alpha[part] = torch.maximum(alpha[part], 1 - torch.exp(-sigma * self.rays.step))
        solid = np.zeros(occupancy.shape, np.float32)
        solid[occupancy] = (alpha > _PRUNE_ALPHA).float().cpu().numpy()
        grown = torch.nn.functional.max_pool3d(torch.from_numpy(solid[None]), 3, 1, 1)[0].numpy() > 0
        pruned = grown & occupancy
        # A field that is still almost transparent says nothing about what is empty.
        if pruned.sum() > 0.05 * occupancy.sum():
            self.rays.set_occupancy(pruned)
            self._mark_coded()

    # Coding.

    def _finish(self, number: int, time_stamp: int) -> TrainedFrame:
        models: dict[int, ContextModel] = {}
        codings: list[TensorCoding] = []
        estimated: dict[int, float] = {}
        steps = {}
        for slot in self.trained:
            steps[slot.id] = integer_step(self._step(slot), slot.info.frac_bits)
            self.log_step[slot.id] = math.log(step_value(*steps[slot.id], slot.info.frac_bits))
        symbols = {s.id: self._rounded(s).clamp(-MAX_SYMBOL, MAX_SYMBOL) for s in self.trained}
        prediction = PREDICT_PREVIOUS if self.inter else PREDICT_NONE

        for model_id, (network, group) in enumerate(zip(self.networks, self._model_groups())):
            around = {s.id: self._neighbourhood(s, network.template_id, symbols[s.id]) for s in group}
            self._fit(network, group, symbols, around, _FINAL_STEPS, 0.02)
            models[model_id] = network.export()
            for slot in group:
                self._predict(network, slot, around[slot.id], symbols[slot.id])
        static: dict[int, int] = {}
        for slot in self.trained:
            values = symbols[slot.id].view(-1, slot.info.shape[0])
            if slot.is_grid:
                values = values[self.cells[slot.id]]
            model_id = next((i for i, g in enumerate(self._model_groups()) if slot in g), None)
            if model_id is None:
                index = round(table_index(float(values.abs().mean())))
                model_id = static.setdefault(index, len(self.networks) + len(static))
                models[model_id] = ContextModel.fixed([0], [index])
                scale = table_scale(torch.full(values.shape, float(index)))
                self.bits[slot.id] = float(laplace_bits(values.cpu(), scale).sum())
            estimated[slot.id] = float(self.bits[slot.id])
            mantissa, exponent = steps[slot.id]
            codings.append(TensorCoding(slot.id, values.to(torch.int32).cpu().numpy(), model_id, mantissa, exponent,
                                        prediction, int(slot.is_grid)))
        coding = FrameCoding(number, INTER if self.inter else INTRA, time_stamp, self.rays.occupancy.copy(),
                             models, codings)
        return TrainedFrame(coding, estimated)
