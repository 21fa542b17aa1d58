"""The decoded state that the next frame refers to, for decoder and encoder (spec 7)."""
from __future__ import annotations

import struct
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..entropy.layout import Layout
from ..entropy.models import EntropyModel
from ..entropy.occupancy import decompressed, pack
from ..kernels import Kernels, best
from ..syntax.coding import FrameType, OccupancyMode, Prediction, Tools, Transform
from ..syntax.headers import SequenceHeader
from ..syntax.structures import FrameSyntax
from . import transforms
from .bound import BoundTensor
from .reconstruction import digest
from .significance import mask_geometry, packed_lines


@dataclass(frozen=True, slots=True)
class _Contexts:
    """Clamped quantised values int8 (z, y, x, C), and the coefficients that they are."""

    kind: tuple[int, int]
    values: np.ndarray


class FrameState:
    """Reconstruction of the latest frame, and what decoding the next one refers to.

    header: of the current scene. occupancy: bool (z, y, x) or None. tensors: int32
    (C, z, y, x) each. shared: tensors of the shared unit by tensor_id. models: entropy
    models of the group. kernels: what does the work; the best there are by default. Arrays
    are replaced, never written to, so that a frame handed out stays as it was.
    """

    def __init__(self, header: SequenceHeader, kernels: Kernels | None = None):
        self.header, self.kernels = header, kernels or best()
        self.occupancy: np.ndarray | None = None
        self.tensors: list[np.ndarray] = [np.zeros(t.shape, np.int32) for t in header.tensors]
        self.shared: dict[int, np.ndarray] = {}
        self.models: dict[int, EntropyModel] = {}
        self._contexts: dict[int, _Contexts] = {}
        self._geometries: dict[int, Hashable] = {}
        self._masks: dict[tuple[Hashable, int, int], np.ndarray] = {}
        self._masked_bands: dict[tuple[Hashable, int, int], np.ndarray] = {}
        self._lines: np.ndarray | None = None  # `packed_lines` of the occupancy, once they are needed

    def copy(self) -> FrameState:
        """An independent state with the same content."""
        other = FrameState.__new__(FrameState)
        other.header, other.kernels = self.header, self.kernels
        other.occupancy, other.shared = self.occupancy, self.shared
        other.tensors, other._contexts = list(self.tensors), dict(self._contexts)
        other.models, other._masks, other._lines = dict(self.models), dict(self._masks), self._lines
        other._geometries, other._masked_bands = dict(self._geometries), dict(self._masked_bands)
        return other

    def start_group(self, header: SequenceHeader) -> None:
        """Nothing but the shared tensors goes from one group to the next. header: of the group's scene."""
        self.header = header
        self.models, self._contexts, self._geometries = {}, {}, {}
        self._masks, self._masked_bands = {}, {}

    def set_occupancy(self, occupancy: np.ndarray | None) -> None:
        if occupancy is not None and self.occupancy is not None and np.array_equal(occupancy, self.occupancy):
            return
        self.occupancy, self._lines = occupancy, None
        self._masks.clear()
        self._masked_bands.clear()

    def decode_occupancy(self, v: FrameSyntax) -> np.ndarray | None:
        """Occupancy that a parsed frame states: bool (z, y, x) (spec 6.1). The model of an entropy coded one
        is in `models` and can serve. Raises EntropyError."""
        return frame_occupancy(v, self.header.occupancy_shape, self.models, self.occupancy, self.kernels)

    def occupancy_context(self, intra: bool) -> np.ndarray | None:
        """This frame's occupancy as context of the next one's (spec 6.1.2): int8 (z, y, x, 1),
        None = all zero."""
        return _occupancy_context(self.occupancy, intra)

    def mask(self, tensor_id: int, tools: Tools) -> np.ndarray | None:
        """Cells of a tensor's coefficients whose elements may be coded (spec 7.1), None when all are."""
        if not tools.by_occupancy:
            return None
        info = self.header.tensors[tensor_id]
        if (geometry := self._geometries.get(tensor_id)) is None:
            self._geometries[tensor_id] = geometry = mask_geometry(self.header, info)
        key = (geometry, tools.transform, tools.levels)
        if (known := self._masks.get(key)) is not None:
            return known
        assert self.occupancy is not None, "the order of checks: R-TEN-05"
        if (lines := self._lines) is None:
            self._lines = lines = packed_lines(self.occupancy)
        cells = self.kernels.coded_mask(self.header, info, self.occupancy, lines)
        self._masks[key] = mask = self.kernels.support_mask(tools.transform, tools.levels, cells)
        return mask

    def bind(self, tensor_id: int, tools: Tools) -> BoundTensor:
        """A tensor of the next frame, whose occupancy has been set, with all that its coding refers to."""
        info = self.header.tensors[tensor_id]
        mask = self.mask(tensor_id, tools)
        shape = tools.coefficient_shape(info.shape)
        layout = Layout(shape, mask, self.contexts(tensor_id, tools), self._bands(tensor_id, tools, mask),
                        tools.block_counts(shape))
        source = Prediction.of(tools.prediction).source(tensor_id, self.tensors, self.shared)
        return BoundTensor(tensor_id, info, tools, layout, source)

    def _bands(self, tensor_id: int, tools: Tools, mask: np.ndarray | None) -> np.ndarray | None:
        """Band of each coded cell, uint8; None when there is one band (spec 7.5)."""
        if Transform.of(tools.transform).band_count(tools.levels) == 1:
            return None
        bands = transforms.band_map(tools.transform, tools.levels, self.header.tensors[tensor_id].shape[1:])
        if mask is None:
            return bands.reshape(-1)
        key = (self._geometries[tensor_id], tools.transform, tools.levels)
        if (known := self._masked_bands.get(key)) is None:
            self._masked_bands[key] = known = bands[mask]
        return known

    def contexts(self, tensor_id: int, tools: Tools) -> np.ndarray | None:
        """Contexts from the previous frame (spec 6.4): int8 (z, y, x, C), None = all zero."""
        known = self._contexts.get(tensor_id)
        return known.values if known is not None and known.kind == (tools.transform, tools.levels) else None

    def reconstruct(self, bound: BoundTensor, values: np.ndarray) -> None:
        """Takes in the quantised values, int32 (coded cells, C), of a tensor that `bind` gave."""
        tensor, context = self.kernels.reconstruct(bound, values)
        self.tensors[bound.id], self._contexts[bound.id] = tensor, _Contexts(bound.kind, context)

    def forget_contexts(self, carried: Collection[int]) -> None:
        """Tensors that the frame did not carry have all-zero contexts for the next."""
        self._contexts = {i: c for i, c in self._contexts.items() if i in carried}

    def digest(self, frame_number: int) -> bytes:
        """The frame's digest (spec 7.4)."""
        return frame_digest(frame_number, self.occupancy, self.tensors)

    def shared_digest(self) -> bytes:
        """The shared unit's digest (spec 7.4)."""
        return digest(b"", [self.shared[i] for i in sorted(self.shared)])


def frame_occupancy(v: FrameSyntax, shape: tuple[int, int, int], models: Mapping[int, EntropyModel],
                    before: np.ndarray | None, kernels: Kernels) -> np.ndarray | None:
    """Occupancy that a parsed frame states: bool `shape`, which is (z, y, x), or None (spec 6.1).

    models: by number, with one that can serve where it is entropy coded. before: of the frame before. Raises
    EntropyError.
    """
    if v.occupancy_mode == OccupancyMode.UNCHANGED:
        return before
    if v.occupancy_mode == OccupancyMode.CODED:
        assert v.occupancy_model_ref is not None, "there with this mode"
        context = _occupancy_context(before, v.frame_type == FrameType.INTRA)
        return kernels.decode_occupancy(models[v.occupancy_model_ref], shape, context, v.occupancy_data)
    bits = decompressed(v.occupancy_data, shape)
    return bits ^ before if v.occupancy_mode == OccupancyMode.DIFFERENCE else bits


def _occupancy_context(before: np.ndarray | None, intra: bool) -> np.ndarray | None:
    return None if intra or before is None else before.view(np.int8)[..., None]


def frame_digest(number: int, occupancy: np.ndarray | None, tensors: Sequence[np.ndarray]) -> bytes:
    """The digest of a frame with these tensors (spec 7.4)."""
    packed = pack(occupancy) if occupancy is not None else b""
    return digest(struct.pack("<I", number) + packed, tensors)
