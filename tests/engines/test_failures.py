"""What servers say when a request is too long, in their own words, and what is made of it."""

import json

import pytest

from mathlete.engines.failures import error_for, read_refusal, refusal_of_event
from mathlete.errors import ContextTooLong, EngineError, ModelMissing, RequestRejected

OPENAI = (
    "This model's maximum context length is 4097 tokens. However, you requested 5000 tokens (4500 "
    "in the messages, 500 in the completion). Please reduce the length of the messages."
)
VLLM_OLD = (
    "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (7000 "
    "in the messages, 2000 in the completion). Please reduce the length."
)
VLLM_PROMPT = (
    "This model's maximum context length is 8192 tokens. However, your request has 9000 input "
    "tokens. Please reduce the length of the input messages."
)
VLLM_ROOM = (
    "'max_tokens' or 'max_completion_tokens' is too large: 2000. This model's maximum context "
    "length is 8192 tokens and your request has 7000 input tokens (2000 > 8192 - 7000)."
)
LLAMA = "request (4001 tokens) exceeds the available context size (2048 tokens), try increasing it"
SGLANG = "The input (9000 tokens) is longer than the model's context length (8192 tokens)."
SGLANG_ROOM = (
    "Requested token count exceeds the model's maximum context length of 8192 tokens. You "
    "requested a total of 9000 tokens: 7000 tokens from the input messages and 2000 tokens for "
    "the completion."
)


@pytest.mark.parametrize(
    ("message", "room"),
    [
        (OPENAI, 0),
        (VLLM_OLD, 1192),
        (VLLM_PROMPT, 0),
        (VLLM_ROOM, 1192),
        (LLAMA, 0),
        (SGLANG, 0),
        (SGLANG_ROOM, 1192),
        ("Prompt is too long", None),
    ],
)
def test_too_long_in_every_wording(message: str, room: int | None) -> None:
    body = json.dumps({"error": {"message": message, "code": 400}}).encode()
    refusal = read_refusal(400, body)
    assert refusal.too_long
    assert not refusal.retryable
    assert refusal.room == room
    assert isinstance(error_for(refusal, "http://h/v1", "m", False), ContextTooLong)


def test_openai_code_alone_is_enough() -> None:
    body = {"error": {"message": "Input is invalid.", "code": "context_length_exceeded"}}
    assert read_refusal(400, json.dumps(body).encode()).too_long


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"object": "error", "message": "bad", "code": 400}', "bad"),
        (b'{"detail": "bad"}', "bad"),
        (b'{"error": "bad"}', "bad"),
        (b'{"detail": [{"loc": ["body"], "msg": "bad"}]}', "[{'loc': ['body'], 'msg': 'bad'}]"),
        (b"plain\n words", "plain words"),
        (b"\xff\x00", "\ufffd\x00"),
        (b"", "no explanation"),
    ],
)
def test_messages_of_every_form(body: bytes, message: str) -> None:
    assert read_refusal(400, body).message == message


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *((status, False) for status in (400, 401, 403, 404, 422, 501)),
        *((status, True) for status in (408, 429, 500, 502, 503, 504)),
    ],
)
def test_which_are_asked_again(status: int, retryable: bool) -> None:
    assert read_refusal(status, b"{}").retryable is retryable


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), ("1.5", 1.5), ("-3", 0.0)])
def test_retry_after(header: str, seconds: float) -> None:
    assert read_refusal(429, b"", header).retry_after_s == seconds


def test_retry_after_as_a_date_is_left_to_the_back_off() -> None:
    assert read_refusal(429, b"", "Wed, 21 Oct 2026 07:28:00 GMT").retry_after_s is None


@pytest.mark.parametrize(
    ("status", "message", "kind", "says"),
    [
        (404, "The model `x` does not exist.", ModelMissing, "--model-name"),
        (404, "Not Found", RequestRejected, "chat only"),
        (401, "no", RequestRejected, "MATHLETE_API_KEY"),
        (422, "stop: at most 4", RequestRejected, "at most 4"),
        (503, "loading", EngineError, "log"),
    ],
)
def test_errors(status: int, message: str, kind: type[Exception], says: str) -> None:
    error = error_for(read_refusal(status, message.encode()), "http://h/v1", "x", False)
    assert type(error) is kind
    assert says in str(error)
    assert "\n" not in str(error)


def test_errors_inside_a_stream() -> None:
    late = refusal_of_event({"error": {"message": "the engine died", "code": 500}})
    assert (late.status, late.message, late.retryable) == (500, "the engine died", True)
    assert refusal_of_event({"error": "boom"}).status == 500
