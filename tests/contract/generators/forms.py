"""Signal forms run as they stand, biases left out: every signal at a batch of inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lipcert.signals import SignalForm, Stage, Terms


def read(terms: Terms, signals: list[Tensor]) -> Tensor:
    """``Σ_j A_j z_j`` of a batch."""
    parts = [A.apply(signals[j].reshape(-1, *A.in_shape)) for j, A in terms.items()]
    return torch.stack(parts).sum(0)


def bent(stage: Stage, v: Tensor) -> Tensor:
    """``φ(v)`` of a batch, several inputs of φ lying behind one another in v."""
    flat, inputs, start = v.reshape(len(v), -1), [], 0
    for shape in stage.input_shapes:
        stop = start + math.prod(shape)
        inputs.append(flat[:, start:stop].reshape(-1, *shape))
        start = stop
    return stage.nonlinearity.evaluate(*inputs)


def signals_of(form: SignalForm, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """All signals and the output, flat, for a batch of inputs."""
    signals = [x.reshape(len(x), -1)]
    for stage in form.stages:
        signals.append(bent(stage, read(stage.terms, signals)).reshape(len(x), -1))
    return signals, read(form.output_terms, signals).reshape(len(x), -1)


def differences_of(form: SignalForm, seed: int, count: int = 60) -> tuple[list[Tensor], Tensor]:
    """Differences of all signals and of the output between random pairs, far and near."""
    generator = torch.Generator().manual_seed(seed)
    size = math.prod(form.input_shape)
    x = torch.randn(count, size, dtype=torch.float64, generator=generator)
    step = torch.randn(count, size, dtype=torch.float64, generator=generator)
    step *= torch.logspace(-2, 1, count, dtype=torch.float64)[:, None]
    (first, y), (second, z) = signals_of(form, 2.0 * x), signals_of(form, 2.0 * x + step)
    return [b - a for a, b in zip(first, second, strict=True)], z - y


def steepest_quotient(form: SignalForm, seed: int) -> float:
    """The largest quotient met, less what rounding may have added to it."""
    signals, risen = differences_of(form, seed, 200)
    best = float((risen.norm(dim=1) / signals[0].norm(dim=1)).max())
    return best * (1.0 - 1e-9) - 1e-12
