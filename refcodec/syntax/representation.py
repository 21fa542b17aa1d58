"""Representations and the roles of their tensors: the properties of registered ones (spec Annex A.1, A.2).

The members are defined in `refcodec.fields`, one module a representation.
"""
from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from ..code_points import CodePoint

if TYPE_CHECKING:
    from ..fields.rule import FieldRule
    from ..fields.sizes import Aabb, FieldSizes
    from .headers import SequenceHeader

_MODULES = ("refcodec.fields.dif", "refcodec.fields.vm", "refcodec.fields.triplane", "refcodec.fields.grid",
            "refcodec.fields.mlp")


class Start(Enum):
    """Values of a tensor at the start of the training of an I-frame.

    RANDOM: normal, of the settings' standard deviation. FAN_IN: uniform within 1 / sqrt(inputs), for weights.
    """

    ZERO = "zero"
    ONE = "one"
    RANDOM = "random"
    FAN_IN = "fan in"


class Role(CodePoint, modules=("refcodec.fields.roles", *_MODULES)):
    """`tensor_role`: what a tensor is to its representation (Annex A.2).

    meaning: as Annex A.2 lists it. network: a layer's weights or biases, which have no place in space. start: of its
    training. resolutions: its grids go from coarse to fine, and context models serve each half by itself.
    """

    meaning: str
    network: bool = False
    start: Start = Start.ZERO
    resolutions: bool = False


class Representation(CodePoint, modules=_MODULES):
    """`representation`: the rule that turns tensors into density and colour (Annex A.1, chapter 8).

    A representation says which tensors it has and what becomes of them (`rule`), makes headers (`header`), and holds
    what the encoder needs to know. title: as Annex A.1 lists it. has_network_parameters: the sequence header carries
    `network_parameters` (4.5). sizes: the type of its sizes. presets: its sizes in each preset of the encoder.
    training: settings in which its training differs from that of a dictionary field, with every preset; by_preset: with
    one. systems: coding systems that code it, the usual one first.
    """

    title: ClassVar[str]
    has_network_parameters: ClassVar[bool] = False
    sizes: ClassVar[type[FieldSizes]]
    presets: ClassVar[Mapping[str, FieldSizes]] = {}
    training: ClassVar[Mapping[str, float]] = {}
    by_preset: ClassVar[Mapping[str, Mapping[str, float]]] = {}
    systems: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def rule(self, header: SequenceHeader) -> FieldRule:
        """The rule of the header's tensors (spec 8.1). Raises `refcodec.fields.rule.TensorListFault` where its
        tensor list does not make a field of this representation."""

    @abstractmethod
    def header(self, sizes: Any, aabb: Aabb, **options: Any) -> SequenceHeader:
        """The sequence header of a field of these sizes; aabb, options: as in `refcodec.fields.sizes.Box`."""
