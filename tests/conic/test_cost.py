"""What an iteration costs: how it grows, not what it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lipcert.conic.cost import FamilySize, RowSize


def chain(depth: int, channels: int = 16) -> FamilySize:
    """Stages one behind the other."""
    rows = [RowSize(channels, k, (k - 1,)) for k in range(1, depth + 1)]
    sizes = (channels,) * (depth + 1)
    return FamilySize(sizes, rows, (depth,), True, True, 400, 20)


def test_twice_the_depth_is_less_than_four_times_the_cost() -> None:
    for depth in (4, 8, 16, 32):
        assert 1.8 < chain(2 * depth).work / chain(depth).work < 4.0


def test_twice_the_channels_are_at_most_eight_times_the_cost() -> None:
    for channels in (16, 32, 64):
        assert 3.0 < chain(8, 2 * channels).work / chain(8, channels).work < 8.1


def test_a_wide_diagonal_entry_costs_as_much_as_it_is_wide() -> None:
    rows = [RowSize(100, 1, (0,))]
    heads = [FamilySize((n, 100), rows, (1,), True, False, 1, 1) for n in (2000, 4000)]
    assert heads[1].work / heads[0].work == pytest.approx(2.0, rel=0.1)
    full = replace(heads[0], entry_is_diagonal=False)
    assert full.work > 50.0 * heads[0].work


def test_frequencies_that_do_not_take_part_cost_little() -> None:
    many = replace(chain(8), frequencies=4000)  # ten times as many
    assert many.work < 8.0 * chain(8).work
    taking_part = replace(chain(8), taking_part=200)
    assert taking_part.work > 3.0 * chain(8).work
