"""Values that belong together: maxima with minima, masks with softmaxes, equal nodes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lipcert_test_builders import nonlinearities, only, read

from lipcert.errors import LipcertError
from lipcert.graph import Affine
from lipcert.nonlinear import (
    Extremes,
    GroupMax,
    GroupSort,
    Larger,
    LogSoftmax,
    MaskedSoftmax,
    MaxMin,
)


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
        f"{grouped} \n p = ReduceMax(r) axes=[2] \n q = ReduceMin(r) axes=[1] \n y = Add(p, q)",
        **shape,
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
    for program in (
        "a = Add(x, m) \n y = Relu(a)",
        "y = Add(x, m)",
        "a = Add(x, m) \n y = LogSoftmax(a)",
    ):
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
