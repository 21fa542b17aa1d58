"""The treatment of each key of a transforms file: read, ignored, noted, or refused.

Checked against what instant-ngp's and nerfstudio's loaders read. A key that changes what pictures or poses mean is
never passed over: it is read elsewhere (READ), or refused here. Keys in none of the lists are named in a warning.
"""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from refcodec.datasets.model import Notice
from refcodec.errors import DatasetError

READ = frozenset("""frames file_path mask_path transform_matrix transform_matrix_start transform_matrix_end frame time
    camera camera_index camera_label w h fl_x fl_y camera_angle_x camera_angle_y x_fov y_fov cx cy camera_model k1 k2 k3
    k4 k5 k6 p1 p2 is_fisheye distortion_params aabb aabb_scale scale offset background frame_rate fps train_filenames
    val_filenames test_filenames test_frames is_bad rolling_shutter n_frames""".split())
# They describe, or concern what this codec has no use for: depths, normals, viewers, an overall move of the world.
HARMLESS = frozenset("""
    rotation sharpness colmap_im_id applied_transform applied_scale ply_file_path orientation_override
    depth_file_path depth_path depth normal_path normal_file_path mono_depth_path mono_normal_path
    integer_depth_scale enable_depth_loading enable_ray_loading importance_sampling n_extra_learnable_dims
    render_aabb up fix_premult timestamp timestamps blur_score id image_id name camera_id exposure exposure_time
    iso comment comments author description version generator title date units unit url license info cam_id
    frame_id index path width height sensor_width sensor_height camera_clip_start camera_clip_end near far
    semantic_path semantics labels has_mask has_masks checked_corrupted aux_data bbox center avg_len colmap_id
    neighbors""".split())
# Told, as the result is another than the file's author had in mind, though nothing is misread.
NOTED = {
    "sharpness_discard_threshold": "no picture is left out for its sharpness",
    "sharpen": "pictures are not sharpened",
    "envmap": "the environment map is not used",
    "driver_parameters": "light directions are not used",
}
_LENSES = frozenset("""ftheta_p0 ftheta_p1 ftheta_p2 ftheta_p3 ftheta_p4 latlong lat_long is_lat_long equirectangular
    is_equirectangular orthographic is_orthographic ortho omnidirectional vr180""".split())
_REFUSED = {
    "from_mitsuba": "the poses have Mitsuba's axes (left, up, forward): negate their first and third column and take "
                    "the key out",
    "normal_mts_args": "the poses have Mitsuba's axes (left, up, forward): negate their first and third column and "
                       "take "
                       "the key out",
    "white_transparent": "white is to be transparent: write the pictures with alpha, or masks, and take the key out",
    "black_transparent": "black is to be transparent: write the pictures with alpha, or masks, and take the key out",
    "fisheye_crop_radius": "only a disc of each picture shows the scene: undistort the pictures first",
}


def check_keys(content: Mapping[str, Any], items: list[dict[str, Any]], path: Path
               ) -> tuple[list[str], list[Notice]]:
    """(Assumptions, warnings) for the keys of a document and its entries. Raises DatasetError D11, D17."""
    used: dict[str, Any] = {}
    for source in (*items, content):
        for key, value in source.items():
            if value not in (None, False) or key not in used:
                used[key] = value
    for key in sorted(_LENSES & used.keys()):
        if _set(used[key]) or key.startswith("ftheta"):
            raise DatasetError("D11", f"`{key}` says that the pictures are no perspective views, which can't be "
                               "undistorted here: make perspective views of them first", path)
    for key, why in _REFUSED.items():
        if _set(used.get(key)):
            raise DatasetError("D17", f"`{key}`: {why}", path)
    if _set(content.get("n_frames")) and isinstance(content["n_frames"], int) and 0 < content["n_frames"] < len(items):
        raise DatasetError("D17", f"`n_frames` is {content['n_frames']}, but the file lists {len(items)} pictures: "
                                  "take "
                           "out the key, or the pictures that are not to be used", path)
    _check_shutter(content, items, path)
    assumptions = [f"{told} (`{key}` is not read)" for key, told in NOTED.items() if _set(used.get(key))]
    unknown = sorted(used.keys() - READ - HARMLESS - NOTED.keys() - _LENSES - _REFUSED.keys())
    notices = []
    if unknown:
        named = ", ".join(f"`{key[:40]}`" for key in unknown[:8]) + (", …" if len(unknown) > 8 else "")
        notices.append(Notice("W18", f"keys that are not known here and not read: {named}", path))
    return assumptions, notices


def _set(value: Any) -> bool:
    """Whether a key says something: null, false, 0, "" and [] do not."""
    return bool(value) if isinstance(value, (bool, int, float, str, list, dict)) else value is not None


def _check_shutter(content: Mapping[str, Any], items: list[dict[str, Any]], path: Path) -> None:
    """A rolling shutter, or a camera that moves within a picture, can't be modelled. Raises DatasetError D17."""
    def moves(item: Mapping[str, Any]) -> bool:
        start = item.get("transform_matrix_start", item.get("transform_matrix"))
        end = item.get("transform_matrix_end", start)
        if start is end or start == end:
            return False
        try:
            a, b = np.array(start, np.float64), np.array(end, np.float64)
        except (TypeError, ValueError, OverflowError):
            return True
        return a.shape != b.shape or not np.allclose(a, b, atol=1e-6)

    if any(moves(item) for item in items):
        raise DatasetError("D17", "`transform_matrix_start` and `transform_matrix_end` differ: cameras that move "
                                  "within "
                           "a picture (rolling shutter, motion blur) can't be used; give one `transform_matrix` each",
                           path)
