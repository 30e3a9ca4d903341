"""Lower bounds: real slopes only, even where derivatives on a kink are none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from generators.drawing import Drawing
from generators.methods import applied

from lipcert.bounds import BoundContext, lower_bound
from lipcert.graph import Graph, Node
from lipcert.nonlinear import ACTIVATIONS
from lipcert.signals import fold
from lipcert.spectral import NORMS

ORDERS = {"l1": 1, "l2": 2, "linf": np.inf}


def kinked() -> Graph:
    """``leaky(x) − relu(x)``: slopes 0 and 1/2, though at 0 derivatives chain to 1 − 0."""
    d = Drawing(2)
    bent = d.add(ACTIVATIONS["LeakyRelu"](alpha=0.5), "x")
    return d.graph(d.total(bent, d.scaled(-1.0, d.relu("x"))))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("start", [torch.zeros(4, 2), torch.tensor([[0.0, 1.0], [1.0, 0.0]]), None])
def test_no_slope_is_taken_on_a_kink(norm: str, start: torch.Tensor | None) -> None:
    found = lower_bound(
        kinked(), norm=norm, seconds=0.2, starts=None if start is None else start.double()
    )
    assert 0.49 <= found <= 0.5


@pytest.mark.parametrize("norm", NORMS)
def test_linear_map_is_found(norm: str) -> None:
    weight = np.random.default_rng(2).standard_normal((4, 6))
    d = Drawing(6)
    truth = float(np.linalg.norm(weight, ORDERS[norm]))
    found = lower_bound(d.graph(d.matrix(weight)), norm=norm, seconds=0.5)
    assert 0.99 * truth <= found <= truth


@pytest.mark.parametrize("norm", NORMS)
def test_never_above_the_bounds(norm: str) -> None:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        d = Drawing(4)
        h = d.relu(d.matrix(rng.standard_normal((6, 4)), "x", rng.standard_normal(6)))
        y = d.matrix(rng.standard_normal((3, 6)), h)
        graph = d.graph(y)
        found = lower_bound(graph, norm=norm, seconds=0.05, seed=seed)
        for constants in applied(fold(graph), BoundContext(norm)).values():
            assert 0.0 < found <= constants.value


@pytest.mark.parametrize("norm", NORMS)
def test_samples_that_are_single_numbers(norm: str) -> None:
    """A model of an open batch and no other axis."""
    relu = Node("r", "Relu", ACTIVATIONS["Relu"](), ("x",), "y", (1,))
    graph = Graph("m", (relu,), "x", "y", (1,), True, 17)
    assert 0.99 <= lower_bound(graph, norm=norm, seconds=0.1) <= 1.0


def test_constant_map_has_slope_zero() -> None:
    d = Drawing(3)
    assert lower_bound(d.graph(d.matrix(np.zeros((2, 3)))), seconds=0.05) == 0.0


def test_more_starts_than_points_and_repeatable() -> None:
    graph = kinked()
    starts = torch.randn(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    once = lower_bound(graph, seconds=5.0, rounds=2, starts=starts)
    again = lower_bound(graph, seconds=5.0, rounds=2, starts=starts)
    assert once == again and math.isfinite(once)
