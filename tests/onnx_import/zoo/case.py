"""What a model of the zoo is, and how it is written as an ONNX file."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """A small model and what the importer must make of it.

    Parameters
    ----------
    name : of the case.
    build : makes the module.
    shape : of one sample.
    infinite : ONNX operators whose nodes may lack a finite constant; all others must have one.
    joint : whether the graph must have one nonlinearity, a jointly bounded maximum and minimum
        or a sort.
    refused : a part of the message when the importer must refuse the file, by exporter
        ("legacy-11", "dynamo", ...); the longest key that the exporter's name starts with counts.
    unexported : why an exporter itself fails, by exporter.
    oracle : "torch" where ONNX Runtime has no kernel for what is written.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = (6,)
    infinite: frozenset[str] = frozenset()
    joint: bool = False
    refused: dict[str, str] = field(default_factory=dict)
    unexported: dict[str, str] = field(default_factory=dict)
    oracle: str = "onnxruntime"

    def module(self) -> nn.Module:
        """The module in evaluation mode, the same at every call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(sum(map(ord, self.name)))
            return self.build().eval()

    def refusal(self, exporter: str) -> str:
        """What the importer must say of the file that ``exporter`` writes; empty if it reads it."""
        return _matching(self.refused, exporter)

    def failure(self, exporter: str) -> str:
        """Why ``exporter`` cannot write the module; empty if it can."""
        return _matching(self.unexported, exporter)


def _matching(table: dict[str, str], exporter: str) -> str:
    """The entry of the longest key that ``exporter`` starts with, or the empty string."""
    keys = [key for key in table if exporter.startswith(key)]
    return table[max(keys, key=len)] if keys else ""


class Panel(nn.Module):
    """Several models of one input as the outputs of one: one export instead of many."""

    def __init__(self, modules: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(modules)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(member(x) for member in self.members)


def example(shape: tuple[int, ...], batch: int) -> Tensor:
    """An input to trace with."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(batch, *shape, generator=generator)


@contextlib.contextmanager
def quietly():
    """Silence what the exporters say."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def export_legacy(
    module: nn.Module, shape: tuple[int, ...], path: Path, opset: int, *, dynamic: bool
) -> None:
    """Write a module with the TorchScript exporter."""
    axes = {"x": {0: "n"}, "y": {0: "n"}} if dynamic else None
    with quietly():
        torch.onnx.export(
            module,
            (example(shape, 2 if dynamic else 1),),
            str(path),
            dynamo=False,
            opset_version=opset,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes=axes,
        )


def export_dynamo(
    module: nn.Module, shape: tuple[int, ...], path: Path, opset: int, *, dynamic: bool
) -> None:
    """Write a module with the exporter built on torch.export."""
    shapes = ({0: torch.export.Dim("n", min=1, max=64)},) if dynamic else None
    with quietly():
        torch.onnx.export(
            module,
            (example(shape, 3 if dynamic else 1),),
            str(path),
            dynamo=True,
            opset_version=opset,
            dynamic_shapes=shapes,
            external_data=False,
            verbose=False,
        )
