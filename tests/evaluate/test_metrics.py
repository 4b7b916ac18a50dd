"""Metrics against numbers worked out by hand."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathlete.evaluate.metrics import rate


def test_a_rate_and_its_standard_error() -> None:
    value = rate([True, True, False, True])
    assert value is not None
    assert (value.mean, value.count) == (0.75, 4)
    assert value.stderr == pytest.approx(math.sqrt(0.75 * 0.25 / 3))
    assert str(value) == "75.0% ± 25.0% (3/4)"


def test_without_outcomes_there_is_no_rate() -> None:
    assert rate([]) is None


def test_one_outcome_tells_nothing_about_the_spread() -> None:
    value = rate([True])
    assert value is not None
    assert math.isnan(value.stderr)


@given(st.lists(st.booleans(), min_size=2))
def test_the_standard_error_is_that_of_the_sample_mean(outcomes: list[bool]) -> None:
    value = rate(outcomes)
    assert value is not None
    spread = statistics.stdev(map(float, outcomes)) / math.sqrt(len(outcomes))
    assert value.stderr == pytest.approx(spread)
