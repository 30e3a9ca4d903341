"""A minimal reader of ONNX files: protocol buffers to nodes, attributes and tensors."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .exact import CheckError

Array = NDArray[Any]
Shape = tuple[int, ...]

LOWEST_OPSET, HIGHEST_OPSET = 7, 24
"""Operations mean other things before and, for all that is known here, after."""
ATTRIBUTES = {1: 2, 2: 3, 3: 4, 4: 5, 5: 6, 6: 7, 7: 8, 8: 9, 9: 10, 10: 11, 11: 22, 12: 23}
"""The field of AttributeProto that holds the value, for each type of attribute."""
TYPES = {1: "<f4", 6: "<i4", 7: "<i8", 9: "|b1", 11: "<f8"}
"""Element types of TensorProto that are read."""
EMPTY = memoryview(b"")
MOST_NODES = 20_000
MOST_ELEMENTS = 1 << 28


@dataclass(frozen=True)
class Node:
    """One operation of the file; ``inputs`` are "" where left out."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class File:
    """What a model file holds: its opset, nodes in order, constants, input and output."""

    opset: int
    nodes: tuple[Node, ...]
    constants: dict[str, Array]
    input: str
    input_shape: tuple[int | None, ...]
    outputs: tuple[str, ...]
    beside: tuple[str, ...] = ()


def fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """Field numbers and raw values of one message: integers, slices of the bytes, and ``bytes``
    for numbers of fixed width."""
    place, end = 0, len(data)
    while place < end:
        key, place = _varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        if kind == 2:
            size, place = _varint(data, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise CheckError("the model is not an ONNX file")
        if size > end - place:
            raise CheckError("the model file ends too early")
        held = data[place : place + size]
        yield number, held if kind == 2 else bytes(held)
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (2**64 - 1), place
        shift += 7
    raise CheckError("the model is not an ONNX file")


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _text(value: Any) -> str:
    try:
        return str(_slice(value), "utf-8")
    except UnicodeDecodeError as error:
        raise CheckError("a name in the model is not UTF-8") from error


def _slice(value: Any) -> memoryview:
    if not isinstance(value, memoryview):
        raise CheckError("the model is not an ONNX file")
    return value


def _one(parts: dict[int, list[Any]], number: int, default: Any) -> Any:
    """The value of a field that may be there once: readers differ on what repeating it means."""
    values = parts.get(number, [default])
    if len(values) != 1 or type(values[0]) is not type(default):
        raise CheckError("a field of the model is repeated, or of another kind")
    return values[0]


def _floats(values: list[Any], width: int) -> bytes:
    """Repeated numbers of fixed width, packed or not."""
    if any(isinstance(value, int) or len(value) % width for value in values):
        raise CheckError("the model is not an ONNX file")
    return b"".join(bytes(value) for value in values)


def _integers(values: list[Any]) -> list[int]:
    """Repeated integers, packed or not."""
    found: list[int] = []
    for value in values:
        if isinstance(value, int):
            found.append(_signed(value))
            continue
        place = 0
        while place < len(_slice(value)):
            one, place = _varint(value, place)
            found.append(_signed(one))
    return found


def _grouped(data: memoryview) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for number, value in fields(_slice(data)):
        found.setdefault(number, []).append(value)
    return found


def tensor(data: memoryview, folder: Path | None) -> tuple[str, Array]:
    """Name and values of a TensorProto; files beside the model are read from ``folder``."""
    parts = _grouped(data)
    name = _text(_one(parts, 8, EMPTY))
    shape = tuple(_integers(parts.get(1, [])))
    code = _one(parts, 2, 0)
    if code not in TYPES:
        raise CheckError(f"the tensor {name!r} is of an element type that is not read")
    kind = np.dtype(TYPES[code])
    count = 1
    for side in shape:
        count *= side
    if min(shape, default=0) < 0 or count > MOST_ELEMENTS:
        raise CheckError(f"the tensor {name!r} is too large")
    if _one(parts, 14, 0) == 1:
        raw = _beside(parts.get(13, []), folder, name, count * kind.itemsize)
    elif 9 in parts:
        raw = bytes(_one(parts, 9, EMPTY))
    elif code == 1:
        raw = _floats(parts.get(4, []), 4)
    elif code == 11:
        raw = _floats(parts.get(10, []), 8)
    else:
        listed = _integers(parts.get(7 if code == 7 else 5, []))
        raw = np.array(listed, dtype=kind).tobytes()
    if len(raw) != count * kind.itemsize:
        raise CheckError(f"the tensor {name!r} does not have the values that its shape needs")
    return name, np.frombuffer(raw, dtype=kind).reshape(shape)


def _beside(entries: list[memoryview], folder: Path | None, name: str, size: int) -> bytes:
    """Bytes of a tensor that lies in a file of its own, inside the model's folder only."""
    known: dict[str, str] = {}
    for entry in entries:
        parts = _grouped(entry)
        key = _text(_one(parts, 1, EMPTY))
        if key in known:
            raise CheckError(f"the tensor {name!r} lies in two places")
        known[key] = _text(_one(parts, 2, EMPTY))
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
        return stream.read(length)


def _attribute(data: memoryview) -> tuple[str, Any]:
    """Name and value of an AttributeProto, which must hold the one value that its type says."""
    parts = _grouped(data)
    name, kind = _text(_one(parts, 1, EMPTY)), _one(parts, 20, 0)
    held = [number for number in ATTRIBUTES.values() if number in parts]
    number = ATTRIBUTES.get(kind, held[0] if held else 0)
    if held not in ([number], []) or parts.get(21):
        raise CheckError(f"the attribute {name!r} holds something else than its type says")
    if number == 5:
        return name, tensor(_one(parts, 5, EMPTY), None)[1]
    if number == 4:
        return name, _text(_one(parts, 4, EMPTY))
    if number == 8:
        return name, tuple(_integers(parts.get(8, [])))
    if number == 7:
        return name, tuple(np.frombuffer(_floats(parts.get(7, []), 4), dtype="<f4").tolist())
    if number == 2:
        return name, struct.unpack("<f", _one(parts, 2, bytes(4)))[0]
    if number == 3:
        return name, _signed(_one(parts, 3, 0))
    return name, None


def _node(data: memoryview) -> Node:
    parts = _grouped(data)
    domain = _text(_one(parts, 7, EMPTY))
    kind = _text(_one(parts, 4, EMPTY))
    if domain not in ("", "ai.onnx"):
        kind = f"{domain}.{kind}"
    attributes = _named([_attribute(value) for value in parts.get(5, [])])
    inputs, outputs = (tuple(_text(v) for v in parts.get(n, [])) for n in (1, 2))
    return Node(kind, inputs, outputs, attributes)


def _named(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Values by name.  Raises CheckError where a name stands for two of them."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise CheckError("a name in the model stands for two things")
    return found


def _declared(data: memoryview) -> tuple[str, tuple[int | None, ...]]:
    """Name and sides of a declared value, None for sides that the file leaves open."""
    parts = _grouped(data)
    shape = parts
    for number in (2, 1, 2):  # its type, that of a tensor, the shape
        shape = _grouped(_one(shape, number, EMPTY))
    sides: list[int | None] = []
    for side in shape.get(1, []):
        known = _grouped(side)
        sides.append(_signed(_one(known, 1, 0)) if 1 in known else None)
    return _text(_one(parts, 1, EMPTY)), tuple(sides)


def read(content: bytes, folder: Path | None) -> File:
    """The model in a file's bytes.  Raises CheckError for what is not read."""
    model = _grouped(memoryview(content))
    if 7 not in model or model.get(25):
        raise CheckError("the file holds no plain ONNX model")
    entries = [_grouped(entry) for entry in model.get(8, [])]
    opsets = _named([(_text(_one(e, 1, EMPTY)) or "ai.onnx", _one(e, 2, 0)) for e in entries])
    opset = opsets.get("ai.onnx", 0)
    if not LOWEST_OPSET <= opset <= HIGHEST_OPSET:
        raise CheckError(f"the model is of opset {opset}")
    graph = _grouped(_one(model, 7, EMPTY))
    if len(graph.get(1, [])) > MOST_NODES or graph.get(15):
        raise CheckError("the model has too many nodes, or sparse weights")
    constants = _named([tensor(data, folder) for data in graph.get(5, [])])
    inputs = [_declared(data) for data in graph.get(11, [])]
    fed = [(name, shape) for name, shape in inputs if name not in constants]
    if len(fed) != 1:
        raise CheckError("the model does not have exactly one input")
    nodes = tuple(_node(data) for data in graph.get(1, []))
    outputs = tuple(_declared(data)[0] for data in graph.get(12, []))
    beside = tuple(location for data in graph.get(5, []) for location in _locations(data))
    return File(opset, nodes, constants, *fed[0], outputs, beside)


def _locations(data: memoryview) -> list[str]:
    """Names of the files beside the model that a tensor is read from."""
    parts = _grouped(data)
    if _one(parts, 14, 0) != 1:
        return []
    entries = [_grouped(entry) for entry in parts.get(13, [])]
    return [_text(_one(e, 2, EMPTY)) for e in entries if _text(_one(e, 1, EMPTY)) == "location"]
