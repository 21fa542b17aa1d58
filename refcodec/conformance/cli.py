"""`refcodec conformance`."""
from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..commands.common import FileCommand, FiniteRange, InputPath, OutputFile, examples, to_json
from ..errors import EXIT_NOT_CONFORMING, EXIT_OK, UsageError
from ..files import replacing

if TYPE_CHECKING:
    from .runner import Suite, Vector

KINDS = ("valid", "malformed", "invalid", "limit")


@click.group("conformance", epilog=examples(
    "refcodec conformance list --feature escapes",
    "refcodec conformance run --decoder 'mydecoder {input} {output}'"))
def conformance_group() -> None:
    """Test a decoder, in any language, against the conformance suite."""


@conformance_group.command("run", cls=FileCommand, epilog=examples(
    "refcodec conformance run --decoder 'mydecoder {input} {output}' --only 'scan-*'",
    "refcodec conformance run --decoder 'refcodec decode --digests-only {input} {output}' --kind valid "
    "--json report.json"))
@click.option("--decoder", required=True, metavar="COMMAND",
              help="Command line with {input} and {output}, for instance 'mydecoder {input} {output}'.")
@click.option("--suite", type=InputPath(), help="Folder of the suite; by default that of the repository.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Vectors whose name matches, such as 'scan-*'.")
@click.option("--feature", multiple=True, help="Vectors that exercise this feature (see `list`).")
@click.option("--kind", multiple=True, type=click.Choice(KINDS), help="Vectors of this kind.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count() or 1, show_default="number of processors",
              help="Decoders that run at a time.")
@click.option("--timeout", type=FiniteRange(0.1, 1e6), default=60.0, show_default=True, help="Seconds for each vector.")
@click.option("--memory-mb", type=click.IntRange(0), default=4096, show_default=True,
              help="Address space for each run in MiB; 0: no limit.")
@click.option("--json", "json_path", type=OutputFile(), help="Write a JSON report here.")
@click.option("--junit", "junit_path", type=OutputFile(), help="Write a JUnit XML report here.")
@click.option("--markdown", "markdown_path", type=OutputFile(), help="Write the summary here, too.")
@click.option("--quiet", is_flag=True, help="Only the last line.")
def run_command(decoder: str, suite: str | None, only: Sequence[str], feature: Sequence[str], kind: Sequence[str],
                jobs: int, timeout: float, memory_mb: int, json_path: str | None, junit_path: str | None,
                markdown_path: str | None, quiet: bool) -> int:
    """Run a decoder over the suite and report every vector's verdict.

    Exit code 0 when all vectors pass, 2 when not.
    """
    from ..commands.common import progress_bar
    from . import reports, runner

    loaded = runner.load_suite(suite or runner.find_suite())
    vectors = _choose(loaded, only, feature, kind)
    judged = runner.Decoder(decoder, timeout, memory_mb or None)
    with progress_bar("vectors", len(vectors), quiet) as advance:
        results = runner.run(judged, vectors, jobs, lambda r: advance(1, f"{r.vector.name}: {r.verdict}"))
    summary = reports.to_markdown(loaded, judged, results)
    report = reports.to_dict(loaded, judged, results)
    if json_path:
        _write(json_path, (to_json(report, 1) + "\n").encode())
    if junit_path:
        _write(junit_path, reports.to_junit(loaded, results))
    if markdown_path:
        _write(markdown_path, summary.encode())
    if not quiet:
        click.echo(summary)
    click.echo(f"{report['passed']} of {len(results)} vectors passed")
    return EXIT_OK if report["passed"] == len(results) else EXIT_NOT_CONFORMING


@conformance_group.command("list", cls=FileCommand, epilog=examples(
    "refcodec conformance list --kind malformed"))
@click.option("--suite", type=InputPath(), help="Folder of the suite; by default that of the repository.")
@click.option("--only", multiple=True, metavar="PATTERN", help="Vectors whose name matches.")
@click.option("--feature", multiple=True, help="Vectors that exercise this feature.")
@click.option("--kind", multiple=True, type=click.Choice(KINDS), help="Vectors of this kind.")
def list_command(suite: str | None, only: Sequence[str], feature: Sequence[str], kind: Sequence[str]) -> int:
    """List the vectors: kind, name, error code, description; then the features."""
    from . import runner

    loaded = runner.load_suite(suite or runner.find_suite())
    for v in _choose(loaded, only, feature, kind):
        click.echo(f"{v.kind}/{v.name}  {v.code or '-'}  {v.description}")
    click.echo()
    for name, text in loaded.features.items():
        click.echo(f"{name}: {text}")
    return EXIT_OK


def _choose(suite: Suite, only: Sequence[str], features: Sequence[str], kinds: Sequence[str]) -> list[Vector]:
    """The vectors that meet all of the filters. Raises UsageError when none does."""
    unknown = set(features) - set(suite.features)
    if unknown:
        raise UsageError(f"unknown feature {', '.join(sorted(unknown))}; there are {', '.join(suite.features)}")
    chosen = [v for v in suite.vectors
              if (not only or any(fnmatch.fnmatchcase(v.name, pattern) for pattern in only))
              and (not features or set(features) & set(v.features)) and (not kinds or v.kind in kinds)]
    if not chosen:
        raise UsageError("no vector meets these filters")
    return chosen


def _write(path: str, data: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(data)
