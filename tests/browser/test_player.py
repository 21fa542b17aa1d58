"""The page's player as people use it: keys, small windows, lost graphics, links, local files, large exports."""

from __future__ import annotations

import base64
import io
import os
import threading

import pytest
from test_view_page import FOX, control

from browser import CHROMIUM, Browser
from refcodec.view.bundle import exported
from refcodec.view.server import address, make_viewer
from synthetic import small_stream

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def page():
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def url():
    with make_viewer(FOX, "fox.rfv") as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield address(server)
        server.shutdown()


@pytest.fixture
def size(page):
    """Sets the window's size until the test ends."""

    def change(width: int, height: int, ratio: float = 1) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": False}
        page.call("Emulation.setDeviceMetricsOverride", **metrics)

    yield change
    page.call("Emulation.clearDeviceMetricsOverride")


def opened(page, url: str) -> None:
    page.open(url)
    page.wait("viewer.state().timings.picture")


def visible(name: str) -> str:
    return f"({control(name)}.getClientRects().length > 0)"


def press(page, key: str, **more) -> None:
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key=key, **more)


def test_the_camera_by_keys(page, url):
    opened(page, url)
    eye, target = "viewer.camera.eye", "viewer.camera.target"
    distance = f"Math.hypot(...{eye}.map((v, i) => v - {target}[i]))"
    first, far = page.run(eye), page.run(distance)
    for key in ("ArrowUp", "ArrowLeft"):
        press(page, key, modifiers=8)
    assert page.run(eye) != first and page.run(distance) == pytest.approx(far)
    assert page.run("viewer.state().frame") == 0  # shift and arrows do not step
    press(page, "+")
    assert page.run(distance) < 0.95 * far
    before = page.run(target)
    press(page, "J")
    press(page, "i")
    assert page.run(target) != before
    assert page.run(f"{control('camera')}.value") == "free"
    press(page, "R")
    assert page.run(eye) == first and page.run(f"{control('camera')}.value") == "0"
    for letter in "Ss":  # the statistics, with and without capitals
        hidden = page.run("document.getElementById('statistics').hidden")
        press(page, letter)
        assert page.run("document.getElementById('statistics').hidden") is not hidden


def test_the_focus_goes_through_the_controls_in_order(page, url):
    opened(page, url)
    page.run("document.activeElement.blur()")
    found = []
    for _ in range(9):
        press(page, "Tab", code="Tab", windowsVirtualKeyCode=9)
        found.append(page.run("(page.player.shadowRoot.activeElement ?? document.activeElement).id"))
    assert found == ["picture", "time", "play", "back", "forward", "details", "reset", "settings", "full"]
    nameless = page.run("[...page.player.shadowRoot.querySelectorAll('button, select, input, canvas')].filter((e) => "
                        "!e.ariaLabel && !e.labels?.length).map((e) => e.id)")
    assert nameless == []
    assert page.run("page.player.shadowRoot.querySelectorAll('output, [aria-live]').length") == 0
    assert page.run("page.player.shadowRoot.querySelector('style').textContent.includes('▶')") is False


def test_on_a_phone_the_picture_has_most_of_the_window(page, url, size):
    size(320, 240, 2)
    opened(page, url)
    assert page.run("[viewer.canvas.width, viewer.canvas.height]") == [640, 480]  # as dense as the screen
    assert page.run(f"{control('controls')}.getBoundingClientRect().height") < 240 / 3
    assert page.run("document.documentElement.scrollWidth") <= 320
    right = "Math.max(...[...page.player.shadowRoot.querySelectorAll('.row > button')].map((e) => " \
        "e.getBoundingClientRect().right))"
    assert page.run(right) <= 320
    # While it plays and nobody touches it, the picture has all of it.
    page.run("(document.activeElement.blur(), viewer.play())")
    page.wait(f"{control('bottom')}.classList.contains('resting')")
    page.mouse("mouseMoved", 100, 60)
    page.wait(f"!{control('bottom')}.classList.contains('resting')")


def test_a_single_frame_has_no_time_line(page):
    data = small_stream(seed=1, groups=(1,))
    with make_viewer(data, "one.rfv") as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        opened(page, address(server))
        assert page.run(f"[{visible('time')}, {visible('play')}, {visible('settings')}]") == [False, False, True]
        server.shutdown()


def test_lost_graphics_come_back(page, url):
    opened(page, url)
    page.run("viewer.settled().then(() => null)")
    before = page.run("viewer.picture({ width: 16, height: 16 }).then(({ data }) => data.join())")
    page.run("(window.loss = viewer.renderer.gl.getExtension('WEBGL_lose_context'), loss.loseContext())")
    page.wait(f"!{control('message')}.hidden && {control('message')}.innerText.includes('given up')")
    page.run("loss.restoreContext()")
    page.wait(f"{control('message')}.hidden")
    assert page.run("viewer.picture({ width: 16, height: 16 }).then(({ data }) => data.join())") == before


def test_links_show_the_same(page, url):
    opened(page, url)
    page.run("(viewer.seek(2), viewer.camera.orbit(0.5, 0.1), viewer.cameraMoved())")
    page.wait("viewer.state().shown === 2")
    eye, link = page.run("viewer.camera.eye"), page.run("page.link()")
    opened(page, link)
    page.wait("viewer.state().frame === 2")
    assert page.run("viewer.camera.eye") == pytest.approx(eye, abs=1e-4)
    opened(page, url + "?camera=1&quality=fast&autoplay&file=stream.rfv%3Fagain")
    page.wait("viewer.state().shown > 0")
    assert page.run("[viewer.choice, viewer.quality, viewer.playing, document.title]") == [
        "1", "fast", True, "stream.rfv – RFV viewer"]


def test_a_local_file_is_dropped(page, url):
    opened(page, url)
    coded = base64.b64encode(small_stream(seed=4)).decode()
    page.run(f"""{{
      const file = new File([Uint8Array.from(atob('{coded}'), (c) => c.charCodeAt(0))], 'mine.rfv');
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(file);
      document.body.dispatchEvent(new DragEvent('drop', {{ dataTransfer, bubbles: true, cancelable: true }}));
      null;
    }}""")
    page.wait("viewer.state().frames === 5 && viewer.state().timings.picture && document.title.startsWith('mine.rfv')")


def test_stills_and_recordings(page, url):
    from PIL import Image

    opened(page, url)
    to_bytes = "async (blob) => [...new Uint8Array(await blob.arrayBuffer())]"
    still = bytes(page.run(f"viewer.still().then({to_bytes})"))
    with Image.open(io.BytesIO(still)) as image:
        assert image.format == "PNG" and list(image.size) == page.run("[viewer.canvas.width, viewer.canvas.height]")
    page.run("(window.recorder = viewer.record(), viewer.play())")
    page.run("new Promise((resolve) => setTimeout(resolve, 1500))")  # encoders start slowly
    assert page.run("recorder.stop().then((blob) => [blob.type.startsWith('video/'), blob.size > 200])") == [True, True]


def test_notices_can_be_closed(page):
    data = bytearray(FOX)
    from test_view_page import unit_offset

    data[unit_offset(FOX, 3, 1) + 40] ^= 4
    with make_viewer(bytes(data), "damaged.rfv") as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        opened(page, address(server))
        page.run("viewer.seek(1)")
        page.wait(visible("notice"))
        page.run(f"{control('dismiss')}.click()")
        assert not page.run(visible("notice"))
        server.shutdown()


def test_motion_is_reduced_where_that_is_asked_for(page, url):
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    try:
        opened(page, url + "?autoplay")
        assert page.run("viewer.playing") is False
    finally:
        page.call("Emulation.setEmulatedMedia", features=[])


def test_a_large_export_opens(page, tmp_path):
    """200 MB unless RFV_EXPORT_MB says otherwise: private units between the frames, which a decoder passes."""
    from test_view_page import FIELDS, field_stream

    megabytes = int(os.environ.get("RFV_EXPORT_MB", "200"))
    data = field_stream(FIELDS["grid"], frames=3, gap=megabytes * 500_000)
    assert len(data) > megabytes * 990_000
    path = tmp_path / "large.html"
    path.write_bytes(exported(data, "large.rfv"))
    page.open(path.as_uri())
    page.wait("viewer.state().timings.picture", 120)
    page.run("viewer.seek(2)")
    page.wait("viewer.state().shown === 2", 60)
    path.unlink()
