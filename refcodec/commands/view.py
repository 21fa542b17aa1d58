"""`refcodec view`."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import BinaryIO

import click

from ..errors import UsageError
from .common import FileCommand, InputPath, OutputFile, examples, open_input, printable, stored_input, to_json


@click.command("view", cls=FileCommand, epilog=examples(
    "refcodec view fox.rfv",
    "refcodec view fox.rfv --export fox.html"))
@click.argument("file", type=InputPath(allow_dash=True))
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Of the local web server. Default: a free one.")
@click.option("--no-browser", is_flag=True, help="Open no browser; print the address only.")
@click.option(
    "--export", "export", type=OutputFile(), metavar="PAGE.html",
    help="Write one self-contained page that works offline, and stop."
)
@click.option("--json", "as_json", is_flag=True, help="Print the address, or what was exported, as JSON.")
def command(file: str, port: int, no_browser: bool, export: str | None, as_json: bool) -> None:
    """Show FILE (- for a pipe) in a web browser, which decodes and renders it by itself.

    The server answers this machine only (127.0.0.1) and runs until it is interrupted.
    """
    stream: Path | bytes = Path(file)
    if export or file == "-" or not Path(file).is_file():
        stream = _whole(stored_input(file))
    else:
        open_input(file).close()
    name = "stream" if file == "-" else Path(file).name
    if export:
        if port or no_browser:
            raise UsageError("--export needs no server: it can't be combined with --port or --no-browser")
        assert isinstance(stream, bytes)
        size = _export(stream, name, export)
        click.echo(to_json({"page": export, "bytes": size}) if as_json else f"{printable(export)}: {size:,} bytes")
        return
    from ..view.server import address, make_viewer

    with make_viewer(stream, name, port) as server:
        url = address(server)
        click.echo(to_json({"url": url}) if as_json else f"{printable(name)} at {url} (Ctrl-C ends it)")
        if not no_browser and not webbrowser.open(url):
            click.echo("refcodec: no browser could be started; open the address in one", err=True)
        try:
            server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            click.echo("", err=True)  # behind the terminal's ^C


def _whole(file: BinaryIO) -> bytes:
    """All bytes of an RFV file. Raises BitstreamError, UsageError."""
    from ..sources import SPOOL_LIMIT
    from ..syntax.units import UnitReader

    UnitReader(file).read_file_header()
    file.seek(0)
    data = file.read(SPOOL_LIMIT + 1)
    if len(data) > SPOOL_LIMIT:
        raise UsageError(f"the file has more than {SPOOL_LIMIT >> 20} MiB; serve it, and view it from there")
    return data


def _export(stream: bytes, name: str, path: str) -> int:
    from ..files import replacing
    from ..view.bundle import exported

    text = exported(stream, name)
    with replacing(path) as temporary:
        temporary.write_bytes(text)
    return len(text)
