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

TYPES = {1: "<f4", 6: "<i4", 7: "<i8", 9: "|b1", 11: "<f8"}
"""Element types of TensorProto that are read."""
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
    """Field numbers and raw values of one message: integers, or slices of the bytes."""
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
        yield number, data[place : place + size]
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


def _text(value: memoryview) -> str:
    return bytes(value).decode("utf-8", "replace")


def _integers(values: list[Any]) -> list[int]:
    """Repeated integers, packed or not."""
    found: list[int] = []
    for value in values:
        if isinstance(value, int):
            found.append(_signed(value))
            continue
        place = 0
        while place < len(value):
            one, place = _varint(value, place)
            found.append(_signed(one))
    return found


def _grouped(data: memoryview) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for number, value in fields(data):
        found.setdefault(number, []).append(value)
    return found


def tensor(data: memoryview, folder: Path | None) -> tuple[str, Array]:
    """Name and values of a TensorProto; files beside the model are read from ``folder``."""
    parts = _grouped(data)
    name = _text(parts.get(8, [memoryview(b"")])[-1])
    shape = tuple(_integers(parts.get(1, [])))
    code = parts.get(2, [0])[-1]
    if code not in TYPES:
        raise CheckError(f"the tensor {name!r} is of an element type that is not read")
    kind = np.dtype(TYPES[code])
    count = 1
    for side in shape:
        count *= side
    if min(shape, default=0) < 0 or count > MOST_ELEMENTS:
        raise CheckError(f"the tensor {name!r} is too large")
    if parts.get(14, [0])[-1] == 1:
        raw = _beside(parts.get(13, []), folder, name, count * kind.itemsize)
    elif 9 in parts:
        raw = bytes(parts[9][-1])
    elif code == 1:
        raw = b"".join(bytes(value) for value in parts.get(4, []))
    elif code == 11:
        raw = b"".join(bytes(value) for value in parts.get(10, []))
    else:
        listed = _integers(parts.get(7 if code == 7 else 5, []))
        raw = np.array(listed, dtype=kind).tobytes()
    if len(raw) != count * kind.itemsize:
        raise CheckError(f"the tensor {name!r} does not have the values that its shape needs")
    return name, np.frombuffer(raw, dtype=kind).reshape(shape)


def _beside(entries: list[memoryview], folder: Path | None, name: str, size: int) -> bytes:
    """Bytes of a tensor that lies in a file of its own, inside the model's folder only."""
    known = {}
    for entry in entries:
        parts = _grouped(entry)
        known[_text(parts.get(1, [memoryview(b"")])[-1])] = _text(
            parts.get(2, [memoryview(b"")])[-1]
        )
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


def _attribute(data: memoryview, folder: Path | None) -> tuple[str, Any]:
    parts = _grouped(data)
    name = _text(parts.get(1, [memoryview(b"")])[-1])
    if 5 in parts:
        return name, tensor(parts[5][-1], folder)[1]
    if 4 in parts:
        return name, _text(parts[4][-1])
    if 8 in parts:
        return name, tuple(_integers(parts[8]))
    if 7 in parts:
        raw = b"".join(bytes(value) for value in parts[7])
        return name, tuple(np.frombuffer(raw, dtype="<f4").tolist())
    if 2 in parts:
        return name, struct.unpack("<f", bytes(parts[2][-1]))[0]
    if 3 in parts:
        return name, _signed(parts[3][-1])
    empty = {7: (), 1: 0.0, 3: ""}
    return name, empty.get(parts.get(20, [0])[-1], 0)


def _node(data: memoryview, folder: Path | None) -> Node:
    parts = _grouped(data)
    domain = _text(parts.get(7, [memoryview(b"")])[-1])
    kind = _text(parts.get(4, [memoryview(b"")])[-1])
    if domain not in ("", "ai.onnx"):
        kind = f"{domain}.{kind}"
    return Node(
        kind,
        tuple(_text(value) for value in parts.get(1, [])),
        tuple(_text(value) for value in parts.get(2, [])),
        dict(_attribute(value, folder) for value in parts.get(5, [])),
    )


def _declared(data: memoryview) -> tuple[str, tuple[int | None, ...]]:
    """Name and sides of a declared value, None for sides that the file leaves open."""
    parts = _grouped(data)
    sides: list[int | None] = []
    for kind in parts.get(2, []):
        for plain in _grouped(kind).get(1, []):
            for shape in _grouped(plain).get(2, []):
                for side in _grouped(shape).get(1, []):
                    known = _grouped(side).get(1)
                    sides.append(_signed(known[-1]) if known else None)
    return _text(parts.get(1, [memoryview(b"")])[-1]), tuple(sides)


def read(content: bytes, folder: Path | None) -> File:
    """The model in a file's bytes.  Raises CheckError for what is not read."""
    model = _grouped(memoryview(content))
    if 7 not in model or model.get(25):
        raise CheckError("the file holds no plain ONNX model")
    opset = 0
    for entry in model.get(8, []):
        parts = _grouped(entry)
        if _text(parts.get(1, [memoryview(b"")])[-1]) in ("", "ai.onnx"):
            opset = parts.get(2, [0])[-1]
    graph = _grouped(model[7][-1])
    if len(graph.get(1, [])) > MOST_NODES or graph.get(15):
        raise CheckError("the model has too many nodes, or sparse weights")
    constants = dict(tensor(data, folder) for data in graph.get(5, []))
    inputs = [_declared(data) for data in graph.get(11, [])]
    fed = [(name, shape) for name, shape in inputs if name not in constants]
    if len(fed) != 1:
        raise CheckError("the model does not have exactly one input")
    nodes = tuple(_node(data, folder) for data in graph.get(1, []))
    outputs = tuple(_declared(data)[0] for data in graph.get(12, []))
    beside = tuple(location for data in graph.get(5, []) for location in _locations(data))
    return File(opset, nodes, constants, *fed[0], outputs, beside)


def _locations(data: memoryview) -> list[str]:
    """Names of the files beside the model that a tensor is read from."""
    parts = _grouped(data)
    if parts.get(14, [0])[-1] != 1:
        return []
    entries = [_grouped(entry) for entry in parts.get(13, [])]
    return [_text(e[2][-1]) for e in entries if _text(e.get(1, [b""])[-1]) == "location"]
