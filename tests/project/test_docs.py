"""The examples of README.md and docs/ run, print what they are said to print, and name what exists."""
from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys

import click
import pytest

from checkout import ROOT
from command_line import parses
from refcodec.conformance.runner import load_suite

sys.path.insert(0, str(ROOT / "docs/site"))
import console

PAGES = {path.name: path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
EXAMPLES = [n for n, p in PAGES.items() if re.search("^```(python|console)$", p.read_text("utf-8"), re.M)]
TORCH = importlib.util.find_spec("torch") is not None


def needs_torch(example: str) -> bool:
    return "encode" in example


@pytest.mark.parametrize("page", EXAMPLES)
def test_examples_print_what_the_page_says(page, tmp_path):
    text = PAGES[page].read_text("utf-8")
    assert console.fill(text, tmp_path, lambda example: TORCH or not needs_torch(example)) == text


def test_wrong_examples_are_noticed(tmp_path):
    page = "```console\n$ refcodec validate fox.rfv\nfine\n```\n\n```python\nprint(6 * 7)\n```\n\n```text\n41\n```\n"
    (tmp_path / "a").mkdir()
    filled = console.fill(page, tmp_path / "a")
    assert "fine" not in filled and "conforms to RFV" in filled and "```text\n42\n```" in filled
    (tmp_path / "b").mkdir()
    with pytest.raises(RuntimeError, match="NameError"):
        console.fill("```python\nprint(missing)\n```\n", tmp_path / "b")


@pytest.mark.parametrize("page", PAGES)
def test_examples_that_are_not_run_name_what_exists(page):
    for code in re.findall(r"<!-- not run[^>]*-->\n```python\n(.*?)^```", PAGES[page].read_text("utf-8"), re.S | re.M):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and TORCH and node.module.startswith("refcodec"):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)


def command_lines(text: str) -> list[str]:
    """Command lines of refcodec in indented and fenced blocks that are not run; alternatives and ellipses left out."""
    lines = []
    text = re.sub(r"^```(console|python|text)\n.*?^```", "", text.replace("\\\n", " "), flags=re.S | re.M)
    for line in text.splitlines():
        line = re.split(r"  +(?![^']*'$)| # ", line.strip())[0]
        if line.startswith("refcodec ") and "…" not in line and "..." not in line:
            lines.append(line)
    return lines


@pytest.mark.parametrize("page", PAGES)
def test_command_lines_have_no_mistake(page):
    for line in command_lines(PAGES[page].read_text("utf-8")):
        if re.search(r"\b(COMMAND|FILE|DATASET)\b", line):  # a synopsis
            continue
        try:
            parses(line)
        except click.UsageError as e:
            pytest.fail(f"{line}: {e.format_message()}")


def test_features_that_are_named_exist():
    features = load_suite(ROOT / "conformance").features
    for page, path in PAGES.items():
        for name in re.findall(r"--feature ([\w-]+)", path.read_text("utf-8")):
            assert name in features, page
