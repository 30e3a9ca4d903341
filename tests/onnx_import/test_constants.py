"""Computed constants: the exact result lies within the radius of the computed one."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import NodeProto, helper

from lipcert.errors import LipcertError
from lipcert.onnx_import.constants import Constant, NotFiniteError
from lipcert.onnx_import.folding import DECIDING, FOLDERS, STRUCTURAL, fold
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


# --- balls and the numbers in them -------------------------------------------------------------

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


# --- one reference per folder ------------------------------------------------------------------

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


# --- elements that only move, exactness and refusals -------------------------------------------

MOVES: dict[str, tuple[tuple[int, ...], list, dict]] = {
    "Reshape": ((2, 3), [np.array([3, 2])], {}),
    "Transpose": ((2, 3), [], {"perm": [1, 0]}),
    "Slice": ((2, 3), [np.array([2]), np.array([-4]), np.array([1]), np.array([-1])], {}),
    "Gather": ((2, 3), [np.array([1, 0, 1])], {"axis": 1}),
    "Expand": ((1, 3), [np.array([2, 3])], {}),
    "Tile": ((2, 1), [np.array([1, 3])], {}),
    "Squeeze": ((1, 3), [np.array([0])], {}),
    "Unsqueeze": ((3,), [np.array([0])], {}),
    "Flatten": ((2, 3), [], {"axis": 0}),
    "Identity": ((3,), [], {}),
    "Trilu": ((3, 3), [], {"upper": 0}),
    "Pad": ((2, 2), [np.array([1, 0, 0, 1]), np.array(-0.75)], {}),
    "Cast": ((3,), [], {"to": 1}),
}


@pytest.mark.parametrize("kind", MOVES)
@settings(QUICK, max_examples=12)
@given(data=st.data())
def test_elements_keep_their_balls_when_they_move(kind: str, data):
    shape, others, attributes = MOVES[kind]
    ball, exact = data.draw(balls(shape, ORDINARY))
    assume(ball.radius is not None or kind != "Cast")  # of exact numbers a cast rounds
    rest = [Constant(other) for other in others]
    truth = Constant(exact.astype(np.float64))
    near = exact.astype(np.float64)  # the exact numbers to float64: their distance is accounted
    slack = np.spacing(np.abs(near))
    wide = None if ball.radius is None else ball.radius + slack
    moved = folded(kind, [Constant(ball.value, wide, ball.sources), *rest], **attributes)
    wanted = folded(kind, [truth, *rest], **attributes) if kind != "Cast" else truth
    assert (np.abs(moved.middle - wanted.middle) <= moved.spread).all()
    assert moved.sources == ("w",)


@settings(QUICK, max_examples=60)
@given(
    a=st.floats(-1e6, 1e6, width=32),
    b=st.floats(-1e6, 1e6, width=32),
    kind=st.sampled_from(["Add", "Sub", "Mul", "Div"]),
)
def test_no_radius_means_no_rounding(a: float, b: float, kind: str):
    assume(kind != "Div" or b != 0.0)
    result = folded(kind, [Constant(np.array(a)), Constant(np.array(b))])
    x, y = Fraction(a), Fraction(b)
    exact = {"Add": x + y, "Sub": x - y, "Mul": x * y, "Div": x / y if y else x}[kind]
    if result.radius is None:
        assert Fraction(float(result.middle)) == exact


def test_small_whole_numbers_stay_exact():
    eight, seven = Constant(np.array(8.0)), Constant(np.array(7.0))
    assert folded("Sub", [eight, Constant(np.array(1.0))]).radius is None
    assert folded("Mul", [eight, seven]).radius is None
    assert folded("Sqrt", [Constant(np.array(64.0))]).radius is None
    assert folded("Div", [seven, eight]).radius is None
    assert folded("Div", [eight, seven]).radius is not None


@pytest.mark.parametrize("kind", ["Greater", "Floor", "Sign", "ArgMax", "Equal"])
def test_decisions_on_inexact_numbers_are_refused(kind: str):
    inexact = Constant(np.ones(2), np.full(2, 1e-9))
    operands = [inexact, Constant(np.ones(2))] if kind in ("Greater", "Equal") else [inexact]
    assert kind in DECIDING
    with pytest.raises(LipcertError, match="known only up to rounding"):
        folded(kind, operands)


@pytest.mark.parametrize("kind", ["Conv", "Asin", "LSTM", "Einsum"])
def test_other_operators_on_real_constants_are_refused(kind: str):
    assert kind not in {*STRUCTURAL, *FOLDERS}
    with pytest.raises(LipcertError, match="rounding is not bounded"):
        folded(kind, [Constant(np.ones(2)), Constant(np.ones(2))])


def test_scattering_with_a_sum_is_refused():
    data, index = Constant(np.ones(3)), Constant(np.array([[1]]))
    with pytest.raises(LipcertError, match="scatters"):
        folded("ScatterND", [data, index, Constant(np.ones(1))], reduction="add")


@QUICK
@given(data=st.data())
def test_norms_of_radii_are_upper_bounds(data):
    middle = np.zeros((3, 4))
    radius = np.array(
        [data.draw(st.one_of(st.floats(0.0, 1.0), st.floats(0.0, 1e-300))) for _ in range(12)]
    ).reshape(3, 4)
    constant = Constant(middle, radius)
    exact = [[Fraction(float(r)) for r in row] for row in radius]
    norms = constant.matrix_error()
    assert Fraction(norms.linf) >= max(sum(row) for row in exact)
    assert Fraction(norms.l1) >= max(sum(column) for column in zip(*exact, strict=True))
    squares = sum(r * r for row in exact for r in row)
    assert Fraction(constant.total_error()) ** 2 >= squares
    assert Fraction(constant.largest_error().l2) >= max(map(max, exact))


def test_constants_that_are_not_finite_are_not_used():
    for constant in (
        Constant(np.array([1.0, np.inf])),
        Constant(np.array([np.nan])),
        Constant(np.ones(1), np.array([np.inf])),
        Constant(np.ones(1), np.array([np.nan])),
    ):
        with pytest.raises(NotFiniteError):
            constant.tensor()
