"""Everything in a session that draws random numbers without being given a seed."""

from __future__ import annotations

import itertools
import random
import sys
from typing import Any


def seed_everything(seed: int) -> None:
    """Make random, numpy and sympy repeat themselves for equal seeds (a non-negative integer)."""
    random.seed(seed)
    _seed_new_generators(seed)
    if "numpy.random" in sys.modules:
        _seed_numpy(seed)
    if "sympy" in sys.modules:
        sys.modules["sympy.core.random"].seed(seed)


def _seed_new_generators(seed: int) -> None:
    """`random.Random()` without a seed takes the next of a fixed row instead of the system's."""
    original = random.Random.seed
    counter = itertools.count(1)

    def seed_method(self: random.Random, a: Any = None, version: int = 2) -> None:
        original(self, f"{seed}/{next(counter)}" if a is None else a, version)

    random.Random.seed = seed_method  # type: ignore[method-assign]


def _seed_numpy(seed: int) -> None:
    numpy_random = sys.modules["numpy.random"]
    numpy_random.seed(seed % 2**32)
    source = random.Random(f"{seed}/numpy")
    # default_rng() without a seed asks this function for its entropy
    sys.modules["numpy.random.bit_generator"].randbits = source.getrandbits  # type: ignore[attr-defined]
