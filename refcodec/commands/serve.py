"""`refcodec serve`."""
from __future__ import annotations

import click

from ..errors import UsageError
from .common import FileCommand, InputPath, examples, printable, to_json


@click.command("serve", cls=FileCommand, epilog=examples(
    "refcodec serve films/",
    "refcodec serve fox.rfv --port 8001"))
@click.argument("path", type=InputPath())
@click.option("--host", default="127.0.0.1", show_default=True,
              help="Address to listen on; 0.0.0.0: all of the machine's.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: a free one.")
@click.option("--allow-origin", metavar="ORIGIN", help="Let pages of another origin read the files (*: all).")
@click.option("--allow-host", "hosts", metavar="NAME", multiple=True,
              help="Answer requests for this host name, too, as a proxy passes them on. Repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Say where, on standard output, as one line of JSON.")
@click.option("--quiet", is_flag=True, help="No log of requests.")
def command(path: str, host: str, port: int, allow_origin: str | None, hosts: tuple[str, ...], as_json: bool,
            quiet: bool) -> int:
    """Serve a file or folder over HTTP, with byte ranges, until interrupted."""
    if allow_origin is not None and not (allow_origin.isascii() and allow_origin.isprintable()):
        raise UsageError("an origin is * or like https://example.org")
    from ..serving import make_server

    with make_server(path, host, port, quiet=quiet, allow_origin=allow_origin, hosts=hosts) as server:
        bound = server.server_address[1]
        url = f"http://{f'[{host}]' if ':' in host else host}:{bound}/"
        if as_json:
            click.echo(to_json({"url": url, "host": host, "port": bound}).replace("\n", ""))
        click.echo(f"refcodec: serving {printable(path)} at {url}", err=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
    return 0
