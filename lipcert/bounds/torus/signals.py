"""Cutting a model at a signal: all that follows knows of the input through that signal alone."""

from __future__ import annotations

from dataclasses import replace

from lipcert.bounds.torus.maps import is_image
from lipcert.graph import Node
from lipcert.nonlinear.activations import Activation
from lipcert.operators import LinearOperator, Reshape, Shape, compose, factors_of, identity
from lipcert.signals import SignalForm, Stage, Terms


def signal_cuts(form: SignalForm) -> list[int]:
    """Signals that everything behind them reads alone; 0 first."""
    earliest = min(form.output_terms, default=0)
    found = []
    for j in range(len(form.stages), -1, -1):
        if earliest >= j:
            found.append(j)
        if j:
            earliest = min(earliest, min(form.stages[j - 1].terms, default=earliest))
    return found[::-1]


def between(form: SignalForm, start: int, stop: int | None) -> SignalForm:
    """The map from signal ``start`` to signal ``stop``, or to the output for None."""
    last = len(form.stages) if stop is None else stop
    shape = form.input_shape if start == 0 else form.stages[start - 1].shape
    stages = tuple(
        replace(stage, terms={j - start: A for j, A in stage.terms.items()})
        for stage in form.stages[start:last]
    )
    if stop is None:
        terms = {j - start: A for j, A in form.output_terms.items()}
        return SignalForm(shape, stages, terms, form.output_shape)
    end = form.input_shape if stop == 0 else form.stages[stop - 1].shape
    return SignalForm(shape, stages, {stop - start: identity(end)}, end)


def with_last_image(form: SignalForm) -> SignalForm:
    """The same map with a stage for an image that a head reads as a sum over several signals.

    As where skips go around all activations.  The stage is the identity; its slopes are [0, 1], as
    those of an image that is cut off.
    """
    terms = form.output_terms
    if len(terms) < 2:
        return form
    factors = {j: factors_of(A) for j, A in terms.items()}
    alike = [
        all(_are_the_same(first, other) for other in others)
        for first, *others in zip(*factors.values(), strict=False)
    ]
    count = (*alike, False).index(False)
    if count == 0:
        return form
    shape = next(iter(factors.values()))[count - 1].in_shape
    inner = {
        j: compose(*own[count:]) if len(own) > count else identity(shape)
        for j, own in factors.items()
    }
    if not is_image(shape):
        return form
    stage = mask("sum", shape, inner)
    outer = compose(*next(iter(factors.values()))[:count])
    output = {len(form.stages) + 1: outer}
    return replace(form, stages=(*form.stages, stage), output_terms=output)


def mask(name: str, shape: Shape, terms: Terms) -> Stage:
    """An image as a stage: itself inside its window and 0 outside, slopes in [0, 1]."""
    inside = Activation("Mask", lambda x: x, 0.0, 1.0)
    node = Node(name, "Mask", inside, ("",), "", shape, ())
    return Stage(node, inside, (shape,), terms, shape)


def _are_the_same(left: LinearOperator, right: LinearOperator) -> bool:
    """Not only equal coefficients: what they are rounded from must be the same, too."""
    if isinstance(left, Reshape) and isinstance(right, Reshape):
        return (left.in_shape, left.out_shape) == (right.in_shape, right.out_shape)
    return left is right
