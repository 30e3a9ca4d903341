"""Residual blocks x + g(x) one by one: how steep g is, and whether the block can be inverted."""

from __future__ import annotations

import math
from dataclasses import dataclass

from lipcert.bounds.autolip import autolip_bound
from lipcert.bounds.averaged import averaged_bound
from lipcert.bounds.blocks import next_share
from lipcert.bounds.context import BoundContext
from lipcert.composition import skips_of
from lipcert.graph import Graph
from lipcert.rounding import div_up, sub_down
from lipcert.signals import SignalForm, fold


@dataclass(frozen=True)
class ResidualBlock:
    """A block ``y = x + g(x)``.

    Parameters
    ----------
    name : the node that adds.
    start : the node that gives x, "input" for the model's input.
    branch : the nodes of g in order.
    norm : bound of the Lipschitz constant of g.
    """

    name: str
    start: str
    branch: tuple[str, ...]
    norm: float

    @property
    def is_invertible(self) -> bool:
        """Whether g is proved to be a contraction, so that every y has exactly one x."""
        return self.norm < 1.0

    @property
    def inverse(self) -> float:
        """Bound of the inverse's Lipschitz constant, ``1/(1 − Lip(g))`` rounded upward.

        From ``‖y − y'‖ ≥ ‖x − x'‖ − ‖g(x) − g(x')‖`` (Behrmann et al. 2019, Lemma 2); infinite
        where g is not proved to be a contraction.
        """
        return div_up(1.0, sub_down(1.0, self.norm)) if self.is_invertible else math.inf


CLOSE = 4.0
"""Product of norms below which a costlier bound may still show a contraction."""


def _steepness(form: SignalForm, context: BoundContext) -> float:
    product = context.early(autolip_bound, form).value
    if not 1.0 <= product < CLOSE or context.expired:
        return product
    return min(product, averaged_bound(form, context).value)


def residual_blocks(graph: Graph, context: BoundContext) -> tuple[ResidualBlock, ...]:
    """The residual blocks of a graph in order, nested ones included, in the context's norm."""
    makers = {node.output: node.name for node in graph.nodes}
    skips = skips_of(graph)
    found = []
    for number, skip in enumerate(skips):
        context.progress(f"residual block {skip.total.name}", number / len(skips))
        with context.until(next_share(context, len(skips) - number)) as share:
            steepness = _steepness(fold(skip.branch), share)
        names = dict.fromkeys(node.name for node in skip.branch.nodes)
        names.pop(skip.total.name, None)  # a subtraction negates g in the node that adds
        start = makers.get(skip.start, "input")
        found.append(ResidualBlock(skip.total.name, start, tuple(names), steepness))
    return tuple(found)
