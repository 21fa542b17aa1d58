"""A network of the encoded position (spec 8.9; Mildenhall et al., "NeRF", 2020)."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from refcodec.fields.roles import FUSION_BIAS, FUSION_WEIGHT
from refcodec.fields.rule import Branch, Coarse, EncodedPosition, FieldRule, FirstOutput, TensorList, TensorListFault
from refcodec.fields.sizes import Aabb, Box, FieldSizes, layers
from refcodec.syntax.headers import Representation, Role, SequenceHeader, TensorInfo
from refcodec.syntax.representation import Start

COARSE_WEIGHT = Role.add(20, "COARSE_WEIGHT", meaning="weights of layer `role_index` of the coarse network",
                         network=True, start=Start.FAN_IN)
COARSE_BIAS = Role.add(21, "COARSE_BIAS", meaning="biases of the same", network=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpSizes(FieldSizes):
    """Sizes of a NeRF in a preset; defaults are the `tiny` sizes.

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


class NeuralField(Representation):
    """MLP: the encoded position through the fusion network, and perhaps through a coarse one that places samples."""

    title = "multi-layer perceptron, NeRF (8.9)"
    has_network_parameters = True
    sizes = MlpSizes
    presets = {
        "micro": MlpSizes(position_frequencies=4, hidden_layers=3, hidden=32, features=8, render_hidden=16),
        "tiny": MlpSizes(),
        "small": MlpSizes(position_frequencies=8, hidden_layers=6, hidden=128, skip_layer=3, features=64),
        "paper": MlpSizes(position_frequencies=10, hidden_layers=8, hidden=256, skip_layer=5, features=256,
                          render_hidden=128, coarse_samples=64, fine_samples=128),
    }
    by_preset = {"micro": dict(network_rate=1e-2),
                 "tiny": dict(network_rate=1e-2, intra_iterations=1500, lagrangian=5e-3),
                 "paper": dict(network_rate=5e-4)}
    systems = ("cnerf",)

    def rule(self, header: SequenceHeader) -> FieldRule:
        tensors, p = TensorList(header), header.parameters
        position, width = EncodedPosition(p.position_frequencies), 3 + 6 * p.position_frequencies
        coarse = None
        if p.coarse_samples:
            network, outputs = tensors.network("coarse", COARSE_WEIGHT, COARSE_BIAS, width, skip=p.skip_layer)
            if outputs != 1:
                raise TensorListFault("the coarse network does not have one output")
            coarse = Coarse(Branch(position, network), p.coarse_samples, p.fine_samples)
        network, outputs = tensors.network("fusion", FUSION_WEIGHT, FUSION_BIAS, width, skip=p.skip_layer)
        return tensors.finish(Branch(position, network), FirstOutput(), outputs, coarse)

    def header(self, sizes: MlpSizes, aabb: Aabb, **options: Any) -> SequenceHeader:
        def stack(outputs: int, weight_role: Role, bias_role: Role) -> list[TensorInfo]:
            widths = (3 + 6 * sizes.position_frequencies, *(sizes.hidden,) * sizes.hidden_layers, outputs)
            return layers(widths, weight_role, bias_role, sizes.weight_frac_bits, skip=sizes.skip_layer)

        tensors = stack(1, COARSE_WEIGHT, COARSE_BIAS) if sizes.coarse_samples else []
        tensors += stack(1 + sizes.features, FUSION_WEIGHT, FUSION_BIAS)
        network_parameters = dict(position_frequencies=sizes.position_frequencies, skip_layer=sizes.skip_layer,
                                  coarse_samples=sizes.coarse_samples, fine_samples=sizes.fine_samples)
        return Box(aabb).header(self, sizes, tensors + sizes.colour_layers(sizes.features, 1),
                                network=network_parameters, **options)


MLP = NeuralField.add(5, "MLP")
