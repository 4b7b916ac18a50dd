"""What the model is told: values, short tracebacks with its own lines only, what to import."""

from __future__ import annotations

import linecache
import sys
import traceback
from types import TracebackType

from mathlete.sandbox.inside import warm

_FRAMES_SHOWN = 6
_TEXT_CHARS = 4000
_MATHEMATICS: list[str] = []


def prepare() -> None:
    """Once in the zygote: find out which libraries there are."""
    _MATHEMATICS[:] = warm.available()


def short(text: str) -> str:
    """`text`, its middle cut out where it is very long."""
    if len(text) <= _TEXT_CHARS:
        return text
    half = _TEXT_CHARS // 2
    cut = len(text) - 2 * half
    return f"{text[:half]}\n… [{cut} characters cut] …\n{text[-half:]}"


def shown(value: object) -> str:
    """A last expression as a notebook prints it; a figure is only named."""
    if type(value).__module__.split(".")[0] == "matplotlib":
        return "[figure: not shown]"
    return repr(value)


def note_figures() -> None:
    """Say that figures were drawn, and close them."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    numbers = pyplot.get_fignums() if pyplot else []
    if pyplot and numbers:
        pyplot.close("all")
        print(f"[{len(numbers)} figure{'s' if len(numbers) > 1 else ''}: not shown]")


def describe(error: BaseException) -> str:
    """A traceback of the frames in blocks, then the error as Python words it."""
    if isinstance(error, RecursionError | MemoryError):
        frames = _frames(error.__traceback__)
        error = error.with_traceback(None)
        error.__context__ = None
    else:
        frames = _frames(error.__traceback__)
    try:
        last = "".join(traceback.format_exception_only(type(error), error)).rstrip("\n")
    except BaseException as second:  # a hostile or broken __str__
        last = f"{type(error).__name__}: <its text failed with {type(second).__name__}>"
    if isinstance(error, ModuleNotFoundError) and _MATHEMATICS:
        last += f"\nInstalled: {', '.join(_MATHEMATICS)} and the standard library."
    elif isinstance(error, MemoryError):
        last = last if ":" in last else "MemoryError: the block needed more memory than it may have"
    head = ["Traceback (most recent call last):", *frames] if frames else []
    return short("\n".join([*head, last]))


def _frames(trace: TracebackType | None) -> list[str]:
    places: list[tuple[str, int, str]] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename.startswith("<block "):
            places.append((code.co_filename, trace.tb_lineno, code.co_name))
        trace = trace.tb_next
    lines = [_line(*place) for place in places]
    if len(lines) > _FRAMES_SHOWN:
        half = _FRAMES_SHOWN // 2
        hidden = len(lines) - 2 * half
        lines = [*lines[:half], f"  … {hidden} more calls …", *lines[-half:]]
    return lines


def _line(name: str, number: int, function: str) -> str:
    where = "" if function == "<module>" else f", in {function}"
    source = linecache.getline(name, number).strip()
    return f'  File "{name}", line {number}{where}' + (f"\n    {source}" if source else "")
