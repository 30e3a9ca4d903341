"""Names made printable and short."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lipcert.reports.words import plural, printable, shortened


@given(st.text())
def test_printable_text_stays_on_its_line(name: str) -> None:
    assert printable(name).isprintable()
    assert printable(printable(name)) == printable(name)


def test_escapes_are_shown_not_obeyed() -> None:
    assert printable("a\x1b[31m\nb\udcff") == "a\\x1b[31m\\nb\\udcff"
    assert printable("größe → 1") == "größe → 1"


@given(st.text(min_size=1), st.integers(1, 60))
def test_shortened_fits(name: str, width: int) -> None:
    short = shortened(name, width)
    assert len(short) <= width
    assert short == name or "…" in short


def test_both_parts_of_an_arrow_are_kept() -> None:
    assert shortened("model/block1/relu → model/block2/relu", 27) == "mod…ck1/relu → mod…ck2/relu"
    assert shortened("input → model/block2/relu", 20) == "input → mod…ck2/relu"


def test_plural() -> None:
    assert plural(1, "layer") == "1 layer"
    assert plural(1200, "layer") == "1,200 layers"
