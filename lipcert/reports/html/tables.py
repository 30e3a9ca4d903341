"""The tables of the page of certificates."""

from __future__ import annotations

from collections.abc import Iterable

from lipcert.reports.content import YES
from lipcert.reports.html.cells import Cell, Head, Table, count_cell
from lipcert.reports.html.record import Layer, Level, Record
from lipcert.reports.html.samples import Sample
from lipcert.reports.html.sentences import radius_text
from lipcert.reports.numbers import HEADLINE, at_least, at_most, eps_value, interval, shape
from lipcert.reports.words import ITSELF


def _radius(value: float) -> Cell:
    return Cell(radius_text(value), value)


def level_label(level: Level) -> str:
    """ε as it was written."""
    return eps_value(level.eps, level.text)


def class_table(record: Record) -> Table:
    """A row for each class, with its counts at every ε."""
    attacked = any(row.attacked is not None for row in record.classes)
    kinds = ("certified", "attacked") if attacked else ("certified",)
    heads = [Head("class"), Head("samples"), Head("correct")]
    groups = [("", 3)]
    for level in record.levels:
        groups.append((f"ε = {level_label(level)}", len(kinds)))
        heads += [Head(kind) for kind in kinds]
    rows = []
    for row in record.classes:
        cells = [Cell(str(row.label), row.label), count_cell(row.samples), count_cell(row.correct)]
        for index, certified in enumerate(row.certified):
            cells.append(count_cell(certified))
            if attacked:
                cells.append(count_cell(row.attacked[index]) if row.attacked else Cell(""))
        rows.append((*cells, _radius(row.median_radius)))
    return Table(
        "classes",
        "Exact counts for each class",
        (*heads, Head("median radius")),
        tuple(rows),
        (*groups, ("", 1)) if record.levels else (),
    )


def layer_table(record: Record) -> Table:
    """A row for each layer, in the order of the model."""
    titles = ("layer", "type", "output", "parameters", "slope", f"{record.norm} norm ≤")
    kinds = ("text", "text", "text", "number", "text", "number")
    heads = tuple(Head(title, kind) for title, kind in zip(titles, kinds, strict=True))
    return Table(
        "layers",
        "Layers in the order of the model",
        (*heads, Head("1-Lipschitz", "text"), Head("how", "text")),
        tuple(_layer_row(layer) for layer in record.layers),
    )


def _layer_row(layer: Layer) -> tuple[Cell, ...]:
    slope = interval(*layer.slopes) if layer.slopes else "nonlinear"
    return (
        Cell(layer.name, code=True),
        Cell(layer.onnx_type),
        Cell(shape(layer.output_shape)),
        count_cell(layer.parameters),
        Cell("linear" if layer.linear else slope),
        Cell(at_most(layer.norm), layer.norm),
        Cell(f"{YES} yes" if layer.contraction else "no"),
        Cell(layer.how),
    )


def method_table(record: Record) -> Table:
    """Every method that ran, the smallest bound first."""
    bound = record.bound
    rows = []
    for name, value in bound.methods:
        chosen = name == record.method
        remarks = [bound.details.get(name, "")]
        if chosen and bound.exact:
            remarks.insert(0, ITSELF)
        rows.append(
            (
                Cell(name, code=True),
                Cell(at_most(value, HEADLINE), value),
                Cell(f"{YES} used" if chosen else ""),
                Cell("; ".join(remark for remark in remarks if remark)),
            )
        )
    heads = (Head("method", "text"), Head("bound"), Head(" ", "text"), Head("how", "text"))
    caption = "Upper bounds of the Lipschitz constant, the smallest first"
    return Table("methods", caption, heads, tuple(rows), sortable=False)


def score_table(record: Record) -> Table | None:
    """Certified AUROC at every ε; None where it is not defined."""
    if record.scores is None or not record.scores.auroc:
        return None
    rows = tuple(
        (Cell(eps_value(eps, text), eps), Cell(at_least(value, 6), value))
        for eps, text, value in record.scores.auroc
    )
    heads = (Head("ε"), Head("certified AUROC ≥"))
    return Table("auroc", "AUROC that no perturbation gets below", heads, rows, sortable=False)


def sample_table(name: str, caption: str, samples: Iterable[Sample]) -> Table:
    """Samples that are not images."""
    rows = tuple(
        (
            Cell(str(sample.index), sample.index),
            Cell(str(sample.label), sample.label),
            Cell(str(sample.prediction), sample.prediction),
            _radius(sample.radius),
        )
        for sample in samples
    )
    heads = (Head("sample"), Head("label"), Head("prediction"), Head("radius"))
    return Table(name, caption, heads, rows, sortable=False)


def curve_table(record: Record) -> Table:
    """The points of the curve."""
    attacked = record.curve[0].attacked is not None
    rows = []
    for point in record.curve:
        cells = [Cell(at_most(point.eps, 5), point.eps), count_cell(point.certified)]
        if point.attacked is not None:
            cells.append(count_cell(point.attacked))
        rows.append(tuple(cells))
    heads = (Head("ε"), Head("certified"), *((Head("attacked"),) if attacked else ()))
    caption = f"Exact counts of {record.samples:,} samples over ε"
    return Table("curve-data", caption, heads, tuple(rows), sortable=False)


def histogram_table(record: Record) -> Table:
    """The bins of the histogram."""
    edges, counts = record.histogram.edges, record.histogram.counts
    rows = tuple(
        (Cell(f"{left:.5g}", left), Cell(f"{right:.5g}", right), count_cell(count))
        for left, right, count in zip(edges, edges[1:], counts, strict=False)
    )
    heads = (Head("from"), Head("to"), Head("samples"))
    caption = "Correctly classified samples by radius"
    return Table("histogram-data", caption, heads, rows, sortable=False)
