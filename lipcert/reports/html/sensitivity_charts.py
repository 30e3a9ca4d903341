"""The charts of the page of sensitivities: what tightenings are worth, layers, and the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from lipcert.reports.html.rows import Measure
from lipcert.reports.html.sensitivity_record import Reached, SensitiveLayer, SensitivityRecord
from lipcert.reports.numbers import at_least, at_most
from lipcert.reports.sensitivity_content import ratio_text

DIGITS, MOST_DIGITS = 5, 7
"""Significant digits beside a bar; more for what is as large as that."""
MOST_LAYERS = 60
"""Layers of a chart; of more, those of the largest Δ."""
HARDLY = 1e-4
"""Share by which a bound must grow without a tightening for that to be drawn."""
PLAIN = "as published, made sound"


class _Named(Protocol):
    @property
    def name(self) -> str: ...


N = TypeVar("N", bound=_Named)


def bar_text(value: float) -> str:
    """A bound beside its bar."""
    whole = math.floor(math.log10(value)) + 1 if 0.0 < value < math.inf else 0
    return at_most(value, whole if DIGITS < whole <= MOST_DIGITS else DIGITS)


def worth_text(value: float, total: float) -> str:
    """How much larger a bound is than the one proved: ``+6.4 %`` or ``×12.3``, downward."""
    if not total > 0.0 or value <= total:
        return ""
    times = value / total
    return f"×{at_least(times, 3)}" if times >= 2.0 else f"+{at_least(100.0 * (times - 1.0), 3)} %"


def worthy(record: SensitivityRecord) -> list[tuple[str, float]]:
    """Tightenings without which the bound grows, and to what: the largest first."""
    least = record.total * (1.0 + HARDLY)
    found = [(name, value) for name, value in record.gains if value > least]
    return sorted(found, key=lambda item: (-item[1], item[0]))


def idle(record: SensitivityRecord) -> list[str]:
    """Tightenings that change hardly anything on this model."""
    used = dict(worthy(record))
    return [name for name, _ in record.gains if name not in used]


def tightening_measures(record: SensitivityRecord) -> tuple[Measure, ...]:
    """The plain bound, the bound without each tightening, and the one with all; none for plain."""
    if not record.gains and record.plain <= record.total:
        return ()
    rows = [_bound(PLAIN, record.plain, record, "plain")]
    for index, (name, value) in enumerate(worthy(record)):
        rows.append(_bound(f"without {name}", value, record, "without", apart=index == 0))
    return (*rows, _bound("with all tightenings", record.total, record, "own", apart=True))


def _bound(
    label: str, value: float, record: SensitivityRecord, tone: str, *, apart: bool = False
) -> Measure:
    worth = worth_text(value, record.total)
    text = bar_text(value) + (f" ({worth})" if worth else "")
    return Measure(label, value, text, tone, apart)


def layer_measures(record: SensitivityRecord) -> tuple[Measure, ...]:
    """Δ of every layer, in the order of the model, or of those with the largest."""
    return tuple(
        Measure(layer.name, layer.delta, bar_text(layer.delta))
        for layer in _largest(record.layers, record.layers)
    )


def truth_measures(record: SensitivityRecord) -> tuple[Measure, ...]:
    """What the data reach of the bound, in all, by search, and in every layer."""
    truth = record.truth
    if truth is None:
        return ()
    rows = [_share("all parameters", truth.total, "total")]
    if truth.searched is not None:
        rows.append(_share("all parameters, by search", truth.searched, "searched"))
    for index, one in enumerate(_largest(truth.layers, record.layers)):
        rows.append(_share(one.name, one, "own", apart=index == 0))
    return tuple(rows)


def _share(label: str, found: Reached, tone: str, *, apart: bool = False) -> Measure:
    return Measure(label, found.ratio, ratio_text(found.ratio), tone, apart)


def _largest(rows: Sequence[N], layers: Sequence[SensitiveLayer]) -> Sequence[N]:
    """The rows, or of many those about the layers of the largest Δ, in the same order."""
    if len(rows) <= MOST_LAYERS:
        return rows
    ranked = sorted(layers, key=lambda layer: -layer.delta)
    kept = {layer.name for layer in ranked[:MOST_LAYERS]}
    return [row for row in rows if row.name in kept][:MOST_LAYERS]
