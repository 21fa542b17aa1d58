"""The rate estimate is what the integer model of the stream costs (spec 6.4, 6.7)."""
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import spec_decoder

torch = pytest.importorskip("torch")

from refcodec.encoder import rate
from refcodec.encoder.latents import integer_step, step_value
from refcodec.entropy.coder import encode_symbols
from refcodec.entropy.laplace import LAPLACE, laplace_tables
from refcodec.entropy.layout import Layout
from refcodec.entropy.mixture import MIXTURE
from refcodec.entropy.models import ContextModel
from refcodec.quantisation import table_index
from refcodec.syntax.coding import step_of


@given(st.floats(0.06, 100))
def test_laplace_masses_sum_to_one(scale):
    x = torch.arange(-3000, 3001, dtype=torch.float64)
    bits = rate.laplace_bits(x, torch.full_like(x, scale))
    assert torch.isfinite(bits).all()
    assert float(torch.exp2(-bits).sum()) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("index", range(rate.SCALES))
def test_estimated_bits_are_those_of_the_tables(index):
    table = laplace_tables()[index]
    values = torch.arange(-3, 4, dtype=torch.float64)
    scale = torch.full_like(values, float(rate.table_scale(torch.tensor(float(index), dtype=torch.float64))))
    estimate = rate.laplace_bits(values, scale).numpy()
    frequencies = table.frequencies[(values.numpy().astype(int) - table.low)]
    true = table.bits[(values.numpy().astype(int) - table.low)]
    common = frequencies > 1000  # rarer ones are rounded to whole counts, or to at least 1
    np.testing.assert_allclose(estimate[common], true[common], atol=5e-3)


@pytest.mark.parametrize("table", range(0, len(rate.TABLES), 7))
def test_coded_bits_are_those_of_the_coder(table):
    values = np.array([0, 1, -1, 2, -3, 5, -9, 30, -200, 255, 256, 300, -4000, 100000], np.int32)
    of_mixture = table < rate.LAPLACE_TABLE
    shape, index = divmod(table, rate.SCALES) if of_mixture else (0, table - rate.LAPLACE_TABLE)
    model = ContextModel.fixed([0], [index])
    if of_mixture:
        model = replace(model, family=MIXTURE, output_weight=np.zeros((3, 0), np.int8),
                        output_bias=np.array([0, index, shape], np.int32))
    for value in values:
        _, real = encode_symbols(model, Layout((1, 1, 1, 1)), np.array([[value]], np.int32))
        found = float(rate.coded_bits(torch.tensor([float(value)]), torch.tensor(float(table))))
        assert found == pytest.approx(real, rel=1e-6)


@pytest.mark.parametrize("shape", range(5))
def test_mixtures_are_near_their_tables(shape):
    x = torch.arange(-4, 5, dtype=torch.float64)
    for index in range(0, rate.SCALES, 3):
        k = torch.full_like(x, index)
        estimate = rate.mixture_bits(x, k, torch.full_like(x, shape)).numpy()
        table = rate.TABLES[rate.SCALES * shape + index]
        at = x.numpy().astype(int) - table.low
        common = table.frequencies[at] > 1000
        np.testing.assert_allclose(estimate[common], table.bits[at][common], atol=1e-2)


@pytest.mark.parametrize("shape", [None, *range(rate.SHAPES)])
def test_tabled_code_lengths_and_their_derivatives(shape):
    x, scale, given_shape = (torch.tensor(v, dtype=torch.float64).repeat_interleave(n).repeat(m)
                             for v, n, m in ((range(-9, 10), 3, 1), ((0, 11, 43), 1, 19), (((shape or 0),), 57, 1)))
    given_scale = scale.float()

    def exact(x, scale, shape_number):
        if shape is None:
            return rate.laplace_bits(x, rate.table_scale(scale))
        return rate.mixture_bits(x, scale, shape_number)

    found = []
    for bits, inputs in ((exact, (x, scale, given_shape)), (rate.code_length, (x.float(), given_scale, None)
                         if shape is None else (x.float(), given_scale, given_shape.float()))):
        inputs = [a if a is None else a.clone().requires_grad_() for a in inputs]
        of = inputs[:2] if shape is None else inputs
        total = bits(*inputs)
        found.append([total.detach(), *torch.autograd.grad((total * x).sum(), of)])
    for expected, tabled in zip(*found, strict=True):
        np.testing.assert_allclose(tabled, expected, rtol=1e-4, atol=1e-4)


def test_tabled_code_lengths_of_several_values_in_one_context():
    x, scale = torch.tensor([[0.0, -3.0, 4.0, 1e6]]), torch.tensor([[12.0]], requires_grad=True)
    bits = rate.code_length(x, scale)
    assert bits.shape == x.shape and bool(bits.isfinite().all())
    (slope,) = torch.autograd.grad(bits.sum(), scale)
    assert slope.shape == scale.shape


@settings(max_examples=50)
@given(st.floats(-3, 3), st.floats(0.06, 20))
def test_slope_is_the_derivative_of_the_expected_bits(x, scale):
    x, b = torch.tensor(x, dtype=torch.float64), torch.tensor(scale, dtype=torch.float64)
    u = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000 - 0.5

    def expected(at):
        return rate.laplace_bits(at + u, b).mean()

    numeric = (expected(x + 1e-3) - expected(x - 1e-3)) / 2e-3
    assert float(rate.laplace_slope(x, b)) == pytest.approx(float(numeric), rel=0.01, abs=0.03)


def test_tabled_slopes():
    table = rate.slope_table("cpu")
    x = torch.linspace(-2, 2, 401)
    for index in (0, 10, 30, 43):
        row = torch.full(x.shape, (rate.LAPLACE_TABLE + index) * rate.ROW_LENGTH, dtype=torch.int32)
        exact = rate.laplace_slope(x, rate.table_scale(torch.full_like(x, float(index))))
        assert float((rate.tabled_slope(table, x, row) - exact).abs().max()) < 0.02 * float(exact.abs().max())
    uncoded = torch.full(x.shape, rate.UNCODED_ROW, dtype=torch.int32)
    assert not rate.tabled_slope(table, x, uncoded).any()


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from([2, 3, 4, 5, 15]), st.floats(0.1, 20),
       st.sampled_from([LAPLACE, MIXTURE]))
def test_network_predicts_what_its_integer_model_predicts(seed, template, spread, family):
    generator = torch.Generator().manual_seed(seed)
    net = rate.ContextNetwork(template, 8, generator, family=family)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * spread / 4)
    model = net.export()
    inputs = torch.randint(-127, 128, (200, len(model.template)), generator=generator).float()
    location, table = model.predict(np.ascontiguousarray(inputs.numpy().T))
    for network in (net, rate.ContextNetwork.from_model(model)):
        mu, index = network.tables(inputs)
        np.testing.assert_array_equal(mu.detach().numpy(), location[0])
        index = index.detach().numpy() - (rate.LAPLACE_TABLE if family == LAPLACE else 0)
        np.testing.assert_array_equal(index, table[0])


# Registered templates on a grid; listed neighbours, with other channels too, and with planes the scans that they need.
ACROSS = ((0, -1, 0, 0, -1), (0, 2, 0, -1, 0), (1, 1, 0, 0, 0), (2, 0, -1, 0, 0))
ONE = (1, 1, 1)
NEIGHBOURHOODS = [(t, rate.SCAN, (4, 5, 6), ONE) for t in (2, 3, 4, 5)] + [
    (*rate.plane_template(axis, temporal), tuple(1 if a == 2 - axis else n for a, n in enumerate((7, 8, 9))), ONE)
    for axis in range(3) for temporal in (False, True)] + [
    (ACROSS, (0, 1, 3, 1), (4, 5, 6), ONE), (ACROSS, (2, 1, 3, 1), (4, 5, 6), ONE),
    (14, (1, 1, 1, 1), (1, 16, 24), (1, 2, 3)), (15, (1, 1, 1, 1), (8, 8, 16), (1, 1, 2)),
    (15, (2, 1, 1, 1), (8, 8, 1), ONE), (15, (1, 3, 3, 3), (1, 16, 8), (1, 2, 1)),
    (15, (0, 1, 1, 1), (1, 16, 8), (1, 2, 1))]


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from(NEIGHBOURHOODS))
def test_contexts_are_those_of_the_coder(seed, neighbourhood):
    """Bits predicted from our contexts are the bits that the coder spends with its own."""
    rng = np.random.default_rng(seed)
    template, scan, spatial, blocks = neighbourhood
    cells = int(np.prod(spatial))
    grid = (*spatial, 3)
    current = rng.integers(-6, 7, grid) * rng.integers(0, 2, grid)
    previous = rng.integers(-40, 41, grid).astype(np.int8)
    family = MIXTURE if template in (14, 15) else LAPLACE
    net = rate.ContextNetwork(template, 8, torch.Generator().manual_seed(seed), scan, family)
    with torch.no_grad():
        net.output_bias[1] = table_index(8.0) / 8
        net.output_weight *= 2
    around = rate.Neighbourhood(template, torch.from_numpy(current), torch.from_numpy(previous), scan, blocks)
    inputs = around.inputs(torch.arange(cells))
    location, table = net.tables(inputs)
    assert len(set(table.tolist())) > 1  # contexts matter
    bits = float(rate.coded_bits(torch.from_numpy(current.reshape(-1)) - location.detach(), table).double().sum())
    layout = Layout((3, *spatial), previous=previous, blocks=blocks)
    _, ideal = encode_symbols(net.export(), layout, current.reshape(-1, 3))
    assert bits == pytest.approx(ideal, rel=1e-6)
    quiet = inputs.reshape(-1, 3, inputs.shape[1]).abs().sum((1, 2)) == 0
    assert (quiet | around.active).all()  # what is not active sees zeros only


@pytest.mark.parametrize("axis", range(3))
def test_neighbours_on_a_plane_come_before_and_stay_on_it(axis):
    template, scan = rate.plane_template(axis, True)
    template = rate.neighbours(template)
    assert len(set(template)) == len(template)
    for source, dc, *offset in template:
        assert dc == 0 and offset[2 - axis] == 0
        assert rate.is_previous(source) or np.dot(scan[1:], offset) < 0


@given(st.floats(0.01, 50), st.integers(8, 16))
def test_step_sizes_are_represented_closely(step, frac_bits):
    index = integer_step(step, frac_bits)
    assert 0 <= index <= 255
    assert abs(np.log2(step_value(index, frac_bits) / step)) <= 1 / 16 + 1e-4
    assert integer_step(step_value(index, frac_bits), frac_bits) == index


def test_step_sizes_of_the_specification():
    """Every eighth index doubles the step, and each of them is the whole number nearest to what it should be."""
    found = [step_of(index) for index in range(256)]
    assert found == [spec_decoder.namespace()["step_of"](index) for index in range(256)]
    assert all(abs(m - 2 ** (15 + index % 8 / 8)) <= 0.5 for index, (m, _) in enumerate(found))
    assert found[0] == (1 << 15, -15) and found[255][1] == 16
    assert integer_step(1e-9, 16) == 0 and integer_step(1e9, 16) == 255
