"""Files that change while they are in use: what was hashed is what was read, or an error."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lipcert
from lipcert.certification.data import open_dataset
from lipcert.errors import InputError

CHANGED = "was changed while it was in use"


def other_time(path: Path) -> None:
    """Another content of the same size, at the next tick of whatever clock the system has."""
    before = path.stat()
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))


def replaced(path: Path) -> None:
    """The same bytes with the same times, in another file."""
    before = path.stat()
    new = path.with_suffix(".new")
    new.write_bytes(path.read_bytes())
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(path)


def longer(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"\n")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    weight = np.array([[1.0, -1.0], [0.5, 0.25], [-1.0, 1.0]], dtype=np.float32)
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
        for name, size in (("x", 3), ("y", 2))
    ]
    node = helper.make_node("Gemm", ["x", "w"], ["y"], name="fc")
    graph = helper.make_graph(
        [node], "m", values[:1], values[1:], [numpy_helper.from_array(weight, "w")]
    )
    path = tmp_path / "m.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    x = np.random.default_rng(0).standard_normal((30, 3)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(30) % 2)
    return tmp_path / "d.npz"


@pytest.mark.parametrize("change", [other_time, replaced, longer])
def test_a_data_file_that_changes_after_it_was_opened(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "d.csv"
    path.write_text("label,a,b\n0,1.5,2\n1,2.5,3\n")
    with open_dataset(path) as dataset:
        first = dataset.digest()
        dataset.check_unchanged()
        assert dataset.digest() == first
        change(path)
        for asked in (dataset.check_unchanged, dataset.digest):
            with pytest.raises(InputError, match=f"d.csv: {CHANGED}"):
                asked()


@pytest.mark.parametrize("which", ["model", "data"])
@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_whose_files_change_gives_no_result(
    model: Path, data: Path, tmp_path: Path, which: str, resumed: bool
) -> None:
    path = {"model": model, "data": data}[which]
    options: dict[str, Any] = {"eps": ["0.1"], "workers": 0}
    if resumed:
        options["resume"] = tmp_path / "j"
    changed = []

    def meddle(what: str, fraction: float) -> None:
        if what == "certifying" and not changed:
            changed.append(what)
            replaced(path)

    with pytest.raises(InputError, match=f"{path.name}: {CHANGED}"):
        lipcert.certify(model, data, progress=meddle, **options)
    assert changed
    options.pop("resume", None)
    assert lipcert.certify(model, data, **options).samples == 30


@pytest.mark.parametrize("which", ["model", "data"])
def test_a_proof_of_files_that_change_is_not_made(model: Path, data: Path, which: str) -> None:
    found = lipcert.certify(model, data, eps=["0.1"], workers=0)
    path = {"model": model, "data": data}[which]

    def meddle(what: str, fraction: float) -> None:
        if what == "proof of the samples":
            replaced(path)

    with pytest.raises(InputError, match=f"{path.name}: {CHANGED}"):
        lipcert.prove_certificates(model, data, found, progress=meddle)


def test_a_proof_is_about_the_model_that_was_certified(model: Path, data: Path) -> None:
    found = lipcert.certify(model, data, eps=["0.1"], workers=0)
    held = onnx.load(model)
    held.graph.doc_string = "another"
    onnx.save(held, str(model))
    with pytest.raises(InputError, match="m.onnx: is not the model that was certified"):
        lipcert.prove_certificates(model, data, found)
