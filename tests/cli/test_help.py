"""Help, versions and completion; nothing heavy is imported for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from lipcert_cli.main import COMMANDS, cli
from lipcert_cli.options import DEVICE_NAMES, NORM_NAMES, SOLVER_NAMES, SPECTRAL_NAMES
from lipcert_cli.values import METHOD_NAMES

from lipcert.bounds import METHODS
from lipcert.conic.solvers import SOLVERS
from lipcert.reports import formats_of
from lipcert.spectral import NORMS
from lipcert.spectral.eigenvalues import EIGENVALUE_BOUNDS
from lipcert.versions import versions

HEAVY = {"torch", "onnx", "onnxruntime", "numpy", "rich"}
DOCS = Path(__file__).parents[2] / "docs" / "commands.md"


def test_help_lists_commands_and_exit_codes() -> None:
    result = CliRunner().invoke(cli, ["--help"])
    assert result.exit_code == 0
    for name, entry in COMMANDS.items():
        assert f"  {name} " in result.stdout
        assert entry.summary.split()[0] in result.stdout
    for line in ("2    usage", "3    unsupported model, or no finite bound", "130  interrupted"):
        assert line in result.stdout


def test_no_command_shows_help_on_stderr() -> None:
    result = CliRunner().invoke(cli, [])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Commands:" in result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: cli {name} ") or "Usage: lipcert" in result.stdout
    assert "--help" in result.stdout


def test_the_names_in_help_are_those_of_the_registries() -> None:
    assert set(METHOD_NAMES) == {"auto", *METHODS}, "name the method in cli/values.py"
    assert set(NORM_NAMES) == set(NORMS)
    assert set(SOLVER_NAMES) == set(SOLVERS)
    assert set(SPECTRAL_NAMES) == {*EIGENVALUE_BOUNDS, "auto"}
    help = CliRunner().invoke(cli, ["bound", "--help"]).stdout
    for name in (
        *METHOD_NAMES,
        *NORM_NAMES,
        *SPECTRAL_NAMES,
        *SOLVER_NAMES,
        *DEVICE_NAMES,
        *formats_of("LipschitzBound"),
    ):
        assert name in help


@pytest.mark.parametrize("words", [["--help"], ["certify", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys; from lipcert_cli.main import cli\n"
        f"try: cli.main({words!r}, prog_name='lipcert')\n"
        "except SystemExit as e: assert not e.code\n"
        f"print('heavy:', *sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("heavy:")


def test_version_names_what_results_depend_on() -> None:
    result = CliRunner().invoke(cli, ["--version"], env={"LIPCERT_VERSION": "0.0"})
    found = versions()
    assert result.stdout.startswith(f"lipcert {found['lipcert']} (")
    for name, number in found.items():
        assert f"{name} {number}" in result.stdout
    assert CliRunner().invoke(cli, [], env={"LIPCERT_VERSION": "1"}).stdout == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell])
    assert result.exit_code == 0
    assert f"_LIPCERT_COMPLETE={shell}_complete" in result.stdout


def test_completion_of_a_command() -> None:
    words = {"_LIPCERT_COMPLETE": "bash_complete", "COMP_WORDS": "lipcert bo", "COMP_CWORD": "1"}
    result = CliRunner().invoke(cli, [], env=words, prog_name="lipcert")
    assert (result.exit_code, result.stdout) == (0, "plain,bound\n")


def test_the_docs_tell_every_option() -> None:
    docs = DOCS.read_text(encoding="utf-8")
    for name in COMMANDS:
        command = cli.get_command(cli.make_context("lipcert", ["completion"]), name)
        assert command is not None
        assert f"`lipcert {name}" in docs
        for parameter in command.params:
            for option in parameter.opts:
                assert not option.startswith("-") or f"`{option}" in docs, option
