"""A node's attributes, read with the type that the operator gives them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto

from lipcert.onnx_import.scope import Scope


class Attributes:
    """A node's attributes, read with the type that the operator gives them."""

    def __init__(self, node: NodeProto, scope: Scope) -> None:
        self._scope = scope
        self._values: dict[str, Any] = {}
        for attribute in node.attribute:
            try:
                self._values[attribute.name] = onnx.helper.get_attribute_value(attribute)
            except ValueError as error:
                raise scope.refuse(f"attribute {attribute.name!r} cannot be read") from error

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def integer(self, name: str, default: int) -> int:
        """An INT attribute."""
        return int(self._typed(name, default, int))

    def flag(self, name: str, default: int) -> int:
        """An INT attribute that must be 0 or 1: runtimes read other values differently."""
        value = self.integer(name, default)
        if value not in (0, 1):
            raise self._scope.refuse(f"attribute {name!r} is {value}, neither 0 nor 1")
        return value

    def number(self, name: str, default: float) -> float:
        """A finite FLOAT attribute: the float32 that the file holds, or the default is, exactly."""
        number = float(np.float32(self._typed(name, default, float)))
        if not math.isfinite(number):
            raise self._scope.refuse(f"attribute {name!r} is {number}")
        return number

    def limit(self, name: str, default: float) -> float:
        """A FLOAT attribute that may be infinite."""
        number = float(self._typed(name, default, float))
        if math.isnan(number):
            raise self._scope.refuse(f"attribute {name!r} is not a number")
        return number

    def numbers(self, name: str) -> list[float]:
        """A FLOATS attribute, every entry finite; empty when it is absent."""
        values = self._typed(name, [], list)
        if not all(isinstance(value, float) and math.isfinite(value) for value in values):
            raise self._scope.refuse(f"attribute {name!r} does not hold finite numbers")
        return [float(value) for value in values]

    def text(self, name: str, default: str) -> str:
        """A STRING attribute."""
        value = self._typed(name, default.encode(), bytes)
        return str(value.decode(errors="replace"))

    def integers(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """An INTS attribute."""
        values = self._typed(name, list(default), list)
        if not all(isinstance(value, int) for value in values):
            raise self._scope.refuse(f"attribute {name!r} does not hold integers")
        return tuple(values)

    def _typed(self, name: str, default: object, kind: type) -> Any:
        value = self._values.get(name, default)
        if not isinstance(value, kind):
            raise self._scope.refuse(f"attribute {name!r} is not of type {kind.__name__}")
        return value
