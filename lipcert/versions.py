"""Versions that results depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("lipcert", "torch", "numpy", "onnx", "onnxruntime")


def versions() -> dict[str, str]:
    """Versions of lipcert, of what it computes with, and of Python."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
