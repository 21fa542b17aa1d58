"""The coding tools of a tensor, as plain values (spec 4.11, 7.5)."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .registry import FrameType as FrameType, OccupancyMode as OccupancyMode, Significance as Significance
from .structures import CodedTensorSyntax, StepSyntax
from .tools import Prediction as Prediction, Transform as Transform

# Step sizes grow by a factor of 2^(1/8) from one index to the next (spec 7.2).
STEPS_PER_OCTAVE, STEP_INDICES = 8, 256
STEP_MANTISSAS = (32768, 35734, 38968, 42495, 46341, 50535, 55109, 60097)


def step_of(index: int) -> tuple[int, int]:
    """(mantissa, exponent) of the step size of an index: mantissa * 2**exponent reconstructed integers (spec 7.2)."""
    return STEP_MANTISSAS[index % STEPS_PER_OCTAVE], index // STEPS_PER_OCTAVE - 15


def step_index(size: float) -> int:
    """`step_index` of the step size nearest, by its ratio, to `size` reconstructed integers."""
    return min(max(round(STEPS_PER_OCTAVE * math.log2(size)), 0), STEP_INDICES - 1)


def band_count(transform: int, levels: int) -> int:
    """Number of bands, each with its own step size (spec 7.5.1)."""
    return Transform.of(transform).band_count(levels)


def coefficient_shape(transform: int, levels: int, spatial: Sequence[int]) -> tuple[int, int, int]:
    """Shape (z, y, x) of the coefficient array of a tensor of `spatial` (z, y, x) cells (spec 7.5.1)."""
    return Transform.of(transform).coefficient_shape(spatial)


def block_counts(transform: int, shape: Sequence[int]) -> tuple[int, int, int]:
    """Cells from one frequency to the next along each axis of a coefficient array of `shape` (z, y, x): the number of
    blocks along it, 1 where there are none (spec 6.4)."""
    return Transform.of(transform).block_counts(shape)


@dataclass(frozen=True, slots=True)
class Tools:
    """The coding tools of one tensor of a unit. steps: `step_index` of each band. base: (mantissa, exponent) of the
    shared tensor's factor. offset: in units of the reconstructed integers.
    """

    steps: tuple[int, ...]
    prediction: int = Prediction.NONE
    significance: int = Significance.ALL
    transform: int = Transform.NONE
    levels: int = 0
    base: tuple[int, int] = (0, 0)
    offset: int = 0

    @classmethod
    def from_syntax(cls, t: CodedTensorSyntax) -> Tools:
        """From a parsed `coded_tensor` structure."""
        return cls(tuple(s.step_index for s in t.step), t.prediction, t.significance,
                   t.transform, t.wavelet_levels or 0, (t.base_mantissa or 0, t.base_exponent or 0),
                   t.base_offset or 0)

    def to_syntax(self, tensor_id: int, model_id: int, data: bytes, mask_model_id: int | None = None,
                  mask: bytes | None = None) -> CodedTensorSyntax:
        """The `coded_tensor` structure of a tensor coded with these tools: data under a model, and with a mask those
        of the mask."""
        transform = Transform.of(self.transform)
        mantissa, exponent = self.base if Prediction.of(self.prediction).has_factor else (None, None)
        return CodedTensorSyntax(
            tensor_id=tensor_id, prediction=self.prediction, transform=self.transform, significance=self.significance,
            reserved_tools=0, base_mantissa=mantissa, base_exponent=exponent,
            base_offset=self.offset if self.has_offset else None,
            wavelet_levels=self.levels if transform.has_levels else None, mask_model_ref=mask_model_id,
            mask_size=None if mask is None else len(mask), mask_data=mask, model_ref=model_id,
            step=tuple(StepSyntax(step_index=s) for s in self.steps), value_size=len(data), value_data=data)

    @property
    def has_offset(self) -> bool:
        """Whether `offset` plays a part."""
        return Prediction.of(self.prediction).has_offset

    @property
    def by_occupancy(self) -> bool:
        return self.significance in (Significance.OCCUPIED, Significance.OCCUPIED_AND_MASKED)

    @property
    def masked(self) -> bool:
        return self.significance in (Significance.MASKED, Significance.OCCUPIED_AND_MASKED)

    def coefficient_shape(self, shape: Sequence[int]) -> tuple[int, int, int, int]:
        """Shape (C, z, y, x) of the coefficients of a tensor of this shape."""
        return shape[0], *coefficient_shape(self.transform, self.levels, shape[1:])

    def block_counts(self, shape: Sequence[int]) -> tuple[int, int, int]:
        """See `block_counts`. shape: (C, z, y, x) of the coefficients."""
        return block_counts(self.transform, shape[1:])
