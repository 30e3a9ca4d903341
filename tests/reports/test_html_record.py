"""Reading JSON that anyone may have written: a page or an error with a place, and nothing else."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading.spoiling import ANYTHING, at, changed, places

from lipcert.errors import InputError
from lipcert.reports import render
from lipcert.reports.html.page import object_html
from lipcert.reports.html.record import record_of
from lipcert.reports.json_certificates import certificates_object
from lipcert.reports.markdown_certificates import record_markdown

NAMED = ("versions", "details", "methods", "normalization")
"""Objects whose keys are names."""
NULLABLE = (
    "attacked", "normalization", "input_range", "scores", "lower", "image", "slopes",
)  # fmt: skip
SIGNED = ("normalization", "input_range", "slopes")
"""Where a number may be negative."""


@pytest.fixture
def values(attacked: Any) -> dict[str, Any]:
    return json.loads(render(attacked, "json"))


def read(path: tuple[Any, ...]) -> bool:
    """Whether the page reads what lies there, under a key that is not a name."""
    return not {"schema", "obstacle"} & set(path) and path[0] != "attack"


def test_every_key_is_needed(values: dict[str, Any]) -> None:
    for path in places(values):
        named = any(name in path[:-1] for name in NAMED)
        if not read(path) or named or not isinstance(path[-1], str):
            continue
        found = copy.deepcopy(values)
        del at(found, path[:-1])[path[-1]]
        with pytest.raises(InputError, match=f"has no key '{path[-1]}'"):
            record_of(found)


def test_every_type_is_checked(values: dict[str, Any]) -> None:
    for path in filter(read, places(values)):
        old = at(values, path)
        signed = isinstance(old, float | int) and any(name in path for name in SIGNED)
        for wrong in ([[]], {"a": 1}, True, "no", -1.5, None):
            fits = type(wrong) is type(old) and not isinstance(wrong, float)
            if fits or (wrong is None and path[-1] in NULLABLE) or (wrong == -1.5 and signed):
                continue
            with pytest.raises(InputError) as caught:
                record_of(changed(values, path, wrong), "r.json")
            assert caught.value.place.startswith("r.json: ")
            assert str(path[0]) in caught.value.place


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_whatever_is_written_there_is_a_page_or_an_error(
    values: dict[str, Any], data: st.DataObject
) -> None:
    paths = list(places(values))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(paths))
        try:
            values = changed(values, path, data.draw(ANYTHING))
        except (KeyError, IndexError, TypeError):
            continue
    try:
        record = record_of(values)
    except InputError as error:
        assert error.place and error.finding and error.remedy
        return
    text = object_html(values)
    assert "<script>alert" not in text and text.count("<script>") == 1
    text.encode("utf-8")
    record_markdown(record).encode("utf-8")


@pytest.mark.parametrize("value", [None, 1, "text", [], True])
def test_what_is_no_object(value: object) -> None:
    with pytest.raises(InputError, match="not an object"):
        record_of(value)


@pytest.mark.parametrize(
    ("path", "value", "finding"),
    [
        (("samples",), 0, "not a positive count"),
        (("samples",), 5, "at most 5"),
        (("clean_correct",), 8, "is 8, not a count of at most 7"),
        (("certified", 0, "attacked"), 4, "more samples as certified than the attack leaves"),
        (("certified", 0, "eps"), "inf", "not a finite number"),
        (("curve", 0, "eps"), 5.0, "does not ascend in eps"),
        (("curve", 1, "certified"), 0, "certifies more samples at a larger eps"),
        (("curve", 1, "attacked"), None, "attacked in parts"),
        (("curve", 0, "attacked"), 0, "than the attack leaves"),
        (("curve",), [], "not a curve"),
        (("histogram", "counts"), [1, 2], "has 41 edges and 2 counts"),
        (("histogram", "edges", 3), 0.0, "do not ascend"),
        (("classes", 0, "certified"), [1], "has 1 counts for 3 eps"),
        (("classes", 0, "samples"), 0, "not a positive count"),
        (("radius", "mean"), "nan", "is 'nan', not a number"),
        (("radius", "mean"), 10**400, "not a number in the range of float64"),
        (("radius", "mean"), -1, "not a number from 0 on"),
        (("worst", 0, "image"), "https://example.org/a.png", "not a small PNG image"),
        (("worst", 0, "image"), "data:image/svg+xml;base64,AAAA", "not a small PNG image"),
        (("worst", 0, "index"), 2**70, "whole number of this size"),
        (("input_range",), [0, 1, 2], "not a list of two numbers"),
        (("curve",), [0] * 100_001, "has 100001 values, more than any result has"),
        (("bound", "exact"), 1, "is 1, not true or false"),
        (("model",), "x" * 500, ""),
        (("model",), ["x"], "is a list, not a string"),
    ],
)
def test_contradictions(
    values: dict[str, Any], path: tuple[Any, ...], value: object, finding: str
) -> None:
    found = changed(values, path, value)
    if not finding:
        record_of(found)
        return
    with pytest.raises(InputError) as caught:
        record_of(found)
    assert finding in str(caught.value)
    assert caught.value.remedy


def test_unknown_keys_are_left_alone(attacked: Any) -> None:
    values = certificates_object(attacked)
    assert object_html({**values, "later": [1, {"x": 2}]}) == object_html(values)
