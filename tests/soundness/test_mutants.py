"""Mutants of proofs: all that must be refused are, and what is proved of the rest is true."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from mutation import EITHER, MUST, Mutant, coded, encoded, mutants, numbers, true
from proofs import KINDS, case

from lipcert.checker import check

CASES = [(kind, semantics) for kind in KINDS for semantics in ("real", "float32")]


@pytest.mark.parametrize(("kind", "semantics"), CASES)
def test_proofs_are_proved(kind, semantics, tmp_path):
    own = case(kind, 0, semantics)
    verdict = check(*own.write(tmp_path))
    assert verdict.status == "proved", verdict.why
    assert verdict.certified == 10


@pytest.mark.parametrize(("kind", "semantics"), CASES)
def test_mutants_are_refused(kind, semantics, tmp_path):
    rng = np.random.default_rng(11)
    count = len(MUST) + 4
    for mutant in islice(mutants(case(kind, 0, semantics), rng, must=True), count):
        assert mutant.status(tmp_path) in ("refuted", "inconclusive"), mutant.kind


@pytest.mark.parametrize(("kind", "semantics"), CASES[::2])
def test_what_is_proved_of_other_mutants_is_true(kind, semantics, tmp_path):
    rng = np.random.default_rng(12)
    for mutant in islice(mutants(case(kind, 0, semantics), rng, must=False), len(EITHER) // 2):
        assert mutant.status(tmp_path) != "proved" or true(mutant), mutant.kind


def test_the_judge_of_mutants_sees_what_is_false():
    """A radius that is ten times too large does not pass for true."""
    own = case("relu")
    proof = json.loads(json.dumps(own.proof))
    radii = numbers(proof["samples"]["radii"], "<f8")
    proof["samples"]["radii"] = coded(100.0 * radii)
    mutant = Mutant("radius", True, own, encoded(proof), own.content, own.data)
    assert not true(mutant)
    proof["samples"]["radii"] = coded(radii)
    assert true(replace(mutant, proof=encoded(proof)))
    proof["lipschitz"] = "1/100"
    assert not true(replace(mutant, proof=encoded(proof)))
