"""What an engine is: a prompt and sampling settings in, a completion out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self

OnText = Callable[[str], None]
"""Called with each piece of text as it arrives from the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to sample one completion. The names are those of the OpenAI protocol."""

    temperature: float = 0.8
    top_p: float = 1.0
    max_tokens: int = 2048
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool = False

    def with_stop(self, *stop: str) -> Sampling:
        """The same settings with further stop strings."""
        return replace(self, stop=tuple(dict.fromkeys((*self.stop, *stop))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What the model wrote for one prompt, and what that cost.

    `text` is without the stop string. `stop_text` is the stop string that ended it; None when the
    model ended by itself, when the limit did, or when the server does not tell.
    `logprobs` (T,), natural logarithm, one a sampled token; None unless asked for.
    """

    text: str
    finish: Literal["stop", "length"]
    stop_text: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    logprobs: tuple[float, ...] | None = None
    seconds: float = 0.0


class Engine(Protocol):
    """A model that completes prompts.

    Cancelling the task that awaits `generate` cancels the request on the server and frees its
    slot. Raises `ContextTooLong` for one request that does not fit, another `EngineError` when
    the server cannot be used at all.
    """

    @property
    def model(self) -> str:
        """The model's name: part of a run's configuration, so it must be stable."""
        ...

    @property
    def concurrency(self) -> int:
        """How many completions it is worth having in flight."""
        ...

    @property
    def context(self) -> int | None:
        """Tokens that prompt and completion may take together; None when unknown."""
        ...

    async def generate(
        self, prompt: str, sampling: Sampling, on_text: OnText | None = None
    ) -> Completion:
        """Complete one prompt; `on_text` sees the text as it streams in."""
        ...

    async def prepare(self, prompt: str) -> None:
        """Tell that many completions of this very prompt follow, so that it is read once."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: object) -> None: ...
