"""Normalisation options: what is read, what is refused, and that it is the map it says."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from generators.drawing import Drawing

from lipcert.certification.evaluation import RoundedEvaluator
from lipcert.certification.normalization import Normalization
from lipcert.errors import InputError
from lipcert.graph import Graph
from lipcert.operators import identity


@pytest.mark.parametrize(
    ("text", "mean", "std"),
    [
        ("mean=0.5,std=0.25", (0.5,), (0.25,)),
        ("std=0.25, mean=0.5", (0.5,), (0.25,)),
        ("mean=1,2,3,std=4,5,6", (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),
        ("mean=-1e-3,std=1e2", (-0.001,), (100.0,)),
    ],
)
def test_readable(text: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    found = Normalization.parse(text)
    assert (found.mean, found.std) == (mean, std)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0.5,0.25",
        "mean=0.5",
        "mean=0.5,std=0",
        "mean=0.5,std=-1",
        "mean=nan,std=1",
        "mean=x,std=1",
        "mean=0,std=inf",
        "mean=0,mean=0,std=1",
        "mean=,std=1",
        "mu=0,std=1",
        "mean=0,std=1,",
    ],
)
def test_unreadable(text: str) -> None:
    with pytest.raises(InputError):
        Normalization.parse(text)


def imaged(*shape: int) -> Graph:
    return Graph("image", (), "x", "x", (1, *shape), True, 17)


@pytest.mark.parametrize(
    ("shape", "count"), [((3, 4, 4), 3), ((4, 4, 3), 3), ((3,), 3), ((2, 5), 1), ((3, 2, 3), 3)]
)
def test_values_per_channel_go_to_the_channels(shape: tuple[int, ...], count: int) -> None:
    """First axis where it fits, as in images of channels first; otherwise the last."""
    rng = np.random.default_rng(0)
    option = Normalization(tuple(rng.standard_normal(count)), tuple(rng.uniform(0.1, 1, count)))
    x = rng.standard_normal((2, *shape))
    graph = option.before(imaged(*shape))
    found = graph.evaluate(torch.from_numpy(x)).numpy().reshape(x.shape)
    mean, std = option.arrays(shape)
    np.testing.assert_allclose(found, (x - mean) / std, rtol=1e-13, atol=1e-13)
    first = count > 1 and shape[0] == count and len(shape) > 1
    axis = 1 if first else x.ndim - 1
    wide = [1] * x.ndim
    wide[axis] = count
    by_hand = (x - np.reshape(option.mean, wide if count > 1 else 1)) / np.reshape(
        option.std, wide if count > 1 else 1
    )
    np.testing.assert_allclose(found, by_hand, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(option.apply(x, shape), by_hand, rtol=1e-6, atol=1e-6)


def test_values_that_fit_no_axis_are_refused() -> None:
    with pytest.raises(InputError):
        Normalization((0.0, 0.0), (1.0, 1.0)).before(imaged(3, 4, 4))


@pytest.mark.parametrize("seed", range(10))
def test_error_covers_the_rounding_of_mean_over_std(seed: int) -> None:
    """``(x − mean)/std`` of decimals that are no floats, in rationals."""
    rng = np.random.default_rng(seed)
    option = Normalization(tuple(rng.uniform(-1, 1, 3)), tuple(rng.uniform(0.01, 1, 3)))
    graph = option.before(imaged(3))
    x = rng.uniform(0, 1, 3)
    found = RoundedEvaluator(graph).run(torch.from_numpy(x)[None], (graph.output,))
    off = Fraction(0)
    for k in range(3):
        truth = (Fraction(float(x[k])) - Fraction(option.mean[k])) / Fraction(option.std[k])
        off += (Fraction(float(found.values[graph.output][0, k])) - truth) ** 2
    assert off <= Fraction(found.errors[graph.output]) ** 2


def test_graph_whose_output_is_its_input_is_put_behind() -> None:
    graph = Normalization((1.0,), (2.0,)).before(imaged(2))
    assert graph.evaluate(torch.tensor([[3.0, 5.0]], dtype=torch.float64)).tolist() == [[1.0, 2.0]]
    d = Drawing(2)
    inner = d.graph(d.matrix(np.eye(2)))
    put = Normalization((1.0,), (2.0,)).before(inner)
    assert put.evaluate(torch.tensor([[3.0, 5.0]], dtype=torch.float64)).tolist() == [[1.0, 2.0]]
    assert identity((2,)).in_shape == put.input_shape
