"""The plan for slots and saved prefixes, without a server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathlete.engines.slots import SlotTable, file_name, shared

SHOTS = "Some worked examples, always the same. " * 4


def use(table: SlotTable, prompt: str, written: str = "") -> tuple[int, str | None]:
    plan = table.take(prompt)
    if plan.restore is not None:
        plan.slot.text = table.text(plan.restore)
    plan.slot.text = prompt + written
    table.release(plan.slot)
    return plan.slot.number, plan.restore


def test_a_trace_comes_back_to_its_slot() -> None:
    table = SlotTable(4, 1000)
    table.save(SHOTS, 10)
    places = {name: use(table, SHOTS + name * 40)[0] for name in "abcd"}
    assert sorted(places.values()) == [0, 1, 2, 3]
    for name in "dbca":
        assert use(table, SHOTS + name * 40 + "and so on")[0] == places[name]


def test_equal_prompts_spread_and_start_from_the_saved_prefix() -> None:
    table = SlotTable(4, 1000)
    assert table.save(SHOTS, 10) == []
    plans = [table.take(SHOTS) for _ in range(4)]
    assert {plan.slot.number for plan in plans} == {0, 1, 2, 3}
    assert {plan.restore for plan in plans} == {file_name(SHOTS)}


def test_a_slot_that_knows_as_much_needs_no_file() -> None:
    table = SlotTable(2, 1000)
    use(table, SHOTS)
    table.save(SHOTS, 10)
    assert use(table, SHOTS + "more") == (0, None)


def test_a_new_attempt_does_not_take_the_slot_of_a_trace_that_may_come_back() -> None:
    table = SlotTable(3, 1000)
    use(table, "z" * 100)
    live, _ = use(table, SHOTS, "a trace that runs its code")
    table.save(SHOTS, 10)
    assert use(table, SHOTS, "another")[0] != live
    assert use(table, SHOTS + "a trace that runs its code and reads on") == (live, None)


def test_where_nothing_is_saved_a_shared_beginning_is_used() -> None:
    table = SlotTable(2, 1000)
    use(table, "z" * 100)
    assert use(table, SHOTS + "one")[0] == use(table, SHOTS + "two")[0]


def test_a_new_prompt_takes_the_slot_that_was_idle_for_longest() -> None:
    table = SlotTable(3, 1000)
    for name in "abc":
        use(table, name * 100)
    use(table, "a" * 100 + "again")
    assert use(table, "z" * 100)[0] == 1  # b's


def test_files_are_dropped_least_recently_used_first() -> None:
    table = SlotTable(1, 100)
    texts = [name * 100 for name in "abc"]
    assert table.save(texts[0], 40) == []
    assert table.save(texts[1], 40) == []
    assert use(table, texts[0] + "!")[1] == file_name(texts[0])
    assert table.save(texts[2], 40) == [file_name(texts[1])]
    assert table.has(texts[0])
    assert not table.has(texts[1])
    assert table.save("d" * 100, 500) == [file_name(texts[0]), file_name(texts[2])]
    assert table.has("d" * 100)  # the newest stays, however large
    table.forget(file_name("d" * 100))
    assert not table.has("d" * 100)


def test_there_must_be_a_free_slot() -> None:
    table = SlotTable(1, 100)
    table.take("a")
    with pytest.raises(ValueError, match="empty"):
        table.take("b")


@given(st.text("ab", max_size=20), st.text("ab", max_size=20))
def test_shared_is_the_common_prefix(one: str, two: str) -> None:
    length = shared(one, two)
    assert one[:length] == two[:length]
    assert one[length : length + 1] != two[length : length + 1] or one == two[: len(one)] == one


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=40))
def test_no_slot_is_given_twice(steps: list[tuple[str, bool]]) -> None:
    table = SlotTable(3, 100)
    taken = []
    for name, give_back in steps:
        if taken and (give_back or len(taken) == 3):
            table.release(taken.pop(0))
        plan = table.take(name * 50)
        assert plan.slot not in taken
        taken.append(plan.slot)
