"""The device that torch computes on."""
from __future__ import annotations

from ..errors import UsageError


def pick_device(name: str) -> str:
    """The torch device of that name; auto: a GPU where there is one. Raises UsageError."""
    import torch

    if name != "auto":
        try:
            torch.empty(1, device=name)
        except (RuntimeError, AssertionError) as e:
            raise UsageError(f"device {name!r} can't be used: {str(e).splitlines()[0]}") from None
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"
