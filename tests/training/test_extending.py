"""New tools as a module of their own: registered here, they pass through encoder, file, decoder and inspector."""
from dataclasses import KW_ONLY, dataclass
from functools import cache

import numpy as np
import pytest
from click.testing import CliRunner

import refcodec
from refcodec.commands.inspect import command
from refcodec.encoder import EncodeOptions
from refcodec.entropy.layout import Layout
from refcodec.entropy.models import ContextModel, StaticModel
from refcodec.entropy.tables import Table
from refcodec.errors import BitstreamError
from refcodec.fields import build, field_header
from refcodec.fields.rule import Branch, Combination, FeatureSet, TensorList, product_terms
from refcodec.fields.sizes import HAZE, Box, FieldSizes, linear_grid
from refcodec.kernels import best
from refcodec.syntax.coding import FrameType, Prediction, Tools, Transform, step_of
from refcodec.syntax.families import ProbabilityFamily
from refcodec.syntax.headers import Representation, Role
from refcodec.syntax.registry import EXPLICIT
from refcodec.syntax.representation import Start
from refcodec.syntax.tools import Stage
from refcodec.tensors.reconstruction import dequantise, saturate
from refcodec.writer import FrameCoding, StreamWriter, TensorCoding
from synthetic import random_frame, small_header, sparse_values, write_dataset

torch = pytest.importorskip("torch")


@pytest.fixture
def registered():
    """Takes members out of their registries again, and puts back those that they replaced."""
    added, replaced = [], []

    def register(kind, code, name, **attributes):
        home = next(c for c in (Role, Representation, Prediction, Transform, ProbabilityFamily) if issubclass(kind, c))
        if code in home:
            replaced.append((home, home.of(code)))
            home.of(code).remove()
        added.append(kind.add(code, name, **attributes))
        return added[-1]

    yield register
    for member in added:
        member.remove()
    for home, member in replaced:
        home.members()[int(member)] = member


def seen(path):
    """What `refcodec inspect` prints."""
    result = CliRunner().invoke(command, [str(path)])
    assert result.exit_code == 0, result.output
    return result.output


def trained(folder, path, **options):
    dataset = write_dataset(folder, frames=2, side=16)
    refcodec.encode(dataset, path, EncodeOptions(
        preset="micro", intra_iterations=20, inter_iterations=6, resume=False, device="cpu",
        settings=dict(rays=64, model_iterations=10, rate_after=0), **options))
    assert refcodec.validate(path).conforming


# A representation: the density is the product of two grids, of which one is new.


@dataclass(frozen=True, slots=True)
class GatedSizes(FieldSizes):
    side: int = 8
    _: KW_ONLY
    features: int = 3
    density_shift: float = HAZE


class Gated(Representation):
    """Density: one term of two factors; features: one grid, without a fusion network."""

    title, sizes, systems = "gated grid", GatedSizes, ("rate-aware", "ecrf")
    presets = {"micro": GatedSizes(render_hidden=8)}

    def rule(self, header):
        tensors = TensorList(header)
        density, gate, feature = (tensors.grid(Role.named(n)) for n in ("DENSITY_GRID", "GATE", "FEATURE_GRID"))
        return tensors.finish(Branch(FeatureSet(product_terms((feature,)))),
                              Branch(FeatureSet(product_terms((density,), (gate,)), Combination.SUM)),
                              tensors.width((feature,)))

    def header(self, sizes, aabb, **options):
        box = Box(aabb)
        sides = box.sides(sizes.side)
        tensors = [linear_grid(Role.named(name), 0, channels, sides, 16) for name, channels in
                   (("DENSITY_GRID", 1), ("GATE", 1), ("FEATURE_GRID", sizes.features))]
        return box.header(self, sizes, tensors + sizes.colour_layers(sizes.features), **options)


def test_a_representation_is_one_module(registered, tmp_path):
    gate = registered(Role, 99, "GATE", meaning="gate of the density", start=Start.ONE)
    gated = registered(Gated, 200, "GATED")
    path = tmp_path / "gated.rfv"
    trained(tmp_path / "set", path, representation="gated")
    assert refcodec.inspect(path).to_dict()["sequence"]["representation"] == "gated"
    assert "Sequence: gated" in seen(path) and "gate" in seen(path)
    with refcodec.open(path) as stream:
        header, frame = stream.header, stream.frame(1)
        assert header.representation is gated and header.tensors[1].role is gate
        values = frame.values()
        field = build(header, values)
        x = np.array([header.box]).mean(1).astype(np.float32)
        single = [build(header, [np.ones_like(v) if i == other else v for i, v in enumerate(values)])
                  for other in (0, 1)]
        p = header.parameters
        density, without_density, without_gate = (
            float(np.log(np.expm1(f.density(x)[0][0] / p.density_scale))) - p.density_shift for f in (field, *single))
        assert density == pytest.approx(without_density * without_gate, rel=1e-3, abs=1e-4)
        picture = frame.render(stream.cameras[0])
        assert np.isfinite(picture.rgb).all()


def test_an_unregistered_representation_is_refused(registered, tmp_path):
    registered(Role, 99, "GATE", meaning="gate of the density")
    gated = registered(Gated, 200, "GATED")
    header = field_header(GatedSizes(render_hidden=8), ((-1, -1, -1), (1, 1, 1)))
    path = tmp_path / "gated.rfv"
    with open(path, "wb") as out:
        StreamWriter(out, header).begin()
    Representation.members().pop(int(gated))
    try:
        with pytest.raises(BitstreamError) as found:
            refcodec.open(path).header  # noqa: B018 - the property reads
        assert found.value.requirement == "R-SEQ-01"
    finally:
        Representation.members()[int(gated)] = gated


# A prediction. All code points of 0.5 are taken: it stands in for one of them.


class Half(Prediction):
    """Half of the frame before, plus the constant."""

    option, needs_previous, has_offset = "half", True, True

    def predict(self, tools, source):
        return (source.astype(np.int64) >> 1) + tools.offset


def written(path, header, tools, rng):
    """An I-frame, and a P-frame whose tensor 0 is coded with these tools; its quantised values."""
    occupancy = rng.random(header.occupancy_shape) < 0.2
    with open(path, "wb") as out:
        writer = StreamWriter(out, header)
        writer.begin()
        writer.begin_group(0, 2)
        writer.write_frame(random_frame(rng, writer.state, 0, True, occupancy))
        shape = tools.coefficient_shape(header.tensors[0].shape)
        values = sparse_values(rng, int(np.prod(shape[1:])), shape[0])
        writer.write_frame(FrameCoding(1, FrameType.INTER, 3, occupancy, {0: StaticModel(((-3, (1,) * 8),))},
                                       [TensorCoding(0, values, 0, tools)]))
        writer.finish()
    return values


def decoded(path):
    with refcodec.open(path) as stream:
        before, after = (frame.tensors[0] for frame in stream.frames())
        return before, after, stream.header


def test_a_prediction_is_one_module(registered, tmp_path):
    registered(Half, 3, "HALF")
    path, header = tmp_path / "half.rfv", small_header()
    values = written(path, header, Tools((80,), Prediction.HALF, offset=7), np.random.default_rng(0))
    assert refcodec.validate(path).conforming and "half" in seen(path)
    before, after, _ = decoded(path)
    residual = dequantise(values, *step_of(80)).T.reshape(before.shape)
    assert (after == saturate(residual + (before.astype(np.int64) >> 1) + 7)).all() and residual.any()


# A transform.


class Flipped(Transform):
    """Coefficients are the values in reverse order along x; every second one is of band 1."""

    option, bands = "flip", "1 + 1"

    def band_map(self, levels, spatial):
        return np.broadcast_to(np.arange(spatial[-1]) % 2, spatial).astype(np.uint8)

    def support(self, levels, mask):
        return np.ascontiguousarray(mask[..., ::-1])

    def inverse(self, levels, coefficients, spatial):
        return coefficients[..., ::-1].astype(np.int64)

    def forward(self, levels, values):
        return values[..., ::-1].astype(np.int64)

    def stages(self, levels, spatial):
        return [Stage(None, (-1,), (spatial[-1],), *[lambda n: np.eye(n)[::-1].copy()] * 2)]

    def gains(self, levels, spatial):
        return 1.0, 1.0


def test_a_transform_is_one_module(registered, tmp_path):
    registered(Flipped, 3, "FLIPPED")
    path, header = tmp_path / "flip.rfv", small_header()
    values = written(path, header, Tools((80, 96), transform=Transform.FLIPPED), np.random.default_rng(1))
    assert refcodec.validate(path).conforming and "flip" in seen(path)
    before, after, _ = decoded(path)
    fine, coarse = (dequantise(values, *step_of(index)).T.reshape(before.shape) for index in (80, 96))
    odd = np.arange(before.shape[-1]) % 2
    assert (after == np.where(odd, coarse, fine)[..., ::-1]).all() and (after * odd).any() and (after * (1 - odd)).any()
    trained(tmp_path / "set", tmp_path / "trained.rfv", representation="grid", transform="flip")
    assert "flip" in seen(tmp_path / "trained.rfv")


# A probability family.


class Uniform(ProbabilityFamily):
    """Equiprobable values around the location: 3, 7 or 15 of them by the scale. Under shape 1 the escape has half
    of the mass."""

    title, scales, shapes = "uniform", 3, 2

    def tables(self):
        return _uniform_tables()


@cache
def _uniform_tables():
    return tuple(_uniform((4 << scale) - 1, shape) for shape in range(2) for scale in range(3))


def _uniform(values, shape):
    frequencies = np.full(values + 1, ((1 << 24) >> shape) // (values + 1), np.int64)
    frequencies[-1] += (1 << 24) - frequencies.sum()
    return Table(-(values // 2), frequencies)


def uniform_stream(path, family):
    """An I-frame, and a P-frame whose tensor 0 is coded with a context model of a family; the model and its values."""
    header, rng = small_header(), np.random.default_rng(2)
    channels, *spatial = header.tensors[0].shape
    model = ContextModel(True, channels, (0, 0, 0, 1), EXPLICIT, ((0, 0, 0, 0, -1),), 0,
                         np.eye(channels, dtype=np.int8),
                         np.zeros(channels, np.int16), 0, 0, rng.integers(-2, 3, (3 * channels, channels), np.int8),
                         rng.integers(0, 3, 3 * channels, np.int32), family)
    values = sparse_values(rng, int(np.prod(spatial)), channels)
    occupancy = rng.random(header.occupancy_shape) < 0.2
    with open(path, "wb") as out:
        writer = StreamWriter(out, header)
        writer.begin()
        writer.begin_group(0, 2)
        writer.write_frame(random_frame(rng, writer.state, 0, True, occupancy))
        writer.write_frame(FrameCoding(1, FrameType.INTER, 3, occupancy, {0: model},
                                       [TensorCoding(0, values, 0, Tools((80,)))]))
        writer.finish()
    return model, values


def test_a_family_is_one_module(registered, tmp_path):
    uniform = registered(Uniform, 77, "UNIFORM")
    path = tmp_path / "uniform.rfv"
    model, values = uniform_stream(path, uniform)
    assert refcodec.validate(path).conforming and "uniform" in seen(path)
    tensor = refcodec.inspect(path).to_dict()["frames"][1]["tensors"][0]
    assert tensor["family"] == "uniform"
    _, after, header = decoded(path)
    assert (after == saturate(dequantise(values, *step_of(80)).T.reshape(after.shape))).all() and after.any()
    # All three outputs take part: the tables of both shapes and of all scales are used.
    inputs = np.random.default_rng(3).integers(-3, 4, (values.shape[1], 99)).astype(np.float32)
    location, table = model.predict(inputs)
    assert set(table.ravel().tolist()) == set(range(6)) and location.any()
    layout = Layout(header.tensors[0].shape)
    data, bits = best().encode_symbols(model, layout, values)
    assert 0 <= 8 * len(data) - bits < 64


def test_an_unregistered_family_is_refused(registered, tmp_path):
    uniform = registered(Uniform, 77, "UNIFORM")
    path = tmp_path / "uniform.rfv"
    uniform_stream(path, uniform)
    ProbabilityFamily.members().pop(int(uniform))
    try:
        with refcodec.open(path) as stream, pytest.raises(BitstreamError) as found:
            stream.frame(1)
        assert found.value.requirement == "R-MOD-15"
    finally:
        ProbabilityFamily.members()[int(uniform)] = uniform
