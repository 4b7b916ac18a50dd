"""What the zygote imports, and the few calls that make libraries load the rest of themselves."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import importlib.util
import sys
import warnings
from collections.abc import Iterable

MATHEMATICS = (
    "sympy", "numpy", "scipy", "mpmath", "networkx", "gmpy2", "z3", "ortools", "cypari",
    "cypari2", "pandas", "matplotlib", "pulp", "sklearn", "more_itertools", "primesieve",
)  # fmt: skip
"""Libraries that a model may expect; those installed are named when an import fails."""


def preload(names: Iterable[str]) -> None:
    """Import what is installed of `names`, then run a little of each to fill its caches."""
    warnings.simplefilter("ignore")
    sys.set_int_max_str_digits(0)
    sys.dont_write_bytecode = True
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if "sympy" in sys.modules:
        _sympy()
    if "numpy" in sys.modules:
        _numpy()


def settle() -> None:
    """The last step before the first fork: leave little to copy and little to collect."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    gc.freeze()
    # Symbolic mathematics makes many short-lived objects; the default of 700 costs some 5 % of a
    # block's time.
    gc.set_threshold(10_000, 10, 10)


def available() -> list[str]:
    """Which of the mathematical libraries can be imported here."""
    return [name for name in MATHEMATICS if importlib.util.find_spec(name) is not None]


def _sympy() -> None:
    import sympy

    x, y, n = sympy.symbols("x y n")
    sympy.solve([x + y - 3, x * y - 2], [x, y])
    sympy.solve(x**2 - 5 * x + 6, x)
    sympy.simplify(sympy.sin(x) ** 2 + sympy.cos(x) ** 2)
    sympy.expand((x + y) ** 3)
    sympy.factor(x**4 - 1)
    sympy.integrate(x**2, (x, 0, 1))
    sympy.summation(n, (n, 1, 10))
    sympy.factorint(360)
    sympy.Matrix([[1, 2], [3, 4]]).det()
    sympy.N(sympy.sqrt(2), 30)
    str(sympy.Rational(1, 3))


def _numpy() -> None:
    import numpy as np

    np.linalg.eigvals(np.eye(2))
    np.linalg.solve(np.eye(2), np.ones(2))
    repr(np.arange(3))
    np.random.seed(0)
