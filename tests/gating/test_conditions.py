"""Verdicts rest on integers and fractions: never on a rounded share."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from gate_samples import check, record
from hypothesis import given
from hypothesis import strategies as st

from lipcert.errors import InputError, UnboundedError
from lipcert.gating.check import CONDITIONS, Condition
from lipcert.gating.conditions import JUDGES, judge, problem_of
from lipcert.gating.record import CountAt, missing, read_record
from lipcert.gating.result import Verdict


def judged(kind: str, threshold: str, eps: str = "", before: Any = None, **changes: Any) -> Verdict:
    condition = Condition(kind, threshold, eps)
    held = check(conditions=(condition,))
    return judge(held, condition, record(held, **changes), before, Path("base.json"))


def test_every_condition_has_a_judge() -> None:
    assert set(JUDGES) == set(CONDITIONS)


@pytest.mark.parametrize(
    ("count", "samples", "threshold", "outcome", "short"),
    [
        (412, 1000, "0.50", "fail", 88),
        (500, 1000, "0.50", "pass", 0),
        (499, 1000, "0.5", "fail", 1),
        (1, 3, "0.3333333333333333", "pass", 0),
        (1, 3, "0.33333333333333333333333333334", "fail", 1),
        (7, 10, "0.7", "pass", 0),  # as floats 7/10 >= 0.7 holds; 0.1 * 7 > 0.7
        (9_999_999, 10_000_000, "1", "fail", 1),
        (10_000_000, 10_000_000, "1.0", "pass", 0),
        (0, 10, "0", "pass", 0),
        (0, 10, "1E-30", "fail", 1),
    ],
)
def test_shares(count: int, samples: int, threshold: str, outcome: str, short: int) -> None:
    verdict = judged("min-clean-accuracy", threshold, clean_correct=count, samples=samples)
    assert (verdict.outcome, verdict.short) == (outcome, short)


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.decimals(0, 1, places=6))
def test_short_is_the_least_that_is_missing(samples: int, count: int, threshold: Any) -> None:
    count = min(count, samples)
    least = Fraction(threshold)
    more = missing((count, samples), least)
    assert Fraction(count + more, samples) >= least
    assert more == 0 or Fraction(count + more - 1, samples) < least


@pytest.mark.parametrize(
    ("value", "threshold", "outcome"),
    [
        (2.5, "2.5", "pass"),
        (math.nextafter(2.5, 3), "2.5", "fail"),
        (0.1, "0.1", "fail"),  # the float is a little more than the decimal
        (0.1, "0.1000000000000000055511151231257827", "fail"),
        (0.1, "0.1000000000000000055511151231257828", "pass"),
        (0.3, "0.3", "pass"),  # this float is a little less
        (0.0, "0", "pass"),
    ],
)
def test_bounds_are_compared_as_the_numbers_they_are(
    value: float, threshold: str, outcome: str
) -> None:
    verdict = judged("max-lipschitz", threshold, lipschitz=value)
    assert verdict.outcome == outcome
    assert (verdict.above > 0) == (outcome == "fail")


def test_an_infinite_bound_is_an_error_not_a_failure() -> None:
    verdict = judged("max-lipschitz", "2", lipschitz=math.inf)
    assert verdict.outcome == "error"
    assert verdict.problem is not None
    assert verdict.problem.code == UnboundedError.exit_code


@pytest.mark.parametrize(
    ("now", "before", "threshold", "outcome", "short"),
    [
        (970, 980, "0.01", "pass", 0),
        (969, 980, "0.01", "fail", 1),
        (990, 980, "0", "pass", 0),
        (979, 980, "0", "fail", 1),
        (0, 980, "1", "pass", 0),
    ],
)
def test_drops(now: int, before: int, threshold: str, outcome: str, short: int) -> None:
    verdict = judged("max-drop", threshold, before=record(clean_correct=before), clean_correct=now)
    assert (verdict.outcome, verdict.short) == (outcome, short)


def test_drops_at_an_eps_are_matched_by_value() -> None:
    before = record(certified=(CountAt("1/4", 430),))
    assert judged("max-drop", "0.018", "0.25", before=before).outcome == "pass"
    verdict = judged("max-drop", "0.017", "0.25", before=before)
    assert (verdict.outcome, verdict.short, verdict.before) == ("fail", 1, (430, 1000))


@pytest.mark.parametrize(
    ("before", "fragment"),
    [
        (None, "is not in the baseline"),
        ({"data_sha256": "c" * 64}, "other data (sha256 cccccccccccc, now bbbbbbbbbbbb)"),
        ({"settings": {"norm": "linf", "method": "auto"}}, "has norm = 'linf', and now it is 'l2'"),
        ({"settings": {"norm": "l2", "method": "auto", "normalize": "mean=0"}}, "has normalize"),
        (
            {"settings": {"norm": "l2", "method": "auto", "semantics": "float32"}},
            "has semantics = 'float32', and now it is 'real'",
        ),
        ({"certified": ()}, "nothing was counted at eps=0.25"),
    ],
)
def test_a_baseline_of_something_else_is_an_error(before: Any, fragment: str) -> None:
    stored = None if before is None else record(**before)
    verdict = judged("max-drop", "0.01", "0.25", before=stored)
    assert verdict.outcome == "error"
    assert verdict.problem is not None
    assert verdict.problem.code == InputError.exit_code
    assert fragment in verdict.problem.message
    assert "--update-baseline" in verdict.problem.message


def test_problems_keep_their_codes() -> None:
    assert problem_of(UnboundedError("a", "b")).code == 3
    assert problem_of(MemoryError()).code == 4
    unexpected = problem_of(ValueError("x" * 1000))
    assert unexpected.code == 4
    assert unexpected.message.startswith("internal error (ValueError: xxx")
    assert unexpected.message.endswith("please report it with its model; -vv shows where")
    assert len(unexpected.message) < 400


def test_records_survive_json() -> None:
    found = record(certified=(CountAt("36/255", 3, 5), CountAt("1", 0)))
    assert read_record("here", found.object) == found


def test_records_that_do_not_tell_their_semantics_are_of_real_arithmetic() -> None:
    older = {**record().object, "settings": {"norm": "l2", "method": "auto"}}
    assert read_record("here", older) == record()
    assert read_record("here", older).semantics == "real"


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": 0},
        {"samples": None},
        {"clean_correct": 1001},
        {"clean_correct": 9.5},
        {"clean_correct": True},
        {"certified": [{"eps": "big", "count": 1}]},
        {"certified": [{"eps": "1", "count": 2000}]},
        {"certified": 3},
        {"lipschitz": -1},
        {"lipschitz": "nan"},
        {"norm": 2},
        {"settings": None},
    ],
)
def test_records_that_make_no_sense_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="here: holds no usable record"):
        read_record("here", {**record().object, **changes})
