"""What holds for every registered format."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lipcert.errors import InputError
from lipcert.reports import formats_of, render
from lipcert.reports.numbers import at_least, at_most

RESULTS = ("bound", "exact_bound", "unbounded", "certificates", "inspection")


def tells(text: str, value: float, *, upper: bool) -> bool:
    """Whether ``value`` is there, in full or rounded to its safe side."""
    side = at_most if upper else at_least
    return any(form in text for form in (repr(value), *(side(value, n) for n in (5, 7, 10))))


@pytest.mark.parametrize("format", formats_of("LipschitzBound"))
@pytest.mark.parametrize("result", RESULTS)
def test_every_format_renders_every_result(
    format: str, result: str, request: pytest.FixtureRequest
) -> None:
    text = render(request.getfixturevalue(result), format)
    assert text.endswith("\n")
    assert "\x1b" not in text
    assert "net.onnx" in text


@pytest.mark.parametrize("format", formats_of("LipschitzBound"))
def test_every_format_tells_the_same_bound(format: str, bound: Any, unbounded: Any) -> None:
    text = render(bound, format)
    assert tells(text, bound.value, upper=True)
    assert tells(text, bound.lower, upper=False)
    assert tells(text, bound.ratio, upper=True)
    assert tells(text, bound.methods["autolip"], upper=True)
    assert "1.25" in text
    assert bound.method in text
    text = render(unbounded, format)
    for words in (unbounded.obstacle.node, unbounded.obstacle.finding, unbounded.obstacle.help):
        assert words in text
    assert tells(text, unbounded.lower, upper=False)


@pytest.mark.parametrize("format", formats_of("LipschitzBound"))
def test_every_format_tells_what_is_exact_and_how(
    format: str, bound: Any, exact_bound: Any
) -> None:
    text = render(exact_bound, format)
    assert exact_bound.details["exact"] in text
    told = {"json": '"exact": true'}.get(format, "the constant itself, up to rounding")
    assert told in text
    assert told not in render(bound, format)
    for value in exact_bound.methods.values():
        assert tells(text, value, upper=True)


@pytest.mark.parametrize("format", formats_of("Certificates"))
def test_every_format_tells_the_same_counts(format: str, certificates: Any) -> None:
    text = render(certificates, format)
    for entry in certificates.certified:
        assert entry.eps_text in text
        assert any(form in text for form in (f'"count": {entry.count},', f"{entry.count}/7"))
    assert tells(text, certificates.radius.median, upper=False)
    assert tells(text, certificates.radius.mean, upper=False)
    assert "the data's own units" in text


@pytest.mark.parametrize("format", formats_of("Inspection"))
def test_every_format_tells_the_same_layers(format: str, inspection: Any) -> None:
    text = render(inspection, format)
    for layer in inspection.layers:
        assert layer.name in text
        assert layer.onnx_type in text
        assert tells(text, layer.norm, upper=True)
    for factor in inspection.factors:
        assert factor.how in text


@pytest.mark.parametrize("format", formats_of("LipschitzBound"))
def test_names_reach_no_terminal_unescaped(
    format: str, bound: Any, inspection: Any, evil: str
) -> None:
    layers = (replace(inspection.layers[0], name=evil), *inspection.layers[1:])
    for result in (replace(bound, model=evil, output=evil), replace(inspection, layers=layers)):
        text = render(result, format)
        assert "\x1b" not in text
        assert "\n[31m" not in text


def test_unknown_format_and_unknown_result(bound: Any) -> None:
    with pytest.raises(InputError, match=r"format 'pdf'.*json, junit, markdown, sarif, text"):
        render(bound, "pdf")
    with pytest.raises(TypeError, match="str is not one of"):
        render("bound", "json")  # type: ignore[arg-type]
