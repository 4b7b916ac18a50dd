"""Chain of thought: one completion, its answer read from the text (arXiv 2201.11903)."""

from __future__ import annotations

from dataclasses import dataclass, field

from mathlete.answers.extract import extract_answer
from mathlete.engines.base import Sampling
from mathlete.problem import Problem
from mathlete.prompts import Prompt
from mathlete.strategies.attempt import Attempt, play
from mathlete.strategies.base import Context, Solution
from mathlete.trace import ANSWERED


@dataclass(frozen=True, slots=True, kw_only=True)
class Cot:
    """Reason in words, answer at the end.

    `answer_window`: only an answer within so many last characters counts; None for anywhere.
    `last_number`: without a marked answer, the last number is one.
    """

    prompt: Prompt
    sampling: Sampling = field(default_factory=Sampling)
    answer_window: int | None = None
    last_number: bool = False

    async def solve(self, problem: Problem, ctx: Context) -> Solution:
        """Solve by one attempt; stops: `answered`, `no-answer`, `truncated`, `context`, `time`."""
        return await play(problem, ctx, self.prompt.fill(problem=problem.statement), self._moves)

    async def _moves(self, attempt: Attempt) -> None:
        if not attempt.trace.turns:
            await attempt.sample(self.sampling.with_stop(*self.prompt.stop))
        text = attempt.trace.closing_text
        answer = extract_answer(text, window=self.answer_window, last_number=self.last_number)
        if attempt.trace.turns[-1].status == "length":
            attempt.stop("truncated")
        else:
            attempt.stop(ANSWERED if answer is not None else "no-answer")
