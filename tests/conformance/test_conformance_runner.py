"""The runner passes right decoders and fails every mutant, with the verdict that says what is wrong."""
from __future__ import annotations

import dataclasses
import json
import shlex
import sys
import time
import xml.etree.ElementTree as ET

import pytest
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st

from checkout import ROOT
from refcodec.conformance import reports, runner
from refcodec.conformance.cli import conformance_group
from refcodec.conformance.runner import Decoder, Verdict
from refcodec.errors import UsageError

SUITE = runner.load_suite(runner.find_suite())
VECTORS = {v.name: v for v in SUITE.vectors}
VALID, BAD_LATE, BAD_EARLY = VECTORS["two-frames"], VECTORS["digest-2"], VECTORS["text-mode"]
CHOSEN = (VALID, BAD_LATE, BAD_EARLY)

# A decoder that knows the right answers, for mutants to change: `lines` is its digest list.
KNOWING = """
import hashlib, json, os, subprocess, sys, time
source, output = sys.argv[1:]
with open(source, "rb") as file:
    lines = json.loads({answers!r})[hashlib.sha256(file.read()).hexdigest()]
{change}
with open(output, "w") as file:
    file.write("".join(line + "\\n" for line in lines))
sys.exit(2 if lines and lines[-1].startswith("error") else 0)
"""


@pytest.fixture
def decoder(tmp_path):
    """A function: lines of Python that change the knowing decoder -> Decoder."""
    import hashlib

    answers = json.dumps({hashlib.sha256(v.stream.read_bytes()).hexdigest(): v.expected_lines() for v in CHOSEN})

    def make(change: str = "", **limits) -> Decoder:
        script = tmp_path / "decoder.py"
        script.write_text(KNOWING.format(answers=answers, change=change))
        return Decoder(f"{shlex.quote(sys.executable)} -S -E {shlex.quote(str(script))} {{input}} {{output}}",
                       **{"timeout": 20.0, **limits})

    return make


def verdicts(decoder: Decoder, *vectors) -> list[Verdict]:
    return [r.verdict for r in runner.run(decoder, vectors or CHOSEN, jobs=2)]


def test_a_right_decoder_passes(decoder):
    assert verdicts(decoder()) == [Verdict.PASS] * 3


def test_refcodec_passes():
    command = f"{shlex.quote(sys.executable)} -m refcodec.cli decode --digests-only --quiet {{input}} {{output}}"
    results = runner.run(Decoder(command), CHOSEN, jobs=2)
    assert [(r.verdict, r.detail) for r in results] == [(Verdict.PASS, "")] * 3


MUTANTS = {
    # change to the right answer -> verdicts on a valid stream, one that goes wrong in its last frame,
    # one without frames
    "accepts everything": ("lines[-1] = 'end %d' % sum(x.startswith('frame') for x in lines)",
                           (Verdict.PASS, Verdict.WRONGLY_ACCEPTED, Verdict.WRONGLY_ACCEPTED)),
    "accepts without decoding": ("lines = ['rfv-digests 1', 'end 0']",
                                 (Verdict.MISMATCH, Verdict.WRONGLY_ACCEPTED, Verdict.WRONGLY_ACCEPTED)),
    "rejects everything": ("lines = ['rfv-digests 1', 'error E0101 R-FILE-01']",
                           (Verdict.WRONGLY_REJECTED, Verdict.WRONG_CODE, Verdict.PASS)),
    "wrong code": ("lines[-1] = 'error E0203 R-UNIT-03' if lines[-1][:5] == 'error' else lines[-1]",
                   (Verdict.PASS, Verdict.WRONG_CODE, Verdict.WRONG_CODE)),
    "one frame late": ("at = [i for i, x in enumerate(lines) if x[:5] == 'frame']\n"
                       "if at: lines[at[1]+1:at[1]+6] = lines[at[0]+1:at[0]+6]",
                       (Verdict.MISMATCH, Verdict.MISMATCH, Verdict.PASS)),
    "first frame left out": ("at = [i for i, x in enumerate(lines) if x[:5] == 'frame']\nif at: del lines[1:at[1]]",
                             (Verdict.MISMATCH, Verdict.MISMATCH, Verdict.PASS)),
    "swapped tensors": ("lines = [x.replace('tensor 0', 'tensor x').replace('tensor 1', 'tensor 0')"
                        ".replace('tensor x', 'tensor 1') for x in lines]",
                        (Verdict.MISMATCH, Verdict.MISMATCH, Verdict.PASS)),
    "wrong digest": ("lines = [x[:-1] + ('0' if x[-1] != '0' else '1') if x[:8] == 'tensor 3' else x for x in lines]",
                     (Verdict.MISMATCH, Verdict.MISMATCH, Verdict.PASS)),
    "constant digests": ("lines = [x[:9] + '0' * 64 if x[:6] == 'tensor' else x for x in lines]",
                         (Verdict.MISMATCH, Verdict.MISMATCH, Verdict.PASS)),
    "not a number": ("lines = [x[:9] + 'nan' if x[:6] == 'tensor' else x for x in lines]",
                     (Verdict.CRASH, Verdict.CRASH, Verdict.PASS)),
    "no occupancy": ("lines = ['occupancy -' if x[:9] == 'occupancy' else x for x in lines]",
                     (Verdict.MISMATCH, Verdict.MISMATCH, Verdict.PASS)),
    "aborts": ("os.abort()", (Verdict.CRASH,) * 3),
    "fails": ("raise ValueError('of its own')", (Verdict.CRASH,) * 3),
    "fails after writing": ("import atexit; atexit.register(lambda: os._exit(1))", (Verdict.CRASH,) * 3),
    "no last line": ("lines.pop()", (Verdict.CRASH,) * 3),
    "empty list": ("lines = []", (Verdict.CRASH,) * 3),
    "writes nothing": ("sys.exit(0)", (Verdict.CRASH,) * 3),
    "endless list": ("lines = ['frame 0 I 0'] * (1 << 21)", (Verdict.CRASH,) * 3),
    "not text": ("lines = [chr(0x2592) * 9]", (Verdict.CRASH,) * 3),
    "does nothing": ("lines = ['rfv-digests 1', 'unsupported yet']", (Verdict.UNSUPPORTED,) * 3),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_fails(decoder, name):
    change, expected = MUTANTS[name]
    assert tuple(verdicts(decoder(change))) == expected
    assert Verdict.PASS not in expected or len(set(expected)) > 1


def test_a_hanging_decoder_is_ended_with_its_children(decoder, tmp_path):
    child = f"import time; time.sleep(2); open({str(tmp_path / 'survivor')!r}, 'w')"
    change = f"subprocess.Popen([sys.executable, '-c', {child!r}])\ntime.sleep(60)"
    started = time.monotonic()
    (result,) = runner.run(decoder(change, timeout=0.7), [VALID])
    assert result.verdict == Verdict.TIMEOUT and "0.7 s" in result.detail
    assert time.monotonic() - started < 30  # not the 60 that the program would take
    time.sleep(2.5)
    assert not (tmp_path / "survivor").exists()


def test_memory_is_limited(decoder):
    hungry = "block = bytearray(1 << 30)"
    assert verdicts(decoder(hungry, memory_mb=None), VALID) == [Verdict.PASS]
    (result,) = runner.run(decoder(hungry, memory_mb=512), [VALID])
    assert result.verdict == Verdict.CRASH and "MemoryError" in result.detail


def test_a_mismatch_is_located(decoder):
    (result,) = runner.run(decoder("at = max(i for i, x in enumerate(lines) if x[:8] == 'tensor 1')\n"
                                   "lines[at] = lines[at][:-4] + 'beef'"), [VALID])
    assert (result.verdict, result.frame, result.tensor) == (Verdict.MISMATCH, 1, 1)
    assert "frame 1" in result.detail and "beef" in result.detail


ALL_LISTS = [(v, v.expected_lines()) for v in SUITE.vectors]


@given(st.sampled_from(ALL_LISTS), st.sampled_from(["drop", "repeat", "swap", "edit", "join"]), st.data())
@settings(max_examples=400)
def test_no_changed_list_passes(case, kind, data):
    vector, lines = case
    changed = list(lines)
    at = data.draw(st.integers(0, len(lines) - 1))
    if kind == "drop":
        del changed[at]
    elif kind == "repeat":
        changed.insert(at, changed[at])
    elif kind == "swap":
        other = data.draw(st.integers(0, len(lines) - 1))
        changed[at], changed[other] = changed[other], changed[at]
    elif kind == "edit":
        column = data.draw(st.integers(0, len(lines[at]) - 1))
        changed[at] = lines[at][:column] + data.draw(st.characters(codec="ascii")) + lines[at][column + 1:]
    else:
        changed[at : at + 2] = [" ".join(changed[at : at + 2])]
    same = changed == lines or (changed[:-1] == lines[:-1] and lines[-1].startswith("error")
                                and changed[-1].split()[:2] == lines[-1].split()[:2])
    verdict = runner.judge(vector, changed).verdict
    if changed == lines:
        assert verdict == Verdict.PASS
    elif not same:  # the requirement of an error line is not judged
        assert verdict != Verdict.PASS


@pytest.mark.parametrize("vector", [VALID, BAD_LATE], ids=lambda v: v.name)
def test_every_other_vectors_list_fails(vector):
    for other, lines in ALL_LISTS:
        if lines != vector.expected_lines():
            assert runner.judge(vector, lines).verdict != Verdict.PASS, other.name


def test_requirement_may_be_left_out():
    lines = BAD_LATE.expected_lines()
    lines[-1] = lines[-1].rsplit(" ", 1)[0]
    assert runner.judge(BAD_LATE, lines).verdict == Verdict.PASS


def test_right_code_after_too_few_frames_fails():
    lines = BAD_LATE.expected_lines()
    assert runner.judge(BAD_LATE, [lines[0], lines[-1]]).verdict == Verdict.MISMATCH


def test_interrupted_vectors_are_not_run(decoder):
    def interrupt(_):
        raise KeyboardInterrupt

    results = runner.run(decoder("time.sleep(0.5)"), CHOSEN, jobs=1, on_result=interrupt)
    assert [r.verdict for r in results][1:] == [Verdict.NOT_RUN] * 2


def test_reports(decoder, tmp_path):
    judged = decoder("lines = lines if len(lines) > 2 else ['rfv-digests 1', 'unsupported\\tno']")
    results = runner.run(judged, CHOSEN)
    report = reports.to_dict(SUITE, judged, results)
    assert json.loads(json.dumps(report)) == report
    assert report["passed"] == 2 and report["verdicts"]["crash"] == 1 and report["vectors"] == 3
    assert sum(report["verdicts"].values()) == 3 and set(report["verdicts"]) == {str(v) for v in Verdict}
    container = next(f for f in report["features"] if f["name"] == "container")
    assert (container["passed"], container["vectors"]) == (1, 2)
    suite = ET.fromstring(reports.to_junit(SUITE, results))
    assert suite.attrib | {"time": ""} == {"name": SUITE.name, "tests": "3", "failures": "0", "errors": "1",
                                           "skipped": "0", "time": ""}
    assert [c.find("error") is not None for c in suite] == [False, False, True]
    text = reports.to_markdown(SUITE, judged, results)
    assert "2 of 3 vectors passed" in text and "malformed/text-mode | crash" in text


def test_only_pass_counts_as_pass():
    results = [runner.Result(VALID, verdict) for verdict in Verdict]
    assert reports.to_dict(SUITE, Decoder("true {input} {output}"), results)["passed"] == 1
    suite = ET.fromstring(reports.to_junit(SUITE, results))
    assert int(suite.get("failures")) + int(suite.get("errors")) == len(Verdict) - 1


def invoke(*arguments):
    return CliRunner().invoke(conformance_group, [str(a) for a in arguments], standalone_mode=False)


def test_command_line(decoder, tmp_path):
    paths = [tmp_path / n for n in ("a.json", "a.xml", "a.md")]
    outputs = ("--json", paths[0], "--junit", paths[1], "--markdown", paths[2])
    chosen = [part for v in CHOSEN for part in ("--only", v.name)]
    done = invoke("run", "--decoder", decoder().command, *chosen, *outputs)
    assert done.return_value == 0 and done.output.endswith("3 of 3 vectors passed\n")
    assert json.loads(paths[0].read_text())["passed"] == 3
    assert ET.parse(paths[1]).getroot().get("tests") == "3" and "3 of 3" in paths[2].read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.md", "a.xml", "decoder.py"]
    assert invoke("run", "--decoder", decoder("lines.pop()").command, *chosen, "--quiet").return_value == 2
    listed = invoke("list", "--feature", "escapes", "--kind", "valid")
    assert "valid/escape-largest" in listed.output and "valid/minimal" not in listed.output


@pytest.mark.parametrize("arguments, said", [
    (("--decoder", "true {input}"), "{output}"),
    (("--decoder", "true {output}"), "{input}"),
    (("--decoder", "no-such-program {input} {output}"), "no-such-program"),
    (("--decoder", "'true {input} {output}"), "quotation"),
    (("--decoder", "true {input} {output}", "--only", "nothing-like-it"), "no vector"),
    (("--decoder", "true {input} {output}", "--feature", "colour"), "unknown feature"),
    (("--decoder", "true {input} {output}", "--suite", "/nowhere"), "/nowhere"),
    (("--decoder", "true {input} {output}", "--json", "/nowhere/a.json"), "no such folder"),
])
def test_usage_errors(arguments, said):
    error = invoke("run", *arguments).exception
    assert isinstance(error, UsageError) and said in str(error)


def test_damaged_suites_are_refused(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(UsageError, match="not a manifest"):
        runner.load_suite(tmp_path)
    vector = dict(path="vectors/valid/a", name="a", kind="valid", description="", features=[],
                  requirement=None, code=None)
    (tmp_path / "manifest.json").write_text(json.dumps(dict(suite="s", version="1", features={}, vectors=[vector])))
    with pytest.raises(UsageError, match="incomplete"):
        runner.load_suite(tmp_path)


def test_runner_needs_neither_numpy_nor_torch():
    import subprocess

    source = ("import sys; sys.modules['numpy'] = sys.modules['torch'] = None; "
              "import refcodec.conformance.cli, refcodec.conformance.runner, refcodec.conformance.reports")
    subprocess.run([sys.executable, "-c", source], check=True, cwd=ROOT)


def test_results_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        runner.Result(VALID, Verdict.CRASH).verdict = Verdict.PASS
