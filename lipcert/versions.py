"""Versions that results depend on."""

from __future__ import annotations

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("lipcert", "torch", "numpy", "onnx", "onnxruntime")


def versions() -> dict[str, str]:
    """Versions of lipcert, of what it computes with, and of Python."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
