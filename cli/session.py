"""What a run is told about its surroundings: how much to say, and in colour or not."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

COLOR_CHOICES = ("auto", "always", "never")
LEVELS = (logging.ERROR, logging.INFO, logging.DEBUG)
"""Level of the log on stderr for no ``-v``, ``-v`` and ``-vv``."""
NOISY = tuple(f"distributed.{name}" for name in ("client", "core", "comm", "utils", "batched"))
"""Loggers that tell with tracebacks what an error says in a sentence."""
RED, BOLD, PLAIN = "\x1b[31m", "\x1b[1m", "\x1b[0m"


@dataclass
class Session:
    """Options that hold for a whole run; filled while the command line is read."""

    quiet: bool = False
    verbosity: int = 0
    color: str = "auto"

    @property
    def shows_tracebacks(self) -> bool:
        """Whether ``-vv`` was given."""
        return self.verbosity >= 2

    def colors(self, stream: TextIO) -> bool:
        """Whether ``stream`` is written to in colour."""
        return wants_color(self.color, os.environ, stream.isatty())

    def start_logging(self) -> None:
        """Send the library's log to stderr, and with ``-vv`` Python's warnings."""
        level = LEVELS[min(self.verbosity, len(LEVELS) - 1)]
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        logger = logging.getLogger("lipcert")
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
        for name in NOISY:  # a filter, as their levels are set again when Dask is imported
            logging.getLogger(name).filters[:] = [lambda record: self.shows_tracebacks]
        warnings.simplefilter("default" if self.verbosity >= 2 else "ignore")

    def tell(self, text: str) -> None:
        """A note on stderr, unless ``--quiet``."""
        if not self.quiet:
            say(text)

    def complain(self, text: str, hint: str = "") -> None:
        """An error on stderr: one line, and a hint below it."""
        start = f"{BOLD}{RED}error:{PLAIN}" if self.colors(sys.stderr) else "error:"
        say(f"{start} {text}" + (f"\n{hint}" if hint else ""))


def wants_color(choice: str, environment: Mapping[str, str], terminal: bool) -> bool:
    """The choice; for "auto" NO_COLOR, then FORCE_COLOR, then whether it is a terminal."""
    if choice != "auto":
        return choice == "always"
    if environment.get("NO_COLOR"):
        return False
    if environment.get("FORCE_COLOR"):
        return True
    return terminal and environment.get("TERM") != "dumb"


def say(text: str) -> None:
    """A line on stderr; nobody reading it is no error."""
    encoding = sys.stderr.encoding or "utf-8"
    try:
        sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return
