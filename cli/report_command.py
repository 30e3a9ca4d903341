"""``lipcert report``."""

from __future__ import annotations

from pathlib import Path

import click

from lipcert.errors import InputError
from lipcert.reports import render
from lipcert.reports.files import check_targets, write_atomic

from .options import PATH, session_options
from .session import Session


@click.command("report")
@click.argument("result", type=PATH)
@click.option("--html", type=PATH, metavar="FILE", help="Write one HTML page to this file.")
@click.option("--markdown", type=PATH, metavar="FILE", help="Write Markdown to this file.")
@click.option(
    "--overwrite", is_flag=True, help="Replace files that exist; without it they are an error."
)
@session_options
def report_command(
    *,
    session: Session,
    result: Path,
    html: Path | None,
    markdown: Path | None,
    overwrite: bool,
) -> None:
    """Lay out RESULT, a JSON file of lipcert certify or lipcert sensitivity, for people.

    The page holds everything in itself: it loads nothing from the network, and the same RESULT
    gives the same bytes.
    """
    from lipcert.reports.html.source import record_file

    wanted = {"html": html, "markdown": markdown}
    targets = {name: path for name, path in wanted.items() if path is not None}
    if not targets:
        raise InputError("lipcert report", "has nothing to write", "pass --html or --markdown")
    check_targets(targets.values(), overwrite=overwrite, inputs=[result])
    record = record_file(result)
    for path, text in [(path, render(record, name)) for name, path in targets.items()]:
        write_atomic(path, text, overwrite=overwrite)
        session.tell(f"wrote {path}")
