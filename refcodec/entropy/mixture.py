"""Mixtures of a narrow and a wide Laplace table (spec 6.9)."""
from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING

from ..deferred import Deferred
from ..syntax.families import ProbabilityFamily
from .laplace import SCALES, laplace_tables
from .tables import TOTAL, Table

if TYPE_CHECKING:
    import numpy as np
else:
    np = Deferred("numpy")

# Of 64 parts of a mixture, those of the wider Laplace table, and how much further on that is (spec 6.9).
MIXTURE_WIDE = (1, 4, 10, 20, 36)
MIXTURE_DISTANCE = 8
SHAPES = len(MIXTURE_WIDE)


@cache
def mixture_tables() -> tuple[Table, ...]:
    """The 220 tables of the mixtures (spec 6.9): 44 scales for each shape."""
    laplace = laplace_tables()
    last = len(laplace) - 1
    return tuple(_Mixture(narrow, laplace[min(k + MIXTURE_DISTANCE, last)], parts)
                 for parts in MIXTURE_WIDE for k, narrow in enumerate(laplace))


class _Mixture(Table):
    """A mixture of two tables, worked out when it is first asked for: a tensor uses a few of them."""

    _narrow: Table
    _wide: Table
    _parts: int

    def __init__(self, narrow: Table, wide: Table, parts: int):
        vars(self).update(low=wide.low, _narrow=narrow, _wide=wide, _parts=parts)

    @property
    def size(self) -> int:
        return self._wide.size

    @cached_property
    def frequencies(self) -> np.ndarray:
        narrow, wide, parts = self._narrow, self._wide, self._parts
        padded = np.concatenate([np.pad(narrow.frequencies[:-1], narrow.low - wide.low), narrow.frequencies[-1:]])
        mixed = np.maximum(((64 - parts) * padded + parts * wide.frequencies) >> 6, 1)
        mixed[-wide.low] += TOTAL - mixed.sum()
        found: np.ndarray = mixed.astype(np.int32)
        return found


class Mixture(ProbabilityFamily):
    title, compiled = "mixtures (6.9)", True
    scales, shapes = SCALES, SHAPES

    def tables(self) -> tuple[Table, ...]:
        return mixture_tables()


MIXTURE = Mixture.add(2, "MIXTURE")
