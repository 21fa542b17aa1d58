"""No transform: the coded values are the residual itself (spec 7.5)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..deferred import Deferred
from ..syntax.tools import Stage, Transform

if TYPE_CHECKING:
    import numpy as np
else:
    np = Deferred("numpy")


class _Untransformed(Transform):
    option, identity, compiled = "none", True, True

    def band_map(self, levels: int, spatial: Sequence[int]) -> np.ndarray:
        return np.zeros(spatial, np.uint8)

    def support(self, levels: int, mask: np.ndarray) -> np.ndarray:
        return mask

    def inverse(self, levels: int, coefficients: np.ndarray, spatial: Sequence[int]) -> np.ndarray:
        return coefficients.astype(np.int64)

    def forward(self, levels: int, values: np.ndarray) -> np.ndarray:
        return values.astype(np.int64)

    def stages(self, levels: int, spatial: Sequence[int]) -> list[Stage]:
        return []

    def gains(self, levels: int, spatial: Sequence[int]) -> tuple[float, ...]:
        return (1.0,)


_Untransformed.add(0, "NONE")
