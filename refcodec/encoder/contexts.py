"""The rate model of training: the bits of each coefficient, and their derivative with respect to its value.

Tensors whose plan says so share small context networks (MM 2024, section 3.3), retrained
now and then; the others follow a Laplace distribution for each band and channel.
"""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping as MappingType, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch

from refcodec.encoder.adam import Adam
from refcodec.encoder.checkpoint import copy_into
from refcodec.encoder.latents import Slot
from refcodec.encoder.rate import (
    LAPLACE_TABLE,
    ROW_LENGTH,
    SCAN,
    UNCODED_ROW,
    ContextNetwork,
    Neighbourhood,
    Scan,
    Template,
    coded_bits,
    neighbours,
    plane_template,
    slope_table,
    tabled_slope,
)
from refcodec.encoder.systems import Kind, Model, Rate, kind_of
from refcodec.entropy.laplace import LAPLACE, SCALES
from refcodec.entropy.mixture import MIXTURE
from refcodec.entropy.models import ContextModel, EntropyModel
from refcodec.quantisation import table_index
from refcodec.syntax.coding import block_counts
from refcodec.syntax.families import ProbabilityFamily
from refcodec.tensors.state import FrameState

_INTRA_TEMPLATE, _INTER_TEMPLATE = 4, 5  # of grids; less 2: without activities
_DCT_TEMPLATE, _DCT_SCAN = 14, (1, 1, 1, 1)  # of coefficients; the template plus 1 with the frame before
_HIDDEN_UNITS, _DCT_HIDDEN_UNITS = 8, 4
_FIRST_SCALE = 0.35
# Iterations of the networks' training: at the first refresh, there with a network of the frame before, at the others.
_FIRST_STEPS, _WARM_STEPS, _REFRESH_STEPS = 60, 16, 8
# Shares of `model_iterations` in the last fit: after refreshes or with a network of the frame before; without either.
_FINAL_SHARE, _ONLY_SHARE = 0.4, 2.5
_FIT_SYMBOLS = 4096  # of an iteration; those in contexts of zeros are not counted
_CELLS = 1 << 17  # cells predicted at once

ByTensor = MappingType[int, torch.Tensor]  # tensor_id -> flat part of a vector, or mask (cells, C)


@dataclass
class ContextGroup:
    """Tensors that share a context network. in_loss: the rate term is theirs too."""

    model_id: int
    slots: list[Slot]
    template: int | Template
    scan: Scan
    family: ProbabilityFamily
    in_loss: bool

    def matches(self, model: EntropyModel | None) -> TypeGuard[ContextModel]:
        """Whether a model of the stream has this group's neighbours."""
        return (isinstance(model, ContextModel) and model.template == neighbours(self.template)
                and model.scan == self.scan and model.family == self.family)


def context_groups(slots: Sequence[Slot], temporal: bool, activities: bool = True) -> list[ContextGroup]:
    """Grids and planes that context models may serve, by what their values have in common.

    The coefficients, coarse bases and fine bases of a dictionary field; any other grid by
    itself; planes by the axis that they lack; under a block DCT all grids, and all planes.
    temporal: with neighbours in the frame before. activities: with sums over channels, and
    templates of their own for planes.
    """
    members: dict[tuple[Kind, int, bool], list[Slot]] = {}
    counts = Counter(s.info.role for s in slots)
    for slot in slots:
        kind = kind_of(slot.info)
        if kind not in (Kind.GRID, Kind.PLANE) or (slot.plan.model == Model.STATIC and slot.plan.rate != Rate.CONTEXT):
            continue
        fine = slot.info.role.resolutions and slot.info.index >= (counts[slot.info.role] + 1) // 2
        alike = slot.info.index if kind == Kind.PLANE else slot.info.role
        if slot.plan.transform.by_frequency:
            alike, fine = -1, False
        members.setdefault((kind, alike, fine), []).append(slot)
    groups = []
    for model_id, (key, group) in enumerate(members.items()):
        family: ProbabilityFamily = LAPLACE
        template, scan = (_INTER_TEMPLATE if temporal else _INTRA_TEMPLATE), SCAN
        if group[0].plan.transform.by_frequency:
            template, scan, family = _DCT_TEMPLATE + temporal, _DCT_SCAN, MIXTURE
        elif not activities:
            template -= 2
        elif key[0] == Kind.PLANE:
            template, scan = plane_template(2 - group[0].info.shape[1:].index(1), temporal)
        groups.append(ContextGroup(model_id, group, template, scan, family, group[0].plan.rate == Rate.CONTEXT))
    return groups


class RateModel:
    """Distribution of every coefficient of some tensors.

    symbols, below: quantised values as floats, flat parts by tensor_id. selected: bool
    (cells, C) by tensor_id, the elements that a mask keeps, where there is a mask.
    bits: estimate for each tensor_id. networks: of the groups, by model_id.
    """

    def __init__(self, slots: Sequence[Slot], previous: FrameState | None, device: torch.device,
                 generator: torch.Generator, host_generator: torch.Generator, activities: bool = True):
        self.slots, self.previous, self.device, self.generator = slots, previous, device, generator
        total = slots[-1].part.stop
        self.location = torch.zeros(total, device=device)
        # Row of `slopes` for each value; the last row, all zero, for what is not coded.
        self.slopes = slope_table(device)
        self.table_row = torch.full((total,), (LAPLACE_TABLE + round(table_index(_FIRST_SCALE))) * ROW_LENGTH,
                                    dtype=torch.int32, device=device)
        self.bits = {s.id: 0.0 for s in slots}
        self.cells: dict[int, torch.Tensor] = {}
        self.groups = context_groups(slots, previous is not None, activities)
        self.networks: dict[int, ContextNetwork] = {}
        for group in self.groups:
            hidden = _DCT_HIDDEN_UNITS if group.family.has_shape else _HIDDEN_UNITS
            network = ContextNetwork(group.template, hidden, host_generator, group.scan, group.family)
            known = self.known(group)
            # The group's latest network, as far as the stream knows it, is a better start.
            if group.matches(known):
                network = ContextNetwork.from_model(known)
            self.networks[group.model_id] = network.to(device)

    def known(self, group: ContextGroup) -> EntropyModel | None:
        """The model that the stream has under the group's identifier, or None."""
        return self.previous.models.get(group.model_id) if self.previous is not None else None

    def state(self) -> dict[str, Any]:
        """Distributions, estimates and networks."""
        return dict(location=self.location, table_row=self.table_row, bits=self.bits,
                    networks={i: network.state_dict() for i, network in self.networks.items()})

    def restore(self, state: dict[str, Any]) -> None:
        """Takes over what `state` returned."""
        copy_into(self.location, state["location"])
        copy_into(self.table_row, state["table_row"])
        self.bits = {slot.id: float(state["bits"][slot.id]) for slot in self.slots}
        for i, network in self.networks.items():
            network.load_state_dict(state["networks"][i])

    def slope(self, slot: Slot, x: torch.Tensor) -> torch.Tensor:
        """Derivative of a tensor's bits with respect to its values in step sizes, x, flat."""
        return tabled_slope(self.slopes, x - self.location[slot.part], self.table_row[slot.part])

    def refresh(self, symbols: ByTensor, selected: ByTensor) -> None:
        """Trains the networks a little, then renews every distribution."""
        in_network: set[int] = set()
        for group in self.groups:
            if group.in_loss:
                first = _WARM_STEPS if group.matches(self.known(group)) else _FIRST_STEPS
                self.fit(group, symbols, selected, _REFRESH_STEPS if self.bits[group.slots[0].id] else first)
                in_network.update(s.id for s in group.slots)
        for slot in self.slots:
            if slot.id not in in_network:
                self._fit_laplace(slot, symbols[slot.id], selected.get(slot.id))

    def fit_final(self, group: ContextGroup, symbols: ByTensor, selected: ByTensor, iterations: int) -> None:
        """The last training of a network, on the symbols that will be coded."""
        share = _FINAL_SHARE if group.in_loss or group.matches(self.known(group)) else _ONLY_SHARE
        self.fit(group, symbols, selected, math.ceil(share * iterations))

    def fit(self, group: ContextGroup, symbols: ByTensor, selected: ByTensor, steps: int) -> None:
        """Trains a group's network, then predicts its tensors."""
        around = {s.id: self._neighbourhood(group, s, symbols[s.id]) for s in group.slots}
        self._train(group, symbols, selected, around, steps, 0.02)
        network = self.networks[group.model_id]
        for slot in group.slots:
            self._predict(network, slot, around[slot.id], symbols[slot.id], selected.get(slot.id))

    def bits_under(self, group: ContextGroup, model: ContextModel, symbols: ByTensor, selected: ByTensor
                   ) -> dict[int, float]:
        """Bits of a group's tensors under another model with the same neighbours."""
        network = ContextNetwork.from_model(model).to(self.device)
        for slot in group.slots:
            self._predict(network, slot, self._neighbourhood(group, slot, symbols[slot.id]), symbols[slot.id],
                          selected.get(slot.id))
        return {s.id: self.bits[s.id] for s in group.slots}

    @torch.no_grad()
    def _neighbourhood(self, group: ContextGroup, slot: Slot, values: torch.Tensor) -> Neighbourhood:
        context = self.previous.contexts(slot.id, slot.tools((), 0)) if self.previous is not None else None
        before = torch.from_numpy(context).to(self.device) if context is not None else None
        coded = torch.zeros_like(values).view(-1, slot.channels)
        coded[self.cells[slot.id]] = values.view(-1, slot.channels)[self.cells[slot.id]]
        return Neighbourhood(group.template, coded.view(*slot.shape, slot.channels), before, group.scan,
                             block_counts(slot.plan.transform, slot.shape))

    @torch.no_grad()
    def _fit_laplace(self, slot: Slot, symbols: torch.Tensor, selected: torch.Tensor | None) -> None:
        """A Laplace distribution of location 0 for each band and channel."""
        cells = self.cells[slot.id]
        values = symbols.view(-1, slot.channels)[cells]
        counted = torch.ones_like(values) if selected is None else selected[cells].float()
        band = torch.zeros_like(cells) if slot.band is None else slot.band[cells]
        total, count = values.new_zeros((2, slot.band_count, slot.channels))
        total.index_add_(0, band, values.abs() * counted)
        count.index_add_(0, band, counted)
        scale = total / count.clamp(min=1)
        index = LAPLACE_TABLE + (4 * torch.log2(scale.clamp(min=1e-9) / 0.06)).clamp(0, SCALES - 1).round()[band]
        self.bits[slot.id] = float((coded_bits(values, index) * counted).sum())
        if slot.plan.rate == Rate.NONE:
            self.table_row[slot.part] = UNCODED_ROW
            return
        rows = slot.cells(self.table_row)
        rows.fill_(UNCODED_ROW)
        rows[cells] = index.int() * ROW_LENGTH

    @torch.no_grad()
    def _predict(self, network: ContextNetwork, slot: Slot, around: Neighbourhood, symbols: torch.Tensor,
                 selected: torch.Tensor | None) -> None:
        """Location and table row of every coded symbol; estimated bits of the tensor."""
        cells, channels = self.cells[slot.id], slot.channels
        symbols = symbols.view(-1, channels)
        active = around.active[cells]
        slot.cells(self.table_row).fill_(UNCODED_ROW)
        location, index = network.tables(torch.zeros((1, around.input_count), device=self.device))
        quiet = cells[~active]
        slot.cells(self.location)[quiet] = location
        slot.cells(self.table_row)[quiet] = int(index) * ROW_LENGTH
        of_quiet = symbols[quiet] if selected is None else symbols[quiet][selected[quiet]]
        values, counts = torch.unique(of_quiet, return_counts=True)
        total = float((coded_bits(values - location, index) * counts).sum())
        for part in torch.split(cells[active], _CELLS):
            location, index = network.tables(around.inputs(part))
            slot.cells(self.location)[part] = location.view(-1, channels)
            slot.cells(self.table_row)[part] = index.int().view(-1, channels) * ROW_LENGTH
            bits = coded_bits(symbols[part].reshape(-1) - location, index)
            total += float(bits.sum() if selected is None else bits[selected[part].reshape(-1)].sum())
        self.bits[slot.id] = total

    def _train(self, group: ContextGroup, symbols: ByTensor, selected: ByTensor,
               around: MappingType[int, Neighbourhood], steps: int, rate: float) -> None:
        """Adam on random symbols of the group, each tensor in proportion to its size.

        Most symbols of a sparse tensor have a context of zeros; the network has one output for all of those, weighted
        by how often each value occurs there.
        """
        network = self.networks[group.model_id]
        cells, among_zeros = {}, []
        for slot in group.slots:
            busy = around[slot.id].active[self.cells[slot.id]]
            cells[slot.id], others = self.cells[slot.id][busy], self.cells[slot.id][~busy]
            among_zeros.append(self._symbols_of(slot, symbols, selected, others)[0])
        quiet, occurrences = torch.unique(torch.cat(among_zeros), return_counts=True)
        counts = {s.id: len(cells[s.id]) * s.channels for s in group.slots}
        busy_count = sum(counts.values())
        seen: list[torch.Tensor] = []
        drawn: list[torch.Tensor] = []
        wanted = min(busy_count, _FIT_SYMBOLS * (4 + steps // 8))
        for slot in group.slots:
            if not counts[slot.id]:
                continue
            n = math.ceil(wanted * counts[slot.id] / busy_count / slot.channels)
            chosen = cells[slot.id]
            chosen = chosen[torch.randint(len(chosen), (n,), generator=self.generator, device=self.device)]
            found, kept = self._symbols_of(slot, symbols, selected, chosen)
            drawn.append(found)
            near = around[slot.id].inputs(chosen)
            seen.append(near if kept is None else near[kept])
        total = busy_count + int(occurrences.sum())
        if not total:
            return
        # The context of zeros comes first, and is part of every batch.
        zeros = torch.zeros((len(quiet), len(network.template)), device=self.device)
        inputs, values = torch.cat([zeros, *seen]), torch.cat([quiet, *drawn])
        order = len(quiet) + torch.randperm(len(values) - len(quiet), generator=self.generator, device=self.device)
        size = min(len(order), _FIT_SYMBOLS)
        weight = torch.cat([occurrences / total, zeros.new_full((size,), busy_count / (total * max(size, 1)))])
        always = torch.arange(len(quiet), device=self.device)
        optimiser = Adam(dict(network.named_parameters()))
        at = 0
        for i in range(steps):
            if at + size > len(order):
                at = 0
            batch = torch.cat([always, order[at:at + size]])
            at += size
            loss = network.bits(values[batch], inputs[batch]) @ weight
            optimiser.minimise(loss, rate * (1 - 0.9 * i / steps))

    def _symbols_of(self, slot: Slot, symbols: ByTensor, selected: ByTensor, cells: torch.Tensor
                    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Symbols at some cells, flat, and which of all there those are that the mask keeps (None: all)."""
        values = symbols[slot.id].view(-1, slot.channels)[cells].reshape(-1)
        if slot.id not in selected:
            return values, None
        kept = selected[slot.id][cells].reshape(-1)
        return values[kept], kept
