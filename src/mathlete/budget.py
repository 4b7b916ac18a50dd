"""What may be spent. Budgets nest: what a child spends, its parents spend too."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["tokens", "samples", "code_calls"]
Clock = Callable[[], float]
"""Seconds from any origin, never going back; `time.monotonic` outside tests."""


@dataclass(slots=True, kw_only=True)
class Budget:
    """Limits on wall clock (seconds), sampled tokens, samples and code calls; None is no limit.

    The clock starts when the budget is made. Tests and simulations inject their own.
    """

    seconds: float | None = None
    tokens: int | None = None
    samples: int | None = None
    code_calls: int | None = None
    clock: Clock = time.monotonic
    parent: Budget | None = None
    started: float = field(init=False)
    spent: dict[Kind, int] = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock()
        self.spent = {"tokens": 0, "samples": 0, "code_calls": 0}

    def child(
        self,
        *,
        seconds: float | None = None,
        tokens: int | None = None,
        samples: int | None = None,
        code_calls: int | None = None,
    ) -> Budget:
        """A budget inside this one: it ends when its own limits or this one's are reached."""
        return Budget(
            seconds=seconds,
            tokens=tokens,
            samples=samples,
            code_calls=code_calls,
            clock=self.clock,
            parent=self,
        )

    def spend(self, *, tokens: int = 0, samples: int = 0, code_calls: int = 0) -> None:
        """Count what was used, here and in every budget around this one."""
        self.spent["tokens"] += tokens
        self.spent["samples"] += samples
        self.spent["code_calls"] += code_calls
        if self.parent is not None:
            self.parent.spend(tokens=tokens, samples=samples, code_calls=code_calls)

    @property
    def elapsed_s(self) -> float:
        """Seconds since this budget was made."""
        return self.clock() - self.started

    @property
    def left_s(self) -> float:
        """Seconds until the nearest deadline, never negative; infinite without one."""
        own = math.inf if self.seconds is None else max(0.0, self.seconds - self.elapsed_s)
        return own if self.parent is None else min(own, self.parent.left_s)

    def used_up(self, name: Kind) -> bool:
        """Whether this much of `name` has been spent, here or in a budget around this one."""
        limit = getattr(self, name)
        if limit is not None and self.spent[name] >= limit:
            return True
        return self.parent is not None and self.parent.used_up(name)
