import itertools
import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathlete.answers.equal import Verifier
from mathlete.answers.vote import Ballot, BallotBox, Entry, Vote, tally
from mathlete.problem import AnswerSpace

EXPRESSION = AnswerSpace()
INTEGER = AnswerSpace("integer", 0, 999)


@pytest.fixture
async def verifier() -> AsyncIterator[Verifier]:
    async with Verifier(workers=1) as verifier:
        yield verifier


def ballot(*counts: int) -> Ballot:
    """A ballot with so many votes for 0, 1, …; sample numbers go up from class to class."""
    numbers = itertools.count()
    return Ballot.of(
        Entry(tuple(Vote(next(numbers), str(i)) for _ in range(n))) for i, n in enumerate(counts)
    )


async def test_equal_values_vote_together(verifier: Verifier) -> None:
    votes = [(0, "2"), (1, "1/2"), (2, "0.5"), (3, r"$\frac12$"), (4, ""), (5, "x+1"), (6, "1+x")]
    result = await tally(EXPRESSION, verifier, votes)
    assert [(e.answer, e.samples) for e in result.entries] == [
        ("1/2", (1, 2, 3)),
        ("x+1", (5, 6)),
        ("2", (0,)),
    ]
    assert result.leader is not None
    assert result.leader.spellings == ("1/2", "0.5", r"$\frac12$")
    assert (result.margin, result.weight, result.invalid) == (1, 6, ((4, ""),))


async def test_answers_outside_the_space_are_no_votes(verifier: Verifier) -> None:
    votes = [(0, "1000"), (1, "1000"), (2, "042"), (3, "x")]
    result = await tally(INTEGER, verifier, votes)
    assert [e.answer for e in result.entries] == ["42"]
    assert result.invalid == ((0, "1000"), (1, "1000"), (3, "x"))
    assert verifier.stats.workers_started == 0


async def test_the_count_does_not_depend_on_who_ends_first(verifier: Verifier) -> None:
    votes = [(0, "3"), (1, "0.5"), (2, "4/8"), (3, "3.0"), (4, "7"), (5, "x")]
    want = await tally(EXPRESSION, verifier, votes)
    assert want.leader is not None
    assert want.leader.samples == (0, 3)  # two votes each: the lowest sample number wins
    for seed in range(10):
        random.Random(seed).shuffle(votes)
        box = BallotBox(EXPRESSION, verifier)
        for sample, answer in votes:
            await box.add(sample, answer)
        assert box.ballot == want


async def test_weights(verifier: Verifier) -> None:
    box = BallotBox(INTEGER, verifier)
    await box.add(0, "1", 0.5)
    await box.add(1, "1", 0.25)
    result = await box.add(2, "2", 1.0)
    assert result.leader is not None
    assert result.leader.answer == "2"
    assert result.margin == 0.25
    assert result.decided(1, weight=0.2)
    assert not result.decided(1)


async def test_nobody_votes_twice_or_with_a_bad_weight(verifier: Verifier) -> None:
    box = BallotBox(INTEGER, verifier)
    await box.add(0, "1")
    with pytest.raises(ValueError, match="voted before"):
        await box.add(0, "2")
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="weight"):
            await box.add(1, "1", weight)
    assert box.ballot.weight == 1


@pytest.mark.parametrize(
    ("counts", "remaining", "decided"),
    [
        ((), 0, False),
        ((), 5, False),
        ((1,), 0, True),
        ((1, 1), 0, True),
        ((3,), 3, False),
        ((4,), 3, True),
        ((5, 3), 2, False),
        ((5, 2), 2, True),
        ((2, 2), 1, False),
    ],
)
def test_decided(counts: tuple[int, ...], remaining: int, decided: bool) -> None:
    assert ballot(*counts).decided(remaining) is decided


@given(st.lists(st.integers(0, 3), max_size=7), st.lists(st.integers(0, 4), max_size=4))
def test_what_is_decided_stays(first: list[int], later: list[int]) -> None:
    """Whatever the rest votes, also with lower sample numbers, the leader is the same."""

    def count(votes: list[tuple[int, int]]) -> Ballot:
        groups: dict[int, list[Vote]] = {}
        for sample, answer in sorted(votes):
            groups.setdefault(answer, []).append(Vote(sample, str(answer)))
        return Ballot.of(Entry(tuple(g)) for g in groups.values())

    early = [(10 + i, answer) for i, answer in enumerate(first)]
    before = count(early)
    if not before.decided(len(later)):
        return
    after = count(early + list(enumerate(later)))
    assert before.leader is not None
    assert after.leader is not None
    assert after.leader.answer == before.leader.answer
