"""Joining maxima with the minima of the same operands: MaxMin, however an exporter wrote it."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from lipcert.graph import Affine, Node
from lipcert.nonlinear import Extremes, GroupMax, Larger, MaxMin, Nonlinearity
from lipcert.operators import Indexing, Shape


def pair_extrema(nodes: list[Node]) -> list[Node]:
    """Replace each maximum and minimum of the same operands by one joint node and two halves.

    Taken apart the two cost √2; jointly they are 1-Lipschitz.
    """
    minima = {_key(node): node for node in nodes if _sign(node.operation) == -1.0 and _pairs(node)}
    place = {node.output: position for position, node in enumerate(nodes)}
    joined: dict[str, list[Node]] = {}
    for node in nodes:
        largest = _sign(node.operation) == 1.0 and _pairs(node)
        partner = minima.get(_key(node)) if largest else None
        if partner is None or partner.output in joined:
            continue
        first, second = sorted((node, partner), key=lambda item: place[item.output])
        stacked = f"{node.output}/joint"
        while stacked in place:
            stacked += "_"
        joined[first.output] = _joint(node, partner, stacked)
        joined[second.output] = []
    return [part for node in nodes for part in joined.get(node.output, [node])]


def _sign(operation: object) -> float:
    return operation.sign if isinstance(operation, Larger | GroupMax) else 0.0


def _pairs(node: Node) -> bool:
    return isinstance(node.operation, GroupMax) or len(node.inputs) == 2


def _key(node: Node) -> tuple[object, ...]:
    if isinstance(node.operation, GroupMax):
        return ("group", node.inputs, node.operation.axes)
    return ("pair", frozenset(node.inputs))


def _joint(largest: Node, smallest: Node, stacked: str) -> list[Node]:
    operation: Nonlinearity = MaxMin()
    if isinstance(largest.operation, GroupMax):
        operation = Extremes(largest.operation.axes)
    shape: Shape = (2, *largest.shape)
    joint = replace(largest, operation=operation, output=stacked, shape=shape, onnx_type="MaxMin")
    size = math.prod(largest.shape)
    halves = [
        replace(
            node,
            operation=Affine(
                Indexing(torch.arange(start, start + size).reshape(node.shape), shape)
            ),
            inputs=(stacked,),
        )
        for node, start in ((largest, 0), (smallest, size))
    ]
    return [joint, *halves]
