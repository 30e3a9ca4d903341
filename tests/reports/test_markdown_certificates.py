"""Certificates in Markdown: what is certified below what is attacked, and where it comes from."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from lipcert.certification.scores import scores_of
from lipcert.reports import render
from lipcert.reports.html.record import record_of
from lipcert.reports.markdown_certificates import MOST_CLASSES, record_markdown
from lipcert.reports.words import certificate_statement


def test_certified_is_below_attacked(attacked: Any) -> None:
    lines = render(attacked, "markdown").splitlines()
    assert lines[2:7] == [
        "|  | certified ≤ | share ≤ | ≤ left by the attack | ≤ share |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| correct | 6/7 | 85.7 % |  |  |",
        "| ε = 36/255 = 0.1412 | 5/7 | 71.4 % | 6/7 | 85.8 % |",
        "| ε = 0.5 | 1/7 | 14.2 % | 3/7 | 42.9 % |",
    ]
    assert "| 0 | 2 | 2 | 2 | 2 | 0 | 0 | 0 | 0 | 0.325 |" in lines


def test_without_an_attack_there_are_three_columns(certificates: Any) -> None:
    text = render(certificates, "markdown")
    assert "|  | certified | share |\n" in text
    assert "| ε = 0.5 | 1/7 | 14.2 % |\n" in text
    assert "attack" not in text and "```" not in text


def test_tells_what_is_proved_and_where_it_comes_from(attacked: Any) -> None:
    text = render(attacked, "markdown")
    assert certificate_statement(attacked) in text
    for words in (
        "Attacked by PGD (50 steps, 3 restarts, seed 0).",
        "Not covered:\n\n* The rounding of float32",
        "Normalisation inside the certified map: mean 0.5, std 0.25, 0.5.",
        f"```\n{attacked.command}\n```",
        f"| sha256 of the data | `{attacked.data_sha256}` |",
        "| versions | python 3.11.7, lipcert 0.1.0, torch 2.13.0 |",
    ):
        assert words in text, words


def test_a_file_gives_the_same(attacked: Any) -> None:
    values = json.loads(render(attacked, "json"))
    assert record_markdown(record_of(values)) == render(attacked, "markdown")


def test_disagreements_and_rounding_are_told(attacked: Any) -> None:
    text = render(replace(attacked, disagreements=2, rounded=1), "markdown")
    assert "2 samples are classified differently by ONNX Runtime and in real arithmetic" in text
    assert "The class of 1 sample changed inside the radius by the rounding of float32" in text
    assert "choose the same class for every sample" not in text


def test_names_do_not_leave_their_place(attacked: Any, evil: str) -> None:
    fenced = f"{evil}\n```\n# a heading <script>"
    bound = replace(attacked.bound, model=evil, device=evil)
    entry = replace(attacked.certified[0], eps_text=evil)
    run = replace(
        attacked, bound=bound, data=evil, command=fenced, certified=(entry,), versions={evil: evil}
    )
    lines = render(run, "markdown").splitlines()
    assert lines[0].startswith("### `conv<b>")
    assert not any(line.startswith("# a heading") for line in lines)
    fence = next(line for line in lines if line.startswith("````"))
    inside = lines[lines.index(fence) + 1 : -1]
    assert inside[0].startswith("conv<b>|`x`&\\x1b[31m\\n") and inside[1] == fence
    for line in lines:
        if "<b>" in line and line != inside[0] and not line.startswith("###"):
            assert r"conv\<b\>\|" in line


def test_many_classes_are_left_to_other_formats(attacked: Any) -> None:
    n = MOST_CLASSES + 1
    labels = np.arange(n)
    run = replace(
        attacked, samples=n, clean_correct=n, labels=labels, predictions=labels,
        radii=np.ones(n), adversarial=np.ones(n),
    )  # fmt: skip
    assert "51 classes: --format json has all of them." in render(run, "markdown")


def test_scores(attacked: Any) -> None:
    labels = np.array([0, 1, 1, 0, 1, 1, 0])
    values = np.array([-1.0, 1.5, 2.0, -2.25, 0.6, 3.75, 0.1])
    scores = scores_of(values, labels, 2.0, ((0.5, "0.5"),))
    text = render(replace(attacked, scores=scores), "markdown")
    assert "| mean certified radius | **0.78571** | of the scores, signed by their labels |" in text
    assert "| 0.5 | 0.666666 |" in text
