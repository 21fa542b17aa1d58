"""The viewer's page in a headless Chromium: bits, pictures, controls, errors. WebGL is by software: small pictures."""

from __future__ import annotations

import base64
import io
import json
import math
import sys
import threading

import numpy as np
import pytest

from browser import CHROMIUM, Browser
from checkout import ROOT
from refcodec.decoding import open_stream
from refcodec.fields import DifSizes, GridSizes, MlpSizes, NumpyOps, TriplaneSizes, VmSizes, build, field_header
from refcodec.rendering.cameras import Camera
from refcodec.rendering.march import render_camera
from refcodec.rendering.paths import look_at
from refcodec.syntax.coding import STEPS_PER_OCTAVE
from refcodec.view.bundle import exported
from refcodec.view.server import address, make_viewer
from synthetic import small_stream

FOX = (ROOT / "conformance" / "sources" / "fox-micro.rfv").read_bytes()
sys.path.insert(0, str(ROOT / "conformance"))
from crafting import Dice, Draft, unit_offset

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

BOX = ((-1.0, -0.5, 0.25), (1.0, 1.0, 1.5))
CAMERA = Camera(24, 20, 30.0, 31.0, 12.5, 9.5, look_at((2.1, -2.3, 2.2), (0.05, 0.2, 0.9), (0, 0, 1)), "corner")
FIELDS = {
    "dif": DifSizes(
        coefficient_side=4,
        basis_sides=(3, 5),
        basis_channels=(3, 2),
        frequencies=(2.0, 3.2),
        fusion_hidden=8,
        features=5,
        render_hidden=8,
        density_shift=-0.5,
    ),
    "vm": VmSizes(2, 3, 5, features=4, render_hidden=6, density_shift=-0.5, grid_frac_bits=20),
    "vm-products": VmSizes(3, 2, 4, features=0, render_hidden=6, density_shift=0.5, feature_frequencies=0),
    "triplane": TriplaneSizes(3, 6, 3, features=5, render_hidden=7, density_shift=-1.0),
    "triplane-values": TriplaneSizes(2, 4, 5, features=0, render_hidden=7, direction_frequencies=0),
    "grid": GridSizes(4, 3, 5, render_hidden=6, density_shift=1.0),
    "mlp": MlpSizes(
        position_frequencies=2, hidden_layers=3, hidden=9, features=4, render_hidden=8, coarse_samples=5, fine_samples=7
    ),
    "mlp-plain": MlpSizes(
        position_frequencies=0,
        hidden_layers=1,
        hidden=9,
        skip_layer=0,
        features=1,
        render_hidden=8,
        feature_frequencies=1,
    ),
}


@pytest.fixture(scope="module")
def page():
    with Browser() as browser:
        yield browser


@pytest.fixture
def serve():
    """Serves bytes until the test ends; returns the address."""

    def start(data: bytes, name: str = "test.rfv") -> str:
        server = make_viewer(data, name)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        start.servers.append(server)
        return address(server)

    start.servers = []
    yield start
    for server in start.servers:
        server.shutdown()
        server.server_close()


def opened(page, url: str) -> dict:
    page.open(url)
    page.wait("viewer.state().timings.picture")
    return page.run("viewer.state()")


def field_stream(sizes, frames: int = 1, gap: int = 0) -> bytes:
    """I-frames of random fields, quantised finely, with occupancy.

    gap: bytes of a private unit before each frame but the first.
    """
    header = field_header(sizes, BOX, occupancy_side=6, samples_per_diagonal=24, background=(40, 160, 250))
    draft, rng = Draft(header), np.random.default_rng(5)
    draft.add_cameras([CAMERA])
    for number in range(frames):
        if number and gap:
            draft.add(200, rng.bytes(gap), 1)
        draft.group(number, 1)
        values, steps = {}, {}
        for i, t in enumerate(header.tensors):
            scale = 0.7 if t.mapping else 0.7 / math.sqrt(max(1, t.shape[3] / 4))
            values[i] = np.rint(rng.normal(0, scale, (t.size // t.shape[0], t.shape[0])) * 2**9)
            steps[i] = STEPS_PER_OCTAVE * (t.frac_bits - 9)  # 2**-9
        draft.frame(
            Dice(1),
            values=values,
            steps=steps,
            significance={i: 0 for i in values},
            occupancy=rng.random(header.occupancy_shape) < 0.6,
        )
    return draft.finish().bytes()


def control(name: str) -> str:
    """JavaScript of one of the player's elements."""
    return f"page.player._['{name}']"


def choose(page, name: str, value: str) -> None:
    """As if somebody chose from a list."""
    found = control(name)
    page.run(f"{found}.value = '{value}'; {found}.dispatchEvent(new Event('change'))")


def said(page) -> str:
    """What stands in place of the picture, once the file has been looked at."""
    box = control("message")
    return page.wait(f"!{box}.hidden && !{box}.textContent.includes('Opening') && {box}.innerText")


def picture(page, **options) -> np.ndarray:
    """The finished picture as the page drew it: (h, w, 3) uint8."""
    options = {"quality": "exact", **options}
    answer = page.run(
        f"viewer.picture({json.dumps(options)}).then(({{ width, height, data }}) => "
        "({ width, height, data: btoa(data.reduce((text, byte) => text + String.fromCharCode(byte), '')) }))",
        120,
    )
    data = np.frombuffer(base64.b64decode(answer["data"]), np.uint8)
    return data.reshape(answer["height"], answer["width"], 4)[..., :3]


def reference(data: bytes, number: int, camera: Camera) -> np.ndarray:
    """The same by refcodec, rounded as R-RND-13 says."""
    with open_stream(io.BytesIO(data)) as stream:
        frame = next(f for f in stream.frames(range(number, number + 1)) if f.number == number)
        found = render_camera(build(frame.header, frame.values(), NumpyOps()), frame.occupancy, camera, frame.header)
    return np.floor(255 * np.clip(found.rgb, 0, 1) + 0.5).astype(np.uint8)


def assert_same_picture(found: np.ndarray, wanted: np.ndarray) -> None:
    """R-RND-19."""
    difference = found.astype(float) - wanted
    mean = float(np.mean(difference**2))
    assert abs(difference).max() <= 4 and (mean == 0 or 10 * math.log10(255**2 / mean) >= 50), (
        abs(difference).max(),
        mean,
    )
    assert wanted.std() > 5, "a picture of nothing"


def test_every_frame_has_the_bits_of_the_reference_decoder(page, serve):
    """Decoded by WebAssembly, which the page's own policy allows."""
    assert opened(page, serve(FOX))["kernels"] == "wasm"
    lines = (ROOT / "conformance/vectors/valid/real-fox-micro/expected.txt").read_text().splitlines()
    found = []
    for frame in page.run("viewer.digests()"):
        found += [f"occupancy {frame['occupancy']}", *(f"tensor {i} {d}" for i, d in enumerate(frame["tensors"]))]
    assert found == [line for line in lines if line.startswith(("occupancy", "tensor"))]


@pytest.mark.parametrize("name", FIELDS)
def test_pictures_of_every_representation_agree_with_the_reference(page, serve, name):
    data = field_stream(FIELDS[name])
    opened(page, serve(data))
    assert_same_picture(picture(page, frame=0, width=24, height=20, camera=0), reference(data, 0, CAMERA))


def test_a_deep_network_with_a_skip_layer_and_a_coarse_network(page, serve):
    """More layers than there are uniform blocks: some lie in the texture."""
    sizes = MlpSizes(
        position_frequencies=3,
        hidden_layers=7,
        hidden=8,
        skip_layer=2,
        features=3,
        render_hidden=6,
        coarse_samples=8,
        fine_samples=9,
    )
    data = field_stream(sizes)
    opened(page, serve(data))
    found = picture(page, frame=0, width=24, height=20, camera=0)
    items = "viewer.renderer.looks.get('exact').plan.items"
    assert page.run(f"{items}.some((item) => item.base !== undefined)")
    assert page.run(f"{items}.some((item) => item.block !== undefined)")
    assert_same_picture(found, reference(data, 0, CAMERA))


def test_trained_field_p_frames_and_screenshot(page, serve):
    from PIL import Image

    opened(page, serve(FOX))
    with open_stream(io.BytesIO(FOX)) as stream:
        camera = stream.cameras[0].scaled(40 / stream.cameras[0].width)
    wanted = reference(FOX, 1, camera)
    found = picture(page, frame=1, width=40, height=40, camera=0)
    assert_same_picture(found, wanted)
    assert page.run("viewer.state().shown") == 1
    # What the window shows is the same picture, in another size: compare a shrunken screenshot roughly.
    page.run("(page.player.removeAttribute('controls'), viewer.settled())")
    box = page.run("(({ x, y, width, height }) => [x, y, width, height])(viewer.canvas.getBoundingClientRect())")
    side = min(box[2:])
    left, top = box[0] + (box[2] - side) / 2, box[1] + (box[3] - side) / 2
    screenshot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shown = screenshot.crop([round(v) for v in (left, top, left + side, top + side)]).resize((40, 40), Image.BOX)
    assert np.abs(np.asarray(shown, float) - wanted).mean() < 6


def test_controls(page, serve):
    state = opened(page, serve(FOX))
    assert state["frames"] == 4 and state["frame"] == 0 and not state["playing"]
    page.run(
        "page.player._['time'].value = 3; page.player._['time'].dispatchEvent(new Event('input'))"
    )
    page.wait("viewer.state().shown === 3")
    page.key("ArrowRight")
    page.wait("viewer.state().shown === 0")  # in a circle
    page.key("ArrowLeft")
    page.wait("viewer.state().shown === 3")
    page.key(" ", "Space")
    page.wait("viewer.state().playing")
    page.wait("viewer.state().shown !== 3")
    page.run("page.player._['play'].click()")
    assert not page.run("viewer.state().playing")

    before = page.run("viewer.state().eye")
    page.drag((150, 50), (220, 70))
    after = page.run("viewer.state().eye")
    target = page.run("viewer.camera.target")
    assert not np.allclose(after, before, atol=1e-3)  # around the target, at the same distance
    assert math.isclose(math.dist(after, target), math.dist(before, target), rel_tol=1e-6)
    assert page.run("page.player._['camera'].value") == "free"
    page.mouse("mouseWheel", 150, 50, deltaX=0, deltaY=100)
    distance = "Math.hypot(...viewer.state().eye.map((v, i) => v - viewer.camera.target[i]))"
    page.wait(f"{distance} > {1.1 * math.dist(after, target)}")
    page.drag((150, 50), (180, 60), modifiers=8)
    assert not np.allclose(page.run("viewer.camera.target"), target, atol=1e-3)

    choose(page, "camera", "1")
    with open_stream(io.BytesIO(FOX)) as stream:
        assert np.allclose(
            page.run("viewer.state().eye"), np.asarray(stream.cameras[1].camera_to_world)[:, 3], atol=1e-5
        )
    choose(page, "quality", "fast")
    assert page.run("viewer.quality") == "fast"
    page.run("document.getElementById('details').click()")
    text = page.wait("document.getElementById('statistics').innerText")
    assert "Bit rate by component" in text and "occupancy" in text and "entropy models" in text
    assert page.console == [line for line in page.console if "GL Driver Message" in line]


def test_statistics_count_every_byte(page, serve):
    opened(page, serve(FOX))
    page.wait("(viewer.stream.want(0), viewer.bytes.size) === 4")
    totals = page.run(
        "[...viewer.bytes].sort((a, b) => a[0] - b[0])"
        ".map(([, b]) => [b.total, b.occupancy + b.models + b.steps + b.framing"
        " + [...b.tensors.values()].reduce((x, y) => x + y, 0), b.occupancy, b.models, b.steps])"
    )
    from refcodec.inspection import inspect

    frames = inspect(io.BytesIO(FOX)).frames
    assert [t[0] for t in totals] == [t[1] for t in totals] == [f.bytes for f in frames]


def test_scenes_are_chosen(page, serve):
    data = (ROOT / "conformance/vectors/valid/scenes/stream.rfv").read_bytes()
    opened(page, serve(data))
    assert page.run("!page.player._['scene-choice'].hidden")
    values = page.run("[...page.player._['scene'].options].map((o) => o.value)")
    assert values == ["0", "1", "2"]
    choose(page, "scene", "2")
    page.wait("viewer.state().scene === 2 && viewer.state().shown === viewer.state().frame")
    shown = page.run("viewer.stream.at(viewer.position).scene")
    assert shown == 2


def test_first_picture_comes_before_the_whole_file(page, serve):
    data = field_stream(FIELDS["grid"], frames=4, gap=900_000)
    url, released = serve(data), threading.Event()
    handler = serve.servers[0].RequestHandlerClass
    copy = handler._copy

    def held_back(self, file, wanted):  # the middle of the file
        if 50_000 < wanted.start < len(data) - 200_000:
            released.wait(60)
        copy(self, file, wanted)

    handler._copy = held_back
    try:
        assert opened(page, url)["frames"] == 4 and len(data) > 2_700_000
        assert page.run("[...viewer.stream.cache.keys()].every((p) => p === 0 || p === 3)")  # 3 is beside the index
    finally:
        released.set()
    page.run("viewer.seek(2)")
    page.wait("viewer.state().shown === 2")


def test_a_file_without_index_plays(page, serve):
    data = small_stream(seed=3, index=False)
    state = opened(page, serve(data))
    assert state["frames"] == 5
    page.run("viewer.seek(4)")
    page.wait("viewer.state().shown === 4")


def test_what_is_no_rfv_file_is_said(page, serve):
    page.open(serve(b"%PDF-1.7 and so on, and so on", "thesis.rfv"))
    message = said(page)
    assert "thesis.rfv is no RFV file" in message and "E0101" in message and "4.1" in message


def test_a_damaged_header_is_said(page, serve):
    data = bytearray(FOX)
    data[40] ^= 1
    page.open(serve(bytes(data)))
    message = said(page)
    assert all(part in message for part in ("E0203", "R-UNIT-03", "section 4.2", "byte 16"))


def test_a_truncated_file_is_said(page, serve):
    page.open(serve(FOX[:200]))
    message = said(page)
    assert "E0106" in message and "R-FILE-06" in message


def test_a_damaged_frame_costs_its_group_from_there_on(page, serve):
    from refcodec.inspection import inspect

    data, frame = bytearray(FOX), unit_offset(FOX, 3, 1)  # the second frame of the first group
    group = inspect(io.BytesIO(FOX)).groups[0]["frame_count"]
    assert 2 <= group < 4
    data[frame + 40] ^= 4
    opened(page, serve(bytes(data)))
    page.run("viewer.seek(1)")
    notice = page.wait("!page.player._['notice'].hidden && page.player._['notice'].textContent")
    for part in (
        "Frame 1 can't" if group == 2 else "Frames 1 to 2 can't",
        "E0203",
        "R-UNIT-03",
        "section 4.2",
        f"byte {frame}",
    ):
        assert part in notice
    assert page.run("viewer.state().lost") == list(range(1, group))
    page.run("viewer.seek(3)")
    page.wait("viewer.state().shown === 3")
    page.run("viewer.play()")
    page.wait("viewer.state().shown === 0")  # playing leaves out what is lost
    page.wait("viewer.state().shown === 3")


def test_no_webgl_is_said(page, serve):
    hidden = page.call(
        "Page.addScriptToEvaluateOnNewDocument", source="HTMLCanvasElement.prototype.getContext = () => null;"
    )
    try:
        page.open(serve(FOX))
        message = said(page)
        assert "WebGL2" in message
    finally:
        page.call("Page.removeScriptToEvaluateOnNewDocument", identifier=hidden["identifier"])


def test_a_server_that_comes_back_is_used_again(page, serve):
    data = field_stream(FIELDS["grid"], frames=12, gap=200_000)  # more than is read ahead

    opened(page, serve(data))
    page.wait("viewer.stream.cache.size === 8 && viewer.stream.decoders.every((d) => !d.busy)")

    def end_early(self, file, wanted):
        raise ConnectionError

    handler = serve.servers[0].RequestHandlerClass
    handler._copy, copy = end_early, handler._copy
    page.run("viewer.seek(10)")
    notice = page.wait("!page.player._['notice'].hidden && page.player._['notice'].textContent")
    assert "does not answer" in notice and page.run("viewer.state().lost") == []
    handler._copy = copy
    page.wait("viewer.state().shown === 10 && page.player._['notice'].hidden")


def test_an_exported_page_needs_no_network(page, tmp_path):
    data = field_stream(FIELDS["vm"])
    path = tmp_path / "field.html"
    path.write_bytes(exported(data, "field </script>.rfv"))
    opened(page, path.as_uri())
    assert_same_picture(picture(page, frame=0, width=24, height=20, camera=0), reference(data, 0, CAMERA))
    assert all(url.startswith(("file:", "blob:", "data:")) for url in page.requests) and page.requests
    assert page.run("document.title").startswith("field </script>.rfv")
