"""The gate: the Python API's ``gate``."""

from __future__ import annotations

import difflib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lipcert.errors import InputError
from lipcert.gating.baseline import baseline_path, no_baseline, read_baseline
from lipcert.gating.check import Check, check_files, read_checks
from lipcert.gating.conditions import judge, problem_of, refused
from lipcert.gating.files import OWN, SHARED, find_configuration, read_configuration
from lipcert.gating.measurement import Progress, measure
from lipcert.gating.record import Record
from lipcert.gating.result import CheckResult, GateResult, Problem
from lipcert.versions import versions

logger = logging.getLogger(__name__)


def silent(what: str, fraction: float) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Plan:
    """What a configuration asks for, all of it read and found.

    ``everything`` are all its checks, ``chosen`` those that are to run, ``baseline`` the file that
    it names, or None.
    """

    config: Path
    everything: tuple[Check, ...]
    chosen: tuple[Check, ...]
    baseline: Path | None

    @property
    def inputs(self) -> list[Path]:
        """The files that a run reads."""
        files = (path for check in self.chosen for path in (check.model, check.data, check.labels))
        return [self.config, *(path for path in files if path is not None)]


def read_plan(config: str | Path | None = None, checks: Sequence[str] = ()) -> Plan:
    """Read a configuration; see :func:`gate`."""
    path = Path(config) if config is not None else find_configuration()
    if path is None:
        raise InputError(
            OWN, f"is not in this folder, and no {SHARED} with [tool.lipcert] either",
            "write one, or name one with --config",
        )  # fmt: skip
    configuration = read_configuration(path)
    everything = read_checks(configuration)
    chosen = _chosen(everything, checks)
    for check in chosen:
        check_files(configuration, check)
    return Plan(path, everything, chosen, baseline_path(configuration))


def gate(
    config: str | Path | None = None,
    *,
    checks: Sequence[str] = (),
    update_baseline: bool = False,
    progress: Progress = silent,
) -> GateResult:
    """Hold models to the conditions of a configuration.

    A check that ends in an error does not stop the others: its conditions have the outcome
    "error", and ``exit_code`` is that error's.

    Parameters
    ----------
    config : the file; None takes ``lipcert.toml``, or ``pyproject.toml`` with
        ``[tool.lipcert]``, of the current folder.
    checks : names of the checks to run; all of them if empty.
    update_baseline : run for a new baseline, which :func:`lipcert.reports.gate_json.baseline_json`
        writes out: ``max-drop`` is not judged.
    progress : told what is being done, and the share of it that is done.

    Raises InputError for a configuration or a baseline that is no good, before any check is run.
    """
    return run_plan(read_plan(config, checks), update_baseline=update_baseline, progress=progress)


def run_plan(
    plan: Plan, *, update_baseline: bool = False, progress: Progress = silent
) -> GateResult:
    """Run the checks of a plan; see :func:`gate`."""
    started, now = time.perf_counter(), datetime.now(UTC)
    records = _records(plan, update_baseline)
    results = []
    for index, check in enumerate(plan.chosen):
        told = _part(progress, check.name, index, len(plan.chosen))
        results.append(run_check(check, records, plan.baseline, told, not update_baseline))
    left = {check.name for check in plan.everything} - {check.name for check in plan.chosen}
    return GateResult(
        config=plan.config,
        checks=tuple(results),
        baseline=plan.baseline,
        kept=tuple(record for name, record in records.items() if name in left),
        started=now.strftime("%Y-%m-%dT%H:%M:%S"),
        seconds=time.perf_counter() - started,
        versions=versions(),
    )


def run_check(
    check: Check,
    baseline: dict[str, Record],
    path: Path | None,
    progress: Progress,
    compare_baseline: bool = True,
) -> CheckResult:
    """One check, whatever happens in it."""
    started = time.perf_counter()
    conditions = [c for c in check.conditions if compare_baseline or c.kind != "max-drop"]
    record: Record | None = None
    try:
        record = measure(check, progress)
        before = baseline.get(check.name)
        verdicts = tuple(judge(check, c, record, before, path) for c in conditions)
    except Exception as error:
        logger.debug("check %r", check.name, exc_info=True)
        problem: Problem = problem_of(error)
        verdicts = tuple(refused(check, c, problem) for c in conditions or check.conditions)
    return CheckResult(check, record, verdicts, time.perf_counter() - started)


def _chosen(everything: tuple[Check, ...], names: Sequence[str]) -> tuple[Check, ...]:
    known = [check.name for check in everything]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
            raise InputError(f"--check {name!r}", "is not the name of a check", remedy)
    return tuple(check for check in everything if not names or check.name in names)


def _records(plan: Plan, update_baseline: bool) -> dict[str, Record]:
    """The stored records; none where none are needed, or a run of every check replaces them."""
    if update_baseline:
        if plan.baseline is None:
            raise no_baseline(plan.config)
        needed = len(plan.chosen) < len(plan.everything) and plan.baseline.exists()
    else:
        needed = any(check.needs_baseline for check in plan.chosen)
    return read_baseline(plan.baseline) if needed and plan.baseline else {}


def _part(progress: Progress, name: str, index: int, count: int) -> Progress:
    def told(what: str, fraction: float) -> None:
        progress(f"{name}: {what}", (index + min(max(fraction, 0.0), 1.0)) / count)

    return told
