"""Sensitivities: how far one example can move each parameter's gradient."""

from __future__ import annotations

from dataclasses import dataclass, field

from lipcert.operators import Shape


@dataclass(frozen=True)
class ParameterSensitivity:
    """A bound of the l2 norm of one example's loss gradient in one initialiser.

    Parameters
    ----------
    name : of the ONNX initialiser.
    shape : as the file holds it.
    delta : the bound; summed over ``uses`` where the initialiser is used more than once.
    uses : how many times it enters (in a layer: within that layer).
    """

    name: str
    shape: Shape
    delta: float
    uses: int = 1


@dataclass(frozen=True)
class LayerSensitivity:
    """The parameters of one ONNX node.

    Parameters
    ----------
    name : of the node.
    onnx_type : its ONNX operator.
    X : bound of the l2 norm of its input over the input set.
    G : bound of the l2 norm of the loss gradient at its output.
    delta : bound of the gradient's norm over all its parameters jointly, for this use of them.
    parameters : each of its parameters, for this use.
    how_X, how_G : which of the bounds was the smallest.
    """

    name: str
    onnx_type: str
    X: float
    G: float
    delta: float
    parameters: tuple[ParameterSensitivity, ...]
    how_X: str
    how_G: str


@dataclass(frozen=True, eq=False)
class Sensitivities:
    """Bounds of one example's loss gradient: per parameter, per layer and for the whole model.

    Parameters
    ----------
    model, model_sha256 : the model.
    loss : the loss, in words.
    loss_lipschitz : its Lipschitz constant in the model's output, per example.
    input_bound : bound of an input's l2 norm; ``input_kind`` says where it comes from.
    is_private : whether the bounds hold for every example, and not only for a data set's own.
    global_delta : bound of the norm of the gradient in all parameters together (add or remove one
        example; twice that for replacing one).
    layers : in the graph's order.
    parameters : per initialiser, uses of tied ones summed.
    plain_delta : the global bound by Algorithm 8 as published, made sound.
    gains : the global bound with one tightening switched off, by the tightening's name.
    semantics : of the arithmetic that the bound is about.
    seconds : wall-clock time.
    """

    model: str
    model_sha256: str
    loss: str
    loss_lipschitz: float
    input_bound: float
    input_kind: str
    is_private: bool
    global_delta: float
    layers: tuple[LayerSensitivity, ...]
    parameters: tuple[ParameterSensitivity, ...]
    plain_delta: float
    gains: dict[str, float] = field(default_factory=dict)
    semantics: str = "real"
    device: str = "cpu"
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def replace_one_delta(self) -> float:
        """The sensitivity where neighbouring data sets differ by replacing one example."""
        return 2.0 * self.global_delta

    def __str__(self) -> str:
        scope = "" if self.is_private else ", for this data only: not a privacy guarantee"
        return (
            f"{self.model}: gradient of {self.loss} per example ≤ {self.global_delta:.10g} "
            f"(plain {self.plain_delta:.10g}; {len(self.layers)} layers; "
            f"inputs ≤ {self.input_bound:.6g} by {self.input_kind}{scope})"
        )
