"""Three feature planes and a density grid (spec 8.7; Chan et al., "EG3D", 2022, for the planes)."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from refcodec.arrays import Array
from refcodec.fields.field import GridField
from refcodec.fields.ops import Ops
from refcodec.fields.sizes import Aabb, Box, FieldSizes, linear_grid, planes
from refcodec.syntax.headers import Representation, Role, SequenceHeader


@dataclass(frozen=True, slots=True)
class TriplaneSizes(FieldSizes):
    """What a preset fixes about a triplane field; defaults are the `tiny` sizes.

    plane_channels: of each of the three planes.
    plane_side, density_side: cells along the side of a cubic box; other boxes get the
        same number of cells, spread in proportion to their sides.
    features: outputs of the matrix behind the planes; 0: there is none, the planes'
        values are the features.
    grid_frac_bits: fixed-point precision of the reconstructed planes and grid.
    """

    plane_channels: int = 12
    plane_side: int = 96
    density_side: int = 48
    _: KW_ONLY
    features: int = 12
    grid_frac_bits: int = 16


class TriplaneField(GridField):
    """Evaluates a triplane field."""

    def __init__(self, header: SequenceHeader, tensors: Sequence[Array], ops: Ops):
        super().__init__(header, tensors, ops)
        self._density = self._grids(Role.DENSITY_GRID)
        self._planes = self._grids(Role.FEATURE_PLANE)

    def _density_feature(self, x: Array) -> Array:
        return self._density(x)[0][:, 0]

    def _fusion_input(self, x: Array) -> Array:
        return self.ops.concatenate(self._planes(x))


def triplane_header(sizes: TriplaneSizes, aabb: Aabb, **options: Any) -> SequenceHeader:
    """The sequence header of a triplane field; aabb, options: as in `Box` and `Box.header`."""
    box = Box(aabb)
    grid, inputs = sizes.grid_frac_bits, 3 * sizes.plane_channels
    tensors = [linear_grid(Role.DENSITY_GRID, 0, 1, box.sides(sizes.density_side), grid),
               *planes(Role.FEATURE_PLANE, sizes.plane_channels, box.sides(sizes.plane_side), grid)]
    tensors += sizes.basis_layer(inputs) + sizes.colour_layers(sizes.features or inputs)
    return box.header(Representation.TRIPLANE, sizes, tensors, **options)
