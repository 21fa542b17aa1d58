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
from refcodec.entropy.tables import LAPLACE_REACH, PRECISION
from refcodec.syntax.registry import ENERGY, EXPLICIT, PREVIOUS, PREVIOUS_ENERGY, TEMPLATES

SCALES = 44
SCAN = (0, 1, 1, 1)  # wavefronts: all the spatial templates look at lower coordinates only
Scan = tuple[int, int, int, int]
Template = tuple[tuple[int, int, int, int, int], ...]
# Fixed-point formats of the integer network, in bits after the binary point.
_HIDDEN_BITS, _HIDDEN_SHIFT = 4, 3  # hidden units, and the shift that brings sums there
_OUTPUT_SHIFT = 10
_SCALE_GAIN = 8  # table steps that one unit of the scale output stands for: evens out the learning rates


def laplace_bits(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """−log2 of a Laplace distribution's mass on [x − ½, x + ½] (location 0), any shape."""
    a, half = x.abs(), 0.5 / scale
    # ln sinh(half), without overflow
    log_sinh = half + torch.log(-torch.expm1(-2 * half)) - math.log(2)
    outside = a / scale - log_sinh
    near = a.clamp(max=0.5)
    inside = -torch.log1p(-0.5 * (torch.exp((near - 0.5) / scale) + torch.exp(-(near + 0.5) / scale)))
    return torch.where(a < 0.5, inside, outside) / math.log(2)


def coded_bits(x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Bits that the Laplace table `index` (whole numbers) spends on x, escapes included (spec 6.5, 6.7).

    x: distance from the location, whole numbers, of any shape that `index` broadcasts to.
    """
    scale, reach = table_scale(index), index.new_tensor(LAPLACE_REACH)[index.long()]
    longest = float(PRECISION)  # no entry is rarer
    inside = laplace_bits(x, scale).clamp(max=longest)
    escape = ((reach + 0.5) / (scale * math.log(2))).clamp(max=longest)
    excess = (x.abs() - reach).clamp(min=1)
    return torch.where(x.abs() > reach, escape + 2 * torch.floor(torch.log2(excess)) + 2, inside)


def laplace_slope(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Derivative of the expectation of `laplace_bits(x + u)` over u uniform on [−½, ½]."""
    a = x.abs()
    inner = laplace_bits((a - 0.5).clamp(max=0.5), scale)
    half = 0.5 / scale
    log_sinh = half + torch.log(-torch.expm1(-2 * half)) - math.log(2)
    outer = ((a + 0.5) / scale - log_sinh) / math.log(2)
    # Beyond 1 both ends lie on the same straight line.
    return torch.where(a < 1, outer - inner, 1 / (scale * math.log(2))) * torch.sign(x)


_BINS = 64  # steps of `slope_table` along |x|, up to 1
ROW_LENGTH = _BINS + 1
UNCODED_ROW = SCALES * ROW_LENGTH


def slope_table(device: torch.device | str) -> torch.Tensor:
    """`laplace_slope` for the scale of every Laplace table (rows) and |x| in steps of
    1 / 64 up to 1, beyond which it is constant; the last row is zero: (45 * 65,)."""
    x = (torch.arange(_BINS + 1, device=device) + 0.5).clamp(max=_BINS) / _BINS
    scale = table_scale(torch.arange(SCALES, device=device))
    table = laplace_slope(x[None].double(), scale[:, None].double())
    return torch.cat([table, torch.zeros_like(table[:1])]).float().reshape(-1)


def tabled_slope(table: torch.Tensor, x: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """`laplace_slope` of x read from `slope_table`; row: int32 table indices times 65."""
    column = (x.abs() * _BINS).clamp_(max=_BINS).int()
    return table[column.add_(row).long()] * torch.sign(x)


def table_scale(index: torch.Tensor) -> torch.Tensor:
    """Scale b of Laplace table `index` (spec 6.7); fractions lie between the tables."""
    return 0.06 * torch.exp2(index / 4)


def table_index(scale: float) -> float:
    """Inverse of `table_scale`, within the family."""
    return min(max(4 * math.log2(max(scale, 1e-9) / 0.06), 0.0), SCALES - 1.0)


def _round(x: torch.Tensor) -> torch.Tensor:
    """Rounded half up; the gradient passes as if nothing had been done."""
    return x + (torch.floor(x + 0.5) - x).detach()


def neighbours(template: int | Template) -> Template:
    """Neighbours (source, dc, dz, dy, dx) of a registered template, or those given."""
    return tuple(TEMPLATES[template] if isinstance(template, int) else template)


def plane_template(axis: int, temporal: bool) -> tuple[int, Scan]:
    """`template_id` for planes that lack an axis (0 = x), and a scan in which its neighbours come before."""
    slow, fast = (a for a in (2, 1, 0) if a != axis)  # 2 = z
    weight = {axis: 0, slow: 2, fast: 1}  # the neighbour NE is then decoded too
    return 8 + 2 * axis + temporal, (0, weight[2], weight[1], weight[0])


class Neighbourhood:
    """Gathers the inputs of a context model for the symbols of one tensor.

    template: a registered one's `template_id`, or its neighbours. current, previous:
    quantised values (z, y, x, C); previous may be None (all zero).
    """

    def __init__(self, template: int | Template, current: torch.Tensor, previous: torch.Tensor | None):
        template = neighbours(template)
        self.shape, self.input_count = current.shape, len(template)
        planes = [_padded(current)]
        if any(source in (PREVIOUS, PREVIOUS_ENERGY) for source, *_ in template):
            planes.append(_padded(torch.zeros_like(current) if previous is None else previous))
        # Cells with anything but zeros around them: all others get one and the same prediction.
        energy = torch.stack([p[PAD:-PAD, PAD:-PAD, PAD:-PAD, -1] for p in planes]).sum(0)
        reach = max((abs(o) for n in template for o in n[2:]), default=0)
        self.active = torch.nn.functional.max_pool3d(energy[None], 2 * reach + 1, 1, reach).reshape(-1) > 0
        # One row a cell: its values, then their energy. The previous frame's rows follow.
        self._rows = torch.cat([p.reshape(-1, p.shape[-1]) for p in planes])
        _, height, width, channels = self.shape
        if any(dc for _, dc, *_ in template):  # a column for channels that do not exist
            self._rows = torch.nn.functional.pad(self._rows, (0, 1))
        self._row_size = self._rows.shape[1]
        offsets = [(source in (PREVIOUS, PREVIOUS_ENERGY)) * planes[0][..., 0].numel()
                   + (dz * (height + 2 * PAD) + dy) * (width + 2 * PAD) + dx
                   for source, _, dz, dy, dx in template]
        self._offsets = torch.tensor(offsets, dtype=torch.long, device=current.device)
        # Which column of a row each input of each channel is.
        columns = [[channels if source in (ENERGY, PREVIOUS_ENERGY)
                    else c + dc if 0 <= c + dc < channels else channels + 1 for source, dc, *_ in template]
                   for c in range(channels)]
        first = torch.arange(len(template)) * self._row_size
        self._columns = (torch.tensor(columns).reshape(channels, -1) + first).reshape(-1).to(current.device)

    def inputs(self, cells: torch.Tensor) -> torch.Tensor:
        """Inputs at cells (n,), raster indices: (n·C, N) float32, channels of a cell together."""
        _, height, width, channels = self.shape
        x, y, z = cells % width, cells // width % height, cells // (width * height)
        rows = ((z + PAD) * (height + 2 * PAD) + y + PAD) * (width + 2 * PAD) + x + PAD
        around = self._rows[(rows[:, None] + self._offsets).reshape(-1)]
        around = around.reshape(len(cells), len(self._offsets) * self._row_size)
        return around.index_select(1, self._columns).reshape(len(cells) * channels, len(self._offsets))


def _padded(values: torch.Tensor) -> torch.Tensor:
    """What a model sees, zeros around: (z + 4, y + 4, x + 4, C + 1), the energy last."""
    clamped = values.float().clamp(-INPUT_LIMIT, INPUT_LIMIT)
    energy = clamped.abs().sum(-1, keepdim=True).clamp(max=INPUT_LIMIT)
    return torch.nn.functional.pad(torch.cat([clamped, energy], -1), (0, 0) + (PAD, PAD) * 3)


class ContextNetwork(torch.nn.Module):
    """The trainable form of a per-channel `ContextModel`; template: as in `Neighbourhood`.

    Parameters are real numbers in the units of the field's symbols; `forward` rounds
    them, and everything computed from them, as the integer model does (spec 6.4).
    """

    def __init__(self, template: int | Template, hidden: int, generator: torch.Generator | None = None,
                 scan: Scan = SCAN):
        super().__init__()
        self.template_id = template if isinstance(template, int) else EXPLICIT
        self.template, self.scan = neighbours(template), scan
        inputs = len(self.template)
        self.hidden_weight = torch.nn.Parameter(
            0.5 * torch.randn((hidden, inputs), generator=generator) / math.sqrt(max(inputs, 1)))
        self.hidden_bias = torch.nn.Parameter(torch.zeros(hidden))
        self.output_weight = torch.nn.Parameter(0.02 * torch.randn((2, hidden), generator=generator))
        self.output_bias = torch.nn.Parameter(torch.tensor([0.0, table_index(0.5) / _SCALE_GAIN]))

    @classmethod
    def from_model(cls, model: ContextModel) -> ContextNetwork:
        """The network whose `export` is `model`, which must come from an `export`."""
        template = model.template if model.template_id == EXPLICIT else model.template_id
        net = cls(template, len(model.hidden_bias), scan=model.scan)
        one = 2.0 ** -(_HIDDEN_BITS + _HIDDEN_SHIFT)
        gain = np.array([1, _SCALE_GAIN], np.float32)
        scales = (one, one, 2.0 ** (_HIDDEN_BITS - _OUTPUT_SHIFT) / gain[:, None], 2.0**-_OUTPUT_SHIFT / gain)
        sources = (model.hidden_weight, model.hidden_bias, model.output_weight, model.output_bias)
        parameters = (net.hidden_weight, net.hidden_bias, net.output_weight, net.output_bias)
        with torch.no_grad():
            for parameter, source, scale in zip(parameters, sources, scales):
                parameter.copy_(torch.from_numpy((source * scale).astype(np.float32)))
        return net

    def _integers(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The integer parameters, still differentiable."""
        one = 2.0 ** (_HIDDEN_BITS + _HIDDEN_SHIFT)
        w1 = _round(self.hidden_weight * one).clamp(-127, 127)
        b1 = _round(self.hidden_bias * one).clamp(-32767, 32767)
        gain = self.output_bias.new_tensor([1.0, _SCALE_GAIN])
        w2 = _round(self.output_weight * gain[:, None] * 2.0 ** (_OUTPUT_SHIFT - _HIDDEN_BITS)).clamp(-127, 127)
        b2 = _round(self.output_bias * gain * 2.0**_OUTPUT_SHIFT).clamp(-(1 << 21), 1 << 21)
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
            False, 1, self.scan, self.template_id, self.template,
            _HIDDEN_SHIFT, w1.astype(np.int8), b1.astype(np.int16), _OUTPUT_SHIFT, _OUTPUT_SHIFT,
            w2.astype(np.int8), b2.astype(np.int32))
