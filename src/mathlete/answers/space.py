"""The space of a problem's possible answers, and what lies in it; without computer algebra."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal, Self, get_args

from mathlete.answers.normalize import MAX_LENGTH, clean, normalize
from mathlete.answers.number import number
from mathlete.errors import UsageError

Kind = Literal["integer", "real", "expression", "text"]

_SPACE = re.compile(
    r"(?P<kind>[a-z]+)(?::(?P<low>-?\d{1,300})?\.\.(?P<high>-?\d{1,300})?)?(?:%(?P<mod>\d{1,300}))?"
)
_SPACE_RULE = "an answer space is integer, integer:LOW..HIGH, real, expression or text"


@dataclass(frozen=True, slots=True)
class AnswerSpace:
    """Which answers can be right at all: an answer outside it is no vote.

    `low` and `high` are inclusive, None when open. With a `modulus` an integer answer is first
    taken modulo it (AIMO progress prize 1: `integer:0..999%1000`).
    """

    kind: Kind = "expression"
    low: int | None = None
    high: int | None = None
    modulus: int | None = None

    def __post_init__(self) -> None:
        if self.kind != "integer" and (self.low, self.high, self.modulus) != (None, None, None):
            raise UsageError(f"answer space {self.kind!r} takes no bounds: {_SPACE_RULE}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise UsageError(f"answer space {self}: the lower bound is above the upper one")
        if self.modulus is not None and self.modulus < 1:
            raise UsageError(f"answer space {self}: the modulus must be at least 1")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `integer:0..999`, `integer`, `real`, `expression` or `text`.

        Either bound may be left out (`integer:1..`), and `%1000` at the end takes answers modulo
        1000. Raises `UsageError`, naming the rule and the nearest known kind.
        """
        match = _SPACE.fullmatch(text.strip())
        kind = match["kind"] if match else re.split(r"[:%]", text.strip())[0]
        if kind not in get_args(Kind):
            near = difflib.get_close_matches(kind.lower(), get_args(Kind), n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"answer space {text!r} is not known: {_SPACE_RULE}{hint}")
        if match is None:
            raise UsageError(f"answer space {text!r} cannot be read: {_SPACE_RULE}")
        low, high, mod = (
            None if match[g] is None else int(match[g]) for g in ("low", "high", "mod")
        )
        return cls(kind, low, high, mod)  # type: ignore[arg-type]  # checked above

    def __str__(self) -> str:
        text: str = self.kind
        if (self.low, self.high) != (None, None):
            low, high = ("" if b is None else b for b in (self.low, self.high))
            text += f":{low}..{high}"
        return text if self.modulus is None else f"{text}%{self.modulus}"


# What a real value may be written with besides digits, brackets and signs.
_REAL_COMMANDS = re.compile(
    r"\\(?:frac|sqrt|pi|cdot|times|div|ln|log|exp|sin|cos|tan|cot|sec|csc|arcsin|arccos|arctan"
    r"|lfloor|rfloor|lceil|rceil|binom|pm|mp)(?![A-Za-z])|pi(?![A-Za-z])|sqrt(?=\()|e(?![A-Za-z])"
)
_REAL_REST = re.compile(r"[-+*/^!(){}\[\]|_.\d\s]*")


def admit(space: AnswerSpace, answer: str) -> str | None:
    r"""The answer as it counts in `space`, or None when it lies outside.

    integer: the decimal digits, reduced by the space's modulus and within its bounds; "042",
    "42.0" and `\frac{84}{2}` are "42". real: one value without unknowns. expression: anything
    but nothing. text: white space and case folded. Costs microseconds, whatever the answer holds.
    """
    if len(answer) > MAX_LENGTH:
        return None
    if space.kind == "integer":
        return _integer(space, answer)
    if space.kind == "text":
        return " ".join(clean(answer).casefold().split()) or None
    cleaned = clean(answer)
    if not normalize(answer):
        return None
    return cleaned if space.kind == "expression" or _is_real(cleaned) else None


def _integer(space: AnswerSpace, answer: str) -> str | None:
    value = number(normalize(answer))
    if value is None or value.denominator != 1:
        return None
    integer = int(value) if space.modulus is None else int(value) % space.modulus
    below = space.low is not None and integer < space.low
    above = space.high is not None and integer > space.high
    return None if below or above else str(integer)


def _is_real(cleaned: str) -> bool:
    key = normalize(cleaned)
    if number(key) is not None:
        return True
    plain, names = _REAL_COMMANDS.subn(" ", key)
    return bool(_REAL_REST.fullmatch(plain)) and (names > 0 or any(c.isdigit() for c in plain))
