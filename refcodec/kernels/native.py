"""The kernels in C, as the extension module `_native` (sources in `src`). ImportError where it was not built.

What they do not take, such as tensors of 2^31 elements, is left to numpy.
"""
from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ..entropy.coder import MAX_SYMBOL, EntropyError, code_length
from ..entropy.layout import Layout, Spatial
from ..entropy.models import ContextModel, EntropyModel, StaticModel
from ..syntax.coding import Prediction, Transform, coefficient_shape
from ..syntax.headers import Alignment, Mapping, SequenceHeader, TensorInfo
from ..tensors.significance import axis_geometry
from . import _native
from .reference import NumpyKernels

if TYPE_CHECKING:
    from ..tensors.bound import BoundTensor

_STATIC = 3  # RFV_STATIC; the families have the numbers of the syntax
_DONE, _LARGE, _LAST_REQUIREMENT = 0, 4, 5


class _Prepared:
    """A model as the kernels take it: its words, and its tables."""

    def __init__(self, model: EntropyModel):
        if isinstance(model, ContextModel):
            words: list[Any] = [1, model.family, int(model.joint), model.channels, *model.scan, len(model.template),
                                len(model.hidden_bias), model.hidden_shift, model.location_shift, model.scale_shift,
                                model.shape_shift, *(n for neighbour in model.template for n in neighbour)]
            arrays = (model.hidden_weight, model.hidden_bias, model.output_weight, model.output_bias)
            self.words = np.concatenate([np.array(words, np.int32), *(a.astype(np.int32).ravel() for a in arrays)])
            self.tables = _family_tables(model.family)
        else:
            words = [2, model.assignment, len(model.entries)]
            for first, counts in model.entries:
                words += [first, len(counts), *counts]
            self.words = np.array(words, np.int32)
            self.tables = _Tables(_STATIC, self.words)


class _Tables:
    def __init__(self, family: int, words: np.ndarray | None):
        self.handle = _native.tables(family, words)
        self.frequencies = np.empty(_native.entries(self.handle), np.uint32)
        _native.frequencies(self.handle, self.frequencies)


@lru_cache
def _family_tables(family: int) -> _Tables:
    return _Tables(family, None)


@lru_cache(maxsize=64)  # a model serves many tensors
def _prepared(model: EntropyModel) -> _Prepared:
    return _Prepared(model)


def _flags(mask: np.ndarray | None) -> np.ndarray | None:
    return None if mask is None else np.ascontiguousarray(mask, bool)


def _bytes_of(values: np.ndarray | None, dtype: type[np.integer[Any]]) -> np.ndarray | None:
    return None if values is None else np.ascontiguousarray(values, dtype)


@lru_cache(maxsize=256)
def _ranges(voxels: int, cells: int, numerator: int, denominator: int, mapping: Mapping, alignment: Alignment
            ) -> np.ndarray:
    """The two ranges of cells in the support of each voxel along an axis (spec 7.1)."""
    ranges = np.empty((voxels, 4), np.int32)
    _native.touched(voxels, cells, numerator, denominator, int(mapping == Mapping.LINEAR),
                    int(alignment != Alignment.CORNERS), ranges)
    return ranges


def _judge(outcome: int, detail: int) -> None:
    if outcome != _DONE:
        raise EntropyError(f"R-ENT-0{outcome}", f"It is {detail}." if outcome == _LARGE else "")


def _known(model: EntropyModel) -> bool:
    """Whether the kernels have the tables of a model."""
    return not isinstance(model, ContextModel) or model.family.compiled


class NativeKernels(NumpyKernels):
    """See `refcodec.kernels.Kernels`. The interpreter is free while one of them runs."""

    @property
    def name(self) -> str:
        return "native"

    def decode_symbols(self, model: EntropyModel, layout: Layout, data: bytes, selected: np.ndarray | None = None
                       ) -> np.ndarray:
        if not _known(model):
            return super().decode_symbols(model, layout, data, selected)
        prepared, mask = _prepared(model), _flags(layout.mask)
        values = np.zeros((layout.cells, layout.channels), np.int32)
        if data and not (values.size if selected is None else selected.any()):
            raise EntropyError("R-ENT-02", "There are data but no coded elements.")
        try:
            outcome, detail = _native.decode_symbols(
                prepared.tables.handle, prepared.words, layout.shape, layout.blocks, mask,
                _bytes_of(layout.previous, np.int8), _flags(selected), _bytes_of(self._band(model, layout), np.uint8),
                data, values)
        except ValueError:
            return super().decode_symbols(model, layout, data, selected)
        _judge(outcome, detail)
        return values

    def encode_symbols(self, model: EntropyModel, layout: Layout, values: np.ndarray,
                       selected: np.ndarray | None = None) -> tuple[bytes, float]:
        if not _known(model):
            return super().encode_symbols(model, layout, values, selected)
        prepared, values = _prepared(model), np.ascontiguousarray(values, np.int32)
        if values.size and max(values.max(), -values.min()) > MAX_SYMBOL:
            raise ValueError(f"a quantised value exceeds ±{MAX_SYMBOL}")
        counts = np.zeros(len(prepared.tables.frequencies), np.uint32)
        try:
            data, escapes = _native.encode_symbols(
                prepared.tables.handle, prepared.words, layout.shape, layout.blocks, _flags(layout.mask),
                _bytes_of(layout.previous, np.int8), _flags(selected), _bytes_of(self._band(model, layout), np.uint8),
                values, counts)
        except ValueError:
            return super().encode_symbols(model, layout, values, selected)
        used = np.flatnonzero(counts)
        return data, code_length(prepared.tables.frequencies[used], counts[used]) + escapes

    @staticmethod
    def _band(model: EntropyModel, layout: Layout) -> np.ndarray | None:
        return layout.band if isinstance(model, StaticModel) else None

    def decode_occupancy(self, model: EntropyModel, shape: Spatial, previous: np.ndarray | None, data: bytes
                         ) -> np.ndarray:
        if not _known(model):
            return super().decode_occupancy(model, shape, previous, data)
        occupancy, prepared = np.zeros(shape, bool), _prepared(model)
        outcome, detail = _native.decode_occupancy(prepared.tables.handle, prepared.words, shape,
                                                   _bytes_of(previous, np.int8), data, occupancy)
        # A model with many inputs, an order that is rare, a value that is no bit:
        if not 0 <= outcome <= _LAST_REQUIREMENT:
            return super().decode_occupancy(model, shape, previous, data)
        _judge(outcome, detail)
        return occupancy

    def coded_mask(self, header: SequenceHeader, tensor: TensorInfo, occupancy: np.ndarray,
                   packed: np.ndarray | None = None) -> np.ndarray:
        mask = np.empty(tensor.shape[1:], bool)
        ranges = tuple(_ranges(*axis_geometry(header, tensor, axis)) for axis in (2, 1, 0))
        _native.coded(_flags(occupancy), occupancy.shape, tensor.shape[1:], ranges, mask)
        return mask

    def support_mask(self, transform: int, levels: int, mask: np.ndarray) -> np.ndarray:
        if not Transform.of(transform).compiled:
            return super().support_mask(transform, levels, mask)
        support = np.empty(coefficient_shape(transform, levels, mask.shape), bool)
        _native.support(transform, levels, mask.shape, _flags(mask), support)
        return support

    def reconstruct(self, bound: BoundTensor, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tools, layout, prediction = bound.tools, bound.layout, Prediction.of(bound.tools.prediction)
        if not (prediction.compiled and Transform.of(tools.transform).compiled):
            return super().reconstruct(bound, values)
        tensor = np.empty(bound.info.shape, np.int32)
        context = np.zeros((*layout.shape[1:], layout.channels), np.int8)
        source = None if bound.source is None else np.ascontiguousarray(bound.source, np.int32)
        try:
            _native.reconstruct(
                bound.info.shape, tools.transform, tools.levels, np.ascontiguousarray(values, np.int32),
                _flags(layout.mask), np.array(tools.steps, np.int32), source,
                (int(prediction.has_factor), *tools.base, tools.offset), tensor, context)
        except ValueError:
            return super().reconstruct(bound, values)
        return tensor, context

    def interpolate(self, table: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
        count, points = corners.shape
        if not table.dtype == weights.dtype == np.float32 or not corners.size:
            return super().interpolate(table, corners, weights)
        out = np.empty((points, table.shape[1]), np.float32)
        _native.interpolate(np.ascontiguousarray(table), np.ascontiguousarray(corners, np.int64),
                            np.ascontiguousarray(weights), table.shape[1], count, out)
        return out
