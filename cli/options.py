"""Options that several commands share: each is declared once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from lipcert.reports import formats_of

from .delivery import Delivery
from .session import COLOR_CHOICES, Session
from .values import METHOD_NAMES, read_method, read_shape, report_reader

Command = Callable[..., Any]

NORM_NAMES = ("l2", "l1", "linf")
SOLVER_NAMES = ("hkm", "scs", "clarabel")
SPECTRAL_NAMES = ("auto", "gram", "svd")
DEVICE_NAMES = ("cpu", "cuda", "auto")
PATH = click.Path(path_type=Path)

model_argument = click.argument("model", type=PATH)

norm_option = click.option(
    "--norm",
    type=click.Choice(NORM_NAMES),
    default="l2",
    show_default=True,
    help="Norm of inputs and outputs.",
)
method_option = click.option(
    "--method",
    type=read_method,
    metavar=f"[{'|'.join(METHOD_NAMES)}]",
    default="auto",
    show_default=True,
    help="How the bound is found; auto takes the smallest that the time limit allows.",
)
spectral_option = click.option(
    "--spectral",
    type=click.Choice(SPECTRAL_NAMES),
    default="auto",
    show_default=True,
    help="How operator norms are found: Gram iteration, or eigenvalues (svd). All are proven.",
)
time_limit_option = click.option(
    "--time-limit",
    type=float,
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds after which no optional work is started and LipSDP stops with what it has.",
)
solver_option = click.option(
    "--solver",
    type=click.Choice(SOLVER_NAMES),
    default="hkm",
    show_default=True,
    help="Solver of LipSDP: hkm is lipcert's own; the others are references for small models. "
    "What any of them returns is proved before it is printed.",
)
device_option = click.option(
    "--device",
    type=click.Choice(DEVICE_NAMES),
    default="cpu",
    show_default=True,
    help="Where to compute; auto takes a GPU where there is one.",
)
input_shape_option = click.option(
    "--input-shape",
    type=read_shape,
    metavar="3x32x32",
    help="Shape of one sample, without the batch, for a model with dynamic sizes.",
)
output_option = click.option(
    "--output", metavar="NAME", help="The output to take, for a model with several."
)


labels_option = click.option(
    "--labels", type=PATH, metavar="FILE", help="Labels, where the data hold samples only."
)
first_option = click.option(
    "--first", type=click.IntRange(min=1), metavar="N", help="Only the first N samples."
)


def model_options(command: Command) -> Command:
    """How a model is read, and where it is computed with."""
    for option in (output_option, input_shape_option, device_option):
        command = option(command)
    return command


def output_options(result: str) -> Callable[[Command], Command]:
    """``--format``, ``--report``, ``--overwrite``, ``-q``, ``-v`` and ``--color``.

    The formats are those of results of the class named ``result``.  The command gets
    ``delivery`` and, through it, the session, in place of these options.
    """
    names = formats_of(result)

    def add(command: Command) -> Command:
        @click.option(
            "--format",
            type=click.Choice(names),
            default="text",
            show_default=True,
            help="Form of the result on stdout.",
        )
        @click.option(
            "--report",
            "reports",
            type=report_reader(names),
            multiple=True,
            metavar="FORMAT=FILE",
            help="Also write the result to a file, such as json=result.json. Repeatable.",
        )
        @click.option(
            "--overwrite",
            is_flag=True,
            help="Replace files that exist; without it they are an error.",
        )
        @session_options
        @functools.wraps(command)
        def wrapper(
            *,
            session: Session,
            format: str,
            reports: tuple[tuple[str, Path], ...],
            overwrite: bool,
            **others: Any,
        ) -> Any:
            return command(delivery=Delivery(session, format, reports, overwrite), **others)

        return wrapper

    return add


def session_options(command: Command) -> Command:
    """``-q``, ``-v`` and ``--color``; the command gets ``session`` in their place."""

    @click.option(
        "-q", "--quiet", is_flag=True, help="No progress and no notes on stderr, only errors."
    )
    @click.option(
        "-v",
        "--verbose",
        count=True,
        help="Tell each step on stderr; -vv adds the traceback of an error.",
    )
    @click.option(
        "--color",
        type=click.Choice(COLOR_CHOICES),
        default="auto",
        show_default=True,
        help="Colour; auto: on a terminal, unless NO_COLOR or FORCE_COLOR is set.",
    )
    @click.pass_obj
    @functools.wraps(command)
    def wrapper(
        session: Session, /, *, quiet: bool, verbose: int, color: str, **others: Any
    ) -> Any:
        session.quiet, session.verbosity, session.color = quiet, verbose, color
        session.start_logging()
        return command(session=session, **others)

    return wrapper
