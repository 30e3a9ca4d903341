"""What a hostile model or proof could ask for is refused before memory is taken for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lipcert.checker import check
from lipcert.checker.exact import CheckError
from lipcert.checker.importing import network_of
from lipcert.checker.wire import read


def model(nodes, shape, *weights):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        list(weights),
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    return made.SerializeToString()


def constant(name, values):
    return numpy_helper.from_array(values, name)


PADS = constant("p", np.array([0, 2**40, 0, 2**40], dtype=np.int64))
LONG = constant("a", np.ones((1 << 16, 1), dtype=np.float32))
WIDE = constant("b", np.ones((1, 1 << 16), dtype=np.float32))


@pytest.mark.parametrize(
    "content",
    [
        model([helper.make_node("Pad", ["x", "p"], ["y"])], [1, 4], PADS),
        model(
            [
                helper.make_node("MatMul", ["a", "b"], ["w"]),
                helper.make_node("MatMul", ["x", "w"], ["y"]),
            ],
            [1, 1 << 16],
            LONG,
            WIDE,
        ),
        model(
            [helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[256, 256])], [1, 1, 512, 512]
        ),
        model(
            [helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[256, 256])],
            [1, 1, 512, 512],
        ),
    ],
    ids=["Pad", "MatMul", "MaxPool", "AveragePool"],
)
def test_sizes_are_looked_at_first(content: bytes) -> None:
    onnx.load_from_string(content)
    with pytest.raises(CheckError, match="too (large|many)"):
        network_of(read(content, None))


def test_an_answer_is_one_line_that_can_be_printed(tmp_path: Path) -> None:
    name = "\x1b[31m\n" + "n" * 10_000
    content = model([helper.make_node("Gather", ["x", "x"], [name])], [1, 4])
    held, proof = tmp_path / "m.onnx", tmp_path / "p.json"
    held.write_bytes(content)
    proof.write_bytes(b"{")
    assert check(proof, held).status == "refuted"
    verdict = check(tmp_path / ("\n" + "x" * 200), held)
    assert verdict.status == "inconclusive"
    assert verdict.why.isprintable()
    assert len(verdict.why) < 1100
