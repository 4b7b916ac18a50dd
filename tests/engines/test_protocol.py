"""Events from bytes, and pieces from events, whatever the server's shape."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathlete.engines.base import Sampling
from mathlete.engines.protocol import Completions, LlamaNative, RubbishError, SSEDecoder

TEXTS = st.lists(st.text(min_size=1), min_size=1, max_size=6)


@given(TEXTS, st.data())
def test_any_cut_of_the_bytes_gives_the_same_events(texts: list[str], data: st.DataObject) -> None:
    events = [{"n": i, "text": text} for i, text in enumerate(texts)]
    end = data.draw(st.sampled_from(["\n\n", "\r\n\r\n"]))
    raw = [f"data: {json.dumps(e, ensure_ascii=data.draw(st.booleans()))}{end}" for e in events]
    stream = (": keep-alive" + end + "".join(raw) + "data: [DONE]" + end).encode(
        "utf-8", "surrogatepass"
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = SSEDecoder()
    got = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += list(decoder.feed(stream[start:stop]))
    assert got == events
    assert decoder.done


@pytest.mark.parametrize(
    "line", [b"<html>\n", b"data: {\n", b"data: [1]\n", b'data: "x"\n', b"data: nul\n", b"\xff\n"]
)
def test_rubbish(line: bytes) -> None:
    with pytest.raises(RubbishError):
        list(SSEDecoder().feed(line))


def test_completions_of_vllm() -> None:
    read = Completions().read
    piece = read(
        {
            "choices": [
                {
                    "text": "ab",
                    "logprobs": {"token_logprobs": [None, -1.5], "tokens": ["a", "b"]},
                    "finish_reason": "stop",
                    "stop_reason": "```",
                }
            ],
            "usage": {
                "prompt_tokens": 5,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 4},
            },
        }
    )
    assert (piece.text, piece.logprobs, piece.tokens) == ("ab", (0.0, -1.5), 2)
    assert (piece.finish, piece.stop_text) == ("stop", "```")
    assert piece.usage is not None
    assert piece.usage.cached_tokens == 4
    end_of_text = read({"choices": [{"text": "", "finish_reason": "stop", "stop_reason": 128009}]})
    assert (end_of_text.finish, end_of_text.stop_text) == ("stop", None)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [(None, None), ("stop", "stop"), ("length", "length"), ("abort", None), ("eos", "stop")],
)
def test_finish_reasons(reason: str | None, finish: str | None) -> None:
    assert Completions().read({"choices": [{"text": "", "finish_reason": reason}]}).finish == finish


@pytest.mark.parametrize("event", [{}, {"choices": "x"}, {"choices": [{"text": 3}]}, {"a": 1}])
def test_events_that_are_no_completion(event: dict[str, object]) -> None:
    with pytest.raises(RubbishError):
        Completions().read(event)
    with pytest.raises(RubbishError):
        LlamaNative().read(event)


def test_native_llama_tells_which_stop_string_fired() -> None:
    read = LlamaNative().read
    piece = read(
        {"content": "a", "stop": False, "completion_probabilities": [{"logprob": -0.25, "id": 1}]}
    )
    assert (piece.text, piece.logprobs, piece.finish) == ("a", (-0.25,), None)
    end = read(
        {
            "content": "",
            "stop": True,
            "stop_type": "word",
            "stopping_word": "```output",
            "tokens_evaluated": 9,
            "tokens_predicted": 4,
            "timings": {"cache_n": 8},
        }
    )
    assert (end.finish, end.stop_text) == ("stop", "```output")
    assert end.usage is not None
    assert (end.usage.prompt_tokens, end.usage.cached_tokens, end.usage.completion_tokens) == (
        9,
        8,
        4,
    )
    limit = read({"content": "", "stop": True, "stop_type": "limit", "stopping_word": ""})
    assert (limit.finish, limit.stop_text) == ("length", None)


def test_native_llama_samples_as_asked_and_no_narrower() -> None:
    body = LlamaNative().body("m", "p", Sampling(temperature=0.7, top_p=1.0, seed=3))
    assert (body["seed"], body["temperature"], body["top_p"], body["top_k"]) == (3, 0.7, 1.0, 0)
    assert body["samplers"] == ["top_k", "temperature", "top_p"]
