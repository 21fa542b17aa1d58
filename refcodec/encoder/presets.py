"""Presets: the size of the field and how long to train it."""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from refcodec.errors import UsageError
from refcodec.fields.sizes import FieldSizes
from refcodec.syntax.headers import Representation
from refcodec.text import suggestion


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Settings of a frame's training.

    lagrangian: λ of loss = D + λ (R + α |residual|), see `refcodec.encoder.train`.
    inter_lagrangian: λ of P-frames as a multiple of `lagrangian`: bits saved in a residual
        cost less quality than bits saved in the field itself.
    residual_weight: α.
    intra_iterations, inter_iterations: for I- and P-frames. rays: per iteration.
    grid_rate, network_rate, inter_rate: Adam's learning rates for the grids and the
        networks of I-frames and for the grids of P-frames; all decay to a twentieth.
    rate_loss: False codes after training, with no rate term (the baseline of Table 4).
    learn_steps: False keeps the quantisation step sizes at their initial values. initial_step, inter_step: quantisation
    step size of the grids at the start of I- and P-frames,
        in field values; of the bands of a transform, what makes an error of the same size.
    dead_zone: in step sizes, what it adds to the half on either side of zero that is quantised to zero.
    activities: context models see sums over channels, and on planes a wider neighbourhood; False: the neighbours
        of MM 2024 alone. reuse_models: a model that the stream has serves again where that is shorter.
    code_occupancy: by a context model where that is shorter; False: always compressed.
    cells_until: share of the iterations that optimise the cells of the field where these are coded by block DCT; all
    others optimise the coefficients. A scene finds its shape sooner in its cells, and
        coefficients become zero sooner by themselves.
    spread: standard deviation of random grids, planes and lines at the start.
    rate_start: share of an I-frame's iterations after which the rate sets in. rate_after: iterations, where these are
        more, for a scene must find its shape before; 0.3 of all at most.
    mask_rate: Adam's learning rate for the logits of masks. first_logit: theirs at the start.
    model_iterations: of Adam, when context models are fitted to the final symbols.
    fused: batches of rays in one compiled kernel, where it was built, has the field's rule, and the device is a
        processor; see `refcodec.encoder.fused`.
    mixed_precision, compiled: for GPUs; see `refcodec.fields.TorchOps`.
    """

    lagrangian: float = 1e-3
    inter_lagrangian: float = 1.7
    residual_weight: float = 10.0
    intra_iterations: int = 1000
    inter_iterations: int = 400
    rays: int = 512
    grid_rate: float = 0.02
    network_rate: float = 2e-3
    inter_rate: float = 0.06
    rate_loss: bool = True
    learn_steps: bool = True
    initial_step: float = 0.1
    inter_step: float = 0.1
    dead_zone: float = 0.1
    activities: bool = True
    reuse_models: bool = True
    code_occupancy: bool = True
    cells_until: float = 0.4
    spread: float = 0.1
    rate_start: float = 0.02
    rate_after: int = 0
    mask_rate: float = 0.05
    first_logit: float = 0.5
    model_iterations: int = 200
    fused: bool = True
    mixed_precision: bool = False
    compiled: bool = False
    seed: int = 0


# Bounds of the numbers among the settings: beyond them nothing can be trained, or coded.
_RANGES: dict[str, tuple[float, float]] = {
    "lagrangian": (1e-12, 1e6), "inter_lagrangian": (0, 1e6), "residual_weight": (0, 1e6),
    "intra_iterations": (1, 10_000_000), "inter_iterations": (1, 10_000_000), "rays": (1, 1 << 20),
    "grid_rate": (0, 100), "network_rate": (0, 100), "inter_rate": (0, 100), "mask_rate": (0, 100),
    "initial_step": (1e-6, 1e3), "inter_step": (1e-6, 1e3), "dead_zone": (0, 0.49), "cells_until": (0, 1),
    "spread": (0, 100), "rate_start": (0, 1), "rate_after": (0, 10_000_000), "first_logit": (-20, 20),
    "model_iterations": (1, 1_000_000), "seed": (0, (1 << 32) - 1),
}


def changed(settings: TrainingSettings, changes: Mapping[str, object]) -> TrainingSettings:
    """Settings with some of them replaced, by name; text is read as the setting's type.

    Raises UsageError, which says everything that is wrong.
    """
    values: dict[str, Any] = {}
    wrong = []
    for name, value in changes.items():
        if name not in TrainingSettings.__dataclass_fields__:
            known = sorted(TrainingSettings.__dataclass_fields__)
            wrong.append(f"no training setting {name!r}"
                         + (suggestion(name, known) or f"; there are {', '.join(known)}"))
            continue
        old = getattr(settings, name)
        if isinstance(value, str):
            try:
                value = _SWITCH[value.lower()] if isinstance(old, bool) else type(old)(value)
            except (KeyError, ValueError):
                wrong.append(f"{name} is {value!r}; it should be like {old}")
                continue
        if name in _RANGES and isinstance(value, (int, float)):
            low, high = _RANGES[name]
            if not low <= value <= high:  # nor NaN
                wrong.append(f"{name} is {value:g}; it goes from {low:g} to {high:g}")
        values[name] = value
    if wrong:
        raise UsageError(". ".join(wrong))
    return dataclasses.replace(settings, **values)


_SWITCH = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}

@dataclass(frozen=True, slots=True)
class Preset:
    """samples_per_diagonal, occupancy_side: spec 9.2, 7.1. training: of a dictionary field; each representation says
    in what its own differs, and what its sizes are in a preset."""

    name: str
    samples_per_diagonal: int = 128
    occupancy_side: int = 64
    training: TrainingSettings = field(default_factory=TrainingSettings)

    @property
    def sizes(self) -> Mapping[Representation, FieldSizes]:
        """Of the field, for each representation that has this preset."""
        return {r: r.presets[self.name] for r in Representation if self.name in r.presets}

    def training_of(self, representation: Representation) -> TrainingSettings:
        """Settings of the training of a field of that kind."""
        return changed(self.training, {**representation.training, **representation.by_preset.get(self.name, {})})


PRESETS = {p.name: p for p in (
    # Recognisable, no more: for tests and for vectors that a slow decoder can take.
    Preset("micro", occupancy_side=32, training=TrainingSettings(intra_iterations=300, inter_iterations=100, rays=512)),
    # A CPU's: minutes for a short sequence of 200x200 views.
    Preset("tiny"),
    # Between the two: a small GPU, or patience.
    Preset("small", samples_per_diagonal=256, occupancy_side=96,
           training=TrainingSettings(intra_iterations=6000, inter_iterations=1500, rays=2048)),
    # The published sizes (Factor Fields and MM 2024; TensoRF; DVGO; NeRF): a GPU's.
    Preset("paper", samples_per_diagonal=512, occupancy_side=128,
           training=TrainingSettings(intra_iterations=30000, inter_iterations=6000, rays=4096, network_rate=1e-3)),
)}


def preset(name: str) -> Preset:
    """The preset of that name. Raises UsageError."""
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(f"no preset {name!r}; there are {', '.join(PRESETS)}{suggestion(name, PRESETS)}") from None
