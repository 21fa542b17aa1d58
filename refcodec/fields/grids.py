"""Grids, planes and lines as functions of a point (spec 8.3)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from refcodec.arrays import A
from refcodec.fields.ops import Ops
from refcodec.syntax.headers import Alignment, Mapping, TensorInfo


class Grids(Generic[A]):
    """Grids that are looked up at the same points.

    A plane has one sample along one axis and a line along two: such axes take no part,
    so that a lookup costs two, four or eight samples. Grids that divide the axes alike,
    as a plane and its line do, share the search for the samples around a point.

    box: corners of the bounding box, scene units. entries: infos with tensors (C, z, y, x).
    """

    def __init__(self, box: tuple[Sequence[float], Sequence[float]], entries: Sequence[tuple[TensorInfo, A]],
                 ops: Ops[A]):
        self._ops = ops
        low, high = box
        self._low = ops.asarray(low)
        self._extent = ops.asarray([b - a for a, b in zip(low, high)])
        self._longest = max(b - a for a, b in zip(low, high))
        # None in place of a table: zeros throughout, which need no lookup.
        self._grids = [(info.shape, None if ops.vanishes(tensor) else ops.table(tensor)) for info, tensor in entries]
        # (mapping, alignment, frequency), samples along x, y, z (1: as many as you like), members.
        self._raster: list[tuple[tuple[Mapping, Alignment, int], list[int], list[int]]] = []
        for i, (info, _) in enumerate(entries):
            if self._grids[i][1] is not None:
                self._join(i, (info.mapping, info.alignment, info.frequency), list(info.shape[:0:-1]))

    def _join(self, i: int, rule: tuple[Mapping, Alignment, int], sizes: list[int]) -> None:
        for other, shared, members in self._raster:
            if other == rule and all(a == b or 1 in (a, b) for a, b in zip(sizes, shared)):
                shared[:] = map(max, sizes, shared)
                members.append(i)
                return
        self._raster.append((rule, sizes, [i]))

    def __call__(self, x: A) -> list[A]:
        """Interpolated values at points x (N, 3): an array (N, C) for each grid."""
        values: list[A | None] = [None] * len(self._grids)
        for rule, sizes, members in self._raster:
            cells = self._ops.cells(self.position(rule, sizes, x), sizes)
            for i in members:
                shape, table = self._grids[i]
                assert table is not None, "grids of zeros are in no raster"
                values[i] = self._ops.interpolate(table, *self._ops.corners(*cells, shape[1:]))
        return [self._ops.zeros(len(x), shape[0]) if v is None else v for v, (shape, _) in zip(values, self._grids)]

    def position(self, rule: tuple[Mapping, Alignment, int], sizes: Sequence[int], x: A) -> A:
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
