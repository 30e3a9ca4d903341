"""Every registered bound method on one model, those that refuse it left out."""

from __future__ import annotations

from lipcert.bounds import METHODS, BoundContext
from lipcert.bounds.result import Constants
from lipcert.errors import UnsupportedError
from lipcert.signals import SignalForm

CLOSED_FORMS = frozenset({"autolip", "averaged", "exact"})
"""Methods that stop at the rounding; the others stop at a tolerance of their solver."""


def applied(form: SignalForm, context: BoundContext) -> dict[str, Constants]:
    """What every method of the context's norm answers, by name, but for those that refuse."""
    found = {}
    for name in METHODS.for_norm(context.norm):
        try:
            found[name] = METHODS[name](form, context)
        except UnsupportedError:
            continue
    return found


def excess(method: str) -> float:
    """How far above a value that it can reach a method may end, relative to it."""
    return 1e-9 if method in CLOSED_FORMS else 1e-6
