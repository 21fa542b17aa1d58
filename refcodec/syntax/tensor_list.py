"""Whether a tensor list makes a field of its representation (spec 8.1)."""
from __future__ import annotations

from collections.abc import Callable

from .headers import Mapping, Representation, Role, SequenceHeader, TensorInfo

# Grids that a representation has, in order: role, number (None: one or more), what is 1 in
# (z, y, x) as a function of the index k: k is the axis (0 = x) that a plane lacks and a line has.

def _plane(k: int) -> tuple[int, ...]:
    return (2 - k,)


def _line(k: int) -> tuple[int, ...]:
    return tuple(a for a in range(3) if a != 2 - k)


def _free(_k: int) -> tuple[int, ...]:
    return ()


GRIDS = {
    Representation.DIF: ((Role.DIF_COEFFICIENT, 1, _free), (Role.DIF_BASIS, None, _free)),
    Representation.VM: ((Role.DENSITY_PLANE, 3, _plane), (Role.DENSITY_LINE, 3, _line),
                        (Role.FEATURE_PLANE, 3, _plane), (Role.FEATURE_LINE, 3, _line)),
    Representation.TRIPLANE: ((Role.DENSITY_GRID, 1, _free), (Role.FEATURE_PLANE, 3, _plane)),
    Representation.GRID: ((Role.DENSITY_GRID, 1, _free), (Role.FEATURE_GRID, 1, _free)),
    Representation.MLP: (),
}


class _Fault(Exception):
    pass


class _List:
    """The tensors that are still to be accounted for."""

    def __init__(self, tensors: tuple[TensorInfo, ...]):
        self.tensors = list(tensors)

    def take(self, role: Role, index: int) -> TensorInfo | None:
        if self.tensors and (self.tensors[0].role, self.tensors[0].index) == (role, index):
            return self.tensors.pop(0)
        return None


def tensor_list_fault(header: SequenceHeader) -> str | None:
    """What is wrong with the tensor list of a field; None when nothing is."""
    try:
        _check(header)
    except _Fault as fault:
        return str(fault)
    return None


def _check(header: SequenceHeader) -> None:
    remaining, p = _List(header.tensors), header.parameters
    grids = {role: _grids(remaining, role, number, single) for role, number, single in GRIDS[header.representation]}
    channels = {role: [t.shape[0] for t in tensors] for role, tensors in grids.items()}
    match header.representation:
        case Representation.DIF:
            if grids[Role.DIF_COEFFICIENT][0].mapping != Mapping.LINEAR:
                raise _Fault("the coefficient grid's mapping is not linear")
            width = channels[Role.DIF_COEFFICIENT][0]
            if sum(channels[Role.DIF_BASIS]) != width:
                raise _Fault("the channels of the bases do not add up to those of the coefficient grid")
        case Representation.VM:
            for planes, lines in ((Role.DENSITY_PLANE, Role.DENSITY_LINE), (Role.FEATURE_PLANE, Role.FEATURE_LINE)):
                if channels[planes] != channels[lines]:
                    raise _Fault("a plane and its line have different numbers of channels")
            width = sum(channels[Role.FEATURE_PLANE])
        case Representation.TRIPLANE:
            width = sum(channels[Role.FEATURE_PLANE])
        case Representation.GRID:
            width = channels[Role.FEATURE_GRID][0]
        case Representation.MLP:
            width = 3 + 6 * p.position_frequencies
    if Role.DENSITY_GRID in channels and channels[Role.DENSITY_GRID] != [1]:
        raise _Fault("the density grid does not have one channel")
    density_inside = header.representation in (Representation.DIF, Representation.MLP)
    if header.representation == Representation.MLP and p.coarse_samples:
        if _network(remaining, "coarse", Role.COARSE_WEIGHT, Role.COARSE_BIAS, width, p.skip_layer) != 1:
            raise _Fault("the coarse network does not have one output")
    skip = p.skip_layer if header.representation == Representation.MLP else 0
    width = _network(remaining, "fusion", Role.FUSION_WEIGHT, Role.FUSION_BIAS, width, skip,
                     optional=not density_inside)
    features = width - density_inside
    if features < 1:
        raise _Fault("the fusion network has no output besides the density")
    width = features * (1 + 2 * p.feature_frequencies) + 3 + 6 * p.direction_frequencies
    if _network(remaining, "render", Role.RENDER_WEIGHT, Role.RENDER_BIAS, width) != 3:
        raise _Fault("the last render layer does not have 3 outputs")
    if remaining.tensors:
        t = remaining.tensors[0]
        raise _Fault(f"unexpected tensor of role {int(t.role)}, index {t.index}")


def _grids(remaining: _List, role: Role, number: int | None,
           single: Callable[[int], tuple[int, ...]]) -> list[TensorInfo]:
    """The grids of one role, in the order of their indices."""
    found: list[TensorInfo] = []
    while len(found) != number and (tensor := remaining.take(role, len(found))) is not None:
        name = f"{role.name.lower()} {len(found)}"
        if tensor.mapping == Mapping.NONE:
            raise _Fault(f"{name} has no mapping")
        if any(tensor.shape[1 + axis] != 1 for axis in single(len(found))):
            raise _Fault(f"{name} has more than one sample along an axis that it lacks")
        found.append(tensor)
    if number is not None and len(found) != number:
        raise _Fault(f"there is no {role.name.lower()} {len(found)}")
    return found


def _network(remaining: _List, name: str, weights: Role, biases: Role, width: int, skip: int = 0,
             optional: bool = False) -> int:
    """Takes the layers of a network of `width` inputs; returns the number of its outputs."""
    inputs, layers = width, 0
    while (weight := remaining.take(weights, layers)) is not None:
        if layers and layers == skip:
            width += inputs
        outputs = weight.shape[2]
        if weight.mapping != Mapping.NONE or weight.shape != (1, 1, outputs, width):
            raise _Fault(f"{name} layer {layers} does not take the {width} values before it")
        bias = remaining.take(biases, layers)
        if bias is not None and (bias.mapping != Mapping.NONE or bias.shape != (1, 1, 1, outputs)):
            raise _Fault(f"the bias of {name} layer {layers} does not have {outputs} values")
        width, layers = outputs, layers + 1
    if not layers and not optional:
        raise _Fault(f"there is no {name} layer 0")
    if layers <= skip and skip:
        raise _Fault(f"the {name} network has no layer {skip} for the position to enter again")
    return width
