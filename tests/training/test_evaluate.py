"""`refcodec evaluate`: comparison of curves, points, resuming, reports. Baselines: test_baselines.py."""
from __future__ import annotations

import csv
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, strategies as st
from PIL import Image

from checkout import ROOT

for package in ("torch", "bjontegaard", "jinja2", "matplotlib"):
    pytest.importorskip(package)

from test_systems_benchmark import dataset, mlp_stream, vm_stream  # noqa: F401  (dataset is a fixture)

import refcodec.encoder
from refcodec.cli import cli
from refcodec.encoder import EncodeReport
from refcodec.errors import UsageError
from refcodec.evaluation import quality, report as writing
from refcodec.evaluation.baselines import BASELINES
from refcodec.evaluation.quality import Metrics, means
from refcodec.evaluation.rates import difference, envelope

SCHEMA = json.loads((ROOT / "refcodec" / "schemas" / "evaluate.schema.json").read_text(encoding="utf-8"))


# Curves.


def test_differences_by_hand():
    anchor = [(1000, 30.0), (2000, 32.0), (4000, 34.0), (8000, 36.0)]  # 2 dB for every doubling
    twice = difference(anchor, [(2 * r, q) for r, q in anchor])
    assert twice.bd_rate == pytest.approx(100) and twice.bd_psnr == pytest.approx(-2) and twice.note is None
    better = difference(anchor, [(r, q + 1) for r, q in anchor])
    assert better.bd_rate == pytest.approx(100 * (2**-0.5 - 1)) and better.bd_psnr == pytest.approx(1)
    assert difference(anchor, anchor[::-1]).bd_rate == pytest.approx(0)


def test_curves_that_do_not_meet_say_so():
    anchor = [(1000, 30.0), (2000, 32.0)]
    apart = difference(anchor, [(1000, 33.0), (2000, 35.0)])
    assert apart.bd_rate is None and apart.bd_psnr == pytest.approx(3)
    assert apart.note == "no PSNR in common: 33.00 to 35.00 dB against 30.00 to 32.00 dB"
    far = difference(anchor, [(10000, 30.0), (20000, 32.0)])
    assert far.bd_rate == pytest.approx(900) and far.bd_psnr is None
    assert "no rate in common: 10.0 to 20.0 KB" in far.note
    little = difference(anchor, [(1000, 31.8), (2000, 33.8)])
    assert little.bd_rate is not None and "0.20 dB only, 10 %" in little.note
    assert difference(anchor, [(1000, 31.0)]).note.startswith("the curve has fewer than two points")
    assert difference(anchor[:1], anchor).note.startswith("the anchor has fewer")


def test_points_that_are_not_worth_their_rate_are_left_out():
    found = difference([(1000, 30.0), (2000, 32.0)], [(1000, 30.0), (1500, 29.0), (2000, 32.0)])
    assert found.bd_rate == pytest.approx(0) and "1 of the curve's points left out" in found.note


@given(st.lists(st.tuples(st.floats(1, 1e6), st.floats(10, 50)), max_size=12))
def test_envelopes_rise(points):
    kept = envelope(points)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in zip(kept, kept[1:])) and set(kept) <= set(points)
    assert all(any(k[0] <= r and k[1] >= q for k in kept) for r, q in points)


# Quality.


def test_metrics_of_known_pictures():
    metrics = Metrics()
    rng = np.random.default_rng(0)
    truth = rng.random((176, 180, 3))
    same, worse = metrics.of(truth, truth), metrics.of(np.clip(truth + 0.1, 0, 1), truth)
    assert same["psnr"] == quality.BEST_PSNR and same["ssim"] == pytest.approx(1) and same["psnr_box"] is None
    assert worse["psnr"] == pytest.approx(-10 * math.log10(np.mean((np.clip(truth + 0.1, 0, 1) - truth) ** 2)))
    if "ms_ssim" not in metrics.missing:
        assert same["ms_ssim"] == pytest.approx(1, abs=1e-5) and worse["ms_ssim"] < 0.999
    assert (same["lpips"] is None) == ("lpips" in metrics.missing)
    small = metrics.of(truth[:20, :20], truth[:20, :20], np.eye(20))
    assert small["ms_ssim"] is None and small["psnr_box"] == quality.BEST_PSNR
    metrics.expect(160, 300)
    assert "too small" in metrics.missing["ms_ssim"] or "package" in metrics.missing["ms_ssim"]


def test_means_are_over_frames_of_means():
    one = dict(psnr=30.0, psnr_box=None, ssim=0.5, ms_ssim=None, lpips=None)
    found = means([[one, {**one, "psnr": 20.0}], [{**one, "psnr": 35.0, "psnr_box": 15.0}]])
    assert found == dict(psnr=30.0, psnr_frames=[25.0, 35.0], psnr_box=15.0, ssim=0.5, ms_ssim=None, lpips=None)


# The command.


@pytest.fixture
def made(monkeypatch) -> list:
    """Stands in for training: writes a stream of the kind that the options ask for; the options it was given."""
    calls = []

    def encode(scene, out, options, on_progress=None):
        calls.append(options)
        assert len(scene.frames) == 2 and not options.evaluate and options.cameras == "none"
        if options.system == "masked-wavelet":
            raise UsageError("no wavelet today")
        rng = np.random.default_rng(4)
        Path(out).write_bytes(
            mlp_stream(rng) if options.representation == "mlp" else
            vm_stream(rng, False, min(options.group_size, 2), 1 + 3e-3 / (options.lagrangian or 1e-2)))
        return EncodeReport(out, Path(out).stat().st_size, [], 0, 0.0)

    monkeypatch.setattr(refcodec.encoder, "encode", encode)
    return calls


def run(*args):
    return CliRunner().invoke(cli, ["evaluate", *map(str, args)])


_CHEAP = ("--baseline", "independent-lzma=8,4", "--baseline", "dct=90,40", "--baseline", "float32")


class _Page(HTMLParser):
    """What a page would fetch, and its tags in balance."""

    def __init__(self):
        super().__init__()
        self.fetched, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.fetched += [v for k, v in attributes if k in ("src", "href", "srcset", "action", "data", "poster")]
        assert tag not in ("script", "iframe", "object", "embed")
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_a_whole_run(dataset, tmp_path, made):  # noqa: F811
    folder = tmp_path / "out"
    result = run(dataset, folder, "--preset", "micro", "--device", "cpu", "--lambda", "1e-3", "--lambda", "4e-3",
                 "--json", "--baseline", "all", *(f for n, b in BASELINES.items() if b.suffix == ".rfv"
                                                  for f in ("--baseline", f"{n}=8")))
    assert result.exit_code == 0, result.output
    report = json.loads((folder / "evaluate.json").read_text(encoding="utf-8"))
    assert json.loads(result.stdout) == report
    jsonschema.validate(report, SCHEMA)
    scene, = report["datasets"]
    assert report["complete"] and scene["complete"] and not report["failed"] and scene["anchor"] == "rate-aware-vm"
    # The codec twice, one training without rate for everything else.
    assert [(o.lagrangian, o.rate_loss, o.learn_steps) for o in made] == [
        (1e-3, True, True), (4e-3, True, True), (None, False, False)]
    assert list(scene["training"]) == ["vm"]
    # Every baseline that this machine has, with all of its values; the others with their reasons.
    points = {(p["curve"], p["value"]): p for p in scene["points"]}
    for name, baseline in BASELINES.items():
        curve = name if name.startswith("views") else f"{name}-vm"
        if (reason := baseline.unavailable()) is not None:
            assert scene["not_run"][name] == reason
        else:
            assert all((curve, v) in points for v in report["request"]["baselines"][name])
    assert set(scene["not_run"]) == {n for n, b in BASELINES.items() if b.unavailable()}
    for p in points.values():
        file = folder / scene["name"] / p["file"]
        assert p["size"] == file.stat().st_size / 2
        assert sum(p["components"].values()) == pytest.approx(p["size"])
        assert p["psnr"] == pytest.approx(np.mean(p["psnr_frames"])) and len(p["psnr_frames"]) == 2
        assert (p["kind"] == "views") == (p["measured_on"] == "source views") == (p["nearest_psnr"] is not None)
    # The uncoded field is the reference of all baselines' quality.
    exact = points["float32-vm", 32]["psnr"]
    assert abs(points["independent-lzma-vm", 8]["psnr"] - exact) < abs(points["independent-lzma-vm", 4]["psnr"] - exact)
    compared = {c["curve"]: c for c in scene["comparisons"]}
    assert set(compared) == {p["curve"] for p in scene["points"]} - {"rate-aware-vm"}
    # The other files.
    rows = list(csv.DictReader((folder / "evaluate.csv").open(encoding="utf-8")))
    assert [(r["curve"], float(r["size"])) for r in rows] == [(p["curve"], p["size"]) for p in scene["points"]]
    text = (folder / "evaluate.md").read_text(encoding="utf-8")
    assert all(f"| {p['curve']} |" in text for p in scene["points"])
    page = (folder / "evaluate.html").read_text(encoding="utf-8")
    parser = _Page()
    parser.feed(page)
    assert not parser.open and parser.fetched and all(f.startswith("data:image/png;base64,") for f in parser.fetched)
    assert not re.search(r"https?://|url\(|@import", page)
    pictures = sorted(p.name for p in folder.glob("*.png"))
    assert f"{scene['name']}-psnr.png" in pictures and f"{scene['name']}-components.png" in pictures
    for name in pictures:
        with Image.open(folder / name) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 20


def test_points_are_made_once(dataset, tmp_path, made, monkeypatch):  # noqa: F811
    folder, coded = tmp_path / "out", []
    for name in ("dct", "independent-lzma"):
        kind = type(BASELINES[name])
        original = kind.encode
        monkeypatch.setattr(kind, "encode", lambda self, sequence, value, original=original: (
            coded.append((self.name, value)), original(self, sequence, value))[1])
    options = ("--device", "cpu", "--lambda", "1e-3", *_CHEAP)
    first = run(dataset, folder, *options)
    assert first.exit_code == 0, first.output
    assert len(made) == 2 and len(coded) == 4
    again = run(dataset, folder, *options)
    assert again.exit_code == 0 and again.stdout == first.stdout and len(made) == 2 and len(coded) == 4
    # Another point, a damaged file, a damaged record: those alone.
    assert run(dataset, folder, *options, "--baseline", "dct=90,40,20").exit_code == 0
    assert coded[4:] == [("dct", 20)] and len(made) == 2
    damaged = folder / "data" / "dct-vm-40.bin"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    (folder / "data" / "independent-lzma-vm-8.json").write_text("[]")
    assert run(dataset, folder, *options).exit_code == 0
    assert sorted(coded[5:]) == [("dct", 40), ("independent-lzma", 8)] and len(made) == 2
    # Another field: everything made from it.
    assert run(dataset, folder, *options, "--seed", 9).exit_code == 0
    assert len(made) == 4


def test_box_and_settings_reach_the_training(dataset, tmp_path, made):  # noqa: F811
    options = ("--device", "cpu", "--lambda", "1e-3", "--set", "rays=64", *_CHEAP)
    result = run(dataset, tmp_path / "out", *options, "--box", -1, -0.9, -0.8, 0.7, 0.6, 0.5, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    jsonschema.validate(report, SCHEMA)
    assert [(o.aabb, o.settings) for o in made] == [(((-1, -0.9, -0.8), (0.7, 0.6, 0.5)), {"rays": "64"})] * 2
    assert report["options"]["aabb"] == [[-1, -0.9, -0.8], [0.7, 0.6, 0.5]]
    assert run(dataset, tmp_path / "out", *options, "--box", -1, -1, -1, 1, 1, 1).exit_code == 0 and len(made) == 4


def test_several_datasets_and_representations_in_one_report(dataset, tmp_path, made):  # noqa: F811
    other = tmp_path / "elsewhere" / "data"
    other.parent.mkdir()
    other.symlink_to(dataset, target_is_directory=True)
    result = run(dataset, other.parent / "data" / ".." / "data", other, tmp_path / "out", "--device", "cpu",
                 "--lambda", "1e-3", "--system", "rate-aware", "--system", "cnerf", "--representation", "vm",
                 "--representation", "mlp", *_CHEAP, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    jsonschema.validate(report, SCHEMA)
    assert [d["name"] for d in report["datasets"]] == ["data", "data-2", "data-3"]
    for scene in report["datasets"]:
        curves = {p["curve"] for p in scene["points"]}
        assert curves == {"rate-aware-vm", "cnerf-mlp", *(f"{b}-{r}" for b in ("independent-lzma", "dct", "float32")
                                                          for r in ("vm", "mlp"))}
        assert set(scene["training"]) == {"vm", "mlp"}
    page = (tmp_path / "out" / "evaluate.html").read_text(encoding="utf-8")
    assert all(f"<h2>{d['name']}</h2>" in page for d in report["datasets"])


def test_what_fails_is_told_and_the_rest_goes_on(dataset, tmp_path, made):  # noqa: F811
    result = run(dataset, tmp_path / "out", "--device", "cpu", "--lambda", "1e-3", "--system", "masked-wavelet",
                 "--system", "rate-aware", "--baseline", "float32", "--anchor", "float32-vm")
    assert result.exit_code == 1 and "Traceback" not in result.output
    report = json.loads((tmp_path / "out" / "evaluate.json").read_text(encoding="utf-8"))
    jsonschema.validate(report, SCHEMA)
    scene, = report["datasets"]
    assert scene["failures"] == {"masked-wavelet-vm-0.001": "no wavelet today"} and report["failed"] == 1
    assert [p["curve"] for p in scene["points"]] == ["rate-aware-vm", "float32-vm"]
    assert scene["anchor"] == "float32-vm"
    assert "no wavelet today" in result.stdout
    assert "no wavelet today" in (tmp_path / "out" / "evaluate.html").read_text(encoding="utf-8")


def test_what_is_missing_is_not_run(dataset, tmp_path, made, monkeypatch):  # noqa: F811
    monkeypatch.setattr(type(BASELINES["nnc"]), "unavailable", lambda self: "not on this machine")
    result = run(dataset, tmp_path / "out", "--device", "cpu", "--system", "none", "--baseline", "nnc",
                 "--baseline", "float32")
    assert result.exit_code == 0 and "nnc was not run: not on this machine" in result.stdout
    assert len(made) == 1
    result = run(dataset, tmp_path / "out", "--device", "cpu", "--system", "none", "--baseline", "nnc")
    assert result.exit_code == 1 and "nothing to compare" in result.output and len(made) == 1


@pytest.mark.parametrize("arguments, said", [
    (("--baseline", "jpeg"), "no baseline 'jpeg'"), (("--baseline", "dct=101"), "101 is no whole number"),
    (("--system", "mpeg"), "no system 'mpeg'"), (("--representation", "splat"), "no representation 'splat'"),
    (("--system", "cnerf"), "cnerf does not code vm"), (("--preset", "giant"), "no preset 'giant'"),
    (("--lambda", "0"), "lambda"), (("--lambda", "nan"), "nan is no finite number"),
    (("--device", "abacus"), "abacus"), (("--frames", "9:12"), "frame"),
    (("--system", "none", "--baseline", "none"), "nothing to compare"),
])
def test_bad_input_is_one_line(dataset, tmp_path, arguments, said):  # noqa: F811
    result = run(dataset, tmp_path / "out", *arguments)
    assert result.exit_code == 1 and said in result.output and "Traceback" not in result.output
    assert not (tmp_path / "out" / "evaluate.json").exists()


def test_unusable_datasets_and_folders(dataset, tmp_path, made):  # noqa: F811
    result = run(tmp_path / "nowhere", tmp_path / "out")
    assert result.exit_code == 1 and "D01" in result.output
    (tmp_path / "file").write_text("")
    result = run(dataset, tmp_path / "file" / "out", *_CHEAP)
    assert result.exit_code == 1 and "can't make the folder" in result.output and not made
    assert run(dataset).exit_code == 1


def test_trained_fields_are_coded_for_real(tmp_path):
    """No stand-in: a short training, one point of the codec, and what its baselines make of the same views."""
    result = run(ROOT / "demo" / "fox", tmp_path / "out", "--preset", "micro", "--frames", ":2", "--downscale", "5",
                 "--intra-iterations", 12, "--inter-iterations", 6, "--device", "cpu", "--system", "ecrf",
                 "--lambda", "1e-3", "--baseline", "independent-lzma-occupied=8", "--baseline", "dct=98")
    assert result.exit_code == 0, result.output
    scene, = json.loads((tmp_path / "out" / "evaluate.json").read_text(encoding="utf-8"))["datasets"]
    codec, lzma, dct = scene["points"]
    assert scene["views"] == dict(train=24, test=4) and scene["width"] == 40
    assert all(p["psnr"] > 8 and len(p["psnr_frames"]) == 2 for p in scene["points"])
    assert abs(lzma["psnr"] - dct["psnr"]) < 0.5  # the same field, hardly damaged


def test_documentation_names_every_baseline():
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in BASELINES)


def test_numbers_in_tables():
    assert writing._percent(None) == "–" and writing._percent(-3.14159) == "−3.1 %"
    assert writing._signed(0.5) == "+0.50 dB"
