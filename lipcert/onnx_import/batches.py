"""Files with a fixed batch, read for one sample: the check that samples do not mix."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from lipcert.errors import LipcertError, UnsupportedError
from lipcert.graph import Graph
from lipcert.nonlinear import Extremes, MaxMin
from lipcert.onnx_import.room import MAX_SIGNAL
from lipcert.onnx_import.signature import Signature

REMEDY = "export with a batch size of 1 or a dynamic batch"
TOLERANCE = 1e-9


def check_batch_is_carried(
    graph: Graph, signature: Signature, build: Callable[[Signature], Graph]
) -> None:
    """Refuse a graph for one sample that is not what the file computes for each of its batch.

    Every value must keep its leading axis, and on random batches the file as it stands must give
    what the graph gives sample by sample.
    """
    for node in graph.nodes:
        joint = isinstance(node.operation, MaxMin | Extremes)
        if node.shape[joint : joint + 1] != (1,):
            raise UnsupportedError(
                f"node {node.name!r} ({node.onnx_type})",
                f"moves the fixed batch axis of size {signature.batch}",
                REMEDY,
            )
    place = f"{graph.name}, input {signature.name!r}"
    finding = f"has a fixed batch of {signature.batch} whose samples are mixed"
    whole_shape = (signature.batch, *signature.shape[1:])
    largest = max(math.prod(shape) for shape in (whole_shape[1:], *(n.shape for n in graph.nodes)))
    if signature.batch * largest > MAX_SIGNAL:
        raise UnsupportedError(place, f"has a fixed batch of {signature.batch}", REMEDY)
    try:
        whole = build(Signature(signature.name, whole_shape, False, 1))
    except LipcertError as error:
        raise UnsupportedError(place, f"{finding} ({error.finding})", REMEDY) from error
    generator = torch.Generator().manual_seed(0)
    for scale in (0.1, 1.0, 10.0):
        x = scale * torch.randn(whole_shape, generator=generator, dtype=torch.float64)
        apart, together = graph.evaluate(x), whole.evaluate(x[None])
        if together.numel() != apart.numel():
            raise UnsupportedError(place, finding, REMEDY)
        difference = (together.reshape(apart.shape) - apart).abs().max()
        if not difference <= TOLERANCE * (1.0 + apart.abs().max()):
            raise UnsupportedError(place, finding, REMEDY)
