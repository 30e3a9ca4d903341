"""An independent checker of lipcert's proofs.

It imports nothing else of lipcert, and of other packages numpy alone: copied anywhere as a folder
``checker``, ``python -m checker FILE MODEL [DATA]`` works.  Every answer rests on exact integer
arithmetic, on bounds of what integers leave out that are rounded upward, and on the correctness of
Python, numpy and these files; docs/proof.md says what is proved and what must be trusted.
"""

from __future__ import annotations

from .verdict import Verdict, check

__all__ = ["Verdict", "check"]
