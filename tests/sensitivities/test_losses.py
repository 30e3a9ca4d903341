"""Losses: constants never below the gradients autograd finds, and attained where they are exact."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from lipcert.errors import InputError
from lipcert.sensitivities.losses import LOSSES, Loss, make_loss, parse_loss

TIGHT = 1.0 - 1e-6
CONVENTIONS = ("multiplies", "divides", "multiplies-normalised")


def class_labels(z: Tensor) -> Tensor:
    return torch.arange(len(z)) % z.shape[1]


def sign_labels(z: Tensor) -> Tensor:
    return torch.randn(z.shape, generator=torch.Generator().manual_seed(1)).sign()


def short_vectors(z: Tensor) -> Tensor:
    y = torch.randn(z.shape, generator=torch.Generator().manual_seed(2), dtype=z.dtype)
    return y / torch.linalg.vector_norm(y, dim=1, keepdim=True).clamp(min=1e-6)


LABELS: dict[str, Callable[[Tensor], Tensor]] = {
    "cross-entropy": class_labels,
    "multiclass-hinge": class_labels,
    "binary-cross-entropy": sign_labels,
    "hinge": sign_labels,
    "kr": sign_labels,
    "hinge-kr": sign_labels,
    "mse": short_vectors,
    "mae": short_vectors,
    "huber": short_vectors,
    "cosine": short_vectors,
    "custom": class_labels,
}

CASES = [
    "cross-entropy",
    *(f"cross-entropy,temperature={name},tau=10" for name in CONVENTIONS),
    *(f"cross-entropy,temperature={name},tau=0.3,smoothing=0.1" for name in CONVENTIONS),
    "cross-entropy,smoothing=0.95",
    "binary-cross-entropy",
    *(f"binary-cross-entropy,temperature={name},tau=7,reduction=mean" for name in CONVENTIONS),
    "hinge,margin=0.5",
    "hinge,reduction=mean",
    "kr",
    "kr,reduction=mean",
    "hinge-kr,alpha=10",
    "hinge-kr,alpha=0.3,mixture=mixes,reduction=mean",
    "multiclass-hinge,reduction=max",
    "multiclass-hinge,reduction=sum,margin=2",
    "multiclass-hinge,reduction=mean",
    "mse,target_norm=1.1",
    "mse,target_norm=1.1,reduction=mean",
    "mae",
    "mae,reduction=mean",
    "huber,delta=0.7",
    "huber,delta=0.7,reduction=mean",
    "cosine,smallest_norm=0.4",
    "cosine,smallest_norm=0.4,target_norm=1.5",
]

CUSTOM = make_loss("custom", {"constant": 2.0, "function": lambda z, y: 2.0 * z[:, 0]})


def gradients(loss: Loss, z: Tensor, labels: Tensor, *, again: bool = False) -> tuple[Tensor, ...]:
    z = z.detach().clone().requires_grad_()
    values = loss.per_example(z, labels)
    assert values.shape == (len(z),)
    (found,) = torch.autograd.grad(values.sum(), z, create_graph=again)
    return z, found


def exceeds(gradient: Tensor, constant: float) -> bool:
    """Whether a row is longer than the constant, in rational arithmetic.

    Entries are sums and quotients of numbers up to the longest row, rounded by autograd: each is
    known to 8 units in the last place of that, which are taken off (0.99 comes as 0.99 + 2e-16).
    """
    most = Fraction(constant) ** 2
    lengths = torch.linalg.vector_norm(gradient, dim=1)
    doubtful = gradient[~(lengths < constant * (1.0 - 1e-12))]
    off = Fraction(8, 2**53) * Fraction(constant)
    return any(
        sum(max(abs(Fraction(value)) - off, Fraction(0)) ** 2 for value in row) > most
        for row in doubtful.tolist()
    )


def into_ball(z: Tensor, radius: float) -> Tensor:
    """Rows scaled so that they are inside, strictly, where they were not."""
    if math.isinf(radius):
        return z
    length = torch.linalg.vector_norm(z, dim=1, keepdim=True)
    return z * torch.clamp(radius * (1.0 - 1e-12) / length.clamp(min=1e-300), max=1.0)


def ascended(
    loss: Loss, z: Tensor, labels: Tensor, *, radius: float = math.inf, steps: int = 60
) -> Tensor:
    """Gradients where projected ascent of their norm ends."""
    step = 0.5 * max(1.0, float(z.abs().mean())) if math.isinf(radius) else 0.3 * radius
    z = into_ball(z, radius)
    for count in range(steps):
        leaf, found = gradients(loss, z, labels, again=True)
        if not found.requires_grad:
            break
        (up,) = torch.autograd.grad(found.square().sum(), leaf, allow_unused=True)
        if up is None:
            break
        up = up.nan_to_num()  # of a norm at zero
        size = torch.linalg.vector_norm(up, dim=1, keepdim=True).clamp(min=1e-300)
        z = into_ball(leaf.detach() + step * 0.97**count * up / size, radius)
    return gradients(loss, z, labels)[1]


def samples(outputs: int, radius: float, *, count: int = 40, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, outputs, generator=generator, dtype=torch.float64)
    if math.isfinite(radius):
        return into_ball(z * 1e3, radius)
    return z * torch.logspace(-3, 3, count, dtype=torch.float64)[:, None]


def fitting(name: str) -> tuple[int, ...]:
    return tuple(K for K in (1, 2, 3, 10) if LOSSES[name].fewest_outputs <= K)


def test_every_loss_is_tried() -> None:
    assert {text.split(",")[0] for text in CASES} | {"custom"} == set(LOSSES) == set(LABELS)


# The exact values of the design


@pytest.mark.parametrize(
    ("temperature", "expected"), [*zip(CONVENTIONS, (14.142136, 0.141421, 1.414214), strict=True)]
)
def test_cross_entropy_of_three_conventions(temperature: str, expected: float) -> None:
    loss = make_loss("cross-entropy", {"temperature": temperature, "tau": 10.0})
    assert loss.lipschitz(10) == pytest.approx(expected, abs=5e-7)


def test_smoothed_cross_entropy() -> None:
    found = parse_loss("cross-entropy,smoothing=0.1").lipschitz(10)
    assert found == pytest.approx(1.344991, abs=5e-7)
    a, K = Fraction(0.1), 10
    exact = (1 - a / K) ** 2 + (1 - a + a / K) ** 2 + (K - 2) * (a / K) ** 2
    assert exact <= Fraction(found) ** 2 <= exact * (1 + Fraction(1, 10**14))


@pytest.mark.parametrize(
    ("text", "K", "expected"),
    [
        ("binary-cross-entropy", 1, 1.0),
        ("binary-cross-entropy,temperature=multiplies,tau=7", 1, 7.0),
        ("binary-cross-entropy,temperature=multiplies-normalised,tau=7", 1, 1.0),
        ("binary-cross-entropy", 9, 3.0),
        ("binary-cross-entropy,reduction=mean", 9, 1 / 3),
        ("hinge", 9, 3.0),
        ("hinge,reduction=mean", 9, 1 / 3),
        ("kr", 1, 1.0),
        ("kr", 10, math.sqrt(10)),
        ("hinge-kr,alpha=10", 1, 11.0),
        ("hinge-kr,alpha=10", 4, 22.0),
        ("hinge-kr,alpha=0.3,mixture=mixes", 1, 1.0),
        ("multiclass-hinge,reduction=max", 10, math.sqrt(2)),
        ("multiclass-hinge", 10, math.sqrt(90)),
        ("multiclass-hinge,reduction=mean", 10, math.sqrt(0.9)),
        ("mae", 16, 4.0),
        ("huber,delta=0.5,reduction=mean", 16, 0.125),
        ("cosine,smallest_norm=0.25", 3, 4.0),
        ("cosine,smallest_norm=0.25,target_norm=3", 3, 12.0),
        ("custom,constant=2.5", 3, 2.5),
    ],
)
def test_constants_by_hand(text: str, K: int, expected: float) -> None:
    found = parse_loss(text).lipschitz(K)
    assert expected * (1 - 1e-15) <= found <= expected * (1 + 1e-11)


def test_squared_error_of_a_bounded_output() -> None:
    assert parse_loss("mse,target_norm=1").lipschitz(3, output_bound=4.0) == pytest.approx(10.0)
    mean = parse_loss("mse,target_norm=1,reduction=mean")
    assert mean.lipschitz(5, output_bound=4.0) == pytest.approx(2.0)


# Soundness: no gradient of autograd is longer, with no tolerance


@pytest.mark.parametrize("radius", [0.0, 0.3, 2.0, 30.0, math.inf])
@pytest.mark.parametrize("text", CASES)
def test_no_gradient_is_longer(text: str, radius: float) -> None:
    loss = parse_loss(text)
    if loss.name == "mse":
        radius = min(radius, 1e3)  # not Lipschitz beyond
    for K in fitting(loss.name):
        z = samples(K, radius, seed=K)
        labels = LABELS[loss.name](z)
        constant = loss.lipschitz(K, output_bound=radius)
        assert not exceeds(gradients(loss, z, labels)[1], constant)
        assert not exceeds(ascended(loss, z, labels, radius=radius), constant)


@pytest.mark.parametrize("K", [1, 2, 7])
def test_no_gradient_of_a_custom_loss_is_longer(K: int) -> None:
    z = samples(K, math.inf)
    assert not exceeds(gradients(CUSTOM, z, class_labels(z))[1], CUSTOM.lipschitz(K))


TAU = st.floats(1e-2, 1e2)
SMOOTHING = st.floats(0.0, 1.0, exclude_max=True)


@settings(max_examples=60)
@given(
    st.integers(2, 40),
    TAU,
    SMOOTHING,
    st.sampled_from(CONVENTIONS),
    st.floats(0.0, 50.0) | st.just(math.inf),
    st.integers(0, 1000),
)
def test_no_gradient_of_cross_entropy_is_longer(
    K: int, tau: float, smoothing: float, temperature: str, radius: float, seed: int
) -> None:
    options = {"tau": tau, "smoothing": smoothing, "temperature": temperature}
    loss = make_loss("cross-entropy", options)
    z = samples(K, radius, count=10, seed=seed)
    labels = torch.randint(K, (10,), generator=torch.Generator().manual_seed(seed))
    constant = loss.lipschitz(K, output_bound=radius)
    assert constant <= loss.lipschitz(K) * (1 + 1e-15)
    assert not exceeds(gradients(loss, z, labels)[1], constant)
    assert not exceeds(ascended(loss, z, labels, radius=radius, steps=15), constant)


@settings(max_examples=60)
@given(st.integers(1, 12), TAU, st.sampled_from(CONVENTIONS), st.floats(0.0, 9.0), st.booleans())
def test_no_gradient_of_binary_cross_entropy_is_longer(
    K: int, tau: float, temperature: str, radius: float, mean: bool
) -> None:
    reduction = "mean" if mean else "sum"
    options = {"tau": tau, "temperature": temperature, "reduction": reduction}
    loss = make_loss("binary-cross-entropy", options)
    z = samples(K, radius, count=10, seed=K)
    constant = loss.lipschitz(K, output_bound=radius)
    assert not exceeds(ascended(loss, z, sign_labels(z), radius=radius, steps=15), constant)


# Tightness: the constants are suprema


def saturated(loss: Loss, K: int) -> tuple[Tensor, Tensor]:
    """One example at which the gradient is (nearly) as long as it gets."""
    z = torch.zeros(1, K, dtype=torch.float64)
    if loss.name == "cross-entropy":
        z[0, 0] = 1e4
        return z, torch.tensor([1])
    if loss.name == "multiclass-hinge":
        z[0, 1] = 0.25
        return z, torch.tensor([0])
    if LABELS[loss.name] is sign_labels:
        return z - 1e4, torch.ones_like(z)
    if loss.name == "cosine":
        y = z.clone()
        y[0, 0] = 1.5
        return z, y
    return z - 1e4, z


@pytest.mark.parametrize("text", [text for text in CASES if not text.startswith("mse")])
def test_constants_are_attained(text: str) -> None:
    loss = parse_loss(text)
    for K in fitting(loss.name):
        found = gradients(loss, *saturated(loss, K))[1]
        assert not exceeds(found, loss.lipschitz(K))
        assert float(torch.linalg.vector_norm(found)) >= TIGHT * loss.lipschitz(K)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_squared_error_is_attained_at_opposite_vectors(reduction: str) -> None:
    loss = make_loss("mse", {"target_norm": 1.5, "reduction": reduction})
    y = torch.tensor([[0.9, 1.2]], dtype=torch.float64)
    found = float(torch.linalg.vector_norm(gradients(loss, -2.0 * y, y)[1]))
    assert TIGHT * loss.lipschitz(2, output_bound=3.0) <= found


@pytest.mark.parametrize("tau", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("radius", [0.01, 0.5, 3.0])
def test_bounded_logits_of_two_classes_are_exact(tau: float, radius: float) -> None:
    """√2·τ·σ(√2·τR), at z = R(−1, 1)/√2."""
    loss = make_loss("cross-entropy", {"tau": tau, "temperature": "multiplies"})
    exact = math.sqrt(2) * tau / (1 + math.exp(-math.sqrt(2) * tau * radius))
    found = loss.lipschitz(2, output_bound=radius)
    assert found == pytest.approx(exact, rel=1e-12)
    z = radius * math.sqrt(0.5) * torch.tensor([[-1.0, 1.0]], dtype=torch.float64)
    gradient = gradients(loss, z, torch.tensor([0]))[1]
    assert float(torch.linalg.vector_norm(gradient)) >= TIGHT * found


@pytest.mark.parametrize("K", [2, 5, 100])
def test_bounded_logits_at_both_ends(K: int) -> None:
    """At R = 0 the uniform distribution; for large R the constant of unbounded logits."""
    loss = parse_loss("cross-entropy")
    smoothed = parse_loss("cross-entropy,smoothing=0.25")
    start = math.sqrt(1 - 1 / K)
    assert loss.lipschitz(K, output_bound=0.0) == pytest.approx(start, rel=1e-12)
    assert smoothed.lipschitz(K, output_bound=0.0) == pytest.approx(0.75 * start, rel=1e-12)
    for either in (loss, smoothed):
        assert either.lipschitz(K, output_bound=1e3) == pytest.approx(either.lipschitz(K))
        assert either.lipschitz(K, output_bound=1e308) == pytest.approx(either.lipschitz(K))


@pytest.mark.parametrize("K", [2, 3, 10])
@pytest.mark.parametrize("radius", [0.1, 1.0, 5.0])
def test_bounded_logits_as_in_the_design(K: int, radius: float) -> None:
    tau = 1.7
    m = 1 - 1 / (1 + (K - 1) * math.exp(math.sqrt(2) * tau * radius))
    M = min(m, 1 / (1 + (K - 1) * math.exp(-math.sqrt(2) * tau * radius)))
    loss = make_loss("cross-entropy", {"tau": tau, "temperature": "multiplies"})
    found = loss.lipschitz(K, output_bound=radius)
    assert found == pytest.approx(tau * math.sqrt(m * m + m * M), rel=1e-12)


@pytest.mark.parametrize("K", [1, 4])
def test_bounded_logits_of_binary_cross_entropy_are_exact(K: int) -> None:
    loss = parse_loss("binary-cross-entropy")
    z = torch.full((1, K), -3.0 / math.sqrt(K), dtype=torch.float64)
    found = float(torch.linalg.vector_norm(gradients(loss, z, torch.ones(1, K))[1]))
    assert found >= TIGHT * loss.lipschitz(K, output_bound=3.0)


# The last dense layer


def by_hand(W: Tensor, a: float) -> Fraction:
    """The square of the widest pair, in rational arithmetic."""
    rows = W.tolist()
    mean = [sum(map(Fraction, column)) / len(rows) for column in zip(*rows, strict=True)]
    keep, a = 1 - Fraction(a), Fraction(a)
    squares = (
        sum(
            (Fraction(p) - keep * Fraction(q) - a * c) ** 2
            for p, q, c in zip(rows[j], rows[y], mean, strict=True)
        )
        for j, y in itertools.permutations(range(len(rows)), 2)
    )
    return max(squares)


@settings(max_examples=80)
@given(
    st.integers(2, 8),
    st.integers(1, 5),
    SMOOTHING | st.just(0.0),
    st.sampled_from([0.0, 1.0, 1e8]),
    st.sampled_from([1e-200, 1e-3, 1.0, 1e150]),
    st.integers(0, 1000),
)
def test_head_is_the_widest_pair(
    K: int, n: int, a: float, offset: float, scale: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    W = scale * (torch.randn(K, n, generator=generator, dtype=torch.float64) + offset)
    found = make_loss("cross-entropy", {"smoothing": a}).head_lipschitz(W)
    exact = by_hand(W, a)
    assert Fraction(found) ** 2 >= exact
    slack = 1e-6 if offset < 2 or not a else 1e-4
    assert Fraction(found) ** 2 <= exact * Fraction(1 + slack)


def test_head_by_hand() -> None:
    W = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
    hot = make_loss("cross-entropy", {"tau": 10.0, "temperature": "multiplies"})
    assert hot.head_lipschitz(W) == pytest.approx(20.0)
    normalised = make_loss("cross-entropy", {"tau": 10.0, "temperature": "multiplies-normalised"})
    assert normalised.head_lipschitz(W) == pytest.approx(2.0)
    assert parse_loss("multiclass-hinge,reduction=max").head_lipschitz(W) == pytest.approx(2.0)
    assert parse_loss("multiclass-hinge").head_lipschitz(W) == pytest.approx(4.0)
    assert parse_loss("kr").head_lipschitz(W) == math.inf
    assert hot.head_lipschitz(torch.zeros(3, 4)) == 0.0
    assert hot.head_lipschitz(torch.ones(3, 4)) < 1e-6


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
@pytest.mark.parametrize(
    "text", ["cross-entropy", "multiclass-hinge,reduction=max", "multiclass-hinge,reduction=sum"]
)
def test_no_gradient_before_the_head_is_longer(text: str, smoothing: float) -> None:
    is_entropy = text == "cross-entropy"
    loss = parse_loss(f"{text},smoothing={smoothing}" if is_entropy else text)
    generator = torch.Generator().manual_seed(3)
    W = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    constant = loss.head_lipschitz(W)
    longest = 0.0
    for size in (0.1, 1.0, 10.0, 1e4):
        h = size * torch.randn(3000, 4, generator=generator, dtype=torch.float64)
        for y in range(6):
            z = h @ W.T
            found = gradients(loss, z, torch.full((3000,), y))[1] @ W
            assert not exceeds(found, constant)
            longest = max(longest, float(torch.linalg.vector_norm(found, dim=1).max()))
    if is_entropy:
        assert longest >= TIGHT * constant


# The functions are what others call by these names


def test_functions_are_pytorchs() -> None:
    z = samples(5, 3.0)
    y = class_labels(z)
    loss = parse_loss("cross-entropy,smoothing=0.2")
    expected = F.cross_entropy(z, y, reduction="none", label_smoothing=0.2)
    assert torch.allclose(loss.per_example(z, y), expected)
    assert torch.allclose(loss.per_example(z, F.one_hot(y, 5)), expected)
    p = (z / 0.5).softmax(1)[torch.arange(len(z)), y]
    halved = parse_loss("cross-entropy,temperature=divides,tau=0.5").per_example(z, y)
    assert torch.allclose(halved, -p.log())
    margin = parse_loss("multiclass-hinge,reduction=mean").per_example(z, y)
    assert torch.allclose(margin, F.multi_margin_loss(z, y, reduction="none"))
    hot = F.one_hot(y, 5).double()
    binary = parse_loss("binary-cross-entropy,reduction=mean")
    expected = F.binary_cross_entropy_with_logits(z, hot, reduction="none").mean(1)
    for labels in (hot, 2 * hot - 1, y):
        assert torch.allclose(binary.per_example(z, labels), expected)
    cosine = parse_loss("cosine,smallest_norm=1e-8").per_example(z, hot)
    assert torch.allclose(cosine, -F.cosine_similarity(z, hot))
    crammer = parse_loss("multiclass-hinge,reduction=max").per_example(z, y)
    others = z.masked_fill(hot.bool(), -math.inf).amax(1)
    assert torch.allclose(crammer, (1 + others - z.gather(1, y[:, None])[:, 0]).relu())
    mixed = parse_loss("hinge-kr,alpha=0.25,mixture=mixes").per_example(z[:, 0], hot[:, 0])
    signed = (2 * hot[:, 0] - 1) * z[:, 0]
    assert torch.allclose(mixed, 0.25 * (1 - signed).relu() - 0.75 * signed)


# Refusals


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("crossentropy", "choose one of"),
        ("cross-entropy,tau=10", "temperature="),
        ("cross-entropy,tau=10,temperature=up", "multiplies-normalised"),
        ("cross-entropy,tau=0", "tau = 0"),
        ("cross-entropy,tau=-1,temperature=divides", "tau = -1"),
        ("cross-entropy,tau=nan", "tau = nan"),
        ("cross-entropy,tau=inf", "tau = inf"),
        ("cross-entropy,tau=hot", "tau = hot"),
        ("cross-entropy,smoothing=1", "smoothing = 1"),
        ("cross-entropy,smoothing=-0.1", "smoothing = -0.1"),
        ("cross-entropy,sharpness=1", "no option 'sharpness'"),
        ("cross-entropy,tau", "one option and its value"),
        ("binary-cross-entropy,tau=2", "temperature="),
        ("hinge,reduction=median", "choose one of: mean, sum"),
        ("hinge,margin=-1", "margin"),
        ("kr,balance=batch", "counts of its batch"),
        ("hinge-kr,alpha=1,balance=batch", "counts of its batch"),
        ("hinge-kr", "alpha="),
        ("hinge-kr,alpha=2,mixture=mixes", "negative weight"),
        ("multiclass-hinge,reduction=median", "choose one of"),
        ("mse", "target_norm="),
        ("mse,target_norm=-1", "target_norm"),
        ("huber,delta=0", "delta"),
        ("cosine", "smallest_norm="),
        ("cosine,smallest_norm=0", "smallest_norm"),
        ("custom", "constant="),
        ("custom,constant=-1", "constant"),
        ("custom,constant=1,function=f", "not a function"),
    ],
)
def test_options_that_are_refused(text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_loss(text)
    assert caught.value.place.startswith("--loss")
    assert says in str(caught.value) and caught.value.remedy


def test_constants_that_are_refused() -> None:
    for text in ("cross-entropy", "multiclass-hinge"):
        with pytest.raises(InputError, match="at least 2 outputs"):
            parse_loss(text).lipschitz(1)
    with pytest.raises(InputError, match="output is not bounded"):
        parse_loss("mse,target_norm=1").lipschitz(3)
    with pytest.raises(InputError, match="norm at most nan"):
        parse_loss("kr").lipschitz(3, output_bound=math.nan)
    with pytest.raises(InputError, match="at least 1 output"):
        parse_loss("kr").lipschitz(0)
    with pytest.raises(InputError, match="overflows"):
        parse_loss("cross-entropy,temperature=multiplies,tau=1.7e308").lipschitz(3)
    for W in (torch.ones(3), torch.ones(1, 3), torch.full((2, 2), math.nan)):
        with pytest.raises(InputError, match="last layer"):
            parse_loss("cross-entropy").head_lipschitz(W)


@pytest.mark.parametrize(
    ("text", "labels", "says"),
    [
        ("cross-entropy", [0, 3], "no class index"),
        ("cross-entropy", [0, -1], "no class index"),
        ("cross-entropy", [0.0, 0.5], "no class index"),
        ("cross-entropy", [0, 1, 2], "shape"),
        ("cross-entropy", [[0, 1, 1], [1, 0, 0]], "one-hot"),
        ("cross-entropy", [[0.3, 0.7, 0.0], [1.0, 0.0, 0.0]], "one-hot"),
        ("multiclass-hinge", [5, 0], "no class index"),
        ("hinge", [[1, -1, 0], [1, 1, 1]], "neither"),
        ("binary-cross-entropy", [[1.0, 0.5, 0.0], [1.0, 1.0, 1.0]], "neither"),
        ("kr", [[1, -1], [1, 1]], "shape"),
        ("kr", [-1, 1], "no class index"),
        ("mae", [0, 1], "shape"),
        ("mae", [[0.0, 1.0, math.nan], [0.0, 0.0, 0.0]], "finite"),
        ("mse,target_norm=1", [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], "target_norm"),
        ("cosine,smallest_norm=1", [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], "direction"),
        ("cosine,smallest_norm=1,target_norm=1", [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], "norm 1.41"),
        ("custom,constant=1", [0, 0], "function"),
    ],
)
def test_labels_that_are_refused(text: str, labels: list[object], says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        parse_loss(text).per_example(torch.zeros(2, 3), torch.tensor(labels))
    assert caught.value.place.startswith("--loss") and caught.value.remedy


def test_outputs_that_are_refused() -> None:
    with pytest.raises(InputError, match="no vectors"):
        parse_loss("kr").per_example(torch.zeros(2, 3, 1), torch.zeros(2))
    with pytest.raises(InputError, match="no vectors"):
        parse_loss("kr").per_example(torch.zeros(2, 3, dtype=torch.long), torch.zeros(2))
    wrong = make_loss("custom", {"constant": 1.0, "function": lambda z, y: z})
    with pytest.raises(InputError, match="returns shape"):
        wrong.per_example(torch.zeros(2, 3), torch.zeros(2))


@pytest.mark.parametrize("text", [*CASES, "custom,constant=1"])
def test_sentences_name_the_conventions(text: str) -> None:
    loss = parse_loss(text)
    sentence = loss.describe()
    assert "\n" not in sentence and "None" not in sentence and "labels: " in sentence
    assert hash(loss) == hash(parse_loss(text)) and loss == parse_loss(text)


def test_a_sentence() -> None:
    text = "cross-entropy,temperature=divides,tau=10,smoothing=0.1"
    assert parse_loss(text).describe() == (
        "softmax cross-entropy of logits, CE(z/τ) with τ = 10, targets (1−a)·one-hot + a/K with "
        "a = 0.1, of one example; labels: class indices (N,) or one-hot (N, K) (derived again "
        "from Béthune 2024, chapter 6)"
    )
