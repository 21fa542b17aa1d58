"""The sequence header as plain values (spec chapter 5.3).

These classes carry no parsing: `refcodec.syntax.units` reads and writes them,
everything downstream (tensor decoding, fields, rendering, encoder) consumes them.
"""
from __future__ import annotations

from dataclasses import dataclass, replace

from .registry import LEVELS, Alignment, Mapping
from .representation import Representation, Role
from .structures import (
    FieldParametersSyntax,
    NetworkParametersSyntax,
    SceneSyntax,
    SequenceHeaderSyntax,
    TensorInfoSyntax,
)

__all__ = ["Alignment", "FieldParameters", "Mapping", "Representation", "Role", "Scene", "SequenceHeader", "TensorInfo",
           "lowest_level"]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One entry of the tensor list; its position in the list is its `tensor_id`.

    shape: (channels, depth z, height y, width x), stored with x fastest. A plane has one
    sample along one axis, a line along two.
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
class FieldParameters:
    """Constants of the field (spec chapter 8.2). The last four are those of a NeRF (8.9).

    skip_layer: layer of the fusion network that sees the encoded position again; 0: none.
    coarse_samples, fine_samples: per ray, when the field has a coarse network; else 0.
    """

    density_shift: float
    density_scale: float
    feature_frequencies: int
    direction_frequencies: int
    position_frequencies: int = 0
    skip_layer: int = 0
    coarse_samples: int = 0
    fine_samples: int = 0


@dataclass(frozen=True, slots=True)
class Scene:
    """The parameters of one scene of a file.

    aabb_min, aabb_max: corners (x, y, z) in units of 2**aabb_exponent scene units.
    samples_per_diagonal: ray step = box diagonal / this number (chapter 9.2).
    background: 8-bit sRGB colour composited behind the field.
    """

    aabb_min: tuple[int, int, int]
    aabb_max: tuple[int, int, int]
    aabb_exponent: int
    samples_per_diagonal: int
    background: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class SequenceHeader:
    """Everything that holds for a whole sequence.

    aabb_min, aabb_max, aabb_exponent, samples_per_diagonal, background: of the first
    scene, see `Scene`; of_scene gives the header as another scene sees it.
    occupancy_dims: voxels along (x, y, z); all zero when no occupancy is coded.
    further_scenes: scenes 1, 2, ... of the file.
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
    parameters: FieldParameters
    digest_type: int = 1
    further_scenes: tuple[Scene, ...] = ()

    @classmethod
    def from_syntax(cls, v: SequenceHeaderSyntax) -> SequenceHeader:
        """From a parsed `sequence_header` structure."""
        tensors = tuple(
            TensorInfo(Role(t.tensor_role), t.role_index, (t.channels, t.depth, t.height, t.width),
                       t.frac_bits, Mapping(t.mapping), Alignment(t.alignment), t.frequency)
            for t in v.tensor)
        p, n = v.parameters, v.network
        parameters = FieldParameters(p.density_shift, p.density_scale, p.feature_frequencies, p.direction_frequencies,
                                     *((n.position_frequencies, n.skip_layer, n.coarse_samples, n.fine_samples)
                                       if n is not None else ()))
        return cls(
            Representation.of(v.representation), v.ticks_per_second, v.aabb_min, v.aabb_max,
            v.aabb_exponent, v.occupancy_dims, v.samples_per_diagonal, v.background, tensors,
            parameters, v.digest_type,
            tuple(Scene(s.aabb_min, s.aabb_max, s.aabb_exponent, s.samples_per_diagonal, s.background)
                  for s in v.scene))

    def to_syntax(self) -> SequenceHeaderSyntax:
        """The values of a `sequence_header` structure."""
        p = self.parameters
        return SequenceHeaderSyntax(
            representation=self.representation, scene_count=self.scene_count, digest_type=self.digest_type,
            ticks_per_second=self.ticks_per_second, aabb_min=self.aabb_min, aabb_max=self.aabb_max,
            aabb_exponent=self.aabb_exponent, occupancy_dims=self.occupancy_dims,
            samples_per_diagonal=self.samples_per_diagonal, background=self.background,
            scene=tuple(SceneSyntax(aabb_min=s.aabb_min, aabb_max=s.aabb_max, aabb_exponent=s.aabb_exponent,
                                    samples_per_diagonal=s.samples_per_diagonal, background=s.background)
                        for s in self.further_scenes),
            tensor_count=len(self.tensors),
            tensor=tuple(
                TensorInfoSyntax(
                    tensor_role=t.role, role_index=t.index, frac_bits=t.frac_bits, channels=t.shape[0],
                    depth=t.shape[1], height=t.shape[2], width=t.shape[3], mapping=t.mapping, alignment=t.alignment,
                    frequency=t.frequency)
                for t in self.tensors),
            parameters=FieldParametersSyntax(
                density_shift=p.density_shift, density_scale=p.density_scale,
                feature_frequencies=p.feature_frequencies, direction_frequencies=p.direction_frequencies),
            network=NetworkParametersSyntax(position_frequencies=p.position_frequencies, skip_layer=p.skip_layer,
                                            coarse_samples=p.coarse_samples, fine_samples=p.fine_samples)
            if self.representation.has_network_parameters else None)

    @property
    def scene_count(self) -> int:
        return 1 + len(self.further_scenes)

    def of_scene(self, scene_id: int) -> SequenceHeader:
        """The header with the box, ray step and background of scene `scene_id` as its own."""
        if scene_id == 0:
            return self
        s = self.further_scenes[scene_id - 1]
        return replace(self, aabb_min=s.aabb_min, aabb_max=s.aabb_max, aabb_exponent=s.aabb_exponent,
                       samples_per_diagonal=s.samples_per_diagonal, background=s.background)

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
                 model_work: int = 0, coefficients: int = 0) -> int | None:
    """The lowest level (spec Table 10-1) that holds a sequence; None when none does.

    unit_size: bytes of the largest payload. group_frames: of the longest group.
    model_work: multiplications of the unit that needs most. coefficients: of the unit
    that carries most.
    """
    need = (unit_size, max(header.tensor_elements, coefficients), header.occupancy_voxels, group_frames, model_work)
    for number, level in sorted(LEVELS.items()):
        bounds = (level.unit_size, level.tensor_elements, level.occupancy_voxels, level.group_frames,
                  level.model_work)
        if all(n <= bound for n, bound in zip(need, bounds)):
            return number
    return None
