"""What a gate's formats tell: verdicts in one line, by how much, and how to look closer."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from lipcert.reports.numbers import HEADLINE, at_most
from lipcert.reports.words import plural, printable

if TYPE_CHECKING:
    from lipcert.gating.check import Check
    from lipcert.gating.record import Record
    from lipcert.gating.result import CheckResult, GateResult, Verdict

SIGNS = {"pass": "PASS", "fail": "FAIL", "error": "ERROR"}
TITLES = {
    "min-clean-accuracy": "Clean accuracy below its minimum",
    "min-certified-accuracy": "Certified accuracy below its minimum",
    "max-lipschitz": "Lipschitz bound above its maximum",
    "max-drop": "Accuracy dropped against the baseline",
}
"""What it means that a condition of each kind is not met."""
INSPECTED = ("norm", "spectral", "device", "input-shape", "output")
"""Settings of a check that ``lipcert inspect`` takes."""
FULL = 800
"""Digits that write out every float exactly."""


def statement(verdict: Verdict) -> str:
    """``certified 412/1000 < 0.50 at eps=0.25 (l2)``: what was found, and what was asked."""
    condition = verdict.condition
    if verdict.outcome == "error":
        return f"{condition_text(verdict)}: not judged"
    if verdict.value is not None:
        sign = "<=" if verdict.outcome == "pass" else ">"
        return f"lipschitz {bound_text(verdict)} {sign} {condition.threshold} ({verdict.norm})"
    assert verdict.share is not None
    sign = ">=" if verdict.outcome == "pass" else "<"
    least = condition.threshold
    if verdict.before is not None:
        least = f"{fraction(verdict.before)} - {least}"
    where = f" at eps={condition.eps} ({arithmetic(verdict)})" if condition.eps else ""
    since = ", drop since the baseline" if verdict.before is not None else ""
    return f"{quantity(verdict)} {fraction(verdict.share)} {sign} {least}{where}{since}"


def quantity(verdict: Verdict) -> str:
    """What is counted."""
    if verdict.condition.kind == "max-lipschitz":
        return "lipschitz"
    return "certified" if verdict.condition.eps else "clean"


def condition_text(verdict: Verdict) -> str:
    """``min-certified-accuracy 0.50 at eps=0.25 (l2)``: what was asked."""
    condition = verdict.condition
    where = f" at eps={condition.eps} ({arithmetic(verdict)})" if condition.eps else ""
    return f"{condition.kind} {condition.threshold}{where}"


def arithmetic(found: Verdict | Check | Record) -> str:
    """``l2``, or ``l2, float32`` where certified counts are for float32."""
    return found.norm if found.semantics == "real" else f"{found.norm}, {found.semantics}"


def fraction(share: tuple[int, int]) -> str:
    """``412/1000``."""
    return f"{share[0]}/{share[1]}"


def bound_text(verdict: Verdict) -> str:
    """The bound rounded upward, with as many digits as its verdict takes to be seen true."""
    assert verdict.value is not None
    threshold = Fraction(verdict.condition.threshold)
    text = at_most(verdict.value, HEADLINE)
    if (Fraction(text) <= threshold) == (verdict.outcome == "pass"):
        return text
    return at_most(verdict.value, FULL)


def shortfall(verdict: Verdict) -> str:
    """``short by 88 samples``, ``above by 1.2``; "" for what is met."""
    if verdict.outcome != "fail":
        return ""
    if verdict.value is not None:
        above = verdict.above
        exact = Context(prec=4, rounding=ROUND_CEILING)
        number = exact.divide(Decimal(above.numerator), Decimal(above.denominator))
        return f"above by {number.normalize():g}"
    return f"short by {plural(verdict.short, 'sample')}"


def closer(check: Check, verdict: Verdict) -> str:
    """The command that shows more of what a verdict rests on."""
    settings = check.settings
    words = ["lipcert"]
    if verdict.condition.kind == "max-lipschitz":
        words += ["inspect", str(check.model)]
        taken = [key for key in settings if key in INSPECTED]
    else:
        words += ["certify", str(check.model), str(check.data)]
        words += ["--labels", str(check.labels)] if check.labels else []
        sizes = (verdict.condition.eps,) if verdict.condition.eps else check.sizes
        words += [word for size in sizes for word in ("--eps", size)]
        taken = list(settings)
    for key in taken:
        words += [f"--{key}", option_text(key, settings[key])]
    if verdict.condition.kind != "max-lipschitz":
        words += ["--radii", f"{_file_name(check.name)}-radii.csv"]
    return printable(shlex.join(words))


def option_text(key: str, value: object) -> str:
    """The value of an option as the command line takes it."""
    if isinstance(value, tuple):
        return ("x" if key == "input-shape" else ",").join(f"{item:g}" for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def verdict_line(verdict: Verdict) -> str:
    """``FAIL certified 412/1000 < 0.50 at eps=0.25 (l2)  [mnist]``."""
    what = statement(verdict)
    return printable(f"{SIGNS[verdict.outcome]} {what}  [{verdict.check}]")


def explanation(result: CheckResult, verdict: Verdict) -> list[str]:
    """By how much, and how to look closer; of an error what it says; nothing for what is met."""
    if verdict.problem:
        return [printable(" ".join(verdict.problem.message.split()))]
    if verdict.outcome == "fail":
        return [f"{shortfall(verdict)}; to look closer: {closer(result.check, verdict)}"]
    return []


def verdict_lines(result: GateResult, *, all_of_them: bool = True) -> Iterator[str]:
    """Every verdict, with what explains it below; one explanation for verdicts that share it."""
    for found in result.checks:
        shown = [v for v in found.verdicts if all_of_them or v.outcome != "pass"]
        for index, verdict in enumerate(shown):
            yield verdict_line(verdict)
            following = shown[index + 1] if index + 1 < len(shown) else None
            if verdict.problem is None or not following or following.problem != verdict.problem:
                yield from (f"     {line}" for line in explanation(found, verdict))


def outcome(result: GateResult) -> str:
    """``gate met: 5 conditions``; how many are not met, and how many could not be judged."""
    total = plural(len(result.verdicts), "condition")
    parts = []
    if result.failures:
        parts.append(f"{len(result.failures)} of {total} not met")
    if result.errors:
        parts.append(f"{len(result.errors)} of {total} not judged")
    if not parts:
        return f"gate met: {total}"
    return f"gate {'in error' if result.errors else 'not met'}: {', '.join(parts)}"


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name).lstrip("-.") or "check"
