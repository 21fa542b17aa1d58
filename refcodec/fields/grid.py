"""A density grid and a feature grid (spec 8.8; Sun et al., "Direct Voxel Grid Optimization", 2022)."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from refcodec.arrays import Array
from refcodec.fields.field import GridField
from refcodec.fields.ops import Ops
from refcodec.fields.sizes import Aabb, Box, FieldSizes, linear_grid
from refcodec.syntax.headers import Representation, Role, SequenceHeader


@dataclass(frozen=True, slots=True)
class GridSizes(FieldSizes):
    """What a preset fixes about a dense grid; defaults are the `tiny` sizes.

    density_side, feature_side: cells along the side of a cubic box; other boxes get the
        same number of cells, spread in proportion to their sides.
    feature_channels: of the feature grid.
    features: outputs of the matrix behind the grid; 0: there is none, the grid's values
        are the features.
    grid_frac_bits: fixed-point precision of the reconstructed grids.
    """

    density_side: int = 64
    feature_side: int = 48
    feature_channels: int = 8
    _: KW_ONLY
    features: int = 0
    grid_frac_bits: int = 16


class VoxelField(GridField):
    """Evaluates a dense grid."""

    def __init__(self, header: SequenceHeader, tensors: Sequence[Array], ops: Ops):
        super().__init__(header, tensors, ops)
        self._density, self._feature = self._grids(Role.DENSITY_GRID), self._grids(Role.FEATURE_GRID)

    def _density_feature(self, x: Array) -> Array:
        return self._density(x)[0][:, 0]

    def _fusion_input(self, x: Array) -> Array:
        return self._feature(x)[0]


def grid_header(sizes: GridSizes, aabb: Aabb, **options: Any) -> SequenceHeader:
    """The sequence header of a dense grid; aabb, options: as in `Box` and `Box.header`."""
    box = Box(aabb)
    grid, inputs = sizes.grid_frac_bits, sizes.feature_channels
    tensors = [linear_grid(Role.DENSITY_GRID, 0, 1, box.sides(sizes.density_side), grid),
               linear_grid(Role.FEATURE_GRID, 0, inputs, box.sides(sizes.feature_side), grid)]
    tensors += sizes.basis_layer(inputs) + sizes.colour_layers(sizes.features or inputs)
    return box.header(Representation.GRID, sizes, tensors, **options)
