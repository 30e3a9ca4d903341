"""The tables of the page of sensitivities."""

from __future__ import annotations

from collections.abc import Iterable

from lipcert.reports.html.cells import Cell, Head, Table, count_cell
from lipcert.reports.html.sensitivity_charts import worth_text
from lipcert.reports.html.sensitivity_record import Reached, SensitivityRecord
from lipcert.reports.numbers import HEADLINE, at_least, at_most, shape
from lipcert.reports.sensitivity_content import ratio_text
from lipcert.sensitivities.tightenings import TIGHTENINGS

NOWHERE = Cell("–", -1.0)
"""In place of a ratio where no gradient was computed; sorted below all of them."""


def _bound(value: float) -> Cell:
    return Cell(at_most(value), value)


def _ratio(found: Reached | None) -> Cell:
    return NOWHERE if found is None else Cell(ratio_text(found.ratio), found.ratio)


def layer_table(record: SensitivityRecord) -> Table:
    """A row for each layer, in the order of the model."""
    reached = {one.name: one for one in record.truth.layers} if record.truth else {}
    heads = [Head("layer", "text"), Head("type", "text"), Head("X ≤"), Head("G ≤"), Head("Δ ≤")]
    if record.truth:
        heads.append(Head("truth / Δ"))
    heads += [Head("parameters, each Δ ≤", "text"), Head("X by", "text"), Head("G by", "text")]
    rows = []
    for layer in record.layers:
        cells = [
            Cell(layer.name, code=True),
            Cell(layer.onnx_type),
            *(_bound(value) for value in (layer.X, layer.G, layer.delta)),
        ]
        if record.truth:
            cells.append(_ratio(reached.get(layer.name)))
        parts = tuple((name, at_most(delta)) for name, delta in layer.parameters)
        rows.append((*cells, Cell("", parts=parts), Cell(layer.why_x), Cell(layer.why_g)))
    return Table("layers", "Layers in the order of the model", tuple(heads), tuple(rows))


def parameter_table(record: SensitivityRecord) -> Table:
    """A row for each initialiser, the uses of a tied one summed."""
    reached = {one.name: one for one in record.truth.parameters} if record.truth else {}
    heads = [Head("initialiser", "text"), Head("shape", "text"), Head("numbers"), Head("uses")]
    heads.append(Head("Δ ≤"))
    if record.truth:
        heads.append(Head("truth / Δ"))
    rows = []
    for one in record.parameters:
        cells = [
            Cell(one.name, code=True),
            Cell(shape(one.shape)),
            count_cell(one.numbers),
            count_cell(one.uses),
            _bound(one.delta),
        ]
        if record.truth:
            cells.append(_ratio(reached.get(one.name)))
        rows.append(tuple(cells))
    caption = "Parameters by their ONNX initialisers, each once"
    return Table("parameters", caption, tuple(heads), tuple(rows))


def tightening_table(record: SensitivityRecord) -> Table:
    """The bound as published, without each of the tightenings, and with all."""
    total = record.total
    found = [("none of them: as published, made sound", "", record.plain)]
    found += [(f"all but {name}", TIGHTENINGS.get(name, ""), v) for name, v in record.gains]
    found.append(("all of them", "", total))
    rows = tuple(
        (
            Cell(name),
            Cell(at_most(value, HEADLINE), value),
            Cell(worth_text(value, total) or "–", value / total if total > 0.0 else 0.0),
            Cell(words),
        )
        for name, words, value in found
    )
    heads = (Head("tightenings", "text"), Head("Δ ≤"), Head("larger by"), Head("of what", "text"))
    caption = "The global sensitivity with one tightening switched off"
    return Table("tightenings-data", caption, heads, rows, sortable=False)


def truth_table(record: SensitivityRecord) -> Table:
    """What the data reach of every bound, and by which example."""
    truth = record.truth
    assert truth is not None
    found = [truth.total, *([truth.searched] if truth.searched else []), *truth.layers]
    return Table("truth-data", "Largest gradient norms", TRUTH_HEADS, tuple(_reached(found)))


TRUTH_HEADS = (Head("of", "text"), Head("norm ≥"), Head("Δ ≤"), Head("ratio"), Head("example"))


def _reached(found: Iterable[Reached]) -> Iterable[tuple[Cell, ...]]:
    for one in found:
        example = Cell("searched", -1.0) if one.index is None else Cell(str(one.index), one.index)
        yield (
            Cell(one.name, code=True),
            Cell(at_least(one.least), one.least),
            _bound(one.bound),
            _ratio(one),
            example,
        )


def noise_table(record: SensitivityRecord) -> Table:
    """The noise on each number of every group of parameters."""
    assert record.privacy is not None
    bounds = ("Δ ≤", "noise on the sum", "on the mean")
    heads = (Head("layer", "text"), Head("parameters"), *(Head(text) for text in bounds))
    rows = tuple(
        (
            Cell(group.name, code=True),
            count_cell(group.parameters),
            _bound(group.delta),
            _bound(group.deviation),
            _bound(group.deviation_of_mean),
        )
        for group in record.privacy.groups
    )
    caption = "Standard deviation of the Gaussian noise on each number of a gradient, rounded up"
    return Table("noise", caption, heads, rows)
