"""The page in Firefox: bits, and pictures where it has WebGL2 (by llvmpipe, which needs a display server)."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from test_view_page import CAMERA, FIELDS, FOX, ROOT, assert_same_picture, field_stream, reference

from browser import FIREFOX, Firefox
from refcodec.view.server import address, make_viewer

pytestmark = pytest.mark.skipif(FIREFOX is None, reason="firefox is not installed")


@pytest.fixture(scope="module")
def page():
    with Firefox() as browser:
        yield browser


def served(data: bytes):
    server = make_viewer(data, "test.rfv")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


def test_every_frame_has_the_bits_of_the_reference_decoder(page):
    with served(FOX) as server:
        page.open(address(server))
        page.wait("viewer.stream.frames.length === 4")
        lines = (ROOT / "conformance/vectors/valid/real-fox-micro/expected.txt").read_text().splitlines()
        found = []
        for frame in page.run("viewer.digests()"):
            found += [f"occupancy {frame['occupancy']}", *(f"tensor {i} {d}" for i, d in enumerate(frame["tensors"]))]
        assert found == [line for line in lines if line.startswith(("occupancy", "tensor"))]
        server.shutdown()


def test_pictures_are_right_or_it_is_said_why_there_are_none(page):
    data = field_stream(FIELDS["vm"])
    with served(data) as server:
        page.open(address(server))
        box = "page.player._.message"
        page.wait(f"viewer.state().timings.picture || (!{box}.hidden && !{box}.textContent.includes('Opening'))", 90)
        if not page.run("viewer.state().timings.picture ?? null"):
            assert "WebGL2 could not be started" in page.run(f"{box}.textContent")
            pytest.skip("not here: Firefox finds no graphics driver")
        found = page.run(
            "viewer.picture({ frame: 0, width: 24, height: 20, camera: 0, quality: 'exact' })"
            ".then(({ data }) => [...data])",
            120,
        )
        picture = np.array(found, np.uint8).reshape(20, 24, 4)[..., :3]
        assert_same_picture(picture, reference(data, 0, CAMERA))
        server.shutdown()
