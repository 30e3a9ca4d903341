"""Packages that only some formats need: imported when such a file is opened."""

from __future__ import annotations

import importlib
from typing import Any

from lipcert.errors import InputError

INSTALL = "pip install 'lipcert[data]'"


def imported(module: str, place: str) -> Any:
    """The module, or a sentence on how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        package = {"PIL": "pillow"}.get(module.split(".")[0], module.split(".")[0])
        raise InputError(place, f"needs the package {package} to be read", INSTALL) from None
