"""Cutting a signal form into parts that follow one another.

Where every later stage reads only later signals, all that the rest of the model knows of the input
passes through one pre-activation: the model is a composition there.
"""

from __future__ import annotations

from dataclasses import replace

from lipcert.operators import Shape, identity
from lipcert.signals import SignalForm, Stage, Terms


def without_dead_stages(form: SignalForm) -> SignalForm:
    """The same model without the stages that its output does not depend on.

    What is read through zeros alone is not depended on.
    """
    form = _without_zeros(form)
    live = set(form.output_terms)
    for k in range(len(form.stages), 0, -1):
        if k in live:
            live |= set(form.stages[k - 1].terms)
    kept = [k for k in range(1, len(form.stages) + 1) if k in live]
    if len(kept) == len(form.stages):
        return form
    place = {0: 0} | {old: new for new, old in enumerate(kept, start=1)}
    stages = []
    for k in kept:
        stage = form.stages[k - 1]
        stages.append(replace(stage, terms={place[j]: A for j, A in stage.terms.items()}))
    output = {place[j]: A for j, A in form.output_terms.items()}
    return replace(form, stages=tuple(stages), output_terms=output)


def _without_zeros(form: SignalForm) -> SignalForm:
    """The same model without operators that are zero, but for one where there is no other."""

    def shorter(terms: Terms) -> Terms:
        live = {
            j: A
            for j, A in terms.items()
            if A.absolute_norms.l1 > 0.0 or A.evaluation_error.l1 > 0.0
        }
        return live or dict(list(terms.items())[:1])

    tables = [stage.terms for stage in form.stages] + [form.output_terms]
    live = [shorter(terms) for terms in tables]
    if sum(map(len, live)) == sum(map(len, tables)):
        return form
    pairs = zip(form.stages, live[:-1], strict=True)
    stages = tuple(replace(stage, terms=terms) for stage, terms in pairs)
    return replace(form, stages=stages, output_terms=live[-1])


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
        stages.append(replace(stage, terms=moved))
    entry = pre_activation_shape(form.stages[start - 1])
    stages[0] = replace(stages[0], terms={0: identity(entry)})
    moved = {j - start + 1: A for j, A in terms.items()}
    return SignalForm(entry, tuple(stages), moved, shape)


def pre_activation_shape(stage: Stage) -> Shape:
    """The shape of v, as the operators write it."""
    return next(iter(stage.terms.values())).out_shape
