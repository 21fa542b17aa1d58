"""Whether a tensor list makes a field of its representation (spec 8.1)."""
from __future__ import annotations

from .headers import Mapping, Role, SequenceHeader


def tensor_list_fault(header: SequenceHeader) -> str | None:
    """What is wrong with the tensor list of a dictionary field; None when nothing is."""
    tensors = list(header.tensors)

    def take(role: Role, index: int):
        if tensors and (tensors[0].role, tensors[0].index) == (role, index):
            return tensors.pop(0)
        return None

    coefficient = take(Role.DIF_COEFFICIENT, 0)
    if coefficient is None or coefficient.mapping != Mapping.LINEAR:
        return "the list does not begin with a coefficient grid of linear mapping"
    bases = []
    while (basis := take(Role.DIF_BASIS, len(bases))) is not None:
        if basis.mapping == Mapping.NONE:
            return f"basis {len(bases)} has no mapping"
        bases.append(basis)
    if sum(b.shape[0] for b in bases) != coefficient.shape[0]:
        return "the channels of the bases do not add up to those of the coefficient grid"
    width = coefficient.shape[0]
    for name, weight_role, bias_role in (("fusion", Role.FUSION_WEIGHT, Role.FUSION_BIAS),
                                         ("render", Role.RENDER_WEIGHT, Role.RENDER_BIAS)):
        layers = 0
        while (weight := take(weight_role, layers)) is not None:
            outputs = weight.shape[2]
            if weight.mapping != Mapping.NONE or weight.shape != (1, 1, outputs, width):
                return f"{name} layer {layers} does not take the {width} values before it"
            bias = take(bias_role, layers)
            if bias is not None and (bias.mapping != Mapping.NONE or bias.shape != (1, 1, 1, outputs)):
                return f"the bias of {name} layer {layers} does not have {outputs} values"
            width, layers = outputs, layers + 1
        if not layers:
            return f"there is no {name} layer 0"
        if name == "fusion":
            features, p = width - 1, header.parameters
            if features < 1:
                return "the fusion network has no output besides the density"
            width = features * (1 + 2 * p.feature_frequencies) + 3 + 6 * p.direction_frequencies
    if width != 3:
        return "the last render layer does not have 3 outputs"
    if tensors:
        return f"unexpected tensor of role {int(tensors[0].role)}, index {tensors[0].index}"
    return None
