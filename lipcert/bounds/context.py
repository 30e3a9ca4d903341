"""What a bound method works with: norms found once, a deadline, and word of progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

import torch

from lipcert.operators import LinearOperator
from lipcert.signals import SignalForm
from lipcert.spectral import NORMS, NormBound, NormSettings

Progress = Callable[[str, float], None]
"""Called with what is being done and the fraction done so far."""

T = TypeVar("T")

DUAL_EXPONENT = {"l1": float("inf"), "l2": 2.0, "linf": 1.0}
"""The exponent of the norm in which a linear functional's size is measured."""

EARLY_SHARE = 0.15
"""Part of the time left for a bound that better ones begin with."""


class OutOfTimeError(Exception):
    """Optional work has come to the deadline; what is known without it is the answer."""


def silent(what: str, fraction: float) -> None:
    """The progress callback that says nothing."""


@dataclass
class BoundContext:
    """Settings of one run, and the operator norms found in it.

    Parameters
    ----------
    norm : "l1", "l2" or "linf", on input and output alike.
    settings : how operator norms are found.
    progress : told of each step.
    solver : of matrix inequalities, a name of ``SOLVERS``.
    norms : the norms found so far, by the operator's id, with the operator.
    interrupted : set when a method was stopped by the user and answers with what it has.
    """

    norm: str = "l2"
    settings: NormSettings = field(default_factory=NormSettings)
    progress: Progress = silent
    solver: str = "hkm"
    interrupted: bool = False
    _found: dict[tuple[object, int], tuple[SignalForm, object]] = field(default_factory=dict)
    norms: dict[int, tuple[LinearOperator, NormBound]] = field(default_factory=dict)

    def norm_of(self, operator: LinearOperator) -> NormBound:
        """The operator's proven norm, found at most once."""
        key = id(operator)
        if key not in self.norms:
            self.norms[key] = (operator, NORMS[self.norm](operator, self.settings))
        return self.norms[key][1]

    def once(self, method: Callable[[SignalForm, BoundContext], T], form: SignalForm) -> T:
        """What a method finds for a form, found at most once: methods build on one another."""
        key = (method, id(form))
        if key not in self._found:
            self._found[key] = (form, method(form, self))
        return cast(T, self._found[key][1])

    def early(self, method: Callable[[SignalForm, BoundContext], T], form: SignalForm) -> T:
        """The same for what others build on, in a part of the time left: it leaves them some.

        In all of it where none is better: other norms than l2, and models without a nonlinearity.
        """
        if self.norm != "l2" or not form.stages:
            return self.once(method, form)
        now, deadline = time.monotonic(), self.settings.deadline
        with self.until(now + EARLY_SHARE * (deadline - now)) as own:
            return own.once(method, form)

    @contextmanager
    def until(self, deadline: float) -> Iterator[BoundContext]:
        """The same run with another deadline; what it finds, and an interruption, hold for both."""
        own = replace(self, settings=replace(self.settings, deadline=deadline))
        try:
            yield own
        finally:
            self.interrupted = self.interrupted or own.interrupted

    def leave_if_expired(self) -> None:
        """Raises OutOfTimeError once the deadline has passed: for optional work in many steps."""
        if self.expired:
            raise OutOfTimeError

    def gain_of(self, operator: LinearOperator) -> float:
        """A bound of the spectral norm: the proven one where at hand, else a cheap one."""
        if self.norm == "l2":
            return self.norm_of(operator).value
        return (operator.absolute_norms + operator.evaluation_error).l2

    @property
    def device(self) -> torch.device:
        """Where the linear algebra runs."""
        return self.settings.device

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed or the user has had enough: nothing optional starts."""
        return self.interrupted or time.monotonic() >= self.settings.deadline
