"""``lipcert bound --proof`` and ``lipcert check``."""

from __future__ import annotations

import hashlib
import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from jsonschema import Draft202012Validator
from onnx import numpy_helper

from lipcert.proof import network_claims
from lipcert.proof.writing import proof_file, read

Run = Callable[..., Any]
SCHEMAS = Path(__file__).parents[2] / "docs" / "schemas"


@pytest.fixture
def proof(run: Run, mlp: Path, tmp_path: Path) -> Path:
    """A proof of ``mlp``."""
    target = tmp_path / "mlp.proof"
    result = run("bound", mlp, "--proof", target)
    assert result.exit_code == 0, result.stderr
    assert "wrote" in result.stderr
    return target


def valid(name: str, text: str) -> Any:
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    found = json.loads(text)
    Draft202012Validator(schema).validate(found)
    return found


def changed(model: Path, target: Path) -> Path:
    """The same model with one bit of one weight flipped."""
    held = onnx.load(model)
    weight = numpy_helper.to_array(held.graph.initializer[0]).copy()
    weight.view(np.uint32).reshape(-1)[0] ^= 1
    held.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w0"))
    onnx.save(held, str(target))
    return target


def test_a_proof_is_checked(run: Run, mlp: Path, proof: Path) -> None:
    result = run("check", proof, mlp)
    assert result.exit_code == 0
    assert result.stdout.startswith("proved: ‖f(x) − f(y)‖ ≤ ")
    assert result.stdout.count("\n") == 1
    found = valid("check", run("check", proof, mlp, "--format", "json").stdout)
    assert found["verdict"] == "proved"
    assert Fraction(found["constant"]) <= Fraction(found["value"])
    assert found["certified"] is None


def test_json_of_the_bound_has_what_the_file_proves(run: Run, mlp: Path, tmp_path: Path) -> None:
    target = tmp_path / "p"
    words = ("bound", mlp, "--method", "lipsdp", "--proof", target, "--format", "json")
    found = valid("bound", run(*words).stdout)
    facts = found["proof"]
    assert facts["sha256"] == hashlib.sha256(target.read_bytes()).hexdigest()
    assert facts["bytes"] == target.stat().st_size
    assert facts["value"] <= found["value"] * (1.0 + 1e-6)
    checked = json.loads(run("check", target, mlp, "--format", "json").stdout)
    assert checked["constant"] == facts["constant"]
    assert valid("bound", run("bound", mlp, "--format", "json").stdout)["proof"] is None


def test_text_tells_what_the_file_proves(run: Run, mlp: Path, tmp_path: Path) -> None:
    target = tmp_path / "p"
    shown = " ".join(run("bound", mlp, "--proof", target).stdout.split())
    assert "in the proof file" in shown
    assert f"1 claim, {target.stat().st_size:,} bytes" in shown
    assert "in the proof file" not in run("bound", mlp).stdout


def test_a_way_that_is_not_covered_is_told(run: Run, mlp: Path, tmp_path: Path) -> None:
    """The exact constant of a small net is found by enumeration; the file proves the next best."""
    target = tmp_path / "p"
    exact = run("bound", mlp, "--method", "exact", "--proof", target)
    told = "the checker does not cover the way to the bound above"
    assert told in " ".join(exact.stdout.split())
    assert run("check", target, mlp).exit_code == 0
    other = run("bound", mlp, "--method", "lipsdp", "--proof", target, "--overwrite")
    assert told not in " ".join(other.stdout.split())


def test_another_model_is_refuted(run: Run, mlp: Path, proof: Path, tmp_path: Path) -> None:
    other = changed(mlp, tmp_path / "other.onnx")
    result = run("check", proof, other)
    assert (result.exit_code, result.stderr) == (1, "")
    assert result.stdout == "refuted: other.onnx is not the model that the proof is about\n"
    found = valid("check", run("check", proof, other, "--format", "json").stdout)
    assert (found["verdict"], found["constant"]) == ("refuted", None)


def test_another_model_is_refuted_by_the_numbers_too(
    run: Run, mlp: Path, proof: Path, tmp_path: Path
) -> None:
    """A proof that names the digest of a model with larger weights."""
    held = onnx.load(mlp)
    for tensor in held.graph.initializer:
        scaled = numpy_helper.to_array(tensor) * np.float32(1.001)
        tensor.CopyFrom(numpy_helper.from_array(scaled, tensor.name))
    other = tmp_path / "other.onnx"
    onnx.save(held, str(other))
    from lipcert.checker.importing import network_of

    source = read(mlp)
    found = network_claims(network_of(source.file), "logits")
    forged = proof_file(read(other), "logits", found.constant, found.claims)
    (tmp_path / "forged").write_bytes(forged)
    result = run("check", tmp_path / "forged", other)
    assert result.exit_code == 1
    assert "not diagonally dominant" in result.stdout


@pytest.mark.parametrize("where", [0.2, 0.5, 0.9])
def test_a_damaged_file_is_refuted(run: Run, mlp: Path, proof: Path, where: float) -> None:
    data = bytearray(proof.read_bytes())
    place = int(where * len(data))
    while not chr(data[place]).isalnum():
        place += 1
    data[place] = ord("A") if data[place] != ord("A") else ord("B")
    proof.write_bytes(data)
    assert run("check", proof, mlp).exit_code == 1
    proof.write_bytes(bytes(data[: len(data) // 2]))
    assert run("check", proof, mlp).exit_code == 1


def test_an_unknown_format_is_inconclusive(run: Run, mlp: Path, proof: Path) -> None:
    content = json.loads(proof.read_text())
    proof.write_text(json.dumps({**content, "format": "lipcert-proof/999"}))
    result = run("check", proof, mlp)
    assert result.exit_code == 7
    assert result.stdout.startswith("inconclusive: ")
    assert valid("check", run("check", proof, mlp, "--format", "json").stdout)["value"] is None


def test_missing_files_are_an_error(run: Run, mlp: Path, proof: Path) -> None:
    for words in (("nowhere", mlp), (proof, "nowhere"), (proof, mlp, "nowhere")):
        result = run("check", *words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "nowhere: is not a file that can be read" in result.stderr


def test_data_missing_from_a_proof_about_data_is_inconclusive(
    run: Run, mlp: Path, data: Path, tmp_path: Path
) -> None:
    from lipcert.checker.file import Samples
    from lipcert.checker.importing import network_of

    source = read(mlp)
    found = network_claims(network_of(source.file), "logits")
    x = np.load(data)["x"]
    nothing = np.zeros(len(x))
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    samples = Samples(digest, (), (), np.zeros(len(x), dtype=np.int64), nothing, nothing)
    target = tmp_path / "p"
    target.write_bytes(proof_file(source, "logits", found.constant, found.claims, samples=samples))
    assert run("check", target, mlp).exit_code == 7
    whole = run("check", target, mlp, data)
    assert (whole.exit_code, "0 of 20 samples" in whole.stdout) == (0, True)


def test_a_proof_is_not_overwritten(run: Run, mlp: Path, proof: Path) -> None:
    before = proof.read_bytes()
    result = run("bound", mlp, "--proof", proof)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "exists already; pass --overwrite" in result.stderr
    assert proof.read_bytes() == before
    assert run("bound", mlp, "--proof", proof, "--overwrite").exit_code == 0
    assert run("bound", mlp, "--proof", mlp, "--overwrite").exit_code == 2


def test_the_same_model_gives_the_same_proof(run: Run, mlp: Path, proof: Path) -> None:
    before = proof.read_bytes()
    run("bound", mlp, "--proof", proof, "--overwrite")
    assert proof.read_bytes() == before


def test_other_norms_are_refused_before_any_work(run: Run, mlp: Path, tmp_path: Path) -> None:
    result = run("bound", mlp, "--norm", "linf", "--proof", tmp_path / "p")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--proof: covers the l2 norm, not linf; use --norm l2" in result.stderr
    assert not (tmp_path / "p").exists()


def test_what_the_checker_does_not_read_is_refused_in_its_words(
    run: Run, unbounded: Path, tmp_path: Path
) -> None:
    result = run("bound", unbounded, "--proof", tmp_path / "p")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "no proof file can be made of it: Mul of two signals is not covered" in result.stderr
    assert not (tmp_path / "p").exists()


def test_checking_loads_nothing_heavy(mlp: Path, proof: Path) -> None:
    code = (
        "import sys\nfrom lipcert_cli.main import cli\n"
        f"try:\n    cli.main(['check', {str(proof)!r}, {str(mlp)!r}])\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'scipy', 'rich'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr


def test_checks_of_a_gate_are_not_options_of_the_command(run: Run, proof: Path, mlp: Path) -> None:
    Path("lipcert.toml").write_text('[[check]]\nmodel = "a.onnx"\nmax-lipschitz = 1\n')
    result = run("check", proof, mlp)
    assert result.exit_code == 0, result.stderr


def test_reports_name_the_command_that_checks(
    run: Run, mlp: Path, data: Path, tmp_path: Path
) -> None:
    """What the reports of ``certify --proof`` say can be run as it stands, and counts the same."""
    made = run(
        "certify", mlp, data, "--eps", "0.1", "--proof", "c.proof", "--report", "json=r.json",
        "--report", "markdown=r.md", "--report", "html=r.html",
    )  # fmt: skip
    assert made.exit_code == 0, made.stderr
    proof = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["proof"]
    assert (proof["file"], proof["format"]) == ("c.proof", "lipcert-proof/1")
    for text in (made.stdout, *((tmp_path / f"r.{end}").read_text() for end in ("md", "html"))):
        words = " ".join(text.split())
        assert "c.proof (lipcert-proof/1)" in words
        assert f"{proof['certified'][0]} of " in words and "lipcert check c.proof" in words
    checked = run(*shlex.split(proof["check"])[1:])
    assert (checked.exit_code, checked.stdout[:7]) == (0, "proved:")


def stuck(*arguments: object) -> None:
    """Work without an end, in numpy, that keeps every error to itself."""
    matrix = np.ones((64, 64))
    while True:
        try:
            matrix = matrix @ matrix / 64.0
        except Exception:
            continue


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("lipcert.checker.proof.prove_contraction", "while checking the constant "),
        ("lipcert.checker.verdict.check_samples", "before or between the claims"),
        ("lipcert.checker.certificates.read_samples", "while checking the samples"),
        ("lipcert.checker.verdict.network_of", "before or between the claims"),
    ],
)
def test_the_time_limit_names_what_was_being_checked(
    run: Run, mlp: Path, data: Path, monkeypatch: pytest.MonkeyPatch, place: str, told: str
) -> None:
    run("certify", mlp, data, "--proof", "c.proof")
    before = signal.getsignal(signal.SIGALRM)
    with monkeypatch.context() as patched:
        patched.setattr(place, stuck)
        words = ("check", "c.proof", mlp, data, "--time-limit", "0.3", "--format", "json")
        result = run(*words)
    assert result.exit_code == 7
    found = valid("check", result.stdout)
    assert found["verdict"] == "inconclusive"
    assert found["why"].startswith(f"the time limit of 0.3 s was reached {told}")
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_limit_that_is_not_reached_changes_nothing(run: Run, mlp: Path, proof: Path) -> None:
    plain = run("check", proof, mlp)
    timed = run("check", proof, mlp, "--time-limit", "600")
    assert (timed.exit_code, timed.stdout) == (0, plain.stdout)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    for wrong in ("0", "-1", "nan", "inf", "soon"):
        assert run("check", proof, mlp, "--time-limit", wrong).exit_code == 2
