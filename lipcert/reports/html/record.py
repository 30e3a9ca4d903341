"""A result of ``lipcert certify`` as its JSON tells it, checked: what HTML and Markdown show."""

from __future__ import annotations

from dataclasses import dataclass

from lipcert.reports.html.proof_record import ProofRecord
from lipcert.reports.html.samples import ClassRow, CurvePoint, Histogram, Sample
from lipcert.reports.html.spot import Spot

SCHEMA = "lipcert/certify/2"


@dataclass(frozen=True)
class Level:
    """Exact counts at one ε of the run; ``attacked`` is None without an attack, ``real`` unless
    the others are for float32."""

    eps: float
    text: str
    certified: int
    attacked: int | None
    real: int | None = None


@dataclass(frozen=True)
class Radii:
    """Statistics of the radii."""

    mean: float
    median: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class Attack:
    """How an attack was run: its name, its settings as label and value, and what rounding did."""

    name: str
    settings: tuple[tuple[str, str], ...]
    rounded: int


@dataclass(frozen=True)
class Score:
    """What the scores of a model with one output certify; AUROC by the text of ε."""

    mcr: float
    auroc: tuple[tuple[float, str, float], ...]
    positives: int
    negatives: int


@dataclass(frozen=True)
class Bound:
    """The Lipschitz bound behind the radii."""

    value: float
    lower: float | None
    output: str
    methods: tuple[tuple[str, float], ...]
    details: dict[str, str]
    exact: bool
    spectral: str
    device: str


@dataclass(frozen=True)
class Layer:
    """One layer and its norm."""

    name: str
    onnx_type: str
    output_shape: tuple[int, ...]
    parameters: int
    linear: bool
    norm: float
    how: str
    slopes: tuple[float, float] | None
    contraction: bool


@dataclass(frozen=True)
class Record:
    """Everything of schema lipcert/certify/2; strings are printable, counts within the samples."""

    model: str
    model_sha256: str
    data: str
    data_sha256: str
    command: str
    samples: int
    clean_correct: int
    levels: tuple[Level, ...]
    radii: Radii
    norm: str
    units: str
    semantics: str
    normalization: tuple[tuple[str, tuple[float, ...]], ...]
    input_range: tuple[float, float] | None
    disagreements: int
    largest_deviation: float
    attack: Attack | None
    scores: Score | None
    method: str
    bound: Bound
    curve: tuple[CurvePoint, ...]
    histogram: Histogram
    classes: tuple[ClassRow, ...]
    worst: tuple[Sample, ...]
    best: tuple[Sample, ...]
    layers: tuple[Layer, ...]
    versions: tuple[tuple[str, str], ...]
    proof: ProofRecord | None = None

    @property
    def wrong(self) -> int:
        """Samples predicted wrongly."""
        return self.samples - self.clean_correct


def record_of(values: object, file: str = "result") -> Record:
    """The record of a JSON object of schema lipcert/certify/2.

    Raises
    ------
    InputError : a key is missing, a value has another type, or two contradict each other.
    """
    root = Spot(values, file)
    total = root["samples"].count()
    if total == 0:
        root["samples"].refuse("a positive count")
    levels = tuple(_level(spot, total) for spot in root["certified"].rows())
    return Record(
        model=root["model"].text(),
        model_sha256=root["model_sha256"].text(),
        data=root["data"].text(),
        data_sha256=root["data_sha256"].text(),
        command=root["command"].text(),
        samples=total,
        clean_correct=root["clean_correct"].count(total),
        levels=levels,
        radii=Radii(*(root["radius"][key].size() for key in ("mean", "median", "min", "max"))),
        norm=root["norm"].text(),
        units=root["units"].text(),
        semantics=root["semantics"].text(),
        normalization=root["normalization"].maybe(_normalization) or (),
        input_range=root["input_range"].maybe(_pair),
        disagreements=root["disagreements"].count(total),
        largest_deviation=root["largest_deviation"].size(),
        attack=root["attack"].maybe(lambda spot: _attack(spot, total)),
        scores=root["scores"].maybe(lambda spot: _score(spot, total)),
        method=root["method"].text(),
        bound=_bound(root["bound"], root["method"].text()),
        curve=CurvePoint.all_of(root["curve"], total),
        histogram=Histogram.of(root["histogram"], total),
        classes=tuple(ClassRow.of(spot, total, len(levels)) for spot in root["classes"].rows()),
        worst=tuple(Sample.of(spot) for spot in root["worst"].rows()),
        best=tuple(Sample.of(spot) for spot in root["best"].rows()),
        layers=tuple(_layer(spot) for spot in root["layers"].rows()),
        versions=tuple((name, at.text()) for name, at in root["versions"].entries().items()),
        proof=ProofRecord.of(root, [level.certified for level in levels]),
    )


def _level(spot: Spot, total: int) -> Level:
    certified = spot["count"].count(total)
    attacked = spot["attacked"].maybe(lambda found: found.count(total))
    if attacked is not None and attacked < certified:
        spot.contradict("counts more samples as certified than the attack leaves")
    real = spot["real"].maybe(lambda found: found.count(total)) if "real" in spot else None
    if real is not None and real < certified:
        spot.contradict("counts more samples as certified for float32 than in real arithmetic")
    return Level(spot["eps"].finite(), spot["eps_text"].text(), certified, attacked, real)


def _normalization(spot: Spot) -> tuple[tuple[str, tuple[float, ...]], ...]:
    return tuple(
        (name, tuple(item.number() for item in values.rows()))
        for name, values in spot.entries().items()
    )


def _pair(spot: Spot) -> tuple[float, float]:
    items = spot.rows()
    if len(items) != 2:
        spot.refuse("a list of two numbers")
    return items[0].number(), items[1].number()


def _attack(spot: Spot, total: int) -> Attack:
    entries = spot.entries()
    settings = tuple(
        (name, found.text() if isinstance(found.value, str) else f"{found.number():g}")
        for name, found in entries.items()
        if name not in ("name", "rounded") and not isinstance(found.value, bool | type(None))
    )
    return Attack(spot["name"].text(), settings, spot["rounded"].count(total))


def _score(spot: Spot, total: int) -> Score:
    rows = tuple(
        (row["eps"].finite(), row["eps_text"].text(), _share(row["value"]))
        for row in spot["auroc"].rows()
    )
    counts = (spot[key].count(total) for key in ("positives", "negatives"))
    return Score(spot["mcr"].number(), rows, *counts)


def _share(spot: Spot) -> float:
    found = spot.finite()
    if found > 1.0:
        spot.refuse("a number of at most 1")
    return found


def _bound(spot: Spot, method: str) -> Bound:
    methods = tuple((name, found.size()) for name, found in spot["methods"].entries().items())
    return Bound(
        spot["value"].size(),
        spot["lower"].maybe(Spot.size),
        spot["output"].text(),
        tuple(sorted(methods, key=lambda item: (item[1], item[0] != method))),
        {name: found.text() for name, found in spot["details"].entries().items()},
        spot["exact"].flag(),
        spot["spectral"].text(),
        spot["device"].text(),
    )


def _layer(spot: Spot) -> Layer:
    return Layer(
        spot["name"].text(),
        spot["onnx_type"].text(),
        tuple(item.count() for item in spot["output_shape"].rows()),
        spot["parameters"].count(),
        spot["linear"].flag(),
        spot["norm"].size(),
        spot["how"].text(),
        spot["slopes"].maybe(_pair),
        spot["contraction"].flag(),
    )
