import json
import re
import subprocess
import sys
from collections import Counter
from fractions import Fraction
from importlib.resources import files

import pytest

from mathlete.prompts import load_prompt, prompt_names

ROWS = [
    json.loads(line)
    for line in (files("mathlete") / "sets" / "easy.jsonl").read_text("utf-8").splitlines()
]


def words(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def test_the_set_is_sixty_different_problems_with_the_five_fields():
    assert len(ROWS) == 60
    assert {tuple(row) for row in ROWS} == {("id", "problem", "answer", "family", "check")}
    assert [row["id"] for row in ROWS] == [f"easy-{number:02d}" for number in range(1, 61)]
    assert len({words(row["problem"]) for row in ROWS}) == 60


def test_answers_are_what_the_readme_says():
    kinds = Counter(
        "fraction" if "/" in row["answer"] else "decimal" if "." in row["answer"] else "integer"
        for row in ROWS
    )
    assert kinds == {"integer": 52, "fraction": 6, "decimal": 2}
    for row in ROWS:
        if "/" in row["answer"]:
            assert str(Fraction(row["answer"])) == row["answer"], "not in lowest terms"


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_the_check_prints_the_answer(row):
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-c", row["check"]],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert run.stdout.strip() == row["answer"]


@pytest.mark.parametrize("name", prompt_names())
def test_no_problem_of_the_set_is_an_example_of_a_prompt(name):
    prompt = load_prompt(name)
    shown = words(" ".join((prompt.text, *prompt.examples)))
    assert [row["id"] for row in ROWS if words(row["problem"]) in shown] == []
