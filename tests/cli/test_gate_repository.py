"""The whole path: a repository with a trained model, the example workflow, and a retrained model.

The workflow is ``docs/examples/lipcert.yml`` and the action ``action.yml``, as they are: their
scripts are taken out and run by bash with the environment that they declare.  One step is replaced:
"Install lipcert" would fetch torch, so the environment that runs the tests is put on PATH instead;
its script runs in a test of its own, against a python that only notes its arguments.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((ROOT / "docs" / "examples" / "lipcert.yml").read_text(encoding="utf-8"))
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
INSTALL = "Install lipcert"
CONFIGURATION = """\
baseline = "lipcert-baseline.json"

[[check]]
name = "digits"
model = "models/digits.onnx"
data = "data/test.npz"
method = "autolip"
input-range = [0, 1]
min-clean-accuracy = 0.9
min-certified-accuracy = { "0.1" = 0.7 }
max-lipschitz = 1.01
max-drop = 0.02
"""
TRAINED_ON = 300

pytestmark = pytest.mark.skipif(
    not (shutil.which("bash") and shutil.which("git")), reason="needs bash and git"
)


def train(*, bounded: bool) -> list[np.ndarray]:
    """A classifier of digits, 64-64-10: its layers kept at norm 1, or trained without care."""
    data = np.load(ROOT / "sample_models" / "digits_test.npz")
    x = torch.from_numpy(data["x"][:TRAINED_ON].reshape(TRAINED_ON, -1))
    y = torch.from_numpy(data["y"][:TRAINED_ON])
    random = torch.Generator().manual_seed(0)
    w0, w1 = (torch.randn(64, n, generator=random) / 8 for n in (64, 10))
    weights = [w0, torch.zeros(64), w1, torch.zeros(10)]
    for weight in weights:
        weight.requires_grad_()
    optimizer = torch.optim.Adam(weights, lr=0.02 if bounded else 0.2)
    for _ in range(300):
        optimizer.zero_grad()
        logits = (x @ weights[0] + weights[1]).relu() @ weights[2] + weights[3]
        if bounded:
            logits = 16 * (logits - 0.3 * torch.nn.functional.one_hot(y, 10))
        torch.nn.functional.cross_entropy(logits, y).backward()
        optimizer.step()
        if bounded:
            with torch.no_grad():
                for weight in (weights[0], weights[2]):
                    weight /= max(1.0, float(torch.linalg.matrix_norm(weight, 2)))
    return [weight.detach().numpy() for weight in weights]


def save(weights: list[np.ndarray], path: Path) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w0", "b0"], ["h"], name="fc0"),
        helper.make_node("Relu", ["h"], ["a"], name="relu"),
        helper.make_node("Gemm", ["a", "w1", "b1"], ["logits"], name="fc1"),
    ]
    constants = [
        numpy_helper.from_array(np.ascontiguousarray(weight), name)
        for name, weight in zip(("w0", "b0", "w1", "b1"), weights, strict=True)
    ]
    ends = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])]
        for name, size in (("x", 64), ("logits", 10))
    )
    graph = helper.make_graph(nodes, "digits", *ends, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))


@dataclass
class Outcome:
    """What one run of the workflow's job left."""

    code: int
    log: str
    summary: str
    outputs: str


@dataclass
class Repository:
    """A git repository, and GitHub's runner in it."""

    folder: Path
    outside: Path

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        command = ["git", *who, "-c", "commit.gpgsign=false", *words]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def run_workflow(self, **inputs: str) -> Outcome:
        """The job: the steps that take the action, whose own steps run until one fails."""
        (job,) = WORKFLOW["jobs"].values()
        (step,) = [s for s in job["steps"] if "/lipcert@" in s.get("uses", "")]
        given = {name: declared.get("default", "") for name, declared in ACTION["inputs"].items()}
        assert set(step["with"]) <= set(given)
        given |= {**step["with"], **inputs}
        outcome = Outcome(0, "", "", "")
        for inner in ACTION["runs"]["steps"]:
            if inner["name"] != INSTALL and outcome.code == 0:
                outcome = self.run_step(inner, given)
        return outcome

    def run_step(self, step: dict[str, Any], given: dict[str, str]) -> Outcome:
        """A step's script as GitHub runs it."""
        files = {key: self.outside / key for key in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        for file in files.values():
            file.write_text("")
        script = self.outside / "script.sh"
        script.write_text(step["run"], encoding="utf-8")
        declared = {key: substituted(value, given) for key, value in step["env"].items()}
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.outside),
            "OMP_NUM_THREADS": "1",
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(self.folder),
            "GITHUB_ACTION_PATH": str(ROOT),
            **{key: str(file) for key, file in files.items()},
            **declared,
        }
        assert step["shell"] == "bash"
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.folder / substituted(step.get("working-directory", "."), given),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        summary, outputs = (files[k] for k in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"))
        return Outcome(done.returncode, done.stdout, summary.read_text(), outputs.read_text())


def substituted(text: str, given: dict[str, str]) -> str:
    """``${{ inputs.name }}`` by its value; no other expression is used."""
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda match: given[match[1]], text)


@pytest.fixture(scope="module")
def weights() -> dict[str, list[np.ndarray]]:
    return {"good": train(bounded=True), "worse": train(bounded=False)}


@pytest.fixture
def repository(tmp_path: Path, weights: dict[str, list[np.ndarray]]) -> Repository:
    """Model, data, configuration, baseline and workflow, committed on main."""
    folder, outside = tmp_path / "repository", tmp_path / "runner"
    for path in (folder / "models", folder / "data", folder / ".github" / "workflows", outside):
        path.mkdir(parents=True)
    data = np.load(ROOT / "sample_models" / "digits_test.npz")
    x, y = data["x"][TRAINED_ON:], data["y"][TRAINED_ON:]
    np.savez(folder / "data" / "test.npz", x=x.reshape(len(x), -1), y=y)
    save(weights["good"], folder / "models" / "digits.onnx")
    (folder / "lipcert.toml").write_text(CONFIGURATION, encoding="utf-8")
    workflow = ROOT / "docs" / "examples" / "lipcert.yml"
    shutil.copy(workflow, folder / ".github" / "workflows" / "lipcert.yml")
    (folder / ".gitignore").write_text("lipcert*.xml\nlipcert.sarif\nlipcert.json\n")
    made = Repository(folder, outside)
    made.git("init", "--quiet", "--initial-branch=main")
    command = [sys.executable, "-m", "lipcert_cli", "gate", "--update-baseline", "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    made.commit("A model that is certified")
    return made


def test_a_retrained_model_that_is_worse_is_stopped(
    repository: Repository, weights: dict[str, list[np.ndarray]]
) -> None:
    first = repository.run_workflow()
    assert first.code == 0, first.log
    assert first.outputs == "exit-code=0\n"
    assert "gate met: 5 conditions" in first.log
    assert "::notice title=lipcert gate::gate met: 5 conditions" in first.log
    assert "FAIL" not in first.log
    assert "✅ pass" in first.summary

    repository.git("checkout", "--quiet", "-b", "retrain")
    save(weights["worse"], repository.folder / "models" / "digits.onnx")
    repository.commit("Retrain without the bound")
    second = repository.run_workflow()
    assert second.code == 1, second.log
    assert second.outputs == "exit-code=1\n"
    result = json.loads((repository.folder / "lipcert.json").read_text())
    (check,) = result["checks"]
    failed = {(v["condition"], v["eps"]): v for v in check["verdicts"] if v["outcome"] == "fail"}
    certified = failed["min-certified-accuracy", "0.1"]
    count = certified["count"]
    # which condition, by how much, and how to look closer: all three in the step's log
    assert f"FAIL certified {count}/150 < 0.7 at eps=0.1 (l2)  [digits]" in second.log
    assert f"short by {105 - count} samples; to look closer: " in second.log
    closer = (
        "lipcert certify models/digits.onnx data/test.npz --eps 0.1 --input-range 0,1 "
        "--method autolip --radii digits-radii.csv"
    )
    assert closer in second.log
    assert re.search(r"FAIL lipschitz [\d.]+ > 1.01 \(l2\)  \[digits\]\n +above by ", second.log)
    assert "::error file=lipcert.toml,line=3,title=lipcert gate not met%3A digits::" in second.log
    assert f"short by {105 - count} samples" in second.summary
    assert "certified " in (repository.folder / "lipcert-junit.xml").read_text()
    sarif = json.loads((repository.folder / "lipcert.sarif").read_text())
    assert len(sarif["runs"][0]["results"]) == len(failed) >= 4
    # the command that was told works as it stands, and lists the samples
    done = subprocess.run(
        [sys.executable, "-m", "lipcert_cli", *closer.split()[1:]],
        cwd=repository.folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"{count}/150" in done.stdout
    assert len((repository.folder / "digits-radii.csv").read_text().splitlines()) == 151

    repository.git("checkout", "--quiet", "main")
    assert repository.run_workflow().code == 0


def test_reporting_without_failing(
    repository: Repository, weights: dict[str, list[np.ndarray]]
) -> None:
    save(weights["worse"], repository.folder / "models" / "digits.onnx")
    outcome = repository.run_workflow(**{"exit-zero": "true", "checks": "digits\n"})
    assert (outcome.code, outcome.outputs) == (0, "exit-code=0\n")
    assert "gate not met" in outcome.log


def test_an_error_is_not_a_failed_gate(repository: Repository) -> None:
    (repository.folder / "models" / "digits.onnx").write_bytes(b"no model")
    outcome = repository.run_workflow(**{"exit-zero": "true"})
    assert outcome.code == 2
    assert "ERROR min-clean-accuracy" in outcome.log
    assert "FAIL" not in outcome.log
    outcome = repository.run_workflow(config="gone.toml", sarif="", junit="", json="")
    assert outcome.code == 2
    assert "gone.toml: does not exist" in outcome.log


def test_the_action_reads_other_folders_and_files(repository: Repository) -> None:
    inner = repository.folder / "ml models"
    inner.mkdir()
    for name in ("models", "data"):
        (repository.folder / name).rename(inner / name)
    text = CONFIGURATION.replace("max-drop = 0.02\n", "max-drop = 0\n")
    (inner / "ci.toml").write_text(text, encoding="utf-8")
    shutil.copy(repository.folder / "lipcert-baseline.json", inner)
    outcome = repository.run_workflow(
        **{"working-directory": "ml models", "config": "ci.toml", "markdown": "out.md"}
    )
    assert outcome.code == 0, outcome.log
    assert (inner / "out.md").read_text().startswith("### lipcert gate met")
    assert (inner / "lipcert.sarif").exists()


@pytest.mark.parametrize(
    ("inputs", "wanted"),
    [
        (
            {},
            [
                f"--constraint {ROOT}/constraints.txt --index-url "
                "https://download.pytorch.org/whl/cpu torch",
                f"--constraint {ROOT}/constraints.txt {ROOT}",
            ],
        ),
        (
            {"version": "lipcert==0.1.0", "torch-index": "", "constraints": "my pins.txt"},
            ["--constraint my pins.txt torch", "--constraint my pins.txt lipcert==0.1.0"],
        ),
    ],
)
def test_what_the_action_installs(
    tmp_path: Path, inputs: dict[str, str], wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The install step against a python that notes what it is called with."""
    fake = tmp_path / "bin" / "python"
    fake.parent.mkdir()
    fake.write_text('#!/bin/sh\necho "$*" >> "$HOME/calls"\n', encoding="utf-8")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    runner = Repository(tmp_path, tmp_path)
    (step,) = [step for step in ACTION["runs"]["steps"] if step["name"] == INSTALL]
    given = {name: declared["default"] for name, declared in ACTION["inputs"].items()} | inputs
    assert runner.run_step(step, given).code == 0
    calls = (tmp_path / "calls").read_text().splitlines()
    start = "-m pip install --disable-pip-version-check "
    assert calls == [start + line for line in wanted]


def test_what_the_example_and_the_hook_name_is_there() -> None:
    assert ACTION["runs"]["using"] == "composite"
    for name, declared in ACTION["inputs"].items():
        assert declared["description"], name
        assert isinstance(declared["default"], str), name
    used = set(re.findall(r"inputs\.([\w-]+)", json.dumps(ACTION["runs"])))
    assert used == set(ACTION["inputs"])
    (job,) = WORKFLOW["jobs"].values()
    names = {step.get("uses", "").partition("@")[0] for step in job["steps"]}
    assert "github/codeql-action/upload-sarif" in names
    assert WORKFLOW["permissions"]["security-events"] == "write"
    (hook,) = HOOKS
    assert (hook["id"], hook["entry"], hook["pass_filenames"]) == (
        "lipcert-gate", "lipcert gate", False,
    )  # fmt: skip
    for changed in ("models/a.onnx", "lipcert.toml", "ml/lipcert-baseline.json", "a.onnx.data"):
        assert re.search(hook["files"], changed)
    assert not re.search(hook["files"], "README.md")


def test_the_example_configuration(tmp_path: Path) -> None:
    """``docs/examples/lipcert.toml`` as it stands, on the sample models."""
    for folder in ("models", "data"):
        (tmp_path / folder).mkdir()
    samples = ROOT / "sample_models"
    shutil.copy(samples / "digits_lip_mlp.onnx", tmp_path / "models" / "digits.onnx")
    shutil.copy(samples / "digits_relu_mlp.onnx", tmp_path / "models" / "scorer.onnx")
    shutil.copy(samples / "digits_test.npz", tmp_path / "data")
    shutil.copy(ROOT / "docs" / "examples" / "lipcert.toml", tmp_path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for words, count in ((["--update-baseline"], 5), ([], 8)):
        done = subprocess.run(
            [sys.executable, "-m", "lipcert_cli", "gate", *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert f"gate met: {count} conditions" in done.stderr
