"""Settings shared by all tests."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "contract"))  # for the package `generators`

settings.register_profile("lipcert", deadline=None, derandomize=True, database=None)
settings.load_profile("lipcert")

# thousands of small problems: threads that wait for each other cost more than they give
torch.set_num_threads(1)
