"""A problem, and the loading of problem sets.

`load_problems` reads JSON lines, JSON, CSV and Parquet files, datasets of the Hub (or a folder
of them) and the sets that ship with mathlete. It maps the usual column names, says what it
mapped, and refuses a set with a broken row: it never drops rows silently.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

from mathlete._rows import Row, listed, read_rows
from mathlete.answers.extract import last_boxed
from mathlete.answers.space import AnswerSpace, admit
from mathlete.errors import ProblemError, UsageError

__all__ = ["AnswerSpace", "Problem", "ProblemSet", "load_problems", "shipped_sets"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: its statement, the gold answer when there is one, and where it came from.

    `source` is `file:line` or the name of a set; `id` the row's own name or "". `copy` counts the
    rows with this very statement before this one in its set. `extra` holds the other columns.
    Raises `ProblemError` for a statement that is empty or not valid Unicode.
    """

    statement: str
    answer: str | None = None
    space: AnswerSpace = field(default_factory=AnswerSpace)
    source: str = ""
    id: str = ""
    copy: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)

    def __post_init__(self) -> None:
        if not self.statement.strip():
            raise ProblemError("the statement is empty: a problem needs a text")
        try:
            (self.statement + (self.answer or "")).encode()
        except UnicodeEncodeError as error:
            raise ProblemError(f"the text is not valid Unicode: {error.reason}") from None

    @property
    def key(self) -> str:
        """Content hash (BLAKE2b, 32 hex digits) of the statement, the answer space and `copy`.

        Neither the position in the file nor the gold answer counts: a corrected gold answer does
        not make stored traces worthless.
        """
        parts = json.dumps([self.statement, str(self.space), self.copy], ensure_ascii=False)
        return hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class ProblemSet:
    """Problems in file order, and how their columns were understood."""

    problems: tuple[Problem, ...]
    name: str
    mapping: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.problems)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.problems)

    def __getitem__(self, index: int) -> Problem:
        return self.problems[index]

    def describe(self) -> str:
        """One line: how many problems, which column was taken for what, what to look at."""
        mapped = ", ".join(f"{what} from {column!r}" for what, column in self.mapping.items())
        plural = "" if len(self) == 1 else "s"
        return "; ".join([f"{self.name}: {len(self)} problem{plural} ({mapped})", *self.notes])


# ------------------------------------------------------------------ columns
# Most specific first: where a row has both `final_answer` and `answer`, the latter is often the
# worked solution. Compared in lower case with spaces and hyphens as underscores.
_NAMES = {
    "statement": (
        "problem", "question", "prompt", "statement", "problem_statement",
        "informal_statement", "messages",
    ),
    "answer": (
        "expected_answer", "final_answer", "short_answer", "gold_answer", "ground_truth_answer",
        "answer", "gold", "gt", "ground_truth", "groundtruth", "reference_answer", "target",
    ),
    "solution": ("solution", "reference_solution"),
    "id": ("id", "unique_id", "problem_id", "problem_name", "name", "problem_idx", "index", "idx"),
    "space": ("answer_space",),
}  # fmt: skip
_GSM8K = re.compile(r"####[ \t]*(.*)")


def _canonical(column: str) -> str:
    return re.sub(r"[\s-]+", "_", column.strip().lower())


def _map_columns(rows: list[Row], given: Mapping[str, str], name: str) -> dict[str, str]:
    columns = list(dict.fromkeys(c for row in rows for c in row.values))
    for what, column in given.items():
        if what not in _NAMES:
            raise UsageError(f"column role {what!r} is not known: one of {', '.join(_NAMES)}")
        if column not in columns:
            raise ProblemError(f"{name}: no column {column!r}; the columns are {listed(columns)}")
    mapping = dict(given)
    by_name = {_canonical(c): c for c in reversed(columns)}
    for what, names in _NAMES.items():
        if what not in mapping and (
            column := next((by_name[n] for n in names if n in by_name), "")
        ):
            mapping[what] = column
    if "statement" not in mapping:
        wanted = ", ".join(_NAMES["statement"])
        raise ProblemError(
            f"{name}: no column for the statement ({wanted}); the columns are {listed(columns)}"
        )
    if "solution" in given and "answer" not in given:
        mapping.pop("answer", None)
    if "answer" in mapping:
        mapping.pop("solution", None)
    return {what: mapping[what] for what in _NAMES if what in mapping}


# ------------------------------------------------------------------ values
def _statement(row: Row, column: str) -> str:
    value = row.values.get(column)
    if isinstance(value, list):  # chat messages, as TRL has them
        users = [m.get("content") for m in value if isinstance(m, dict) and m.get("role") == "user"]
        value = users[0] if len(users) == 1 else value
    if column not in row.values:
        raise ProblemError(f"no {column!r} in this row; it has {listed(row.values)}")
    if not isinstance(value, str):
        raise ProblemError(f"{column!r} must be text, not {type(value).__name__}")
    if not value.strip():
        raise ProblemError(f"{column!r} is empty: a problem needs a text")
    return value.strip()


def _answer(row: Row, column: str) -> str | None:
    """The gold answer as text; None where the row has none."""
    value = row.values.get(column)
    if isinstance(value, list):
        if not all(isinstance(v, str | int | float) for v in value):
            raise ProblemError(f"{column!r} must be a text, a number or a list of them")
        value = ", ".join(str(v) for v in value)
    if value is None or isinstance(value, str):
        text = value or ""
        marked = _GSM8K.findall(text)
        return (marked[-1] if marked else text).strip() or None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    raise ProblemError(f"{column!r} must be a text or a number, not {type(value).__name__}")


def _optional(row: Row, column: str | None) -> str:
    value = None if column is None else row.values.get(column)
    return "" if value is None else str(value)


def _gold(row: Row, mapping: Mapping[str, str]) -> str | None:
    if "answer" in mapping:
        return _answer(row, mapping["answer"])
    boxed = last_boxed(_optional(row, mapping.get("solution")))
    return boxed[0] if boxed else None


def _check_gold(problem: Problem) -> None:
    """An integer space without the gold answer is the wrong space: nothing could be right."""
    gold, space = problem.answer, problem.space
    if space.kind == "integer" and gold is not None and admit(space, gold) is None:
        raise ProblemError(f"the gold answer {gold[:80]!r} is not in the answer space {space}")


def _build(rows: list[Row], mapping: Mapping[str, str], space: AnswerSpace | None) -> list[Problem]:
    seen: Counter[tuple[str, AnswerSpace]] = Counter()
    problems = []
    for row in rows:
        try:
            own = _optional(row, mapping.get("space"))
            row_space = space or (AnswerSpace.parse(own) if own else AnswerSpace())
            statement = _statement(row, mapping["statement"])
            problem = Problem(
                statement,
                _gold(row, mapping),
                row_space,
                source=row.place,
                id=_optional(row, mapping.get("id")),
                copy=seen[statement, row_space],
                extra={k: v for k, v in row.values.items() if k not in mapping.values()},
            )
            _check_gold(problem)
        except UsageError as error:
            raise row.error(str(error)) from None
        seen[statement, row_space] += 1
        problems.append(problem)
    return problems


def _notes(problems: list[Problem], rows: list[Row], mapping: Mapping[str, str]) -> list[str]:
    notes = []
    without = sum(p.answer is None for p in problems)
    if without and ("answer" in mapping or "solution" in mapping):
        notes.append(f"{without} without a gold answer")
    if copies := sum(p.copy > 0 for p in problems):
        notes.append(f"{copies} repeat an earlier statement")
    unused = dict.fromkeys(c for r in rows for c in r.values if c not in mapping.values())
    if unused:
        notes.append(f"columns not used: {listed(unused)}")
    return notes


# ------------------------------------------------------------------ loading
def shipped_sets() -> tuple[str, ...]:
    """Names of the problem sets that come with mathlete."""
    folder = resources.files("mathlete").joinpath("sets")
    if not folder.is_dir():
        return ()
    return tuple(sorted(f.name[:-6] for f in folder.iterdir() if f.name.endswith(".jsonl")))


def load_problems(
    source: str | Path,
    *,
    space: AnswerSpace | None = None,
    limit: int | None = None,
    columns: Mapping[str, str] | None = None,
) -> ProblemSet:
    """Load a problem set.

    `source` is a file (.jsonl, .json, .csv, .parquet, each also with .gz), the name of a shipped
    set, a folder that `datasets` can read, or a Hub id `owner/name[:config][:split]`. `space` holds
    for every row; without it a row's own column `answer_space` counts, then `expression`. `limit`
    takes the first rows only. `columns` names a column for `statement`, `answer`, `solution`, `id`
    or `space` where the usual names do not fit.

    Gold answers are the answer column's text, what follows the last `####` in it (GSM8K), or,
    where there is no answer column, the last box in the solution (MATH).

    Raises `ProblemError`, one line that names the file and the line, for anything broken, a gold
    answer outside an integer space included; no row is ever left out.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit}: must be at least 1")
    name = str(source)
    if isinstance(source, str) and source in shipped_sets():
        folder = resources.files("mathlete").joinpath("sets")
        with resources.as_file(folder.joinpath(f"{source}.jsonl")) as path:
            rows = list(islice(read_rows(path, name), limit))
    elif re.fullmatch(r"[\w-]{1,100}", name) and not Path(name).exists():
        shipped = ", ".join(shipped_sets())
        raise ProblemError(f"{name}: no such file or problem set; the sets shipped are {shipped}")
    else:
        rows = list(islice(read_rows(source), limit))
    if not rows:
        raise ProblemError(f"{name}: holds no problems")
    mapping = _map_columns(rows, columns or {}, name)
    problems = _build(rows, mapping, space)
    return ProblemSet(tuple(problems), name, mapping, tuple(_notes(problems, rows, mapping)))
