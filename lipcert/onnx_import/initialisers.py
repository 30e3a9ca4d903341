"""The arrays that a model file holds, as constants."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto

from lipcert.errors import InputError
from lipcert.graph import Origin
from lipcert.onnx_import.constants import Constant
from lipcert.onnx_import.tensors import read_tensor

WIDE = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE})


def read_initialisers(model: ModelProto, name: str) -> dict[str, Constant]:
    """The model's initialisers by name.  Raises InputError for one that is not usable."""
    constants: dict[str, Constant] = {}
    for tensor in model.graph.initializer:
        place = f"{name}, initialiser {tensor.name!r}"
        if tensor.name in constants:
            raise InputError(place, "is defined twice", "export the model again")
        constants[tensor.name] = _read(tensor, place)
    if model.graph.sparse_initializer:
        raise InputError(name, "has sparse initialisers", "export with dense weights")
    return constants


def _read(tensor: TensorProto, place: str) -> Constant:
    constant = read_tensor(tensor, place, (tensor.name,))
    if constant.is_float and np.isnan(constant.middle).any():
        raise InputError(place, "holds NaN", "a model with such weights has no bound")
    if constant.is_float:
        origin = Origin(tensor.name, tuple(constant.value.shape))
        constant = replace(constant, origins=(origin,))
    return constant


def uses_narrow_types(model: ModelProto) -> bool:
    """Whether real numbers of less than 32 bits occur anywhere in the model."""
    tensors = list(model.graph.initializer)
    kinds: set[int] = {value.type.tensor_type.elem_type for value in model.graph.input}
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                tensors.append(attribute.t)
            elif attribute.name == "to":
                kinds.add(attribute.i)
    kinds |= {tensor.data_type for tensor in tensors}
    return any(_is_narrow(kind) for kind in kinds)


def _is_narrow(kind: int) -> bool:
    if kind in WIDE or kind not in TensorProto.DataType.values():
        return False
    return "FLOAT" in TensorProto.DataType.Name(kind)
