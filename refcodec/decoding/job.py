"""Decoding one frame whose syntax has been checked (spec chapters 6 and 7)."""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from ..entropy.coder import EntropyError
from ..entropy.models import EntropyModel
from ..errors import BitstreamError
from ..syntax.coding import FrameType, Tools
from ..syntax.declare import Trace
from ..syntax.structures import CodedTensorSyntax, CodingSyntax, FrameSyntax
from ..tensors.bound import BoundTensor
from ..tensors.state import FrameState, frame_digest, frame_occupancy
from .frame import Frame, Group

_LEAF = 4096  # elements of a tensor for which another thread is worth its while


@dataclass(frozen=True, slots=True)
class DecodedTensor:
    """The symbols of a tensor of a frame or of the shared unit.

    syntax: its parsed `coded_tensor`. values: quantised, int32 (coded cells, C). selected: bool (coded
    cells, C), which elements are coded, None for all. model: that of the values; mask_model: that of `selected`.
    """

    bound: BoundTensor
    syntax: CodedTensorSyntax
    values: np.ndarray
    selected: np.ndarray | None
    model: EntropyModel
    mask_model: EntropyModel | None


OnTensor = Callable[[DecodedTensor], None]


@dataclass(slots=True)
class FrameJob:
    """A frame whose syntax has been checked, still to be decoded.

    state: of its group, as the frame before leaves it. models: the entropy models that
    hold for it. needed: for a wanted frame, itself or one after it in its group.
    """

    syntax: FrameSyntax
    trace: Trace
    offset: int
    size: int
    group: Group
    state: FrameState
    models: dict[int, EntropyModel]
    needed: bool
    wanted: bool
    on_tensor: OnTensor | None = None

    def run(self) -> Frame:
        """Raises BitstreamError."""
        return self.check(self.decode())

    def occupancy(self, before: np.ndarray | None) -> np.ndarray | None:
        """The frame's occupancy, from that of the frame before it (spec 6.1): bool (z, y, x) or None.

        Changes nothing, so that it can be decoded ahead. Raises BitstreamError.
        """
        v = self.syntax
        try:
            return frame_occupancy(v, self.state.header.occupancy_shape, self.models, before, self.state.kernels)
        except EntropyError as e:
            path = "frame.occupancy_data"
            raise BitstreamError(e.requirement, self.trace.offset(path), path, str(e)) from None

    def decode(self, leaves: Executor | None = None, occupancy: Callable[[], np.ndarray | None] | None = None,
               on_occupancy: Callable[[np.ndarray | None], None] | None = None) -> Frame:
        """All of it but the comparison with the digest (spec 6 and 7). Raises BitstreamError.

        leaves: decodes the tensors side by side. occupancy: gives the frame's, where it is decoded elsewhere.
        on_occupancy: told of it before the tensors are decoded.
        """
        v, state = self.syntax, self.state
        state.models = self.models
        if v.occupancy_mode:
            state.set_occupancy(self.occupancy(state.occupancy) if occupancy is None else occupancy())
        if on_occupancy is not None:
            on_occupancy(state.occupancy)
        decode_tensors(v, self.trace, "frame", state, self.models, leaves, self.on_tensor)
        return Frame(v.frame_number, self.group.scene, FrameType(v.frame_type), v.time_stamp, state.header,
                     state.occupancy, tuple(state.tensors), self.offset, self.size, v, self.trace)

    def check(self, frame: Frame) -> Frame:
        """Compares the frame with its digest (R-DIG-01). Raises BitstreamError."""
        expected, path = self.syntax.frame_digest, "frame.frame_digest"
        if expected is not None and (found := frame_digest(frame.number, frame.occupancy, frame.tensors)) != expected:
            raise BitstreamError("R-DIG-01", self.trace.offset(path), path,
                                 f"The stream says {expected.hex()}, the decoded frame has {found.hex()}.")
        return frame


def decode_tensors(v: CodingSyntax, trace: Trace, unit: str, state: FrameState, models: Mapping[int, EntropyModel],
                   leaves: Executor | None = None, on_tensor: OnTensor | None = None) -> None:
    """The tensors of a frame or of the shared unit. They do not depend on each other. Raises BitstreamError.

    v: the parsed unit, called `unit`. leaves: decodes tensors side by side. on_tensor: told of each, by the thread
    that decoded it.
    """

    def decode(i: int) -> None:
        tensor = v.tensor[i]
        tools = Tools.from_syntax(tensor)
        bound = state.bind(tensor.tensor_id, tools)
        model, mask_model = models[tensor.model_ref], None
        selected, element = None, "value_data"
        try:
            if tensor.mask_model_ref is not None and tensor.mask_data is not None:
                mask_model, element = models[tensor.mask_model_ref], "mask_data"
                selected = state.kernels.decode_mask(mask_model, bound.layout, tensor.mask_data)
                element = "value_data"
            values = state.kernels.decode_symbols(model, bound.layout, tensor.value_data, selected)
        except EntropyError as e:
            path = f"{unit}.tensor[{i}].{element}"
            raise BitstreamError(e.requirement, trace.offset(path), path, str(e)) from None
        if on_tensor is not None:
            on_tensor(DecodedTensor(bound, tensor, values, selected, model, mask_model))
        state.reconstruct(bound, values)

    if leaves is None:
        for i in range(len(v.tensor)):
            decode(i)
    else:
        sizes = [math.prod(state.header.tensors[t.tensor_id].shape) for t in v.tensor]
        large = sorted((i for i, n in enumerate(sizes) if n >= _LEAF), key=lambda i: -sizes[i])
        running = {i: leaves.submit(decode, i) for i in large}
        try:
            for i in range(len(v.tensor)):  # in this order, so that the first error is that of the first tensor
                running[i].result() if i in running else decode(i)
        finally:
            for future in running.values():
                future.cancel()
    state.forget_contexts({t.tensor_id for t in v.tensor})
