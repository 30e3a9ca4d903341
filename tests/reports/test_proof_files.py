"""Every format tells of a proof file its name, its format, what it certifies, how to check it."""

from __future__ import annotations

import html
import json
from dataclasses import replace
from typing import Any

import pytest
from reading.page import Page

from lipcert.errors import InputError
from lipcert.reports import render
from lipcert.reports.html.page import object_html
from lipcert.reports.html.record import record_of
from lipcert.reports.json_certificates import certificates_object
from lipcert.reports.markdown_certificates import record_markdown
from lipcert.reports.notebook import certificate_table

CHECK = "lipcert check 'out/my net.proof' net.onnx 'my digits.npz'"
SENTENCE = (
    "The proof file my net.proof (lipcert-proof/1) has 31 claims and 4,567 bytes: it certifies "
    "4 of 5 at 36/255, 1 of 1 at 0.5, 0 of 0 at 9."
)
COST = "Against real arithmetic float32 costs at most 1 sample at one ε."


def told(result: Any, format: str) -> str:
    """What a format says, without its line breaks and marks."""
    text = render(result, format)
    found = Page(text).text() if format == "html" else text
    return " ".join(html.unescape(found).split())


@pytest.mark.parametrize("format", ["text", "markdown", "html"])
def test_the_proof_file_is_told(proved: Any, format: str) -> None:
    text = told(proved, format)
    assert SENTENCE in text and CHECK in text and COST in text
    without = told(replace(proved, proof=None, proved=()), format)
    assert "proof file" not in without.lower() and "lipcert check" not in without


def test_in_markdown_the_command_is_a_block_of_its_own(proved: Any) -> None:
    text = render(proved, "markdown")
    assert f"#### Proof file\n\n{SENTENCE}\n\nTo check it:\n\n```\n{CHECK}\n```\n" in text
    assert f"| sha256 of the proof | `{proved.proof.sha256}` |" in text


def test_counts_in_real_arithmetic_stand_beside_those_for_float32(proved: Any) -> None:
    lines = render(proved, "markdown").splitlines()
    (head,) = (line for line in lines if line.startswith("|  | certified ≤"))
    assert head.endswith("| certified in real arithmetic |")
    (row,) = (line for line in lines if line.startswith("| ε = 36/255"))
    assert "| 5/7 |" in row and row.endswith("| 6/7 |")
    assert "5/7 certified 6/7 in real arithmetic" in told(proved, "html")


def test_the_page_shows_the_proof_to_copy(proved: Any) -> None:
    page = Page(render(proved, "html"))
    (block,) = [element for element in page.elements if element.get("id") == "check"]
    assert block["aria-labelledby"] == "check-heading"
    (digest,) = [element for element in page.elements if element.get("id") == "proof-sha256"]
    assert digest["text"] == proved.proof.sha256


def test_a_file_gives_the_same(proved: Any) -> None:
    values = json.loads(render(proved, "json"))
    assert values["proof"]["check"] == CHECK and values["proof"]["file"] == "my net.proof"
    assert record_markdown(record_of(values)) == render(proved, "markdown")
    assert object_html(values) == render(proved, "html")


def test_a_proof_that_was_not_written_has_no_command(proved: Any) -> None:
    unwritten = replace(proved, proof=replace(proved.proof, file="", check=""))
    values = certificates_object(unwritten)
    assert values["proof"]["file"] is None and values["proof"]["check"] is None
    for format in ("text", "markdown", "html"):
        text = told(unwritten, format)
        assert "The proof file (lipcert-proof/1) has 31 claims" in text
        assert "lipcert check" not in text


def test_results_from_before_files_were_named(proved: Any) -> None:
    values = json.loads(render(proved, "json"))
    for key in ("file", "format", "check"):
        del values["proof"][key]
    assert "The proof file has 31 claims and 4,567 bytes: it certifies 4 of 5" in object_html(
        values
    )


@pytest.mark.parametrize(
    ("key", "value", "finding"),
    [
        ("certified", [4, 1], "has 2 counts for 3 eps"),
        ("certified", [6, 1, 0], "counts more samples than are certified"),
        ("certified", [4, -1, 0], "not a count"),
        ("claims", "many", "not a whole number"),
        ("bytes", None, "not a whole number"),
        ("sha256", 3, "not a string"),
        ("check", 3, "not a string"),
    ],
)
def test_contradictions_are_refused(proved: Any, key: str, value: object, finding: str) -> None:
    values = json.loads(render(proved, "json"))
    values["proof"][key] = value
    with pytest.raises(InputError, match=f"proof.{key}.*{finding}"):
        record_of(values)


def test_names_stay_text(proved: Any, evil: str) -> None:
    bad = replace(proved, proof=replace(proved.proof, file=evil, check=f"{evil} ```", format=evil))
    page = Page(render(bad, "html"))
    plain = Page(render(proved, "html"))
    assert [e["tag"] for e in page.elements] == [e["tag"] for e in plain.elements]
    text = render(bad, "text")
    assert "\x1b" not in text
    assert "````\n" in render(bad, "markdown")


def test_notebooks_tell_it(proved: Any) -> None:
    table = html.unescape(certificate_table(proved))
    assert SENTENCE in table and COST in table


@pytest.mark.parametrize("format", ["text", "markdown"])
def test_a_bound_tells_its_proof_file(bound: Any, facts: Any, format: str) -> None:
    text = told(replace(bound, proof=facts.named("b.proof", "net.onnx")), format)
    assert "b.proof (lipcert-proof/1)" in text
    assert "to check it" in text and "lipcert check b.proof net.onnx" in text
    assert "to check it" not in told(bound, format)
