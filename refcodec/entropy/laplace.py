"""The Laplace family (spec 6.7)."""
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

# round(2**30 * exp(-1 / (2 * b))) for the scales b = 0.06 * 2**(k / 4), as data: no decoder depends on an
# implementation of exp().
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
SCALES = len(LAPLACE_DECAY)


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


class Laplace(ProbabilityFamily):
    title, compiled = "Laplace (6.7)", True
    scales = SCALES

    def tables(self) -> tuple[Table, ...]:
        return laplace_tables()


LAPLACE = Laplace.add(0, "LAPLACE")
