"""`refcodec encode-scenes`."""
from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from .common import (
    DOWNSCALE,
    LAMBDA,
    SEED,
    FileCommand,
    FrameRange,
    InputPath,
    KeyValue,
    OutputFile,
    examples,
    printable,
)
from .encode import progress_sinks, say_warnings

if TYPE_CHECKING:
    from ..encoder.scenes import ScenesReport


@click.command("encode-scenes", cls=FileCommand, epilog=examples(
    "refcodec encode-scenes scene-a scene-b both.rfv --lambda 1e-2",
    "refcodec encode-scenes demo/fox foxes.rfv --frames 0:2 --no-share"))
@click.argument("datasets", nargs=-1, required=True, type=InputPath())
@click.argument("out", type=OutputFile())
@click.option("--frames", type=FrameRange(), help="Frame numbers of the datasets: 7, 0:8. Each frame is a scene.")
@click.option("--share/--no-share", default=True, show_default=True, help="Weights that the scenes share, coded once.")
@click.option("--lambda", "lagrangian", type=LAMBDA, default=5e-3, show_default=True,
              help="Weight of the rate against distortion.")
@click.option("--iterations", type=click.IntRange(1), default=1500, show_default=True,
              help="Of training, for each scene.")
@click.option("--rays", type=click.IntRange(1), default=512, show_default=True, help="Of an iteration.")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Same seed, same machine: same file.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, …")
@click.option("--downscale", type=DOWNSCALE, default=1.0, show_default=True, help="Of the pictures.")
@click.option("--cameras", type=click.Choice(["test", "all", "none"]), default="test", show_default=True,
              help="The cameras that the file carries.")
@click.option("--metadata", type=KeyValue(), multiple=True, help="A text that the file carries. Repeatable.")
@click.option("--no-evaluate", is_flag=True, help="Do not measure PSNR on the held-out views.")
@click.option("--log-json", type=OutputFile(allow_dash=True, later=True), metavar="FILE|-",
              help="Progress as JSON, one object per line.")
@click.option("--quiet", is_flag=True, help="No progress, no summary.")
def command(datasets: Sequence[str], out: str, frames: range | None, share: bool, lagrangian: float, iterations: int,
            rays: int, seed: int, device: str, downscale: float, cameras: str, metadata: Sequence[tuple[str, str]],
            no_evaluate: bool, log_json: str | None, quiet: bool) -> None:
    """Train the frames of DATASETS as scenes of one RFV file OUT: networks that share weights (cNeRF).

    Any scene can be decoded with the shared part alone. docs/multi-scene.md says more.
    """
    from ..encoder import pick_device, require_torch  # before torch, whose threads it sets up

    require_torch()
    from ..encoder.presets import TrainingSettings
    from ..encoder.scenes import SceneOptions, encode_scenes

    if not lagrangian > 0:
        raise UsageError("the lambda must be a positive number")
    training = TrainingSettings(lagrangian=lagrangian, intra_iterations=iterations, rays=rays, network_rate=1e-2,
                                seed=seed)
    options = SceneOptions(training=training, share=share, frames=frames, downscale=downscale, cameras=cameras,
                           evaluate=not no_evaluate, device=pick_device(device), metadata=dict(metadata))
    with contextlib.ExitStack() as stack:
        log, on_progress = progress_sinks(stack, log_json, quiet)
        report = encode_scenes(list(datasets), out, options, on_progress)
        if log:
            log.write("result", dataclasses.asdict(report) | dict(path=str(report.path)))
    say_warnings(report.warnings)
    if not quiet:
        _summary(report)


def _summary(report: ScenesReport) -> None:
    if report.shared is not None:
        click.echo(f"shared      {report.shared.size:>8,} bytes", err=True)
    for i, s in enumerate(report.scenes):
        quality = f"  PSNR {s.psnr:.2f} dB" if s.psnr is not None else ""
        click.echo(f"scene {i:<5} {s.report.size:>8,} bytes{quality}  {s.source}, frame {s.frame}", err=True)
    click.echo(f"{printable(str(report.path))}: {report.size:,} bytes, {len(report.scenes)} scenes "
               f"({report.float_bytes:,} bytes as 32-bit "
               f"floats), {report.seconds:.1f} s; decoded and verified", err=True)
    sys.stderr.flush()
