"""Training one frame with its rate (MM 2024; Factor Fields for the field itself).

    loss = D + λ (R + α |residual|)

D  mean squared error over all pixels and channels of the training views, rendered on
   the sequence's background, in units of (full scale)².
R  estimated bits of all tensors that the frame carries, and
|residual|  the sum of the absolute residuals of the grids, in field values (P-frames
   only), both divided by the number of training pixels.

Multiplied by the pixels this is the published Σ‖C − Ĉ‖² + λ (L_rate + α ‖R‖₁). Being
per pixel, λ does not depend on the size of the field, and the published values (7e-4,
1e-3, 2e-3, 5e-3, with α = 10) span the useful range.
"""
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from refcodec import fields
from refcodec.encoder.latents import Slot, flatten, integer_step, slots, step_value
from refcodec.encoder.presets import TrainingSettings
from refcodec.encoder.rate import (
    ROW_LENGTH,
    UNCODED_ROW,
    ContextNetwork,
    Neighbourhood,
    laplace_bits,
    slope_table,
    table_index,
    table_scale,
    tabled_slope,
)
from refcodec.encoder.rays import Picture, RayBank, shade, visual_hull, voxel_centres
from refcodec.entropy.coder import MAX_SYMBOL
from refcodec.entropy.models import ContextModel, model_to_syntax
from refcodec.syntax.coding import Prediction, Tools
from refcodec.syntax.headers import Role, SequenceHeader
from refcodec.tensors.significance import coded_mask
from refcodec.syntax.structures import ENTROPY_MODEL
from refcodec.tensors.state import FrameState
from refcodec.writer import FrameCoding, TensorCoding

INTRA, INTER = 1, 2
_INTRA_TEMPLATE, _INTER_TEMPLATE = 4, 5
_ALPHA_WEIGHT = 0.1  # of the error of opacity, which the background colour alone can hide
_PRUNE_ALPHA = 0.02
_WEIGHTS = (Role.FUSION_WEIGHT, Role.RENDER_WEIGHT)
_HIDDEN_UNITS = 8
# Shares of the iterations: when empty voxels go, when the rate sets in, when noise
# gives way to true rounding.
_PRUNE_AT, _RATE_START, _RATE_RAMP, _ROUNDING_START = 0.25, 0.02, 0.1, 0.8
_CONTEXT_START, _FIRST_SCALE = 0.35, 0.35
_DEAD_ZONE = 0.1
_LAST_RATE = 0.05  # what is left of the learning rates at the end
_STEP_RATE = 0.01  # Adam's learning rate for the logarithm of a step
# The entropy networks: iterations between refreshes, steps at the first, the others, the end.
_REFRESH, _FIRST_STEPS, _REFRESH_STEPS, _FINAL_STEPS = 40, 60, 8, 80
_FIT_SYMBOLS = 8192
_OCCLUSION_EVERY = 50
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
        self.lagrangian = settings.lagrangian * (settings.inter_lagrangian if self.inter else 1.0)
        self.iterations = settings.inter_iterations if self.inter else settings.intra_iterations
        # Two generators: the host's makes what must not depend on the device.
        self.generator = torch.Generator(self.device).manual_seed(settings.seed)
        self.host_generator = torch.Generator().manual_seed(settings.seed)
        self.ops = fields.TorchOps(self.device)
        self.background = torch.tensor(header.background, device=self.device) / 255

        self.slots = slots(header)
        self.grids = [s for s in self.slots if s.is_grid]
        self.trained = self.grids if self.inter else self.slots
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
        # Row of `slopes` for each value; the last row, all zero, for what is not coded.
        self.slopes = slope_table(self.device)
        self.table_row = torch.full(self.values.shape, round(table_index(_FIRST_SCALE)) * ROW_LENGTH,
                                    dtype=torch.int32, device=self.device)
        self.rate_gradient = torch.zeros_like(self.values)
        self.step_rate = torch.zeros_like(self.log_step)
        self.networks = [self._context_network(i) for i in range(len(self._model_groups()))]
        self.bits = torch.zeros(len(self.slots))

        occupancy = visual_hull(pictures, header)
        self.rays = RayBank(pictures, header, occupancy, self.device, self.generator)
        self._mark_coded()

    def _context_network(self, model_id: int) -> ContextNetwork:
        """The group's latest network, as far as the stream knows it, or a new one."""
        template = _INTER_TEMPLATE if self.inter else _INTRA_TEMPLATE
        known = self.previous.models.get(model_id) if self.inter else None
        if known is not None and known.template_id == template:
            return ContextNetwork.from_model(known).to(self.device)
        return ContextNetwork(template, _HIDDEN_UNITS, self.host_generator).to(self.device)

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
            decay = _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))
            for group in optimiser.param_groups:
                group["lr"] = group["base"] * decay
            rounding = s.rate_loss and done >= _ROUNDING_START
            weight = self.lagrangian * min(1.0, max(0.0, (done - _RATE_START) / _RATE_RAMP)) if s.rate_loss else 0.0
            if i == round(_PRUNE_AT * self.iterations):
                self._prune()
            if weight and done >= _CONTEXT_START and i % _REFRESH == 0:
                self._refresh_contexts()
            noise = self._quantised_values(rounding)
            if i % _OCCLUSION_EVERY == _OCCLUSION_EVERY - 1:
                self.rays.set_occluders(self._voxel_density(4).amin(0))
            error = self._backward(gradient)
            if weight:
                self._rate_slopes(i)
                gradient.add_(self.rate_gradient, alpha=weight / self.rays.pixels)
                if self.inter:
                    gradient.add_(torch.sign(self.values) * self.coded,
                                  alpha=weight * s.residual_weight / self.rays.pixels)
                if s.learn_steps and not rounding:
                    step_parameter.grad = self.step_rate * (weight / self.rays.pixels)
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
                self.on_progress(Progress(i + 1, self.iterations, d + weight * bits / self.rays.pixels,
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

    def _field(self, leaves: Sequence[torch.Tensor] = ()):
        """The field of the values in `work`; leaves: (z, y, x, C), to differentiate instead."""
        tensors = list(leaves) or [slot.grid(self.work) for slot in self.trained]
        tensors += [slot.grid(self.base) for slot in self.slots[len(self.trained):]]
        return fields.build(self.header, [t.permute(3, 0, 1, 2) for t in tensors], self.ops)

    def _backward(self, gradient: torch.Tensor) -> torch.Tensor:
        """Gradient of D on a batch of rays into `gradient`; returns D over all pixels."""
        samples, target = self.rays.batch(self.settings.rays)
        # One leaf a tensor: slices of a single one would each cost a full-length gradient.
        leaves = [slot.grid(self.work).detach().requires_grad_() for slot in self.trained]
        colour, opacity = shade(self._field(leaves), samples, self.rays.step)
        share = len(self.rays) / self.rays.pixels
        alpha_error = opacity - target[:, 3]
        colour_error = colour - target[:, :3] - alpha_error[:, None] * self.background
        distortion = colour_error.square().mean() * share
        loss = distortion + _ALPHA_WEIGHT * share * alpha_error.square().mean()
        loss.backward()
        for slot, leaf in zip(self.trained, leaves):
            slot.grid(gradient).copy_(leaf.grad)
        return distortion.detach()

    # Rate.

    def _rate_slopes(self, iteration: int) -> None:
        """Renews the derivative of the rate for a quarter of the tensors: it changes slowly."""
        for slot in self._quarters()[iteration % 4]:
            step = self._step(slot)
            x = self.values[slot.part] / step
            slope = tabled_slope(self.slopes, x - self.location[slot.part], self.table_row[slot.part])
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
        context = self.previous.contexts(slot.id, Tools(())) if self.inter else None
        if context is not None:
            context = torch.from_numpy(context).to(self.device)
        coded = values.view(*spatial, channels) * slot.grid(self.coded)
        return Neighbourhood(template, coded, context)

    def _refresh_contexts(self) -> None:
        """Trains the entropy networks a little, then predicts every symbol's distribution."""
        steps = _REFRESH_STEPS if self.bits.any() else _FIRST_STEPS
        for network, group in zip(self.networks, self._model_groups()):
            symbols = {s.id: self._rounded(s) for s in group}
            around = {s.id: self._neighbourhood(s, network.template_id, symbols[s.id]) for s in group}
            self._fit(network, group, symbols, around, steps, 0.02)
            for slot in group:
                self._predict(network, slot, around[slot.id], symbols[slot.id])
        for slot in self.trained:
            if not slot.is_grid:
                q = self._rounded(slot)
                index = round(table_index(float(q.abs().mean())))
                self.table_row[slot.part] = index * ROW_LENGTH
                self.bits[slot.id] = float(laplace_bits(q, table_scale(torch.full_like(q, index))).sum())

    @torch.no_grad()
    def _predict(self, network, slot: Slot, around: Neighbourhood, symbols: torch.Tensor) -> None:
        """Location and table row of every coded symbol; estimated bits of the tensor."""
        cells, channels = self.cells[slot.id], slot.info.shape[0]
        symbols = symbols.view(-1, channels)
        active = around.active[cells]
        slot.cells(self.table_row).fill_(UNCODED_ROW)
        location, index = network(torch.zeros((1, around.input_count), device=self.device))
        quiet = cells[~active]
        slot.cells(self.location)[quiet] = location
        slot.cells(self.table_row)[quiet] = int(index) * ROW_LENGTH
        values, counts = torch.unique(symbols[quiet], return_counts=True)
        total = float((laplace_bits(values - location, table_scale(index)) * counts).sum())
        for part in cells[active].split(_CELLS):
            location, index = network(around.inputs(part))
            slot.cells(self.location)[part] = location.view(-1, channels)
            slot.cells(self.table_row)[part] = index.int().view(-1, channels) * ROW_LENGTH
            total += float(laplace_bits(symbols[part].reshape(-1) - location, table_scale(index)).sum())
        self.bits[slot.id] = total

    def _fit(self, network, group, symbols, around, steps: int, rate: float) -> None:
        """Adam on random symbols of the group, each grid in proportion to its size."""
        counts = [len(self.cells[s.id]) * s.info.shape[0] for s in group]
        if not sum(counts):
            return
        inputs, values = [], []
        wanted = min(sum(counts), _FIT_SYMBOLS * (steps if steps <= 4 else 4 + steps // 16))
        for slot, count in zip(group, counts):
            cells, channels = self.cells[slot.id], slot.info.shape[0]
            n = math.ceil(wanted * count / sum(counts) / channels) if count else 0
            chosen = cells[torch.randint(max(len(cells), 1), (n,), generator=self.generator, device=self.device)]
            inputs.append(around[slot.id].inputs(chosen))
            values.append(symbols[slot.id].view(-1, channels)[chosen].reshape(-1))
        inputs, values = torch.cat(inputs), torch.cat(values)
        optimiser = torch.optim.Adam(network.parameters(), lr=rate)
        order = torch.randperm(len(values), generator=self.generator, device=self.device)
        at = 0
        for i in range(steps):
            if at + _FIT_SYMBOLS > len(order):
                at = 0
            batch = order[at:at + _FIT_SYMBOLS]
            at += _FIT_SYMBOLS
            location, index = network(inputs[batch])
            loss = laplace_bits(values[batch] - location, table_scale(index)).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.param_groups[0]["lr"] = rate * (1 - 0.9 * i / steps)
            optimiser.step()

    # Occupancy.

    @torch.no_grad()
    def _voxel_density(self, count: int) -> torch.Tensor:
        """Density at random points of each occupied voxel: (count, voxels), raster order."""
        field = self._field()
        centres = torch.from_numpy(voxel_centres(self.header)[self.rays.occupancy]).float().to(self.device)
        size = (self.rays.high - self.rays.low) / torch.tensor(self.rays.dims, device=self.device)
        out = torch.empty((count, len(centres)), device=self.device)
        for row in out:
            jitter = torch.rand(centres.shape, generator=self.generator, device=self.device) - 0.5
            points = centres + jitter * size
            for part in torch.arange(len(points), device=self.device).split(1 << 16):
                row[part] = field.density(points[part])[0]
        return out

    @torch.no_grad()
    def _prune(self) -> None:
        """Drops voxels that the field shows to be empty, but keeps their neighbours."""
        self._quantised_values(False)
        occupancy = self.rays.occupancy
        alpha = 1 - torch.exp(-self._voxel_density(8).amax(0) * self.rays.step)
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
        prediction = Prediction.PREVIOUS if self.inter else Prediction.NONE

        for model_id, (network, group) in enumerate(zip(self.networks, self._model_groups())):
            around = {s.id: self._neighbourhood(s, network.template_id, symbols[s.id]) for s in group}
            self._fit(network, group, symbols, around, _FINAL_STEPS, 0.02)
            for slot in group:
                self._predict(network, slot, around[slot.id], symbols[slot.id])
            models[model_id] = network.export()
            bits = [float(self.bits[s.id]) for s in group]
            known = self.previous.models.get(model_id) if self.inter else None
            if known is not None and known.template_id == network.template_id:
                # The model of the frame before costs nothing to send again.
                for slot in group:
                    self._predict(ContextNetwork.from_model(known).to(self.device), slot, around[slot.id],
                                  symbols[slot.id])
                if sum(float(self.bits[s.id]) for s in group) < sum(bits) + 8 * _model_bytes(network):
                    del models[model_id]
                else:
                    for slot, b in zip(group, bits):
                        self.bits[slot.id] = b
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
            codings.append(TensorCoding(slot.id, values.to(torch.int32).cpu().numpy(), model_id, (steps[slot.id],),
                                        prediction, int(slot.is_grid)))
        coding = FrameCoding(number, INTER if self.inter else INTRA, time_stamp, self.rays.occupancy.copy(),
                             models, codings)
        return TrainedFrame(coding, estimated)


def _model_bytes(network: ContextNetwork) -> int:
    """Size of an entropy model in the stream."""
    values = model_to_syntax(0, network.export())
    return len(ENTROPY_MODEL.build(values))
