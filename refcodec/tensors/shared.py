"""Prediction from the same tensor of the shared unit, times a factor, plus a constant (spec 7.3)."""
from __future__ import annotations

from ..syntax.tools import Prediction


class _Shared(Prediction):
    option, needs_shared, has_factor, has_offset, compiled = "shared", True, True, True, True


_Shared.add(2, "BASE")
