"""What goes into a model and comes out: its one input, its output, its shape for one sample."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import onnx
from onnx import ModelProto, TensorProto, ValueInfoProto

from lipcert.errors import InputError, UnsupportedError
from lipcert.onnx_import.room import MAX_SIGNAL
from lipcert.operators import Shape

STANDARD_DOMAINS = ("", "ai.onnx")
REAL = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


@dataclass(frozen=True)
class Signature:
    """The input for one sample.

    Parameters
    ----------
    name : of the input value.
    shape : with a batch of one in front where ``batched``.
    batched : whether axis 0 is the batch.
    batch : the batch that the file fixes; 1 where it leaves it open.
    """

    name: str
    shape: Shape
    batched: bool
    batch: int


def read_opset(model: ModelProto, name: str) -> int:
    """Version of the standard operator set."""
    versions = {o.version for o in model.opset_import if o.domain in STANDARD_DOMAINS}
    newest = onnx.defs.onnx_opset_version()
    if not versions:
        raise InputError(
            name, "does not say which ONNX operator set it uses", "export the model again"
        )
    if len(versions) > 1 or not 7 <= max(versions) <= newest:
        listed = ", ".join(str(version) for version in sorted(versions))
        raise InputError(
            name,
            f"uses ONNX operator set {listed}",
            f"one of 7 to {newest} is read; convert or export it again",
        )
    return int(max(versions))


def single_input(model: ModelProto, constants: Container[str], name: str) -> ValueInfoProto:
    """The model's only input that is not an initialiser; it must be a real tensor."""
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1:
        listed = ", ".join(value.name for value in inputs) or "none"
        raise UnsupportedError(
            name,
            f"has {len(inputs)} inputs ({listed})",
            "a bound needs exactly one; make the others constants when exporting",
        )
    signal: ValueInfoProto = inputs[0]
    kind = signal.type.tensor_type.elem_type
    if kind not in REAL:
        known = kind in TensorProto.DataType.values()
        named = TensorProto.DataType.Name(kind) if known else str(kind)
        raise UnsupportedError(
            name,
            f"its input {signal.name!r} has type {named}",
            "a Lipschitz constant needs a real input; start after the embedding or the cast",
        )
    return signal


def single_output(model: ModelProto, output: str | None, name: str) -> str:
    """The output asked for, or the only one."""
    names: list[str] = [value.name for value in model.graph.output]
    if output is not None:
        if output not in names:
            raise InputError(name, f"has no output {output!r}", f"choose of: {', '.join(names)}")
        return output
    if len(names) != 1:
        raise UnsupportedError(
            name, f"has {len(names)} outputs ({', '.join(names)})", "choose one with --output NAME"
        )
    return names[0]


def read_signature(
    signal: ValueInfoProto, model: ModelProto, target: str, wanted: Shape | None, name: str
) -> Signature:
    """The input's shape for one sample, from the file or as given by the caller."""
    place = f"{name}, input {signal.name!r}"
    tensor = signal.type.tensor_type
    dims: list[int | None] | None = None
    if tensor.HasField("shape"):
        dims = [d.dim_value if d.dim_value > 0 else None for d in tensor.shape.dim]
    if wanted is not None:
        return _checked(_as_given(signal.name, dims, wanted, place), place)
    if dims is None:
        raise InputError(place, "has no shape", "give the shape of a sample with --input-shape")
    if None in dims[1:]:
        free = [str(axis) for axis, d in enumerate(dims) if d is None and axis > 0]
        raise InputError(
            place,
            f"has dynamic sizes on axes {', '.join(free)}",
            "give the shape of a sample with --input-shape, or export with fixed sizes",
        )
    rest = tuple(d for d in dims[1:] if d is not None)
    batch = dims[0] if dims else 1
    if len(dims) < 2 and batch is not None:
        return _checked(Signature(signal.name, (batch,) if dims else (), False, 1), place)
    if batch is None or batch == 1:
        return _checked(Signature(signal.name, (1, *rest), True, 1), place)
    if _leading(model, target) == batch:
        return _checked(Signature(signal.name, (1, *rest), True, batch), place)
    return _checked(Signature(signal.name, (batch, *rest), False, 1), place)


def _leading(model: ModelProto, target: str) -> int | None:
    result = next(value for value in model.graph.output if value.name == target)
    dims = result.type.tensor_type.shape.dim
    return dims[0].dim_value if dims else None


def _as_given(name: str, dims: list[int | None] | None, wanted: Shape, place: str) -> Signature:
    if min(wanted, default=1) < 1:
        raise InputError(place, f"cannot have the shape {wanted}", "give positive sizes")
    batched = dims is None or len(dims) == len(wanted) + 1
    full = (1, *wanted) if batched else wanted
    declared = [None] * len(full) if dims is None else dims
    fits = len(declared) == len(full) and all(
        d in (None, size) for d, size in zip(declared[batched:], wanted, strict=True)
    )
    if not fits:
        raise InputError(
            place,
            f"the shape {wanted} given does not fit the declared {dims}",
            "give the shape of one sample, without the batch",
        )
    batch = declared[0] if batched else 1
    return Signature(name, full, batched, batch or 1)


def _checked(signature: Signature, place: str) -> Signature:
    count = 1
    for size in signature.shape:
        count *= size
    if count > MAX_SIGNAL:
        raise InputError(place, f"declares the shape {signature.shape}", "export a smaller model")
    return signature
