"""When to ask a server again, and how long to wait before that."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential back-off with full jitter.

    Before attempt k + 1 it waits a random time up to `base_s`·2^k, at most `longest_s`; a longer
    time that the server asked for (`Retry-After`) is honoured up to `patience_s`. `sleep` and
    `uniform` are the clock and the dice, injected so that tests need neither.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    attempts: int = 8
    base_s: float = 0.5
    longest_s: float = 30.0
    patience_s: float = 300.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    uniform: Callable[[float, float], float] = field(default=random.uniform)

    async def wait(self, failures: int, asked_s: float | None = None) -> bool:
        """Wait before the next attempt; false at once when there is to be none.

        `failures` counts the attempts that have failed since the last progress, from 1.
        """
        if failures >= self.attempts or (asked_s is not None and asked_s > self.patience_s):
            return False
        ceiling = min(self.longest_s, self.base_s * 2 ** (failures - 1))
        await self.sleep(self.uniform(0, ceiling) + (asked_s or 0.0))
        return True
