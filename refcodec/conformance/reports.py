"""Results of a conformance run as JSON, JUnit XML and Markdown."""
from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .. import __version__
from .runner import Decoder, Result, Suite, Verdict

_PROBLEMS_SHOWN = 40


def totals(results: Sequence[Result]) -> dict[str, int]:
    """Number of vectors with each verdict; verdicts in their order of declaration."""
    counted = Counter(r.verdict for r in results)
    return {str(v): counted[v] for v in Verdict}


def by_feature(suite: Suite, results: Sequence[Result]) -> list[tuple[str, str, int, int]]:
    """(feature, what it covers, vectors passed, vectors) in the suite's order, those without vectors left out."""
    rows = []
    for feature, text in suite.features.items():
        concerned = [r for r in results if feature in r.vector.features]
        if concerned:
            rows.append((feature, text, sum(r.verdict == Verdict.PASS for r in concerned), len(concerned)))
    return rows


def to_dict(suite: Suite, decoder: Decoder, results: Sequence[Result]) -> dict[str, Any]:
    """The JSON report."""
    return dict(
        report="rfv-conformance 1", refcodec=__version__,
        suite=dict(name=suite.name, version=suite.version, vectors=len(suite.vectors)),
        decoder=decoder.command, timeout=decoder.timeout, memory_mb=decoder.memory_mb,
        passed=sum(r.verdict == Verdict.PASS for r in results), vectors=len(results), verdicts=totals(results),
        features=[dict(name=n, description=d, passed=p, vectors=v) for n, d, p, v in by_feature(suite, results)],
        results=[r.to_dict() for r in results])


def to_junit(suite: Suite, results: Sequence[Result]) -> bytes:
    """A JUnit report: crashes, timeouts and vectors not run are errors, other verdicts failures."""
    errors = (Verdict.CRASH, Verdict.TIMEOUT, Verdict.NOT_RUN)
    failed = sum(r.verdict != Verdict.PASS and r.verdict not in errors for r in results)
    root = ET.Element("testsuite", name=suite.name, tests=str(len(results)), failures=str(failed),
                      errors=str(sum(r.verdict in errors for r in results)), skipped="0",
                      time=f"{sum(r.seconds for r in results):.3f}")
    for r in results:
        case = ET.SubElement(root, "testcase", classname=f"{suite.name}.{r.vector.kind}", name=r.vector.name,
                             time=f"{r.seconds:.3f}")
        if r.verdict != Verdict.PASS:
            element = ET.SubElement(case, "error" if r.verdict in errors else "failure", type=str(r.verdict),
                                    message=r.detail)
            element.text = r.vector.description
    ET.indent(root)
    document: bytes = ET.tostring(root, "utf-8", xml_declaration=True)
    return document + b"\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def to_markdown(suite: Suite, decoder: Decoder, results: Sequence[Result]) -> str:
    """A summary for people: totals, progress by feature, the first problems."""
    passed = sum(r.verdict == Verdict.PASS for r in results)
    lines = [f"# Conformance: {passed} of {len(results)} vectors passed", "",
             f"{suite.name} {suite.version}; decoder `{decoder.command}`", "",
             "| verdict | vectors |", "|---|---|"]
    lines += [f"| {verdict} | {count} |" for verdict, count in totals(results).items() if count]
    lines += ["", "| feature | passed | of | | covers |", "|---|---|---|---|---|"]
    for feature, text, good, count in by_feature(suite, results):
        bar = "█" * (10 * good // count)
        lines.append(f"| {feature} | {good} | {count} | {bar:░<10} | {_cell(text)} |")
    problems = [r for r in results if r.verdict != Verdict.PASS]
    if problems:
        lines += ["", "| vector | verdict | detail | exercises |", "|---|---|---|---|"]
        lines += [f"| {r.vector.kind}/{r.vector.name} | {r.verdict} | {_cell(r.detail)} "
                  f"| {_cell(r.vector.description)} |"
                  for r in problems[:_PROBLEMS_SHOWN]]
        if len(problems) > _PROBLEMS_SHOWN:
            lines += ["", f"… and {len(problems) - _PROBLEMS_SHOWN} more; the JSON report has all."]
    return "\n".join(lines) + "\n"
