"""What bounds do with their time: early ones leave some, and optional work ends at the deadline."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from generators.images import Images, random_images
from generators.soundness import is_above, sampled_slopes

from lipcert.bounds import BoundContext
from lipcert.bounds.autolip import autolip_bound
from lipcert.bounds.averaged import averaged_bound
from lipcert.bounds.context import EARLY_SHARE, OutOfTimeError
from lipcert.bounds.result import Constants
from lipcert.graph import Graph
from lipcert.signals import SignalForm, fold
from lipcert.spectral import NormSettings


def chain() -> Graph:
    """Three convolutions, all outputs of which are rows."""
    images = Images(3)
    value = "x"
    for _ in range(2):
        value = images.d.relu(images.convolution(value, kernel=3, out=3))
    return images.d.graph(images.convolution(value, kernel=3, out=3))


def test_an_early_bound_leaves_time_and_is_found_once() -> None:
    asked = []

    def method(form: SignalForm, context: BoundContext) -> Constants:
        asked.append(context.settings.deadline - time.monotonic())
        return Constants(1.0, {}, lambda: np.zeros((1, 1)))

    form = fold(chain())
    context = BoundContext(settings=NormSettings(deadline=time.monotonic() + 1000.0))
    found = context.early(method, form)
    assert context.once(method, form) is found
    assert asked == [pytest.approx(1000.0 * EARLY_SHARE, abs=1.0)]
    assert BoundContext().early(method, form).value == 1.0
    assert math.isinf(asked[1])


@pytest.mark.parametrize(("norm", "is_linear"), [("l1", False), ("linf", False), ("l2", True)])
def test_an_early_bound_has_all_the_time_where_none_is_better(norm: str, is_linear: bool) -> None:
    deadline = time.monotonic() + 1000.0
    asked = []

    def method(form: SignalForm, context: BoundContext) -> Constants:
        asked.append(context.settings.deadline)
        return Constants(1.0, {}, lambda: np.zeros((1, 1)))

    form = SignalForm((1,), (), {}, (1,)) if is_linear else fold(chain())
    BoundContext(norm, NormSettings(deadline=deadline)).early(method, form)
    assert asked == [deadline]


@pytest.mark.parametrize("steps", range(8))
def test_rows_that_the_deadline_ends_leave_the_product(
    steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any number of steps: between what all rows and no rows give, and a bound."""
    graph = chain()
    form = fold(graph)
    best = averaged_bound(form, BoundContext()).value
    plain = autolip_bound(form, BoundContext()).value
    left = [steps]

    def leave(context: BoundContext) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OutOfTimeError

    monkeypatch.setattr(BoundContext, "leave_if_expired", leave)
    monkeypatch.setattr("lipcert.bounds.averaged.QUICK", 0.0)
    found = averaged_bound(form, BoundContext())
    assert best * (1.0 - 1e-12) <= found.value <= plain
    assert (found.value < plain) == (steps >= 2)  # the rows of the second stage take two
    table = found.pairwise()
    for slope in sampled_slopes(graph, np.random.default_rng(steps)):
        assert is_above(found.value, slope, "l2")
    assert table.shape == (math.prod(form.output_shape),) * 2


@pytest.mark.parametrize("seed", range(6))
def test_without_any_time_bounds_are_bounds(seed: int) -> None:
    graph = random_images(seed)
    form = fold(graph)
    context = BoundContext(settings=NormSettings(deadline=time.monotonic() - 1.0))
    values = [method(form, context).value for method in (autolip_bound, averaged_bound)]
    assert values[1] <= values[0]
    for slope in sampled_slopes(graph, np.random.default_rng(seed)):
        assert is_above(values[1], slope, "l2")
