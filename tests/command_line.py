"""The command line as tests see it: every command, and whether a line parses."""
from __future__ import annotations

import shlex
from collections.abc import Iterator

import click

from refcodec.cli import cli


def commands(command: click.Command = cli,
             path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from commands(command.get_command(click.Context(command), name), (*path, name))


ALL = dict(commands())


def parses(line: str) -> None:
    """Raises where the command line has a mistake; nothing is run."""
    program, *words = shlex.split(line)
    assert program == "refcodec"
    context = cli.make_context("refcodec", words)
    while isinstance(context.command, click.Group):
        name, command, words = context.command.resolve_command(
            context, [*context._protected_args, *context.args] if hasattr(context, "_protected_args") else context.args)
        context = command.make_context(name, words, parent=context)
