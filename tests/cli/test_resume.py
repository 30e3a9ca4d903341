"""``certify --resume``: killed at any moment, it goes on and ends with the same bytes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[..., Any]
SAMPLES = Path(__file__).parents[2] / "sample_models"
MODEL = SAMPLES / "digits_lip_mlp.onnx"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    stored = np.load(SAMPLES / "digits_test.npz")
    rows = np.arange(1300) % len(stored["x"])
    noise = np.random.default_rng(0).uniform(0, 0.1, (1300, stored["x"].shape[1]))
    path = tmp_path_factory.mktemp("data") / "digits.npz"
    np.savez(path, x=(stored["x"][rows] + noise).astype(np.float32), y=stored["y"][rows])
    return path


def words(data: Path, folder: Path, *more: str) -> list[str]:
    start = [sys.executable, "-m", "lipcert_cli", "certify", str(MODEL), str(data), "-q"]
    start += ["--method", "averaged", "--eps", "0.2", "--eps", "0.4", "--attack"]
    start += ["--attack-steps", "10", "--attack-restarts", "1", "--overwrite"]
    for name in ("json", "html", "markdown"):
        start += ["--report", f"{name}={folder / name}"]
    return [*start, "--radii", str(folder / "radii.csv"), *more]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_killed_again_and_again(data: Path, tmp_path: Path, workers: str) -> None:
    plain, killed = tmp_path / "plain", tmp_path / "killed"
    plain.mkdir()
    killed.mkdir()
    subprocess.run(words(data, plain, "--workers", workers), check=True, capture_output=True)
    moments = random.Random(7)
    command = words(data, killed, "--workers", workers, "--resume", str(tmp_path / "journal"))
    for _ in range(4):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
            try:
                run.wait(moments.uniform(1.0, 4.0))
            except subprocess.TimeoutExpired:
                run.send_signal(signal.SIGKILL)
    subprocess.run(command, check=True, capture_output=True)
    names = sorted(path.name for path in plain.iterdir())
    assert names == ["html", "json", "markdown", "radii.csv"]
    for name in names:
        assert (killed / name).read_bytes() == (plain / name).read_bytes(), name


def test_another_run_is_refused(run: Run, tmp_path: Path) -> None:
    journal, data = tmp_path / "j", SAMPLES / "digits_test.npz"
    first = ("certify", MODEL, data, "--method", "autolip", "--resume", journal)
    assert run(*first).exit_code == 0
    result = run(*first, "--norm", "linf")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is of another run: it differs in norm; name another file, or delete it" in result.stderr
    assert run(*first).exit_code == 0


def test_a_report_cannot_be_the_journal(run: Run, tmp_path: Path) -> None:
    journal = tmp_path / "j"
    result = run(
        "certify", MODEL, SAMPLES / "digits_test.npz", "--resume", journal,
        "--report", f"json={journal}", "--overwrite",
    )  # fmt: skip
    assert result.exit_code == 2 and "is read by this run" in result.stderr
