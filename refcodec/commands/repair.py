"""`refcodec repair`."""
from __future__ import annotations

import click

from ..errors import EXIT_NOT_CONFORMING, EXIT_OK
from .common import (
    FileCommand,
    InputPath,
    OutputFile,
    calm_threads,
    examples,
    limit_options,
    limits,
    progress_bar,
    ranges,
)
from .editing import json_option, mapped_input, output, quiet_option, tell


@click.command("repair", cls=FileCommand, epilog=examples(
    "refcodec repair damaged.rfv whole.rfv",
    "refcodec repair damaged.rfv whole.rfv --json"))
@click.argument("file", type=InputPath(allow_dash=True))
@click.argument("out", type=OutputFile(allow_dash=True))
@click.option("--decode", is_flag=True, help="Decode every frame, too, and drop those that can't be or differ from "
              "their digest.")
@limit_options
@json_option
@quiet_option
def command(file: str, out: str, decode: bool, limit_elements: int | None, limit_voxels: int | None,
            limit_steps: int | None, as_json: bool, quiet: bool) -> int:
    """Write what is intact of FILE to OUT (- for pipes) as a conforming file.

    Index and end unit are rewritten; of a damaged group the frames before the damage are kept. Exit code 2 when frames
    were lost, or nothing could be kept (then OUT is not written).
    """
    calm_threads()
    from ..editing import repair

    with progress_bar("repairing", None, quiet) as advance, output(out, as_json) as target:
        report = repair(mapped_input(file), target, decode=decode,
                        limits=limits(limit_elements, limit_voxels, limit_steps),
                        progress=lambda frame: advance(1, f"frame {frame}"))
    details = report.details
    if not as_json:
        for e in details["damage"]:
            click.echo(f"refcodec: damage: {e['code']} {e['name']} at byte {e['offset']}: {e['message']}", err=True)
        for d in details["dropped"]:
            click.echo(f"refcodec: dropped: {d['bytes']} bytes at byte {d['offset']}: {d['what']}", err=True)
        if details["lost"]:
            click.echo(f"refcodec: lost: frames {ranges(details['lost'])}", err=True)
        elif not details["damage"] and not quiet:
            click.echo("refcodec: note: nothing was damaged", err=True)
    tell(report, "repair", out, as_json, quiet)
    return EXIT_NOT_CONFORMING if details["lost"] or details["dropped"] else EXIT_OK
