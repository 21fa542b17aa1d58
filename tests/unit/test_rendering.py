"""Cameras and ray marching, against chapter 9 and against closed forms."""
import math
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from test_fields import SIZES, random_tensors

from checkout import ROOT
from refcodec import fields
from refcodec.errors import UsageError
from refcodec.evaluation import metrics
from refcodec.evaluation.metrics import render_difference
from refcodec.fields import DifSizes, NumpyOps, build, choose_ops, field_header
from refcodec.rendering import march
from refcodec.rendering.arrays import arrays_of
from refcodec.rendering.cameras import Camera
from refcodec.rendering.march import render_camera, render_rays
from refcodec.rendering.paths import look_at

LOW, HIGH = np.array([-1.0, -0.5, 0.0]), np.array([1.0, 1.5, 1.0])
DIAGONAL = float(np.linalg.norm(HIGH - LOW))
SAMPLES = 48
BACKGROUND = np.array([0.2, 0.7, 1.0])


class Ball:
    """A soft ball, coloured by position and direction: the interface of refcodec.fields."""

    coarse_samples = fine_samples = 0

    def __init__(self, ops=None, *, peak=40.0, low=LOW, high=HIGH):
        self.ops = ops or NumpyOps()
        self.box_min, self.box_max = self.ops.asarray(low), self.ops.asarray(high)
        self.centre, self.peak = self.ops.asarray((low + high) / 2), peak

    def density(self, x):
        offset = x - self.centre
        distance = (offset * offset).sum(1) ** 0.5
        return self.peak * self.ops.sigmoid((0.6 - distance) * 12), offset

    def radiance(self, features, directions, rays=None):
        directions = directions if rays is None else directions[rays]
        return self.ops.sigmoid(2 * features + 0.5 * directions)


class Fog(Ball):
    """Constant density and colour."""

    def density(self, x):
        return x[:, 0] * 0 + self.peak, x

    def radiance(self, features, directions, rays=None):
        return features * 0 + 0.25


def rays(seed, count=60):
    """Rays from around and inside the box, some parallel to axes, some missing it."""
    rng = np.random.default_rng(seed)
    origins = rng.uniform(-3, 3, (count, 3))
    inside = rng.random(count) < 0.2
    origins[inside] = rng.uniform(LOW, HIGH, (inside.sum(), 3))
    directions = rng.uniform(LOW, HIGH, (count, 3)) - origins
    directions[rng.random((count, 3)) < 0.15] = 0
    directions[np.linalg.norm(directions, axis=1) == 0] = (1, 0, 0)
    return origins, directions


def occupied(seed, shape=(5, 7, 6), share=0.6):
    return np.random.default_rng(seed).random(shape) < share


def render(field, occupancy, origins, directions, **options):
    values = {"samples_per_diagonal": SAMPLES, "background": BACKGROUND} | options
    return render_rays(field, occupancy, origins, directions, **values)


def render_by_the_text(field, occupancy, origins, directions, offset=0.5):
    """Chapter 9.2 and 9.3, one ray and one sample at a time, in double precision.

    Returns colour, depth, opacity, and how close each ray came to a decision (in voxels
    or steps) that rounding could turn.
    """
    step = DIAGONAL / SAMPLES
    results = []
    for o, d in zip(origins, directions):
        d = d / math.sqrt(sum(d * d))
        near, far = 0.0, math.inf
        for axis in range(3):
            c = d[axis] if abs(d[axis]) >= 1e-12 else 1e-12
            a, b = sorted(((LOW[axis] - o[axis]) / c, (HIGH[axis] - o[axis]) / c))
            near, far = max(near, a), min(far, b)
        light, rgb, total, moment, i = 1.0, np.zeros(3), 0.0, 0.0, 0
        steps = (far - near) / step - offset
        margin = abs(steps - round(steps)) if steps > -1 else abs(steps + offset)
        while near + (i + offset) * step < far:
            t = near + (i + offset) * step
            x = o + t * d
            place = (x - LOW) / (HIGH - LOW) * occupancy.shape[::-1]
            margin = min(margin, *abs(place - np.round(place)))
            cell = [
                min(max(math.floor(p), 0), n - 1) for p, n in zip(place, occupancy.shape[::-1])
            ]
            if occupancy[cell[2], cell[1], cell[0]]:
                sigma, features = field.density(x[None])
                alpha = 1 - math.exp(-float(sigma[0]) * step)
                colour = field.radiance(features, d[None])[0]
                rgb, total = rgb + light * alpha * colour, total + light * alpha
                moment += light * alpha * t
                light *= 1 - alpha
            i += 1
        results.append((*(rgb + light * BACKGROUND), moment / total if total else 0, 1 - light, margin))
    results = np.array(results)
    return results[:, :3], *results[:, 3:].T


@settings(max_examples=15)
@given(st.integers(0, 2**32))
def test_marching_follows_the_text(seed):
    args = Ball(), occupied(seed), *rays(seed)
    rgb, depth, opacity = render(*args, early_stop=0)
    *wanted, margin = render_by_the_text(*args)
    clear = margin > 1e-4
    assert clear.sum() > 40 and opacity[clear].max() > 0.9
    rgb, depth, opacity = rgb[clear], depth[clear], opacity[clear]
    wanted = [w[clear] for w in wanted]
    assert render_difference(rgb[:, None], wanted[0][:, None]).psnr > 90
    np.testing.assert_allclose(opacity, wanted[2], atol=1e-3)
    solid = wanted[2] > 0.5
    np.testing.assert_allclose(depth[solid], wanted[1][solid], atol=1e-3)


@settings(max_examples=10)
@given(st.integers(0, 2**32))
def test_numpy_and_torch_agree(seed):
    pytest.importorskip("torch")
    occupancy, (origins, directions) = occupied(seed), rays(seed)
    ours = render(Ball(NumpyOps()), occupancy, origins, directions)
    theirs = render(Ball(fields.TorchOps("cpu")), occupancy, origins, directions)
    for a, b in zip(ours, theirs):
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_allclose(a, b, atol=2e-5)


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 70))
def test_chunks_do_not_matter(seed, chunk):
    args = Ball(), occupied(seed), *rays(seed)
    for a, b in zip(render(*args), render(*args, chunk=chunk)):
        np.testing.assert_allclose(a, b, atol=1e-6)


class Faint(Ball):
    """Bright nearly opaque matter behind a veil of weight 8e-4 a sample, whose colour is the opposite."""

    def density(self, x):
        sigma = np.where(x[:, 0] < 0.2, 8e-4, 300.0) / (DIAGONAL / SAMPLES)
        return sigma.astype(np.float32), x

    def radiance(self, features, directions, rays=None):
        return np.where(features[:, :1] < 0.2, 0.0, 1.0).repeat(3, 1).astype(np.float32)


def test_samples_are_dimmed_within_bounds():
    """A sample takes its neighbours' colour below a weight of 3e-4 alone, and 9e-4 of a ray at most (R-RND-16)."""
    step = DIAGONAL / SAMPLES
    for length, worst in ((1.5, 1e-5), (6.5, 1e-5)):  # one sample of the veil, and six
        origins, directions = np.array([[0.2 - length * step, 0.1, 0.1]]), np.array([[1.0, 0, 0]])
        exact, fast = (render(Faint(), None, origins, directions, early_stop=stop)[0] for stop in (0, march.EARLY_STOP))
        assert exact.min() < 1 - 5e-4  # the veil shows
        assert np.abs(exact - fast).max() < march.EARLY_STOP + worst


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.floats(1e-6, 0.9))
def test_early_stop_changes_no_channel_by_more(seed, early_stop):
    args = Ball(peak=200.0), None, *rays(seed)
    exact, stopped = render(*args, early_stop=0), render(*args, early_stop=early_stop)
    assert np.abs(exact[0] - stopped[0]).max() <= early_stop + 9e-4 + 2e-6
    assert np.abs(exact[2] - stopped[2]).max() <= early_stop + 1e-6


def test_early_stop_saves_work():
    evaluated = []

    class Counting(Fog):
        def density(self, x):
            evaluated.append(len(x))
            return super().density(x)

    origins, directions = np.tile([-5.0, 0.5, 0.5], (10, 1)), np.tile([1.0, 0, 0], (10, 1))
    render(Counting(peak=1e3), None, origins, directions, early_stop=0)
    everything = sum(evaluated)
    evaluated.clear()
    render(Counting(peak=1e3), None, origins, directions)
    assert sum(evaluated) < everything / 2


def test_only_occupied_voxels_are_evaluated():
    points = []

    class Recording(Ball):
        def density(self, x):
            points.append(x.copy())
            return super().density(x)

    occupancy = occupied(3, share=0.2)
    render(Recording(), occupancy, *rays(3))
    x = np.concatenate(points)
    cell = np.floor((x - LOW) / (HIGH - LOW) * occupancy.shape[::-1]).astype(int)
    cell = cell.clip(0, np.array(occupancy.shape[::-1]) - 1)
    assert len(x) > 20 and occupancy[cell[:, 2], cell[:, 1], cell[:, 0]].all()


def test_nothing_occupied_shows_the_background():
    rgb, depth, opacity = render(Ball(), np.zeros((4, 4, 4), bool), *rays(1))
    np.testing.assert_array_equal(rgb, np.tile(BACKGROUND.astype(np.float32), (len(rgb), 1)))
    assert not depth.any() and not opacity.any()


def test_opaque_box_has_the_depth_of_its_first_sample():
    origins = np.array([[-5, 0.5, 0.5], [0.1, 0.2, 9.0], [0.3, 0.5, 0.5]])
    directions = np.array([[2, 0, 0], [0, 0, -0.5], [0, 1, 0]])
    rgb, depth, opacity = render(Fog(peak=1e6), None, origins, directions)
    # Two from outside, one from inside: t_near is 0 there.
    np.testing.assert_allclose(depth, np.array([4, 8, 0]) + DIAGONAL / SAMPLES / 2, rtol=1e-5)
    np.testing.assert_allclose(opacity, 1)
    np.testing.assert_allclose(rgb, 0.25, atol=1e-6)


@settings(max_examples=20)
@given(st.floats(0.01, 5), st.integers(1, 300))
def test_fog_attenuates_exponentially(density, samples):
    rgb, depth, opacity = render(
        Fog(peak=density), None, np.array([[-5, 0.5, 0.5]]), np.array([[1, 0, 0]]),
        samples_per_diagonal=samples, early_stop=0,
    )
    step = DIAGONAL / samples
    count = sum(4 + (i + 0.5) * step < 6 for i in range(samples))
    t = 4 + (np.arange(count) + 0.5) * step
    weight = np.exp(-density * step * np.arange(count)) * -np.expm1(-density * step)
    assert opacity[0] == pytest.approx(-np.expm1(-density * step * count), abs=1e-5)
    assert depth[0] == pytest.approx((weight @ t) / weight.sum() if count else 0, abs=1e-4)
    np.testing.assert_allclose(rgb[0], 0.25 * opacity[0] + (1 - opacity[0]) * BACKGROUND, atol=1e-5)


@pytest.mark.parametrize("voxel", [(0, 0, 0), (4, 6, 5), (2, 1, 4)])
def test_occupancy_is_indexed_z_y_x(voxel):
    occupancy = np.zeros((5, 7, 6), bool)
    occupancy[voxel] = True
    size = (HIGH - LOW) / occupancy.shape[::-1]
    inside = LOW + (np.array(voxel[::-1]) + 0.5) * size
    for axis in range(3):
        direction = np.eye(3)[axis]
        besides = inside + np.roll(size, 1) * np.roll(np.eye(3)[axis], 1)
        opacity = render(
            Fog(peak=1e3), occupancy, np.stack([inside, besides]) - 9 * direction, [direction] * 2
        )[2]
        assert opacity[0] > 0.99 and opacity[1] == 0


def test_rays_that_miss_or_look_away():
    origins, directions = [[-5, 0.5, 0.5], [-5, 9, 0.5]], [[-1, 0, 0], [1, 0, 0]]
    rgb, depth, opacity = render(Fog(peak=1e3), None, origins, directions)
    np.testing.assert_allclose(rgb, np.tile(BACKGROUND, (2, 1)), rtol=1e-6)
    assert not depth.any() and not opacity.any()


def test_no_rays():
    rgb, depth, opacity = render(Ball(), None, np.zeros((0, 3)), np.zeros((0, 3)))
    assert rgb.shape == (0, 3) and depth.shape == opacity.shape == (0,)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"origins": np.zeros((4, 2))}, "two \\(N, 3\\) arrays"),
        ({"origins": np.zeros((3, 3))}, "two \\(N, 3\\) arrays"),
        ({"origins": np.full((4, 3), math.nan)}, "must be finite"),
        ({"directions": np.full((4, 3), math.inf)}, "must be finite"),
        ({"directions": np.zeros((4, 3))}, "not zero"),
        ({"samples_per_diagonal": 0}, "samples_per_diagonal"),
        ({"background": (1, 1)}, "three channels"),
        ({"occupancy": np.ones((4, 4), bool)}, "three axes"),
        ({"occupancy": np.ones((0, 4, 4), bool)}, "three axes"),
        ({"chunk": 0}, "at least one ray"),
    ],
)
def test_misuse_is_explained(change, message):
    values = {
        "occupancy": None,
        "origins": np.zeros((4, 3)),
        "directions": np.ones((4, 3)),
        "samples_per_diagonal": SAMPLES,
    } | change
    with pytest.raises(UsageError, match=message):
        render_rays(Ball(), values.pop("occupancy"), **values)


class PlacedBall(Ball):
    """A ball whose samples a coarse network places, which sees a larger and fainter one."""

    coarse_samples, fine_samples = 12, 17

    def coarse_density(self, x):
        offset = x - self.centre + 0.1
        return 0.2 * self.peak * self.ops.sigmoid((0.7 - (offset * offset).sum(1) ** 0.5) * 9)


def render_placed_by_the_text(field, occupancy, origins, directions):
    """Chapter 9.2.2, one ray and one sample at a time, in double precision.

    Returns colour, depth, opacity, and how close each ray's samples came to voxel faces (in voxels).
    """
    results = []
    for o, d in zip(origins.astype(np.float64), directions.astype(np.float64)):
        d = d / math.sqrt(sum(d * d))
        near, far, margin = 0.0, math.inf, math.inf
        for axis in range(3):
            c = d[axis] if abs(d[axis]) >= 1e-12 else 1e-12
            a, b = sorted(((LOW[axis] - o[axis]) / c, (HIGH[axis] - o[axis]) / c))
            near, far = max(near, a), min(far, b)

        def takes_part(t):
            nonlocal margin
            place = (o + t * d - LOW) / (HIGH - LOW) * occupancy.shape[::-1]
            margin = min(margin, *abs(place - np.round(place)))
            x, y, z = (min(max(math.floor(p), 0), n - 1) for p, n in zip(place, occupancy.shape[::-1]))
            return occupancy[z, y, x]

        light, rgb, total, moment = 1.0, np.zeros(3), 0.0, 0.0
        if far > near:
            n, m = field.coarse_samples, field.fine_samples
            part, passing, reached = (far - near) / n, 1.0, [0.0]
            times = [near + (i + 0.5) * part for i in range(n)]
            for t in list(times):
                s = float(field.coarse_density((o + t * d)[None])[0]) if takes_part(t) else 0.0
                alpha = 1 - math.exp(-s * part)
                reached.append(reached[-1] + passing * alpha + 1e-5)
                passing *= 1 - alpha
            for j in range(m):
                q = reached[-1] * (j + 0.5) / m
                i = next(i for i in range(n) if reached[i] <= q < reached[i + 1])
                times.append(near + (i + (q - reached[i]) / (reached[i + 1] - reached[i])) * part)
            times.sort()
            for t, following in zip(times, [*times[1:], far]):
                if takes_part(t):
                    sigma, features = field.density((o + t * d)[None])
                    alpha = 1 - math.exp(-float(sigma[0]) * (following - t))
                    rgb = rgb + light * alpha * field.radiance(features, d[None])[0]
                    total, moment = total + light * alpha, moment + light * alpha * t
                    light *= 1 - alpha
        results.append((*(rgb + light * BACKGROUND), moment / total if total else 0, 1 - light, margin))
    results = np.array(results)
    return results[:, :3], *results[:, 3:].T


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.booleans())
def test_samples_lie_where_the_coarse_network_puts_them(seed, full):
    occupancy = occupied(seed, share=1.0 if full else 0.7)
    args = PlacedBall(peak=15.0), occupancy, *rays(seed)
    rgb, depth, opacity = render(*args, early_stop=0)
    *wanted, margin = render_placed_by_the_text(*args)
    clear = (margin > 1e-3) | full
    assert clear.sum() > 20 and opacity[clear].max() > 0.9
    np.testing.assert_allclose(rgb[clear], wanted[0][clear], atol=2e-3)
    np.testing.assert_allclose(opacity[clear], wanted[2][clear], atol=2e-3)
    solid = clear & (wanted[2] > 0.5)
    np.testing.assert_allclose(depth[solid], wanted[1][solid], atol=5e-3)


@settings(max_examples=10)
@given(st.integers(0, 2**32), st.integers(1, 70), st.integers(1, 50))
def test_chunks_do_not_matter_for_placed_samples(seed, chunk, piece):
    args = PlacedBall(), occupied(seed), *rays(seed)
    whole, march_piece = render(*args), march._COARSE
    try:
        march._COARSE = piece
        pieces = render(*args, chunk=chunk)
    finally:
        march._COARSE = march_piece
    for a, b in zip(whole, pieces):
        np.testing.assert_allclose(a, b, atol=1e-6)


@settings(max_examples=20)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 60), st.floats(0.1, 100))
def test_fine_samples_follow_the_coarse_weights(seed, parts, count, contrast):
    pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    weight = (rng.random((30, parts)) ** contrast).astype(np.float32) * (rng.random((30, parts)) < 0.5)
    weight /= np.maximum(weight.sum(1, keepdims=True), 1)
    near, part = rng.uniform(0, 5, 30).astype(np.float32), rng.uniform(0.01, 1, 30).astype(np.float32)
    both = []
    for ops in (NumpyOps(), fields.TorchOps("cpu")):
        xp = arrays_of(Ball(ops))
        both.append(xp.to_numpy(march.quantiles(xp, *map(xp.array, (near, part, weight)), count)))
    for times in both:
        assert times.shape == (30, count) and times.dtype == np.float32
        place = (times - near[:, None]) / part[:, None]
        assert (np.diff(times) >= -1e-5).all() and place.min() >= -1e-3 and place.max() <= parts + 1e-3
        share = (weight + 1e-5) / (weight + 1e-5).sum(1, keepdims=True)
        for k in range(parts):
            inside = ((place >= k - 1e-3) & (place < k + 1 + 1e-3)).sum(1)
            assert (inside >= np.floor(share[:, k] * count) - 1).all()


def test_search_counts_the_entries_that_are_not_above():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    rows = np.cumsum(rng.integers(0, 3, (40, 9)), 1).astype(np.float32)
    values = rng.integers(0, 20, (40, 13)).astype(np.float32)
    expected = (rows[:, None] <= values[:, :, None]).sum(2)
    for ops in (NumpyOps(), fields.TorchOps("cpu")):
        xp = arrays_of(Ball(ops))
        np.testing.assert_array_equal(xp.to_numpy(xp.search(xp.array(rows), xp.array(values))), expected)
    assert torch.is_tensor(xp.search(xp.array(rows), xp.array(values)))


class PlacedFog(Fog):
    coarse_samples, fine_samples = 5, 11

    def coarse_density(self, x):
        return x[:, 0] * 0 + self.peak


@settings(max_examples=20)
@given(st.floats(0.01, 5), st.integers(1, 30), st.integers(1, 30))
def test_placed_samples_fill_the_ray_from_the_first_one(density, coarse, fine):
    field = PlacedFog(peak=density)
    field.coarse_samples, field.fine_samples = coarse, fine
    opacity = render(field, None, np.array([[-5, 0.5, 0.5]]), np.array([[1, 0, 0]]), early_stop=0)[2]
    part = 2 / coarse
    weight = np.exp(-density * part * np.arange(coarse)) * -np.expm1(-density * part) + 1e-5
    reached = np.concatenate([[0], weight.cumsum()]) / weight.sum()
    first = min(0.5 * part, np.interp(0.5 / fine, reached, np.arange(coarse + 1) * part))
    assert opacity[0] == pytest.approx(-math.expm1(-density * (2 - first)), abs=1e-4)


def test_coarse_network_saves_samples_in_empty_space():
    """Most samples lie where the coarse density is, though the grid of coarse samples is even."""
    points = []

    class Recording(PlacedBall):
        coarse_samples, fine_samples = 20, 60

        def density(self, x):
            points.append(x.copy())
            return super().density(x)

    render(Recording(), None, np.array([[-5, 0.5, 0.5]]), np.array([[1, 0, 0]]), early_stop=0)
    x = np.concatenate(points)
    assert len(x) == 80 and (np.abs(x[:, 0] + 0.5) < 0.4).sum() > 40  # the side of the ball that faces the camera


def camera(width=40, height=30, position=(3.0, 2.0, 2.5)):
    return Camera(
        width, height, 50.0, 52.0, width / 2 + 1.5, height / 2 - 0.5,
        look_at(position, (LOW + HIGH) / 2, (0, 0, 1)),
    )


@settings(max_examples=30)
@given(st.integers(0, 39), st.integers(0, 29), st.floats(0.1, 50))
def test_rays_pass_through_their_pixels(column, row, distance):
    view = camera()
    origins, directions = view.rays()
    n = row * view.width + column
    assert np.linalg.norm(directions[n]) == pytest.approx(1, abs=1e-6)
    pose = view.camera_to_world
    x, y, z = (origins[n] + distance * directions[n] - pose[:, 3]) @ pose[:, :3]
    assert z < 0  # in front
    assert view.cx + view.fx * x / -z == pytest.approx(column + 0.5, abs=1e-2)
    assert view.cy - view.fy * y / -z == pytest.approx(row + 0.5, abs=1e-2)


def test_scaled_camera_sees_the_same_picture():
    large, small = camera(40, 30), camera(40, 30).scaled(0.5)
    corner = large.rays()[1].reshape(30, 40, 3)[:2, :2].mean((0, 1))
    np.testing.assert_allclose(small.rays()[1][0], corner / np.linalg.norm(corner), atol=1e-4)


def dictionary_field(ops):
    header = field_header(
        DifSizes(coefficient_side=4, basis_sides=(4, 5, 6, 7, 8, 9)), [LOW, HIGH],
        samples_per_diagonal=SAMPLES, background=(51, 178, 255), occupancy_side=8,
    )
    rng = np.random.default_rng(0)
    tensors = [rng.normal(0, 2 if t.shape[0] > 1 else 0.5, t.shape) for t in header.tensors]
    return header, build(header, tensors, ops)


def test_render_camera_uses_the_header():
    header, field = dictionary_field(NumpyOps())
    view, occupancy, seen = camera(), occupied(5, header.occupancy_shape), []
    picture = render_camera(
        field, occupancy, view, header, chunk=500, on_progress=lambda *done: seen.append(done)
    )
    assert picture.rgb.shape == (30, 40, 3)
    assert picture.depth.shape == picture.opacity.shape == (30, 40)
    expected = render(field, occupancy, *view.rays(), background=np.array([51, 178, 255]) / 255)
    np.testing.assert_allclose(picture.rgb.reshape(-1, 3), expected[0], atol=1e-5)
    assert seen == [(500, 1200), (1000, 1200), (1200, 1200)]
    with pytest.raises(UsageError, match="the header says"):
        render_camera(field, occupied(5, (3, 4, 5)), view, header)


def test_backends_agree_on_a_dictionary_field():
    pytest.importorskip("torch")
    header, ours = dictionary_field(NumpyOps())
    theirs = dictionary_field(fields.TorchOps("cpu"))[1]
    occupancy = occupied(5, header.occupancy_shape)
    a, b = (render_camera(f, occupancy, camera(), header) for f in (ours, theirs))
    assert 0.1 < a.opacity.mean() < 0.9
    difference = render_difference(b.rgb, a.rgb)
    assert difference.conforms and difference.psnr > 90


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("coded", [False, True])
def test_backends_agree_on_every_representation(name, coded):
    pytest.importorskip("torch")
    sizes = replace(SIZES[name], density_shift=0.0, density_scale=5.0)
    header = field_header(sizes, [LOW, HIGH], samples_per_diagonal=SAMPLES, occupancy_side=8)
    tensors = random_tensors(header, 1)
    occupancy = occupied(5, header.occupancy_shape) if coded else None
    a, b = (render_camera(build(header, tensors, ops), occupancy, camera(), header)
            for ops in (NumpyOps(), fields.TorchOps("cpu")))
    assert 0.1 < a.opacity.mean() < 0.95 and a.rgb.std() > 0.02
    difference = render_difference(b.rgb, a.rgb)
    assert difference.conforms
    solid = (a.opacity >= 0.5) & (b.opacity >= 0.5)
    assert np.abs(a.depth - b.depth)[solid].max(initial=0) <= DIAGONAL / SAMPLES / 2  # R-RND-18


class LinearLight(Ball):
    def radiance(self, features, directions, rays=None):
        return super().radiance(features, directions, rays) ** 2.2


@pytest.mark.parametrize(
    "mistake", ["none", "pixel corner", "sample offset", "linear light", "channels", "axes"]
)
def test_tolerance_catches_common_mistakes(mistake):
    view, occupancy = camera(20, 15), occupied(2, (5, 6, 6), 0.7)
    right = wrong = render(Ball(), occupancy, *view.rays(), early_stop=0)[0]
    if mistake == "pixel corner":
        view = replace(view, cx=view.cx + 0.5, cy=view.cy + 0.5)
        wrong = render(Ball(), occupancy, *view.rays())[0]
    elif mistake == "sample offset":
        wrong = render_by_the_text(Ball(), occupancy, *view.rays(), offset=0)[0]
    elif mistake == "linear light":
        wrong = render(LinearLight(), occupancy, *view.rays(), background=BACKGROUND**2.2)[0]
        wrong **= 1 / 2.2
    elif mistake == "channels":
        wrong = right[:, ::-1]
    elif mistake == "axes":
        wrong = render(Ball(), occupancy.swapaxes(1, 2), *view.rays())[0]
    assert render_difference(wrong[:, None], right[:, None]).conforms == (mistake == "none")


def test_text_and_code_name_the_same_limits():
    text = (ROOT / "spec/09-rendering.md").read_text()
    identifiers = re.findall(r"\*\*R-RND-(\d\d)\*\*", text)
    assert sorted(map(int, identifiers)) == list(range(1, len(identifiers) + 1))
    rules = dict(zip(identifiers, re.split(r"\*\*R-RND-\d\d\*\*", text)[1:]))
    assert "smaller than 1e−12" in rules["05"] and march._SMALLEST_DIRECTION == 1e-12
    assert "`T < 1e−4`" in rules["12"] and march.EARLY_STOP == 1e-4
    assert "60 dB" in rules["16"] and metrics.RENDER_MIN_PSNR == 60
    assert "exceed 1/64" in rules["17"] and metrics.RENDER_MAX_ERROR == 1 / 64
    assert "`u_i + 1e−5`" in rules["22"] and march._EVEN_SHARE == 1e-5


def test_numpy_rendering_does_not_import_torch():
    code = (
        "import sys, refcodec.rendering.march, refcodec.rendering.paths\n"
        "import refcodec.rendering.pictures, refcodec.evaluation.metrics\n"
        "sys.exit('torch' in sys.modules or 'imageio_ffmpeg' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@settings(max_examples=50)
@given(st.integers(0, 5), st.integers(1, 9), st.integers(0, 2**32))
def test_extremes_along_the_last_axis(rows, columns, seed):
    a = np.random.default_rng(seed).integers(-3, 4, (rows, columns)).astype(np.float32)
    xp = arrays_of(Ball())
    np.testing.assert_array_equal(xp.smallest(a), a.min(1))
    np.testing.assert_array_equal(xp.largest(a), a.max(1))


def test_without_a_gpu_numpy_evaluates(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_ops("auto").name == choose_ops("numpy").name == "numpy"
    assert choose_ops("torch").device.type == "cpu"
