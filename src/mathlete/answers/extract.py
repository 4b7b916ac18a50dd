r"""Find the answer in what a model wrote.

In order of trust: the last complete `\boxed{…}`; the last sentence of the kind "the answer is …",
"**Final Answer**", "Answer: …" or GSM8K's "#### n"; and, when asked for, the last number.
Every function here is linear in the length of the text and never raises.
"""

from __future__ import annotations

import re

_BOXED = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*(?P<open>\{)?|\\.|[{}]", re.DOTALL)
_UNBRACED = re.compile(r"\\[A-Za-z]{1,30}(?:\{[^{}]{0,200}\}){0,3}|[^\s${}\\]{1,200}")

_SAYS = re.compile(
    r"answer\s{0,3}(?:\*\*|\))?\s{0,3}(?:is|are|=|:)\s{0,3}(?:\*\*)?\s{0,3}(?:equal to|[:=])?"
    r"|\*\*\s{0,3}(?:final\s{1,3})?answer\s{0,3}:?\s{0,3}\*\*\s{0,3}:?"
    r"|^\#{1,4} ?(?:final )?answer:?[ ]{0,3}$"
    r"|^[ ]{0,3}\#{4}(?=[ \t]{0,3}[^\s\#])"
    r"|答案\s{0,3}(?:[是为為:：]|应为|等于)",
    re.IGNORECASE | re.MULTILINE,
)
_MATH = re.compile(
    r"\$\$(.{1,500}?)\$\$|\$(.{1,500}?)\$|\\\((.{1,500}?)\\\)|\\\[(.{1,500}?)\\\]", re.DOTALL
)
# A sentence ends at a line break, or at a full stop (and the like) before white space or the end.
_SENTENCE_END = re.compile(r"\n|[.!?;](?=\s|$|\*\*)|[。；]|,(?=\s+[a-z]{2})")
_NUMBER = re.compile(
    r"(?<![\w.\\])[-−]?\$?(?:\d{1,3}(?:,\d{3})+(?![\d,]*\d)|\d+)?(?:\.\d+|(?<=\d))"
    r"(?:[eE][-+]?\d{1,4}\b)?(?:\s?/\s?\d+)?"
)
_SPAN = 400
"""Characters after "the answer is" in which the answer must stand."""


def last_boxed(text: str) -> tuple[str, int] | None:
    r"""The content of the last complete `\boxed{…}`, `\fbox{…}` or `\boxed 5`, and where it ends.

    Braces nest, escaped braces count for nothing, an unclosed or empty box is passed over; of a
    box in a box the inner one counts.
    """
    found: tuple[int, int, int] | None = None  # start and end of the content, end of the box
    stack: list[int] = []  # open braces: where the content of a box starts, -1 for any other
    for token in _BOXED.finditer(text):
        symbol = token[0]
        if symbol == "}":
            start = stack.pop() if stack else -1
            later = start >= 0 and (found is None or start > found[0])
            if later and not text[start : token.start()].isspace() and start < token.start():
                found = (start, token.start(), token.end())
        elif symbol == "{":
            stack.append(-1)
        elif token["open"]:
            stack.append(token.end())
        elif symbol.startswith(("\\boxed", "\\fbox")):
            bare = _UNBRACED.match(text, token.end())
            if bare:
                found = (bare.start(), bare.end(), bare.end())
    return (text[found[0] : found[1]].strip(), found[2]) if found else None


def _last_said(text: str) -> tuple[str, int] | None:
    """The answer of the last sentence that announces one, and where it ends."""
    for match in reversed(list(_SAYS.finditer(text))):
        found = _after(text, match.end())
        if found:
            return found
    return None


def _after(text: str, start: int) -> tuple[str, int] | None:
    """The answer said at `start`, after "the answer is": a formula, or the rest of the sentence."""
    while start < len(text) and (text[start].isspace() or text[start] in "*:"):
        start += 1
    rest = text[start : start + _SPAN]
    formula = _MATH.match(rest)
    if formula:
        content = next(g for g in formula.groups() if g is not None)
        return (content.strip(), start + formula.end()) if content.strip() else None
    stop = _SENTENCE_END.search(rest)
    end = stop.start() if stop else len(rest)
    said = rest[:end].strip().strip("*").rstrip(".:;, ").strip()
    return (said, start + end) if said else None


def _last_number(text: str) -> tuple[str, int] | None:
    last = None
    for match in _NUMBER.finditer(text):
        if match[0]:
            last = match
    return (last[0].replace("$", ""), last.end()) if last else None


def extract_answer(
    text: str, *, window: int | None = None, last_number: bool = False
) -> str | None:
    r"""The answer that `text` gives, or None.

    `window`: only an answer that ends in the last so many characters counts (Numina's prompt
    format: 100), white space at the end of the text aside. `last_number`: when nothing else is
    found, the last number stands for the answer.
    """
    text = text.rstrip()
    earliest = 0 if window is None else len(text) - window
    found = last_boxed(text)
    if found is None or found[1] < earliest:
        found = _last_said(text)
    if (found is None or found[1] < earliest) and last_number:
        found = _last_number(text)
    return found[0] if found and found[1] >= earliest else None
