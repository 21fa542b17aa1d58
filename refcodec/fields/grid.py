"""A density grid and a feature grid (spec 8.8; Sun et al., "Direct Voxel Grid Optimization", 2022)."""
from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from refcodec.fields.roles import DENSITY_GRID, FEATURE_GRID, FUSION_BIAS, FUSION_WEIGHT
from refcodec.fields.rule import Branch, Combination, FeatureSet, FieldRule, TensorList, product_terms
from refcodec.fields.sizes import HAZE, Aabb, Box, FieldSizes, linear_grid
from refcodec.syntax.headers import Representation, SequenceHeader


@dataclass(frozen=True, slots=True)
class GridSizes(FieldSizes):
    """Sizes of a dense grid in a preset; defaults are the `tiny` sizes.

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


class DenseGrid(Representation):
    """GRID: one term of one factor, and a density grid."""

    title = "dense grid (8.8)"
    sizes = GridSizes
    presets = {
        "micro": GridSizes(20, 16, 4, render_hidden=16, feature_frequencies=1, density_shift=HAZE),
        "tiny": GridSizes(density_shift=HAZE),
        "small": GridSizes(112, 80, 12, density_shift=HAZE),
        "paper": GridSizes(160, 160, 12, render_hidden=128, density_shift=HAZE),
    }
    training = dict(initial_step=0.1, rate_start=0.2, grid_rate=0.3)
    systems = ("rate-aware", "masked-wavelet", "ecrf")

    def rule(self, header: SequenceHeader) -> FieldRule:
        tensors = TensorList(header)
        density, feature = tensors.grid(DENSITY_GRID), tensors.grid(FEATURE_GRID)
        tensors.one_channel(density)
        network, outputs = tensors.network("fusion", FUSION_WEIGHT, FUSION_BIAS, tensors.width((feature,)),
                                           optional=True)
        return tensors.finish(Branch(FeatureSet(product_terms((feature,))), network),
                              Branch(FeatureSet(product_terms((density,)), Combination.SUM)), outputs)

    def header(self, sizes: GridSizes, aabb: Aabb, **options: Any) -> SequenceHeader:
        box = Box(aabb)
        grid, inputs = sizes.grid_frac_bits, sizes.feature_channels
        tensors = [linear_grid(DENSITY_GRID, 0, 1, box.sides(sizes.density_side), grid),
                   linear_grid(FEATURE_GRID, 0, inputs, box.sides(sizes.feature_side), grid)]
        tensors += sizes.basis_layer(inputs) + sizes.colour_layers(sizes.features or inputs)
        return box.header(self, sizes, tensors, **options)


GRID = DenseGrid.add(4, "GRID")
