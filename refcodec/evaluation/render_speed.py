"""Rendering time of a frame as it is, or enlarged to other sizes of its field."""
from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..arrays import A
from ..errors import UsageError
from ..fields import FieldSizes, NumpyOps, Ops, build, field_header
from ..fields.grids import Grids
from ..fields.rule import Branch
from ..rendering.cameras import Camera
from ..rendering.march import render_camera
from ..syntax.headers import Alignment, Mapping, SequenceHeader, TensorInfo

_WEIGHT = 0.2  # standard deviation of random weights


@dataclass(frozen=True, slots=True)
class Shown:
    """The frame to render. tensors: float32, of `header.tensors`. occupancy: bool (z, y, x), or None."""

    header: SequenceHeader
    tensors: Sequence[np.ndarray]
    occupancy: np.ndarray | None


@dataclass(frozen=True, slots=True)
class ViewTime:
    """The fastest rendering of a view: seconds by the clock and of all processors. opacity: mean over the picture."""

    camera: str
    width: int
    height: int
    opacity: float
    seconds: float
    processor_seconds: float


def view_times(shown: Shown, cameras: Sequence[Camera], ops: Ops[A], repeats: int = 3) -> Iterator[ViewTime]:
    """Renders the view of each camera `repeats` times."""
    field = build(shown.header, shown.tensors, ops)
    for number, camera in enumerate(cameras):
        clock, processor = [], []
        for _ in range(repeats):
            started = time.perf_counter(), time.process_time()
            picture = render_camera(field, shown.occupancy, camera, shown.header)
            clock.append(time.perf_counter() - started[0])
            processor.append(time.process_time() - started[1])
        yield ViewTime(camera.name or str(number), camera.width, camera.height, float(picture.opacity.mean()),
                       min(clock), min(processor))


def enlarged(shown: Shown, sizes: FieldSizes, *, occupancy_side: int, samples_per_diagonal: int) -> Shown:
    """The same shape at other sizes of the field: what a view of a field trained at them would cost.

    Grids are interpolated, channels that they lack are zero, and networks are random: opacity stays what it
    was, colours do not. sizes: of the same representation. Raises UsageError where the density needs a network.
    """
    old = shown.header
    density = old.representation.rule(old).density
    if not isinstance(density, Branch) or density.network.layers:
        raise UsageError(f"only a field whose density comes from grids alone can be enlarged, "
                         f"not {old.representation.name.lower()}")
    new = field_header(sizes, old.box, occupancy_side=occupancy_side, samples_per_diagonal=samples_per_diagonal,
                       background=old.background)
    new = replace(new, parameters=replace(new.parameters, density_shift=old.parameters.density_shift,
                                          density_scale=old.parameters.density_scale))
    entries = {(info.role, info.index): (info, values) for info, values in zip(old.tensors, shown.tensors)}
    rng = np.random.default_rng(0)
    tensors = [rng.normal(0, _WEIGHT, info.shape).astype(np.float32) if info.mapping == Mapping.NONE
               else _resampled(old, entries[info.role, info.index], info) for info in new.tensors]
    occupancy = shown.occupancy
    if occupancy is not None:
        occupancy = occupancy[np.ix_(*(np.arange(m) * n // m for n, m in zip(occupancy.shape, new.occupancy_shape)))]
    return Shown(new, tensors, occupancy)


def _resampled(header: SequenceHeader, entry: tuple[TensorInfo, np.ndarray], info: TensorInfo) -> np.ndarray:
    """A grid's values where the samples of `info` lie, with its channels."""
    places = []
    for low, high, n in zip(*header.box, info.shape[:0:-1]):
        part = np.linspace(0, 1, n) if info.alignment == Alignment.CORNERS else (np.arange(n) + 0.5) / n
        places.append(low + part * (high - low))
    z, y, x = np.meshgrid(*places[::-1], indexing="ij")
    points = np.stack([x, y, z], -1).reshape(-1, 3).astype(np.float32)
    values = Grids(header.box, [entry], NumpyOps())(points)[0].T[:info.shape[0]]
    out = np.zeros(info.shape, np.float32)
    out[:len(values)] = values.reshape(-1, *info.shape[1:])
    return out
