"""`refcodec benchmark`."""
from __future__ import annotations

from pathlib import Path

import click

from .common import FrameRange, calm_threads


@click.command("benchmark")
@click.argument("dataset")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--preset", default="tiny", show_default=True)
@click.option("--frames", type=FrameRange(), help="The dataset's frame numbers, as for encode.")
@click.option("--lambda", "lagrangians", type=float, multiple=True,
              help="Operating points of the full codec, two at least; all else uses the first. [default: 1e-3 and 3e-3]")
@click.option("--device", default="auto", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def command(dataset, folder, frames, lagrangians, **options):
    """Encode DATASET with each tool switched off in turn; print sizes, speeds and ratios.

    Encodes are kept in FOLDER, so that the command can be interrupted and repeated.
    """
    calm_threads()
    from ..encoder import EncodeOptions
    from ..evaluation import benchmark

    report = benchmark.run(dataset, folder, EncodeOptions(frames=frames, **options), lagrangians or (1e-3, 3e-3),
                           tell=lambda text: click.echo(text, err=True))
    click.echo(benchmark.markdown(report))
