"""A group of commands that imports a command's module only when it is asked for."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from .configuration import configure
from .exits import exit_code_of
from .session import Session


@dataclass(frozen=True)
class Entry:
    """Where a command lives, and its line in the group's help."""

    module: str
    attribute: str
    summary: str


class LazyGroup(click.Group):
    """A click group filled from a table of entries.

    Its ``main`` turns every way a run can end into one of the documented exit codes.
    """

    def __init__(self, *args: Any, entries: Mapping[str, Entry], **extra: Any) -> None:
        super().__init__(*args, **extra)
        self.entries = entries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself, imported now; None for an unknown name."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(entry.module), entry.attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names, given the defaults of ``lipcert.toml``."""
        name, command, words = super().resolve_command(ctx, args)
        if command is not None and not ctx.resilient_parsing:
            configure(ctx, command, words)
        return name, command, words

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in self.entries.items()])

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run, and exit with the code of the outcome."""
        words = sys.argv[1:] if args is None else list(args)
        name = prog_name or "lipcert"
        if os.environ.get(f"_{name}_COMPLETE".upper()):
            super().main(words, name)
        extra.pop("standalone_mode", None)
        session = Session()

        def run() -> object:
            with self.make_context(name, words, obj=session, **extra) as context:
                return self.invoke(context)

        sys.exit(exit_code_of(run, session))
