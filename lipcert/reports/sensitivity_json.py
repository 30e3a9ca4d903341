"""Sensitivities as JSON: schema lipcert/sensitivity/1, with all that a training script needs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from lipcert.reports.formats import renders
from lipcert.reports.json_format import Json, plain_object, written

if TYPE_CHECKING:
    from lipcert.sensitivities.analysis import Analysis
    from lipcert.sensitivities.comparison import Largest


@renders("json", "Analysis")
def analysis_json(analysis: Analysis) -> str:
    """Schema lipcert/sensitivity/1."""
    return written(analysis_object(analysis))


def analysis_object(analysis: Analysis) -> dict[str, Json]:
    """The object of ``lipcert sensitivity``: schema lipcert/sensitivity/1."""
    found, privacy = analysis.sensitivities, analysis.privacy
    accounted = {} if privacy is None else _accounting(privacy.record())
    return plain_object(
        {
            "schema": "lipcert/sensitivity/1",
            "model": found.model,
            "model_sha256": found.model_sha256,
            "loss": found.loss,
            "loss_lipschitz": found.loss_lipschitz,
            "input_bound": found.input_bound,
            "input_kind": found.input_kind,
            "is_private": found.is_private,
            "semantics": found.semantics,
            "global": found.global_delta,
            "plain": found.plain_delta,
            "gains": found.gains,
            "layers": [
                {
                    "name": layer.name,
                    "onnx_type": layer.onnx_type,
                    "X": layer.X,
                    "G": layer.G,
                    "delta": layer.delta,
                    "how_X": layer.how_X,
                    "how_G": layer.how_G,
                    "parameters": [
                        {"name": one.name, "delta": one.delta} for one in layer.parameters
                    ],
                }
                for layer in found.layers
            ],
            "parameters": [dataclasses.asdict(one) for one in found.parameters],
            **accounted,
            "truth": _comparison(analysis),
            "device": found.device,
            "versions": found.versions,
        }
    )


def _accounting(record: dict[str, object]) -> dict[str, object]:
    """ε and σ at the top, where scripts look for them, and the rest of the account below."""
    rest = {k: v for k, v in record.items() if k not in ("epsilon", "noise_multiplier")}
    return {
        "epsilon": record["epsilon"],
        "noise_multiplier": record["noise_multiplier"],
        "accounting": rest,
    }


def _comparison(analysis: Analysis) -> dict[str, object] | None:
    compared = analysis.comparison
    if compared is None:
        return None
    return {
        "data": compared.data,
        "samples": compared.samples,
        "total": _largest(compared.total),
        "layers": [_largest(one) for one in compared.layers],
        "parameters": [_largest(one) for one in compared.parameters],
        "searched": None if compared.searched is None else _largest(compared.searched),
        "left_out": list(compared.left_out),
    }


def _largest(found: Largest) -> dict[str, object]:
    return {**dataclasses.asdict(found), "ratio": found.ratio}
