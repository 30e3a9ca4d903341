"""Judging: what each kind of condition compares, in integers and fractions only.

A condition is judged by its exact numbers: ``count / total >= threshold`` as fractions, the
threshold being the decimal that the configuration says, and the bound the number it is in binary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from lipcert.errors import InputError, LipcertError, UnboundedError
from lipcert.gating.check import Check, Condition
from lipcert.gating.record import Record
from lipcert.gating.result import ERROR, FAIL, PASS, Problem, Verdict
from lipcert.registry import Registry

Judge = Callable[[Verdict, Record, Record | None], Verdict]
"""Completes a verdict from what was measured and, where there is one, from the baseline."""

JUDGES: Registry[Judge] = Registry("condition")


def judge(
    check: Check, condition: Condition, record: Record, before: Record | None, baseline: Path | None
) -> Verdict:
    """The verdict on one condition; an error where it cannot be judged."""
    try:
        if condition.kind == "max-drop":
            _check_comparable(check, record, before, baseline)
        return JUDGES[condition.kind](_open(check, condition), record, before)
    except LipcertError as error:
        return refused(check, condition, problem_of(error))


def refused(check: Check, condition: Condition, problem: Problem) -> Verdict:
    """The verdict that there is none."""
    return replace(_open(check, condition), outcome=ERROR, problem=problem)


def problem_of(error: BaseException) -> Problem:
    """An error as verdicts tell it; one that is not lipcert's own is an internal error."""
    kind = type(error).__name__
    if isinstance(error, LipcertError):
        return Problem(kind, error.exit_code, str(error))
    if isinstance(error, MemoryError):
        return Problem(kind, LipcertError.exit_code, "there is not enough memory")
    found = " ".join(f"{kind}: {error}".split())[:300]
    return Problem(
        kind,
        LipcertError.exit_code,
        f"internal error ({found}); please report it with its model; -vv shows where",
    )


@JUDGES.register("min-clean-accuracy", "min-certified-accuracy")
def judge_share(verdict: Verdict, record: Record, before: Record | None) -> Verdict:
    """Count over total is at least the threshold."""
    return _judged_share(replace(verdict, share=_share(record, verdict.condition)))


@JUDGES.register("max-drop")
def judge_drop(verdict: Verdict, record: Record, before: Record | None) -> Verdict:
    """The baseline's share minus this one is at most the threshold."""
    assert before is not None
    condition = verdict.condition
    return _judged_share(
        replace(verdict, share=_share(record, condition), before=_share(before, condition))
    )


@JUDGES.register("max-lipschitz")
def judge_bound(verdict: Verdict, record: Record, before: Record | None) -> Verdict:
    """The proven bound is at most the threshold."""
    if record.lipschitz == float("inf"):
        raise UnboundedError(record.model, f"has no finite {record.norm} bound")
    within = Fraction(record.lipschitz) <= Fraction(verdict.condition.threshold)
    return replace(verdict, value=record.lipschitz, outcome=PASS if within else FAIL)


def _judged_share(verdict: Verdict) -> Verdict:
    assert verdict.share is not None
    enough = Fraction(*verdict.share) >= verdict.least
    return replace(verdict, outcome=PASS if enough else FAIL)


def _open(check: Check, condition: Condition) -> Verdict:
    return Verdict(check.name, condition, ERROR, check.norm, semantics=check.semantics)


def _share(record: Record, condition: Condition) -> tuple[int, int]:
    share = record.share(condition.eps)
    if share is None:
        raise InputError(
            f"check {record.name!r}", f"nothing was counted at eps={condition.eps}",
            "write the baseline again with lipcert gate --update-baseline",
        )  # fmt: skip
    return share


def _check_comparable(
    check: Check, record: Record, before: Record | None, baseline: Path | None
) -> None:
    """Raise InputError where the baseline is of something else."""
    place = f"{baseline}, check {check.name!r}"
    remedy = "write it again with lipcert gate --update-baseline, if this is meant"
    if before is None:
        raise InputError(place, "is not in the baseline", remedy)
    if before.data_sha256 != record.data_sha256:
        raise InputError(
            place, f"was counted on other data (sha256 {before.data_sha256[:12] or 'none'}, "
            f"now {record.data_sha256[:12] or 'none'})", remedy,
        )  # fmt: skip
    for key in sorted({*before.settings, *record.settings}):
        old, new = before.settings.get(key), record.settings.get(key)
        if old != new:
            raise InputError(place, f"has {key} = {old!r}, and now it is {new!r}", remedy)
