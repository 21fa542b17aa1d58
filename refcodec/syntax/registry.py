"""Registered values (spec Annex A) and levels (spec 10.2): data shared by every layer."""
from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class UnitType(IntEnum):
    """`unit_type` (Table 4-1)."""

    SEQUENCE_HEADER = 1
    GROUP_HEADER = 2
    FRAME = 3
    INDEX = 4
    END = 5
    CAMERAS = 6
    METADATA = 7
    SHARED = 8


# Units that a decoder can do without; all others are critical.
ANCILLARY_UNITS = frozenset({UnitType.INDEX, UnitType.CAMERAS, UnitType.METADATA})


@dataclass(frozen=True, slots=True)
class Level:
    """Bounds of a level (Table 10-1)."""

    unit_size: int
    tensor_elements: int
    occupancy_voxels: int
    group_frames: int
    model_work: int


LEVELS = {
    1: Level(1 << 22, 1 << 21, 1 << 21, 256, 1 << 30),
    2: Level(1 << 25, 1 << 24, 1 << 24, 1024, 1 << 34),
    3: Level(1 << 28, 1 << 27, 1 << 27, 4096, 1 << 37),
}

# `neighbour_source` (spec 6.4). The lowest bit says which frame; BY_FREQUENCY is added where offsets count frequencies.
VALUE, PREVIOUS, ENERGY, PREVIOUS_ENERGY, MAGNITUDE, PREVIOUS_MAGNITUDE = range(6)
BY_FREQUENCY = 8
SOURCES = frozenset(source + flag for source in range(6) for flag in (0, BY_FREQUENCY))


def is_previous(source: int) -> bool:
    """Whether a neighbour lies in the previous frame."""
    return source & 1 == 1


def is_energy(source: int) -> bool:
    """Whether a neighbour is a sum over all channels."""
    return source & 6 == ENERGY


def is_magnitude(source: int) -> bool:
    """Whether a neighbour is an absolute value."""
    return source & 6 == MAGNITUDE


_CAUSAL = [(0, 0, -1), (0, -1, 0), (-1, 0, 0), (0, -1, -1), (-1, 0, -1), (-1, -1, 0), (-1, -1, -1)]
_CROSS = [(0, 0, 0), (0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0), (-1, 0, 0), (1, 0, 0)]

_SPATIAL = [(VALUE, 0, *o) for o in _CAUSAL]
_TEMPORAL = [(PREVIOUS, 0, *o) for o in _CROSS]
# Without the corner, with the diagonals that point back along one axis and forth along another.
_DIAGONAL = [(VALUE, 0, *o) for o in [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (-1, -1, 0), (-1, 0, -1), (0, -1, -1),
                                      (-1, 1, 0), (-1, 0, 1), (0, -1, 1)]]
_SPATIAL_ENERGY = [(ENERGY, 0, *o) for o in _CAUSAL[:3]]



def _on_plane(axis: int, temporal: bool) -> list[tuple[int, int, int, int, int]]:
    """Neighbours on a plane that lacks an axis (0 = z): two rings of values before, in an order of decoding that
    takes NE first, energies of the nearest, and with `temporal` a cross in the previous frame."""
    slow, fast = (a for a in range(3) if a != axis)

    def place(source: int, along_slow: int, along_fast: int) -> tuple[int, int, int, int, int]:
        offset = [0, 0, 0]
        offset[slow], offset[fast] = along_slow, along_fast
        z, y, x = offset
        return source, 0, z, y, x

    causal = [(0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0)]
    found = [place(VALUE, *o) for o in causal] + [place(ENERGY, *o) for o in causal[:2] + causal[3:4]]
    if temporal:
        cross = [(0, 0), (0, -1), (0, 1), (-1, 0), (1, 0)]
        found += [place(PREVIOUS, *o) for o in cross] + [place(PREVIOUS_ENERGY, 0, 0)]
    return found


def _of_coefficients(temporal: bool) -> list[tuple[int, int, int, int, int]]:
    """Neighbours of a coefficient of the block DCT: the same frequency in the blocks before, lower frequencies of
    the same block, the channels before at the same place; with `temporal`, what is around it in the previous frame."""
    one = [(0, 0, -1), (0, -1, 0), (-1, 0, 0)]
    two = [(0, -1, -1), (-1, 0, -1), (-1, -1, 0)]
    far = [(0, 0, -2), (0, -2, 0), (-2, 0, 0)]
    found = [(MAGNITUDE, 0, *o) for o in one] + [(ENERGY, 0, *o) for o in one]
    found += [(MAGNITUDE + BY_FREQUENCY, 0, *o) for o in one + two + far]
    found += [(ENERGY + BY_FREQUENCY, 0, *o) for o in one + two]
    found += [(ENERGY, 0, 0, 0, 0), (MAGNITUDE, -1, 0, 0, 0)]
    if temporal:
        up = [(0, 0, 1), (0, 1, 0), (1, 0, 0)]
        found += [(PREVIOUS_MAGNITUDE, 0, 0, 0, 0), (PREVIOUS_ENERGY, 0, 0, 0, 0)]
        found += [(PREVIOUS_ENERGY, 0, *o) for o in up] + [(PREVIOUS_MAGNITUDE + BY_FREQUENCY, 0, *o) for o in up]
    return found


EXPLICIT = 1  # `template_id` of neighbours that the stream lists
# `template_id` -> neighbours (source, dc, dz, dy, dx), Annex A.3.
TEMPLATES: dict[int, list[tuple[int, int, int, int, int]]] = {
    0: [],
    2: _SPATIAL,
    3: _SPATIAL + _TEMPORAL,
    4: _SPATIAL + _SPATIAL_ENERGY,
    5: _SPATIAL + _TEMPORAL + _SPATIAL_ENERGY + [(PREVIOUS_ENERGY, 0, 0, 0, 0)],
    6: _DIAGONAL,
    7: _DIAGONAL + _TEMPORAL,
    8: _on_plane(2, False), 9: _on_plane(2, True),
    10: _on_plane(1, False), 11: _on_plane(1, True),
    12: _on_plane(0, False), 13: _on_plane(0, True),
    14: _of_coefficients(False), 15: _of_coefficients(True),
}
