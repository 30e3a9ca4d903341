"""Models that change between calls: imported once, then given their new numbers."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper
from torch import Tensor

from lipcert.graph import Graph
from lipcert.onnx_import.external import read_external
from lipcert.onnx_import.loader import build_graph, parse_model, read_model_bytes
from lipcert.onnx_import.modules import Trace, export_module
from lipcert.onnx_import.rebinding import Rebinding, skeleton
from lipcert.operators import Shape

Array = NDArray[np.float64]


class FollowedModule:
    """A ``torch.nn.Module`` in training.

    Each call traces it.  Where the trace is what it was at the last import, so is all that the
    exporter made of it but the weights: parameters that are initialisers as they are get their
    new values, and any other tensor must hold what it held.  Otherwise it is exported and
    imported again.  Which parameters these are is tried out on a copy of the module that holds
    other numbers: its export must differ in these initialisers alone.

    Parameters
    ----------
    module : in evaluation mode; one that asks whether it is being exported must not answer
        differently at different times.
    input_shape : of one sample.
    output : name of the output to take.
    """

    def __init__(
        self, module: torch.nn.Module, input_shape: Shape | None, output: str | None = None
    ) -> None:
        self.module, self.input_shape, self.output = module, input_shape, output
        self.imports = 0
        self._key: tuple[object, ...] | None = None
        self._model = ModelProto()
        self._held: dict[str, Tensor] = {}
        self._fixed: set[str] = set()
        self._rebinding: Rebinding | None = None

    def graph(self) -> Graph:
        """The model as it is now; the same object as before where nothing changed.

        Raises what :func:`lipcert.load` raises.
        """
        trace = Trace.of(self.module, self.input_shape)
        found = None if trace is None else self._rebound(trace)
        return self._imported(trace) if found is None else found

    def _rebound(self, trace: Trace) -> Graph | None:
        if self._rebinding is None or trace.key != self._key:
            return None
        changed = {
            name
            for name, tensor in self._held.items()
            if not _is_unchanged(tensor, trace.tensors[name])
        }
        if changed & self._fixed:
            return None
        if changed:
            self._try(self._rebinding.graph)
        if changed & self._fixed:
            return None
        new = {name: _array(trace.tensors[name]) for name in self._rebinding.values}
        if not all(np.isfinite(value).all() for value in new.values()):
            return None  # the import refuses it in words
        self._rebinding = self._rebinding.rebound(new)
        return self._rebinding.graph

    def _imported(self, trace: Trace | None) -> Graph:
        self.imports += 1
        self._rebinding = None
        content = export_module(self.module, self.input_shape)
        name = type(self.module).__name__
        model = parse_model(content, name)
        digest = hashlib.sha256(content).hexdigest()
        graph = build_graph(model, name=name, sha256=digest, output=self.output)
        if trace is not None:
            if trace.key != self._key:
                self._fixed = set()
            self._key, self._model, self._rebinding = trace.key, model, Rebinding(graph, {})
            self._held = {key: tensor.detach().clone() for key, tensor in trace.tensors.items()}
        return graph

    def _try(self, graph: Graph) -> None:
        """Find the parameters that can be exchanged, among those of the last import."""
        found = Rebinding.of(graph, self._model)
        arrays = {tensor.name: tensor for tensor in self._model.graph.initializer}
        own = found.restricted(
            name
            for name in found.values
            if name in self._held and _holds(self._held[name], arrays[name])
        )
        self._rebinding = own if self._exports_alike(own) else own.restricted(())
        self._held = {k: held for k, held in self._held.items() if k not in self._rebinding.values}
        self._fixed |= set(self._held)

    def _exports_alike(self, rebinding: Rebinding) -> bool:
        """Whether a copy of the module with other numbers differs in them alone when exported."""
        names = rebinding.values
        if not names:
            return True
        try:
            other = copy.deepcopy(self.module)
            tensors = other.state_dict(keep_vars=True)
            with torch.no_grad():
                for k, name in enumerate(names):
                    own = tensors[name]
                    steps = torch.arange(own.numel(), dtype=own.dtype, device=own.device)
                    own.copy_((0.5 + (steps + k) % 7 / 8.0 + k / 1024.0).reshape(own.shape))
            probe = parse_model(export_module(other, self.input_shape), type(other).__name__)
        except Exception:  # what cannot be copied is imported again each time
            return False
        held = {tensor.name: tensor for tensor in probe.graph.initializer}
        alike = skeleton(probe, names) == skeleton(self._model, names)
        return alike and all(_holds(tensors[name], held[name]) for name in names)


class FollowedFile:
    """A model file that is written again and again; read again where its bytes change."""

    def __init__(self, path: str | Path, input_shape: Shape | None, output: str | None) -> None:
        self.path, self.input_shape, self.output = Path(path), input_shape, output
        self.imports = 0
        self._model, self._is_tried = ModelProto(), False
        self._rebinding: Rebinding | None = None

    def graph(self) -> Graph:
        """The model as the file has it now.  Raises what :func:`lipcert.load` raises."""
        content = read_model_bytes(self.path)
        digest = hashlib.sha256(content)
        model = parse_model(content, self.path.name)
        read_external(model, self.path, digest)
        before = self._rebinding
        if before is not None and digest.hexdigest() == before.graph.sha256:
            return before.graph
        found = None if before is None else self._rebound(before, model)
        if found is None:
            found = self._imported(model)
        graph = replace(found.graph, sha256=digest.hexdigest(), source=str(self.path))
        self._rebinding = replace(found, graph=graph)
        return graph

    def _rebound(self, before: Rebinding, model: ModelProto) -> Rebinding | None:
        if not self._is_tried:
            before, self._is_tried = Rebinding.of(before.graph, self._model), True
        names = before.values
        if skeleton(model, names) != skeleton(self._model, names):
            return None
        values = {
            tensor.name: np.asarray(numpy_helper.to_array(tensor), dtype=np.float64)
            for tensor in model.graph.initializer
            if tensor.name in names
        }
        finite = all(np.isfinite(value).all() for value in values.values())
        return before.rebound(values) if finite else None

    def _imported(self, model: ModelProto) -> Rebinding:
        self.imports += 1
        self._model, self._is_tried = model, False
        graph = build_graph(
            model, name=self.path.name, input_shape=self.input_shape, output=self.output
        )
        return Rebinding(graph, {})


class FollowedGraph:
    """A graph, which does not change."""

    imports = 0

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    def graph(self) -> Graph:
        """The graph."""
        return self._graph


Followed = FollowedModule | FollowedFile | FollowedGraph


def followed(
    model: str | Path | Graph | torch.nn.Module,
    *,
    input_shape: Shape | None = None,
    output: str | None = None,
) -> Followed:
    """A model whose graph is asked for many times, as :func:`lipcert.load` reads it."""
    if isinstance(model, Graph):
        return FollowedGraph(model)
    if isinstance(model, torch.nn.Module):
        return FollowedModule(model, input_shape, output)
    return FollowedFile(model, input_shape, output)


def _array(tensor: Tensor) -> Array:
    """A copy in float64, which later changes of the tensor leave alone."""
    return np.array(tensor.detach().cpu().numpy(), dtype=np.float64, order="C")


def _holds(tensor: Tensor, initialiser: TensorProto) -> bool:
    """Whether an initialiser is a tensor as it is, to the bit."""
    if tensor.dtype not in (torch.float32, torch.float64):
        return False
    own = np.ascontiguousarray(tensor.detach().cpu().numpy())
    array = numpy_helper.to_array(initialiser)
    alike = own.dtype == array.dtype and own.shape == array.shape
    return alike and own.tobytes() == array.tobytes()


def _is_unchanged(before: Tensor, now: Tensor) -> bool:
    alike = before.dtype == now.dtype and before.device == now.device
    return alike and torch.equal(before, now.detach())
