"""Charts: drawn on the safe side, with round numbers and labels that do not collide."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lipcert.certification.result import CertifiedAt
from lipcert.reports import render
from lipcert.reports.html.bars import histogram_charts
from lipcert.reports.html.curve import curve_charts
from lipcert.reports.html.record import record_of
from lipcert.reports.html.scale import (
    CHARACTER,
    NARROW,
    SIZES,
    WIDE,
    Scale,
    Tick,
    apart,
    number_ticks,
    round_steps,
)


def record(certificates: Any) -> Any:
    return record_of(json.loads(render(certificates, "json")))


def corners(path: str) -> list[tuple[float, float]]:
    """Corners of a path of M, L and V."""
    found: list[tuple[float, float]] = []
    for command, numbers in re.findall(r"([MLV])([^MLVZ]+)", path):
        parts = [float(part) for part in numbers.split()]
        found.append((found[-1][0], parts[0]) if command == "V" else (parts[0], parts[1]))
    return found


def height(path: str, at: float) -> tuple[float, float]:
    """Lowest and highest point of a stepped line at a place, in pixels from the top."""
    points = corners(path)
    here = []
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        if min(x0, x1) <= at <= max(x0, x1):
            assert x0 == x1 or y0 == y1, "stepped"
            here += [y0, y1]
    return max(here), min(here)


@pytest.mark.parametrize("seed", range(5))
def test_the_curves_are_drawn_on_the_safe_side(attacked: Any, seed: int) -> None:
    random = np.random.default_rng(seed)
    n = 300
    labels = np.zeros(n, dtype=np.int64)
    radii = random.gamma(2.0, 0.2, n)
    adversarial = radii * random.uniform(1.0, 2.0, n)
    run = replace(
        attacked, samples=n, clean_correct=n, radii=radii, adversarial=adversarial, labels=labels,
        predictions=labels,
        certified=tuple(
            CertifiedAt(e, str(e), int((radii > e).sum()), int((adversarial > e).sum()))
            for e in (0.1, 0.5)
        ),
    )  # fmt: skip
    found = record(run)
    for chart, size in zip(curve_charts(found), SIZES, strict=True):
        x = size.across(found.curve[-1].eps)
        y = size.upward(1.0)
        for eps in random.uniform(0.0, found.curve[-1].eps * 0.999, 200):
            at = x(eps)
            top = height(chart.certified, at)[1]
            assert top >= y(float((radii > eps).mean())) - 0.11 or at in {
                x(point.eps) for point in found.curve
            }
            bottom = height(chart.attacked, at)[0]
            assert bottom <= y(float((adversarial > eps).mean())) + 0.11 or at in {
                x(point.eps) for point in found.curve
            }
        for mark, level in zip(chart.marks, found.levels, strict=True):
            assert mark.tick.at == x(level.eps)
            assert mark.certified == y(level.certified / n)
            assert mark.attacked == y(level.attacked / n)


def test_everything_stays_on_the_paper(attacked: Any) -> None:
    found = record(attacked)
    for chart in (*curve_charts(found), *histogram_charts(found)):
        size = chart.size
        for tick in (*chart.across, *chart.upward):
            assert 0 <= tick.at <= max(size.width - size.right, size.ground)
    for chart in histogram_charts(found):
        for bar in chart.bars:
            assert chart.size.left <= bar.left <= chart.size.width - chart.size.right
            assert bar.top >= chart.size.top
            assert bar.top + bar.height == pytest.approx(chart.size.ground, abs=0.1)
    for curve in curve_charts(found):
        for across, down in corners(curve.certified) + corners(curve.attacked):
            assert curve.size.left <= across <= curve.size.width - curve.size.right
            assert curve.size.top <= down <= curve.size.ground


def test_levels_beyond_the_axis_are_not_marked(attacked: Any) -> None:
    """As in a result that somebody edited."""
    found = record(attacked)
    far = replace(found.levels[-1], eps=1e6)
    for chart in curve_charts(replace(found, levels=(*found.levels[:-1], far))):
        assert len(chart.marks) == len(found.levels) - 1


def test_bars_count_the_samples(certificates: Any) -> None:
    found = record(certificates)
    counted = [count for count in found.histogram.counts if count]
    for chart in histogram_charts(found):
        assert len(chart.bars) == len(counted)
        tallest = max(chart.bars, key=lambda bar: bar.height)
        assert counted[chart.bars.index(tallest)] == max(counted)


def test_nothing_certified_at_all(attacked: Any) -> None:
    run = replace(attacked, clean_correct=0, radii=np.zeros(7), adversarial=np.zeros(7),
                  predictions=1 - attacked.labels.clip(0, 1), certified=(), worst=(), best=())  # fmt: skip
    assert curve_charts(record(run))[0].leader is None
    assert "0/7 predicted correctly" in render(run, "html")


@given(st.floats(1e-300, 1e300), st.integers(1, 12))
def test_ticks_are_round_and_few(top: float, most: int) -> None:
    steps = round_steps(top, most)
    assert 1 <= len(steps) <= most + 1
    assert steps[0] == 0.0
    assert steps[-1] <= top * (1 + 1e-8)
    if len(steps) > 2:
        assert f"{steps[1]:.0e}"[0] in "125"


def test_tick_labels() -> None:
    labels = [tick.label for tick in number_ticks(Scale(0.0, 1.72, 0, 100), 10)]
    assert labels == ["0", "0.2", "0.4", "0.6", "0.8", "1.0", "1.2", "1.4", "1.6"]
    labels = [tick.label for tick in number_ticks(Scale(0.0, 0.03, 0, 100), 4)]
    assert labels == ["0", "0.01", "0.02", "0.03"]
    assert [t.label for t in number_ticks(Scale(0.0, 3.0, 0, 1), 5, whole=True)] == list("0123")
    assert [t.label for t in number_ticks(Scale(0.0, 1.0, 0, 1), 5, whole=True)] == list("01")
    assert [t.label for t in number_ticks(Scale(0.0, 3e-9, 0, 1), 4)][-1] == "3e-09"
    assert round_steps(0.0, 4) == [0.0]


@given(st.lists(st.floats(0.0, 360.0), max_size=12), st.sampled_from(["36/255", "0.5", "9" * 80]))
def test_labels_do_not_collide(places: list[float], text: str) -> None:
    for size in (WIDE, NARROW):
        ticks = [Tick(at, f"ε = {text}", text) for at in sorted(set(places))]
        shown = [tick for tick in apart(ticks, size) if tick.label]
        ends = -1.0
        for tick in shown:
            half = len(tick.label) * CHARACTER / 2
            assert tick.middle - half >= ends - 0.1
            ends = tick.middle + half
        assert ends <= size.width + 0.1
        assert len(apart(ticks, size)) == len(ticks)
