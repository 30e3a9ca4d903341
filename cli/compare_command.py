"""``lipcert compare``."""

from __future__ import annotations

from pathlib import Path

import click

from lipcert.gating.comparison import compare
from lipcert.gating.values import size_value
from lipcert.reports.compare_rows import drop_line

from .delivery import Delivery
from .options import PATH, output_options
from .session import say


def read_drop(text: str) -> str:
    """A share from 0 to 1, kept as it was written."""
    share = size_value(text)
    if share is None or share > 1:
        raise click.BadParameter(f"{text!r} is not a share from 0 to 1, such as 0.01.")
    return text.replace(" ", "")


@click.command("compare")
@click.argument("old", type=PATH)
@click.argument("new", type=PATH)
@click.option(
    "--max-drop",
    type=read_drop,
    metavar="SHARE",
    help="Exit with 1 if the clean share, or a certified one, fell by more than this.",
)
@click.option(
    "--allow-different-data",
    is_flag=True,
    help="Compare also what was counted on other data.",
)
@output_options("Comparison")
def compare_command(
    *,
    delivery: Delivery,
    old: Path,
    new: Path,
    max_drop: str | None,
    allow_different_data: bool,
) -> int:
    """Compare two results, OLD and NEW.

    Both are JSON of lipcert certify or lipcert gate, or baselines of gates.
    """
    delivery.check([old, new])
    result = compare(old, new, max_drop=max_drop, allow_different_data=allow_different_data)
    for verdict in result.verdicts:
        if verdict.outcome != "pass" or not delivery.session.quiet:
            say(drop_line(verdict))
    delivery.send(result)
    return result.exit_code
