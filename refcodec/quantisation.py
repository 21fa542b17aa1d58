"""Quantises real tensors to frames for the writer: for importers, and encoders that do not train. No torch.

    writer.begin_group(0, 1)
    writer.write_frame(quantise_frame(writer.state, tensors, TensorTools(step=2.0**-8), number=0, occupancy=occupancy))
"""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .entropy.coder import MAX_SYMBOL, encode_symbols
from .entropy.fitting import best_static, model_bytes
from .entropy.laplace import SCALES
from .entropy.models import ContextModel, EntropyModel, fits
from .errors import UsageError
from .syntax.coding import FrameType, Prediction, Significance, Tools, Transform, band_count, step_index, step_of
from .syntax.headers import Mapping as CellMapping, TensorInfo
from .tensors import transforms
from .tensors.bound import BoundTensor
from .tensors.state import FrameState
from .writer import FrameCoding, TensorCoding

_PROJECTIONS, _EXACT = 16, 0.1  # at most; error, in step sizes, at which they end
_MODEL_IDS = 62  # below those that the encoder gives to models of occupancies


@dataclass(frozen=True, slots=True)
class TensorTools:
    """Quantisation of a tensor's values.

    step: quantisation step size in field values, one for all bands or one for each (spec 7.2, 7.5.1). transform: of
    spec 7.5; levels: of a wavelet.
    """

    step: float | Sequence[float]
    transform: Transform = Transform.NONE
    levels: int = 0

    def steps(self, info: TensorInfo) -> tuple[int, ...]:
        """`step_index` of each band, of the step size that is nearest by its ratio. Raises UsageError."""
        count = band_count(self.transform, self.levels)
        steps = [self.step] * count if isinstance(self.step, (int, float)) else list(self.step)
        if len(steps) != count or not all(0 < s < math.inf for s in steps):
            raise UsageError(f"a tensor with this transform has {count} step sizes, positive numbers, not {steps}")
        return tuple(step_index(s * 2.0**info.frac_bits) for s in steps)


    def suited_to(self, info: TensorInfo) -> TensorTools:
        """These tools without their transform where the tensor can't have one (R-TEN-10): then with the finest step."""
        if info.mapping != CellMapping.NONE and sum(n > 1 for n in info.shape[1:]) > 1:
            return self
        return TensorTools(self.step if isinstance(self.step, (int, float)) else min(self.step))


# Models to choose from, given values (coded cells, C), band (coded cells,) or None, and the number of bands.
Candidates = Callable[[np.ndarray, np.ndarray | None, int], Sequence[EntropyModel]]


def quantise_frame(state: FrameState, tensors: Sequence[np.ndarray], tools: TensorTools | Mapping[int, TensorTools], *,
                   number: int, time_stamp: int = 0, occupancy: np.ndarray | None = None,
                   type: FrameType = FrameType.INTRA, occupied_only: bool = True,
                   candidates: Candidates | None = None) -> FrameCoding:
    """Quantises a field and selects the probability model of each tensor by the size of its data and model together.

    state: the writer's, before this frame; it stays as it is. tensors: real (C, z, y, x) each, in the order and of the
    shapes of `state.header.tensors`. tools: of all tensors, transforms where a tensor can have one, or by tensor_id.
    number, time_stamp: of the frame. occupancy: bool (z, y, x) of the header's `occupancy_dims`, None where the
    sequence has none. type: a P-frame codes what changes from the frame before, and leaves out tensors that do not
    change in any symbol; only the first frame of a group is an I-frame. occupied_only: cells outside the support of the
    occupied voxels are not coded and decode to 0, in a P-frame to the frame before (spec 7.1). candidates: models to
    choose from; static tables and one Laplace distribution by default. A model that the group has already is always
    among them.

    Raises UsageError for tensors that do not fit the header, that are not finite, or whose values leave the range of
    the fixed-point format or of the symbols at this step size.
    """
    header, state = state.header, state.copy()
    if len(tensors) != len(header.tensors):
        raise UsageError(f"the header has {len(header.tensors)} tensors, there are {len(tensors)}")
    if len(tensors) > _MODEL_IDS:
        raise UsageError(f"each tensor has a model of its own here, for at most {_MODEL_IDS} tensors")
    if header.has_occupancy != (occupancy is not None) or (
            occupancy is not None and occupancy.shape != header.occupancy_shape):
        wanted = f"an occupancy of shape {header.occupancy_shape}" if header.has_occupancy else "no occupancy"
        raise UsageError(f"the header asks for {wanted}")
    state.set_occupancy(None if occupancy is None else occupancy.astype(bool))
    models: dict[int, EntropyModel] = {}
    codings = []
    for i, (info, values) in enumerate(zip(header.tensors, tensors)):
        chosen = tools.suited_to(info) if isinstance(tools, TensorTools) else tools.get(i)
        if chosen is None:
            raise UsageError(f"there are no tools for tensor {i} ({info.role.name})")
        spatial = info.mapping != CellMapping.NONE
        by_occupancy = spatial and occupancy is not None and occupied_only
        own = Tools(chosen.steps(info), Prediction.PREVIOUS if type == FrameType.INTER else Prediction.NONE,
                    Significance.OCCUPIED if by_occupancy else Significance.ALL, chosen.transform, chosen.levels)
        bound = state.bind(i, own)
        plain = Tools(own.steps[:1], significance=own.significance)
        symbols = _quantised(i, _fixed_point(i, info, values), bound, state.mask(i, plain))
        if type == FrameType.INTER and not symbols.any():
            continue
        offered = (candidates or unconditional_models)(symbols, bound.layout.band, len(own.steps))
        known = state.models.get(i)
        model = smallest_model(offered, known if known is not None and fits(known, info.shape[0], len(own.steps))
                               else None, lambda model: encode_symbols(model, bound.layout, symbols)[1])
        if model is not known:
            models[i] = model
        codings.append(TensorCoding(i, symbols, i, own))
    return FrameCoding(number, type, time_stamp, state.occupancy, models, codings)


def _fixed_point(tensor_id: int, info: TensorInfo, values: np.ndarray) -> np.ndarray:
    """Values as the integers that stand for them, int64 (C, z, y, x). Raises UsageError."""
    if tuple(values.shape) != tuple(info.shape):
        raise UsageError(f"tensor {tensor_id} ({info.role.name}) has the shape {tuple(info.shape)}, "
                         f"not {tuple(values.shape)}")
    scaled = np.round(np.asarray(values, np.float64) * 2.0**info.frac_bits)
    if not (np.abs(scaled) < 2.0**31).all():  # NaN is not below
        raise UsageError(f"tensor {tensor_id} ({info.role.name}) has values that are not finite or not below "
                         f"{2.0 ** (31 - info.frac_bits):g}, the range of its {info.frac_bits} fractional bits")
    return scaled.astype(np.int64)


def _quantised(tensor_id: int, values: np.ndarray, bound: BoundTensor, cells: np.ndarray | None) -> np.ndarray:
    """Symbols int32 (coded coefficients, C) of fixed-point values (C, z, y, x). cells: bool (z, y, x) of the cells
    whose values count, None: all. Raises UsageError."""
    tools, layout = bound.tools, bound.layout
    residual = values if bound.source is None else values - bound.source
    sizes = np.array([math.ldexp(*step_of(s)) for s in tools.steps])
    coefficients = transforms.forward(tools.transform, tools.levels, residual)
    if tools.transform != Transform.NONE and layout.mask is not None and cells is not None:
        # Coefficients that are not coded reach coded cells, under a wavelet. The values of other cells are free:
        # those are found, by alternating projections, under which the coded coefficients suffice.
        wanted = np.where(cells, residual, 0)
        for _ in range(_PROJECTIONS):
            coefficients = transforms.forward(tools.transform, tools.levels, wanted)
            found = transforms.inverse(tools.transform, tools.levels, coefficients * layout.mask, residual.shape[1:])
            if np.abs(found - residual)[:, cells].max(initial=0) <= sizes.min() * _EXACT:
                break
            wanted = np.where(cells, residual, found)
    coded = coefficients.reshape(layout.channels, -1).T if layout.mask is None else coefficients[:, layout.mask].T
    steps = sizes[0] if layout.band is None else sizes[layout.band][:, None]
    symbols = np.round(coded / steps)
    if symbols.size and np.abs(symbols).max() > MAX_SYMBOL:
        raise UsageError(f"tensor {tensor_id} has values of {np.abs(symbols).max():.0f} quantisation step sizes; "
                         f"there are symbols up to {MAX_SYMBOL}: give a larger step")
    return np.ascontiguousarray(symbols, np.int32)


def unconditional_models(values: np.ndarray, band: np.ndarray | None = None, bands: int = 1,
                         mask: np.ndarray | None = None) -> list[EntropyModel]:
    """One Laplace distribution for all values, and the smallest static tables.

    values: int (coded cells, C). band: uint8 (coded cells,), None: one band. mask: bool (coded cells, C), the elements
    that are coded, None: all.
    """
    coded = values if mask is None else values[mask]
    index = round(table_index(float(np.abs(coded).mean()) if coded.size else 0.0))
    return [ContextModel.fixed([0], [index]), best_static(values, band, mask, bands=bands)]


def smallest_model(candidates: Sequence[EntropyModel], known: EntropyModel | None,
                   bits: Callable[[EntropyModel], float]) -> EntropyModel:
    """The model under which symbols and model take the fewest bits together.

    known: a model that the stream has already, which costs nothing but its symbols; None: there is none.
    bits: code length of the symbols under a model.
    """
    offers = [(c, 8 * model_bytes(c)) for c in candidates]
    if known is not None:
        offers.append((known, 0))
    return min(offers, key=lambda offer: bits(offer[0]) + offer[1])[0]


def table_index(scale: float) -> float:
    """Index, real and within the family, of the Laplace table with this mean magnitude in steps (spec 6.7)."""
    return min(max(4 * math.log2(max(scale, 1e-9) / 0.06), 0.0), SCALES - 1.0)
