"""Comparisons as rows of strings, for the readable formats; and as JSON: lipcert/compare/1."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from lipcert.reports.formats import renders
from lipcert.reports.gate_words import arithmetic, fraction, shortfall, verdict_line
from lipcert.reports.json_format import Json, plain_object, written
from lipcert.reports.numbers import HEADLINE, at_most, percentage
from lipcert.reports.words import printable

if TYPE_CHECKING:
    from lipcert.gating.comparison import Comparison, Pair, Row
    from lipcert.gating.record import Record
    from lipcert.gating.result import Verdict

NONE = "–"
LABELS = {
    "clean": "correct",
    "certified": "certified at {eps}",
    "attacked": "left by the attack at {eps}",
    "lipschitz": "Lipschitz bound",
}


def row_cells(row: Row) -> tuple[str, str, str, str]:
    """Label, old, new, change."""
    label = LABELS[row.quantity].format(eps=row.eps)
    return label, side(row.old), side(row.new), change_text(row)


def side(value: tuple[int, int] | float | None) -> str:
    """A share with its percentage, or a bound rounded upward."""
    if value is None:
        return NONE
    if isinstance(value, tuple):
        return f"{fraction(value)} ({percentage(*value)})"
    return at_most(value, HEADLINE)


def change_text(row: Row) -> str:
    """Samples and percentage points, or the difference of two bounds."""
    change = row.change
    if change is None:
        return NONE
    if not isinstance(row.old, tuple) or not isinstance(row.new, tuple):
        return signed(change, 4)
    points = f"{signed(change * 100, 3)} points"
    if row.old[1] != row.new[1]:
        return points
    return f"{row.new[0] - row.old[0]:+d} ({points})" if change else "0"


def signed(number: Fraction, digits: int) -> str:
    """A difference rounded to nearest, with its sign."""
    context = Context(prec=digits, rounding=ROUND_HALF_EVEN)
    value = context.divide(Decimal(number.numerator), Decimal(number.denominator))
    return f"{value.normalize():+f}" if number else "0"


def pair_title(pair: Pair) -> str:
    """The check, or the model where it has no name; and its data."""
    record = pair.new or pair.old
    assert record is not None
    data = f" on {record.data}" if record.data else ""
    named = f"{pair.name}: " if pair.name else ""
    return f"{named}{record.model}{data}, {arithmetic(record)}"


def pair_notes(pair: Pair) -> list[str]:
    """What must be known of a pair: a side that is missing, other data, other settings."""
    if not pair.old or not pair.new:
        return [f"only in the {'new' if pair.new else 'old'} result"]
    notes = []
    if not pair.same_data:
        notes.append("counted on different data: the change is not of the model alone")
    if pair.old.model_sha256 and pair.old.model_sha256 == pair.new.model_sha256:
        notes.append("the model is the same file")
    for key in sorted({*pair.old.settings, *pair.new.settings}):
        old, new = pair.old.settings.get(key), pair.new.settings.get(key)
        if old != new:
            notes.append(f"{key} was {old}, and is {new}")
    return [printable(note) for note in notes]


def drop_line(verdict: Verdict) -> str:
    """A verdict on the largest drop, and by how much it misses."""
    line = verdict_line(verdict) if verdict.check else verdict_line(verdict).removesuffix("  []")
    line = line.replace(", drop since the baseline", "")
    return "; ".join(part for part in (line, shortfall(verdict)) if part)


@renders("json", "Comparison")
def comparison_json(comparison: Comparison) -> str:
    """Schema lipcert/compare/1."""
    return written(comparison_object(comparison))


def comparison_object(comparison: Comparison) -> dict[str, Json]:
    """The object of ``lipcert compare``."""
    return plain_object(
        {
            "schema": "lipcert/compare/1",
            "old": comparison.old,
            "new": comparison.new,
            "max_drop": comparison.max_drop,
            "met": comparison.exit_code == 0,
            "checks": [_pair_object(pair) for pair in comparison.pairs],
        }
    )


def _pair_object(pair: Pair) -> dict[str, object]:
    return {
        "name": pair.name,
        "old": pair.old and _record_object(pair.old),
        "new": pair.new and _record_object(pair.new),
        "same_data": pair.same_data,
        "rows": [_row_object(row) for row in pair.rows],
        "failed": [drop_line(v) for v in pair.verdicts if v.outcome == "fail"],
    }


def _record_object(record: Record) -> dict[str, object]:
    names = ("model", "model_sha256", "data", "data_sha256", "norm", "semantics", "method")
    return {name: getattr(record, name) for name in names}


def _row_object(row: Row) -> dict[str, object]:
    def value(side: tuple[int, int] | float | None) -> object:
        if isinstance(side, tuple):
            return {"count": side[0], "samples": side[1]}
        return side

    change = row.change
    return {
        "quantity": row.quantity,
        "eps": row.eps or None,
        "old": value(row.old),
        "new": value(row.new),
        "change": math.nan if change is None else float(change),
    }
