"""Files over HTTP: ranges, conditions, what must not be served; the server of the command line."""
from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
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
    tag, date = response.headers["ETag"], response.headers["Last-Modified"]
    for known in (tag, f'"other", W/{tag}', "*"):
        response, body = ask(connection, "/some.rfv", If_None_Match=known)
        assert (response.status, body) == (304, b"") and response.headers["ETag"] == tag
    assert ask(connection, "/some.rfv", If_None_Match='"other"')[0].status == 200
    for same in (tag, date):
        assert ask(connection, "/some.rfv", If_Range=same, Range="bytes=1-2")[1] == DATA[1:3]
    assert ask(connection, "/some.rfv", If_Range='"other"', Range="bytes=1-2")[1] == DATA
    target = folder / "changing.rfv"
    target.write_bytes(b"one")
    before = ask(connection, "/changing.rfv")[0].headers["ETag"]
    target.write_bytes(b"three")
    assert ask(connection, "/changing.rfv", If_None_Match=before)[1] == b"three"
    target.unlink()


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
