"""Dictionary fields: both array libraries, gradients, borders (spec chapter 8)."""
import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from refcodec import fields
from refcodec.errors import UsageError
from refcodec.fields import DifSizes, NumpyOps, TorchOps, dif_header
from refcodec.syntax.headers import Alignment, Mapping, Representation, Role, TensorInfo

SMALL = DifSizes(coefficient_side=4, basis_sides=(3, 5), basis_channels=(3, 2), frequencies=(2.0, 3.2),
                 fusion_hidden=8, features=5, render_hidden=8)
BOX = ((-1.0, -0.5, 0.25), (1.0, 1.0, 1.5))


def random_tensors(header, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 0.7, info.shape).astype(np.float32) for info in header.tensors]


def literal_field(header, tensors, x, direction):
    """Chapter 8 for a single point in float64, written with loops, from the text alone."""
    low, high = (np.array(corner) for corner in header.box)
    named = {(info.role, info.index): (info, np.asarray(t, np.float64))
             for info, t in zip(header.tensors, tensors)}

    def lookup(info, grid):
        p = []
        for axis in range(3):
            size = info.shape[3 - axis]
            if info.mapping == Mapping.SAWTOOTH:
                s = (high - low).max() / (info.frequency / 65536)
                u = (x[axis] - low[axis]) / s
                u -= np.floor(u)
            else:
                u = min(max((x[axis] - low[axis]) / (high[axis] - low[axis]), 0), 1)
            q = u * (size - 1) if info.alignment == Alignment.CORNERS else min(max(u * size - 0.5, 0), size - 1)
            p.append(q)
        total = 0
        for z in range(info.shape[1]):
            for y in range(info.shape[2]):
                for w in range(info.shape[3]):
                    weight = np.prod([max(0, 1 - abs(q - i)) for q, i in zip(p, (w, y, z))])
                    total = total + weight * grid[:, z, y, w]
        return total

    def layer(h, weight_role, bias_role, i, last):
        h = named[weight_role, i][1][0, 0] @ h
        if (bias_role, i) in named:
            h = h + named[bias_role, i][1].reshape(-1)
        return h if last else np.maximum(h, 0)

    basis = np.concatenate([lookup(*named[Role.DIF_BASIS, i]) for i in range(len(SMALL.basis_sides))])
    h = lookup(*named[Role.DIF_COEFFICIENT, 0]) * basis
    for i in range(2):
        h = layer(h, Role.FUSION_WEIGHT, Role.FUSION_BIAS, i, i == 1)
    sigma = header.parameters.density_scale * np.log(1 + np.exp(h[0] + header.parameters.density_shift))
    inputs = [*h[1:], *direction]
    for values, count in ((h[1:], 2), (direction, 6)):
        inputs += [np.sin(v * 2.0**k) for v in values for k in range(count)]
        inputs += [np.cos(v * 2.0**k) for v in values for k in range(count)]
    h = np.array(inputs)
    for i in range(3):
        h = layer(h, Role.RENDER_WEIGHT, Role.RENDER_BIAS, i, i == 2)
    return sigma, 1 / (1 + np.exp(-h))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_field_equals_a_literal_reading_of_the_chapter(seed, unit):
    sizes = dataclasses.replace(SMALL, density_shift=-0.5)
    header = dif_header(sizes, BOX)
    tensors = random_tensors(header, seed)
    low, high = (np.array(corner) for corner in header.box)
    x = (low + (high - low) * np.array(unit)).astype(np.float32)
    field = fields.build(header, tensors)
    sigma, features = field.density(x[None])
    # The sawtooth jumps at the end of a period, where rounding may pick either side (8.3).
    for f in sizes.frequencies:
        u = (x - low) * f / (high - low).max()
        assume(np.abs(u - np.round(u)).min() > 1e-5)
    direction = np.array([0.48, -0.6, 0.64])
    expected_sigma, expected_rgb = literal_field(header, tensors, x.astype(np.float64), direction)
    rgb = field.radiance(features, direction[None].astype(np.float32))
    np.testing.assert_allclose(sigma[0], expected_sigma, rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(rgb[0], expected_rgb, atol=2e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 40))
def test_numpy_and_torch_agree(seed, count):
    pytest.importorskip("torch")
    header = dif_header(SMALL, BOX)
    tensors = random_tensors(header, seed)
    rng = np.random.default_rng(seed)
    low, high = header.box
    x = rng.uniform(low, high, (count, 3)).astype(np.float32)
    directions = rng.normal(size=(7, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rays = rng.integers(0, 7, count)
    results = []
    for ops in (NumpyOps(), TorchOps("cpu")):
        field = fields.build(header, tensors, ops)
        index = rays if ops.name == "numpy" else ops.torch.from_numpy(rays)
        sigma, features = field.density(ops.asarray(x))
        shared = field.radiance(features, ops.asarray(directions), index)
        single = field.radiance(features, ops.asarray(directions[rays]))
        results.append([ops.to_numpy(a) for a in (sigma, features, shared, single)])
    for a, b in zip(*results):
        assert a.shape == b.shape and a.dtype == b.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(results[0][2], results[0][3], atol=2e-5)


def test_interpolation_gradient():
    torch = pytest.importorskip("torch")
    from refcodec.fields.interpolation import interpolate

    generator = torch.Generator().manual_seed(1)
    table = torch.rand((20, 3), generator=generator, dtype=torch.float64, requires_grad=True)
    corners = torch.randint(0, 20, (8, 9), generator=generator)
    weights = torch.rand((8, 9), generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda t: interpolate(t, corners, weights), (table,))


def test_training_gradient_reaches_every_tensor():
    torch = pytest.importorskip("torch")
    header = dif_header(SMALL, BOX)
    ops = TorchOps("cpu")
    tensors = [ops.asarray(t).requires_grad_() for t in random_tensors(header)]
    field = fields.build(header, tensors, ops)
    low, high = header.box
    x = torch.rand((200, 3), generator=torch.Generator().manual_seed(0)) * field._extent + field.box_min
    sigma, features = field.density(x)
    rgb = field.radiance(features, torch.tensor([[0.0, 0.6, 0.8]]), torch.zeros(200, dtype=torch.long))
    (sigma.sum() + rgb.sum()).backward()
    for info, tensor in zip(header.tensors, tensors):
        assert tensor.grad is not None and tensor.grad.abs().sum() > 0, info


@pytest.mark.parametrize("alignment", list(Alignment))
@pytest.mark.parametrize("side", [1, 2, 5])
def test_linear_grid_is_clamped_at_the_border(alignment, side):
    header = dif_header(SMALL, ((-1, -1, -1), (1, 1, 1)))
    field = fields.build(header, random_tensors(header))
    info = TensorInfo(Role.DIF_COEFFICIENT, 0, (1, side, side, side), 16, Mapping.LINEAR, alignment)
    x = np.array([[-1, -1, -1], [1, 1, 1], [-1.5, 1.5, 0]], np.float32)
    p = field._position(info, x)
    assert p.min() >= 0 and p.max() <= side - 1
    np.testing.assert_array_equal(p[0], 0)
    np.testing.assert_array_equal(p[1], side - 1)
    grid = np.arange(side**3, dtype=np.float32).reshape(1, side, side, side)
    ops = NumpyOps()
    value = ops.interpolate(ops.table(grid), *ops.corners(p, info.shape[1:]))
    assert value[0, 0] == 0 and value[1, 0] == side**3 - 1
    middle = (side - 1) / 2
    assert value[2, 0] == pytest.approx((middle * side + side - 1) * side)


def test_header_of_the_published_sizes():
    header = dif_header(DifSizes(32, (25, 39, 54, 69, 84, 99), (4, 4, 4, 2, 2, 2),
                                 (1.94, 3.10, 4.27, 5.43, 6.59, 7.76), render_hidden=128), ((-1, -1, -1), (1, 1, 1)))
    grids = [t for t in header.tensors if t.mapping != Mapping.NONE]
    assert grids[0].shape == (18, 32, 32, 32)
    assert sum(t.size for t in grids) == pytest.approx(5_308_416, rel=0.01)
    assert header.tensors[-1].shape == (1, 1, 3, 128)
    assert next(t for t in header.tensors if t.role == Role.RENDER_WEIGHT).shape == (1, 1, 128, 194)
    assert header.box == ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0))


@given(st.lists(st.floats(-1e3, 1e3), min_size=3, max_size=3), st.lists(st.floats(1e-2, 1e3), min_size=3, max_size=3))
def test_header_box_contains_the_given_box(low, extent):
    high = [a + e for a, e in zip(low, extent)]
    header = dif_header(SMALL, (low, high))
    unit = 2.0**header.aabb_exponent
    for a, b, lo, hi in zip(*header.box, low, high):
        assert lo - unit <= a <= lo and hi <= b <= hi + unit
    assert all(abs(v) < 2**31 for v in header.aabb_min + header.aabb_max)
    assert max(header.occupancy_dims) == 64


def test_unknown_representation_is_refused():
    header = dataclasses.replace(dif_header(SMALL, BOX), representation=Representation.MLP)
    with pytest.raises(UsageError):
        fields.build(header, random_tensors(header))


def test_numpy_fields_do_not_import_torch():
    code = "import sys, refcodec.fields as f; f.NumpyOps(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
