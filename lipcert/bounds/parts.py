"""Cutting a signal form into parts that follow one another.

Where every later stage reads only later signals, all that the rest of the model knows of the input
passes through one pre-activation: the model is a composition there.
"""

from __future__ import annotations

from lipcert.operators import Shape, identity
from lipcert.signals import SignalForm, Stage


def cuts(form: SignalForm) -> list[int]:
    """The stages (numbered from 1) before whose pre-activation the model can be cut."""
    count = len(form.stages)
    earliest = min(form.output_terms, default=count)
    found = []
    for k in range(count, 1, -1):
        if earliest >= k:
            found.append(k)
        earliest = min(earliest, min(form.stages[k - 1].terms, default=earliest))
    return found[::-1]


def part_of(form: SignalForm, start: int, stop: int) -> SignalForm:
    """Stages ``start`` to ``stop − 1`` as a model of their own.

    Its input is the pre-activation of stage ``start`` (the model's input for 1), its output that of
    stage ``stop`` (the model's output for one beyond the last).  Both must be cuts.
    """
    end = stop > len(form.stages)
    terms = form.output_terms if end else form.stages[stop - 1].terms
    shape = form.output_shape if end else pre_activation_shape(form.stages[stop - 1])
    if start == 1:
        return SignalForm(form.input_shape, form.stages[: stop - 1], terms, shape)
    stages = []
    for stage in form.stages[start - 1 : stop - 1]:
        moved = {j - start + 1: A for j, A in stage.terms.items()}
        stages.append(Stage(stage.node, stage.nonlinearity, stage.input_shapes, moved, stage.shape))
    first = stages[0]
    entry = pre_activation_shape(form.stages[start - 1])
    whole = {0: identity(entry)}
    stages[0] = Stage(first.node, first.nonlinearity, first.input_shapes, whole, first.shape)
    moved = {j - start + 1: A for j, A in terms.items()}
    return SignalForm(entry, tuple(stages), moved, shape)


def pre_activation_shape(stage: Stage) -> Shape:
    """The shape of v, as the operators write it."""
    return next(iter(stage.terms.values())).out_shape
