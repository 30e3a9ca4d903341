"""Stored tensors as constants."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto, numpy_helper

from lipcert.errors import InputError
from lipcert.onnx_import.constants import AnyArray, Constant
from lipcert.onnx_import.room import MAX_ELEMENTS


def read_tensor(tensor: TensorProto, place: str, sources: tuple[str, ...]) -> Constant:
    """A stored tensor as a constant.  Raises InputError when its bytes do not fit its shape."""
    if min(tensor.dims, default=0) < 0 or math.prod(tensor.dims) > MAX_ELEMENTS:
        raise InputError(place, f"declares the shape {tuple(tensor.dims)}", "the file is damaged")
    try:
        return as_constant(numpy_helper.to_array(tensor), None, sources)
    except Exception as error:
        raise InputError(
            place, f"cannot be read ({error})", "the file is damaged; export it again"
        ) from error


def as_constant(
    value: AnyArray, radius: AnyArray | None = None, sources: tuple[str, ...] = ()
) -> Constant:
    """An array as a constant: real types as float64, which holds each of them exactly."""
    if value.dtype == bool or np.issubdtype(value.dtype, np.integer) or value.dtype.kind in "USO":
        return Constant(value, None, sources)
    if value.dtype.kind == "c":
        raise ValueError("complex numbers")
    real = np.asarray(value, dtype=np.float64)
    return Constant(real, None if radius is None else np.asarray(radius, np.float64), sources)
