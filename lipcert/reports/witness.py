"""What contradicts a proof, as a file that can be looked into and handed on."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np


class Witness(Protocol):
    """A perturbation inside a certified radius, or an example with too steep a gradient."""

    def arrays(self) -> Mapping[str, np.ndarray]:
        """What a file of it holds, by name."""


def witness_npz(witness: Witness) -> bytes:
    """An ``.npz`` of the witness's arrays: ``x`` and ``y`` are a data set of one sample."""
    import numpy as np

    file = io.BytesIO()
    arrays: dict[str, Any] = dict(witness.arrays())
    np.savez(file, **arrays)
    return file.getvalue()
