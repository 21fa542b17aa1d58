"""The rate estimate is what the integer model of the stream costs (spec 6.4, 6.7)."""
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

torch = pytest.importorskip("torch")

from refcodec.encoder import rate
from refcodec.encoder.latents import integer_step, step_value
from refcodec.entropy.coder import encode_symbols
from refcodec.entropy.models import ContextModel
from refcodec.entropy.tables import laplace_tables


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


@pytest.mark.parametrize("index", range(rate.SCALES))
def test_coded_bits_count_escapes_as_the_coder_does(index):
    values = np.array([0, 1, -1, 2, -3, 5, -9, 30, -200, 255, 256, 300, -4000, 100000], np.int32)
    model = ContextModel.fixed([0], [index])
    for value in values:
        _, real = encode_symbols(model, (1, 1, 1, 1), None, None, np.array([[value]], np.int32))
        found = float(rate.coded_bits(torch.tensor([float(value)]), torch.tensor(float(index))))
        assert found == pytest.approx(real, abs=1.2)  # the rarest frequencies are rounded to whole numbers


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
        row = torch.full(x.shape, index * rate.ROW_LENGTH, dtype=torch.int32)
        exact = rate.laplace_slope(x, rate.table_scale(torch.full_like(x, float(index))))
        assert float((rate.tabled_slope(table, x, row) - exact).abs().max()) < 0.02 * float(exact.abs().max())
    uncoded = torch.full(x.shape, rate.UNCODED_ROW, dtype=torch.int32)
    assert not rate.tabled_slope(table, x, uncoded).any()


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from([2, 3, 4, 5]), st.floats(0.1, 20))
def test_network_predicts_what_its_integer_model_predicts(seed, template, spread):
    generator = torch.Generator().manual_seed(seed)
    net = rate.ContextNetwork(template, 8, generator)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * spread / 4)
    model = net.export()
    inputs = torch.randint(-127, 128, (200, len(model.template)), generator=generator).float()
    location, table = model.predict(np.ascontiguousarray(inputs.numpy().T))
    for network in (net, rate.ContextNetwork.from_model(model)):
        mu, index = network(inputs)
        np.testing.assert_array_equal(mu.detach().numpy(), location[0])
        np.testing.assert_array_equal(index.detach().numpy(), table[0])


# Registered templates on a grid; listed neighbours, with other channels too, and with planes the scans that they need.
ACROSS = ((0, -1, 0, 0, -1), (0, 2, 0, -1, 0), (1, 1, 0, 0, 0), (2, 0, -1, 0, 0))
NEIGHBOURHOODS = [(t, rate.SCAN, (4, 5, 6)) for t in (2, 3, 4, 5)] + [(ACROSS, (0, 1, 3, 1), (4, 5, 6))] + [
    (*rate.plane_template(axis, temporal), tuple(1 if a == 2 - axis else n for a, n in enumerate((7, 8, 9))))
    for axis in range(3) for temporal in (False, True)]


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from(NEIGHBOURHOODS))
def test_contexts_are_those_of_the_coder(seed, neighbourhood):
    """Bits predicted from our contexts are the bits that the coder spends with its own."""
    rng = np.random.default_rng(seed)
    template, scan, spatial = neighbourhood
    cells = int(np.prod(spatial))
    grid = (*spatial, 3)
    current = rng.integers(-6, 7, grid) * rng.integers(0, 2, grid)
    previous = rng.integers(-40, 41, grid).astype(np.int8)
    net = rate.ContextNetwork(template, 8, torch.Generator().manual_seed(seed), scan)
    with torch.no_grad():
        net.output_bias[1] = rate.table_index(8.0) / 8
        net.output_weight *= 2
    around = rate.Neighbourhood(template, torch.from_numpy(current), torch.from_numpy(previous))
    inputs = around.inputs(torch.arange(cells))
    location, index = net(inputs)
    assert len(set(index.tolist())) > 1  # contexts matter
    bits = 0.0
    for value, k in zip(current.reshape(-1) - location.detach().numpy().astype(int), index.int().tolist()):
        table = laplace_tables()[k]
        excess = abs(value) - table.size // 2
        if excess > 0:  # an escape: its entry, the side, an Exp-Golomb code (spec 6.5)
            bits += table.bits[-1] + 2 * int(excess).bit_length()
        else:
            bits += table.bits[value - table.low]
    _, ideal = encode_symbols(net.export(), (3, *spatial), None, previous, current.reshape(-1, 3))
    assert bits == pytest.approx(ideal, rel=1e-9)
    quiet = inputs.reshape(-1, 3, inputs.shape[1]).abs().sum((1, 2)) == 0
    assert (quiet | around.active).all()  # what is not active sees zeros only


@pytest.mark.parametrize("axis", range(3))
def test_neighbours_on_a_plane_come_before_and_stay_on_it(axis):
    template, scan = rate.plane_template(axis, True)
    template = rate.neighbours(template)
    assert len(set(template)) == len(template)
    for source, dc, *offset in template:
        assert dc == 0 and offset[2 - axis] == 0
        assert source in (rate.PREVIOUS, rate.PREVIOUS_ENERGY) or np.dot(scan[1:], offset) < 0


@given(st.floats(0.01, 50), st.integers(8, 16))
def test_steps_are_represented_closely(step, frac_bits):
    mantissa, exponent = integer_step(step, frac_bits)
    assert 1 <= mantissa <= 65535 and -16 <= exponent <= 15
    assert step_value(mantissa, exponent, frac_bits) == pytest.approx(step, rel=2**-15)
    assert integer_step(step_value(mantissa, exponent, frac_bits), frac_bits) == (mantissa, exponent)


def test_a_step_just_below_a_power_of_two():
    assert step_value(*integer_step(0.125 * (1 - 1e-8), 16), 16) == 0.125
