"""The input of baselines: the fields of a sequence as floats, trained once without a rate."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ...decoding import Frame
from ...syntax.coding import FrameType
from ...syntax.headers import Mapping, SequenceHeader
from ...tensors.significance import coded_mask


@dataclass(frozen=True, slots=True)
class FieldFrame:
    """One field. tensors: float32 (C, z, y, x) in the order of the tensor list; occupancy: bool
    (z, y, x) or None. intra: the first of a group, from which random access starts."""

    tensors: tuple[np.ndarray, ...]
    occupancy: np.ndarray | None
    intra: bool


@dataclass(frozen=True, slots=True)
class FieldSequence:
    """Fields that share a header: what a baseline encodes, and what it decodes to."""

    header: SequenceHeader
    frames: tuple[FieldFrame, ...]

    @classmethod
    def of(cls, frames: Iterable[Frame]) -> FieldSequence:
        """The fields of decoded frames of one scene."""
        frames = list(frames)
        return cls(frames[0].header, tuple(FieldFrame(tuple(f.values()), f.occupancy, f.type == FrameType.INTRA)
                                           for f in frames))

    @property
    def grids(self) -> list[int]:
        """Tensors with a place in space: grids, planes and lines."""
        return [i for i, t in enumerate(self.header.tensors) if t.mapping != Mapping.NONE]

    @property
    def networks(self) -> list[int]:
        """Weights and biases."""
        return [i for i, t in enumerate(self.header.tensors) if t.mapping == Mapping.NONE]


def axes(shape: Sequence[int]) -> int:
    """Spatial axes of a tensor (C, z, y, x) with more than one cell: 3 a grid, 2 a plane, 1 a line."""
    return sum(n > 1 for n in shape[1:])


def occupied_cells(header: SequenceHeader, tensor_id: int, occupancy: np.ndarray | None) -> np.ndarray:
    """bool (z, y, x): the cells of a tensor in the support of the occupied voxels; all, for networks."""
    info = header.tensors[tensor_id]
    if occupancy is None or info.mapping == Mapping.NONE:
        return np.ones(info.shape[1:], bool)
    return coded_mask(header, info, occupancy)
