"""What is recognised in graphs that are written out in small steps, and what must not be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from lipcert.errors import LipcertError
from lipcert.graph import Affine, Graph
from lipcert.nonlinear import (
    Activation,
    Extremes,
    GroupMax,
    GroupSort,
    Larger,
    LogSoftmax,
    MaskedSoftmax,
    MaxMin,
    Nonlinearity,
    Product,
    RootMeanSquare,
)
from lipcert.onnx_import import build_graph

GELU, TANH_GELU, SILU, MISH = 0.1289041452, 0.1289930687, 0.0998393202, 1.0884981613
ROOT_TWO = np.float32(math.sqrt(2.0))
RATE = np.float32(math.sqrt(2.0 / math.pi))


def read(program: str, shape=(1, 6), opset: int = 13, **constants) -> Graph:
    """A graph from lines ``out = Op(in, in) attribute=value``; the output is ``y``.

    Numbers among the inputs are float32 constants, names may be those of ``constants``.
    """
    nodes, tensors = [], []
    for name, value in constants.items():
        tensors.append(numpy_helper.from_array(np.asarray(value), name))
    lines = [line.strip() for line in program.strip().splitlines()]
    for line in lines:
        head, _, rest = line.partition(" = ")
        op_type, _, rest = rest.partition("(")
        inputs, _, options = rest.partition(")")
        names = []
        for item in filter(None, (part.strip() for part in inputs.split(","))):
            try:
                value = np.float32(float(item))
            except ValueError:
                names.append(item)
                continue
            names.append(f"number{len(tensors)}")
            tensors.append(numpy_helper.from_array(np.asarray(value), names[-1]))
        attributes = dict(part.split("=") for part in options.split())
        parsed = {key: _value(value) for key, value in attributes.items()}
        outputs = [part.strip() for part in head.split(",")]
        nodes.append(helper.make_node(op_type, names, outputs, name=outputs[0], **parsed))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    return build_graph(model, name="m")


def _value(text: str):
    if text.startswith("["):
        return [int(part) for part in text[1:-1].split(",")]
    return float(text) if "." in text else int(text)


def nonlinearities(graph: Graph) -> list[Nonlinearity]:
    return [n.operation for n in graph.nodes if isinstance(n.operation, Nonlinearity)]


def only(graph: Graph) -> Nonlinearity:
    (found,) = nonlinearities(graph)
    return found


# --- gates -------------------------------------------------------------------------------------

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


# --- norms -------------------------------------------------------------------------------------

MEAN = "m = ReduceMean(x) axes=[-1] \n d = Sub(x, m)"
NORMS = {
    "rms": ("q = Mul(x, x) \n v = ReduceMean(q) axes=[1] \n e = Add(v, 0.25) \n r = Sqrt(e) \n y = Div(x, r)", 2.0),
    "rms, reciprocal": (
        "q = Pow(x, 2) \n v = ReduceMean(q) axes=[1] \n e = Add(0.25, v) \n r = Sqrt(e) \n i = Reciprocal(r) \n y = Mul(i, x)",
        2.0,
    ),
    "rms, power": (
        "q = Pow(x, 2) \n v = ReduceMean(q) axes=[1] \n e = Add(v, 0.25) \n i = Pow(e, -0.5) \n y = Mul(x, i)",
        2.0,
    ),
    "offset": (
        "q = Pow(x, 2) \n v = ReduceMean(q) axes=[1] \n r = Sqrt(v) \n e = Add(r, 0.5) \n y = Div(x, e)", 2.0,
    ),
    "both": (
        """q = Pow(x, 2) \n v = ReduceMean(q) axes=[1] \n w = Add(v, 0.25) \n r = Sqrt(w)
        e = Add(r, 0.5) \n y = Div(x, e)""",
        1.0,
    ),
    "unit sphere": ("n = ReduceL2(x) axes=[1] \n c = Clip(n, 0.125) \n y = Div(x, c)", 8.0),
    "unit sphere by Max": ("n = ReduceL2(x) axes=[1] \n c = Max(n, 0.125) \n y = Div(x, c)", 8.0),
    "scaled norm": ("n = ReduceL2(x) axes=[1] \n h = Mul(n, 4) \n e = Add(h, 0.5) \n y = Div(x, e)", 2.0),
    "sum of squares": (
        "q = ReduceSumSquare(x) axes=[1] \n e = Add(q, 4) \n r = Sqrt(e) \n y = Div(x, r)", 0.5,
    ),
    "no dimension kept": (
        "n = ReduceL2(x) axes=[1] keepdims=0 \n u = Unsqueeze(n, one) \n e = Add(u, 0.5) \n y = Div(x, e)", 2.0,
    ),
    "layer": (
        f"""{MEAN} \n n = ReduceMean(x) axes=[1] \n f = Sub(x, n) \n q = Mul(f, f)
        v = ReduceMean(q) axes=[1] \n e = Add(v, 0.25) \n r = Sqrt(e) \n y = Div(d, r)""",
        2.0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMS)
def test_divisions_by_the_own_norm_are_bounded(name: str):
    program, expected = NORMS[name]
    graph = read(program, one=np.array([1]))
    norm = only(graph)
    assert isinstance(norm, RootMeanSquare)
    constants = norm.lipschitz(graph.input_shape)
    assert constants.l2 == pytest.approx(expected, rel=1e-12) and constants.l2 >= expected
    x = torch.randn(2000, 6, dtype=torch.float64) * 10.0 ** torch.linspace(-3, 1, 2000)[:, None]
    step = 1e-4 * torch.randn_like(x) * x.norm(dim=1, keepdim=True)
    moved = graph.evaluate(x + step) - graph.evaluate(x)
    ratio = moved.norm(dim=1) / step.norm(dim=1)
    assert 0.8 * expected <= ratio.max() <= expected * (1 + 1e-9)


@pytest.mark.parametrize(
    "program",
    [
        "t = Tanh(x) \n n = ReduceL2(t) axes=[1] \n e = Add(n, 1) \n y = Div(x, e)",
        "n = ReduceL2(x) axes=[1] keepdims=0 \n e = Add(n, 1) \n y = Div(x, e)",
        "n = ReduceL2(x) axes=[0] \n m = ReduceL2(x) axes=[1] \n e = Add(n, m) \n y = Div(x, e)",
        "n = ReduceL2(x) axes=[1] \n e = Sub(1, n) \n y = Div(x, e)",
        "n = ReduceL2(x) axes=[1] \n c = Clip(n, 0.1, 2) \n y = Div(x, c)",
        "q = Pow(x, 2) \n v = ReduceMean(q) axes=[1] \n e = Sub(v, 1) \n r = Sqrt(e) \n y = Div(x, r)",
    ],
)
def test_divisions_by_other_norms_stay_unbounded(program: str):
    graph = read(program, shape=(6, 6))
    assert any(isinstance(item, Product) for item in nonlinearities(graph))


def test_a_norm_that_may_be_zero_is_named():
    norm = only(read("n = ReduceL2(x) axes=[1] \n y = Div(x, n)"))
    assert math.isinf(norm.lipschitz((1, 6)).l2) and "can be zero" in norm.obstacle and norm.help


# --- maxima and minima -------------------------------------------------------------------------


def test_maximum_and_minimum_of_the_same_operands_are_joined():
    halves = "a = Slice(x, n0, n3, n1) \n b = Slice(x, n3, n6, n1)"
    places = {f"n{k}": np.array([k]) for k in (0, 1, 3, 6)}
    graph = read(f"{halves} \n p = Max(a, b) \n q = Min(b, a) \n y = Concat(p, q) axis=1", **places)
    assert isinstance(only(graph), MaxMin)
    apart = read(f"{halves} \n p = Max(a, b) \n q = Min(a, x) \n y = Sum(p, p)", **places)
    assert isinstance(only(apart), Larger)
    three = read(
        f"{halves} \n c = Neg(a) \n p = Max(a, b, c) \n q = Min(a, b, c) \n y = Concat(p, q) axis=1",
        **places,
    )
    assert len(nonlinearities(three)) == 2
    repeated = read(
        f"{halves} \n p = Max(a, b, b) \n q = Min(a, b) \n y = Concat(p, q) axis=1", **places
    )
    x = torch.randn(3, 6, dtype=torch.float64)
    a, b = x[:, :3], x[:, 3:]
    assert torch.equal(
        repeated.evaluate(x), torch.cat((torch.maximum(a, b), torch.minimum(a, b)), 1)
    )


def test_group_extremes_and_sorting():
    grouped = "r = Reshape(x, s)"
    shape = {"s": np.array([1, 3, 2]), "k1": np.array([1]), "k2": np.array([2])}
    joined = read(
        f"{grouped} \n p = ReduceMax(r) axes=[2] \n q = ReduceMin(r) axes=[2] \n y = Concat(p, q) axis=2",
        **shape,
    )
    assert isinstance(only(joined), Extremes)
    ends = read(
        f"{grouped} \n p,i = TopK(r, k1) axis=2 \n q,j = TopK(r, k1) axis=2 largest=0 \n y = Concat(p, q) axis=2",
        **shape,
    )
    assert isinstance(only(ends), Extremes)
    other_axis = read(
        f"{grouped} \n p = ReduceMax(r) axes=[2] \n q = ReduceMin(r) axes=[1] \n y = Add(p, q)", **shape
    )
    assert [type(item) for item in nonlinearities(other_axis)] == [GroupMax, GroupMax]
    assert isinstance(only(read(f"{grouped} \n y,i = TopK(r, k2) axis=2", **shape)), GroupSort)


# --- masks, equal nodes, attention -------------------------------------------------------------


def test_infinite_masks_belong_to_a_softmax():
    mask = np.zeros(6, np.float32)
    mask[[1, 4]] = -np.inf
    graph = read("a = Add(x, m) \n y = Softmax(a) axis=1", m=mask)
    assert isinstance(only(graph), MaskedSoftmax)
    x = torch.randn(3, 6, dtype=torch.float64)
    assert torch.allclose(graph.evaluate(x), torch.softmax(x + torch.from_numpy(mask), 1))
    chosen = read("a = Where(b, x, -inf) \n y = Softmax(a) axis=1", b=np.isfinite(mask))
    assert torch.equal(chosen.evaluate(x), graph.evaluate(x))
    for program in ("a = Add(x, m) \n y = Relu(a)", "y = Add(x, m)", "a = Add(x, m) \n y = LogSoftmax(a)"):
        with pytest.raises(LipcertError, match="infinite"):
            read(program, m=mask)
    with pytest.raises(LipcertError, match="whole line"):
        read("a = Add(x, m) \n y = Softmax(a) axis=1", m=np.full(6, -np.inf, np.float32))
    with pytest.raises(LipcertError, match="not a number"):
        read("a = Add(x, m) \n y = Softmax(a) axis=1", m=np.full(6, np.inf, np.float32))


def test_nodes_that_do_the_same_are_one():
    graph = read("a = Tanh(x) \n b = Tanh(x) \n y = Sub(a, b)")
    assert len(nonlinearities(graph)) == 1
    differ = read("a = LeakyRelu(x) alpha=0.5 \n b = LeakyRelu(x) alpha=0.25 \n y = Sub(a, b)")
    assert len(nonlinearities(differ)) == 2


def test_log_of_softmax():
    assert isinstance(only(read("s = Softmax(x) axis=1 \n y = Log(s)")), LogSoftmax)
    mask = np.array([0, 0, -np.inf, 0, 0, 0], np.float32)
    hidden = read("a = Add(x, m) \n s = Softmax(a) axis=1 \n y = Log(s)", m=mask)
    assert math.isinf(nonlinearities(hidden)[-1].lipschitz((1, 6)).l2)


def test_products_of_signals_name_their_obstacle():
    graph = read("t = Transpose(x) \n p = MatMul(x, t) \n y = Softmax(p) axis=1")
    product = nonlinearities(graph)[0]
    assert "two signals" in product.obstacle and product.help


def test_centring_is_a_projection():
    graph = read("m = ReduceMean(x) axes=[-1] \n y = Sub(x, m)")
    (node,) = graph.nodes
    assert isinstance(node.operation, Affine)
    assert node.operation.operator.absolute_norms.linf <= 2.0
