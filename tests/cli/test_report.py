"""``lipcert report``: from a file to files."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lipcert.reports.html import source

Run = Callable[..., Any]


@pytest.fixture
def result(run: Run, mlp: Path, data: Path, tmp_path: Path) -> Path:
    done = run("certify", mlp, data, "--eps", "0.1", "--eps", "1/4", "--report", "json=r.json")
    assert done.exit_code == 0, done.stderr
    return tmp_path / "r.json"


def test_writes_a_page_and_markdown(run: Run, result: Path, tmp_path: Path) -> None:
    done = run("report", result, "--html", "r.html", "--markdown", "r.md")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "wrote r.html\nwrote r.md\n"
    counts = json.loads(result.read_text(encoding="utf-8"))
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    text = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>\n") and page.endswith("</html>\n")
    for entry in counts["certified"]:
        assert f"{entry['count']}/20 certified" in page
        assert f"| {entry['count']}/20 |" in text
    for word in ("mlp.onnx", counts["model_sha256"], counts["data_sha256"]):
        assert word in page and word in text


def test_is_what_certify_writes_itself(run: Run, mlp: Path, data: Path, tmp_path: Path) -> None:
    reports = ("json=a.json", "html=a.html", "markdown=a.md")
    words = [word for report in reports for word in ("--report", report)]
    assert run("certify", mlp, data, "--eps", "0.25", *words).exit_code == 0
    assert run("report", "a.json", "--html", "b.html", "--markdown", "b.md", "-q").stderr == ""
    for ending in ("html", "md"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


@pytest.mark.parametrize("words", [("--input-bound", "9"), ("--input-bound", "data", "--data")])
def test_is_what_sensitivity_writes_itself(
    run: Run, mlp: Path, data: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    reports = ("json=a.json", "html=a.html", "markdown=a.md")
    words = (*words, data) if words[-1] == "--data" else words
    words = ("--loss", "cross-entropy", *words, *(w for r in reports for w in ("--report", r)))
    shown = run("sensitivity", mlp, *words, "--format", "html")
    assert shown.exit_code == 0, shown.stderr
    assert run("report", "a.json", "--html", "b.html", "--markdown", "b.md", "-q").stderr == ""
    for ending in ("html", "md"):
        assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert shown.stdout == page
    assert ("No privacy guarantee." in page) == ("data" in words)
    assert "fc0" in page and "w1" in page
    assert json.loads((tmp_path / "a.json").read_text())["model_sha256"] in page


def test_a_spoilt_sensitivity_is_named(run: Run, mlp: Path, tmp_path: Path) -> None:
    words = ("--loss-lipschitz", "1", "--input-bound", "1", "--report", "json=s.json")
    assert run("sensitivity", mlp, *words).exit_code == 0
    path = tmp_path / "s.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["layers"][0]["X"] = "wide"
    path.write_text(json.dumps(values), encoding="utf-8")
    told = error_of(run, path)
    assert "s.json: layers[0].X: is 'wide', not a number" in told
    assert "write it anew with lipcert sensitivity --report json=FILE" in told


def test_needs_something_to_write(run: Run, result: Path) -> None:
    done = run("report", result)
    assert done.exit_code == 2
    assert "has nothing to write; pass --html or --markdown" in done.stderr


def test_overwrites_only_if_told(run: Run, result: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept.html"
    kept.write_text("kept", encoding="utf-8")
    done = run("report", result, "--html", kept, "--markdown", "new.md")
    assert done.exit_code == 2 and "--overwrite" in done.stderr
    assert kept.read_text(encoding="utf-8") == "kept"
    assert not (tmp_path / "new.md").exists()
    assert run("report", result, "--html", kept, "--overwrite").exit_code == 0
    assert kept.read_text(encoding="utf-8").startswith("<!DOCTYPE")


def test_never_writes_over_what_it_reads(run: Run, result: Path) -> None:
    before = result.read_bytes()
    done = run("report", result, "--html", result, "--overwrite")
    assert done.exit_code == 2 and "is read by this run" in done.stderr
    done = run("report", result, "--html", "x", "--markdown", "x")
    assert done.exit_code == 2 and "named twice" in done.stderr
    assert result.read_bytes() == before


def error_of(run: Run, path: Path) -> str:
    """The one line of the error; nothing is written."""
    done = run("report", path, "--html", "never.html")
    assert done.exit_code == 2, done.stderr
    assert done.stdout == "" and not Path("never.html").exists()
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON: Expecting property name"),
        ('{"schema": NaN}', "NaN is not JSON"),
        ('{"schema": Infinity}', "Infinity is not JSON"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"a": ' * 100_000, "is nested too deeply"),
        ("1" * 5000, "is not JSON: Exceeds the limit"),
        ("[]", "is not a result of lipcert"),
        ("null", "is not a result of lipcert"),
        ('{"schema": 3}', "is not a result of lipcert"),
        ('{"schema": "other/certify/2"}', "is not a result of lipcert"),
        (
            '{"schema": "lipcert/bound/1"}',
            "is a result of lipcert bound; lipcert report reads those of lipcert certify and "
            "sensitivity",
        ),
        ('{"schema": "lipcert/inspect/1"}', "is a result of lipcert inspect;"),
        ('{"schema": "lipcert/certify/1"}', "has version 1 of the schema"),
        ('{"schema": "lipcert/certify/99"}', "has version 99 of the schema"),
        ('{"schema": "lipcert/\\u001b[31m/1"}', r"is a result of lipcert \x1b[31m;"),
        ('{"schema": "lipcert/certify/2"}', "has no key 'samples'; write it anew"),
        ('{"schema": "lipcert/sensitivity/7"}', "has version 7 of the schema, this lipcert reads"),
        (
            '{"schema": "lipcert/sensitivity/1"}',
            "has no key 'layers'; write it anew with lipcert s",
        ),
        ('{"schema": ["lipcert/sensitivity/1"]}', "is not a result of lipcert"),
    ],
)
def test_what_is_no_result(run: Run, tmp_path: Path, text: str, finding: str) -> None:
    path = tmp_path / "in.json"
    path.write_text(text, encoding="utf-8")
    assert finding in error_of(run, path)


def test_what_cannot_be_read(run: Run, tmp_path: Path) -> None:
    assert "cannot be read: No such file" in error_of(run, tmp_path / "none.json")
    assert "cannot be read: Is a directory" in error_of(run, tmp_path)
    path = tmp_path / "in.json"
    path.write_bytes(b'{"schema": "\xff"}')
    assert "is not text in UTF-8" in error_of(run, path)


def test_a_byte_order_mark_is_no_obstacle(run: Run, result: Path) -> None:
    result.write_bytes(b"\xef\xbb\xbf" + result.read_bytes())
    assert run("report", result, "--html", "r.html").exit_code == 0


def test_size_is_limited(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    with path.open("wb") as stream:
        os.truncate(stream.fileno(), source.MOST_BYTES + 1)
    assert "is larger than 64 MiB" in error_of(run, path)


def test_a_value_of_another_type_is_named(run: Run, result: Path) -> None:
    values = json.loads(result.read_text(encoding="utf-8"))
    values["certified"][1]["count"] = "<b>many</b>"
    result.write_text(json.dumps(values), encoding="utf-8")
    told = error_of(run, result)
    assert re.search(r"r\.json: certified\[1\]\.count: is '<b>many</b>', not a whole number", told)
