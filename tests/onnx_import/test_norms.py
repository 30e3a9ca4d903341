"""Divisions by a norm, which are bounded where the norm is the signal's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from lipcert_test_builders import nonlinearities, only, read

from lipcert.nonlinear import Product, RootMeanSquare

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
