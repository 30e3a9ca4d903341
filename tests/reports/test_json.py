"""JSON: strict, complete, and as the schemas say."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from lipcert.reports import render
from lipcert.reports.json_format import plain

SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"
RESULTS = {
    "bound": "bound",
    "exact_bound": "bound",
    "unbounded": "bound",
    "certificates": "certify",
    "inspection": "inspect",
}
VERSIONS = {"bound": 1, "certify": 2, "inspect": 1}


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def validator(name: str) -> Draft202012Validator:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("fixture", sorted(RESULTS))
def test_follows_its_schema(fixture: str, request: pytest.FixtureRequest) -> None:
    found = strict(render(request.getfixturevalue(fixture), "json"))
    name = RESULTS[fixture]
    assert found["schema"] == f"lipcert/{name}/{VERSIONS[name]}"
    validator(name).validate(found)


ADDED = {
    "bound": ["check", "file", "format"],
    "certify": ["check", "file", "format", "proof", "real"],
    "inspect": ["blocks"],
}
"""The only keys that may be left out, each in one place: older results do not have them."""


@pytest.mark.parametrize("name", sorted(set(RESULTS.values())))
def test_schemas_are_shut(name: str) -> None:
    def objects(node: Any) -> Any:
        if isinstance(node, dict):
            if "properties" in node:
                yield node
            for value in node.values():
                yield from objects(value)
        elif isinstance(node, list):
            for value in node:
                yield from objects(value)

    optional = []
    for found in objects(validator(name).schema):
        assert found["additionalProperties"] is False
        optional += sorted(set(found["properties"]) - set(found["required"]))
        assert sorted(found["required"]) == sorted(set(found["properties"]) - set(optional))
    assert sorted(optional) == ADDED.get(name, [])


def test_full_precision(bound: Any) -> None:
    found = strict(render(bound, "json"))
    assert (found["value"], found["lower"], found["ratio"]) == (
        bound.value,
        bound.lower,
        bound.ratio,
    )
    assert found["pairwise"] == [[0.0, 1.25], [1.25, 0.0]]
    assert found["obstacle"] is None


def test_how_bounds_came_about(bound: Any, exact_bound: Any, certificates: Any) -> None:
    found = strict(render(exact_bound, "json"))
    assert found["details"] == {"exact": "all patterns of 12 neurons"}
    assert found["exact"] is True
    plain = strict(render(bound, "json"))
    assert (plain["details"], plain["exact"]) == ({}, False)
    certified = render(replace(certificates, bound=exact_bound), "json")
    validator("certify").validate(strict(certified))
    assert strict(certified)["bound"]["details"] == exact_bound.details
    assert strict(certified)["bound"]["exact"] is True


def test_infinity_is_a_string_and_nan_is_null(unbounded: Any) -> None:
    found = strict(render(unbounded, "json"))
    assert found["value"] == "inf"
    assert found["ratio"] == "inf"
    assert found["methods"] == {"autolip": "inf", "averaged": "inf"}
    assert found["obstacle"]["node"] == "attention"
    assert plain([math.nan, -math.inf, np.float64(1.5), np.int64(3), True]) == [
        None,
        "-inf",
        1.5,
        3,
        True,
    ]
    with pytest.raises(TypeError):
        plain(object())


def test_certify_object(certificates: Any) -> None:
    found = strict(render(certificates, "json"))
    first = {"eps": 36 / 255, "eps_text": "36/255", "count": 5, "attacked": None}
    assert found["certified"][0] == first
    assert found["radius"]["max"] == 0.75
    assert found["bound"]["lower"] is None
    assert found["normalization"] == {"mean": [0.5], "std": [0.25, 0.5]}
    assert found["input_range"] == [0.0, 1.0]


def test_infinite_radii(certificates: Any) -> None:
    radii = np.array([np.inf] * 6 + [0.0])
    found = strict(render(replace(certificates, radii=radii), "json"))
    assert found["radius"]["max"] == "inf"
    validator("certify").validate(found)


def test_infinite_slopes(inspection: Any) -> None:
    layer = replace(inspection.layers[1], slopes=(-math.inf, math.inf), norm=math.inf)
    found = strict(render(replace(inspection, layers=(layer,)), "json"))
    assert found["layers"][0]["slopes"] == ["-inf", "inf"]
    validator("inspect").validate(found)


def test_one_line_a_key_and_ascii_only(bound: Any) -> None:
    text = render(replace(bound, model="größe\udcff.onnx"), "json")
    assert text.isascii()
    assert '\n  "value": ' in text
    assert strict(text)["model"] == "größe\udcff.onnx"
