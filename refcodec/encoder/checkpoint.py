"""The state of a frame's training on disk, so that an interrupted encode resumes within a frame."""
from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refcodec import __version__

if TYPE_CHECKING:
    import torch

_SECONDS = 20.0  # between two checkpoints


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training of a frame, as far as it has come.

    frame: number in the sequence. lagrangian: of the training. iteration: iterations done. state: of the trainer behind
    them (`Trainer.state`). tried: in a search for a target, lambda and distance above the target of the trainings
    before; slope: that the search knew.
    """

    frame: int
    lagrangian: float
    iteration: int = 0
    state: dict[str, Any] = field(default_factory=dict)
    tried: list[tuple[float, float]] = field(default_factory=list)
    slope: float = 0.0


class CheckpointFile:
    """The latest checkpoint of a group, in a file that is replaced atomically.

    path: None keeps nothing. identity: of everything the file to be depends on; a checkpoint with another one, or of
    another version, is none.
    """

    def __init__(self, path: str | None, identity: str):
        self.path, self.identity = path and Path(path), f"{__version__} {identity}"
        self.last = time.monotonic()

    def due(self) -> bool:
        """Whether the last checkpoint is old enough for a new one."""
        return bool(self.path) and time.monotonic() - self.last >= _SECONDS

    def load(self, frame: int) -> Checkpoint | None:
        """The checkpoint of a frame, if there is one. Nothing but tensors and numbers is read from the file."""
        if not self.path:
            return None
        import torch

        try:
            found = torch.load(self.path, map_location="cpu", weights_only=True)
            if found.pop("identity") != self.identity or found["frame"] != frame:
                return None
            return Checkpoint(**found)
        except Exception:  # absent, cut off, or no checkpoint at all: torch raises what it likes
            return None

    def save(self, checkpoint: Checkpoint) -> str | None:
        """Replaces the checkpoint; returns why it could not."""
        if not self.path:
            return None
        import torch

        temporary = self.path.with_name(f"{self.path.name}.new")
        values = {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__}
        try:
            with open(temporary, "wb") as file:
                torch.save({"identity": self.identity, **values}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self.path)
        except (OSError, RuntimeError) as e:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            return f"can't keep the state of the training: {getattr(e, 'strerror', None) or e}"
        finally:
            self.last = time.monotonic()
        return None


def copy_into(target: torch.Tensor, source: torch.Tensor) -> None:
    """Copies values between tensors of equal shape. Raises ValueError."""
    if target.shape != source.shape:
        raise ValueError(f"a tensor of shape {tuple(source.shape)} in place of {tuple(target.shape)}")
    target.detach().copy_(source)


def copy_each(targets: Mapping[int, torch.Tensor], sources: Mapping[int, torch.Tensor]) -> None:
    """`copy_into` by name. Raises KeyError, ValueError."""
    for name, target in targets.items():
        copy_into(target, sources[name])
