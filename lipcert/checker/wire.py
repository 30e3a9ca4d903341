"""A minimal reader of ONNX files: protocol buffers to nodes, attributes and tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .exact import CheckError

Array = NDArray[Any]
Shape = tuple[int, ...]
Message = dict[str, Any]

LOWEST_OPSET, HIGHEST_OPSET = 7, 24
"""Operations mean other things before and, for all that is known here, after."""
TYPES = {1: "<f4", 6: "<i4", 7: "<i8", 9: "|b1", 11: "<f8"}
"""Element types of TensorProto that are read."""
VALUES = ("f", "i", "s", "t", "g", "floats", "ints", "strings", "tensors", "graphs", "sp", "sps")
"""The field of AttributeProto that holds the value, for each type of attribute from 1 on."""
MOST_NODES = 20_000
MOST_ELEMENTS = 1 << 28

MESSAGES = """
Model: 7 graph Graph, 8 opsets Opset*, 25 functions bytes*
Opset: 1 domain text, 2 version int
Graph: 1 nodes bytes*, 5 tensors Tensor*, 15 sparse bytes*
Graph: 11 inputs Declared*, 12 outputs Declared*
Node: 1 inputs text*, 2 outputs text*, 4 kind text, 5 attributes Attribute*, 7 domain text
Attribute: 1 name text, 20 type short, 21 reference text, 2 f 4, 3 i int, 4 s text, 5 t Tensor
Attribute: 6 g bytes, 7 floats 4*, 8 ints int*
Attribute: 9 strings bytes*, 10 tensors bytes*, 11 graphs bytes*, 22 sp bytes, 23 sps bytes*
Tensor: 1 sides int*, 2 type short, 8 name text, 9 raw bytes, 4 floats 4*, 5 wholes short*
Tensor: 7 longs int*, 10 doubles 8*, 13 beside Entry*, 14 location short
Entry: 1 key text, 2 value text
Declared: 1 name text, 2 type Type
Type: 1 tensor TensorType
TensorType: 1 elements short, 2 shape Shape
Shape: 1 sides Side*
Side: 1 value int
"""
"""Number, name and kind of the fields that are read; ``*`` may be there many times.  Of ``short``
numbers other readers keep 32 bits."""
FIELDS: dict[str, dict[int, tuple[str, str]]] = {}
for line in MESSAGES.strip().splitlines():
    of, fields = line.split(": ")
    entries = (entry.split() for entry in fields.split(", "))
    FIELDS.setdefault(of, {}).update({int(number): (name, kind) for number, name, kind in entries})


@dataclass(frozen=True)
class Node:
    """One operation of the file; ``inputs`` are "" where left out."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class File:
    """What a model file holds: its opset, nodes in order, constants, input and output; bytes of one
    number of the input, names of files beside it."""

    opset: int
    nodes: tuple[Node, ...]
    constants: dict[str, Array]
    input: str
    input_shape: tuple[int | None, ...]
    outputs: tuple[str, ...]
    input_bytes: int = 4
    beside: tuple[str, ...] = ()


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            value &= 2**64 - 1
            return value - (value >> 63 << 64), place
        shift += 7
    raise CheckError("the model is not an ONNX file")


def _raw_fields(data: memoryview) -> Iterator[tuple[int, str, Any]]:
    """Number, kind and value of each field: an ``int``, or ``bytes`` and of width ``4``, ``8``."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        if not 8 <= key < 1 << 32:  # other readers keep 32 bits of it
            raise CheckError("the model is not an ONNX file")
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield number, "int", value
            continue
        if wire == 2:
            size, place = _varint(data, place)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise CheckError("the model is not an ONNX file")
        if not 0 <= size <= len(data) - place:
            raise CheckError("the model file ends too early")
        yield number, "bytes" if wire == 2 else str(size), data[place : place + size]
        place += size


def _message(data: memoryview, kind: str) -> Message:
    """The known fields of a message by name: lists of those that may be there many times, None
    where another is missing.  Readers differ on what repeating those means: it is refused."""
    known = FIELDS[kind]
    found: Message = {name: [] if own[-1] == "*" else None for name, own in known.values()}
    for number, wire, value in _raw_fields(data):
        if number not in known:
            continue
        name, own = known[number]
        if own[-1] == "*":
            found[name] += _many(own[:-1], wire, value)
        elif found[name] is not None:
            raise CheckError("a field of the model is repeated")
        else:
            found[name] = _one(own, wire, value)
    return found


def _many(kind: str, wire: str, value: Any) -> list[Any]:
    """The values in one field of a repeated kind; floating-point numbers together as one array."""
    if kind in ("4", "8") and wire in (kind, "bytes") and len(value) % int(kind) == 0:
        return [np.frombuffer(value, dtype=f"<f{kind}")]
    if kind not in ("int", "short") or wire != "bytes":
        return [_one(kind, wire, value)]
    found, place = [], 0
    while place < len(value):
        one, place = _varint(value, place)
        found.append(_one(kind, "int", one))
    return found


def _one(kind: str, wire: str, value: Any) -> Any:
    """The value of a field.  Raises CheckError where it is of another kind."""
    wanted = {"int": "int", "short": "int", "4": "4", "8": "8"}.get(kind, "bytes")
    if wire != wanted or (kind == "short" and not -(1 << 31) <= value < 1 << 31):
        raise CheckError("a field of the model is of another kind")
    if kind in ("4", "8"):
        return float(np.frombuffer(value, dtype=f"<f{kind}")[0])
    if kind == "text":
        try:
            return str(value, "utf-8")
        except UnicodeDecodeError as error:
            raise CheckError("a name in the model is not UTF-8") from error
    return _message(value, kind) if kind in FIELDS else value


def _named(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Values by name.  Raises CheckError where a name stands for two of them."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise CheckError("a name in the model stands for two things")
    return found


def _tensor(parts: Message, folder: Path | None) -> tuple[str, Array]:
    """Name and values of a TensorProto; files beside the model are read from ``folder``."""
    name, shape, code = parts["name"] or "", tuple(parts["sides"]), parts["type"]
    if code not in TYPES:
        raise CheckError(f"the tensor {name!r} is of an element type that is not read")
    kind = np.dtype(TYPES[code])
    size = math.prod(shape) * kind.itemsize
    if min(shape, default=0) < 0 or math.prod(shape) > MOST_ELEMENTS:
        raise CheckError(f"the tensor {name!r} is too large")
    if parts["location"] == 1:
        raw = _beside(parts, folder, size)
    elif parts["raw"] is not None:
        raw = parts["raw"]
    elif kind.kind == "f":
        raw = _joined(parts["floats" if code == 1 else "doubles"]).astype(kind).tobytes()
    else:
        raw = np.array(parts["longs" if code == 7 else "wholes"], dtype=kind).tobytes()
    if len(raw) != size:
        raise CheckError(f"the tensor {name!r} does not have the values that its shape needs")
    return name, np.frombuffer(raw, dtype=kind).reshape(shape)


def _joined(parts: list[Array]) -> Array:
    return np.concatenate(parts) if parts else np.zeros(0)


def _beside(parts: Message, folder: Path | None, size: int) -> bytes:
    """Bytes of a tensor that lies in a file of its own, inside the model's folder only."""
    name = parts["name"]
    known = _named([(entry["key"] or "", entry["value"] or "") for entry in parts["beside"]])
    location = known.get("location", "")
    if folder is None or not location or Path(location).name != location:
        raise CheckError(f"the tensor {name!r} lies outside the model's folder")
    path = folder / location
    if path.is_symlink() or not path.is_file() or path.stat().st_nlink > 1:
        raise CheckError(f"the file of the tensor {name!r} is not a plain file in its folder")
    try:
        offset, length = int(known.get("offset", "0")), int(known.get("length", str(size)))
    except ValueError as error:
        raise CheckError(f"the tensor {name!r} has no readable place in its file") from error
    if length != size or offset < 0:
        raise CheckError(f"the tensor {name!r} does not have the values that its shape needs")
    with path.open("rb") as stream:
        stream.seek(offset)
        return bytes(stream.read(length))


def _attribute(parts: Message) -> tuple[str, Any]:
    """Name and value of an AttributeProto, which must hold the one value that its type says."""
    name = parts["name"] or ""
    own = {"name", "type", "reference"}
    held = [key for key, value in parts.items() if key not in own and value not in (None, [])]
    wanted = held[0] if held else ""
    if 0 < (parts["type"] or 0) <= len(VALUES):
        wanted = VALUES[parts["type"] - 1]
    if held not in ([wanted], []) or parts["reference"] is not None:
        raise CheckError(f"the attribute {name!r} holds something else than its type says")
    value: Any = parts.get(wanted)
    if wanted == "t":
        return name, _tensor(value or _message(memoryview(b""), "Tensor"), None)[1]
    if wanted in ("floats", "ints"):
        return name, tuple(value if wanted == "ints" else _joined(value).tolist())
    return name, value if value is not None else {"f": 0.0, "i": 0, "s": ""}.get(wanted)


def _node(data: memoryview) -> Node:
    parts = _message(data, "Node")
    kind, domain = parts["kind"] or "", parts["domain"] or ""
    if domain not in ("", "ai.onnx"):
        kind = f"{domain}.{kind}"
    attributes = _named([_attribute(one) for one in parts["attributes"]])
    return Node(kind, tuple(parts["inputs"]), tuple(parts["outputs"]), attributes)


def _declared(parts: Message) -> tuple[str, tuple[int | None, ...]]:
    """Name and sides of a declared value, None for sides that the file leaves open."""
    inner: Message | None = parts
    for key in ("type", "tensor", "shape"):
        inner = inner[key] if inner is not None else None
    return parts["name"] or "", tuple(side["value"] for side in inner["sides"]) if inner else ()


def read(content: bytes, folder: Path | None) -> File:
    """The model in a file's bytes.  Raises CheckError for what is not read."""
    model = _message(memoryview(content), "Model")
    graph = model["graph"]
    if graph is None or model["functions"]:
        raise CheckError("the file holds no plain ONNX model")
    opsets = _named([(e["domain"] or "ai.onnx", e["version"] or 0) for e in model["opsets"]])
    opset = opsets.get("ai.onnx", 0)
    if not LOWEST_OPSET <= opset <= HIGHEST_OPSET:
        raise CheckError(f"the model is of opset {opset}")
    if len(graph["nodes"]) > MOST_NODES or graph["sparse"]:
        raise CheckError("the model has too many nodes, or sparse weights")
    constants = _named([_tensor(one, folder) for one in graph["tensors"]])
    fed = [own for own in graph["inputs"] if (own["name"] or "") not in constants]
    if len(fed) != 1:
        raise CheckError("the model does not have exactly one input")
    kind = fed[0]["type"] and fed[0]["type"]["tensor"]
    number = np.dtype(TYPES.get(kind["elements"] if kind else 0, "?"))
    if number.kind != "f":
        raise CheckError("the model's input is not of floating-point numbers of 32 or 64 bits")
    nodes = tuple(map(_node, graph["nodes"]))
    outputs = tuple(_declared(one)[0] for one in graph["outputs"])
    outside = [entry for one in graph["tensors"] if one["location"] == 1 for entry in one["beside"]]
    beside = tuple(entry["value"] or "" for entry in outside if entry["key"] == "location")
    own = _declared(fed[0])
    return File(opset, nodes, constants, *own, outputs, number.itemsize, beside)
