"""Operators that act on each element, and those that combine elements of several operands."""

from __future__ import annotations

import numpy as np
from onnx import helper

from .single import Single, floats, makes, shuffled, sizes

PLAIN = [
    "Relu",
    "Sigmoid",
    "Tanh",
    "Softplus",
    "Softsign",
    "Abs",
    "Sin",
    "Cos",
    "Atan",
    "Asinh",
    "Erf",
    "Mish",
    "HardSwish",
    "LeakyRelu",
    "Elu",
    "Selu",
    "HardSigmoid",
    "ThresholdedRelu",
    "Neg",
    "Identity",
    "Gelu",
]
RANGES = {
    "Exp": (-3.0, 3.0), "Log": (0.1, 5.0), "Sqrt": (0.0, 5.0), "Reciprocal": (0.2, 4.0),
    "Tan": (-1.0, 1.0), "Sinh": (-3.0, 3.0), "Cosh": (-3.0, 3.0), "Acos": (-1.0, 1.0),
    "Asin": (-1.0, 1.0), "Acosh": (1.0, 5.0), "Atanh": (-0.9, 0.9),
}  # fmt: skip
STEPS = [
    "Sign",
    "Floor",
    "Ceil",
    "Round",
    "Hardmax",
    "IsInf",
    "Not",
    "NonZero",
    "ArgMax",
    "ArgMin",
    "DynamicQuantizeLinear",
    "Bernoulli",
]
PAIRED_STEPS = [
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Equal",
    "And",
    "Or",
    "Xor",
    "Mod",
    "QuantizeLinear",
    "DequantizeLinear",
]


def number(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.float32(rng.uniform(low, high)))


@makes(*PLAIN)
def plain(rng: np.random.Generator, opset: int, name: str) -> Single:
    single = Single(sizes(rng, int(rng.integers(1, 5))))
    if name == "ThresholdedRelu":
        single.attributes = {"alpha": 0.0}
    elif name in ("LeakyRelu", "Elu", "Selu", "HardSigmoid") and rng.random() < 0.7:
        single.attributes = {"alpha": number(rng, 0.05, 2.0)}
        if name == "Selu":
            single.attributes["gamma"] = number(rng, 0.1, 2.0)
        if name == "HardSigmoid":
            single.attributes["beta"] = number(rng, 0.0, 1.0)
    elif name == "Gelu" and rng.random() < 0.5:
        single.attributes = {"approximate": "tanh"}
    single.reference = name == "Mish"
    return single


@makes("Celu", since=12)
def celu(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single(sizes(rng, 3), attributes={"alpha": number(rng, 0.1, 2.0)})


@makes("Swish", since=24)
def swish(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single(sizes(rng, 2), attributes={"alpha": number(rng, -2.0, 2.0)}, reference=True)


@makes(*RANGES)
def unbounded(rng: np.random.Generator, opset: int, name: str) -> Single:
    low, high = RANGES[name]
    return Single(sizes(rng, 3), low=low, high=high, infinite=True)


@makes("Log")
def log_of_sigmoid(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single(sizes(rng, 2), before=[helper.make_node("Sigmoid", ["x0"], ["x"])])


@makes("Log")
def log_of_softmax(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single(sizes(rng, 3, 2), before=[helper.make_node("Softmax", ["x0"], ["x"], axis=1)])


@makes(*STEPS)
def step(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single(sizes(rng, 2), outputs=3 if "Quantize" in name else 1, refused="discontinuous")


@makes(*PAIRED_STEPS)
def paired_step(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single((2, 3), ["x", floats(rng, 3)], refused="discontinuous")


@makes("Sign", since=9)
def sign_times_signal(rng: np.random.Generator, opset: int, name: str) -> Single:
    after = helper.make_node("Mul", shuffled(rng, "x", "y"), ["y1"])
    return Single(sizes(rng, 2), after=[after])


@makes("Greater", "Less", since=9)
def chosen_by_comparison(rng: np.random.Generator, opset: int, name: str) -> Single:
    """A leaky ReLU."""
    small = np.float32(rng.uniform(0.1, 2.0))
    nodes = [
        helper.make_node("Constant", [], ["s"], value=_tensor(small)),
        helper.make_node("Mul", ["x", "s"], ["sx"]),
        helper.make_node("Where", ["y", *shuffled(rng, "x", "sx")], ["y1"]),
    ]
    return Single(sizes(rng, 2), ["x", np.float32(0.0)], after=nodes)


@makes("GreaterOrEqual", "LessOrEqual", since=16)
def soft_shrink(rng: np.random.Generator, opset: int, name: str) -> Single:
    """x outside ±t moved towards zero, by one choice."""
    t = np.float32(0.75)
    nodes = [
        helper.make_node("Constant", [], ["t"], value=_tensor(t)),
        helper.make_node("Constant", [], ["zero"], value=_tensor(np.float32(0.0))),
        helper.make_node("Sub", ["x", "t"], ["above"]),
        helper.make_node("Min", ["x", "zero"], ["below"]),
        helper.make_node("Max", ["above", "zero"], ["cut"]),
        helper.make_node(
            "Where",
            ["y", *(["cut", "below"] if name == "GreaterOrEqual" else ["below", "cut"])],
            ["y1"],
        ),
    ]
    return Single(sizes(rng, 2), ["x", np.float32(0.0)], after=nodes)


@makes("Equal", since=11)
def equal_never_matters(rng: np.random.Generator, opset: int, name: str) -> Single:
    """At the one place where it holds, both choices are the same."""
    nodes = [
        helper.make_node("Abs", ["x"], ["a"]),
        helper.make_node("Where", ["y", "x", "a"], ["y1"]),
    ]
    return Single(sizes(rng, 2), ["x", np.float32(0.0)], after=nodes)


@makes("Greater", "Less", since=9)
def against_infinity(rng: np.random.Generator, opset: int, name: str) -> Single:
    nodes = [
        helper.make_node("Tanh", ["x"], ["t"]),
        helper.make_node("Where", ["y", "x", "t"], ["y1"]),
    ]
    limit = np.float32(rng.choice([-np.inf, np.inf]))
    return Single(sizes(rng, 2), shuffled(rng, "x", limit), after=nodes)


@makes("IsNaN", since=9)
def not_a_number(rng: np.random.Generator, opset: int, name: str) -> Single:
    nodes = [
        helper.make_node("Constant", [], ["zero"], value=_tensor(np.float32(0.0))),
        helper.make_node("Where", ["y", "zero", "x"], ["y1"]),
    ]
    return Single(sizes(rng, 3), after=nodes)


@makes("IsNaN", since=9)
def not_a_number_used(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single(sizes(rng, 2), refused="discontinuous")


def _tensor(value: np.generic):
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(value))


@makes("Clip", until=10)
def clip_attributes(rng: np.random.Generator, opset: int, name: str) -> Single:
    limits = {"min": number(rng, -2.0, 0.0), "max": number(rng, 0.0, 2.0)}
    chosen = {key: limits[key] for key in limits if rng.random() < 0.7}
    return Single(sizes(rng, 2), attributes=chosen)


@makes("Clip", since=11)
def clip_inputs(rng: np.random.Generator, opset: int, name: str) -> Single:
    low, high = np.float32(number(rng, -2.0, 0.0)), np.float32(number(rng, 0.0, 2.0))
    forms = [["x"], ["x", low], ["x", "", high], ["x", low, high]]
    return Single(sizes(rng, 3), forms[int(rng.integers(4))])


@makes("PRelu")
def prelu(rng: np.random.Generator, opset: int, name: str) -> Single:
    shape = sizes(rng, 3)
    slopes = [(1,), shape, (shape[1], 1), (shape[2],), (shape[0], 1, 1)]
    return Single(shape, ["x", floats(rng, *slopes[int(rng.integers(5))])])


@makes("Shrink", since=9)
def shrink(rng: np.random.Generator, opset: int, name: str) -> Single:
    size = number(rng, 0.1, 1.0)
    return Single(sizes(rng, 2), attributes={"lambd": size, "bias": size})


@makes("Shrink", since=9)
def hard_shrink(rng: np.random.Generator, opset: int, name: str) -> Single:
    return Single(sizes(rng, 2), attributes={"lambd": 0.5}, refused="discontinuous")


@makes("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean")
def with_constant(rng: np.random.Generator, opset: int, name: str) -> Single:
    shape = sizes(rng, 3)
    others = [(), shape, (shape[1], 1), (1, *shape), (2, 1, 1, 1)]
    if opset < 8 and name in ("Max", "Min", "Sum", "Mean"):
        others = [shape]
    constant = floats(rng, *others[int(rng.integers(len(others)))])
    constant = np.asarray(np.where(np.abs(constant) < 0.1, 0.5, constant), dtype=np.float32)
    single = Single(shape, shuffled(rng, "x", constant))
    single.infinite = name == "Div" and not isinstance(single.inputs[0], str)
    single.low = 0.5 if single.infinite else -3.0
    return single


@makes("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean")
def with_signal(rng: np.random.Generator, opset: int, name: str) -> Single:
    """Two signals, one of them a flipped copy."""
    before = [
        helper.make_node("Transpose", ["x0"], ["t"], perm=[1, 0]),
        helper.make_node("Identity", ["x0"], ["x"]),
    ]
    n = int(rng.integers(2, 5))
    infinite = name in ("Mul", "Div")
    return Single(
        (n, n),
        shuffled(rng, "x", "t"),
        before=before,
        infinite=infinite,
        low=0.5 if name == "Div" else -3.0,
    )


@makes("Pow")
def power(rng: np.random.Generator, opset: int, name: str) -> Single:
    exponent = float(rng.choice([0.5, 1.0, 2.0, 3.0, -1.0]))
    return Single(sizes(rng, 2), ["x", np.float32(exponent)], low=0.2, infinite=exponent != 1.0)


@makes("Where", since=9)
def where(rng: np.random.Generator, opset: int, name: str) -> Single:
    shape = sizes(rng, 2, 2)
    mask = rng.random(shape) < 0.5
    other = floats(rng, *(shape if rng.random() < 0.5 else (1,)))
    return Single(shape, [mask, *shuffled(rng, "x", other)])
