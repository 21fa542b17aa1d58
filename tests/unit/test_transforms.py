"""Integer transforms: against the text of the specification, at the extremes, and as an encoder sees them."""
from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import spec_decoder
from refcodec.syntax.coding import Transform, band_count, coefficient_shape
from refcodec.tensors import dct, passes, transforms, wavelet

LARGEST = 1 << 31
SIZES = (1, 1, 2, 3, 5, 7, 8, 9, 17)
MODES = [(Transform.NONE, 0), (Transform.BLOCK_DCT, 0), *((Transform.WAVELET, levels) for levels in range(1, 7))]

modes = st.sampled_from(MODES)
spatial_shapes = st.tuples(*[st.sampled_from(SIZES)] * 3).filter(lambda s: math.prod(s) <= 800)


def small_cases(coefficients):
    """(mode, spatial) with at most so many coefficients."""
    return st.tuples(modes, spatial_shapes).filter(
        lambda case: math.prod(coefficient_shape(*case[0], case[1])) <= coefficients)


def seeded(draw) -> np.random.Generator:
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


@st.composite
def integers(draw, shape, largest=LARGEST) -> np.ndarray:
    """Small numbers, any numbers, or the extremes with alternating or random signs: int64 of that shape."""
    rng, kind = seeded(draw), draw(st.sampled_from(["small", "any", "signs", "alternating"]))
    if kind == "small":
        return rng.integers(-40, 41, shape)
    if kind == "any":
        return rng.integers(-largest, largest, shape)
    positive = rng.random(shape) < 0.5 if kind == "signs" else np.indices(shape).sum(0) % 2 == rng.integers(2)
    return np.where(positive, largest - 1, -largest)


def tensor_info(spatial) -> dict:
    return dict(zip(("depth", "height", "width"), spatial))


def axes_of(spatial) -> int:
    return sum(n > 1 for n in spatial)


# Against the text.


@settings(max_examples=100)
@given(st.data(), small_cases(1600))
def test_inverse_is_that_of_the_text(data, case):
    mode, spatial = case
    coefficients = data.draw(integers(coefficient_shape(*mode, spatial)))
    expected = spec_decoder.namespace()["inverse_transform"](
        tensor_info(spatial), *mode, coefficients.reshape(-1).tolist())
    assert transforms.inverse(*mode, coefficients, spatial).reshape(-1).tolist() == expected


@settings(max_examples=70)
@given(modes, spatial_shapes)
def test_sizes_and_bands_are_those_of_the_text(mode, spatial):
    spec, info = spec_decoder.namespace(), tensor_info(spatial)
    shape = coefficient_shape(*mode, spatial)
    assert shape == spec["coefficient_size"](info, *mode)
    bands = transforms.band_map(*mode, spatial)
    assert bands.shape == shape
    step = max(1, bands.size // 500)
    assert bands.reshape(-1)[::step].tolist() == [spec["band_of"](info, *mode, p) for p in range(0, bands.size, step)]
    assert bands.max() < band_count(*mode) == spec["band_count"](*mode)


@settings(max_examples=70)
@given(st.data(), modes, spatial_shapes, st.sampled_from([0, 0.02, 0.3, 1]))
def test_support_is_that_of_the_text(data, mode, spatial, density):
    mask = seeded(data.draw).random(spatial) < density
    expected = spec_decoder.namespace()["support_cells"](tensor_info(spatial), *mode, np.flatnonzero(mask).tolist())
    support = transforms.support_mask(*mode, mask)
    assert support.shape == coefficient_shape(*mode, spatial)
    assert np.flatnonzero(support).tolist() == expected


def test_matrix_is_the_rounded_dct_of_the_text():
    u, i = np.mgrid[:8, :8]
    exact = np.where(u == 0, math.sqrt(1 / 8), 0.5) * np.cos((2 * i + 1) * u * math.pi / 16)
    assert (dct.matrix() == np.round(exact * 2**14)).all()
    assert dct.matrix().tolist() == spec_decoder.namespace()["DCT"]


# Extremes: the bounds that the text states.


def test_no_sum_of_the_dct_exceeds_its_bound():
    columns = np.abs(dct.matrix()).sum(0)
    assert columns.max() == 43284
    assert 43284 * LARGEST + (1 << 13) < 1 << 47


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 17, 32])
def test_lifting_steps_stay_within_their_bounds(n):
    """With, for every sample, the signs that make it largest in any step."""
    spec = spec_decoder.namespace()
    count = (n + 1) // 2
    steps = [(0, -1, 1817, 1.89), (1, 0, 3616, 4.34), (0, -1, -217, 2.35), (1, 0, -6497, 11.79)]
    largest = [0] * 4
    for stop in range(4):
        for k in range(n):
            # Responses to unit inputs have the signs sought; 2**20 keeps them clear of the rounding.
            signs = []
            for j in range(n):
                parts = [[(i == j) << 20 for i in range(count)], [(i == j) << 20 for i in range(count, n)]]
                for part, first, factor, _ in steps[: stop + 1]:
                    spec["lift"](parts[part], parts[1 - part], first, factor)
                changed = parts[steps[stop][0]]
                signs.append(1 if changed[k % len(changed)] >= 0 else -1)
            parts = [[s * LARGEST for s in signs[:count]], [s * LARGEST for s in signs[count:]]]
            for i, (part, first, factor, bound) in enumerate(steps):
                source = parts[1 - part]
                assert abs(factor) * 2 * max(map(abs, source)) + (1 << 11) < 1 << 46
                spec["lift"](parts[part], source, first, factor)
                largest[i] = max(largest[i], *map(abs, parts[part]))
                assert largest[i] <= bound * LARGEST
    # Not loosely so in the first two steps; in the others some of the signs cancel.
    assert largest[0] > 1.88 * LARGEST
    if n >= 5:
        assert largest[1] > 4.3 * LARGEST


# What an encoder relies on.


@settings(max_examples=100)
@given(st.data(), st.integers(1, 6), spatial_shapes)
def test_wavelet_reconstructs_perfectly(data, levels, spatial):
    values = data.draw(integers((2, *spatial), 1 << 24))
    coefficients = transforms.forward(Transform.WAVELET, levels, values)
    assert np.abs(coefficients).max() < LARGEST - 1
    assert (transforms.inverse(Transform.WAVELET, levels, coefficients, spatial) == values).all()


@settings(max_examples=100)
@given(st.data(), spatial_shapes)
def test_error_of_the_dct_round_trip(data, spatial):
    """The bound of `forward`. With A, the largest gain of an inverse pass, and e, the largest of the rounded matrix's
    departures from orthogonality: each axis turns an error E into A E + A / 2 + 1 / 2, and e adds (1 + e)^axes - 1."""
    matrix = dct.matrix()
    gain = np.abs(matrix).sum(0).max() / 2**14
    departure = np.abs(matrix.T @ matrix / 2**28 - np.eye(8)).sum(1).max()
    bound = 0.0
    for _ in range(axes_of(spatial)):
        bound = gain * bound + (gain + 1) / 2
    assert bound <= (0, 1.9, 6.7, 19.4)[axes_of(spatial)]
    assert (1 + departure) ** axes_of(spatial) - 1 <= (0, 2e-4, 4e-4, 6e-4)[axes_of(spatial)]
    values = data.draw(integers((2, *spatial), 1 << 24))
    coefficients = transforms.forward(Transform.BLOCK_DCT, 0, values)
    error = np.abs(transforms.inverse(Transform.BLOCK_DCT, 0, coefficients, spatial) - values).max()
    relative = (1 + departure) ** axes_of(spatial) - 1
    assert error <= bound * (1 + relative) + relative * np.abs(values).max()


@settings(max_examples=60)
@given(st.data(), modes, spatial_shapes)
def test_channels_are_transformed_by_themselves(data, mode, spatial):
    shape = coefficient_shape(*mode, spatial)
    coefficients = data.draw(integers((2, 3, *shape)))
    kept = coefficients.copy()
    values = transforms.inverse(*mode, coefficients, spatial)
    assert values.shape == (2, 3, *spatial) and values.dtype == np.int64
    assert (values[1, 2] == transforms.inverse(*mode, coefficients[1, 2], spatial)).all()
    assert (coefficients == kept).all()
    back = transforms.forward(*mode, values)
    assert (back[1, 2] == transforms.forward(*mode, values[1, 2])).all()
    assert (transforms.inverse(*mode, coefficients.astype(np.int32), spatial) == values).all()


@pytest.mark.parametrize("mode", MODES)
def test_pieces_do_not_show(monkeypatch, mode):
    spatial = (4, 9, 8)
    shape = coefficient_shape(*mode, spatial)
    coefficients = np.random.default_rng(5).integers(-LARGEST, LARGEST, (5, *shape))
    whole = transforms.inverse(*mode, coefficients, spatial)
    monkeypatch.setattr(passes, "PIECE", 2 * math.prod(shape))
    assert (transforms.inverse(*mode, coefficients, spatial) == whole).all()


def test_coefficients_of_another_shape_are_refused():
    with pytest.raises(ValueError):
        transforms.inverse(Transform.BLOCK_DCT, 0, np.zeros((3, 9, 9, 9), np.int64), (9, 9, 9))


@settings(max_examples=70)
@given(st.data(), modes, spatial_shapes)
def test_support_of_one_cell(data, mode, spatial):
    """One approximation, at most all but one corner of a cube of details a level; a DCT block is exact."""
    cell = tuple(data.draw(st.integers(0, n - 1)) for n in spatial)
    mask = np.zeros(spatial, bool)
    mask[cell] = True
    support, bands = transforms.support_mask(*mode, mask), transforms.band_map(*mode, spatial)
    if mode[0] == Transform.BLOCK_DCT:
        unit = np.where(support, 1 << 20, 0)
        changed = transforms.inverse(*mode, unit, spatial) != 0
        assert changed.any()
        block = tuple(slice(c // 8 * 8, c // 8 * 8 + 8) for c in cell)
        outside = np.ones(spatial, bool)
        outside[block] = False
        assert not changed[outside].any()
        assert support.sum() == 8 ** axes_of(spatial)
    else:
        assert support[bands == 0].sum() == 1
        for band in range(1, mode[1] + 1):
            assert support[bands == band].sum() <= 7


@settings(max_examples=70)
@given(st.data(), modes, spatial_shapes)
def test_support_of_a_union_is_the_union(data, mode, spatial):
    rng = seeded(data.draw)
    a, b = rng.random(spatial) < 0.1, rng.random(spatial) < 0.1
    support = transforms.support_mask(*mode, a | b)
    assert (support == (transforms.support_mask(*mode, a) | transforms.support_mask(*mode, b))).all()
    assert transforms.support_mask(*mode, np.ones(spatial, bool)).all()


# Without roundings, for training.


@pytest.fixture(scope="module")
def floats():
    pytest.importorskip("torch")
    from refcodec.encoder import transforms as floats
    return floats


def wavelet_rounding_bound(floats, levels, spatial) -> float:
    """Largest difference that the roundings of the lifting steps can make, the errors' signs all at their worst."""
    of_part = [0.0, 0.0]
    for i in reversed(range(4)):
        of_part[(i + 1) % 2] += 0.5 + 2 * abs(wavelet.LIFTING[i]) / 2**12 * of_part[i % 2]
    sizes = wavelet.box_sizes(levels, spatial)
    error = np.zeros(sizes[-1])
    for inner, outer in pairwise(reversed(sizes)):
        whole = np.zeros(outer)
        whole[passes.box(inner)] = error
        for axis in passes.SPATIAL_AXES:
            if outer[axis] > 1:
                gains = np.abs(wavelet._merge_matrix(outer[axis]))
                whole = np.moveaxis(np.tensordot(gains, whole, (1, axis)), 0, axis)
                np.moveaxis(whole, axis, 0)[0::2] += of_part[0]
                np.moveaxis(whole, axis, 0)[1::2] += of_part[1]
        error = whole
    return float(error.max())


@settings(max_examples=70)
@given(st.data(), modes, spatial_shapes)
def test_float_inverse_is_near_the_integer_one(floats, data, mode, spatial):
    import torch

    coefficients = data.draw(integers((2, *coefficient_shape(*mode, spatial)), 1 << 20))
    got = floats.inverse(*mode, torch.from_numpy(coefficients).double(), spatial).numpy()
    if mode[0] == Transform.BLOCK_DCT:
        bound = (0, 0.5, 1.9, 5.4)[axes_of(spatial)]
    elif mode[0] == Transform.WAVELET:
        bound = wavelet_rounding_bound(floats, mode[1], spatial)
        assert bound < (1, 40, 150, 470)[axes_of(spatial)]
    else:
        bound = 0
    assert np.abs(got - transforms.inverse(*mode, coefficients, spatial)).max() <= bound + 1e-6


@settings(max_examples=80)
@given(st.data(), modes, spatial_shapes)
def test_float_forward_and_inverse(floats, data, mode, spatial):
    """`inverse` undoes `forward`, and the block DCT is near the integer one (whose wavelet is tested above)."""
    import torch

    values = torch.from_numpy(data.draw(integers((2, *spatial), 1 << 12))).double()
    coefficients = floats.forward(*mode, values)
    tolerance = 6e-4 * (1 << 12) if mode[0] == Transform.BLOCK_DCT else 1e-6
    assert (floats.inverse(*mode, coefficients, spatial) - values).abs().max() <= tolerance
    assert tuple(coefficients.shape[1:]) == coefficient_shape(*mode, spatial)
    if mode[0] == Transform.BLOCK_DCT:
        gain = np.abs(dct.matrix()).sum(1).max() / 2**14
        bound = sum(0.5 * gain**k for k in range(axes_of(spatial)))
        difference = coefficients.numpy() - transforms.forward(*mode, values.numpy().astype(np.int64))
        assert np.abs(difference).max() <= bound + 1e-6


@settings(max_examples=80)
@given(st.data(), modes, spatial_shapes)
def test_gradient_is_the_adjoint(floats, data, mode, spatial):
    import torch

    rng = seeded(data.draw)
    for operation, shape in (
        (lambda a: floats.inverse(*mode, a, spatial), coefficient_shape(*mode, spatial)),
        (lambda a: floats.forward(*mode, a), spatial),
    ):
        a = torch.from_numpy(rng.standard_normal((3, *shape))).requires_grad_()
        image = operation(a)
        other = torch.from_numpy(rng.standard_normal(tuple(image.shape)))
        (image * other).sum().backward()
        # <S a, b> = <a, S' b>, also for an `a` that the gradient was not taken at.
        elsewhere = torch.from_numpy(rng.standard_normal((3, *shape)))
        assert torch.allclose((operation(elsewhere) * other).sum(), (elsewhere * a.grad).sum(), rtol=1e-9, atol=1e-9)


@settings(max_examples=40)
@given(st.data(), st.tuples(*[st.sampled_from((1, 8, 16, 24))] * 3))
def test_gradients_of_the_dct_transform_like_values(floats, data, spatial):
    """Of cells in whole blocks: the inverse is the adjoint of `forward`, as training in the cells takes it to be."""
    import torch

    rng = seeded(data.draw)
    values, gradient = (torch.from_numpy(rng.standard_normal((2, *spatial))) for _ in range(2))
    found = (floats.forward(Transform.BLOCK_DCT, 0, values) * gradient).sum()
    expected = (values * floats.inverse(Transform.BLOCK_DCT, 0, gradient, spatial)).sum()
    assert abs(found - expected) <= 1e-3 * values.norm() * gradient.norm()


@settings(max_examples=40)
@given(small_cases(600))
def test_gains_are_those_of_unit_coefficients(floats, case):
    import torch

    mode, spatial = case
    shape = coefficient_shape(*mode, spatial)
    units = torch.eye(math.prod(shape), dtype=torch.float64).reshape(-1, *shape)
    energy = floats.inverse(*mode, units, spatial).square().flatten(1).sum(1).numpy()
    bands = transforms.band_map(*mode, spatial).reshape(-1)
    gains = floats.band_gains(*mode, spatial)
    assert len(gains) == band_count(*mode)
    for band, gain in enumerate(gains):
        expected = math.sqrt(energy[bands == band].mean()) if (bands == band).any() else 1
        assert gain == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("spatial", [(1, 24, 40), (1, 13, 29), (9, 16, 21), (1, 1, 19)])
@pytest.mark.parametrize("transform, levels", [(Transform.BLOCK_DCT, 0), (Transform.WAVELET, 2)])
def test_adjoint_is_the_transpose(spatial, transform, levels):
    """Of the inverse: by inner products, with the compiled blocks and with matrices."""
    torch = pytest.importorskip("torch")
    from native import load_training
    from refcodec.encoder import transforms as of_encoder

    load_training()
    if sum(n > 1 for n in spatial) < 2 and transform == Transform.WAVELET:
        spatial = (1, 7, 19)
    shape = coefficient_shape(transform, levels, spatial)
    generator = torch.Generator().manual_seed(3)
    for channels in (1, 5, 12, 16):
        coefficients = torch.randn((*shape, channels), generator=generator).permute(3, 0, 1, 2)
        gradient = torch.randn((*spatial, channels), generator=generator).permute(3, 0, 1, 2)
        values = of_encoder.inverse(transform, levels, coefficients, spatial)
        by_matrix = of_encoder.inverse(transform, levels, coefficients.contiguous().requires_grad_(), spatial)
        torch.testing.assert_close(values, by_matrix.detach(), rtol=1e-4, atol=1e-4)
        back = of_encoder.adjoint(transform, levels, gradient.clone(memory_format=torch.preserve_format), shape)
        assert back.shape == coefficients.shape
        both = (values * gradient).sum(), (coefficients * back).sum()
        assert float(both[0]) == pytest.approx(float(both[1].detach()), rel=1e-3, abs=1e-2)
        again = of_encoder.forward(transform, levels, values)
        torch.testing.assert_close(of_encoder.inverse(transform, levels, again, spatial), values, rtol=2e-3, atol=2e-3)
