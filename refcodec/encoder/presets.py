"""Presets: the size of the field and how long to train it."""
from __future__ import annotations

from dataclasses import dataclass, field

from refcodec.errors import UsageError
from refcodec.fields.dif import DifSizes


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a frame is trained.

    lagrangian: λ of loss = D + λ (R + α |residual|), see `refcodec.encoder.train`.
    inter_lagrangian: λ of P-frames as a multiple of `lagrangian`: bits saved in a residual
        cost less quality than bits saved in the field itself.
    residual_weight: α.
    intra_iterations, inter_iterations: for I- and P-frames. rays: per iteration.
    grid_rate, network_rate, inter_rate: Adam's learning rates for the grids and the
        networks of I-frames and for the grids of P-frames; all decay to a twentieth.
    rate_loss: False codes after training, with no rate term (the baseline of Table 4).
    learn_steps: False keeps the quantisation steps where they start.
    initial_step: quantisation step of the grids at the start, in field values.
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
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Preset:
    """sizes: of the field. samples_per_diagonal, occupancy_side: spec 9.2, 7.1."""

    sizes: DifSizes
    samples_per_diagonal: int = 128
    occupancy_side: int = 64
    training: TrainingSettings = field(default_factory=TrainingSettings)


PRESETS = {
    # Recognisable, no more: for tests and for vectors that a slow decoder can take.
    "micro": Preset(
        DifSizes(6, (8, 10, 12), (6, 6, 6), (1.6, 2.4, 3.6), fusion_hidden=16, features=7, render_hidden=16,
                 feature_frequencies=1, direction_frequencies=2),
        occupancy_side=32, training=TrainingSettings(intra_iterations=300, inter_iterations=100, rays=512)),
    # A CPU's: minutes for a short sequence of 200x200 views.
    "tiny": Preset(DifSizes()),
    # Between the two: a small GPU, or patience.
    "small": Preset(
        DifSizes(24, (20, 30, 42, 54, 66, 78), frequencies=(2.0, 3.2, 4.4, 5.6, 6.8, 8.0)),
        samples_per_diagonal=256, occupancy_side=96,
        training=TrainingSettings(intra_iterations=6000, inter_iterations=1500, rays=2048)),
    # The published sizes (Factor Fields; MM 2024): a GPU's.
    "paper": Preset(
        DifSizes(32, (25, 39, 54, 69, 84, 99), frequencies=(1.94, 3.10, 4.27, 5.43, 6.59, 7.76),
                 render_hidden=128),
        samples_per_diagonal=512, occupancy_side=128,
        training=TrainingSettings(intra_iterations=30000, inter_iterations=6000, rays=4096,
                                  network_rate=1e-3)),
}


def preset(name: str) -> Preset:
    """The preset of that name. Raises UsageError."""
    try:
        return PRESETS[name]
    except KeyError:
        raise UsageError(f"no preset {name!r}; there are {', '.join(PRESETS)}") from None
