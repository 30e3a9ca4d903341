"""Models with one number, name or operation changed: read as ONNX Runtime reads them, or not."""

from __future__ import annotations

import numpy as np
import onnx
from attacking import sessions
from onnx import numpy_helper

from lipcert.checker.exact import CheckError
from lipcert.checker.importing import OF_SIGNALS, network_of
from lipcert.checker.samples import forward, rows_of
from lipcert.checker.wire import read

SMALL = (-3, -2, -1, 0, 1, 2, 3, 4)


def changed(content: bytes, rng: np.random.Generator) -> bytes:
    """The model with one change that its kind of field allows."""
    model = onnx.load_from_string(content)
    nodes = model.graph.node
    node = nodes[int(rng.integers(len(nodes)))]
    which = int(rng.integers(5))
    if which == 0 and node.attribute:
        _change_attribute(node.attribute[int(rng.integers(len(node.attribute)))], rng)
    elif which == 1:
        wholes = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT64]
        if wholes:
            tensor = wholes[int(rng.integers(len(wholes)))]
            values = numpy_helper.to_array(tensor).copy()
            if values.size:
                values.reshape(-1)[int(rng.integers(values.size))] = rng.choice(SMALL)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    elif which == 2 and node.input:
        names = [name for one in nodes for name in (*one.input, *one.output)]
        node.input[int(rng.integers(len(node.input)))] = names[int(rng.integers(len(names)))]
    elif which == 3:
        node.op_type = str(rng.choice(sorted(OF_SIGNALS)))
    else:
        name = str(rng.choice(["axis", "axes", "auto_pad", "keepdims", "ceil_mode", "dilations"]))
        value = {"auto_pad": str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"]))}.get(name)
        whole = int(rng.choice(SMALL))
        many = name in ("axes", "dilations")
        made = onnx.helper.make_attribute(name, value or ([abs(whole)] * 2 if many else whole))
        node.attribute.append(made)
    return bytes(model.SerializeToString())


def _change_attribute(attribute: onnx.AttributeProto, rng: np.random.Generator) -> None:
    value = int(rng.choice(SMALL))
    if attribute.type == onnx.AttributeProto.INT:
        attribute.i = value
    elif attribute.type == onnx.AttributeProto.INTS and attribute.ints:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = value
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = float(rng.normal())


def deviation(content: bytes, seed: int) -> float | None:
    """How far the checker is from ONNX Runtime, relatively; None where one of them declines."""
    try:
        network = network_of(read(content, None))
        shape = network.input_shape
        x = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
        rows = forward(network, rows_of(x))[network.logits]
    except CheckError:
        return None
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
        return None  # to `check` these are inconclusive too
    if network.logits != network.output:
        return None
    try:
        session = sessions(content)[0]
        theirs = session.run(None, {session.get_inputs()[0].name: x})[0].reshape(-1)
    except Exception:  # whatever ONNX Runtime does not run
        return None
    ours = np.ldexp(rows.mantissa[0].astype(float), rows.exponent)
    if theirs.shape != ours.shape:
        return np.inf
    return float(np.abs(ours - theirs).max() / max(np.abs(ours).max(), 1e-2))
