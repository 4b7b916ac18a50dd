"""The command line as its user runs it: a process of its own."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mathlete.engines.base import Sampling
from mathlete.engines.scripted import Reply

COMMAND = [sys.executable, "-m", "mathlete.cli"]


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code and both outputs."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The one line on standard error that says what is wrong."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        assert len(lines) == 1, self.err
        assert "Traceback" not in self.err
        return lines[0]


def environment(**more: str) -> dict[str, str]:
    """The environment of a command: no terminal colours, the caller's cache of weights."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith("MATHLETE_RUNS")}
    return {**keep, "COLUMNS": "120", "TERM": "dumb", **more}


async def spawn(folder: Path, *arguments: object, **more: str) -> asyncio.subprocess.Process:
    """Start `mathlete …` in a folder."""
    return await asyncio.create_subprocess_exec(
        *COMMAND,
        *map(str, arguments),
        cwd=folder,
        env=environment(**more),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def tool_user(latency_s: float = 0.0) -> Callable[[str, Sampling], Reply]:
    """A model that adds what the problem says to add, with Python, and reads the output."""

    def script(prompt: str, sampling: Sampling) -> Reply:
        problem = prompt.rsplit("### Problem:", 1)[1]
        outputs = re.findall(r"```output\n(.*?)\n```", problem, re.DOTALL)
        numbers = re.findall(r"\d+", problem.split("###")[0])
        text = f"```python\nprint({' + '.join(numbers)})\n```\n```output\n"
        if outputs:
            text = f"The answer is $\\boxed{{{outputs[-1]}}}$."
        return Reply(text=text, latency_s=latency_s, token_s=latency_s / 10)

    return script


def write_problems(path: Path, count: int) -> Path:
    """A set of additions, the last of them with a wrong gold answer."""
    rows = ["problem,answer"]
    for number in range(count):
        gold = 2 * number + 1 if number < count - 1 else 0
        rows.append(f"What is {number} plus {number + 1}?,{gold}")
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path
