"""`refcodec extract`."""
from __future__ import annotations

import click

from .common import LAST_FRAME, FileCommand, FiniteRange, InputPath, OutputFile, calm_threads, examples, open_input
from .editing import json_option, output, quiet_option, tell


@click.command("extract", cls=FileCommand, epilog=examples(
    "refcodec extract fox.rfv still.rfv --frame 25"))
@click.argument("file", type=InputPath(allow_dash=True))
@click.argument("out", type=OutputFile(allow_dash=True))
@click.option("--frame", "number", type=click.IntRange(0, LAST_FRAME), required=True, help="Number of the frame.")
@click.option("--lossy", type=FiniteRange(0, min_open=True), metavar="STEP",
              help="Re-encode a P-frame with this quantisation step size, in units of the field's values: no "
                   "coefficient is off by more than half of it.")
@json_option
@quiet_option
def command(file: str, out: str, number: int, lossy: float | None, as_json: bool, quiet: bool) -> int:
    """Write one frame of FILE to the file OUT (- for pipes), as a static scene.

    Its tensors are the same to the bit, unless --lossy allows a difference. An I-frame is
    copied; a P-frame is decoded and re-encoded, which takes more bytes than it had.
    """
    calm_threads()
    from ..editing import extract

    with output(out, as_json) as target:
        report = extract(open_input(file), target, number, lossy=lossy)
    tell(report, "extract", out, as_json, quiet)
    return 0
