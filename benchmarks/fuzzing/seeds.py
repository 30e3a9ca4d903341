"""Seeds: small sound files of every kind that lipcert reads, written to one folder for each."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import lipcert
from lipcert import reports
from lipcert.checker import file

ROOT = Path(__file__).resolve().parent.parent.parent
X = np.linspace(-1.0, 1.0, 24, dtype=np.float32).reshape(6, 4)
Y = np.array([0, 1, 2, 0, 1, 2])

Files = Iterator[tuple[str, bytes]]
SEEDS: dict[str, Callable[[], Files]] = {}
"""What writes the seeds of a kind: names and contents."""


def write_seeds(folder: Path) -> None:
    """Write all seeds below a folder."""
    for kind, made in SEEDS.items():
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for name, content in made():
            (folder / kind / name).write_bytes(content)


def seeds(kind: str) -> Callable[[Callable[[], Files]], Callable[[], Files]]:
    def enter(made: Callable[[], Files]) -> Callable[[], Files]:
        SEEDS[kind] = made
        return made

    return enter


def perceptron() -> onnx.ModelProto:
    """4 inputs, 6 hidden neurons, 3 outputs."""
    rng = np.random.default_rng(1)
    parts = {"w": (6, 4), "b": (6,), "v": (3, 6), "c": (3,)}
    held = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in parts.items()
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], name="first", transB=1),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "v", "c"], ["y"], name="last", transB=1),
    ]
    return _model(nodes, held, (1, 4))


def convolution() -> onnx.ModelProto:
    """Convolutions, a sum, pooling and a dense layer on 2 × 6 × 6 inputs."""
    rng = np.random.default_rng(2)
    shapes = {"k": (2, 2, 3, 3), "f": (72 // 4, 3), "s": (2,)}
    held = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    held.append(numpy_helper.from_array(np.array([1, -1]), "shape"))
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["a"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", "s", "s", "s", "s"], ["n"], name="norm"),
        helper.make_node("Add", ["n", "x"], ["sum"], name="sum"),
        helper.make_node("Sigmoid", ["sum"], ["g"], name="sigmoid"),
        helper.make_node(
            "AveragePool", ["g"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]
        ),
        helper.make_node("Reshape", ["p", "shape"], ["q"], name="flat"),
        helper.make_node("MatMul", ["q", "f"], ["y"], name="last"),
    ]
    held[2] = numpy_helper.from_array(np.array([0.5, 2.0], np.float32), "s")
    return _model(nodes, held, (1, 2, 6, 6))


def outside() -> onnx.ModelProto:
    """The perceptron with one weight in a file beside it."""
    model = perceptron()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "w.data", "offset": "0", "length": "96"}.items():
        tensor.external_data.add(key=key, value=value)
    return model


def _model(nodes: list, held: list, shape: tuple[int, ...]) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, shape)],
        [value("y", TensorProto.FLOAT, (1, 3))], held,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@seeds("model")
def models() -> Files:
    yield "perceptron", perceptron().SerializeToString()
    yield "convolution", convolution().SerializeToString()
    yield "outside", outside().SerializeToString()
    yield from _singles()


def _singles() -> Files:
    """A model of each operator at two versions, as the tests of the importer make them."""
    sys.path.insert(0, str(ROOT / "tests" / "onnx_import"))
    import singles

    for kind in sorted(singles.MAKERS):
        for opset in (11, 17):
            rng = np.random.default_rng(opset)
            for number, maker in enumerate(singles.MAKERS[kind]):
                try:
                    single = maker(rng, opset)
                except LookupError:
                    continue
                model = singles.model_of(kind, opset, single, rng)
                yield f"{kind}-{opset}-{number}", model.SerializeToString()


@seeds("npy")
def arrays() -> Files:
    for kind in ("f4", ">f8", "u1", "?"):
        yield kind.strip(">?") or "b1", _npy(X.astype(kind))
    yield "fortran", _npy(np.asfortranarray(X))


@seeds("label")
def labels() -> Files:
    yield "y.npy", _npy(Y)
    yield "y.csv", b"label\n0\n1\n2\n0\n1\n2\n"
    stream = io.BytesIO()
    np.savez(stream, y=Y)
    yield "y.npz", stream.getvalue()


@seeds("npz")
def archives() -> Files:
    for name, save in (("stored", np.savez), ("packed", np.savez_compressed)):
        stream = io.BytesIO()
        save(stream, x=X, y=Y)
        yield name, stream.getvalue()


@seeds("csv")
def tables() -> Files:
    rows = [",".join([str(y), *map(str, x)]) for x, y in zip(X.tolist(), Y.tolist(), strict=True)]
    yield "plain", "\n".join(rows).encode()
    yield "named", "\r\n".join(["label,a,b,c,d", *rows]).encode()
    quoted = ['"' + row.replace(",", '","') + '"' for row in rows]
    yield "quoted", "\n".join(quoted).encode()


@seeds("parquet")
def columns() -> Files:
    import pyarrow
    from pyarrow import parquet

    for name, content in _tables(pyarrow).items():
        for packing in ("none", "snappy"):
            stream = io.BytesIO()
            parquet.write_table(content, stream, compression=packing)
            yield f"{name}-{packing}", stream.getvalue()


@seeds("arrow")
def streams() -> Files:
    import pyarrow

    for name, content in _tables(pyarrow).items():
        sink = io.BytesIO()
        with pyarrow.ipc.new_stream(sink, content.schema) as writer:
            writer.write_table(content, max_chunksize=4)
        yield name, sink.getvalue()


def _tables(pyarrow: object) -> dict[str, object]:
    table = pyarrow.table  # type: ignore[attr-defined]
    pictures = [{"bytes": content, "path": "a.png"} for _, content in list(images())[:1] * 6]
    return {
        "lists": table({"x": X.tolist(), "label": Y}),
        "numbers": table({**{f"c{k}": X[:, k] for k in range(4)}, "label": Y}),
        "images": table({"image": pictures, "label": Y}),
    }


@seeds("idx")
def idx() -> Files:
    pixels = np.arange(6 * 9, dtype=np.uint8).reshape(6, 3, 3)
    head = bytes([0, 0, 8, 3]) + b"".join(int(n).to_bytes(4, "big") for n in pixels.shape)
    yield "plain", head + pixels.tobytes()
    yield "packed", gzip.compress(head + pixels.tobytes(), mtime=0)


@seeds("image")
def images() -> Files:
    from PIL import Image

    pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    for kind, suffix in (("PNG", "png"), ("JPEG", "jpg"), ("BMP", "bmp"), ("GIF", "gif"),
                         ("WEBP", "webp"), ("PPM", "ppm")):  # fmt: skip
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, kind)
        yield f"a.{suffix}", stream.getvalue()


@seeds("result")
def results() -> Files:
    folder = ROOT / "sample_models"
    files = (folder / "digits_relu_mlp.onnx", folder / "digits_test.npz")
    for first, eps in ((20, [0.1, 0.25]), (3, [])):
        found = lipcert.certify(*files, eps=eps, first=first)
        yield f"certify-{first}", reports.render(found, "json").encode()


@seeds("config")
def configurations() -> Files:
    yield "example", (ROOT / "docs" / "examples" / "lipcert.toml").read_bytes()
    lines = ["[[check]]", 'name = "a"', 'model = "m.onnx"', "max-lipschitz = 3.5", "eps = [0.1]"]
    yield "small", "\n".join(lines).encode()


@seeds("proof")
def proofs() -> Files:
    """Proofs of the perceptron: by layers alone, with factors, with a weight for each neuron."""
    model = perceptron().SerializeToString()
    for name, claims in _claims().items():
        document = {
            "format": "lipcert-proof/1", "norm": "l2", "region": "everywhere",
            "model": {"sha256": hashlib.sha256(model).hexdigest(), "files": {}},
            "semantics": "real", "value": "y", "lipschitz": "100/1", "claims": claims,
        }  # fmt: skip
        document["sha256"] = file.digest(document)
        yield name, json.dumps(document).encode()


def _claims() -> dict[str, list[dict[str, object]]]:
    ones = np.full(6, 1 << 20, dtype="<u4").tobytes()
    places = np.full(6, -18, dtype="<i2").tobytes()
    stage = {"stage": "r", **{key: base64.b64encode(value).decode()
             for key, value in (("mantissa", ones), ("exponent", places))}}  # fmt: skip
    entries = base64.b64encode(np.ones(10, dtype="<i8").tobytes()).decode()
    column = {"signal": "x", "remainder": False, "share": "1/1"}
    first = {"target": "h", "constant": "40/1", "columns": [column]}
    return {
        "growth": [],
        "layers": [first, {"target": "y", "constant": "90/1",
                           "columns": [{**column, "signal": "r"}]}],
        "factor": [{**first, "factor": {"side": 4, "entries": entries}}],
        "weighed": [first, {"target": "y", "constant": "90/1", "columns": [column],
                            "stages": [stage]}],
        "pair": [{"target": "y", "constant": "90/1", "pair": [0, 1], "columns": [column],
                  "stages": [stage]}],
        "torus": [{"target": "h", "constant": "40/1", "torus": [8, 8]}],
    }  # fmt: skip


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()
