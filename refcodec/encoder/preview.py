"""A picture of a training: a view as the field shows it, beside the truth, renewed while the training runs."""
from __future__ import annotations

import time

import numpy as np

from ..evaluation.held_out import device_ops, render_views
from ..rendering.pictures import write_png
from ..syntax.headers import SequenceHeader
from .loop import Trainer
from .rays import TrainingPicture

SIDE = 256  # pixels of the longer side, at most
_SECONDS = 3.0  # between two pictures
_SHARE = 0.05  # of the time that pictures may take


class Preview:
    """Writes PNGs of a view, left as the field shows it, right as it is; a file is replaced atomically."""

    def __init__(self, path: str, header: SequenceHeader, view: TrainingPicture, device: str):
        self.path, self.header, self.view = path, header, view
        self.ops = device_ops(device)
        self.due = time.monotonic()

    def __call__(self, trainer: Trainer, last: bool = False) -> None:
        """Renews the picture where it is time, or where it is the last of a training. Raises UsageError."""
        started = time.monotonic()
        if started < self.due and not last:
            return
        values, occupancy = trainer.snapshot()
        (found,) = render_views(self.header, values, occupancy, [(self.view.camera, self.view.rgba)], self.ops)
        write_png(self.path, np.concatenate([found.picture, found.truth], 1))
        now = time.monotonic()
        self.due = now + max(_SECONDS, (now - started) / _SHARE)
