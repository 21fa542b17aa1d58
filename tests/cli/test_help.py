"""Help texts, their examples, their speed, and completion in the shells that click supports."""
from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from checkout import ROOT
from command_line import ALL, parses
from refcodec.cli import COMMANDS, cli


@pytest.mark.parametrize("path", ALL, ids=lambda p: " ".join(p) or "refcodec")
def test_help_has_examples_that_parse(path):
    shown = CliRunner().invoke(cli, [*path, "--help"], terminal_width=200)
    assert shown.exit_code == 0
    examples = [line.strip() for line in shown.output.partition("Examples:\n")[2].splitlines()]
    assert examples and all(line.startswith(" ".join(("refcodec", *path[:1]))) for line in examples)
    for line in examples:
        if "COMMAND" not in line:
            parses(line)


def test_mistaken_examples_would_be_noticed():
    for line in ("refcodec decode", "refcodec decode a b --frame 3", "refcodec benchmark systems d",
                 "refcodec dekode a b",
                 "refcodec conformance run --only"):
        with pytest.raises(click.UsageError):
            parses(line)


def test_one_line_of_help_for_every_command():
    for name, text in COMMANDS.items():
        assert text.endswith(".") and ALL[(name,)].help


def test_help_is_fast_and_loads_no_command():
    code = ("import sys; sys.argv = ['refcodec', '--help']\n"
            "from refcodec.cli import main\n"
            "try: main()\n"
            "except SystemExit: print(sorted(n for n in sys.modules if n.partition('.')[0] in"
            " ('numpy', 'torch', 'construct', 'rich') or n.startswith('refcodec.')))")
    used = []
    for _ in range(3):
        before = os.times()
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
        after = os.times()  # of the processor: the machine may be busy
        used.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert done.stdout.splitlines()[-1] == "['refcodec.cli', 'refcodec.errors', 'refcodec.text']"
    assert min(used) < 0.4  # 0.1 s where nothing else runs


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_needs_neither_numpy_nor_torch(name):
    code = (f"import sys; sys.argv = ['refcodec', {name!r}, '--help']\n"
            "from refcodec.cli import main\n"
            "try: main()\n"
            "except SystemExit: print([n for n in ('numpy', 'torch') if n in sys.modules])")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture(scope="module")
def programs(tmp_path_factory) -> dict[str, str]:
    """An environment in which `refcodec` is on the path."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "refcodec"
    program.write_text(f"#!/bin/sh\nexport PYTHONPATH={shlex.quote(str(ROOT))}\n"
                       f"exec {shlex.quote(sys.executable)} -m refcodec \"$@\"\n")
    program.chmod(0o755)
    (folder / "here").mkdir()
    (folder / "here" / "film.rfv").touch()
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder), "HERE": str(folder / "here")}


# What each shell is asked for completions of "$1"; one a line. The scripts are those of docs/cli.md.
SHELLS = {
    "bash": ["bash", "--norc", "-c", '''
eval "$(_REFCODEC_COMPLETE=bash_source refcodec)"
complete -p refcodec >/dev/null || exit 1
compopt() { compgen -f -- "${COMP_WORDS[COMP_CWORD]}"; }
read -ra COMP_WORDS <<< "$1"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_refcodec_completion refcodec
printf '%s\\n' "${COMPREPLY[@]}"''', "bash"],
    "zsh": ["zsh", "-f", "-c", '''
compdef() { registered=$1; }
eval "$(_REFCODEC_COMPLETE=zsh_source refcodec)"
[[ $registered == _refcodec_completion ]] || exit 1
_describe() { print -rl -- ${completions_with_descriptions%%:*}; }
compadd() { print -rl -- $completions; }
_path_files() { print -rl -- ${words[CURRENT]}*(N); }
words=(${=1}); CURRENT=${#words}
_refcodec_completion''', "zsh"],
    "fish": ["fish", "--no-config", "-c", '''
_REFCODEC_COMPLETE=fish_source refcodec | source
complete -C "$argv[1]" | string split -f 1 (printf "\\t")'''],
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("line, expected", [
    ("refcodec en", ["encode", "encode-scenes"]),
    ("refcodec decode --di", ["--digests-only"]),
    ("refcodec encode --transform d", ["dct", "dwt"]),
    ("refcodec conformance r", ["run"]),
    ("refcodec inspect fil", ["film.rfv"]),
])
def test_shells_complete(shell, line, expected, programs):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([*SHELLS[shell], line], env=programs, cwd=programs["HERE"], capture_output=True, text=True,
                          timeout=60)
    assert sorted(filter(None, done.stdout.splitlines())) == expected, done.stderr


def test_completion_is_documented():
    text = (ROOT / "docs/cli.md").read_text("utf-8")
    for shell in SHELLS:
        assert re.search(rf"_REFCODEC_COMPLETE={shell}_source refcodec", text)
