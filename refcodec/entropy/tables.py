"""Integer frequency tables (spec 6.6).

Every table sums to 2**24 with no entry below 1. Its last entry is the escape.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ..deferred import Deferred

if TYPE_CHECKING:
    import constriction
    import numpy as np
else:
    np = Deferred("numpy")

PRECISION = 24
TOTAL = 1 << PRECISION

@dataclass(frozen=True, eq=False)
class Table:
    """A frequency table over the values low .. low + size - 1, and an escape.

    frequencies: int32 or int64 (size + 1,), the last for the escape.
    """

    low: int
    frequencies: np.ndarray

    @property
    def size(self) -> int:
        return len(self.frequencies) - 1

    @cached_property
    def model(self) -> constriction.stream.model.Categorical:
        """The same table for constriction, exactly.

        With `perfect=False` constriction scales the given weights to sum to
        2**24 - n and adds one to each of the n entries. The weights f - 1 already
        have that sum, so it reproduces f.
        """
        import constriction  # here, for the compiled kernels do without

        return constriction.stream.model.Categorical(
            (self.frequencies - 1).astype(np.float64), perfect=False)

    @cached_property
    def bits(self) -> np.ndarray:
        """Ideal code length of each entry: float64 (size + 1,)."""
        lengths: np.ndarray = PRECISION - np.log2(self.frequencies)
        return lengths


def static_table(first_value: int, counts: tuple[int, ...]) -> Table:
    """Counts made into a table (spec 6.6). Their sum lies in 1 .. 2**24."""
    mass = np.array(counts, np.int64)
    frequencies = 1 + mass * (TOTAL - len(mass)) // mass.sum()
    frequencies[mass.argmax()] += TOTAL - frequencies.sum()
    return Table(first_value, frequencies)
