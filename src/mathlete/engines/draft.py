"""A completion while it is being written: pieces in, stop strings watched, totals kept."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from mathlete.engines.base import Completion, OnText, Sampling
from mathlete.engines.protocol import Piece, Usage


@dataclass(frozen=True, slots=True)
class _Ending:
    finish: Literal["stop", "length"]
    stop_text: str | None = None


class Draft:
    """Collects the pieces of one completion, over several connections where one was cut.

    A connection that breaks in the middle loses nothing: the next request goes on after the text
    that had arrived (`text`), with the tokens that are left (`rest`).
    """

    def __init__(self, sampling: Sampling, on_text: OnText | None) -> None:
        self._sampling = sampling
        self._on_text = on_text
        self._window = max((len(stop) for stop in sampling.stop), default=0)
        self._logprobs: list[float] = []
        self._tokens = 0
        self._kept = 0  # tokens that had arrived before the connection in use
        self._usage: Usage | None = None
        self._ending: _Ending | None = None
        self.text = ""

    @property
    def finished(self) -> bool:
        """Whether the server said why it stopped, or a stop string was seen."""
        return self._ending is not None

    def rest(self) -> Sampling:
        """What the next request has to ask for."""
        left = self._sampling.max_tokens - self._tokens
        if left <= 0 and not self.finished:
            self._ending = _Ending("length")
        return replace(self._sampling, max_tokens=max(1, left))

    def cut(self) -> None:
        """Note that the connection broke: what follows comes from another one."""
        self._kept = self._tokens
        self._usage = None

    def add(self, piece: Piece) -> bool:
        """Take a piece; true when the rest of the stream is of no use.

        Servers leave stop strings out and end there. Some include them, and some know none, or
        only a few: the text is watched here too, so that it never contains one.
        """
        if piece.usage is not None:
            self._usage = piece.usage
        if self.finished:
            return False
        self._tokens += piece.tokens
        self._logprobs.extend(piece.logprobs)
        before = len(self.text)
        self.text += piece.text
        fired = self._stop(before)
        if fired is not None:
            at, stop = fired
            self.text = self.text[:at]
            self._ending = _Ending("stop", stop)
        elif piece.finish is not None:
            self._ending = _Ending(piece.finish, piece.stop_text)
        fresh = self.text[before:]
        if fresh and self._on_text is not None:
            self._on_text(fresh)
        return fired is not None and piece.finish is None

    def completion(self, seconds: float) -> Completion:
        """What was written; only when `finished`."""
        if self._ending is None:
            raise RuntimeError("the completion is not finished")
        usage = self._usage or Usage(0, self._tokens - self._kept)
        return Completion(
            text=self.text,
            finish=self._ending.finish,
            stop_text=self._ending.stop_text,
            prompt_tokens=max(0, usage.prompt_tokens - self._kept),
            cached_tokens=usage.cached_tokens,
            completion_tokens=self._kept + usage.completion_tokens,
            logprobs=tuple(self._logprobs) if self._sampling.logprobs else None,
            seconds=seconds,
        )

    def _stop(self, before: int) -> tuple[int, str] | None:
        """Where the first stop string begins that ends in the text after `before`."""
        start = max(0, before - self._window + 1)
        found = [(self.text.find(stop, start), stop) for stop in self._sampling.stop if stop]
        return min(((at, stop) for at, stop in found if at >= 0), default=None)
