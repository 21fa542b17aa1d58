"""What the sequence header says, as plain values (spec chapter 5.3).

These classes carry no parsing: `refcodec.syntax.units` reads and writes them,
everything downstream (tensor decoding, fields, rendering, encoder) consumes them.
"""
from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from .registry import LEVELS


class Representation(IntEnum):
    """`representation`: the rule that turns tensors into colour and density."""

    DIF = 1
    VM = 2
    TRIPLANE = 3
    GRID = 4
    MLP = 5


class Role(IntEnum):
    """`tensor_role`: what a tensor is to its representation (Annex A)."""

    DIF_COEFFICIENT = 1
    DIF_BASIS = 2
    FUSION_WEIGHT = 16
    FUSION_BIAS = 17
    RENDER_WEIGHT = 18
    RENDER_BIAS = 19


class Mapping(IntEnum):
    """`mapping`: how a tensor's spatial axes cover the bounding box."""

    NONE = 0
    LINEAR = 1
    SAWTOOTH = 2


class Alignment(IntEnum):
    """`alignment`: where the first and last sample of an axis lie."""

    CORNERS = 0
    CENTRES = 1


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One entry of the tensor list; its position in the list is its `tensor_id`.

    shape: (channels, depth z, height y, width x), stored with x fastest.
    A weight matrix has shape (1, 1, outputs, inputs), a bias (1, 1, 1, outputs).
    A reconstructed value v stands for v * 2**-frac_bits.
    frequency: periods of the sawtooth over the longest side of the box, in 2**-16.
    """

    role: Role
    index: int
    shape: tuple[int, int, int, int]
    frac_bits: int
    mapping: Mapping = Mapping.NONE
    alignment: Alignment = Alignment.CORNERS
    frequency: int = 0

    @property
    def size(self) -> int:
        c, z, y, x = self.shape
        return c * z * y * x


@dataclass(frozen=True, slots=True)
class DifParameters:
    """Constants of the dictionary field (spec chapter 8.2)."""

    density_shift: float
    density_scale: float
    feature_frequencies: int
    direction_frequencies: int


@dataclass(frozen=True, slots=True)
class SequenceHeader:
    """Everything that holds for a whole sequence.

    aabb_min, aabb_max: corners (x, y, z) in units of 2**aabb_exponent scene units.
    occupancy_dims: voxels along (x, y, z); all zero when no occupancy is coded.
    samples_per_diagonal: ray step = box diagonal / this number (chapter 9.2).
    background: 8-bit sRGB colour composited behind the field.
    """

    representation: Representation
    ticks_per_second: int
    aabb_min: tuple[int, int, int]
    aabb_max: tuple[int, int, int]
    aabb_exponent: int
    occupancy_dims: tuple[int, int, int]
    samples_per_diagonal: int
    background: tuple[int, int, int]
    tensors: tuple[TensorInfo, ...]
    parameters: DifParameters
    digest_type: int = 1

    @classmethod
    def from_syntax(cls, v) -> SequenceHeader:
        """From a parsed `sequence_header` structure."""
        tensors = tuple(
            TensorInfo(Role(t.tensor_role), t.role_index, (t.channels, t.depth, t.height, t.width),
                       t.frac_bits, Mapping(t.mapping), Alignment(t.alignment), t.frequency)
            for t in v.tensor)
        p = v.parameters
        return cls(
            Representation(v.representation), v.ticks_per_second, v.aabb_min, v.aabb_max,
            v.aabb_exponent, v.occupancy_dims, v.samples_per_diagonal, v.background, tensors,
            DifParameters(p.density_shift, p.density_scale, p.feature_frequencies,
                          p.direction_frequencies), v.digest_type)

    def to_syntax(self) -> dict:
        """The values of a `sequence_header` structure."""
        p = self.parameters
        return dict(
            representation=self.representation, scene_count=1, digest_type=self.digest_type,
            ticks_per_second=self.ticks_per_second, aabb_min=self.aabb_min, aabb_max=self.aabb_max,
            aabb_exponent=self.aabb_exponent, occupancy_dims=self.occupancy_dims,
            samples_per_diagonal=self.samples_per_diagonal, background=self.background,
            tensor_count=len(self.tensors),
            tensor=[dict(tensor_role=t.role, role_index=t.index, frac_bits=t.frac_bits,
                         channels=t.shape[0], depth=t.shape[1], height=t.shape[2], width=t.shape[3],
                         mapping=t.mapping, alignment=t.alignment, frequency=t.frequency)
                    for t in self.tensors],
            parameters=dict(density_shift=p.density_shift, density_scale=p.density_scale,
                            feature_frequencies=p.feature_frequencies,
                            direction_frequencies=p.direction_frequencies))

    @property
    def tensor_elements(self) -> int:
        return sum(t.size for t in self.tensors)

    @property
    def occupancy_voxels(self) -> int:
        x, y, z = self.occupancy_dims
        return x * y * z

    @property
    def has_occupancy(self) -> bool:
        return self.occupancy_dims != (0, 0, 0)

    @property
    def occupancy_shape(self) -> tuple[int, int, int]:
        """Array shape (z, y, x) of the occupancy."""
        x, y, z = self.occupancy_dims
        return z, y, x

    @property
    def box(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Corners of the bounding box in scene units."""
        s = 2.0**self.aabb_exponent
        return tuple(v * s for v in self.aabb_min), tuple(v * s for v in self.aabb_max)


def lowest_level(header: SequenceHeader, unit_size: int = 0, group_frames: int = 0,
                 model_work: int = 0) -> int | None:
    """The lowest level (spec Table 10-1) that holds a sequence; None when none does.

    unit_size: bytes of the largest payload. group_frames: of the longest group.
    model_work: multiplications of the frame that needs most.
    """
    need = (unit_size, header.tensor_elements, header.occupancy_voxels, group_frames, model_work)
    for number, level in sorted(LEVELS.items()):
        bounds = (level.unit_size, level.tensor_elements, level.occupancy_voxels, level.group_frames,
                  level.model_work)
        if all(n <= bound for n, bound in zip(need, bounds)):
            return number
    return None
