"""Word of progress on stderr: a bar on a terminal, lines with ``-v``, else nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lipcert.reports.words import printable

from .session import Session, say

Progress = Callable[[str, float], None]


@contextmanager
def progress(session: Session) -> Iterator[Progress]:
    """A callback for the library; the bar vanishes at the end."""
    if session.verbosity:
        yield _Lines()
    elif session.quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda what, fraction: None
    else:
        with _bar(session) as callback:
            yield callback


class _Lines:
    """Each new step on a line of its own."""

    def __init__(self) -> None:
        self.last = ""

    def __call__(self, what: str, fraction: float) -> None:
        if what != self.last:
            say(printable(what))
            self.last = what


@contextmanager
def _bar(session: Session) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    colors = session.colors(sys.stderr)
    console = Console(
        file=sys.stderr,
        force_terminal=True,
        no_color=not colors,
        color_system="standard" if colors else None,
        highlight=False,
    )
    columns = (
        BarColumn(24),
        TimeElapsedColumn(),
        TextColumn(
            "{task.description}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis"),
        ),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("loading", total=1.0)

        def update(what: str, fraction: float) -> None:
            bar.update(task, description=printable(what), completed=fraction)

        yield update
