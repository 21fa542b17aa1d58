"""Published systems as tables of coding tools, and the combinations that a user may ask for.

A system is a `CodingPlan`: for each kind of tensor, the tools of the format that code it and
the terms of the loss that prepare it for them. The training loop knows plans only.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum

from refcodec.errors import UsageError
from refcodec.syntax.coding import Prediction, Transform
from refcodec.syntax.headers import Mapping, Representation, Role, TensorInfo
from refcodec.syntax.structures import MAX_WAVELET_LEVELS
from refcodec.text import suggestion

DEFAULT_SYSTEM = "ecrf"  # on planes and lines it is the smallest at every quality tried (docs/systems.md)
_WAVELET_LEVELS = 4
_SMALLEST_APPROXIMATION = 6  # cells along an axis, where the number of levels is not asked for


class Kind(Enum):
    """Kind of a tensor for its coding tools: by the number of its axes, or a network's layer."""

    GRID = "grid"
    PLANE = "plane"
    LINE = "line"
    NETWORK = "network"


class Model(Enum):
    """Probability model of the values. SMALLER: both are made and the smaller stays."""

    CONTEXT = "context"
    STATIC = "static"
    SMALLER = "smaller"


class Rate(Enum):
    """Rate term of the loss: bits under the context model, under a Laplace distribution
    for each band and channel, or none."""

    CONTEXT = "context"
    LAPLACE = "laplace"
    NONE = "none"


class Steps(Enum):
    """Quantisation step sizes: learned with the field, or 1/256 of the range of a band's values."""

    LEARNED = "learned"
    RANGE = "range"


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """Tools of one kind of tensor. levels: of the wavelet, 0: as many as its size suggests."""

    transform: Transform = Transform.NONE
    levels: int = 0
    masks: bool = False
    model: Model = Model.STATIC
    rate: Rate = Rate.LAPLACE
    steps: Steps = Steps.LEARNED

    def levels_for(self, info: TensorInfo) -> int:
        """Wavelet levels of a tensor."""
        if not self.transform.has_levels:
            return 0
        if self.levels:
            return self.levels
        levels, n = 1, min(n for n in info.shape[1:] if n > 1)
        while levels < _WAVELET_LEVELS and n >> (levels + 1) >= _SMALLEST_APPROXIMATION:
            levels += 1
        return levels


@dataclass(frozen=True, slots=True)
class CodingPlan:
    """A system.

    mask_bits: assumed cost of a kept coefficient in the loss, in bits; more than it takes in the file, because the
    slope of the sigmoid attenuates its gradient. sparsity: weight of the coefficients' magnitudes in I-frames, as
    `residual_weight` is in P-frames. unpredicted: roles that P-frames code without prediction. spatial: the system
    codes grids, planes or lines; False: networks alone, whose coding tools are fixed and which have no P-frames.
    trainer: name of its trainer in `refcodec.encoder.trainers`.
    """

    name: str
    grid: TensorPlan = TensorPlan()
    plane: TensorPlan = TensorPlan()
    line: TensorPlan = TensorPlan()
    network: TensorPlan = TensorPlan()
    mask_bits: float = 8.0
    sparsity: float = 0.0
    unpredicted: Collection[Role] = ()
    spatial: bool = True
    trainer: str = "field"

    @property
    def representations(self) -> tuple[Representation, ...]:
        """Those that name the system among theirs; the first by default."""
        return tuple(r for r in Representation if self.name in r.systems)

    def of(self, info: TensorInfo) -> TensorPlan:
        """The tools of a tensor."""
        return {Kind.GRID: self.grid, Kind.PLANE: self.plane, Kind.LINE: self.line,
                Kind.NETWORK: self.network}[kind_of(info)]

    def inter_prediction(self, info: TensorInfo) -> Prediction:
        """`prediction` of a tensor in P-frames."""
        return Prediction.NONE if info.role in self.unpredicted else Prediction.PREVIOUS


def transforms() -> dict[str, Transform]:
    """All transforms, by the names that users give them."""
    return {t.option: t for t in Transform}


def kind_of(info: TensorInfo) -> Kind:
    """The kind of a tensor, from its mapping and shape."""
    if info.mapping == Mapping.NONE:
        return Kind.NETWORK
    axes = sum(n > 1 for n in info.shape[1:])
    return {3: Kind.GRID, 2: Kind.PLANE}.get(axes, Kind.LINE)


_CONTEXT = TensorPlan(model=Model.CONTEXT, rate=Rate.CONTEXT)
_WAVELET = TensorPlan(Transform.WAVELET, masks=True, rate=Rate.NONE, steps=Steps.RANGE)
_DCT = TensorPlan(Transform.BLOCK_DCT, model=Model.SMALLER)

SYSTEMS = {p.name: p for p in (
    # MM 2024.
    CodingPlan("rate-aware", grid=_CONTEXT, plane=_CONTEXT),
    # Zhang et al. 2024, arXiv 2402.01380.
    CodingPlan("dynamic-dif", grid=_CONTEXT, unpredicted=(Role.DIF_COEFFICIENT,)),
    # Rho et al. 2023, arXiv 2212.09069.
    CodingPlan("masked-wavelet", grid=_WAVELET, plane=_WAVELET,
               line=TensorPlan(rate=Rate.NONE, steps=Steps.RANGE), mask_bits=24.0, sparsity=30.0),
    # Lee et al. 2023, arXiv 2311.14208.
    CodingPlan("ecrf", grid=_DCT, plane=_DCT, sparsity=1.0),
    # Bird et al. 2021, arXiv 2104.12456.
    CodingPlan("cnerf", spatial=False, trainer="network"),
)}


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Tools that a user asks for in place of a system's; None leaves the system's.

    transform: none, dct or dwt, on grids and planes; levels: of the wavelet; masks: on the
    same tensors; model: context or static; rdo: keep the smaller of both.
    """

    transform: str | None = None
    levels: int | None = None
    masks: bool | None = None
    model: str | None = None
    rdo: bool | None = None


def plan(system: str = DEFAULT_SYSTEM, representation: str | None = None,
         tools: ToolChoice = ToolChoice()) -> tuple[CodingPlan, Representation]:
    """The plan of a system with some tools replaced, and the representation to use.

    Raises UsageError for what does not exist or does not go together.
    """
    if system not in SYSTEMS:
        raise UsageError(f"no system {system!r}; there are {', '.join(SYSTEMS)}{suggestion(system, SYSTEMS)}")
    chosen = SYSTEMS[system]
    names = [r.name.lower() for r in chosen.representations]
    if representation is None:
        representation = names[0]
    if representation not in [r.name.lower() for r in Representation]:
        known = [r.name.lower() for r in Representation]
        raise UsageError(f"no representation {representation!r}; there are {', '.join(known)}"
                         f"{suggestion(representation, known)}")
    if representation not in names:
        raise UsageError(f"{system} does not code {representation}; it codes {', '.join(names)}")
    field = Representation.named(representation.upper())
    _check(tools, chosen, field)
    if chosen.spatial:
        chosen = dataclasses.replace(chosen, grid=_replaced(chosen.grid, tools), plane=_replaced(chosen.plane, tools))
    return chosen, field


def _check(tools: ToolChoice, chosen: CodingPlan, field: Representation) -> None:
    if tools.transform is not None and tools.transform not in transforms():
        raise UsageError(f"no transform {tools.transform!r}; there are {', '.join(transforms())}")
    if tools.model not in (None, "context", "static"):
        raise UsageError(f"the probability model is {tools.model!r}; it may be context or static")
    if not chosen.spatial:
        for name, value in (("a transform", tools.transform not in (None, "none")), ("a mask", tools.masks),
                            ("a context model", tools.model == "context"), ("a choice of models", tools.rdo)):
            if value:
                raise UsageError(f"the layers of {field.name.lower()} can't have {name}")
    if tools.levels is not None:
        if not 1 <= tools.levels <= MAX_WAVELET_LEVELS:
            raise UsageError(f"a wavelet has 1 to {MAX_WAVELET_LEVELS} levels, not {tools.levels}")
        transform = transforms()[tools.transform] if tools.transform else chosen.plane.transform
        if not transform.has_levels or not chosen.spatial:
            raise UsageError("levels are those of a wavelet: give --transform dwt too")


def _replaced(old: TensorPlan, tools: ToolChoice) -> TensorPlan:
    new = old
    if tools.transform is not None:
        new = dataclasses.replace(new, transform=transforms()[tools.transform], levels=0)
    if tools.levels is not None:
        new = dataclasses.replace(new, levels=tools.levels)
    if tools.masks is not None:
        new = dataclasses.replace(new, masks=tools.masks)
    if tools.model is not None:
        new = dataclasses.replace(new, model=Model(tools.model))
        if old.rate != Rate.NONE:  # trained with what it is coded with
            new = dataclasses.replace(new, rate=Rate.CONTEXT if tools.model == "context" else Rate.LAPLACE)
    if tools.rdo:
        new = dataclasses.replace(new, model=Model.SMALLER)
    elif tools.rdo is False and old.model == Model.SMALLER and tools.model is None:
        new = dataclasses.replace(new, model=Model.STATIC)
    return new
