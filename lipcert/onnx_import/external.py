"""Initialisers kept in files beside the model, read without leaving the model's folder."""

from __future__ import annotations

import hashlib
import math
import stat
from collections import Counter
from pathlib import Path

import onnx
from onnx import TensorProto

from lipcert.errors import InputError

SPARE_BYTES = 1 << 28
"""What a data file may hold, or tensors that share it may ask for, beyond twice the other."""


def read_external(model: onnx.ModelProto, path: Path, digest: hashlib._Hash) -> None:
    """Bring external tensors into ``model``; each file's bytes enter ``digest`` once, in order.

    Raises InputError for a location outside the model's folder, a link, a missing file, or a
    range that the file does not hold.
    """
    files: dict[str, bytes] = {}
    needed = _needed(model.graph, path.name)
    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        place = f"{path.name}, external data of {tensor.name!r}"
        entries = _entries(tensor, place)
        location = entries.get("location", "")
        if location not in files:
            files[location] = _read(path.parent, location, place, needed[location])
            digest.update(files[location])
        content = files[location]
        offset, length = _range(entries, len(content), place)
        wanted = _byte_size(tensor, place)
        if wanted is not None and length != wanted:
            raise InputError(
                place,
                f"holds {length} bytes where its shape needs {wanted}",
                "export the model and its data file again",
            )
        tensor.raw_data = content[offset : offset + length]
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]


def _tensors(graph: onnx.GraphProto) -> list[TensorProto]:
    found = list(graph.initializer)
    for node in graph.node:
        found += [a.t for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
    return found


def _entries(tensor: TensorProto, place: str) -> dict[str, str]:
    """Location, offset and length as texts; protocol buffers do not check that they are."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if not all(isinstance(text, str) for text in (*entries, *entries.values())):
        raise InputError(place, "is described by what is not text", "export the model again")
    return entries


def _needed(graph: onnx.GraphProto, name: str) -> Counter[str]:
    """Bytes that tensors take from each file by their shapes."""
    found: Counter[str] = Counter()
    for tensor in _tensors(graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            place = f"{name}, external data of {tensor.name!r}"
            size = _byte_size(tensor, place)
            location = _entries(tensor, place).get("location", "")
            found[location] += math.prod(tensor.dims) if size is None else size
    return found


def _read(folder: Path, location: str, place: str, needed: int) -> bytes:
    """The bytes of a plain file below ``folder`` from which so many bytes are needed."""
    remedy = "keep the data file in the model's own folder and name it by its file name"
    parts = Path(location).parts
    if not parts or "\0" in location or Path(location).is_absolute() or ".." in parts:
        raise InputError(place, f"is at {location!r}, outside the model's folder", remedy)
    if "\\" in location or ":" in location:
        raise InputError(place, f"has the unusable location {location!r}", remedy)
    target = folder
    for part in parts:
        target = target / part
        try:
            status = target.lstat()
        except OSError as error:
            raise InputError(
                place, f"is missing: no file {location!r}", "put it beside the model file"
            ) from error
        if stat.S_ISLNK(status.st_mode):
            raise InputError(place, f"is behind a link ({location!r})", remedy)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise InputError(place, f"is not a plain file of one name ({location!r})", remedy)
    if status.st_size > 2 * needed + SPARE_BYTES:
        finding = f"is in a file of {status.st_size} bytes, of which the model needs {needed}"
        raise InputError(place, finding, "export the model again")
    if needed > 2 * status.st_size + SPARE_BYTES:
        finding = f"is in a file of {status.st_size} bytes, where the model needs {needed}"
        raise InputError(place, finding, "the data file is truncated or belongs to another model")
    return target.read_bytes()


def _range(entries: dict[str, str], size: int, place: str) -> tuple[int, int]:
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(size - offset)))
    except ValueError as error:
        raise InputError(place, "has an offset or length that is not a number") from error
    if offset < 0 or length < 0 or offset + length > size:
        raise InputError(
            place,
            f"needs bytes {offset} to {offset + length} of a file of {size}",
            "the data file is truncated or belongs to another model",
        )
    return offset, length


def _byte_size(tensor: TensorProto, place: str) -> int | None:
    try:
        itemsize = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, TypeError) as error:
        raise InputError(place, f"has unknown data type {tensor.data_type}") from error
    if min(tensor.dims, default=0) < 0:
        raise InputError(place, "has a negative dimension")
    packed = onnx.TensorProto.DataType.Name(tensor.data_type) in ("UINT4", "INT4", "FLOAT4E2M1")
    return None if packed else math.prod(tensor.dims) * itemsize
