"""``prove``: from a model file to a proof file of its Lipschitz constant."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from lipcert.bounds.context import Progress, silent
from lipcert.bounds.multipliers import StageMultipliers
from lipcert.bounds.result import LipschitzBound, ProofFacts
from lipcert.checker.claims import Claim
from lipcert.checker.exact import CheckError
from lipcert.checker.file import FORMAT
from lipcert.checker.importing import network_of
from lipcert.checker.network import Network, Stage
from lipcert.checker.positive import Refuted
from lipcert.checker.proof import Checker
from lipcert.errors import InputError, UnsupportedError
from lipcert.operators import Shape
from lipcert.proof.inequality import fits, inequality_claim, solvable
from lipcert.proof.layers import layer_claims
from lipcert.proof.pairs import pair_claims
from lipcert.proof.prover import Prover, needed
from lipcert.proof.writing import Model, proof_file, read
from lipcert.spectral import NormSettings

GIVEN_AWAY = 1e-6
"""Excess over the bound at hand above which other claims are tried as well."""
REMEDY = "leave out the proof: the bound does not need it"


@dataclass(frozen=True, eq=False)
class Claims:
    """Claims about a network that the checker's own code has accepted.

    Parameters
    ----------
    checker : what they prove: constants of all values, and of pairs of logits.
    claims : those that the constants of ``value`` and of the pairs rest on.
    method : "lipsdp" for one matrix inequality, "averaged" for claims value by value.
    """

    network: Network
    checker: Checker
    value: str
    claims: tuple[Claim, ...]
    method: str

    @property
    def constant(self) -> Fraction:
        """Proved of ``value``."""
        return self.checker.proved(self.value)


@dataclass(frozen=True, eq=False)
class ProofFile:
    """A proof, ready to be written.

    Parameters
    ----------
    content : bytes of the file.
    facts : what it proves, and how.
    """

    content: bytes
    facts: ProofFacts


def network_claims(
    network: Network,
    value: str,
    *,
    pairs: bool = False,
    values: bool = False,
    known: float = math.inf,
    ready: Mapping[str, StageMultipliers] | None = None,
    time_limit: float = 30.0,
    progress: Progress = silent,
) -> Claims:
    """Claims about a value of a network, the smallest constant that can be proved of it.

    Parameters
    ----------
    value : such as ``network.output`` or ``network.logits``.
    pairs : also claims about the differences of two logits.
    values : keep what was proved of other values: rounding around them rests on it.
    known : a bound at hand; where the first way proves it but for 1e-6, no other is tried.
    ready : multipliers of LipSDP at hand, by the name of the nonlinearity.
    time_limit : seconds for solving LipSDP where none are.

    Raises CheckError for what the checker does not cover, or where no finite constant is proved.
    """
    prover = Prover(network, progress)
    target = value
    while isinstance(maker := network.makers.get(target), Stage):
        target = maker.source
    inequality = None
    if fits(network, target):
        seconds = time_limit if solvable(network, target, time_limit) else 0.0
        if seconds or ready is not None:
            inequality = inequality_claim(prover, target, seconds, ready)
    prover.forget()
    done = inequality is not None and _gain(network, inequality, value) <= known * (1 + GIVEN_AWAY)
    if done and not pairs:
        _pass_on(prover)
    else:  # pairs rest on tight constants of what the last layer reads
        layer_claims(prover, value, NormSettings().max_work)
    if pairs:
        _complete(prover)
        pair_claims(prover, time_limit)
    if not math.isfinite(prover.known[value]):
        raise CheckError(f"no finite constant of {value!r} is proved")
    own = prover.claims if values else needed(network, prover.claims, value)
    method = "lipsdp" if any(claim.stages for claim in own if not claim.pair) else "averaged"
    return Claims(network, prover.checker, value, tuple(own), method)


def _gain(network: Network, claim: Claim, value: str) -> float:
    """The constant of ``value`` where only nonlinearities follow what is claimed."""
    found, name = float(claim.constant), value
    while name != claim.target:
        maker = network.makers[name]
        assert isinstance(maker, Stage)
        found, name = found * maker.constant, maker.source
    return found


def _pass_on(prover: Prover) -> None:
    for name in prover.network.makers:
        prover.pass_on(name)


def _complete(prover: Prover) -> None:
    for name in prover.network.makers:
        if name not in prover.known:
            prover.pass_on(name)


def prove(
    model: str | Path,
    bound: LipschitzBound | None = None,
    *,
    logits: bool = False,
    time_limit: float = 30.0,
    input_shape: Shape | None = None,
    output: str | None = None,
    progress: Progress = silent,
) -> ProofFile:
    """A proof of a model's l2 Lipschitz constant that ``lipcert check`` accepts.

    Every claim has been put before the checker's own code.

    Parameters
    ----------
    model : path of an ONNX file.
    bound : of the same model: its multipliers are used, and its value is what is aimed for.
    logits : prove the constant of the logits, leaving out a final softmax or sigmoid.
    time_limit : seconds for solving LipSDP where the bound has no multipliers.
    input_shape, output : of the model, where they were given for the bound.

    Raises
    ------
    InputError : a file that cannot be read, or a bound of another norm.
    UnsupportedError : a model that the checker does not cover, in its own words.
    """
    began = time.perf_counter()
    if not isinstance(model, str | Path):
        raise InputError("a proof", "is about a model file", "save the model as ONNX first")
    if bound is not None and bound.norm != "l2":
        raise InputError("a proof", f"covers the l2 norm, not {bound.norm}", "use --norm l2")
    source, network = _covered(Path(model), input_shape, output)
    try:
        found = network_claims(
            network,
            network.logits if logits else network.output,
            known=math.inf if bound is None else bound.value,
            ready=None if bound is None else bound.multipliers,
            time_limit=time_limit,
            progress=progress,
        )
    except (CheckError, Refuted) as error:
        raise _not_covered(source.name, error) from error
    content = proof_file(source, found.value, found.constant, found.claims)
    facts = ProofFacts(
        found.constant,
        found.method,
        len(found.claims),
        len(content),
        hashlib.sha256(content).hexdigest(),
        time.perf_counter() - began,
        FORMAT,
    )
    return ProofFile(content, facts)


def check_covered(
    model: str | Path, *, input_shape: Shape | None = None, output: str | None = None
) -> None:
    """Refuse a model that the checker does not read.

    Raises what :func:`prove` raises.
    """
    _covered(Path(model), input_shape, output)


def _covered(path: Path, input_shape: Shape | None, output: str | None) -> tuple[Model, Network]:
    try:
        source = read(path)
        network = network_of(source.file)
    except (CheckError, Refuted) as error:
        raise _not_covered(path.name, error) from error
    if input_shape is not None and tuple(input_shape) != tuple(network.input_shape[1:]):
        declared = "x".join(map(str, network.input_shape[1:]))
        raise _not_covered(path.name, f"the file itself declares the input shape {declared}")
    if output is not None and (output,) != tuple(source.file.outputs):
        raise _not_covered(path.name, "its outputs are not the one that is asked for")
    return source, network


def _not_covered(name: str, why: object) -> UnsupportedError:
    return UnsupportedError(name, f"no proof file can be made of it: {why}", REMEDY)
