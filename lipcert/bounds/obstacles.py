"""What keeps a bound from being finite."""

from __future__ import annotations

from dataclasses import dataclass

from lipcert.signals import SignalForm


@dataclass(frozen=True)
class Obstacle:
    """What keeps a bound from being finite: the node, why, and what would help."""

    node: str
    onnx_type: str
    finding: str
    help: str

    def __str__(self) -> str:
        return f"node {self.node!r} ({self.onnx_type}) {self.finding}; {self.help}"


def obstacles_of(form: SignalForm) -> tuple[Obstacle, ...]:
    """Every nonlinearity without a finite constant, in order."""
    return tuple(
        Obstacle(
            stage.node.name,
            stage.node.onnx_type,
            stage.nonlinearity.obstacle,
            stage.nonlinearity.help,
        )
        for stage in form.stages
        if stage.nonlinearity.obstacle
    )
