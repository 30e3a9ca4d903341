"""The page of certificates in a browser."""

from __future__ import annotations

import re
from typing import Any

import pytest
from reading.browser import CHROMIUM, DARK, LIGHT, Look, digest

from lipcert.reports import render

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture
def page(attacked: Any) -> str:
    return render(attacked, "html")


@pytest.fixture(params=["attacked", "analysis", "wordy_analysis"])
def any_page(request: pytest.FixtureRequest) -> str:
    return render(request.getfixturevalue(request.param), "html")


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_nothing_is_wrong_and_nothing_is_loaded(look: Look, any_page: str, scheme: str) -> None:
    seen = look(any_page, scheme=scheme)
    assert seen["errors"] == seen["refused"] == seen["console"] == []
    assert [name for name in seen["resources"] if not name.startswith("data:")] == []
    assert seen["dark"] == (scheme == DARK)


def test_the_probe_would_see_what_is_wrong(look: Look, page: str) -> None:
    probe = """
    console.error("told");
    const image = document.createElement("img");
    image.src = "https://example.org/a.png";
    document.body.append(image);
    document.body.setAttribute("style", "color: red");
    await0();
    """
    seen = look(page, f"try {{ {probe} }} catch (e) {{ console.error(e); }}")
    assert any("told" in line for line in seen["errors"])
    assert any("await0" in line for line in seen["errors"])
    assert any("Content Security Policy" in line for line in seen["console"])


def test_charts_are_drawn(look: Look, page: str) -> None:
    probe = """
    seen.charts = Array.from(document.querySelectorAll("svg[role=img]"), (svg) => {
      const box = svg.getBoundingClientRect();
      const shapes = svg.querySelectorAll("path.line, rect, circle").length;
      const line = svg.querySelector("path.line.certified, .bars rect");
      return [svg.id, box.width, box.height, shapes, getComputedStyle(line).stroke,
        getComputedStyle(line).fill, line.getBoundingClientRect().width];
    });
    seen.images = Array.from(document.images, (i) => [i.complete, i.naturalWidth, i.width]);
    """
    seen = look(page, probe)
    shown = {name: rest for name, *rest in seen["charts"] if rest[0] > 0}
    assert set(shown) == {"curve-wide", "histogram-wide"}
    for width, height, shapes, stroke, fill, extent in shown.values():
        assert 600 < width < 1000 and 250 < height < 450
        assert shapes >= 5 and extent > 10
        assert "rgb(11, 99, 176)" in (stroke, fill)
    assert seen["images"] == [[True, 8, seen["images"][0][2]]] * 3
    assert seen["images"][0][2] >= 90
    dark = look(page, probe, scheme=DARK)
    assert "rgb(106, 178, 242)" in dark["charts"][0]


SORTING = """
const table = document.getElementById("layers-table");
const rows = () => Array.from(table.tBodies[0].rows, (row) => row.cells[0].textContent);
const states = () => Array.from(table.querySelectorAll("th[data-sort]"),
  (head) => head.getAttribute("aria-sort"));
seen.orders = [rows()];
seen.states = [states()];
for (const column of [3, 3, 3, 5, 0]) {
  table.querySelectorAll("th button")[column].click();
  seen.orders.push(rows());
  seen.states.push(states());
}
"""


def test_tables_sort(look: Look, page: str) -> None:
    seen = look(page, SORTING)
    start = ["conv1", "relu1", "pool", "gelu", "gemm"]
    assert seen["orders"] == [
        start,
        ["relu1", "pool", "gelu", "conv1", "gemm"],
        ["gemm", "conv1", "relu1", "pool", "gelu"],
        start,
        ["relu1", "pool", "gelu", "conv1", "gemm"],
        ["conv1", "gelu", "gemm", "pool", "relu1"],
    ]
    none = ["none"] * 8
    at = lambda column, state: [*none[:column], state, *none[column + 1 :]]
    assert seen["states"] == [
        none, at(3, "ascending"), at(3, "descending"), none, at(5, "ascending"),
        at(0, "ascending"),
    ]  # fmt: skip
    assert seen["errors"] == []


def test_the_keyboard_reaches_everything(look: Look, page: str) -> None:
    probe = """
    const reached = Array.from(document.querySelectorAll("a, button, summary, [tabindex]"));
    seen.reached = reached.filter((e) => e.tabIndex >= 0)
      .map((e) => e.tagName + " " + (e.textContent || "").trim().slice(0, 30));
    const skip = document.querySelector(".skip");
    skip.focus();
    seen.skip = [document.activeElement === skip, skip.getBoundingClientRect().top];
    const button = document.querySelector("#classes-table th button");
    button.focus();
    seen.outline = getComputedStyle(button).outlineStyle;
    seen.names = Array.from(document.querySelectorAll("button"), (b) => b.textContent.trim());
    """
    seen = look(page, probe)
    assert seen["reached"][0] == "A Skip to the results"
    assert seen["skip"][0] and seen["skip"][1] >= 0
    assert {"BUTTON class", "BUTTON median radius", "BUTTON l2 norm ≤"} <= set(seen["reached"])
    assert sum(name.startswith("SUMMARY") for name in seen["reached"]) == 2
    assert sum(name.startswith("DIV") for name in seen["reached"]) >= 3
    assert all(seen["names"])


@pytest.mark.parametrize("width", [320, 360, 719, 721])
def test_no_width_needs_scrolling_to_the_side(look: Look, any_page: str, width: int) -> None:
    probe = """
    const spread = Array.from(document.querySelectorAll("body *"))
      .filter((e) => !e.closest(".scroll, .skip, svg"))
      .filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5)
      .map((e) => e.tagName + "." + e.className);
    seen.spread = spread;
    const text = document.querySelector("svg.narrow text");
    const chart = document.querySelector("svg.chart.narrow").getBoundingClientRect();
    seen.text = 13 * chart.width / 360;
    seen.chart = chart.width;
    document.querySelectorAll("details").forEach((e) => { e.open = true; });
    """
    seen = look(any_page, probe, width=width)
    assert seen["width"][1] == width
    assert seen["width"][0] <= width
    assert seen["spread"] == []
    if width < 720:
        assert seen["chart"] > 280 and seen["text"] > 10
    else:
        assert seen["chart"] == 0


def test_paper_cuts_nothing_off(look: Look, any_page: str) -> None:
    """The rules for print, shown on a frame as wide as A4 between its margins."""
    page = any_page
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style
    printed = style[1].replace("@media print", "@media all").replace("@media screen", "@media tty")
    page = page.replace(style[1], printed).replace(digest(style[1]), digest(printed))
    probe = """
    seen.cut = Array.from(document.querySelectorAll("td, th, svg, img, code"))
      .filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.outerHTML);
    seen.hidden = ["nav", ".skip", "details", ".copy button"]
      .filter((name) => getComputedStyle(document.querySelector(name) || document.head)
        .display !== "none");
    seen.ink = [getComputedStyle(document.body).color,
      getComputedStyle(document.body).backgroundColor];
    seen.widths = Array.from(document.querySelectorAll("svg.chart"),
      (e) => e.getBoundingClientRect().width > 500);
    """
    seen = look(page, probe, width=673, scheme=DARK)
    assert seen["cut"] == seen["hidden"] == seen["errors"] == []
    assert seen["ink"] == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    assert seen["widths"] == [True, False] * (len(seen["widths"]) // 2)


def test_long_names_do_not_widen_the_page(look: Look, attacked: Any) -> None:
    from dataclasses import replace

    name = "an_unbroken_name_" * 12
    layers = (replace(attacked.layers[0], name=name, how=name),)
    bound = replace(attacked.bound, model=name, output=name, details={"averaged": name})
    certified = (replace(attacked.certified[0], eps_text="1" * 60),)
    run = replace(
        attacked, bound=bound, data=name, layers=layers, certified=certified, command=name * 4
    )
    seen = look(render(run, "html"), width=360)
    assert seen["width"] == [360, 360]
