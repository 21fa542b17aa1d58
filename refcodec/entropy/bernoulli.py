"""The Bernoulli family, for bits of masks and occupancy (spec 6.8)."""
from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ..deferred import Deferred
from ..syntax.families import ProbabilityFamily
from .tables import TOTAL, Table

if TYPE_CHECKING:
    import numpy as np
else:
    np = Deferred("numpy")

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


class Bernoulli(ProbabilityFamily):
    title, compiled = "Bernoulli (6.8)", True
    codes_bits, has_location = True, False
    scales = len(BERNOULLI_ONE)

    def tables(self) -> tuple[Table, ...]:
        return bernoulli_tables()


BERNOULLI = Bernoulli.add(1, "BERNOULLI")
