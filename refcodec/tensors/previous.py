"""Prediction from the same tensor of the frame before (spec 7.3)."""
from __future__ import annotations

from ..syntax.tools import Prediction


class _Previous(Prediction):
    option, needs_previous, compiled = "previous", True, True


_Previous.add(1, "PREVIOUS")
