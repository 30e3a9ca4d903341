"""What goes to stdout and what to stderr; colour; progress."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lipcert_cli.progress import progress
from lipcert_cli.session import Session, wants_color

Run = Callable[..., Any]
LIPCERT = [sys.executable, "-m", "lipcert_cli"]


def test_as_a_program(mlp: Path, data: Path) -> None:
    words = ["certify", str(mlp), str(data), "--eps", "0.1", "--format", "json", "-v"]
    environment = {**os.environ, "FORCE_COLOR": "1", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*LIPCERT, *words], capture_output=True, text=True, env=environment)
    assert done.returncode == 0
    assert json.loads(done.stdout)["samples"] == 20
    assert "certifying\n" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


def test_a_terminal_without_unicode(mlp: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*LIPCERT, "inspect", str(mlp)], capture_output=True, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"input 1?4 ? output 1?3" in done.stdout


def test_verbose_tells_steps_on_stderr(run: Run, mlp: Path) -> None:
    words = ("bound", mlp, "--method", "autolip", "--format", "json")
    result = run(*words, "-v")
    assert "norms of relu" in result.stderr.splitlines()
    json.loads(result.stdout)
    assert run(*words).stderr == ""


def test_quiet_leaves_out_notes_not_errors(run: Run, mlp: Path) -> None:
    words = ("inspect", mlp, "-q")
    assert run(*words, "--report", "json=out.json").stderr == ""
    assert run(*words, "--report", "json=out.json").stderr.startswith("error: out.json")


@pytest.mark.parametrize(
    ("choice", "environment", "terminal", "wanted"),
    [
        ("auto", {}, True, True),
        ("auto", {}, False, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"NO_COLOR": "1"}, True, False),
        ("auto", {"NO_COLOR": ""}, True, True),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1"}, True, False),
    ],
)
def test_color(choice: str, environment: dict[str, str], terminal: bool, wanted: bool) -> None:
    assert wants_color(choice, environment, terminal) is wanted


def test_color_of_results_and_errors(run: Run, mlp: Path) -> None:
    plain = run("inspect", mlp)
    colored = run("inspect", mlp, "--color", "always")
    assert "\x1b" not in plain.stdout
    assert "\x1b[" in colored.stdout
    assert "\x1b[" in run("inspect", mlp, FORCE_COLOR="1").stdout
    assert "\x1b" not in run("inspect", mlp, "--color", "never", FORCE_COLOR="1").stdout
    assert "\x1b" not in run("inspect", mlp, "--color", "always", "--format", "json").stdout
    assert run("bound", "no", "--color", "always").stderr.startswith("\x1b[1m\x1b[31merror:\x1b[0m")


def test_the_width_of_the_terminal(run: Run, mlp: Path) -> None:
    widths = [
        max(map(len, run("bound", mlp, "--method", "autolip", COLUMNS=str(n)).stdout.splitlines()))
        for n in (80, 120)
    ]
    assert widths[0] <= 80
    assert widths[1] <= 120


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_is_shown_on_a_terminal_and_vanishes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with progress(Session()) as told:
        told("norms of \x1b[5mconv1", 0.5)
    shown = sys.stderr.getvalue()
    assert "norms of \\x1b[5mconv1" in shown
    assert shown.endswith("\x1b[1A\x1b[2K")


@pytest.mark.parametrize("session", [Session(quiet=True), Session()])
def test_no_bar(monkeypatch: pytest.MonkeyPatch, session: Session) -> None:
    stream = Terminal() if session.quiet else io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress(session) as told:
        told("norms", 0.5)
    assert stream.getvalue() == ""
