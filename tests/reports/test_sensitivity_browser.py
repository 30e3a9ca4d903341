"""The page of sensitivities in a browser."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from reading.browser import CHROMIUM, DARK, LIGHT, Look

from lipcert.reports import render

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture
def page(analysis: Any) -> str:
    return render(analysis, "html")


@pytest.mark.parametrize(
    ("scheme", "blue"), [(LIGHT, "rgb(11, 99, 176)"), (DARK, "rgb(106, 178, 242)")]
)
def test_charts_are_drawn(look: Look, page: str, scheme: str, blue: str) -> None:
    probe = """
    seen.charts = Array.from(document.querySelectorAll("svg[role=img]"), (svg) => {
      const bars = Array.from(svg.querySelectorAll(".rows rect"));
      return [svg.id, svg.getBoundingClientRect().width,
        bars.map((bar) => bar.getBoundingClientRect().width),
        getComputedStyle(bars[bars.length - 1]).fill];
    });
    seen.track = document.querySelector("#ratio-wide .tracks rect").getBoundingClientRect().width;
    seen.cut = Array.from(document.querySelectorAll("svg.wide text"))
      .filter((text) => text.getBoundingClientRect().width > 0)
      .filter((text) => {
        const paper = text.ownerSVGElement.getBoundingClientRect();
        const box = text.getBoundingClientRect();
        return box.left < paper.left - 1 || box.right > paper.right + 1;
      }).map((text) => text.textContent);
    """
    seen = look(page, probe, scheme=scheme)
    shown = {name: rest for name, *rest in seen["charts"] if rest[0] > 0}
    assert set(shown) == {"tightenings-wide", "delta-wide", "ratio-wide"}
    for width, bars, fill in shown.values():
        assert 600 < width < 1000 and min(bars) > 1 and max(bars) > 200
        assert fill == blue
    shares = [bar / seen["track"] for bar in shown["ratio-wide"][1]]
    assert shares == pytest.approx([0.2713, 0.4628, 0.2222, 0.25], abs=1e-3)
    assert seen["cut"] == seen["errors"] == []


def test_layers_sort(look: Look, page: str) -> None:
    probe = """
    const table = document.getElementById("layers-table");
    const rows = () => Array.from(table.tBodies[0].rows, (row) => row.cells[0].textContent);
    seen.orders = [rows()];
    for (const column of [3, 3, 3, 4, 4, 6]) {
      table.querySelectorAll("th button")[column].click();
      seen.orders.push(rows());
    }
    """
    up, down = ["conv", "head"], ["head", "conv"]
    seen = look(page, probe)
    assert seen["orders"] == [up, down, up, up, up, down, up]
    assert seen["errors"] == []


def test_the_keyboard_reaches_everything(look: Look, page: str) -> None:
    probe = """
    seen.reached = Array.from(document.querySelectorAll("a, button, summary, [tabindex]"))
      .filter((e) => e.tabIndex >= 0)
      .map((e) => e.tagName + " " + (e.textContent || "").trim().slice(0, 30));
    seen.names = Array.from(document.querySelectorAll("button"), (b) => b.textContent.trim());
    """
    seen = look(page, probe)
    assert seen["reached"][0] == "A Skip to the results"
    assert {"BUTTON layer", "BUTTON Δ ≤", "BUTTON truth / Δ"} <= set(seen["reached"])
    assert sum(name.startswith("SUMMARY") for name in seen["reached"]) == 2
    assert sum(name.startswith("DIV") for name in seen["reached"]) == 5
    assert all(seen["names"])


@pytest.mark.parametrize("width", [320, 1000])
def test_long_names_do_not_widen_the_page(look: Look, data_only: Any, width: int) -> None:
    name = "an_unbroken_name_" * 12
    found = data_only.sensitivities
    layers = tuple(replace(layer, name=name + layer.name) for layer in found.layers)
    long = replace(found, model=name, loss=name, input_kind=name, layers=layers)
    result = replace(data_only, sensitivities=long, comparison=None)
    assert look(render(result, "html"), width=width)["width"] == [width, width]
