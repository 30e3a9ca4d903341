"""Integer products and sums against Python's integers and rationals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lipcert.checker.convolution import Convolution, Transposed
from lipcert.checker.exact import (
    CheckError,
    Rows,
    by_squares,
    digits,
    lengths,
    power,
    product,
    times,
    weight,
)
from lipcert.checker.maps import Dense, total


def integers(shape, bits, seed):
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, bits, size=shape)
    signs = generator.choice([-1, 1], size=shape)
    values = [int(generator.integers(0, 2**62)) >> (62 - int(b)) for b in sizes.ravel()]
    return signs * np.array(values, dtype=np.int64).reshape(shape)


def whole(matrix):
    return matrix.astype(object)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 56), st.integers(2, 56), st.integers(1, 40))
def test_products_are_exact_within_their_units(seed, first_bits, second_bits, inner):
    a = integers((5, inner), first_bits, seed)
    b = integers((inner, 4), second_bits, seed + 1)
    values, shift, units = product(a, b)
    off = whole(a) @ whole(b) - whole(values) * 2**shift
    assert abs(int(abs(off).max())) <= units * 2**shift
    assert units == 0 or shift > 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 54), st.integers(1, 60))
def test_symmetric_products_are_the_plain_ones(seed, bits, inner):
    a = integers((6, inner), bits, seed)
    values, shift, units = product(a, a.T, symmetric=True, bits=60)
    off = whole(a) @ whole(a).T - whole(values) * 2**shift
    assert int(abs(off).max()) <= units * 2**shift
    assert (values == values.T).all()


@pytest.mark.parametrize("inner", [1, 2, 3, 1 << 15, (1 << 15) + 1, 3 << 15, 1 << 20])
def test_digits_are_so_small_that_float64_does_not_round(inner):
    """Odd numbers of the largest digits: sums of their products lose their last bit beyond 2^53."""
    width = (53 - (inner - 1).bit_length()) // 2 + 1
    assert inner << (2 * width - 2) <= 1 << 53 < inner << (2 * width + 2)
    for bits in (width - 1, 2 * width - 1):
        a = np.full((1, inner), (1 << bits) - 1, dtype=np.int64)
        values, shift, units = product(a, a.T)
        exact = inner * ((1 << bits) - 1) ** 2
        assert abs(exact - int(values[0, 0]) * 2**shift) <= units * 2**shift
        assert units > 0 or exact < 1 << 57


def test_room_is_left_for_a_larger_number():
    a = np.ones((1, 1), dtype=np.int64)
    _, shift, _ = product(a, a, room=1 << 100, bits=60)
    assert (1 << 100) >> shift < 1 << 61


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=20), st.integers(8, 27))
def test_digits_add_up(values, width):
    parts = digits(np.array(values, dtype=np.int64), width)
    again = sum(
        int(1 << (width * k)) * part.astype(np.int64).astype(object) for k, part in enumerate(parts)
    )
    assert [int(v) for v in again] == values
    assert all(abs(part).max() <= 2 ** (width - 1) for part in parts)


@given(
    st.lists(st.floats(-1e30, 1e30, allow_nan=False), min_size=1, max_size=12),
    st.integers(20, 56),
)
def test_weights_are_exact_or_within_their_radius(values, bits):
    own = weight(np.array(values), bits)
    off = [
        Fraction(v) - int(m) * Fraction(2) ** own.exponent
        for v, m in zip(values, own.mantissa, strict=True)
    ]
    assert sum(o * o for o in off) <= Fraction(own.radius) ** 2
    assert max(abs(int(m)) for m in own.mantissa) <= 1 << bits


def test_float32_weights_of_ordinary_range_are_exact():
    values = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    own = weight(values)
    assert own.radius == 0.0
    assert (np.ldexp(own.mantissa.astype(np.float64), own.exponent) == values).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    with pytest.raises(CheckError):
        weight(np.array([1.0, value]))


@given(st.integers(0, 10**6), st.integers(2, 56), st.integers(2, 56))
def test_elementwise_products(seed, first_bits, second_bits):
    a, b = integers((7,), first_bits, seed), integers((7,), second_bits, seed + 1)
    values, shift, units = times(a, b)
    off = whole(a) * whole(b) - whole(values) * 2**shift
    assert int(abs(off).max()) <= units * 2**shift


@given(st.integers(0, 10**6), st.integers(-80, 80), st.integers(2, 56))
def test_sums_of_rows(seed, apart, bits):
    a, b = integers((3, 4), bits, seed), integers((3, 4), 50, seed + 1)
    found = total([Rows(a, 0, np.zeros(3)), Rows(b, apart, np.zeros(3))])
    exact = [[Fraction(int(v)) for v in row] for row in a]
    for i, row in enumerate(b):
        off = Fraction(0)
        for j, v in enumerate(row):
            true = exact[i][j] + int(v) * Fraction(2) ** apart
            off += (true - int(found.mantissa[i, j]) * Fraction(2) ** found.exponent) ** 2
        assert off <= Fraction(float(found.radius[i])) ** 2


@given(st.lists(st.integers(-(2**56), 2**56), min_size=1, max_size=30), st.integers(-60, 60))
def test_lengths_are_not_short(values, exponent):
    found = lengths(np.array([values], dtype=np.int64), exponent)[0]
    assert Fraction(float(found)) ** 2 >= sum(v * v for v in values) * Fraction(4) ** exponent


def test_powers_round_upward():
    assert power(1024) == np.inf
    assert power(-2000) > 0.0
    assert power(10) == 1024.0


@pytest.mark.parametrize("scale", [1e-110, 1e-30, 1.0, 1e60])
@pytest.mark.parametrize("shape", [(1, 1, 7), (1, 40, 9), (3, 5, 64), (1, 120, 120)])
def test_norms_by_squares_are_just_above(shape, scale):
    matrices = np.random.default_rng(sum(shape)).normal(size=shape) * scale
    true = max(np.linalg.norm(one / scale, 2) for one in matrices) * scale
    found = by_squares(matrices)
    assert true * (1 - 1e-12) <= found <= true * 1.02
    orthogonal, _ = np.linalg.qr(matrices[0] / scale)
    assert 1 - 1e-12 <= by_squares(orthogonal[None]) <= 1.02


@pytest.mark.parametrize("kind", [Convolution, Transposed])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("dilation", [1, 2, 3, 6])
@pytest.mark.parametrize("groups", [1, 2])
def test_norms_of_maps_are_above_those_of_their_matrices(stride, dilation, groups, kind):
    random = np.random.default_rng(stride + 10 * groups)
    kernel = weight(random.normal(size=(4, 6 // groups, 3, 2)))
    sides = tuple((n + 2 - dilation * (k - 1) - 1) // stride + 1 for n, k in ((17, 3), (9, 2)))
    one = kind(kernel, (17, 9), sides, (stride,) * 2, (1, 1), (dilation,) * 2, groups)
    size = one.size.x
    unit = Rows(np.eye(size, dtype=np.int64) << 20, -20, np.zeros(size))
    pushed = one.push(unit)
    true = np.linalg.norm(np.ldexp(pushed.mantissa.reshape(size, -1) * 1.0, pushed.exponent), 2)
    assert true * (1 - 1e-9) <= one.norm <= one.gain
    assert one.norm < 3.0 * true


def test_a_dilation_that_the_stride_divides_reads_an_element_with_every_tap():
    """Strides of 2 and dilations of 2: three taps add up, though two strides pass a kernel."""
    one = Convolution(weight(np.ones((1, 1, 3))), (9,), (3,), (2,), (0,), (2,), 1)
    assert one.copies == 3
    pushed = one.push(Rows(np.eye(9, dtype=np.int64), 0, np.zeros(9)))
    true = np.linalg.norm(np.ldexp(pushed.mantissa * 1.0, pushed.exponent), 2)
    assert np.sqrt(2.0 * 3.0) < 2.5 < true <= one.norm


def test_norms_of_dense_maps_are_close():
    random = np.random.default_rng(0)
    dense = Dense(weight(random.normal(size=(30, 50))))
    true = np.linalg.norm(np.ldexp(dense.weight.mantissa * 1.0, dense.weight.exponent), 2)
    assert true * (1 - 1e-12) <= dense.norm <= 1.02 * true
