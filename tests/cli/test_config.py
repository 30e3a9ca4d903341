"""Options from ``lipcert.toml``, and ``lipcert config show``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def configured(run: Run, tmp_path: Path) -> Callable[[str], Run]:
    """``configured(text)``: a runner in a folder with that ``lipcert.toml``."""

    def write(text: str) -> Run:
        (tmp_path / "lipcert.toml").write_text(text, encoding="utf-8")
        return run

    return write


def shown(run: Run, **environment: str) -> dict[tuple[str, str], tuple[Any, str]]:
    result = run("config", "show", "--format", "json", **environment)
    assert result.exit_code == 0, result.stderr
    options = json.loads(result.stdout)["options"]
    return {(o["command"], o["option"]): (o["value"], o["source"]) for o in options}


def test_precedence(configured: Any, mlp: Path) -> None:
    run = configured('[bound]\nnorm = "linf"\nmethod = "autolip"\nformat = "json"\n')
    norm = {"LIPCERT_BOUND_NORM": "l1"}
    assert json.loads(run("bound", mlp).stdout)["norm"] == "linf"
    assert json.loads(run("bound", mlp, **norm).stdout)["norm"] == "l1"
    assert json.loads(run("bound", mlp, "--norm", "l2", **norm).stdout)["norm"] == "l2"
    assert shown(run)["bound", "norm"] == ("linf", "lipcert.toml")
    assert shown(run, **norm)["bound", "norm"] == ("l1", "LIPCERT_BOUND_NORM")
    assert shown(run)["inspect", "norm"] == ("l2", "default")


def test_values_of_every_kind(configured: Any, mlp: Path, data: Path) -> None:
    run = configured(
        "[certify]\n"
        'eps = ["36/255", 0.25]\n'
        "input-range = [-9, 9]\n"
        "time-limit = 12.5\n"
        "input-shape = [4]\n"
        "overwrite = true\n"
        'method = "autolip"\n'
        'format = "json"\n'
        'radii = "radii.csv"\n'
    )
    result = run("certify", mlp, data)
    assert result.exit_code == 0, result.stderr
    value = json.loads(result.stdout)
    assert [entry["eps_text"] for entry in value["certified"]] == ["36/255", "0.25"]
    assert value["input_range"] == [-9.0, 9.0]
    assert Path("radii.csv").exists()
    assert run("certify", mlp, data).exit_code == 0  # overwrite
    options = shown(run)
    assert options["certify", "eps"] == (["36/255", "0.25"], "lipcert.toml")
    assert options["certify", "input-range"] == ([-9.0, 9.0], "lipcert.toml")
    assert options["certify", "time-limit"] == (12.5, "lipcert.toml")
    assert options["certify", "overwrite"] == (True, "lipcert.toml")


def test_pyproject_and_verbose(run: Run, mlp: Path, tmp_path: Path) -> None:
    text = '[tool.lipcert.bound]\nnorm = "l1"\nmethod = "autolip"\n'
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    result = run("bound", mlp, "-v", "--format", "json")
    assert json.loads(result.stdout)["norm"] == "l1"
    assert "options from pyproject.toml" in result.stderr
    assert "options from" not in run("bound", mlp).stderr


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("[bound]\nnrom = 'l1'\n", ["lipcert.toml, [bound]", "'nrom'", "did you mean 'norm'?"]),
        ("[bund]\nnorm = 'l1'\n", ["lipcert.toml", "'bund'", "did you mean 'bound'?"]),
        ("[bound]\nnorm = 'l3'\n", ["lipcert.toml, [bound] norm", "'l3'"]),
        ("[bound]\ntime-limit = 'soon'\n", ["[bound] time-limit", "'soon'"]),
        ("[bound]\npairwise = 1\n", ["[bound] pairwise", "not true or false"]),
        ("[bound]\nnorm = true\n", ["[bound] norm", "write text or a number"]),
        ("[bound]\nhelp = true\n", ["unknown key 'help'"]),
        ("bound = 3\n", ["'bound' is not a table"]),
        ("[bound\n", ["is not valid TOML"]),
    ],
)
def test_what_is_no_good_is_named(
    configured: Any, mlp: Path, text: str, fragments: list[str]
) -> None:
    run = configured(text)
    for words in (("bound", mlp), ("config", "show")):
        result = run(*words)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("error: ")
        for fragment in fragments:
            assert fragment in result.stderr
    assert run("bound", "--help").exit_code == 0
    assert run("--help").exit_code == 0
    assert run("completion", "bash").exit_code == 0


def test_config_show_as_text(configured: Any) -> None:
    run = configured('[gate]\nexit-zero = true\n[[check]]\nmodel = "a.onnx"\nmax-lipschitz = 1\n')
    result = run("config", "show", LIPCERT_CERTIFY_EPS="0.25 0.5")
    assert result.stdout.startswith("configuration: lipcert.toml\nchecks: a\n")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["exit-zero", "true", "(lipcert.toml)"] in lines
    assert ["eps", '["0.25",', '"0.5"]', "(LIPCERT_CERTIFY_EPS)"] in lines
    assert ["norm", '"l2"', "(default)"] in lines


def test_config_show_without_a_configuration(run: Run, tmp_path: Path) -> None:
    result = run("config", "show")
    assert result.exit_code == 0
    assert result.stdout.startswith("configuration: no lipcert.toml in this folder\n")
    (tmp_path / "other.toml").write_text("[bound]\nnorm = 'l1'\n", encoding="utf-8")
    result = run("config", "show", "--config", "other.toml")
    assert "(other.toml)" in result.stdout
