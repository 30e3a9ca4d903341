"""Every way a run can end, its exit code, and what stderr is told.

0 done; 1 a gate was not met, or a proof was refuted; 2 usage, or input that cannot be read; 3 a
model that is not supported or has no finite bound; 4 a solver or internal error; 5 nothing was
evaluated; 6 a soundness violation; 7 a proof could be neither confirmed nor refuted; 130
interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable

import click

from lipcert.errors import LipcertError
from lipcert.reports.words import printable

from .session import Session, say

INTERNAL = 4
INTERRUPTED = 130
REPORT = "please report it with this command and its model"


def exit_code_of(run: Callable[[], object], session: Session) -> int:
    """Run, say what went wrong, and return the exit code.

    ``run`` returns an exit code, or anything else for success.
    """
    try:
        with warnings.catch_warnings():
            result = run()
        return result if isinstance(result, int) else 0
    except BaseException as error:
        outcome = next(outcome for kind, outcome in OUTCOMES if isinstance(error, kind))
        return outcome(error, session)


def _exit(error: BaseException, session: Session) -> int:
    assert isinstance(error, click.exceptions.Exit)
    return error.exit_code


def _leave(error: BaseException, session: Session) -> int:
    raise error


def _interrupted(error: BaseException, session: Session) -> int:
    say("interrupted")
    return INTERRUPTED


def _reader_gone(error: BaseException, session: Session) -> int:
    """Nobody reads stdout any more (``| head``): no error, and nothing left to say."""
    silence_stdout()
    return 0


def _usage(error: BaseException, session: Session) -> int:
    assert isinstance(error, click.ClickException)
    context = getattr(error, "ctx", None)
    hint = f"try '{context.command_path} --help'" if context else ""
    session.complain(one_line(error.format_message()), hint)
    return error.exit_code


def _known(error: BaseException, session: Session) -> int:
    assert isinstance(error, LipcertError)
    _trace(error, session)
    session.complain(one_line(str(error)))
    return error.exit_code


def _no_memory(error: BaseException, session: Session) -> int:
    _trace(error, session)
    session.complain("there is not enough memory for this model and these options")
    return INTERNAL


def _unexpected(error: BaseException, session: Session) -> int:
    _trace(error, session)
    found = one_line(f"{type(error).__name__}: {error}")[:300]
    more = "" if session.shows_tracebacks else "; -vv shows where"
    session.complain(f"internal error ({found}); {REPORT}{more}")
    return INTERNAL


Outcome = Callable[[BaseException, Session], int]

OUTCOMES: tuple[tuple[type[BaseException], Outcome], ...] = (
    (click.exceptions.Exit, _exit),
    (SystemExit, _leave),
    (click.Abort, _interrupted),
    (KeyboardInterrupt, _interrupted),
    (BrokenPipeError, _reader_gone),
    (click.ClickException, _usage),
    (LipcertError, _known),
    (MemoryError, _no_memory),
    (BaseException, _unexpected),
)
"""What is done about an exception: the first row that it is an instance of."""


def one_line(text: str) -> str:
    """Text on one line, with nothing in it that moves the cursor."""
    return printable(" ".join(text.split()))


def silence_stdout() -> None:
    """Let nothing more be written to stdout, not even by Python's flush at exit."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _trace(error: BaseException, session: Session) -> None:
    if session.shows_tracebacks:
        say("".join(traceback.format_exception(error)).rstrip())
