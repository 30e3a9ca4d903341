"""Settings shared by all tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# thousands of small problems, in processes side by side and in the commands that they start:
# threads that wait for each other cost more than they give
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent / "contract"))  # for the package `generators`

settings.register_profile("lipcert", deadline=None, derandomize=True, database=None)
settings.load_profile("lipcert")

torch.set_num_threads(1)
