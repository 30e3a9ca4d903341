"""torch.nn.Module: its ONNX form by torch's own exporter, and what the exporter sees of it."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lipcert.errors import InputError
from lipcert.operators import Shape


def export_module(module: torch.nn.Module, input_shape: Shape | None) -> bytes:
    """A module in evaluation mode as the bytes of an ONNX model.

    Raises InputError for a module in training mode, one whose input shape is not known, and one
    that torch cannot export.
    """
    dummy = _sample(module, input_shape)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            export: Any = torch.onnx.export  # its stub does not know that a buffer will do
            export(module, (dummy,), buffer, opset_version=17, dynamo=False)
        except Exception as error:
            raise InputError(
                type(module).__name__,
                f"torch.onnx.export fails: {str(error).splitlines()[0]}",
                "export it to a file yourself; parametrised layers need "
                "torch.nn.utils.parametrize.remove_parametrizations first",
            ) from error
    return buffer.getvalue()


def _sample(module: torch.nn.Module, input_shape: Shape | None) -> Tensor:
    if input_shape is None:
        raise InputError(
            type(module).__name__, "has no known input shape", "give input_shape=(…) of one sample"
        )
    if module.training:
        raise InputError(type(module).__name__, "is in training mode", "call module.eval() first")
    parameter = next(iter(module.parameters()), torch.zeros(()))
    return torch.zeros(1, *input_shape, dtype=parameter.dtype, device=parameter.device)


@dataclass(frozen=True, eq=False)
class Trace:
    """What the exporter works from: the traced operations, and the tensors that they read.

    Two modules of equal ``key`` differ for it in the values of ``tensors`` alone.
    """

    key: tuple[object, ...]
    tensors: Mapping[str, Tensor]

    @staticmethod
    def of(module: torch.nn.Module, input_shape: Shape | None) -> Trace | None:
        """The trace of a module in evaluation mode, None where it cannot be had.

        Raises what :func:`export_module` raises for a module that is not ready.
        """
        dummy = _sample(module, input_shape)
        tensors: dict[str, Tensor] = {}
        met: set[int] = set()
        for name, tensor in module.state_dict(keep_vars=True).items():
            if isinstance(tensor, Tensor) and id(tensor) not in met:
                met.add(id(tensor))
                tensors[name] = tensor
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                compiler: Any = torch.jit
                trace = compiler._get_trace_graph  # what the exporter itself begins with
                graph = trace(module, (dummy,), strict=False, _force_outplace=False)[0]
                constants = tuple(_constants(graph))
            except Exception:  # the import will say what is the matter
                return None
        return Trace((str(graph), constants, tuple(tensors)), tensors)


def _constants(graph: Any) -> list[tuple[object, ...]]:
    """The tensors that the trace holds as constants: its text does not show them."""
    found: list[tuple[object, ...]] = []
    for node in graph.nodes():
        for block in node.blocks():
            found += _constants(block)
        for name in node.attributeNames():
            if node.kindOf(name) in ("t", "ts"):
                held = node.t(name) if node.kindOf(name) == "t" else node.ts(name)
                for tensor in [held] if isinstance(held, Tensor) else held:
                    array = np.ascontiguousarray(tensor.detach().cpu().numpy())
                    found.append((array.dtype.str, array.shape, array.tobytes()))
    return found
