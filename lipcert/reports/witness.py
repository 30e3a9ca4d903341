"""A refuted certificate as a file that can be looked into and handed on."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lipcert.certification.shards import Witness


def witness_npz(witness: Witness) -> bytes:
    """An ``.npz``: sample and perturbed sample (data's units), label, index, size and radius."""
    import numpy as np

    file = io.BytesIO()
    np.savez(
        file,
        x=witness.sample[None],
        y=np.array([witness.label]),
        perturbed=witness.perturbed[None],
        index=np.array(witness.index),
        size=np.array(witness.size),
        radius=np.array(witness.radius),
    )
    return file.getvalue()
