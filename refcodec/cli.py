"""The command line: `refcodec COMMAND …`. Commands live in refcodec.commands, loaded on use."""
from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import click

from . import __version__
from .errors import EXIT_DEFECT, EXIT_USAGE, RefcodecError, UsageError
from .text import printable, suggestion

EXIT_INTERRUPTED = 130

# name: one line of help, so that `refcodec --help` imports no command.
COMMANDS = {
    "encode": "Encode a multi-view dataset as an RFV file (needs torch).",
    "encode-scenes": "Encode several scenes into one file that shares what they have in common (needs torch).",
    "decode": "Decode to tensors, digests or both.",
    "render": "Render views, videos and comparisons with ground truth.",
    "view": "Play a file in a web browser.",
    "inspect": "Show what a file holds, without decoding it.",
    "conformance": "Test any decoder against the conformance suite.",
    "evaluate": "Compare the codec with every alternative: sizes, quality, time (needs torch).",
    "benchmark": "Measure the gain of each coding tool, or compare published systems (needs torch).",
    "dataset": "Check a dataset before training on it.",
    "validate": "Check files against the specification; report every violation.",
    "cut": "Cut frames out of a file, without decoding.",
    "concat": "Join files.",
    "repair": "Repair a damaged file into a conforming one.",
    "extract": "Extract one frame as a file of its own, with the same tensors.",
    "recode": "Re-encode a file without loss, in fewer bytes (needs torch).",
    "serve": "Serve files over HTTP with byte ranges.",
}

# As `commands.common.examples` would make it, which `refcodec --help` does not import.
EXAMPLES = """\b
Examples:
  refcodec decode fox.rfv out/
  refcodec COMMAND --help"""


class CommandLine(click.Group):
    """Loads commands on first use; turns every failure into one line and an exit code."""

    debug = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"{__package__}.commands.{name.replace('-', '_')}").command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise click.UsageError(f"No such command {args[0]!r}{suggestion(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None,  # type: ignore[override]
             **extra: Any) -> NoReturn:
        self.debug = False
        extra["standalone_mode"] = False
        sys.exit(self._run(lambda: super(CommandLine, self).main(args, prog_name or "refcodec", **extra)))

    def _run(self, call: Callable[[], Any]) -> int:
        try:
            with _ended_by_signals():
                _open_standard_streams()
                _utf8_output()
                code = call()
                _flush()
                return code if isinstance(code, int) else 0
        except BrokenPipeError:
            # The reader has closed the pipe. Keep the interpreter from flushing again.
            sys.stdout = None
            return EXIT_USAGE
        except (click.Abort, KeyboardInterrupt) as e:
            number = next((c.number for c in (e, e.__cause__) if isinstance(c, Ended)), signal.SIGINT)
            return _fail("interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}",
                         128 + number)
        except click.ClickException as e:
            e.show()
            return EXIT_USAGE  # click's own 2 would say "not conforming"
        except RefcodecError as e:
            return _fail(f"error: {e}", e.exit_code)
        except MemoryError:
            return _fail("error: out of memory", EXIT_USAGE)
        except OSError as e:
            where = f": {e.filename}" if e.filename else ""
            if not where and e.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                where = ": standard output"
            return _fail(f"error: {e.strerror or e}{where}", EXIT_USAGE)
        except Exception as e:
            if self.debug:
                import traceback

                traceback.print_exc()
            return _fail(f"defect in refcodec {__version__}: {type(e).__name__}: {e} "
                         "(please report it with the file; --debug shows where)", EXIT_DEFECT)


def _fail(message: str, code: int) -> int:
    out = sys.stdout
    try:
        if out is not None:
            out.flush()
    except (OSError, RefcodecError):
        sys.stdout = None  # what it holds can't be written: the interpreter must not try again
    with contextlib.suppress(OSError):  # nobody listens
        click.echo(f"refcodec: {printable(message)}", err=True)
    return code


class Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP: everything ends and cleans up as it does at SIGINT."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `Ended` meanwhile, unless somebody ignores or handles them, as nohup does."""

    def end(number: int, _: object) -> None:
        raise Ended(number)

    before: dict[int, Any] = {}
    try:
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                with contextlib.suppress(ValueError):  # not the main thread
                    before[number] = signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Closed(io.RawIOBase):
    """Standard output of a process that was started without one: what is written can't be lost without a word."""

    def writable(self) -> bool:
        return True

    def write(self, _: Any) -> int:
        raise UsageError("standard output is closed")


def _open_standard_streams() -> None:
    """Puts something behind closed descriptors 0, 1 and 2, so that no file that is opened becomes one of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number else os.O_WRONLY)  # the lowest that is free: this one
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(_Closed()), encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")


def _flush() -> None:
    """Raises UsageError when what was written can't be."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except (OSError, UsageError) as e:
        raise e if isinstance(e, UsageError) else UsageError(f"can't write to standard output: {e.strerror}") from None


def _utf8_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        command = ctx.find_root().command
        assert isinstance(command, CommandLine)
        command.debug = True


def _set_verbose(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta["refcodec.verbose"] = value


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if not value:
        return
    click.echo(f"refcodec, version {__version__}")
    if ctx.meta["refcodec.verbose"]:
        import platform

        import numpy

        from .kernels import best, described

        click.echo(f"kernels: {described(best())}\npython {platform.python_version()}, numpy {numpy.__version__}, "
                   f"{platform.platform()}")
    ctx.exit()


@click.group(cls=CommandLine, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--verbose", is_flag=True, is_eager=True, expose_value=False, callback=_set_verbose,
              help="With --version: also what the program runs on.")
@click.option("--version", is_flag=True, expose_value=False, callback=_show_version,
              help="Show the version and exit.")
@click.option("--debug", is_flag=True, expose_value=False, callback=_set_debug,
              help="Show the traceback of a defect in refcodec.")
def cli() -> None:
    """Reference codec of the Radiance Field Video (RFV) bitstream.

    Exit codes: 0 success, 1 usage or file error, 2 the stream does not conform,
    3 defect in refcodec, 130 interrupted, 143 or 129 ended by SIGTERM or SIGHUP.
    """


def main() -> None:
    """Entry point of the `refcodec` program."""
    cli.main()


if __name__ == "__main__":
    main()
