"""Constants that only move keep their errors; what cannot be bounded is refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lipcert_test_builders import model, op, refused, weights
from lipcert_test_builders.enclosures import ORDINARY, QUICK, balls, folded
from onnx import helper

from lipcert.errors import LipcertError
from lipcert.onnx_import.constants import Constant, NotFiniteError
from lipcert.onnx_import.folding import DECIDING, FOLDERS, STRUCTURAL

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


def test_casts_between_real_types_do_not_round():
    fine = Constant(np.array([1.0 + 2.0**-40, 1e300]))
    assert folded("Cast", [fine], to=1).value is fine.value
    whole = folded("Cast", [Constant(np.array([3, 2**60 + 1]))], to=1)
    assert abs(Fraction(whole.middle[1]) - (2**60 + 1)) <= Fraction(whole.spread[1])
    assert folded("Cast", [Constant(np.array([True, False]))], to=1).middle.tolist() == [1.0, 0.0]
    assert folded("Cast", [Constant(np.array([2.7, -2.7]))], to=7).value.tolist() == [2, -2]


@pytest.mark.parametrize("kind", ["RandomNormal", "RandomUniform", "Bernoulli", "Multinomial"])
def test_random_numbers_are_refused(kind: str):
    shaped = {"shape": [1, 4]} if kind.startswith("Random") else {}
    inputs = [] if shaped else ["w"]
    nodes = [helper.make_node(kind, inputs, ["r"], **shaped), op("Add", "x", "r")]
    assert "rounding" in refused(model(nodes, [("w", weights(1, 4))])).finding


def test_shapes_of_inexact_constants_are_exact():
    inexact = Constant(np.ones((2, 3)), np.full((2, 3), 0.5))
    for kind in ("Shape", "Size", "EyeLike"):
        assert folded(kind, [inexact]).radius is None
    picked = folded(
        "OneHot",
        [
            Constant(np.array([1])),
            Constant(np.array(3)),
            Constant(np.array([0.0, 1.0]), np.array([0.0, 0.25])),
        ],
    )
    assert picked.spread.tolist() == [[0.0, 0.25, 0.0]]


def test_reductions_of_no_axes():
    ball = Constant(np.ones((2, 3)))
    kept = folded("ReduceSum", [ball, Constant(np.zeros(0, np.int64))], noop_with_empty_axes=1)
    assert kept.value.shape == (2, 3)
    with pytest.raises(LipcertError, match="read differently"):
        folded("ReduceL2", [ball], opset=18, noop_with_empty_axes=1)
