"""The Lipschitz constant itself, where it is to be had for little.

Three kinds of models: linear ones, chains of nonnegative weights
(:mod:`lipcert.bounds.exact.signed`), one hidden layer of few neurons
(:mod:`lipcert.bounds.exact.patterns`).  The value is a proven bound in every case.  It is called
exact where a slope that the model has far from zero (:mod:`lipcert.bounds.exact.rays`) comes within
its rounding, not where one merely may.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from lipcert.bounds.autolip import autolip_bound
from lipcert.bounds.context import BoundContext
from lipcert.bounds.exact.hidden import HiddenLayer, hidden_layer
from lipcert.bounds.exact.patterns import steepest_pattern
from lipcert.bounds.exact.rays import FarLayer, comes_close, far_layer, rays_inside
from lipcert.bounds.exact.signed import nonnegative_chain
from lipcert.bounds.result import METHODS, Constants
from lipcert.errors import UnsupportedError
from lipcert.operators import Composed, LinearOperator, Sum
from lipcert.rounding import mul_up
from lipcert.signals import SignalForm, Stage

TIGHT = 1e-6
"""Relative size, in squares, of what rounding may add to the norm of an operator called exact."""
MOST_OUTPUTS = 64
"""Outputs up to which the difference of every two is bounded on its own."""


@METHODS.register("exact", norms=("l2",))
def exact_constant(form: SignalForm, context: BoundContext) -> Constants:
    """The constant of a linear model, a chain of nonnegative weights, or a few hidden neurons.

    Infinite where AutoLip's is.  Raises UnsupportedError for any other model.
    """
    plain = context.early(autolip_bound, form)
    if not math.isfinite(plain.value):
        return plain
    found = []
    for rule in RULES:
        constants = rule(form, plain, context)
        if constants is not None:
            found.append(constants)
            if constants.exact:
                break
    if not found:
        raise UnsupportedError(
            "method 'exact'",
            "has no free answer here: the model is neither linear, nor a chain of nonnegative "
            "weights, nor one hidden layer of few enough neurons",
            "use --method auto",
        )
    return min(found, key=lambda constants: (not constants.exact, constants.value))


def _of_linear(form: SignalForm, plain: Constants, context: BoundContext) -> Constants | None:
    """A linear model: the norm of one operator."""
    if set(form.output_terms) != {0}:
        return None
    exact = _is_the_norm(form.output_terms[0], plain.value, context)
    details = "a linear model" if exact else "a linear model, its norm bounded from its parts"
    return Constants(plain.value, plain.signals, plain.pairwise, details, exact)


def _is_the_norm(operator: LinearOperator, value: float, context: BoundContext) -> bool:
    """Whether the bound of an operator's norm differs from it by rounding alone."""
    explicit = isinstance(operator, Composed | Sum) and context.settings.affords(operator)
    if not explicit and context.norm_of(operator).how not in ("exact", "dense", "explicit"):
        return value == 0.0
    error = mul_up(4.0, operator.absolute_norms.l2, operator.evaluation_error.l2)
    return error <= TIGHT * value * value


def _of_hidden_layer(form: SignalForm, plain: Constants, context: BoundContext) -> Constants | None:
    """One hidden layer of few neurons: the steepest of all patterns."""
    context.progress("patterns of slopes", 0.0)
    found = hidden_layer(form, context)
    steepest = found and steepest_pattern(found[0], context.settings)
    if not found or not steepest:
        return None
    layer, stages = found
    value = min(steepest.value, plain.value)
    exact = _takes(layer, stages, steepest.slopes, value)

    def pairwise() -> np.ndarray:
        table = plain.pairwise().copy()
        if len(table) <= MOST_OUTPUTS:
            for i, j in itertools.combinations(range(len(table)), 2):
                pair = steepest_pattern(layer.difference(i, j), context.settings)
                if pair is not None:
                    table[i, j] = table[j, i] = min(table[i, j], pair.value)
        return table

    details = f"all patterns of {int(layer.busy.sum())} neurons"
    details += "" if exact else ", no input known to be that steep"
    return Constants(value, plain.signals, pairwise, details, exact)


def _takes(layer: HiddenLayer, stages: Sequence[Stage], slopes: Tensor, value: float) -> bool:
    """Whether some input has the slopes of a pattern."""
    sizes = [math.prod(stage.shape) for stage in stages]
    weights = torch.split(layer.inner.matrix, sizes)
    parts = [far_layer(stage, weight) for stage, weight in zip(stages, weights, strict=True)]
    far = FarLayer(
        layer.inner.matrix,
        torch.cat([part.left for part in parts]),
        torch.cat([part.right for part in parts]),
    ).only(layer.busy)
    sides = far.sides(slopes[layer.busy])
    if sides is None:
        return False
    rays = rays_inside(sides[:, None] * far.weight)
    last = layer.outer.matrix[:, layer.busy]
    return comes_close(value, rays, [far], last, layer.skip.matrix)


RULES: tuple[Callable[[SignalForm, Constants, BoundContext], Constants | None], ...] = (
    _of_linear,
    nonnegative_chain,
    _of_hidden_layer,
)
"""Tried one after the other, until one is exact; None for a model that is not of the kind."""
