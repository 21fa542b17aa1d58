"""`refcodec concat`."""
from __future__ import annotations

from collections.abc import Sequence

import click

from .common import FileCommand, InputPath, OutputFile, calm_threads, examples, progress_bar, stored_input
from .editing import json_option, output, quiet_option, tell


@click.command("concat", cls=FileCommand, epilog=examples(
    "refcodec concat part1.rfv part2.rfv whole.rfv"))
@click.argument("inputs", nargs=-1, required=True, type=InputPath(allow_dash=True))
@click.argument("out", type=OutputFile(allow_dash=True))
@json_option
@quiet_option
def command(inputs: Sequence[str], out: str, as_json: bool, quiet: bool) -> int:
    """Join INPUTS with equal sequence headers into the file OUT (- for a pipe).

    Frames keep their numbers and time stamps where these go on increasing; else they are
    moved on, which takes decoding where frames carry digests.
    """
    calm_threads()
    from ..editing import concat

    files = [(name, stored_input(name)) for name in inputs]
    with progress_bar("joining", None, quiet) as advance, output(out, as_json) as target:
        report = concat(files, target, progress=lambda frame: advance(1, f"frame {frame}"))
    tell(report, "concat", out, as_json, quiet)
    return 0
