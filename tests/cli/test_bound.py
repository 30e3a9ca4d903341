"""``lipcert bound``."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

Run = Callable[..., Any]


def found(run: Run, *words: object, **environment: str) -> Any:
    return json.loads(run("bound", *words, "--format", "json", **environment).stdout)


def test_json_has_what_scripts_rely_on(run: Run, mlp: Path) -> None:
    result = found(run, mlp, "--pairwise")
    weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(mlp).graph.initializer}
    product = np.prod([np.linalg.norm(weights[name].astype(float), 2) for name in ("w0", "w1")])
    assert 0.0 < result["lower"] <= result["value"] <= product * (1 + 1e-9)
    assert result["ratio"] == pytest.approx(result["value"] / result["lower"])
    assert (result["norm"], result["semantics"], result["device"]) == ("l2", "real", "cpu")
    assert result["methods"][result["method"]] == result["value"]
    assert result["model"] == "mlp.onnx"
    assert result["model_sha256"] == hashlib.sha256(mlp.read_bytes()).hexdigest()
    assert np.shape(result["pairwise"]) == (3, 3)
    assert result["obstacle"] is None
    assert result["seconds"] > 0.0
    assert {"lipcert", "torch", "onnx", "onnxruntime"} <= set(result["versions"])
    assert found(run, mlp)["pairwise"] is None


def test_options_reach_the_library(run: Run, mlp: Path) -> None:
    result = found(run, mlp, "--norm", "linf", "--method", "autolip", "--spectral", "svd")
    assert (result["norm"], result["method"], result["spectral"]) == ("linf", "autolip", "svd")
    assert list(result["methods"]) == ["autolip"]


def test_lipsdp_by_every_solver(run: Run, mlp: Path) -> None:
    own = found(run, mlp, "--method", "lipsdp")
    assert "hkm" in own["details"]["lipsdp"]
    assert own["value"] < found(run, mlp, "--method", "autolip")["value"]
    for solver in ("scs", "clarabel"):
        other = found(run, mlp, "--method", "lipsdp", "--solver", solver)
        assert other["value"] == pytest.approx(own["value"], rel=1e-3)
        assert solver in other["details"]["lipsdp"]


def test_lipsdp_says_that_it_is_of_l2(run: Run, mlp: Path) -> None:
    result = run("bound", mlp, "--method", "lipsdp", "--norm", "linf")
    assert result.exit_code == 2
    assert "bounds the l2 norm only" in result.stderr
    assert "averaged" in result.stderr
    assert "lipsdp" not in found(run, mlp, "--norm", "linf")["methods"]


def test_interrupting_lipsdp_prints_the_bound_so_far(mlp: Path) -> None:
    """A signal during the iterations, as Ctrl-C sends it."""
    words = ["bound", str(mlp), "--method", "lipsdp", "-v"]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTING, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "iteration 3" in err
    assert "iteration 9" not in err
    assert "interrupted early" in " ".join(out.split())
    assert "proven upper bound" in out


INTERRUPTING = """
import os, signal, sys
from lipcert.conic import hkm
from lipcert_cli.main import main

iterate = hkm.State.advance
count = 0

def advance(state):
    global count
    count += 1
    if count == 4:
        os.kill(os.getpid(), signal.SIGINT)
    return iterate(state)

hkm.State.advance = advance
main()
"""


def test_options_come_from_the_environment_too(run: Run, mlp: Path) -> None:
    environment = {"LIPCERT_BOUND_NORM": "l1", "LIPCERT_BOUND_METHOD": "autolip"}
    result = found(run, mlp, **environment)
    assert (result["norm"], result["method"]) == ("l1", "autolip")
    assert found(run, mlp, "--norm", "linf", **environment)["norm"] == "linf"


def test_text(run: Run, mlp: Path) -> None:
    result = run("bound", mlp, "--method", "autolip")
    assert (result.exit_code, result.stderr) == (0, "")
    for words in ("mlp.onnx", "proven upper bound", "steepest slope found", "method autolip"):
        assert words in result.stdout
    assert "in real arithmetic on the weights that the file holds" in result.stdout


@pytest.mark.parametrize("format", ["text", "json", "markdown"])
def test_no_finite_bound_is_a_result_with_exit_code_3(
    run: Run, unbounded: Path, format: str
) -> None:
    result = run("bound", unbounded, "--format", format, "--report", "json=out.json")
    assert result.exit_code == 3
    assert result.stderr == "wrote out.json\n"
    written = json.loads(Path("out.json").read_text())
    assert written["value"] == "inf"
    assert written["obstacle"]["node"] == "gate"
    shown = " ".join(result.stdout.split())  # long sentences are wrapped
    for words in ("gate", written["obstacle"]["finding"], written["obstacle"]["help"]):
        assert words in shown
    assert written["lower"] > 0.0


def test_input_shape_and_output(run: Run, mlp: Path) -> None:
    model = onnx.load(mlp)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "features"
    model.graph.output.append(onnx.helper.make_tensor_value_info("a", 1, ["n", 6]))
    onnx.save(model, "dynamic.onnx")
    words = ("dynamic.onnx", "--method", "autolip", "--output", "a", "--input-shape", "4")
    assert found(run, *words)["output"] == "a"
    assert run("bound", *words[:-2]).exit_code == 2
    assert run("bound", *words[:3], *words[5:]).exit_code == 3
