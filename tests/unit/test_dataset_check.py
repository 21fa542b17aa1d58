"""`refcodec dataset check`: what it says of sound datasets, and that it finds every kind of trouble."""
from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st
from PIL import Image
from test_dataset_formats import (
    POINTS,
    SCENES,
    looking_at,
    needs_scenes,
    picture_of,
    rig,
    save,
    write_colmap,
    write_transforms,
    write_videos,
)

import refcodec
from checkout import ROOT
from refcodec.cli import cli
from refcodec.datasets import checks, load_dataset
from refcodec.datasets.drawing import _projected_edges
from refcodec.datasets.survey import report, survey
from refcodec.errors import DatasetError
from refcodec.rendering.cameras import Camera

FOX = ROOT / "demo" / "fox"
SCHEMA = json.loads((Path(refcodec.__file__).parent / "schemas" / "dataset.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def run(*args):
    return CliRunner().invoke(cli, ["dataset", "check", *map(str, args)])


def codes(result) -> set[str]:
    VALIDATOR.validate(report(result, []))
    return {finding.code for finding in result.findings}


def fox(root: Path, change=lambda content: None, frames=(0,)) -> Path:
    """Frames of the demo's fox in a document of their own, changed; pictures stay where they are."""
    content = json.loads((FOX / "transforms.json").read_text())
    content["frames"] = [entry | {"file_path": str(FOX / entry["file_path"])} for entry in content["frames"]
                         if entry["frame"] in frames]
    content.pop("test_filenames", None)
    change(content)
    root.mkdir(parents=True, exist_ok=True)
    (root / "transforms.json").write_text(json.dumps(content))
    return root


def poses(content, change) -> None:
    for i, entry in enumerate(content["frames"]):
        entry["transform_matrix"] = np.asarray(change(np.array(entry["transform_matrix"]), i)).tolist()


def picture(content, index: int, rgba: np.ndarray, root: Path) -> None:
    """Another picture for one camera."""
    path = root / f"other_{index}.png"
    save(Image.fromarray(rgba.astype(np.uint8)), path)
    content["frames"][index]["file_path"] = str(path)


# ---- Sound datasets ----------------------------------------------------------


def test_demo(tmp_path):
    result = run(FOX, "--out", tmp_path, "--sample", 1)
    assert result.exit_code == 0 and "0 errors, 0 warnings" in result.stdout
    for text in ("layout transforms", "8 (0 to 7)", "24 to train on, 4 held out", "200x200", "274.75", "pinhole",
                 "(-1, -1, -1) to (1, 1, 1)"):
        assert text in result.stdout
    cameras, contact = (np.asarray(Image.open(tmp_path / name).convert("RGB"))
                        for name in ("cameras.png", "contact.png"))
    assert cameras.shape[1] == 3 * 520 and contact.shape[0] > 600
    green = (cameras[..., 1] > 140) & (cameras[..., 0] < 40)
    assert all(green[:, panel * 520:(panel + 1) * 520].sum() > 300 for panel in range(3))  # the box, from three sides
    assert ((contact[..., 1] > 240) & (contact[..., 0] < 100)).sum() > 28 * 100  # and in every view


def test_json_is_the_loaded_dataset():
    result = run(FOX, "--json", "--sample", 0, "--frames", "2:5", "--holdout", "1,2", "--box", -1, -1, -1, 1, 1, 2)
    content = json.loads(result.stdout)
    VALIDATOR.validate(content)
    dataset = load_dataset(FOX, frames=range(2, 5), holdout=[1, 2], aabb=[[-1, -1, -1], [1, 1, 2]])
    seen = content["dataset"]
    assert seen["frames"] == {"count": 3, "first": 2, "last": 4} and (seen["train"], seen["test"]) == (26, 2)
    assert seen["box"] == dataset.aabb.tolist() and content["pictures_read"] == 0 and content["usable"]
    for described, view in zip(seen["cameras"], dataset.frames[0].views):
        assert described["position"] == view.camera.camera_to_world[:, 3].tolist()
        assert (described["index"], described["split"]) == (view.camera_index, view.split)
        assert described["fx"] == view.camera.fx
    assert json.loads(run(FOX, "--json", "--sample", 0, "--frames", "6:").stdout)["dataset"]["frames"]["count"] == 2


def test_schema_is_a_schema_and_not_a_formality():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    content = report(survey(FOX, samples=0), [])
    assert VALIDATOR.is_valid(content)
    for change in ({"usable": 1}, {"layout": "other"}, {"extra": 1}, {"findings": [{"code": "D7"}]}):
        assert not VALIDATOR.is_valid(content | change)


@needs_scenes
def test_real_scenes(tmp_path):
    """Two cameras of the temple do stand at one place: the gantry reached it in two ways."""
    result = run(SCENES / "temple_sparse_ring", "--out", tmp_path)
    assert result.exit_code == 0 and "W03: cameras 0 and 10" in result.stdout and "1 warning" in result.stdout
    assert survey(SCENES / "dtu_scan24", samples=0).findings == []


# ---- Trouble with cameras and box --------------------------------------------


def test_few_views_and_none_held_out(tmp_path):
    result = survey(fox(tmp_path, lambda c: c.update(frames=c["frames"][:5])), holdout=[])
    assert codes(result) == {"W01", "W02"} and result.usable


def test_the_same_camera_twice(tmp_path):
    result = survey(fox(tmp_path, lambda c: c["frames"][5].update(
        transform_matrix=c["frames"][3]["transform_matrix"])), samples=0)
    assert codes(result) == {"W03"} and "3 and 5" in result.findings[0].message


def test_a_camera_that_is_turned_away(tmp_path):
    turned = lambda m, i: m * (1, -1, -1, 1) if i == 4 else m
    result = survey(fox(tmp_path, lambda c: poses(c, turned)), samples=0)
    assert codes(result) == {"W04"} and result.blind == [4]
    assert [c["sees_box"] for c in report(result, [])["dataset"]["cameras"]].count(False) == 1


def test_boxes_of_the_wrong_size(tmp_path):
    box = lambda size: survey(fox(tmp_path / str(size), lambda c: c.update(aabb=[[-size] * 3, [size] * 3])), samples=1)
    assert codes(box(30)) == {"W05"}  # around the cameras
    assert codes(box(0.02)) == {"W07", "W12"}
    assert "W12" in codes(box(0.4)) and not codes(box(1.4))
    wide = survey(fox(tmp_path / "wide", lambda c: c.update(aabb=[[-60, -60, -1], [60, 60, 1]])), samples=0)
    assert codes(wide) == {"W05", "W06"}


def test_the_box_that_is_suggested(tmp_path):
    """It is much smaller, and cuts nothing off."""
    result = survey(FOX, samples=2)
    tight = result.tight_box
    assert (tight[0] >= -1).all() and (tight[1] <= 1).all() and np.prod(np.ptp(tight, 0)) < 0.5 * 8
    again = survey(FOX, aabb=tight, samples=2)
    assert codes(again) == set() and again.tight_box is None
    assert survey(fox(tmp_path), aabb=[[-0.1, -1, -1], [0.1, 1, 1]], samples=1).tight_box is None  # it cuts


# ---- Trouble with pictures ---------------------------------------------------


def test_masks_and_colours(tmp_path):
    rgba = np.zeros((200, 200, 4))
    colour = np.random.default_rng(0).integers(0, 255, (200, 200, 3))
    full, black, flat = (np.concatenate([rgb, np.full((200, 200, 1), 255)], -1)
                         for rgb in (colour, rgba[..., :3], rgba[..., :3] + 90))

    def change(content):
        for index, pixels in ((2, rgba), (3, full), (4, black), (5, flat)):
            picture(content, index, pixels, tmp_path)

    result = survey(fox(tmp_path, change), samples=1)
    assert codes(result) >= {"W08", "W09", "W10"}
    found = {(f.code, f.camera) for f in result.findings}
    assert {("W08", 2), ("W09", 3), ("W10", 4), ("W10", 5)} <= found and ("W10", 2) not in found


def test_copies(tmp_path):
    def change(content):
        content["frames"][6]["file_path"] = content["frames"][1]["file_path"]
        by_camera = {e["camera"]: e for e in content["frames"] if e["frame"] == 0}
        for entry in content["frames"]:
            if entry["frame"] == 4 and entry["camera"] == 9:
                entry["file_path"] = by_camera[9]["file_path"]

    result = survey(fox(tmp_path, change, frames=(0, 4)), samples=2)
    messages = [f.message for f in result.findings if f.code == "W11"]
    assert any("cameras 1 and 6" in text for text in messages) and any("camera 9" in text for text in messages)
    assert len(messages) == 2


@pytest.mark.parametrize("name, change, culprit", [
    ("shuffled", lambda c: poses(c, lambda m, i, p=[e["transform_matrix"] for e in c["frames"]]: p[(11 * i + 3) % 28]),
     None),
    ("mirrored", lambda c: poses(c, lambda m, i: np.diag([-1, 1, 1, 1]) @ m @ np.diag([-1, 1, 1, 1])), None),
    ("one wrong", lambda c: c["frames"][2].update(transform_matrix=c["frames"][9]["transform_matrix"]), 2),
])
def test_poses_that_the_masks_deny(tmp_path, name, change, culprit):
    """All cameras still look at the box, so that only the visual hull can tell."""
    result = survey(fox(tmp_path, change), samples=1)
    found = [f for f in result.findings if f.code == "W13"]
    assert found and found[0].camera == culprit


def test_moving_cameras_are_counted(tmp_path):
    assert survey(fox(tmp_path, frames=(0, 1)), samples=0).moving == []

    def shift(content):
        for entry in content["frames"]:
            if entry["frame"] == 1 and entry["camera"] == 3:
                entry["transform_matrix"][0][3] += 0.01

    assert survey(fox(tmp_path, shift, frames=(0, 1)), samples=0).moving == [3]


# ---- Errors ------------------------------------------------------------------


def test_all_errors_at_once(tmp_path):
    """Every broken picture is listed, the cameras that are left are still drawn, and the exit code is 1."""
    write_transforms(rig(), tmp_path / "set")
    (tmp_path / "set/images/002.png").unlink()
    save(picture_of(4).resize((5, 5)), tmp_path / "set/images/004.png")
    (tmp_path / "set/images/006.png").write_bytes((tmp_path / "set/images/006.png").read_bytes()[:-40])
    content = json.loads((tmp_path / "set/transforms.json").read_text())
    content["frames"][7]["transform_matrix"][0][0] = 9
    (tmp_path / "set/transforms.json").write_text(json.dumps(content))
    result = run(tmp_path / "set", "--out", tmp_path / "out", "--json")
    found = json.loads(result.stdout)
    VALIDATOR.validate(found)
    errors = [(f["code"], Path(f["path"]).name) for f in found["findings"] if f["severity"] == "error"]
    assert errors == [("D06", "transforms.json"), ("D07", "004.png"), ("D05", "006.png")]
    assert [f["code"] for f in found["findings"] if "002.png" in (f["path"] or "")] == ["W14"]
    assert result.exit_code == 1 and found["files"] == ["cameras.png", "contact.png"]
    assert [c["index"] for c in found["dataset"]["cameras"]] == [0, 1, 3, 4, 5, 6, 8]
    text = run(tmp_path / "set")
    assert text.exit_code == 1 and "can't be encoded: 3 errors" in text.stdout and "Traceback" not in text.output


@pytest.mark.parametrize("prepare, code", [
    (lambda root: None, "D03"),
    (lambda root: (root / "transforms.json").write_text("{"), "D02"),
    (lambda root: fox(root, lambda c: c.update(aabb=[[1, 1, 1], [0, 0, 0]])), "D13"),
    (lambda root: fox(root, lambda c: c.update(aabb=[[90, 90, 90], [91, 91, 91]])), "D15"),
    (lambda root: fox(root, lambda c: poses(c, lambda m, i: m * (1, -1, -1, 1))), "D15"),
    (lambda root: fox(root, lambda c: [e.update(transform_matrix=None) for e in c["frames"]]), "D06"),
    (lambda root: fox(root, lambda c: [e.update(file_path="none.png") for e in c["frames"]]), "D04"),
])
def test_what_can_not_be_encoded(tmp_path, prepare, code):
    """The check's first error is the one that loading ends with."""
    prepare(tmp_path)
    result = run(tmp_path, "--json", "--out", tmp_path / "out")
    content = json.loads(result.stdout)
    VALIDATOR.validate(content)
    assert result.exit_code == 1 and not content["usable"] and content["findings"][0]["code"] == code
    with pytest.raises(DatasetError) as caught:
        load_dataset(tmp_path)
    assert caught.value.code == code


def test_an_assumed_box_is_the_one_that_encoding_takes(tmp_path):
    """And a broken picture that only the search for the foreground reads, in no sampled frame, is reported once."""
    frames = (0, 1, 2)
    own = fox(tmp_path, lambda c: c.pop("aabb"), frames)
    assert np.array_equal(survey(own, samples=1).box, load_dataset(own).aabb)
    assert np.prod(np.ptp(survey(own, samples=1).box, 0)) < 0.5 * np.prod(np.ptp(survey(own, samples=0).box, 0))
    content = json.loads((own / "transforms.json").read_text())
    broken = next(e for e in content["frames"] if e["frame"] == 1 and e.get("camera", 1))
    (own / "broken.png").write_bytes(Path(broken["file_path"]).read_bytes()[:-500])
    broken["file_path"] = str(own / "broken.png")
    (own / "transforms.json").write_text(json.dumps(content))
    for samples in (1, 3):
        found = survey(own, samples=samples)
        assert not found.usable and [f.code for f in found.findings if f.is_error] == ["D05"]
    assert survey(own, samples=0).usable  # headers only


def test_rig_of_videos(tmp_path):
    """Described like any other; a video that can't be read is an error of its own."""
    write_videos(rig(count=3), tmp_path)
    steps = []
    result = survey(tmp_path, samples=2, on_progress=lambda *step: steps.append(step))
    assert result.usable and result.numbers == [2, 3, 4] and len(result.pictures) == 6
    assert {"W01", "W08"} <= codes(result)  # masks that are less than half opaque count as empty
    assert [done for done, *_ in steps] == [*range(9), *range(6)] and steps[0][1] == 9
    (tmp_path / "cam1.mkv").write_bytes(b"no video")
    found = json.loads(run(tmp_path, "--json").stdout)["findings"]
    assert [f["code"] for f in found if f["severity"] == "error"] == ["D05"]


def test_bad_arguments(tmp_path):
    assert run(tmp_path / "nowhere").exit_code == 1
    assert run(FOX, "--frames", "90:95", "--sample", 0).exit_code == 1
    assert run(FOX, "--frames", "90:", "--sample", 0).exit_code == 1
    assert run(FOX, "--holdout", "x").exit_code == 1
    (tmp_path / "file").touch()
    failed = run(FOX, "--out", tmp_path / "file" / "out", "--sample", 0)
    assert failed.exit_code == 1 and failed.output.count("\n") == 1 and "can't make the folder" in failed.output


# ---- Drawing -----------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(-4, 4), min_size=3, max_size=3), st.integers(0, 2**31))
def test_projected_edges_are_where_the_box_is(position, seed):
    """Both ends of every edge drawn come from points of that edge in front of the camera."""
    if np.linalg.norm(position) < 1e-3 or abs(position[0]) + abs(position[1]) < 1e-3:
        return
    target = np.random.default_rng(seed).uniform(-6, 6, 3)
    if np.linalg.norm(np.cross(np.subtract(position, target), (0, 0, 1))) < 1e-3:
        return
    c = Camera(64, 48, 50.0, 50.0, 32.0, 24.0, looking_at(position, target))
    box = np.array([[-1.0, -1, -1], [1, 1, 1]])
    edges = _projected_edges(c, box)
    assert np.isfinite(edges).all() if edges else True
    corners = checks.box_points(box, 2)
    u, v, depth = checks.project(c, corners)
    ends = np.array([end for edge in edges for end in edge]).reshape(-1, 2)
    for i in np.nonzero(depth > 0.5)[0]:
        assert len(ends) and np.abs(ends - (u[i], v[i])).max(1).min() < 1e-3
    if (depth < 0).all():
        assert not edges


def test_colmap_scene_is_described(tmp_path):
    write_colmap(rig(), tmp_path, binary=True)
    content = report(survey(tmp_path), [])
    VALIDATOR.validate(content)
    assert content["layout"] == "COLMAP" and any(str(len(POINTS)) in text for text in content["dataset"]["assumptions"])
