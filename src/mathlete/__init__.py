"""Train, run and grade language models on olympiad mathematics.

Ten nouns and one verb::

    import mathlete
    solution = mathlete.solve("What is the remainder when 7^2024 is divided by 1000?")
    print(solution.answer, solution.ballot)

`solve` is for scripts, `asolve` for code that runs in an event loop already. Everything is
imported when it is first used, so importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mathlete.api import asolve, solve
    from mathlete.budget import Budget
    from mathlete.config import Recipe
    from mathlete.data.stage import Stage
    from mathlete.engines.base import Engine
    from mathlete.problem import Problem
    from mathlete.runs.store import Run
    from mathlete.sandbox import Sandbox
    from mathlete.strategies.base import Solution, Strategy
    from mathlete.trace import Trace

_HOMES = {
    "Budget": "mathlete.budget",
    "Engine": "mathlete.engines.base",
    "Problem": "mathlete.problem",
    "Recipe": "mathlete.config",
    "Run": "mathlete.runs.store",
    "Sandbox": "mathlete.sandbox",
    "Solution": "mathlete.strategies.base",
    "Stage": "mathlete.data.stage",
    "Strategy": "mathlete.strategies.base",
    "Trace": "mathlete.trace",
    "asolve": "mathlete.api",
    "solve": "mathlete.api",
}

__all__ = [
    "Budget",
    "Engine",
    "Problem",
    "Recipe",
    "Run",
    "Sandbox",
    "Solution",
    "Stage",
    "Strategy",
    "Trace",
    "asolve",
    "solve",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mathlete' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
