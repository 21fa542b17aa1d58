"""The documentation site: it builds without a warning, every link leads somewhere, anchors are permanent."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from checkout import ROOT
from refcodec.requirements import ERROR_CODES, REQUIREMENTS
from refcodec.syntax import structures
from refcodec.syntax.declare import Structure

for package in ("sphinx", "myst_parser", "furo", "sphinx_click", "click_man"):
    pytest.importorskip(package, reason=f'{package} is missing: pip install ".[docs]"')

REGISTER = "spec/11-errors.html"


class Document(HTMLParser):
    """Identifiers, links (with their text) and what a page loads."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.loads: list[str] = []
        self._open: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if values.get("id"):
            self.ids.append(values["id"])
        if tag == "a" and "href" in values:
            self._open.append([values["href"], ""])
        if tag in ("script", "img", "source", "iframe") and values.get("src"):
            self.loads.append(values["src"])
        if tag == "link" and values.get("rel") not in ("search", "canonical"):
            self.loads.append(values["href"])

    def handle_data(self, data):
        for link in self._open:
            link[1] += data

    def handle_endtag(self, tag):
        if tag == "a" and self._open:
            self.links.append(tuple(self._open.pop()))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-c", "docs/site", "-d", str(folder / "trees"), ".",
               str(folder / "html")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site) -> dict[str, Document]:
    return {path.relative_to(site).as_posix(): Document(path.read_text("utf-8")) for path in site.rglob("*.html")}


def test_every_text_is_a_page(pages):
    expected = {path.relative_to(ROOT).with_suffix(".html").as_posix()
                for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "spec").glob("*.md"))}
    assert expected <= set(pages)


def test_every_link_leads_somewhere(site, pages):
    broken = []
    for name, page in pages.items():
        for href in [href for href, _ in page.links] + page.loads:
            parts = urlsplit(href)
            if parts.scheme or href.startswith("data:"):
                continue
            path = (site / name).parent / unquote(parts.path) if parts.path else site / name
            target = path.resolve()
            if not target.exists():
                broken.append(f"{name}: {href}")
            elif parts.fragment and target.suffix == ".html":
                if unquote(parts.fragment) not in pages[target.relative_to(site.resolve()).as_posix()].ids:
                    broken.append(f"{name}: {href}")
    assert broken == []


def test_nothing_is_fetched_from_elsewhere(pages):
    assert [(name, url) for name, page in pages.items() for url in page.loads if urlsplit(url).netloc] == []


def test_anchors_are_unique(pages):
    for name, page in pages.items():
        assert {i for i in page.ids if page.ids.count(i) > 1} == set(), name


@pytest.mark.parametrize("rule", REQUIREMENTS.values(), ids=lambda r: r.id)
def test_requirement_has_permanent_anchors(pages, rule):
    """In the register, and where its section states it in bold."""
    assert rule.id in pages[REGISTER].ids
    chapter = rule.section.split(".")[0]
    pattern = f"{int(chapter):02d}-*.md" if chapter.isdigit() else f"annex-{chapter.lower()}-*.md"
    source = next((ROOT / "spec").glob(pattern))
    if f"**{rule.id}**" in source.read_text("utf-8"):
        assert rule.id in pages[f"spec/{source.stem}.html"].ids


def test_requirements_of_renderers_have_permanent_anchors(pages):
    for stem in ("08-field-evaluation", "09-rendering"):
        stated = re.findall(r"\*\*(R-(?:FLD|RND)-\d\d)\*\*", (ROOT / f"spec/{stem}.md").read_text("utf-8"))
        assert stated and set(stated) <= set(pages[f"spec/{stem}.html"].ids)


def test_every_mention_of_a_requirement_or_code_is_a_link_to_it(pages):
    linked = 0
    for name, page in pages.items():
        for href, text in page.links:
            if re.fullmatch(r"R-[A-Z]+-\d\d|E\d{4}", text) and "genindex" not in name:
                assert urlsplit(href).fragment == text, f"{name}: {text}"
                linked += 1
    assert linked > 350
    assert {c for c in ERROR_CODES} <= set(pages[REGISTER].ids)


def test_sections_have_permanent_anchors(pages):
    for path in sorted((ROOT / "spec").glob("*.md")):
        ids = pages[f"spec/{path.stem}.html"].ids
        text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.S | re.M)
        for annex, number in re.findall(r"^#+ (Annex )?([A-F\d]+(?:\.\d+)*) ", text, re.M):
            assert f"{'annex' if annex else 'section'}-{number}" in ids, path.name


def test_syntax_elements_have_permanent_anchors(pages):
    ids = pages["spec/04-syntax.html"].ids
    for structure in [s for s in vars(structures).values() if isinstance(s, Structure)]:
        assert f"structure-{structure.name}" in ids
        for item in structure.items:
            assert f"{structure.name}.{item.element}" in ids


def test_there_is_a_manual_page_for_every_command(site):
    from refcodec.cli import COMMANDS

    found = {path.name for path in (site / "man").glob("*.1")}
    assert {"refcodec.1", *(f"refcodec-{name}.1" for name in COMMANDS)} <= found
    for name in COMMANDS:
        text = (site / "man" / f"refcodec-{name}.1").read_text("utf-8")
        assert text.startswith(".TH") and ".SH SYNOPSIS" in text
    options = (site / "man" / "refcodec-decode.1").read_text("utf-8").replace("\\-", "-")
    assert "--digests-only" in options and "--salvage" in options
