"""A stage yields rows and drops; nothing leaves unseen."""

from collections.abc import Iterable

from mathlete.data.stage import Drop, Row, run_stage


class Halves:
    """Keeps even numbers, halved; doubles zero; drops the rest."""

    name = "halves"

    def process(self, row: Row) -> Iterable[Row | Drop]:
        if row["n"] % 2:
            yield Drop(row, "odd")
        else:
            yield {"n": row["n"] // 2}
            if row["n"] == 0:
                yield {"n": 0}


def test_rows_and_drops_come_in_order() -> None:
    rows = [{"n": 4}, {"n": 3}, {"n": 0}]
    once = list(run_stage(Halves(), rows))
    assert once == [{"n": 2}, Drop({"n": 3}, "odd"), {"n": 0}, {"n": 0}]
    twice = list(run_stage(Halves(), once))  # earlier drops pass through a later stage
    assert twice[:2] == [{"n": 1}, Drop({"n": 3}, "odd")]
    assert rows == [{"n": 4}, {"n": 3}, {"n": 0}]
