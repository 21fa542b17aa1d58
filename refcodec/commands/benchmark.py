"""`refcodec benchmark`."""
from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from .common import (
    LAMBDA,
    SEED,
    EditedFile,
    FileCommand,
    FiniteRange,
    FrameRange,
    InputPath,
    OutputFolder,
    Throttle,
    bounded,
    calm_threads,
    check_picture,
    examples,
    printable,
    progress_bar,
    stored_input,
    to_json,
)

if TYPE_CHECKING:
    from ..encoder import Progress

_PLAIN_SECONDS = 30.0


class _Benchmarks(click.Group):
    """`refcodec benchmark DATASET FOLDER` is short for `refcodec benchmark tools DATASET FOLDER`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and not set(args) & set(ctx.help_option_names):
            args = ["tools", *args]
        return super().parse_args(ctx, args)


@click.group("benchmark", cls=_Benchmarks, epilog=examples(
    "refcodec benchmark demo/fox figures/ --frames :2",
    "refcodec benchmark systems demo/fox figures/ --frames :2",
    "refcodec benchmark render fox.rfv --scale 2",
    "refcodec benchmark speed fox.rfv"))
def command() -> None:
    """Measure the gain of each coding tool (tools), compare published systems (systems), or time decoding (speed) and
    rendering (render).

    Without any of these words, tools: refcodec benchmark DATASET FOLDER.
    """


_dataset = click.argument("dataset", type=InputPath())
_folder = click.argument("folder", type=OutputFolder(None))
_preset = click.option("--preset", default="tiny", show_default=True)
_frames = click.option("--frames", type=FrameRange(), help="The dataset's frame numbers, as for encode.")
_intra = click.option("--intra-iterations", type=click.IntRange(1),
                      help="Training of an I-frame, in place of the preset's.")
_inter = click.option("--inter-iterations", type=click.IntRange(1),
                      help="Training of a P-frame, in place of the preset's.")
_device = click.option("--device", default="auto", show_default=True)
_seed = click.option("--seed", type=SEED, default=0, show_default=True)


@command.command("tools", cls=FileCommand, epilog=examples(
    "refcodec benchmark tools demo/fox figures/ --frames :2 --lambda 1e-3 --lambda 2e-3"))
@_dataset
@_folder
@_preset
@_frames
@click.option("--lambda", "lagrangians", type=LAMBDA, multiple=True,
              help="Operating points of the full codec, two at least; all else uses the first. "
                   "[default: 1e-3 and 3e-3]")
@click.option("--system", default="rate-aware", show_default=True, help="One with P-frames, as for encode.")
@click.option("--representation", help="dif, vm, triplane or grid; by default the first that the system codes.")
@_intra
@_inter
@_device
@_seed
def tools(dataset: str, folder: str, frames: range | None, lagrangians: Sequence[float], **options: Any) -> None:
    """Encode DATASET with each tool switched off in turn; print sizes, speeds and ratios.

    Encodes are kept in FOLDER, so that the command can be interrupted and repeated.
    """
    calm_threads()
    from ..encoder import EncodeOptions
    from ..evaluation import benchmark

    report = benchmark.run(dataset, Path(folder), EncodeOptions(frames=frames, **options), lagrangians or (1e-3, 3e-3),
                           tell=tell)
    click.echo(benchmark.markdown(report))


@command.command("systems", cls=FileCommand, epilog=examples(
    "refcodec benchmark systems demo/fox figures/ --frames :2 --system ecrf --system rate-aware-vm --json"))
@_dataset
@_folder
@_preset
@_frames
@click.option("--lambda", "lagrangians", type=LAMBDA, multiple=True,
              help="Operating points. Repeatable. [default: the preset's]")
@click.option("--system", "names", multiple=True,
              help="Of these systems only: rate-aware, rate-aware-vm, … Repeatable. [default: all]")
@click.option("--group-size", type=click.IntRange(1), default=20, show_default=True)
@_intra
@_inter
@_device
@_seed
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--into", type=EditedFile(), metavar="DOCUMENT",
              help="Also put the tables between the markers of this document, such as docs/systems.md.")
def systems(dataset: str, folder: str, frames: range | None, lagrangians: Sequence[float], names: Sequence[str],
            as_json: bool, into: str | None, **options: Any) -> None:
    """Encode DATASET with every published system; print sizes, PSNR and comparisons.

    FOLDER receives the files, systems.json, systems.csv, systems.md and the
    rate-distortion plot systems.png. Points whose files are there and match are not
    made again.
    """
    calm_threads()
    from ..encoder import EncodeOptions
    from ..evaluation import systems as comparison

    with encoding_progress() as on_progress:
        report = comparison.run(dataset, Path(folder), EncodeOptions(frames=bounded(dataset, frames), **options), names,
                                lagrangians, tell, on_progress)
    if into is not None:
        comparison.insert(report, Path(into))
    click.echo(to_json(report) if as_json else comparison.markdown(report))
    if report["failures"]:
        raise click.exceptions.Exit(1)


@command.command("render", cls=FileCommand, epilog=examples(
    "refcodec benchmark render fox.rfv --scale 2 --enlarge small"))
@click.argument("file", type=InputPath(allow_dash=True))
@click.option("--views", type=click.IntRange(1), default=3, show_default=True, help="How many of the stream's cameras.")
@click.option("--scale", type=FiniteRange(0, 8, min_open=True), default=1.0, show_default=True,
              help="Resize the pictures by this factor.")
@click.option("--enlarge", metavar="PRESET", help="Interpolate the field to the sizes of this preset first; opacity "
                                                  "stays, colours do not. Of vm, triplane and grid.")
@click.option("--backend", type=click.Choice(["auto", "torch", "numpy"]), default="auto", show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True, help="The fastest counts.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def render(file: str, views: int, scale: float, enlarge: str | None, backend: str, repeats: int, as_json: bool) -> None:
    """Time the rendering of FILE's first frame, decoded before.

    By the clock, which needs a machine that does nothing else, and by the time of all processors.
    """
    calm_threads()
    from ..decoding import open_stream
    from ..encoder.presets import preset
    from ..evaluation import render_speed
    from ..fields import choose_ops

    stream = open_stream(stored_input(file))
    frame = stream.frame(0)
    shown = render_speed.Shown(frame.header, frame.values(), frame.occupancy)
    if enlarge:
        chosen = preset(enlarge)
        shown = render_speed.enlarged(shown, chosen.sizes[frame.header.representation],
                                      occupancy_side=chosen.occupancy_side,
                                      samples_per_diagonal=chosen.samples_per_diagonal)
    cameras = [c.scaled(scale) for c in stream.cameras if c.scene == frame.scene][:views]
    if not cameras:
        raise UsageError("the stream has no cameras")
    for camera in cameras:
        check_picture(camera, shown.header.samples_per_diagonal)
    ops = choose_ops(backend)
    figures = []
    for view in render_speed.view_times(shown, cameras, ops, repeats):
        figures.append(dataclasses.asdict(view))
        if not as_json:
            click.echo(f"{printable(view.camera)}, {view.width}x{view.height}, opacity {view.opacity:.3f}: "
                       f"{view.seconds:.2f} s, {view.processor_seconds:.2f} s of processors, {ops.name}")
    if as_json:
        click.echo(to_json(dict(backend=ops.name, views=figures)))


@command.command("speed", cls=FileCommand, epilog=examples("refcodec benchmark speed fox.rfv"))
@click.argument("file", type=InputPath())
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="The fastest counts.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def speed(file: str, repeats: int, as_json: bool) -> None:
    """Time the decoding of FILE: entropy coding, reconstruction, whole frames, processes, and in node.

    By the clock, but for one thread's own work, which is by its processor time: ratios of one run say most.
    """
    calm_threads()
    from ..evaluation import speed as measured

    figures = measured.measure(Path(file), repeats)
    click.echo(to_json([dataclasses.asdict(f) for f in figures]) if as_json else measured.markdown(figures))


def tell(text: str) -> None:
    click.echo(text, err=True)


@contextlib.contextmanager
def encoding_progress() -> Iterator[Callable[[Progress], None]]:
    """Progress of the current encode: a bar on a terminal, else a line now and then."""
    due, plain = Throttle(_PLAIN_SECONDS), not sys.stderr.isatty()
    with progress_bar("encoding", None) as advance:
        at = 0.0

        def on_progress(p: Progress) -> None:
            nonlocal at
            text = f"frame {p.frame + 1}/{p.frames} {p.frame_type} {p.phase}"
            done = float(p.frame) if p.phase == "load" else max(at, p.frame + (p.phase in ("coded", "verify")))
            if p.iterations:
                text += f" {p.iteration}/{p.iterations}"
                done = max(done, p.frame + p.iteration / p.iterations)
            advance(done - at, text, total=p.frames)
            at = done
            if plain and due():
                tell(text)

        yield on_progress
