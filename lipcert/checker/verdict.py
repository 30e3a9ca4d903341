"""``check``: a proof file, a model and perhaps a data set, to a verdict."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from . import file
from .certificates import check_samples
from .exact import CheckError, up_ratio
from .importing import network_of
from .positive import Refuted
from .proof import Checker
from .wire import read as read_model

MOST_MODEL_BYTES = 1 << 31


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Parameters
    ----------
    status : "proved", "refuted" or "inconclusive".
    why : what was proved, which inequality fails, or what kept it from being decided.
    constant : the Lipschitz constant proved.
    certified : samples whose radius was proved, None without data.
    mean, std : where not empty, f of all this is the model behind ``(x − mean)/std``.
    """

    status: str
    why: str
    constant: Fraction | None = None
    certified: int | None = None
    mean: tuple[Fraction, ...] = ()
    std: tuple[Fraction, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 proved, 1 refuted, 7 inconclusive."""
        return {"proved": 0, "refuted": 1, "inconclusive": 7}[self.status]


def check(proof: str | Path, model: str | Path, data: str | Path | None = None) -> Verdict:
    """Check a proof file against the model, and the data set, that it is about."""
    try:
        with warnings.catch_warnings(action="ignore"):  # the verdict is all that there is to say
            return _check(Path(proof), Path(model), None if data is None else Path(data))
    except Refuted as error:
        return Verdict("refuted", _told(str(error)))
    except CheckError as error:
        return Verdict("inconclusive", _told(str(error)))
    except Exception as error:  # whatever a hostile file provokes, nothing is proved
        return Verdict("inconclusive", _told(f"{type(error).__name__}: {error}"))


def _check(path: Path, model: Path, data: Path | None) -> Verdict:
    proof = file.read(_content(path, file.MOST_BYTES))
    content = _content(model, MOST_MODEL_BYTES)
    if hashlib.sha256(content).hexdigest() != proof.model.sha256:
        raise Refuted(f"{model.name} is not the model that the proof is about")
    for name, expected in proof.model.files.items():
        if Path(name).name != name:
            raise Refuted("the proof names a file outside the model's folder")
        if hashlib.sha256(_content(model.parent / name, MOST_MODEL_BYTES)).hexdigest() != expected:
            raise Refuted(f"{name} is not the file that the proof is about")
    read = read_model(content, model.parent)
    if not set(read.beside) <= set(proof.model.files):
        raise Refuted("the model reads a file that the proof does not name")
    samples = proof.samples
    if samples is None and proof.semantics != "real":
        raise Refuted(f"a constant is about real arithmetic, not {proof.semantics}")
    network = network_of(read, None if samples is None else (samples.mean, samples.std))
    checker = Checker(network)
    checker.run(list(proof.claims))
    if proof.value not in (network.output, network.logits):
        raise Refuted(f"{proof.value!r} is neither the model's output nor its logits")
    if checker.proved(proof.value) > proof.lipschitz:
        raise Refuted(
            f"the constant of {proof.value!r}: {float(proof.lipschitz):.12g} is claimed, "
            f"{checker.known[proof.value]:.12g} is proved"
        )
    constant = f"‖f(x) − f(y)‖ ≤ {up_ratio(proof.lipschitz):.17g} ‖x − y‖ for {proof.value!r}"
    if samples is None:
        return Verdict("proved", _told(constant), proof.lipschitz)
    if data is None:
        raise CheckError("the proof is also about a data set, which is not given")
    if hashlib.sha256(_content(data, 1 << 34)).hexdigest() != samples.sha256:
        raise Refuted(f"{data.name} is not the data that the proof is about")
    certified = check_samples(checker, proof, data)
    where = "" if proof.semantics == "real" else f" in {proof.semantics}"
    if samples.std:
        where += f"; f is the model behind (x − mean)/std, mean {_few(samples.mean)}, "
        where += f"std {_few(samples.std)}"
    told = f"{constant}; {certified} of {len(samples.classes)} samples have a radius{where}"
    return Verdict("proved", _told(told), proof.lipschitz, certified, samples.mean, samples.std)


def _few(values: tuple[Fraction, ...]) -> str:
    """The first of some numbers, shortened."""
    more = ", …" if len(values) > 4 else ""
    return ", ".join(f"{float(value):.9g}" for value in values[:4]) + more


def _told(text: str) -> str:
    """One line that can be printed, whatever names a file holds."""
    text = text if len(text) <= 1000 else f"{text[:600]} … {text[-300:]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _content(path: Path, most: int) -> bytes:
    if not path.is_file():
        raise CheckError(f"{path.name} is not a file")
    size = min(path.stat().st_size, most)
    with path.open("rb") as stream:
        content = stream.read(size + 1)
    if len(content) > most:
        raise CheckError(f"{path.name} is too large")
    return content
