"""The multipliers of a solved matrix inequality, stage by stage, for a proof by other means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from lipcert.conic.problem import ScaledProblem
from lipcert.signals import SignalForm


@dataclass(frozen=True, eq=False)
class StageMultipliers:
    """Weights of ``|v_i|² − |R_i|²``, R the remainder of ``φ = c·id + r·R``, for ``ρ = 1``.

    Those of all stages together are feasible for the one inequality of the whole model, however
    it was cut: what blocks say of the values between them adds up.

    Parameters
    ----------
    best : of the bound, one for each element of the pre-activation.
    inside : others, with room to spare.
    """

    best: np.ndarray
    inside: np.ndarray


def multipliers_by_stage(
    parts: list[SignalForm], scaled: ScaledProblem, y: Tensor, inside: Tensor
) -> dict[str, StageMultipliers] | None:
    """By the name of each stage's output; None where one does not act element by element.

    Parameters
    ----------
    parts : the models of the blocks, in order.
    y, inside : scaled multipliers.
    """
    stages = [stage for part in parts for stage in part.stages]
    if any(stage.nonlinearity.slopes is None for stage in stages):
        return None
    found = {}
    for part, block in zip(parts, scaled.problem.blocks, strict=True):
        tables = [
            _ratios(scaled, block.row_weight * own[block.row_index], own) for own in (y, inside)
        ]
        start = 0
        for stage in part.stages:
            own = slice(start, start + stage.input_size)
            found[stage.node.output] = StageMultipliers(*(table[own] for table in tables))
            start = own.stop
    return found


def _ratios(scaled: ScaledProblem, weights: Tensor, y: Tensor) -> np.ndarray:
    ratios: np.ndarray = (weights / (y[0] * scaled.unit[0])).cpu().numpy()
    return ratios
