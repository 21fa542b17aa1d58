"""The viewer's web server: the page and one stream, for this machine alone."""

from __future__ import annotations

import io
from dataclasses import replace
from http.server import ThreadingHTTPServer
from pathlib import Path

from ..serving import RangeHandler, Resource, content_type, make_server
from .bundle import served

HOST = "127.0.0.1"
# The page runs what comes from here and nothing else; it may read files from elsewhere that a link names.
_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data: blob:; media-src blob:; "
    "style-src 'self' 'unsafe-inline'; "
    "connect-src 'self' https:"
)


def make_viewer(stream: Path | bytes, name: str, port: int = 0) -> ThreadingHTTPServer:
    """A server of the page and of a stream as `/stream.rfv`, bound but not yet running.

    name: of the stream, shown in the page. port: 0 takes a free one; `address(server)` says which.
    Raises UsageError where the port can't be had.
    """
    data = {f"/{path}": content for path, content in served(name).items()}
    if isinstance(stream, bytes):
        data["/stream.rfv"] = stream
    files = {path: Resource.of_bytes(content, content_type(path)) for path, content in data.items()}
    files["/"], data["/"] = files.pop("/index.html"), data.pop("/index.html")

    class Handler(RangeHandler):
        def find(self, path: str) -> Resource | None:
            if path in files:
                return replace(files[path], file=io.BytesIO(data[path]))
            return Resource.of_file(stream) if path == "/stream.rfv" and isinstance(stream, Path) else None

        def end_headers(self) -> None:
            self.send_header("Content-Security-Policy", _POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            super().end_headers()

    return make_server(Path(__file__).parent, HOST, port, handler=Handler, quiet=True)


def address(server: ThreadingHTTPServer) -> str:
    """The page's URL."""
    return f"http://{HOST}:{server.server_port}/"
