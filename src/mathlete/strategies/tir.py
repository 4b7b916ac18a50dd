"""Tool-integrated reasoning: the model writes Python, it is run, the output goes back.

ToRA (arXiv 2309.17452) with the rules of Numina's winning notebook (AIMO progress prize 1):
`project-numina/aimo-progress-prize`. SC-TIR is `Vote` around it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mathlete.answers.extract import extract_answer
from mathlete.engines.base import Sampling
from mathlete.problem import Problem
from mathlete.prompts import Prompt
from mathlete.strategies.attempt import ASKED, STOP_OUTPUT, Attempt, CodeRules, play
from mathlete.strategies.base import Context, Solution
from mathlete.trace import ANSWERED, Trace, has_open_block


@dataclass(frozen=True, slots=True)
class Sample:
    """Next: a completion, after throwing away the text so far where `restart`."""

    restart: bool = False


@dataclass(frozen=True, slots=True)
class Execute:
    """Next: run these blocks, in this order."""

    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """Next: nothing; why the attempt is over."""

    reason: str


Move = Sample | Execute | Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Tir:
    """Write code, read its output, answer. The defaults are Numina's.

    `depth`: completions at most, thrown-away ones included (M = 4).
    `restart_on_fail`: a first round without a Python block is thrown away and sampled again.
    `require_output`: an answer counts only after an output: without one it was made up.
    `answer_window`: an answer counts only within so many last characters (100).
    """

    prompt: Prompt
    sampling: Sampling = field(default_factory=Sampling)
    depth: int = 4
    restart_on_fail: bool = True
    require_output: bool = True
    answer_window: int | None = 100
    code: CodeRules = field(default_factory=CodeRules)

    async def solve(self, problem: Problem, ctx: Context) -> Solution:
        """Solve by one attempt.

        Its trace stops with `answered`, or without a vote: `no-code`, `made-up` (an answer but no
        output), `incomplete-code`, `no-output` (code that did not ask for its output), `no-answer`,
        `truncated`, `depth`, `context`, `time`.
        """
        return await play(problem, ctx, self.prompt.fill(problem=problem.statement), self._moves)

    async def _moves(self, attempt: Attempt) -> None:
        sampling = self.sampling.with_stop(STOP_OUTPUT, *self.prompt.stop)
        while True:
            match self.next_move(attempt.trace):
                case Sample(restart):
                    if restart:
                        attempt.discard()
                    await attempt.sample(sampling)
                case Execute(codes):
                    await attempt.execute(codes, self.code)
                case Stop(reason):
                    return attempt.stop(reason)

    def next_move(self, trace: Trace) -> Move:
        """What comes next for a trace: a pure function, so an interrupted attempt goes on."""
        kept = trace.kept
        more = trace.rounds < self.depth
        if not kept or kept[-1].kind == "output":
            return Sample() if more else Stop("depth")
        codes = _fresh_codes(trace)
        truncated = kept[-1].status == "length"
        has_code = any(turn.kind == "code" for turn in kept)
        has_output = any(turn.kind == "output" for turn in kept)
        incomplete = has_open_block(trace.closing_text)
        if codes and not incomplete and _asks(trace):
            return Execute(codes)
        if not has_code and not incomplete and self.restart_on_fail and more:
            return Sample(restart=True)
        if extract_answer(trace.closing_text, window=self.answer_window) is not None:
            return Stop(ANSWERED if has_output or not self.require_output else "made-up")
        if incomplete:
            return Stop("truncated" if truncated else "incomplete-code")
        if not has_code:
            return Stop("no-code")
        if truncated:
            return Stop("truncated")
        return Stop("no-output" if codes else "no-answer")


def _asks(trace: Trace) -> bool:
    """Whether the last completion wants its code run.

    It says so by the stop string; ending right after a block means the same, from a model that
    stops there by itself and from a server that does not tell which stop string it met.
    """
    status = trace.kept[-1].status
    return status == ASKED or (status == "stop" and not trace.closing_text.strip())


def _fresh_codes(trace: Trace) -> tuple[str, ...]:
    """The blocks written since the last output; names they share stay known to the last."""
    codes: list[str] = []
    for turn in trace.kept:
        if turn.kind == "output":
            codes.clear()
        elif turn.kind == "code":
            codes.append(turn.text)
    return tuple(codes)
