"""The evaluator's error: the truth in rationals or in sixty digits lies within it."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch
from generators.drawing import Drawing

from lipcert.certification.evaluation import RoundedEvaluator, largest_norm
from lipcert.graph import Graph
from lipcert.nonlinear import ACTIVATIONS, LogSoftmax, RootMeanSquare, Softmax

Number = Fraction | mpmath.mpf


def evaluated(graph: Graph, x: np.ndarray) -> tuple[list[float], float]:
    found = RoundedEvaluator(graph).run(torch.from_numpy(x)[None], (graph.output,))
    return found.values[graph.output][0].tolist(), found.errors[graph.output]


def times(
    weight: np.ndarray, vector: list[Number], kind: Callable[[float], Number]
) -> list[Number]:
    return [sum(kind(float(w)) * v for w, v in zip(row, vector, strict=True)) for row in weight]


@pytest.mark.parametrize("seed", range(15))
@pytest.mark.parametrize("scale", [1e-200, 1e-90, 1e-3, 1.0, 1e4, 1e150])
def test_piecewise_linear_net_in_rationals(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = (rng.standard_normal(s) for s in ((6, 4), (6, 6), (3, 6)))
    shift = rng.standard_normal(6) * scale
    x = scale * rng.standard_normal(4)
    d = Drawing(4)
    h = d.relu(d.matrix(a, "x", shift))
    y = d.matrix(c, d.total(h, d.matrix(b, d.relu(d.matrix(b, h)))))
    found, error = evaluated(d.graph(y), x)
    hidden = [
        v + Fraction(float(s))
        for v, s in zip(times(a, [Fraction(float(v)) for v in x], Fraction), shift, strict=True)
    ]
    hidden = [max(v, Fraction(0)) for v in hidden]
    inner = [max(v, Fraction(0)) for v in times(b, hidden, Fraction)]
    total = [u + v for u, v in zip(hidden, times(b, inner, Fraction), strict=True)]
    truth = times(c, total, Fraction)
    off = sum((Fraction(f) - t) ** 2 for f, t in zip(found, truth, strict=True))
    assert off <= Fraction(error) ** 2
    assert error <= 1e-9 * max(scale, 1e-250)


EXACT: dict[str, Callable[[mpmath.mpf], mpmath.mpf]] = {
    "Gelu": lambda x: x * mpmath.ncdf(x),
    "Silu": lambda x: x / (1 + mpmath.exp(-x)),
    "Mish": lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
    "Sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
    "Tanh": mpmath.tanh,
    "Softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
    "Softsign": lambda x: x / (1 + abs(x)),
    "Elu": lambda x: x if x >= 0 else mpmath.expm1(x),
    "HardSwish": lambda x: x * min(max(x / 6 + mpmath.mpf(1) / 2, 0), 1),
    "HardSigmoid": lambda x: min(max(mpmath.mpf(0.2) * x + mpmath.mpf(0.5), 0), 1),
    "TanhGelu": lambda x: (
        x / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)))
    ),
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("gain", [1e-8, 1.0, 30.0, 1e4])
def test_smooth_net_in_sixty_digits(name: str, gain: float) -> None:
    """Tails included, where what is computed is left of a cancellation."""
    rng = np.random.default_rng(len(name))
    a, b = gain * rng.standard_normal((5, 3)), rng.standard_normal((2, 5))
    with mpmath.workdps(60):
        for x in (
            rng.standard_normal(3),
            np.full(3, -6.0) / gain,
            np.array([-2.4999999, 0.0, 0.0]) / gain,
        ):
            d = Drawing(3)
            found, error = evaluated(
                d.graph(d.matrix(b, d.add(ACTIVATIONS[name](), d.matrix(a)))), x
            )
            hidden = [
                EXACT[name](v) for v in times(a, [mpmath.mpf(float(v)) for v in x], mpmath.mpf)
            ]
            truth = times(b, hidden, mpmath.mpf)
            off = mpmath.sqrt(
                sum((mpmath.mpf(f) - t) ** 2 for f, t in zip(found, truth, strict=True))
            )
            assert off <= mpmath.mpf(error)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("x", [-30.0, -8.0, -6.0, -3.0000001, -2.9999999, -2.4999999, 2.5, 1e6])
def test_one_neuron_far_out(name: str, x: float) -> None:
    d = Drawing(1)
    found, error = evaluated(d.graph(d.add(ACTIVATIONS[name](), "x")), np.array([x]))
    with mpmath.workdps(60):
        assert abs(mpmath.mpf(found[0]) - EXACT[name](mpmath.mpf(x))) <= mpmath.mpf(error)


@pytest.mark.parametrize("size", [1.0, 40.0, 1e6, 1e10])
def test_softmax_and_its_logarithm(size: float) -> None:
    x = size * np.random.default_rng(0).standard_normal(4)
    for logits in (x, np.full(4, size)):
        for operation in (Softmax((0,)), LogSoftmax((0,))):
            d = Drawing(4)
            found, error = evaluated(d.graph(d.add(operation, "x")), logits)
            with mpmath.workdps(60):
                peak = max(logits)
                terms = [mpmath.exp(mpmath.mpf(float(v)) - mpmath.mpf(float(peak))) for v in logits]
                total = mpmath.fsum(terms)
                truth = [t / total for t in terms]
                if isinstance(operation, LogSoftmax):
                    truth = [
                        mpmath.mpf(float(v)) - mpmath.mpf(float(peak)) - mpmath.log(total)
                        for v in logits
                    ]
                off = [(mpmath.mpf(f) - t) ** 2 for f, t in zip(found, truth, strict=True)]
                assert mpmath.sqrt(mpmath.fsum(off)) <= mpmath.mpf(error)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_root_mean_square(scale: float) -> None:
    x = scale * np.random.default_rng(0).standard_normal(5)
    d = Drawing(5)
    found, error = evaluated(d.graph(d.add(RootMeanSquare((0,), 1e-5), "x")), x)
    with mpmath.workdps(60):
        values = [mpmath.mpf(float(v)) for v in x]
        root = mpmath.sqrt(mpmath.fsum(v * v for v in values) / 5 + mpmath.mpf(1e-5))
        off = [(mpmath.mpf(f) - v / root) ** 2 for f, v in zip(found, values, strict=True)]
        assert mpmath.sqrt(mpmath.fsum(off)) <= mpmath.mpf(error)


def test_stored_errors_of_bias_and_weights_are_carried() -> None:
    from lipcert.graph import Affine
    from lipcert.operators import Dense, Norms

    eye = torch.eye(2, dtype=torch.float64)
    d = Drawing(2)
    off = d.add(
        Affine(Dense(eye, (), Norms(0.1, 0.1, 0.1)), torch.ones(2, dtype=torch.float64), 0.5), "x"
    )
    graph = d.graph(d.matrix(3.0 * np.eye(2), off))
    _, error = evaluated(graph, np.array([3.0, 4.0]))
    assert error >= 3.0 * (0.1 * 5.0 + 0.5)


def test_error_of_a_batch_is_that_of_its_worst_sample() -> None:
    d = Drawing(2)
    graph = d.graph(d.matrix(np.random.default_rng(0).standard_normal((2, 2))))
    small = evaluated(graph, np.array([1.0, 1.0]))[1]
    batch = torch.tensor([[1.0, 1.0], [1e6, 1e6]], dtype=torch.float64)
    both = RoundedEvaluator(graph).run(batch, (graph.output,))
    assert both.errors[graph.output] > 1e5 * small


def test_only_what_is_wanted_is_kept() -> None:
    d = Drawing(2)
    inner = d.relu("x")
    graph = d.graph(d.matrix(np.eye(2), inner))
    found = RoundedEvaluator(graph).run(
        torch.ones(3, 2, dtype=torch.float64), (inner, graph.output)
    )
    assert set(found.values) == {inner, graph.output}


@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e-200, 1e-140, 1.0, 1e140, 1e200, 1e300])
def test_largest_norm_neither_over_nor_underflows(scale: float) -> None:
    batch = torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=torch.float64) * scale
    exact = sum(Fraction(float(v)) ** 2 for v in batch[0])
    found = largest_norm(batch)
    assert math.isfinite(found) and Fraction(found) ** 2 >= exact
    assert scale < 1e-300 or found <= 5.0 * scale * (1 + 1e-8)


def test_largest_norm_of_nothing_and_of_no_number() -> None:
    assert largest_norm(torch.zeros(0, 3)) == 0.0
    assert largest_norm(torch.zeros(2, 3, dtype=torch.float64)) == 0.0
    assert not math.isfinite(largest_norm(torch.tensor([[math.nan, 1.0]], dtype=torch.float64)))
    assert largest_norm(torch.tensor([[math.inf, 1.0]], dtype=torch.float64)) == math.inf
