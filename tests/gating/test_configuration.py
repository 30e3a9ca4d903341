"""What a configuration may say, and what is said about one that is no good."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lipcert.errors import InputError
from lipcert.gating import values
from lipcert.gating.check import Condition, check_files, read_checks
from lipcert.gating.files import find_configuration, read_configuration

CHECK = '[[check]]\nname = "mnist"\nmodel = "net.onnx"\ndata = "test.npz"\n'


def checks_in(write: Any, text: str) -> Any:
    return read_checks(read_configuration(write(text)))


def test_a_check_with_everything(write: Any) -> None:
    text = f"""baseline = "base.json"
{CHECK}
labels = "y.npy"
norm = "linf"
semantics = "float32"
normalize = "mean=0.5,std=0.25"
input-range = [0, 1.0]
input-shape = "3x32x32"
output = "logits"
method = "autolip"
spectral = "svd"
solver = "hkm"
device = "cpu"
time-limit = 12.5
eps = [0.125, "1/3"]
min-clean-accuracy = 0.970
min-certified-accuracy = {{ "36/255" = 0.60, "0.5" = 0.3 }}
max-lipschitz = 3
max-drop = 0.01
"""
    (check,) = checks_in(write, text)
    assert (check.name, check.line, check.norm) == ("mnist", 2, "linf")
    assert (check.semantics, check.compared["semantics"]) == ("float32", "float32")
    assert check.settings["input-range"] == (0.0, 1.0)
    assert check.settings["input-shape"] == (3, 32, 32)
    assert check.settings["time-limit"] == 12.5
    assert check.sizes == ("36/255", "0.5", "0.125", "1/3")
    assert check.conditions == (
        Condition("min-clean-accuracy", "0.970"),
        Condition("min-certified-accuracy", "0.60", "36/255"),
        Condition("min-certified-accuracy", "0.3", "0.5"),
        Condition("max-lipschitz", "3"),
        *(Condition("max-drop", "0.01", eps) for eps in ("", "36/255", "0.5", "0.125", "1/3")),
    )
    assert check.compared["input-shape"] == [3, 32, 32]
    assert "time-limit" not in check.compared


def test_a_check_without_data_and_without_a_name(write: Any) -> None:
    (check,) = checks_in(write, '[[check]]\nmodel = "net.onnx"\nmax-lipschitz = 1\n')
    assert (check.name, check.data, check.sizes) == ("net", None, ())
    assert (check.semantics, check.compared["semantics"]) == ("real", "real")


def test_lines_of_checks(write: Any) -> None:
    text = "\n".join(f'[[check]]\nname = "{n}"\nmodel = "m.onnx"\nmax-lipschitz = 1' for n in "ab")
    assert [check.line for check in checks_in(write, f"# comment\n\n{text}\n")] == [3, 7]
    inline = 'check = [{ name = "a", model = "m.onnx", max-lipschitz = 1 }]'
    assert [check.line for check in checks_in(write, inline)] == [1]


@pytest.mark.parametrize(
    ("text", "fragments"),
    [
        ("x = ", ["lipcert.toml: is not valid TOML"]),
        ("", ["has no [[check]]"]),
        ("check = 3", ["not a list of tables"]),
        ("[[check]]\n", ["check 1: has no model"]),
        (CHECK, ["lipcert.toml, check 'mnist': has no condition", "min-clean-accuracy"]),
        (CHECK + "min-clean-acuracy = 0.9", ["'min-clean-acuracy'", "did you mean 'min-clean-acc"]),
        (CHECK + "min-clean-accuracy = 97", ["outside 0 to 1", "such as 0.97"]),
        (CHECK + "min-clean-accuracy = -0.1", ["is -0.1"]),
        (CHECK + "min-clean-accuracy = nan", ["is NaN"]),
        (CHECK + "min-clean-accuracy = true", ["not a number"]),
        (CHECK + 'min-clean-accuracy = "0.9"', ["not a number"]),
        (CHECK + "max-lipschitz = inf", ["finite"]),
        (CHECK + "max-lipschitz = 1e999999", ["finite"]),
        (CHECK + "min-certified-accuracy = 0.5", ["not a table of sizes"]),
        (CHECK + "min-certified-accuracy = {}", ["not a table of sizes"]),
        (CHECK + "min-certified-accuracy = { 0.5 = 0.3 }", ["quote sizes"]),
        (CHECK + 'min-certified-accuracy = { "big" = 0.3 }', ["no perturbation size"]),
        (CHECK + 'min-certified-accuracy = { "1/0" = 0.3 }', ["no perturbation size"]),
        (CHECK + 'min-certified-accuracy = { "1e9999999999" = 0.3 }', ["no perturbation size"]),
        (CHECK + 'min-certified-accuracy = { "-1" = 0.3 }', ["no perturbation size"]),
        (CHECK + "max-lipschitz = 1e99999999999999999999", ["lipcert.toml"]),
        (CHECK + 'min-certified-accuracy = { "1/2" = 0.3, "0.5" = 0.3 }', ["are the same size"]),
        (CHECK + "max-drop = 0.01", ["there is no baseline", 'baseline = "']),
        (CHECK + 'norm = "l3"\nmax-lipschitz = 1', ["norm: is 'l3'", "l2, l1, linf"]),
        (CHECK + "input-range = [1, 0]\nmax-lipschitz = 1", ["two numbers"]),
        (CHECK + "input-shape = [0]\nmax-lipschitz = 1", ["not a shape"]),
        (CHECK + "time-limit = 0\nmax-lipschitz = 1", ["positive number of seconds"]),
        (CHECK + "model = 3", ["is not valid TOML"]),
        ("[[check]]\nmodel = 3\n", ["model: is 3, not text"]),
        ('[[check]]\nmodel = "a.onnx"\nmin-clean-accuracy = 0.5', ["no data", "data = "]),
        ('[[check]]\nmodel = "a.onnx"\nnormalize = "mean=0"\nmax-lipschitz = 1', ["no data"]),
        ((CHECK + "max-lipschitz = 1\n") * 2, ["two checks are called 'mnist'"]),
    ],
)
def test_what_is_no_good_says_where_and_what_to_do(
    write: Any, text: str, fragments: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        checks_in(write, text)
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert str(caught.value).startswith("lipcert.toml")


def test_missing_files_are_named(write: Any) -> None:
    path = write('[[check]]\nmodel = "gone.onnx"\nmax-lipschitz = 1\n')
    configuration = read_configuration(path)
    with pytest.raises(InputError, match=r"check 'gone': model 'gone.onnx' does not exist"):
        check_files(configuration, read_checks(configuration)[0])


def test_paths_are_relative_to_the_configuration(write: Any, tmp_path: Path) -> None:
    (tmp_path / "ci").mkdir()
    path = write(f"{CHECK}max-lipschitz = 1\n", "ci/lipcert.toml")
    (check,) = read_checks(read_configuration(path))
    assert check.model == Path("ci/net.onnx")


def test_where_it_is_found(write: Any) -> None:
    assert find_configuration() is None
    write('[project]\nname = "lipcert-user"\n', "pyproject.toml")
    assert find_configuration() is None
    write("[tool.lipcert.certify]\nnorm = 'l1'\n[[tool.lipcert.check]]\n", "pyproject.toml")
    found = find_configuration()
    assert found == Path("pyproject.toml")
    assert found is not None
    configuration = read_configuration(found)
    assert configuration.table["certify"] == {"norm": "l1"}
    assert configuration.lines == (3,)
    write("[certify]\ntime-limit = 1.50\n")
    assert find_configuration() == Path("lipcert.toml")
    assert str(read_configuration(Path("lipcert.toml")).table["certify"]["time-limit"]) == "1.50"


def test_files_that_cannot_be_read(write: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_configuration(Path("other.toml"))
    with pytest.raises(InputError, match="cannot be read"):
        read_configuration(tmp_path)
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    with pytest.raises(InputError, match="UTF-8"):
        read_configuration(Path("bad.toml"))
    with pytest.raises(InputError, match=r"no table \[tool.lipcert\]"):
        read_configuration(write("[tool]\n", "pyproject.toml"))


def test_thresholds_are_read_as_decimals(write: Any) -> None:
    (check,) = checks_in(write, CHECK + "min-clean-accuracy = 0.1")
    assert Decimal(check.conditions[0].threshold) == Decimal("0.1")


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, lipcert.gating.gate, lipcert.gating.comparison; "
        "print(*sorted({'torch', 'onnx', 'numpy', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_semantics_are_those_of_certify() -> None:
    from lipcert.certification import float32

    assert values.SEMANTICS == float32.SEMANTICS
