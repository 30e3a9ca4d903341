"""Which parts of a model enter the matrix inequality together: decided by what they cost.

One block for the whole model is the tightest.  Where it does not fit into memory or time, the
model is cut into several blocks with diagonal couplings, and what is too large even alone becomes a
box that is known by its constant only.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from dataclasses import dataclass

import torch

from lipcert.bounds.context import BoundContext
from lipcert.bounds.parts import cuts
from lipcert.signals import SignalForm

ITERATIONS = 22
"""Interior-point iterations that a model takes, about."""
EFFICIENCY = 0.5
"""Part of the rate of a matrix product that the solver reaches."""
TRIAL_SIDE = {"cpu": 512, "cuda": 4096}
"""Side of the matrix product that is timed."""
LONGEST = 600.0
"""Seconds planned for where no deadline is set."""
SHARE = 0.6
"""Part of the time left that the solver may plan for."""
FREE_WORK = 2e10
"""Operations that are never too many."""
MEMORY_SHARE = 0.4
"""Part of the machine's memory that the matrices may take."""
BOX_LOSS = 4.0
"""How much worse a stage in a box is than one more cut: decides between plans of equal cost."""


@dataclass(frozen=True)
class Stretch:
    """Stages ``start`` to ``stop − 1``, in the matrix inequality or in a box."""

    start: int
    stop: int
    boxed: bool


@dataclass(frozen=True)
class Size:
    """What one block costs.

    Parameters
    ----------
    side : of its matrix.
    neurons : multipliers of its own, about.
    work : floating-point operations of one iteration.
    memory : bytes.
    """

    side: int
    neurons: int
    work: float
    memory: float


def size_of(form: SignalForm, start: int, stop: int) -> Size:
    """The size of the block of some stages, from shapes alone."""
    whole = len(form.stages)
    entry = math.prod(form.input_shape) if start == 1 else form.stages[start - 1].input_size
    neurons = sum(form.size(k) for k in range(start, stop))
    rows = sum(form.stages[k - 1].input_size for k in range(start, stop))
    leaving = form.output_terms if stop > whole else form.stages[stop - 1].terms
    exits = next(iter(leaving.values())).out_size if leaving else 0
    reading = [form.stages[k - 1].terms for k in range(start + (start > 1), stop)] + [leaving]
    stored = sum(float(A.in_size) * A.out_size for terms in reading for A in terms.values())
    if start == 1:
        readers = sum(next(iter(t.values())).out_size for t in reading if 0 in t)
        entry = min(entry, readers)
    side = entry + neurons
    all_rows = rows + (exits if stop <= whole else 0)
    work = 9.0 * float(side) ** 3 + 14.0 * stored * side + float(all_rows) ** 3 / 3.0
    memory = 8.0 * (16.0 * float(side) ** 2 + 8.0 * float(all_rows) ** 2 + 2.0 * stored)
    return Size(side, neurons, work, memory)


def plan(form: SignalForm, context: BoundContext) -> list[Stretch]:
    """The stretches of a model in order."""
    edges = [1, *cuts(form), len(form.stages) + 1]
    room = _memory(context.device)
    sizes = {pair: size_of(form, *pair) for pair in itertools.combinations(edges, 2)}
    costs = {
        key: size.work * ITERATIONS if size.memory <= room else math.inf
        for key, size in sizes.items()
    }
    everything = costs[1, edges[-1]]
    if everything <= FREE_WORK:  # no need to time anything
        return [Stretch(1, edges[-1], boxed=False)]
    budget = _budget(context)
    if everything <= budget:
        return [Stretch(1, edges[-1], boxed=False)]
    for exponent in range(-12, 40):
        chosen, cost = _cheapest(edges, costs, 2.0**exponent / budget)
        memory = sum(sizes[part.start, part.stop].memory for part in chosen if not part.boxed)
        if cost <= budget and memory <= room:
            return chosen
    return [Stretch(1, edges[-1], boxed=True)]


def _cheapest(
    edges: list[int], costs: dict[tuple[int, int], float], price: float
) -> tuple[list[Stretch], float]:
    """The stretches of least loss plus price times cost, by dynamic programming."""
    best: list[tuple[float, float, list[Stretch]]] = [(0.0, 0.0, [])]
    for place, stop in enumerate(edges[1:], start=1):
        options = []
        for start, (loss, cost, before) in zip(edges[:place], best, strict=True):
            boxed_before = bool(before) and before[-1].boxed
            if not boxed_before:  # two boxes in a row are one
                boxed = Stretch(start, stop, boxed=True)
                options.append((loss + BOX_LOSS * (stop - start) + 1.0, cost, [*before, boxed]))
            own = costs[start, stop]
            if math.isfinite(own):
                stretch = Stretch(start, stop, boxed=False)
                options.append((loss + 1.0 + price * own, cost + own, [*before, stretch]))
        best.append(min(options, key=lambda option: option[0]))
    return best[-1][2], best[-1][1]


def _budget(context: BoundContext) -> float:
    left = min(context.settings.deadline - time.monotonic(), LONGEST)
    return max(left, 0.5) * SHARE * EFFICIENCY * product_rate(context.device)


def product_rate(device: torch.device) -> float:
    """Floating-point operations per second of a matrix product here and now, from a short trial."""
    side = TRIAL_SIDE[device.type]
    square = torch.ones(side, side, dtype=torch.float64, device=device)
    best = math.inf
    for _ in range(3):
        began = time.perf_counter()
        float((square @ square)[0, 0])
        best = min(best, time.perf_counter() - began)
    return 2.0 * float(side) ** 3 / best


def _memory(device: torch.device) -> float:
    """Bytes that may be used."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0]) * 2.0 * MEMORY_SHARE
    return float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES") * MEMORY_SHARE


def describe(form: SignalForm, stretches: list[Stretch]) -> str:
    """The plan in a few words."""
    open_ones = [stretch for stretch in stretches if not stretch.boxed]
    neurons = sum(size_of(form, part.start, part.stop).neurons for part in open_ones)
    text = f"{neurons:,} neurons in " + (
        "one block" if len(open_ones) == 1 else f"{len(open_ones)} blocks"
    )
    boxed = [stretch for stretch in stretches if stretch.boxed]
    if boxed:
        names = [
            f"{form.stages[part.start - 1].node.name} to {form.stages[part.stop - 2].node.name}"
            for part in boxed
        ]
        text += f"; by their constants only: {', '.join(names)}"
    return text
