"""Activations that are written out in small steps, those made of jumps, and jumps that remain."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lipcert_test_builders import nonlinearities, only, read

from lipcert.errors import LipcertError
from lipcert.graph import Affine, Graph
from lipcert.nonlinear import Activation, Product

GELU, TANH_GELU, SILU, MISH = 0.1289041452, 0.1289930687, 0.0998393202, 1.0884981613
ROOT_TWO = np.float32(math.sqrt(2.0))
RATE = np.float32(math.sqrt(2.0 / math.pi))


ACTIVATIONS = {
    "gelu": (
        f"a = Div(x, {ROOT_TWO}) \n b = Erf(a) \n c = Add(b, 1) \n d = Mul(x, c) \n y = Mul(d, 0.5)",
        (-GELU, 1 + GELU),
    ),
    "gelu, gain first": (
        f"h = Mul(0.5, x) \n a = Mul(x, {1 / ROOT_TWO}) \n b = Erf(a) \n c = Add(1, b) \n y = Mul(c, h)",
        (-GELU, 1 + GELU),
    ),
    "gelu, negative": (
        f"a = Div(x, {ROOT_TWO}) \n b = Erf(a) \n c = Sub(-1, b) \n h = Mul(x, 2) \n y = Mul(c, h)",
        (-4 * (1 + GELU), 4 * GELU),
    ),
    "tanh gelu": (
        f"""p = Pow(x, 3) \n q = Mul(p, 0.044715) \n r = Add(x, q) \n s = Mul(r, {RATE})
        t = Tanh(s) \n u = Add(t, 1) \n v = Mul(x, u) \n y = Mul(v, 0.5)""",
        (-TANH_GELU, 1 + TANH_GELU),
    ),
    "tanh gelu, by products": (
        f"""p = Mul(x, x) \n q = Mul(p, x) \n r = Mul(q, 0.044715) \n s = Add(r, x)
        t = Mul({RATE}, s) \n u = Tanh(t) \n v = Add(1, u) \n h = Mul(0.5, x) \n y = Mul(h, v)""",
        (-TANH_GELU, 1 + TANH_GELU),
    ),
    "silu": ("s = Sigmoid(x) \n y = Mul(s, x)", (-SILU, 1 + SILU)),
    "quick gelu": ("a = Mul(x, 1.702) \n s = Sigmoid(a) \n y = Mul(x, s)", (-SILU, 1 + SILU)),
    "silu, mirrored": (
        "n = Neg(x) \n s = Sigmoid(n) \n y = Mul(n, s)", (-1 - SILU, SILU),
    ),
    "mish": ("p = Softplus(x) \n t = Tanh(p) \n y = Mul(x, t)", (-0.1125261224, MISH)),
    "hard swish": (
        "a = Add(x, 3) \n c = Clip(a, 0, 6) \n m = Mul(x, c) \n y = Div(m, 6)", (-0.5, 1.5),
    ),
    "hard swish by HardSigmoid": (
        "h = HardSigmoid(x) alpha=0.25 beta=0.5 \n y = Mul(x, h)", (-0.5, 1.5),
    ),
    "softsign": ("a = Abs(x) \n b = Add(a, 1) \n y = Div(x, b)", (0.0, 1.0)),
    "softsign, scaled": ("a = Abs(x) \n b = Add(a, 4) \n h = Mul(x, 2) \n y = Div(h, b)", (0.0, 0.5)),
    "log sigmoid": ("s = Sigmoid(x) \n y = Log(s)", (0.0, 1.0)),
    "leaky by choice": ("c = Greater(x, 0) \n m = Mul(x, 0.25) \n y = Where(c, x, m)", (0.25, 1.0)),
    "hat": (
        "c = Less(x, 0) \n p = Add(x, 1) \n q = Sub(1, x) \n t = Where(c, p, q) \n y = Relu(t)",
        (-1.0, 1.0),
    ),
    "relu by a mask": ("c = Greater(x, 0) \n f = Cast(c) to=1 \n y = Mul(x, f)", (0.0, 1.0)),
    "soft shrink": (
        """a = Abs(x) \n c = Greater(a, 0.5) \n s = Sign(x) \n t = Mul(s, 0.5) \n d = Sub(x, t)
        z = Mul(x, 0) \n y = Where(c, d, z)""",
        (0.0, 1.0),
    ),
    "two masks": (
        """c = Greater(x, -1) \n d = Less(x, 1) \n b = And(c, d) \n k = Clip(x, -1, 1)
        y = Where(b, x, k)""",
        (0.0, 1.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_written_out_activations_have_their_slopes(name: str):
    program, (low, high) = ACTIVATIONS[name]
    graph = read(program)
    found = nonlinearities(graph)
    assert isinstance(found[0], Activation)
    bound = 1.0
    for node in graph.nodes:
        operation = node.operation
        bound *= (
            operation.operator.absolute_norms.linf
            if isinstance(operation, Affine)
            else operation.slopes.lipschitz
        )
    assert bound == pytest.approx(max(-low, high), rel=1e-4)
    assert_slopes(graph, low, high)


def assert_slopes(graph: Graph, low: float, high: float) -> None:
    """Sampled slopes of the whole graph fill the interval and stay within it."""
    x = torch.linspace(-40.0, 40.0, 200_001, dtype=torch.float64)
    width = graph.input_shape[-1]
    y = graph.evaluate(x[:, None].expand(-1, width))[:, 0]
    slopes = torch.diff(y) / torch.diff(x)
    assert low - 1e-6 * max(1, abs(low)) <= slopes.min() <= low + 0.02 * max(1, abs(low))
    assert high - 0.02 * max(1, abs(high)) <= slopes.max() <= high + 1e-6 * max(1, abs(high))


NOT_GATES = {
    "another signal's sigmoid": "a = Neg(x) \n b = Tanh(a) \n s = Sigmoid(b) \n y = Mul(x, s)",
    "a tanh gelu of other rates": f"""p = Pow(x, 3) \n q = Mul(p, 0.05) \n r = Add(x, q)
        s = Mul(r, {RATE}) \n t = Tanh(s) \n u = Add(t, 1) \n y = Mul(x, u)""",
    "a shifted line": "a = Add(x, 1) \n s = Sigmoid(x) \n y = Mul(a, s)",
    "a square": "y = Mul(x, x)",
    "softsign of other signs": "a = Abs(x) \n b = Sub(1, a) \n y = Div(x, b)",
    "softsign of another signal": "t = Tanh(x) \n a = Abs(t) \n b = Add(a, 1) \n y = Div(x, b)",
    "an unlimited gate": "c = Relu(x) \n y = Mul(x, c)",
    "a one-sided gate": "c = Clip(x, 0) \n y = Mul(x, c)",
}


@pytest.mark.parametrize("name", NOT_GATES)
def test_other_products_stay_unbounded(name: str):
    found = nonlinearities(read(NOT_GATES[name]))
    assert any(isinstance(item, Product) for item in found)


def test_large_numbers_that_cancel_do_not_blur_a_gate():
    program = f"""a = Div(x, {ROOT_TWO}) \n b = Erf(a) \n c = Add(b, 1e20) \n d = Sub(c, 1e20)
    e = Add(d, 1) \n y = Mul(x, e)"""
    slopes = only(read(program)).slopes
    assert slopes.alpha == pytest.approx(-2 * GELU) and slopes.beta == pytest.approx(2 + 2 * GELU)


# --- jumps -------------------------------------------------------------------------------------

JUMPS = {
    "a step": ("c = Greater(x, 0) \n y = Cast(c) to=1", "jumps by 1 where 'x' is 0"),
    "a gap": ("c = Greater(x, 1) \n m = Mul(x, 0.5) \n y = Where(c, x, m)", "jumps by 0.5 where 'x' is 1"),
    "a point": ("c = Equal(x, 2) \n y = Where(c, 0, x)", "jumps by 2 where 'x' is 2"),
    "a sign": ("y = Sign(x)", "is discontinuous"),
    "a sign in a matrix": ("s = Sign(x) \n y = MatMul(s, w)", "is discontinuous"),
    "another branch": ("c = Greater(x, 0) \n t = Tanh(x) \n y = Where(c, x, t)", "chooses by a condition"),
    "softplus": ("p = Softplus(x) \n c = Greater(x, 20) \n y = Where(c, x, p)", "threshold=float"),
    "two signals": ("n = Tanh(x) \n c = Greater(x, n) \n y = Where(c, x, n)", "chooses by a condition"),
    "not a number, other": ("c = IsNaN(x) \n t = Tanh(x) \n y = Where(c, x, t)", "chooses by a condition"),
    "a signal as condition": ("t = Tanh(x) \n y = Where(t, x, t)", "no truth value"),
    "almost nothing": (
        "c = Greater(x, 1) \n m = Mul(x, 0.9999999) \n y = Where(c, x, m)", "jumps by",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", JUMPS)
def test_jumps_are_refused_by_name(name: str):
    program, finding = JUMPS[name]
    with pytest.raises(LipcertError) as caught:
        read(program, w=np.ones((6, 2), np.float32))
    assert finding in str(caught.value)
    assert caught.value.place.startswith("node '") and caught.value.remedy


def test_choices_that_come_to_nothing_are_straight_lines():
    for program in (
        "c = Greater(x, 0) \n y = Where(c, x, x)",
        "s = Sign(x) \n a = Abs(x) \n y = Mul(s, a)",
        "c = Greater(x, inf) \n t = Tanh(x) \n y = Where(c, t, x)",
    ):
        assert not nonlinearities(read(program))
    doubled = read("c = Less(x, 0) \n a = Mul(x, 2) \n b = Add(x, x) \n y = Where(c, a, b)")
    x = torch.randn(5, 6, dtype=torch.float64)
    assert torch.equal(doubled.evaluate(x), 2.0 * x)


def test_not_a_number_is_never_the_case():
    graph = read("s = Softmax(x) axis=1 \n n = IsNaN(s) \n y = Where(n, 0, s)")
    assert [item.name for item in nonlinearities(graph)] == ["Softmax"]
