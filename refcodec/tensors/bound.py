"""A tensor of a frame with everything that its coding refers to, and its reconstruction (spec 7.1 to 7.5)."""
from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..entropy.coder import coded_blocks
from ..entropy.layout import Layout
from ..entropy.models import INPUT_LIMIT
from ..syntax.coding import Prediction, Tools, Transform, step_of
from ..syntax.headers import TensorInfo
from . import transforms
from .reconstruction import dequantise, saturate


@dataclass(frozen=True, slots=True)
class BoundTensor:
    """One tensor of one frame, for decoder, writer and editors.

    id: its `tensor_id`. layout: of its coefficients; what the entropy coder is given. source:
    int32 (C, z, y, x), the tensor that it is predicted from, None where there is none (spec 7.3).
    """

    id: int
    info: TensorInfo
    tools: Tools
    layout: Layout
    source: np.ndarray | None

    @property
    def kind(self) -> tuple[int, int]:
        """Kind of its coefficients: contexts of another kind are not those of this tensor (spec 6.4)."""
        return self.tools.transform, self.tools.levels

    def reconstruct(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The tensor, int32 (C, z, y, x), and its clamped quantised values, int8 (z, y, x, C) of the coefficients,
        which are the contexts of the next frame (spec 7.2, 7.3, 7.5). values: quantised, int32 (coded cells, C).
        """
        tools, layout = self.tools, self.layout
        (channels, *spatial), mask, size = self.info.shape, layout.mask, math.prod(layout.shape[1:])
        steps = np.array([step_of(s) for s in tools.steps])
        context = np.zeros((*layout.shape[1:], channels), np.int8)
        tensor = np.empty((channels, *spatial), np.int32)
        for cells, part in coded_blocks(mask, size):
            context.reshape(-1, channels)[cells] = np.clip(values[part], -INPUT_LIMIT, INPUT_LIMIT)
        for c, plane in enumerate(tensor.reshape(channels, -1)):
            if Transform.of(tools.transform).identity:
                if mask is not None:  # what is not coded
                    for cells, _ in coded_blocks(None, len(plane)):
                        plane[cells] = saturate(self._prediction(c, cells))
                for cells, part in coded_blocks(mask, len(plane)):
                    plane[cells] = saturate(dequantise(values[part, c], *steps[0]) + self._prediction(c, cells))
            else:
                coefficients = np.zeros(size, np.int64)
                for cells, part in coded_blocks(mask, size):
                    mantissa, exponent = steps[0] if layout.band is None else steps[layout.band[part]].T
                    coefficients[cells] = saturate(dequantise(values[part, c], mantissa, exponent))
                residual = transforms.inverse(tools.transform, tools.levels, coefficients.reshape(layout.shape[1:]),
                                              (spatial[0], spatial[1], spatial[2])).reshape(-1)
                for cells, _ in coded_blocks(None, len(plane)):
                    plane[cells] = saturate(residual[cells] + self._prediction(c, cells))
        return tensor, context

    def _prediction(self, channel: int, cells: np.ndarray | slice) -> np.ndarray | int:
        """Prediction of some cells of a channel, flat positions (spec 7.3)."""
        values = None if self.source is None else self.source[channel].reshape(-1)[cells]
        return Prediction.of(self.tools.prediction).predict(self.tools, values)
