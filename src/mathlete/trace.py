r"""One attempt at a problem: an ordered list of turns, and everything derived from it.

The text form is ToRA's (arXiv 2309.17452, section 2.1), as in NuminaMath-TIR::

    rationale
    ```python
    print(6 * 7)
    ```
    ```output
    42
    ```
    The answer is $\boxed{42}$.

`parse_tora` and `render_tora` convert both ways without losing a character.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mathlete.answers.extract import extract_answer

Kind = Literal["text", "code", "output", "summary"]

CODE_OPEN = "```python\n"
CODE_CLOSE = "\n```"
OUTPUT_OPEN = "```output\n"
OUTPUT_CLOSE = "\n```\n"

ANSWERED = "answered"
"""The stop reason of a trace that ended with an answer; every other reason means: no vote."""

# A block's lines may not begin with a fence, so an unclosed block never swallows the next one.
_BLOCK = re.compile(
    r"```python\n(?P<code>(?:(?!```).*\n)+)```(?=\n|\Z)"
    r"|```output\n(?P<output>(?:(?!```).*\n)+)```\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A stretch of a trace of one kind.

    `sampled` tells whether the model wrote it. `opened` (outputs only) tells whether the model
    itself wrote the opening fence, which is how it asks for its code to be run.

    What a completion cost stands on its last turn: `tokens` sampled, `prompt_tokens` read,
    `seconds` of wall clock, `status` (`stop` or `length`), `logprobs` (tokens,) if asked for.
    On an output turn `seconds` and `status` are the sandbox's. A `discarded` turn was paid for
    but is no part of the attempt's text: a first round without code, thrown away and resampled.
    """

    kind: Kind
    text: str
    sampled: bool
    opened: bool = False
    tokens: int = 0
    prompt_tokens: int = 0
    seconds: float = 0.0
    status: str = ""
    logprobs: tuple[float, ...] | None = None
    discarded: bool = False

    def render(self) -> str:
        """This turn in the ToRA text form."""
        if self.kind == "code":
            return CODE_OPEN + self.text + CODE_CLOSE
        if self.kind == "output":
            return OUTPUT_OPEN + self.text + OUTPUT_CLOSE
        return self.text


def parse_tora(text: str, *, sampled: bool = True) -> tuple[Turn, ...]:
    """Split ToRA text into turns; `render_tora` of the result is `text` again, to the letter.

    Outputs count as not sampled, with the fence before them as the model's own. A block that is
    not closed, or is empty, stays text.
    """
    turns = []
    end = 0
    for match in _BLOCK.finditer(text):
        if match.start() > end:
            turns.append(Turn(kind="text", text=text[end : match.start()], sampled=sampled))
        end = match.end()
        if match["code"] is not None:
            turns.append(Turn(kind="code", text=match["code"][:-1], sampled=sampled))
        else:
            turns.append(
                Turn(kind="output", text=match["output"][:-1], sampled=False, opened=sampled)
            )
    if end < len(text):
        turns.append(Turn(kind="text", text=text[end:], sampled=sampled))
    return tuple(turns)


def render_tora(turns: Iterable[Turn]) -> str:
    """The ToRA text of turns, discarded ones left out."""
    return "".join(turn.render() for turn in turns if not turn.discarded)


def has_open_block(text: str) -> bool:
    """Whether `text` holds a Python block that was begun and not properly ended."""
    return any(turn.kind == "text" and "```python" in turn.text for turn in parse_tora(text))


def output_text(text: str) -> str:
    """What a program printed, made safe to stand between fences: never empty, no fence in it."""
    return text.replace("```", "'''").strip("\n") or "(no output)"


def content_key(*parts: object) -> str:
    """A key by content: 128 bits of BLAKE2b over the parts, in hexadecimal."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = str(part).encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def derive_seed(*parts: object) -> int:
    """A sampling seed (31 bits) from what it is for; equal parts give equal seeds everywhere."""
    return int(content_key(*parts)[:8], 16) & 0x7FFF_FFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One attempt. Frozen: `with_turns` and `stopped` give new ones.

    `problem` is the problem's key. `path` numbers the attempt inside its strategy: `(3,)` is
    sample 3 of a vote. `prompt` is the text the model saw before its first turn. `stop` is why
    it ended, empty while it has not.
    """

    problem: str
    path: tuple[int, ...] = ()
    prompt: str = ""
    turns: tuple[Turn, ...] = ()
    stop: str = ""

    @property
    def sample(self) -> int:
        """The attempt's number in the vote it belongs to; 0 when there is none."""
        return self.path[0] if self.path else 0

    @property
    def name(self) -> str:
        """The path in readable form: `3`, `3.0`; `0` for a single attempt."""
        return ".".join(map(str, self.path)) or "0"

    @property
    def kept(self) -> tuple[Turn, ...]:
        """The turns that make up the attempt's text."""
        return tuple(turn for turn in self.turns if not turn.discarded)

    @property
    def text(self) -> str:
        """The attempt in the ToRA text form, without the prompt."""
        return render_tora(self.turns)

    @property
    def closing_text(self) -> str:
        """The prose after the last block: where a final answer belongs.

        Code is not looked into: `print("The answer is", x)` is no answer.
        """
        kept = self.kept
        last = max(
            (i for i, turn in enumerate(kept) if turn.kind in ("code", "output")), default=-1
        )
        return render_tora(kept[last + 1 :])

    @property
    def answer(self) -> str | None:
        """The final answer, verbatim; None unless the attempt ended with one."""
        if self.stop != ANSWERED:
            return None
        return extract_answer(self.closing_text, last_number=True)

    @property
    def rounds(self) -> int:
        """Completions paid for, discarded ones included."""
        return sum(bool(turn.status) for turn in self.turns if turn.sampled)

    @property
    def code_calls(self) -> int:
        """Blocks that were run."""
        return sum(turn.kind == "output" for turn in self.turns)

    @property
    def code_errors(self) -> int:
        """Blocks that did not end well: an exception, a timeout, a limit."""
        return sum(turn.kind == "output" and turn.status != "ok" for turn in self.turns)

    @property
    def tokens(self) -> int:
        """Tokens sampled, discarded ones included."""
        return sum(turn.tokens for turn in self.turns)

    @property
    def seconds(self) -> float:
        """Time spent in completions and executions, waiting for a free slot not included."""
        return sum(turn.seconds for turn in self.turns)

    def with_turns(self, turns: Iterable[Turn]) -> Trace:
        """This trace with more turns at its end."""
        return replace(self, turns=(*self.turns, *turns))

    def stopped(self, reason: str) -> Trace:
        """This trace, ended for a reason."""
        return replace(self, stop=reason)

    def segments(self) -> list[tuple[str, bool]]:
        """The text in order, cut into (text, sampled by the model) pieces.

        An output's opening fence counts as sampled where the model wrote it itself.
        """
        pieces: list[tuple[str, bool]] = []
        for turn in self.kept:
            if turn.kind == "output" and turn.opened:
                pieces.append((OUTPUT_OPEN, True))
                pieces.append((turn.text + OUTPUT_CLOSE, turn.sampled))
            else:
                pieces.append((turn.render(), turn.sampled))
        return pieces

    def loss_mask(self, offsets: Sequence[tuple[int, int]]) -> list[bool]:
        """Which tokens of `text` were sampled by the model, by provenance.

        `offsets` (T, 2) are the tokenizer's character spans into `text`; the result is (T,). A
        token that touches one character the model did not write is out: no loss on tool output.
        """
        sampled: list[bool] = []
        for piece, by_model in self.segments():
            sampled.extend([by_model] * len(piece))
        return [all(sampled[start:end]) and end > start for start, end in offsets]

    def messages(self) -> list[dict[str, str]]:
        """The chat form: the prompt, then the model's turns and the outputs in alternation.

        Code keeps its fences in the assistant's message; an output is a `tool` message.
        """
        messages = [{"role": "user", "content": self.prompt}]
        for turn in self.kept:
            if turn.kind == "output":
                messages.append({"role": "tool", "content": turn.text})
            elif messages[-1]["role"] == "assistant":
                messages[-1]["content"] += turn.render()
            else:
                messages.append({"role": "assistant", "content": turn.render()})
        return messages
