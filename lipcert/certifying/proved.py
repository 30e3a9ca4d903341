"""What is proved about a model before its data are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from lipcert.api import bound, inspect
from lipcert.bounds.context import Progress
from lipcert.bounds.result import LipschitzBound
from lipcert.certifying.settings import Settings
from lipcert.errors import UnboundedError
from lipcert.graph import Graph
from lipcert.inspection import Layer


@dataclass(frozen=True)
class Proved:
    """The bound of the logits, pairwise constants included, and the layers for reports."""

    bound: LipschitzBound
    layers: tuple[Layer, ...]

    def record(self) -> dict[str, Any]:
        """In JSON's types, floats exactly; multipliers are left out."""
        return asdict(replace(self, bound=replace(self.bound, multipliers=None)))

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Proved:
        """What :meth:`record` gave."""
        fields = dict(record["bound"])
        if fields["pairwise"] is not None:
            fields["pairwise"] = tuple(map(tuple, fields["pairwise"]))
        layers = [
            Layer(
                **{
                    **layer,
                    "output_shape": tuple(layer["output_shape"]),
                    "slopes": layer["slopes"] and tuple(layer["slopes"]),
                }
            )
            for layer in record["layers"]
        ]
        return cls(LipschitzBound(**fields), tuple(layers))


def prove(graph: Graph, settings: Settings, *, details: bool, progress: Progress) -> Proved:
    """Bound the certified map's logits and, for ``details``, inspect the layers.

    Raises UnboundedError where there is no finite bound.
    """
    found = bound(
        settings.rules.certified(graph),
        norm=settings.norm,
        method=settings.method,
        spectral=settings.spectral,
        pairwise=graph.outputs > 1,
        logits=True,
        device=settings.device,
        time_limit=settings.time_limit,
        solver=settings.solver,
        lower_seconds=0.0,
        progress=progress,
    )
    if not found.is_finite:
        raise UnboundedError(graph.name, f"no finite {settings.norm} bound: {found.obstacle}")
    layers: tuple[Layer, ...] = ()
    if details:
        inspection = inspect(
            graph,
            norm=settings.norm,
            spectral=settings.spectral,
            device=settings.device,
            progress=progress,
        )
        layers = inspection.layers
    return Proved(found, layers)
