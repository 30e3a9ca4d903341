"""Slope intervals: never narrower than the derivative, and as narrow as documented."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import torch

from lipcert.nonlinear import ACTIVATIONS, Activation, PRelu, Slopes
from lipcert.nonlinear import activations as constants
from lipcert.nonlinear.gates import (
    enclosing,
    scaled_gelu,
    scaled_hard_swish,
    scaled_mish,
    scaled_silu,
    scaled_softsign,
    scaled_tanh_gelu,
)
from lipcert.nonlinear.piecewise import piecewise_linear

OWN_ERROR = 2e-15
"""Relative error of a derivative computed by autograd: what the reference may be off by."""


def samples() -> torch.Tensor:
    """Dense near zero and around it, sparse far away, both signs, corners on both sides."""
    near = torch.linspace(-12.0, 12.0, 40_001, dtype=torch.float64)
    far = torch.logspace(-12, 2.8, 4_000, dtype=torch.float64)
    corners = torch.tensor([-3.0, -2.5, -1.0, -0.5, 0.0, 0.5, 1.0, 2.5, 3.0], dtype=torch.float64)
    beside = [
        torch.nextafter(corners, torch.full_like(corners, side)) for side in (-math.inf, math.inf)
    ]
    return torch.cat((near, far, -far, corners, *beside))


def derivative(activation: Activation, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(activation.evaluate(x).sum(), x)
    return slope


def assert_encloses(activation: Activation, *, tight: float | None = 1e-3) -> None:
    x = samples()
    slope = derivative(activation, x)
    low, high = float(activation.slopes.alpha), float(activation.slopes.beta)
    error = OWN_ERROR * slope.abs()
    assert bool((slope - error <= high).all()), float(slope.max())
    assert bool((slope + error >= low).all()), float(slope.min())
    if tight is not None:
        size = max(1.0, abs(low), abs(high))
        assert float(slope.max()) >= high - tight * size
        assert float(slope.min()) <= low + tight * size
    # quotients of neighbouring samples: slopes that need no derivative
    ordered = x.sort().values.unique()
    wide = ordered[::7]
    y = activation.evaluate(wide)
    run, rise = wide.diff(), y.diff()
    own = 1e-15 * (y[1:].abs() + y[:-1].abs() + max(abs(low), abs(high)) * wide[1:].abs())
    kept = run > 1e-9
    assert bool((rise <= high * run + own)[kept].all())
    assert bool((rise >= low * run - own)[kept].all())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_registered_activation_stays_in_its_interval(name: str) -> None:
    # a Clip without limits is the identity; asinh flattens slowly
    assert_encloses(ACTIVATIONS[name](), tight={"Clip": None, "Asinh": 2e-3}.get(name, 1e-3))


VARIANTS = {
    "LeakyRelu": [{"alpha": a} for a in (-2.0, -0.5, 0.0, 0.3, 1.0, 3.0)],
    "Elu": [{"alpha": a} for a in (-1.0, 0.0, 0.5, 1.0, 2.5)],
    "Celu": [{"alpha": a} for a in (0.1, 0.7, 1.0, 5.0)],
    "Selu": [
        {"alpha": a, "gamma": g} for a, g in itertools.product((-0.5, 0.5, 1.67), (0.5, 1.05))
    ],
    "Silu": [{"alpha": a} for a in (-2.0, 0.5, 1.0, 3.0)],
    "HardSigmoid": [{"alpha": a, "beta": b} for a, b in ((0.2, 0.5), (-0.25, 0.5), (1.0, 0.0))],
    "Clip": [{"low": -1.0, "high": 2.0}, {"low": 0.0}, {"high": 1.0}, {}],
    "Shrink": [{"threshold": t} for t in (0.0, 0.5, 3.0)],
}


@pytest.mark.parametrize(
    ("name", "options"), [(name, o) for name, options in VARIANTS.items() for o in options]
)
def test_parameters_move_the_interval(name: str, options: dict[str, float]) -> None:
    loose = (name, options) in (("Clip", {}), ("Shrink", {"threshold": 0.0}))  # the identity
    assert_encloses(ACTIVATIONS[name](**options), tight=None if loose else 2e-3)


def test_swish_that_is_half_the_identity_lies_within() -> None:
    slopes = ACTIVATIONS["Silu"](alpha=0.0).slopes
    assert float(slopes.alpha) <= 0.5 <= float(slopes.beta)


GELU_RATE = math.sqrt(2.0 / math.pi)


@pytest.mark.parametrize("gain", [Fraction(1, 2), Fraction(-3, 4), Fraction(2)])
def test_gates_written_out_stay_in_their_intervals(gain: Fraction) -> None:
    rate = Fraction(GELU_RATE)
    for near in (0, Fraction(1, 10**6), -Fraction(9, 10**7)):
        linear, cubic = rate * (1 + near), rate * Fraction(0.044715) * (1 - near)
        assert_encloses(scaled_tanh_gelu(gain, linear, cubic))
    for offset in (Fraction(1), Fraction(0), Fraction(-2), Fraction(5, 2)):
        assert_encloses(scaled_gelu(gain, offset, Fraction(7, 10)))
    for rate in (Fraction(1), Fraction(17, 10), Fraction(-1, 2)):
        assert_encloses(scaled_silu(gain, rate))
    assert_encloses(scaled_mish(gain))
    assert_encloses(scaled_softsign(gain, Fraction(3, 2)))
    for start, low, high in ((Fraction(1, 2), 0, 1), (Fraction(1, 3), -1, 2), (Fraction(2), 0, 1)):
        found = scaled_hard_swish(gain, Fraction(1, 6), start, Fraction(low), Fraction(high))
        assert_encloses(found, tight=None)


def test_piecewise_linear_functions_take_their_slopes() -> None:
    """``min(max(x, 0), 1) − 2·max(x − 3, 0)`` and others by corners."""
    bent = piecewise_linear(
        [Fraction(0), Fraction(1), Fraction(3)],
        [Fraction(0), Fraction(1), Fraction(0), Fraction(-2)],
        [Fraction(0), Fraction(0), Fraction(1), Fraction(7)],
    )
    assert_encloses(bent)
    assert (float(bent.slopes.alpha), float(bent.slopes.beta)) == (-2.0, 1.0)
    assert (
        piecewise_linear([Fraction(0)], [Fraction(0), Fraction(1)], [Fraction(0)] * 2).name
        == "Relu"
    )


def test_enclosing_rounds_outward() -> None:
    third = Fraction(1, 3)
    low, high = enclosing([third, -third, Fraction(1, 7)])
    assert Fraction(low) <= -third and Fraction(high) >= third
    assert high - 1.0 / 3.0 <= 1e-16


# --- the digits of the constants ---------------------------------------------------------------


def assert_just_above(value: float, exact: mpmath.mpf) -> None:
    """Rounded outward, by no more than the tenth digit."""
    assert mpmath.mpf(value) >= exact
    assert mpmath.mpf(value) - exact < mpmath.mpf("2e-10")


def test_constants_of_smooth_activations_to_ten_digits() -> None:
    with mpmath.workdps(40):

        def slope(function):
            return lambda x: mpmath.diff(function, x)

        def top(function, start):
            at = mpmath.findroot(lambda x: mpmath.diff(function, x, 2), start)
            return slope(function)(at)

        gelu = lambda x: x * mpmath.ncdf(x)
        tanh_gelu = lambda x: (
            x
            / 2
            * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)))
        )
        silu = lambda x: x / (1 + mpmath.exp(-x))
        mish = lambda x: x * mpmath.tanh(mpmath.log(1 + mpmath.exp(x)))
        assert_just_above(constants.GELU_EXCESS, top(gelu, 1.4) - 1)
        assert_just_above(constants.GELU_EXCESS, -top(gelu, -1.4))
        assert_just_above(constants.TANH_GELU_EXCESS, top(tanh_gelu, 1.4) - 1)
        assert_just_above(constants.TANH_GELU_EXCESS, -top(tanh_gelu, -1.4))
        assert_just_above(constants.SILU_EXCESS, top(silu, 2.4) - 1)
        assert_just_above(constants.SILU_EXCESS, -top(silu, -2.4))
        assert_just_above(-constants.MISH_SLOPES[0], -top(mish, -2.2))
        assert_just_above(constants.MISH_SLOPES[1], top(mish, 1.5))
        assert_just_above(constants.TWO_OVER_ROOT_PI, 2 / mpmath.sqrt(mpmath.pi))


def test_documented_intervals() -> None:
    wanted = {
        "Relu": (0.0, 1.0),
        "Sigmoid": (0.0, 0.25),
        "Tanh": (0.0, 1.0),
        "Softplus": (0.0, 1.0),
        "Softsign": (0.0, 1.0),
        "Abs": (-1.0, 1.0),
        "Sin": (-1.0, 1.0),
        "Cos": (-1.0, 1.0),
        "Gelu": (-0.1290, 1.1290),
        "Silu": (-0.0999, 1.0999),
        "HardSwish": (-0.5, 1.5),
        "Erf": (0.0, 1.1284),
        "Clip": (0.0, 1.0),
    }
    for name, (low, high) in wanted.items():
        slopes = ACTIVATIONS[name]().slopes
        assert math.isclose(float(slopes.alpha), low, abs_tol=1e-4)
        assert math.isclose(float(slopes.beta), high, abs_tol=1e-4)
    assert math.isclose(float(ACTIVATIONS["Selu"]().slopes.beta), 1.7580993408, abs_tol=1e-9)


# --- intervals themselves ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_centre_and_half_width_cover_the_interval(seed: int) -> None:
    """Exactly: every slope is within ``half_width`` of the computed ``centre``."""
    rng = np.random.default_rng(seed)
    low, high = sorted(rng.standard_normal(2) * 10.0 ** rng.integers(-3, 4, 2))
    slopes = Slopes(float(low), float(high))
    centre, width = Fraction(float(slopes.centre)), Fraction(float(slopes.half_width))
    assert Fraction(float(low)) >= centre - width and Fraction(float(high)) <= centre + width
    assert slopes.lipschitz == max(abs(low), abs(high))
    tensors = Slopes(torch.tensor([low, 0.0]), torch.tensor([high, 0.0]))
    centres, widths = tensors.centre, tensors.half_width
    for place, (a, b) in enumerate(((low, high), (0.0, 0.0))):
        c, w = Fraction(float(centres[place])), Fraction(float(widths[place]))
        assert c - w <= Fraction(float(a)) and Fraction(float(b)) <= c + w


def test_prelu_takes_a_slope_per_element() -> None:
    slope = torch.tensor([[-1.5], [0.25], [3.0]], dtype=torch.float64)
    activation = PRelu(slope)
    x = torch.tensor([[[-2.0, 2.0]] * 3], dtype=torch.float64)
    assert activation.evaluate(x).tolist() == [[[3.0, 2.0], [-0.5, 2.0], [-6.0, 2.0]]]
    assert activation.slopes.alpha.flatten().tolist() == [-1.5, 0.25, 1.0]
    assert activation.slopes.beta.flatten().tolist() == [1.0, 1.0, 3.0]
    assert activation.lipschitz((3, 2)).l2 == 3.0


def test_evaluation_is_that_of_the_function() -> None:
    """Against mpmath, elementwise, to what ``ulps`` and the input's size promise."""
    exact = {
        "Gelu": lambda x: x * mpmath.ncdf(x),
        "Silu": lambda x: x / (1 + mpmath.exp(-x)),
        "Mish": lambda x: x * mpmath.tanh(mpmath.log1p(mpmath.exp(x))),
        "Softplus": lambda x: mpmath.log1p(mpmath.exp(x)),
        "Sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
        "Tanh": mpmath.tanh,
        "Erf": mpmath.erf,
        "Atan": mpmath.atan,
        "Asinh": mpmath.asinh,
        "Sin": mpmath.sin,
        "Cos": mpmath.cos,
        "Softsign": lambda x: x / (1 + abs(x)),
        "Elu": lambda x: x if x >= 0 else mpmath.expm1(x),
        "LogSigmoid": lambda x: -mpmath.log1p(mpmath.exp(-x)),
        "TanhGelu": lambda x: (
            x
            / 2
            * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (x + mpmath.mpf("0.044715") * x**3)))
        ),
    }
    points = [-700.0, -40.0, -8.3, -6.0, -2.0, -0.3, -1e-9, 0.0, 1e-12, 0.7, 3.0, 9.0, 50.0, 1e6]
    with mpmath.workdps(60):
        for name, function in exact.items():
            activation = ACTIVATIONS[name]()
            found = activation.evaluate(torch.tensor([points], dtype=torch.float64))[0].tolist()
            limit = activation.ulps * 2.0**-52
            steepest = activation.slopes.lipschitz
            for x, y in zip(points, found, strict=True):
                off = abs(mpmath.mpf(y) - function(mpmath.mpf(x)))
                assert off <= limit * (abs(y) + steepest * abs(x)) + 1e-300, (name, x)
