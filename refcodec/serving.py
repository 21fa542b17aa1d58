"""Files over HTTP with byte ranges, for players that seek: RFC 9110 on the standard library's server.

`make_server` serves a file or a folder. Whoever has more to offer (pages, generated
data) derives from `RangeHandler` and overrides `find`.
"""
from __future__ import annotations

import email.utils
import hashlib
import html
import io
import ipaddress
import mimetypes
import os
import re
import socket
import stat
import sys
import time
import urllib.parse
from collections.abc import Callable, Collection
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

from . import __version__
from .errors import UsageError

_CHUNK = 1 << 18
_MOST_BODY = 1 << 16  # bytes of a request's body that are read, and thrown away
_UNREGISTERED = {".rfv": "application/octet-stream", ".js": "text/javascript; charset=utf-8",
                 ".mjs": "text/javascript; charset=utf-8", ".wasm": "application/wasm",
                 ".html": "text/html; charset=utf-8", ".json": "application/json"}


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that can be sent, whole or in part.

    size: bytes. etag: strong, quoted. modified: seconds since 1970, None when unknown.
    file: open binary stream at its beginning; the handler closes it.
    """

    file: BinaryIO
    size: int
    content_type: str
    etag: str
    modified: float | None = None

    @classmethod
    def of_file(cls, path: Path) -> Resource:
        """A regular file; OSError when it is none or can't be read."""
        if not stat.S_ISREG(path.stat().st_mode):  # opening a named pipe would block
            raise FileNotFoundError(path)
        file = open(path, "rb")
        status = os.fstat(file.fileno())
        return cls(file, status.st_size, content_type(path.name), f'"{"-".join(map("{:x}".format, _version(file)))}"',
                   status.st_mtime)

    @classmethod
    def of_bytes(cls, data: bytes, kind: str) -> Resource:
        """Data in memory. kind: media type."""
        return cls(io.BytesIO(data), len(data), kind, f'"{hashlib.sha256(data).hexdigest()[:32]}"')


def _version(file: BinaryIO) -> tuple[int, ...]:
    """Version of a file's content: its number, size and times. () for data in memory."""
    if isinstance(file, io.BytesIO):
        return ()
    status = os.fstat(file.fileno())
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def content_type(name: str) -> str:
    """Media type by the suffix of a name."""
    return _UNREGISTERED.get(Path(name).suffix.lower()) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def byte_range(header: str, size: int) -> range | None:
    """The bytes that a `Range` header asks for (RFC 9110, 14.1.2); empty: it can't be satisfied.

    None where the header is to be ignored: another unit, several ranges, malformed.
    """
    match = re.fullmatch(r"\s*bytes\s*=\s*(\d{0,19})\s*-\s*(\d{0,19})\s*", header, re.ASCII | re.IGNORECASE)
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(int(first), min(int(last) + 1, size) if last else size)


class RangeHandler(BaseHTTPRequestHandler):
    """GET and HEAD with single byte ranges, ETag, If-None-Match, If-Range.

    root: the file or folder to serve, set by `make_server` on a derived class. A file is
    served under its name, and `/` leads to it. Of a folder the files inside are served;
    `/` and the folders' names list them.
    quiet: whether requests go unlogged. allow_origin: pages of that origin may read what is
    served (`*`: of all); None: only pages that come from here.
    hosts: names that the server goes by, beside its addresses, `localhost` and the machine's name. Requests for
    others are refused: a name of somebody else's that leads here would make his pages ours.
    """

    protocol_version = "HTTP/1.1"
    server_version = f"refcodec/{__version__}"
    timeout = 60  # seconds that an idle connection holds a thread
    root: Path
    quiet = False
    allow_origin: str | None = None
    hosts: Collection[str] = ()

    def find(self, path: str) -> Resource | str | None:
        """The target of `path` (decoded, with its leading slash): a resource, another path to go to, or None."""
        if not self.root.is_dir():
            if path == "/":
                return "/" + self.root.name
            return Resource.of_file(self.root) if path == "/" + self.root.name else None
        parts = [part for part in path.split("/") if part]
        if any(part.startswith(".") or "\\" in part or "\0" in part for part in parts):
            return None  # parent folders, hidden files
        target = self.root.joinpath(*parts)
        if not target.resolve().is_relative_to(self.root.resolve()):
            return None  # a link that leads out
        if target.is_dir():
            return _listing(target, path) if path.endswith("/") else path + "/"
        return None if path.endswith("/") else Resource.of_file(target)

    def do_GET(self) -> None:
        if self._accepted():
            self._reply(body=True)

    def do_HEAD(self) -> None:
        if self._accepted():
            self._reply(body=False)

    def do_OPTIONS(self) -> None:
        """Browsers ask before they send a header such as `Range` to another origin."""
        if not self._accepted():
            return
        self.send_response(HTTPStatus.NO_CONTENT)
        self.send_header("Allow", "GET, HEAD, OPTIONS")
        if self.allow_origin is not None:
            self.send_header("Access-Control-Allow-Methods", "GET, HEAD")
            self.send_header("Access-Control-Allow-Headers", "Range, If-Range, If-None-Match")
            self.send_header("Access-Control-Max-Age", "86400")
            if self.headers.get("Access-Control-Request-Private-Network") == "true":
                self.send_header("Access-Control-Allow-Private-Network", "true")
        self.end_headers()

    def end_headers(self) -> None:
        if self.allow_origin is not None:
            self.send_header("Access-Control-Allow-Origin", self.allow_origin)
            self.send_header("Access-Control-Expose-Headers", "Accept-Ranges, Content-Length, Content-Range, ETag")
        super().end_headers()

    def _accepted(self) -> bool:
        """Whether a request is for this server; an answer has been sent where it is not."""
        self._skip_body()
        named = self.headers.get_all("Host", [])
        if len(named) > 1 or (not named and self.request_version >= "HTTP/1.1"):
            self.send_error(HTTPStatus.BAD_REQUEST, "One Host header is needed")
        elif named and not self._is_ours(named[0].strip()):
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "Another host's name")
        else:
            return True
        return False

    def _is_ours(self, authority: str) -> bool:
        match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/@]+)(:\d{1,5})?", authority)
        if match is None:
            return False
        name = match[1].lower().removesuffix(".")
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            machine = socket.gethostname().lower()
            return name in ("localhost", machine, f"{machine}.local") or name in self.hosts
        return True  # addresses belong to nobody else

    def _skip_body(self) -> None:
        """Nothing that is asked for has a body; one that comes is no further request."""
        length = self.headers.get("Content-Length", "0").strip()
        if "Transfer-Encoding" not in self.headers and length == "0":
            return
        self.close_connection = True
        if re.fullmatch(r"[0-9]{1,9}", length):  # closed with bytes unread, a connection may lose the answer
            self.rfile.read(min(int(length), _MOST_BODY))

    def _reply(self, body: bool) -> None:
        try:
            path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path, errors="surrogateescape")
            found = self.find(path)
        except (OSError, ValueError):
            found = None
        if found is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        elif isinstance(found, str):
            self.send_response(HTTPStatus.FOUND)
            # With one slash in front: two would lead to another host.
            self.send_header("Location", "/" + urllib.parse.quote(found.lstrip("/"), errors="surrogateescape"))
            self._finish(0)
        else:
            with found.file:
                self._send(found, body)

    def _send(self, found: Resource, body: bool) -> None:
        if self._unchanged(found):
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self._describe(found)
            self.end_headers()
            return
        wanted = self._wanted(found)
        if wanted is None:
            wanted = range(found.size)
            self.send_response(HTTPStatus.OK)
        elif not wanted:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{found.size}")
            self._finish(0)
            return
        else:
            self.send_response(HTTPStatus.PARTIAL_CONTENT)
            self.send_header("Content-Range", f"bytes {wanted.start}-{wanted.stop - 1}/{found.size}")
        self._describe(found)
        self.send_header("Content-Type", found.content_type)
        self._finish(len(wanted))
        if body:
            self._copy(found.file, wanted)

    def _unchanged(self, found: Resource) -> bool:
        known = self.headers.get("If-None-Match")
        if known is None:
            return False
        tags = [tag.strip().removeprefix("W/") for tag in known.split(",")]
        return "*" in tags or found.etag in tags

    def _wanted(self, found: Resource) -> range | None:
        """The range asked for; None: everything, also when the file is no longer the one that was asked for."""
        header, condition = self.headers.get("Range"), self.headers.get("If-Range")
        if header is None or self.command != "GET":
            return None
        if condition is not None and condition.strip() != found.etag:
            # A date says which version it was only when that was not written in the same second (RFC 9110, 8.8.2.2).
            if found.modified is None or condition.strip() != _date(found) or time.time() - found.modified < 2:
                return None
        return byte_range(header, found.size)

    def _describe(self, found: Resource) -> None:
        self.send_header("ETag", found.etag)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Cache-Control", "no-cache")  # ask again, which an ETag makes cheap
        if date := _date(found):
            self.send_header("Last-Modified", date)

    def _finish(self, size: int) -> None:
        self.send_header("Content-Length", str(size))
        self.end_headers()

    def _copy(self, file: BinaryIO, wanted: range) -> None:
        """Sends bytes of a file, and ends early where it changes meanwhile: no answer mixes two versions."""
        version = _version(file)
        file.seek(wanted.start)
        left = len(wanted)
        while left:
            data = file.read(min(left, _CHUNK))
            if not data or _version(file) != version:  # the client sees too few bytes
                self.close_connection = True
                return
            self.wfile.write(data)
            left -= len(data)

    def log_message(self, format: str, *values: Any) -> None:
        if not self.quiet:
            super().log_message(format, *values)


def _date(found: Resource) -> str | None:
    return None if found.modified is None else email.utils.formatdate(found.modified, usegmt=True)


def _listing(folder: Path, path: str) -> Resource:
    rows = []
    for entry in sorted(folder.iterdir()):
        if not entry.name.startswith("."):
            name = entry.name + "/" * entry.is_dir()
            link = urllib.parse.quote(name, errors="surrogateescape")
            rows.append(f'<li><a href="{link}">{html.escape(name)}</a></li>')
    page = (f"<!DOCTYPE html><meta charset=utf-8><title>{html.escape(path)}</title>"
            f"<h1>{html.escape(path)}</h1><ul>{''.join(rows)}</ul>")
    return Resource.of_bytes(page.encode(errors="replace"), "text/html; charset=utf-8")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[RangeHandler]):
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no error; anything else is one line."""
        error = sys.exception()
        if not isinstance(error, (ConnectionError, TimeoutError)):
            print(f"refcodec: {client_address[0]}: {type(error).__name__}: {error}", file=sys.stderr)


def make_server(root: str | os.PathLike[str], host: str = "127.0.0.1", port: int = 0, *,
                handler: type[RangeHandler] = RangeHandler, quiet: bool = False, allow_origin: str | None = None,
                hosts: Collection[str] = (),
                extra: Callable[[str], Resource | str | None] | None = None) -> ThreadingHTTPServer:
    """A server of a file or folder, bound but not yet running (`serve_forever`).

    port 0 takes a free one: `server.server_address`. hosts: further names that the server goes by (RangeHandler).
    extra: asked first, as `RangeHandler.find` is. Raises UsageError.
    """
    path = Path(root)
    if not path.is_dir() and not path.is_file():
        raise UsageError(f"can't serve {root}: there is no such file or folder")
    members: dict[str, Any] = dict(root=path, quiet=quiet, allow_origin=allow_origin,
                                   hosts=frozenset(name.lower() for name in hosts))
    if extra is not None:
        members["find"] = lambda self, asked: extra(asked) or handler.find(self, asked)
    try:
        return _Server((host, port), type(handler.__name__, (handler,), members))
    except (OSError, OverflowError) as e:
        raise UsageError(f"can't listen on {host}:{port}: {getattr(e, 'strerror', None) or e}") from None
