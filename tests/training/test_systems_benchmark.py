"""`refcodec benchmark systems`: points, resuming, comparisons, files. Training is tested with the encoder."""
from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from checkout import ROOT

pytest.importorskip("torch")

import refcodec.encoder
from refcodec.cli import cli
from refcodec.decoding import open_stream
from refcodec.encoder import EncodeOptions
from refcodec.encoder.models import MaskSymbols, best_mask_model
from refcodec.entropy.layout import Layout
from refcodec.entropy.models import StaticModel
from refcodec.errors import UsageError
from refcodec.evaluation import systems
from refcodec.evaluation.published import coded_frames, masked_wavelet_pipeline
from refcodec.evaluation.systems import MARKERS, SystemPoint
from refcodec.fields import MlpSizes, VmSizes, field_header
from refcodec.syntax.coding import Tools
from refcodec.syntax.headers import Mapping, Role
from refcodec.writer import FrameCoding, StreamWriter, TensorCoding

BOX = ((-1, -1, -1), (1, 1, 1))
SIDE = 12
SIZES = VmSizes(2, 3, SIDE, features=3, render_hidden=8, feature_frequencies=1, direction_frequencies=1)


@pytest.fixture
def dataset(tmp_path) -> Path:
    """Two frames of three cameras, 6x6."""
    folder = tmp_path / "data"
    folder.mkdir()
    rng, entries = np.random.default_rng(0), []
    for frame in range(2):
        for camera in range(3):
            name = f"f{frame}_c{camera}.png"
            Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8)).save(folder / name)
            pose = [[1, 0, 0, 0.1 * camera], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]
            entries.append(dict(file_path=name, frame=frame, camera=camera, transform_matrix=pose))
    (folder / "transforms.json").write_text(json.dumps(dict(w=6, h=6, fl_x=8, cx=3, cy=3, aabb=BOX, frames=entries)))
    return folder


def _header(sizes):
    header = field_header(sizes, BOX, ticks_per_second=30, samples_per_diagonal=8)
    return dataclasses.replace(header, occupancy_dims=(0, 0, 0))


def _corner(rng, channels: int) -> np.ndarray:
    """A mask (SIDE * SIDE, C) of most of a triangle."""
    near = np.add.outer(np.arange(SIDE), np.arange(SIDE)).reshape(-1, 1) < SIDE // 2
    return near & (rng.random((SIDE * SIDE, channels)) < 0.9)


@lru_cache
def _mask_model():
    masks = [MaskSymbols(_corner(np.random.default_rng(k), 3), Layout(shape))
             for k, shape in enumerate(((3, SIDE, SIDE, 1), (3, SIDE, 1, SIDE), (3, 1, SIDE, SIDE)))]
    return best_mask_model(masks, iterations=20)


_TABLE = StaticModel(((-8, (*(1 + 3 ** (8 - abs(v)) // 16 for v in range(-8, 9)), 4)),))


def vm_stream(rng, masks: bool, group_size: int, scale: float) -> bytes:
    """Two frames of vector-matrix factors with wavelet coefficients, masked or not."""
    header = _header(SIZES)
    out = io.BytesIO()
    writer = StreamWriter(out, header)
    writer.begin()
    for number in range(2):
        intra, models, tensors = number % group_size == 0, {0: _TABLE}, []
        if intra:
            writer.begin_group(number, group_size)
        for i, info in enumerate(header.tensors):
            plane = info.role in (Role.DENSITY_PLANE, Role.FEATURE_PLANE)
            transform, levels = (2, 2) if plane else (0, 0)
            steps = (80,) * (levels + 1)
            tools = Tools(steps, int(plane and not intra), 2 if plane and masks else 0, transform, levels)
            cells = info.size // info.shape[0]
            values = np.round(rng.laplace(0, scale, (cells, info.shape[0]))).astype(np.int32)
            mask, mask_id = None, 0
            if plane and masks:
                mask, mask_id = _corner(rng, info.shape[0]), 60
                values, models[60] = values * mask, _mask_model()
            tensors.append(TensorCoding(i, values, 0, tools, mask, mask_id))
        writer.write_frame(FrameCoding(number, 1 if intra else 2, number, None, models, tensors))
    writer.finish()
    return out.getvalue()


def mlp_stream(rng) -> bytes:
    header = _header(MlpSizes(hidden_layers=2, hidden=8, skip_layer=0, position_frequencies=2, features=4,
                              render_hidden=8))
    out = io.BytesIO()
    writer = StreamWriter(out, header)
    writer.begin()
    for number in range(2):
        writer.begin_group(number, 1)
        values = [np.round(rng.laplace(0, 2, (i.size, 1))).astype(np.int32) for i in header.tensors]
        writer.write_frame(FrameCoding(number, 1, number, None, {0: _TABLE},
                                       [TensorCoding(i, v, 0, Tools((96,))) for i, v in enumerate(values)]))
    writer.finish()
    return out.getvalue()


@pytest.fixture
def made(monkeypatch) -> list[EncodeOptions]:
    """Stands in for training: writes a stream of the kind that the options ask for; the options it was given."""
    calls = []

    def encode(dataset, out, options, on_progress=None):
        calls.append(options)
        assert len(dataset.frames) == 2 and not options.evaluate
        if options.system == "dynamic-dif":
            raise UsageError("no field today")
        rng = np.random.default_rng(len(calls))
        Path(out).write_bytes(
            mlp_stream(rng) if options.representation == "mlp" else
            vm_stream(rng, options.system == "masked-wavelet" and options.masks is not False,
                      min(options.group_size, 2), 1 + 3e-3 / (options.lagrangian or 1e-2)))

    monkeypatch.setattr(refcodec.encoder, "encode", encode)
    return calls


def run(*args):
    return CliRunner().invoke(cli, ["benchmark", "systems", *map(str, args)])


def test_points_files_and_comparisons(dataset, tmp_path, made):
    folder = tmp_path / "out"
    result = run(dataset, folder, "--preset", "micro", "--device", "cpu", "--lambda", "1e-3", "--seed", 5, "--json")
    assert result.exit_code == 1, result.output  # dynamic-dif was refused
    report = json.loads((folder / "systems.json").read_text())
    assert json.loads(result.stdout) == report
    assert report["failures"] == {"dynamic-dif-0.001": "no field today"} and report["complete"]
    names = [(p["name"], p["lagrangian"]) for p in report["points"]]
    once = [e.name for e in systems.ENTRIES if e.once]
    assert len(once) == 3 and len(names) == len(set(names)) == 7 + 3 and all((n, None) in names for n in once)
    # What the encoder was asked for.
    assert all(o.preset == "micro" and o.seed == 5 for o in made)
    assert {(o.system, o.representation, o.lagrangian) for o in made if o.masks is False} \
        == {("masked-wavelet", "vm", None)}
    assert {(o.rate_loss, o.learn_steps) for o in made if o.group_size == 1} == {(False, False)}
    # Measurements are those of the files.
    for p in report["points"]:
        stem = p["name"] + (f"-{p['lagrangian']:g}" if p["lagrangian"] else "")
        path = folder / f"{stem}.rfv"
        assert p["size"] == path.stat().st_size / 2 and p["frames"] == 2 and 0 < p["psnr"] < 40
        frames = list(open_stream(path))
        assert p["intra"] == np.mean([f.size for f in frames if f.type == 1])
        inter = [f.size for f in frames if f.type == 2]
        assert p["inter"] == (np.mean(inter) if inter else None)
        assert (p["masks"] is None) == (not p["name"].startswith("masked-wavelet") or p["name"].endswith("unmasked"))
        assert (p["weights"] is None) == (p["name"] != "cnerf")
    said = {c["what"]: c["value"] for c in report["comparisons"]}
    by = {(p["name"], p["lagrangian"]): p for p in report["points"]}
    p, twin = by["masked-wavelet-vm", 1e-3], by["masked-wavelet-vm-unmasked", None]
    head = "masked-wavelet-vm, λ = 0.001: "
    assert said[head + "published pipeline on the same tensors / this file"] == p["published"] / p["tensors"]
    assert said[head + "run lengths and Huffman codes of the same masks / coded masks"] == p["run_lengths"] / p["masks"]
    assert said[head + "PSNR against the same without masks"] == p["psnr"] - twin["psnr"]
    assert said[head + "coefficients that are zero"] > 80 > 100 * twin["zero_share"]
    p = by["cnerf", 1e-3]
    assert said["cnerf, λ = 0.001: 32-bit weights / this file"] == p["weights"] / p["size"]
    assert said["rate-aware-vm, λ = 0.001: independent frames / this file"] \
        == by["independent-vm", None]["size"] / by["rate-aware-vm", 1e-3]["size"]
    # The other files.
    rows = list(csv.DictReader((folder / "systems.csv").open(encoding="utf-8")))
    assert [(r["name"], float(r["size"])) for r in rows] == [(p["name"], p["size"]) for p in report["points"]]
    tables = (folder / "systems.md").read_text()
    assert all(f"| {p['name']} |" in tables for p in report["points"]) and "no field today" in tables
    with Image.open(folder / "systems.png") as picture:
        assert picture.size[0] > 600 and len(picture.getcolors(1 << 20)) > 50
    assert not list(folder.glob("*.unquantised.*"))


def test_points_are_made_once(dataset, tmp_path, made):
    folder = tmp_path / "out"
    options = ("--device", "cpu", "--system", "rate-aware-vm", "--system", "cnerf")
    first = run(dataset, folder, *options)
    assert first.exit_code == 0, first.output
    assert len(made) == 2 and "| rate-aware-vm | – |" in first.stdout
    assert run(dataset, folder, *options).stdout == first.stdout and len(made) == 2
    # A damaged file, other options, another picture: made again, and nothing else.
    (folder / "cnerf.rfv").write_bytes((folder / "cnerf.rfv").read_bytes()[:-1])
    assert run(dataset, folder, *options).exit_code == 0
    assert [o.system for o in made[2:]] == ["cnerf"]
    assert run(dataset, folder, *options, "--seed", 3).exit_code == 0
    assert len(made) == 5
    Image.new("RGB", (6, 6)).save(dataset / "f0_c1.png")
    assert run(dataset, folder, *options, "--seed", 3).exit_code == 0
    assert len(made) == 7
    (folder / "rate-aware-vm.json").write_text("{")
    assert run(dataset, folder, *options, "--seed", 3).exit_code == 0
    assert len(made) == 8


def test_a_dataset_without_held_out_views_is_refused(dataset, tmp_path, made):
    with pytest.raises(UsageError, match="held-out"):
        systems.run(str(dataset), tmp_path / "out", EncodeOptions(holdout=(), device="cpu"))
    content = json.loads((dataset / "transforms.json").read_text())  # without a held-out view of frame 1
    (dataset / "transforms.json").write_text(json.dumps({**content, "test_filenames": ["f0_c0.png"]}))
    result = CliRunner().invoke(cli, ["benchmark", str(dataset), str(tmp_path / "out"), "--device", "cpu"])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1) and "no held-out views" in result.stderr
    assert not made and not (tmp_path / "out").exists()


def test_operating_points(dataset, tmp_path, made):
    result = run(dataset, tmp_path / "out", "--device", "cpu", "--system", "rate-aware-vm",
                 "--system", "independent-vm", "--lambda", "1e-3", "--lambda", "4e-3")
    assert result.exit_code == 0, result.output
    assert [(o.lagrangian, o.rate_loss) for o in made] == [(1e-3, True), (4e-3, True), (None, False)]
    assert {p.name for p in (tmp_path / "out").glob("*.rfv")} == {
        "rate-aware-vm-0.001.rfv", "rate-aware-vm-0.004.rfv", "independent-vm.rfv"}


def test_tables_go_between_the_markers(dataset, tmp_path, made):
    document = tmp_path / "systems.md"
    document.write_text(f"before\n{MARKERS[0]}\nold\n{MARKERS[1]}\nafter\n")
    result = run(dataset, tmp_path / "out", "--device", "cpu", "--system", "cnerf", "--into", document)
    assert result.exit_code == 0, result.output
    text = document.read_text()
    assert text == f"before\n{MARKERS[0]}\n{result.stdout}{MARKERS[1]}\nafter\n" and "| cnerf |" in text
    document.write_text("no markers")
    assert run(dataset, tmp_path / "out", "--device", "cpu", "--system", "cnerf", "--into", document).exit_code == 1
    assert document.read_text() == "no markers"


def test_the_documentation_has_a_place_for_the_tables_and_names_every_system():
    text = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8")
    assert text.count(MARKERS[0]) == text.count(MARKERS[1]) == 1
    assert all(system in text for system in {e.changes["system"] for e in systems.ENTRIES})


def test_entries_by_name():
    assert [e.name for e in systems.entries(["masked-wavelet"])] == [
        "masked-wavelet-vm", "masked-wavelet-vm-unmasked", "masked-wavelet-triplane"]
    assert systems.entries() == list(systems.ENTRIES) and len(systems.entries(["cnerf", "ecrf-grid"])) == 2
    with pytest.raises(UsageError, match="no system"):
        systems.entries(["mask"])


def test_every_entry_is_something_that_the_encoder_can_be_asked_for():
    from refcodec.encoder.systems import ToolChoice, plan

    for entry in systems.ENTRIES:
        options = EncodeOptions(**entry.changes)
        plan(options.system, options.representation, ToolChoice(masks=options.masks))


def point(name, size, psnr, **changes) -> SystemPoint:
    return SystemPoint(name, 1e-3, 1, size, psnr, [psnr], size, None, 1.0, **changes)


def test_equal_quality_is_interpolated():
    points = [point("masked-wavelet-vm", 1000, 30.0), point("masked-wavelet-vm", 4000, 32.0),
              point("ecrf-vm", 1000, 31.0)]
    found, = systems.comparisons(points)
    assert found["value"] == pytest.approx(2.0) and found["unit"] == "times"
    assert not systems.comparisons(points[1:])  # one point gives no curve


@pytest.mark.parametrize("psnr", [[30.0], [30.0, 30.0], [math.inf, 20.0]])
def test_plots_of_few_points(tmp_path, psnr):
    systems.plot([point(f"system-{i}", 10**i, q) for i, q in enumerate(psnr)], tmp_path / "plot.png")
    assert Image.open(tmp_path / "plot.png").size[1] == 520


def test_ticks_are_round_and_inside():
    for low, high in ((29.5, 33.1), (0.0, 1.0), (-3.0, 55.0)):
        ticks = systems._ticks(low, high)
        assert 2 <= len(ticks) <= 9 and low <= ticks[0] and ticks[-1] <= high
    assert systems._ticks_log(3, 60) == [5, 10, 20, 50]


def test_tools_stay_reachable_without_their_name():
    for words in (["benchmark", "--help"], ["benchmark", "tools", "--help"], ["benchmark", "systems", "--help"]):
        assert CliRunner().invoke(cli, words).exit_code == 0
    for words in (["benchmark", "--preset", "micro", "nowhere", "out"], ["benchmark", "tools", "nowhere", "out"]):
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 1 and "D01" in result.output or "nowhere" in result.output


def test_mapped_tensors_only_count_against_the_published_pipeline(tmp_path):
    path = tmp_path / "one.rfv"
    path.write_bytes(vm_stream(np.random.default_rng(2), True, 2, 2.0))
    intra = next(coded_frames(path))
    found = systems._against_published([intra])
    grids = [t for t in intra.tensors if t.info.mapping != Mapping.NONE]
    assert len(grids) == 12 and found["published"] == len(masked_wavelet_pipeline(
        [t.values for t in grids], [t.mask for t in grids], [t.tools.levels for t in grids], [None] * 12))
    assert found["masks"] == sum(t.mask_bytes for t in grids[:3] + grids[6:9]) + intra.models[60]
    assert found["tensors"] == sum(t.value_bytes + t.mask_bytes for t in grids) + sum(intra.models.values())
