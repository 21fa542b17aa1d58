"""Captures as people have them, by kind of fault: understood as meant, or refused with what to do."""
from __future__ import annotations

import json
import os
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageOps
from test_dataset_formats import (
    BOX,
    SIZE,
    assert_same,
    picture_of,
    pose4,
    rig,
    save,
    write_colmap,
    write_llff,
    write_transforms,
)

from refcodec.cli import cli
from refcodec.datasets import load_dataset, pixels
from refcodec.datasets.model import View
from refcodec.datasets.survey import survey, warnings_of
from refcodec.errors import DatasetError
from refcodec.rendering.cameras import Camera

WIDE = 32, 24  # twice SIZE


def run(*args):
    return CliRunner().invoke(cli, [str(a) for a in args])


def changed(root: Path, change=None, entry=None, **keys) -> Path:
    """transforms.json of a rig, with `keys` in the document; change(content), entry(index, entry) edit further."""
    if not (root / "transforms.json").exists():
        root.mkdir(exist_ok=True)
        write_transforms(rig(), root)
    content = json.loads((root / "transforms.json").read_text()) | keys
    for i, item in enumerate(content["frames"]):
        if entry:
            entry(i, item)
    if change:
        change(content)
    (root / "transforms.json").write_text(json.dumps({k: v for k, v in content.items() if v is not ...}))
    return root


def understood(root: Path, count: int = 9) -> list[str]:
    """What was assumed, after comparing every view with the rig's camera and picture."""
    dataset = load_dataset(root)
    views = dataset.frames[0].views
    assert len(dataset.frames) == 1 and len(views) == count
    for view in views:
        assert_same(view.camera, rig()[view.camera_index])
        np.testing.assert_array_equal(np.round(view.load()[..., :3] * 255), np.asarray(picture_of(view.camera_index)))
    return list(dataset.assumptions)


def message(root: Path, **options) -> str:
    with pytest.raises(DatasetError) as caught:
        load_dataset(root, **options)
    text = str(caught.value)
    assert "\n" not in text and caught.value.path is not None
    return text


def codes(root: Path, **options) -> list[str]:
    return [notice.code for notice in load_dataset(root, **options).notices]


# ---- Names and texts ---------------------------------------------------------


@pytest.mark.parametrize("spelled", [
    "images\\{:03d}.png", ".\\images\\{:03d}.png", "C:\\Users\\me\\capture\\images\\{:03d}.png",
    "/home/me/capture/images/{:03d}.png", "images/{:03d}", "./images/{:03d}.png", "Images/{:03d}.PNG",
    "images//{:03d}.png",
])
def test_pictures_are_found_however_spelled(tmp_path, spelled):
    told = understood(changed(tmp_path, entry=lambda i, e: e.update(file_path=spelled.format(i))))
    assert any("spelled otherwise" in text for text in told) == ("\\" in spelled or spelled.startswith(("/", "I")))


def test_colmap_names_with_backslashes_and_other_case(tmp_path):
    write_colmap(rig(), tmp_path, binary=False)
    path = tmp_path / "sparse/0/images.txt"
    path.write_text(path.read_text().replace(" 00", " Walk 1\\00").replace(".png", ".PNG"))
    (tmp_path / "images").rename(tmp_path / "walk 1")
    (tmp_path / "images").mkdir()
    (tmp_path / "walk 1").rename(tmp_path / "images/walk 1")
    understood(tmp_path)
    (tmp_path / "images").rename(tmp_path / "Images")
    understood(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings(tmp_path, encoding):
    changed(tmp_path)
    path = tmp_path / "transforms.json"
    path.write_bytes(path.read_text().encode(encoding))
    understood(tmp_path)


def test_text_that_is_no_json(tmp_path):
    text = changed(tmp_path).joinpath("transforms.json").read_text()
    path = tmp_path / "transforms.json"
    path.write_text("// of instant-ngp\n/* two\nlines */" + text.replace('"frames"', '"comment": "a // b /* c */", '
                                                                                     '"frames"'))
    understood(tmp_path)
    path.write_bytes(text.replace("images/000.png", "图像/000.png").encode("gb18030"))
    assert "GB18030" in message(tmp_path) and "UTF-8" in message(tmp_path)
    path.write_text(text.rstrip().removesuffix("}") + ",\n}")
    assert "comma" in message(tmp_path) and "line 2" in message(tmp_path)
    path.write_text(json.dumps([{"file_path": "a.png", "transform": np.eye(4)[:3].tolist()}]))
    assert "ns-export" in message(tmp_path)
    for content in ("[" * 100000, '{"frames": ' * 5000, '{"w": ' + "9" * 5000 + "}"):
        path.write_text(content)
        assert message(tmp_path).startswith("D02")
    with open(path, "wb") as file:
        file.truncate(1 << 28)  # sparse
    assert "larger than" in message(tmp_path)


def test_text_models_of_colmap(tmp_path):
    """Windows' line ends, no last line end; without second lines every picture is still there."""
    write_colmap(rig(), tmp_path, binary=False)
    for name in ("cameras", "images", "points3D"):
        path = tmp_path / f"sparse/0/{name}.txt"
        path.write_bytes(path.read_text().rstrip("\n").replace("\n", "\r\n").encode())
    understood(tmp_path)
    path = tmp_path / "sparse/0/images.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if line.endswith(".png") or line.startswith("#")))
    understood(tmp_path)
    path.write_text("\n".join(line for line in lines if line))  # those with points have a second line, others none
    understood(tmp_path)


# ---- Keys that change meaning ------------------------------------------------


REFUSED = [
    ("latlong", True, "D11"), ("equirectangular", True, "D11"), ("orthographic", True, "D11"),
    ("ftheta_p0", 0.0, "D11"),
    ("camera_model", "FISHEYE624", "D11"), ("camera_model", "ORTHOPHOTO", "D11"), ("k4", 0.05, "D11"),
    ("distortion_params", [0.1] * 16, "D11"), ("k1", -44.85, "D11"),
    ("from_mitsuba", True, "D17"), ("normal_mts_args", {"a": 1}, "D17"), ("white_transparent", True, "D17"),
    ("black_transparent", 1, "D17"), ("fisheye_crop_radius", 100.0, "D17"),
]


@pytest.mark.parametrize("key, value, code, where", [
    *((*case, where) for case in REFUSED for where in ("document", "entries")), ("n_frames", 3, "D17", "document")])
def test_refused_keys(tmp_path, key, value, code, where):
    if where == "document":
        changed(tmp_path, **{key: value})
    else:
        changed(tmp_path, entry=lambda i, e: e.update({key: value}))
    text = message(tmp_path)
    assert text.startswith(code) and (key in text or "lens" in text)


def test_keys_that_say_nothing_are_harmless(tmp_path):
    understood(changed(tmp_path, latlong=False, from_mitsuba=False, white_transparent=False, n_frames=9,
                       orthographic=None, is_fisheye=False, k1=0, k4=0.0, sharpness_discard_threshold=0,
                       applied_scale=0.5, applied_transform=np.eye(4)[:3].tolist(), ply_file_path="a.ply",
                       orientation_override="none",
                       entry=lambda i, e: e.update(sharpness=30.1, colmap_im_id=i, depth_file_path="d.png")))
    assert codes(tmp_path) == []
    told = understood(changed(tmp_path, sharpen=0.5, envmap="sky.png"))
    assert any("`sharpen`" in text for text in told) and any("`envmap`" in text for text in told)
    changed(tmp_path, gravity=[0, 0, 1], entry=lambda i, e: e.update(roll=1.0))
    notices = load_dataset(tmp_path).notices
    assert [n.code for n in notices] == ["W18"] and "`gravity`, `roll`" in notices[0].message


def test_honoured_variants(tmp_path):
    distorted = changed(tmp_path / "a", camera_model="opencv", distortion_params=[0.02, 0.01, 0, 0, 0.001, 0.002])
    lens = load_dataset(distorted).frames[0].views[0].lens
    assert lens.parameters[:5] == (0.02, 0.01, 0.001, 0.002, 0.0)
    plain = changed(tmp_path / "b", camera_model="pinhole")
    understood(plain)
    angle = lambda i, e: (e.pop("fl_x"), e.pop("fl_y"), e.update(x_fov=60.0))
    camera = load_dataset(changed(tmp_path / "c", entry=angle)).frames[0].views[0].camera
    assert camera.fx == camera.fy == pytest.approx(8 / np.tan(np.pi / 6))
    scalar = load_dataset(changed(tmp_path / "d", aabb=..., aabb_scale=1, scale=0.5, offset=0.5))
    assert np.array_equal(scalar.aabb, [[-1] * 3, [1] * 3])
    still = lambda i, e: e.update(
        transform_matrix_start=e["transform_matrix"], transform_matrix_end=e.pop("transform_matrix"))
    understood(changed(tmp_path / "e", entry=still, rolling_shutter=[0, 0, 0, 1]))
    moving = changed(tmp_path / "e", entry=lambda i, e: e["transform_matrix_end"][0].__setitem__(3, 9.0))
    assert "D17" in message(moving) and "transform_matrix_end" in message(moving)


def test_train_lists_and_other_spellings_of_names(tmp_path):
    changed(tmp_path, train_filenames=[f"images/{i:03d}.png" for i in range(2, 8)], test_filenames=["./images/000.png"],
            entry=lambda i, e: e.update(file_path=f"./{e['file_path']}" if i % 2 else e["file_path"]))
    frame = load_dataset(tmp_path).frames[0]
    assert [v.image.stem for v in frame.split("test")] == ["000"] and len(frame.split("train")) == 6
    assert any("2 pictures" in text and "left out" in text for text in load_dataset(tmp_path).assumptions)
    changed(tmp_path, test_filenames=["images/000.png", "images/9999.png"])
    assert codes(tmp_path) == ["W15"]
    for key in ("test_filenames", "train_filenames"):
        bad = changed(tmp_path / key, **{key: ["images/9999.png"]})
        assert message(bad).startswith("D08") and key in message(bad)


# ---- Poses -------------------------------------------------------------------


def turned(matrix) -> list:
    return (np.array(matrix) * (1, -1, -1, 1)).tolist()


@pytest.mark.parametrize("box", [True, False])
@pytest.mark.parametrize("change, told", [
    (turned, "OpenCV's axes"),
    (lambda m: np.linalg.inv(m).tolist(), "world to camera"),
    (lambda m: np.linalg.inv(turned(m)).tolist(), "world to camera"),
])
def test_poses_of_other_conventions(tmp_path, box, change, told):
    changed(tmp_path, entry=lambda i, e: e.update(transform_matrix=change(e["transform_matrix"])),
            **({} if box else {"aabb": ...}))
    text = message(tmp_path)
    assert text.startswith("D15") and told in text


def test_rounded_and_scaled_poses(tmp_path):
    changed(tmp_path, entry=lambda i, e: e.update(transform_matrix=np.float16(e["transform_matrix"]).tolist()))
    for view, wanted in zip(load_dataset(tmp_path).frames[0].views, rig()):
        rotation = view.camera.camera_to_world[:, :3]
        np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-9)
        np.testing.assert_allclose(view.camera.camera_to_world, wanted.camera_to_world, atol=5e-3)

    def scale(i, e):
        e["transform_matrix"] = (np.array(pose4(rig()[i])) * (1.7, 1.7, 1.7, 1)).tolist()

    assert "scales by 1.7" in message(changed(tmp_path, entry=scale)) and "divide" in message(tmp_path)


def test_a_capture_that_looks_outward_is_no_convention_of_colmaps(tmp_path):
    """Its poses can't be mistaken: the model says what they are."""
    outward = [Camera(c.width, c.height, c.fx, c.fy, c.cx, c.cy, c.camera_to_world * (-1, 1, -1, 1)) for c in rig()]
    write_colmap(outward, tmp_path, binary=True)
    (tmp_path / "sparse/0/points3D.bin").unlink()
    assert message(tmp_path).startswith("D13")
    assert len(load_dataset(tmp_path, aabb=[[-20] * 3, [20] * 3]).frames[0].views) == 9


# ---- Counts and sizes --------------------------------------------------------


def test_several_models_the_largest_counts(tmp_path):
    write_colmap(rig(), tmp_path, binary=True)
    (tmp_path / "sparse/0").rename(tmp_path / "sparse/2")
    understood(tmp_path)  # none but 2
    write_colmap(rig()[:3], tmp_path, binary=False)
    for i in range(9):
        save(picture_of(i), tmp_path / f"images/{i:03d}.png")
    assert any("0 has 3" in text and "give the path of its folder" in text for text in understood(tmp_path))
    small = load_dataset(tmp_path / "sparse/0", aabb=BOX)
    assert len(small.frames[0].views) == 3 and [n.code for n in small.notices] == ["W17"]
    assert "3 of the 9 pictures" in small.notices[0].message
    (tmp_path / "sparse").rename(tmp_path / "distorted")
    (tmp_path / "distorted").rename(tmp_path / "x")
    (tmp_path / "distorted").mkdir()
    (tmp_path / "x").rename(tmp_path / "distorted/sparse")
    (tmp_path / "images").rename(tmp_path / "input")
    understood(tmp_path)  # what is left where 3DGS's convert.py failed


def test_llff_with_fewer_poses_than_pictures(tmp_path):
    cameras = rig(centred=True)
    write_llff(cameras, tmp_path)
    for name in (".DS_Store", "images/.DS_Store", "images/._000.png"):
        (tmp_path / name).write_bytes(b"\0\5\26\7")
    assert len(load_dataset(tmp_path).frames[0].views) == 9  # macOS's leftovers do not count
    np.save(tmp_path / "poses_bounds.npy", np.load(tmp_path / "poses_bounds.npy")[3:])
    text = message(tmp_path)
    assert text.startswith("D10") and "6 cameras" in text and "9 pictures" in text and "view_imgs.txt" in text
    (tmp_path / "view_imgs.txt").write_text("".join(f"{i:03d}.png\n" for i in range(3, 9)))
    views = load_dataset(tmp_path).frames[0].views
    assert [v.image.stem for v in views] == [f"{i:03d}" for i in range(3, 9)]
    assert_same(views[0].camera, cameras[3])


@pytest.mark.parametrize("layout", ["transforms", "COLMAP", "lens"])
def test_pictures_of_half_the_size(tmp_path, layout):
    """Alone, or in images_2/: intrinsics are scaled, and lens and picture with them."""
    wide = [Camera(*WIDE, 2 * c.fx, 2 * c.fy, 2 * c.cx, 2 * c.cy, c.camera_to_world) for c in rig()]
    if layout == "COLMAP":
        write_colmap(wide, tmp_path, binary=True)
    else:
        write_transforms(wide, tmp_path)
        if layout == "lens":
            changed(tmp_path, k1=0.05, p1=0.002)
    for path in (tmp_path / "images").iterdir():
        picture_of(int(path.stem)).save(path)
    for folder in ("images", "images_2"):
        if folder == "images_2":
            (tmp_path / "images").rename(tmp_path / "images_2")
        if layout == "lens":
            dataset = load_dataset(tmp_path)
            place = lambda i, e: e.update(file_path=str(tmp_path / folder / f"{i:03d}.png"))
            small = changed(tmp_path / "small", entry=place, k1=0.05, p1=0.002)
            for view, wanted in zip(dataset.frames[0].views, load_dataset(small).frames[0].views):
                assert_same(view.camera, wanted.camera)
                np.testing.assert_allclose(view.load(), wanted.load(), atol=1e-5)
            told = dataset.assumptions
        else:
            told = understood(tmp_path)
        assert any("1/2 the size" in text for text in told)
        assert any("images_2/" in text for text in told) == (folder == "images_2")
    save(picture_of(3).resize(WIDE), tmp_path / "images_2/003.png")
    assert message(tmp_path).startswith("D07") and "0.5 times" in message(tmp_path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    """Stored pixels where the calibration has their size, as COLMAP has it; upright ones where it has that."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    rng = np.random.default_rng(orientation)
    smooth = Image.fromarray(rng.integers(0, 256, (3, 4, 3), np.uint8)).resize(SIZE, Image.Resampling.BILINEAR)
    for size in (SIZE, SIZE[::-1]):
        root = tmp_path / f"{size[0]}"
        cameras = [Camera(*size, c.fx, c.fx, size[0] / 2, size[1] / 2, c.camera_to_world) for c in rig()]
        write_transforms(cameras, root)
        for i in range(9):
            smooth.save(root / f"images/{i:03d}.jpg", quality=98, subsampling=0, exif=exif)
        changed(root, entry=lambda i, e: e.update(file_path=f"images/{i:03d}.jpg"))
        if size != SIZE and orientation < 5:
            assert message(root).startswith("D07") and "turned by 90 degrees" in message(root)
            continue
        shown = load_dataset(root).frames[0].views[0].load()[..., :3]
        stored = Image.open(root / "images/000.jpg")
        wanted = np.asarray(stored if size == SIZE else ImageOps.exif_transpose(stored).convert("RGB"))
        np.testing.assert_array_equal(np.round(shown * 255), wanted)
        told = any("EXIF" in text for text in load_dataset(root).assumptions)
        assert told == (orientation != 1)


# ---- What is missing or broken -----------------------------------------------


def test_missing_pictures_up_to_a_share(tmp_path):
    changed(tmp_path)
    for i in (1, 5):
        (tmp_path / f"images/{i:03d}.png").unlink()
    understood(tmp_path, 7)
    assert codes(tmp_path) == ["W14"]
    assert "2 of 9" in load_dataset(tmp_path).notices[0].message
    for i in (2, 3, 4):
        (tmp_path / f"images/{i:03d}.png").unlink()
    text = message(tmp_path)
    assert text.startswith("D04") and "5 of 9 pictures" in text
    save(picture_of(1), tmp_path / "images/001.jpg")  # another format is named, not guessed
    assert "001.jpg" in message(tmp_path)


def test_a_held_out_part_that_can_not_be_used(tmp_path):
    write_transforms(rig(), tmp_path)
    content = json.loads((tmp_path / "transforms.json").read_text())
    (tmp_path / "transforms.json").unlink()
    own = lambda entries: json.dumps(content | {"frames": entries})
    (tmp_path / "transforms_train.json").write_text(own(content["frames"][:6]))

    def held_out(text: str) -> tuple[list[str], int]:
        (tmp_path / "transforms_test.json").write_text(text)
        dataset = load_dataset(tmp_path)
        return [n.code for n in dataset.notices], sum(len(f.split("test")) for f in dataset.frames)

    rest = content["frames"][6:]
    assert held_out(own(rest)) == ([], 3)
    assert held_out(own([])) == ([], 1)  # as BlenderNeRF writes it: then some of the others are held out
    assert held_out("{") == (["W15"], 1)
    assert held_out(own([rest[0] | {"file_path": "none.png"}, *rest[1:]])) == (["W15"], 2)
    assert held_out(own([rest[0] | {"transform_matrix": None}, *rest[1:]])) == (["W15"], 2)
    assert held_out(own([rest[0] | {"w": 7}, *rest[1:]])) == (["W15"], 2)
    assert held_out(own([entry | {"file_path": "none.png"} for entry in rest])) == (["W15"], 1)


def test_warnings_before_training_and_strict(tmp_path, monkeypatch):
    """`encode` says what `dataset check` says; --strict ends it before anything is trained."""
    changed(tmp_path / "set", gravity=1)
    monkeypatch.setattr("refcodec.encoder.encode", lambda *args: pytest.fail("trained"))
    result = run("encode", tmp_path / "set", tmp_path / "out.rfv", "--strict")
    assert result.exit_code == 1 and "warning W18" in result.stderr and "assumed: " in result.stderr
    assert run("dataset", "check", tmp_path / "set").exit_code == 0
    assert run("dataset", "check", tmp_path / "set", "--strict").exit_code == 1
    found = {f.code for f in warnings_of(load_dataset(tmp_path / "set"))}
    assert found == {f.code for f in survey(tmp_path / "set", samples=1).findings} >= {"W18"}


# ---- Masks -------------------------------------------------------------------


def with_masks(root: Path, draw, names="masks/{:03d}.png", size=SIZE, chosen=range(9), listed=True) -> Path:
    changed(root)
    for i in chosen:
        mask = np.zeros(size[::-1], np.uint8)
        draw(mask, i)
        save(Image.fromarray(mask), root / names.format(i))
    if listed:
        changed(root, entry=lambda i, e: e.update(mask_path=names.format(i)) if i in chosen else None)
    return root


def disc(mask, i):
    mask[mask.shape[0] // 3:2 * mask.shape[0] // 3, mask.shape[1] // 3:2 * mask.shape[1] // 3] = 255


def bar(mask, i):
    mask[:] = 255
    mask[:, mask.shape[1] // 4:mask.shape[1] // 2] = 0


def test_masks_of_objects_and_of_what_to_ignore(tmp_path):
    told = lambda root, **options: " ".join(load_dataset(root, **options).assumptions)
    objects, hidden = with_masks(tmp_path / "a", disc), with_masks(tmp_path / "b", bar)
    assert load_dataset(objects).has_masks and "empty space" in told(objects) and "--masks ignore" in told(objects)
    assert not load_dataset(hidden).has_masks and "--masks foreground" in told(hidden)
    view = load_dataset(hidden).frames[0].views[0]
    assert (view.load()[..., 3] == 1).all() and view.kept()[:, 4:8].sum() == 0 and view.kept().sum() == 12 * 12
    assert view.kept(4).tolist() == [[True, False, True, True]] * 3
    for root, use in ((objects, "ignore"), (hidden, "foreground")):
        dataset = load_dataset(root, masks=use)
        assert dataset.has_masks == (use == "foreground") and dataset.frames[0].views[0].mask_use == use
    none = load_dataset(objects, masks="none")
    assert not none.has_masks and none.frames[0].views[0].mask is None


def test_masks_beside_and_of_instant_ngp(tmp_path):
    beside = with_masks(tmp_path / "a", disc, listed=False)
    assert load_dataset(beside).has_masks and any("masks/ beside" in t for t in load_dataset(beside).assumptions)
    dynamic = with_masks(tmp_path / "b", lambda mask, i: mask[3:5].fill(255), "images/dynamic_mask_{:03d}.png",
                         listed=False)
    dataset = load_dataset(dynamic)
    assert not dataset.has_masks and dataset.frames[0].views[0].kept().sum() == 16 * 10
    assert not dataset.frames[0].views[0].kept()[3:5].any()


def test_masks_as_alpha_as_labels_and_in_colours(tmp_path):
    beside = with_masks(tmp_path / "a", disc, "images/{:03d}.png.alpha.png", listed=False)
    dataset = load_dataset(beside)
    assert dataset.has_masks and len(dataset.frames[0].views) == 9 and not dataset.notices
    wanted = dataset.frames[0].views[0].load()[..., 3]
    assert wanted.max() == 1 and wanted.min() == 0
    labels = with_masks(tmp_path / "b", lambda mask, i: (disc(mask, i), np.minimum(mask, 1, out=mask)))
    np.testing.assert_array_equal(load_dataset(labels).frames[0].views[0].load()[..., 3], wanted)
    for i in range(9):
        mask = np.zeros(SIZE[::-1], np.uint8)
        disc(mask, i)
        coloured = Image.fromarray((mask > 0).astype(np.uint8), "P")
        coloured.putpalette([0, 0, 0, 128, 0, 0])
        coloured.save(labels / f"masks/{i:03d}.png")
    np.testing.assert_array_equal(load_dataset(labels).frames[0].views[0].load()[..., 3], wanted)


def test_calibrations_that_list_few_of_the_pictures(tmp_path):
    """As after ns-process-data, where COLMAP found few poses; other kinds of pictures beside do not count."""
    changed(tmp_path, change=lambda c: c.update(frames=c["frames"][:4]))
    assert codes(tmp_path) == ["W17"]
    for i in range(4, 9):
        (tmp_path / f"images/{i:03d}.png").rename(tmp_path / f"images/{i:03d}_depth.png")
    assert codes(tmp_path) == []


def test_masks_for_some(tmp_path):
    assert codes(with_masks(tmp_path / "a", disc, chosen=range(4))) == ["W16"]
    assert codes(with_masks(tmp_path / "b", bar, chosen=range(4))) == ["W16"]
    assert codes(tmp_path / "a", masks="none") == []
    write_colmap(rig(), tmp_path / "c", binary=True)
    for i in range(4):
        mask = np.zeros(SIZE[::-1], np.uint8)
        disc(mask, i)
        save(Image.fromarray(mask), tmp_path / f"c/masks/{i:03d}.png.png")
    assert codes(tmp_path / "c") == ["W16"]


def test_masks_of_another_size(tmp_path):
    root = with_masks(tmp_path, disc, size=WIDE)
    dataset = load_dataset(root)
    assert any("2 times as large" in text for text in dataset.assumptions)
    alpha = dataset.frames[0].views[0].load()[..., 3]
    assert alpha.shape == SIZE[::-1] and alpha[5, 7] == 1 and alpha[0].max() == 0
    save(Image.new("L", (9, 31)), root / "masks/000.png")
    assert message(root).startswith("D12")


# ---- The box -----------------------------------------------------------------


def test_large_cubes_of_instant_ngp(tmp_path):
    """All cameras stand in it: what they look at counts, and the cube can be had back."""
    changed(tmp_path, aabb=..., aabb_scale=16)
    dataset = load_dataset(tmp_path)
    told = next(text for text in dataset.assumptions if text.startswith("the box"))
    assert np.ptp(dataset.aabb, 0).max() < 4 and "side 48.5" in told and "--box -24.2" in told
    assert np.ptp(load_dataset(changed(tmp_path, aabb_scale=1)).aabb, 0) == pytest.approx([1 / 0.33] * 3)
    box = [[-24] * 3, [24] * 3]
    assert load_dataset(changed(tmp_path, aabb_scale=16), aabb=box).aabb.tolist() == box


# ---- Loading -----------------------------------------------------------------


def photograph(path: Path, size, exif=None) -> np.ndarray:
    width, height = size
    y, x = np.mgrid[:height, :width]
    rgb = np.stack([127 + 120 * np.sin(x / 31), 127 + 120 * np.cos(y / 23), (x + y) * 255 / (width + height)], -1)
    Image.fromarray(rgb.astype(np.uint8)).save(path, quality=95, **({"exif": exif} if exif else {}))
    return rgb


@pytest.mark.parametrize("size", [(320, 240), (323, 241)])
@pytest.mark.parametrize("downscale", [1, 1.5, 2, 3.7, 4, 8])
def test_reduced_decoding_is_the_mean(tmp_path, size, downscale):
    photograph(tmp_path / "a.jpg", size)
    camera = Camera(*size, 300.0, 300.0, size[0] / 2, size[1] / 2, rig()[0].camera_to_world)
    view = View(camera, tmp_path / "a.jpg", None, "train", 0)
    shown = view.load(downscale)
    target = camera.scaled(1 / downscale)
    full = np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB"), np.float32) / 255
    wanted = pixels.area_mean(full, target.width, target.height)
    assert shown.shape == (target.height, target.width, 4)
    assert np.abs(shown[..., :3] - wanted).mean() < 0.005 and np.abs(shown[..., :3] - wanted).max() < 0.08


def test_distortion_is_removed_at_the_trained_size(tmp_path):
    from refcodec.datasets.lenses import Lens

    photograph(tmp_path / "a.jpg", (320, 240))
    lens = Lens("OPENCV", 320, 240, 280.0, 285.0, 161.0, 118.0, (-0.12, 0.02, 0.001, -0.002))
    camera = lens.undistorted(rig()[0].camera_to_world, "a", tmp_path)
    view = View(camera, tmp_path / "a.jpg", None, "train", 0, lens)
    full = view.load()
    for downscale in (2, 4, 8):
        target = camera.scaled(1 / downscale)
        wanted = pixels.area_mean(full, target.width, target.height)
        assert np.abs(view.load(downscale) - wanted).mean() < 0.006


def test_loaded_views_are_kept_until_their_file_changes(tmp_path):
    photograph(tmp_path / "a.jpg", (64, 48))
    camera = Camera(64, 48, 60.0, 60.0, 32.0, 24.0, rig()[0].camera_to_world)
    view = View(camera, tmp_path / "a.jpg", None, "train", 0)
    first = view.load(2)
    first[:] = 0  # a copy
    assert view.load(2).max() > 0
    Image.new("RGB", (64, 48), (10, 20, 30)).save(tmp_path / "a.jpg")
    os.utime(tmp_path / "a.jpg", ns=(time.time_ns(), time.time_ns() + 10**9))
    assert np.abs(view.load(2)[..., :3] * 255 - (10, 20, 30)).max() < 3
    steps = []
    loaded = pixels.load_views([view] * 5, 2, lambda *step: steps.append(step))
    assert steps == [(i, 5) for i in range(5)] and len(loaded) == 5
    with pytest.raises(DatasetError, match="D05|D04"):
        pixels.load_views([view, View(camera, tmp_path / "none.jpg", None, "train", 1)], 2)


# ---- Hostile input -----------------------------------------------------------


def test_pictures_that_lie_about_their_size(tmp_path):
    """A few bytes that claim many pixels: one error, and no memory for them."""
    def png(width: int, height: int) -> bytes:
        number = lambda value: struct.pack(">I", value)
        chunk = lambda kind, data: number(len(data)) + kind + data + number(zlib.crc32(kind + data))
        return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
                + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""))

    changed(tmp_path, change=lambda c: [e.update(w=e["w"]) for e in c["frames"]])
    for size in ((60000, 60000), (1 << 30, 1 << 30), (12000, 12000)):
        (tmp_path / "images/003.png").write_bytes(png(*size))
        assert message(tmp_path).startswith("D05")
        changed(tmp_path, entry=lambda i, e: (e.update(w=size[0], h=size[1]) if i == 3 else None))
        assert message(tmp_path).startswith("D05")


def test_links_in_circles(tmp_path):
    changed(tmp_path)
    (tmp_path / "images/000.png").unlink()
    (tmp_path / "images/000.png").symlink_to("000.png")
    (tmp_path / "images/loop").symlink_to(tmp_path)
    assert codes(tmp_path) == ["W14"]
    (tmp_path / "loop").symlink_to("loop")
    assert message(tmp_path / "loop").startswith("D01")
    (tmp_path / "sparse").symlink_to(tmp_path)
    (tmp_path / "transforms.json").unlink()
    (tmp_path / "transforms.json").symlink_to("transforms.json")
    assert message(tmp_path).startswith("D03")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e308, -1e308, 10**400])
def test_poses_of_no_size(tmp_path, value):
    changed(tmp_path, entry=lambda i, e: e["transform_matrix"][0].__setitem__(3, value) if i == 2 else None)
    assert message(tmp_path)[:3] in ("D06", "D13", "D15") if value != 10**400 else message(tmp_path)
    changed(tmp_path, entry=lambda i, e: e["transform_matrix"][0].__setitem__(0, value) if i == 2 else None)
    assert message(tmp_path).startswith("D06")
