"""Files that are missing, broken or damaged: a sentence naming the place, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lipcert_test_builders import model, op, refused, small_net, weights
from onnx import TensorProto, helper, numpy_helper

from lipcert.errors import InputError, LipcertError
from lipcert.graph import Graph
from lipcert.onnx_import import build_graph, load_graph, parse_model

HUGE = 1 << 40

# --- files -------------------------------------------------------------------------------------


def test_missing_file_folder_and_empty_file(tmp_path: Path):
    with pytest.raises(InputError, match="no such file"):
        load_graph(tmp_path / "none.onnx")
    with pytest.raises(InputError, match="is a folder"):
        load_graph(tmp_path)
    (tmp_path / "empty.onnx").touch()
    with pytest.raises(InputError, match="is empty"):
        load_graph(tmp_path / "empty.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(InputError, match="not a regular file"):
        load_graph(tmp_path / "pipe.onnx")


@pytest.mark.parametrize(
    "content",
    [b"hello, world\n" * 9, b"\x00" * 64, b"PK\x03\x04" + bytes(60), b"\x89PNG\r\n", b"{"],
)
def test_other_files(tmp_path: Path, content: bytes):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(InputError) as caught:
        load_graph(tmp_path / "m.onnx")
    assert "m.onnx" in str(caught.value)


def test_truncated_anywhere():
    """Every proper beginning of a model is refused, or lacks only what comes after its graph."""
    content = small_net().SerializeToString()
    whole = 0
    for length in range(len(content)):
        try:
            build_graph(parse_model(content[:length], "m.onnx"), name="m.onnx")
            whole += 1
        except LipcertError:
            pass
    assert whole == 0


def external(tmp_path: Path, **entries: str) -> Path:
    """A model whose weight lies outside the file, as the entries say."""
    proto = small_net()
    tensor = proto.graph.initializer[0]
    (tmp_path / "w.data").write_bytes(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in ({"location": "w.data"} | entries).items():
        tensor.external_data.add(key=key, value=value)
    path = tmp_path / "m.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_external_data_is_read(tmp_path: Path):
    graph = load_graph(external(tmp_path, offset="0", length="96"))
    x = torch.ones(1, 4, dtype=torch.float64)
    inside = build_graph(small_net(), name="m")
    assert graph.evaluate(x).shape == inside.evaluate(x).shape
    other = tmp_path / "changed"
    other.mkdir()
    changed = external(other, offset="0", length="96")
    (other / "w.data").write_bytes(bytes(96))
    assert load_graph(changed).sha256 != graph.sha256


@pytest.mark.parametrize(
    ("entries", "finding"),
    [
        ({"location": "none.data"}, "is missing"),
        ({"location": "../w.data"}, "outside the model's folder"),
        ({"location": "/etc/passwd"}, "outside the model's folder"),
        ({"location": ""}, "outside the model's folder"),
        ({"location": "a/../w.data"}, "outside the model's folder"),
        ({"location": "C:\\w.data"}, "unusable location"),
        ({"location": "w\0.data"}, "outside the model's folder"),
        ({"location": "."}, "outside the model's folder"),
        ({"offset": "8"}, "holds 88 bytes"),
        ({"length": "95"}, "holds 95 bytes"),
        ({"offset": "0", "length": "97"}, "needs bytes"),
        ({"offset": "-1"}, "needs bytes"),
        ({"offset": "many"}, "not a number"),
        ({"length": "9" * 5000}, "not a number"),
    ],
)
def test_external_data_that_does_not_fit(tmp_path: Path, entries: dict[str, str], finding: str):
    with pytest.raises(InputError, match=finding) as caught:
        load_graph(external(tmp_path, **entries))
    assert "'w'" in caught.value.place


def test_a_location_that_is_not_text(tmp_path: Path):
    path = external(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"w.data", b"w\xfe\xfeata"))
    with pytest.raises(InputError, match="not text"):
        load_graph(path)


@pytest.mark.parametrize("kind", ["symlink", "hardlink", "folder", "linked folder"])
def test_external_data_behind_links(tmp_path: Path, kind: str):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(bytes(96))
    inside = tmp_path / "inside"
    inside.mkdir()
    path = external(inside, location="data/secret" if kind == "linked folder" else "link")
    if kind == "symlink":
        (inside / "link").symlink_to(outside / "secret")
    elif kind == "hardlink":
        (inside / "link").hardlink_to(outside / "secret")
    elif kind == "folder":
        (inside / "link").mkdir()
    else:
        (inside / "data").symlink_to(outside)
    with pytest.raises(InputError, match=r"is behind a link|is not a plain file"):
        load_graph(path)


# --- initialisers ------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(bad: float):
    value = weights(4, 4)
    value[1, 2] = bad
    error = refused(model([op("MatMul", "x", "w")], [("w", value)]))
    assert "w" in str(error)


def test_infinite_constants_computed_in_the_graph():
    nodes = [helper.make_node("Div", ["w", "z"], ["q"]), op("MatMul", "x", "q")]
    error = refused(model(nodes, [("w", weights(4, 4)), ("z", np.zeros(4, np.float32))]))
    assert "'tested'" in error.place


@pytest.mark.parametrize(
    ("dims", "content"),
    [((4, 4), bytes(60)), ((4, 4), bytes(68)), ((HUGE,), b""), ((HUGE, HUGE), bytes(8)),
     ((-4, 4), b""), ((1 << 62, 4), bytes(64)), ((4, 4), b"")],
)  # fmt: skip
def test_initialisers_that_do_not_fit_their_shape(dims: tuple[int, ...], content: bytes):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=content)
    assert "'w'" in refused(model([op("MatMul", "x", "w")], [tensor]), InputError).place
    constant = helper.make_node("Constant", [], ["w"], name="tested", value=tensor)
    assert "'tested'" in refused(model([constant, op("MatMul", "x", "w")]), InputError).place


@pytest.mark.parametrize("kind", [0, 99, TensorProto.COMPLEX64])
def test_initialisers_of_unusable_type(kind: int):
    tensor = TensorProto(name="w", data_type=kind, dims=(4, 4), raw_data=bytes(128))
    refused(model([op("MatMul", "x", "w")], [tensor]), InputError)


def test_initialiser_defined_twice():
    pair = [("w", weights(4, 4)), ("w", weights(4, 4))]
    assert "twice" in refused(model([op("MatMul", "x", "w")], pair), InputError).finding


# --- damage ------------------------------------------------------------------------------------

CONTENT = small_net().SerializeToString()
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "delete", "insert"]),
        st.integers(0, len(CONTENT) - 1),
        st.binary(min_size=1, max_size=6),
    ),
    min_size=1,
    max_size=5,
)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(edits=EDITS)
def test_damaged_bytes_give_a_graph_or_a_sentence(edits):
    content = bytearray(CONTENT)
    for kind, position, part in edits:
        if kind == "set":
            content[position : position + 1] = part[:1]
        elif kind == "delete":
            del content[position : position + len(part)]
        else:
            content[position:position] = part
    expect_graph_or_sentence(bytes(content))


NUMBERS = st.one_of(
    st.integers(-3, 8), st.sampled_from([2**31 - 1, 2**31, 2**63 - 1, -(2**63), 2**20, -(2**31)])
)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(data=st.data())
def test_edited_models_give_a_graph_or_a_sentence(data):
    """Damage that leaves the file readable: other operands, operators, attributes and numbers."""
    proto = small_net()
    nodes = proto.graph.node
    names = ["x", "w", "b", "shape", "h", "r", "s", "m", "k", "y", ""]
    for _ in range(data.draw(st.integers(1, 3))):
        node = nodes[data.draw(st.integers(0, len(nodes) - 1))]
        kind = data.draw(
            st.sampled_from(["input", "operator", "attribute", "shape", "input shape"])
        )
        if kind == "input" and node.input:
            place = data.draw(st.integers(0, len(node.input) - 1))
            node.input[place] = data.draw(st.sampled_from(names))
        elif kind == "operator":
            others = [
                "Tile",
                "Concat",
                "Slice",
                "Gather",
                "Conv",
                "MaxPool",
                "Resize",
                "Pad",
                "Where",
            ]
            node.op_type = data.draw(st.sampled_from(others))
        elif kind == "attribute" and node.attribute:
            attribute = node.attribute[0]
            attribute.i = data.draw(NUMBERS)
            attribute.ints[:] = [data.draw(NUMBERS) for _ in attribute.ints]
        elif kind == "shape":
            target = np.array([data.draw(NUMBERS) for _ in range(3)], dtype=np.int64)
            proto.graph.initializer[2].CopyFrom(numpy_helper.from_array(target, "shape"))
        else:
            dims = proto.graph.input[0].type.tensor_type.shape.dim
            dims[data.draw(st.integers(0, 1))].dim_value = data.draw(NUMBERS)
    expect_graph_or_sentence(proto.SerializeToString())


def expect_graph_or_sentence(content: bytes) -> None:
    try:
        graph = build_graph(parse_model(content, "m.onnx"), name="m.onnx")
    except LipcertError as error:
        assert error.place and error.finding and error.remedy
        return
    assert isinstance(graph, Graph)
    if max([graph.input_shape, *(node.shape for node in graph.nodes)], key=np.prod, default=()) < (
        99,
    ):
        graph.evaluate(torch.zeros(2, *graph.input_shape, dtype=torch.float64))
