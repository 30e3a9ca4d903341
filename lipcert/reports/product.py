"""The value of the product that an inspection's factors make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipcert.rounding import add_up, mul_up

if TYPE_CHECKING:
    from lipcert.inspection import Factor, Inspection

SLOPE = "slope"
ARROW = " → "
ENDS = ("input", "output")


def product_of(inspection: Inspection) -> float | None:
    """``ℓ_0 = 1``, ``ℓ_k = β_k Σ_j ‖A_kj‖ ℓ_j``: factors multiplied, joining branches added.

    Rounded upward.  AutoLip joins branches more tightly, so this is never below it.  None where
    the nodes' names do not tell them apart.
    """
    names = [factor.label for factor in inspection.factors if is_slope(factor)]
    if len({*names, *ENDS}) < len(names) + len(ENDS) or any(ARROW in name for name in names):
        return None
    constants = {"input": 1.0}
    arriving: dict[str, float] = {}
    for factor in inspection.factors:
        if is_slope(factor):
            constants[factor.label] = mul_up(factor.value, arriving.pop(factor.label, 0.0))
            continue
        source, _, target = factor.label.partition(ARROW)
        if source not in constants:
            return None
        part = mul_up(factor.value, constants[source])
        arriving[target] = add_up(arriving.get(target, 0.0), part)
    return arriving.get("output", 0.0)


def is_slope(factor: Factor) -> bool:
    """Whether a factor is a nonlinearity's constant, not an operator's norm."""
    return factor.how == SLOPE
