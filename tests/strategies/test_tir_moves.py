"""Numina's rules, one by one: what `Tir` does next with a given trace."""

from dataclasses import replace

import pytest

from mathlete.prompts import Prompt
from mathlete.strategies.attempt import ASKED
from mathlete.strategies.tir import Execute, Move, Sample, Stop, Tir
from mathlete.trace import Trace, Turn, parse_tora

PROMPT = Prompt(name="p", kind="tir", text="{{problem}}")
TIR = Tir(prompt=PROMPT)
CODE = "```python\nprint(6*7)\n```\n"
OUTPUT = Turn(kind="output", text="42", sampled=False, opened=True, status="ok")


def completed(text: str, status: str = "stop") -> tuple[Turn, ...]:
    turns = list(parse_tora(text)) or [Turn(kind="text", text="", sampled=True)]
    turns[-1] = replace(turns[-1], status=status, tokens=3)
    return tuple(turns)


def after(*parts: tuple[Turn, ...] | Turn) -> Trace:
    turns: list[Turn] = []
    for part in parts:
        turns.extend([part] if isinstance(part, Turn) else part)
    return Trace(problem="k", turns=tuple(turns))


ASKS = completed(CODE, ASKED)


@pytest.mark.parametrize(
    ("trace", "move"),
    [
        pytest.param(after(), Sample(), id="begin"),
        pytest.param(after(ASKS), Execute(("print(6*7)",)), id="run what asked for its output"),
        pytest.param(after(ASKS, OUTPUT), Sample(), id="go on after an output"),
        pytest.param(
            after(ASKS, OUTPUT, completed("So \\boxed{42}.")), Stop("answered"), id="answer"
        ),
        pytest.param(
            after(ASKS, OUTPUT, completed("The answer is 42")), Stop("answered"), id="answer is"
        ),
        pytest.param(
            after(completed("It is \\boxed{42}.")), Sample(restart=True), id="no code: restart"
        ),
        pytest.param(
            after(completed(CODE + "It prints \\boxed{42}.")), Stop("made-up"), id="made-up output"
        ),
        pytest.param(
            after(completed("```python\nprint('The answer is', 6*7)\n```\n", ASKED)),
            Execute(("print('The answer is', 6*7)",)),
            id="what code prints is no answer yet",
        ),
        pytest.param(
            after(completed("```python\nprint(6*7)\n")),
            Stop("incomplete-code"),
            id="block not closed",
        ),
        pytest.param(
            after(completed("```python\nprint(6*7)\n", "length")),
            Stop("truncated"),
            id="cut in a block",
        ),
        pytest.param(
            after(ASKS, OUTPUT, completed("well, well", "length")),
            Stop("truncated"),
            id="cut in the prose",
        ),
        pytest.param(
            after(completed(CODE + "And that is how it is done.")),
            Stop("no-output"),
            id="code that does not ask",
        ),
        pytest.param(
            after(ASKS, OUTPUT, completed("Nothing to add.")), Stop("no-answer"), id="no answer"
        ),
        pytest.param(
            after(ASKS, OUTPUT, completed("\\boxed{42}" + " so" * 60)),
            Stop("no-answer"),
            id="answer outside the window",
        ),
        pytest.param(
            after(completed("a = 1\n" + CODE + "then\n```python\nprint(a)\n```\n", ASKED)),
            Execute(("print(6*7)", "print(a)")),
            id="two blocks, one output",
        ),
        pytest.param(
            after(ASKS, OUTPUT, ASKS, OUTPUT, ASKS, OUTPUT, ASKS, OUTPUT),
            Stop("depth"),
            id="no rounds left",
        ),
    ],
)
def test_next_move(trace: Trace, move: Move) -> None:
    assert TIR.next_move(trace) == move


def test_a_restart_uses_up_a_round() -> None:
    thrown_away = tuple(replace(turn, discarded=True) for turn in completed("words") * 3)
    trace = Trace(problem="k", turns=(*thrown_away, *completed("more words")))
    assert trace.rounds == 4
    assert TIR.next_move(trace) == Stop("no-code")
    answered = Trace(problem="k", turns=(*thrown_away, *completed("\\boxed{7}")))
    assert TIR.next_move(answered) == Stop("made-up")


def test_the_rules_are_settings() -> None:
    words = after(completed("It is \\boxed{42}."))
    assert replace(TIR, restart_on_fail=False).next_move(words) == Stop("made-up")
    free = replace(TIR, restart_on_fail=False, require_output=False)
    assert free.next_move(words) == Stop("answered")
    assert replace(TIR, depth=1).next_move(after(ASKS, OUTPUT)) == Stop("depth")
    far = after(ASKS, OUTPUT, completed("\\boxed{42}" + " so" * 60))
    assert replace(TIR, answer_window=None).next_move(far) == Stop("answered")
