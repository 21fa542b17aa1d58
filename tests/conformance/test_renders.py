"""Render vectors: made by the text of chapters 8 and 9, kept by refcodec, broken by renderers with a defect."""
from __future__ import annotations

import ast
import io
import itertools
import struct
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from test_spec_coverage import _Instrument

import spec_decoder
from checkout import ROOT
from refcodec.cli import cli
from refcodec.conformance import renders, runner
from refcodec.conformance.runner import Verdict
from refcodec.spec import RENDERER_FILES, pseudo_code

SUITE = ROOT / "conformance"
VECTORS = renders.load_renders(SUITE).vectors

# Defects of renderers -> what the text has (chapters 8 and 9), and what is read in its place.
MUTANTS = {
    "rays through pixel corners": ("i + 0.5 - cx", "i - cx"),
    "no half step": ("near + (len(samples) + 0.5) * step, step", "near + len(samples) * step, step"),
    "channels exchanged": ("colour = [c + weight * v for c, v in zip(colour, seen)]",
                           "colour = [c + weight * v for c, v in zip(colour, seen[::-1])]"),
    "occupancy axes exchanged": ("for axis in (2, 1, 0):", "for axis in (0, 1, 2):"),
    "not a number": ('"depth": moment / opacity if opacity > 0 else 0.0', '"depth": moment / opacity * math.nan'),
    "the background under opaque rays": ("passing * b / 255", "b / 255"),
    "the camera looks along +z": ("- pose[row + 2]", "+ pose[row + 2]"),
    "rows from the bottom": ("- pose[row + 1] * b", "+ pose[row + 1] * b"),
    "depth along the camera's axis": ("moment = moment + weight * t", "moment = moment - weight * t * direction[1]"),
    "the step of the longest side": ("return diagonal / field", 'return field["longest"] / field'),
    "occupancy ignored": ('return field["occupancy"] == [] or', "return True or"),
    "lengths between occupied samples": ("alpha, features = opacity_of(field, point, length)",
                                         "alpha, features = opacity_of(field, point, 2 * length)"),
    "sawtooth per axis": ('/ 65536) / field["longest"]', '/ 65536) / (field["high"][axis] - field["low"][axis])'),
    "alignments exchanged": ('if grid["alignment"] == 0', 'if grid["alignment"] == 1'),
    "frequencies times pi": ("2.0**k * v", "3.141592653589793 * 2.0**k * v"),
    "cosines before sines": ("[math.sin(a) for a in arguments] + [math.cos(a) for a in arguments]",
                             "[math.cos(a) for a in arguments] + [math.sin(a) for a in arguments]"),
    "direction towards the camera": ("inputs = features + direction +",
                                     "inputs = features + [-v for v in direction] +"),
    "skip layer one late": ('layer == field["skip_layer"]', 'layer == field["skip_layer"] + 1'),
    "skipped inputs first": ("values = values + inputs", "values = inputs + values"),
    "biases ignored": ("if bias is not None else 0.0", "if False else 0.0"),
    "no activation between layers": ("max(v, 0.0) for v in values", "v for v in values"),
    "density without shift": ('feature + real(field["density_shift"])', "feature"),
    "coarse samples alone": ("times.sort()", "times = sorted(times[:n])"),
    "fine samples at even places": ("sums.append(sums[-1] + passing * alpha + 1e-5)", "sums.append(sums[-1] + 1.0)"),
    "coarse density everywhere": ("if is_occupied(field, point) else 0.0", "if True else 0.0"),
    "last length is a part": ("times[1:] + [far]", "times[1:] + [times[-1] + part]"),
    "planes in the order z, y, x": ("concatenated(field, 5 if kind == 3 else 8, point)",
                                    "concatenated(field, 5 if kind == 3 else 8, point)[::-1]"),
    "background of the first scene": ('dict(of_scene(d["header"], d["scene"]))', 'dict(d["header"])'),
}


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def source() -> str:
    return pseudo_code(spec_decoder.SPEC, RENDERER_FILES)


def space_of(text: str, **more) -> dict:
    space = dict(spec_decoder.namespace(), **more)
    exec(compile(text, "spec renderer", "exec"), space)
    return space


def drawn(space: dict, vector) -> bytes:
    """The picture of a vector by a renderer like the text's, as a renderer under test writes it."""
    found, last = [], {}

    def output(frame, d):
        if frame["number"] == vector.frame:
            found.append(space["field_of"](d))
        last.update(d)

    space["decode"](vector.stream.read_bytes(), output)
    rows = space["render_picture"](found[0], last["cameras"][vector.camera])
    return b"".join(struct.pack("<5f", *p["rgb"], p["opacity"], p["depth"]) for row in rows for p in row)


@pytest.fixture(scope="module")
def cases():
    sys.path.insert(0, str(SUITE))
    import render_cases

    return render_cases


def test_render_vectors_are_those_that_the_text_defines(cases):
    made = {case.name: (case, cases.render(case)) for case in cases.cases()}
    assert (SUITE / "renders.json").read_bytes() == cases.manifest(made)
    for name, (_, files) in made.items():
        folder = SUITE / "renders" / name
        assert {p.name for p in folder.iterdir()} == files.keys()
        for path, data in files.items():
            stored = (folder / path).read_bytes()
            if path.endswith(".f32"):  # other libraries of functions may round otherwise
                np.testing.assert_allclose(np.frombuffer(stored, "<f4"), np.frombuffer(data, "<f4"), atol=1e-6)
            else:
                assert stored == data


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v.name)
def test_refcodec_keeps_the_tolerance(vector):
    written = renders.render_vector(str(vector.stream), vector.frame, vector.camera)
    assert renders.judge(vector, written).verdict == Verdict.PASS
    wanted = np.frombuffer(vector.expected.read_bytes(), "<f4").reshape(-1, 6)
    if vector.width != vector.height:  # the square ones are there for their pixels that are not judged
        assert wanted[:, 5].mean() >= 0.95
    image = np.floor(np.clip(wanted[:, :3], 0, 1) * 255 + 0.5).astype(np.uint8)
    assert renders.judge(vector, png(image.reshape(vector.height, vector.width, 3))).verdict == Verdict.PASS


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_vector_breaks_every_renderer_with_a_defect(name):
    right, wrong = MUTANTS[name]
    text = source()
    assert text.count(right) == 1
    space = space_of(text.replace(right, wrong))
    verdicts = (renders.judge(v, drawn(space, v)).verdict for v in sorted(VECTORS, key=lambda v: v.width * v.height))
    assert Verdict.MISMATCH in verdicts


def test_compositing_in_linear_light_breaks_the_tolerance():
    vector = VECTORS[0]
    space = space_of(source())
    colour = space["colour_of"]
    space["colour_of"] = lambda *a: [v**2.2 for v in colour(*a)]
    render = space["render_ray"]

    def encoded(*a):
        ray = render(*a)
        return dict(ray, rgb=[max(v, 0.0) ** (1 / 2.2) for v in ray["rgb"]])

    space["render_ray"] = encoded
    assert renders.judge(vector, drawn(space, vector)).detail.startswith("R-RND-16")


def pixels(data: bytes, count: int) -> list[dict]:
    values = np.frombuffer(data, "<f4").reshape(-1, count).astype(float).tolist()
    return [dict(rgb=v[:3], opacity=v[3], depth=v[4], judged=count == 6 and v[5] == 1.0) for v in values]


@pytest.mark.parametrize("value, place, amount", [
    ("finite", 0, 0.0), ("R-RND-15", 1, np.nan), ("R-RND-15", 4, np.inf), ("R-RND-16", 0, 0.012), ("R-RND-17", 2, None),
    ("R-RND-18", 4, None), ("finite", 3, 0.2), ("unjudged", 0, 0.5)])
def test_the_judge_is_the_one_of_the_text(value, place, amount):
    """Every bound from both sides, by the runner's judge and by the text's."""
    spec, vector = spec_decoder.renderer(), next(v for v in VECTORS if v.name == "dictionary-2")
    wanted = np.frombuffer(vector.expected.read_bytes(), "<f4").reshape(-1, 6)
    found, whole = wanted[:, :5].copy(), wanted.copy()
    unjudged = int(np.flatnonzero(wanted[:, 5] == 0)[0])
    at = [unjudged] if value == "unjudged" else [unjudged + 1] if amount is None else slice(None)
    if value == "R-RND-17":
        whole = np.concatenate([np.tile(wanted[:1], (1000, 1)), wanted])
        found, amount = whole[:, :5].copy(), 1.01 / 64
        at = [len(found) - 1]
        whole[-1, 5] = 1
    if value == "R-RND-18":
        amount = 0.51 * vector.step
        assert whole[at[0], 3] >= 0.5
    found[at, place] += np.float32(amount)
    text = spec["first_broken"](pixels(found.astype("<f4").tobytes(), 5), pixels(whole.astype("<f4").tobytes(), 6),
                                vector.step)
    assert text == (value if value.startswith("R-") else None)
    if len(found) == len(wanted):
        result = renders.judge(vector, found.astype("<f4").tobytes())
        assert (result.detail.split(":")[0] or None) == text


def test_pictures_of_8_bits_are_judged_by_their_own_bounds():
    spec, vector = spec_decoder.renderer(), VECTORS[0]
    wanted = pixels(vector.expected.read_bytes(), 6)
    right = [[spec["to_8_bits"](v) for v in p["rgb"]] for p in wanted]
    for change, pixel_count in itertools.product((0, 4, 5, -5), (1, len(right))):
        image = np.array(right)
        image[:pixel_count, 0] = np.clip(image[:pixel_count, 0] + change, 0, 255)
        text = spec["first_broken_8_bits"](image.tolist(), wanted)
        result = renders.judge(vector, png(image.astype(np.uint8).reshape(vector.height, vector.width, 3)))
        assert (result.detail.split(":")[0] or None) == text
    assert spec["to_16_bits"](2.0, 0.5, 0.001) == 2000 and spec["to_16_bits"](2.0, 0.49, 0.001) == 0


@pytest.mark.parametrize("written, detail", [
    (b"", "0 bytes"), (bytes(40), "40 bytes"), (png(np.zeros((3, 3, 3), np.uint8)), "3 x 3 RGB"),
    (png(np.zeros((10, 14), np.uint8)), "14 x 10 L"), (b"\x89PNG\r\n\x1a\nxx", "can't be read")])
def test_what_is_no_picture_is_a_crash(written, detail):
    result = renders.judge(VECTORS[0], written)
    assert result.verdict == Verdict.CRASH and detail in result.detail


def renderer(tmp_path, body: str) -> renders.Renderer:
    script = tmp_path / "renderer.py"
    script.write_text("import sys\nsource, frame, camera, target = sys.argv[1:]\n" + body, "utf-8")
    return renders.Renderer(f"{sys.executable} -S {script} {{input}} {{frame}} {{camera}} {{output}}", 30, None)


@pytest.mark.parametrize("body, verdict", [
    ("open(target, 'wb').write(b'unsupported no lines yet')", Verdict.UNSUPPORTED),
    ("sys.exit(3)", Verdict.CRASH),
    ("open(target, 'wb').write(bytes(99 * 20)); sys.exit(1)", Verdict.CRASH),
    ("open(target, 'wb').write(bytes(99 * 20))", Verdict.MISMATCH),
    ("import os; os.kill(os.getpid(), 11)", Verdict.CRASH),
    ("assert (frame, camera) == ('0', '1') and source.endswith('.rfv'); raise SystemExit(1)", Verdict.CRASH)])
def test_renderers_are_run_and_judged(tmp_path, body, verdict):
    vector = next(v for v in VECTORS if v.name == "grid-plain-1")
    result, = runner.run(renderer(tmp_path, body), [vector])
    assert result.verdict == verdict and "Assertion" not in result.detail


def test_the_command_judges_refcodec(tmp_path):
    command = f"{sys.executable} -m refcodec conformance picture {{input}} {{frame}} {{camera}} {{output}}"
    done = run("conformance", "run", "--renderer", command, "--only", "scenes-*", "--memory-mb", "0",
               "--json", tmp_path / "report.json")
    assert done.exit_code == 0 and "3 of 3 vectors passed" in done.output


@pytest.mark.parametrize("arguments, detail", [
    ([], "either --decoder or --renderer"), (["--decoder", "a {input} {output}", "--renderer", "b"], "either"),
    (["--renderer", "python3 {input} {output}"], "{frame}"),
    (["--renderer", "python3 {input} {frame} {camera} {output}", "--kind", "valid"], "--kind")])
def test_wrong_usage(arguments, detail):
    done = run("conformance", "run", *arguments)
    assert done.exit_code == 1 and detail in done.output


def test_render_vectors_reach_every_branch_of_the_renderer():
    """But for what judges renders, which is called by the judge's tests."""
    instrument, reached, decided = _Instrument(), set(), set()
    text = source()
    tree = ast.fix_missing_locations(instrument.visit(ast.parse(text)))

    def note(number, value):
        decided.add((number, bool(value)))
        return value

    space = dict(spec_decoder.namespace(), _reached=reached.add, _decided=note)
    exec(compile(tree, "instrumented renderer", "exec"), space)
    for vector in VECTORS:
        drawn(space, vector)
    judging = text[text.index("def first_broken("):] + text[text.index("def to_8_bits"):text.index("def nearby")]
    lines = text.splitlines()
    missed = {lines[n - 1].strip() for n in instrument.statements - reached}
    assert {line for line in missed if line not in judging} == set()
    undecided = {(instrument.conditions[n], value) for n in instrument.conditions for value in (True, False)
                 if (n, value) not in decided}
    judged = {ast.unparse(node) for node in ast.walk(ast.parse(judging)) if isinstance(node, ast.expr)}
    assert {(c, v) for c, v in undecided if c not in judged} == set()
