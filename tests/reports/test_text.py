"""Text at several widths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lipcert.bounds.result import Obstacle
from lipcert.inspection import Factor
from lipcert.reports import render
from lipcert.reports.text_certificates import bar

WIDTHS = (80, 120)


def wide(text: str) -> int:
    return max(map(len, text.splitlines()))


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "result", ["bound", "exact_bound", "unbounded", "certificates", "inspection"]
)
def test_fits_the_width(width: int, result: str, request: pytest.FixtureRequest) -> None:
    assert wide(render(request.getfixturevalue(result), width=width)) <= width


def test_numbers_are_whole_however_narrow(inspection: Any) -> None:
    name = "/model/stage1/block2/very/long/scope/BatchNormalization"
    layer = replace(
        inspection.layers[0],
        name=name,
        onnx_type="BatchNormalization",
        norm=123456.789,
        output_shape=(1, 2048, 1024, 1024),
        parameters=123456789,
    )
    text = render(replace(inspection, layers=(layer,)), width=20)
    assert "…" in text
    for number in ("123456.8", "1×2048×1024×1024", "123,456,789"):
        assert number in text


def test_names_are_whole_where_there_is_room(inspection: Any) -> None:
    name = "/model/stage1/block2/very/long/scope/Conv"
    layers = (replace(inspection.layers[0], name=name),)
    assert name in render(replace(inspection, layers=layers), width=120)
    assert name not in render(replace(inspection, layers=layers), width=70)


def test_bound_text(bound: Any) -> None:
    text = render(bound)
    assert "proven upper bound    12.34567891" in text
    assert "steepest slope found  11.11111111" in text
    assert "in real arithmetic on the weights that the file holds" in text
    assert "‖f(x) − f(y)‖₂ ≤ 12.34567891 · ‖x − y‖₂ for all inputs x and y." in text


def test_exact_bound_text(bound: Any, exact_bound: Any) -> None:
    text = render(exact_bound)
    assert "11.11111112  method exact: the constant itself, up to rounding" in text
    assert "method    bound                    how" in text
    assert "exact     11.11111112  ✓ smallest  all patterns of 12 neurons\n" in text
    assert "autolip   20.5\n" in text
    assert "here the search falls short" in text
    for absent in ("the constant itself", "how", "falls short"):
        assert absent not in render(bound)


def test_a_single_method_tells_how_it_came_about(exact_bound: Any) -> None:
    alone = replace(exact_bound, methods={"exact": exact_bound.value})
    assert "exact   11.11111112  ✓ smallest  all patterns of 12 neurons\n" in render(alone)
    assert "method  bound" not in render(replace(alone, details={}))


def test_long_words_on_how_are_broken_into_lines(exact_bound: Any) -> None:
    how = "all patterns of 36 neurons, no input known to be that steep"
    text = render(replace(exact_bound, details={"exact": how}), width=70)
    assert wide(text) <= 70
    assert "11.11111112  ✓ smallest  all patterns of" in text
    rows = text[text.index("✓ smallest") + len("✓ smallest") : text.index("averaged ")]
    assert " ".join(rows.split()) == how


def test_pairs_as_a_matrix_or_their_extremes(bound: Any) -> None:
    small = render(bound, width=80)
    assert "·  1.250" in small
    table = np.add.outer(np.arange(12.0), np.arange(12.0)) + 1.5
    np.fill_diagonal(table, 0.0)
    large = replace(bound, pairwise=tuple(map(tuple, table.tolist())))
    assert "10.50  11.50" in render(large, width=120)
    narrow = render(large, width=60)
    assert "largest   22.5  outputs 10 and 11" in narrow
    assert "--format json has all of them" in narrow


def test_certificates_text(certificates: Any) -> None:
    text = render(certificates, width=80)
    assert "correct                       6/7  85.7 %" in text
    assert "certified at 36/255 = 0.1412  5/7  71.4 %" in text
    assert "certified at 9                0/7   0.0 %  ························" in text
    assert "Normalisation inside the certified map: mean 0.5, std 0.25, 0.5." in text
    assert "classified differently" not in text
    assert "3 samples are classified differently" in render(
        replace(certificates, disagreements=3), width=100
    )


def test_inspection_text(inspection: Any) -> None:
    text = render(inspection, width=100)
    assert "5,180 parameters, opset 17" in text
    assert "✓ 1-Lipschitz, 2 of 5 layers" in text
    assert "and 1 slope of 1" in text
    assert "product  ≤ 6.774000339" in text
    assert "Nothing stands in the way" in text
    obstacles = tuple(Obstacle(f"mul{i}", "Mul", "has no constant", "remove it") for i in (1, 2))
    text = render(replace(inspection, obstacles=obstacles))
    assert text.count("has no constant") == 1
    assert "mul1 (Mul)" in text
    assert "mul2 (Mul)" in text


def test_branches_are_mentioned(inspection: Any) -> None:
    factors = (*inspection.factors, Factor("input → output", 1.0, "exact", "output"))
    text = render(replace(inspection, factors=factors))
    assert "the autolip bound, branches joined" in text


def test_color_is_on_request(bound: Any) -> None:
    assert "\x1b[" in render(bound, color=True)
    assert "\x1b[" not in render(bound)


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "····"), (1, "▏···"), (500, "██··"), (999, "███▉"), (1000, "████")]
)
def test_bar(count: int, shown: str) -> None:
    assert bar(count, 1000, 4) == shown
