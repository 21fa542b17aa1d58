"""Models of masks, fitted to the final symbols of tensors (spec 6.4, 6.8).

Context networks trained with the roundings of their integer form, as those of
`refcodec.encoder.rate` are for values.

    masks = best_mask_model([MaskSymbols(mask, layout), ...], bands=...)
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from refcodec.encoder.adam import Adam
from refcodec.encoder.rate import Scan, Template
from refcodec.entropy.bernoulli import BERNOULLI, BERNOULLI_ONE
from refcodec.entropy.fitting import band_number, best_static, model_bytes
from refcodec.entropy.layout import Layout
from refcodec.entropy.models import HIDDEN_LIMIT, INPUT_LIMIT, ContextModel, EntropyModel
from refcodec.kernels import best
from refcodec.syntax.registry import ACTIVITY, EXPLICIT, PREVIOUS, PREVIOUS_ACTIVITY, TEMPLATES, VALUE, is_activity

Shape4 = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class MaskSymbols:
    """The mask of one tensor, as it will be coded.

    mask: bool (coded cells, C). layout: of the coefficients.
    """

    mask: np.ndarray
    layout: Layout

    def coded_bytes(self, model: EntropyModel) -> int:
        """Bytes of the mask under a model."""
        return len(self._coded(model)[0])

    def bits(self, model: EntropyModel) -> float:
        """Exact code length of the mask."""
        return self._coded(model)[1]

    def _coded(self, model: EntropyModel) -> tuple[bytes, float]:
        return best().encode_symbols(model, self.layout, self.mask.astype(np.int32))


_OCCUPANCY_TEMPLATE, _OCCUPANCY_TEMPLATE_INTER = 6, 7
_CHANNEL_SCAN = 3  # a channel lies as far ahead of the next as the slowest axis: its surroundings are known
_SAMPLE = 1 << 20  # symbols that a network is trained on
_BATCH = 1 << 14  # contexts of an iteration
# Fixed-point formats of the integer network, in bits after the binary point.
_HIDDEN_BITS, _OUTPUT_SHIFT = 5, 10
_TABLE_GAIN = 8  # table numbers that one unit of the output stands for: evens out the learning rates
_REACH = 2  # of the neighbours here
_RISE = 0.1  # share of the iterations after which the learning rate falls
_MIDDLE, _TABLE_LOGIT = len(BERNOULLI_ONE) // 2, 0.375 * math.log(2)  # log-odds between neighbouring tables


def mask_template(shapes: Sequence[Shape4], temporal: bool, joint: bool = False, wide: bool = True
                  ) -> tuple[Scan, Template]:
    """Scan weights and neighbours for masks of these shapes, of any orientation.

    Along the axes that any of the shapes has: the cells before in the order of decoding,
    diagonals, and two cells away. Where channels are decoded one after the other (more
    than one of them, not joint), also the channels before at the cell and around it.
    temporal: look at the previous frame's values too. wide: False leaves out what helps
    least, for small masks; every neighbour costs five bytes and its weights.
    """
    axes = [a for a in range(3) if any(shape[1 + a] > 1 for shape in shapes)]
    weight = [0, 0, 0]
    for k, a in enumerate(reversed(axes)):
        weight[a] = k + 1
    in_order = not joint and any(shape[0] > 1 for shape in shapes)
    scan = (_CHANNEL_SCAN if in_order else 0, weight[0], weight[1], weight[2])

    def offset(*steps: tuple[int, int]) -> tuple[int, int, int]:
        out = [0, 0, 0]
        for axis, step in steps:
            out[axis] += step
        return out[0], out[1], out[2]

    pairs = [(a, b) for a in axes for b in axes if a < b]
    before = [offset((a, -1)) for a in axes]
    after = [offset((a, 1)) for a in axes]
    causal = [*before, *(offset((a, -1), (b, -1)) for a, b in pairs), *(offset((a, -1), (b, 1)) for a, b in pairs),
              *(offset((a, -2)) for a in axes if wide)]
    template = [(VALUE, 0, *o) for o in causal]
    if in_order:
        ahead = [o for o in after if np.dot(weight, o) < _CHANNEL_SCAN]
        template += [(VALUE, -1, 0, 0, 0)]
        if wide:
            template += [*((VALUE, -1, *o) for o in ahead), (VALUE, -2, 0, 0, 0)]
        template += [(ACTIVITY, 0, *o) for o in [(0, 0, 0), *before, *after]]
    elif any(shape[0] > 1 for shape in shapes):
        template += [(ACTIVITY, 0, *o) for o in before]
    if temporal:
        template += [(PREVIOUS, 0, *o) for o in [(0, 0, 0), *before, *after]]
        template += [(PREVIOUS_ACTIVITY, 0, 0, 0, 0)]
    return scan, tuple(template)


def template_id(template: Template) -> int:
    """The registered template that has these neighbours; 1, a list in the stream, where none has."""
    return next((i for i, registered in TEMPLATES.items() if registered == list(template)), EXPLICIT)


def mask_inputs(symbols: MaskSymbols, scan: Scan, template: Template, joint: bool = False) -> np.ndarray:
    """Inputs of a context model at every coded cell of the mask (spec 6.4).

    Returns int8 (coded cells * C, neighbours), channels of a cell together; for a joint
    model (coded cells, inputs).
    """
    channels, *spatial = symbols.layout.shape
    cells = symbols.layout.mask if symbols.layout.mask is not None else np.ones(spatial, bool)
    bits = np.zeros((*spatial, channels), np.int8)
    bits[cells] = symbols.mask
    padding = [(_REACH, _REACH)] * 3 + [(0, 0)]
    previous = symbols.layout.previous if symbols.layout.previous is not None else np.zeros_like(bits)
    sources = {VALUE: np.pad(bits, padding), PREVIOUS: np.pad(previous, padding)}
    total = np.abs(sources[PREVIOUS].astype(np.int32)).sum(-1, keepdims=True)
    sources[PREVIOUS_ACTIVITY] = np.minimum(total, INPUT_LIMIT).astype(np.int8)
    # Entry m: of the first m channels.
    activity = np.concatenate([np.zeros((*sources[VALUE].shape[:3], 1), np.int32),
                             np.cumsum(sources[VALUE], axis=-1, dtype=np.int32)], axis=-1)
    sources[ACTIVITY] = np.minimum(activity, INPUT_LIMIT).astype(np.int8)
    columns = []
    for source, dc, *o in template:
        z, y, x = (slice(_REACH + d, _REACH + d + n) for d, n in zip(o, spatial))
        near = sources[source][z, y, x][cells]
        ahead = int(np.dot(scan[1:], o))
        if source == ACTIVITY:  # of the channels that are decoded by then
            known = np.arange(channels) - ahead // scan[0] if scan[0] else np.full(channels, channels * (ahead < 0))
            near = near[:, np.clip(known, 0, channels)]
        elif source == PREVIOUS_ACTIVITY:
            near = np.broadcast_to(near, (len(near), channels))
        elif source == VALUE and scan[0] * dc + ahead >= 0:
            near = np.zeros_like(near)
        elif dc:
            shifted = np.zeros_like(near)
            shifted[:, max(0, -dc) : channels - max(0, dc)] = near[:, max(0, dc) : channels + min(0, dc)]
            near = shifted
        columns.append(near)
    if joint:
        return np.concatenate([c[:, :1] if is_activity(source) else c for c, (source, *_) in zip(columns, template)], 1)
    return np.stack(columns, -1).reshape(-1, len(template))


def fit_mask_model(masks: Sequence[MaskSymbols], *, hidden: int = 8, iterations: int = 200, joint: bool = False,
                   wide: bool = True, rate: float = 0.06, seed: int = 0) -> ContextModel:
    """A context model of family Bernoulli for the masks of one or more tensors (spec 6.4, 6.8).

    hidden: units. joint: predict all channels of a cell at once (they must be equally
    many), instead of one after the other. wide: see `mask_template`. iterations, rate: of Adam. The network sees
    previous values where any of the masks has them. Its loss is the code length under
    the family's tables, in integers rounded as the decoder's are.
    """
    scan, template = mask_template([m.layout.shape for m in masks], any(m.layout.previous is not None for m in masks),
                                   joint, wide)
    return _fit(masks, scan, template, joint, hidden, iterations, rate, seed)


def fit_occupancy_model(occupancy: MaskSymbols, *, hidden: int = 8, iterations: int = 200, rate: float = 0.06,
                        seed: int = 0) -> ContextModel:
    """A context model of family Bernoulli for an occupancy (spec 6.1.2), its neighbours a registered template."""
    template = TEMPLATES[_OCCUPANCY_TEMPLATE if occupancy.layout.previous is None else _OCCUPANCY_TEMPLATE_INTER]
    return _fit([occupancy], (0, 3, 2, 1), tuple(template), False, hidden, iterations, rate, seed)


def occupancy_symbols(occupancy: np.ndarray, previous: np.ndarray | None) -> MaskSymbols:
    """Occupancy, bool (z, y, x), as the mask of a tensor of one channel. previous: int8 (z, y, x, 1) or None."""
    z, y, x = occupancy.shape
    return MaskSymbols(occupancy.reshape(-1, 1), Layout((1, z, y, x), previous=previous))


def _fit(masks: Sequence[MaskSymbols], scan: Scan, template: Template, joint: bool, hidden: int, iterations: int,
         rate: float, seed: int) -> ContextModel:
    inputs, ones, total = _contexts(masks, scan, template, joint, np.random.default_rng(seed))
    network = _MaskNetwork(inputs.shape[1], hidden, ones.shape[1], torch.Generator().manual_seed(seed))
    with torch.no_grad():
        share = (ones.sum(0) + 0.5) / (total.sum() + 1.0)
        network.output_bias.copy_(torch.from_numpy(np.log(share / (1 - share)) / _TABLE_LOGIT + _MIDDLE) / _TABLE_GAIN)
    if len(inputs):
        _train(network, (inputs, ones, total), iterations, rate, torch.Generator().manual_seed(seed))
    return network.export(scan, template, joint)


def _train(network: _MaskNetwork, contexts: Sequence[np.ndarray], iterations: int, rate: float,
           generator: torch.Generator) -> None:
    """Adam on the code length. contexts: what `_contexts` gives."""
    inputs, ones, total = (torch.from_numpy(a.astype(np.float32)) for a in contexts)
    optimiser = Adam(dict(network.named_parameters()))
    common = min(len(inputs), _BATCH // 2)  # contexts are sorted by frequency: the first are always there
    rest = len(inputs) - common
    for i in range(iterations):
        part: slice | torch.Tensor = slice(None)
        weight = torch.ones(1)
        if len(inputs) > _BATCH:
            chosen = common + torch.randint(rest, (_BATCH - common,), generator=generator)
            part = torch.cat([torch.arange(common), chosen])
            weight = torch.ones(_BATCH, 1)
            weight[common:] = rest / (_BATCH - common)
        loss = (network.bits(inputs[part], ones[part], total[part]) * weight).sum() / total.sum()
        optimiser.minimise(loss, rate * _one_cycle(i / iterations))


def _one_cycle(done: float) -> float:
    """Of the largest learning rate, what is taken after a share of the iterations: it rises, then falls to nothing."""
    if done < _RISE:
        return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * done / _RISE))
    return 0.5 * (1 + math.cos(math.pi * (done - _RISE) / (1 - _RISE)))


def best_mask_model(masks: Sequence[MaskSymbols], *, bands: int | None = None, iterations: int = 200) -> EntropyModel:
    """The smallest model of these masks together, itself counted: context models of three sizes,
    or static tables. bands: of the tensors, for tables by band, which there are only where each
    of the masks has all of them (`Layout.band`). iterations: see `fit_mask_model`."""
    candidates: list[EntropyModel] = [fit_mask_model(masks, hidden=hidden, wide=wide, iterations=iterations)
                                      for hidden, wide in ((4, False), (8, False), (16, True))]
    bits, band = _pooled(masks)
    bands = band_number(band, bands)
    if any(band_number(m.layout.band, None) != bands for m in masks):
        candidates.append(best_static(bits.astype(np.int32)))
    else:
        candidates.append(best_static(bits.astype(np.int32), band, bands=bands))
    return min(candidates, key=lambda c: model_bytes(c) + sum(m.coded_bytes(c) for m in masks))


def _contexts(masks: Sequence[MaskSymbols], scan: Scan, template: Template, joint: bool, rng: np.random.Generator
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The different contexts that occur, most frequent first: inputs (n, N), ones (n, C'), occurrences (n, 1);
    C' = C of a joint model, else 1."""
    rows = np.concatenate([mask_inputs(m, scan, template, joint) for m in masks])
    bits = np.concatenate([m.mask if joint else m.mask.reshape(-1, 1) for m in masks])
    if len(rows) > _SAMPLE:
        chosen = rng.choice(len(rows), _SAMPLE, replace=False)
        rows, bits = rows[chosen], bits[chosen]
    # Equal rows have equal hashes; different rows have different ones, but for a negligible probability.
    factors = rng.integers(0, 1 << 63, rows.shape[1], np.uint64)
    _, first, which, count = np.unique((rows.astype(np.uint64) * factors).sum(1, dtype=np.uint64),
                                       return_index=True, return_inverse=True, return_counts=True)
    ones = np.stack([np.bincount(which, bits[:, c], len(first)) for c in range(bits.shape[1])], 1)
    order = np.argsort(-count, kind="stable")
    return rows[first[order]], ones[order], count[order, None]


def _pooled(masks: Sequence[MaskSymbols]) -> tuple[np.ndarray, np.ndarray | None]:
    """Bits (n, C) and bands (n,) of all masks; C = 1 where they have different numbers of channels."""
    alike = len({m.mask.shape[1] for m in masks}) == 1
    bits = [m.mask if alike else m.mask.reshape(-1, 1) for m in masks]
    if all(m.layout.band is None for m in masks):
        return np.concatenate(bits), None
    band = [m.layout.band if m.layout.band is not None else np.zeros(len(m.mask), np.uint8) for m in masks]
    return np.concatenate(bits), np.concatenate([np.repeat(b, len(v) // max(len(b), 1)) for b, v in zip(band, bits)])


def _straight(x: torch.Tensor) -> torch.Tensor:
    """Rounded half up; the gradient passes as if nothing had been done."""
    return x + (torch.floor(x + 0.5) - x).detach()


class _MaskNetwork(torch.nn.Module):
    """The trainable form of a `ContextModel` of family Bernoulli: real parameters, integer arithmetic (spec 6.4)."""

    def __init__(self, inputs: int, hidden: int, outputs: int, generator: torch.Generator):
        super().__init__()
        self.hidden_weight = torch.nn.Parameter(torch.randn((hidden, inputs), generator=generator) / math.sqrt(inputs))
        self.hidden_bias = torch.nn.Parameter(0.1 * torch.randn(hidden, generator=generator))
        self.output_weight = torch.nn.Parameter(0.1 * torch.randn((outputs, hidden), generator=generator))
        self.output_bias = torch.nn.Parameter(torch.zeros(outputs))

    def _integers(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """The integer parameters, still differentiable."""
        one, out = 2.0**_HIDDEN_BITS, _TABLE_GAIN * 2.0**_OUTPUT_SHIFT
        return (_straight(self.hidden_weight * one).clamp(-127, 127),
                _straight(self.hidden_bias * one).clamp(-32767, 32767),
                _straight(self.output_weight * (out / one)).clamp(-127, 127),
                _straight(self.output_bias * out).clamp(-(1 << 21), 1 << 21))

    def tables(self, inputs: torch.Tensor) -> torch.Tensor:
        """inputs (n, N) -> table indices (n, C), whole numbers."""
        w1, b1, w2, b2 = self._integers()
        hidden = torch.nn.functional.linear(inputs, w1, b1).clamp(0, HIDDEN_LIMIT)
        out = _straight(torch.nn.functional.linear(hidden, w2, b2) / 2.0**_OUTPUT_SHIFT)
        return out.clamp(0, len(BERNOULLI_ONE) - 1)

    def bits(self, inputs: torch.Tensor, ones: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
        """Code length (n, C) of so many ones among so many symbols, per context and output."""
        logit = (self.tables(inputs) - _MIDDLE) * _TABLE_LOGIT
        softplus = torch.nn.functional.softplus
        return (ones * softplus(-logit) + (total - ones) * softplus(logit)) / math.log(2)

    def export(self, scan: Scan, template: Template, joint: bool) -> ContextModel:
        """The integer model of the stream; its locations are 0."""
        w1, b1, w2, b2 = (p.detach().numpy() for p in self._integers())
        outputs, hidden = w2.shape
        output_weight, output_bias = np.zeros((2 * outputs, hidden), np.int8), np.zeros(2 * outputs, np.int32)
        output_weight[1::2], output_bias[1::2] = w2, b2
        return ContextModel(joint, outputs, scan, template_id(template), template, 0,
                            w1.astype(np.int8), b1.astype(np.int16),
                            0, _OUTPUT_SHIFT, output_weight, output_bias, BERNOULLI)
