"""JSON: one object, its schema named in it, every key on a line of its own.

Infinity is the string "inf" and NaN is null, so every JSON parser reads it.  Numbers have full
precision.  The schemas are in ``docs/schemas``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from lipcert.reports.formats import renders

if TYPE_CHECKING:
    from lipcert.bounds.result import LipschitzBound, ProofFacts
    from lipcert.inspection import Inspection, Layer

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


def bound_object(bound: LipschitzBound) -> dict[str, Json]:
    """The object of ``lipcert bound``: schema lipcert/bound/1."""
    return plain_object(
        {
            "schema": "lipcert/bound/1",
            "model": bound.model,
            "model_sha256": bound.model_sha256,
            "output": bound.output,
            "value": bound.value,
            "lower": bound.lower,
            "ratio": bound.ratio,
            "norm": bound.norm,
            "semantics": bound.semantics,
            "method": bound.method,
            "methods": bound.methods,
            "details": bound.details,
            "exact": bound.exact,
            "obstacle": bound.obstacle and dataclasses.asdict(bound.obstacle),
            "pairwise": bound.pairwise,
            "proof": bound.proof and proof_object(bound.proof),
            "spectral": bound.spectral,
            "device": bound.device,
            "seconds": bound.seconds,
            "versions": bound.versions,
        }
    )


def proof_object(proof: ProofFacts) -> dict[str, Json]:
    """What a proof file proves; of where it is only the command tells."""
    return plain_object(
        {
            "file": proof.file or None,
            "format": proof.format or None,
            "check": proof.check or None,
            "constant": str(proof.constant),
            "value": proof.value,
            "method": proof.method,
            "claims": proof.claims,
            "bytes": proof.size,
            "sha256": proof.sha256,
        }
    )


def inspection_object(inspection: Inspection) -> dict[str, Json]:
    """The object of ``lipcert inspect``: schema lipcert/inspect/1."""
    return plain_object(
        {
            "schema": "lipcert/inspect/1",
            "model": inspection.model,
            "model_sha256": inspection.model_sha256,
            "opset": inspection.opset,
            "input_shape": inspection.input_shape,
            "output_shape": inspection.output_shape,
            "parameters": inspection.parameters,
            "norm": inspection.norm,
            "layers": [layer_object(layer) for layer in inspection.layers],
            "factors": [dataclasses.asdict(factor) for factor in inspection.factors],
            "product": inspection.product,
            "obstacles": [dataclasses.asdict(obstacle) for obstacle in inspection.obstacles],
            "blocks": [
                {
                    "name": block.name,
                    "start": block.start,
                    "branch": block.branch,
                    "norm": block.norm,
                    "invertible": block.is_invertible,
                    "inverse": block.inverse if block.is_invertible else None,
                }
                for block in inspection.blocks
            ],
        }
    )


def layer_object(layer: Layer) -> dict[str, object]:
    """One layer of a model, in ``inspect`` and ``certify``."""
    return {
        "name": layer.name,
        "onnx_type": layer.onnx_type,
        "output_shape": layer.output_shape,
        "parameters": layer.parameters,
        "linear": layer.linear,
        "norm": layer.norm,
        "how": layer.how,
        "slopes": layer.slopes,
        "contraction": layer.is_contraction,
        "obstacle": layer.obstacle or None,
    }


def plain_object(values: Mapping[str, object]) -> dict[str, Json]:
    """Every value in JSON's own types."""
    return {key: plain(value) for key, value in values.items()}


def plain(value: object) -> Json:
    """A value in JSON's own types.  Raises TypeError for what has no place in them."""
    if isinstance(value, (bool, str, type(None))):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        return number if math.isfinite(number) else None if math.isnan(number) else str(number)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def written(values: Mapping[str, Json]) -> str:
    """An object as text: a line for each key, and for each row of a list of lists or objects."""
    lines = [f"  {json.dumps(key)}: {_rows(value)}" for key, value in values.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _rows(value: Json) -> str:
    if isinstance(value, list) and value and isinstance(value[0], (list, dict)):
        rows = ",\n".join(f"    {json.dumps(row, allow_nan=False)}" for row in value)
        return f"[\n{rows}\n  ]"
    return json.dumps(value, allow_nan=False)


@renders("json", "Inspection")
def inspection_json(inspection: Inspection) -> str:
    """Schema lipcert/inspect/1."""
    return written(inspection_object(inspection))


@renders("json", "LipschitzBound")
def bound_json(bound: LipschitzBound) -> str:
    """Schema lipcert/bound/1."""
    return written(bound_object(bound))
