"""Whether an answer lies in the space of a problem's possible answers, without computer algebra."""

from __future__ import annotations

import re

from mathlete.answers.normalize import MAX_LENGTH, clean, normalize
from mathlete.answers.number import number
from mathlete.problem import AnswerSpace

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
