"""The tightenings by name; free of torch, as reports need their words."""

from __future__ import annotations

TIGHTENINGS = {
    "affine": "the largest norm of dense layers, exactly",
    "activations": "the largest norm of sigmoid and tanh layers, exactly",
    "centre": "distance to the value at the input set's centre",
    "stretches": "norms of whole linear stretches behind a layer",
    "suffix": "constants of all that follows a layer",
    "lipsdp": "LipSDP for what precedes and what follows a layer",
    "usage": "how often a kernel's taps and inputs are really used",
    "head": "the last layer taken together with the loss",
}
"""What makes the bounds tighter than the algorithm as published, and what it is."""

PLAIN = frozenset({"usage"})
"""The published algorithm; its count √s of taps does not hold with reflection, so √min(U, V)."""
