"""`refcodec validate`."""
from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..errors import EXIT_NOT_CONFORMING, EXIT_OK, BitstreamError, UsageError
from .common import (
    FileCommand,
    InputPath,
    calm_threads,
    examples,
    limit_options,
    limits,
    printable,
    standard_input,
    to_json,
)

if TYPE_CHECKING:
    from ..validation import Finding


@click.command("validate", cls=FileCommand, epilog=examples(
    "refcodec validate *.rfv",
    "refcodec validate fox.rfv --json",
    "refcodec validate --explain R-UNIT-03"))
@click.argument("files", nargs=-1, type=InputPath(allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="Machine-readable (schemas/validate.schema.json).")
@click.option("--explain", metavar="CODE",
              help="Explain an error code, requirement or remark (E0203, R-UNIT-03, W001).")
@limit_options
@click.option("--quiet", is_flag=True, help="Only the verdict of each file.")
def command(files: Sequence[str], as_json: bool, explain: str | None, limit_elements: int | None, limit_voxels: int |
            None, limit_steps: int | None, quiet: bool) -> int:
    """Check FILES (- for a pipe) against the specification and report every violation.

    Exit codes: 0 all conform, 1 a file can't be read, 2 a file does not conform,
    or goes beyond the limits given, 3 defect in refcodec; the highest that occurs.
    """
    calm_threads()
    from .. import validation

    if explain is not None:
        click.echo(validation.explain(explain))
        return EXIT_OK
    if not files:
        raise click.UsageError("Missing argument 'FILES...'.")
    code, entries = EXIT_OK, list[dict[str, object]]()
    bounds = limits(limit_elements, limit_voxels, limit_steps)
    for file in files:
        try:
            report = validation.validate(standard_input() if file == "-" else file, bounds)
        except (UsageError, BitstreamError) as e:  # of these, R-LIM-01 alone
            code = max(code, e.exit_code)
            entries.append(dict(path=file, failure=str(e)))
            if not as_json:
                click.echo(f"refcodec: error: {e}", err=True)
            continue
        if not report.conforming:
            code = max(code, EXIT_NOT_CONFORMING)
        entries.append(report.to_dict())
        if not as_json:
            if not quiet:
                for finding in report.findings:
                    _show(finding)
            click.echo(f"{printable(file)}: {report.verdict()}")
    if as_json:
        click.echo(to_json(validation.json_report(entries)))
    return code


def _show(f: Finding) -> None:
    where = [] if f.frame is None else [f"frame {f.frame}"]
    if f.offset is not None:
        where.append(f"byte {f.offset}")
    if f.element:
        where.append(f.element)
    rule = f"{f.requirement}, section {f.section}" if f.requirement else f"section {f.section}"
    click.echo(f"{f.severity} {f.code} {f.name}" + (f" at {', '.join(where)}" if where else ""))
    click.echo(f"    {printable(f.message)} ({rule})")
    if f.severity != "info":
        click.echo(f"    likely cause: {f.cause}")
