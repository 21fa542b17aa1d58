"""Batches of rays through a field and back in one compiled kernel, on the processor (spec chapters 8 and 9).

What `RayBank.error` and torch's automatic differentiation compute in some 500 operations, `refcodec.kernels.training`
computes ray by ray, for every rule of interpolated tables, products, sums and small networks. torch remains for other
devices, for networks of the position, and as the reference: gradients agree to 1e-4 of their largest magnitude.

Results do not depend on the number of threads: gradients of networks are added up by blocks of rays, those of a table
by one thread.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from refcodec.encoder.kernel import kernel
from refcodec.encoder.rays import Samples
from refcodec.fields.rule import Combination, FeatureSet, FirstOutput, Network
from refcodec.syntax.headers import Alignment, SequenceHeader

Item = TypeVar("Item")
_RAYS = 32  # of a block
_CHANNELS = 1 << 14  # values that one thread adds up at a time, about: channels of a table times samples


@dataclass(frozen=True, slots=True)
class BatchGradients:
    """Errors and gradients of a batch. error: (rays, 2) mean squared error of the colour and weighted one of the
    opacity. gradients: by tensor_id, in the layout of the values, of the mean over rays of weight times both."""

    error: torch.Tensor
    gradients: dict[int, torch.Tensor]


class FusedShading:
    """The kernel's description of a header's field.

    threads: that share a batch. Raises ValueError where the kernel has no part of the rule; ask `serves` before.
    """

    def __init__(self, header: SequenceHeader, *, opacity_weight: float, least_weight: float, threads: int):
        self._header, self._threads = header, threads
        rule = header.representation.rule(header)
        self._layers: list[int] = []  # tensors of the networks, in the kernel's order
        self._slots: list[int] = []
        density = FeatureSet(()) if isinstance(rule.density, FirstOutput) else _inputs(rule.density.inputs)
        features = _inputs(rule.features.inputs)
        entries, sets, offset = list[int](), list[int](), 0
        for part in (density, features):
            words, offset, slots = self._set(part, offset)
            sets += words
            entries += slots
        first = isinstance(rule.density, FirstOutput)
        outputs = self._outputs(rule.features.network) or self._width(features)
        self.row = offset
        words = [len(self._slots), offset, int(first), outputs - first, rule.colour.feature_frequencies,
                 rule.colour.direction_frequencies, *entries, *sets]
        own = Network() if isinstance(rule.density, FirstOutput) else rule.density.network
        for network in (own, rule.features.network, rule.colour.network):
            words += self._network(network)
        self._words = np.array(words, np.int32)
        low, high = (np.array(corner, np.float64) for corner in header.box)
        step = float(np.linalg.norm(high - low)) / header.samples_per_diagonal
        longest = float((high - low).max())
        periods = [header.tensors[t].frequency / 65536 / longest for t in self._slots]
        self._reals = np.array([*low, *(1 / (high - low)), rule.activation.shift, rule.activation.scale, step,
                                least_weight, *(v / 255 for v in header.background), opacity_weight, *periods],
                               np.float32)
        self._pool = ThreadPoolExecutor(threads, "refcodec-train") if threads > 1 else None

    def _set(self, part: FeatureSet, offset: int) -> tuple[list[int], int, list[int]]:
        """Words of a set, the offset behind its values, and the words of its slots."""
        words, entries, first = list[int](), list[int](), len(self._slots)
        for term in part.terms:
            offsets, width = [], 0
            for factor in term.factors:
                offsets.append(offset)
                for tensor in factor.tensors:
                    info = self._header.tensors[tensor]
                    self._slots.append(tensor)
                    entries += [*info.shape, int(info.mapping), int(info.alignment == Alignment.CENTRES), offset]
                    offset += info.shape[0]
                width = offset - offsets[-1]
            words += [len(offsets), width, *offsets]
        summed = part.combination == Combination.SUM
        return [first, len(self._slots) - first, len(part.terms), int(summed), *words], offset, entries

    def _width(self, part: FeatureSet) -> int:
        return sum(sum(self._header.tensors[t].shape[0] for t in term.factors[0].tensors) for term in part.terms)

    def _outputs(self, network: Network) -> int:
        return self._header.tensors[network.layers[-1].weight].shape[2] if network.layers else 0

    def _network(self, network: Network) -> list[int]:
        words = [len(network.layers)]
        for layer in network.layers:
            _, _, outputs, inputs = self._header.tensors[layer.weight].shape
            words += [inputs, outputs, int(layer.bias is not None)]
            self._layers += [layer.weight, *([layer.bias] if layer.bias is not None else [])]
        return words

    def __call__(self, tensors: Sequence[torch.Tensor], wanted: Collection[int], samples: Samples,
                 target: torch.Tensor, weight: torch.Tensor, *, differentiate: bool = True) -> BatchGradients:
        """Errors of a batch, and the gradients of the tensors in `wanted`, by tensor_id.

        tensors: real values, (z, y, x, C). samples: in the order of their rays. target: (R, 4) premultiplied colour
        and opacity. weight: of each ray, (R,).
        """
        module, rays = kernel(), samples.shape[0]
        assert module is not None
        arrays = [_array(t) for t in tensors]
        gradients = {t: np.zeros(arrays[t].shape, np.float32) for t in self._slots if differentiate and t in wanted}
        field = module.field(self._words, self._reals, [arrays[t] for t in self._slots],
                             [gradients.get(t) for t in self._slots], [arrays[t] for t in self._layers])
        count = len(samples.ray)
        ends = torch.bincount(samples.ray, minlength=rays).cumsum(0).to(torch.int32).numpy()
        error = np.empty((rays, 2), np.float32)
        rows, seen = np.empty((count, self.row), np.float32), np.empty(count, np.uint8)
        batch = module.batch(field, _array(samples.position), _array(samples.direction), _array(target),
                             _array(weight / rays), ends, error, rows, seen)
        starts = range(0, rays, _RAYS)
        sizes = [int(np.prod(arrays[t].shape)) for t in self._layers]
        partial = np.zeros((len(starts), sum(sizes)), np.float32) if differentiate else None

        def shade(k: int) -> None:
            module.shade(field, batch, starts[k], min(starts[k] + _RAYS, rays),
                         partial[k] if partial is not None else None)

        self._each(shade, range(len(starts)))
        if partial is not None:
            parts = [(s, c) for s, t in enumerate(self._slots) if t in gradients
                     for c in _split(arrays[t].shape[-1], count)]
            self._each(lambda part: module.scatter(field, batch, part[0], *part[1]), parts)
            networks = np.split(partial.sum(0), np.cumsum(sizes)[:-1])
            gradients |= {t: g.reshape(arrays[t].shape) for t, g in zip(self._layers, networks) if t in wanted}
        return BatchGradients(torch.from_numpy(error), {t: torch.from_numpy(g) for t, g in gradients.items()})

    def _each(self, function: Callable[[Item], None], items: Iterable[Item]) -> None:
        if self._pool is None:
            for item in items:
                function(item)
        else:
            for _ in self._pool.map(function, items):
                pass


def _split(channels: int, samples: int) -> list[tuple[int, int]]:
    """Ranges of channels, multiples of 16 wide: of so many that they can be shared out evenly."""
    width = max(16, _CHANNELS * 16 // max(samples, 1) // 16 * 16)
    return [(c, min(c + width, channels)) for c in range(0, channels, width)]


def _array(tensor: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().numpy(), np.float32)


def _inputs(inputs: object) -> FeatureSet:
    if not isinstance(inputs, FeatureSet):
        raise ValueError("the kernel does not encode positions")
    return inputs


def serves(header: SequenceHeader) -> bool:
    """Whether the kernel is there and has all parts of the rule of a field."""
    rule = header.representation.rule(header)
    branches = [rule.features] + ([] if isinstance(rule.density, FirstOutput) else [rule.density])
    return kernel() is not None and rule.coarse is None and all(
        isinstance(b.inputs, FeatureSet) and not b.network.skip for b in branches)
