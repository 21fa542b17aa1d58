"""Probability models of a tensor's symbols, as the stream carries them (spec 6.4 to 6.9)."""
from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from ..syntax.families import ProbabilityFamily
from ..syntax.registry import EXPLICIT, SOURCES, Assignment, ChannelMode, ModelType, is_activity
from ..syntax.structures import (
    ContextModelSyntax,
    EntropyModelSyntax,
    NeighbourSyntax,
    StaticModelSyntax,
    StaticTableSyntax,
    input_count,
    template_of,
)
from .laplace import LAPLACE
from .tables import Table, static_table

INPUT_LIMIT = 127  # inputs are clamped to -127 .. 127
HIDDEN_LIMIT = 1023  # hidden units to 0 .. 1023
LOCATION_LIMIT = 127

ONE_TABLE, BY_CHANNEL, BY_BAND, BY_BAND_AND_CHANNEL = Assignment


@dataclass(frozen=True, eq=False)
class ContextModel:
    """The integer network that chooses location and table from decoded neighbours (spec 6.4).

    family: of the tables.
    joint: all channels of a cell are predicted at once. scan: weights (c, z, y, x)
    of the decoding order. template: neighbours (source, dc, dz, dy, dx).
    hidden_weight (H, N) int8, hidden_bias (H,) int16, output_weight (KC, H) int8,
    output_bias (KC,) int32; C = channels of a joint model, else 1; K = outputs of the family.
    """

    joint: bool
    channels: int
    scan: tuple[int, int, int, int]
    template_id: int
    template: tuple[tuple[int, int, int, int, int], ...]
    hidden_shift: int
    hidden_weight: np.ndarray
    hidden_bias: np.ndarray
    location_shift: int
    scale_shift: int
    output_weight: np.ndarray
    output_bias: np.ndarray
    family: ProbabilityFamily = LAPLACE
    shape_shift: int = 0

    @classmethod
    def from_syntax(cls, v: ContextModelSyntax) -> ContextModel:
        h, n, c = v.hidden_count, input_count(v), v.model_channels
        family = ProbabilityFamily.of(v.family)
        outputs = family.outputs * c

        def array(values: tuple[int, ...], dtype: type[np.signedinteger[Any]], *shape: int) -> np.ndarray:
            return np.array(values, dtype).reshape(shape)

        return cls(v.channel_mode == ChannelMode.JOINT, c, v.scan_weight, v.template_id, tuple(template_of(v)),
                   v.hidden_shift or 0, array(v.hidden_weight, np.int8, h, n),
                   array(v.hidden_bias, np.int16, h), v.location_shift, v.scale_shift,
                   array(v.output_weight, np.int8, outputs, h), array(v.output_bias, np.int32, outputs), family,
                   v.shape_shift or 0)

    def to_syntax(self) -> ContextModelSyntax:
        explicit = self.template_id == EXPLICIT
        return ContextModelSyntax(
            family=self.family, channel_mode=int(self.joint), model_channels=self.channels, scan_weight=self.scan,
            template_id=self.template_id, neighbour_count=len(self.template) if explicit else None,
            neighbour=tuple(
                NeighbourSyntax(neighbour_source=source, offset_c=c, offset_z=z, offset_y=y, offset_x=x)
                for source, c, z, y, x in self.template) if explicit else (),
            hidden_count=len(self.hidden_bias), hidden_shift=self.hidden_shift if len(self.hidden_bias) else None,
            hidden_weight=tuple(self.hidden_weight.reshape(-1).tolist()),
            hidden_bias=tuple(self.hidden_bias.tolist()), location_shift=self.location_shift,
            scale_shift=self.scale_shift, shape_shift=self.shape_shift if self.family.has_shape else None,
            output_weight=tuple(self.output_weight.reshape(-1).tolist()),
            output_bias=tuple(self.output_bias.tolist()))

    @classmethod
    def fixed(cls, location: list[int], scale: list[int], family: ProbabilityFamily = LAPLACE) -> ContextModel:
        """A model without inputs: one location and table for each channel (one: for all)."""
        c = len(location)
        bias = np.array([location, scale], np.int32).T.reshape(-1)
        return cls(c > 1, c, (0, 0, 0, 0), 0, (), 0, np.zeros((0, 0), np.int8),
                   np.zeros(0, np.int16), 0, 0, np.zeros((2 * c, 0), np.int8), bias, family)

    @property
    def tables(self) -> tuple[Table, ...]:
        return self.family.tables()

    @property
    def shifts(self) -> tuple[int, ...]:
        """Right shifts of a channel's outputs, (K,)."""
        shifts = self.location_shift, self.scale_shift, self.shape_shift
        return shifts[:self.family.outputs]

    @cached_property
    def _layers(self) -> Any:
        # Rounding constants go into the biases. All sums stay below 2**24 in absolute
        # value (spec 6.4), so float32 products are exact in any order of summation.
        hidden_round = (1 << self.hidden_shift) >> 1
        shifts = np.tile(self.shifts, self.channels)
        f = np.float32
        return (self.hidden_weight.astype(f), (self.hidden_bias.astype(f) + f(hidden_round))[:, None],
                f(2.0**-self.hidden_shift), self.output_weight.astype(f),
                (self.output_bias.astype(f) + ((1 << shifts) >> 1)).astype(f)[:, None],
                (2.0**-shifts).astype(f)[:, None])

    def predict(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """inputs: (N, n) float32 holding integers. Returns location (C, n) int32, table (C, n) uint8."""
        w1, b1, s1, w2, b2, s2 = self._layers
        if len(b1):
            hidden = w1 @ inputs
            hidden += b1
            hidden *= s1
            np.floor(hidden, out=hidden)
            np.maximum(hidden, 0, out=hidden)
            np.minimum(hidden, HIDDEN_LIMIT, out=hidden)
            out = w2 @ hidden
            out += b2
        else:
            out = np.repeat(b2, inputs.shape[1], axis=1)
        out *= s2
        np.floor(out, out=out)
        out = out.reshape(self.channels, self.family.outputs, -1)
        location = np.clip(out[:, 0], -LOCATION_LIMIT, LOCATION_LIMIT).astype(np.int32)
        if not self.family.has_location:
            location[:] = 0
        return location, self.family.table_index(out)


@lru_cache(maxsize=256)  # a model serves many tensors of a few sizes
def on_array(model: ContextModel, spatial: tuple[int, int, int], blocks: tuple[int, int, int]) -> ContextModel:
    """A model for coefficient arrays of `spatial` (z, y, x) samples: the same with offsets that all count cells, and
    without the neighbours that lie outside for every cell. blocks: cells from one frequency to the next."""
    template: list[tuple[int, int, int, int, int]] = []
    columns: list[int] = []
    column = 0
    for source, dc, *offset in model.template:
        width = model.channels if model.joint and not is_activity(source) else 1
        dz, dy, dx = (d * (b if SOURCES[source].by_frequency else 1) for d, b in zip(offset, blocks))
        if all(abs(d) < n for d, n in zip((dz, dy, dx), spatial)):
            template.append((SOURCES[source].by_cell, dc, dz, dy, dx))
            columns += range(column, column + width)
        column += width
    if tuple(template) == model.template:
        return model
    return replace(model, template=tuple(template), hidden_weight=model.hidden_weight[:, np.array(columns, int)])


@dataclass(frozen=True, eq=False)
class StaticModel:
    """Tables sent as they are (spec 6.6).

    entries: for each table (first_value, counts). assignment: what a symbol's table
    depends on, its channel, its band or both; with both, table band * C + channel.
    """

    entries: tuple[tuple[int, tuple[int, ...]], ...]
    assignment: int = ONE_TABLE

    @classmethod
    def from_syntax(cls, v: StaticModelSyntax) -> StaticModel:
        return cls(tuple((t.first_value, t.count) for t in v.table), v.assignment)

    def to_syntax(self) -> StaticModelSyntax:
        return StaticModelSyntax(
            assignment=self.assignment, table_count=len(self.entries),
            table=tuple(StaticTableSyntax(first_value=f, entry_count=len(c), count=c) for f, c in self.entries))

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        return tuple(static_table(first, counts) for first, counts in self.entries)

    def table_of(self, cells: int, channels: int, band: np.ndarray | None) -> np.ndarray:
        """Table of every symbol, uint8 (cells, channels). band: of each cell, None: all 0."""
        table = np.zeros((cells, channels), np.uint8)
        if self.assignment in (BY_BAND, BY_BAND_AND_CHANNEL) and band is not None:
            table += band[:, None] * np.uint8(1 if self.assignment == BY_BAND else channels)
        if self.assignment in (BY_CHANNEL, BY_BAND_AND_CHANNEL):
            table += np.arange(channels, dtype=np.uint8)
        return table


EntropyModel = ContextModel | StaticModel


def model_from_syntax(v: EntropyModelSyntax) -> EntropyModel:
    """From a parsed `entropy_model` structure."""
    if v.context is not None:
        return ContextModel.from_syntax(v.context)
    assert v.static is not None, "the other of the two types"
    return StaticModel.from_syntax(v.static)


def model_to_syntax(model_id: int, model: EntropyModel) -> EntropyModelSyntax:
    """The values of an `entropy_model` structure."""
    if isinstance(model, ContextModel):
        return EntropyModelSyntax(model_id=model_id, model_type=ModelType.CONTEXT, context=model.to_syntax(),
                                  static=None)
    return EntropyModelSyntax(model_id=model_id, model_type=ModelType.STATIC, context=None, static=model.to_syntax())


def work(model: EntropyModel, shape: tuple[int, int, int, int]) -> int:
    """Multiplications to predict every symbol of a tensor, were all cells coded (spec 5.4)."""
    if isinstance(model, StaticModel):
        return 0
    channels, depth, height, width = shape
    uses = depth * height * width * (1 if model.joint else channels)
    return uses * (model.hidden_weight.size + model.output_weight.size)


def wavefronts(model: EntropyModel, shape: tuple[int, int, int, int]) -> int:
    """Upper bound of the wavefronts of a tensor (C, z, y, x), which are decoded one after the other (spec 6.3); 1 under
    static tables, whose symbols depend on no other."""
    if isinstance(model, StaticModel):
        return 1
    channels = shape[0] if model.scan[0] else 1
    last = sum(weight * (size - 1) for weight, size in zip(model.scan, shape))
    return min(last + 1, channels * math.prod(shape[1:]))


def fits(model: EntropyModel, channels: int, bands: int) -> bool:
    """Whether a model can serve a tensor with these numbers of channels and bands (R-TEN-07)."""
    if isinstance(model, ContextModel):
        return not model.joint or model.channels == channels
    return len(model.entries) == (1, channels, bands, bands * channels)[model.assignment]


def occupancy_fault(model: EntropyModel) -> str | None:
    """The requirement that a model of the occupancy breaks; None for one that can serve."""
    if not fits(model, 1, 1):
        return "R-OCC-06"
    return None if codes(model, bits=True) else "R-OCC-07"


def codes(model: EntropyModel, *, bits: bool) -> bool:
    """Whether a model can serve mask bits, or values (R-TEN-13)."""
    return not isinstance(model, ContextModel) or model.family.codes_bits == bits
