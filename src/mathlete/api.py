"""The verb `solve`, for Python."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from mathlete.config import resolve_solve
from mathlete.errors import UsageError
from mathlete.job import SolveJob
from mathlete.problem import Problem
from mathlete.strategies.base import Solution


def solve(problem: str | Problem, *, out: str | Path | None = None, **settings: Any) -> Solution:
    """Solve one problem and return its solution.

    `settings` are those of the command line under the names of `SolveConfig` (`model`,
    `strategy`, `n`, `depth`, `temperature`, …); with none of them the embedded model runs SC-TIR.
    `out` names a folder to keep the run in; without it nothing is written.

    Raises `UsageError` for a bad setting (or when called inside an event loop), `EngineError`
    when the model cannot be used.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(asolve(problem, out=out, **settings))
    raise UsageError("an event loop is running here: write 'await mathlete.asolve(...)' instead")


async def asolve(
    problem: str | Problem, *, out: str | Path | None = None, **settings: Any
) -> Solution:
    """The asynchronous form of `solve`; cancelling it cancels everything it started."""
    config = resolve_solve(settings)
    if isinstance(problem, str):
        problem = Problem(problem)
    if config.space is not None:
        problem = replace(problem, space=config.space)
    job = SolveJob(problems=[problem], config=config, out=None if out is None else Path(out))
    return (await job.run())[0]
