"""From sensitivities to privacy: noise, its allocation, and accounting."""

from lipcert.sensitivity.privacy.accountants import ACCOUNTANTS
from lipcert.sensitivity.privacy.allocations import ALLOCATIONS, LayerSensitivity, effective_below
from lipcert.sensitivity.privacy.assumptions import assumptions
from lipcert.sensitivity.privacy.calibration import epsilon, noise_multiplier_for
from lipcert.sensitivity.privacy.result import LayerNoise, PrivacyResult, account
from lipcert.sensitivity.privacy.settings import PrivacySettings

__all__ = [
    "ACCOUNTANTS",
    "ALLOCATIONS",
    "LayerNoise",
    "LayerSensitivity",
    "PrivacyResult",
    "PrivacySettings",
    "account",
    "assumptions",
    "effective_below",
    "epsilon",
    "noise_multiplier_for",
]
