"""Charts of named values: in proportion, on the paper, and on powers of ten where they must be."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipcert.reports.html.rows import SHEETS, Measure, RowChart, row_charts, spans_decades
from lipcert.reports.html.scale import Decades, decade_ticks
from lipcert.reports.html.sensitivity_charts import bar_text, worth_text

SIZES = st.one_of(st.just(0.0), st.just(math.inf), st.floats(1e-300, 1e300), st.floats(0.0, 10.0))


def measures(*values: float) -> list[Measure]:
    return [Measure(f"layer {i}", value, f"{value:.3g}") for i, value in enumerate(values)]


def check_paper(chart: RowChart) -> None:
    size = chart.size
    for row in chart.rows:
        assert row.left == size.left and row.width >= 0.0
        assert row.left + row.width <= size.width - size.right + 0.1
        assert size.top <= row.top and row.top + row.height <= size.ground
        assert row.text_at[0] <= size.width
    for above, below in zip(chart.rows, chart.rows[1:], strict=False):
        assert above.top + above.height < below.top
    for tick in chart.across:
        assert size.left - 0.1 <= tick.at <= size.width - size.right + 0.1


@given(st.lists(SIZES, min_size=1, max_size=12), st.sampled_from([None, 1.0]))
def test_everything_stays_on_the_paper(values: list[float], most: float | None) -> None:
    if most is not None:
        values = [min(value, most) for value in values]
    for chart in row_charts(measures(*values), most):
        check_paper(chart)
        widths = [row.width for row in chart.rows]
        order = sorted(range(len(values)), key=lambda i: values[i])
        assert all(widths[a] <= widths[b] + 0.1 for a, b in zip(order, order[1:], strict=False)), (
            "longer bars are larger values"
        )


def test_bars_are_in_proportion() -> None:
    for chart in row_charts(measures(1.0, 2.0, 4.0)):
        one, two, four = (row.width for row in chart.rows)
        assert not chart.powers and two == pytest.approx(2 * one, abs=0.3)
        assert four == pytest.approx(4 * one, abs=0.5)
        assert chart.across[0].label == "0"


def test_values_decades_apart_are_on_powers_of_ten() -> None:
    assert not spans_decades(measures(1.0, 99.0))
    assert spans_decades(measures(1.0, 100.0))
    assert spans_decades(measures(0.005), 1.0) and not spans_decades(measures(0.0, 0.5), 1.0)
    for chart in row_charts(measures(0.001, 0.01, 0.1), 1.0):
        assert chart.powers
        small, middle, large = (row.width for row in chart.rows)
        assert small > 0.0 and middle - small == pytest.approx(large - middle, abs=0.2)
        assert [tick.label for tick in chart.across][-1] == "1"
        assert chart.end == chart.size.width - chart.size.right


@given(st.integers(-320, 300), st.floats(2.0, 320.0), st.integers(2, 8))
def test_ticks_at_powers_of_ten_are_few(low: int, span: float, most: int) -> None:
    scale = Decades(low, low + span, 50.0, 850.0)
    ticks = decade_ticks(scale, most)
    assert 1 <= len(ticks) <= most + 1
    steps = {round(b.at - a.at, 0) for a, b in zip(ticks, ticks[1:], strict=False)}
    assert len(steps) <= 2, "evenly apart"


def test_labels_of_powers() -> None:
    labels = [tick.label for tick in decade_ticks(Decades(-6, 0.0, 0.0, 600.0), 3)]
    assert labels == ["10⁻⁶", "0.0001", "0.01", "1"]


def test_long_names_are_shortened_to_fit_and_short_ones_are_not() -> None:
    name = "a_long_name_of_a_layer/" * 9
    for sheet, chart in zip(SHEETS, row_charts([Measure(name, 1.0, "1")]), strict=True):
        shown = chart.rows[0].label
        assert "…" in shown and len(shown) * 7.4 <= (sheet.names or sheet.width)
    assert row_charts(measures(1.0))[0].rows[0].label == "layer 0"


def test_a_bound_beside_its_bar_is_rounded_up_and_a_gain_down() -> None:
    assert bar_text(160.86260687) == "160.87" and bar_text(347750.3) == "347751"
    assert bar_text(0.0) == "0" and bar_text(math.inf) == "inf"
    assert worth_text(1.0669, 1.0) == "+6.68 %" and worth_text(2.0699, 1.0) == "×2.06"
    assert (
        worth_text(1.0, 1.0) == worth_text(1.0, 0.0) == "" and worth_text(math.inf, 1.0) == "×inf"
    )
