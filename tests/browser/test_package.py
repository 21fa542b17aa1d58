"""The npm package, from its tarball: what is in it, types, bundles, the player in others' pages, fields in three.js.

three.js, esbuild and TypeScript come from `npm install` in packages/rfv, or from where RFV_NODE_MODULES says.
"""

from __future__ import annotations

import base64
import io
import json
import math
import os
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest

from browser import CHROMIUM, Browser
from refcodec.decoding import open_stream
from refcodec.fields import NumpyOps, build
from refcodec.rendering.march import render_camera
from refcodec.serving import make_server

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "packages" / "rfv"
FOX = ROOT / "conformance" / "sources" / "fox-micro.rfv"
MODULES = Path(os.environ.get("RFV_NODE_MODULES", PACKAGE / "node_modules"))
NPM, NODE = shutil.which("npm"), shutil.which("node")

pytestmark = pytest.mark.skipif(NPM is None, reason="npm is not installed")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
needs_modules = pytest.mark.skipif(
    not (MODULES / "three").is_dir(), reason="no node_modules: npm install in packages/rfv, or RFV_NODE_MODULES"
)

IMPORTS = """<!doctype html><meta charset="utf-8"><script type="importmap">{"imports": {
"three": "/node_modules/three/build/three.module.js", "rfv": "/node_modules/rfv/index.js",
"rfv/player": "/node_modules/rfv/player.js", "rfv/three": "/node_modules/rfv/three.js"}}</script>
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A web site that has installed the tarball: (folder, address)."""
    root = tmp_path_factory.mktemp("site")
    pack = [NPM, "pack", "--silent", "--pack-destination", root]
    subprocess.run(pack, cwd=PACKAGE.resolve(), check=True, timeout=120)
    (tarball,) = root.glob("*.tgz")
    with tarfile.open(tarball) as archive:
        archive.extractall(root / "unpacked", filter="data")
    shutil.move(root / "unpacked" / "package", root / "node_modules" / "rfv")
    if (MODULES / "three").is_dir():
        build_folder = root / "node_modules" / "three" / "build"
        build_folder.mkdir(parents=True)
        for path in (MODULES / "three" / "build").glob("three.*.js"):
            if "webgpu" not in path.name and "min" not in path.name:
                shutil.copy(path, build_folder)
    shutil.copy(FOX, root / "fox.rfv")
    with make_server(root, quiet=True) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield root, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def page():
    with Browser() as browser:
        yield browser


def show(page, site, body: str, name: str = "page.html") -> None:
    """A page of that content, opened."""
    root, address = site
    (root / name).write_text(IMPORTS + body)
    page.open(address + name)


def pixels(page, expression: str) -> np.ndarray:
    """(h, w, 3) of a promise of { width, height, data }."""
    answer = page.run(
        f"Promise.resolve({expression}).then(({{ width, height, data }}) => "
        "({ width, height, data: btoa(data.reduce((text, byte) => text + String.fromCharCode(byte), '')) }))",
        120,
    )
    data = np.frombuffer(base64.b64decode(answer["data"]), np.uint8)
    return data.reshape(answer["height"], answer["width"], 4)[..., :3].astype(float)


def reference(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour 0 … 255, opacity and depth of the first camera's view of the first frame."""
    with open_stream(io.BytesIO(FOX.read_bytes())) as stream:
        frame = next(iter(stream.frames()))
        camera = stream.cameras[0].scaled(size / stream.cameras[0].width)
        found = render_camera(build(frame.header, frame.values(), NumpyOps()), frame.occupancy, camera, frame.header)
    return 255 * np.clip(found.rgb, 0, 1), found.opacity, found.depth


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return 10 * math.log10(255**2 / np.mean((a - b) ** 2))


def test_the_tarball_has_what_it_exports_and_nothing_of_the_page(site):
    folder = site[0] / "node_modules" / "rfv"
    manifest = json.loads((folder / "package.json").read_text())
    targets = [t for e in manifest["exports"].values() for t in (e.values() if isinstance(e, dict) else [e])]
    assert len(targets) > 8 and all((folder / t).is_file() for t in targets)
    names = {p.name for p in folder.rglob("*") if p.is_file()}
    assert {"README.md", "LICENSE", "worker.js", "three.html"} <= names
    assert not {"main.js", "index.html", "conformance.mjs", "types.test.ts"} & names
    # Every module that is imported is there.
    program = "import('rfv/decoder').then((m) => console.log(typeof m.decode))"
    result = subprocess.run([NODE, "-e", program], cwd=site[0], capture_output=True, text=True, timeout=60)
    assert result.stdout == "function\n", result.stderr
    # Importing the package where there is no browser fails only where a browser is used.
    program = "import('rfv').then((m) => console.log(Object.keys(m).join()))"
    result = subprocess.run([NODE, "-e", program], cwd=site[0], capture_output=True, text=True, timeout=60)
    assert "RfvPlayer" in result.stdout, result.stderr


@needs_modules
def test_types(site, tmp_path):
    for path in [*PACKAGE.glob("*.d.ts"), PACKAGE / "types.test.ts"]:
        shutil.copy(path, tmp_path)
    (tmp_path / "node_modules").symlink_to(MODULES)
    options = json.loads((PACKAGE / "package.json").read_text())["scripts"]["types"].split()[1:]
    result = subprocess.run(
        [MODULES / ".bin" / "tsc", *options], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stdout


@needs_browser
@needs_modules
def test_a_bundle_of_esbuild_plays(page, site):
    folder = site[0] / "node_modules" / "rfv"
    options = ["--bundle", "--minify", "--format=esm", f"--outdir={site[0] / 'dist'}", "--log-level=warning"]
    result = subprocess.run(
        [MODULES / ".bin" / "esbuild", "player.js", "worker.js", *options], cwd=folder, capture_output=True, text=True
    )
    assert result.returncode == 0 and not result.stderr, result.stderr
    show(page, site, """<rfv-player id="p" src="fox.rfv" style="width: 60px; height: 50px"></rfv-player>
        <script type="module" src="/dist/player.js"></script>""")
    page.wait("p.viewer.state().timings.picture")


@needs_browser
def test_stream(page, site):
    show(page, site, """<script type="module">
        import { RfvStream } from 'rfv';
        window.RfvStream = RfvStream;
        window.events = [];
        window.s = await RfvStream.open('fox.rfv', { workers: 2 });
        s.addEventListener('progress', (e) => events.push(e.detail));
        window.done = (await Promise.all(s.frames.map((f) => s.frame(f.number)))).map((f) => f.number);
        </script>""")
    assert page.wait("window.done") == [0, 1, 2, 3]
    assert page.run("s.decoders.length") == 2  # two groups at once
    assert page.run("[s.size, events.every((e) => e.size === s.size && e.loaded > 0)]") == [FOX.stat().st_size, True]
    name = "error => error.name"
    assert page.run(f"s.frame(9).catch({name})") == "RfvError"
    assert page.run(f"RfvStream.open('missing.rfv').catch({name})") == "RfvError"
    # Given up: what is waited for is rejected, and another wait works.
    page.run("s.cache.clear(), window.control = new AbortController(), null")
    page.run(f"window.gone = s.frame(2, {{ signal: control.signal }}).catch({name}), control.abort(), null")
    assert page.run("gone") == "AbortError"
    assert page.run("s.frame(2).then((f) => f.number)") == 2
    disposed = f"(waiting => (s.dispose(), waiting))(s.frame(1).catch({name}))"
    assert page.run(f"s.cache.clear(), {disposed}") == "AbortError"
    assert page.run("s.decoders.length") == 0
    aborted = "(c => (c.abort(), RfvStream.open('fox.rfv', { signal: c.signal })))(new AbortController())"
    assert page.run(f"{aborted}.catch({name})") == "AbortError"


@needs_browser
def test_fast_is_near_to_exact_and_exact_within_the_tolerance(page, site):
    show(page, site, """<rfv-player id="p" src="fox.rfv" quality="fast" style="width: 48px; height: 48px"></rfv-player>
        <script type="module">import 'rfv/player';</script>""")
    page.wait("p.viewer?.state().timings.picture")
    wanted, _, _ = reference(48)
    picture = "p.viewer.picture({ frame: 0, width: 48, height: 48, camera: 0, quality: '%s' })"
    exact, fast = pixels(page, picture % "exact"), pixels(page, picture % "fast")
    assert psnr(exact, np.floor(wanted + 0.5)) >= 50 and np.abs(exact - wanted).max() <= 4.5
    assert 38 <= psnr(fast, exact) < 70, psnr(fast, exact)  # docs/viewer.md
    assert wanted.std() > 5
    # Asking for a picture leaves the size alone.
    page.wait("p.viewer.canvas.width === 48 && p.viewer.canvas.height === 48")


@needs_browser
def test_player_in_a_frame_of_another_page(page, site):
    (site[0] / "inner.html").write_text(IMPORTS + """<body style="margin: 0; height: 400px">
        <rfv-player id="p" src="fox.rfv" controls camera="1" background="#ff0000" style="height: 90px"></rfv-player>
        <script type="module">import 'rfv/player';
        p.addEventListener('ready', () => parent.heard.push('ready'));
        p.addEventListener('frame', (e) => parent.heard.push(e.detail.number));</script>""")
    show(page, site, """<script>window.heard = []</script><iframe id="f" src="inner.html" style="position: absolute;
        left: 0; top: 0; border: 0; width: 120px; height: 100px"></iframe><p style="height: 3000px"></p>""")
    page.wait("heard.includes('ready') && heard.includes(0)")
    inner = "f.contentDocument.getElementById('p')"
    page.wait(f"{inner}.viewer.state().timings.picture")
    assert page.run(f"[{inner}.camera, {inner}.paused, {inner}.viewer.canvas.clientHeight]") == ["1", True, 90]
    corner = pixels(page, f"{inner}.viewer.picture({{ width: 20, height: 20 }})")[0, 0]
    assert list(corner) == [255, 0, 0]
    # The wheel is the outer page's until control is held.
    distance = f"Math.hypot(...{inner}.viewer.camera.eye.map((v, i) => v - {inner}.viewer.camera.target[i]))"
    before = page.run(distance)
    page.mouse("mouseWheel", 60, 30, deltaX=0, deltaY=100)
    page.wait("f.contentWindow.scrollY > 0 || scrollY > 0")
    assert page.run(distance) == before
    page.run("(f.contentWindow.scrollTo(0, 0), scrollTo(0, 0))")
    page.mouse("mouseWheel", 60, 30, deltaX=0, deltaY=100, modifiers=2)
    page.wait(f"{distance} > {1.1 * before}")


@needs_browser
def test_an_element_that_is_taken_out_frees_its_workers_and_can_come_back(page, site):
    show(page, site, """<rfv-player id="p" src="fox.rfv" style="width: 60px; height: 50px"></rfv-player>
        <script type="module">import 'rfv/player';</script>""")
    page.wait("p.viewer.state().timings.picture")
    page.run("(window.taken = p, window.old = p.viewer.stream, p.remove())")
    page.wait("old.disposed && taken.viewer === null")
    page.run("document.body.append(taken)")
    page.wait("p.viewer.state().timings.picture")


THREE_PAGE = """<body style="margin: 0"><script type="module">
import * as THREE from 'three';
import { RfvField } from 'rfv/three';
window.THREE = THREE;
const renderer = new THREE.WebGLRenderer({ preserveDrawingBuffer: true });
renderer.setSize(48, 48);
renderer.localClippingEnabled = true;
document.body.append(renderer.domElement);
const scene = new THREE.Scene();
scene.background = new THREE.Color(1, 1, 1);
const field = new RfvField('fox.rfv', { quality: QUALITY });
scene.add(field);
await field.ready;
const { pose, height, focal } = field.stream.cameras[0];
const camera = new THREE.PerspectiveCamera((360 / Math.PI) * Math.atan(height / 2 / focal[1]), 1, 0.1, 50);
new THREE.Matrix4().set(...pose, 0, 0, 0, 1).decompose(camera.position, camera.quaternion, camera.scale);
await field.showFrame(0);
const plane = new THREE.Mesh(new THREE.PlaneGeometry(9, 9), new THREE.MeshBasicMaterial({ color: 0x0000ff, side: 2 }));
plane.quaternion.copy(camera.quaternion);
plane.at = (distance) => plane.position.copy(camera.position).addScaledVector(
  camera.getWorldDirection(new THREE.Vector3()), distance);
window.grab = () => {
  renderer.render(scene, camera);
  const gl = renderer.getContext();
  const [width, height] = [48, 48];
  const flipped = new Uint8Array(4 * width * height);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, flipped);
  const data = new Uint8Array(flipped.length);
  for (let y = 0; y < height; y++)
    data.set(flipped.subarray(4 * width * (height - 1 - y), 4 * width * (height - y)), 4 * width * y);
  return { width, height, data };
};
Object.assign(window, { renderer, scene, camera, field, plane, RfvField, done: true });
</script>"""
BLUE = [0, 0, 255]


@pytest.fixture(params=["fast", "exact"])
def scene(request, page, site):
    show(page, site, THREE_PAGE.replace("QUALITY", json.dumps(request.param)))
    page.wait("window.done", 60)
    return request.param


@needs_browser
@needs_modules
def test_a_field_in_three_is_depth_tested_both_ways(page, scene):
    wanted, opacity, depth = reference(48)
    alone = pixels(page, "grab()")
    # The canvas blends in 8 bits, which rounds once more.
    assert psnr(alone, wanted) > (47 if scene == "exact" else 38)
    # A ray through the far side of the box is another rounding of it: samples at the faces of voxels may change (9.5).
    assert scene == "fast" or np.mean(np.abs(alone - wanted).max(-1) <= 4.5) > 0.995
    solid = opacity > 0.98
    assert solid.sum() > 50
    near, far = depth[solid].min(), depth[solid].max()
    page.run(f"scene.add(plane), plane.at({near - 0.3}), null")
    assert (pixels(page, "grab()") == BLUE).all()  # the plane stands before the field
    page.run(f"plane.at({far + 0.3}), null")
    behind = pixels(page, "grab()")
    assert np.abs(behind - alone)[solid].max() < 8 and (behind[opacity < 1e-3] == BLUE).all()
    # Through the middle of it: what is in front of the plane hides it, what is behind is hidden. Distances along the
    # camera's axis are shorter than along rays.
    rows, columns = np.mgrid[:48, :48] + 0.5
    with open_stream(io.BytesIO(FOX.read_bytes())) as stream:
        camera = stream.cameras[0].scaled(48 / stream.cameras[0].width)
    axial = depth / np.sqrt(1 + ((columns - camera.cx) / camera.fx) ** 2 + ((rows - camera.cy) / camera.fy) ** 2)
    middle = float(np.median(axial[solid]))
    page.run(f"plane.at({middle}), null")
    through = pixels(page, "grab()")
    front, back = solid & (axial < middle - 0.08), solid & (axial > middle + 0.08)
    assert front.sum() > 5 and back.sum() > 5
    assert np.mean(np.abs(through - alone)[front].max(-1) < 8) > 0.95
    assert np.mean((through == BLUE).all(-1)[back]) > 0.95


@needs_browser
@needs_modules
def test_matrices_clipping_opacity_and_several_fields(page, scene):
    alone = pixels(page, "grab()")
    covered = (alone != 255).any(-1)
    # The same picture from the same place of a scene that is turned, moved and enlarged as a whole.
    page.run("""{
      const group = new THREE.Group();
      group.add(field);
      scene.add(group);
      group.rotation.set(0.3, 1, -2); group.scale.setScalar(3); group.position.set(5, -2, 1);
      group.updateMatrixWorld();
      const place = new THREE.Matrix4().multiplyMatrices(group.matrixWorld, camera.matrixWorld);
      window.kept = camera.clone();
      place.decompose(camera.position, camera.quaternion, camera.scale);
      camera.scale.setScalar(1);
      window.group = group;
      null;
    }""")
    assert psnr(pixels(page, "grab()"), alone) > 45
    page.run("group.position.y = 1e3, null")
    assert (pixels(page, "grab()") == 255).all()
    page.run("scene.add(field), camera.copy(kept), null")
    assert psnr(pixels(page, "grab()"), alone) > 60
    # A clipping plane along the camera's axis takes one half away.
    page.run("""{
      const right = new THREE.Vector3().setFromMatrixColumn(camera.matrixWorld, 0);
      field.material.clippingPlanes = [new THREE.Plane().setFromNormalAndCoplanarPoint(right, camera.position)];
      field.material.needsUpdate = true;
      null;
    }""")
    half = pixels(page, "grab()")
    assert covered[:, :23].any() and covered[:, 25:].any()
    assert (half[:, :23] == 255).all() and np.abs(half - alone)[:, 25:].max() <= 3
    page.run("field.material.clippingPlanes = [], field.material.needsUpdate = true, field.opacity = 0.5, null")
    assert np.abs(pixels(page, "grab()") - (alone + 255) / 2).max() <= 3
    # A second field, beside the first and smaller, leaves it as it is.
    page.run("field.opacity = 1, window.other = new RfvField('fox.rfv', { quality: 'fast' }), scene.add(other), null")
    page.run("other.ready.then(() => other.showFrame(0))")
    page.run("other.scale.setScalar(0.4), other.position.copy(camera.position).addScaledVector("
             "camera.getWorldDirection(new THREE.Vector3()), 3).add(new THREE.Vector3().setFromMatrixColumn("
             "camera.matrixWorld, 0).multiplyScalar(0.75)), null")
    both = pixels(page, "grab()")
    new = (both != alone).any(-1)
    assert new.sum() > 10 and np.abs(both - alone)[:, :24].max() <= 1
    page.run("other.dispose(), scene.remove(other), field.play(), null")
    page.wait("(grab(), field.playback.shown > 0)")
    assert page.console == [line for line in page.console if "GL Driver Message" in line or "favicon" in line
                            or "404" in line]
