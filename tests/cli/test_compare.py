"""``lipcert compare``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def results(run: Run, mlp: Path, data: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A result of certify, and the same with two samples fewer."""
    words = ("--eps", "36/255", "--method", "autolip", "--format", "json")
    old = json.loads(run("certify", mlp, data, *words).stdout)
    new = {**old, "clean_correct": old["clean_correct"] - 2}
    paths = (tmp_path / "old.json", tmp_path / "new.json")
    for path, value in zip(paths, (old, new), strict=True):
        path.write_text(json.dumps(value), encoding="utf-8")
    return paths


def test_the_table(run: Run, results: tuple[Path, Path]) -> None:
    result = run("compare", *results)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "19/20 (95.0 %)  17/20 (85.0 %)  -2 (-10 points)" in result.stdout
    assert "certified at 36/255" in result.stdout


def test_as_a_gate(run: Run, results: tuple[Path, Path]) -> None:
    assert run("compare", *results, "--max-drop", "0.1").exit_code == 0
    result = run("compare", *results, "--max-drop", "0.0999")
    assert result.exit_code == 1
    line = "FAIL clean 17/20 < 19/20 - 0.0999; short by 1 sample"
    assert line in result.stderr.splitlines()
    assert "short by 1 sample" in result.stdout
    quiet = run("compare", *results, "--max-drop", "0.0999", "-q")
    assert quiet.stderr == line + "\n"


def test_formats_and_reports(run: Run, results: tuple[Path, Path], tmp_path: Path) -> None:
    result = run("compare", *results, "--format", "json", "--report", "markdown=out.md")
    value = json.loads(result.stdout)
    assert value["checks"][0]["rows"][0]["new"] == {"count": 17, "samples": 20}
    assert "| correct | 19/20 (95.0 %) | 17/20 (85.0 %) |" in (tmp_path / "out.md").read_text()
    result = run("compare", *results, "--report", "json=old.json", "--overwrite")
    assert result.exit_code == 2


def test_different_data(run: Run, results: tuple[Path, Path]) -> None:
    old, new = results
    value = {**json.loads(new.read_text()), "data_sha256": "0" * 64}
    new.write_text(json.dumps(value), encoding="utf-8")
    result = run("compare", old, new)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--allow-different-data" in result.stderr
    result = run("compare", old, new, "--allow-different-data")
    assert result.exit_code == 0
    assert "counted on different data" in result.stdout


@pytest.mark.parametrize("drop", ["much", "1.5", "-0.1", "nan", "1/0", "1e999999999"])
def test_drops_that_are_none(run: Run, results: tuple[Path, Path], drop: str) -> None:
    result = run("compare", *results, f"--max-drop={drop}")
    assert result.exit_code == 2
    assert "--max-drop" in result.stderr


def test_files_that_are_no_results(run: Run, results: tuple[Path, Path]) -> None:
    old, _ = results
    for other, fragment in (("gone.json", "does not exist"), ("mlp.onnx", "not valid JSON")):
        result = run("compare", old, other)
        assert result.exit_code == 2
        assert fragment in result.stderr
