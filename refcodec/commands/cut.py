"""`refcodec cut`."""
from __future__ import annotations

import click

from .common import FileCommand, FrameRange, InputPath, OutputFile, calm_threads, examples, open_input, progress_bar
from .editing import json_option, output, quiet_option, tell


@click.command("cut", cls=FileCommand, epilog=examples(
    "refcodec cut fox.rfv part.rfv --frames 20:40",
    "refcodec cut fox.rfv part.rfv --frames 25:27 --exact"))
@click.argument("file", type=InputPath(allow_dash=True))
@click.argument("out", type=OutputFile(allow_dash=True))
@click.option("--frames", type=FrameRange(), required=True, help="Frame numbers: 7, 20:40 (40 excluded), :10, 20:.")
@click.option("--exact", is_flag=True, help="Refuse where the cut would have to begin before the first frame wanted.")
@json_option
@quiet_option
def command(file: str, out: str, frames: range, exact: bool, as_json: bool, quiet: bool) -> int:
    """Cut frames out of FILE into the file OUT (- for pipes), without decoding.

    A cut begins at an I-frame: the last one not behind the first frame wanted. It ends
    with the last frame wanted. Numbers, time stamps and digests stay.
    """
    calm_threads()
    from ..editing import cut

    with progress_bar("cutting", None, quiet) as advance, output(out, as_json) as target:
        report = cut(open_input(file), target, frames, exact=exact,
                     progress=lambda frame: advance(1, f"frame {frame}"))
    tell(report, "cut", out, as_json, quiet)
    return 0
