"""Graphs drawn by hand, node by node, without an ONNX file."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from lipcert.graph import Affine, Graph, Node, Operation, Origin, Total
from lipcert.nonlinear import ACTIVATIONS
from lipcert.operators import Dense, Diagonal, Indexing, Shape


def trained(graph: Graph) -> Graph:
    """The same graph with every matrix a parameter of its own."""
    nodes = []
    for node in graph.nodes:
        operator = node.operation.operator if isinstance(node.operation, Affine) else None
        if isinstance(operator, Dense):
            origin = Origin(node.output, tuple(operator.weight.shape))
            node = replace(node, parameters=(origin.name,), origins=(origin,))
        nodes.append(node)
    held = {origin.name: origin.shape for node in nodes for origin in node.origins}
    return replace(graph, nodes=tuple(nodes), initialisers=held)


class Drawing:
    """A graph drawn node by node."""

    def __init__(self, *input_shape: int) -> None:
        self.shapes: dict[str, Shape] = {"x": input_shape}
        self.nodes: list[Node] = []

    def add(self, operation: Operation, *inputs: str, shape: Shape | None = None) -> str:
        name = f"v{len(self.nodes)}"
        if shape is None:
            shape = self.shapes[inputs[0]]
        if isinstance(operation, Affine):
            shape = operation.operator.out_shape
        self.nodes.append(Node(name, type(operation).__name__, operation, inputs, name, shape))
        self.shapes[name] = shape
        return name

    def matrix(self, weight: object, source: str = "x", bias: object = None) -> str:
        tensor = torch.as_tensor(np.asarray(weight), dtype=torch.float64)
        shift = None if bias is None else torch.as_tensor(np.asarray(bias), dtype=torch.float64)
        return self.add(Affine(Dense(tensor), shift), source)

    def relu(self, source: str) -> str:
        return self.add(ACTIVATIONS["Relu"](), source)

    def scaled(self, factor: float, source: str) -> str:
        number = torch.tensor(factor, dtype=torch.float64)
        return self.add(Affine(Diagonal(number, self.shapes[source])), source)

    def total(self, *sources: str) -> str:
        return self.add(Total(), *sources)

    def placed(self, source: str, start: int, size: int) -> str:
        """Embedded at ``start`` among zeros."""
        index = torch.full((size,), -1)
        count = math.prod(self.shapes[source])
        index[start : start + count] = torch.arange(count)
        return self.add(Affine(Indexing(index, self.shapes[source])), source)

    def trained(self, output: str) -> Graph:
        """The graph with every matrix a parameter of its own."""
        return trained(self.graph(output))

    def graph(self, output: str) -> Graph:
        return Graph("drawn", tuple(self.nodes), "x", output, self.shapes["x"], False, 17)
