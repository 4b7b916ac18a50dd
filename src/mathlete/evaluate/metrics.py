"""Metrics over problems, each with its standard error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of problems: `mean` in 0..1, `stderr` its standard error, `count` problems."""

    mean: float
    stderr: float
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.1%} ± {self.stderr:.1%} ({round(self.mean * self.count)}/{self.count})"


def rate(outcomes: Sequence[bool]) -> Rate | None:
    """The mean of yes-or-no outcomes, one a problem; None without any.

    The standard error is that of a mean over problems drawn at random, with the sample variance
    (arXiv 2411.00640, section 2.1); a single problem tells nothing about it, so it is NaN then.
    """
    count = len(outcomes)
    if count == 0:
        return None
    mean = sum(outcomes) / count
    stderr = math.sqrt(mean * (1 - mean) / (count - 1)) if count > 1 else math.nan
    return Rate(mean, stderr, count)
