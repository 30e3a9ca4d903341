"""A limit of time on ``lipcert check``, kept from outside the checker: none of its code knows."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

from lipcert.errors import InputError

if TYPE_CHECKING:
    from lipcert.checker import Verdict

LONGEST = 1e8
"""Seconds, some three years: more is a slip."""
AGAIN = 1.0
"""Seconds after which the alarm is given anew, where the first one was lost in a destructor."""


class TimeUp(BaseException):
    """The time is up; no ``except Exception`` in the checker keeps it."""


def limited(run: Callable[[], Verdict], seconds: float) -> Verdict:
    """What ``run`` finds within ``seconds``, else "inconclusive" with what was being checked.

    The alarm is heard between two steps of Python: one call into numpy is not cut short.
    Raises InputError for a time that is none, and where the system has no alarms.
    """
    from lipcert.checker import Verdict

    if not 0.0 < seconds <= LONGEST:
        raise InputError("--time-limit", f"is {seconds:g}", "give a positive number of seconds")

    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeUp(doing(frame))

    try:
        before = signal.signal(signal.SIGALRM, ring)
    except (AttributeError, ValueError) as error:
        raise InputError(
            "--time-limit", "needs a system with alarm signals", "leave it out"
        ) from error
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
            return run()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
    except TimeUp as error:
        return Verdict("inconclusive", f"the time limit of {seconds:g} s was reached {error}")
    finally:
        signal.signal(signal.SIGALRM, before)


def doing(frame: FrameType | None) -> str:
    """What the checker was about in a frame: a claim by its words, the samples, or the files."""
    from lipcert.checker.certificates import check_samples
    from lipcert.checker.proof import Checker

    while frame is not None:
        if frame.f_code is Checker.check.__code__:
            return f"while checking {frame.f_locals['claim'].what}"
        if frame.f_code is check_samples.__code__:
            return "while checking the samples"
        frame = frame.f_back
    return "before or between the claims"
