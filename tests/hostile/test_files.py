"""Files beside models, and data files, that are not what they say: through the command line."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

TERABYTE = 1 << 40


def sparse(path: Path, size: int, start: bytes = b"") -> Path:
    """A file that is large and takes no room."""
    with path.open("wb") as stream:
        stream.write(start)
        stream.truncate(size)
    return path


def classifier(**weights: TensorProto) -> onnx.ModelProto:
    """x + the weights, of four inputs and outputs."""
    held = list(weights.values()) or [numpy_helper.from_array(np.ones((1, 4), np.float32), "w")]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Sum", ["x", *(tensor.name for tensor in held)], ["y"])], "g",
        [value("x", TensorProto.FLOAT, ("n", 4))], [value("y", TensorProto.FLOAT, ("n", 4))], held,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def outside(name: str, dims: tuple[int, ...], **entries: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


@pytest.fixture
def model(tmp_path: Path):
    """Writes ``m.onnx`` with these weights."""

    def write(**weights: TensorProto) -> None:
        (tmp_path / "m.onnx").write_bytes(classifier(**weights).SerializeToString())

    return write


def test_a_plain_model_is_bound_within_the_limits(limited, model):
    model()
    ended = limited("bound", "m.onnx")
    assert ended.exit_code == 0 and "l2" in ended.stdout, ended


# --- files beside the model --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "finding"),
    [
        ("/etc/passwd", "outside the model's folder"),
        ("../w.data", "outside the model's folder"),
        ("data/../../w.data", "outside the model's folder"),
        ("w.data\0", "outside the model's folder"),
        ("~/w.data", "is missing"),
        ("%2e%2e/w.data", "is missing"),
        ("n" * 5000, "is missing"),
        ("m.onnx", "holds"),
    ],
)
def test_places_of_external_data(refusal, model, tmp_path: Path, location: str, finding: str):
    (tmp_path.parent / "w.data").write_bytes(bytes(16))
    model(w=outside("w", (1, 4), location=location))
    assert finding in refusal("bound", "m.onnx")


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "pipe", "folder", "linked folder"])
def test_external_data_that_is_no_plain_file(refusal, model, tmp_path: Path, kind: str):
    secret = tmp_path / "other" / "w.data"
    secret.parent.mkdir()
    secret.write_bytes(bytes(16))
    target = tmp_path / "w.data"
    if kind == "symlink":
        target.symlink_to(secret)
    elif kind == "hardlink":
        target.hardlink_to(secret)
    elif kind == "pipe":
        os.mkfifo(target)
    elif kind == "folder":
        target.mkdir()
    else:
        (tmp_path / "data").symlink_to(secret.parent)
    model(w=outside("w", (1, 4), location="data/w.data" if "linked" in kind else "w.data"))
    assert "is " in refusal("bound", "m.onnx")


def test_external_data_larger_than_its_file(refusal, model, tmp_path: Path):
    (tmp_path / "w.data").write_bytes(bytes(8))
    model(w=outside("w", (1, 4), location="w.data", offset="0", length="16"))
    assert "needs bytes 0 to 16 of a file of 8" in refusal("bound", "m.onnx")


def test_a_data_file_of_a_terabyte(refusal, model, tmp_path: Path):
    sparse(tmp_path / "w.data", TERABYTE)
    model(w=outside("w", (1, 4), location="w.data", offset="0", length="16"))
    assert "of which the model needs 16" in refusal("bound", "m.onnx")


def test_many_tensors_of_the_same_bytes(refusal, model, tmp_path: Path):
    """A small model and a file of 128 MiB that would be a terabyte of weights."""
    size = 1 << 25
    sparse(tmp_path / "w.data", 4 * size)
    names = [f"w{k}" for k in range(8000)]
    model(**{name: outside(name, (size // 4, 4), location="w.data") for name in names})
    assert "where the model needs 1073741824000" in refusal("bound", "m.onnx")


def test_a_model_of_a_terabyte(refusal, tmp_path: Path):
    sparse(tmp_path / "m.onnx", TERABYTE, b"\x08\x08")
    assert "above the 2147483647 of an ONNX file" in refusal("bound", "m.onnx")


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/stdin"])
def test_devices(refusal, name: str):
    assert "is not a regular file" in refusal("bound", name)


@pytest.mark.parametrize("kind", ["Loop", "ConstantOfShape"])
def test_nodes_that_the_output_does_not_need_are_not_run(limited, tmp_path: Path, kind: str):
    """ONNX Runtime alone would take 2^62 turns, or a terabyte."""
    proto = classifier(w=outside("w", (1, 4), location="w.data"))
    (tmp_path / "w.data").write_bytes(bytes(16))
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["a", "a"], ["b"])],
        "body", [value("i", 7, ()), value("go", 9, ()), value("a", 1, ())],
        [value("on", 9, ()), value("b", 1, ())],
    )  # fmt: skip
    held = {"turns": np.array(1 << 62), "go": np.array(True), "one": np.float32(1)}
    held["sides"] = np.array([1 << 19, 1 << 19])
    proto.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in held.items())
    operands = {"Loop": ["turns", "go", "one"], "ConstantOfShape": ["sides"]}[kind]
    more = {"body": body} if kind == "Loop" else {}
    proto.graph.node.append(helper.make_node(kind, operands, ["dead"], **more))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    np.savez(tmp_path / "x.npz", x=np.eye(4, dtype=np.float32), y=np.arange(4))
    ended = limited("certify", "m.onnx", "x.npz", "--eps", "0.1")
    assert ended.exit_code == 0 and "4/4" in ended.stdout, ended


# --- data --------------------------------------------------------------------------------------


def npy(shape: str, kind: str = "<f8", values: bytes = b"") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + values


def archive(values: bytes, name: str = "x.npy", **options: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, **options) as held:
        held.writestr(name, values)
        held.writestr("y.npy", npy("(4,)", "<i8", bytes(32)))
    return stream.getvalue()


def bomb() -> bytes:
    """512 MiB of zeros in half a MiB, which the header says is one sample."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as held:
        with held.open("x.npy", "w", force_zip64=True) as member:
            member.write(npy("(1, 67108864)", "<f8"))
            for _ in range(32):
                member.write(bytes(1 << 24))
        held.writestr("y.npy", npy("(1,)", "<i8", bytes(8)))
    return stream.getvalue()


DATA: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "80 bytes that declare 32 GiB": ("x.npy", lambda: npy("(1073741824, 4)")[:80], "declares"),
    "a negative shape": ("x.npy", lambda: npy("(-1, 4)"), "negative"),
    "a shape that overflows": ("x.npy", lambda: npy("(4294967296, 4294967296)"), "impossible"),
    "objects": ("x.npy", lambda: npy("(4, 4)", "|O", b"cos\nsystem\n."), "Python objects"),
    "an archive that declares 32 GiB": (
        "x.npz", lambda: archive(npy("(1073741824, 4)")), "declares"),
    "a zip bomb": ("x.npz", bomb, "shape (67108864,)"),
    "an archive in an archive": (
        "x.npz", lambda: archive(archive(npy("(1, 4)"))), "is not an npy array"),
    "a member outside": (
        "x.npz", lambda: archive(npy("(4, 4)", values=bytes(128)), "../x.npy"), "holds no samples"),
    "one line without end": ("x.csv", lambda: b"1," * (1 << 23), "is longer than"),
    "one cell without end": ("x.csv", lambda: b"0," + b"9" * (1 << 20), "not comma-separated"),
    "a quote without end": ("x.csv", lambda: b'"' + b"1,2,3\n" * (1 << 18), "not comma-separated"),
    "a gzip bomb": (
        "x-idx3-ubyte.gz",
        lambda: gzip.compress(bytes([0, 0, 8, 3]) + b"\xff" * 12 + bytes(1 << 26), 9), "declares"),
}  # fmt: skip


@pytest.mark.parametrize("case", DATA)
def test_data_refused_in_one_sentence(refusal, model, tmp_path: Path, case: str):
    name, made, fragment = DATA[case]
    model()
    (tmp_path / name).write_bytes(made())
    (tmp_path / "labels.csv").write_bytes(b"0\n" * 4)
    beside = [] if name.endswith(("npz", "csv")) else ["--labels", "labels.csv"]
    assert fragment in refusal("certify", "m.onnx", name, *beside)


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.csv", "x-idx3-ubyte"])
def test_data_of_a_terabyte(refusal, model, tmp_path: Path, name: str):
    model()
    sparse(tmp_path / name, TERABYTE)
    (tmp_path / "labels.csv").write_bytes(b"0\n" * 4)
    refusal("certify", "m.onnx", name, "--labels", "labels.csv")
