"""Density and colour of a field: the evaluation of its rule (spec chapter 8)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from refcodec.arrays import A, Array
from refcodec.fields.grids import Grids
from refcodec.fields.networks import Layers, encode, network
from refcodec.fields.ops import Ops
from refcodec.fields.rule import Branch, Combination, EncodedPosition, FeatureSet, FieldRule, FirstOutput, Network
from refcodec.syntax.headers import SequenceHeader, TensorInfo


class RadianceField(Generic[A]):
    """Density and colour at points; made by `refcodec.fields.build`.

    ops: the array library. box_min, box_max: corners of the box, (3,) arrays.
    coarse_samples, fine_samples: per ray, where the field has a `coarse_density` that
    places samples (spec 9.2.2); otherwise 0.
    """

    def __init__(self, rule: FieldRule, header: SequenceHeader, tensors: Sequence[Array], ops: Ops[A]):
        self.ops, self._rule = ops, rule
        self.box_min, self.box_max = (ops.asarray(corner) for corner in header.box)
        self.coarse_samples = rule.coarse.samples if rule.coarse else 0
        self.fine_samples = rule.coarse.fine_samples if rule.coarse else 0
        parts = _Parts(header, tensors, ops)
        self._features = _BranchValues(rule.features, parts)
        self._density = None if isinstance(rule.density, FirstOutput) else _BranchValues(rule.density, parts)
        self._coarse = _BranchValues(rule.coarse.branch, parts) if rule.coarse else None
        self._colour = parts.layers(rule.colour.network)

    def density(self, x: A) -> tuple[A, A]:
        """Density at points in the box, and what `radiance` needs of them (spec 8.2).

        x: (N, 3) scene coordinates. Returns sigma (N,) per scene unit of length, and one
        row for each point: its features, or the point itself where the density does not need
        them, so that only those of visible points are evaluated.
        """
        if self._density is not None:
            return self._sigma(self._density(x)[:, 0]), x
        h = self._features(x)
        return self._sigma(h[:, 0]), h[:, 1:]

    def coarse_density(self, x: A) -> A:
        """Density (N,) at points x (N, 3) for the placing of samples (spec 9.2.2). Raises ValueError for a field
        without coarse network, whose `coarse_samples` is 0."""
        if self._coarse is None:
            raise ValueError("the field has no coarse network")
        return self._sigma(self._coarse(x)[:, 0])

    def _sigma(self, density_input: A) -> A:
        """Density of a density input (R-FLD-04)."""
        activation = self._rule.activation
        return self.ops.softplus(self.ops.bounded(density_input) + activation.shift) * activation.scale

    def radiance(self, features: A, directions: A, rays: A | None = None) -> A:
        """Colour in [0, 1] (spec 8.5).

        features: rows (N, ...) from `density`. directions: (N, 3) unit vectors in which
        the rays travel, or, with rays (N,) integers, (R, 3) of which sample n uses row
        rays[n]: the part of the first layer that depends on the direction is then
        computed once a ray. Returns (N, 3).
        """
        colour = self._rule.colour
        if self._density is not None:
            features = self._features(features)
        return self.ops.kernel(_colour)(self.ops, self._colour,
                                        (colour.feature_frequencies, colour.direction_frequencies),
                                        features, directions, rays)


def _colour(ops: Ops[A], layers: Layers[A], frequencies: tuple[int, int], features: A, directions: A,
            rays: A | None) -> A:
    """`RadianceField.radiance`, of features (N, F). frequencies: of features and directions."""
    features = ops.bounded(features)
    f, d = features.shape[1], directions.shape[1]
    of_features, of_directions = frequencies
    (weight, bias), *rest = layers
    e = f + d + 2 * of_features * f  # inputs: f, d, encoded f, encoded d
    along = ops.linear(directions, weight[:, f:f + d], bias)
    along = along + ops.linear(encode(ops, directions, of_directions), weight[:, e:])
    if rays is not None:
        along = along[rays]
    h = ops.linear(features, weight[:, :f]) + along
    h = h + ops.linear(encode(ops, features, of_features), weight[:, f + d:e])
    return ops.sigmoid(network(ops, rest, ops.relu(h)) if rest else h)


class _Parts(Generic[A]):
    """The tensors of a field, as the parts of its rule need them."""

    def __init__(self, header: SequenceHeader, tensors: Sequence[Array], ops: Ops[A]):
        self.ops, self.box = ops, header.box
        self.low, self.high = (ops.asarray(corner) for corner in header.box)
        self._entries: list[tuple[TensorInfo, A]] = [
            (info, ops.asarray(tensor)) for info, tensor in zip(header.tensors, tensors, strict=True)]

    def grids(self, tensors: Sequence[int]) -> Grids[A]:
        return Grids(self.box, [self._entries[t] for t in tensors], self.ops)

    def layers(self, of: Network) -> Layers[A]:
        """Weights (outputs, inputs) and biases (outputs,) of a network."""
        found: list[tuple[A, A | None]] = []
        for layer in of.layers:
            weight = self._entries[layer.weight][1]
            bias = None if layer.bias is None else self._entries[layer.bias][1].reshape((-1,))
            found.append((weight.reshape(tuple(weight.shape[2:])), bias))
        return found


class _BranchValues(Generic[A]):
    """Outputs (N, C) of a branch at points x (N, 3)."""

    def __init__(self, branch: Branch, parts: _Parts[A]):
        self._ops, self._skip = parts.ops, branch.network.skip
        self._layers = parts.layers(branch.network)
        self._inputs: _SetValues[A] | _PositionValues[A]
        if isinstance(branch.inputs, FeatureSet):
            self._inputs = _SetValues(branch.inputs, parts)
        else:
            self._inputs = _PositionValues(branch.inputs, parts)

    def __call__(self, x: A) -> A:
        return network(self._ops, self._layers, self._inputs(x), self._skip)


class _PositionValues(Generic[A]):
    """The encoded position (R-FLD-17, R-FLD-18)."""

    def __init__(self, position: EncodedPosition, parts: _Parts[A]):
        self._ops, self._frequencies, self._low, self._high = parts.ops, position.frequencies, parts.low, parts.high

    def __call__(self, x: A) -> A:
        u = (x - self._low) * (2 / (self._high - self._low)) - 1
        return self._ops.concatenate([u, encode(self._ops, u, self._frequencies)])


class _SetValues(Generic[A]):
    """The terms of a feature set at points: concatenated, or the sum of all their channels (N, 1)."""

    def __init__(self, features: FeatureSet, parts: _Parts[A]):
        self._ops, self._features = parts.ops, features
        self._grids, self._place = parts.grids(features.tensors), {t: i for i, t in enumerate(features.tensors)}

    def __call__(self, x: A) -> A:
        values = self._grids(x)
        terms = []
        for term in self._features.terms:
            first, *others = [self._joined([values[self._place[t]] for t in factor.tensors])
                              for factor in term.factors]
            for factor in others:
                first = first * factor
            terms.append(first)
        if self._features.combination == Combination.CONCATENATE:
            return self._joined(terms)
        first, *others = [term if term.shape[1] == 1 else term.sum(1)[:, None] for term in terms]
        for other in others:
            first = first + other
        return first

    def _joined(self, arrays: Sequence[A]) -> A:
        return arrays[0] if len(arrays) == 1 else self._ops.concatenate(arrays)
