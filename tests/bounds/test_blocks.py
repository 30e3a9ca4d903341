"""Residual blocks: families that are 1-Lipschitz by a theorem are certified so, others are not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from generators.dags import random_dag
from generators.drawing import Drawing
from generators.families import (
    deep_branches,
    dense_blocks,
    image_blocks,
    invertible,
    kernel,
    linear_residual,
    minus,
    padded,
    sandwich,
    through,
)
from generators.forms import differences_of, steepest_quotient

from lipcert import bound
from lipcert.bounds import METHODS, BoundContext, lower_bound
from lipcert.bounds.blocks import block_bound, blocks_of, product_of
from lipcert.bounds.plan import Stretch
from lipcert.bounds.residual import residual_blocks
from lipcert.bounds.symmetric import symmetric_bound
from lipcert.composition import pieces_of, skips_of, waists
from lipcert.errors import UnsupportedError
from lipcert.graph import Graph
from lipcert.nonlinear import ACTIVATIONS
from lipcert.operators import Adjoint, Convolution, identity
from lipcert.signals import SignalForm, Stage, fold

FAMILIES: dict[str, Callable[[int], Graph]] = {
    "sll dense": lambda seed: dense_blocks("sll", seed),
    "sll images": lambda seed: image_blocks("sll", seed),
    "cpl dense": lambda seed: dense_blocks("cpl", seed),
    "cpl images": lambda seed: image_blocks("cpl", seed),
    "sandwich": lambda seed: sandwich(seed, 7, 6, 8, 5),
    "liresnet dense": lambda seed: linear_residual(seed, convolutional=False),
    "liresnet images": lambda seed: linear_residual(seed, convolutional=True),
}
"""Nets that are 1-Lipschitz by the theorem of their family."""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("family", FAMILIES)
def test_families_are_certified(family: str, seed: int) -> None:
    graph = FAMILIES[family](seed)
    found = bound(graph, lower_seconds=0.0)
    lower = lower_bound(graph, seconds=5.0, rounds=20)
    assert 0.2 < lower <= found.value <= 1.001
    assert steepest_quotient(fold(graph), seed) <= found.value
    if "liresnet" not in family:  # whose layers are 1-Lipschitz one by one
        assert found.methods["autolip"] > 2.0


@pytest.mark.parametrize("family", ["sll dense", "sll images", "cpl dense", "cpl images"])
def test_blocks_alone_are_certified(family: str) -> None:
    """Without the matrix inequality, at the cost of one norm for each block."""
    graph = FAMILIES[family](0)
    form = fold(graph)
    found = METHODS["blocks"](form, BoundContext())
    assert steepest_quotient(form, 0) <= found.value <= 1.0 + 1e-9
    assert METHODS["averaged"](form, BoundContext()).value > 1.05
    signals, risen = differences_of(form, 1)
    size = signals[0].norm(dim=1)
    for k, constant in found.signals.items():
        assert bool((signals[k].norm(dim=1) <= constant * size * (1.0 + 1e-9)).all())
    table = found.pairwise()
    assert float(table.diagonal().max()) == 0.0
    for i in range(len(table)):
        steps = (risen[:, i, None] - risen).abs() / size[:, None]
        assert bool((steps.max(0).values.numpy() <= table[i] * (1.0 + 1e-9) + 1e-12).all())


@pytest.mark.parametrize(
    "graph",
    [
        dense_blocks("sll", 0, blocks=1, excess=1.0 / 0.99, lift=50.0, tight=True),
        dense_blocks("cpl", 0, blocks=1, excess=1.0 / 0.99, lift=50.0),
        image_blocks("cpl", 0, blocks=1, excess=1.0 / 0.99, lift=50.0),
    ],
    ids=["sll dense", "cpl dense", "cpl images"],
)
def test_one_per_cent_too_much_is_not_certified(graph: Graph) -> None:
    """``|1 − 2/0.99| = 1.0202`` is reached where all neurons are on."""
    x = torch.zeros(1, *graph.sample_shape, dtype=torch.float64, requires_grad=True)
    own = torch.autograd.functional.jacobian(lambda x: graph.evaluate(x)[0], x)
    steepest = float(torch.linalg.matrix_norm(own.reshape(graph.outputs, -1), 2))
    assert steepest == pytest.approx(2.0 / 0.99 - 1.0, rel=1e-9)
    found = bound(graph, lower_seconds=0.0)
    assert steepest * (1.0 - 1e-12) <= found.value <= steepest * (1.0 + 1e-6)


def symmetric_form(kind: str, seed: int, slope: float) -> tuple[Graph, SignalForm]:
    """``x + Aᵀ Γ φ(A x)`` with Γ of both signs."""
    rng = np.random.default_rng(seed)
    gamma = rng.standard_normal(4)
    if kind == "dense":
        d = Drawing(5)
        A = rng.standard_normal((4, 5)) / 2.0
        inner = d.add(ACTIVATIONS["LeakyRelu"](slope), d.matrix(A))
        branch = d.matrix(A.T * gamma, inner)
    else:
        d = Drawing(1, 3, 4, 4)
        weight = kernel(rng, 4, 3) / 2.0
        inner = d.add(ACTIVATIONS["LeakyRelu"](slope), through(d, padded(weight, 4), "x"))
        turned = padded(weight * gamma[:, None, None, None], 4)
        if kind == "turned":  # a convolution in place of the transposed one
            mirrored = np.flip(turned.weight.numpy().transpose(1, 0, 2, 3), (2, 3))
            branch = through(d, padded(mirrored, 4), inner)
        else:
            branch = through(d, Adjoint(turned), inner)
    graph = d.graph(d.total("x", branch))
    return graph, fold(graph)


@pytest.mark.parametrize("slope", [0.0, 0.3, -0.5, 1.7])
@pytest.mark.parametrize("kind", ["dense", "transposed", "turned"])
def test_symmetric_jacobians(kind: str, slope: float) -> None:
    """Above every slope met, and the norm itself where all slopes are at one end."""
    for seed in range(4):
        _, form = symmetric_form(kind, seed, slope)
        found = symmetric_bound(form, BoundContext())
        assert found is not None
        assert steepest_quotient(form, seed) <= found.value
        assert found.value <= 1.0 + METHODS["autolip"](form, BoundContext()).value


def test_what_is_not_symmetric_is_left_alone() -> None:
    form = fold(invertible(0, convolutional=True, blocks=1))
    assert symmetric_bound(form, BoundContext()) is None
    assert symmetric_bound(fold(dense_blocks("sll", 0, blocks=2)), BoundContext()) is None


def test_a_branch_slightly_off_the_transpose_counts_with_its_difference() -> None:
    rng = np.random.default_rng(5)
    A = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    off = rng.standard_normal((6, 6))
    off *= 1e-4 / np.linalg.norm(off, 2)
    d = Drawing(6)
    inner = d.relu(d.matrix(A, bias=np.full(6, 50.0)))
    graph = d.graph(minus(d, "x", d.matrix(2.0 * A.T + off, inner)))
    found = symmetric_bound(fold(graph), BoundContext())
    assert found is not None
    steepest = np.linalg.norm(np.eye(6) - (2.0 * A.T + off) @ A, 2)
    assert steepest > 1.0 + 1e-6
    assert steepest <= found.value <= 1.0 + 1e-3


@pytest.mark.parametrize("seed", range(40))
def test_compositions_of_random_graphs(seed: int) -> None:
    """The pieces in a row are the graph, and the product of their constants is a bound."""
    graph = random_dag(seed)
    edges, pieces = waists(graph), pieces_of(graph)
    assert (edges[0], edges[-1]) == (graph.input, graph.output)
    x = torch.randn(20, *graph.sample_shape, dtype=torch.float64)
    value = x
    for piece in pieces:
        value = piece.graph.evaluate(value.reshape(20, *piece.graph.input_shape))
    assert torch.equal(value, graph.evaluate(x))
    for skip in skips_of(graph):
        before = graph.ending_at(skip.start).evaluate(x).reshape(20, *skip.branch.input_shape)
        after = graph.ending_at(skip.total.output).evaluate(x)
        total = before.flatten(1) + skip.branch.evaluate(before)
        assert torch.allclose(total, after, rtol=1e-12, atol=1e-12)
    form = fold(graph)
    blocks = blocks_of(form, BoundContext())
    assert bool(blocks) == any(piece.skips for piece in pieces)
    if blocks:
        found = product_of(form, blocks, BoundContext(), block_bound)
        assert steepest_quotient(form, seed) <= found.value


def test_residual_blocks_are_among_the_random_graphs() -> None:
    graphs = [random_dag(seed) for seed in range(40)]
    assert sum(any(piece.skips for piece in pieces_of(graph)) for graph in graphs) > 4
    assert sum(bool(skips_of(graph)) for graph in graphs) > 4


def test_models_without_symmetric_blocks_are_refused() -> None:
    for graph in (sandwich(0, 4, 3, 4), invertible(0, convolutional=False)):
        with pytest.raises(UnsupportedError, match="finds no residual block"):
            METHODS["blocks"](fold(graph), BoundContext())
        assert "blocks" not in bound(graph, lower_seconds=0.0).methods


def test_a_form_that_was_changed_forgets_its_graph() -> None:
    form = fold(dense_blocks("sll", 0))
    assert len(blocks_of(form, BoundContext())) == 4
    changed = replace(form, output_terms={0: identity(form.input_shape)})
    assert blocks_of(changed, BoundContext()) == ()


def boxed(form: SignalForm, context: BoundContext) -> list[Stretch]:
    """A plan for no time and no memory, but for models of one residual block."""
    last = len(form.stages) + 1
    return [Stretch(1, last, boxed=last > 3)]


@pytest.mark.parametrize("convolutional", [False, True])
def test_lipsdp_takes_apart_what_is_too_large(
    convolutional: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks that are not symmetric, each by its own matrix inequality."""
    form = fold(deep_branches(1, convolutional=convolutional))
    monkeypatch.setattr("lipcert.bounds.lipsdp.plan", boxed)
    found = METHODS["lipsdp"](form, BoundContext())
    if not convolutional:
        assert "3 residual blocks" in found.details
    averaged = METHODS["averaged"](form, BoundContext())
    assert steepest_quotient(form, 0) <= found.value < 0.9 * averaged.value
    assert bool((found.pairwise() <= averaged.pairwise()).all())


@pytest.mark.parametrize("norm", ["l1", "l2", "linf"])
@pytest.mark.parametrize("convolutional", [False, True])
def test_inverses(convolutional: bool, norm: str) -> None:
    """The block inverted by fixed points: no slope of the inverse is above its bound."""
    contraction = {"l2": 0.8}.get(norm, 0.3)
    graph = invertible(3, convolutional=convolutional, contraction=contraction, blocks=1)
    (block,) = residual_blocks(graph, BoundContext(norm))
    assert block.start == "input" and len(block.branch) >= 3
    (skip,) = skips_of(graph)
    order = {"l1": 1.0, "l2": 2.0, "linf": math.inf}[norm]
    y = torch.randn(100, *graph.sample_shape, dtype=torch.float64)
    z = y + torch.randn_like(y) * torch.logspace(-2, 1, 100, dtype=torch.float64).reshape(
        -1, *(1 for _ in graph.sample_shape)
    )
    if norm == "l2":
        assert block.norm <= contraction * (1.0 + 1e-9)
        assert block.is_invertible
    if not block.is_invertible:
        assert block.inverse == math.inf
        return
    assert block.inverse >= 1.0 / (1.0 - block.norm)

    def inverse(y: torch.Tensor) -> torch.Tensor:
        x = y
        for _ in range(300):
            x = y - skip.branch.evaluate(x).reshape(y.shape)
        return x

    a, b = inverse(y), inverse(z)
    assert torch.allclose(graph.evaluate(a).reshape(y.shape), y, atol=1e-10)
    slopes = (a - b).flatten(1).norm(p=order, dim=1) / (y - z).flatten(1).norm(p=order, dim=1)
    assert 0.5 < float(slopes.max()) <= block.inverse * (1.0 + 1e-9)


def test_an_inverse_as_steep_as_its_bound() -> None:
    """``x − 0.75 x``: the inverse is ``4 y``."""
    d = Drawing(3)
    graph = d.graph(minus(d, "x", d.matrix(0.75 * np.eye(3))))
    (block,) = residual_blocks(graph, BoundContext())
    assert 4.0 <= block.inverse <= 4.0 * (1.0 + 1e-9)


def test_which_sums_are_residual_blocks() -> None:
    """A skip that is scaled is none; two branches are one g; nested blocks are found, too."""
    d = Drawing(3)
    scaled = d.total(d.scaled(0.5, "x"), d.relu(d.matrix(np.eye(3))))
    assert skips_of(d.graph(scaled)) == []
    both = d.total(scaled, d.relu(scaled), d.matrix(0.25 * np.eye(3), scaled))
    inner = d.total(both, d.matrix(0.5 * np.eye(3), both))
    outer = d.total(both, d.relu(inner))
    graph = d.graph(outer)
    assert [(skip.total.output, skip.start) for skip in skips_of(graph)] == [
        (both, scaled),
        (inner, both),
        (outer, both),
    ]
    norms = [block.norm for block in residual_blocks(graph, BoundContext())]
    assert norms == pytest.approx([1.25, 0.5, 1.5], rel=1e-6)
    assert [block.is_invertible for block in residual_blocks(graph, BoundContext())] == [
        False,
        True,
        False,
    ]


def test_stages_are_shared_by_name() -> None:
    graph = dense_blocks("sll", 0)
    own = [stage for block in blocks_of(fold(graph), BoundContext()) for stage in block.form.stages]
    assert all(isinstance(stage, Stage) for stage in own)
    names = [stage.node.output for stage in fold(graph).stages]
    assert [stage.node.output for stage in own] == names


def test_a_large_linear_residual_has_the_norm_of_the_sum() -> None:
    """``‖I + K‖`` and not ``1 + ‖K‖``, also where no explicit matrix is afforded."""
    rng = np.random.default_rng(0)
    d = Drawing(1, 2, 12, 12)
    K = padded(-np.abs(kernel(rng, 2, 2)) / 8.0, 12)
    graph = d.graph(d.total("x", through(d, K, "x")))
    (operator,) = fold(graph).output_terms.values()
    assert isinstance(operator, Convolution)
    context = BoundContext()
    context.settings = replace(context.settings, max_side=10)
    apart = 1.0 + context.norm_of(K).value
    found = METHODS["autolip"](fold(graph), context).value
    assert steepest_quotient(fold(graph), 0) <= found < 0.9 * apart
