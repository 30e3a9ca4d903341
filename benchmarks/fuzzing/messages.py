"""Damage to parsed models: any field of any message, and operators exchanged for others."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from .damage import REAL, WHOLE

KINDS = sorted({schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""})
TEXTS = ("", "x", "y", "nothing", "a" * 5000, "/etc/passwd", "../w.data", "w.data", "é\n\r\t\x1b")


def edited(content: bytes, rng: random.Random) -> bytes:
    """The model with one or several fields changed, in a way that can be parsed again."""
    model = onnx.ModelProto()
    model.ParseFromString(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        with contextlib.suppress(DecodeError):  # deeper than protocol buffers go
            rng.choice(EDITS)(model, rng)
    return bytes(model.SerializeToString())


def edit_any(model: onnx.ModelProto, rng: random.Random) -> None:
    """One field anywhere."""
    messages = list(_messages(model))
    message = rng.choice(messages)
    fields = [field for field, _ in message.ListFields()]
    if not fields or rng.random() < 0.1:
        fields = list(message.DESCRIPTOR.fields)
    field = rng.choice(fields)
    if field.is_repeated:
        _edit_list(message, field, rng)
    elif rng.random() < 0.1:
        message.ClearField(field.name)
    elif field.type != FieldDescriptor.TYPE_MESSAGE:
        setattr(message, field.name, _value(field, rng))
    else:
        donors = [m for m in messages if m.DESCRIPTOR is field.message_type]
        if donors:
            donor = type(rng.choice(donors)).FromString(rng.choice(donors).SerializeToString())
            getattr(message, field.name).CopyFrom(donor)


def edit_operator(model: onnx.ModelProto, rng: random.Random) -> None:
    """Another operator over the same operands."""
    if model.graph.node:
        rng.choice(model.graph.node).op_type = rng.choice(KINDS)


def edit_wiring(model: onnx.ModelProto, rng: random.Random) -> None:
    """An operand or a result exchanged, added or left out."""
    nodes = model.graph.node
    names = [name for node in nodes for name in (*node.input, *node.output)]
    names += [tensor.name for tensor in model.graph.initializer] + ["", "x", "nothing"]
    if not nodes:
        return
    node = rng.choice(nodes)
    held = node.input if rng.random() < 0.8 else node.output
    if held and rng.random() < 0.7:
        held[rng.randrange(len(held))] = rng.choice(names)
    elif held and rng.random() < 0.5:
        del held[rng.randrange(len(held))]
    else:
        held.append(rng.choice(names))


def edit_tensor(model: onnx.ModelProto, rng: random.Random) -> None:
    """Numbers of a constant: sizes, axes and repeats among them."""
    tensors = [m for m in _messages(model) if isinstance(m, onnx.TensorProto)]
    if not tensors:
        return
    tensor = rng.choice(tensors)
    try:
        values = onnx.numpy_helper.to_array(tensor).copy().reshape(-1)
        shape = tuple(tensor.dims)
    except Exception:  # damaged by an edit before this one
        return
    if not values.size:
        return
    if values.dtype.kind == "i":
        limits = onnx.numpy_helper.np.iinfo(values.dtype)
        chosen = min(max(rng.choice(WHOLE), int(limits.min)), int(limits.max))
        values[rng.randrange(values.size)] = rng.choice((chosen, rng.randint(-4, 9)))
    elif values.dtype.kind == "f":
        with onnx.numpy_helper.np.errstate(over="ignore"):
            values[rng.randrange(values.size)] = rng.choice(REAL)
    changed = onnx.numpy_helper.from_array(values.reshape(shape), tensor.name)
    tensor.CopyFrom(changed)


def nest(model: onnx.ModelProto, rng: random.Random) -> None:
    """A graph within a node's attribute, many times over."""
    if not model.graph.node or len(model.SerializeToString()) > 100_000:
        return
    graph = onnx.GraphProto()
    graph.node.add(op_type="Identity", input=["x"], output=["deep"])
    for _ in range(rng.choice((1, 3, 12, 20, 30))):
        outer = onnx.GraphProto()
        node = outer.node.add(op_type="If", input=["x"], output=["deep"])
        node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH, g=graph)
        graph = outer
    node = rng.choice(model.graph.node)
    node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH, g=graph)
    if rng.random() < 0.5:
        node.op_type = rng.choice(("If", "Loop", "Scan"))


EDITS = (edit_any, edit_any, edit_any, edit_operator, edit_wiring, edit_wiring, edit_tensor,
         edit_tensor, edit_tensor, nest)  # fmt: skip


def _messages(message: Message) -> Iterator[Any]:
    waiting: list[Any] = [message]
    while waiting:
        found = waiting.pop()
        yield found
        for field, value in found.ListFields():
            if field.type == FieldDescriptor.TYPE_MESSAGE:
                waiting += list(value) if field.is_repeated else [value]


def _edit_list(message: Any, field: FieldDescriptor, rng: random.Random) -> None:
    held = getattr(message, field.name)
    what = rng.random()
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        if held and what < 0.4:
            del held[rng.randrange(len(held))]
        elif held:
            held.add().CopyFrom(held[rng.randrange(len(held))])
        else:
            held.add()
    elif held and what < 0.2:
        del held[rng.randrange(len(held))]
    elif held and what < 0.8:
        held[rng.randrange(len(held))] = _value(field, rng)
    else:
        held.extend([_value(field, rng)] * rng.choice((1, 1, 2, 40)))


_RANGES = {
    FieldDescriptor.TYPE_INT32: (-(1 << 31), (1 << 31) - 1),
    FieldDescriptor.TYPE_INT64: (-(1 << 63), (1 << 63) - 1),
    FieldDescriptor.TYPE_UINT64: (0, (1 << 64) - 1),
}


def _value(field: FieldDescriptor, rng: random.Random) -> Any:
    kind = field.type
    if kind == FieldDescriptor.TYPE_STRING:
        return rng.choice((*TEXTS, *KINDS)) if rng.random() < 0.5 else rng.choice(TEXTS)
    if kind == FieldDescriptor.TYPE_BYTES:
        return rng.randbytes(rng.choice((0, 1, 4, 16, 64)))
    if kind == FieldDescriptor.TYPE_FLOAT or kind == FieldDescriptor.TYPE_DOUBLE:
        return min(max(rng.choice(REAL), -3.4e38), 3.4e38)
    if kind == FieldDescriptor.TYPE_ENUM:
        return rng.choice([value.number for value in field.enum_type.values])
    low, high = _RANGES[kind]
    value = rng.choice(WHOLE) if rng.random() < 0.5 else rng.randint(-4, 20)
    return min(max(value, low), high)
