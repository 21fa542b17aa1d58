"""Integer frequency tables (spec 6.6 to 6.9).

Every table sums to 2**24 with no entry below 1. Its last entry is the escape.
"""
from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import constriction

PRECISION = 24
TOTAL = 1 << PRECISION

# round(2**30 * exp(-1 / (2 * b))) for the scales b = 0.06 * 2**(k / 4), as data: no decoder
# depends on anybody's exp().
LAPLACE_DECAY = (
    258095, 971839, 2963433, 7567594, 16647136, 32303313, 56408881, 90142345, 133696396,
    186240217, 246106835, 311110280, 378887070, 447184425, 514057586, 577972421, 637829831,
    692936231, 742943558, 787777355, 827565445, 862574410, 893157081, 919711637, 942651383,
    962383614, 979295723, 993746874, 1006063724, 1016538999, 1025431995, 1032970271, 1039352057,
    1044748984, 1049308925, 1053158765, 1056407011, 1059146203, 1061455076, 1063400495,
    1065039150, 1066419043, 1067580774, 1068558649,
)
# Largest value that table k holds without an escape: 12 * b, between 4 and 255.
LAPLACE_REACH = (
    4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5, 5, 6, 7, 9, 10, 12, 14, 17, 20, 24, 28, 33, 39, 47, 55, 66,
    78, 93, 110, 131, 155, 185, 220, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255,
)


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


@cache
def laplace_tables() -> tuple[Table, ...]:
    """The 44 tables of the Laplace family (spec 6.7)."""
    return tuple(_laplace_table(t, reach) for t, reach in zip(LAPLACE_DECAY, LAPLACE_REACH))


def _laplace_table(decay: int, reach: int) -> Table:
    square = decay * decay >> 30
    side, tail = [], decay  # tail: probability of |v| >= n, in 2**-30
    for _ in range(reach):
        following = tail * square >> 30
        side.append(max(1, (tail - following) >> 7))
        tail = following
    escape = max(1, tail >> 6)
    zero = TOTAL - 2 * sum(side) - escape
    return Table(-reach, np.array([*reversed(side), zero, *side, escape], np.int64))


def static_table(first_value: int, counts: tuple[int, ...]) -> Table:
    """Counts made into a table (spec 6.6). Their sum lies in 1 .. 2**24."""
    mass = np.array(counts, np.int64)
    frequencies = 1 + mass * (TOTAL - len(mass)) // mass.sum()
    frequencies[mass.argmax()] += TOTAL - frequencies.sum()
    return Table(first_value, frequencies)


# round(2**24 / (1 + 2**(3 * (32 - k) / 8))): the frequency of a one in Bernoulli table k.
BERNOULLI_ONE = (
    4095, 5310, 6886, 8929, 11577, 15011, 19461, 25230, 32704, 42387, 54929, 71164, 92173, 119339,
    154437, 199734, 258111, 333207, 429583, 552898, 710074, 909427, 1160704, 1474957, 1864135,
    2340296, 2914316, 3594078, 4382274, 5274170, 6255970, 7304479, 8388608, 9472737, 10521246,
    11503046, 12394942, 13183138, 13862900, 14436920, 14913081, 15302259, 15616512, 15867789,
    16067142, 16224318, 16347633, 16444009, 16519105, 16577482, 16622779, 16657877, 16685043,
    16706052, 16722287, 16734829, 16744512, 16751986, 16757755, 16762205, 16765639, 16768287,
    16770330, 16771906,
)


@cache
def bernoulli_tables() -> tuple[Table, ...]:
    """The 64 tables of the Bernoulli family, for mask bits (spec 6.8)."""
    return tuple(Table(0, np.array([TOTAL - one - 1, one, 1], np.int64)) for one in BERNOULLI_ONE)


# Of 64 parts of a mixture, those of the wider Laplace table, and how much further on that is (spec 6.9).
MIXTURE_WIDE = (1, 4, 10, 20, 36)
MIXTURE_DISTANCE = 8


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


# One equiprobable bit, for escapes.
HALF = Table(0, np.array([TOTAL // 2, TOTAL // 2], np.int64))
