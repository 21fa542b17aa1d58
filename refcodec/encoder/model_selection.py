"""Model selection: chooses the entropy models of quantised symbols, for the writer."""
from __future__ import annotations

from collections.abc import Callable, Mapping as MappingType, Sequence
from dataclasses import dataclass

import numpy as np

from refcodec.encoder.contexts import ByTensor, ContextGroup, RateModel
from refcodec.encoder.latents import Slot
from refcodec.encoder.models import MaskSymbols, best_mask_model, fit_occupancy_model, occupancy_symbols
from refcodec.encoder.systems import Kind, Model, kind_of
from refcodec.entropy.fitting import model_bytes
from refcodec.entropy.layout import Layout
from refcodec.entropy.models import EntropyModel, fits
from refcodec.kernels import best
from refcodec.quantisation import smallest_model, unconditional_models
from refcodec.syntax.coding import Prediction, Tools
from refcodec.writer import TensorCoding, compressed_occupancy

_OCCUPANCY_INTER, _OCCUPANCY_INTRA = 62, 63  # the last identifiers that there are
_OCCUPANCY_HIDDEN = 4, 8  # units of the models tried for an occupancy


@dataclass(frozen=True, slots=True)
class Symbols:
    """A tensor's final symbols.

    values: int32 (coded cells, C). tools: its coding tools. layout: of its coefficients. mask: bool (coded
    cells, C), the elements that are coded, or None.
    """

    slot: Slot
    values: np.ndarray
    tools: Tools
    layout: Layout
    mask: np.ndarray | None

    @property
    def mask_symbols(self) -> MaskSymbols | None:
        return None if self.mask is None else MaskSymbols(self.mask, self.layout)

    @property
    def unchanged(self) -> bool:
        """Whether the tensor is as in the frame before, so that a frame need not carry it (spec 4.7)."""
        return self.tools.prediction == Prediction.PREVIOUS and not self.values.any()

    def serves(self, model: EntropyModel) -> bool:
        return fits(model, self.slot.channels, self.slot.band_count)

    def bits(self, model: EntropyModel) -> float:
        """Exact code length of the values."""
        return best().encode_symbols(model, self.layout, self.values, self.mask)[1]


@dataclass(frozen=True, slots=True)
class _Choice:
    """A model for some symbols. bits: of the symbols; extra: of the model, 0 when the stream has it."""

    model_id: int
    model: EntropyModel
    bits: float
    extra: int

    @property
    def total(self) -> float:
        return self.bits + self.extra


class ModelSelection:
    """Selects the probability models of a frame's tensors, by the size of the frame.

    models: those that the frame has to define. estimated: bits of each tensor by
    tensor_id; for values under context models the estimate of training.
    iterations: to fit a mask's model; of those of values a part is left to do. reuse: models that the
    stream has may serve again. following: frames of the group that come after this one.
    """

    def __init__(self, rate: RateModel, symbols: MappingType[int, Symbols], iterations: int, reuse: bool = True,
                 following: int = 0):
        self.rate, self.symbols, self.iterations, self.following = rate, symbols, iterations, following
        self.known = dict(rate.previous.models) if rate.previous is not None and reuse else {}
        self.models: dict[int, EntropyModel] = {}
        self.estimated: dict[int, float] = {}
        # Identifiers, the same in every frame: context groups, masks by kind, values by tensor.
        self.masked = {kind: [s for s in rate.slots if s.plan.masks and kind_of(s.info) == kind]
                       for kind in (Kind.GRID, Kind.PLANE)}
        self.first_mask = len(rate.groups)
        self.first_value = self.first_mask + len(self.masked)

    def run(self, flat: ByTensor, selected: ByTensor) -> list[TensorCoding]:
        """flat, selected: symbols and masks of all coefficients, as the rate model takes them."""
        chosen: dict[int, _Choice] = {}
        for group in self.rate.groups:
            chosen.update(self._of_group(group, flat, selected))
        masks: dict[int, _Choice] = {}
        for model_id, slots in enumerate(self.masked.values(), self.first_mask):
            masks.update(self._of_masks(model_id, slots))
        codings = []
        for slot in self.rate.slots:
            s = self.symbols[slot.id]
            if s.unchanged:
                self.estimated[slot.id] = 0.0
                continue
            choice, mask = chosen.get(slot.id) or self._unconditional(slot), masks.get(slot.id)
            self.estimated[slot.id] = choice.bits + (mask.bits if mask else 0)
            for used in (choice, mask):
                if used is not None and self.known.get(used.model_id) is not used.model:
                    self.models[used.model_id] = used.model
            codings.append(TensorCoding(
                slot.id, s.values, choice.model_id, s.tools, s.mask, mask.model_id if mask else 0))
        return codings

    def occupancy(self, occupancy: np.ndarray) -> int | None:
        """The model that codes the occupancy, bool (z, y, x), in the fewest bytes: one that the group has, or a new one
        in the I-frame and in the first P-frame, where it is the first that sees the frame before. As a new one serves
        the frames that follow, a share of its bytes counts. None where compression is as good."""
        previous = self.rate.previous
        if previous is None:
            symbols, compressed = occupancy_symbols(occupancy, None), compressed_occupancy(occupancy, None, True)
        else:
            symbols = occupancy_symbols(occupancy, previous.occupancy_context(False))
            compressed = compressed_occupancy(occupancy, previous.occupancy, False)
        new = _OCCUPANCY_INTRA if previous is None else _OCCUPANCY_INTER
        offers = [(i, self.known[i], 0.0) for i in (_OCCUPANCY_INTRA, _OCCUPANCY_INTER) if i in self.known]
        if new not in self.known:
            fitted = [fit_occupancy_model(symbols, hidden=hidden, iterations=self.iterations)
                      for hidden in _OCCUPANCY_HIDDEN]
            offers += [(new, model, model_bytes(model) / (1 + self.following)) for model in fitted]
        sizes = [symbols.coded_bytes(model) + extra for _, model, extra in offers]
        model_id, model, _ = offers[int(np.argmin(sizes))]
        if min(sizes) >= len(compressed.data):
            return None
        if self.known.get(model_id) is not model:
            self.models[model_id] = model
        return model_id

    def _of_group(self, group: ContextGroup, flat: ByTensor, selected: ByTensor) -> dict[int, _Choice]:
        """The group's context model, or that of the frame before; static tables where the plan wants or allows them."""
        plan, slots = group.slots[0].plan, [s for s in group.slots if not self.symbols[s.id].unchanged]
        static = {s.id: self._unconditional(s) for s in slots} if plan.model != Model.CONTEXT else {}
        if plan.model == Model.STATIC or not slots:
            return static
        self.rate.fit_final(group, flat, selected, self.iterations)
        model = self.rate.networks[group.model_id].export()
        bits, extra = {s.id: self.rate.bits[s.id] for s in slots}, 8 * model_bytes(model)
        known = self.known.get(group.model_id)
        if group.matches(known):
            fitted = self.rate.bits_under(group, known, flat, selected)
            under = {i: fitted[i] for i in bits}
            if sum(under.values()) < sum(bits.values()) + extra:
                model, bits, extra = known, under, 0
        context = {i: _Choice(group.model_id, model, b, 0) for i, b in bits.items()}
        if not static:
            return context
        smaller = {i: min(c, static[i], key=lambda m: m.total) for i, c in context.items()}
        total = extra + sum(c.total for c in smaller.values())
        return smaller if total < sum(c.total for c in static.values()) else static

    def _unconditional(self, slot: Slot) -> _Choice:
        """Static tables, the model of the frame before, or one Laplace table: the smallest."""
        s, model_id = self.symbols[slot.id], self.first_value + self.rate.slots.index(slot)
        tables = unconditional_models(s.values, s.layout.band, slot.band_count, s.mask)
        return self._smallest(model_id, tables, {slot.id: s.bits})[slot.id]

    def _of_masks(self, model_id: int, slots: Sequence[Slot]) -> dict[int, _Choice]:
        """One model for the masks of several tensors, fitted, or that of the frame before."""
        masks = {s.id: mask for s in slots if (mask := self.symbols[s.id].mask_symbols) is not None}
        if not masks:
            return {}
        bands = max(s.band_count for s in slots)
        model = best_mask_model(list(masks.values()), bands=bands, iterations=self.iterations)
        return self._smallest(model_id, [model], {i: mask.bits for i, mask in masks.items()})

    def _smallest(self, model_id: int, candidates: Sequence[EntropyModel],
                  bits: MappingType[int, Callable[[EntropyModel], float]]) -> dict[int, _Choice]:
        """The candidate, or the model that the stream has, under which symbols of tensors take the fewest bits.

        bits: the code length of each tensor's symbols, by tensor_id.
        """
        known = self.known.get(model_id)
        if known is not None and not all(self.symbols[i].serves(known) for i in bits):
            known = None
        costs: dict[int, dict[int, float]] = {}  # of each tensor, by identity of the model

        def total(model: EntropyModel) -> float:
            costs[id(model)] = {i: under(model) for i, under in bits.items()}
            return sum(costs[id(model)].values())

        model = smallest_model(candidates, known, total)
        extra = 0 if model is known else 8 * model_bytes(model)
        return {i: _Choice(model_id, model, b, extra) for i, b in costs[id(model)].items()}
