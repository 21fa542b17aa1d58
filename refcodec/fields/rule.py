"""The evaluation rule of a field, as data (spec chapter 8).

    value of a tensor at a point      interpolation over the axes that it has
    factor                            a concatenation of tensors' values along channels
    term                              the elementwise product of its factors
    feature set                       the concatenation of terms, or the sum of all their channels
    branch                            a feature set, or the encoded position, through a network
    density                           activation(density input)
    colour                            network(features, encoded direction)

Every representation builds one `FieldRule` from the tensor list of a sequence header; `refcodec.fields.field`
evaluates it. Tensors are named by their `tensor_id`.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from refcodec.syntax.headers import Mapping, Role, TensorInfo

if TYPE_CHECKING:
    from refcodec.syntax.headers import SequenceHeader


@dataclass(frozen=True, slots=True)
class Factor:
    """Values (N, C) of tensors side by side along channels."""

    tensors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Term:
    """The elementwise product (N, C) of factors of equally many channels."""

    factors: tuple[Factor, ...]


class Combination(Enum):
    """Combination of a feature set's terms to one array: CONCATENATE (N, sum of C), or SUM over all channels (N, 1)."""

    CONCATENATE = "concatenate"
    SUM = "sum"


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Terms at a point."""

    terms: tuple[Term, ...]
    combination: Combination = Combination.CONCATENATE

    @property
    def tensors(self) -> tuple[int, ...]:
        """All tensors, in ascending order, each once."""
        return tuple(sorted({t for term in self.terms for factor in term.factors for t in factor.tensors}))


@dataclass(frozen=True, slots=True)
class EncodedPosition:
    """The position in the box, in [-1, 1], followed by its sinusoidal encoding (R-FLD-17, R-FLD-18)."""

    frequencies: int


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of a network. bias: None: it has none."""

    weight: int
    bias: int | None


@dataclass(frozen=True, slots=True)
class Network:
    """Layers with ReLU between them (R-FLD-08); none: the identity.

    skip: the layer whose inputs are followed by those of the network (R-FLD-19); 0: none.
    """

    layers: tuple[Layer, ...] = ()
    skip: int = 0


@dataclass(frozen=True, slots=True)
class Branch:
    """A network and its inputs."""

    inputs: FeatureSet | EncodedPosition
    network: Network = Network()


@dataclass(frozen=True, slots=True)
class FirstOutput:
    """The density input is the first output of the feature branch; the others are the features."""


@dataclass(frozen=True, slots=True)
class Softplus:
    """density = scale * softplus(input + shift) (R-FLD-04)."""

    shift: float
    scale: float


@dataclass(frozen=True, slots=True)
class Colour:
    """The colour network, of features and directions with their encodings (R-FLD-10)."""

    network: Network
    feature_frequencies: int
    direction_frequencies: int


@dataclass(frozen=True, slots=True)
class Coarse:
    """The density that places samples (spec 9.2.2): the first output of a branch. samples, fine_samples: per ray."""

    branch: Branch
    samples: int
    fine_samples: int


@dataclass(frozen=True, slots=True)
class FieldRule:
    """A field. density: a branch of its own, whose first output is the density input, or an output of `features`."""

    features: Branch
    density: Branch | FirstOutput
    activation: Softplus
    colour: Colour
    coarse: Coarse | None = None


class TensorListFault(Exception):
    """The fault of a header's tensor list (R-SEQ-16), as text."""


def product_terms(*factors: Sequence[int]) -> tuple[Term, ...]:
    """One term for each position: the product of the tensors that the factors have there."""
    return tuple(Term(tuple(Factor((t,)) for t in at)) for at in zip(*factors, strict=True))


class TensorList:
    """The tensors of a header that no part of the rule has claimed yet, in the order of the list (spec 8.1).

    Every method raises TensorListFault.
    """

    def __init__(self, header: SequenceHeader):
        self._infos, self._next = header.tensors, 0
        self._parameters = header.parameters

    def _take(self, role: Role, index: int) -> int | None:
        if self._next < len(self._infos):
            info = self._infos[self._next]
            if (info.role, info.index) == (role, index):
                self._next += 1
                return self._next - 1
        return None

    def info(self, tensor_id: int) -> TensorInfo:
        return self._infos[tensor_id]

    def channels(self, tensors: Sequence[int]) -> list[int]:
        """Channels of each of these tensors."""
        return [self._infos[t].shape[0] for t in tensors]

    def width(self, tensors: Sequence[int]) -> int:
        """Channels of all of these tensors together."""
        return sum(self.channels(tensors))

    def grids(self, role: Role, count: int | None = None) -> tuple[int, ...]:
        """The next tensors, `count` grids of a role (None: as many as there are), in the order of their indices."""
        return self._spatial(role, count, lacking=())

    def grid(self, role: Role) -> int:
        """The next tensor, the one grid of a role."""
        return self.grids(role, 1)[0]

    def planes(self, role: Role) -> tuple[int, ...]:
        """The next tensors, three planes of a role: plane k lacks axis k (0 x, 1 y, 2 z)."""
        return self._spatial(role, 3, lacking=((0,), (1,), (2,)))

    def lines(self, role: Role) -> tuple[int, ...]:
        """The next tensors, three lines of a role: line k has axis k alone."""
        return self._spatial(role, 3, lacking=((1, 2), (0, 2), (0, 1)))

    def _spatial(self, role: Role, count: int | None, lacking: Sequence[Sequence[int]]) -> tuple[int, ...]:
        """lacking: for each tensor, the axes (0 x, 1 y, 2 z) along which it has one sample."""
        found: list[int] = []
        while len(found) != count and (tensor := self._take(role, len(found))) is not None:
            name, info = f"{role.name.lower()} {len(found)}", self._infos[tensor]
            if info.mapping == Mapping.NONE:
                raise TensorListFault(f"{name} has no mapping")
            if lacking and any(info.shape[3 - axis] != 1 for axis in lacking[len(found)]):
                raise TensorListFault(f"{name} has more than one sample along an axis that it lacks")
            found.append(tensor)
        if count is not None and len(found) != count:
            raise TensorListFault(f"there is no {role.name.lower()} {len(found)}")
        return tuple(found)

    def one_channel(self, density_grid: int) -> None:
        """Checks that the density grid has one channel."""
        if self.width((density_grid,)) != 1:
            raise TensorListFault("the density grid does not have one channel")

    def network(self, name: str, weights: Role, biases: Role, inputs: int, *, skip: int = 0,
                optional: bool = False) -> tuple[Network, int]:
        """The next tensors, the layers of a network of so many inputs, and the number of its outputs.

        name: for messages. optional: the network may have no layers.
        """
        width, layers = inputs, list[Layer]()
        while (weight := self._take(weights, len(layers))) is not None:
            if layers and len(layers) == skip:
                width += inputs
            info = self._infos[weight]
            outputs = info.shape[2]
            if info.mapping != Mapping.NONE or info.shape != (1, 1, outputs, width):
                raise TensorListFault(f"{name} layer {len(layers)} does not take the {width} values before it")
            bias = self._take(biases, len(layers))
            if bias is not None and ((info := self._infos[bias]).mapping != Mapping.NONE
                                     or info.shape != (1, 1, 1, outputs)):
                raise TensorListFault(f"the bias of {name} layer {len(layers)} does not have {outputs} values")
            layers.append(Layer(weight, bias))
            width = outputs
        if not layers and not optional:
            raise TensorListFault(f"there is no {name} layer 0")
        if skip and len(layers) <= skip:
            raise TensorListFault(f"the {name} network has no layer {skip} for the position to enter again")
        return Network(tuple(layers), skip), width

    def finish(self, features: Branch, density: Branch | FirstOutput, outputs: int,
               coarse: Coarse | None = None) -> FieldRule:
        """The rule, with the colour network as the last tensors. outputs: of the feature branch."""
        p = self._parameters
        count = outputs - isinstance(density, FirstOutput)
        if count < 1:
            raise TensorListFault("the fusion network has no output besides the density")
        inputs = count * (1 + 2 * p.feature_frequencies) + 3 + 6 * p.direction_frequencies
        network, outputs = self.network("render", Role.RENDER_WEIGHT, Role.RENDER_BIAS, inputs)
        if outputs != 3:
            raise TensorListFault("the last render layer does not have 3 outputs")
        if self._next < len(self._infos):
            t = self._infos[self._next]
            raise TensorListFault(f"unexpected tensor of role {int(t.role)}, index {t.index}")
        return FieldRule(features, density, Softplus(p.density_shift, p.density_scale),
                         Colour(network, p.feature_frequencies, p.direction_frequencies), coarse)
