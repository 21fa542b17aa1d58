"""Vector-matrix factors (spec 8.6; Chen et al., "TensoRF", 2022).

Density and features are sums and concatenations of planes times lines.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

from refcodec.arrays import Array
from refcodec.fields.field import GridField
from refcodec.fields.ops import Ops
from refcodec.fields.sizes import Aabb, Box, FieldSizes, lines, planes
from refcodec.syntax.headers import Representation, Role, SequenceHeader


@dataclass(frozen=True, slots=True)
class VmSizes(FieldSizes):
    """What a preset fixes about vector-matrix factors; defaults are the `tiny` sizes.

    density_components, feature_components: channels of each plane and line.
    resolution: cells along the side of a cubic box; other boxes get the same number of
        cells, spread in proportion to their sides.
    features: outputs of the basis matrix; 0: there is none, the products are the features.
    grid_frac_bits: fixed-point precision of the reconstructed planes and lines.

    TensoRF as published: VmSizes(16, 48, 300, features=27, render_hidden=128).
    """

    density_components: int = 4
    feature_components: int = 12
    resolution: int = 96
    _: KW_ONLY
    features: int = 12
    grid_frac_bits: int = 16


class VectorMatrixField(GridField):
    """Evaluates vector-matrix factors."""

    def __init__(self, header: SequenceHeader, tensors: Sequence[Array], ops: Ops):
        super().__init__(header, tensors, ops)
        self._density = self._grids(Role.DENSITY_PLANE, Role.DENSITY_LINE)
        self._feature = self._grids(Role.FEATURE_PLANE, Role.FEATURE_LINE)

    def _density_feature(self, x: Array) -> Array:
        first, *others = [product.sum(1) for product in _products(self._density(x))]
        return sum(others, first)

    def _fusion_input(self, x: Array) -> Array:
        return self.ops.concatenate(_products(self._feature(x)))


def _products(values: Sequence[Array]) -> Array:
    """(N, C) of each plane times its line; values: of the three planes, then of the lines."""
    return [plane * line for plane, line in zip(values[:3], values[3:])]


def vm_header(sizes: VmSizes, aabb: Aabb, **options: Any) -> SequenceHeader:
    """The sequence header of vector-matrix factors; aabb, options: as in `Box` and `Box.header`."""
    box = Box(aabb)
    sides, grid = box.sides(sizes.resolution), sizes.grid_frac_bits
    tensors = [*planes(Role.DENSITY_PLANE, sizes.density_components, sides, grid),
               *lines(Role.DENSITY_LINE, sizes.density_components, sides, grid),
               *planes(Role.FEATURE_PLANE, sizes.feature_components, sides, grid),
               *lines(Role.FEATURE_LINE, sizes.feature_components, sides, grid)]
    inputs = 3 * sizes.feature_components
    tensors += sizes.basis_layer(inputs) + sizes.colour_layers(sizes.features or inputs)
    return box.header(Representation.VM, sizes, tensors, **options)
