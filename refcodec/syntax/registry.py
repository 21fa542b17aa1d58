"""Registered values and levels (spec Annex A, chapter 4 and 10.2): the code points that the format assigns.

Those whose members are tools, with code of their own, are in modules of their own (`refcodec.code_points`).
Declarations, the tables of the specification, the Kaitai Struct description and the JavaScript decoder take them
from here.
"""
from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Mapping(IntEnum):
    """`mapping`: how a tensor's spatial axes cover the bounding box (8.3)."""

    NONE = 0
    LINEAR = 1
    SAWTOOTH = 2


class Alignment(IntEnum):
    """`alignment`: where the first and last sample of an axis lie (8.3)."""

    CORNERS = 0
    CENTRES = 1


class DigestType(IntEnum):
    """`digest_type`: what frames carry to be compared with (7.4)."""

    NONE = 0
    SHA256 = 1


class FrameType(IntEnum):
    """`frame_type`: whether a frame stands alone or refers to the one before it."""

    INTRA = 1
    INTER = 2

    @property
    def letter(self) -> str:
        """I or P."""
        return "IP"[self - 1]


class OccupancyMode(IntEnum):
    """`occupancy_mode`: how a frame says which voxels are occupied (6.1)."""

    UNCHANGED = 0
    COMPRESSED = 1
    DIFFERENCE = 2
    CODED = 3


class Significance(IntEnum):
    """`significance`: which elements are coded (7.1)."""

    ALL = 0
    OCCUPIED = 1
    MASKED = 2
    OCCUPIED_AND_MASKED = 3


class ModelType(IntEnum):
    """`model_type` (4.8)."""

    CONTEXT = 1
    STATIC = 2


class ChannelMode(IntEnum):
    """`channel_mode`: whether a context model takes the channels of a cell one by one or jointly (6.4)."""

    SEPARATE = 0
    JOINT = 1


class Assignment(IntEnum):
    """`assignment`: what a symbol's static table depends on (6.4)."""

    ONE_TABLE = 0
    BY_CHANNEL = 1
    BY_BAND = 2
    BY_BAND_AND_CHANNEL = 3


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

Neighbour = tuple[int, int, int, int, int]  # (source, dc, dz, dy, dx)


class SourceKind(IntEnum):
    """Kind of input that a neighbour gives to a context model (6.4)."""

    VALUE = 0
    ACTIVITY = 2
    MAGNITUDE = 4


@dataclass(frozen=True, slots=True)
class NeighbourSource:
    """A `neighbour_source`. previous: in the previous frame. by_frequency: its offset counts frequencies."""

    kind: SourceKind
    previous: bool
    by_frequency: bool

    @property
    def by_cell(self) -> int:
        """Code point of the same source with an offset that counts cells."""
        return self.kind + self.previous


# `neighbour_source` -> what it is (6.4). BY_FREQUENCY is added where offsets count frequencies.
BY_FREQUENCY = 8
SOURCES = {kind + previous + BY_FREQUENCY * by_frequency: NeighbourSource(kind, previous, by_frequency)
           for by_frequency in (False, True) for kind in SourceKind for previous in (False, True)}
VALUE, PREVIOUS, ACTIVITY, PREVIOUS_ACTIVITY, MAGNITUDE, PREVIOUS_MAGNITUDE = range(6)


def is_previous(source: int) -> bool:
    """Whether a neighbour lies in the previous frame."""
    return SOURCES[source].previous


def is_activity(source: int) -> bool:
    """Whether a neighbour is a sum over all channels."""
    return SOURCES[source].kind == SourceKind.ACTIVITY


def is_magnitude(source: int) -> bool:
    """Whether a neighbour is an absolute value."""
    return SOURCES[source].kind == SourceKind.MAGNITUDE


_CAUSAL = [(0, 0, -1), (0, -1, 0), (-1, 0, 0), (0, -1, -1), (-1, 0, -1), (-1, -1, 0), (-1, -1, -1)]
_CROSS = [(0, 0, 0), (0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0), (-1, 0, 0), (1, 0, 0)]

_SPATIAL = [(VALUE, 0, *o) for o in _CAUSAL]
_TEMPORAL = [(PREVIOUS, 0, *o) for o in _CROSS]
# Without the corner, with the diagonals that point back along one axis and forth along another.
_DIAGONAL = [(VALUE, 0, *o) for o in [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (-1, -1, 0), (-1, 0, -1), (0, -1, -1),
                                      (-1, 1, 0), (-1, 0, 1), (0, -1, 1)]]
_SPATIAL_ACTIVITY = [(ACTIVITY, 0, *o) for o in _CAUSAL[:3]]


def _on_plane(axis: int, temporal: bool) -> list[Neighbour]:
    """Neighbours on a plane that lacks an axis (0 = z): two rings of values before, in an order of decoding that
    takes NE first, activities of the nearest, and with `temporal` a cross in the previous frame."""
    slow, fast = (a for a in range(3) if a != axis)

    def place(source: int, along_slow: int, along_fast: int) -> Neighbour:
        offset = [0, 0, 0]
        offset[slow], offset[fast] = along_slow, along_fast
        z, y, x = offset
        return source, 0, z, y, x

    causal = [(0, -1), (-1, 0), (-1, -1), (-1, 1), (0, -2), (-2, 0)]
    found = [place(VALUE, *o) for o in causal] + [place(ACTIVITY, *o) for o in causal[:2] + causal[3:4]]
    if temporal:
        cross = [(0, 0), (0, -1), (0, 1), (-1, 0), (1, 0)]
        found += [place(PREVIOUS, *o) for o in cross] + [place(PREVIOUS_ACTIVITY, 0, 0)]
    return found


def _of_coefficients(temporal: bool) -> list[Neighbour]:
    """Neighbours of a coefficient of the block DCT: the same frequency in the blocks before, lower frequencies of
    the same block, the channels before at the same place; with `temporal`, what is around it in the previous frame."""
    one = [(0, 0, -1), (0, -1, 0), (-1, 0, 0)]
    two = [(0, -1, -1), (-1, 0, -1), (-1, -1, 0)]
    far = [(0, 0, -2), (0, -2, 0), (-2, 0, 0)]
    found = [(MAGNITUDE, 0, *o) for o in one] + [(ACTIVITY, 0, *o) for o in one]
    found += [(MAGNITUDE + BY_FREQUENCY, 0, *o) for o in one + two + far]
    found += [(ACTIVITY + BY_FREQUENCY, 0, *o) for o in one + two]
    found += [(ACTIVITY, 0, 0, 0, 0), (MAGNITUDE, -1, 0, 0, 0)]
    if temporal:
        up = [(0, 0, 1), (0, 1, 0), (1, 0, 0)]
        found += [(PREVIOUS_MAGNITUDE, 0, 0, 0, 0), (PREVIOUS_ACTIVITY, 0, 0, 0, 0)]
        found += [(PREVIOUS_ACTIVITY, 0, *o) for o in up] + [(PREVIOUS_MAGNITUDE + BY_FREQUENCY, 0, *o) for o in up]
    return found


EXPLICIT = 1  # `template_id` of neighbours that the stream lists
# `template_id` -> neighbours (source, dc, dz, dy, dx), Annex A.3.
TEMPLATES: dict[int, list[Neighbour]] = {
    0: [],
    2: _SPATIAL,
    3: _SPATIAL + _TEMPORAL,
    4: _SPATIAL + _SPATIAL_ACTIVITY,
    5: _SPATIAL + _TEMPORAL + _SPATIAL_ACTIVITY + [(PREVIOUS_ACTIVITY, 0, 0, 0, 0)],
    6: _DIAGONAL,
    7: _DIAGONAL + _TEMPORAL,
    8: _on_plane(2, False), 9: _on_plane(2, True),
    10: _on_plane(1, False), 11: _on_plane(1, True),
    12: _on_plane(0, False), 13: _on_plane(0, True),
    14: _of_coefficients(False), 15: _of_coefficients(True),
}
