"""The viewer's web server: the page and one stream, for this machine alone."""

from __future__ import annotations

import re
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import BinaryIO
from urllib.parse import urlsplit

from ..errors import UsageError
from .bundle import served

HOST = "127.0.0.1"
_PIECE = 1 << 18
_TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}


class Server(ThreadingHTTPServer):
    """Serves the page at `url`, and `data` as `stream.rfv`, with range requests (RFC 9110, 14).

    data: a seekable binary file. name: shown in the page. port: 0 takes a free one.
    Raises UsageError where the port can't be had.
    """

    daemon_threads = True

    def __init__(self, data: BinaryIO, name: str, port: int = 0):
        self.data, self.lock = data, threading.Lock()
        self.size = data.seek(0, 2)
        self.files = served(name)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as e:
            raise UsageError(f"can't listen on port {port}: {e.strerror}") from None
        self.url = f"http://{HOST}:{self.server_port}/"

    def read(self, start: int, count: int) -> bytes:
        with self.lock:
            self.data.seek(start)
            return self.data.read(count)

    def handle_error(self, request, client_address) -> None:
        """A browser that closes a connection early is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self._answer(True)

    def do_HEAD(self) -> None:
        self._answer(False)

    def _answer(self, with_body: bool) -> None:
        # Other sites must not read the stream through a name of theirs that leads here.
        if self.headers.get("Host") not in {
            f"{HOST}:{self.server.server_port}",
            f"localhost:{self.server.server_port}",
        }:
            return self._send(HTTPStatus.FORBIDDEN, b"", with_body)
        path = urlsplit(self.path).path.lstrip("/") or "index.html"
        if path == "stream.rfv":
            return self._stream(with_body)
        body = self.server.files.get(path)
        if body is None:
            return self._send(HTTPStatus.NOT_FOUND, b"", with_body)
        kind = _TYPES[PurePosixPath(path).suffix]
        return self._send(HTTPStatus.OK, body, with_body, {"Content-Type": f"{kind}; charset=utf-8"})

    def _send(self, status: HTTPStatus, body: bytes, with_body: bool, headers: dict[str, str] | None = None) -> None:
        self._head(status, len(body), headers or {})
        if with_body:
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header(
            "Content-Security-Policy", "default-src 'self'; img-src data:; style-src 'self' 'unsafe-inline'"
        )
        self.end_headers()

    def _stream(self, with_body: bool) -> None:
        size = self.server.size
        wanted = byte_range(self.headers.get("Range"), size)
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        if wanted is None:
            self._head(HTTPStatus.OK, size, headers)
            wanted = range(size)
        elif not wanted:
            return self._send(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", with_body, {"Content-Range": f"bytes */{size}"}
            )
        else:
            headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{size}"
            self._head(HTTPStatus.PARTIAL_CONTENT, len(wanted), headers)
        if with_body:
            for at in range(wanted.start, wanted.stop, _PIECE):
                self.wfile.write(self.server.read(at, min(_PIECE, wanted.stop - at)))
        return None

    def log_message(self, format, *args) -> None:
        """Quiet: the terminal belongs to the command."""


def byte_range(header: str | None, size: int) -> range | None:
    """Bytes that a Range header asks for; None: all; an empty range: none that exist.

    Several ranges, and what is no range of bytes, are ignored, as RFC 9110 allows.
    """
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", (header or "").strip())
    if not match or match[1] == match[2] == "":
        return None
    if not match[1]:
        return range(max(0, size - int(match[2])), size)
    first = int(match[1])
    last = min(int(match[2]), size - 1) if match[2] else size - 1
    if match[2] and int(match[2]) < first:
        return None
    return range(first, last + 1) if first < size else range(0)
