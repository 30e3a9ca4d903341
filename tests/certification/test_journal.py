"""The journal: what was written is read back bit by bit, and what was torn is cut off."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from lipcert.certification.certificates import Judged
from lipcert.certification.journal import Journal
from lipcert.certification.shards import Shard, ShardResult, Witness
from lipcert.errors import InputError

RUN = {"model": "abc", "eps": [[0.1, "0.1"]], "range": (0.0, 1.0)}
PROVED = {"bound": {"value": 0.1 + 0.2, "pairwise": None}, "layers": []}


def result(start: int, *, seed: int = 0) -> ShardResult:
    generator = np.random.default_rng(seed + start)
    judged = Judged(
        generator.integers(0, 9, 5),
        generator.normal(size=5),
        np.array([0.0, math.inf, 5e-324, 0.1, generator.random()]),
        None,
        1e-13,
        2,
        3e-7,
    )
    return ShardResult(Shard(start, start + 5), judged, np.array([0.0, math.inf, 0.3, 0.2, 1.0]), 1)


def same(a: object, b: object) -> bool:
    """Field by field, arrays bit by bit."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if is_dataclass(a) and is_dataclass(b):
        names = [field.name for field in fields(a)]
        return all(same(getattr(a, name), getattr(b, name)) for name in names)
    return a == b


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    with Journal(path, RUN) as journal:
        assert journal.proved is None and not journal.results
        journal.prove(PROVED)
        journal.add(result(5))
        journal.add(result(0))
    with Journal(path, RUN) as journal:
        assert journal.proved == PROVED
        assert list(journal.results) == [Shard(5, 10), Shard(0, 5)]
        assert all(same(journal.results[Shard(s, s + 5)], result(s)) for s in (0, 5))


def test_a_witness_is_kept(tmp_path: Path) -> None:
    sample = np.arange(6.0).reshape(1, 2, 3) / 7
    witness = Witness(3, 1, sample, sample + 1e-9, 0.25, 0.5)
    with Journal(tmp_path / "j", RUN) as journal:
        journal.prove(PROVED)
        journal.add(replace(result(0), witness=witness))
    with Journal(tmp_path / "j", RUN) as journal:
        found = journal.results[Shard(0, 5)].witness
    assert found is not None
    assert np.array_equal(found.perturbed, witness.perturbed) and found.sample.shape == (1, 2, 3)
    assert (found.index, found.label, found.size, found.radius) == (3, 1, 0.25, 0.5)


def test_cut_off_anywhere_it_goes_on(tmp_path: Path) -> None:
    """Whatever prefix of the file a power failure leaves, whole records count and others do not."""
    path = tmp_path / "j"
    with Journal(path, RUN) as journal:
        journal.prove(PROVED)
        journal.add(result(0))
        journal.add(result(5))
    whole = path.read_bytes()
    for length in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:length])
        with Journal(path, RUN) as journal:
            complete = whole[:length].count(b"\n")
            assert (journal.proved is not None) == (complete >= 2)
            assert len(journal.results) == max(0, complete - 2)
            if journal.proved is None:
                journal.prove(PROVED)
            for start in (0, 5):
                if Shard(start, start + 5) not in journal.results:
                    journal.add(result(start))
        assert path.read_bytes() == whole


def test_a_flipped_bit_ends_what_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, RUN) as journal:
        journal.prove(PROVED)
        journal.add(result(0))
        journal.add(result(5))
    lines = path.read_bytes().splitlines(keepends=True)
    middle = bytearray(lines[2])
    middle[len(middle) // 2] ^= 1
    path.write_bytes(b"".join([*lines[:2], bytes(middle), lines[3]]))
    with Journal(path, RUN) as journal:
        assert not journal.results


def test_another_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, RUN) as journal:
        journal.prove(PROVED)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"another run: it differs in model, range"):
        Journal(path, {**RUN, "model": "abd", "range": None})
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"precious data\n", b"\n", b"{}\n", b"\0" * 100])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "thesis.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is not a journal.*name another file"):
        Journal(path, RUN)
    assert path.read_bytes() == content


def test_a_journal_in_use_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", RUN), pytest.raises(InputError, match="in use by another run"):
        Journal(tmp_path / "j", RUN)


def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        Journal(tmp_path, RUN)
