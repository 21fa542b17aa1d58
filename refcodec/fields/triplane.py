"""Three feature planes and a density grid (spec 8.7; Chan et al., "EG3D", 2022, for the planes)."""
from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from refcodec.fields.roles import DENSITY_GRID, FEATURE_PLANE, FUSION_BIAS, FUSION_WEIGHT
from refcodec.fields.rule import Branch, Combination, FeatureSet, FieldRule, TensorList, product_terms
from refcodec.fields.sizes import HAZE, Aabb, Box, FieldSizes, linear_grid, planes
from refcodec.syntax.headers import Representation, SequenceHeader


@dataclass(frozen=True, slots=True)
class TriplaneSizes(FieldSizes):
    """Sizes of a triplane field in a preset; defaults are the `tiny` sizes.

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


class Triplane(Representation):
    """TRIPLANE: three terms of one factor, concatenated, and a density grid."""

    title = "three planes and a density grid (8.7)"
    sizes = TriplaneSizes
    presets = {
        "micro": TriplaneSizes(6, 32, 16, features=6, render_hidden=16, feature_frequencies=1, density_shift=HAZE),
        "tiny": TriplaneSizes(density_shift=HAZE),
        "small": TriplaneSizes(24, 160, 80, features=20, density_shift=HAZE),
        "paper": TriplaneSizes(48, 300, 160, features=27, render_hidden=128, density_shift=HAZE),
    }
    training = dict(initial_step=0.02, rate_start=0.2, grid_rate=0.1)
    by_preset = {"paper": dict(grid_rate=0.02)}
    systems = ("rate-aware", "masked-wavelet", "ecrf")

    def rule(self, header: SequenceHeader) -> FieldRule:
        tensors = TensorList(header)
        density, planes = tensors.grid(DENSITY_GRID), tensors.planes(FEATURE_PLANE)
        tensors.one_channel(density)
        network, outputs = tensors.network("fusion", FUSION_WEIGHT, FUSION_BIAS, tensors.width(planes), optional=True)
        return tensors.finish(Branch(FeatureSet(product_terms(planes)), network),
                              Branch(FeatureSet(product_terms((density,)), Combination.SUM)), outputs)

    def header(self, sizes: TriplaneSizes, aabb: Aabb, **options: Any) -> SequenceHeader:
        box = Box(aabb)
        grid, inputs = sizes.grid_frac_bits, 3 * sizes.plane_channels
        tensors = [linear_grid(DENSITY_GRID, 0, 1, box.sides(sizes.density_side), grid),
                   *planes(FEATURE_PLANE, sizes.plane_channels, box.sides(sizes.plane_side), grid)]
        tensors += sizes.basis_layer(inputs) + sizes.colour_layers(sizes.features or inputs)
        return box.header(self, sizes, tensors, **options)


TRIPLANE = Triplane.add(3, "TRIPLANE")
