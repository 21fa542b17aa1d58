"""The rate of quantised tensors: a differentiable estimate, and the integer model it becomes.

Symbols follow a Laplace distribution whose location and scale a small network predicts
from decoded neighbours (MM 2024, section 3.3; spec 6.4). The network here is trained
with the roundings of its integer form, so that what it predicts is what the decoder's
integer arithmetic predicts.
"""
from __future__ import annotations

import math

import numpy as np
import torch

from refcodec.entropy.coder import PAD
from refcodec.entropy.models import HIDDEN_LIMIT, INPUT_LIMIT, LOCATION_LIMIT, ContextModel
from refcodec.syntax.registry import ENERGY, PREVIOUS, PREVIOUS_ENERGY, TEMPLATES, VALUE

SCALES = 44
SCAN = (0, 1, 1, 1)  # wavefronts: all the spatial templates look at lower coordinates only
# Fixed-point formats of the integer network, in bits after the binary point.
_HIDDEN_BITS, _HIDDEN_SHIFT = 4, 3  # hidden units, and the shift that brings sums there
_OUTPUT_SHIFT = 10


def laplace_bits(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """−log2 of a Laplace distribution's mass on [x − ½, x + ½] (location 0), any shape."""
    a, half = x.abs(), 0.5 / scale
    # ln sinh(half), without overflow
    log_sinh = half + torch.log(-torch.expm1(-2 * half)) - math.log(2)
    outside = a / scale - log_sinh
    near = a.clamp(max=0.5)
    inside = -torch.log1p(-0.5 * (torch.exp((near - 0.5) / scale) + torch.exp(-(near + 0.5) / scale)))
    return torch.where(a < 0.5, inside, outside) / math.log(2)


def laplace_slope(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Derivative of the expectation of `laplace_bits(x + u)` over u uniform on [−½, ½]."""
    a = x.abs()
    inner = laplace_bits((a - 0.5).clamp(max=0.5), scale)
    half = 0.5 / scale
    log_sinh = half + torch.log(-torch.expm1(-2 * half)) - math.log(2)
    outer = ((a + 0.5) / scale - log_sinh) / math.log(2)
    # Beyond 1 both ends lie on the same straight line.
    return torch.where(a < 1, outer - inner, 1 / (scale * math.log(2))) * torch.sign(x)


def table_scale(index: torch.Tensor) -> torch.Tensor:
    """Scale b of Laplace table `index` (spec 6.7); fractions lie between the tables."""
    return 0.06 * torch.exp2(index / 4)


def table_index(scale: float) -> float:
    """Inverse of `table_scale`, within the family."""
    return min(max(4 * math.log2(max(scale, 1e-9) / 0.06), 0.0), SCALES - 1.0)


def _round(x: torch.Tensor) -> torch.Tensor:
    """Rounded half up; the gradient passes as if nothing had been done."""
    return x + (torch.floor(x + 0.5) - x).detach()


class Neighbourhood:
    """Gathers the inputs of a context model for the symbols of one tensor.

    current, previous: quantised values (z, y, x, C); previous may be None (all zero).
    """

    def __init__(self, template_id: int, current: torch.Tensor, previous: torch.Tensor | None):
        self.template = TEMPLATES[template_id]
        self.shape = current.shape
        self._planes = [_padded(current)]
        if any(source in (PREVIOUS, PREVIOUS_ENERGY) for source, *_ in self.template):
            self._planes.append(_padded(torch.zeros_like(current) if previous is None else previous))
        self._energy = [p.abs().sum(-1, keepdim=True).clamp(max=INPUT_LIMIT) for p in self._planes] \
            if any(source in (ENERGY, PREVIOUS_ENERGY) for source, *_ in self.template) else []

    def _source(self, source):
        plane = 1 if source in (PREVIOUS, PREVIOUS_ENERGY) else 0
        return (self._planes if source in (VALUE, PREVIOUS) else self._energy)[plane]

    def inputs(self, cells: torch.Tensor) -> torch.Tensor:
        """Inputs at cells (n,), raster indices: (n·C, N) float32, channels of a cell together."""
        depth, height, width, channels = self.shape
        x, y, z = cells % width, cells // width % height, cells // (width * height)
        rows = ((z + PAD) * (height + 2 * PAD) + y + PAD) * (width + 2 * PAD) + x + PAD
        out = torch.empty((len(cells), channels, len(self.template)), device=cells.device)
        for i, (source, _, dz, dy, dx) in enumerate(self.template):
            offset = (dz * (height + 2 * PAD) + dy) * (width + 2 * PAD) + dx
            values = self._source(source)
            out[:, :, i] = values.reshape(-1, values.shape[-1])[rows + offset]
        return out.reshape(-1, len(self.template))


def _padded(values: torch.Tensor) -> torch.Tensor:
    """Clamped to what a model sees, zeros around: (z + 4, y + 4, x + 4, C) float32."""
    clamped = values.float().clamp(-INPUT_LIMIT, INPUT_LIMIT)
    return torch.nn.functional.pad(clamped, (0, 0) + (PAD, PAD) * 3)


class ContextNetwork(torch.nn.Module):
    """The trainable form of a per-channel `ContextModel`.

    Parameters are real numbers in the units of the field's symbols; `forward` rounds
    them, and everything computed from them, as the integer model does (spec 6.4).
    """

    def __init__(self, template_id: int, hidden: int, generator: torch.Generator | None = None):
        super().__init__()
        self.template_id = template_id
        inputs = len(TEMPLATES[template_id])
        self.hidden_weight = torch.nn.Parameter(
            0.5 * torch.randn((hidden, inputs), generator=generator) / math.sqrt(max(inputs, 1)))
        self.hidden_bias = torch.nn.Parameter(torch.zeros(hidden))
        self.output_weight = torch.nn.Parameter(0.1 * torch.randn((2, hidden), generator=generator))
        self.output_bias = torch.nn.Parameter(torch.tensor([0.0, table_index(0.5)]))

    @classmethod
    def from_model(cls, model: ContextModel) -> ContextNetwork:
        """The network whose `export` is `model`, which must come from an `export`."""
        net = cls(model.template_id, len(model.hidden_bias))
        one = 2.0 ** -(_HIDDEN_BITS + _HIDDEN_SHIFT)
        scales = (one, one, 2.0 ** (_HIDDEN_BITS - _OUTPUT_SHIFT), 2.0**-_OUTPUT_SHIFT)
        sources = (model.hidden_weight, model.hidden_bias, model.output_weight, model.output_bias)
        parameters = (net.hidden_weight, net.hidden_bias, net.output_weight, net.output_bias)
        with torch.no_grad():
            for parameter, source, scale in zip(parameters, sources, scales):
                parameter.copy_(torch.from_numpy(source.astype(np.float32) * np.float32(scale)))
        return net

    def _integers(self):
        """The integer parameters, still differentiable."""
        one = 2.0 ** (_HIDDEN_BITS + _HIDDEN_SHIFT)
        w1 = _round(self.hidden_weight * one).clamp(-127, 127)
        b1 = _round(self.hidden_bias * one).clamp(-32767, 32767)
        w2 = _round(self.output_weight * 2.0 ** (_OUTPUT_SHIFT - _HIDDEN_BITS)).clamp(-127, 127)
        b2 = _round(self.output_bias * 2.0**_OUTPUT_SHIFT).clamp(-(1 << 21), 1 << 21)
        return w1, b1, w2, b2

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """inputs (n, N) -> location (n,) and table index (n,), whole numbers."""
        w1, b1, w2, b2 = self._integers()
        hidden = torch.nn.functional.linear(inputs, w1, b1)
        hidden = _round(hidden / 2.0**_HIDDEN_SHIFT).clamp(0, HIDDEN_LIMIT)
        out = _round(torch.nn.functional.linear(hidden, w2, b2) / 2.0**_OUTPUT_SHIFT)
        return out[:, 0].clamp(-LOCATION_LIMIT, LOCATION_LIMIT), out[:, 1].clamp(0, SCALES - 1)

    def export(self) -> ContextModel:
        """The integer model of the stream."""
        w1, b1, w2, b2 = (p.detach().cpu().numpy() for p in self._integers())
        return ContextModel(
            False, 1, SCAN, self.template_id, tuple(TEMPLATES[self.template_id]),
            _HIDDEN_SHIFT, w1.astype(np.int8), b1.astype(np.int16), _OUTPUT_SHIFT, _OUTPUT_SHIFT,
            w2.astype(np.int8), b2.astype(np.int32))
