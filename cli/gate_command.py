"""``lipcert gate``."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lipcert.errors import InputError
from lipcert.gating.gate import read_plan, run_plan
from lipcert.reports.files import check_targets, write_atomic
from lipcert.reports.gate_github import SUMMARY_BYTES, summary
from lipcert.reports.gate_json import baseline_json
from lipcert.reports.gate_words import outcome, verdict_lines

from .configuration import config_option
from .delivery import Delivery
from .options import output_options
from .progress import progress
from .session import say

if TYPE_CHECKING:
    from lipcert.gating.result import GateResult

NOT_MET = 1


@click.command("gate")
@config_option
@click.option(
    "--check",
    "checks",
    multiple=True,
    metavar="NAME",
    help="Run this check only. Repeatable.",
)
@click.option(
    "--update-baseline",
    is_flag=True,
    help="Write the baseline from this run, instead of comparing with it.",
)
@click.option(
    "--exit-zero", is_flag=True, help="Exit with 0 where a condition is not met; errors stay."
)
@output_options("GateResult")
def gate_command(
    *,
    delivery: Delivery,
    config: Path | None,
    checks: tuple[str, ...],
    update_baseline: bool,
    exit_zero: bool,
) -> int:
    """Hold models to the conditions in lipcert.toml.

    One line on stderr for each condition, with exact counts. Exit code 0 if all are met, 1 if
    one is not, and 2 or more if one could not be judged.
    """
    plan = read_plan(config, checks)
    delivery.check([*plan.inputs, *([plan.baseline] if plan.baseline else [])])
    if update_baseline and plan.baseline:
        check_targets([plan.baseline], overwrite=True, inputs=plan.inputs)
    with progress(delivery.session) as told:
        found = run_plan(plan, update_baseline=update_baseline, progress=told)
    result = replace(found, root=Path(os.environ.get("GITHUB_WORKSPACE") or Path.cwd()))
    tell(result, quiet=delivery.session.quiet)
    delivery.send(result)
    if delivery.format == "github":
        append_summary(result)
    if update_baseline:
        write_baseline(result, delivery)
    return 0 if exit_zero and result.exit_code == NOT_MET else result.exit_code


def tell(result: GateResult, *, quiet: bool) -> None:
    """The verdicts on stderr; with ``--quiet`` only those that are not met."""
    for line in verdict_lines(result, all_of_them=not quiet):
        say(line)
    if not quiet:
        say(outcome(result))


def write_baseline(result: GateResult, delivery: Delivery) -> None:
    """Replace the baseline; a run with errors is told already, and leaves it as it is."""
    if result.errors:
        say(f"{result.baseline} is left as it is: a check has an error")
        return
    text = baseline_json(result)
    assert result.baseline is not None
    write_atomic(result.baseline, text, overwrite=True)
    delivery.session.tell(f"wrote {result.baseline}")


def append_summary(result: GateResult) -> None:
    """Append to the job summary of GitHub's step, where there is one."""
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return
    path = Path(name)
    try:
        taken = path.stat().st_size if path.exists() else 0
        with path.open("a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(summary(result, max(0, SUMMARY_BYTES - taken)))
    except OSError as error:
        raise InputError(
            f"GITHUB_STEP_SUMMARY {name!r}", f"cannot be written: {error.strerror or error}"
        ) from error
