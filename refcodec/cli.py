"""The command line: `refcodec COMMAND …`. Commands live in refcodec.commands, loaded on use."""
from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

from . import __version__
from .errors import EXIT_DEFECT, EXIT_USAGE, RefcodecError

EXIT_INTERRUPTED = 130

# name: one line of help, so that `refcodec --help` imports no command.
COMMANDS = {
    "encode": "Encode a multi-view dataset as an RFV file (needs torch).",
    "encode-scenes": "Encode several scenes into one file that shares what they have in common (needs torch).",
    "decode": "Decode to tensors, digests or both.",
    "render": "Render views, videos and comparisons with ground truth.",
    "view": "Play a file in a web browser.",
    "inspect": "Show what a file holds, without decoding it.",
    "conformance": "Judge any decoder by the conformance suite.",
    "evaluate": "Compare the codec with every alternative: sizes, quality, time (needs torch).",
    "benchmark": "Measure the gain of each coding tool, or compare published systems (needs torch).",
    "dataset": "Look at a dataset before training on it.",
    "validate": "Check files against the specification; report every violation.",
    "cut": "Cut frames out of a file, without decoding.",
    "concat": "Join files.",
    "repair": "Make a conforming file of a damaged one.",
    "extract": "One frame as a file of its own, with the same tensors.",
    "recode": "Code a file's values anew, without loss, in fewer bytes (needs torch).",
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
            _utf8_output()
            code = call()
            sys.stdout.flush()
            return code if isinstance(code, int) else 0
        except BrokenPipeError:
            # Whoever read the output has had enough. Keep the interpreter from flushing again.
            sys.stdout = None
            return EXIT_USAGE
        except (click.Abort, KeyboardInterrupt):
            return _fail("interrupted", EXIT_INTERRUPTED)
        except click.ClickException as e:
            e.show()
            return EXIT_USAGE  # click's own 2 would say "not conforming"
        except RefcodecError as e:
            return _fail(f"error: {e}", e.exit_code)
        except MemoryError:
            return _fail("error: out of memory", EXIT_USAGE)
        except OSError as e:
            return _fail(f"error: {e.strerror or e}" + (f": {e.filename}" if e.filename else ""), EXIT_USAGE)
        except Exception as e:
            if self.debug:
                import traceback

                traceback.print_exc()
            return _fail(f"defect in refcodec {__version__}: {type(e).__name__}: {e} "
                         "(please report it with the file; --debug shows where)", EXIT_DEFECT)


def _fail(message: str, code: int) -> int:
    click.echo(f"refcodec: {message}", err=True)
    return code


def _utf8_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        command = ctx.find_root().command
        assert isinstance(command, CommandLine)
        command.debug = True


@click.group(cls=CommandLine, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="refcodec")
@click.option("--debug", is_flag=True, expose_value=False, callback=_set_debug,
              help="Show the traceback of a defect in refcodec.")
def cli() -> None:
    """Reference codec of the Radiance Field Video (RFV) bitstream.

    Exit codes: 0 success, 1 usage or file error, 2 the stream does not conform,
    3 defect in refcodec, 130 interrupted.
    """


def main() -> None:
    """Entry point of the `refcodec` program."""
    cli.main()


if __name__ == "__main__":
    main()
