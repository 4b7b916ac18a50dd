"""Choosing the examples that are most like a problem.

A small model copies the pattern of the examples that it sees, so which ones it sees decides most
(arXiv 2101.06804: retrieved examples beat fixed ones). The likeness is the cosine of word sets,
each word weighted by how rare it is among the examples; every number counts as the same word, so
that wording decides and not the digits. No model, no index: there are dozens of examples.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(r"[a-z]+|\d[\d,.]*\d|\d|[-^!%/*+=]")


def most_similar(problem: str, questions: Sequence[str], count: int) -> list[int]:
    """The indices of the `count` questions most like `problem`, the most similar last.

    Last is nearest to the problem in a prompt, where it weighs most. Ties go to the earlier one.
    """
    known = [_words(question) for question in questions]
    frequency = Counter(word for words in known for word in words)
    weight = {word: math.log(1 + len(known) / frequency[word]) ** 2 for word in frequency}
    unseen = math.log(1 + len(known)) ** 2
    asked = _words(problem)

    def size(words: frozenset[str]) -> float:
        return math.sqrt(sum(weight.get(word, unseen) for word in sorted(words))) or 1.0

    def likeness(words: frozenset[str]) -> float:
        common = sum(weight[word] for word in sorted(asked & words))
        return common / (size(asked) * size(words))

    scores = [likeness(words) for words in known]
    order = sorted(range(len(known)), key=lambda index: (scores[index], -index))
    return order[max(0, len(order) - count) :]


def _words(text: str) -> frozenset[str]:
    found = _WORD.findall(text.lower())
    return frozenset("0" if word[0].isdigit() else word for word in found)
