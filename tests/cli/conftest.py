"""Fixtures that run the command line as its user does."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import COMMAND, Outcome, environment, spawn


@pytest.fixture
def mathlete(tmp_path: Path) -> Callable[..., Outcome]:
    """Runs `mathlete …` in `tmp_path` to its end."""

    def run(*arguments: object, **more: str) -> Outcome:
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            env=environment(**more),
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def amathlete(tmp_path: Path) -> Callable[..., object]:
    """The same beside a server that runs in the test's own event loop."""

    async def run(*arguments: object, **more: str) -> Outcome:
        process = await spawn(tmp_path, *arguments, **more)
        out, err = await asyncio.wait_for(process.communicate(), 300)
        assert process.returncode is not None
        return Outcome(process.returncode, out.decode(), err.decode())

    return run
