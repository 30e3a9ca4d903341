"""Models and proofs written by hand, for tests of the checker."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from lipcert.checker.importing import network_of
from lipcert.checker.network import Network
from lipcert.checker.wire import read
from lipcert.proof.writing import Model, proof_file

Shape = Sequence[Any]


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    return helper.make_node(kind, list(inputs), list(outputs), **attributes)


def model(
    nodes: Sequence[Any],
    weights: Mapping[str, np.ndarray],
    shape: Shape,
    *,
    out: str = "y",
    opset: int = 17,
) -> bytes:
    """The bytes of a model with the input ``x``."""
    graph = helper.make_graph(
        list(nodes),
        "made",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return made.SerializeToString()


def f32(*values: Any) -> np.ndarray:
    return np.array(values[0] if len(values) == 1 else values, dtype=np.float32)


def i64(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def network(content: bytes) -> Network:
    return network_of(read(content, None))


def proof(content: bytes, claims: Sequence[Any], constant: Any, value: str = "y", **more: Any):
    """The bytes of a proof of that model."""
    sha256 = hashlib.sha256(content).hexdigest()
    held = Model("model.onnx", read(content, None), sha256, {})
    return proof_file(held, value, constant, list(claims), **more)


def written(folder: Path, **contents: bytes) -> dict[str, Path]:
    """Files by name."""
    found = {}
    for name, content in contents.items():
        found[name] = folder / f"{name}.{'json' if name == 'proof' else 'onnx'}"
        found[name].write_bytes(content)
    return found


def loaded(content: bytes) -> onnx.ModelProto:
    return onnx.load_from_string(content)
