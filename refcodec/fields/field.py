"""What the representations share: their parts, density and colour (spec 8.2, 8.5)."""
from __future__ import annotations

from collections.abc import Sequence

from refcodec.arrays import Array
from refcodec.fields.grids import Grids
from refcodec.fields.networks import encode, network
from refcodec.fields.ops import Ops
from refcodec.syntax.headers import Role, SequenceHeader, TensorInfo


class Field:
    """Density and colour at points; made by `refcodec.fields.build`.

    ops: the array library. box_min, box_max: corners of the box, (3,) arrays.
    coarse_samples, fine_samples: per ray, where the field has a `coarse_density` that
    places samples (spec 9.6); otherwise 0.

    A representation defines `_evaluate`, and `_features` where `_evaluate` leaves the
    features for later.
    """

    def __init__(self, header: SequenceHeader, tensors: Sequence[Array], ops: Ops):
        self.ops, self.parameters, self._box = ops, header.parameters, header.box
        self.box_min, self.box_max = (ops.asarray(corner) for corner in header.box)
        self.coarse_samples = header.parameters.coarse_samples
        self.fine_samples = header.parameters.fine_samples
        self._by_role: dict[Role, list[tuple[TensorInfo, Array]]] = {}
        for info, tensor in zip(header.tensors, tensors, strict=True):
            self._by_role.setdefault(info.role, []).append((info, ops.asarray(tensor)))
        self._fusion = self._layers(Role.FUSION_WEIGHT, Role.FUSION_BIAS)
        self._render = self._layers(Role.RENDER_WEIGHT, Role.RENDER_BIAS)

    def _grids(self, *roles: Role) -> Grids:
        """All grids of these roles, by role, then by index."""
        return Grids(self._box, [entry for role in roles for entry in self._by_role[role]], self.ops)

    def _layers(self, weight_role: Role, bias_role: Role) -> list[tuple[Array, Array | None]]:
        biases = {info.index: tensor.reshape(-1) for info, tensor in self._by_role.get(bias_role, ())}
        return [(tensor.reshape(tensor.shape[2:]), biases.get(info.index))
                for info, tensor in self._by_role.get(weight_role, ())]

    def density(self, x: Array) -> tuple[Array, Array]:
        """Density at points in the box, and what `radiance` needs of them (spec 8.2).

        x: (N, 3) scene coordinates. Returns sigma (N,) per scene unit of length, and one
        row for each point: its features, or the point itself where features cost more
        than the density, so that only those of visible points are worked out.
        """
        feature, rows = self._evaluate(x)
        return self._sigma(feature), rows

    def coarse_density(self, x: Array) -> Array:
        """Density (N,) at points x (N, 3) for the placing of samples (spec 9.6), where `coarse_samples` is not 0."""
        raise NotImplementedError

    def _evaluate(self, x: Array) -> tuple[Array, Array]:
        """Density feature (N,) and rows for `_features` at points x (N, 3)."""
        raise NotImplementedError

    def _features(self, rows: Array) -> Array:
        """Features (N, F) of points, from the rows that `_evaluate` gave."""
        return rows

    def _sigma(self, feature: Array) -> Array:
        """Density of a density feature (R-FLD-04)."""
        ops, p = self.ops, self.parameters
        return ops.softplus(ops.bounded(feature) + p.density_shift) * p.density_scale

    def radiance(self, features: Array, directions: Array, rays: Array | None = None) -> Array:
        """Colour in [0, 1] (spec 8.5).

        features: rows (N, ...) from `density`. directions: (N, 3) unit vectors in which
        the rays travel, or, with rays (N,) integers, (R, 3) of which sample n uses row
        rays[n]: the part of the first layer that depends on the direction is then
        computed once a ray. Returns (N, 3).
        """
        p = self.parameters
        return self.ops.kernel(_colour)(self.ops, self._render, (p.feature_frequencies, p.direction_frequencies),
                                        self._features(features), directions, rays)


def _colour(ops: Ops, layers: Sequence[tuple[Array, Array | None]], frequencies: tuple[int, int], features: Array,
            directions: Array, rays: Array | None) -> Array:
    """`Field.radiance`, of features (N, F). frequencies: of features and directions."""
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


class GridField(Field):
    """A field whose density comes from grids of its own: features wait until they are asked for."""

    def _evaluate(self, x: Array) -> tuple[Array, Array]:
        return self._density_feature(x), x

    def _features(self, rows: Array) -> Array:
        return network(self.ops, self._fusion, self._fusion_input(rows))

    def _density_feature(self, x: Array) -> Array:
        """(N,) at points x (N, 3)."""
        raise NotImplementedError

    def _fusion_input(self, x: Array) -> Array:
        """(N, inputs of the fusion network) at points x (N, 3)."""
        raise NotImplementedError
