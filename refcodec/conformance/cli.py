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
    "refcodec conformance run --decoder 'mydecoder {input} {output}'",
    "refcodec conformance run --renderer 'myrenderer {input} {frame} {camera} {output}'"))
def conformance_group() -> None:
    """Test a decoder or a renderer, in any language, against the conformance suite."""


@conformance_group.command("run", cls=FileCommand, epilog=examples(
    "refcodec conformance run --decoder 'mydecoder {input} {output}' --only 'scan-*'",
    "refcodec conformance run --decoder 'refcodec decode --digests-only {input} {output}' --kind valid "
    "--json report.json"))
@click.option("--decoder", metavar="COMMAND",
              help="Command line with {input} and {output}, for instance 'mydecoder {input} {output}'.")
@click.option("--renderer", metavar="COMMAND",
              help="Instead: command line with {input}, {frame}, {camera} and {output}, judged by the render vectors.")
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
def run_command(decoder: str | None, renderer: str | None, suite: str | None, only: Sequence[str],
                feature: Sequence[str], kind: Sequence[str], jobs: int, timeout: float, memory_mb: int,
                json_path: str | None, junit_path: str | None, markdown_path: str | None, quiet: bool) -> int:
    """Run a decoder, or a renderer, over the suite and report every vector's verdict.

    Exit code 0 when all vectors pass, 2 when not.
    """
    from ..commands.common import progress_bar
    from . import renders, reports, runner

    judged: runner.Decoder
    if decoder is not None and renderer is None:
        loaded = runner.load_suite(suite or runner.find_suite())
        judged = runner.Decoder(decoder, timeout, memory_mb or None)
    elif renderer is not None and decoder is None:
        if kind or feature:
            raise UsageError("--kind and --feature choose vectors of decoders")
        loaded = renders.load_renders(suite or runner.find_suite())
        judged = renders.Renderer(renderer, timeout, memory_mb or None)
    else:
        raise UsageError("give either --decoder or --renderer")
    vectors = _choose(loaded, only, feature, kind)
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


@conformance_group.command("picture", cls=FileCommand, epilog=examples(
    "refcodec conformance run --renderer 'refcodec conformance picture {input} {frame} {camera} {output}'"))
@click.argument("file", type=InputPath())
@click.argument("frame", type=click.IntRange(0))
@click.argument("camera", type=click.IntRange(0))
@click.argument("out", type=OutputFile())
def picture_command(file: str, frame: int, camera: int, out: str) -> int:
    """Draw a frame as refcodec does, in the form that `run --renderer` judges.

    FRAME is its number, CAMERA a camera's place in the cameras unit. OUT gets red, green, blue, opacity and depth of
    each pixel as little-endian binary32 numbers.
    """
    from .renders import render_vector

    _write(out, render_vector(file, frame, camera))
    return EXIT_OK


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
