"""Computed constants: the exact result lies within the radius of the computed one."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from lipcert_test_builders.enclosures import (
    ORDINARY,
    QUICK,
    SHAPES,
    Exact,
    assert_encloses,
    balls,
    folded,
    real,
)

from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.folding import FOLDERS

ELEMENTARY: dict[str, Callable[[Fraction], Exact]] = {
    "Neg": lambda x: -x,
    "Abs": abs,
    "Relu": lambda x: max(x, Fraction(0)),
    "Exp": lambda x: mpmath.exp(real(x)),
    "Tanh": lambda x: mpmath.tanh(real(x)),
    "Sigmoid": lambda x: 1 / (1 + mpmath.exp(-real(x))),
    "Softplus": lambda x: mpmath.log1p(mpmath.exp(real(x))),
    "Erf": lambda x: mpmath.erf(real(x)),
    "Sin": lambda x: mpmath.sin(real(x)),
    "Cos": lambda x: mpmath.cos(real(x)),
    "Atan": lambda x: mpmath.atan(real(x)),
}
POSITIVE: dict[str, Callable[[Fraction], Exact]] = {
    "Sqrt": lambda x: mpmath.sqrt(real(x)),
    "Log": lambda x: mpmath.log(real(x)),
    "Reciprocal": lambda x: 1 / x,
}
PAIRS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
    "Add": lambda x, y: x + y,
    "Sum": lambda x, y: x + y,
    "Sub": lambda x, y: x - y,
    "Mul": lambda x, y: x * y,
    "Max": max,
    "Min": min,
}
REDUCTIONS: dict[str, Callable[[list[Fraction]], Exact]] = {
    "ReduceSum": lambda xs: sum(xs, Fraction(0)),
    "ReduceMean": lambda xs: sum(xs, Fraction(0)) / len(xs),
    "ReduceL1": lambda xs: sum(map(abs, xs), Fraction(0)),
    "ReduceL2": lambda xs: mpmath.sqrt(real(sum((x * x for x in xs), Fraction(0)))),
    "ReduceSumSquare": lambda xs: sum((x * x for x in xs), Fraction(0)),
    "ReduceMax": max,
    "ReduceMin": min,
}
OTHERS = {"Div", "Pow", "Range", "MatMul", "Gemm", "Clip"}


def test_every_folder_has_a_reference():
    assert set(FOLDERS) == {*ELEMENTARY, *POSITIVE, *PAIRS, *REDUCTIONS, *OTHERS}


def mapped(function: Callable, *arrays: np.ndarray) -> np.ndarray:
    broadcast = np.broadcast_arrays(*arrays)
    result = np.empty(broadcast[0].shape, dtype=object)
    result.reshape(-1)[:] = [
        function(*items) for items in zip(*(a.reshape(-1) for a in broadcast), strict=True)
    ]
    return result


@pytest.mark.parametrize("kind", ELEMENTARY)
@QUICK
@given(data=st.data())
def test_elementary_functions(kind: str, data):
    tame = kind in ("Exp", "Sigmoid", "Softplus", "Tanh", "Erf", "Sin", "Cos")
    numbers = st.one_of(ORDINARY, st.floats(-700.0, 700.0), st.floats(-1e-300, 1e-300))
    ball, exact = data.draw(balls(data.draw(st.sampled_from(SHAPES)), numbers if tame else None))
    assert_encloses(folded(kind, [ball]), mapped(ELEMENTARY[kind], exact))


@pytest.mark.parametrize("kind", POSITIVE)
@QUICK
@given(data=st.data())
def test_functions_of_positive_numbers(kind: str, data):
    ball, exact = data.draw(balls(data.draw(st.sampled_from(SHAPES)), low=1e-300))
    assume(all(x > 0 for x in exact.reshape(-1)))
    assert_encloses(folded(kind, [ball]), mapped(POSITIVE[kind], exact))


@pytest.mark.parametrize("kind", PAIRS)
@QUICK
@given(data=st.data())
def test_sums_products_and_extremes(kind: str, data):
    shapes = data.draw(
        st.sampled_from([((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2,))])
    )
    (a, x), (b, y) = (data.draw(balls(shape)) for shape in shapes)
    assert_encloses(folded(kind, [a, b]), mapped(PAIRS[kind], x, y))


@QUICK
@given(data=st.data())
def test_quotients(data):
    (a, x), (b, y) = data.draw(balls((2, 3))), data.draw(balls((3,)))
    quotient = folded("Div", [a, b])
    broadcast = np.broadcast_to(y, (2, 3))
    safe = np.array([[bool(v != 0) for v in row] for row in broadcast])
    truth = mapped(lambda u, v: u / v if v != 0 else Fraction(0), x, y)
    assert not (np.isfinite(quotient.spread) & np.isfinite(quotient.middle) & ~safe).any()
    assert_encloses(quotient, truth)


@pytest.mark.parametrize("kind", REDUCTIONS)
@QUICK
@given(data=st.data(), axes=st.sampled_from([[0], [1], [0, 1], [-1], None]))
def test_reductions(kind: str, data, axes):
    ball, exact = data.draw(balls((2, 3)))
    keepdims = data.draw(st.integers(0, 1))
    attributes = {"keepdims": keepdims} | ({} if axes is None else {"axes": axes})
    result = folded(kind, [ball], opset=11, **attributes)
    along = tuple(axis % 2 for axis in ([0, 1] if axes is None else axes))
    kept = [axis for axis in (0, 1) if axis not in along]
    groups = np.moveaxis(exact, kept, range(len(kept)))
    groups = groups.reshape(*(exact.shape[axis] for axis in kept), -1)
    truth = np.empty(groups.shape[:-1], dtype=object)
    for index in np.ndindex(*truth.shape):
        truth[index] = REDUCTIONS[kind](list(groups[index]))
    assert_encloses(result, truth.reshape(result.value.shape))


@QUICK
@given(data=st.data(), power=st.sampled_from([1.0, 2.0, 3.0, 0.5, -0.5, -1.0]))
def test_powers(data, power: float):
    positive = power in (0.5, -0.5)
    ball, exact = data.draw(balls((2, 3), low=1e-200 if positive else -math.inf))
    assume(all(x > 0 if positive else x != 0 for x in exact.reshape(-1)))
    result = folded("Pow", [ball, Constant(np.array([[[power]]]))])
    truth = mapped(
        lambda x: mpmath.sqrt(real(x)) ** int(2 * power) if positive else x ** int(power), exact
    )
    assert_encloses(result, truth.reshape(1, 2, 3))


@QUICK
@given(data=st.data())
def test_matrix_products(data):
    shapes = data.draw(st.sampled_from([((2, 3), (3, 2)), ((3,), (3, 2)), ((2, 2, 3), (3, 1))]))
    (a, x), (b, y) = (data.draw(balls(shape)) for shape in shapes)
    truth = np.asarray(np.dot(x, y), dtype=object)
    assert_encloses(folded("MatMul", [a, b]), truth)


@QUICK
@given(data=st.data(), flips=st.tuples(st.booleans(), st.booleans()))
def test_gemm(data, flips):
    left, right = ((3, 2) if flips[0] else (2, 3)), ((2, 3) if flips[1] else (3, 2))
    (a, x), (b, y), (c, z) = (data.draw(balls(shape)) for shape in (left, right, (2,)))
    alpha, beta = 0.1, 3.0
    options = dict(zip(("transA", "transB"), map(int, flips), strict=True))
    result = folded("Gemm", [a, b, c], alpha=alpha, beta=beta, **options)
    product = np.dot(x.T if flips[0] else x, y.T if flips[1] else y)
    scale = Fraction(float(np.float32(alpha)))
    assert_encloses(result, product * scale + z * Fraction(beta))


@QUICK
@given(data=st.data(), limits=st.tuples(ORDINARY, ORDINARY))
def test_clip(data, limits):
    ball, exact = data.draw(balls((4,)))
    low, high = sorted(limits)
    result = folded("Clip", [ball, Constant(np.array(low)), Constant(np.array(high))])
    assert_encloses(result, mapped(lambda x: min(max(x, Fraction(low)), Fraction(high)), exact))


@QUICK
@given(
    start=ORDINARY,
    count=st.integers(-2, 20),
    step=st.floats(1e-3, 3.0),
    sign=st.sampled_from([1, -1]),
)
def test_range(start: float, count: int, step: float, sign: int):
    step = sign * step
    stop = start + (count - 0.5) * step
    result = folded("Range", [Constant(np.array(v)) for v in (start, stop, step)])
    steps = (Fraction(stop) - Fraction(start)) / Fraction(step)
    truth = [Fraction(start) + k * Fraction(step) for k in range(max(0, math.ceil(steps)))]
    exact = np.empty(len(truth), dtype=object)
    exact[:] = truth
    assert_encloses(result, exact)
