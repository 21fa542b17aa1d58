"""Ray marching: the colour, depth and opacity of rays through a field (spec 9.2, 9.3).

The same code runs on numpy and torch arrays: whichever the field computes with. The
field decides; numpy needs no torch.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypedDict, Unpack

import numpy as np

from refcodec.arrays import A
from refcodec.errors import UsageError
from refcodec.rendering.arrays import MarchOps, arrays_of
from refcodec.rendering.cameras import Camera
from refcodec.rendering.compositing import composite
from refcodec.syntax.headers import SequenceHeader

if TYPE_CHECKING:
    from refcodec.fields import RadianceField

EARLY_STOP = 1e-4
_SMALLEST_DIRECTION = 1e-12
_SMALLEST_WEIGHT = 1e-30
_CANDIDATES = 1 << 21  # samples tested for occupancy at once: bounds the memory; more would not be faster
_ROUND = 8  # occupied samples of a ray evaluated before asking whether it is opaque
# Weight below which a sample takes its colour from its neighbours on the ray, and how much of a ray's weight may:
# a root mean square error of less than 1e-3 (R-RND-16), whatever the colours.
_DIM, _DIM_SHARE = 3e-4, 9e-4
_EVEN_SHARE = 1e-5  # weight that every part of a ray has for the placing of samples (R-RND-22)
_OPAQUE = 1e4  # optical depth that lets nothing through; more could overflow
_COARSE = 1 << 16  # samples of a coarse network evaluated at once: bounds the memory


@dataclass(frozen=True, slots=True)
class Picture:
    """A rendered view.

    rgb: (h, w, 3) float32, sRGB in [0, 1]. depth: (h, w) float32, scene units along
    the ray, 0 where nothing was met. opacity: (h, w) float32 in [0, 1].
    """

    rgb: np.ndarray
    depth: np.ndarray
    opacity: np.ndarray


class RenderOptions(TypedDict, total=False):
    """Keywords of `render_rays` that override the sequence header or its own defaults."""

    samples_per_diagonal: int
    background: Sequence[float] | np.ndarray
    early_stop: float
    chunk: int | None


def render_camera(
    field: RadianceField[A],
    occupancy: np.ndarray | None,
    camera: Camera,
    header: SequenceHeader,
    *,
    on_progress: Callable[[int, int], None] | None = None,
    **options: Unpack[RenderOptions],
) -> Picture:
    """Render all pixels of `camera` with the values of the sequence header.

    occupancy: bool (z, y, x) of the header's dimensions, or None: all voxels are set.
    options: as in `render_rays`, by which they are checked; they override the header.
    Raises UsageError as `render_rays` does.
    """
    if occupancy is not None and np.shape(occupancy) != header.occupancy_shape:
        raise UsageError(
            f"occupancy is {np.shape(occupancy)}, the header says {header.occupancy_shape} (z, y, x)"
        )
    options.setdefault("samples_per_diagonal", header.samples_per_diagonal)
    options.setdefault("background", [channel / 255 for channel in header.background])
    origins, directions = camera.rays()
    rgb, depth, opacity = render_rays(field, occupancy, origins, directions, on_progress=on_progress, **options)
    shape = (camera.height, camera.width)
    return Picture(rgb.reshape(*shape, 3), depth.reshape(shape), opacity.reshape(shape))


def render_rays(
    field: RadianceField[A],
    occupancy: np.ndarray | None,
    origins: np.ndarray,
    directions: np.ndarray,
    *,
    samples_per_diagonal: int,
    background: Sequence[float] | np.ndarray = (1.0, 1.0, 1.0),
    early_stop: float = EARLY_STOP,
    chunk: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Composite N rays front to back: rgb (N, 3), depth (N,), opacity (N,), numpy float32.

    field: a `refcodec.fields.RadianceField`, which also says how a ray is sampled.
    occupancy: bool (z, y, x) over the field's box; None stands for all set.
    origins, directions: (N, 3), scene units; directions are normalised here.
    samples_per_diagonal: ray step = box diagonal / this.
    background: (3,) sRGB in [0, 1].
    early_stop: a ray ends once less than this share of the background shines through,
        which changes no colour by more than this, and samples of negligible weight take the colour of their neighbours.
        0 gives the defined picture (spec 9.3).
    chunk: rays held at a time; by default so many that memory stays bounded.
    on_progress: called with (rays done, N) after every chunk.
    Raises UsageError for shapes or values that make no picture.
    """
    xp = arrays_of(field)
    origins, directions = (np.asarray(a, np.float32) for a in (origins, directions))
    background = np.asarray(background, np.float32)
    if origins.ndim != 2 or origins.shape[1] != 3 or directions.shape != origins.shape:
        raise UsageError(
            f"rays are two (N, 3) arrays, not {origins.shape} and {directions.shape}"
        )
    if not (np.isfinite(origins).all() and np.isfinite(directions).all()):
        raise UsageError("ray origins and directions must be finite")
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    if not (length > 0).all():
        raise UsageError("a ray needs a direction that is not zero")
    if samples_per_diagonal < 1:
        raise UsageError(f"samples_per_diagonal must be positive, not {samples_per_diagonal}")
    if background.shape != (3,):
        raise UsageError("the background is one colour of three channels")
    if occupancy is not None and (np.ndim(occupancy) != 3 or np.size(occupancy) == 0):
        raise UsageError(f"occupancy has three axes (z, y, x), not {np.shape(occupancy)}")
    if chunk is None:
        each = field.coarse_samples + field.fine_samples or samples_per_diagonal
        chunk = max(1, xp.parallelism * _CANDIDATES // each)
    elif chunk < 1:
        raise UsageError(f"a chunk holds at least one ray, not {chunk}")

    directions = directions / length
    march = _March(xp, field, occupancy, samples_per_diagonal, early_stop)
    count = len(origins)
    rgb = np.empty((count, 3), np.float32)
    depth, opacity = np.empty(count, np.float32), np.empty(count, np.float32)

    def render(start: int) -> int:
        end = min(start + chunk, count)
        with xp.inference():
            colour, opacity[start:end], depth[start:end] = march(origins[start:end], directions[start:end])
        rgb[start:end] = colour + (1 - opacity[start:end, None]) * background
        return end

    starts = range(0, count, chunk)
    with ThreadPoolExecutor(min(xp.threads, len(starts)) or 1) as pool:
        try:
            for done in pool.map(render, starts):
                if on_progress:
                    on_progress(done, count)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return rgb, depth, opacity


class _March(Generic[A]):
    """Marches rays through one field, chunk by chunk."""

    def __init__(self, xp: MarchOps[A], field: RadianceField[A], occupancy: np.ndarray | None,
                 samples_per_diagonal: int, early_stop: float):
        self.xp, self.field = xp, field
        self.early_stop = early_stop
        box_min, box_max = (xp.to_numpy(b).astype(np.float64) for b in (field.box_min, field.box_max))
        self.samples = samples_per_diagonal
        self.step = float(np.float32(np.linalg.norm(box_max - box_min) / samples_per_diagonal))
        self.box_min = xp.array(box_min.astype(np.float32))
        self.box_max = xp.array(box_max.astype(np.float32))
        self.occupancy = None
        if occupancy is not None:
            self.dims = tuple(np.shape(occupancy))[::-1]
            scale = np.asarray(self.dims, np.float64) / (box_max - box_min)
            self.scale = xp.array(scale.astype(np.float32))
            self.occupancy = xp.array(np.ascontiguousarray(occupancy, dtype=bool).reshape(-1))
        # Corners of what can hold samples, a hundredth of a voxel wider than the occupied voxels for rounding.
        self.low, self.high = self.box_min, self.box_max
        if occupancy is not None and np.any(occupancy):
            margin = 0.01 / scale
            ends = [np.flatnonzero(np.any(occupancy, axis=tuple({0, 1, 2} - {axis})))[[0, -1]] for axis in (2, 1, 0)]
            first, last = np.array(ends, np.float64).T
            self.low = xp.array((box_min + first / scale - margin).astype(np.float32))
            self.high = xp.array((box_min + (last + 1) / scale + margin).astype(np.float32))

    def __call__(self, origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, ...]:
        """Premultiplied colour (N, 3), opacity (N,) and depth (N,) of a chunk, as numpy."""
        xp = self.xp
        rays = xp.array(origins), xp.array(directions)
        near, far = self._crossing(*rays, self.box_min, self.box_max)
        place = self._placed if self.field.coarse_samples else self._uniform
        ray, time, length = place(*rays, near, far)
        return tuple(map(xp.to_numpy, self._composite(*rays, ray, time, length)))

    def _crossing(self, origins: A, directions: A, low: A, high: A) -> tuple[A, A]:
        """Slab method (spec 9.2): t where each ray enters the box low .. high and where it leaves it."""
        xp = self.xp
        tiny = xp.abs(directions) < _SMALLEST_DIRECTION
        inverse = 1.0 / xp.where(tiny, xp.full_like(directions, _SMALLEST_DIRECTION), directions)
        first = (low - origins) * inverse
        second = (high - origins) * inverse
        near = xp.largest(xp.minimum(first, second)).clip(0.0, None)
        return near, xp.smallest(xp.maximum(first, second))

    def _uniform(self, origins: A, directions: A, near: A, far: A) -> tuple[A, A, float]:
        """Ray number, t and length of every sample in an occupied voxel (spec 9.2).

        By ray, then front to back. The length is one number for all.
        """
        xp = self.xp
        steps = xp.integers(xp.ceil((far - near) / self.step - 0.5).clip(0, self.samples))
        # Of these, the ones in the box of what is occupied, and one more at each end for rounding.
        enter, leave = self._crossing(origins, directions, self.low, self.high)
        first = xp.integers(((enter - near) / self.step - 1.5).clip(0, self.samples))
        last = xp.integers(((leave - near) / self.step + 1.5).clip(0, self.samples))
        steps = xp.minimum(steps, last)
        hit = xp.nonzero((steps > first) & (leave >= enter))[0]
        if len(hit) == 0:
            return hit, near[hit], self.step
        origins, directions, near, first, steps = (a[hit] for a in (origins, directions, near, first, steps))
        number = first[:, None] + xp.arange(int((steps - first).max()))
        time = near[:, None] + (xp.floats(number) + 0.5) * self.step
        wanted = number < steps[:, None]
        ray, index = xp.nonzero(self._occupied(origins, directions, time, wanted))
        return hit[ray], time[ray, index], self.step

    def _placed(self, origins: A, directions: A, near: A, far: A) -> tuple[A, A, A | float]:
        """As `_uniform`, for samples that the coarse network places; a length for each (spec 9.2.2)."""
        xp = self.xp
        hit = xp.nonzero(far > near)[0]
        if len(hit) == 0:
            return hit, near[hit], self.step
        origins, directions, near, far = (a[hit] for a in (origins, directions, near, far))
        count = self.field.coarse_samples
        part = (far - near) / count
        coarse = near[:, None] + (xp.floats(xp.arange(count)) + 0.5) * part[:, None]
        ray, index = xp.nonzero(self._occupied(origins, directions, coarse, coarse < far[:, None]))
        depths = xp.zeros((len(hit), count + 1))
        for start in range(0, len(ray), _COARSE):
            r, i = ray[start:start + _COARSE], index[start:start + _COARSE]
            points = origins[r] + coarse[r, i][:, None] * directions[r]
            depths[r, i + 1] = (self.field.coarse_density(points) * part[r]).clip(None, _OPAQUE)
        fine = quantiles(xp, near, part, composite(xp, depths)[1], self.field.fine_samples)
        time = xp.sort(xp.concatenate([coarse, fine]))
        length = xp.concatenate([time[:, 1:], far[:, None]]) - time
        ray, index = xp.nonzero(self._occupied(origins, directions, time, length > 0))
        return hit[ray], time[ray, index], length[ray, index]

    def _occupied(self, origins: A, directions: A, time: A, wanted: A) -> A:
        """Which of the `wanted` samples (N, samples) lie in occupied voxels (R-RND-07)."""
        if self.occupancy is None:
            return wanted
        xp, voxel = self.xp, None
        for axis in (2, 1, 0):  # z, y, x: the flat index has x fastest
            position = origins[:, axis, None] + time * directions[:, axis, None]
            cell = (position - self.box_min[axis]) * self.scale[axis]
            cell = xp.integers(cell.clip(0, self.dims[axis] - 1))
            voxel = cell if voxel is None else voxel * self.dims[axis] + cell
        return wanted & self.occupancy[voxel]

    def _composite(self, origins: A, directions: A, ray: A, time: A,
                   length: A | float) -> tuple[A, A, A]:
        """Front to back, a few occupied samples of every ray that still passes light."""
        xp, rays = self.xp, len(origins)
        colour, moment = xp.zeros((rays, 3)), xp.zeros((rays,))
        opacity, passing = xp.zeros((rays,)), xp.zeros((rays,)) + 1.0
        spare = xp.zeros((rays,)) + (_DIM_SHARE if self.early_stop > 0 else 0.0)
        left = xp.count(ray, rays)
        following = left.cumsum(0) - left  # where each ray's next sample is listed
        slot = xp.arange(_ROUND)
        while True:
            active = xp.nonzero((left > 0) & (passing >= self.early_stop))[0]
            if len(active) == 0:
                break
            heading = directions[active]
            filled = slot < left[active, None]
            row = xp.nonzero(filled)[0]
            listed = (following[active, None] + slot)[filled]
            t = time[listed]
            points = origins[active][row] + t[:, None] * heading[row]
            density, features = self.field.density(points)

            depths = xp.zeros((len(active), _ROUND + 1))
            depths[:, 1:][filled] = density * (length if isinstance(length, float) else length[listed])
            light, weight = composite(xp, depths, passing[active, None])
            # Slots behind the one that made the ray opaque no longer count.
            lit = light[:, :-1] >= self.early_stop
            weight = weight * lit

            each = weight[filled]
            # Samples of negligible weight take the colour of the others of the round; if all are negligible, of the
            # strongest.
            whole = weight.sum(1)
            bright = weight >= xp.largest(weight).clip(None, _DIM)[:, None]
            dim = (weight * ~bright).sum(1)
            bright = bright | (dim > spare[active])[:, None]
            lit_up = (weight * bright).sum(1)
            spare[active] -= whole - lit_up
            gain = whole / lit_up.clip(_SMALLEST_WEIGHT, None)
            seen = xp.nonzero((each > 0) & bright[filled])[0]
            # Per sample: premultiplied colour, then weight times distance.
            share = xp.zeros((len(each), 4))
            if len(seen):
                rgb = self.field.radiance(features[seen], heading, row[seen])
                share[seen, :3] = rgb * (each * gain[row])[seen, None]
            share[:, 3] = t * each
            total = xp.zeros((len(active), _ROUND, 4))
            total[filled] = share
            total = total.sum(1)
            colour[active] += total[:, :3]
            moment[active] += total[:, 3]
            opacity[active] += whole

            passing[active] = light[xp.arange(len(active)), lit.sum(1)]
            left[active] -= _ROUND
            following[active] += _ROUND
        return colour, opacity.clip(0.0, 1.0), moment / opacity.clip(_SMALLEST_WEIGHT, None)


def quantiles(xp: MarchOps[A], near: A, part: A, weight: A, count: int) -> A:
    """Positions of the fine network's samples on rays, in order: t (N, count) (R-RND-22).

    xp: array operations (refcodec.rendering.arrays). near, part: (N,), where rays enter
    the box, and the length of the equal parts that follow. weight: (N, parts), the
    compositing weight of each part's middle.
    """
    share = weight + _EVEN_SHARE
    reached = share.cumsum(1)
    target = (xp.floats(xp.arange(count)) + 0.5) * (reached[:, -1:] / count)
    index = xp.search(reached, target).clip(0, weight.shape[1] - 1)
    share, reached = xp.take(share, index), xp.take(reached, index)
    inside = (1 - (reached - target) / share).clip(0.0, 1.0)
    return near[:, None] + (xp.floats(index) + inside) * part[:, None]
