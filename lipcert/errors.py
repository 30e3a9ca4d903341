"""The errors lipcert raises: each names the place, what was found there, and the remedy."""

from __future__ import annotations

LONGEST = 600
"""Characters of a place, a finding or a remedy that are told."""


class LipcertError(Exception):
    """Base of every error meant for the user.

    Parameters
    ----------
    place : where it happened: a file, a node, an option.
    finding : what is wrong there, as a statement.
    remedy : what to do about it; empty when nothing can be done.

    ``str`` gives one line that can be printed, whatever names a file holds: line breaks are spaces,
    other control characters are escaped, and the middle of what is too long is left out.
    """

    exit_code = 4

    def __init__(self, place: str, finding: str, remedy: str = "") -> None:
        super().__init__(place, finding, remedy)
        self.place = place
        self.finding = finding
        self.remedy = remedy

    def __str__(self) -> str:
        place, finding, remedy = map(_told, (self.place, self.finding, self.remedy))
        sentence = f"{place}: {finding}" if place else finding
        return f"{sentence}; {remedy}" if remedy else sentence


def _told(text: str) -> str:
    """A part of a sentence on one line, with nothing in it that moves the cursor."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST * 2 // 3]} … {text[-LONGEST // 3 :]}"
    if text.isprintable():
        return text
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


class InputError(LipcertError):
    """A file, an option or data that cannot be used as given (exit code 2)."""

    exit_code = 2


class UnsupportedError(LipcertError):
    """A model or operator that lipcert does not bound (exit code 3)."""

    exit_code = 3


class UnboundedError(UnsupportedError):
    """A model that has no finite Lipschitz constant where one is needed (exit code 3)."""


class SolverError(LipcertError):
    """A numerical method that did not reach a proof (exit code 4)."""

    exit_code = 4


class WorkerError(LipcertError):
    """Worker processes or machines that were lost and could not be replaced (exit code 4)."""

    exit_code = 4


class NothingEvaluatedError(LipcertError):
    """A run that found nothing to evaluate, such as an empty data set (exit code 5)."""

    exit_code = 5


class SoundnessError(LipcertError):
    """A contradiction of something proved: a defect of lipcert, to be reported (exit code 6)."""

    exit_code = 6
