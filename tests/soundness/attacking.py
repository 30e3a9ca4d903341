"""Attacks on radii that the checker proves: gradient steps on the sphere, in float64 and float32."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from lipcert.checker.certificates import judged
from lipcert.checker.proof import Checker
from lipcert.graph import Graph

Floats = NDArray[np.float64]
STEPS = 12
SHORT = 1.0 - 1e-9


@dataclass(frozen=True, eq=False)
class Radii:
    """Classes and radii ``(N,)`` of samples, for real arithmetic and for float32."""

    classes: NDArray[np.int64]
    real: Floats
    float32: Floats


def radii_of(checker: Checker, x: np.ndarray, batch: int = 64) -> Radii:
    """The largest radii that the checker accepts, but for 1e-9."""
    parts = []
    for start in range(0, len(x), batch):
        own = x[start : start + batch]
        best, behind, slope = judged(checker, own, "real", np.zeros(len(own)))
        real = smallest(behind, slope)
        _, left, steeper = judged(checker, own, "float32", real)
        parts.append((best, real, np.minimum(real, smallest(left, steeper))))
    return Radii(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def smallest(behind: Floats, slope: Floats) -> Floats:
    with np.errstate(over="ignore", divide="ignore"):
        found: Floats = (behind / slope).min(1) * SHORT
    return found


def lead(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """How far the class is ahead of the best other ``(N,)``; of one logit, by its sign."""
    if logits.shape[1] == 1:
        return torch.where(classes == 1, logits[:, 0], -logits[:, 0])
    own = torch.gather(logits, 1, classes[:, None])[:, 0]
    others = logits.scatter(1, classes[:, None], -torch.inf).max(1).values
    return own - others


def attacked(
    graph: Graph, x: np.ndarray, classes: NDArray[np.int64], radii: Floats, seed: int
) -> tuple[Floats, Floats]:
    """The worst points found within radii ``(N, *shape)``, and the lead there in float64."""
    torch.manual_seed(seed)
    centre, own = torch.from_numpy(x.astype(np.float64)), torch.from_numpy(classes)
    size = torch.from_numpy(radii).reshape(-1, *(1,) * (x.ndim - 1))
    worst = torch.full((len(x),), torch.inf, dtype=torch.float64)
    points = centre.clone()
    for start in (torch.zeros_like(centre), torch.randn_like(centre)):
        point = centre + sphere(start, size)
        for step in range(STEPS + 1):
            point.requires_grad_(True)
            found = lead(graph.evaluate(point).reshape(len(x), -1), own)
            (gradient,) = torch.autograd.grad(found.sum(), point)
            better = found.detach() < worst
            points[better], worst[better] = point.detach()[better], found.detach()[better]
            if step < STEPS:
                move = (point.detach() - centre) - 2.0 / (1 + step) * sphere(gradient, size)
                point = centre + sphere(move, size)
    return points.numpy(), worst.numpy()


def sphere(directions: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
    """The directions, of length ``size`` each; zero stays zero."""
    flat = directions.reshape(len(directions), -1)
    scale = flat.abs().amax(1, keepdim=True).clamp(min=1e-300)
    length = torch.linalg.vector_norm(flat / scale, dim=1, keepdim=True).clamp(min=1.0) * scale
    return (flat / length).reshape(directions.shape) * size


def rounded_inside(points: np.ndarray, x: np.ndarray, radii: Floats) -> tuple[np.ndarray, Floats]:
    """Points as float32, and which of them are still within the radius, for sure."""
    near = points.astype(np.float32)
    off = (near.astype(np.float64) - x.astype(np.float64)).reshape(len(x), -1)
    inside = np.linalg.norm(off, axis=1) * (1.0 + 1e-12) <= radii
    return near, inside


def sessions(content: bytes) -> list[onnxruntime.InferenceSession]:
    """ONNX Runtime node by node, and with all of its rewrites that keep float32."""
    found = []
    levels = onnxruntime.GraphOptimizationLevel
    for level in (levels.ORT_DISABLE_ALL, levels.ORT_ENABLE_BASIC):
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 4, 1
        options.graph_optimization_level = level
        found.append(
            onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        )
    return found


def decided(outputs: np.ndarray, *, sigmoid: bool) -> NDArray[np.int64]:
    """Classes of a deployed model's outputs."""
    outputs = outputs.reshape(len(outputs), -1)
    if outputs.shape[1] == 1:
        return (outputs[:, 0] > (0.5 if sigmoid else 0.0)).astype(np.int64)
    return outputs.argmax(1)
