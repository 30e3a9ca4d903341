"""The page of sensitivities as text: what it tells, rounded outward, and what it must not hide."""

from __future__ import annotations

import html
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reading.page import Page

from lipcert.reports import render
from lipcert.reports.html.sensitivity_page import sensitivity_object_html
from lipcert.reports.html.source import record_file
from lipcert.reports.words import printable

NO_GUARANTEE = "No privacy guarantee."


@pytest.fixture
def page(analysis: Any) -> Page:
    return Page(render(analysis, "html"))


def test_tells_the_figures(page: Page, analysis: Any) -> None:
    text = page.text()
    for words in (
        "Sensitivity Δ ≤ 50.12345679 add or remove one example",
        "Replace one example ≤ 100.2469136 2Δ",
        "ε ≤ 3.999998 at δ = 1e-05, add-remove",
        "Noise multiplier σ 1.100001 found for ε = 4",
        "Truth / Δ 0.271 largest of 450 true gradients of digits 0.462 by search",
        "Without tightenings ≤ 701.25",
        "Norm of inputs ≤ 8.000001 pixels in [0, 1]",
        "Loss constant ≤ 1.414214",
        "has an l2 norm of at most 50.12345679: proved in real arithmetic",
        "Input set pixels in [0, 1]: l2 norm at most 8.000001",
        "Loss cross-entropy with τ = 1",
        "those of this checkpoint only",
        "Without these the bound grows by less than 0.01 %: suffix.",
        "(3.999998, 1e-05)-differentially private under add-remove adjacency",
        "accountant RDP",
        "sampling rate ≤ 0.047513",
        "conv 224 30.00001 55.1358 0.8614968",
        "Noise is drawn anew at every step.",
        "Warning. delta is large.",
        "conv Conv 8.000001 12.5 30.00001 0.222 conv.weight 30.00001 conv.bias 0.01234568 pixels",
        "head.weight 10×128 1,280 1 40 0.249",
        "conv.weight 8×3×3×3 216 1 30.00001 0.219",
        "The true gradients of 1 parameter are not known, and in none of these norms: gate.scale.",
        "The largest has norm 13.59999, of at most 50.12346 proved.",
        "all parameters 13.59999 50.12346 0.271 64",
        "all parameters, by search 23.19999 50.12346 0.462 searched",
        "What is not covered",
        analysis.sensitivities.model_sha256,
        "Computed on cpu",
        "python 3.11.7, lipcert 0.1.0",
    ):
        assert words in text, words
    assert NO_GUARANTEE not in text


def test_charts_tell_what_is_in_them_and_their_data_are_tables(page: Page) -> None:
    charts = [chart["id"] for chart in page.all("svg") if chart.get("role") == "img"]
    names = ("tightenings", "delta", "ratio")
    assert charts == [f"{name}-{size}" for name in names for size in ("wide", "narrow")]
    told = {element["id"]: element["text"] for element in page.all("desc")}
    assert "as published, made sound: 701.25 (×13.9)." in told["tightenings-wide-desc"]
    assert "without head: 62.655 (+24.9 %)." in told["tightenings-narrow-desc"]
    assert "conv: 30.001." in told["delta-wide-desc"]
    assert "conv: 0.222. head: 0.249." in told["ratio-wide-desc"]
    for name in ("tightenings-data-table", "truth-data-table"):
        found = next(table for table in page.all("table") if table["id"] == name)
        assert "details" in found["parents"]
    sortable = [t["id"] for t in page.all("table") if t.get("class") == "sortable"]
    assert sortable == [
        "noise-table", "layers-table", "parameters-table", "truth-data-table",
    ]  # fmt: skip


def test_every_tightening_is_told_with_what_it_is(page: Page) -> None:
    text = page.text()
    assert "all but head 62.65432 +24.9 % the last layer taken together with the loss" in text
    assert "all but suffix 50.12345679 – constants of all that follows a layer" in text
    assert "all of them 50.12345679 –" in text


def test_what_rests_on_data_alone_says_so_first(data_only: Any) -> None:
    page = Page(render(data_only, "html"))
    notices = [e["text"] for e in page.all("p") if e.get("role") == "note"]
    assert [NO_GUARANTEE in text for text in notices] == [True, True, False]
    assert "Nor are the ε and the noise on this page." in notices[0]
    assert page.text().index(NO_GUARANTEE) < page.text().index("Sensitivity Δ ≤")
    assert "the run would be (3.999998, 1e-05)-differentially private" in page.text()
    assert "for this data only: no guarantee" in page.text()
    alone = Page(render(replace(data_only, privacy=None, comparison=None), "html")).text()
    assert alone.count(NO_GUARANTEE) == 1 and "ε" not in alone


def test_without_data_privacy_and_tightenings(plain_analysis: Any) -> None:
    page = Page(render(plain_analysis, "html"))
    sections = [element["id"] for element in page.all("section")]
    assert sections == ["sensitivity", "layers", "proof", "origin"]
    links = [link["href"] for link in page.all("a")]
    assert "#privacy" not in links and "#truth" not in links
    assert "the algorithm as published, made sound, without tightenings" in page.text()
    assert [c["id"] for c in page.all("svg") if c.get("role") == "img"] == [
        "delta-wide", "delta-narrow",
    ]  # fmt: skip
    assert "truth / Δ" not in page.text()


def test_tightenings_that_were_not_compared(plain_analysis: Any) -> None:
    found = replace(plain_analysis.sensitivities, plain_delta=math.inf)
    text = Page(render(replace(plain_analysis, sensitivities=found), "html")).text()
    assert "What each tightening is worth by itself was not computed." in text
    assert "Without tightenings ≤ inf" in text
    assert "nan" not in text


def test_no_gradient_at_all(plain_analysis: Any) -> None:
    """A loss without slope: every bound is zero, and nothing is divided by it."""
    found = plain_analysis.sensitivities
    layers = tuple(replace(layer, G=0.0, delta=0.0) for layer in found.layers)
    still = replace(found, global_delta=0.0, plain_delta=0.0, layers=layers, gains={"head": 0.0})
    text = Page(render(replace(plain_analysis, sensitivities=still), "html")).text()
    assert "Sensitivity Δ ≤ 0 " in text and "nan" not in text


def test_many_layers_stay_readable(analysis: Any) -> None:
    """Charts have the layers of the largest Δ, tables have all."""
    found = analysis.sensitivities
    first = found.layers[0]
    layers = tuple(replace(first, name=f"node_{i}", delta=1.0 + i % 97) for i in range(300))
    many = replace(found, layers=layers)
    text = render(replace(analysis, sensitivities=many, comparison=None), "html")
    page = Page(text)
    assert "The 60 of 300 layers with the largest Δ; the tables have all." in page.text()
    layer_table = next(e for e in page.all("table") if e["id"] == "layers-table")
    assert all(f"node_{i} " in layer_table["text"] for i in range(300))
    described = next(e["text"] for e in page.all("desc") if e["id"] == "delta-wide-desc")
    assert described.count("node_") == 60 and "node_96:" in described and "node_0:" not in described
    assert len(text.encode()) < 400_000


def test_names_are_text(analysis: Any, evil: str) -> None:
    evil += "</script><img src=x onerror=alert(1)>{{ 7*7 }}</style>'\"&amp;"
    plain = "p" * len(printable(evil))

    def named(name: str) -> str:
        found, compared, privacy = analysis.sensitivities, analysis.comparison, analysis.privacy
        parameter = replace(found.parameters[0], name=name)
        layer = replace(
            found.layers[0], name=name, onnx_type=name, how_X=name, how_G=name,
            parameters=(parameter,),
        )  # fmt: skip
        reached = replace(compared.layers[0], name=name)
        return render(
            replace(
                analysis,
                sensitivities=replace(
                    found, model=name, loss=name, input_kind=name, device=name, layers=(layer,),
                    parameters=(parameter,), gains={name: 99.0}, semantics=name,
                    versions={"python": name, name: name},
                ),
                comparison=replace(
                    compared, data=name, layers=(reached,), left_out=(name,),
                    parameters=(replace(reached, bound=40.0),),
                ),
                privacy=replace(
                    privacy, adjacency=name, accountant=name, allocation=name,
                    layers=(replace(privacy.layers[0], name=name),), assumptions=(name,),
                ),
            ),
            "html",
        )  # fmt: skip

    bad, good = named(evil), named(plain)
    assert "\x1b" not in bad
    assert [e["tag"] for e in Page(bad).elements] == [e["tag"] for e in Page(good).elements]
    assert [set(e) for e in Page(bad).elements] == [set(e) for e in Page(good).elements]
    assert "{{ 7*7 }}" in html.unescape(bad) and "49" not in Page(bad).all("h1")[0]["text"]


@pytest.mark.parametrize("name", ["analysis", "data_only", "plain_analysis"])
def test_same_result_same_bytes_and_same_page_from_a_file(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    found = request.getfixturevalue(name)
    later = replace(found, sensitivities=replace(found.sensitivities, seconds=99.0))
    path = tmp_path / "r.json"
    path.write_text(render(found, "json"), encoding="utf-8")
    values = json.loads(path.read_text(encoding="utf-8"))
    for format in ("html", "markdown"):
        text = render(found, format)
        assert text == render(later, format)
        assert text == render(record_file(path), format)
    assert sensitivity_object_html(values) == render(found, "html")


def test_text_still_tells_the_time(analysis: Any) -> None:
    assert "1.2 s · cpu" in render(analysis, "text")
