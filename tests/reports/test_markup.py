"""Markdown and HTML: nothing in a name is read as markup."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from lipcert.bounds.result import Obstacle
from lipcert.reports import render
from lipcert.reports.markdown import code, escaped
from lipcert.reports.notebook import bound_table, certificate_table, layer_table

TAGS = {"div", "strong", "p", "table", "thead", "tbody", "tr", "th", "td"}


class Balance(HTMLParser):
    """Counts tags; anything that is not one of ours fails."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag in TAGS
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def balanced(html: str) -> None:
    parser = Balance()
    parser.feed(html)
    parser.close()
    assert not parser.open


def test_notebook_tables(
    bound: Any, exact_bound: Any, unbounded: Any, certificates: Any, inspection: Any
) -> None:
    for html in (
        bound_table(bound),
        bound_table(exact_bound),
        bound_table(unbounded),
        certificate_table(certificates),
        layer_table(inspection),
        bound._repr_html_(),
        certificates._repr_html_(),
        inspection._repr_html_(),
    ):
        balanced(html)
    assert '<td style="text-align: left">12.34567891</td>' in bound_table(bound)
    assert "all patterns of 12 neurons" in bound_table(exact_bound)
    assert "method exact: the constant itself, up to rounding" in bound_table(exact_bound)
    assert "no finite l2 bound" in bound_table(unbounded)
    assert "multiplies two signals" in bound_table(unbounded)
    assert "5/7" in certificate_table(certificates)
    assert "Nothing stands in the way" in layer_table(inspection)


def test_names_are_escaped_in_html(
    bound: Any, inspection: Any, certificates: Any, evil: str
) -> None:
    named = replace(bound, model=evil, details={"averaged": evil})
    obstacles = (Obstacle(evil, evil, "has <no> constant", "remove it"),)
    layers = (replace(inspection.layers[0], name=evil),)
    for html in (
        bound_table(named),
        certificate_table(replace(certificates, bound=named, data=evil)),
        layer_table(replace(inspection, model=evil, layers=layers, obstacles=obstacles)),
    ):
        balanced(html)
        assert "&lt;b&gt;" in html
        assert "\x1b" not in html


@pytest.mark.parametrize(
    "fixture", ["bound", "exact_bound", "unbounded", "certificates", "inspection"]
)
def test_markdown_tables_have_even_rows(fixture: str, request: pytest.FixtureRequest) -> None:
    widths: list[int] = []
    for line in [*render(request.getfixturevalue(fixture), "markdown").splitlines(), ""]:
        if line.startswith("|"):
            widths.append(line.count("|"))
        else:
            assert len(set(widths)) <= 1
            widths = []


def test_names_are_code_in_markdown(inspection: Any, evil: str) -> None:
    layers = (replace(inspection.layers[0], name=evil),)
    text = render(replace(inspection, layers=layers), "markdown")
    row = next(line for line in text.splitlines() if "<b>" in line)
    assert row.startswith("| `conv<b>")
    assert row.count("|") == text.splitlines()[4].count("|")
    assert code("a`b|c") == "`aʼb❘c`"
    assert escaped("<b>|*") == r"\<b\>\|\*"
