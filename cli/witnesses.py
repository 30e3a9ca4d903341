"""Where a contradiction of something proved is kept, before its error goes on its way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from lipcert.errors import LipcertError, SoundnessError
from lipcert.reports.files import free_name
from lipcert.reports.witness import witness_npz

from .delivery import Delivery
from .options import PATH

DEFAULT = Path("lipcert-witness.npz")


def witness_option(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--witness``, of ``what``."""
    return click.option(
        "--witness",
        type=PATH,
        default=DEFAULT,
        show_default=True,
        metavar="FILE.npz",
        help=f"Where {what} is written, should one be found.",
    )


@contextmanager
def refutation_kept(delivery: Delivery, target: Path) -> Iterator[None]:
    """Write the witness of a soundness violation, never over a file that is there.

    The error tells where it is; that it cannot be written does not hide the error.
    """
    try:
        yield
    except SoundnessError as error:
        witness = getattr(error, "witness", None)
        if witness is not None:
            place = free_name(target)
            try:
                delivery.write(place, witness_npz(witness))
                error.remedy += f"; the witness is in {place}"
            except LipcertError as failure:
                error.remedy += f"; the witness is lost: {failure}"
        raise
