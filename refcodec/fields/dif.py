"""The dictionary field (spec 8.1 to 8.5; Chen et al., "Factor Fields", 2023).

A point looks up a coefficient vector in a coarse grid and a basis vector in several
grids that repeat across the box; their product goes through a small network whose
first output is density and whose others are colour features.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from refcodec.arrays import Array
from refcodec.fields.field import Field
from refcodec.fields.networks import network
from refcodec.fields.ops import Ops
from refcodec.fields.sizes import Aabb, Box, FieldSizes, layers, linear_grid
from refcodec.syntax.headers import Alignment, Mapping, Representation, Role, SequenceHeader, TensorInfo


@dataclass(frozen=True, slots=True)
class DifSizes(FieldSizes):
    """What a preset fixes about a dictionary field; defaults are the `tiny` sizes.

    coefficient_side: cells along the side of a cubic box; other boxes get the same
        number of cells, spread in proportion to their sides.
    basis_sides, basis_channels, frequencies: one entry per basis grid; frequencies in
        periods over the longest side of the box.
    fusion_hidden: units in the hidden layer of the fusion network.
    grid_frac_bits: fixed-point precision of the reconstructed grids.
    """

    coefficient_side: int = 16
    basis_sides: tuple[int, ...] = (16, 24, 32, 40, 48, 56)
    basis_channels: tuple[int, ...] = (4, 4, 4, 2, 2, 2)
    frequencies: tuple[float, ...] = (2.0, 3.2, 4.4, 5.6, 6.8, 8.0)
    _: KW_ONLY
    fusion_hidden: int = 64
    features: int = 31
    direction_frequencies: int = 6
    grid_frac_bits: int = 16


class DictionaryField(Field):
    """Evaluates a dictionary field."""

    def __init__(self, header: SequenceHeader, tensors: Sequence[Array], ops: Ops):
        super().__init__(header, tensors, ops)
        self._lookup = self._grids(Role.DIF_COEFFICIENT, Role.DIF_BASIS)

    def _evaluate(self, x: Array) -> tuple[Array, Array]:
        coefficients, *bases = self._lookup(x)
        h = network(self.ops, self._fusion, coefficients * self.ops.concatenate(bases))
        return h[:, 0], h[:, 1:]


def dif_header(sizes: DifSizes, aabb: Aabb, **options: Any) -> SequenceHeader:
    """The sequence header of a dictionary field; aabb, options: as in `Box` and `Box.header`."""
    box = Box(aabb)
    channels, grid = sum(sizes.basis_channels), sizes.grid_frac_bits
    tensors = [linear_grid(Role.DIF_COEFFICIENT, 0, channels, box.sides(sizes.coefficient_side), grid,
                           Alignment.CENTRES)]
    for i, (c, d, f) in enumerate(zip(sizes.basis_channels, sizes.basis_sides, sizes.frequencies, strict=True)):
        tensors.append(TensorInfo(Role.DIF_BASIS, i, (c, d, d, d), grid, Mapping.SAWTOOTH, Alignment.CORNERS,
                                  round(f * 65536)))
    tensors += layers((channels, sizes.fusion_hidden, sizes.features + 1), Role.FUSION_WEIGHT, Role.FUSION_BIAS,
                      sizes.weight_frac_bits)
    return box.header(Representation.DIF, sizes, tensors + sizes.colour_layers(sizes.features), **options)
