"""Makes the render vectors: `python conformance/render_cases.py [--check]` writes renders/ and renders.json.

Small fields of every representation, cameras, and the pictures that the renderer which the text of chapters 8 and 9
contains defines, in double precision. A picture is h x w x 6 little-endian binary32 numbers: red, green, blue, opacity,
depth, and 1 where the pixel is judged (9.5), else 0.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "tests")]

import numpy as np  # noqa: E402

import spec_decoder  # noqa: E402
from crafting import (  # noqa: E402
    Dice,
    field_header,
    grid,
    grid_tensors,
    mlp_tensors,
    network,
    scene as scene_of,  # noqa: E402
    triplane_tensors,
    vm_tensors,
)
from refcodec.files import replacing  # noqa: E402
from refcodec.quantisation import TensorTools, quantise_frame  # noqa: E402
from refcodec.rendering.cameras import Camera  # noqa: E402
from refcodec.rendering.paths import look_at  # noqa: E402
from refcodec.syntax.coding import FrameType  # noqa: E402
from refcodec.syntax.headers import (  # noqa: E402
    Alignment,
    FieldParameters,
    Mapping,
    Representation,
    Role,
    SequenceHeader,
    TensorInfo,
)
from refcodec.writer import StreamWriter  # noqa: E402

# Place (y, z) in the last field but one where the first voxels along x are of two kinds.
FACE = (0.1, 0.9)
EMPTY = (-1.2, 0.1)  # and in the second, where the first voxel along x is not occupied
COLOUR = (Role.RENDER_WEIGHT, Role.RENDER_BIAS)


@dataclass(frozen=True, slots=True)
class RenderCase:
    """A stream and the pictures that are wanted of it: (frame number, number of the camera in the cameras unit)."""

    name: str
    description: str
    data: bytes
    pictures: tuple[tuple[int, int], ...]


def _parameters(features=1, directions=1, shift=-1.0, scale=6.0, **more) -> FieldParameters:
    return FieldParameters(shift, scale, features, directions, **more)


def _with_colour(tensors: list[TensorInfo], features: int, p: FieldParameters, hidden: int = 4) -> list[TensorInfo]:
    """The tensors with a colour network of two layers that fits the encodings."""
    inputs = features * (1 + 2 * p.feature_frequencies) + 3 + 6 * p.direction_frequencies
    return [t for t in tensors if t.role not in COLOUR] + network(
        [], [(hidden, inputs, True), (3, hidden, True)])


def _cameras(scene: int = 0, centre=(0.0, 0.0, 0.5), distance: float = 4.0) -> list[Camera]:
    """One outside the box, one inside; neither looks along an axis, no two numbers agree."""
    out = np.array(centre) + distance * np.array([0.83, -0.97, 0.41])
    poses = look_at(out, np.array(centre) + 0.11, (0.1, 0.0, 1.0)), look_at(
        np.array(centre) + (0.31, 0.17, -0.23), np.array(centre) + (-1.0, 0.7, 0.29), (0.0, 0.2, 1.0))
    return [Camera(14, 10, 17.0, 15.0, 6.5, 5.25, poses[0], "outside", scene),
            Camera(9, 11, 8.0, 9.5, 5.0, 4.75, poses[1], "inside", scene)]


def _along_x(x: float, y: float = 0.1, z: float = 0.2, name: str = "along x") -> Camera:
    """A small picture whose middle ray goes from a point inside the box along -x."""
    pose = np.array([[0, 0, 1, x], [1, 0, 0, y], [0, 1, 0, z]], float)
    return Camera(5, 5, 4.0, 4.0, 2.5, 2.5, pose, name)


def _tensors(head: SequenceHeader, dice: Dice) -> list[np.ndarray]:
    """Values of both signs: grids up to 2, weights so that the layers neither die out nor saturate."""
    values = []
    for info in head.tensors:
        reach = 2.0 if info.mapping else 2.4 / info.shape[3] ** 0.5
        values.append(dice.integers(-1000, 1000, *info.shape) / 1000 * reach)
    return values


def _stream(head: SequenceHeader, seed: int, frames: int = 1, one_in: int = 2, cameras=None) -> bytes:
    """A group for each scene, of an I-frame and P-frames that change everything."""
    dice, out = Dice(seed), io.BytesIO()
    cameras = [c for s in range(head.scene_count) for c in _cameras(s)] if cameras is None else cameras
    writer = StreamWriter(out, head, cameras=cameras)
    writer.begin()
    for scene in range(head.scene_count):
        writer.begin_group(scene * frames, frames, scene)
        for k in range(frames):
            occupancy = dice.occupancy(head.occupancy_shape, one_in) if head.has_occupancy else None
            writer.write_frame(quantise_frame(
                writer.state, _tensors(head, dice), TensorTools(2.0**-8), number=scene * frames + k, time_stamp=k,
                occupancy=occupancy, type=FrameType.INTER if k else FrameType.INTRA))
    writer.finish()
    return out.getvalue()


def _header(representation: Representation, tensors, parameters: FieldParameters, **changes) -> SequenceHeader:
    return field_header(representation, tensors, parameters=parameters,
                        **{"samples_per_diagonal": 28, "background": (230, 180, 40), **changes})


def cases() -> Iterator[RenderCase]:
    """All of them, in the order in which a renderer grows."""
    both = ((0, 0), (0, 1))

    def case(name: str, description: str, head: SequenceHeader, seed: int, pictures=both, **more) -> RenderCase:
        return RenderCase(name, description, _stream(head, seed, **more), pictures)

    R, plain = Representation, _parameters(0, 0)
    yield case("grid-plain", "A dense grid without encodings and without occupancy.",
               _header(R.GRID, _with_colour(grid_tensors((3, 4, 5), (4, 3, 5), 2), 2, plain), plain), 1)
    p = _parameters(2, 1)
    head = _header(R.GRID, _with_colour(grid_tensors((4, 3, 5), (5, 4, 3), 3, [(3, 3, True)]), 3, p), p,
                   occupancy=(5, 3, 4))
    low, high = map(np.array, head.box)
    end = low[0] + 8.5 * float(np.linalg.norm(high - low)) / head.samples_per_diagonal
    yield case("grid-occupancy", "A dense grid with a fusion network, encodings and occupancy. The middle ray of the "
               "third picture ends at a sample in a voxel that is not occupied: it is judged.",
               head, 2, pictures=(*both, (0, 2)), cameras=[*_cameras(), _along_x(end - 1e-6, *EMPTY, name="empty end")])
    p = _parameters(1, 2)
    yield case("grid-centres", "Samples at cell centres; a box of other proportions with another exponent.",
               _header(R.GRID, _with_colour(grid_tensors((3, 5, 2), (2, 3, 4), 2, alignment=Alignment.CENTRES), 2, p),
                       p, aabb_min=(-300, -70, -90), aabb_max=(210, 190, 450), aabb_exponent=-7), 3,
               cameras=_cameras(0, (-0.3, 0.5, 1.4)))
    yield case("triplane", "Three planes and a density grid, with occupancy.",
               _header(R.TRIPLANE, _with_colour(triplane_tensors((3, 4, 5), (4, 3, 5), (2, 1, 2)), 5, p), p,
                       occupancy=(3, 4, 5)), 4)
    yield case("vm", "Vector-matrix factors, density of several factors, a fusion network of one layer without bias.",
               _header(R.VM, _with_colour(vm_tensors((4, 3, 5), (2, 1, 2), (1, 2, 2), [(4, 5, False)]), 4, p), p), 5)
    yield case("vm-occupancy", "Vector-matrix factors without fusion network; samples at cell centres; occupancy.",
               _header(R.VM, _with_colour(vm_tensors((3, 4, 5), (1, 2, 1), (1, 1, 2), alignment=Alignment.CENTRES),
                                          4, p), p, occupancy=(4, 5, 3)), 6)

    def dictionary(bases, frequencies, alignment=Alignment.CORNERS) -> list[TensorInfo]:
        channels = sum(b[0] for b in bases)
        tensors = [grid(Role.DIF_COEFFICIENT, 0, (channels, 2, 3, 4), Mapping.LINEAR, Alignment.CENTRES)]
        tensors += [grid(Role.DIF_BASIS, i, b, frequency=f, alignment=alignment)
                    for i, (b, f) in enumerate(zip(bases, frequencies))]
        return tensors + network([(4, channels, True), (4, 4, False)], [])

    head = _header(R.DIF, _with_colour(dictionary(((2, 3, 4, 5), (1, 1, 3, 3)), (1.5, 2.75)), 3, p), p)
    low, high = map(np.array, head.box)
    step = float(np.linalg.norm(high - low)) / head.samples_per_diagonal
    end, jump = low[0] + 8.5 * step, low[0] + (high - low).max() / 1.5 + 2.5 * step
    yield case("dictionary", "A dictionary field: sawtooths of two frequencies. In three pictures the middle pixel is "
               "not judged: its ray ends at a sample, or a sample lies where a period begins.",
               head, 7, pictures=tuple((0, n) for n in range(5)),
               cameras=[*_cameras(), _along_x(end - 1e-6, name="ends before"), _along_x(end + 1e-6, name="ends after"),
                        _along_x(jump, name="jumps")])
    yield case("dictionary-occupancy", "A dictionary field whose sawtooths lie at cell centres, with occupancy.",
               _header(R.DIF, _with_colour(dictionary(((2, 3, 2, 4),), (2.25,), Alignment.CENTRES), 3, p), p,
                       occupancy=(6, 4, 5)), 8)

    def nerf(frequencies, widths, skip, coarse=None, samples=(0, 0), bias=False):
        q = _parameters(1, 1, position_frequencies=frequencies, skip_layer=skip, coarse_samples=samples[0],
                        fine_samples=samples[1])
        tensors = mlp_tensors(frequencies, widths, skip, coarse, bias)
        return _with_colour(tensors, widths[-1] - 1, q), q

    tensors, q = nerf(2, (5, 4, 3), 1)
    yield case("mlp", "A network of the position that sees it again in layer 1; regular samples.",
               _header(R.MLP, tensors, q), 9)
    tensors, q = nerf(1, (5, 4), 0, (4, 1), (6, 9), True)
    yield case("mlp-coarse", "Samples placed by a coarse network.", _header(R.MLP, tensors, q), 10)
    tensors, q = nerf(2, (4, 4, 3), 2, (4, 3, 1), (7, 5))
    yield case("mlp-coarse-occupancy", "Samples placed by a coarse network, skip layer and occupancy.",
               _header(R.MLP, tensors, q, occupancy=(3, 5, 4)), 11, pictures=(*both, (0, 2), (0, 3)),
               cameras=[*_cameras(), _along_x(-2 + 8 / 3 - 4e-6, *FACE, name="before a face"),
                        _along_x(-2 + 8 / 3 + 4e-6, *FACE, name="behind a face")])
    yield case("scenes", "Two scenes of two frames; boxes, ray steps and backgrounds of their own.",
               _header(R.GRID, _with_colour(grid_tensors((3, 4, 5), (4, 3, 5), 2), 2, p), p, occupancy=(4, 3, 5),
                       further_scenes=(scene_of((-40, -60, -50), (70, 30, 60), -5, 19, (20, 60, 250)),)), 12,
               pictures=((1, 0), (2, 2), (3, 3)), frames=2)


def picture(field: dict, camera: dict) -> bytes:
    """The defined picture by the text's renderer."""
    rows = spec_decoder.renderer()["render_picture"](field, camera)
    return b"".join(struct.pack("<6f", *p["rgb"], p["opacity"], p["depth"], p["judged"]) for row in rows for p in row)


def render(case: RenderCase) -> dict[str, bytes]:
    """Files of a vector below its folder."""
    fields, last = spec_decoder.fields(case.data)
    files = {"stream.rfv": case.data}
    for number, (frame, index) in enumerate(case.pictures):
        camera = last["cameras"][index]
        assert camera["scene"] == fields[frame]["scene"], case.name
        files[f"picture-{number}.f32"] = picture(fields[frame], camera)
    return files


def manifest(made: dict[str, tuple[RenderCase, dict[str, bytes]]]) -> bytes:
    vectors = []
    for name, (case, _) in made.items():
        fields, last = spec_decoder.fields(case.data)
        pictures = []
        for number, (frame, index) in enumerate(case.pictures):
            camera = last["cameras"][index]
            pictures.append(dict(path=f"renders/{name}/picture-{number}.f32", frame=frame, camera=index,
                                 width=camera["width"], height=camera["height"],
                                 step=spec_decoder.renderer()["ray_step"](fields[frame])))
        vectors.append(dict(name=name, description=case.description, stream=f"renders/{name}/stream.rfv",
                            sha256=hashlib.sha256(case.data).hexdigest(), pictures=pictures))
    return (json.dumps(dict(renders="rfv-renders 1", specification="0.5", vectors=vectors), indent=1) + "\n").encode()


def main() -> int:
    check = sys.argv[1:] == ["--check"]
    made = {case.name: (case, render(case)) for case in cases()}
    files = {f"renders/{name}/{path}": data for name, (_, some) in made.items() for path, data in some.items()}
    files["renders.json"] = manifest(made)
    stale = [p for p, data in files.items() if not (HERE / p).is_file() or (HERE / p).read_bytes() != data]
    for path in [] if check else stale:
        (HERE / path).parent.mkdir(parents=True, exist_ok=True)
        with replacing(HERE / path) as temporary:
            temporary.write_bytes(files[path])
    print(f"{len(made)} render vectors, {sum(map(len, files.values()))} bytes, {len(stale)} files "
          f"{'stale' if check else 'changed'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
