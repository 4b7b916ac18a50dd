"""Traces: the ToRA text form both ways, provenance, and what is derived."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathlete.trace import Trace, Turn, has_open_block, output_text, parse_tora, render_tora

TORA = """Let me compute.
```python
print(6 * 7)
```
```output
42
```
The answer is $\\boxed{42}$."""

pieces = st.sampled_from(
    ["```python\n", "\n```", "```output\n", "\n```\n", "```", "\n", "x = 1", "python", " ", "é∑"]
)
wild_text = st.one_of(st.text(), st.lists(pieces, max_size=20).map("".join))


@given(wild_text)
def test_parsing_loses_no_character(text: str) -> None:
    assert render_tora(parse_tora(text)) == text


line = st.text(st.characters(blacklist_characters="`\n\r", blacklist_categories=["Cs"]))
block = st.lists(line, min_size=1, max_size=4).map("\n".join)
prose = st.text(st.characters(blacklist_characters="`", blacklist_categories=["Cs"]), min_size=1)


@st.composite
def canonical_turns(draw: st.DrawFn) -> list[Turn]:
    """Alternating prose and blocks: what a decoder makes, with no fence inside a turn."""
    turns: list[Turn] = []
    for is_output in draw(st.lists(st.booleans(), max_size=5)):
        turns.append(Turn(kind="text", text=draw(prose) + "\n", sampled=True))
        if is_output:
            turns.append(Turn(kind="output", text=draw(block), sampled=False, opened=True))
        else:
            turns.append(Turn(kind="code", text=draw(block), sampled=True))
            turns.append(Turn(kind="text", text="\n" + draw(prose) + "\n", sampled=True))
    return _merged(turns)


def _merged(turns: list[Turn]) -> list[Turn]:
    merged: list[Turn] = []
    for turn in turns:
        if merged and merged[-1].kind == turn.kind == "text":
            turn = Turn(kind="text", text=merged.pop().text + turn.text, sampled=True)
        merged.append(turn)
    return merged


@given(canonical_turns())
def test_rendering_loses_no_turn(turns: list[Turn]) -> None:
    assert list(parse_tora(render_tora(turns))) == turns


def test_the_published_form_has_the_expected_turns() -> None:
    kinds = [(turn.kind, turn.text, turn.sampled) for turn in parse_tora(TORA)]
    assert kinds == [
        ("text", "Let me compute.\n", True),
        ("code", "print(6 * 7)", True),
        ("text", "\n", True),
        ("output", "42", False),
        ("text", "The answer is $\\boxed{42}$.", True),
    ]


def test_tora_70b_outputs_survive_both_ways(shared_data) -> None:
    import gzip

    path = shared_data / "sampled_outputs/tora/tora-70b-v1.0_gsm8k.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        texts = [text for line in file for text in json.loads(line)["code"]]
    assert len(texts) >= 1319
    with_code = 0
    for text in texts:
        turns = parse_tora(text)
        assert render_tora(turns) == text
        with_code += any(turn.kind == "code" for turn in turns)
    assert with_code > 0.99 * len(texts)


@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        ("```python\nprint(1)", True),
        ("```python\nprint(1)\n```output\n", True),  # never closed: the next fence ends it
        ("```python\nprint(1)\n```\n", False),
        ("no code", False),
        ("```python\n1\n```\n```python\n2", True),
    ],
)
def test_open_blocks_are_seen(text: str, is_open: bool) -> None:
    assert has_open_block(text) is is_open


def test_an_output_cannot_break_out_of_its_fences() -> None:
    text = output_text("before\n```\n```python\nprint('mine')\n```\n")
    turn = Turn(kind="output", text=text, sampled=False)
    assert parse_tora(turn.render())[0].kind == "output"
    assert len(parse_tora(turn.render())) == 1
    assert output_text("") == "(no output)"


def _trace() -> Trace:
    return Trace(problem="k", prompt="Q: ", turns=parse_tora(TORA), stop="answered")


def test_the_loss_mask_leaves_tool_output_out() -> None:
    trace = _trace()
    offsets = [(i, i + 1) for i in range(len(trace.text))]
    mask = trace.loss_mask(offsets)
    unsampled = "".join(c for c, keep in zip(trace.text, mask, strict=True) if not keep)
    assert unsampled == "42\n```\n"


def test_a_token_across_the_border_is_out_of_the_loss() -> None:
    trace = _trace()
    border = trace.text.index("42\n```\nThe")
    assert trace.loss_mask([(border - 1, border + 1), (border - 1, border)]) == [False, True]
    assert trace.loss_mask([(3, 3)]) == [False]  # a special token without text


def test_a_fence_put_in_by_us_is_not_the_models() -> None:
    turns = (
        Turn(kind="code", text="1", sampled=True),
        Turn(kind="output", text="1", sampled=False, opened=False),
    )
    pieces = Trace(problem="k", turns=turns).segments()
    assert pieces[1] == ("```output\n1\n```\n", False)


def test_the_chat_form_alternates() -> None:
    messages = _trace().messages()
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[1]["content"].endswith("print(6 * 7)\n```\n")
    assert messages[2]["content"] == "42"


def test_what_is_derived() -> None:
    trace = _trace()
    assert trace.answer == "42"
    assert trace.code_calls == 1
    assert trace.closing_text == "The answer is $\\boxed{42}$."
    assert trace.stopped("truncated").answer is None


def test_discarded_turns_are_paid_for_but_not_part_of_the_text() -> None:
    turns = (
        Turn(kind="text", text="junk", sampled=True, tokens=7, status="stop", discarded=True),
        Turn(kind="text", text="good", sampled=True, tokens=5, status="stop"),
    )
    trace = Trace(problem="k", turns=turns)
    assert (trace.text, trace.tokens, trace.rounds) == ("good", 12, 2)
