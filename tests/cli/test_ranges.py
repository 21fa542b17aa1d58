"""What is out of range, misspelt or closed is one line and exit code 1, before any work is done."""
from __future__ import annotations

import dataclasses
import importlib.util
import io
import json
import math
import os
import subprocess
import sys

import click
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st

from checkout import ROOT
from command_line import ALL
from refcodec.cli import COMMANDS, cli
from refcodec.entropy import coder
from refcodec.entropy.models import wavefronts
from refcodec.errors import UsageError
from refcodec.text import to_json
from synthetic import context_model, small_stream, write_dataset

STREAM = small_stream()
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="not here: torch")


def run(*args):
    return CliRunner().invoke(cli, [str(a) for a in args])


def program(*args, **options):
    return subprocess.run([sys.executable, "-m", "refcodec", *map(str, args)], cwd=ROOT, stderr=subprocess.PIPE,
                          **options)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.rfv"
    path.write_bytes(STREAM)
    return path


# Numbers.


def numbers():
    for path, command in ALL.items():
        for p in command.params:
            if isinstance(p.type, click.types.FloatParamType):
                yield pytest.param(path, p, id=" ".join((*path, p.name)))


@pytest.mark.parametrize("path, parameter", list(numbers()))
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_numbers_are_finite(path, parameter, value):
    with pytest.raises(click.UsageError):
        parameter.type_cast_value(click.Context(ALL[path]), (value,) * parameter.nargs if parameter.nargs > 1 else
                                  (value,) if parameter.multiple else value)


@needs_torch
def test_every_number_among_the_settings_has_a_range():
    from refcodec.encoder.presets import _RANGES, PRESETS, TrainingSettings, changed

    defaults = TrainingSettings()
    members = [f.name for f in dataclasses.fields(defaults) if not isinstance(getattr(defaults, f.name), bool)]
    assert sorted(members) == sorted(_RANGES)
    for name, (low, high) in _RANGES.items():
        assert getattr(changed(defaults, {name: low}), name) == low
        for value in (low - 1, high * 2 + 1, *([math.nan, math.inf] if isinstance(getattr(defaults, name), float) else
                                              [])):
            for wanted in (value, str(value)):
                with pytest.raises(UsageError, match=f"{name} is "):
                    changed(defaults, {name: wanted})
    for preset in PRESETS.values():
        for representation in preset.sizes:
            changed(preset.training_of(representation), dataclasses.asdict(preset.training_of(representation)))


@needs_torch
@pytest.mark.parametrize("command", ["encode", "evaluate"])
def test_settings_are_checked_together_before_anything_is_read(command, tmp_path):
    result = run(command, tmp_path / "nowhere", tmp_path / "out", "--set", "rays=-5", "--set", "dead_zone=0.7",
                 "--set", "residul_weight=1", "--set", "activities=maybe")
    assert result.exit_code == 1 and result.stderr.count("\n") == 1
    for part in ("rays is -5; it goes from 1 to", "dead_zone is 0.7", "did you mean residual_weight?", "activities is"):
        assert part in result.stderr, result.stderr
    assert not list(tmp_path.iterdir())


@needs_torch
def test_pictures_keep_a_pixel(tmp_path):
    data = write_dataset(tmp_path / "data", frames=1)
    for value, said in (("4000", "is not in the range"), ("40", "has no pixel left")):
        result = run("encode", data, tmp_path / "o.rfv", "--preset", "micro", "--downscale", value)
        assert result.exit_code == 1 and said in result.stderr, result.output
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_pictures_and_samples_beyond_the_limits(file, tmp_path):
    out = tmp_path / "out"
    done = run("render", file, out, "--size", "40x30", "--frames", "0", "--backend", "numpy")
    assert done.exit_code == 0
    before = sorted(out.iterdir())
    for more, said in ((["--size", "16384x16384"], "has 268435456 pixels; the limit is 33554432"),
                       (["--size", "40x30", "--limit-pixels", "1199"], "--limit-pixels"),
                       (["--size", "40x30", "--limit-samples", "1200"], "samples along its rays; the limit is 1200"),
                       (["--path", "orbit", "--limit-pixels", "5"], "--limit-pixels")):
        result = run("render", file, out, "--frames", "0", "--force", *more)
        assert result.exit_code == 1 and said in result.stderr, result.output
        assert result.stderr.count("\n") == 1 and sorted(out.iterdir()) == before
    assert run("render", file, out, "--size", "40x30", "--frames", "0", "--limit-pixels", "1200", "--force",
               "--backend", "numpy").exit_code == 0


@pytest.mark.parametrize("command", ["decode", "validate", "repair", "repair --decode", "recode"])
def test_limits(file, tmp_path, command):
    command, *options = command.split()
    more = {"decode": ["-", "--digests-only"], "validate": [], "repair": [tmp_path / "whole.rfv", "--force"],
            "recode": [tmp_path / "smaller.rfv", "--force", "--iterations", "4"]}[command]
    for option, enough, short in (("--limit-elements", 816, 815), ("--limit-voxels", 120, 119),
                                  ("--limit-steps", 1 << 20, 3)):
        if command != "recode" or option == "--limit-steps":  # takes long
            assert run(command, file, *more, *options, option, enough).exit_code == 0
        written = {p: p.read_bytes() for p in tmp_path.iterdir()}
        result = run(command, file, *more, *options, option, short)
        assert result.exit_code == 2 and "E1301" in result.stderr and "error" in result.stderr
        assert {p: p.read_bytes() for p in tmp_path.iterdir()} == written


@settings(max_examples=60)
@given(st.integers(0, 99), st.tuples(st.integers(1, 3), *[st.integers(1, 6)] * 3), st.tuples(*[st.integers(0, 3)] * 4))
def test_wavefronts_are_bounded(seed, shape, scan):
    model = context_model(np.random.default_rng(seed), scan=scan, template=())
    keys = sum(w * i for w, i in zip(scan, np.indices(shape)))
    found = len(coder._by_key(keys.reshape(-1).astype(np.uint16)))
    assert found <= wavefronts(model, shape) <= max(found, int(keys.max()) + 1)


# Names.


@pytest.mark.parametrize("arguments, said", [
    (["dekode", "a", "b"], "No such command 'dekode'; did you mean decode"),
    (["encode", "d", "o", "--system", "rate-awre"], "did you mean rate-aware?"),
    (["encode", "d", "o", "--preset", "tinny"], "did you mean tiny?"),
    (["encode", "d", "o", "--representation", "triplan"], "did you mean triplane?"),
    (["encode", "d", "o", "--set", "rayz=3"], "did you mean rays?"),
])
def test_suggestions(arguments, said):
    if arguments[0] != "dekode":
        pytest.importorskip("torch", reason="not here: torch")
    result = run(*arguments)
    assert result.exit_code == 1 and said in result.stderr, result.output


def test_what_is_like_nothing_gets_no_suggestion():
    result = run("qqqqqq")
    assert result.exit_code == 1 and "did you mean" not in result.stderr and "No such command" in result.stderr
    assert all(run(name, "--help").exit_code == 0 for name in COMMANDS)


# What could steer a terminal.


@given(st.recursive(st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x), max_leaves=9))
def test_json_keeps_its_value(value):
    assert json.loads(to_json(value)) == value


def test_json_shows_no_control_and_no_direction():
    hostile = [*range(32), *range(0x7F, 0xA0), 0x61C, *range(0x200B, 0x2010), *range(0x2028, 0x202F),
               *range(0x2066, 0x206A), 0xFEFF, 0xDCE4, 0xE0041]
    text = "".join(map(chr, hostile))
    written = to_json({text: [text]}, None)
    assert written.isascii() and written.isprintable() and json.loads(written) == {text: [text]}
    assert to_json("é写🦊") == '"é写🦊"'  # text stays text


@pytest.mark.parametrize("command", ["inspect", "validate"])
def test_reports_of_hostile_metadata_and_names(command, tmp_path):
    import struct
    import zlib

    from refcodec.syntax.registry import UnitType
    from refcodec.syntax.units import build_unit
    from refcodec.writer import build_metadata

    hostile = "\x1b[2J\x9b31m\u202ereversed\u2066"
    at = STREAM.index(b"synthetic")
    start = STREAM.rindex(struct.pack("<B", UnitType.METADATA), 0, at - 6)
    while not (size := struct.unpack_from("<I", STREAM, start + 2)[0]) or zlib.crc32(
            STREAM[start:start + 6 + size]) != struct.unpack_from("<I", STREAM, start + 6 + size)[0]:
        start = STREAM.rindex(struct.pack("<B", UnitType.METADATA), 0, start)
    data = STREAM[:start] + build_unit(UnitType.METADATA, build_metadata({"title": hostile})) + STREAM[
        start + 10 + size:]
    path = tmp_path / "new\u202e\nline.rfv"
    path.write_bytes(data)
    result = run(command, path, "--json")
    assert all(c.isprintable() or c == "\n" for c in result.output), result.output
    if command == "inspect":
        assert json.loads(result.stdout)["metadata"] == {"title": hostile}


# Standard streams.


def closed(number):
    return lambda: os.close(number)


@pytest.mark.parametrize("arguments", [["inspect"], ["inspect", "--json"], ["validate"],
                                       ["cut", "-", "--frames", "0:9"], ["decode", "-", "--digests-only"]],
                         ids=" ".join)
def test_standard_output_closed_or_full(arguments, file):
    command = [arguments[0], file, *arguments[1:]]
    done = program(*command, preexec_fn=closed(1))
    assert done.returncode == 1 and done.stderr == b"refcodec: error: standard output is closed\n"
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            done = program(*command, stdout=full)
        assert done.returncode == 1 and done.stderr.count(b"\n") == 1 and b"No space" in done.stderr, done.stderr


def test_standard_input_and_error_closed(file, tmp_path):
    done = program("decode", "-", tmp_path / "o", preexec_fn=closed(0))
    assert done.returncode == 1 and b"standard input is closed" in done.stderr and not (tmp_path / "o").exists()
    assert program("inspect", file, stdout=subprocess.PIPE, preexec_fn=closed(0)).returncode == 0
    for number in (0, 1, 2):  # no file that is written may become one of them
        out = tmp_path / f"o{number}.rfv"
        done = subprocess.run([sys.executable, "-m", "refcodec", "cut", str(file), str(out), "--frames", "0:9"],
                              cwd=ROOT, preexec_fn=closed(number))
        assert done.returncode == 0 and out.read_bytes() == STREAM


# Pipes.


@pytest.mark.parametrize("arguments", [["validate", "-"], ["repair", "-", "OUT"], ["concat", "-", "OUT"],
                                       ["render", "-", "OUT"], ["view", "-", "--export", "OUT"],
                                       ["decode", "-", "OUT", "--salvage"], ["decode", "-", "OUT", "--scene", "0"]],
                         ids=" ".join)
def test_what_is_no_stream_is_not_read_on(arguments, tmp_path):
    """A pipe that never ends: only a command that looks at the beginning ends."""
    out = tmp_path / "out"
    producer = subprocess.Popen([sys.executable, "-c", "import sys\nwhile True: sys.stdout.buffer.write(bytes(65536))"],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        done = subprocess.run([sys.executable, "-m", "refcodec", *(str(out) if a == "OUT" else a for a in arguments)],
                              cwd=ROOT, stdin=producer.stdout, capture_output=True, timeout=60)
    finally:
        producer.kill()
        producer.stdout.close()
        producer.wait()
    assert done.returncode == 2 and b"E0101" in done.stdout + done.stderr, done
    assert not out.exists()


def test_a_pipe_brings_no_more_than_is_kept(monkeypatch, tmp_path):
    from refcodec import sources
    from refcodec.commands import common

    monkeypatch.setattr(sources, "SPOOL_LIMIT", len(STREAM))
    monkeypatch.setattr(common, "_regular", lambda file: False)
    for data, code in ((STREAM, 0), (STREAM + b"x", 1)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        if code:
            with pytest.raises(UsageError, match="through the pipe"):
                common.stored_input("-")
        else:
            assert common.stored_input("-").read() == data
