"""`refcodec render`."""
from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ..errors import UsageError
from .common import (
    PIXELS,
    SAMPLES,
    FileCommand,
    FiniteRange,
    FrameRange,
    InputPath,
    OutputFolder,
    calm_threads,
    check_picture,
    examples,
    load_frames,
    no_frames,
    outputs,
    printable,
    progress_bar,
    stored_input,
    to_json,
)

if TYPE_CHECKING:
    import numpy as np

    from ..arrays import Array
    from ..decoding import Frame
    from ..fields import RadianceField
    from ..rendering.cameras import Camera
    from ..rendering.march import Picture

_STILL_SECONDS = 4.0  # of a video of a single frame


class PictureSize(click.ParamType):  # type: ignore[type-arg]  # generic in new versions only
    """`640x480` -> (640, 480)."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", value)
        if not match or not (1 <= int(match[1]) <= 16384 and 1 <= int(match[2]) <= 16384):
            self.fail(f"{value!r} is no picture size; write 640x480", param, ctx)
        return int(match[1]), int(match[2])


_MADE = r"frame_\d{6,}_(camera|view)_\d.*\.png|frame_\d{6,}_orbit(_depth)?\.png|(orbit|cameras)\.mp4|metrics\.json"


@click.command("render", cls=FileCommand, epilog=examples(
    "refcodec render fox.rfv views/ --camera all",
    "refcodec render fox.rfv views/ --path orbit --size 400x400",
    "refcodec render fox.rfv views/ --dataset demo/fox --compare"))
@click.argument("file", type=InputPath(allow_dash=True))
@click.argument("out", default="render", required=False, type=OutputFolder(_MADE))
@click.option("--frames", type=FrameRange(), help="Frame numbers: 7, 20:40 (40 excluded), :10, 20:.")
@click.option("--scene", type=click.IntRange(0, 255), default=0, show_default=True,
              help="Which scene of a file with several.")
@click.option("--camera", "cameras", multiple=True, metavar="N|NAME|all",
              help="A camera of the scene, by number or name. Repeatable. Default: 0.")
@click.option("--dataset", type=InputPath(), help="Render this dataset's held-out views; PSNR and SSIM against them.")
@click.option("--dataset-frames", type=FrameRange(),
              help="The dataset's frames that were encoded, when not all. The first one is the scene's first frame.")
@click.option("--compare", is_flag=True, help="With --dataset: ground truth, render and error side by side.")
@click.option("--path", type=click.Choice(["orbit", "cameras"]),
              help="An MP4 along a circle around the box, or through the stream's cameras.")
@click.option("--seconds", type=FiniteRange(0, 3600, min_open=True),
              help="Length of the video. Default: the stream's, or 4.")
@click.option("--fps", type=FiniteRange(0, 240, min_open=True), default=30.0, show_default=True,
              help="Of the video.")
@click.option("--elevation", type=FiniteRange(-89, 89), default=15.0, show_default=True,
              help="Of the orbit, in degrees.")
@click.option("--depth", is_flag=True, help="Depth too: 16-bit PNG; in a video, beside the colour.")
@click.option("--size", type=PictureSize(), help="Picture size of an orbit, or of the stream's cameras.")
@click.option("--scale", type=FiniteRange(0, 8, min_open=True), default=1.0, show_default=True,
              help="Resize the pictures by this factor.")
@click.option("--limit-pixels", type=click.IntRange(1), default=PIXELS, show_default=True,
              help="Refuse larger pictures.")
@click.option("--limit-samples", type=click.IntRange(1), default=SAMPLES, show_default=True,
              help="Refuse pictures whose rays have more samples.")
@click.option("--backend", type=click.Choice(["auto", "torch", "numpy"]), default="auto", show_default=True,
              help="What evaluates the field; auto takes torch when it finds a GPU.")
@click.option("--json", "as_json", is_flag=True, help="Print the list of pictures and metrics as JSON.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(file: str, out: str, frames: range | None, scene: int, cameras: tuple[str, ...], dataset: str | None,
            dataset_frames: range | None, compare: bool, path: str | None, seconds: float | None, fps: float,
            elevation: float, depth: bool, size: tuple[int, int] | None, scale: float, limit_pixels: int,
            limit_samples: int, backend: str, as_json: bool, quiet: bool) -> None:
    """Render FILE (- for a pipe) into the folder OUT.

    Without --camera, --dataset or --path: the stream's first camera, or an orbit's
    first view when it has none. With --dataset, metrics.json holds PSNR and SSIM of
    every view, over the whole picture and in the mask's box.
    """
    calm_threads()
    chosen = [name for name, given in (("--camera", cameras), ("--dataset", dataset), ("--path", path)) if given]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} exclude each other")
    if (compare or dataset_frames) and not dataset:
        raise UsageError("--compare and --dataset-frames need --dataset")
    if seconds and not path:
        raise UsageError("--seconds needs --path")
    if size and (dataset or scale != 1):
        raise UsageError("--size can't be combined with --dataset or --scale")
    if dataset and scale > 1:
        raise UsageError("the views of a dataset can only be made smaller (--scale up to 1)")

    job = _Job(stored_input(file), frames, scene, backend, scale, size, depth, quiet,
               (limit_pixels, limit_samples))
    if path:
        result = job.video(out, path, seconds, fps, elevation)
    elif dataset:
        result = job.held_out(out, dataset, dataset_frames, compare)
    else:
        result = job.stills(out, cameras, elevation)
    if as_json:
        click.echo(to_json(result))
    else:
        _show(result, out)
    if job.error is not None:
        raise job.error


class _Job:
    """One stream and how it is to be rendered."""

    def __init__(self, file: BinaryIO, wanted: range | None, scene: int, backend: str, scale: float,
                 size: tuple[int, int] | None, depth: bool, quiet: bool,
                 limits: tuple[int, int]):
        from ..decoding import open_stream
        from ..fields import choose_ops
        from ..inspection import inspect

        report = inspect(file)
        file.seek(0)
        self.stream = open_stream(file)
        if scene >= self.stream.header.scene_count:
            raise UsageError(f"there is no scene {scene}; the file has {self.stream.header.scene_count}, from 0")
        self.header = self.stream.header.of_scene(scene)
        self.cameras = [c for c in self.stream.cameras if c.scene == scene]
        groups = [range(g["first_frame"], g["first_frame"] + g["frame_count"])
                  for g in report.groups if g["scene"] == scene]
        numbers = [(f.number, f.seconds) for f in report.frames if any(f.number in g for g in groups)]
        self.first = numbers[0][0] if numbers else 0
        self.scale, self.size, self.depth, self.quiet, self.limits = scale, size, depth, quiet, limits
        self.numbers = [(n, t) for n, t in numbers if wanted is None or n in wanted]
        # What inspect met behind the frames that are wanted does not concern them.
        met = wanted is not None and wanted.stop <= max((n for n, _ in numbers), default=-1) + 1
        self.error = None if met else report.error
        if not self.numbers:
            raise self.error or no_frames(wanted)
        self.ops = choose_ops(backend)
        self.depth_unit: float | None = None  # of all pictures, once the first is written

    # What is rendered

    def camera(self, camera: Camera) -> Camera:
        if self.size is None:
            return camera.scaled(self.scale)
        width, height = self.size
        x, y = width / camera.width, height / camera.height
        return replace(camera, width=width, height=height, fx=camera.fx * x, fy=camera.fy * y,
                       cx=camera.cx * x, cy=camera.cy * y)

    def select(self, names: tuple[str, ...], elevation: float) -> list[tuple[str, Camera]]:
        """(label, camera) of every camera asked for."""
        cameras = self.cameras
        if not names and not cameras:
            return [("orbit", self.orbit(1, elevation)[0])]
        labels = [_label(i, c) for i, c in enumerate(cameras)]
        chosen = range(len(cameras)) if "all" in names else [self.find(name) for name in names or ("0",)]
        return [(labels[i], self.camera(cameras[i])) for i in dict.fromkeys(chosen)]

    def find(self, name: str) -> int:
        cameras = self.cameras
        for i, camera in enumerate(cameras):
            if camera.name == name:
                return i
        if name.isascii() and name.isdigit() and int(name) < len(cameras):
            return int(name)
        known = f"it has 0 to {len(cameras) - 1}" if cameras else "it has none"
        raise UsageError(f"the stream has no camera {name!r}; {known}")

    def up(self) -> Sequence[float] | np.ndarray:
        """The direction that is up in the stream's pictures; z where it has no cameras."""
        import numpy as np

        if not self.cameras:
            return 0.0, 0.0, 1.0
        mean: np.ndarray = np.mean([np.asarray(c.camera_to_world)[:3, 1] for c in self.cameras], axis=0)
        axis = np.eye(3)[np.argmax(np.abs(mean))] * np.sign(mean[np.argmax(np.abs(mean))])
        # Cameras look up or down a little; scenes stand along an axis more often than not.
        return axis if mean @ axis > 0.8 * np.linalg.norm(mean) else mean

    def orbit(self, count: int, elevation: float) -> list[Camera]:
        from ..rendering.paths import orbit

        cameras = self.cameras
        width, height = self.size or ((cameras[0].width, cameras[0].height) if cameras else (512, 512))
        low, high = self.header.box
        width, height = (max(1, round(v * self.scale)) for v in (width, height))
        return orbit(low, high, count, width=width, height=height, up=self.up(), elevation=elevation)

    def folder(self, path: str, cameras: Iterable[Camera]) -> Path:
        """The folder for the pictures of these cameras. Raises UsageError where one is larger than the limits."""
        for camera in cameras:
            check_picture(camera, self.header.samples_per_diagonal, *self.limits)
        return outputs().open_folder(path)

    # Rendering

    def frames(self) -> Iterator[Frame]:
        numbers = {n for n, _ in self.numbers}
        yield from (f for f in self.stream.frames(range(min(numbers), max(numbers) + 1)) if f.number in numbers)

    def field(self, frame: Frame) -> RadianceField[Array]:
        from ..fields import build

        return build(frame.header, frame.values(), self.ops)

    def picture(self, field: RadianceField[Array], frame: Frame, camera: Camera, advance: Callable[..., None],
                text: str) -> Picture:
        from ..rendering.march import render_camera

        done = 0.0

        def on_progress(rays: int, count: int) -> None:
            nonlocal done
            advance(rays / count - done, text)
            done = rays / count

        return render_camera(field, frame.occupancy, camera, frame.header, on_progress=on_progress)

    def write_depth(self, path: Path, picture: Picture, camera: Camera) -> None:
        from ..rendering.pictures import depth_unit, write_depth_png

        if self.depth_unit is None:  # one unit for all pictures: the far side of the box bounds every depth
            import numpy as np

            low, high = map(np.asarray, self.header.box)
            eye = np.asarray(camera.camera_to_world)[:3, 3]
            self.depth_unit = depth_unit(float(np.linalg.norm(np.maximum(abs(low - eye), abs(high - eye)))) * 2)
        write_depth_png(path, picture.depth, picture.opacity, self.depth_unit)

    def stills(self, out: str, names: tuple[str, ...], elevation: float) -> dict[str, Any]:
        from ..rendering.pictures import write_png

        views, pictures = self.select(names, elevation), []
        folder = self.folder(out, (camera for _, camera in views))
        with progress_bar("rendering", len(views) * len(self.numbers), self.quiet) as advance:
            for frame in self.frames():
                field = self.field(frame)
                for label, camera in views:
                    name = f"frame_{frame.number:06d}_{label}"
                    picture = self.picture(field, frame, camera, advance, name)
                    write_png(folder / f"{name}.png", picture.rgb)
                    entry = dict(frame=frame.number, camera=label, file=f"{name}.png")
                    if self.depth:
                        self.write_depth(folder / f"{name}_depth.png", picture, camera)
                        entry["depth_file"] = f"{name}_depth.png"
                    pictures.append(entry)
        return dict(backend=self.ops.name, pictures=pictures)

    def held_out(self, out: str, dataset_path: str, dataset_frames: range | None, compare: bool) -> dict[str, Any]:
        from ..evaluation.metrics import psnr
        from ..export import write_text
        from ..rendering.pictures import comparison, composite, write_png

        dataset = load_frames(dataset_path, dataset_frames, aabb=self.header.box)
        # The encoder numbers the frames of a scene in the order of those it was given.
        views = {n: frame.split("test") for n, frame in enumerate(dataset.frames, self.first)}
        last = self.numbers[-1][0]
        if last not in views:
            raise UsageError(f"the stream's frame {last} has no counterpart: the dataset has {len(views)} frames")
        total = sum(len(views[n]) for n, _ in self.numbers)
        if not total:
            raise UsageError("the dataset has no held-out views for these frames")
        folder = self.folder(out, (v.camera.scaled(self.scale) for n, _ in self.numbers for v in views[n]))
        background = [c / 255 for c in self.header.background]
        pictures = []
        with progress_bar("rendering", total, self.quiet) as advance:
            for frame in self.frames():
                field = self.field(frame)
                for view in views[frame.number]:
                    name = f"frame_{frame.number:06d}_view_{view.camera_index:02d}"
                    downscale = 1 / self.scale
                    camera, rgba = view.camera.scaled(1 / downscale), view.load(downscale)
                    truth, mask = composite(rgba, background), rgba[..., 3]
                    picture = self.picture(field, frame, camera, advance, name)
                    entry = dict(frame=frame.number, camera=view.camera_index, file=f"{name}.png",
                                 **_metrics(picture.rgb, truth, mask))
                    write_png(folder / f"{name}.png", picture.rgb)
                    if compare:
                        caption = f"{psnr(picture.rgb, truth):.2f} dB"
                        entry["comparison_file"] = f"{name}_compare.png"
                        write_png(folder / f"{name}_compare.png", comparison(truth, picture.rgb, caption=caption))
                    if self.depth:
                        entry["depth_file"] = f"{name}_depth.png"
                        self.write_depth(folder / f"{name}_depth.png", picture, camera)
                    pictures.append(entry)
        by_frame = [dict(frame=n, **_mean([p for p in pictures if p["frame"] == n])) for n, _ in self.numbers]
        result = dict(backend=self.ops.name, pictures=pictures, frames=by_frame, mean=_mean(pictures))
        write_text(folder / "metrics.json", to_json(result) + "\n")
        return result

    def video(self, out: str, path: str, seconds: float | None, fps: float, elevation: float) -> dict[str, Any]:
        import numpy as np

        from ..rendering.paths import interpolate
        from ..rendering.pictures import colour_depth, write_video

        played = len(self.numbers) > 1
        if seconds is None:
            span = self.numbers[-1][1] - self.numbers[0][1]
            seconds = span * len(self.numbers) / (len(self.numbers) - 1) if played else _STILL_SECONDS
        count = max(1, round(seconds * fps))
        if path == "orbit":
            cameras = self.orbit(count, elevation)
        else:
            if len(self.cameras) < 2:
                raise UsageError("--path cameras needs a stream with at least two cameras")
            count = max(2, count)
            cameras = [self.camera(c) for c in interpolate(self.cameras, count, closed=True)]
        folder = self.folder(out, cameras)
        shown = [self.numbers[i * len(self.numbers) // count][0] for i in range(count)]

        with contextlib.ExitStack() as stack:
            advance = stack.enter_context(progress_bar("rendering", count, self.quiet))

            def pictures() -> Iterator[np.ndarray]:
                i = 0
                for frame in self.frames():
                    field = None
                    while i < count and shown[i] == frame.number:
                        field = field or self.field(frame)
                        picture = self.picture(field, frame, cameras[i], advance, f"frame {frame.number}")
                        rgb = picture.rgb
                        if self.depth:
                            rgb = np.concatenate([rgb, colour_depth(picture.depth, picture.opacity)], axis=1)
                        yield rgb
                        i += 1

            write_video(folder / f"{path}.mp4", pictures(), fps)
        return dict(backend=self.ops.name, video=f"{path}.mp4", pictures=[], frames_shown=len(set(shown)),
                    seconds=count / fps, fps=fps)


def _label(number: int, camera: Camera) -> str:
    """A camera's part of a file name."""
    name = re.sub(r"[^A-Za-z0-9.-]+", "-", camera.name).strip("-.")
    return f"camera_{number:02d}" + (f"_{name}" if name and name != str(number) else "")


def _metrics(rgb: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> dict[str, float | None]:
    """PSNR (dB) and SSIM of the whole picture, and inside the mask's bounding box (None without one)."""
    from ..evaluation.metrics import SSIM_WINDOW, mask_box, psnr, ssim

    def both(a: np.ndarray, b: np.ndarray) -> tuple[float | None, float | None]:
        fits = min(a.shape[:2]) >= SSIM_WINDOW
        value = psnr(a, b)
        return (value if math.isfinite(value) else None), (ssim(a, b) if fits else None)

    whole = both(rgb, truth)
    box: tuple[float | None, float | None] = (None, None)
    if (mask > 0).any():
        part = mask_box(mask)
        box = both(rgb[part], truth[part])
    return dict(psnr=whole[0], ssim=whole[1], psnr_box=box[0], ssim_box=box[1])


def _mean(pictures: list[dict[str, Any]]) -> dict[str, float | None]:
    means: dict[str, float | None] = {}
    for key in ("psnr", "ssim", "psnr_box", "ssim_box"):
        values = [p[key] for p in pictures if p[key] is not None]
        means[key] = sum(values) / len(values) if values else None
    return means


def _show(result: dict[str, Any], folder: str) -> None:
    if "mean" in result:
        for row in (*result["frames"], dict(frame="mean", **result["mean"])):
            values = "  ".join(f"{name} {row[key]:.{digits}f}" if row[key] is not None else f"{name} -"
                               for name, key, digits in (("PSNR", "psnr", 2), ("SSIM", "ssim", 4),
                                                         ("box PSNR", "psnr_box", 2), ("box SSIM", "ssim_box", 4)))
            click.echo(f"frame {row['frame']}: {values}")
    what = result.get("video") or f"{len(result['pictures'])} pictures"
    click.echo(f"{printable(folder)}: {what} ({result['backend']})", err=True)
