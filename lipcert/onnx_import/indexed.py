"""Gathering and scattering at constant indices, each of which is checked to lie in its axis.

ONNX's reference implementation wraps indices that lie outside, one length at a time: forever, for
an index of 2^60.  It also takes a step of Python for each element.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import NodeProto

from lipcert.onnx_import.attributes import Attributes
from lipcert.onnx_import.constants import AnyArray
from lipcert.onnx_import.scope import Scope

Places = tuple[AnyArray, ...]
"""Indices into each axis, of shapes that broadcast."""


def gather_elements(node: NodeProto, values: list[AnyArray], scope: Scope) -> AnyArray:
    """``out[i, j, k] = data[index[i, j, k], j, k]`` for axis 0, and so on."""
    data, index = values
    return np.asarray(data[_element_places(node, data, index, scope)])


def scatter_elements(node: NodeProto, values: list[AnyArray], scope: Scope) -> AnyArray:
    """``out[index[i, j, k], j, k] = updates[i, j, k]`` for axis 0, and so on."""
    data, index, updates = values
    if updates.shape != index.shape:
        raise scope.refuse(f"its updates have shape {updates.shape}, its indices {index.shape}")
    found = data.copy()
    found[_element_places(node, data, index, scope)] = updates
    return found


def gather_slices(node: NodeProto, values: list[AnyArray], scope: Scope) -> AnyArray:
    """``out[b, i] = data[b, index[b, i, 0], index[b, i, 1], …]`` behind b batch dimensions."""
    data, index = values
    batch = Attributes(node, scope).integer("batch_dims", 0)
    return np.asarray(data[_slice_places(data, index, batch, scope)])


def scatter_slices(node: NodeProto, values: list[AnyArray], scope: Scope) -> AnyArray:
    """``out[index[i, 0], index[i, 1], …] = updates[i]``."""
    data, index, updates = values
    places = _slice_places(data, index, 0, scope)
    wanted = (*index.shape[:-1], *data.shape[len(places) :])
    if updates.shape != wanted:
        raise scope.refuse(f"its updates have shape {updates.shape}, not {wanted}")
    found = data.copy()
    found[places] = updates
    return found


INDEXED: dict[str, Callable[[NodeProto, list[AnyArray], Scope], AnyArray]] = {
    "GatherElements": gather_elements,
    "GatherND": gather_slices,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_slices,
}
"""What is not left to ONNX's reference implementation."""


def _element_places(node: NodeProto, data: AnyArray, index: AnyArray, scope: Scope) -> Places:
    axis = Attributes(node, scope).integer("axis", 0)
    if index.ndim != data.ndim or not -data.ndim <= axis < data.ndim:
        raise scope.refuse(f"its indices of shape {index.shape} do not fit {data.shape}")
    axis %= data.ndim
    beside = [
        (i, d) for k, (i, d) in enumerate(zip(index.shape, data.shape, strict=True)) if k != axis
    ]
    if any(size > held for size, held in beside):
        raise scope.refuse(f"its indices of shape {index.shape} do not fit {data.shape}")
    places: list[AnyArray] = list(np.ogrid[tuple(slice(size) for size in index.shape)])
    places[axis] = _checked(index, data.shape[axis], axis, scope)
    return tuple(places)


def _slice_places(data: AnyArray, index: AnyArray, batch: int, scope: Scope) -> Places:
    depth = index.shape[-1] if index.ndim else 0
    fits = 0 <= batch < index.ndim and depth >= 1 and batch + depth <= data.ndim
    if not fits or index.shape[:batch] != data.shape[:batch]:
        raise scope.refuse(f"its indices of shape {index.shape} do not fit {data.shape}")
    grid = np.ogrid[tuple(slice(size) for size in index.shape[:-1])][:batch] if batch else []
    chosen = [
        _checked(index[..., k], data.shape[batch + k], batch + k, scope) for k in range(depth)
    ]
    return (*grid, *chosen)


def _checked(index: AnyArray, length: int, axis: int, scope: Scope) -> AnyArray:
    if index.dtype.kind != "i":
        raise scope.refuse(f"its indices are of type {index.dtype}")
    places = index.astype(np.int64)
    if ((places < -length) | (places >= length)).any():
        raise scope.refuse(f"its indices do not fit axis {axis} of length {length}")
    return places
