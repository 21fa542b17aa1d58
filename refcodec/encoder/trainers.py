"""The trainers that a coding plan may name."""
from __future__ import annotations

from collections.abc import Sequence

import torch

from refcodec.encoder.cnerf import NetworkTrainer
from refcodec.encoder.loop import Trainer, TrainerFactory
from refcodec.encoder.presets import TrainingSettings
from refcodec.encoder.rays import TrainingPicture
from refcodec.encoder.systems import CodingPlan
from refcodec.encoder.train import FieldTrainer
from refcodec.errors import UsageError
from refcodec.syntax.headers import SequenceHeader
from refcodec.tensors.state import FrameState


def _network(header: SequenceHeader, pictures: Sequence[TrainingPicture], settings: TrainingSettings, plan: CodingPlan,
             previous: FrameState | None, following: int, device: torch.device | str) -> Trainer:
    if previous is not None:
        raise UsageError(f"{plan.name} has no P-frames")
    return NetworkTrainer(header, [pictures], settings, device=device)


TRAINERS: dict[str, TrainerFactory] = {"field": FieldTrainer, "network": _network}
