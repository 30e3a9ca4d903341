"""The page as text: well formed, accessible by its markup, and shut off from the network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reading.page import TEXTUAL, Page

from lipcert.certification.scores import scores_of
from lipcert.reports import render
from lipcert.reports.html.page import object_html, record_html
from lipcert.reports.html.record import record_of
from lipcert.reports.html.sentences import proved
from lipcert.reports.html.source import record_file
from lipcert.reports.json_certificates import certificates_object
from lipcert.reports.words import certificate_statement, printable


@pytest.fixture
def page(attacked: Any) -> Page:
    return Page(render(attacked, "html"))


@pytest.fixture(params=["attacked", "proved", "analysis", "data_only", "plain_analysis"])
def any_result(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


@pytest.fixture
def any_page(any_result: Any) -> Page:
    return Page(render(any_result, "html"))


def test_is_well_formed(any_page: Page) -> None:
    page = any_page
    ids = [element["id"] for element in page.elements if "id" in element]
    assert len(set(ids)) == len(ids)
    for element in page.elements:
        for attribute in ("aria-labelledby", "aria-describedby"):
            assert set(element.get(attribute, "").split()) <= set(ids)
        if element.get("href"):
            assert element["href"].removeprefix("#") in ids
        for found in re.findall(r"url\(#(.+?)\)", str(element.get("fill"))):
            assert found in ids


def test_says_what_it_is_to_those_who_do_not_see_it(any_page: Page) -> None:
    page = any_page
    assert page.all("html")[0]["lang"] == "en"
    named = {element.get("name"): element.get("content") for element in page.all("meta")}
    assert named["viewport"] == "width=device-width, initial-scale=1"
    charts = [chart for chart in page.all("svg") if chart.get("role") == "img"]
    titles = len(page.all("title")) - len(charts)
    assert len(page.all("h1")) == len(page.all("main")) == titles == 1 and charts
    assert page.all("a")[0]["href"] == "#" + page.all("main")[0]["id"]
    levels = [int(element["tag"][1]) for element in page.all("h1", "h2", "h3", "h4")]
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    for table in page.all("table"):
        assert any(
            caption["id"] == table["id"].replace("-table", "-caption") and caption["text"].strip()
            for caption in page.all("caption")
        )
    for head in page.all("th"):
        assert head["scope"] in ("row", "col", "colgroup")
    for image in page.all("img"):
        assert image["alt"] and image["width"] and image["height"]
    for chart in page.all("svg"):
        if chart.get("aria-hidden") == "true" or "legend" in str(chart["parents"]):
            continue
        if chart.get("role") == "img":
            titled = [element.get("id") for element in page.all("title", "desc")]
            assert set(chart["aria-labelledby"].split()) <= set(titled)


def test_charts_are_there_and_their_data_too(page: Page) -> None:
    charts = [chart for chart in page.all("svg") if chart.get("role") == "img"]
    assert [chart["id"] for chart in charts] == [
        "curve-wide", "curve-narrow", "histogram-wide", "histogram-narrow",
    ]  # fmt: skip
    for name in ("curve-data-table", "histogram-data-table"):
        found = next(table for table in page.all("table") if table["id"] == name)
        assert "details" in found["parents"]


def test_asks_the_network_for_nothing(any_result: Any) -> None:
    text = render(any_result, "html")
    page = Page(text)
    for element in page.elements:
        for name, value in element.items():
            assert not name.startswith("on"), name
            if name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
                assert value.startswith(("#", "data:image/png;base64,")), value
    style = page.all("style")[0]["text"]
    assert not re.search(r"url\(|@import|expression", style)
    assert not re.search(r"https?:|//|import|fetch|XMLHttp|eval", script_code(page))
    assert "http://" not in text and "https://" not in text
    assert not page.all("link", "iframe", "object", "embed", "form", "base", "audio", "video")


def script_code(page: Page) -> str:
    (script,) = page.all("script")
    return re.sub(r"^\s*//.*$", "", script["text"], flags=re.MULTILINE)


def test_policy_admits_the_page_and_nothing_else(any_page: Page) -> None:
    page = any_page
    (policy,) = [
        element["content"]
        for element in page.all("meta")
        if element.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    assert set(rules) == {
        "default-src", "style-src", "script-src", "img-src", "base-uri", "form-action",
    }  # fmt: skip
    for tag in TEXTUAL:
        (element,) = page.all(tag)
        digest = base64.b64encode(hashlib.sha256(element["text"].encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert not any("style" in element for element in page.elements)


def test_tells_the_figures(page: Page, attacked: Any) -> None:
    text = page.text()
    for words in (
        "Clean accuracy 85.7 % 6/7 predicted correctly",
        "Certified at ε = 36/255 = 0.1412 71.4 % 5/7 certified 6/7 left by the attack, 85.8 %",
        "Certified at ε = 0.5 14.2 % 1/7 certified 3/7 left by the attack, 42.9 %",
        "Certified at ε = 9 0.0 % 0/7 certified 0/7 left by the attack, 0.0 %",
        "Median radius 0.29999",
        "Lipschitz constant ≤ 12.34567891",
        "mean 0.31763 smallest 0 largest 0.75",
        "Attacked by PGD (50 steps, 3 restarts, seed 0).",
        "certified accuracy ≤ true robust accuracy ≤ attacked accuracy",
        "mean 0.5, std 0.25, 0.5",
        "0 to 1; the proof holds beyond it too",
        "ONNX Runtime and real arithmetic choose the same class for every sample.",
        "1 wrong prediction is left out.",
        "averaged 12.34567891 ✓ used",
        "conv1 Conv 1×8×14×14 1,250 linear 2.000001 no torus",
        "What is not covered",
        attacked.command,
        attacked.data_sha256,
        "python 3.11.7, lipcert 0.1.0",
    ):
        assert words in text, words


def test_statements_are_those_of_the_other_formats(attacked: Any) -> None:
    assert proved(record_of(certificates_object(attacked))) == certificate_statement(attacked)


def test_without_an_attack_there_is_one_curve(certificates: Any) -> None:
    text = render(certificates, "html")
    page = Page(text)
    assert [found for found in page.all("path") if found.get("class") == "line attacked"] == []
    assert "attack" not in page.text()
    assert "Command that gives" not in page.text()
    assert not [element for element in page.elements if element.get("id") in ("samples", "scores")]


def test_samples_without_images_are_tables(attacked: Any) -> None:
    bare = tuple(replace(example, pixels=None) for example in attacked.worst)
    page = Page(render(replace(attacked, worst=bare, best=()), "html"))
    assert not page.all("img")
    assert [t["id"] for t in page.all("table") if t["id"].startswith(("worst", "best"))] == [
        "worst-table"
    ]
    assert "4 1 1 0.12345" in page.text()


def test_scores_of_a_binary_model(attacked: Any) -> None:
    labels = np.array([0, 1, 1, 0, 1, 1, 0])
    values = np.array([-1.0, 1.5, 2.0, -2.25, 0.6, 3.75, 0.1])
    scores = scores_of(values, labels, 2.0, ((0.5, "0.5"), (9.0, "9")))
    text = Page(render(replace(attacked, scores=scores), "html")).text()
    assert "4 positive samples, 3 negative samples" in text
    assert "mean certified radius (MCR) 0.78571" in text
    assert re.search(r"certified AUROC ≥ 0\.5 0\.666666 9 0 ", text)
    alone = replace(scores, auroc=())
    assert "AUROC is defined where" in Page(render(replace(attacked, scores=alone), "html")).text()


def test_infinite_radii(attacked: Any) -> None:
    radii = np.array([np.inf] * 6 + [0.0])
    endless = replace(attacked, radii=radii, adversarial=radii)
    page = Page(render(endless, "html"))
    assert "6 samples of infinite radius are left out" in page.text()
    assert not re.search(r"\bnan\b", page.text())
    cells = [cell.get("data-value") for cell in page.all("td")]
    assert "Infinity" in cells and "inf" not in cells


def test_names_are_text(attacked: Any, evil: str) -> None:
    evil += "</script><img src=x onerror=alert(1)>{{ 7*7 }}</style>'\"&amp;"
    plain = "p" * len(printable(evil))

    def named(name: str) -> str:
        bound = replace(
            attacked.bound, model=name, output=name, details={"averaged": name}, device=name
        )
        return render(
            replace(
                attacked,
                bound=bound,
                data=name,
                units=name,
                command=name,
                layers=(replace(attacked.layers[0], name=name, onnx_type=name, how=name),),
                certified=(replace(attacked.certified[0], eps_text=name),),
                versions={"python": name, name: name},
            ),
            "html",
        )

    bad, good = named(evil), named(plain)
    assert "\x1b" not in bad
    assert [e["tag"] for e in Page(bad).elements] == [e["tag"] for e in Page(good).elements]
    attributes = [set(e) for e in Page(bad).elements]
    assert attributes == [set(e) for e in Page(good).elements]
    assert "{{ 7*7 }}" in html.unescape(bad) and "49" not in Page(bad).all("h1")[0]["text"]


def test_same_result_same_bytes_and_same_page_from_a_file(attacked: Any, tmp_path: Path) -> None:
    text = render(attacked, "html")
    assert text == render(replace(attacked, seconds=99.0), "html")
    path = tmp_path / "r.json"
    path.write_text(render(attacked, "json"), encoding="utf-8")
    assert record_html(record_file(path)) == text
    assert object_html(json.loads(path.read_text(encoding="utf-8"))) == text


def test_ten_thousand_samples_stay_small(attacked: Any) -> None:
    random = np.random.default_rng(0)
    n = 10_000
    labels = random.integers(0, 100, n)
    large = replace(
        attacked,
        samples=n,
        clean_correct=n,
        radii=random.random(n),
        adversarial=np.full(n, 1.5),
        labels=labels,
        predictions=labels,
        layers=attacked.layers * 60,
    )
    assert len(render(large, "html").encode()) < 1_000_000


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_in_light_in_dark_and_in_print(page: Page) -> None:
    style = page.all("style")[0]["text"]
    palettes = [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(palettes) == 3 and len({len(palette) for palette in palettes}) == 1
    for colors in palettes:
        for text in ("ink", "soft", "link", "certified", "attacked"):
            assert contrast(colors[text], colors["paper"]) >= 4.5, text
        assert contrast(colors["ink"], colors["sheet"]) >= 4.5
        for ground in ("certified-area", "between"):
            assert contrast(colors["ink"], colors[ground]) >= 4.5
        for shape in ("axis", "focus", "clean"):
            assert contrast(colors[shape], colors["paper"]) >= 3.0, shape
        assert contrast(colors["certified"], colors["certified-area"]) >= 3.0
        assert contrast(colors["attacked"], colors["between"]) >= 3.0
