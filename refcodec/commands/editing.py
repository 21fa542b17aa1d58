"""Inputs, output and report of the commands that edit files."""
from __future__ import annotations

import contextlib
import mmap
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

import click

from ..errors import UsageError
from ..files import writing
from .common import printable, stored_input, to_json

if TYPE_CHECKING:
    from ..editing.source import EditReport

json_option = click.option("--json", "as_json", is_flag=True, help="Report as JSON (schemas/edit.schema.json).")
quiet_option = click.option("--quiet", is_flag=True, help="No progress, no summary.")


def mapped_input(path: str) -> bytes | mmap.mmap:
    """The bytes of a file, which are read when they are needed; some of the signature may be wrong."""
    file = stored_input(path, wrong=4)
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (ValueError, OSError):  # empty, or nothing that can be mapped
        return file.read()


@contextlib.contextmanager
def output(path: str, as_json: bool) -> Iterator[BinaryIO]:
    """The stream to write to; a file appears under its name when the block succeeds."""
    if path != "-":
        with writing(path) as file:
            yield file
        return
    if as_json:
        raise UsageError("--json and a file can't both go to standard output")
    if sys.stdout.isatty():
        raise UsageError("the file won't be written to a terminal")
    yield sys.stdout.buffer
    sys.stdout.buffer.flush()


def tell(report: EditReport, command: str, out: str, as_json: bool, quiet: bool) -> None:
    """The report, as JSON on standard output or as lines on standard error."""
    if as_json:
        click.echo(to_json(report.to_dict(command)))
    elif not quiet:
        for note in report.notes:
            click.echo(f"refcodec: note: {printable(note)}", err=True)
        frames = f"frame {report.first_frame}" if report.frames == 1 else \
            f"{report.frames} frames ({report.first_frame} to {report.last_frame})"
        click.echo(f"{frames} in {report.groups} group{'s' * (report.groups > 1)}, {report.bytes} bytes"
                   + ("" if out == "-" else f", written to {printable(out)}"), err=True)
