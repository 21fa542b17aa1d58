"""From sizes to a sequence header: what the representations' builders share."""
from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, Union

from refcodec.syntax.headers import (
    Alignment,
    FieldParameters,
    Mapping,
    Representation,
    Role,
    SequenceHeader,
    TensorInfo,
)

if TYPE_CHECKING:
    import numpy as np

_MOST_SAMPLES = 4096  # along an axis (R-SEQ-12)


# Density shift under which a density grid of zeros is a faint haze, which has a gradient to follow.
HAZE = -4.0

# Two corners (x, y, z), scene coordinates.
Aabb: TypeAlias = Union[Sequence[Sequence[float]], "np.ndarray"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSizes:
    """Sizes of a field of any kind in a preset.

    features: colour features. render_hidden: units in each hidden layer of the colour
    network. weight_frac_bits: fixed-point precision of reconstructed weights and biases.
    """

    features: int
    render_hidden: int = 64
    feature_frequencies: int = 2
    direction_frequencies: int = 2
    density_shift: float = -10.0
    density_scale: float = 25.0
    weight_frac_bits: int = 16

    def colour_layers(self, features: int, hidden_layers: int = 2) -> list[TensorInfo]:
        """The colour network's tensors: biases everywhere but in the last layer."""
        inputs = features * (1 + 2 * self.feature_frequencies) + 3 * (1 + 2 * self.direction_frequencies)
        widths = (inputs, *(self.render_hidden,) * hidden_layers, 3)
        return layers(widths, Role.RENDER_WEIGHT, Role.RENDER_BIAS, self.weight_frac_bits)

    def basis_layer(self, inputs: int) -> list[TensorInfo]:
        """A fusion network of one matrix without bias, `inputs` to `features`; nothing for 0 features."""
        return layers((inputs, self.features), Role.FUSION_WEIGHT, Role.FUSION_BIAS,
                      self.weight_frac_bits) if self.features else []


def layers(widths: Sequence[int], weight_role: Role, bias_role: Role, frac_bits: int, *, skip: int = 0,
           last_bias: bool = False) -> list[TensorInfo]:
    """Weights and biases of a network; widths: inputs, hidden units, outputs.

    skip: the layer that takes the network's inputs besides its own; 0: none.
    """
    tensors = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        if i and i == skip:
            inputs += widths[0]
        tensors.append(TensorInfo(weight_role, i, (1, 1, outputs, inputs), frac_bits))
        if last_bias or i < len(widths) - 2:
            tensors.append(TensorInfo(bias_role, i, (1, 1, 1, outputs), frac_bits))
    return tensors


def linear_grid(role: Role, index: int, channels: int, sides: Sequence[int], frac_bits: int,
                alignment: Alignment = Alignment.CORNERS) -> TensorInfo:
    """A grid over the whole box; sides: samples along x, y, z."""
    return TensorInfo(role, index, (channels, sides[2], sides[1], sides[0]), frac_bits, Mapping.LINEAR, alignment)


def planes(role: Role, channels: int, sides: Sequence[int], frac_bits: int) -> list[TensorInfo]:
    """Three planes: the one of index k has one sample along axis k (0 = x)."""
    return [linear_grid(role, k, channels, [1 if axis == k else n for axis, n in enumerate(sides)], frac_bits)
            for k in range(3)]


def lines(role: Role, channels: int, sides: Sequence[int], frac_bits: int) -> list[TensorInfo]:
    """Three lines: the one of index k has one sample along the axes besides k."""
    return [linear_grid(role, k, channels, [n if axis == k else 1 for axis, n in enumerate(sides)], frac_bits)
            for k in range(3)]


def _three(values: Iterable[int]) -> tuple[int, int, int]:
    a, b, c = values
    return a, b, c


class Box:
    """A bounding box in a header's units.

    aabb: (2, 3) scene coordinates, rounded outwards to the header's precision. Raises
    ValueError for an empty box.
    """

    def __init__(self, aabb: Aabb):
        low, high = ([float(v) for v in corner] for corner in aabb)
        self.exponent = math.ceil(math.log2(max(map(abs, low + high)))) - 20
        self.low = _three(math.floor(v * 2.0**-self.exponent) for v in low)
        self.high = _three(math.ceil(v * 2.0**-self.exponent) for v in high)
        self.extent = [b - a for a, b in zip(self.low, self.high)]
        if min(self.extent) <= 0:
            raise ValueError("the bounding box is empty")

    def sides(self, cells: int) -> list[int]:
        """Samples along x, y, z of a grid with as many cells as a cube of `cells` a side."""
        cell = math.prod(self.extent) ** (1 / 3) / cells
        return [min(max(2, round(e / cell)), _MOST_SAMPLES) for e in self.extent]

    def header(self, representation: Representation, sizes: FieldSizes, tensors: Iterable[TensorInfo], *,
               network: dict[str, int] | None = None, ticks_per_second: int = 1000, occupancy_side: int = 64,
               samples_per_diagonal: int = 128, background: Sequence[int] = (255, 255, 255)) -> SequenceHeader:
        """The sequence header of a field over the box.

        network: the parameters that only a NeRF has. occupancy_side: voxels along the
        longest side of the box. background: 8-bit sRGB.
        """
        return SequenceHeader(
            representation=representation,
            ticks_per_second=ticks_per_second,
            aabb_min=self.low, aabb_max=self.high, aabb_exponent=self.exponent,
            occupancy_dims=_three(max(1, round(occupancy_side * e / max(self.extent))) for e in self.extent),
            samples_per_diagonal=samples_per_diagonal,
            background=_three(background),
            tensors=tuple(tensors),
            parameters=FieldParameters(sizes.density_shift, sizes.density_scale, sizes.feature_frequencies,
                                       sizes.direction_frequencies, **network or {}),
        )
