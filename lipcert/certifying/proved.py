"""What is proved about a model before its data are looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from lipcert.api import bound, inspect, norm_settings
from lipcert.bounds.context import BoundContext, Progress
from lipcert.bounds.result import LipschitzBound
from lipcert.certification.float32 import Known, checked_network
from lipcert.certifying.settings import Settings
from lipcert.certifying.surroundings import surroundings
from lipcert.errors import UnboundedError
from lipcert.graph import Graph
from lipcert.inspection import Layer


@dataclass(frozen=True)
class Proved:
    """The bound of the logits, pairwise constants included, and the layers for reports.

    ``known`` are constants around every value that float32 rounds, None in real arithmetic.
    """

    bound: LipschitzBound
    layers: tuple[Layer, ...]
    known: Known | None = None

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
        return cls(LipschitzBound(**fields), tuple(layers), record["known"])


def prove(
    graph: Graph,
    deployed: str | bytes,
    settings: Settings,
    *,
    details: bool,
    progress: Progress,
) -> Proved:
    """Bound the certified map's logits and, for ``details``, inspect the layers.

    Raises UnboundedError where there is no finite bound.
    """
    certified = settings.rules.certified(graph)
    found = bound(
        certified,
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
    known = None
    if settings.semantics == "float32":
        network = checked_network(graph, deployed, settings.normalization)
        norms = norm_settings("l2", settings.spectral, settings.device, settings.time_limit)
        context = BoundContext("l2", norms, progress, settings.solver)
        known = surroundings(certified, network, context)
    return Proved(found, layers, known)
