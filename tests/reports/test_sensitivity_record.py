"""Sensitivities read from JSON that anyone may have written: a page, or an error with a place."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from reading.spoiling import ANYTHING, at, changed, places

from lipcert.errors import InputError
from lipcert.reports import render
from lipcert.reports.html.sensitivity_page import sensitivity_object_html
from lipcert.reports.html.sensitivity_record import sensitivity_record_of

SCHEMA = Path(__file__).parents[2] / "docs" / "schemas" / "sensitivity.schema.json"
NAMED = ("versions", "gains")
"""Objects whose keys are names."""
NULLABLE = ("truth", "searched", "index", "target_epsilon")
UNREAD = {"schema", "effective_multiplier", "orders", "interval", "relation"}
"""What the page does not need."""


@pytest.fixture
def values(analysis: Any) -> dict[str, Any]:
    return json.loads(render(analysis, "json"))


@pytest.mark.parametrize("name", ["analysis", "data_only", "plain_analysis"])
def test_follows_its_schema(name: str, request: pytest.FixtureRequest) -> None:
    found = json.loads(render(request.getfixturevalue(name), "json"))
    schema = Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    schema.validate(found)
    if "accounting" in found:
        del found["accounting"]["steps"]
        assert not schema.is_valid(found)


def test_every_key_is_needed(values: dict[str, Any]) -> None:
    for path in places(values):
        named = any(name in path[:-1] for name in NAMED)
        if UNREAD & set(path) or named or not isinstance(path[-1], str):
            continue
        found = copy.deepcopy(values)
        del at(found, path[:-1])[path[-1]]
        with pytest.raises(InputError, match=f"has no key '{path[-1]}'") as caught:
            sensitivity_record_of(found)
        assert caught.value.remedy == "write it anew with lipcert sensitivity --report json=FILE"


def test_every_type_is_checked(values: dict[str, Any]) -> None:
    for path in places(values):
        if UNREAD & set(path):
            continue
        old = at(values, path)
        for wrong in ([[]], {"a": 1}, True, "no", -1.5, None):
            fits = type(wrong) is type(old) and not isinstance(wrong, float)
            if fits or (wrong is None and path[-1] in NULLABLE):
                continue
            with pytest.raises(InputError) as caught:
                sensitivity_record_of(changed(values, path, wrong), "r.json")
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
        record = sensitivity_record_of(values)
    except InputError as error:
        assert error.place and error.finding and error.remedy
        return
    text = sensitivity_object_html(values)
    assert "<script>alert" not in text and text.count("<script>") == 1
    text.encode("utf-8")
    render(record, "markdown").encode("utf-8")


@pytest.mark.parametrize(
    ("path", "value", "finding"),
    [
        (("global",), "inf", "not a finite number"),
        (("global",), -1, "not a number from 0 on"),
        (("global",), 10**400, "not a number in the range of float64"),
        (("plain",), "nan", "is 'nan', not a number"),
        (("layers",), [], "not a list of layers"),
        (("layers", 0, "delta"), "inf", "not a finite number"),
        (("layers", 0, "X"), "inf", ""),
        (("parameters", 0, "uses"), 0, "not a positive count"),
        (("parameters", 0, "shape"), [1 << 40, 1 << 40], "more numbers than any result has"),
        (("truth", "samples"), 0, "not a positive count"),
        (("truth", "samples"), 64, "is 64, not a count of at most 63"),
        (("truth", "total", "norm"), 50.2, "is above its bound"),
        (("truth", "total", "ratio"), 0.3, "is not the norm over the bound"),
        (("truth", "layers", 0, "name"), "other", "is not in the model, or is there twice"),
        (("truth", "layers", 1, "name"), "conv", "is not in the model, or is there twice"),
        (("accounting", "delta"), 1.5, "not a number of at most 1"),
        (("accounting", "delta"), 0, "not a positive number"),
        (("noise_multiplier",), 0, "not a positive number"),
        (("epsilon",), "inf", "not a finite number"),
        (("accounting", "batch_size"), 1348, "not a count of at most 1347"),
        (("accounting", "assumptions"), "all", "is 'all', not a list"),
        (("layers",), [0] * 100_001, "has 100001 values, more than any result has"),
        (("model",), "x" * 500, ""),
    ],
)
def test_contradictions(
    values: dict[str, Any], path: tuple[Any, ...], value: object, finding: str
) -> None:
    found = changed(values, path, value)
    if not finding:
        sensitivity_record_of(found)
        return
    with pytest.raises(InputError) as caught:
        sensitivity_record_of(found)
    assert finding in str(caught.value)


@pytest.mark.parametrize("value", [None, 1, "text", [], True])
def test_what_is_no_object(value: object) -> None:
    with pytest.raises(InputError, match="not an object"):
        sensitivity_record_of(value)


def test_privacy_is_there_whole_or_not_at_all(values: dict[str, Any]) -> None:
    keys = ("epsilon", "noise_multiplier", "accounting")
    bare = {key: value for key, value in values.items() if key not in keys}
    assert sensitivity_record_of(bare).privacy is None
    for key in keys:
        with pytest.raises(InputError, match="has no key"):
            sensitivity_record_of({**bare, key: values[key]})


def test_unknown_keys_are_left_alone(values: dict[str, Any]) -> None:
    assert sensitivity_object_html({**values, "later": [1]}) == sensitivity_object_html(values)
