"""The decoded state that one frame hands to the next, for decoder and encoder alike (spec 7)."""
from __future__ import annotations

import numpy as np

from ..entropy.models import INPUT_LIMIT, EntropyModel
from ..entropy.occupancy import pack
from ..syntax.headers import SequenceHeader
from .reconstruction import dequantise, frame_digest, saturate
from .significance import coded_mask

PREDICT_NONE, PREDICT_PREVIOUS = 0, 1


class FrameState:
    """Reconstruction of the latest frame, and what decoding the next one refers to.

    occupancy: bool (z, y, x) or None. tensors: int32 (C, z, y, x) each. contexts:
    clamped quantised values of the latest frame, int8 (z, y, x, C), None = all zero.
    models: entropy models of the group. Arrays are replaced, never written to, so
    that a frame handed out stays as it was.
    """

    def __init__(self, header: SequenceHeader):
        self.header = header
        self.occupancy: np.ndarray | None = None
        self.tensors: list[np.ndarray] = [np.zeros(t.shape, np.int32) for t in header.tensors]
        self.contexts: list[np.ndarray | None] = [None] * len(header.tensors)
        self.models: dict[int, EntropyModel] = {}
        self._masks: dict[int, np.ndarray] = {}

    def copy(self) -> FrameState:
        """An independent state with the same content."""
        other = FrameState.__new__(FrameState)
        other.header, other.occupancy = self.header, self.occupancy
        other.tensors, other.contexts = list(self.tensors), list(self.contexts)
        other.models, other._masks = dict(self.models), dict(self._masks)
        return other

    def set_occupancy(self, occupancy: np.ndarray | None) -> None:
        if occupancy is not None and self.occupancy is not None and np.array_equal(occupancy, self.occupancy):
            return
        self.occupancy = occupancy
        self._masks.clear()

    def mask(self, tensor_id: int, significance: int) -> np.ndarray | None:
        """Coded cells of a tensor (spec 7.1), None when all are."""
        if not significance:
            return None
        if tensor_id not in self._masks:
            self._masks[tensor_id] = coded_mask(self.header, self.header.tensors[tensor_id], self.occupancy)
        return self._masks[tensor_id]

    def reconstruct(self, tensor_id: int, prediction: int, mask: np.ndarray | None,
                    values: np.ndarray, mantissa: int, exponent: int) -> None:
        """Takes in the quantised values (cells, C) of one tensor (spec 7.2, 7.3)."""
        channels, *spatial = self.header.tensors[tensor_id].shape
        if mask is None:
            mask = np.ones(spatial, bool)
        if prediction == PREDICT_PREVIOUS:
            tensor = self.tensors[tensor_id].copy()
        else:
            tensor = np.zeros((channels, *spatial), np.int32)
        context = np.zeros((*spatial, channels), np.int8)
        context[mask] = np.clip(values, -INPUT_LIMIT, INPUT_LIMIT)
        for c, plane in enumerate(tensor):  # one at a time: 64-bit intermediates are large
            plane[mask] = saturate(dequantise(values[:, c], mantissa, exponent) + plane[mask])
        self.tensors[tensor_id], self.contexts[tensor_id] = tensor, context

    def forget_contexts(self, tensor_ids) -> None:
        """Tensors that the frame did not carry have all-zero contexts for the next."""
        for i in tensor_ids:
            self.contexts[i] = None

    def digest(self, frame_number: int) -> bytes:
        """The frame's digest (spec 7.4)."""
        packed = pack(self.occupancy) if self.occupancy is not None else b""
        return frame_digest(frame_number, packed, self.tensors)
