"""`refcodec encode`."""
from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click

from ..encoder.systems import DEFAULT_SYSTEM, transforms
from ..errors import UsageError
from ..files import log_file
from ..syntax.structures import MAX_WAVELET_LEVELS
from .common import (
    DOWNSCALE,
    LAMBDA,
    SEED,
    FileCommand,
    FiniteRange,
    FrameRange,
    InputPath,
    KeyValue,
    OutputFile,
    Throttle,
    bounded,
    box_option,
    corners,
    examples,
    masks_option,
    outputs,
    printable,
    progress_bar,
    settings_option,
    strict_option,
    to_json,
)

if TYPE_CHECKING:
    from ..datasets import Dataset
    from ..datasets.layout import MaskOption
    from ..datasets.survey import DatasetFinding
    from ..encoder import EncodeReport, Progress

_PLAIN_SECONDS = 5.0
_LOG_SECONDS = 1.0
_WARNINGS = 3  # of one code that are shown


class Indices(click.ParamType):  # type: ignore[type-arg]  # generic in new versions only
    """`0,7,14` -> (0, 7, 14); `none` -> ()."""

    name = "N,N,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        if value == "none":
            return ()
        try:
            return tuple(int(v) for v in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of camera numbers; write 0,7,14 or none", param, ctx)


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in new versions only
    """`90`, `90s`, `5m`, `1h30m`, `0.5h` -> seconds."""

    name = "5m|90s|1h30m"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        number = r"(\d{1,9}(?:\.\d{1,9})?)"
        found = re.fullmatch(f"(?:{number}h)?(?:{number}m)?(?:{number}s?)?", value, re.ASCII)
        seconds = sum(float(n or 0) * unit for n, unit in zip(found.groups(), (3600, 60, 1))) if found else 0.0
        if not seconds:
            self.fail(f"{value!r} is no time; write 90s, 5m or 1h30m", param, ctx)
        return seconds


@click.command("encode", cls=FileCommand, epilog=examples(
    "refcodec encode demo/fox fox.rfv --frames :4 --quality 2",
    "refcodec encode capture/ out.rfv --target-kb 40 --group-size 10",
    "refcodec encode demo/fox wavelet.rfv --system masked-wavelet --representation triplane"))
@click.argument("dataset", type=InputPath())
@click.argument("out", type=OutputFile(later=True))
@click.option("--system", default=DEFAULT_SYSTEM, show_default=True,
              help="Coding tools and loss: rate-aware, dynamic-dif, masked-wavelet, ecrf or cnerf (docs/systems.md).")
@click.option("--representation", help="dif, vm, triplane, grid or mlp; by default the first that the system codes.")
@click.option("--transform", type=click.Choice(list(transforms())),
              help="Of grids and planes, in place of the system's.")
@click.option("--levels", type=click.IntRange(1, MAX_WAVELET_LEVELS), help="Of the wavelet.")
@click.option("--tensor-masks/--no-tensor-masks", "masks", default=None,
              help="Trained masks of grids and planes, in place of the system's.")
@click.option("--model", type=click.Choice(["context", "static"]),
              help="Probability model of grids and planes, in place of the system's.")
@click.option("--rdo/--no-rdo", default=None, help="Try both probability models on each tensor, keep the smaller.")
@click.option("--preset", default="tiny", show_default=True, help="Size of the field: tiny (CPU), small, paper (GPU).")
@click.option("--lambda", "lagrangian", type=LAMBDA, help="Weight of the rate against distortion.")
@click.option("--quality", type=click.IntRange(1, 4), help="In place of --lambda: 1 (small) to 4 (good).")
@click.option("--target-kb", type=FiniteRange(0, 1e9, min_open=True),
              help="Kilobytes (1000 bytes) per frame; lambda is searched.")
@click.option("--target-psnr", type=FiniteRange(0, 100, min_open=True), metavar="DB",
              help="PSNR of each frame on the held-out views, inside their masks' boxes if any; lambda is searched.")
@click.option("--time-budget", type=Duration(),
              help="5m, 90s, 1h30m: iterations are chosen to take about that long. The file then depends on time.")
@click.option("--frames", type=FrameRange(), help="The dataset's frame numbers: 7, 20:40 (40 excluded), :10, 20:.")
@click.option("--group-size", type=click.IntRange(1), default=20, show_default=True,
              help="Frames from one I-frame to the next; 1: I-frames only.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, …")
@click.option("--seed", type=SEED, default=0, show_default=True, help="Same seed, same machine: same file.")
@click.option("--intra-iterations", type=click.IntRange(1), help="Training of an I-frame, in place of the preset's.")
@click.option("--inter-iterations", type=click.IntRange(1), help="Training of a P-frame, in place of the preset's.")
@click.option("--cameras", type=click.Choice(["test", "all", "none"]), default="test", show_default=True,
              help="The cameras that the file carries.")
@click.option("--holdout", type=Indices(), help="Cameras kept out of training, in place of the dataset's; or none.")
@box_option
@masks_option
@strict_option
@click.option("--downscale", type=DOWNSCALE, default=1.0, show_default=True, help="Of the pictures.")
@click.option("--metadata", type=KeyValue(), multiple=True, help="A text that the file carries. Repeatable.")
@click.option("--no-rate-loss", is_flag=True, help="Ablation: train without the rate, code afterwards.")
@click.option("--fixed-steps", is_flag=True, help="Ablation: do not learn the quantisation step sizes.")
@click.option("--step", type=FiniteRange(0, 1e6, min_open=True),
              help="Quantisation step size of the grids at the start (throughout with --fixed-steps).")
@settings_option
@click.option("--preview", type=OutputFile(later=True), metavar="FILE.png",
              help="A view as it trains, beside the truth, renewed every few seconds.")
@click.option("--no-resume", is_flag=True, help="Discard the frames of an interrupted encode and start again.")
@click.option("--no-evaluate", is_flag=True, help="Do not measure PSNR on the held-out views.")
@click.option("--executor", type=click.Choice(["local", "processes", "dask"]), default="local", show_default=True,
              help="Where groups are encoded: here, in processes of this machine, on a cluster (docs/cluster.md).")
@click.option("--jobs", type=click.IntRange(1), help="Groups at a time, with processes or dask.")
@click.option("--scheduler", metavar="ADDRESS", help="Of dask: its address, or its scheduler file.")
@click.option("--threads", type=click.IntRange(1), help="Of torch, for each group.")
@click.option("--log-json", type=OutputFile(allow_dash=True, later=True), metavar="FILE|-",
              help="Progress as JSON, one object per line.")
@click.option("--quiet", is_flag=True, help="No notes, no progress, no summary; warnings T… all the same.")
def command(dataset: str, out: str, frames: range | None, box: tuple[float, ...] | None,
            metadata: Sequence[tuple[str, str]], settings: Sequence[tuple[str, str]], no_rate_loss: bool,
            fixed_steps: bool, no_resume: bool, no_evaluate: bool, log_json: str | None, quiet: bool,
            mask_use: MaskOption, strict: bool, **options: Any) -> None:
    """Train and code DATASET (docs/datasets.md) into the RFV file OUT.

    OUT appears when it is complete and has been decoded to the same tensors. An
    interrupted encode goes on where it was when the same command is given again.
    """
    from ..datasets import load_dataset
    from ..encoder import EncodeOptions, encode, require_torch  # before torch, whose threads it sets up

    require_torch()

    from ..encoder.gop import check_options, is_begun, is_finished

    aabb = corners(box)
    chosen = EncodeOptions(aabb=aabb, metadata=dict(metadata), settings=dict(settings),
                           rate_loss=not no_rate_loss,
                           learn_steps=not fixed_steps, resume=not no_resume, evaluate=not no_evaluate, **options)
    check_options(chosen)
    frames = bounded(dataset, frames)
    loaded = load_dataset(dataset, frames=frames, holdout=options["holdout"], aabb=aabb, masks=mask_use)
    chosen = dataclasses.replace(chosen, frames=frames)
    if outputs().exists(out):
        if not outputs().force and is_finished(loaded, out, chosen):
            if not quiet:
                click.echo(f"{printable(out)} is the result of this encode already; --force makes it again", err=True)
            return
        outputs().may_replace(out)
    if chosen.preview is not None and outputs().exists(chosen.preview) and (no_resume or not is_begun(out)):
        outputs().may_replace(chosen.preview)
    findings = warn(loaded, strict, quiet)
    with contextlib.ExitStack() as stack:
        log, on_progress = progress_sinks(stack, log_json, quiet, not no_resume and is_begun(out))
        if log:
            log.write("dataset", dict(layout=loaded.layout, frames=len(loaded.frames),
                                      assumptions=loaded.assumptions,
                                      warnings=[{"code": f.code, "message": f.message} for f in findings]))
        report = encode(loaded, out, chosen, on_progress)
        if log:
            for frame in report.frames:
                log.write("frame", dataclasses.asdict(frame))
            log.write("result", dict(path=str(report.path), bytes=report.size, frames=len(report.frames),
                                     resumed_frames=report.resumed_frames, seconds=report.seconds,
                                     warnings=report.warnings, iterations=report.iterations))
    say_warnings(report.warnings)
    if not quiet:
        _summary(report, err=log_json == "-")


def say_warnings(warnings: Sequence[str]) -> None:
    """Prints the warnings of the result, also with --quiet."""
    for text in warnings:
        click.echo(f"warning {text}", err=True)


def warn(dataset: Dataset, strict: bool, quiet: bool) -> list[DatasetFinding]:
    """Prints the assumptions about a dataset and the warnings of `dataset check`. Raises UsageError if that is
    strict."""
    from ..datasets.survey import warnings_of

    if not quiet:
        for text in dataset.assumptions:
            click.echo(f"assumed: {printable(text)}", err=True)
    findings = [finding for finding in warnings_of(dataset) if not finding.is_error]  # those fail where they are read
    if not quiet or strict:
        for shown in summarised(findings):
            click.echo(f"warning {printable(shown)}", err=True)
    if findings and strict:
        codes = ", ".join(sorted({f.code for f in findings}))
        raise UsageError(f"the dataset has warnings ({codes}; docs/datasets.md), which --strict makes errors")
    return findings


def summarised(findings: Sequence[DatasetFinding]) -> list[str]:
    """A line for the first few findings of each code, and how many more there are."""
    lines: list[str] = []
    for code in dict.fromkeys(f.code for f in findings):
        own = [f for f in findings if f.code == code]
        lines += [f"{f.code}: {f.message}" + (f" [{f.path}]" if f.path else "") for f in own[:_WARNINGS]]
        if len(own) > _WARNINGS:
            lines.append(f"{code}: and {len(own) - _WARNINGS} more")
    return lines


def progress_sinks(stack: contextlib.ExitStack, log_json: str | None, quiet: bool,
                   resumes: bool = False) -> tuple[JsonLog | None, Callable[[Progress], None]]:
    """(JsonLog or None, what an encode is to call with its `Progress`); the stack closes what they open.

    resumes: the log goes on behind what it holds.
    """
    log = JsonLog(stack.enter_context(_log_file(log_json, resumes))) if log_json else None
    sinks: list[Callable[[Progress], None]] = [log] if log else []
    if not quiet:
        sinks.append(stack.enter_context(_bar()) if sys.stderr.isatty() else _Plain())

    def on_progress(p: Progress) -> None:
        for sink in sinks:
            sink(p)

    return log, on_progress


@contextlib.contextmanager
def _log_file(name: str, resumes: bool) -> Iterator[TextIO]:
    if name == "-":
        yield sys.stdout
        return
    if outputs().exists(name) and not resumes:
        outputs().may_replace(name)
    with log_file(name, append=resumes) as file:
        yield file


class JsonLog:
    """One JSON object per line: every phase, training at most once a second, the result."""

    def __init__(self, file: TextIO):
        self.file, self.due = file, Throttle(_LOG_SECONDS)
        self.phases: dict[int, str] = {}

    def write(self, event: str, values: dict[str, Any]) -> None:
        self.file.write(to_json({"event": event, **values}, None) + "\n")
        self.file.flush()

    def __call__(self, p: Progress) -> None:
        if self.due() or p.phase != self.phases.get(p.frame):
            self.phases[p.frame] = p.phase
            self.write("progress", dataclasses.asdict(p))


class _Plain:
    """A line every few seconds, for logs."""

    def __init__(self) -> None:
        self.due = Throttle(_PLAIN_SECONDS)

    def __call__(self, p: Progress) -> None:
        if p.phase in ("coded", "retry", "verify") or self.due():
            click.echo(_describe(p), err=True)


@contextlib.contextmanager
def _bar() -> Iterator[_Bar]:
    with progress_bar("encoding", None) as advance:
        yield _Bar(advance)


class _Bar:
    """A bar over all frames, a fraction of one for every iteration."""

    def __init__(self, advance: Callable[..., None]):
        self.advance, self.done = advance, 0.0

    def __call__(self, p: Progress) -> None:
        trained = p.iteration / p.iterations if p.iterations and p.phase != "load" else 0
        at = p.done if p.done is not None else p.frame + (1 if p.phase in ("coded", "verify") else 0.95 * trained)
        self.advance(max(at - self.done, 0), _describe(p), total=p.frames)
        self.done = max(at, self.done)


def _describe(p: Progress) -> str:
    text = f"frame {p.frame + 1}/{p.frames} {p.frame_type} {p.phase}"
    if p.iterations:
        text += f" {p.iteration}/{p.iterations}"
    for name, value, digits in (("loss", p.loss, 5), ("PSNR", p.psnr, 2), ("kB", p.kilobytes, 1)):
        if value is not None:
            text += f"  {name} {value:.{digits}f}"
    if p.eta_seconds is not None:
        text += f"  {_clock(p.eta_seconds)} left"
    return text + (f"  {p.remark}" if p.remark else "")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"


def _summary(report: EncodeReport, err: bool) -> None:
    for f in report.frames:
        quality = "" if f.psnr is None else f"  PSNR {f.psnr:.2f} dB" if f.psnr_box is None else (
            f"  PSNR {f.psnr_box:.2f} dB inside the masks' boxes, {f.psnr:.2f} dB whole pictures")
        off = 100 * (f.estimated_bytes / f.payload_bytes - 1) if f.payload_bytes else 0.0
        click.echo(f"frame {f.number} {f.type}  {f.size:>8,} bytes{quality}  payload {f.payload_bytes:,} "
                   f"(estimate {off:+.2f} %)  {f.seconds:.1f} s", err=err)
    resumed = f", {report.resumed_frames} frames resumed" if report.resumed_frames else ""
    if report.iterations is not None:
        click.echo("the time budget came to --intra-iterations {} --inter-iterations {}, which make the same frames "
                   "again".format(*report.iterations), err=err)
    click.echo(f"{printable(str(report.path))}: {report.size:,} bytes, {len(report.frames)} frames, "
               f"{report.seconds:.1f} s{resumed}; "
               "decoded and verified", err=err)
