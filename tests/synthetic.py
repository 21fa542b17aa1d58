"""Small synthetic sequences and datasets: every syntax branch, no training. For tests and vectors."""
from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from refcodec.entropy.laplace import LAPLACE
from refcodec.entropy.models import ContextModel, StaticModel
from refcodec.rendering.cameras import Camera
from refcodec.rendering.paths import look_at
from refcodec.syntax.coding import FrameType, Tools
from refcodec.syntax.headers import (
    Alignment,
    FieldParameters,
    Mapping,
    Representation,
    Role,
    SequenceHeader,
    TensorInfo,
)
from refcodec.syntax.registry import TEMPLATES
from refcodec.syntax.structures import template_inputs
from refcodec.tensors.significance import coded_mask
from refcodec.writer import FrameCoding, StreamWriter, TensorCoding


def small_header(occupancy=(6, 5, 4), bases=((2, 5, 2.0), (1, 4, 3.3)), coefficient=3,
                 features=4, box=((-100, -90, -80), (100, 120, 60)), **changes) -> SequenceHeader:
    """A dictionary field of a few hundred elements; bases are (channels, side, frequency)."""
    channels = sum(b[0] for b in bases)
    tensors = [TensorInfo(Role.DIF_COEFFICIENT, 0, (channels, coefficient, coefficient, coefficient), 16,
                          Mapping.LINEAR, Alignment.CENTRES)]
    tensors += [TensorInfo(Role.DIF_BASIS, i, (c, d, d + 1, d + 2), 16, Mapping.SAWTOOTH, Alignment.CORNERS,
                           round(f * 65536)) for i, (c, d, f) in enumerate(bases)]
    inputs = features * 3 + 3 + 6
    for role, bias, layers in (
        (Role.FUSION_WEIGHT, Role.FUSION_BIAS, [(5, channels, True), (1 + features, 5, False)]),
        (Role.RENDER_WEIGHT, Role.RENDER_BIAS, [(6, inputs, True), (3, 6, False)]),
    ):
        for i, (o, n, has_bias) in enumerate(layers):
            tensors.append(TensorInfo(role, i, (1, 1, o, n), 16))
            if has_bias:
                tensors.append(TensorInfo(bias, i, (1, 1, 1, o), 16))
    fields = dict(representation=Representation.DIF, ticks_per_second=30, aabb_min=box[0], aabb_max=box[1],
                  aabb_exponent=-6, occupancy_dims=occupancy, samples_per_diagonal=64,
                  background=(255, 255, 255), tensors=tuple(tensors),
                  parameters=FieldParameters(-10.0, 25.0, 1, 1))
    return SequenceHeader(**{**fields, **changes})


def context_model(rng, template_id=3, joint=False, channels=1, scan=(0, 1, 1, 1), hidden=4, template=None,
                  family=LAPLACE):
    """A context model with random weights and plausible biases."""
    template = tuple(template or TEMPLATES[template_id])
    c, outputs = channels if joint else 1, family.outputs
    n = template_inputs(template, joint, c)
    return ContextModel(
        joint, c, scan, template_id, template, 2,
        rng.integers(-60, 60, (hidden, n)).astype(np.int8), rng.integers(-200, 200, hidden).astype(np.int16),
        9, 8, rng.integers(-40, 40, (outputs * c, hidden)).astype(np.int8),
        np.tile([0, 14 << 8, 2 << 8][:outputs], c).astype(np.int32), family, 8 if family.has_shape else 0)


def sparse_values(rng, cells: int, channels: int, scale=1.5) -> np.ndarray:
    """Laplacian values, many of them zero."""
    return (np.round(rng.laplace(0, scale, (cells, channels))) * (rng.random((cells, channels)) < 0.4)).astype(np.int32)


def small_stream(seed=0, groups=(3, 2), header=None, cameras=True, metadata=True, index=True, models=None) -> bytes:
    """A whole file of random frames; every kind of model, prediction and significance occurs."""
    rng = np.random.default_rng(seed)
    header = header or small_header()
    out = io.BytesIO()
    pose = np.array([[1, 0, 0, 0.5], [0, 0, -1, 2], [0, 1, 0, 0.25]], float)
    writer = StreamWriter(
        out, header, cameras=[Camera(40, 30, 50, 51, 20, 15, pose, "front")] if cameras else (),
        metadata={"title": "synthetic", "comment": "ümlaut"} if metadata else {})
    writer.begin()
    number = 0
    shape = header.occupancy_shape
    for count in groups:
        writer.begin_group(number, count)
        occupancy = None
        for k in range(count):
            if header.has_occupancy:
                occupancy = rng.random(shape) < 0.1 if k == 0 else occupancy ^ (rng.random(shape) < 0.02)
            writer.write_frame(random_frame(rng, writer.state, number, k == 0, occupancy, models))
            number += 1
    writer.finish(index)
    return out.getvalue()


def random_frame(rng, state, number, intra, occupancy, models=None) -> FrameCoding:
    header = state.header
    defined = models or {
        0: ContextModel.fixed([0], [22]),
        1: context_model(rng, 2 if intra else 3),
        2: context_model(rng, 1, template=[(0, -1, 0, 0, 0), (0, 0, 0, 0, -1), (1, 1, 0, 0, 0), (2, 0, 0, -1, 0),
                                          (3, 0, 2, -2, 1)], scan=(1, 2, 1, 3)),
        3: context_model(rng, 5, joint=True, channels=header.tensors[1].shape[0]),
        4: StaticModel(((-2, (3, 10, 200, 12, 4, 1)),)),
        5: StaticModel(tuple((-1 - c, (1, 20 + c, 9, 0, 2)) for c in range(header.tensors[0].shape[0])), 1),
    }
    tensors = []
    for i, info in enumerate(header.tensors):
        grid = info.mapping != Mapping.NONE
        if not intra and not grid:
            continue
        significance = int(grid and header.has_occupancy)
        mask = coded_mask(header, info, occupancy) if significance else None
        cells = int(mask.sum()) if mask is not None else info.size // info.shape[0]
        choice = [5, 3, 2][i] if grid and i < 3 and not models else (min(defined) if models else [0, 4, 1][i % 3])
        tensors.append(TensorCoding(
            i, sparse_values(rng, cells, info.shape[0]), choice,
            Tools((int(rng.integers(0, 160)),), int(grid and not intra and i != 0), significance)))
    return FrameCoding(number, FrameType.INTRA if intra else FrameType.INTER, number * 3, occupancy, defined, tensors)


def write_dataset(folder: Path, frames: int = 4, cameras: int = 5, side: int = 16) -> Path:
    """A sequence of a shaded ball that moves, seen from a ring of cameras, in layout transforms.json."""
    folder.mkdir()
    axis, entries = np.arange(side) + 0.5, []
    for frame in range(frames):
        for camera in range(cameras):
            angle = 2 * np.pi * camera / cameras
            pose = look_at((4 * np.cos(angle), 4 * np.sin(angle), 1.0), (0, 0, 0), (0, 0, 1))
            centre = np.array([0.1 * frame, 0.0, 0.0]) - pose[:, 3]
            right, up, backwards = centre @ pose[:, :3]
            x, y = side / 2 - side * right / backwards, side / 2 + side * up / backwards
            distance = np.hypot(axis - x, axis[:, None] - y) / (0.15 * side)
            picture = np.zeros((side, side, 4), np.uint8)
            picture[..., :3] = 255 * np.clip(1 - 0.5 * distance[..., None] * (0.4, 0.8, 1.0), 0, 1)
            picture[..., 3] = 255 * np.clip((1 - distance) * 2 + 1, 0, 1)
            name = f"f{frame}_c{camera}.png"
            Image.fromarray(picture).save(folder / name)
            entries.append(dict(file_path=name, frame=frame, camera=camera,
                                transform_matrix=[*pose.tolist(), [0, 0, 0, 1]]))
    (folder / "transforms.json").write_text(json.dumps(dict(
        w=side, h=side, fl_x=side, cx=side / 2, cy=side / 2, aabb=((-1, -1, -1), (1, 1, 1)), frames=entries)))
    return folder
