"""The values that training changes: one flat vector for all tensors of a frame.

Flat vectors let rounding, optimiser and rate act on all tensors with a few calls. A part
holds one tensor's coefficients; channels lie side by side (z, y, x, C): what lookups want.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from refcodec.encoder import transforms
from refcodec.encoder.systems import TensorPlan
from refcodec.syntax.coding import Tools, band_count, coefficient_shape, step_index, step_of
from refcodec.syntax.headers import Mapping, SequenceHeader, TensorInfo
from refcodec.tensors.transforms import band_map


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """Place of tensor `id` in the flat vectors, and its coding tools.

    part: its coefficients; bands: its step sizes, one for each band; cells_part: the same tensor in
    vectors of reconstructed values. shape: (z, y, x) of the coefficients. band: of each
    cell of the coefficient array, int64; None when there is one band.
    """

    id: int
    info: TensorInfo
    plan: TensorPlan
    levels: int
    shape: tuple[int, int, int]
    part: slice[int, int, int]
    bands: slice[int, int, int]
    cells_part: slice[int, int, int]
    band: torch.Tensor | None

    @property
    def is_grid(self) -> bool:
        return self.info.mapping != Mapping.NONE

    @property
    def transformed(self) -> bool:
        return not self.plan.transform.identity

    @property
    def channels(self) -> int:
        return self.info.shape[0]

    @property
    def size(self) -> int:
        return self.part.stop - self.part.start

    @property
    def band_count(self) -> int:
        return self.bands.stop - self.bands.start

    def grid(self, flat: torch.Tensor) -> torch.Tensor:
        """(z, y, x, C) view of its part."""
        return flat[self.part].view(*self.shape, self.channels)

    def cells(self, flat: torch.Tensor) -> torch.Tensor:
        """(cells, C) view of its part."""
        return flat[self.part].view(-1, self.channels)

    def reconstructed(self, flat: torch.Tensor) -> torch.Tensor:
        """(z, y, x, C) view of its part in a vector of reconstructed values."""
        return flat[self.cells_part].view(*self.info.shape[1:], self.channels)

    def synthesis(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Values (z, y, x, C) of coefficients (z, y, x, C)."""
        if not self.transformed:
            return coefficients
        values = transforms.inverse(self.plan.transform, self.levels, coefficients.permute(3, 0, 1, 2),
                                    self.info.shape[1:])
        return values.permute(1, 2, 3, 0)

    def adjoint(self, gradient: torch.Tensor) -> torch.Tensor:
        """Derivatives of coefficients from those of the values that are their `synthesis`, both (z, y, x, C)."""
        if not self.transformed:
            return gradient
        found = transforms.adjoint(self.plan.transform, self.levels, gradient.permute(3, 0, 1, 2), self.shape)
        return found.permute(1, 2, 3, 0)

    def analysis(self, values: torch.Tensor) -> torch.Tensor:
        """Coefficients of values, both (z, y, x, C)."""
        if not self.transformed:
            return values
        found = transforms.forward(self.plan.transform, self.levels, values.permute(3, 0, 1, 2))
        return found.permute(1, 2, 3, 0)

    def band_gains(self) -> tuple[float, ...]:
        """Norm of the synthesis of a unit coefficient of each band."""
        if not self.transformed:
            return (1.0,)
        return transforms.band_gains(self.plan.transform, self.levels, self.info.shape[1:])

    def band_speeds(self) -> tuple[float, ...]:
        """Learning-rate factor of each band's coefficients against that of values.

        As if every band had the same share of the tensor's energy, which falls with the
        square of the frequency, as it does in pictures.
        """
        if self.band is None:
            return (1.0,)
        count = torch.bincount(self.band, minlength=self.band_count).clamp(min=1).tolist()
        cells = math.prod(self.info.shape[1:])
        return tuple(math.sqrt(cells / (self.band_count * n)) / g for n, g in zip(count, self.band_gains()))

    def per_cell(self, of_bands: torch.Tensor) -> torch.Tensor:
        """A value for each band (of all slots) spread over the cells: (cells, 1), or (1, 1) for one band."""
        own = of_bands[self.bands]
        return (own if self.band is None else own[self.band])[:, None]

    def by_band(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Inner products of two parts over the coefficients of each band: (bands,)."""
        if self.band is None:
            return (a @ b)[None]
        out = a.new_zeros(self.band_count)
        return out.index_add_(0, self.band, (a * b).view(-1, self.channels).sum(1))

    def tools(self, steps: Sequence[int], prediction: int) -> Tools:
        """Its tools as a stream states them. steps: `step_index` of each band."""
        significance = (1 if self.is_grid else 0) + (2 if self.plan.masks else 0)
        return Tools(tuple(steps), prediction, significance, self.plan.transform, self.levels)


def slots(header: SequenceHeader, plans: Sequence[TensorPlan], device: torch.device | str = "cpu") -> list[Slot]:
    """A slot for each tensor of the header, in order. plans: its tools."""
    out, at, bands, cells = [], 0, 0, 0
    for i, (info, own) in enumerate(zip(header.tensors, plans, strict=True)):
        levels = own.levels_for(info)
        shape = coefficient_shape(own.transform, levels, info.shape[1:])
        size, count = info.shape[0] * math.prod(shape), band_count(own.transform, levels)
        band = None
        if not own.transform.identity:
            of_cells = band_map(own.transform, levels, info.shape[1:]).reshape(-1).astype(np.int64)
            band = torch.from_numpy(of_cells).to(device)
        out.append(Slot(i, info, own, levels, shape, slice(at, at + size), slice(bands, bands + count),
                        slice(cells, cells + info.size), band))
        at, bands, cells = at + size, bands + count, cells + info.size
    return out


def flatten(header: SequenceHeader, tensors: Sequence[np.ndarray], device: torch.device) -> torch.Tensor:
    """Reconstructed int32 tensors (C, z, y, x) as one flat float32 vector of real values."""
    parts = [np.moveaxis(t, 0, -1).reshape(-1).astype(np.float32) * np.float32(2.0**-i.frac_bits)
             for t, i in zip(tensors, header.tensors, strict=True)]
    return torch.from_numpy(np.concatenate(parts)).to(device)


def integer_step(step: float, frac_bits: int) -> int:
    """`step_index` of the step size nearest to `step`, a real value (spec 7.2)."""
    return step_index(step * 2.0**frac_bits)


def step_value(index: int, frac_bits: int) -> float:
    """The real value of a step size."""
    mantissa, exponent = step_of(index)
    return mantissa * 2.0 ** (exponent - frac_bits)
