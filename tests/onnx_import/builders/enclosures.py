"""Random constants with errors, exact numbers inside them, and what folding makes of them."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from onnx import NodeProto, helper

from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.folding import fold
from lipcert.onnx_import.scope import Scope

mpmath.mp.prec = 400
QUICK = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
SHAPES = [(3,), (2, 3), (1,), ()]
Exact = Fraction | mpmath.mpf

ORDINARY = st.floats(-8.0, 8.0)
EXTREME = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-1e-300, 1e-300),
    st.sampled_from([0.0, 1.0, -1.0, 5e-324, 2.0**-1022, 1e308, 3.4028234663852886e38, 1e-45]),
)


@st.composite
def balls(draw, shape: tuple[int, ...], numbers=None, low: float = -math.inf):
    """A constant with or without radius, and exact numbers inside it."""
    numbers = numbers or draw(st.sampled_from([ORDINARY, EXTREME]))
    size = math.prod(shape)
    middle = np.array([draw(numbers) for _ in range(size)], dtype=np.float64)
    middle = np.maximum(middle, low) if math.isfinite(low) else middle
    inexact = draw(st.booleans())
    radius = np.zeros(size)
    truth = [Fraction(float(m)) for m in middle]
    if inexact:
        widths = st.one_of(st.just(0.0), st.floats(0.0, 1e-6), st.floats(0.0, 0.5))
        radius = np.array([draw(widths) * max(1e-300, abs(float(m))) for m in middle])
        shares = [Fraction(draw(st.integers(-64, 64)), 64) for _ in range(size)]
        truth = [
            t + share * Fraction(float(r))
            for t, share, r in zip(truth, shares, radius, strict=True)
        ]
    constant = Constant(middle.reshape(shape), radius.reshape(shape) if inexact else None, ("w",))
    exact = np.empty(size, dtype=object)
    exact[:] = truth
    return constant, exact.reshape(shape)


def folded(kind: str, operands: list[Constant], opset: int = 17, **attributes) -> Constant:
    """What a node makes of constants."""
    node = node_of(kind, len(operands), **attributes)
    scope = Scope(opset, {f"i{k}": operand for k, operand in enumerate(operands)})
    scope.enter(node, 0)
    return fold(node, scope)[0]


def node_of(kind: str, count: int, **attributes) -> NodeProto:
    return helper.make_node(kind, [f"i{k}" for k in range(count)], ["o"], **attributes)


def assert_encloses(constant: Constant, exact: np.ndarray) -> None:
    """Each exact number is within the radius, wherever value and radius are finite."""
    exact = np.asarray(exact, dtype=object)
    assert constant.value.shape == exact.shape
    for value, radius, truth in zip(
        constant.middle.reshape(-1), constant.spread.reshape(-1), exact.reshape(-1), strict=True
    ):
        if not (math.isfinite(value) and math.isfinite(radius)):
            continue
        if isinstance(truth, Fraction):
            assert abs(Fraction(float(value)) - truth) <= Fraction(float(radius))
        else:
            difference = abs(mpmath.mpf(float(value)) - truth)
            assert difference <= mpmath.mpf(float(radius)) * (1 + mpmath.mpf(2) ** -200)


def real(x: Fraction) -> mpmath.mpf:
    return mpmath.mpf(x.numerator) / x.denominator
