"""``lipcert certify``."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Run = Callable[..., Any]
EPS = ("--eps", "36/255", "--eps", "0.05", "--eps", "1e3")


def found(run: Run, *words: object) -> Any:
    return json.loads(run("certify", *words, "--format", "json").stdout)


def test_json_has_what_scripts_rely_on(run: Run, mlp: Path, data: Path) -> None:
    result = found(run, mlp, data, *EPS)
    assert (result["samples"], result["clean_correct"], result["disagreements"]) == (20, 19, 0)
    assert [entry["eps_text"] for entry in result["certified"]] == ["36/255", "0.05", "1e3"]
    counts = [entry["count"] for entry in result["certified"]]
    assert counts[0] <= counts[1]
    assert counts[2] == 0
    assert result["radius"]["min"] == 0.0
    assert result["units"] == "the data's own units"
    assert result["data_sha256"] == hashlib.sha256(data.read_bytes()).hexdigest()
    assert result["model_sha256"] == hashlib.sha256(mlp.read_bytes()).hexdigest()
    assert result["bound"]["value"] > 0.0


def test_text(run: Run, mlp: Path, data: Path) -> None:
    counts = [entry["count"] for entry in found(run, mlp, data, *EPS)["certified"]]
    result = run("certify", mlp, data, *EPS)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["correct", "19/20", "95.0", "%"] in [line[:4] for line in lines]
    for count, label in zip(counts, (["36/255", "=", "0.1412"], ["0.05"], ["1e3"]), strict=True):
        wanted = ["certified", "at", *label, f"{count}/20"]
        assert wanted in [line[: len(wanted)] for line in lines]
    for words in ("median radius", "mean radius", "proven upper bound", "the data's own units"):
        assert words in result.stdout


def test_radii_are_one_row_a_sample(run: Run, mlp: Path, data: Path) -> None:
    result = run("certify", mlp, data, *EPS, "--radii", "radii.csv", "--report", "json=out.json")
    assert result.stderr == "wrote radii.csv\nwrote out.json\n"
    with Path("radii.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    summary = json.loads(Path("out.json").read_text())
    radii = np.array([float(row["radius"]) for row in rows])
    assert len(rows) == 20
    assert sum(int(row["correct"]) for row in rows) == summary["clean_correct"]
    assert float(np.median(radii)) == summary["radius"]["median"]
    for entry in summary["certified"]:
        assert int((radii > entry["eps"]).sum()) == entry["count"]


def test_every_report_tells_the_same_counts(run: Run, mlp: Path, data: Path) -> None:
    reports = [("--report", f"{name}=out.{name}") for name in ("json", "markdown", "text")]
    result = run("certify", mlp, data, *EPS, *(word for pair in reports for word in pair), "-q")
    assert (result.exit_code, result.stderr) == (0, "")
    summary = json.loads(Path("out.json").read_text())
    for name in ("markdown", "text"):
        text = Path(f"out.{name}").read_text()
        for entry in summary["certified"]:
            assert f"{entry['count']}/20" in text


def test_normalization_and_range(run: Run, mlp: Path, data: Path) -> None:
    plain = found(run, mlp, data)
    options = ("--normalize", "mean=0,std=0.5", "--input-range", "-9,9")
    scaled = found(run, mlp, data, *options)
    assert scaled["normalization"] == {"mean": [0.0], "std": [0.5]}
    assert scaled["input_range"] == [-9.0, 9.0]
    assert plain["normalization"] is None
    assert scaled["bound"]["value"] == pytest.approx(2 * plain["bound"]["value"], rel=1e-6)


def test_labels_of_their_own(run: Run, mlp: Path, data: Path) -> None:
    with np.load(data) as arrays:
        np.save("samples.npy", arrays["x"])
        np.save("labels.npy", arrays["y"])
    assert found(run, mlp, "samples.npy", "--labels", "labels.npy")["clean_correct"] == 19


def test_no_finite_bound_is_an_error(run: Run, unbounded: Path, data: Path) -> None:
    result = run("certify", unbounded, data, *EPS)
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("error: unbounded.onnx: no finite l2 bound: node 'gate' (Mul)")
