"""No prediction: the residual is the tensor (spec 7.3)."""
from __future__ import annotations

from ..syntax.tools import Prediction


class _Unpredicted(Prediction):
    option, compiled = "none", True


_Unpredicted.add(0, "NONE")
