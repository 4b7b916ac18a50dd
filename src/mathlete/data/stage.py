"""A step of a data pipeline.

A stage sees one row and yields what goes on: any number of rows, or a `Drop` that says why the
row does not. `run_stage` keeps both, so that nothing leaves a pipeline unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Drop:
    """A row that does not go on, and the reason: a few words, the same for the same cause."""

    row: Row
    reason: str


class Stage(Protocol):
    """A step with a name; it never changes the row that it is given."""

    @property
    def name(self) -> str:
        """The step's name in recipes and reports."""
        ...

    def process(self, row: Row) -> Iterable[Row | Drop]:
        """What becomes of one row."""
        ...


def run_stage(stage: Stage, rows: Iterable[Row | Drop]) -> Iterator[Row | Drop]:
    """Every row and drop that a stage makes of `rows`, in order; earlier drops pass through."""
    for row in rows:
        if isinstance(row, Drop):
            yield row
        else:
            yield from stage.process(row)
