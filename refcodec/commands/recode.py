"""`refcodec recode`."""
from __future__ import annotations

import click

from .common import FileCommand, InputPath, OutputFile, calm_threads, examples, limit_options, limits, open_input
from .editing import json_option, output, quiet_option, tell


@click.command("recode", cls=FileCommand, epilog=examples(
    "refcodec recode old.rfv smaller.rfv",
    "refcodec recode old.rfv smaller.rfv --iterations 2000"))
@click.argument("file", type=InputPath(allow_dash=True))
@click.argument("out", type=OutputFile(allow_dash=True))
@click.option("--iterations", type=click.IntRange(4, 100_000), default=400, show_default=True,
              help="Of the fit of each model: more take longer and fewer bytes.")
@limit_options
@json_option
@quiet_option
def command(file: str, out: str, iterations: int, limit_elements: int | None, limit_voxels: int | None,
            limit_steps: int | None, as_json: bool, quiet: bool) -> int:
    """Re-encode FILE without loss and write it to OUT (- for pipes).

    Probability models are fitted to the values again, and the smaller of them and static tables code each tensor. All
    frames decode to the same tensors as before. Needs torch.
    """
    calm_threads()
    from ..encoder import require_torch

    require_torch()
    from ..encoder.recode import recode

    def progress(number: int, before: int, after: int) -> None:
        if not quiet:
            click.echo(f"frame {number}: {before} bytes, now {after}", err=True)

    with output(out, as_json) as target:
        report = recode(open_input(file), target, iterations=iterations, on_frame=progress,
                        limits=limits(limit_elements, limit_voxels, limit_steps))
    tell(report, "recode", out, as_json, quiet)
    return 0
