"""From a dataset to an RFV file: training under a rate-distortion loss (needs torch).

Names are imported when they are first used: the command line asks this package for the
names of systems, which need neither numpy nor torch.
"""
from __future__ import annotations

import dataclasses
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ..errors import UsageError

if TYPE_CHECKING:
    from ..datasets import Dataset
    from .devices import pick_device
    from .gop import EncodeChoices, EncodeOptions, EncodeReport, Progress
    from .group import FrameResult

# Training makes many small parallel calls; threads that spin between them take the
# processors from each other. Read when torch is loaded, which this package leaves to use.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_OF_GOP = ("EncodeOptions", "EncodeReport", "FrameResult", "Progress", "pick_device")

__all__ = ["EncodeOptions", "EncodeReport", "FrameResult", "Progress", "encode", "pick_device", "require_torch"]


def __getattr__(name: str) -> object:
    if name not in _OF_GOP:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import gop

    return getattr(gop, name)


def encode(dataset: str | Path | Dataset, out: str | Path, options: EncodeOptions | None = None,
           on_progress: Callable[[Progress], None] | None = None, **choices: Unpack[EncodeChoices]) -> EncodeReport:
    """Trains and codes a dataset into the RFV file `out`.

    dataset: a path (docs/datasets.md) or what `refcodec.datasets.load_dataset` returns.
    options: an `EncodeOptions`; choices: its members by name, which replace those of
    `options`. on_progress: called with a `Progress` at every step.

    The file appears under its name only when it is complete and has been decoded to
    the same tensors. Until then `out`.partial holds the frames that are finished; the
    same call takes them up again. Raises UsageError, DatasetError.
    """
    require_torch()
    from . import gop

    known = [member.name for member in dataclasses.fields(gop.EncodeOptions)]
    for name in choices:
        if name not in known:
            raise UsageError(f"encode has no option {name!r}; there are {', '.join(known)}")
    return gop.encode(dataset, out, dataclasses.replace(options or gop.EncodeOptions(), **choices), on_progress)


def require_torch() -> None:
    """Raises UsageError where torch is missing."""
    try:
        found = importlib.util.find_spec("torch") is not None
    except (ImportError, ValueError):  # it is being kept from being imported
        found = False
    if not found:
        raise UsageError('encoding needs torch: pip install "refcodec[encode]"')
