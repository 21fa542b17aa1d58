"""Layouts of other programs, rebuilt small: known cameras come back, and pictures are attributed to them."""
from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image
from test_dataset_formats import (
    BOX,
    SIZE,
    assert_same,
    k_matrix,
    picture_of,
    pose4,
    quaternion,
    rig,
    save,
    world_to_camera,
    write_colmap,
    write_llff,
    write_transforms,
    write_video,
)
from test_datasets import code_of

import refcodec
from refcodec.datasets import load_dataset
from refcodec.datasets.easyvolcap import read_opencv_yaml
from refcodec.datasets.registry import LAYOUTS, documented, with_layouts

ROOT = Path(__file__).resolve().parent.parent.parent
FRAMES = 3


def w2c4(c) -> list:
    rotation, translation = world_to_camera(c)
    return np.vstack([np.column_stack([rotation, translation]), (0, 0, 0, 1)]).tolist()


def check(root: Path, layout: str, cameras, frames: int = 1, pixels: bool = True, **options):
    """The dataset, after comparing every view with the camera and the picture that were written."""
    dataset = load_dataset(root, **options)
    assert dataset.layout == layout and len(dataset.frames) == frames
    for number, frame in enumerate(dataset.frames):
        assert len(frame.views) == len(cameras)
        for i, (view, wanted) in enumerate(zip(frame.views, cameras)):
            assert_same(view.camera, wanted)
            if pixels:
                np.testing.assert_array_equal(np.round(view.load()[..., :3] * 255), np.asarray(picture_of(i, number)))
    return dataset


def centred(count=9):
    return rig(centred=True, count=count)


def test_neural_3d_video_extracted(tmp_path):
    cameras = centred(7)
    write_llff(cameras, tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    for i in range(7):
        for frame in range(FRAMES):
            save(picture_of(i, frame), tmp_path / f"cam{i:02d}/images/{frame:04d}.png")
    assert "cam00 first" in " ".join(check(tmp_path, "LLFF", cameras, FRAMES).assumptions)
    (tmp_path / "cam06").rename(tmp_path / "other")
    assert code_of(lambda: load_dataset(tmp_path)) == "D10"
    (tmp_path / "poses_bounds.npy").unlink()
    with pytest.raises(refcodec.errors.DatasetError, match="D03.*cam00/.*no poses_bounds.npy"):
        load_dataset(tmp_path)


def test_nsvf(tmp_path):
    cameras = [c for c in centred(9)]
    names = [f"{0 if i < 5 else 2 if i < 7 else 1}_{i:04d}" for i in range(9)]
    first = cameras[0]
    cameras = [type(c)(c.width, c.height, first.fx, first.fy, first.cx, first.cy, c.camera_to_world) for c in cameras]
    k = np.eye(4)
    k[:3, :3] = k_matrix(first)
    (tmp_path / "pose").mkdir()
    np.savetxt(tmp_path / "intrinsics.txt", k)
    (tmp_path / "bbox.txt").write_text("-1 -1 -1 1 1 1 0.4\n")
    for i, (name, c) in enumerate(zip(names, cameras)):
        save(picture_of(i), tmp_path / f"rgb/{name}.png")
        np.savetxt(tmp_path / f"pose/{name}.txt", np.array(pose4(c)) * (1, -1, -1, 1))
    order = sorted(range(9), key=lambda i: names[i])
    used = [i for i in order if names[i][0] != "1"]
    dataset = load_dataset(tmp_path)
    assert dataset.layout == "NSVF" and dataset.aabb.tolist() == BOX
    assert [v.split for v in dataset.frames[0].views] == ["train"] * 5 + ["test"] * 2
    for view, i in zip(dataset.frames[0].views, used):
        assert_same(view.camera, cameras[i])
        np.testing.assert_array_equal(np.round(view.load()[..., :3] * 255), np.asarray(picture_of(i)))
    (tmp_path / "intrinsics.txt").write_text(f"{first.fx} {first.cx} {first.cy} 0.\n0. 0. 0.\n1.\n")
    assert_same(load_dataset(tmp_path).frames[0].views[0].camera, cameras[0])
    (tmp_path / "pose/2_0006.txt").unlink()
    assert code_of(lambda: load_dataset(tmp_path)) == "D10"
    (tmp_path / "intrinsics.txt").unlink()
    with pytest.raises(refcodec.errors.DatasetError, match="D03.*NSVF: pose/, rgb/ there, but no intrinsics.txt"):
        load_dataset(tmp_path)


def test_dynamic_3d_gaussians(tmp_path):
    cameras = centred(9)
    held_out = (0, 4)
    for name, chosen in (("train", [i for i in range(9) if i not in held_out]), ("test", list(held_out))):
        meta = {"w": SIZE[0], "h": SIZE[1], "k": [], "w2c": [], "fn": [], "cam_id": []}
        for frame in range(FRAMES):
            meta["k"].append([k_matrix(cameras[i]).tolist() for i in chosen])
            meta["w2c"].append([w2c4(cameras[i]) for i in chosen])
            meta["fn"].append([f"{i}/{frame:06d}.png" for i in chosen])
            meta["cam_id"].append(chosen)
            for i in chosen:
                save(picture_of(i, frame), tmp_path / f"ims/{i}/{frame:06d}.png")
        (tmp_path / f"{name}_meta.json").write_text(json.dumps(meta))
    dataset = check(tmp_path, "Dynamic 3D Gaussians", cameras, FRAMES)
    assert [v.camera_index for v in dataset.frames[0].split("test")] == list(held_out)
    (tmp_path / "test_meta.json").write_text("{")
    broken = load_dataset(tmp_path)
    assert [n.code for n in broken.notices] == ["W15"] and len(broken.frames[0].views) == 7


def opencv_yaml(**values) -> str:
    lines = ["%YAML:1.0", "---"]
    for key, value in values.items():
        if isinstance(value, list):
            lines += [f"{key}:"] + [f'   - "{v}"' for v in value]
        elif isinstance(value, np.ndarray):
            numbers = ", ".join(f"{v:.17g}" for v in value.ravel())
            cut = numbers.find(",", len(numbers) // 2) + 1  # OpenCV breaks long lines
            lines += [f"{key}: !!opencv-matrix", f"   rows: {value.shape[0]}", f"   cols: {value.shape[1]}", "   dt: d",
                      f"   data: [ {numbers[:cut]}", f"       {numbers[cut:]} ]"]
        else:
            lines.append(f"{key}: {value}")
    return "\n".join(lines) + "\n"


def write_easyvolcap(cameras, root: Path) -> None:
    intri, extri = ({"names": [f"{i:02d}" for i in range(len(cameras))]} for _ in range(2))
    for i, c in enumerate(cameras):
        rotation, translation = world_to_camera(c)
        intri |= {f"K_{i:02d}": k_matrix(c), f"dist_{i:02d}": np.zeros((5, 1)), f"H_{i:02d}": c.height,
                  f"W_{i:02d}": c.width}
        extri |= {f"Rot_{i:02d}": rotation, f"T_{i:02d}": translation[:, None]}
        for frame in range(FRAMES):
            save(picture_of(i, frame), root / f"images/{i:02d}/{frame:06d}.png")
            save(Image.new("L", SIZE, 255), root / f"masks/{i:02d}/{frame:06d}.png")
    (root / "intri.yml").write_text(opencv_yaml(**intri))
    (root / "extri.yml").write_text(opencv_yaml(**extri))


def test_easyvolcap(tmp_path):
    cameras = rig()
    write_easyvolcap(cameras, tmp_path)
    assert check(tmp_path, "EasyVolcap", cameras, FRAMES).has_masks
    text = (tmp_path / "intri.yml").read_text()
    (tmp_path / "intri.yml").write_text(text.replace("rows: 3", "rows: 4", 1))
    assert code_of(lambda: load_dataset(tmp_path)) == "D02"
    (tmp_path / "intri.yml").write_text(text)
    (tmp_path / "extri.yml").write_text((tmp_path / "extri.yml").read_text().replace("Rot_03", "Rut_03"))
    assert code_of(lambda: load_dataset(tmp_path)) == "D06"
    (tmp_path / "extri.yml").unlink()
    with pytest.raises(refcodec.errors.DatasetError, match="D03.*intri.yml is there, but no extri.yml"):
        load_dataset(tmp_path)


def test_easymocap_distortion_and_rotation_vectors(tmp_path):
    """A lens of OpenCV's, in its order; R_ in place of Rot_; a list in brackets."""
    cameras = rig(count=4)
    write_easyvolcap(cameras, tmp_path)
    distortion = np.array([[0.05, 0.01, 0.002, -0.001, 0.003]])
    content = read_opencv_yaml(tmp_path / "intri.yml")
    assert content["names"] == ["00", "01", "02", "03"]
    (tmp_path / "intri.yml").write_text((tmp_path / "intri.yml").read_text() + opencv_yaml(D_01=distortion))
    views = load_dataset(tmp_path).frames[0].views
    assert views[1].lens.parameters == (0.05, 0.01, 0.002, -0.001, 0.003, 0, 0, 0) and views[0].lens is None


def test_sdfstudio(tmp_path):
    cameras, frames = rig(), []
    for i, c in enumerate(cameras):
        save(picture_of(i), tmp_path / f"{i:06d}_rgb.png")
        frames.append({"rgb_path": f"{i:06d}_rgb.png", "camtoworld": (np.array(pose4(c)) * (1, -1, -1, 1)).tolist(),
                       "intrinsics": np.pad(k_matrix(c), (0, 1)).tolist()})
    content = {"camera_model": "OPENCV", "width": SIZE[0], "height": SIZE[1], "frames": frames,
               "scene_box": {"aabb": BOX, "collider_type": "box"}}
    (tmp_path / "meta_data.json").write_text(json.dumps(content))
    assert check(tmp_path, "SDFStudio", cameras).aabb.tolist() == BOX
    (tmp_path / "meta_data.json").write_text(json.dumps(content | {"frames": []}))
    assert code_of(lambda: load_dataset(tmp_path)) == "D02"


def test_mvhumannet(tmp_path):
    """Intrinsics are those of pictures of twice the size; a pickle is not opened."""
    cameras = centred(6)
    first = cameras[0]
    cameras = [type(c)(c.width, c.height, first.fx, first.fx, first.cx, first.cy, c.camera_to_world) for c in cameras]
    k = k_matrix(first)
    k[:2] *= 2
    poses = {}
    for i, c in enumerate(cameras):
        rotation, translation = world_to_camera(c)
        poses[f"1_CC{i:03d}.png"] = {"rotation": rotation.tolist(), "translation": translation.tolist()}
        for frame in range(FRAMES):
            save(picture_of(i, frame), tmp_path / f"images/CC{i:03d}/{5 * frame:04d}_img.png")
            save(Image.new("L", SIZE, 255), tmp_path / f"fmask/CC{i:03d}/{5 * frame:04d}_img_fmask.png")
    (tmp_path / "camera_intrinsics.json").write_text(json.dumps({"intrinsics": k.tolist()}))
    (tmp_path / "camera_extrinsics.json").write_text(json.dumps(poses))
    (tmp_path / "camera_scale.pkl").write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    dataset = check(tmp_path, "MVHumanNet", cameras, FRAMES)
    assert dataset.has_masks and any("1/2 of the size" in text for text in dataset.assumptions)
    (tmp_path / "camera_extrinsics.json").write_text("{}")
    assert code_of(lambda: load_dataset(tmp_path)) == "D02"


def write_polycam(cameras, root: Path, adjusted: bool = True) -> None:
    names = ("corrected_cameras", "corrected_images") if adjusted else ("cameras", "images")
    for i, c in enumerate(cameras):
        save(picture_of(i), root / f"keyframes/{names[1]}/{1000 + i}.png")
        content = {f"t_{r}{k}": c.camera_to_world[r, k] for r in range(3) for k in range(4)} | {
            "fx": c.fx, "fy": c.fy, "cx": c.cx, "cy": c.cy, "width": c.width, "height": c.height, "blur_score": 99}
        path = root / f"keyframes/{names[0]}/{1000 + i}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))


@pytest.mark.parametrize("adjusted", [True, False])
def test_polycam(tmp_path, adjusted):
    write_polycam(rig(), tmp_path, adjusted)
    dataset = check(tmp_path, "Polycam", rig())
    assert any("those of the phone" in text for text in dataset.assumptions) != adjusted


def test_mvsnet(tmp_path):
    cameras = rig()
    for i, c in enumerate(cameras):
        save(picture_of(i), tmp_path / f"blended_images/{i:08d}.png")
        save(picture_of(50 + i), tmp_path / f"blended_images/{i:08d}_masked.png")
        rows = lambda m: "\n".join(" ".join(f"{v:.17g}" for v in row) for row in np.array(m))
        path = tmp_path / f"cams/{i:08d}_cam.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"extrinsic\n{rows(w2c4(c))}\n\nintrinsic\n{rows(k_matrix(c))}\n\n2.0 0.1 32 5.1\n")
    (tmp_path / "cams/pair.txt").write_text("9\n")
    assert "nearest and farthest depth" in " ".join(check(tmp_path, "MVSNet", cameras).assumptions)
    (tmp_path / "cams/00000003_cam.txt").write_text("extrinsic\n1 2 3\n")
    assert code_of(lambda: load_dataset(tmp_path)) == "D02"


def test_scannetpp(tmp_path):
    """test_frames are held out, bad ones left out, masks hide what is not kept."""
    cameras = rig()
    base = tmp_path / "dslr"
    entries = []
    for i, c in enumerate(cameras):
        save(picture_of(i), base / f"resized_undistorted_images/D{i:03d}.png")
        mask = np.full(SIZE[::-1], 255, np.uint8)
        mask[4:7, 5:9] = 0
        save(Image.fromarray(mask), base / f"resized_undistorted_masks/D{i:03d}.png")
        entries.append({"file_path": f"D{i:03d}.png", "mask_path": f"D{i:03d}.png", "transform_matrix": pose4(c),
                        "is_bad": i == 8, "fl_x": c.fx, "fl_y": c.fy, "cx": c.cx, "cy": c.cy})
    (base / "nerfstudio").mkdir()
    (base / "nerfstudio/transforms_undistorted.json").write_text(json.dumps(
        {"w": SIZE[0], "h": SIZE[1], "camera_model": "PINHOLE", "frames": entries[2:], "test_frames": entries[:2],
         "has_mask": True}))
    for root in (tmp_path, base):
        dataset = load_dataset(root)
        assert dataset.layout == "ScanNet++" and not dataset.has_masks and not dataset.notices
        views = dataset.frames[0].views
        assert sorted(Path(v.image).stem for v in dataset.frames[0].split("test")) == ["D000", "D001"]
        assert sorted(v.image.stem for v in views) == [f"D{i:03d}" for i in range(8)]
        for view in views:
            assert_same(view.camera, cameras[int(view.image.stem[1:])])
            assert view.kept().sum() == SIZE[0] * SIZE[1] - 12 and (view.load()[..., 3] == 1).all()


# ---- COLMAP's sequences ------------------------------------------------------


def test_a_colmap_model_a_frame(tmp_path):
    cameras = rig()
    for frame in range(FRAMES):
        write_colmap(cameras, tmp_path / f"colmap_{frame}", binary=frame % 2 == 0)
        for i in range(9):
            save(picture_of(i, frame), tmp_path / f"colmap_{frame}/images/{i:03d}.png")
    check(tmp_path, "COLMAP, a folder a frame", cameras, FRAMES)
    (tmp_path / "colmap_1/sparse").rename(tmp_path / "elsewhere")  # the rig stands: the first frame's is used
    dataset = check(tmp_path, "COLMAP, a folder a frame", cameras, FRAMES)
    assert any("colmap_0/ is that of all frames" in text for text in dataset.assumptions)


def write_model(root: Path, names_and_cameras) -> None:
    folder = root / "sparse/0"
    folder.mkdir(parents=True, exist_ok=True)
    lines = {"cameras": [], "images": []}
    for number, (name, c) in enumerate(names_and_cameras, 1):
        rotation, translation = world_to_camera(c)
        intrinsics = " ".join(f"{v:.17g}" for v in (c.fx, c.fy, c.cx, c.cy))
        lines["cameras"].append(f"{number} PINHOLE {c.width} {c.height} {intrinsics}")
        pose = " ".join(f"{v:.17g}" for v in (*quaternion(rotation), *translation))
        lines["images"].append(f"{number} {pose} {number} {name}\n")
    for file, own in lines.items():
        (folder / f"{file}.txt").write_text("\n".join(own) + "\n")


@pytest.mark.parametrize("kind", ["all instants", "one instant", "pictures by name", "videos"])
def test_a_rig_that_colmap_has_calibrated(tmp_path, kind):
    cameras = rig(count=5)
    for i in range(5):
        for frame in range(FRAMES):
            if kind != "videos":
                save(picture_of(i, frame), tmp_path / f"images/cam{i:02d}/{frame:04d}.png")
    if kind == "all instants":
        write_model(tmp_path, [(f"cam{i:02d}/{f:04d}.png", c) for i, c in enumerate(cameras) for f in range(FRAMES)])
    elif kind == "one instant":
        write_model(tmp_path, [(f"cam{i:02d}/0000.png", c) for i, c in enumerate(cameras)])
    else:
        write_model(tmp_path, [(f"cam{i:02d}.png", c) for i, c in enumerate(cameras)])
        for i in range(5):
            save(picture_of(i), tmp_path / f"images/cam{i:02d}.png")
            if kind == "videos":
                path = tmp_path / f"videos/cam{i:02d}.mkv"
                path.parent.mkdir(exist_ok=True)
                write_video(path, [picture_of(i, frame) for frame in range(FRAMES)])
    dataset = check(tmp_path, "COLMAP", cameras, FRAMES)
    assert any("standing rig" in text for text in dataset.assumptions)
    assert len(load_dataset(tmp_path, frames=range(1, 2)).frames) == 1


def test_a_camera_that_is_carried_is_no_rig(tmp_path):
    """Two folders of one walk: numbers agree, poses do not."""
    cameras = rig(count=10)
    names = [f"walk{i // 5}/{i % 5:04d}.png" for i in range(10)]
    for i, name in enumerate(names):
        save(picture_of(i), tmp_path / f"images/{name}")
    write_model(tmp_path, list(zip(names, cameras)))
    assert len(load_dataset(tmp_path).frames) == 1 and len(load_dataset(tmp_path).frames[0].views) == 10


def test_instants_in_a_transforms_file(tmp_path):
    cameras, entries = rig(count=5), []
    for i, c in enumerate(cameras):
        for frame in range(FRAMES):
            save(picture_of(i, frame), tmp_path / f"cam{i}/{frame:04d}.png")
            entries.append({"file_path": f"cam{i}/{frame:04d}.png", "transform_matrix": pose4(c), "fl_x": c.fx,
                            "fl_y": c.fy, "cx": c.cx, "cy": c.cy})
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": entries, "aabb": BOX}))
    check(tmp_path, "transforms", cameras, FRAMES)


def test_a_monocular_video_is_refused_in_one_sentence(tmp_path):
    """D-NeRF: every picture has a time of its own."""
    write_transforms(rig(), tmp_path)
    content = json.loads((tmp_path / "transforms.json").read_text())
    for i, entry in enumerate(content["frames"]):
        entry["time"] = i / 8
    (tmp_path / "transforms.json").unlink()
    for split in ("train", "test"):
        (tmp_path / f"transforms_{split}.json").write_text(json.dumps(content))
    with pytest.raises(refcodec.errors.DatasetError, match="D10: .*one camera.*D-NeRF"):
        load_dataset(tmp_path / "transforms_train.json")


# ---- The registry ------------------------------------------------------------


def test_documentation_and_schema_are_the_registrys():
    page = (ROOT / "docs/datasets.md").read_text("utf-8")
    assert documented(page) == page
    schema = json.loads((Path(refcodec.__file__).parent / "schemas/dataset.schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert with_layouts(schema) == schema and all(layout.rows for layout in LAYOUTS)


def test_what_came_near_is_said(tmp_path):
    def told(*files: str) -> str:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        root.mkdir()
        for name in files:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).touch()
        with pytest.raises(refcodec.errors.DatasetError) as caught:
            load_dataset(root)
        assert caught.value.code == "D03"
        return str(caught.value)

    assert "sparse/0/ holds cameras.bin, but no images" in told("sparse/0/cameras.bin")
    assert "mapper has not run" in told("database.db")
    assert "camera_path.json is there, but no transforms.json" in told("camera_path.json")
    assert "calibration.csv is there, but no folder rgbs/" in told("calibration.csv")
    assert "Intrinsic.inf is there, but no CamPose.inf" in told("Intrinsic.inf")
    assert "camera_intrinsics.json is there, but no camera_extrinsics.json" in told("camera_intrinsics.json")
    assert "keyframes/ is there, but not corrected_cameras/" in told("keyframes/x.txt")
    assert "holds no 00000000_cam.txt" in told("cams/pair.txt")
    assert "dslr/nerfstudio/ is there" in told("dslr/nerfstudio/x")
    assert "an empty folder" in told() and "need poses first" in told("a.jpg", "b.jpg")
    assert "but in scan1: give the path of one scene" in told("scan1/poses_bounds.npy")
    write_transforms(rig(), tmp_path / "above")
    with pytest.raises(refcodec.errors.DatasetError, match="the folder above is a dataset"):
        load_dataset(tmp_path / "above/images")
