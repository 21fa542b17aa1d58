"""Fields of all representations: both array libraries, gradients, borders (spec chapter 8)."""
import dataclasses
import itertools
import math
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, example, given, settings, strategies as st

from checkout import ROOT
from refcodec import fields
from refcodec.fields import DifSizes, GridSizes, MlpSizes, NumpyOps, TriplaneSizes, VmSizes, field_header
from refcodec.fields.grids import Grids
from refcodec.syntax.headers import Alignment, Mapping, Representation, Role, TensorInfo
from refcodec.syntax.tensor_list import tensor_list_fault

SMALL = DifSizes(coefficient_side=4, basis_sides=(3, 5), basis_channels=(3, 2), frequencies=(2.0, 3.2),
                 fusion_hidden=8, features=5, render_hidden=8, density_shift=-0.5)
SMALL_VM = VmSizes(2, 3, 5, features=4, render_hidden=6, density_shift=-0.5, grid_frac_bits=20)
SIZES = {
    "dif": SMALL,
    "vm": SMALL_VM,
    "vm-products": VmSizes(3, 2, 4, features=0, render_hidden=6, density_shift=0.5, feature_frequencies=0),
    "triplane": TriplaneSizes(3, 6, 3, features=5, render_hidden=7, density_shift=-1.0),
    "triplane-values": TriplaneSizes(2, 4, 5, features=0, render_hidden=7, direction_frequencies=0),
    "grid": GridSizes(4, 3, 5, render_hidden=6, density_shift=1.0),
    "grid-matrix": GridSizes(3, 5, 4, features=2, render_hidden=6, density_shift=-1.0),
    "mlp": MlpSizes(position_frequencies=2, hidden_layers=3, hidden=9, features=4, render_hidden=8,
                    coarse_samples=5, fine_samples=7),
    "mlp-plain": MlpSizes(position_frequencies=0, hidden_layers=1, hidden=9, skip_layer=0, features=1,
                          render_hidden=8, feature_frequencies=1),
}
DEFAULTS = (DifSizes(), VmSizes(), TriplaneSizes(), GridSizes(), MlpSizes())
BOX = ((-1.0, -0.5, 0.25), (1.0, 1.0, 1.5))
_NETWORKS = {Role.FUSION_WEIGHT, Role.FUSION_BIAS, Role.RENDER_WEIGHT, Role.RENDER_BIAS, Role.COARSE_WEIGHT,
             Role.COARSE_BIAS}


def random_tensors(header, seed=0, scale=0.7):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, scale, info.shape).astype(np.float32) for info in header.tensors]


def varied(header, rng):
    """The header with other sizes, mappings and alignments of its grids, as far as R-SEQ-16 lets them vary."""
    def vary(t):
        if t.role in _NETWORKS:
            return t
        shape = (t.shape[0], *(n if n == 1 else int(rng.integers(1, 7)) for n in t.shape[1:]))
        sawtooth = t.role != Role.DIF_COEFFICIENT and rng.random() < 0.3
        return dataclasses.replace(t, shape=shape, alignment=Alignment(int(rng.integers(2))),
                                   mapping=Mapping.SAWTOOTH if sawtooth else Mapping.LINEAR,
                                   frequency=int(rng.integers(1 << 16, 5 << 16)) if sawtooth else 0)
    header = dataclasses.replace(header, tensors=tuple(map(vary, header.tensors)))
    assert tensor_list_fault(header) is None
    return header


class Literal:
    """Chapter 8 for single points in double precision, from the text alone: no array operation."""

    def __init__(self, header, tensors):
        self.header, self.p = header, header.parameters
        self.low, self.high = header.box
        self.tensors = {(t.role, t.index): (t, np.asarray(values, np.float64).tolist())
                        for t, values in zip(header.tensors, tensors)}

    def coordinate(self, info, axis, v):  # R-FLD-05
        low, high = self.low[axis], self.high[axis]
        if info.mapping == Mapping.LINEAR:
            return min(max((v - low) / (high - low), 0), 1)
        longest = max(b - a for a, b in zip(self.low, self.high))
        u = (v - low) * (info.frequency * 2.0**-16) / longest
        return u - math.floor(u)

    def lookup(self, role, index, x):  # R-FLD-06, R-FLD-07
        info, grid = self.tensors[role, index]
        corners = []
        for axis in range(3):
            n, u = info.shape[3 - axis], self.coordinate(info, axis, x[axis])
            p = u * (n - 1) if info.alignment == Alignment.CORNERS else min(max(u * n - 0.5, 0), n - 1)
            i = min(math.floor(p), max(n - 2, 0))
            corners.append([(i, 1 - (p - i)), (min(i + 1, n - 1), p - i)])
        return [sum(channel[k][j][i] * a * b * c for (i, a), (j, b), (k, c) in itertools.product(*corners))
                for channel in grid]

    def network(self, name, h, skip=0):  # R-FLD-08, R-FLD-19
        weights, biases, layer, first = Role[f"{name}_WEIGHT"], Role[f"{name}_BIAS"], 0, h
        while (weights, layer) in self.tensors:
            if layer:
                h = [max(v, 0) for v in h]
            if skip and layer == skip:
                h = h + first
            matrix = self.tensors[weights, layer][1][0][0]
            bias = self.tensors[biases, layer][1][0][0][0] if (biases, layer) in self.tensors else [0] * len(matrix)
            assert len(matrix) == len(bias) and len(matrix[0]) == len(h)
            h = [sum(w * v for w, v in zip(row, h)) + b for row, b in zip(matrix, bias)]
            layer += 1
        return h

    @staticmethod
    def encode(values, n):  # R-FLD-09
        return [f(2.0**k * v) for f in (math.sin, math.cos) for v in values for k in range(n)]

    def point(self, x):
        """Density feature and features: 8.2 and 8.6 to 8.9."""
        def product(planes, lines):
            return [[p * q for p, q in zip(self.lookup(planes, k, x), self.lookup(lines, k, x))] for k in range(3)]

        match self.header.representation:
            case Representation.DIF:
                bases = [v for k in range(sum(t.role == Role.DIF_BASIS for t in self.header.tensors))
                         for v in self.lookup(Role.DIF_BASIS, k, x)]
                f = self.network("FUSION", [a * b for a, b in zip(self.lookup(Role.DIF_COEFFICIENT, 0, x), bases)])
                return f[0], f[1:]
            case Representation.VM:
                f = sum(map(sum, product(Role.DENSITY_PLANE, Role.DENSITY_LINE)))
                h = [*itertools.chain(*product(Role.FEATURE_PLANE, Role.FEATURE_LINE))]
                return f, self.network("FUSION", h)
            case Representation.TRIPLANE:
                h = [v for k in range(3) for v in self.lookup(Role.FEATURE_PLANE, k, x)]
                return self.lookup(Role.DENSITY_GRID, 0, x)[0], self.network("FUSION", h)
            case Representation.GRID:
                return (self.lookup(Role.DENSITY_GRID, 0, x)[0],
                        self.network("FUSION", self.lookup(Role.FEATURE_GRID, 0, x)))
            case Representation.MLP:
                f = self.network("FUSION", self.position(x), self.p.skip_layer)
                return f[0], f[1:]

    def position(self, x):  # R-FLD-17, R-FLD-18
        v = [2 * (x[a] - self.low[a]) / (self.high[a] - self.low[a]) - 1 for a in range(3)]
        return v + self.encode(v, self.p.position_frequencies)

    def sigma(self, feature):  # R-FLD-04
        return self.p.density_scale * math.log(1 + math.exp(feature + self.p.density_shift))

    def coarse(self, x):
        return self.sigma(self.network("COARSE", self.position(x), self.p.skip_layer)[0])

    def __call__(self, x, d):
        """Density and colour at x, seen in direction d."""
        feature, g = self.point(x)
        inputs = [*g, *d, *self.encode(g, self.p.feature_frequencies), *self.encode(d, self.p.direction_frequencies)]
        return self.sigma(feature), [1 / (1 + math.exp(-y)) for y in self.network("RENDER", inputs)]

    def jumps(self, x):
        """Whether rounding may put x on the other side of a sawtooth's end (8.3)."""
        longest = max(b - a for a, b in zip(self.low, self.high))
        u = [(v - a) * t.frequency / 65536 / longest for t in self.header.tensors if t.mapping == Mapping.SAWTOOTH
             for v, a in zip(x, self.low)]
        return any(abs(v - round(v)) < 1e-4 for v in u)


def ops_of(library):
    if library == "torch":
        pytest.importorskip("torch")
        return fields.TorchOps()
    return NumpyOps()


def some_field(name, seed, vary):
    """A header, tensors for it, and the field that they make in numpy."""
    header = field_header(SIZES[name], BOX)
    if vary:
        header = varied(header, np.random.default_rng(seed))
    tensors = random_tensors(header, seed)
    return header, tensors, fields.build(header, tensors)


def points(header, count, rng):
    low, high = header.box
    return rng.uniform(low, high, (count, 3)).astype(np.float32)


def unit_vectors(count, rng):
    d = rng.normal(size=(count, 3))
    return (d / np.linalg.norm(d, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("name", SIZES)
@settings(max_examples=12)
@given(seed=st.integers(0, 2**31), vary=st.booleans(), unit=st.tuples(*[st.floats(0, 1)] * 3))
@example(seed=0, vary=False, unit=(0.0, 0.0, 0.0))
@example(seed=1, vary=False, unit=(1.0, 1.0, 1.0))
def test_field_equals_a_literal_reading_of_the_chapter(name, seed, vary, unit):
    header, tensors, field = some_field(name, seed, vary)
    literal = Literal(header, tensors)
    low, high = map(np.array, header.box)
    x = np.clip(low + (high - low) * np.array(unit), low, high).astype(np.float32)
    assume(not literal.jumps(x.tolist()))
    d = unit_vectors(1, np.random.default_rng(seed))
    sigma, rows = field.density(x[None])
    expected_sigma, expected_rgb = literal(x.tolist(), d[0].tolist())
    np.testing.assert_allclose(sigma[0], expected_sigma, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(field.radiance(rows, d)[0], expected_rgb, atol=1e-3)
    if field.coarse_samples:
        np.testing.assert_allclose(field.coarse_density(x[None])[0], literal.coarse(x.tolist()), rtol=1e-3)


@pytest.mark.parametrize("name", SIZES)
@settings(max_examples=8)
@given(seed=st.integers(0, 2**31), vary=st.booleans(), count=st.integers(0, 40))
def test_numpy_and_torch_agree(name, seed, vary, count):
    torch = pytest.importorskip("torch")
    header, tensors, _ = some_field(name, seed, vary)
    literal, rng = Literal(header, tensors), np.random.default_rng(seed)
    x = points(header, count, rng)
    x = x[[not literal.jumps(row) for row in x.tolist()]]
    directions, rays = unit_vectors(7, rng), rng.integers(0, 7, len(x))
    results = []
    for ops in map(ops_of, ("numpy", "torch")):
        field = fields.build(header, tensors, ops)
        index = rays if ops.name == "numpy" else torch.from_numpy(rays)
        sigma, rows = field.density(ops.asarray(x))
        shared = field.radiance(rows, ops.asarray(directions), index)
        single = field.radiance(rows, ops.asarray(directions[rays]))
        coarse = field.coarse_density(ops.asarray(x)) if field.coarse_samples else sigma
        results.append([ops.to_numpy(a) for a in (sigma, coarse, shared, single)])
    for a, b in zip(*results):
        assert a.shape == b.shape and a.dtype == b.dtype == np.float32 and len(a) == len(x)
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(results[0][2], results[0][3], atol=1e-4)


# Gradients.


def test_interpolation_gradient():
    torch = pytest.importorskip("torch")
    from refcodec.fields.interpolation import interpolate

    generator = torch.Generator().manual_seed(1)
    table = torch.rand((20, 3), generator=generator, dtype=torch.float64, requires_grad=True)
    for corners in (1, 2, 4, 8):
        index = torch.randint(0, 20, (corners, 9), generator=generator)
        weights = torch.rand((corners, 9), generator=generator, dtype=torch.float64)
        assert torch.autograd.gradcheck(partial(interpolate, corners=index, weights=weights), (table,))


def double_ops(torch):
    """TorchOps in double precision, which finite differences need."""
    class DoubleOps(fields.TorchOps):
        def asarray(self, a):
            return super().asarray(a).double() if not torch.is_tensor(a) else a.double()

    return DoubleOps("cpu")


@pytest.mark.parametrize("name", SIZES)
def test_training_gradients_are_those_of_finite_differences(name):
    torch = pytest.importorskip("torch")
    header, values, _ = some_field(name, 3, False)
    ops, rng = double_ops(torch), np.random.default_rng(4)
    x, d, rays = points(header, 60, rng), unit_vectors(5, rng), torch.from_numpy(rng.integers(0, 5, 60))
    x, d = ops.asarray(x), ops.asarray(d)
    colours, densities = (ops.asarray(rng.normal(size=shape)) for shape in ((60, 3), (60,)))
    weights, halves = colours, densities * 0.3

    def loss(tensors):
        field = fields.build(header, tensors, ops)
        sigma, rows = field.density(x)
        total = (field.radiance(rows, d, rays) * weights).sum() + (sigma * halves).sum()
        return total + (field.coarse_density(x) * halves).sum() if field.coarse_samples else total

    tensors = [ops.asarray(t).requires_grad_() for t in values]
    loss(tensors).backward()
    step = 1e-6
    for i, (info, tensor) in enumerate(zip(header.tensors, tensors)):
        assert tensor.grad is not None and tensor.grad.abs().sum() > 0, info
        direction = ops.asarray(rng.normal(size=info.shape))
        with torch.no_grad():
            ends = [loss([t + sign * step * direction if j == i else t for j, t in enumerate(tensors)])
                    for sign in (-1, 1)]
        expected = float(ends[1] - ends[0]) / (2 * step)
        assert float((tensor.grad * direction).sum()) == pytest.approx(expected, rel=1e-4, abs=1e-5), info


# Grids, planes and lines.


def grids_of(info, values, box=((-1, -1, -1), (1, 1, 1))):
    return Grids(box, [(info, np.asarray(values, np.float32))], NumpyOps())


@pytest.mark.parametrize("alignment", list(Alignment))
@pytest.mark.parametrize("side", [1, 2, 5])
def test_linear_grid_is_clamped_at_the_border(alignment, side):
    info = TensorInfo(Role.DIF_COEFFICIENT, 0, (1, side, side, side), 16, Mapping.LINEAR, alignment)
    grids = grids_of(info, np.arange(side**3).reshape(1, side, side, side))
    x = np.array([[-1, -1, -1], [1, 1, 1], [-1.5, 1.5, 0]], np.float32)
    p = grids.position((info.mapping, alignment, 0), (side,) * 3, x)
    assert p.min() >= 0 and p.max() <= side - 1
    np.testing.assert_array_equal(p[0], 0)
    np.testing.assert_array_equal(p[1], side - 1)
    value = grids(x)[0]
    assert value[0, 0] == 0 and value[1, 0] == side**3 - 1
    middle = (side - 1) / 2
    assert value[2, 0] == pytest.approx((middle * side + side - 1) * side)


@settings(max_examples=60)
@given(st.integers(0, 2**31), st.tuples(*[st.integers(1, 6)] * 3), st.sampled_from(Alignment))
def test_samples_have_their_values_at_their_places(seed, sides, alignment):
    """A grid, plane or line gives the stored values at its lattice points, whatever the other coordinates are."""
    rng = np.random.default_rng(seed)
    low, high = map(np.array, BOX)
    info = TensorInfo(Role.FEATURE_PLANE, 0, (2, *sides[::-1]), 16, Mapping.LINEAR, alignment)
    grid = rng.normal(size=info.shape)
    for index in itertools.product(*map(range, sides)):
        i, n = np.array(index), np.array(sides)
        place = i / np.maximum(n - 1, 1) if alignment == Alignment.CORNERS else (i + 0.5) / n
        place = np.where(n == 1, rng.random(3), place)
        value = grids_of(info, grid, BOX)((low + (high - low) * place)[None].astype(np.float32))[0][0]
        np.testing.assert_allclose(value, grid[:, index[2], index[1], index[0]], atol=1e-4)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_grids_of_zeros_are_not_looked_up_and_change_nothing(library, monkeypatch):
    ops = ops_of(library)
    header = field_header(DifSizes(3, (4, 5), (2, 3), (1.0, 2.0), fusion_hidden=4, features=2, render_hidden=4), BOX)
    rng = np.random.default_rng(1)
    tensors = [rng.normal(size=t.shape).astype(np.float32) for t in header.tensors]
    tensors[2][:] = 0
    points = rng.uniform(*BOX, (40, 3)).astype(np.float32)
    faint = [t.copy() for t in tensors]
    faint[2][0, 0, 0, 0] = 1e-30
    looked_up, interpolate = [], ops.interpolate
    monkeypatch.setattr(ops, "interpolate", lambda table, *rest: looked_up.append(1) or interpolate(table, *rest))
    results = []
    for values in (tensors, faint):
        looked_up.clear()
        sigma, rows = fields.build(header, values, ops).density(ops.asarray(points))
        results.append((len(looked_up), ops.to_numpy(sigma), ops.to_numpy(rows)))
    assert results[0][0] == 2 and results[1][0] == 3
    for a, b in zip(results[0][1:], results[1][1:]):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("shape", list(itertools.product((1, 4), repeat=3)))
def test_axes_with_one_sample_cost_nothing(library, shape):
    ops = ops_of(library)
    p = ops.asarray(np.random.default_rng(0).uniform(0, 3, (50, 3)))
    index, weight = (ops.to_numpy(a) for a in ops.corners(*ops.cells(p, shape[::-1]), shape))
    assert index.shape == weight.shape == (2 ** sum(n > 1 for n in shape), 50)
    np.testing.assert_allclose(weight.sum(0), 1, atol=1e-6)
    assert index.min() >= 0 and index.max() <= math.prod(shape) - 1


@settings(max_examples=10)
@given(st.integers(0, 2**31))
def test_vector_matrix_factors_equal_the_grid_of_their_products(seed):
    header = field_header(SMALL_VM, BOX)
    tensors = random_tensors(header, seed)
    named = {(t.role, t.index): v for t, v in zip(header.tensors, tensors)}
    sides = [next(t.shape[3 - axis] for t in header.tensors if t.shape[3 - axis] > 1) for axis in range(3)]

    def dense(planes, lines):
        return [named[planes, k] * named[lines, k] for k in range(3)]  # (C, z, y, x) by broadcasting

    density = sum(g.sum(0, keepdims=True) for g in dense(Role.DENSITY_PLANE, Role.DENSITY_LINE))
    feature = np.concatenate(dense(Role.FEATURE_PLANE, Role.FEATURE_LINE))
    assert density.shape == (1, *sides[::-1]) and feature.shape == (9, *sides[::-1])
    networks = [(t, v) for t, v in zip(header.tensors, tensors) if t.role in _NETWORKS]
    infos = [TensorInfo(Role.DENSITY_GRID, 0, density.shape, 16, Mapping.LINEAR),
             TensorInfo(Role.FEATURE_GRID, 0, feature.shape, 16, Mapping.LINEAR), *(t for t, _ in networks)]
    voxels = dataclasses.replace(header, representation=Representation.GRID, tensors=tuple(infos))
    assert tensor_list_fault(voxels) is None

    rng = np.random.default_rng(seed)
    x, d = points(header, 50, rng), unit_vectors(50, rng)
    (sigma, rgb), (other_sigma, other_rgb) = [
        (field.density(x)[0], field.radiance(field.density(x)[1], d))
        for field in (fields.build(header, tensors),
                      fields.build(voxels, [density, feature, *(v for _, v in networks)]))]
    np.testing.assert_allclose(sigma, other_sigma, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(rgb, other_rgb, atol=1e-3)


# Numbers.


@pytest.mark.parametrize("library", ["numpy", "torch"])
@pytest.mark.parametrize("sizes", DEFAULTS, ids=lambda sizes: type(sizes).__name__)
def test_any_stream_gives_finite_numbers(sizes, library):
    """R-RND-15, with tensors and parameters as large as a bitstream may have them."""
    ops, rng = ops_of(library), np.random.default_rng(0)
    for mixed in (False, True, True, True):
        header = field_header(dataclasses.replace(sizes, density_shift=1e6, density_scale=1e6,
                                                  direction_frequencies=16), BOX)
        tensors = [rng.uniform(-1 if mixed else 1, 1, t.shape) * 2.0**31 for t in header.tensors]
        field = fields.build(header, tensors, ops)
        x, d = ops.asarray(points(header, 20, rng)), ops.asarray(unit_vectors(20, rng))
        # One point at a time as well: fused products and sums of many may hide an overflow.
        with np.errstate(over="raise", invalid="raise"):
            for part in (slice(None), *(slice(n, n + 1) for n in range(20))):
                sigma, rows = field.density(x[part])
                rgb = ops.to_numpy(field.radiance(rows, d[part]))
                assert np.isfinite(ops.to_numpy(sigma)).all() and np.isfinite(rgb).all()
                assert rgb.min() >= 0 and rgb.max() <= 1


# Header builders.

_positive = st.floats(1e-2, 1e3)
_boxes = st.tuples(st.tuples(*[st.floats(-1e3, 1e3)] * 3), st.tuples(*[_positive] * 3)).map(
    lambda v: (v[0], tuple(a + e for a, e in zip(*v))))


@settings(max_examples=40)
@given(_boxes, st.sampled_from([*SIZES.values(), *DEFAULTS]))
def test_headers_describe_fields_over_the_given_box(aabb, sizes):
    header = field_header(sizes, aabb, ticks_per_second=30, samples_per_diagonal=200, background=(1, 2, 3))
    assert tensor_list_fault(header) is None
    unit = 2.0**header.aabb_exponent
    for a, b, lo, hi in zip(*header.box, *aabb):
        assert lo - unit <= a <= lo and hi <= b <= hi + unit
    assert all(abs(v) < 2**23 for v in header.aabb_min + header.aabb_max)
    assert max(header.occupancy_dims) == 64
    assert all(1 <= n <= 4096 for t in header.tensors for n in t.shape)
    assert (header.ticks_per_second, header.samples_per_diagonal, header.background) == (30, 200, (1, 2, 3))


def test_a_box_without_extent_is_refused():
    with pytest.raises(ValueError, match="empty"):
        field_header(VmSizes(), ((1, 0, 0), (0, 1, 1)))


@settings(max_examples=40)
@given(st.tuples(*[st.floats(0.5, 2)] * 3), st.sampled_from([VmSizes(), TriplaneSizes(), GridSizes()]))
def test_cells_of_oblong_boxes_are_cubes(extent, sizes):
    header = field_header(sizes, ((0, 0, 0), extent))
    found = {}
    for t in header.tensors:
        if t.mapping == Mapping.LINEAR:
            for axis, n in enumerate(t.shape[:0:-1]):
                if n > 1:
                    found.setdefault(t.role, {}).setdefault(axis, set()).add(n)
    assert found
    for role, sides in found.items():
        assert all(len(n) == 1 for n in sides.values())  # planes and lines agree
        n = [sides[axis].copy().pop() for axis in range(3)]
        nominal = {Role.DENSITY_GRID: getattr(sizes, "density_side", 0), Role.FEATURE_GRID:
                   getattr(sizes, "feature_side", 0), Role.FEATURE_PLANE: getattr(sizes, "plane_side", 0)}
        cells = nominal.get(role) or sizes.resolution
        cell = math.prod(extent) ** (1 / 3) / cells
        assert all(abs(e / cell - k) <= 0.51 for e, k in zip(extent, n))


def test_header_of_the_published_dictionary_field():
    header = field_header(DifSizes(32, (25, 39, 54, 69, 84, 99), (4, 4, 4, 2, 2, 2),
                                 (1.94, 3.10, 4.27, 5.43, 6.59, 7.76), render_hidden=128), ((-1, -1, -1), (1, 1, 1)))
    grids = [t for t in header.tensors if t.mapping != Mapping.NONE]
    assert grids[0].shape == (18, 32, 32, 32)
    assert sum(t.size for t in grids) == pytest.approx(5_308_416, rel=0.01)
    assert header.tensors[-1].shape == (1, 1, 3, 128)
    assert next(t for t in header.tensors if t.role == Role.RENDER_WEIGHT).shape == (1, 1, 128, 194)
    assert header.box == ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


def shapes(header, role):
    return [t.shape for t in header.tensors if t.role == role]


def test_header_of_published_vector_matrix_factors():
    header = field_header(VmSizes(16, 48, 300, features=27, render_hidden=128), ((-1.5,) * 3, (1.5,) * 3))
    assert shapes(header, Role.DENSITY_PLANE) == [(16, 300, 300, 1), (16, 300, 1, 300), (16, 1, 300, 300)]
    assert shapes(header, Role.FEATURE_LINE) == [(48, 1, 1, 300), (48, 1, 300, 1), (48, 300, 1, 1)]
    assert shapes(header, Role.FUSION_WEIGHT) == [(1, 1, 27, 144)] and not shapes(header, Role.FUSION_BIAS)
    assert shapes(header, Role.RENDER_WEIGHT) == [(1, 1, 128, 150), (1, 1, 128, 128), (1, 1, 3, 128)]


def test_header_of_the_published_network():
    sizes = MlpSizes(position_frequencies=10, hidden_layers=8, hidden=256, skip_layer=5, features=256,
                     render_hidden=128, coarse_samples=64, fine_samples=128)
    header = field_header(sizes, ((-1.5,) * 3, (1.5,) * 3))
    inputs = [63, 256, 256, 256, 256, 319, 256, 256, 256]
    assert [s[3] for s in shapes(header, Role.FUSION_WEIGHT)] == inputs == [
        s[3] for s in shapes(header, Role.COARSE_WEIGHT)]
    assert shapes(header, Role.FUSION_WEIGHT)[-1][2] == 257 and shapes(header, Role.COARSE_WEIGHT)[-1][2] == 1
    assert shapes(header, Role.RENDER_WEIGHT) == [(1, 1, 128, 283), (1, 1, 3, 128)]
    p = header.parameters
    assert (p.position_frequencies, p.skip_layer, p.coarse_samples, p.fine_samples) == (10, 5, 64, 128)


# Text and modules.


def test_requirements_are_numbered_without_gaps():
    text = (ROOT / "spec/08-field-evaluation.md").read_text()
    identifiers = [int(i) for i in re.findall(r"\*\*R-FLD-(\d\d)\*\*", text)]
    assert identifiers == list(range(1, len(identifiers) + 1))


def test_the_text_names_every_role_and_representation():
    text = (ROOT / "spec/08-field-evaluation.md").read_text()
    assert all(f"`{role.name}`" in text for role in Role)
    assert all(f"`{r.name}` ({r.value})" in text for r in Representation)


def test_numpy_fields_do_not_import_torch():
    code = "import sys, refcodec.fields as f; f.NumpyOps(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
