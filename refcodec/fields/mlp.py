"""A network of the encoded position (spec 8.9; Mildenhall et al., "NeRF", 2020)."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from refcodec.arrays import Array
from refcodec.fields.field import Field
from refcodec.fields.networks import encode, network
from refcodec.fields.ops import Ops
from refcodec.fields.sizes import Aabb, Box, FieldSizes, layers
from refcodec.syntax.headers import Representation, Role, SequenceHeader, TensorInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpSizes(FieldSizes):
    """What a preset fixes about a NeRF; defaults are the `tiny` sizes.

    position_frequencies: of the encoding of the position.
    hidden_layers, hidden: layers and units of the fusion network, and of the coarse one.
    skip_layer: layer that sees the encoded position again; 0: none.
    coarse_samples, fine_samples: per ray; 0 and 0: no coarse network.
    The colour network has one hidden layer.

    NeRF as published: MlpSizes(position_frequencies=10, hidden_layers=8, hidden=256,
    skip_layer=5, features=256, render_hidden=128, coarse_samples=64, fine_samples=128).
    """

    position_frequencies: int = 6
    hidden_layers: int = 4
    hidden: int = 64
    skip_layer: int = 2
    features: int = 32
    feature_frequencies: int = 0
    direction_frequencies: int = 4
    density_shift: float = -1.0
    density_scale: float = 10.0
    coarse_samples: int = 0
    fine_samples: int = 0


class NetworkField(Field):
    """Evaluates a NeRF."""

    def __init__(self, header: SequenceHeader, tensors: Sequence[Array], ops: Ops):
        super().__init__(header, tensors, ops)
        self._coarse = self._layers(Role.COARSE_WEIGHT, Role.COARSE_BIAS)

    def _evaluate(self, x: Array) -> tuple[Array, Array]:
        h = self._network(self._fusion, x)
        return h[:, 0], h[:, 1:]

    def coarse_density(self, x: Array) -> Array:
        """Density (N,) of the coarse network at points x (N, 3), for the sampling of spec 9.6."""
        return self._sigma(self._network(self._coarse, x)[:, 0])

    def _network(self, stack: Sequence[tuple[Array, Array | None]], x: Array) -> Array:
        ops, p = self.ops, self.parameters
        u = (x - self.box_min) * (2 / (self.box_max - self.box_min)) - 1
        encoded = ops.concatenate([u, encode(ops, u, p.position_frequencies)])
        return network(ops, stack, encoded, p.skip_layer)


def mlp_header(sizes: MlpSizes, aabb: Aabb, **options: Any) -> SequenceHeader:
    """The sequence header of a NeRF; aabb, options: as in `Box` and `Box.header`."""
    def stack(outputs: int, weight_role: Role, bias_role: Role) -> list[TensorInfo]:
        widths = (3 + 6 * sizes.position_frequencies, *(sizes.hidden,) * sizes.hidden_layers, outputs)
        return layers(widths, weight_role, bias_role, sizes.weight_frac_bits, skip=sizes.skip_layer)

    tensors = stack(1, Role.COARSE_WEIGHT, Role.COARSE_BIAS) if sizes.coarse_samples else []
    tensors += stack(1 + sizes.features, Role.FUSION_WEIGHT, Role.FUSION_BIAS)
    network_parameters = dict(position_frequencies=sizes.position_frequencies, skip_layer=sizes.skip_layer,
                              coarse_samples=sizes.coarse_samples, fine_samples=sizes.fine_samples)
    return Box(aabb).header(Representation.MLP, sizes, tensors + sizes.colour_layers(sizes.features, 1),
                            network=network_parameters, **options)
