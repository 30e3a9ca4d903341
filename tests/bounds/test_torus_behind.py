"""A head read through the ellipsoid of the last part, against explicit matrices of the net."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from generators.images import Images
from generators.soundness import differences, is_above, is_above_dual, sampled_slopes
from torch import Tensor

from lipcert.bounds import BoundContext
from lipcert.bounds.lipsdp import lipsdp_neuron_bound
from lipcert.bounds.torus import heads, split, torus_lipsdp
from lipcert.bounds.torus.behind import Behind, _weights, behind
from lipcert.bounds.torus.chain import Chain, ChainProblem, chain_problem
from lipcert.bounds.torus.part import TorusPart, torus_part
from lipcert.bounds.torus.readers import RIDGE, Reader, _transformed, demanded
from lipcert.bounds.torus.signals import between
from lipcert.graph import Affine, Graph
from lipcert.operators import Dense, Reshape, compose
from lipcert.signals import SignalForm, fold
from lipcert.spectral.explicit import explicit_matrix

CPU = torch.device("cpu")


def net(seed: int, *, circular: bool, strides: tuple[int, ...], hidden: bool = True) -> Graph:
    """Convolutions, and a head of five neurons and three outputs, or of outputs alone."""
    images = Images(seed, circular=circular)
    value = "x"
    for stride in strides:
        value = images.d.relu(images.convolution(value, stride, kernel=3, out=3))
    shape = images.d.shapes[value]
    count = int(np.prod(shape))
    rows = 5 if hidden else 3
    weight = torch.from_numpy(images.rng.standard_normal((rows, count)))
    read = compose(Dense(weight, (1,)), Reshape(shape, (1, count)))
    value = images.d.add(Affine(read), value)
    if hidden:
        last = torch.from_numpy(images.rng.standard_normal((3, rows)))
        value = images.d.add(Affine(Dense(last, (1,))), images.d.relu(value))
    return images.d.graph(value)


def solved(form: SignalForm, images: int) -> tuple[TorusPart, ChainProblem, Behind]:
    """One part of so many stages, its problem with the head, and both of them."""
    part = torus_part(between(form, 0, images))
    assert part is not None
    chain = Chain([part], between(form, images, None))
    problem = chain_problem(chain, BoundContext())
    both = behind(chain, problem, problem.start)
    assert both is not None
    return part, problem, both


def at_positions(part: TorusPart, number: int, y: Tensor) -> Tensor:
    """A multiplier for each element of a signal, from those of channels and phases."""
    phases = part.geometry.phases[number]
    shape = part.images.shapes[number]
    place = torch.zeros(1, dtype=torch.int64)
    for n, q in zip(shape[2:], phases, strict=True):
        place = (place[:, None] * q + torch.arange(n) % q).reshape(-1)
    channels = torch.arange(shape[1])[:, None]
    return y[(channels * math.prod(phases) + place).reshape(-1)]


def explicit(form: SignalForm, part: TorusPart, y: Tensor, images: int) -> Tensor:
    """``W (P⁻¹)_zz Wᵀ`` of a chain of stages with slopes in [0, 1], z the last of them."""
    sizes = [form.size(k) for k in range(images + 1)]
    P = torch.diag(torch.cat([y[:1].expand(sizes[0]), y.new_zeros(sum(sizes[1:]))]))
    start, used = sizes[0], 1
    for k in range(1, images + 1):
        count = part.size(k)
        t = at_positions(part, k, y[used : used + count])
        A, _ = explicit_matrix(form.stages[k - 1].terms[k - 1], CPU)
        own, before = slice(start, start + sizes[k]), slice(start - sizes[k - 1], start)
        P[own, own] = torch.diag(t)
        P[own, before] = -0.5 * t[:, None] * A
        P[before, own] = P[own, before].T
        start, used = start + sizes[k], used + count
    tables = [*(stage.terms for stage in form.stages), form.output_terms]
    W = [explicit_matrix(terms[images], CPU)[0] for terms in tables if images in terms]
    inverse = torch.linalg.inv(P)[-sizes[images] :, -sizes[images] :]
    rows = torch.cat(W)
    return rows @ inverse @ rows.T


@pytest.mark.parametrize("hidden", [True, False])
@pytest.mark.parametrize("circular", [True, False])
@pytest.mark.parametrize("strides", [(1,), (1, 1), (2,), (2, 1), (1, 2)])
def test_rows_see_the_ellipsoid_of_the_whole_image(
    strides: tuple[int, ...], circular: bool, hidden: bool
) -> None:
    """Equal to the explicit one on circular images, above it where there is padding."""
    form = fold(net(len(strides), circular=circular, strides=strides, hidden=hidden))
    part, problem, both = solved(form, len(strides))
    own = both.of_body(problem.start)
    own = own * torch.from_numpy(np.random.default_rng(0).uniform(1.0, 1.02, len(own)))
    alone = both.alone(own)
    assert alone is not None
    table = alone.stages[0].terms if hidden else alone.output_terms
    M, error = explicit_matrix(table[0], CPU)
    assert error == 0.0
    exact = explicit(form, part, own, len(strides))
    values = torch.linalg.eigvalsh(M @ M.T - exact)
    size = float(torch.linalg.eigvalsh(exact)[-1])
    assert float(values[0]) >= 0.0
    if circular:
        assert float(values[-1]) < 1e-7 * size


def test_a_part_behind_a_coupling_keeps_what_it_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two parts: the first with its coupling, the second in units of it, and the head."""
    form = fold(net(3, circular=False, strides=(1, 2)))
    whole = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)

    def in_two(options: split._Options, budget: float) -> split._Plan:
        plan = split._Plan()
        for ends in ((0, 1), (1, 2)):
            plan = plan.with_piece(next(p for p in options.pieces([ends]) if p.part))
        behind = options.pieces([(2, options.last)])
        return plan.with_piece(next(p for p in behind if p.most is not None))

    monkeypatch.setattr(split, "_chosen", in_two)
    (segment,) = split.segments_of(form, BoundContext())
    assert segment.couplings == 2
    apart = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    assert whole is not None
    assert apart is not None
    assert whole.value * (1.0 - 1e-6) <= apart.value <= 3.0 * whole.value
    monkeypatch.setattr(heads, "behind", lambda *given: None)
    coupled = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    assert coupled is not None
    assert apart.value < coupled.value * (1.0 - 1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_smaller_than_behind_a_coupling_and_not_below_the_dense_inequality(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = fold(net(seed, circular=seed % 2 == 0, strides=(1, 2) if seed < 2 else (2, 1)))
    explicitly = lipsdp_neuron_bound(form, BoundContext()).value
    found = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    monkeypatch.setattr(heads, "behind", lambda *given: None)
    coupled = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    assert found is not None
    assert coupled is not None
    assert explicitly * (1.0 - 1e-6) <= found.value < coupled.value * (1.0 - 1e-3)


def apart_from(ends: tuple[int, ...]) -> Callable[[split._Options, float], split._Plan]:
    """The plan of parts that end there, and all else behind them."""

    def chosen(options: split._Options, budget: float) -> split._Plan:
        plan = split._Plan()
        for first, last in itertools.pairwise((0, *ends)):
            plan = plan.with_piece(next(p for p in options.pieces([(first, last)]) if p.part))
        last = options.pieces([(ends[-1], options.last)])
        return plan.with_piece(next(p for p in last if p.behind))

    return chosen


@pytest.mark.parametrize("ends", [(2,), (1, 2), (1,)])
@pytest.mark.parametrize("circular", [True, False])
def test_a_head_that_does_not_join_is_bounded_behind_the_parts(
    circular: bool, ends: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not below the dense inequality, nor far above all in one problem; less than the product."""
    graph = net(5, circular=circular, strides=(1, 2))
    form = fold(graph)
    explicitly = lipsdp_neuron_bound(form, BoundContext()).value
    joined = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    monkeypatch.setattr(split, "_chosen", apart_from(ends))
    (segment,) = split.segments_of(form, BoundContext())
    assert segment.couplings == len(ends) - 1
    behind_them = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    assert joined is not None
    assert behind_them is not None
    assert "behind what they prove" in behind_them.details
    assert explicitly * (1.0 - 1e-6) <= behind_them.value <= 2.0 * joined.value
    assert behind_them.pairs is not None
    pairs = behind_them.pairs(BoundContext())
    assert bool((pairs <= 2.0**0.5 * behind_them.value * (1.0 + 1e-9)).all())
    for slope in sampled_slopes(graph, np.random.default_rng(0)):
        assert is_above(behind_them.value, slope, "l2")
        for i, j, row in differences(slope.matrix):
            assert is_above_dual(float(pairs[i, j]), row, slope.error, "l2")
    monkeypatch.setattr(heads, "behind", lambda *given: None)
    product = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    assert product is not None
    assert "of the head" in product.details
    assert behind_them.value < product.value * (1.0 - 1e-3)


@pytest.mark.parametrize("phases", [(1, 1), (2, 2), (2, 1)])
def test_what_is_demanded_is_the_mean_over_all_shifts(phases: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    shape = (1, 2, 4, 6)
    rows = torch.randn(5, 48, dtype=torch.float64, generator=generator)
    z = torch.randn(shape, dtype=torch.float64, generator=generator)
    coarse = (4 // phases[0], 6 // phases[1])
    reader = _transformed(rows, 0.0, shape, coarse, phases)
    signal = _transformed(z.reshape(1, -1), 0.0, shape, coarse, phases).fourier.conj()
    read = demanded([reader]) @ signal.mT
    gram = reader.fourier.mH @ reader.fourier
    largest = float(torch.linalg.eigvalsh(gram)[:, -1].max())
    mean = float((gram / largest).diagonal(dim1=-2, dim2=-1).real.mean())
    found = float((_weights(coarse, CPU) * read.abs().square().sum((1, 2))).sum())
    shifted = [
        rows @ torch.roll(z, (a * phases[0], b * phases[1]), (2, 3)).reshape(-1)
        for a in range(coarse[0])
        for b in range(coarse[1])
    ]
    wanted = float(torch.stack(shifted).square().sum(1).mean()) / largest
    assert found == pytest.approx(wanted + RIDGE * mean * float(z.square().sum()), rel=1e-9)


@pytest.mark.parametrize("power", [-600, 600])
def test_how_large_the_rows_are_does_not_matter(power: int) -> None:
    """Their squares would be beyond float64."""
    generator = torch.Generator().manual_seed(4)
    rows = torch.randn(3, 24, dtype=torch.float64, generator=generator)
    reader = _transformed(rows, 0.0, (1, 2, 3, 4), (3, 4), (1, 1))
    scaled = Reader(reader.fourier * 2.0**power, 0.0)
    torch.testing.assert_close(demanded([scaled]), demanded([reader]), rtol=1e-12, atol=1e-12)


def test_a_head_that_many_rows_read_keeps_its_coupling(monkeypatch: pytest.MonkeyPatch) -> None:
    form = fold(net(0, circular=False, strides=(1,)))
    monkeypatch.setattr("lipcert.bounds.torus.readers.MOST_ROWS", 4)
    found = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    assert found is not None
    assert "the head" not in found.details


def test_without_time_the_head_is_read_through_what_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    form = fold(net(1, circular=False, strides=(1, 2)))
    best = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    monkeypatch.setattr(heads, "RATE", 1e-9)
    found = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    monkeypatch.setattr(heads, "behind", lambda *given: None)
    coupled = torus_lipsdp(form, BoundContext(), lipsdp_neuron_bound)
    assert best is not None
    assert found is not None
    assert coupled is not None
    assert "behind what they prove" in found.details
    assert best.value <= found.value < coupled.value
