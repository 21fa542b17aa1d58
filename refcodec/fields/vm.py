"""Vector-matrix factors (spec 8.6; Chen et al., "TensoRF", 2022).

Density and features are sums and concatenations of planes times lines.
"""
from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from refcodec.fields.roles import DENSITY_LINE, DENSITY_PLANE, FEATURE_LINE, FEATURE_PLANE, FUSION_BIAS, FUSION_WEIGHT
from refcodec.fields.rule import Branch, Combination, FeatureSet, FieldRule, TensorList, TensorListFault, product_terms
from refcodec.fields.sizes import Aabb, Box, FieldSizes, lines, planes
from refcodec.syntax.headers import Representation, SequenceHeader


@dataclass(frozen=True, slots=True)
class VmSizes(FieldSizes):
    """Sizes of vector-matrix factors in a preset; defaults are the `tiny` sizes.

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


class VectorMatrixFactors(Representation):
    """VM: three terms of two factors, a plane and a line, summed for the density and concatenated for the features."""

    title = "vector-matrix factors, TensoRF (8.6)"
    sizes = VmSizes
    presets = {
        "micro": VmSizes(4, 6, 32, features=6, render_hidden=16, feature_frequencies=1),
        "tiny": VmSizes(),
        "small": VmSizes(8, 24, 160, features=20),
        "paper": VmSizes(16, 48, 300, features=27, render_hidden=128),
    }
    training = dict(initial_step=0.02, inter_step=0.05, rate_start=0.1, rate_after=80, grid_rate=0.04)
    by_preset = {"paper": dict(grid_rate=0.02)}
    systems = ("rate-aware", "masked-wavelet", "ecrf")

    def rule(self, header: SequenceHeader) -> FieldRule:
        tensors = TensorList(header)
        density = tensors.planes(DENSITY_PLANE), tensors.lines(DENSITY_LINE)
        feature = tensors.planes(FEATURE_PLANE), tensors.lines(FEATURE_LINE)
        for of_planes, of_lines in (density, feature):
            if tensors.channels(of_planes) != tensors.channels(of_lines):
                raise TensorListFault("a plane and its line have different numbers of channels")
        network, outputs = tensors.network("fusion", FUSION_WEIGHT, FUSION_BIAS, tensors.width(feature[0]),
                                           optional=True)
        return tensors.finish(Branch(FeatureSet(product_terms(*feature)), network),
                              Branch(FeatureSet(product_terms(*density), Combination.SUM)), outputs)

    def header(self, sizes: VmSizes, aabb: Aabb, **options: Any) -> SequenceHeader:
        box = Box(aabb)
        sides, grid = box.sides(sizes.resolution), sizes.grid_frac_bits
        tensors = [*planes(DENSITY_PLANE, sizes.density_components, sides, grid),
                   *lines(DENSITY_LINE, sizes.density_components, sides, grid),
                   *planes(FEATURE_PLANE, sizes.feature_components, sides, grid),
                   *lines(FEATURE_LINE, sizes.feature_components, sides, grid)]
        inputs = 3 * sizes.feature_components
        tensors += sizes.basis_layer(inputs) + sizes.colour_layers(sizes.features or inputs)
        return box.header(self, sizes, tensors, **options)


VM = VectorMatrixFactors.add(2, "VM")
