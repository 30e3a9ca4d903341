"""A few damaged files for everything that reads files; ``benchmarks/fuzz.py`` runs many more."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from fuzzing.child import Seeds, judged  # noqa: E402
from fuzzing.seeds import write_seeds  # noqa: E402
from fuzzing.targets import TARGETS  # noqa: E402

INPUTS = {"bound": 10, "result": 40}
"""How many inputs are tried of slow targets; 100 of others."""


@pytest.fixture(scope="session")
def seeds(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("seeds")
    write_seeds(folder)
    return folder


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_sound(seeds: Path, tmp_path: Path, name: str):
    """At least one is read: otherwise every input would be refused for one reason."""
    target = TARGETS[name]
    contents = [path.read_bytes() for path in sorted((seeds / target.seeds).iterdir())]
    assert any(judged(target, tmp_path, content) == ("success", "") for content in contents)


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_read_or_refused_in_one_sentence(seeds: Path, tmp_path: Path, name: str):
    target = TARGETS[name]
    corpus = Seeds(seeds / target.seeds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(INPUTS.get(name, 100)):
            outcome, how = judged(target, tmp_path, corpus.input(target, name, 99, number))
            assert outcome in ("success", "refused"), (number, how)


def test_inputs_are_the_same_for_the_same_numbers(seeds: Path):
    corpus = Seeds(seeds / "npz")
    first, again = (corpus.input(TARGETS["npz"], "npz", 5, 7) for _ in range(2))
    assert first == again != corpus.input(TARGETS["npz"], "npz", 5, 8)


def test_failures_are_seen(tmp_path: Path):
    """What is neither a success nor a refusal counts as what it is."""
    target = TARGETS["model"]

    def failing(error: Exception):
        def read(folder: Path, content: bytes) -> None:
            raise error

        return judged(type(target)(target.seeds, target.damage, read), tmp_path, b"")[0]

    from lipcert.errors import InputError

    assert failing(KeyError("x")) == "escaped"
    assert failing(MemoryError()) == "memory"
    assert failing(InputError("a", "b")) == "refused"
    wrapped = InputError("a", "b")
    wrapped.__cause__ = MemoryError()
    assert failing(wrapped) == "memory"
