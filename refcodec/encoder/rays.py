"""Rays of training: pixels and samples (spec 9.2).

A visual hull of the alpha masks gives an occupancy grid before anything is trained.
Only rays that meet it are ever drawn, and only samples inside it are evaluated: on a
CPU this is what makes training practical.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from refcodec.errors import UsageError
from refcodec.fields import RadianceField
from refcodec.rendering.arrays import arrays_of
from refcodec.rendering.cameras import Camera
from refcodec.rendering.compositing import composite
from refcodec.syntax.headers import SequenceHeader

_CHUNK = 1 << 21  # samples tested at once
LEAST_WEIGHT = 1e-4  # of a sample whose colour is evaluated
ALPHA_WEIGHT = 0.1  # of the error of opacity, which the background colour alone can hide
_PRUNE_ALPHA = 0.02  # opacity of a ray step below which a voxel counts as empty
# A sample is occluded behind an optical depth of _OPAQUE (0.1 % of the light passes);
# only this share of the density is believed, for it is that of some iterations ago.
_OPAQUE, _OCCLUSION_SHARE = 7.0, 0.7
# Rays are drawn in proportion to their errors when they were drawn last, but for this share, which is drawn evenly.
_EVEN_SHARE = 0.2
_KEPT_ERROR = 0.5  # share of a ray's old error in its new one
_ERRORS_EVERY = 25  # batches between renewals of the distribution
_SHOWN_RAYS, _SHOWN_CHUNK = 2048, 256  # by which it is judged how much a field shows; at a time


@dataclass(frozen=True)
class TrainingPicture:
    """A training picture: its camera and straight-alpha sRGB (h, w, 4) float32 in [0, 1].

    kept: the pixels to train on and to compare, bool (h, w); None: all.
    """

    camera: Camera
    rgba: np.ndarray
    kept: np.ndarray | None = None


def voxel_centres(header: SequenceHeader) -> np.ndarray:
    """Centres of the occupancy voxels, (dz, dy, dx, 3) float64 scene coordinates (x, y, z)."""
    low, high = header.box
    axes = [lo + (np.arange(n) + 0.5) * (hi - lo) / n
            for lo, hi, n in zip(low, high, header.occupancy_dims)]
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    return np.stack([x, y, z], -1)


def visual_hull(pictures: Sequence[TrainingPicture], header: SequenceHeader, threshold: float = 0.01) -> np.ndarray:
    """Voxels whose projection touches the mask in every picture that shows them.

    A conservative hull: the mask is dilated by the size of a voxel, and the result is closed (`binary_closing`).
    Returns bool (z, y, x); everything is set where the pictures have no transparent pixels.
    """
    centres = voxel_centres(header)
    low, high = header.box
    half_diagonal = 0.5 * np.linalg.norm((np.subtract(high, low)) / header.occupancy_dims)
    inside = np.ones(centres.shape[:3], bool)
    points = centres.reshape(-1, 3)
    for picture in pictures:
        mask = picture.rgba[..., 3] > threshold
        if mask.all():
            continue
        camera = picture.camera
        pose = np.asarray(camera.camera_to_world)
        alive = np.flatnonzero(inside.reshape(-1))
        local = (points[alive] - pose[:3, 3]) @ pose[:3, :3]
        depth = -local[:, 2]
        in_front = depth > 2 * half_diagonal
        nearest = depth[in_front].min(initial=np.inf)
        if not np.isfinite(nearest):
            continue
        radius = int(np.ceil(max(camera.fx, camera.fy) * half_diagonal / (nearest - half_diagonal))) + 1
        grown = torch.nn.functional.max_pool2d(
            torch.from_numpy(mask[None].astype(np.float32)), 2 * radius + 1, 1, radius)[0].numpy() > 0
        safe = np.where(in_front, depth, 1.0)
        column = np.floor(camera.cx + camera.fx * local[:, 0] / safe).astype(np.int64)
        row = np.floor(camera.cy - camera.fy * local[:, 1] / safe).astype(np.int64)
        # A voxel cut by the picture's edge is not decided by this picture.
        shown = (in_front & (column >= radius) & (column < camera.width - radius)
                 & (row >= radius) & (row < camera.height - radius))
        carved = shown.copy()
        carved[shown] = ~grown[row[shown], column[shown]]
        inside.reshape(-1)[alive[carved]] = False
    return binary_closing(inside)


def binary_closing(occupancy: np.ndarray) -> np.ndarray:
    """Binary closing of bool (z, y, x) by a cube of 3 voxels: some 2 % more voxels, which take a sixth fewer bits."""
    pool = torch.nn.functional.max_pool3d
    grown = pool(torch.from_numpy(occupancy[None].astype(np.float32)), 3, 1, 1)
    found: np.ndarray = pool(-grown, 3, 1, 1)[0].numpy() < 0
    return found


def footprint(camera: Camera, points: np.ndarray, radius: float) -> np.ndarray:
    """Pixels that spheres around `points` (N, 3), of `radius` scene units, may touch: bool (h, w).

    Everything is set when a sphere reaches behind the camera.
    """
    pose = np.asarray(camera.camera_to_world)
    local = (points - pose[:3, 3]) @ pose[:3, :3]
    depth = -local[:, 2]
    if not len(points):
        return np.zeros((camera.height, camera.width), bool)
    if depth.min() <= 2 * radius:
        return np.ones((camera.height, camera.width), bool)
    reach = int(np.ceil(max(camera.fx, camera.fy) * radius / (depth.min() - radius))) + 1
    # Spheres outside the picture count for the pixels at its edge: harmless, and rare.
    column = np.clip(camera.cx + camera.fx * local[:, 0] / depth, 0, camera.width - 1).astype(np.int64)
    row = np.clip(camera.cy - camera.fy * local[:, 1] / depth, 0, camera.height - 1).astype(np.int64)
    hit = np.zeros((1, camera.height, camera.width), np.float32)
    hit[0, row, column] = 1
    return torch.nn.functional.max_pool2d(torch.from_numpy(hit), 2 * reach + 1, 1, reach)[0].numpy() > 0


@dataclass
class Samples:
    """Occupied samples of a batch of rays, ordered by ray and depth.

    ray, slot: (N,) int64, row and column in the (rays, slots) raster of candidate samples.
    position: (N, 3). direction: (rays, 3) unit vectors. shape: (rays, slots).
    """

    ray: torch.Tensor
    slot: torch.Tensor
    position: torch.Tensor
    direction: torch.Tensor
    shape: tuple[int, int]


@dataclass
class Batch:
    """Random rays of a bank.

    rays: (size,) int64, their numbers. samples: occupied ones, jittered. target: premultiplied RGBA (size, 4).
    weight: (size,), by which means over the batch become, in expectation, means over the bank.
    """

    rays: torch.Tensor
    samples: Samples
    target: torch.Tensor
    weight: torch.Tensor


class RayBank:
    """All training rays of one frame that can meet the occupancy grid.

    `pixels` is the number of pixels in the pictures, of which `len(bank)` rays are
    candidates; every other pixel shows the background whatever the field is.
    Raises UsageError where there is none.
    """

    def __init__(self, pictures: Sequence[TrainingPicture], header: SequenceHeader, occupancy: np.ndarray,
                 device: torch.device, generator: torch.Generator):
        self.header, self.device, self.generator = header, device, generator
        self.background = torch.tensor(header.background, device=device) / 255
        low, high = header.box
        self.low = torch.tensor(low, dtype=torch.float32, device=device)
        self.high = torch.tensor(high, dtype=torch.float32, device=device)
        self.step = float(torch.linalg.norm(self.high - self.low)) / header.samples_per_diagonal
        self.dims = header.occupancy_dims
        self._per_voxel = torch.tensor(self.dims, device=device) / (self.high - self.low)
        self.set_occupancy(occupancy)

        self._pose = torch.tensor(np.stack([np.asarray(p.camera.camera_to_world)[:3] for p in pictures]),
                                  dtype=torch.float32, device=device)
        self._lens = torch.tensor([[p.camera.fx, p.camera.fy, p.camera.cx, p.camera.cy] for p in pictures],
                                  dtype=torch.float32, device=device)
        self.pixels = 0
        parts = []
        centres = voxel_centres(header)[self.occupancy]
        radius = 0.5 * float(torch.linalg.norm(1 / self._per_voxel))
        corners = (torch.from_numpy(centres).float().to(device) if len(centres) else self.low[None])
        self._tight = corners.amin(0) - 0.51 / self._per_voxel, corners.amax(0) + 0.51 / self._per_voxel
        for index, picture in enumerate(pictures):
            height, width = picture.rgba.shape[:2]
            wanted = footprint(picture.camera, centres, radius)
            if picture.kept is not None:
                wanted &= picture.kept
            self.pixels += height * width if picture.kept is None else int(picture.kept.sum())
            rows, columns = np.nonzero(wanted)
            rgba = picture.rgba[rows, columns]
            rgba = np.concatenate([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], 1)
            row, column, colour = (torch.from_numpy(a).to(device) for a in (rows, columns, rgba))
            view = torch.full_like(row, index)
            chunk = max(1, _CHUNK // header.samples_per_diagonal)
            for part in torch.split(torch.arange(len(row), device=device), chunk) if len(row) else ():
                meets, near, count = self._window(*self._rays(view[part], column[part], row[part]))
                parts.append([a[part][meets] for a in (view.short(), column.short(), row.short(), colour.half())]
                             + [near[meets], count[meets].short()])
        if not any(len(near) for *_, near, _ in parts):
            raise UsageError("T02: no training ray meets the scene; see whether the box holds it (--box) and the masks "
                             "are those of its objects (--masks): refcodec dataset check --out FOLDER draws both")
        self._view, self._column, self._row, self._rgba, self._near, self._count = map(torch.cat, zip(*parts))
        self._error = torch.full((len(self),), torch.nan, device=device)  # when drawn last
        self._batches = 0

    def __len__(self) -> int:
        return len(self._view)

    def set_occupancy(self, occupancy: np.ndarray) -> None:
        """Replace the grid that decides which samples exist; it must lie within the first one."""
        self.occupancy = np.asarray(occupancy, bool)
        self._occupied = torch.from_numpy(self.occupancy.reshape(-1).copy()).to(self.device)
        self._occluders: torch.Tensor | None = None

    def state(self) -> dict[str, Any]:
        """What the next batches depend on, but for the generator."""
        return dict(occupancy=torch.from_numpy(self.occupancy), occluders=self._occluders, error=self._error,
                    batches=self._batches, drawn=[self._cumulative, self._weight] if self._batches else [])

    def restore(self, state: dict[str, Any]) -> None:
        """Takes over what `state` returned, of the same pictures. Raises ValueError."""
        occupancy = state["occupancy"].numpy()
        if occupancy.shape != self.occupancy.shape or state["error"].shape != self._error.shape:
            raise ValueError("the state is one of other rays")
        self.set_occupancy(occupancy)
        own = (state["occluders"], state["error"], *state["drawn"])
        self._occluders, error, *drawn = (None if t is None else t.to(self.device) for t in own)
        assert error is not None
        self._error, self._batches = error, int(state["batches"])
        if self._batches:
            self._cumulative, self._weight = (t for t in drawn if t is not None)

    def set_occluders(self, density: torch.Tensor) -> None:
        """Density that each occupied voxel (raster order) has at least, (voxels,).

        Occluded samples are left out of batches: they would have no weight and no gradient.
        """
        optical = torch.zeros(len(self._occupied), device=self.device)
        optical[self._occupied] = density * (self.step * _OCCLUSION_SHARE)
        self._occluders = optical

    def _rays(self, view: torch.Tensor, column: torch.Tensor, row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Origin and direction, (N, 3) each, of the rays through pixels (N,) of the pictures `view`."""
        pose, lens = self._pose[view.long()], self._lens[view.long()]
        x = (column + 0.5 - lens[:, 2]) / lens[:, 0]
        y = -(row + 0.5 - lens[:, 3]) / lens[:, 1]
        direction = torch.stack([x, y, -torch.ones_like(x)], -1)
        direction = (pose[:, :, :3] * direction[:, None]).sum(-1)
        return pose[:, :, 3], torch.nn.functional.normalize(direction, dim=-1)

    def _box(self, origin: torch.Tensor, direction: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Entry and exit of rays in the part of the box that holds occupied voxels."""
        inverse = 1 / torch.where(direction.abs() < 1e-12, torch.full_like(direction, 1e-12), direction)
        a, b = ((corner - origin) * inverse for corner in self._tight)
        return torch.minimum(a, b).amax(-1).clamp(min=0), torch.maximum(a, b).amin(-1)

    def _voxel(self, position: torch.Tensor) -> torch.Tensor:
        """Raster index of the voxel around each position (..., 3)."""
        dx, dy, dz = self.dims
        x, y, z = (((position[..., k] - self.low[k]) * self._per_voxel[k]).int().clamp(0, n - 1)
                   for k, n in enumerate(self.dims))
        return ((z * dy + y) * dx + x).long()

    def _window(self, origin: torch.Tensor, direction: torch.Tensor
                ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Which rays meet the grid; where their first occupied sample is, how many follow."""
        near, far = self._box(origin, direction)
        slots = max(1, int(torch.ceil(((far - near) / self.step).amax().clamp(min=1))) * 2)
        # At half the ray step nothing thicker than half a ray step is missed; the margin covers the rest.
        t = near[:, None] + (torch.arange(slots, device=self.device) + 0.5) * (self.step / 2)
        hit = self._occupied[self._voxel(origin[:, None] + t[..., None] * direction[:, None])] & (t < far[:, None])
        first = hit.int().argmax(1)
        last = slots - 1 - hit.flip(1).int().argmax(1)
        start = (near + (first - 1.5) * (self.step / 2)).clamp(min=0)
        start = torch.maximum(start, near)
        end = torch.minimum(near + (last + 2.5) * (self.step / 2), far)
        count = torch.ceil((end - start) / self.step).clamp(min=1)
        return hit.any(1), start, count

    def _draw(self, size: int) -> torch.Tensor:
        """Numbers of rays (size,), from equal slices of their distribution: errors where they were large last."""
        if self._batches % _ERRORS_EVERY == 0:
            error = (self._error / self._error.nanmean()).nan_to_num(nan=1.0)  # of a mean of 1; not drawn yet: the mean
            probability = _EVEN_SHARE + (1 - _EVEN_SHARE) * error
            self._cumulative = probability.double().cumsum(0)
            self._weight = probability.mean() / probability
        self._batches += 1
        place = torch.rand(size, generator=self.generator, device=self.device, dtype=torch.float64)
        place += torch.arange(size, device=self.device)
        place *= self._cumulative[-1] / size
        return torch.searchsorted(self._cumulative, place).clamp(max=len(self) - 1)

    def batch(self, size: int) -> Batch:
        """`size` random rays."""
        chosen = self._draw(size)
        jitter = torch.rand((size, 1), generator=self.generator, device=self.device)
        return Batch(chosen, self._samples(chosen, jitter, self._occluders), self._rgba[chosen].float(),
                     self._weight[chosen])

    def _samples(self, chosen: torch.Tensor, jitter: torch.Tensor | float, occluders: torch.Tensor | None) -> Samples:
        """The occupied samples of some rays, without those behind the occluders. jitter: (rays, 1), of a step."""
        origin, direction = self._rays(self._view[chosen], self._column[chosen], self._row[chosen])
        count = self._count[chosen]
        slots = int(count.max())
        slot = torch.arange(slots, device=self.device)
        t = self._near[chosen, None] + (slot + jitter) * self.step
        position = origin[:, None] + t[..., None] * direction[:, None]
        voxel = self._voxel(position)
        wanted = self._occupied[voxel] & (slot < count[:, None])
        if occluders is not None:
            optical = occluders[voxel]
            wanted &= torch.cumsum(optical, 1) - optical < _OPAQUE
        ray, slot = torch.nonzero(wanted, as_tuple=True)
        return Samples(ray, slot, position[ray, slot], direction, (len(chosen), slots))

    @torch.no_grad()
    def shown(self, field: RadianceField[torch.Tensor]) -> float | None:
        """Opacity of a field where the pictures are opaque, as a share of theirs; None where they are nowhere opaque.

        Random rays of a generator of their own: training goes on as if nobody had looked.
        """
        opaque = torch.nonzero(self._rgba[:, 3] > 0.5).squeeze(1).cpu()
        if not len(opaque):
            return None
        drawn = torch.randint(len(opaque), (_SHOWN_RAYS,), generator=torch.Generator().manual_seed(0))
        shown = wanted = 0.0
        for chosen in torch.split(opaque[drawn].to(self.device), _SHOWN_CHUNK):
            _, opacity = shade(field, self._samples(chosen, 0.5, None), self.step)
            shown += float(opacity.sum())
            wanted += float(self._rgba[chosen, 3].float().sum())
        return shown / wanted

    def error(self, field: RadianceField[torch.Tensor], size: int) -> tuple[torch.Tensor, torch.Tensor, Samples]:
        """The loss of a batch of `size` rays, D over all pixels, and the samples.

        D is the mean squared error of colours over the background. The loss adds the error of opacity: where an object
        has the background's colour, D does not depend on it.
        """
        batch = self.batch(size)
        colour, opacity = shade(field, batch.samples, self.step, LEAST_WEIGHT)
        alpha_error = opacity - batch.target[:, 3]
        colour_error = colour - batch.target[:, :3] - alpha_error[:, None] * self.background
        of_colour, of_alpha = colour_error.square().mean(1), ALPHA_WEIGHT * alpha_error.square()
        distortion = self.judge(batch, of_colour, of_alpha)
        return distortion + (self.share(batch) * of_alpha).mean(), distortion.detach(), batch.samples

    def share(self, batch: Batch) -> torch.Tensor:
        """Weight of each ray's error in D, (rays,)."""
        return batch.weight * (len(self) / self.pixels)

    def judge(self, batch: Batch, of_colour: torch.Tensor, of_alpha: torch.Tensor) -> torch.Tensor:
        """D over all pixels, from the errors of a batch's rays, (rays,), which are remembered."""
        self._remember(batch.rays, (of_colour + of_alpha).detach().sqrt())
        return (self.share(batch) * of_colour).mean()

    def _remember(self, rays: torch.Tensor, error: torch.Tensor) -> None:
        """The gradient of a squared error is about as large as the error: where it is large, more rays are drawn."""
        old = self._error[rays]
        self._error[rays] = torch.where(old.isnan(), error, _KEPT_ERROR * old + (1 - _KEPT_ERROR) * error)

    @torch.no_grad()
    def voxel_density(self, field: RadianceField[torch.Tensor], count: int) -> torch.Tensor:
        """Density at random points of each occupied voxel: (count, voxels), raster order."""
        centres = torch.from_numpy(voxel_centres(self.header)[self.occupancy]).float().to(self.device)
        size = (self.high - self.low) / torch.tensor(self.dims, device=self.device)
        out = torch.empty((count, len(centres)), device=self.device)
        for row in out:
            points = centres + (torch.rand(centres.shape, generator=self.generator, device=self.device) - 0.5) * size
            for part in torch.split(torch.arange(len(points), device=self.device), 1 << 16):
                row[part] = field.density(points[part])[0]
        return out

    def prune(self, field: RadianceField[torch.Tensor]) -> bool:
        """Drops voxels that the field shows to be empty, but keeps their neighbours; whether it did.

        A field that is still almost transparent says nothing about what is empty.
        """
        alpha = 1 - torch.exp(-self.voxel_density(field, 8).amax(0) * self.step)
        solid = np.zeros(self.occupancy.shape, np.float32)
        solid[self.occupancy] = (alpha > _PRUNE_ALPHA).float().cpu().numpy()
        grown = torch.nn.functional.max_pool3d(torch.from_numpy(solid[None]), 3, 1, 1)[0].numpy() > 0
        pruned = binary_closing(grown & self.occupancy)
        if pruned.sum() <= 0.05 * self.occupancy.sum():
            return False
        self.set_occupancy(pruned)
        return True


def shade(field: RadianceField[torch.Tensor], samples: Samples, step: float, min_weight: float = LEAST_WEIGHT
          ) -> tuple[torch.Tensor, torch.Tensor]:
    """Premultiplied colour (rays, 3) and opacity (rays,) of a batch (spec 9.3).

    Colours of samples that contribute less than `min_weight` are not evaluated.
    """
    sigma, features = field.density(samples.position)
    rays, slots = samples.shape
    depths = sigma.new_zeros((rays, slots + 1))
    depths[samples.ray, samples.slot + 1] = sigma * step
    light, weights = composite(arrays_of(field), depths)
    weight = weights[samples.ray, samples.slot]
    seen = torch.nonzero(weight.detach() > min_weight).squeeze(1)
    rgb = field.radiance(features[seen], samples.direction, samples.ray[seen])
    colour = rgb.new_zeros((rays, 3))
    colour = colour.index_add(0, samples.ray[seen], rgb * weight[seen, None])
    return colour, 1 - light[:, -1]
