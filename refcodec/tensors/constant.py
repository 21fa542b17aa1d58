"""Prediction by a constant (spec 7.3)."""
from __future__ import annotations

from ..syntax.tools import Prediction


class _Constant(Prediction):
    option, has_offset, compiled = "constant", True, True


_Constant.add(3, "CONSTANT")
