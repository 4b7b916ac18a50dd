"""The tables of a run's database, and how rows become nouns and back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from mathlete.answers.vote import Ballot, Entry, Vote
from mathlete.problem import AnswerSpace, Problem
from mathlete.trace import Trace, Turn

VERSION = 1

SCHEMA = """
CREATE TABLE IF NOT EXISTS problems (
    key TEXT PRIMARY KEY, position INTEGER NOT NULL, statement TEXT NOT NULL, answer TEXT,
    space TEXT NOT NULL, source TEXT NOT NULL, id TEXT NOT NULL, copy INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS prompts (key TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS traces (
    problem TEXT NOT NULL REFERENCES problems (key), path TEXT NOT NULL,
    prompt TEXT NOT NULL REFERENCES prompts (key), stop TEXT NOT NULL,
    PRIMARY KEY (problem, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS turns (
    problem TEXT NOT NULL, path TEXT NOT NULL, position INTEGER NOT NULL,
    kind TEXT NOT NULL, text TEXT NOT NULL, sampled INTEGER NOT NULL, opened INTEGER NOT NULL,
    tokens INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, seconds REAL NOT NULL,
    status TEXT NOT NULL, logprobs TEXT, discarded INTEGER NOT NULL,
    PRIMARY KEY (problem, path, position),
    FOREIGN KEY (problem, path) REFERENCES traces (problem, path)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ballots (
    problem TEXT PRIMARY KEY REFERENCES problems (key), answer TEXT, stop TEXT NOT NULL,
    correct INTEGER, covered INTEGER, ballot TEXT NOT NULL, seconds REAL NOT NULL
) WITHOUT ROWID;
"""

TURN_COLUMNS = (
    "kind, text, sampled, opened, tokens, prompt_tokens, seconds, status, logprobs, discarded"
)

Values = tuple[Any, ...]


def path_text(path: tuple[int, ...]) -> str:
    """A trace's path as it is stored."""
    return ".".join(map(str, path))


def problem_values(problem: Problem, position: int) -> Values:
    """A row of `problems`."""
    return (
        problem.key,
        position,
        problem.statement,
        problem.answer,
        str(problem.space),
        problem.source,
        problem.id,
        problem.copy,
    )


def to_problem(values: Values) -> Problem:
    """A problem from its row without key and position."""
    statement, answer, space, source, identity, copy = values
    return Problem(
        statement, answer, AnswerSpace.parse(space), source=source, id=identity, copy=copy
    )


def turn_values(turn: Turn) -> Values:
    """The columns `TURN_COLUMNS` of a turn."""
    logprobs = None if turn.logprobs is None else json.dumps(turn.logprobs)
    return (
        turn.kind,
        turn.text,
        turn.sampled,
        turn.opened,
        turn.tokens,
        turn.prompt_tokens,
        turn.seconds,
        turn.status,
        logprobs,
        turn.discarded,
    )


def to_turn(values: Values) -> Turn:
    """A turn from its columns."""
    kind, text, sampled, opened, tokens, prompt_tokens, seconds, status, logprobs, gone = values
    return Turn(
        kind=kind,
        text=text,
        sampled=bool(sampled),
        opened=bool(opened),
        tokens=tokens,
        prompt_tokens=prompt_tokens,
        seconds=seconds,
        status=status,
        logprobs=None if logprobs is None else tuple(json.loads(logprobs)),
        discarded=bool(gone),
    )


def to_trace(problem: str, path: str, prompt: str, stop: str, turns: Iterable[Turn]) -> Trace:
    """A trace from its parts."""
    numbers = tuple(int(part) for part in path.split(".") if part)
    return Trace(problem=problem, path=numbers, prompt=prompt, turns=tuple(turns), stop=stop)


def ballot_text(ballot: Ballot) -> str:
    """A ballot as JSON: its classes in order, each a list of votes, and the invalid answers."""
    entries = [
        [[vote.sample, vote.answer, vote.weight, vote.spelling] for vote in entry.votes]
        for entry in ballot.entries
    ]
    return json.dumps({"entries": entries, "invalid": ballot.invalid})


def to_ballot(text: str) -> Ballot:
    """A ballot from its JSON."""
    data = json.loads(text)
    entries = (Entry(tuple(Vote(*vote) for vote in votes)) for votes in data["entries"])
    return Ballot.of(entries, (tuple(pair) for pair in data["invalid"]))
