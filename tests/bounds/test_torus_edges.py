"""Where images end on their torus: maps whose sums vanish there, but not in the model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from generators.drawing import Drawing
from generators.soundness import differences, is_above, is_above_dual, sampled_slopes

from lipcert.bounds import METHODS, BoundContext, lipsdp
from lipcert.bounds.averaged import averaged_bound
from lipcert.bounds.plan import Stretch
from lipcert.bounds.torus import method, torus_lipsdp
from lipcert.bounds.torus.chain import Chain
from lipcert.bounds.torus.fusing import fused
from lipcert.bounds.torus.heads import TorusBound
from lipcert.bounds.torus.part import torus_part
from lipcert.bounds.torus.split import Segment
from lipcert.errors import SolverError
from lipcert.graph import Affine, Graph
from lipcert.nonlinear import ACTIVATIONS
from lipcert.operators import Adjoint, Convolution
from lipcert.signals import SignalForm, fold


def convolved(drawn: Drawing, source: str, weight: torch.Tensor, pad: int, stride: int) -> str:
    """A convolution padded and strided along the first spatial axis."""
    operator = Convolution(
        weight,
        drawn.shapes[source][2:],
        stride=(stride, weight.shape[3]),
        dilation=(1, 1),
        pads_begin=(pad, 0),
        pads_end=(pad, 0),
        groups=weight.shape[0],
    )
    return drawn.add(Affine(operator), source)


def padded_mean_of_differences(slope: float, channels: int = 33) -> Graph:
    """Differences on 4×4 whose sum over the torus is 0, and the mean over 6×2 windows, padded.

    The means are as large as their torus, 1×2, and read all of its 6×4 positions; in the model
    they read 4×4 of them.
    """
    drawn = Drawing(1, channels, 4, 4)
    difference = torch.tensor([1.0, 1.0, -2.0], dtype=torch.float64).reshape(1, 1, 3, 1)
    mean = torch.full((channels, 1, 6, 2), 1.0 / 12.0, dtype=torch.float64)
    value = convolved(drawn, "x", difference.repeat(channels, 1, 1, 1), 1, 1)
    value = drawn.add(ACTIVATIONS["LeakyRelu"](slope), value)
    return drawn.graph(convolved(drawn, value, mean, 1, 6))


@pytest.mark.parametrize("slope", [0.5, 0.99])
def test_a_mean_that_reads_beyond_its_image_counts_slopes_of_0(slope: float) -> None:
    graph = padded_mean_of_differences(slope)
    part = torus_part(fused(fold(graph)))
    assert part is not None
    ((number, selection),) = part.selections.items()
    before = part.images.before[number]
    assert part.geometry.fills(number)
    assert not part.geometry.fills(before)
    low = selection.centre - (selection.below / selection.windowed.weight_square).sqrt()
    assert bool((low <= 0.0).all())
    found = torus_lipsdp(fold(graph), BoundContext(), averaged_bound)
    assert found is not None
    steepest = 0.0
    for steep in sampled_slopes(graph, np.random.default_rng(0)):
        assert is_above(found.value, steep, "l2")
        steepest = max(steepest, float(np.linalg.norm(steep.matrix, 2)))
    assert steepest > 0.1


@pytest.mark.parametrize("side", [3, 4])
def test_pairs_are_of_outputs_and_not_of_positions_on_the_torus(
    side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4×4 to a single position and on to 3×3: the torus of the output has 4×4 positions."""
    generator = torch.Generator().manual_seed(1)

    def square(channels: int, size: int) -> Convolution:
        weight = torch.randn(channels, 1, size, size, dtype=torch.float64, generator=generator)
        none, ones = (0, 0), (1, 1)
        return Convolution(
            weight, (size, size), stride=(4, 4), dilation=ones, pads_begin=none, pads_end=none
        )

    drawn = Drawing(1, 1, 4, 4)
    value = drawn.relu(drawn.add(Affine(square(3, 4)), "x"))
    graph = drawn.graph(drawn.add(Affine(Adjoint(square(3, side))), value))
    monkeypatch.setattr(lipsdp, "plan", lambda form, context: [Stretch(1, 2, boxed=True)])
    found = torus_lipsdp(fold(graph), BoundContext(), averaged_bound)
    assert found is not None
    assert found.pairs is None
    table = METHODS["lipsdp"](fold(graph), BoundContext()).pairwise()
    assert table.shape == (side * side, side * side)
    for slope in sampled_slopes(graph, np.random.default_rng(0)):
        for i, j, row in differences(slope.matrix):
            assert is_above_dual(float(table[i, j]), row, slope.error, "l2")


@pytest.mark.parametrize("size", [3.2e-162, 4e-162])
def test_squares_that_underflow_are_not_proved(size: float) -> None:
    """The square of the second weight is no float64: multipliers near it prove nothing."""
    drawn = Drawing(1, 1, 4, 4)

    def times(factor: float, source: str) -> str:
        weight = torch.full((1, 1, 1, 1), factor, dtype=torch.float64)
        return convolved(drawn, source, weight, 0, 1)

    graph = drawn.graph(times(size, drawn.relu(times(1e150, "x"))))
    with pytest.raises(SolverError, match="no multipliers can be proved"):
        torus_lipsdp(fold(graph), BoundContext(), averaged_bound)
    assert averaged_bound(fold(graph), BoundContext()).value >= 1e150 * size


@pytest.mark.parametrize(
    ("work", "loss", "value", "wanted"),
    [
        (1.0, 4.0, 5.0, 5.0),  # less work
        (9.0, 2.0, 5.0, 5.0),  # less loss
        (9.0, 3.0, 5.0, 10.0),  # neither
        (1.0, 4.0, 20.0, 10.0),
        (1.0, 4.0, None, 10.0),
    ],
)
def test_of_two_plans_the_smaller_bound_counts(
    work: float, loss: float, value: float | None, wanted: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan of several couplings, and another where that takes less work or loses less."""
    form = SignalForm((1,), (), {}, (1,))
    chain = SimpleNamespace(couplings=2, stages=4)
    both = ((9.0, 3.0), (work, loss))
    plans = [[Segment(0, None, cast(Chain, chain), *own)] for own in both]
    values = {id(plans[0]): 10.0, id(plans[1]): value}

    def along(form: object, plan: list[Segment], *rest: object) -> tuple[TorusBound, float]:
        found = values[id(plan)]
        if found is None:
            raise SolverError("lipsdp", "no start", "use another method")
        return TorusBound(found, None, ""), 1.0

    asked = []

    def planned(form: SignalForm, context: BoundContext, rate: float = 0.0) -> list[Segment]:
        asked.append(rate)
        return plans[min(len(asked) - 1, 1)]

    monkeypatch.setattr(method, "segments_of", planned)
    monkeypatch.setattr(method, "_along", along)
    monkeypatch.setattr(method, "fused", lambda form: form)
    monkeypatch.setattr(method, "without_rearranged_input", lambda form: form)
    found = torus_lipsdp(form, BoundContext(), averaged_bound)
    assert found is not None
    assert found.value == wanted
    assert len(asked) == 3
