"""Cutting a model at a signal: all that follows knows of the input through that signal alone."""

from __future__ import annotations

from dataclasses import replace

from lipcert.operators import identity
from lipcert.signals import SignalForm


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
