"""What several commands share: arguments, progress, JSON."""
from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from ..errors import UsageError

if TYPE_CHECKING:
    from ..datasets import Dataset


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


def open_input(path: str) -> BinaryIO:
    """A file, or standard input for `-`."""
    if path == "-":
        return sys.stdin.buffer
    try:
        file = open(path, "rb")
    except OSError as e:
        raise UsageError(f"can't open {path}: {e.strerror}") from None
    return file


def seekable_input(path: str) -> BinaryIO:
    """As `open_input`; a pipe is read into memory first."""
    file = open_input(path)
    return file if file.seekable() else io.BytesIO(file.read())


def make_folder(path: str) -> Path:
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UsageError(f"can't make the folder {path}: {e.strerror}") from None
    return folder


def to_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)


def printable(text: str) -> str:
    """Text from a stream without what could steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


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


box_option = click.option("--box", type=float, nargs=6,
                          help="Scene box, in place of the dataset's: minimum x y z, maximum x y z.")
settings_option = click.option("--set", "settings", type=KeyValue(), multiple=True,
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
