"""cNeRF: priors and tables, training of one scene and of several, files of scenes."""
import dataclasses
import io

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

torch = pytest.importorskip("torch")

from refcodec.datasets import Dataset, DatasetFrame, View
from refcodec.decoding import SequenceDecoder, open_stream
from refcodec.encoder import cnerf, loop, scenes
from refcodec.encoder.presets import TrainingSettings
from refcodec.encoder.rays import TrainingPicture
from refcodec.encoder.verification import EncodeDefect
from refcodec.entropy.coder import decode_symbols, encode_symbols
from refcodec.entropy.layout import Layout
from refcodec.entropy.models import model_to_syntax
from refcodec.entropy.tables import TOTAL
from refcodec.errors import BitstreamError, UsageError
from refcodec.fields import MlpSizes, field_header
from refcodec.rendering.cameras import Camera
from refcodec.syntax.coding import Prediction
from refcodec.syntax.headers import Representation
from refcodec.syntax.registry import UnitType
from refcodec.syntax.structures import ENTROPY_MODEL
from refcodec.syntax.units import UnitReader, build_unit
from refcodec.writer import StreamWriter

BOX = [[-1, -1, -1], [1, 1, 1]]
SIZES = MlpSizes(position_frequencies=3, hidden_layers=2, hidden=24, skip_layer=1, features=8, render_hidden=16,
                 direction_frequencies=1)
SETTINGS = TrainingSettings(lagrangian=1e-4, intra_iterations=100, rays=96, network_rate=1e-2)
HEADER = field_header(SIZES, BOX, occupancy_side=16, samples_per_diagonal=48)
OPTIONS = scenes.SceneOptions(SIZES, 48, 16, dataclasses.replace(SETTINGS, intra_iterations=60))
FEW = dataclasses.replace(OPTIONS, training=dataclasses.replace(SETTINGS, intra_iterations=8, rays=32), evaluate=False)


def ball(radius: float, colour, views: int = 6, side: int = 24) -> list[TrainingPicture]:
    """Pictures of a ball around the origin, coloured by its normals around `colour`."""
    pictures = []
    for k in range(views):
        angle, height = 2 * np.pi * k / views, 0.6 * (-1) ** k
        back = np.array([np.cos(angle), height, np.sin(angle)])
        back /= np.linalg.norm(back)
        right = np.cross([0, 1, 0], back)
        right /= np.linalg.norm(right)
        pose = np.column_stack([right, np.cross(back, right), back, 3 * back])
        camera = Camera(side, side, 1.4 * side, 1.4 * side, side / 2, side / 2, pose)
        origin, direction = (a.astype(np.float64) for a in camera.rays())
        b = (origin * direction).sum(1)
        root = b * b - (origin * origin).sum(1) + radius**2
        normal = (origin + (-b - np.sqrt(np.maximum(root, 0)))[:, None] * direction) / radius
        rgb = np.clip(np.asarray(colour) + 0.3 * normal, 0, 1) * (root > 0)[:, None]
        rgba = np.concatenate([rgb, (root > 0)[:, None]], 1).astype(np.float32)
        pictures.append(TrainingPicture(camera, rgba.reshape(side, side, 4)))
    return pictures


def dataset(folder, radius: float, colour, aabb=BOX, background=(1.0, 1.0, 1.0)) -> Dataset:
    folder.mkdir()
    views = []
    for i, picture in enumerate(ball(radius, colour)):
        path = folder / f"{i}.png"
        Image.fromarray(np.round(255 * picture.rgba).astype(np.uint8)).save(path)
        views.append(View(picture.camera, path, None, "test" if i == 0 else "train", i))
    return Dataset((DatasetFrame(0, 0.0, tuple(views)),), np.asarray(aabb, float), background, None, True, folder)


def written(frame) -> tuple[bytes, object]:
    out = io.BytesIO()
    writer = StreamWriter(out, HEADER)
    writer.begin()
    writer.begin_group(0, 1)
    report = writer.write_frame(frame.coding)
    writer.finish()
    return out.getvalue(), report


# Priors and tables.

numbers = st.floats(-3, 3, width=32)
triples = st.lists(numbers, min_size=3, max_size=3)


def prior_of(location, log_scale, logit) -> cnerf.Prior:
    prior = cnerf.Prior(2)
    with torch.no_grad():
        for parameter, values in zip((prior.location, prior.log_scale, prior.logit), (location, log_scale, logit)):
            parameter[1] = torch.tensor(values)
    return prior


def layer_prior(values: np.ndarray) -> cnerf.LayerPrior:
    symbols = torch.from_numpy(values).float()
    prior = cnerf.Prior(1)
    prior.start(0, symbols)
    return cnerf.LayerPrior(prior.of(0), symbols)


@given(triples, triples, triples)
@settings(max_examples=30)
def test_prior_is_a_density(location, log_scale, logit):
    prior, symbols = prior_of(location, log_scale, logit), torch.arange(-500.0, 501.0)
    with torch.no_grad():
        mass = prior.mass(symbols, torch.ones(len(symbols), dtype=torch.int64))
        alone = prior.of(1).mass(symbols.double(), torch.zeros(len(symbols), dtype=torch.int64))
    assert (mass >= 0).all() and float(mass.sum()) == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(mass, alone, atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 30), st.integers(30, 600), st.lists(
    st.integers(-200000, 200000), max_size=4))
@settings(max_examples=10)
def test_tables_code_any_symbols_at_the_cost_foreseen(seed, scale, count, outliers):
    rng = np.random.default_rng(seed)
    values = np.concatenate([np.round(rng.laplace(1, scale, count)), outliers]).astype(np.int32)
    model = layer_prior(values).table()
    layout = Layout((1, 1, 1, len(values)))
    data, bits = encode_symbols(model, layout, values[:, None])
    assert np.array_equal(decode_symbols(model, layout, data)[:, 0], values)
    assert cnerf._coded_bits(model, *np.unique(values, return_counts=True)) == pytest.approx(bits)
    (_, counts), = model.entries
    assert cnerf._leb128_bytes(counts) + 6 <= len(
        ENTROPY_MODEL.build(model_to_syntax(0, model))) <= cnerf._leb128_bytes(counts) + 9


def test_fitted_prior_is_the_histogram_and_its_table_the_prior():
    rng = np.random.default_rng(1)
    values = np.round(rng.laplace(0.3, 2.5, 6000)).astype(np.int32)
    prior = layer_prior(values)
    bits = prior.total_bits(torch.from_numpy(values))
    share = np.unique(values, return_counts=True)[1] / len(values)
    assert bits == pytest.approx(-len(values) * float(share @ np.log2(share)), rel=0.01)
    model = prior.table()
    table = model.tables[0]
    mass = prior.mass(table.low, table.low + table.size - 1)
    assert np.abs(table.frequencies[:-1] / TOTAL - mass).max() < 2e-3
    _, real = encode_symbols(model, Layout((1, 1, 1, len(values))), values[:, None])
    assert real == pytest.approx(bits, rel=0.005)


@given(st.floats(2.0**-18, 2.0**20) | st.floats(-(2.0**20), -(2.0**-18)) | st.just(0.0))
def test_gain_as_integers(gain):
    mantissa, exponent = cnerf.integer_gain(gain)
    assert -32768 <= mantissa <= 32767 and -16 <= exponent <= 15
    assert mantissa * 2.0**exponent == pytest.approx(gain, rel=2.0**-14, abs=2.0**-17)


# One scene.

@pytest.fixture(scope="module")
def trained():
    """Trainings of the same ball, by λ; 0: without rate."""
    found = {}
    for lagrangian in (0, 1e-4, 1e-1):
        seen = []
        training = cnerf.NetworkTrainer(HEADER, [ball(0.7, (0.6, 0.4, 0.3))], dataclasses.replace(
            SETTINGS, lagrangian=lagrangian, rate_loss=lagrangian > 0))
        loop.train(training, seen.append)
        found[lagrangian] = training, training.frame(0, 0, 0), seen
    return found


def test_training_learns_the_scene_and_spends_fewer_bits_for_larger_lambda(trained):
    sizes = {}
    for lagrangian, (_, frame, seen) in trained.items():
        assert seen[-1].iteration == seen[-1].iterations == SETTINGS.intra_iterations
        assert seen[-1].psnr > seen[0].psnr + (4 if lagrangian < 1e-1 else 1)
        sizes[lagrangian] = sum(frame.estimated_bits.values())
    assert sizes[1e-1] < 0.9 * sizes[1e-4]
    assert sizes[1e-4] < 0.7 * sizes[0]
    first = next(p for p in trained[1e-1][2] if p.kilobytes)
    assert trained[1e-1][2][-1].kilobytes < 0.9 * first.kilobytes


def test_estimates_are_the_bytes(trained):
    for lagrangian in (1e-4, 1e-1):
        frame = trained[lagrangian][1]
        _, report = written(frame)
        assert sum(report.tensors.values()) == pytest.approx(
            sum(frame.estimated_bits.values()) / 8, rel=0.01, abs=6 * len(report.tensors))
        # Four bytes in a word, and the end of the data; tables of small layers are coarse.
        for i, size in report.tensors.items():
            assert size == pytest.approx(frame.estimated_bits[i] / 8, rel=0.01, abs=16)


def test_decoder_has_the_weights_that_were_trained(trained):
    for training, frame, _ in trained.values():
        data, _ = written(frame)
        decoded, = open_stream(io.BytesIO(data))
        with torch.no_grad():
            values = training.values(0)[0]
        for i, tensor in enumerate(decoded.values()):
            np.testing.assert_allclose(tensor.reshape(-1), values[i].numpy(), atol=2.0**-15)
        assert np.array_equal(decoded.occupancy, training.views[0].rays.occupancy)


def test_step_sizes_grow_with_lambda(trained):
    def steps(lagrangian):
        return [s for t in trained[lagrangian][1].coding.tensors for s in t.tools.steps]

    assert np.mean(steps(1e-1)) > np.mean(steps(1e-4)) + 1


def test_training_is_repeatable(trained):
    again = cnerf.train_cnerf(HEADER, ball(0.7, (0.6, 0.4, 0.3)), SETTINGS, number=0, time_stamp=0)
    assert written(again)[0] == written(trained[1e-4][1])[0]


def test_training_sees_multiples_of_the_step_size():
    generator = torch.Generator().manual_seed(0)
    initial = {i: torch.randn(HEADER.tensors[i].size, generator=generator) * (i + 1) for i in range(5)}
    network = cnerf.TrainedNetwork(HEADER, initial, SETTINGS, False)
    network.start(None)
    with torch.no_grad():
        network.offset.copy_(torch.arange(len(network.layers)) * 0.25)
        offset, step = network.offset[network.layer], torch.exp(network.log_step)[network.layer]
        assert torch.equal(network(False, generator)[0], network.values)
        rounded, bits = network(True, generator)
        assert ((rounded - network.values - offset).abs() <= 0.5001 * step).all()
    np.testing.assert_allclose(rounded, network.symbols() * step + offset, atol=1e-4)
    assert float(bits) > 0
    assert len({float(step[network.layer == k][0]) for k in range(len(network.layers))}) == len(network.layers)
    tensors = network.tensors(network.values)
    assert all(torch.equal(tensors[i], initial[i]) for i in initial)


def test_coarse_network_learns_where_the_fine_one_is_dense():
    sizes = dataclasses.replace(SIZES, coarse_samples=12, fine_samples=16)
    header = field_header(sizes, BOX, occupancy_side=16, samples_per_diagonal=48)
    training = cnerf.NetworkTrainer(header, [ball(0.7, (0.6, 0.4, 0.3))],
                              dataclasses.replace(SETTINGS, rate_loss=False, intra_iterations=200))
    points = 1.6 * torch.rand((4000, 3), generator=torch.Generator().manual_seed(0)) - 0.8
    errors = []
    for _ in range(2):
        with torch.no_grad():
            field = training.views[0].field(training.values(0)[0])
            fine, coarse = (1 - torch.exp(-sigma / 48) for sigma in (field.density(points)[0],
                                                                     field.coarse_density(points)))
        errors.append((float((fine - coarse).abs().mean()), float(fine.std())))
        if len(errors) == 1:
            loop.train(training)
    assert errors[1][0] < 0.5 * errors[1][1]


@pytest.mark.parametrize("change, message", [
    (dict(occupancy_dims=(0, 0, 0)), "occupancy"), (dict(representation=Representation.named("DIF")), "mlp"),
    (dict(further_scenes=(scenes.Scene((0, 0, 0), (1, 1, 1), 0, 8, (0, 0, 0)),)), "2 scenes")])
def test_training_refuses_what_it_can_not_train(change, message):
    with pytest.raises(UsageError, match=message):
        cnerf.NetworkTrainer(dataclasses.replace(HEADER, **change), [[]], SETTINGS)


def test_sharing_needs_the_rate_term():
    with pytest.raises(UsageError, match="rate term"):
        cnerf.NetworkTrainer(HEADER, [[]], dataclasses.replace(SETTINGS, rate_loss=False), share=True)


# Several scenes.

@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A file of two balls that differ in everything that scenes may differ in."""
    folder = tmp_path_factory.mktemp("scenes")
    datasets = [dataset(folder / "a", 0.7, (0.6, 0.4, 0.3)),
                dataset(folder / "b", 0.8, (0.3, 0.4, 0.7), [[-1, -1, -1.5], [1.25, 1, 1]], (0.0, 0.0, 0.0))]
    seen = []
    report = scenes.encode_scenes(datasets, folder / "two.rfv", OPTIONS, seen.append)
    return report, seen, datasets


def units(data: bytes):
    """Bytes before the first unit, and (type, whole unit) of each."""
    reader = UnitReader(io.BytesIO(data))
    reader.read_file_header()
    found, start = [], reader.offset
    while (unit := reader.read_unit()) is not None:
        found.append((unit.type, data[unit.offset:reader.offset]))
    return data[:start], found


def test_file_of_scenes(several):
    report, seen, datasets = several
    assert report.size == report.path.stat().st_size
    assert list(report.path.parent.glob("*part*")) == []
    assert {p.phase for p in seen} == {"load", "train", "code", "evaluate", "coded", "verify"}
    with open_stream(report.path) as stream:
        assert stream.header.scene_count == 2
        assert [c.scene for c in stream.cameras] == [0, 1]
        frames = list(stream)
    assert [(f.number, f.scene) for f in frames] == [(0, 0), (1, 1)]
    assert frames[1].header.background == (0, 0, 0) and frames[0].header.background == (255, 255, 255)
    np.testing.assert_allclose(frames[1].header.box, datasets[1].aabb, atol=1e-5)
    for frame, result in zip(frames, report.scenes):
        assert {t.prediction for t in frame.syntax.tensor} == {Prediction.BASE, Prediction.CONSTANT}
        assert result.psnr > 15
        assert result.payload_bytes == pytest.approx(result.estimated_bytes, rel=0.01, abs=60)
    assert report.float_bytes == 2 * 4 * HEADER.tensor_elements


def test_every_scene_decodes_with_the_shared_unit_alone(several):
    data = several[0].path.read_bytes()
    both = [f.tensors for f in open_stream(io.BytesIO(data))]
    head, found = units(data)
    groups = [i for i, (kind, _) in enumerate(found) if kind == UnitType.GROUP_HEADER]
    for scene, at in enumerate(groups):
        kept = [unit for i, (kind, unit) in enumerate(found)
                if i in (at, at + 1) or kind in (UnitType.SEQUENCE_HEADER, UnitType.SHARED)]
        reader = UnitReader(io.BytesIO(head + b"".join(kept)))
        decoder = SequenceDecoder(reader.read_file_header())
        frames = [f for _ in kept if (f := decoder.feed(reader.read_unit())) is not None]
        assert [f.scene for f in frames] == [scene]
        assert all(np.array_equal(a, b) for a, b in zip(frames[0].tensors, both[scene], strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(*both))


def test_a_shorter_file_of_one_scene_is_a_whole_file(several):
    """Another program may cut a scene out: group, new end unit, no index."""
    head, found = units(several[0].path.read_bytes())
    second = [i for i, (kind, _) in enumerate(found) if kind == UnitType.GROUP_HEADER][1]
    kept = [unit for i, (kind, unit) in enumerate(found)
            if i >= second and kind in (UnitType.GROUP_HEADER, UnitType.FRAME)
            or kind in (UnitType.SEQUENCE_HEADER, UnitType.SHARED, UnitType.CAMERAS)]
    end = build_unit(UnitType.END, bytes([1, 0, 0, 0, 1, 0, 0, 0]) + bytes(8))
    frame, = open_stream(io.BytesIO(head + b"".join(kept) + end))
    assert (frame.number, frame.scene) == (1, 1)


def test_without_the_shared_unit_scenes_are_refused(several):
    head, found = units(several[0].path.read_bytes())
    data = head + b"".join(unit for kind, unit in found if kind != UnitType.SHARED)
    with pytest.raises(BitstreamError) as e:
        list(open_stream(io.BytesIO(data)))
    assert e.value.requirement == "R-TEN-12"


def test_shared_training_gives_the_decoder_the_same_weights():
    header = scenes.scenes_header([HEADER, HEADER])
    training = cnerf.NetworkTrainer(header, [ball(0.7, (0.6, 0.4, 0.3)), ball(0.5, (0.2, 0.4, 0.8))],
                              dataclasses.replace(SETTINGS, intra_iterations=30, rays=32), share=True)
    loop.train(training)
    out = io.BytesIO()
    writer = StreamWriter(out, header)
    writer.begin()
    writer.write_shared(*training.shared.coding()[:2])
    for scene in range(2):
        writer.begin_group(scene, 1, scene)
        writer.write_frame(training.frame(scene, scene, 0).coding)
        with torch.no_grad():
            values = training.values(scene)[0]
        for i, (tensor, info) in enumerate(zip(writer.state.tensors, header.tensors)):
            np.testing.assert_allclose(tensor.reshape(-1) * 2.0**-info.frac_bits, values[i].numpy(), atol=2e-4)
    writer.finish()
    assert len(list(open_stream(io.BytesIO(out.getvalue())))) == 2


def test_scenes_of_different_shapes_are_refused():
    wider = field_header(dataclasses.replace(SIZES, hidden=20), BOX, occupancy_side=16, samples_per_diagonal=48)
    with pytest.raises(UsageError, match="tensor 0 of scene 1 is FUSION_WEIGHT"):
        scenes.scenes_header([HEADER, wider])
    for change in (dict(occupancy_dims=(16, 16, 8)), dict(tensors=HEADER.tensors[:-1]), dict(ticks_per_second=7),
                   dict(parameters=dataclasses.replace(HEADER.parameters, density_scale=3.0))):
        with pytest.raises(UsageError, match="scene 2 differs"):
            scenes.scenes_header([HEADER, HEADER, dataclasses.replace(HEADER, **change)])
    with pytest.raises(UsageError, match="1 to 255"):
        scenes.scenes_header([])
    moved = dataclasses.replace(HEADER, aabb_max=(1, 2, 3), aabb_exponent=20, samples_per_diagonal=9,
                                background=(1, 2, 3))
    joined = scenes.scenes_header([HEADER, moved])
    assert joined.scene_count == 2
    assert dataclasses.replace(joined.of_scene(1), further_scenes=()) == moved


def test_options_that_make_no_file(several, tmp_path):
    datasets = several[2]
    for options, message in ((dataclasses.replace(OPTIONS, cameras="some"), "cameras"),
                             (dataclasses.replace(OPTIONS, downscale=(1, 1, 1)), "3 values of downscale")):
        with pytest.raises(UsageError, match=message):
            scenes.encode_scenes(datasets, tmp_path / "x.rfv", options)
    with pytest.raises(UsageError, match="no such folder"):
        scenes.encode_scenes(datasets, tmp_path / "none" / "x.rfv", OPTIONS)
    with pytest.raises(UsageError, match="1 to 255"):
        scenes.encode_scenes([], tmp_path / "x.rfv", OPTIONS)


@pytest.mark.parametrize("phase", ["train", "coded", "verify"])
def test_interrupting_leaves_no_file(several, tmp_path, phase):
    def interrupt(progress):
        if progress.phase == phase:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scenes.encode_scenes(several[2], tmp_path / "x.rfv", FEW, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_decodes_otherwise_is_not_published(several, tmp_path, monkeypatch):
    count = iter(range(10**6))
    monkeypatch.setattr(scenes, "tensor_digest", lambda tensor: str(next(count)))
    with pytest.raises(EncodeDefect):
        scenes.encode_scenes(several[2], tmp_path / "x.rfv", FEW)
    assert list(tmp_path.iterdir()) == []


def test_comparison_has_a_row_for_every_way(several, tmp_path):
    seen = []
    rows = scenes.compare_sharing(several[2], tmp_path, [1e-2], dataclasses.replace(FEW, evaluate=True), seen.append)
    assert rows == seen
    assert [(r["lagrangian"], r["shared"]) for r in rows] == [(None, False), (1e-2, False), (1e-2, True)]
    assert all(len(r["psnr"]) == 2 and r["float_bytes"] == 8 * HEADER.tensor_elements for r in rows)
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) == sum(r["bytes"] for r in rows)
