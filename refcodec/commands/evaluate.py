"""`refcodec evaluate`."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .benchmark import encoding_progress, tell
from .common import (
    DOWNSCALE,
    LAMBDA,
    SEED,
    FileCommand,
    FrameRange,
    InputPath,
    OutputFolder,
    box_option,
    calm_threads,
    corners,
    examples,
    load_frames,
    settings_option,
    to_json,
)


@click.command("evaluate", cls=FileCommand, epilog=examples(
    "refcodec evaluate demo/fox figures/ --frames :2",
    "refcodec evaluate demo/fox figures/ --frames :2 --baseline none --lambda 1e-3 --lambda 3e-3"))
@click.argument("datasets", nargs=-1, required=True, metavar="DATASET...", type=InputPath())
@click.argument("folder", type=OutputFolder(None))
@click.option("--system", "systems", multiple=True,
              help="Of the codec: rate-aware, ecrf, …; or none. Repeatable. [default: rate-aware]")
@click.option("--representation", "representations", multiple=True,
              help="dif, vm, triplane, grid or mlp; of the codec and of the baselines. Repeatable. [default: vm]")
@click.option("--preset", default="tiny", show_default=True)
@click.option("--lambda", "lagrangians", type=LAMBDA, multiple=True,
              help="Operating points of the codec; curves are compared from two on. Repeatable. "
                   "[default: 5e-4, 1e-3 and 3e-3]")
@click.option("--frames", type=FrameRange(), help="The datasets' frame numbers, as for encode.")
@click.option("--baseline", "baselines", multiple=True, metavar="NAME[=VALUE,…]",
              help="With these values of its parameter, or its own; all; none. Repeatable. [default: all]")
@click.option("--anchor", help="The curve that others are compared with: rate-aware-vm, hevc-vm, … "
                               "[default: the codec's first]")
@click.option("--group-size", type=click.IntRange(1), default=20, show_default=True)
@click.option("--intra-iterations", type=click.IntRange(1), help="Training of an I-frame, in place of the preset's.")
@click.option("--inter-iterations", type=click.IntRange(1), help="Training of a P-frame, in place of the preset's.")
@box_option
@settings_option
@click.option("--downscale", type=DOWNSCALE, default=1.0, show_default=True, help="Of the pictures.")
@click.option("--device", default="auto", show_default=True)
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, not as Markdown.")
def command(datasets: Sequence[str], folder: str, systems: Sequence[str], representations: Sequence[str],
            lagrangians: Sequence[float], frames: range | None, baselines: Sequence[str], anchor: str | None,
            box: tuple[float, ...] | None, settings: Sequence[tuple[str, str]], as_json: bool, **options: Any) -> None:
    """Compare the codec with every alternative on each DATASET; docs/evaluation.md says how.

    FOLDER receives evaluate.html (one page that opens offline), evaluate.json, .csv, .md,
    plots, and for each dataset a folder with all files that were measured. Interrupted, the
    same command goes on at the point where it was.
    """
    calm_threads()
    from ..encoder import EncodeOptions, require_torch

    require_torch()
    from ..evaluation import evaluate, report as writing
    from ..evaluation.baselines import choose

    chosen = () if "none" in systems else tuple(systems) or ("rate-aware",)
    request = evaluate.Request(chosen, tuple(dict.fromkeys(representations)) or ("vm",),
                               tuple(dict.fromkeys(lagrangians)) or (5e-4, 1e-3, 3e-3), choose(baselines), anchor)
    with encoding_progress() as on_progress:
        report = evaluate.run(
            datasets, Path(folder), EncodeOptions(aabb=corners(box), settings=dict(settings), **options),
            request, tell, on_progress, lambda path: load_frames(path, frames, aabb=corners(box)))
    click.echo(to_json(report) if as_json else writing.markdown(report))
    if report["failed"]:
        raise click.exceptions.Exit(1)
