"""Errors as they are told."""

from __future__ import annotations

import pytest

from lipcert.errors import LONGEST, InputError


def test_place_finding_and_remedy():
    assert str(InputError("m.onnx", "is empty", "export it again")) == (
        "m.onnx: is empty; export it again"
    )
    assert str(InputError("", "is empty")) == "is empty"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a\nb", "a b"),
        ("a\r\n\tb", "a b"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u202e", "\\u202e"),
        ("\ud800", "\\ud800"),
        ("é…∞", "é…∞"),
    ],
)
def test_names_that_cannot_be_printed(name: str, told: str):
    assert str(InputError("m", f"holds {name!s}")) == f"m: holds {told}"
    assert InputError("m", name).finding == name


def test_what_is_too_long_is_cut_in_the_middle():
    text = str(InputError("begin" + "x" * 10**8 + "end", "is long", "shorten it"))
    assert len(text) < 2 * LONGEST
    assert text.startswith("beginx") and "xend: is long; shorten it" in text
