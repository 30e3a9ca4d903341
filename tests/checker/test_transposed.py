"""ConvTranspose: as ONNX defines it, exactly; what it does to proofs, in reals and in float32."""

from __future__ import annotations

import hashlib
import itertools
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from making import f32, loaded, model, network, node
from onnx import numpy_helper
from test_float32 import bounds_of
from test_readings import deployed, unread

import lipcert
from lipcert.checker.convolution import Transposed
from lipcert.checker.file import digest
from lipcert.checker.samples import forward, rows_of
from lipcert.proof import prove

SAMPLES = Path(__file__).parents[2] / "sample_models"


def drawn(seed: int, axes: int) -> tuple[dict[str, list[int] | int], np.ndarray, tuple[int, ...]]:
    """Attributes, a kernel and the shape of an image."""
    rng = np.random.default_rng([seed, axes])
    groups, inner, out = (int(v) for v in rng.integers(1, 4, size=3))
    sides, kernel = rng.integers(1, 5, size=axes), rng.integers(1, 4, size=axes)
    stride, dilation = rng.integers(1, 4, size=axes), rng.integers(1, 3, size=axes)
    extra = rng.integers(0, stride)
    reach = dilation * (kernel - 1) + 1
    pads = rng.integers(0, reach + 1, size=(2, axes))
    while ((sides - 1) * stride + reach + extra - pads.sum(0) < 1).any():
        pads = np.maximum(pads - 1, 0)
    given: dict[str, list[int] | int] = {
        "group": groups,
        "strides": stride.tolist(),
        "dilations": dilation.tolist(),
        "pads": pads.reshape(-1).tolist(),
        "output_padding": extra.tolist(),
    }
    weights = rng.integers(-9, 10, size=(groups * inner, out, *kernel)).astype(np.float32)
    return given, weights, (groups * inner, *sides.tolist())


def by_definition(x: np.ndarray, w: np.ndarray, given: dict, bias: np.ndarray) -> np.ndarray:
    """Each element of the image ``x (C, *sides)`` adds its kernels to the result; in rationals."""
    axes, groups = x.ndim - 1, given["group"]
    stride, dilation, extra = given["strides"], given["dilations"], given["output_padding"]
    before, after = given["pads"][:axes], given["pads"][axes:]
    full = [
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip(x.shape[1:], stride, dilation, w.shape[2:], strict=True)
    ]
    out = [f + e - b - a for f, e, b, a in zip(full, extra, before, after, strict=True)]
    y = np.full((w.shape[1] * groups, *out), Fraction(0), dtype=object)
    each = x.shape[0] // groups
    for c, place in itertools.product(range(x.shape[0]), np.ndindex(*x.shape[1:])):
        for o, tap in itertools.product(range(w.shape[1]), np.ndindex(*w.shape[2:])):
            at = [
                i * s + t * d - b
                for i, s, t, d, b in zip(place, stride, tap, dilation, before, strict=True)
            ]
            if all(0 <= a < n for a, n in zip(at, out, strict=True)):
                product = Fraction(float(x[(c, *place)])) * Fraction(float(w[(c, o, *tap)]))
                y[(c // each * w.shape[1] + o, *at)] += product
    for channel, value in zip(y, bias, strict=True):
        channel += Fraction(float(value))
    return y


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(20))
def test_it_is_what_onnx_defines_exactly_and_what_onnx_runtime_computes(seed, axes):
    given, w, shape = drawn(seed, axes)
    bias = np.arange(1.0, w.shape[1] * given["group"] + 1.0, dtype=np.float32)
    one = node("ConvTranspose", ["x", "w", "b"], ["y"], **given)
    content = model([one], {"w": w, "b": bias}, [1, *shape])
    made = network(content)
    assert any(isinstance(m, Transposed) for _, maps in made.makers["y"].summands for m in maps)
    x = np.random.default_rng(seed).integers(-8, 9, size=(1, *shape)).astype(np.float32)
    true = by_definition(x[0], w, given, bias)
    rows = forward(made, rows_of(x))["y"]
    found = [int(m) * Fraction(2) ** rows.exponent for m in rows.mantissa[0]]
    assert rows.radius[0] < 1e-300
    assert found == true.reshape(-1).tolist()
    theirs = deployed(content, x)
    assert theirs.shape == (1, *true.shape)
    assert theirs.reshape(-1).tolist() == [float(v) for v in found]  # small integers: exact too


@pytest.mark.parametrize("seed", range(12))
def test_norms_and_rounding_are_above_the_truth(seed):
    """Real weights: the norm of the explicit matrix, and float32 sums as ONNX Runtime adds them."""
    given, w, shape = drawn(100 + seed, 2)
    rng = np.random.default_rng(seed)
    w = rng.normal(size=w.shape).astype(np.float32)
    nodes = [node("ConvTranspose", ["x", "w"], ["t"], **given), node("Flatten", ["t"], ["y"])]
    made = network(model(nodes, {"w": w}, [1, *shape]))
    ((_, (one,)),) = made.makers["t"].summands
    unit = one.push(rows_of(np.eye(one.size.x)))
    A = np.ldexp(unit.mantissa * 1.0, unit.exponent)
    assert np.linalg.norm(A, 2) * (1.0 - 1e-9) <= one.norm <= one.gain
    if A.shape[1] < 2:
        return
    content = model(nodes, {"w": w}, [1, *shape])
    x = rng.normal(size=(1, *shape)).astype(np.float32)
    cost, best = bounds_of(made, x.reshape(1, -1), np.zeros(1))
    rows = forward(made, rows_of(x))[made.logits]
    wrong = deployed(content, x).reshape(-1) - np.ldexp(rows.mantissa[0] * 1.0, rows.exponent)
    others = np.arange(len(wrong)) != best[0]
    closer = np.abs(wrong - wrong[best[0]])
    assert (closer[others] <= cost[0][others] + 2.0 * rows.radius[0]).all()
    terms = w.shape[0] // given["group"] * int(np.prod(w.shape[2:]))
    assert cost[0][others].max() <= 8 * (terms + 8) * 2.0**-24 * (np.abs(x).max() * np.abs(A).sum())


KERNEL = {"w": f32(np.arange(18.0)).reshape(2, 1, 3, 3)}
REFUSED = {
    "a size that sets its pads": {"output_shape": [9, 9]},
    "the same by itself": {"auto_pad": "SAME_UPPER"},
    "the same, the other way": {"auto_pad": "SAME_LOWER"},
    "pads that are said twice": {"auto_pad": "VALID", "pads": [1, 1, 1, 1]},
    "zeros beyond the stride": {"strides": [2, 2], "output_padding": [2, 0]},
    "less than nothing added": {"strides": [2, 2], "output_padding": [-1, 0]},
    "padding of other axes": {"strides": [2, 2], "output_padding": [1]},
    "pads that add": {"pads": [-1, 0, 0, 0]},
    "pads that leave nothing": {"pads": [3, 0, 4, 0]},
    "pads of one end": {"pads": [1, 1]},
    "another kernel": {"kernel_shape": [3, 2]},
    "three groups of two channels": {"group": 3},
    "no groups": {"group": 0},
    "fewer than no groups": {"group": -1},
    "no stride": {"strides": [0, 1]},
    "a stride too many": {"strides": [1, 1, 1]},
    "a result beyond all memory": {"strides": [1 << 30, 1 << 30]},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_sure_is_refused(name):
    network(model([node("ConvTranspose", ["x", "w"], ["y"])], KERNEL, [1, 2, 4, 4]))
    given = node("ConvTranspose", ["x", "w"], ["y"], **REFUSED[name])
    unread(model([given], KERNEL, [1, 2, 4, 4]))


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_biases_are_of_the_channels_made(kind):
    weights = {"w": f32(np.ones((2, 2, 1, 1)))}
    one = node(kind, ["x", "w", "b"], ["y"])
    network(model([one], weights | {"b": f32([1.0, 2.0])}, [1, 2, 4, 4]))
    for bias in (f32([1.0]), f32(1.0), f32([[1.0, 2.0]]), f32(np.ones(4))):
        unread(model([one], weights | {"b": bias}, [1, 2, 4, 4]))


def test_other_images_and_kernels_are_refused():
    one = node("ConvTranspose", ["x", "w"], ["y"])
    for shape in ([1, 3, 4, 4], [1, 2, 4], [2, 4], [1, 2, 4, 4, 4]):
        unread(model([one], KERNEL, shape))
    unread(model([node("ConvTranspose", ["w", "x"], ["y"])], KERNEL, [1, 2, 4, 4]))


@pytest.fixture(scope="module", params=["real", "float32"])
def certified(request, tmp_path_factory):
    """The sample model of blocks with ConvTranspose, its data and a proof of its radii."""
    model, data = SAMPLES / "digits_cpl_conv.onnx", SAMPLES / "digits_test_images.npz"
    found = lipcert.certify(
        model, data, eps=["0.25"], first=24, time_limit=5.0, semantics=request.param
    )
    made = lipcert.prove_certificates(model, data, found, time_limit=5.0)
    proof = tmp_path_factory.mktemp("proof") / "p.json"
    proof.write_bytes(made.content)
    return model, data, proof, found, made


def test_a_model_with_transposed_convolutions_is_proved(certified):
    model, data, proof, found, made = certified
    assert b"ConvTranspose" in model.read_bytes()
    verdict = lipcert.check(proof, model, data)
    assert verdict.status == "proved", verdict.why
    assert verdict.certified == np.count_nonzero(made.radii) > 15
    assert (made.radii <= found.radii).all()


def test_other_weights_and_radii_of_it_are_refused(certified, tmp_path):
    """Also where the digest of the model is made anew."""
    model, data, proof, *_ = certified
    changed = loaded(model.read_bytes())
    names = {n.input[1] for n in changed.graph.node if n.op_type == "ConvTranspose"}
    for tensor in changed.graph.initializer:
        if tensor.name in names:
            values = numpy_helper.to_array(tensor) * np.float32(1.5)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    other = tmp_path / "m.onnx"
    other.write_bytes(changed.SerializeToString())
    assert lipcert.check(proof, other, data).status == "refuted"
    content = json.loads(proof.read_text())
    content["model"]["sha256"] = hashlib.sha256(other.read_bytes()).hexdigest()
    content["sha256"] = digest(content)
    (tmp_path / "p").write_text(json.dumps(content))
    assert lipcert.check(tmp_path / "p", other, data).status == "refuted"


def test_its_constant_is_that_of_the_averaged_bound():
    """Proofs hold no blocks yet: of the methods the averaged one is the next best."""
    model = SAMPLES / "digits_cpl_conv.onnx"
    bound = lipcert.bound(model, method="averaged", lower_seconds=0.0)
    assert prove(model, bound).facts.value <= bound.value * (1.0 + 1e-6)
