"""Arrow columns as NumPy arrays: single numbers, nested lists of one shape, encoded images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lipcert.certification.data.extras import imported
from lipcert.certification.data.pictures import Pictures
from lipcert.errors import InputError

_PATH_ONLY = "save the images' bytes in the data set, not their paths"


class Decoder(Protocol):
    """Turns record batches into samples."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """The type of the values."""
        ...

    def decode(self, batch: Any, first: int) -> np.ndarray:
        """The rows of a batch as samples; the first of them is sample ``first``."""
        ...


@dataclass(frozen=True)
class NumberColumns:
    """Columns of single numbers: samples of shape (columns,), in a type that holds them all."""

    dtype: np.dtype
    columns: int
    place: str

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.columns,)

    def decode(self, batch: Any, first: int) -> np.ndarray:
        block = np.empty((len(batch), self.columns), dtype=self.dtype)
        for index, name in enumerate(batch.schema.names):
            where = f"column {name[:40]!r} of sample"
            block[:, index] = numbers_of(batch.column(index), first, self.place, where)
        return block


@dataclass(frozen=True)
class ListColumn:
    """A column of lists of numbers, nested or not, all of one shape."""

    dtype: np.dtype
    shape: tuple[int, ...]
    place: str

    def decode(self, batch: Any, first: int) -> np.ndarray:
        values, shape = unnested(batch.column(0), first, self.place)
        if shape != self.shape:
            finding = f"has shape {shape} where sample 0 has {self.shape}"
            raise InputError(self.place, f"sample {first} {finding}", "save samples of one shape")
        return values.reshape(len(batch), *self.shape)


@dataclass(frozen=True)
class ImageColumn:
    """A column of encoded images, alone or as the ``bytes`` of a struct."""

    pictures: Pictures
    place: str

    @property
    def shape(self) -> tuple[int, ...]:
        return self.pictures.shape

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    def decode(self, batch: Any, first: int) -> np.ndarray:
        block = np.empty((len(batch), *self.shape), dtype=np.float32)
        for row, content in enumerate(_contents(batch.column(0))):
            if content is None:
                raise _no_bytes(self.place, first + row)
            place = f"{self.place}, sample {first + row}"
            block[row] = self.pictures.decode(content.as_buffer(), place)
        return block


def kind_of(kind: Any) -> str:
    """What a column of an Arrow type is decoded as: "number", "list", "image", or "": nothing."""
    types = imported("pyarrow.types", "data")
    kind = _storage(kind)
    if _is_number(types, kind):
        return "number"
    if types.is_struct(kind):
        index = kind.get_field_index("bytes")
        held = kind.field(index).type if index >= 0 else None
        return "image" if held and (_is_bytes(types, held) or types.is_null(held)) else ""
    if _is_bytes(types, kind):
        return "image"
    if not _is_list(types, kind):
        return ""
    while _is_list(types, kind):
        kind = _storage(kind.value_type)
    return "list" if _is_number(types, kind) else ""


def decoder_of(kind: str, first: Any, pixel_range: tuple[float, float], place: str) -> Decoder:
    """The decoder for columns of a kind, from a batch that starts with the first row."""
    if kind == "number":
        numbers = [np.dtype(column.type.to_pandas_dtype()) for column in first.columns]
        return NumberColumns(np.result_type(*numbers), len(numbers), place)
    if kind == "list":
        values, shape = unnested(first.column(0).slice(0, 1), 0, place)
        return ListColumn(values.dtype, shape, place)
    content = _contents(first.column(0).slice(0, 1))[0]
    if content is None:
        raise _no_bytes(place, 0)
    pictures = Pictures.like(content.as_buffer(), pixel_range, f"{place}, sample 0")
    return ImageColumn(pictures, place)


def numbers_of(column: Any, first: int, place: str, where: str) -> np.ndarray:
    """A column of single numbers; ``where`` and the index of a row say which one is missing."""
    if column.null_count:
        row = first + int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise InputError(place, f"{where} {row} is missing (null)", "fill or remove that sample")
    values: np.ndarray = column.to_numpy(zero_copy_only=False)
    return values


def unnested(column: Any, first: int, place: str) -> tuple[np.ndarray, tuple[int, ...]]:
    """The numbers of a column of nested lists in row-major order, and the shape of one row.

    Raises
    ------
    InputError : a list is missing or of another length than the first: names the sample.
    """
    types = imported("pyarrow.types", place)
    compute = imported("pyarrow.compute", place)
    shape: tuple[int, ...] = ()
    while True:
        if isinstance(column.type, imported("pyarrow", place).BaseExtensionType):
            if column.type.extension_name == "arrow.fixed_shape_tensor":
                return _tensors(column, first, place)
            column = column.storage
        each = math.prod(shape)
        if column.null_count:
            missing = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
            finding = f"sample {first + missing // max(1, each)} is missing (null), or part of it"
            raise InputError(place, finding, "fill or remove that sample")
        if not _is_list(types, column.type):
            return column.to_numpy(zero_copy_only=False), shape
        lengths = compute.list_value_length(column).to_numpy(zero_copy_only=False)
        other = lengths != lengths[:1]
        if other.any():
            row = int(np.argmax(other))
            finding = (
                f"sample {first + row // max(1, each)} has a list of {lengths[row]} values where "
                f"others have {lengths[0]}"
            )
            raise InputError(place, finding, "save samples of one shape")
        shape = (*shape, int(lengths[0]) if len(lengths) else 0)
        if not shape[-1]:
            return np.empty(0, dtype=np.float32), shape
        column = column.flatten()


def _tensors(column: Any, first: int, place: str) -> tuple[np.ndarray, tuple[int, ...]]:
    """Arrow's own tensors of fixed shape, in their storage order."""
    kind = column.type
    order = kind.permutation
    if order is not None and list(order) != sorted(order):
        raise InputError(place, f"holds tensors with permuted dimensions {order}", "save as lists")
    values, _ = unnested(column.storage, first, place)
    return values, tuple(kind.shape)


def _contents(column: Any) -> Any:
    """The encoded images of a column, as Arrow binaries or None."""
    types = imported("pyarrow.types", "data")
    if isinstance(column.type, imported("pyarrow", "data").BaseExtensionType):
        column = column.storage
    if types.is_struct(column.type):
        column = column.flatten()[column.type.get_field_index("bytes")]
    return [value if value.is_valid else None for value in column]


def _no_bytes(place: str, index: int) -> InputError:
    """An image that is missing, or kept elsewhere: no path found in data is opened."""
    return InputError(place, f"sample {index} has no image bytes in the file", _PATH_ONLY)


def _storage(kind: Any) -> Any:
    """The type that an extension type is stored as."""
    return getattr(kind, "storage_type", kind)


def _is_number(types: Any, kind: Any) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind))


def _is_bytes(types: Any, kind: Any) -> bool:
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _is_list(types: Any, kind: Any) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))
