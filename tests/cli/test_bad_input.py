"""Bad input: one sentence on stderr, the documented exit code, nothing written."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

Run = Callable[..., Any]
Words = list[str]
Make = Callable[[], Words]


def with_model(change: Callable[[onnx.ModelProto], None]) -> Words:
    model = onnx.load("mlp.onnx")
    change(model)
    Path("bad.onnx").write_bytes(model.SerializeToString())
    return ["bound", "bad.onnx"]


def with_bytes(content: bytes) -> Words:
    Path("bad.onnx").write_bytes(content)
    return ["bound", "bad.onnx"]


def with_data(**arrays: Any) -> Words:
    np.savez("bad.npz", **arrays)
    return ["certify", "mlp.onnx", "bad.npz"]


def with_weight(value: float) -> Words:
    def change(model: onnx.ModelProto) -> None:
        weight = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
        weight[0, 0] = value
        model.graph.initializer[0].raw_data = weight.tobytes()

    return with_model(change)


def external(location: str) -> Words:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": location, "offset": "0", "length": "96"}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)

    return with_model(change)


def with_second_input() -> Words:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 4]))

    return with_model(change)


def with_dynamic_features() -> Words:
    def change(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "features"

    return with_model(change)


def with_unknown_operator() -> Words:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[1].op_type = "Det"

    return with_model(change)


def channels_last() -> Words:
    np.savez("nhwc.npz", x=np.zeros((3, 5, 5, 2), np.float32), y=np.zeros(3, np.int64))
    return ["certify", "image.onnx", "nhwc.npz"]


def greedy_header() -> Words:
    """An npz whose array declares a million samples and holds three."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 4), np.float32))
    content = buffer.getvalue()
    length = struct.unpack("<H", content[8:10])[0]
    header = content[10 : 10 + length].replace(b"(3, 4)", b"(1000000, 4)")[:length]
    with zipfile.ZipFile("bad.npz", "w") as archive:
        archive.writestr("x.npy", content[:10] + header + content[10 + length :])
        labels = io.BytesIO()
        np.save(labels, np.zeros(3, np.int64))
        archive.writestr("y.npy", labels.getvalue())
    return ["certify", "mlp.onnx", "bad.npz"]


X, Y = np.zeros((5, 4), np.float32), np.zeros(5, np.int64)

CASES: dict[str, tuple[Make, int, str]] = {
    "missing": (lambda: ["bound", "no.onnx"], 2, "no such file"),
    "folder": (lambda: ["bound", "."], 2, "is a folder"),
    "not onnx": (lambda: with_bytes(b"hello, world " * 9), 2, "bad.onnx"),
    "empty": (lambda: with_bytes(b""), 2, "is empty"),
    "truncated": (lambda: with_bytes(Path("mlp.onnx").read_bytes()[:-40]), 2, "truncated"),
    "no external data": (lambda: external("weights.bin"), 2, "is missing"),
    "short external data": (
        lambda: (Path("w.bin").write_bytes(b"abc"), external("w.bin"))[1],
        2,
        "of a file of 3",
    ),
    "external data outside": (lambda: external("../w.bin"), 2, "outside the model's folder"),
    "absolute external data": (lambda: external("/etc/hostname"), 2, "outside the model's folder"),
    "nan weight": (lambda: with_weight(np.nan), 2, "NaN"),
    "infinite weight": (lambda: with_weight(np.inf), 3, "infinite"),
    "dynamic shape": (with_dynamic_features, 2, "--input-shape"),
    "several inputs": (with_second_input, 3, "has 2 inputs"),
    "unknown operator": (with_unknown_operator, 3, "'relu' (Det"),
    "unknown output": (lambda: ["bound", "mlp.onnx", "--output", "no"], 2, "has no output 'no'"),
    "wrong input shape": (lambda: ["bound", "mlp.onnx", "--input-shape", "5"], 2, "(5,)"),
    "missing data": (lambda: ["certify", "mlp.onnx", "no.npz"], 2, "does not exist"),
    "unknown suffix": (lambda: ["certify", "mlp.onnx", "mlp.onnx"], 2, "suffix '.onnx'"),
    "wrong shape": (lambda: with_data(x=np.zeros((5, 7)), y=Y), 2, "shape (7,)"),
    "channels last": (channels_last, 2, "NHWC"),
    "label too large": (lambda: with_data(x=X, y=Y + 3), 2, "label of sample 0 is 3"),
    "negative label": (lambda: with_data(x=X, y=Y - 2), 2, "label of sample 0 is -2"),
    "too few labels": (lambda: with_data(x=X, y=Y[:3]), 2, "3 labels for 5 samples"),
    "objects": (lambda: with_data(x=np.array([{}, 1]), y=Y[:2]), 2, "Python objects"),
    "greedy header": (greedy_header, 2, "declares"),
    "nan data": (lambda: with_data(x=X * np.nan, y=Y), 2, "sample 0 holds nan"),
    "no samples": (lambda: with_data(x=X[:0], y=Y[:0]), 5, "holds no samples"),
    "no labels": (lambda: with_data(x=X), 2, "holds no labels"),
    "negative eps": (lambda: ["certify", "mlp.onnx", "data.npz", "--eps", "-1"], 2, "is negative"),
    "eps not a number": (
        lambda: ["certify", "mlp.onnx", "data.npz", "--eps", "nan"],
        2,
        "is not a number",
    ),
    "eps over zero": (
        lambda: ["certify", "mlp.onnx", "data.npz", "--eps", "1/0"],
        2,
        "is not a number",
    ),
    "bad normalisation": (
        lambda: ["certify", "mlp.onnx", "data.npz", "--normalize", "mean=0,std=0"],
        2,
        "positive",
    ),
    "outside the range": (
        lambda: ["certify", "mlp.onnx", "data.npz", "--input-range", "0,0.1"],
        2,
        "outside",
    ),
    "time limit": (lambda: ["bound", "mlp.onnx", "--time-limit", "nan"], 2, "--time-limit"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_sentence_and_nothing_written(
    run: Run, mlp: Path, image_net: Path, data: Path, tmp_path: Path, case: str
) -> None:
    make, code, fragment = CASES[case]
    words = make()
    radii = ["--radii", "radii.csv"] if words[0] == "certify" else []
    Path("kept.md").write_text("kept")
    before = sorted(tmp_path.iterdir())
    reports = ["--report", "json=out.json", "--report", "markdown=kept.md", "--overwrite"]
    result = run(*words, *radii, *reports)
    assert result.exit_code == code, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert fragment in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(tmp_path.iterdir()) == before
    assert Path("kept.md").read_text() == "kept"


USAGE = {
    "No such command": ["bnd"],
    "No such option": ["bound", "mlp.onnx", "--nrom", "l2"],
    "Missing argument 'MODEL'": ["bound"],
    "Missing argument 'DATA'": ["certify", "mlp.onnx"],
    "'l3' is not one of": ["bound", "mlp.onnx", "--norm", "l3"],
    "'foo' is not a method; choose one of: auto, autolip": ["bound", "m", "--method", "foo"],
    "is not a shape": ["bound", "mlp.onnx", "--input-shape", "3x0"],
    "is not a range": ["certify", "m", "d", "--input-range", "1"],
    "from a lower to a higher": ["certify", "m", "d", "--input-range", "1,nan"],
    "is not FORMAT=FILE": ["bound", "mlp.onnx", "--report", "json"],
    "'pdf' is not a format": ["bound", "mlp.onnx", "--report", "pdf=a.pdf"],
    "is not a valid float": ["bound", "mlp.onnx", "--time-limit", "soon"],
}


@pytest.mark.parametrize("fragment", USAGE)
def test_usage_errors_point_to_the_help(run: Run, mlp: Path, fragment: str) -> None:
    result = run(*USAGE[fragment])
    assert (result.exit_code, result.stdout) == (2, "")
    error, hint = result.stderr.splitlines()
    assert error.startswith("error: ")
    assert fragment in error
    assert hint.startswith("try '")
    assert hint.endswith(" --help'")
