"""Counting what a job does, from its events."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from mathlete.strategies.base import Event, Solution
from mathlete.trace import ANSWERED

State = Literal["writing", "running", "answered", "stopped", "cancelled"]


@dataclass(slots=True)
class AttemptState:
    """How one attempt stands: what it is doing and a note to show with it."""

    name: str
    state: State = "writing"
    note: str = ""
    tokens: int = 0
    streamed: int = 0


class Meter:
    """Tokens, speed, attempts and outcomes so far.

    While a completion streams, its pieces are counted as tokens, which they are with most
    servers; the server's own count replaces that when the completion ends.
    The attempts of a solved problem stay only with `keep`.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        self._started = time.monotonic()
        self._attempts: dict[tuple[str, tuple[int, ...]], AttemptState] = {}
        self._tokens_before = 0
        self.solved = 0
        self.right = 0
        self.graded = 0

    @property
    def attempts(self) -> list[AttemptState]:
        """The attempts of the problems in flight, in the order of their paths."""
        return [state for _, state in sorted(self._attempts.items(), key=lambda item: item[0])]

    @property
    def tokens(self) -> int:
        """Tokens sampled since the meter was made."""
        return self._tokens_before + sum(a.tokens + a.streamed for a in self._attempts.values())

    @property
    def elapsed_s(self) -> float:
        """Seconds since the meter was made."""
        return time.monotonic() - self._started

    @property
    def tokens_per_s(self) -> float:
        """Mean speed since the meter was made."""
        return self.tokens / max(self.elapsed_s, 1e-9)

    def event(self, event: Event) -> None:
        """Count an event."""
        if event.kind == "solved" and event.solution is not None:
            self._finish(event.solution)
        elif event.trace is not None:
            self._follow(event)

    def _follow(self, event: Event) -> None:
        key = (event.problem.key, event.path)
        trace = event.trace
        assert trace is not None
        if key not in self._attempts:
            self._attempts[key] = AttemptState(name=trace.name)
        attempt = self._attempts[key]
        if event.kind == "text":
            attempt.state = "writing"
            attempt.streamed += 1
            attempt.note = (attempt.note + event.text)[-60:]
            return
        attempt.tokens, attempt.streamed = trace.tokens, 0
        if event.kind == "code":
            attempt.state, attempt.note = "running", event.text
        elif event.kind == "output":
            attempt.state, attempt.note = "writing", ""
        elif event.kind == "end":
            attempt.state = "answered" if trace.stop == ANSWERED else "stopped"
            attempt.note = trace.answer or trace.stop

    def _finish(self, solution: Solution) -> None:
        self.solved += 1
        if solution.correct is not None:
            self.graded += 1
            self.right += solution.correct
        for trace in solution.traces:
            attempt = self._attempts.get((solution.problem.key, trace.path))
            if attempt is None:
                continue
            if attempt.state in ("writing", "running"):
                attempt.state, attempt.note = "cancelled", ""
            if not self._keep:
                self._tokens_before += attempt.tokens + attempt.streamed
                del self._attempts[solution.problem.key, trace.path]

    def tally(self) -> str:
        """How many are right so far, where that can be told."""
        return f"{self.right}/{self.graded} right, " if self.graded else ""

    @staticmethod
    def outcome(solution: Solution) -> str:
        """A solved problem in a few words."""
        verdict = {None: "", True: "right", False: "wrong"}[solution.correct]
        answer = "no answer" if solution.answer is None else solution.answer
        return f"{answer} {verdict}".rstrip()
