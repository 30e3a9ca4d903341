"""Configurations written to a folder, and records made by hand instead of measured."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lipcert.gating import gate as gate_module
from lipcert.gating.check import Check
from lipcert.gating.record import Record

sys.path.insert(0, str(Path(__file__).parent))  # for the module `gate_samples`

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """``write(text)`` writes ``lipcert.toml`` beside a model and data that are there."""
    monkeypatch.chdir(tmp_path)
    for name in ("net.onnx", "test.npz"):
        (tmp_path / name).touch()

    def writer(text: str, name: str = "lipcert.toml") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return Path(name)

    return writer


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``measured(name, clean_correct=900)``: what a check will find, or the error it ends in.

    The name "" stands for every check that is not named.
    """
    from gate_samples import record

    outcomes: dict[str, tuple[BaseException | None, dict[str, Any]]] = {"": (None, {})}

    def measure(check: Check, progress: Any) -> Record:
        progress("work", 0.5)
        error, changes = outcomes.get(check.name, outcomes[""])
        if error is not None:
            raise error
        return record(check, **changes)

    def inject(name: str = "", error: BaseException | None = None, **changes: Any) -> None:
        outcomes[name] = (error, changes)

    monkeypatch.setattr(gate_module, "measure", measure)
    return inject
