"""The dictionary field (spec chapter 8.2 to 8.5; Chen et al., "Factor Fields", 2023).

A point looks up a coefficient vector in a coarse grid and a basis vector in several
grids that repeat across the box; their product goes through a small network whose
first output is density and whose others are colour features.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

from refcodec.syntax.headers import (
    Alignment,
    DifParameters,
    Mapping,
    Representation,
    Role,
    SequenceHeader,
    TensorInfo,
)


@dataclass(frozen=True, slots=True)
class DifSizes:
    """What a preset fixes about a dictionary field; defaults are the `tiny` sizes.

    coefficient_side: cells along the side of a cubic box; other boxes get the same
        number of cells, spread in proportion to their sides.
    basis_sides, basis_channels, frequencies: one entry per basis grid; frequencies in
        periods over the longest side of the box.
    features: colour features, the outputs of the fusion network less the density.
    grid_frac_bits, weight_frac_bits: fixed-point precision of the reconstructed tensors.
    """

    coefficient_side: int = 16
    basis_sides: tuple[int, ...] = (16, 24, 32, 40, 48, 56)
    basis_channels: tuple[int, ...] = (4, 4, 4, 2, 2, 2)
    frequencies: tuple[float, ...] = (2.0, 3.2, 4.4, 5.6, 6.8, 8.0)
    fusion_hidden: int = 64
    features: int = 31
    render_hidden: int = 64
    feature_frequencies: int = 2
    direction_frequencies: int = 6
    density_shift: float = -10.0
    density_scale: float = 25.0
    grid_frac_bits: int = 16
    weight_frac_bits: int = 16


class DictionaryField:
    """Evaluates a dictionary field; made by `refcodec.fields.build`.

    ops: the array library. box_min, box_max: corners of the box, (3,) arrays.
    """

    def __init__(self, header: SequenceHeader, tensors, ops):
        self.ops, self.parameters = ops, header.parameters
        low, high = header.box
        self.box_min, self.box_max = ops.asarray(low), ops.asarray(high)
        self._longest = max(b - a for a, b in zip(low, high))
        self._extent = self.box_max - self.box_min

        by_role: dict[Role, list] = {}
        for info, tensor in zip(header.tensors, tensors, strict=True):
            by_role.setdefault(info.role, []).append((info, ops.asarray(tensor)))
        for entries in by_role.values():
            entries.sort(key=lambda entry: entry[0].index)
        self._coefficient = self._grid(*by_role[Role.DIF_COEFFICIENT][0])
        self._bases = [self._grid(*entry) for entry in by_role[Role.DIF_BASIS]]
        self._fusion = _layers(by_role, Role.FUSION_WEIGHT, Role.FUSION_BIAS)
        self._render = _layers(by_role, Role.RENDER_WEIGHT, Role.RENDER_BIAS)

    def _grid(self, info: TensorInfo, tensor):
        return info, self.ops.table(tensor)

    def density(self, x):
        """Density and colour features at points in the box (spec 8.2 to 8.4).

        x: (N, 3) scene coordinates. Returns sigma (N,) per scene unit of length, and
        features (N, F), the input of `radiance`.
        """
        ops = self.ops
        info, table = self._coefficient
        coefficients = ops.interpolate(table, *ops.corners(self._position(info, x), info.shape[1:]))
        bases = [ops.interpolate(table, *ops.corners(self._position(info, x), info.shape[1:]))
                 for info, table in self._bases]
        h = _network(ops, self._fusion, coefficients * ops.concatenate(bases))
        p = self.parameters
        return ops.softplus(h[:, 0] + p.density_shift) * p.density_scale, h[:, 1:]

    def radiance(self, features, directions, rays=None):
        """Colour in [0, 1] (spec 8.5).

        features: (N, F) from `density`. directions: (N, 3) unit vectors in which the
        rays travel, or, with rays (N,) integers, (R, 3) of which sample n uses row
        rays[n]: the part of the first layer that depends on the direction is then
        computed once a ray. Returns (N, 3).
        """
        ops, p = self.ops, self.parameters
        f, d = features.shape[1], directions.shape[1]
        (weight, bias), *rest = self._render
        e = f + d + 2 * p.feature_frequencies * f  # inputs: f, d, encoded f, encoded d
        along = ops.linear(directions, weight[:, f:f + d], bias)
        along = along + ops.linear(_encode(ops, directions, p.direction_frequencies), weight[:, e:])
        if rays is not None:
            along = along[rays]
        h = ops.linear(features, weight[:, :f]) + along
        h = h + ops.linear(_encode(ops, features, p.feature_frequencies), weight[:, f + d:e])
        return ops.sigmoid(_network(ops, rest, ops.relu(h)))

    def _position(self, info: TensorInfo, x):
        """Position in units of grid samples, inside [0, size - 1] on each axis (spec 8.3)."""
        ops, (dz, dy, dx) = self.ops, info.shape[1:]
        size = ops.asarray((dx, dy, dz))
        if info.mapping == Mapping.SAWTOOTH:
            u = (x - self.box_min) * (info.frequency / 65536 / self._longest)
            u = u - ops.floor(u)
        else:
            u = ops.clamp((x - self.box_min) / self._extent, 0.0, 1.0)
        if info.alignment == Alignment.CORNERS:
            return u * (size - 1)
        return ops.clamp(u * size - 0.5, ops.asarray((0, 0, 0)), size - 1)


def _layers(by_role, weight_role, bias_role):
    biases = {info.index: tensor.reshape(-1) for info, tensor in by_role.get(bias_role, ())}
    return [(tensor.reshape(tensor.shape[2:]), biases.get(info.index)) for info, tensor in by_role[weight_role]]


def _network(ops, layers, h):
    for i, (weight, bias) in enumerate(layers):
        h = ops.linear(h, weight, bias)
        if i < len(layers) - 1:
            h = ops.relu(h)
    return h


def _encode(ops, x, frequencies: int):
    """Sinusoidal encoding (N, D) -> (N, 2·D·frequencies): all sines, then all cosines (spec 8.5)."""
    scaled = (x[:, :, None] * ops.asarray([2.0**k for k in range(frequencies)])).reshape(x.shape[0], x.shape[1] * frequencies)
    return ops.concatenate([ops.sin(scaled), ops.cos(scaled)])


def dif_header(sizes: DifSizes, aabb, *, ticks_per_second: int = 1000, occupancy_side: int = 64,
               samples_per_diagonal: int = 128, background=(255, 255, 255)) -> SequenceHeader:
    """The sequence header of a dictionary field over a box.

    aabb: (2, 3) scene coordinates, rounded outwards to the header's precision.
    occupancy_side: voxels along the longest side of the box. background: 8-bit sRGB.
    """
    low, high = ([float(v) for v in corner] for corner in aabb)
    exponent = math.ceil(math.log2(max(map(abs, low + high)))) - 20
    low = [math.floor(v * 2.0**-exponent) for v in low]
    high = [math.ceil(v * 2.0**-exponent) for v in high]
    extent = [b - a for a, b in zip(low, high)]
    if min(extent) <= 0:
        raise ValueError("the bounding box is empty")

    channels = sum(sizes.basis_channels)
    cell = math.prod(extent) ** (1 / 3) / sizes.coefficient_side
    side = [max(2, round(e / cell)) for e in extent]
    grid, weight = sizes.grid_frac_bits, sizes.weight_frac_bits
    tensors = [TensorInfo(Role.DIF_COEFFICIENT, 0, (channels, *side[::-1]), grid, Mapping.LINEAR, Alignment.CENTRES)]
    for i, (c, d, f) in enumerate(zip(sizes.basis_channels, sizes.basis_sides, sizes.frequencies, strict=True)):
        tensors.append(TensorInfo(Role.DIF_BASIS, i, (c, d, d, d), grid, Mapping.SAWTOOTH, Alignment.CORNERS,
                                  round(f * 65536)))
    fusion = (channels, sizes.fusion_hidden, sizes.features + 1)
    encoded = sizes.features * (1 + 2 * sizes.feature_frequencies) + 3 * (1 + 2 * sizes.direction_frequencies)
    render = (encoded, sizes.render_hidden, sizes.render_hidden, 3)
    for widths, weight_role, bias_role in ((fusion, Role.FUSION_WEIGHT, Role.FUSION_BIAS),
                                           (render, Role.RENDER_WEIGHT, Role.RENDER_BIAS)):
        for i, (inputs, outputs) in enumerate(zip(widths, widths[1:])):
            tensors.append(TensorInfo(weight_role, i, (1, 1, outputs, inputs), weight))
            if i < len(widths) - 2:
                tensors.append(TensorInfo(bias_role, i, (1, 1, 1, outputs), weight))
    return SequenceHeader(
        representation=Representation.DIF,
        ticks_per_second=ticks_per_second,
        aabb_min=tuple(low), aabb_max=tuple(high), aabb_exponent=exponent,
        occupancy_dims=tuple(max(1, round(occupancy_side * e / max(extent))) for e in extent),
        samples_per_diagonal=samples_per_diagonal,
        background=tuple(background),
        tensors=tuple(tensors),
        parameters=DifParameters(sizes.density_shift, sizes.density_scale,
                                 sizes.feature_frequencies, sizes.direction_frequencies),
    )
