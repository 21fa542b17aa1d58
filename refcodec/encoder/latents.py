"""The values that training changes: one flat vector for all tensors of a frame.

Flat, because then noise, optimiser and rate act on everything with a few calls.
Within a tensor channels lie side by side (z, y, x, C): what lookups want.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from refcodec.syntax.headers import Mapping, SequenceHeader, TensorInfo


@dataclass(frozen=True, slots=True)
class Slot:
    """Where tensor `id` lies in the flat vectors."""

    id: int
    info: TensorInfo
    part: slice

    @property
    def is_grid(self) -> bool:
        return self.info.mapping != Mapping.NONE

    def grid(self, flat: torch.Tensor) -> torch.Tensor:
        """(z, y, x, C) view of its part."""
        channels, *spatial = self.info.shape
        return flat[self.part].view(*spatial, channels)

    def cells(self, flat: torch.Tensor) -> torch.Tensor:
        """(cells, C) view of its part."""
        return flat[self.part].view(-1, self.info.shape[0])


def slots(header: SequenceHeader) -> list[Slot]:
    out, at = [], 0
    for i, info in enumerate(header.tensors):
        out.append(Slot(i, info, slice(at, at + info.size)))
        at += info.size
    return out


def flatten(header: SequenceHeader, tensors: Sequence[np.ndarray], device) -> torch.Tensor:
    """Reconstructed int32 tensors (C, z, y, x) as one flat float32 vector of real values."""
    parts = [np.moveaxis(t, 0, -1).reshape(-1).astype(np.float32) * np.float32(2.0**-i.frac_bits)
             for t, i in zip(tensors, header.tensors, strict=True)]
    return torch.from_numpy(np.concatenate(parts)).to(device)


def integer_step(step: float, frac_bits: int) -> tuple[int, int]:
    """(mantissa, exponent) of the representable step nearest to `step`, a real value (spec 7.2)."""
    units = step * 2.0**frac_bits
    exponent = min(max(math.frexp(units)[1] - 16, -16), 15)
    mantissa = round(units * 2.0**-exponent)
    if mantissa == 65536 and exponent < 15:
        mantissa, exponent = 32768, exponent + 1
    mantissa = min(max(mantissa, 1), 65535)
    while mantissa % 2 == 0 and exponent < 15:  # the simplest way to write it
        mantissa, exponent = mantissa // 2, exponent + 1
    return mantissa, exponent


def step_value(mantissa: int, exponent: int, frac_bits: int) -> float:
    """The real value of a step."""
    return mantissa * 2.0 ** (exponent - frac_bits)
