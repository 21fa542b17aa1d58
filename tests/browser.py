"""Headless browsers for tests. Needs nothing but the browsers.

Chromium is driven by its DevTools protocol over a pipe, Firefox by its own Marionette over a socket.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--mute-audio",
    "--remote-debugging-pipe",
    "--window-size=480,400",
]


# Chromium reads commands from descriptor 3 and answers on 4.
_START = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class BrowserError(AssertionError):
    """The page threw, or nothing came in time."""


class Browser:
    """One page. `with Browser() as page: page.open(url); page.run("1 + 1")`."""

    def __init__(self, *flags: str):
        self.folder = tempfile.TemporaryDirectory(prefix="rfv-browser-", ignore_cleanup_errors=True)
        # High numbers, so that making 3 and 4 of them in the child overwrites neither.
        ends = [*os.pipe(), *os.pipe()]
        theirs_in, self._out, self._in, theirs_out = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in ends)
        for fd in ends:
            os.close(fd)
        fds = [str(theirs_in), str(theirs_out)]
        options = [*FLAGS, *flags, f"--user-data-dir={self.folder.name}", "about:blank"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START, *fds, CHROMIUM, *options],
            pass_fds=(theirs_in, theirs_out),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.buffer, self.number, self.session = b"", 0, None
        self.console: list[str] = []
        self.requests: list[str] = []
        pages = [t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        self.session = self.call("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        os.close(self._in)
        os.close(self._out)
        self.folder.cleanup()

    def call(self, method: str, timeout: float = 60, **params) -> dict:
        """One command of the protocol and its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + timeout
        while True:
            answer = self._message(end, method)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self._event(answer)

    def _message(self, end: float, what: str) -> dict:
        while b"\0" not in self.buffer:
            if not select.select([self._in], [], [], max(0, end - time.monotonic()))[0]:
                raise BrowserError(f"no answer to {what}; console: {self.console}")
            data = os.read(self._in, 1 << 16)
            if not data:
                raise BrowserError("Chromium has ended")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(line)

    def _event(self, message: dict) -> None:
        params = message.get("params", {})
        if message.get("method") == "Runtime.consoleAPICalled":
            self.console.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
        elif message.get("method") == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.console.append(details.get("exception", {}).get("description") or details["text"])
        elif message.get("method") == "Log.entryAdded":
            self.console.append(params["entry"]["text"])
        elif message.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])

    def open(self, url: str) -> None:
        self.console.clear()
        self.requests.clear()
        self.call("Page.navigate", url=url)

    def run(self, expression: str, timeout: float = 60):
        """The value of an expression; promises are awaited."""
        answer = self.call("Runtime.evaluate", timeout, expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(answer["exceptionDetails"].get("exception", {}).get("description", str(answer)))
        return answer["result"].get("value")

    def wait(self, condition: str, timeout: float = 30):
        """The value of a condition as soon as it is true."""
        end = time.monotonic() + timeout
        while not (value := self.run(f"(() => {{ try {{ return {condition}; }} catch {{ return false; }} }})()")):
            if time.monotonic() > end:
                raise BrowserError(
                    f"{condition} is not true after {timeout} s; console: {self.console}; "
                    f"state: {self.run('window.viewer ? viewer.state() : window.page?.player?._.message.innerText')}"
                )
            time.sleep(0.05)
        return value

    def mouse(self, kind: str, x: float, y: float, **more) -> None:
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def drag(self, start, end, **more) -> None:
        """With the left button, in a few moves."""
        self.mouse("mousePressed", *start, button="left", buttons=1, clickCount=1, **more)
        for i in range(1, 5):
            self.mouse(
                "mouseMoved", *(a + (b - a) * i / 4 for a, b in zip(start, end)), button="left", buttons=1, **more
            )
        self.mouse("mouseReleased", *end, button="left", buttons=0, **more)

    def key(self, key: str, code: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code or key)

    def screenshot(self) -> bytes:
        """A PNG file."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


_PREFERENCES = {
    "marionette.port": 0,  # a free one, which it writes into the profile
    "webgl.force-enabled": True,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.auto": False,
    "browser.shell.checkDefaultBrowser": False,
    "toolkit.telemetry.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}


class Firefox:
    """One page of Firefox, as Browser is of Chromium: open, run, wait."""

    def __init__(self, timeout: float = 60):
        self.folder = tempfile.TemporaryDirectory(prefix="rfv-firefox-", ignore_cleanup_errors=True)
        profile = Path(self.folder.name)
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in _PREFERENCES.items())
        (profile / "user.js").write_text("".join(lines))
        self.process = subprocess.Popen(
            [FIREFOX, "--headless", "--marionette", "--no-remote", "--profile", str(profile)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "HOME": str(profile), "MOZ_DISABLE_CONTENT_SANDBOX": "1"},
        )
        try:
            end, port = time.monotonic() + timeout, profile / "MarionetteActivePort"
            while not port.is_file() or not port.read_text():
                if time.monotonic() > end or self.process.poll() is not None:
                    raise BrowserError("Firefox has not started")
                time.sleep(0.1)
            self.socket = socket.create_connection(("127.0.0.1", int(port.read_text())), timeout)
            self.file = self.socket.makefile("rb")
            self._message()  # who it is
            self.number = 0
            self.call("WebDriver:NewSession")
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Firefox:
        return self

    def __exit__(self, *_) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        if hasattr(self, "socket"):
            self.file.close()
            self.socket.close()
        self.folder.cleanup()

    def _message(self):
        size = b""
        while (byte := self.file.read(1)) != b":":
            if not byte:
                raise BrowserError("Firefox has ended")
            size += byte
        return json.loads(self.file.read(int(size)))

    def call(self, command: str, timeout: float = 60, **parameters):
        self.number += 1
        data = json.dumps([0, self.number, command, parameters]).encode()
        self.socket.settimeout(timeout)
        self.socket.sendall(b"%d:%s" % (len(data), data))
        while True:
            _, number, error, result = self._message()
            if number == self.number:
                if error:
                    raise BrowserError(f"{command}: {error['message']}")
                return result

    def open(self, url: str) -> None:
        self.call("WebDriver:Navigate", url=url)

    def run(self, expression: str, timeout: float = 60):
        """The value of an expression; promises are awaited."""
        self.call("WebDriver:SetTimeouts", script=int(1000 * timeout))
        script = (
            f"const done = arguments[0]; Promise.resolve({expression})"
            ".then((value) => done([JSON.stringify(value) ?? 'null', null]), (error) => done([null, String(error)]));"
        )
        parameters = {"script": script, "args": [], "sandbox": None, "newSandbox": False}
        value, error = self.call("WebDriver:ExecuteAsyncScript", timeout + 10, **parameters)["value"]
        if error is not None:
            raise BrowserError(error)
        return json.loads(value)

    def wait(self, condition: str, timeout: float = 30):
        """The value of a condition as soon as it is true."""
        end = time.monotonic() + timeout
        while not (value := self.run(f"(() => {{ try {{ return {condition}; }} catch {{ return false; }} }})()")):
            if time.monotonic() > end:
                raise BrowserError(f"{condition} is not true after {timeout} s")
            time.sleep(0.1)
        return value
