"""The rate of quantised tensors: a differentiable estimate, and the integer model it becomes.

Symbols follow a Laplace distribution whose location and scale a small network predicts
from decoded neighbours (MM 2024, section 3.3; spec 6.4). The network here is trained
with the roundings of its integer form, so that what it predicts is what the decoder's
integer arithmetic predicts.
"""
from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch

from refcodec.entropy.laplace import LAPLACE, SCALES, laplace_tables
from refcodec.entropy.mixture import MIXTURE_DISTANCE, MIXTURE_WIDE, SHAPES, mixture_tables
from refcodec.entropy.models import HIDDEN_LIMIT, INPUT_LIMIT, LOCATION_LIMIT, ContextModel
from refcodec.quantisation import table_index
from refcodec.syntax.families import ProbabilityFamily
from refcodec.syntax.registry import EXPLICIT, SOURCES, TEMPLATES, is_activity, is_magnitude, is_previous

# Tables that training knows, by number: mixtures, then Laplace.
TABLES = (*mixture_tables(), *laplace_tables())
LAPLACE_TABLE = len(mixture_tables())  # number of the first of these
SCAN = (0, 1, 1, 1)  # wavefronts: all the spatial templates look at lower coordinates only
Scan = tuple[int, int, int, int]
Template = tuple[tuple[int, int, int, int, int], ...]
# Fixed-point formats of the integer network, in bits after the binary point.
_HIDDEN_BITS, _HIDDEN_SHIFT = 4, 3  # hidden units, and the shift that brings sums there
_OUTPUT_SHIFT = 10
_SCALE_GAIN = 8  # table numbers that one unit of the scale output stands for: evens out the learning rates


def laplace_bits(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """−log2 of a Laplace distribution's mass on [x − ½, x + ½] (location 0), any shape."""
    a, half = x.abs(), 0.5 / scale
    # ln sinh(half), without overflow
    log_sinh = half + torch.log(-torch.expm1(-2 * half)) - math.log(2)
    outside = a / scale - log_sinh
    near = a.clamp(max=0.5)
    inside = -torch.log1p(-0.5 * (torch.exp((near - 0.5) / scale) + torch.exp(-(near + 0.5) / scale)))
    return torch.where(a < 0.5, inside, outside) / math.log(2)


def mixture_bits(x: torch.Tensor, index: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    """`laplace_bits` of a mixture (spec 6.9): of the scale of table `index` and one further on, in parts that `shape`
    says. Between two shapes its gradient is that of a straight line between their parts."""
    wide = torch.tensor(MIXTURE_WIDE, dtype=x.dtype, device=x.device) / 64
    shape = shape.clamp(0, len(MIXTURE_WIDE) - 1)
    low = torch.floor(shape.detach()).long().clamp(max=len(MIXTURE_WIDE) - 2)
    parts = wide[low] + (shape - low) * (wide[low + 1] - wide[low])
    near = torch.log2(1 - parts) - laplace_bits(x, table_scale(index))
    far = torch.log2(parts) - laplace_bits(x, table_scale((index + MIXTURE_DISTANCE).clamp(max=SCALES - 1)))
    return -torch.logaddexp2(near, far)


@cache
def _code_lengths() -> tuple[torch.Tensor, torch.Tensor]:
    """Bits of |x| under every table, its escape where it does not hold x, up to one beyond the longest reach; and the
    reach of each table."""
    reach = torch.tensor([-t.low for t in TABLES])
    bits = torch.empty((len(TABLES), int(reach.max()) + 2))
    for row, table in zip(bits, TABLES):
        row.fill_(float(table.bits[-1]))
        row[: 1 - table.low] = torch.from_numpy(table.bits[-table.low : -1])
    return bits, reach


def coded_bits(x: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """Bits that a table spends on x, escapes included (spec 6.5, 6.7, 6.9).

    x: distance from the location, whole numbers, of any shape that `table`, numbers among TABLES, broadcasts to.
    """
    bits, reach = (t.to(x.device) for t in _code_lengths())
    size, table = x.abs().long(), table.long()
    excess = (size - reach[table]).clamp(min=0)
    prefix = torch.floor(torch.log2(excess.clamp(min=1).double())).to(x.dtype)
    return bits[table, size.clamp(max=bits.shape[1] - 1)] + torch.where(excess > 0, 2 * prefix + 2, 0)


def laplace_slope(x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Derivative of the expectation of `laplace_bits(x + u)` over u uniform on [−½, ½]."""
    a = x.abs()
    inner = laplace_bits((a - 0.5).clamp(max=0.5), scale)
    half = 0.5 / scale
    log_sinh = half + torch.log(-torch.expm1(-2 * half)) - math.log(2)
    outer = ((a + 0.5) / scale - log_sinh) / math.log(2)
    # Beyond 1 both ends lie on the same straight line.
    return torch.where(a < 1, outer - inner, 1 / (scale * math.log(2))) * torch.sign(x)


_BINS, _SLOPE_REACH = 64, 4  # intervals of `slope_table` along |x| per unit; its reach
ROW_LENGTH = _BINS * _SLOPE_REACH + 1
UNCODED_ROW = len(TABLES) * ROW_LENGTH


@cache
def slope_table(device: torch.device | str) -> torch.Tensor:
    """`laplace_slope`, or that of a mixture, for every one of TABLES (rows) and |x| in steps of 1 / 64 up to 4, beyond
    which it is taken as constant; the last row is zero: ((220 + 44 + 1) * 257,)."""
    x = (torch.arange(ROW_LENGTH).double() + 0.5).clamp(max=ROW_LENGTH - 1) / _BINS
    index = torch.arange(SCALES)[:, None].double()
    rows = [mixture_bits(x + 0.5, index, torch.full_like(index, shape))
            - mixture_bits((x - 0.5).abs(), index, torch.full_like(index, shape)) for shape in range(SHAPES)]
    rows.append(laplace_slope(x[None], table_scale(index)))
    return torch.cat([*rows, torch.zeros_like(rows[0][:1])]).float().reshape(-1).to(device)


def tabled_slope(table: torch.Tensor, x: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
    """Derivative of the bits at x read from `slope_table`; row: int32 table numbers times ROW_LENGTH."""
    column = (x.abs() * _BINS).clamp_(max=ROW_LENGTH - 1).int()
    return table[column.add_(row).long()] * torch.sign(x)


_FARTHEST = 511  # distance from the location, at and beyond which `code_length` stays as it is


@cache
@torch.enable_grad()
def _code_length_table(device: torch.device) -> torch.Tensor:
    """For every one of TABLES, and distances x = 0 .. _FARTHEST: bits by `laplace_bits` or `mixture_bits` and their
    derivatives with respect to x, the number of the scale and that of the shape, (tables · distances, 4)."""
    shape = (SCALES, _FARTHEST + 1)
    distance, index = torch.arange(_FARTHEST + 1.0).expand(shape), torch.arange(float(SCALES))[:, None].expand(shape)
    kinds = [(mixture_bits, float(shape)) for shape in range(SHAPES)] + [(None, 0.0)]
    found = []
    for mixture, number in kinds:
        x, k, form = (a.double().requires_grad_() for a in (distance, index, torch.full(shape, number)))
        bits = mixture(x, k, form) if mixture else laplace_bits(x, table_scale(k)) + 0 * form
        found.append(torch.stack([bits, *torch.autograd.grad(bits.sum(), (x, k, form))], -1).detach())
    return torch.cat(found).float().reshape(-1, 4).to(device)


class _CodeLength(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, scale: torch.Tensor, shape: torch.Tensor | None) -> torch.Tensor:
        family = LAPLACE_TABLE if shape is None else SCALES * shape.long()
        table = _code_length_table(x.device)
        ctx.found = table[(family + scale.long()) * (_FARTHEST + 1) + x.abs().clamp(max=_FARTHEST).long()]
        ctx.sign, ctx.shapes = torch.sign(x), scale.shape
        bits: torch.Tensor = ctx.found[..., 0]
        return bits

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        _, of_x, of_scale, of_shape = (gradient[..., None] * ctx.found).unbind(-1)
        mixture = ctx.needs_input_grad[2]
        return (of_x * ctx.sign if ctx.needs_input_grad[0] else None, of_scale.sum_to_size(ctx.shapes),
                of_shape.sum_to_size(ctx.shapes) if mixture else None)


def code_length(x: torch.Tensor, scale: torch.Tensor, shape: torch.Tensor | None = None) -> torch.Tensor:
    """`laplace_bits` at scale number `scale`, or `mixture_bits` where there is a shape, from a table that has the
    derivatives too: fitting a network takes half the time. Whole numbers; `scale` and `shape` broadcast to x."""
    bits: torch.Tensor = _CodeLength.apply(x, scale, shape)  # type: ignore[no-untyped-call]
    return bits


def table_scale(index: torch.Tensor) -> torch.Tensor:
    """Scale b of Laplace table `index` (spec 6.7); fractions lie between the tables."""
    return 0.06 * torch.exp2(index / 4)


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
    """Gathers the inputs of a context model for the symbols of one tensor (spec 6.4).

    template: a registered one's `template_id`, or its neighbours. current, previous: quantised values (z, y, x, C);
    previous may be None (all zero). scan: weights of the decoding order, which says what is decoded before a symbol.
    blocks: cells from one frequency to the next.
    """

    def __init__(self, template: int | Template, current: torch.Tensor, previous: torch.Tensor | None,
                 scan: Scan = SCAN, blocks: tuple[int, int, int] = (1, 1, 1)):
        self.template, self.shape = neighbours(template), current.shape
        places = [tuple(d * (b if SOURCES[source].by_frequency else 1) for d, b in zip(offset, blocks))
                  for source, _, *offset in self.template]
        inside = [all(abs(p) < n for p, n in zip(place, self.shape)) for place in places]
        there = [place for place, possible in zip(places, inside) if possible]
        reach = [max((abs(place[axis]) for place in there), default=0) for axis in range(3)]
        padding = [0, 0] + [r for r in reversed(reach) for _ in (0, 1)]
        channels = self.shape[3]
        # Of each frame: values, sums of magnitudes up to each channel, and zero, cell by cell.
        frames = [current]
        if any(is_previous(source) for source, *_ in self.template):
            frames.append(torch.zeros_like(current) if previous is None else previous)
        planes = [_seen(torch.nn.functional.pad(values.float().clamp(-INPUT_LIMIT, INPUT_LIMIT), padding))
                  for values in frames]
        self._flat, size = torch.cat([p.reshape(-1) for p in planes]), 2 * channels + 1
        padded = planes[0].shape
        stride = (padded[1] * padded[2] * size, padded[2] * size, size)
        self._stride, self._first = stride, sum(r * s for r, s in zip(reach, stride))
        # Cells with anything but zeros around them: all others get one and the same prediction.
        busy = [p[..., 2 * channels - 1] > 0 for p in planes]
        active = torch.zeros(self.shape[:3], dtype=torch.bool, device=current.device)
        # Of each neighbour that there can be: its input, where it lies from a cell's row, and by channel the column.
        self._inputs: list[tuple[int, torch.Tensor, bool]] = []
        for i, ((source, dc, *_), place, possible) in enumerate(zip(self.template, places, inside)):
            if not possible:
                continue
            before = is_previous(source)
            z, y, x = (slice(r + p, r + p + n) for r, p, n in zip(reach, place, self.shape))
            active |= busy[before][z, y, x]
            ahead = 0 if before else int(np.dot(scan[1:], place))
            start = before * planes[0].numel() + sum(p * s for p, s in zip(place, stride))
            columns = [start + _column(source, c + dc, c, channels, None if before else (scan[0], ahead))
                       for c in range(channels)]
            self._inputs.append((i, torch.tensor(columns, device=current.device), is_magnitude(source)))
        self.active = active.reshape(-1)

    @property
    def input_count(self) -> int:
        return len(self.template)

    def inputs(self, cells: torch.Tensor) -> torch.Tensor:
        """Inputs at cells (n,), raster indices: (n·C, N) float32, channels of a cell together."""
        _, height, width, channels = self.shape
        x, y, z = cells % width, cells // width % height, cells // (width * height)
        rows = self._first + z * self._stride[0] + y * self._stride[1] + x * self._stride[2]
        found = torch.zeros((len(cells), channels, self.input_count), device=self._flat.device)
        for i, columns, magnitude in self._inputs:
            values = self._flat[rows[:, None] + columns]
            found[..., i] = values.abs() if magnitude else values
        return found.reshape(-1, self.input_count)


def _column(source: int, near: int, channel: int, channels: int, order: tuple[int, int] | None) -> int:
    """Column of `_seen` that an input reads. near: the neighbour's channel. order: the scan's weight of the channel
    and by how much the neighbour's key exceeds that of the cell's; None in the previous frame."""
    known = channels  # of the neighbour's channels, those with lower keys than the symbol
    if order is not None:
        weight, ahead = order
        known = min(max(channel - ahead // weight, 0), channels) if weight else channels * (ahead < 0)
    if is_activity(source):
        return channels + known - 1 if known else 2 * channels
    return near if 0 <= near < known else 2 * channels


def _seen(values: torch.Tensor) -> torch.Tensor:
    """Values (..., C), sums of magnitudes up to each channel, clamped, and zero: (..., 2C + 1)."""
    sums = values.abs().cumsum(-1).clamp(max=INPUT_LIMIT)
    return torch.cat([values, sums, torch.zeros_like(values[..., :1])], -1)


class ContextNetwork(torch.nn.Module):
    """The trainable form of a per-channel `ContextModel`; template: as in `Neighbourhood`.

    family: LAPLACE, or MIXTURE with locations of 0. Parameters are real numbers in the units of the field's symbols;
    `forward` rounds them, and everything computed from them, as the integer model does (spec 6.4).
    """

    gain: torch.Tensor  # of the outputs, in units of the stream

    def __init__(self, template: int | Template, hidden: int, generator: torch.Generator | None = None,
                 scan: Scan = SCAN, family: ProbabilityFamily = LAPLACE):
        super().__init__()
        self.template_id = template if isinstance(template, int) else EXPLICIT
        self.template, self.scan, self.family = neighbours(template), scan, family
        inputs, outputs = len(self.template), family.outputs
        self.register_buffer("gain", torch.tensor([float(not family.has_shape), _SCALE_GAIN, 1.0])[:outputs])
        self.hidden_weight = torch.nn.Parameter(
            0.5 * torch.randn((hidden, inputs), generator=generator) / math.sqrt(max(inputs, 1)))
        self.hidden_bias = torch.nn.Parameter(torch.zeros(hidden))
        if family.has_shape:  # whose inputs are magnitudes: half of the units grow with them, half fade, none is dead
            with torch.no_grad():
                fading = slice((hidden + 1) // 2, None)
                self.hidden_weight.abs_()[fading] *= -1
                self.hidden_bias[fading] = torch.linspace(1, 3, hidden // 2)
        self.output_weight = torch.nn.Parameter(0.02 * torch.randn((outputs, hidden), generator=generator))
        self.output_bias = torch.nn.Parameter(torch.tensor([0.0, table_index(0.5) / _SCALE_GAIN, 1.5])[:outputs])

    @classmethod
    def from_model(cls, model: ContextModel) -> ContextNetwork:
        """The network whose `export` is `model`, which must come from an `export`."""
        template = model.template if model.template_id == EXPLICIT else model.template_id
        net = cls(template, len(model.hidden_bias), scan=model.scan, family=model.family)
        one = 2.0 ** -(_HIDDEN_BITS + _HIDDEN_SHIFT)
        gain = np.maximum(net.gain.numpy(), 1)  # locations that are always 0 have the gain 0
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
        gain = self.gain
        w2 = _round(self.output_weight * gain[:, None] * 2.0 ** (_OUTPUT_SHIFT - _HIDDEN_BITS)).clamp(-127, 127)
        b2 = _round(self.output_bias * gain * 2.0**_OUTPUT_SHIFT).clamp(-(1 << 21), 1 << 21)
        return w1, b1, w2, b2

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """inputs (n, N) -> location, scale and, of mixtures, shape (n,), whole numbers."""
        w1, b1, w2, b2 = self._integers()
        hidden = torch.nn.functional.linear(inputs, w1, b1)
        hidden = _round(hidden / 2.0**_HIDDEN_SHIFT).clamp(0, HIDDEN_LIMIT)
        out = _round(torch.nn.functional.linear(hidden, w2, b2) / 2.0**_OUTPUT_SHIFT)
        location, scale = out[:, 0].clamp(-LOCATION_LIMIT, LOCATION_LIMIT), out[:, 1].clamp(0, SCALES - 1)
        return location, scale, out[:, 2].clamp(0, SHAPES - 1) if self.family.has_shape else None

    def bits(self, values: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """Differentiable code length of values (n, ...) in contexts (n, N)."""
        location, scale, shape = self(inputs)
        over = (-1, *[1] * (values.ndim - 1))
        x = values - location.reshape(over)
        return code_length(x, scale.reshape(over), None if shape is None else shape.reshape(over))

    def tables(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Location and number among TABLES (n,), for contexts (n, N)."""
        location, scale, shape = self(inputs)
        return location, (LAPLACE_TABLE if shape is None else SCALES * shape) + scale

    def export(self) -> ContextModel:
        """The integer model of the stream."""
        w1, b1, w2, b2 = (p.detach().cpu().numpy() for p in self._integers())
        return ContextModel(
            False, 1, self.scan, self.template_id, self.template,
            _HIDDEN_SHIFT, w1.astype(np.int8), b1.astype(np.int16), _OUTPUT_SHIFT, _OUTPUT_SHIFT,
            w2.astype(np.int8), b2.astype(np.int32), self.family, _OUTPUT_SHIFT if self.family.has_shape else 0)
