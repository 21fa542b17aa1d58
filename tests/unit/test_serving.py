"""Files over HTTP: ranges, conditions, what must not be served; the server of the command line."""
from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from checkout import ROOT
from refcodec.errors import UsageError
from refcodec.serving import RangeHandler, Resource, byte_range, make_server

DATA = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("served")
    (path / "some.rfv").write_bytes(DATA)
    (path / "empty.rfv").write_bytes(b"")
    (path / ".hidden").write_bytes(b"secret")
    (path / "in <side>").mkdir()
    (path / "in <side>" / "ümlaut.json").write_text("{}")
    outside = path.parent / "outside"
    outside.write_bytes(b"secret")
    (path / "link").symlink_to(outside)
    os.mkfifo(path / "pipe")
    return path


@pytest.fixture(scope="module")
def server(folder):
    def more(path):
        return {"/page": Resource.of_bytes(b"<p>", "text/html"), "/old": "/page"}.get(path)

    with make_server(folder, quiet=True, extra=more) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def connection(server):
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)
    yield connection
    connection.close()


def ask(connection, path, method="GET", **headers):
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    response = connection.getresponse()
    return response, response.read()


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 11_000), st.integers(0, 11_000) | st.none(), st.booleans())
def test_ranges_are_the_bytes_asked_for(connection, first, last, suffix):
    header = f"bytes=-{first}" if suffix else f"bytes={first}-{'' if last is None else last}"
    response, body = ask(connection, "/some.rfv", Range=header)
    if suffix:
        expected = DATA[-first:] if first else b""
    elif last is not None and last < first:
        assert response.status == 200 and body == DATA  # malformed: to be ignored
        return
    else:
        expected = DATA[first : None if last is None else last + 1]
    if not expected:
        assert response.status == 416 and response.headers["Content-Range"] == f"bytes */{len(DATA)}" and not body
        return
    assert response.status == 206 and body == expected
    start = len(DATA) - len(expected) if suffix else first
    assert response.headers["Content-Range"] == f"bytes {start}-{start + len(expected) - 1}/{len(DATA)}"
    assert int(response.headers["Content-Length"]) == len(expected)


@given(st.text(max_size=20), st.integers(0, 1000))
def test_any_range_header_is_inside_or_ignored(header, size):
    for text in (header, "bytes=" + header):
        found = byte_range(text, size)
        assert found is None or not found or 0 <= found.start < found.stop <= size


@pytest.mark.parametrize("header", ["lines=0-5", "bytes=0-5,9-10", "bytes=", "bytes=-", "bytes=x-5", "bytes=5-²",
                                    "bytes=--5", "0-5"])
def test_other_ranges_are_ignored(connection, header):
    response, body = ask(connection, "/some.rfv", Range=header.encode())
    assert response.status == 200 and body == DATA


def test_head_and_headers(connection):
    response, body = ask(connection, "/some.rfv", "HEAD", Range="bytes=0-5")
    assert (response.status, body) == (200, b"") and response.headers["Content-Length"] == str(len(DATA))
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Content-Type"] == "application/octet-stream"
    response, body = ask(connection, "/empty.rfv")
    assert (response.status, body, response.headers["Content-Length"]) == (200, b"", "0")
    assert ask(connection, "/empty.rfv", Range="bytes=0-0")[0].status == 416
    assert ask(connection, "/some.rfv", "POST")[0].status == 501


def test_conditions(connection, folder):
    response, _ = ask(connection, "/some.rfv")
    tag = response.headers["ETag"]
    for known in (tag, f'"other", W/{tag}', "*"):
        response, body = ask(connection, "/some.rfv", If_None_Match=known)
        assert (response.status, body) == (304, b"") and response.headers["ETag"] == tag
    assert ask(connection, "/some.rfv", If_None_Match='"other"')[0].status == 200
    assert ask(connection, "/some.rfv", If_Range=tag, Range="bytes=1-2")[1] == DATA[1:3]
    # A date is good enough when the file was not written just before.
    dated = folder / "dated.rfv"
    dated.write_bytes(DATA)
    for seconds, expected in ((time.time() + 100, DATA), (1e9, DATA[1:3])):
        os.utime(dated, (seconds, seconds))
        date = ask(connection, "/dated.rfv")[0].headers["Last-Modified"]
        assert ask(connection, "/dated.rfv", If_Range=date, Range="bytes=1-2")[1] == expected
    dated.unlink()
    assert ask(connection, "/some.rfv", If_Range='"other"', Range="bytes=1-2")[1] == DATA
    target = folder / "changing.rfv"
    target.write_bytes(b"one")
    before = ask(connection, "/changing.rfv")[0].headers["ETag"]
    target.write_bytes(b"three")
    assert ask(connection, "/changing.rfv", If_None_Match=before)[1] == b"three"
    # Another file of the same size and date under the same name is another version.
    before, status = ask(connection, "/changing.rfv")[0].headers["ETag"], target.stat()
    target.unlink()
    target.write_bytes(b"other")
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert ask(connection, "/changing.rfv", If_None_Match=before)[1] == b"other"
    assert ask(connection, "/changing.rfv", If_Range=before, Range="bytes=1-2")[1] == b"other"
    target.unlink()


def raw(server, data: bytes) -> bytes:
    """All that comes for bytes sent as they are, until the server closes or rests."""
    with socket.create_connection(server.server_address[:2], timeout=10) as client:
        client.sendall(data)
        client.settimeout(0.5)
        out = b""
        try:
            while part := client.recv(1 << 16):
                out += part
        except TimeoutError:
            pass
        return out


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
@pytest.mark.parametrize("head", ["Content-Length: {n}", "Transfer-Encoding: chunked", "Content-Length: x",
                                  "Content-Length: {n}\r\nTransfer-Encoding: chunked"])
def test_a_body_is_no_request(server, method, head):
    inner = b"GET /some.rfv HTTP/1.1\r\nHost: localhost\r\n\r\n"
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(inner), inner)
    body = chunk if "chunked" in head else inner
    data = f"{method} /none HTTP/1.1\r\nHost: localhost\r\n{head.format(n=len(body))}\r\n\r\n".encode() + body
    answer = raw(server, data)
    assert answer.count(b"HTTP/1.1 ") == 1 and DATA not in answer


def test_only_names_of_its_own_are_answered(server, folder):
    def status(head: str) -> int:
        return int(raw(server, f"GET /some.rfv HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode()).split()[1])

    for host in ("localhost", "LOCALHOST:80", "127.0.0.1:1234", "[::1]:8000", "192.168.0.7", socket.gethostname()):
        assert status(f"Host: {host}\r\n") == 200, host
    for host in ("example.org", "localhost.example.org", "127.0.0.1.example.org", "a@localhost", "localhost/", "[::1",
                 ""):
        assert status(f"Host: {host}\r\n") == 421, host
    assert status("") == 400 and status("Host: localhost\r\nHost: localhost\r\n") == 400
    with make_server(folder, quiet=True, hosts=["Films.example"]) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        connection = http.client.HTTPConnection(*other.server_address[:2], timeout=10)
        assert ask(connection, "/some.rfv", Host="films.EXAMPLE:443")[0].status == 200
        assert ask(connection, "/some.rfv", "OPTIONS", Host="films.example.org")[0].status == 421
        connection.close()
        other.shutdown()


def test_names_that_are_not_utf8(tmp_path):
    name = b"\xff:<b>.rfv"
    (tmp_path / os.fsdecode(name)).write_bytes(b"odd")
    (tmp_path / "sub").mkdir()
    with make_server(tmp_path, quiet=True) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)
        response, body = ask(connection, "/")
        link = "%FF%3A%3Cb%3E.rfv"
        assert response.status == 200 and f'href="{link}"'.encode() in body and b"<b>" not in body
        assert ask(connection, "/" + link)[1] == b"odd"
        # Two slashes in front would lead to another host.
        assert ask(connection, "//sub")[0].headers["Location"] == "/sub/"
        connection.close()
        server.shutdown()


def test_a_file_that_changes_while_it_is_sent_is_not_mixed(tmp_path):
    path = tmp_path / "film.rfv"
    path.write_bytes(b"a" * (8 << 20))
    with make_server(path, quiet=True) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)
        connection.connect()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        connection.request("GET", "/film.rfv")
        response = connection.getresponse()
        start = response.read(1000)
        with open(path, "r+b") as file:
            file.write(b"b" * (8 << 20))
        with pytest.raises((http.client.IncompleteRead, ConnectionError)) as caught:
            response.read()
        rest = getattr(caught.value, "partial", b"")
        assert set(start + rest) == {ord("a")}
        connection.close()
        server.shutdown()


@pytest.mark.parametrize("path", ["/none", "/.hidden", "/../outside", "/%2e%2e/outside",
                                  "/in%20%3Cside%3E/../../outside",
                                  "/link", "/pipe", "/some.rfv/", "/..%5coutside", "/%00", "/some.rfv%00"])
def test_what_is_not_served(connection, path):
    response, body = ask(connection, path)
    assert response.status == 404 and b"secret" not in body


def test_folders_and_what_is_added(connection):
    response, body = ask(connection, "/")
    assert response.status == 200 and b'href="some.rfv"' in body and b"hidden" not in body and b"<side>" not in body
    response, _ = ask(connection, "/in%20%3Cside%3E")
    assert response.status == 302 and response.headers["Location"] == "/in%20%3Cside%3E/"
    assert b"%C3%BCmlaut.json" in ask(connection, "/in%20%3Cside%3E/")[1]
    response, body = ask(connection, "/in%20%3Cside%3E/%C3%BCmlaut.json?query")
    assert (response.headers["Content-Type"], body) == ("application/json", b"{}")
    assert ask(connection, "/page")[1] == b"<p>"
    assert ask(connection, "/old")[0].headers["Location"] == "/page"


def test_one_file_alone(folder):
    with make_server(folder / "some.rfv", quiet=True) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)
        assert ask(connection, "/")[0].headers["Location"] == "/some.rfv"
        assert ask(connection, "/some.rfv", Range="bytes=-26")[1] == DATA[-26:]
        assert ask(connection, "/empty.rfv")[0].status == 404
        connection.close()
        with pytest.raises(UsageError, match="can't listen on"):
            make_server(folder, port=server.server_address[1])
        server.shutdown()


def test_handlers_can_be_derived(folder):
    class Upper(RangeHandler):
        def find(self, path):
            return Resource.of_bytes(path.upper().encode(), "text/plain")

    with make_server(folder, quiet=True, handler=Upper) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        connection = http.client.HTTPConnection(*server.server_address[:2], timeout=10)
        assert ask(connection, "/any", Range="bytes=1-")[1] == b"ANY"
        connection.close()
        server.shutdown()


def test_other_origins_have_to_be_allowed(folder, connection):
    assert ask(connection, "/some.rfv")[0].headers["Access-Control-Allow-Origin"] is None
    response, _ = ask(connection, "/some.rfv", "OPTIONS")
    assert response.status == 204 and response.headers["Access-Control-Allow-Headers"] is None
    with make_server(folder, quiet=True, allow_origin="https://example.org") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        other = http.client.HTTPConnection(*server.server_address[:2], timeout=10)
        assert "Range" in ask(other, "/some.rfv", "OPTIONS")[0].headers["Access-Control-Allow-Headers"]
        response, _ = ask(other, "/some.rfv", "OPTIONS", Access_Control_Request_Private_Network="true")
        assert response.headers["Access-Control-Allow-Private-Network"] == "true"
        response, body = ask(other, "/some.rfv", Range="bytes=0-1")
        assert response.headers["Access-Control-Allow-Origin"] == "https://example.org" and body == DATA[:2]
        assert "Content-Range" in response.headers["Access-Control-Expose-Headers"]
        other.close()
        server.shutdown()


def test_the_command_serves_until_interrupted(folder):
    p = subprocess.Popen([sys.executable, "-m", "refcodec", "serve", str(folder), "--port", "0", "--json"], cwd=ROOT,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
                         env={**os.environ, "PYTHONPATH": str(ROOT)},
                         preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    try:
        where = json.loads(p.stdout.readline())
        connection = http.client.HTTPConnection(where["host"], where["port"], timeout=10)
        assert where["host"] == "127.0.0.1" and ask(connection, "/some.rfv", Range="bytes=0-3")[1] == DATA[:4]
        connection.close()
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=20)
        assert p.returncode == 0 and b"Traceback" not in err
    finally:
        p.kill()
        p.wait()
