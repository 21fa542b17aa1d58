"""Common to several commands: arguments, progress, JSON."""
from __future__ import annotations

import contextlib
import io
import math
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click

from ..errors import UsageError
from ..files import Outputs
from ..text import printable, to_json

if TYPE_CHECKING:
    from ..datasets import Dataset
    from ..decoding import Limits
    from ..rendering.cameras import Camera

__all__ = ["printable", "to_json"]  # of what is imported, for the commands

Command = TypeVar("Command", bound=Callable[..., object])
_HEAD, _IN_MEMORY = 16, 1 << 24
_OUTPUTS = "refcodec.outputs"


def examples(*lines: str) -> str:
    """The epilog of a command's help: command lines that the tests parse."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def calm_threads() -> None:
    """One BLAS thread: the decoder's matrix products are too small to share, the renderer's run side by side.

    Before numpy is loaded.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


LAST_FRAME = (1 << 32) - 1
_MANY = 1_000_000  # more frames than any dataset has: an open range


class FrameRange(click.ParamType):  # type: ignore[type-arg]  # generic in new versions only
    """`7`, `20:40` (40 excluded), `:10`, `20:` -> range of frame numbers."""

    name = "frames"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        if isinstance(value, range):
            return value
        first, colon, last = value.partition(":")
        try:
            if not colon:
                start = _frame_number(first)
                return range(start, start + 1)
            start = _frame_number(first) if first else 0
            stop = _frame_number(last) if last else LAST_FRAME + 1
        except ValueError:
            self.fail(f"{value!r} is not a frame range; write 7, 20:40, :10 or 20:", param, ctx)
        if stop <= start:
            self.fail(f"{value!r} is empty: the second number is the first frame left out", param, ctx)
        return range(start, stop)


def _frame_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= LAST_FRAME):
        raise ValueError
    return int(text)


def no_frames(wanted: range | None) -> UsageError:
    """The error for a `--frames` that matches nothing."""
    if wanted is None:
        return UsageError("the stream holds no frame")
    last = "" if wanted.stop > LAST_FRAME else wanted.stop
    return UsageError(f"the stream holds no frame in {wanted.start}:{last}")


class InputPath(click.Path):
    """A file or folder that the command reads; - where it may be a pipe."""

    def __init__(self, allow_dash: bool = False):
        super().__init__(allow_dash=allow_dash, readable=False)  # opening it says what is wrong


class OutputFile(click.Path):
    """A file that the command writes. later: the command asks itself whether it may be replaced, since it may be the
    result of the same command before, or goes on with it.
    """

    def __init__(self, allow_dash: bool = False, later: bool = False):
        super().__init__(allow_dash=allow_dash, readable=False)
        self.later = later


class OutputFolder(click.Path):
    """A folder that the command writes files to. made: their names; None: it goes on from what it finds there."""

    def __init__(self, made: str | None):
        super().__init__(readable=False)
        self.made = made if made is None else re.compile(made)


class EditedFile(click.Path):
    """A file of which the command replaces a part, the rest staying as it was."""


class FileCommand(click.Command):
    """A command that reads and writes files: what they are is told by the types of its parameters, and before it
    runs, all of them are looked at together (`Outputs`). --force comes with every output.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if any(isinstance(p.type, (OutputFile, OutputFolder)) for p in self.params):
            place = next((i for i, p in enumerate(self.params) if p.name in ("as_json", "quiet")), len(self.params))
            self.params.insert(place, click.Option(["--force"], is_flag=True, expose_value=False,
                                                   help="Replace what is there.", callback=_set_force))

    def invoke(self, ctx: click.Context) -> Any:
        found = outputs(ctx)
        given = [(self.role(p, ctx), ctx.params[p.name]) for p in self.params
                 if p.name in ctx.params and ctx.params[p.name] is not None]
        each = [(kind, str(v)) for kind, value in given for v in (value if isinstance(value, tuple) else (value,))]
        for kind, value in each:
            if isinstance(kind, (InputPath, EditedFile)) and not found.reads(
                    0 if value == "-" and kind.allow_dash else value):
                return super().invoke(ctx)  # the command says why it can't be read
        for kind, value in each:
            if isinstance(kind, OutputFile):
                found.descriptor(1) if value == "-" and kind.allow_dash else found.file(value, later=kind.later)
            elif isinstance(kind, OutputFolder):
                found.folder(value, kind.made)
        return super().invoke(ctx)


    def role(self, parameter: click.Parameter, ctx: click.Context) -> click.ParamType[Any]:
        """The type that says what becomes of the file; another than declared where an option decides it."""
        return parameter.type


def _set_force(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    outputs(ctx).force = value


def outputs(ctx: click.Context | None = None) -> Outputs:
    """Inputs and outputs of the running command."""
    meta = (ctx or click.get_current_context()).meta
    if _OUTPUTS not in meta:
        meta[_OUTPUTS] = Outputs(ask=_ask if sys.stdin and sys.stdin.isatty() and sys.stderr.isatty() else None)
    found: Outputs = meta[_OUTPUTS]
    return found


def _ask(question: str) -> bool:
    return click.confirm(printable(question), err=True)


class FiniteRange(click.FloatRange):
    """A number within bounds; never infinite, never NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = click.FLOAT.convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return super().convert(number, param, ctx)


FINITE = FiniteRange()
LAMBDA = FiniteRange(0, 1e6, min_open=True)
DOWNSCALE = FiniteRange(1, 64)
SEED = click.IntRange(0, (1 << 32) - 1)


def limit_options(command: Command) -> Command:
    """Options for what a decoder is willing to do beyond what levels say; `limits` makes something of them."""
    for name, what in (("steps", "streams of more wavefronts (6.3)"), ("voxels", "sequences of more occupancy "
                       "voxels"), ("elements", "sequences of more tensor elements")):
        command = click.option(f"--limit-{name}", type=click.IntRange(1), help=f"Refuse {what}.")(command)
    return command


def limits(elements: int | None, voxels: int | None, steps: int | None) -> Limits:
    """What the options of `limit_options` say."""
    from ..decoding import Limits

    return Limits(elements, voxels, steps=steps)


def open_input(path: str) -> BinaryIO:
    """A file, or standard input for `-`."""
    if path == "-":
        return standard_input()
    try:
        file = open(path, "rb")
    except OSError as e:
        raise UsageError(f"can't open {path}: {e.strerror}") from None
    return file


def _regular(file: BinaryIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except OSError:  # no file behind it
        return file.seekable()


def standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise UsageError("standard input is closed")
    return sys.stdin.buffer


def stored_input(path: str, wrong: int = 0) -> BinaryIO:
    """As `open_input`; what is no file, such as a pipe, is copied to a temporary one first.

    Of what does not begin as an RFV file, but for `wrong` bytes of the signature, only the beginning is there: whoever
    reads it says what is wrong. Raises UsageError for more than `sources.SPOOL_LIMIT`.
    """
    file = open_input(path)
    if _regular(file):
        return file
    from .. import sources
    from ..syntax.structures import FILE_SIGNATURE

    head = file.read(_HEAD)
    if sum(a != b for a, b in zip(head, FILE_SIGNATURE)) > wrong:
        return io.BytesIO(head)
    copy = tempfile.SpooledTemporaryFile(_IN_MEMORY)
    copy.write(head)
    left = sources.SPOOL_LIMIT - len(head)
    while left and (data := file.read(min(left, 1 << 20))):
        copy.write(data)
        left -= len(data)
    if not left and file.read(1):
        raise sources.too_much()
    copy.seek(0)
    return copy  # type: ignore[return-value]  # it has all methods of one


@contextlib.contextmanager
def progress_bar(title: str, total: int | None, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """`advance(steps, text, total)` for a bar on standard error; silent when that is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda steps, text="", total=None: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = [TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn(), TimeElapsedColumn(),
               TextColumn("{task.fields[text]}", markup=False)]
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=total, text="")

        def advance(steps: float, text: str = "", total: float | None = None) -> None:
            progress.update(task, advance=steps, text=text, total=total)

        yield advance


class Throttle:
    """True at most once in `seconds`."""

    def __init__(self, seconds: float):
        self.seconds, self.last = seconds, float("-inf")

    def __call__(self) -> bool:
        now = time.monotonic()
        if now - self.last < self.seconds:
            return False
        self.last = now
        return True


PIXELS, SAMPLES = 1 << 25, 1 << 33  # of a picture: 8K, and 256 samples a ray of it


def check_picture(camera: Camera, samples: int, limit_pixels: int = PIXELS, limit_samples: int = SAMPLES) -> None:
    """Raises UsageError for a picture of more pixels or samples than allowed. samples: of each ray."""
    pixels = camera.width * camera.height
    for found, limit, what, option in ((pixels, limit_pixels, "pixels", "--limit-pixels"),
                                       (pixels * samples, limit_samples, "samples along its rays", "--limit-samples")):
        if found > limit:
            raise UsageError(f"the picture of {camera.width}x{camera.height} has {found} {what}; the limit is {limit} "
                             f"(make it smaller, or allow more with {option})")


class KeyValue(click.ParamType):  # type: ignore[type-arg]
    """`title=Fox` -> ("title", "Fox")."""

    name = "KEY=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        if isinstance(value, tuple):
            return value
        key, equals, text = value.partition("=")
        if not equals:
            self.fail(f"{value!r} has no =", param, ctx)
        return key, text


box_option = click.option("--box", type=FINITE, nargs=6,
                          help="Scene box, in place of the dataset's: minimum x y z, maximum x y z.")
masks_option = click.option(
    "--masks", "mask_use", type=click.Choice(["auto", "foreground", "ignore", "none"]), default="auto",
    show_default=True, help="What mask files mean: the foreground, or what to ignore; none: they are not read.")
strict_option = click.option("--strict", is_flag=True, help="Warnings about the dataset are errors.")


def _checked(_: click.Context, __: click.Parameter, value: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    if value:
        from ..encoder.presets import TrainingSettings, changed

        changed(TrainingSettings(), dict(value))
    return value


settings_option = click.option("--set", "settings", type=KeyValue(), multiple=True, callback=_checked,
                               help="Another training setting (docs/cli.md). Repeatable.")


def corners(box: tuple[float, ...] | None) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Low and high corner of what `box_option` gives."""
    return (box[:3], box[3:]) if box else None


def last_frame(path: str) -> int:
    """The number of a dataset's last frame. Raises DatasetError."""
    from ..datasets.loading import read_draft

    return read_draft(Path(path), None)[1].frames[-1].number


def bounded(path: str, wanted: range | None) -> range | None:
    """Frame numbers of which the range may be open: up to the dataset's last. Raises UsageError, DatasetError."""
    if wanted is None or len(wanted) <= _MANY:
        return wanted
    last = last_frame(path)
    if last < wanted.start:
        raise UsageError(f"the dataset's last frame is {last}")
    return range(wanted.start, last + 1)


def load_frames(path: str, wanted: range | None, **options: Any) -> Dataset:
    """`load_dataset` with a range that may be open at its end."""
    from ..datasets import load_dataset

    return load_dataset(path, frames=bounded(path, wanted), **options)


def ranges(numbers: list[int]) -> str:
    """3, 5-8, 12"""
    parts: list[list[int]] = []
    for n in numbers:
        if parts and n == parts[-1][1] + 1:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)
