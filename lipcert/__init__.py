"""lipcert: proven Lipschitz bounds and robustness certificates for trained ONNX models.

>>> import lipcert
>>> print(lipcert.bound("model.onnx"))            # doctest: +SKIP
>>> print(lipcert.certify("model.onnx", "test.npz", eps=["36/255"]))   # doctest: +SKIP
>>> lipcert.gate("lipcert.toml").is_met                                # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lipcert.api import bound, inspect, load
    from lipcert.bounds.obstacles import Obstacle
    from lipcert.bounds.result import LipschitzBound
    from lipcert.certification.attack import AttackSettings
    from lipcert.certification.normalization import Normalization
    from lipcert.certification.result import Certificates
    from lipcert.certifying import certify
    from lipcert.certifying.proof import CertificateProof, prove_certificates
    from lipcert.checker import Verdict, check
    from lipcert.errors import (
        InputError,
        LipcertError,
        NothingEvaluatedError,
        SolverError,
        SoundnessError,
        UnboundedError,
        UnsupportedError,
        WorkerError,
    )
    from lipcert.gating.gate import gate
    from lipcert.gating.result import GateResult
    from lipcert.inspection import Inspection
    from lipcert.proof import ProofFile, prove
    from lipcert.sensitivities.analysis import sensitivity
    from lipcert.sensitivities.losses import parse_loss
    from lipcert.sensitivities.privacy import PrivacySettings
    from lipcert.sensitivities.result import Sensitivities
    from lipcert.sensitivities.tracker import SensitivityTracker

_HOMES = {
    "load": "lipcert.api",
    "inspect": "lipcert.api",
    "bound": "lipcert.api",
    "certify": "lipcert.certifying",
    "prove_certificates": "lipcert.certifying.proof",
    "CertificateProof": "lipcert.certifying.proof",
    "prove": "lipcert.proof",
    "ProofFile": "lipcert.proof",
    "check": "lipcert.checker",
    "Verdict": "lipcert.checker",
    "LipschitzBound": "lipcert.bounds.result",
    "Obstacle": "lipcert.bounds.obstacles",
    "AttackSettings": "lipcert.certification.attack",
    "Certificates": "lipcert.certification.result",
    "Normalization": "lipcert.certification.normalization",
    "gate": "lipcert.gating.gate",
    "GateResult": "lipcert.gating.result",
    "sensitivity": "lipcert.sensitivities.analysis",
    "Sensitivities": "lipcert.sensitivities.result",
    "SensitivityTracker": "lipcert.sensitivities.tracker",
    "PrivacySettings": "lipcert.sensitivities.privacy",
    "parse_loss": "lipcert.sensitivities.losses",
    "Inspection": "lipcert.inspection",
    "LipcertError": "lipcert.errors",
    "InputError": "lipcert.errors",
    "UnsupportedError": "lipcert.errors",
    "UnboundedError": "lipcert.errors",
    "SolverError": "lipcert.errors",
    "NothingEvaluatedError": "lipcert.errors",
    "SoundnessError": "lipcert.errors",
    "WorkerError": "lipcert.errors",
}

__all__ = [
    "AttackSettings",
    "CertificateProof",
    "Certificates",
    "GateResult",
    "InputError",
    "Inspection",
    "LipcertError",
    "LipschitzBound",
    "Normalization",
    "NothingEvaluatedError",
    "Obstacle",
    "PrivacySettings",
    "ProofFile",
    "Sensitivities",
    "SensitivityTracker",
    "SolverError",
    "SoundnessError",
    "UnboundedError",
    "UnsupportedError",
    "Verdict",
    "WorkerError",
    "bound",
    "certify",
    "check",
    "gate",
    "inspect",
    "load",
    "parse_loss",
    "prove",
    "prove_certificates",
    "sensitivity",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import lipcert`` and ``lipcert --help`` stay fast."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'lipcert' has no attribute {name!r}")
