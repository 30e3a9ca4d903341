"""From sensitivities to privacy: noise, its allocation, and accounting."""

from lipcert.sensitivities.privacy.accountants import ACCOUNTANTS
from lipcert.sensitivities.privacy.allocations import ALLOCATIONS, NoiseGroup, effective_below
from lipcert.sensitivities.privacy.assumptions import assumptions
from lipcert.sensitivities.privacy.calibration import epsilon, noise_multiplier_for
from lipcert.sensitivities.privacy.result import LayerNoise, PrivacyResult, account
from lipcert.sensitivities.privacy.settings import PrivacySettings

__all__ = [
    "ACCOUNTANTS",
    "ALLOCATIONS",
    "LayerNoise",
    "NoiseGroup",
    "PrivacyResult",
    "PrivacySettings",
    "account",
    "assumptions",
    "effective_below",
    "epsilon",
    "noise_multiplier_for",
]
