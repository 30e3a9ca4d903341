"""Where results go: stdout in one format, files in any."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipcert.errors import InputError
from lipcert.reports import render
from lipcert.reports.files import check_targets, write_atomic

from .exits import silence_stdout
from .session import Session

if TYPE_CHECKING:
    from lipcert.reports.formats import Result

FALLBACK_WIDTH = 80


@dataclass(frozen=True)
class Delivery:
    """What ``--format``, ``--report`` and ``--overwrite`` ask for."""

    session: Session
    format: str
    reports: tuple[tuple[str, Path], ...]
    overwrite: bool

    @property
    def has_details(self) -> bool:
        """Whether any of the formats tells more than text does."""
        return any(name != "text" for name in (self.format, *(name for name, _ in self.reports)))

    def check(self, inputs: Iterable[Path], others: Iterable[Path] = ()) -> None:
        """Refuse files that could not be written, before any work is done for them."""
        targets = [path for _, path in self.reports] + list(others)
        check_targets(targets, overwrite=self.overwrite, inputs=inputs)

    def send(self, result: Result, others: Mapping[Path, str] | None = None) -> None:
        """Write the files, then stdout."""
        for path, text in (others or {}).items():
            self.write(path, text)
        for name, path in self.reports:
            self.write(path, render(result, name))
        width = shutil.get_terminal_size((FALLBACK_WIDTH, 24)).columns
        colors = self.session.colors(sys.stdout)
        write_stdout(render(result, self.format, width=width, color=colors))

    def write(self, path: Path, content: str | bytes) -> None:
        """Write one file, and say so."""
        write_atomic(path, content, overwrite=self.overwrite)
        self.session.tell(f"wrote {path}")


def write_stdout(text: str) -> None:
    """Write text whole; a reader that has left is no error, a full disk is one."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
    except OSError as error:
        silence_stdout()
        raise InputError("stdout", f"cannot be written: {error.strerror or error}") from error
