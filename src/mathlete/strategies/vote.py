"""Self-consistency: many independent attempts, one ballot (arXiv 2203.11171).

Around `Tir` this is Numina's SC-TIR, but every attempt runs on its own: none waits for the
slowest of a round, and the rest are cancelled once the vote is decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from mathlete.answers.vote import BallotBox
from mathlete.problem import Problem
from mathlete.strategies.base import Context, Cost, Event, Solution, Strategy
from mathlete.trace import Trace

CANCELLED = "cancelled"
"""The stop reason of an attempt that was not needed any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """`n` attempts by `inner`; the largest class of equal answers wins.

    `early_stop`: end when the leader cannot be caught any more, which never changes the answer.
    Ties go to the class whose first vote has the lowest sample number.
    """

    inner: Strategy
    n: int = 16
    early_stop: bool = True

    async def solve(self, problem: Problem, ctx: Context) -> Solution:
        """Solve by vote; stops: `decided`, `all` when every attempt has ended, or `time`."""
        started = ctx.budget.clock()
        box = BallotBox(problem.space, ctx.verifier)
        stored, fresh = self._split(problem, ctx)
        ended = 0

        async def count(solution: Solution) -> bool:
            """Whether the vote goes on after this attempt."""
            nonlocal ended
            ended += 1
            sample = solution.traces[0].path[len(ctx.path)]
            # As spelled, where it is one attempt's: the ballot also tells what was no valid vote.
            single = len(solution.traces) == 1
            answer = solution.traces[0].answer if single else solution.answer
            if answer is not None:
                await box.add(sample, answer)
            ctx.emit(Event(kind="ballot", problem=problem, path=ctx.path, ballot=box.ballot))
            return not (self.early_stop and box.ballot.decided(self.n - ended))

        going_on = True
        for index in stored:
            going_on = await count(await self.inner.solve(problem, self._part(ctx, index)))
        if going_on:
            await self._run(problem, ctx, fresh, count)
        traces = self._close(problem, ctx)
        stop = "decided" if ended < self.n else "all"
        if any(trace.stop == "time" for trace in traces):
            stop = "time"
        leader = box.ballot.leader
        return Solution(
            problem=problem,
            answer=None if leader is None else leader.answer,
            traces=traces,
            ballot=box.ballot,
            cost=Cost.of(traces, ctx.budget.clock() - started),
            stop=stop,
        )

    def _part(self, ctx: Context, index: int) -> Context:
        return ctx.at(index, siblings=self.n)

    def _split(self, problem: Problem, ctx: Context) -> tuple[list[int], list[int]]:
        """Sample numbers that a stored run has finished, and those that are still to play."""
        stored: list[int] = []
        fresh: list[int] = []
        for index in range(self.n):
            trace = ctx.journal.trace(problem.key, (*ctx.path, index))
            (stored if trace is not None and trace.stop else fresh).append(index)
        return stored, fresh

    async def _run(
        self,
        problem: Problem,
        ctx: Context,
        indices: Sequence[int],
        count: Callable[[Solution], Awaitable[bool]],
    ) -> None:
        """Play attempts at once, counting each as it ends, until all have or the vote is over."""
        tasks = [
            asyncio.create_task(self.inner.solve(problem, self._part(ctx, index)))
            for index in indices
        ]
        try:
            for task in asyncio.as_completed(tasks):
                if not await count(await task):
                    break
        finally:
            for unfinished in tasks:
                unfinished.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _close(self, problem: Problem, ctx: Context) -> tuple[Trace, ...]:
        """All traces of this vote; those the decision cut short are ended on record."""
        depth = len(ctx.path)
        traces = []
        for trace in ctx.journal.traces(problem.key):
            if trace.path[:depth] == ctx.path:
                if not trace.stop:
                    trace = trace.stopped(CANCELLED)
                    ctx.journal.save(trace)
                traces.append(trace)
        return tuple(traces)
