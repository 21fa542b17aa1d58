"""Grids, planes and lines as functions of a point (spec 8.3)."""
from __future__ import annotations

from collections.abc import Sequence

from refcodec.arrays import Array
from refcodec.fields.ops import Ops, Spatial
from refcodec.syntax.headers import Alignment, Mapping, TensorInfo

Rule = tuple[Mapping, Alignment, int]
Batch = tuple[Sequence[int], tuple[Spatial, ...], Array]  # numbers and shapes (z, y, x) of grids, their tables


class Grids:
    """Grids that are looked up at the same points.

    A plane has one sample along one axis and a line along two: such axes take no part,
    so that a lookup costs two, four or eight samples. Grids that divide the axes alike,
    as a plane and its line do, share the search for the samples around a point.

    box: corners of the bounding box, scene units. entries: infos with tensors (C, z, y, x).
    """

    def __init__(self, box: tuple[Sequence[float], Sequence[float]], entries: Sequence[tuple[TensorInfo, Array]],
                 ops: Ops):
        self._ops = ops
        low, high = box
        self._low = ops.asarray(low)
        self._extent = ops.asarray([b - a for a, b in zip(low, high)])
        self._longest = max(b - a for a, b in zip(low, high))
        self._shapes = [info.shape for info, _ in entries]
        # (mapping, alignment, frequency), samples along x, y, z (1: as many as you like), members. Grids of zeros
        # need no lookup.
        rasters: list[tuple[Rule, list[int], list[int]]] = []
        for i, (info, tensor) in enumerate(entries):
            if not ops.vanishes(tensor):
                _join(rasters, i, info)
        self._raster = [(rule, sizes, [self._batch(batch, entries) for batch in _alike(members, self._shapes)])
                        for rule, sizes, members in rasters]

    def _batch(self, members: Sequence[int], entries: Sequence[tuple[TensorInfo, Array]]) -> Batch:
        """Grids of as many channels and axes, whose tables are looked up as one."""
        tables = [self._ops.table(entries[i][1]) for i in members]
        table = tables[0] if len(tables) == 1 else self._ops.concatenate(tables, 0)
        return members, tuple(self._shapes[i][1:] for i in members), table

    def __call__(self, x: Array) -> list[Array]:
        """Interpolated values at points x (N, 3): an array (N, C) for each grid."""
        ops, n = self._ops, len(x)
        values: list[Array] = [None] * len(self._shapes)
        for rule, sizes, batches in self._raster:
            cells = ops.cells(self.position(rule, sizes, x), sizes)
            for members, shapes, table in batches:
                found = ops.interpolate(table, *ops.corners(*cells, shapes))
                for k, i in enumerate(members):
                    values[i] = found[k * n:(k + 1) * n]
        return [ops.zeros(n, shape[0]) if v is None else v for v, shape in zip(values, self._shapes)]

    def position(self, rule: Rule, sizes: Sequence[int], x: Array) -> Array:
        """Position in units of grid samples, inside [0, size - 1] on each axis (R-FLD-05, R-FLD-06).

        rule: mapping, alignment and frequency. sizes: samples along x, y, z. x: (N, 3).
        """
        ops, size = self._ops, self._ops.asarray(sizes)
        mapping, alignment, frequency = rule
        if mapping == Mapping.SAWTOOTH:
            u = (x - self._low) * (frequency / 65536 / self._longest)
            u = u - ops.floor(u)
        else:
            u = ops.clamp((x - self._low) / self._extent, 0.0, 1.0)
        if alignment == Alignment.CORNERS:
            return u * (size - 1)
        return ops.clamp(u * size - 0.5, ops.asarray((0, 0, 0)), size - 1)


def _join(rasters: list[tuple[Rule, list[int], list[int]]], i: int, info: TensorInfo) -> None:
    """Adds grid i to the raster whose cells are its own, or to a new one."""
    rule, sizes = (info.mapping, info.alignment, info.frequency), list(info.shape[:0:-1])
    for other, shared, members in rasters:
        if other == rule and all(a == b or 1 in (a, b) for a, b in zip(sizes, shared)):
            shared[:] = map(max, sizes, shared)
            members.append(i)
            return
    rasters.append((rule, sizes, [i]))


def _alike(members: Sequence[int], shapes: Sequence[tuple[int, int, int, int]]) -> list[list[int]]:
    """Members by channels and number of axes."""
    found: dict[tuple[int, int], list[int]] = {}
    for i in members:
        found.setdefault((shapes[i][0], sum(n > 1 for n in shapes[i][1:])), []).append(i)
    return list(found.values())
