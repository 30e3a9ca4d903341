"""The product of an inspection's factors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lipcert.inspection import Factor
from lipcert.reports.product import product_of


def test_chain(inspection: Any) -> None:
    product = product_of(inspection)
    assert product == pytest.approx(2.0000001 * 1.129 * 3.0, rel=1e-14)
    assert product >= 2.0000001 * 1.129 * 3.0


def test_branches_are_added(inspection: Any) -> None:
    factors = (
        Factor("input → a", 2.0, "dense"),
        Factor("a", 0.5, "slope"),
        Factor("input → b", 1.0, "exact"),
        Factor("a → b", 3.0, "dense"),
        Factor("b", 1.0, "slope"),
        Factor("b → output", 1.0, "exact"),
        Factor("input → output", 5.0, "dense"),
    )
    assert product_of(replace(inspection, factors=factors)) == pytest.approx(9.0, rel=1e-14)


@pytest.mark.parametrize("name", ["a", "input", "output", "x → y"])
def test_names_that_do_not_tell_factors_apart(inspection: Any, name: str) -> None:
    factors = (
        Factor("input → a", 2.0, "dense"),
        Factor("a", 1.0, "slope"),
        Factor(f"a → {name}", 3.0, "dense"),
        Factor(name, 1.0, "slope"),
        Factor(f"{name} → output", 1.0, "exact"),
    )
    assert product_of(replace(inspection, factors=factors)) is None
