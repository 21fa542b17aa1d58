"""The dictionary field (spec 8.1 to 8.5; Chen et al., "Factor Fields", 2023).

A point looks up a coefficient vector in a coarse grid and a basis vector in several
grids that repeat across the box; their product goes through a small network whose
first output is density and whose others are colour features.
"""
from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from refcodec.fields.roles import FUSION_BIAS, FUSION_WEIGHT
from refcodec.fields.rule import Branch, Factor, FeatureSet, FieldRule, FirstOutput, TensorList, TensorListFault, Term
from refcodec.fields.sizes import Aabb, Box, FieldSizes, layers, linear_grid
from refcodec.syntax.headers import Alignment, Mapping, Representation, Role, SequenceHeader, TensorInfo
from refcodec.syntax.representation import Start

DIF_COEFFICIENT = Role.add(1, "DIF_COEFFICIENT", meaning="coefficient grid of a dictionary field", start=Start.ONE)
DIF_BASIS = Role.add(2, "DIF_BASIS", meaning="basis grid `role_index` of a dictionary field", start=Start.RANDOM,
                     resolutions=True)


@dataclass(frozen=True, slots=True)
class DifSizes(FieldSizes):
    """Sizes of a dictionary field in a preset; defaults are the `tiny` sizes.

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


class DictionaryField(Representation):
    """DIF: one term of two factors, coefficients and concatenated bases, through the fusion network."""

    title = "dictionary field (8.2)"
    sizes = DifSizes
    presets = {
        "micro": DifSizes(6, (8, 10, 12), (6, 6, 6), (1.6, 2.4, 3.6), fusion_hidden=16, features=7, render_hidden=16,
                          feature_frequencies=1, direction_frequencies=2),
        "tiny": DifSizes(),
        "small": DifSizes(24, (20, 30, 42, 54, 66, 78), frequencies=(2.0, 3.2, 4.4, 5.6, 6.8, 8.0)),
        # As published (Factor Fields, MM 2024).
        "paper": DifSizes(32, (25, 39, 54, 69, 84, 99), frequencies=(1.94, 3.10, 4.27, 5.43, 6.59, 7.76),
                          render_hidden=128),
    }
    systems = ("rate-aware", "dynamic-dif")

    def rule(self, header: SequenceHeader) -> FieldRule:
        tensors = TensorList(header)
        coefficient, bases = tensors.grid(DIF_COEFFICIENT), tensors.grids(DIF_BASIS)
        if tensors.info(coefficient).mapping != Mapping.LINEAR:
            raise TensorListFault("the coefficient grid's mapping is not linear")
        width = tensors.width((coefficient,))
        if tensors.width(bases) != width:
            raise TensorListFault("the channels of the bases do not add up to those of the coefficient grid")
        network, outputs = tensors.network("fusion", FUSION_WEIGHT, FUSION_BIAS, width)
        product = Term((Factor((coefficient,)), Factor(bases)))
        return tensors.finish(Branch(FeatureSet((product,)), network), FirstOutput(), outputs)

    def header(self, sizes: DifSizes, aabb: Aabb, **options: Any) -> SequenceHeader:
        box = Box(aabb)
        channels, grid = sum(sizes.basis_channels), sizes.grid_frac_bits
        tensors = [linear_grid(DIF_COEFFICIENT, 0, channels, box.sides(sizes.coefficient_side), grid,
                               Alignment.CENTRES)]
        for i, (c, d, f) in enumerate(zip(sizes.basis_channels, sizes.basis_sides, sizes.frequencies, strict=True)):
            tensors.append(TensorInfo(DIF_BASIS, i, (c, d, d, d), grid, Mapping.SAWTOOTH, Alignment.CORNERS,
                                      round(f * 65536)))
        tensors += layers((channels, sizes.fusion_hidden, sizes.features + 1), FUSION_WEIGHT, FUSION_BIAS,
                          sizes.weight_frac_bits)
        return box.header(self, sizes, tensors + sizes.colour_layers(sizes.features), **options)


DIF = DictionaryField.add(1, "DIF")
