"""The table of ONNX operators that lipcert reads."""

from __future__ import annotations

from collections.abc import Callable

from onnx import NodeProto

from lipcert.onnx_import.scope import Scope
from lipcert.registry import Registry

Importer = Callable[[NodeProto, Scope], None]

IMPORTERS: Registry[Importer] = Registry("ONNX operator")
"""``IMPORTERS[op_type](node, scope)`` appends the node's operations to the scope."""
