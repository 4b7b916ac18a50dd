r"""Are two answers equal? Cheap and exact means first, computer algebra in a killable process last.

1. the same normalised key (`normalize`; a plain number's key is its exact value);
2. two different plain numbers, or two different words, are not equal;
3. math-verify, in a worker process that is killed when the time limit is over.

An answer may be anything a model writes, `9^{9^{9^9}}` included: a comparison costs at most the
time limit, hurts no other one, and never raises. What could not be decided counts as not equal
and is counted in `Verifier.stats`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import struct
import sys
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

from mathlete.answers.normalize import MAX_LENGTH, clean, latex_pair, normalize
from mathlete.answers.number import number
from mathlete.answers.space import admit
from mathlete.errors import MathleteError
from mathlete.problem import Problem

_START_LIMIT_S = 120.0  # a busy machine imports sympy slowly
_CACHE_SIZE = 100_000
_WORDS = re.compile(r"[A-Za-z]{3,}|[Nn]o|[A-J]")
_NAMES = {"pi", "infty", "infinity", "inf"}  # words that math-verify knows as values
_DECIMAL = re.compile(r"-?(?P<whole>\d*)\.(?P<places>\d+)")
_WORKER = Path(__file__).with_name("worker.py")


def quick_equal(gold: str, answer: str) -> bool | None:
    """What can be told without computer algebra: equal, not equal, or None for "cannot tell"."""
    one, other = normalize(gold), normalize(answer)
    if one == other:
        return bool(one)
    if not one or not other or max(len(one), len(other)) > MAX_LENGTH:
        return False
    first, second = number(one), number(other)
    if first is not None and second is not None:
        if _is_percent(gold) != _is_percent(answer):  # 10% is 10 to some and 0.1 to others
            first, second = (first, 100 * second) if _is_percent(gold) else (100 * first, second)
            return first == second
        return _is_rounded(gold, first, second) or _is_rounded(answer, second, first)
    if _WORDS.fullmatch(one) and _WORDS.fullmatch(other) and not _NAMES & {one, other}:
        return one.casefold() == other.casefold()
    return None


def _is_percent(written: str) -> bool:
    return "%" in written and clean(written).endswith("%")


def _is_rounded(written: str, value: Fraction, exact: Fraction) -> bool:
    """Whether `written` is `exact` as a decimal: rounded to 6 digits or more, or float noise."""
    match = (
        _DECIMAL.fullmatch(clean(written).rstrip("% "))
        if "." in written and len(written) > 6
        else None
    )
    if match is None:
        return False
    digits = len((match["whole"] + match["places"]).lstrip("0"))
    if digits >= 15 and abs(value - exact) <= abs(exact) * Fraction(1, 10**12):
        return True
    return digits >= 6 and value == round(exact, len(match["places"]))


@dataclass
class VerifierStats:
    """What a `Verifier` did. `undecided` counts, by reason, pairs that were taken for unequal."""

    quick: int = 0
    cached: int = 0
    algebra: int = 0
    workers_started: int = 0
    undecided: Counter[str] = field(default_factory=Counter)


_Pair = tuple[str, str, bool]  # two answers as LaTeX, and whether the first is the gold answer


class _WorkerLost(Exception):
    """The worker ended, or broke the protocol."""


class _Worker:
    """One comparing process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, memory_mib: int) -> Self:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", str(_WORKER), str(memory_mib), str(os.getpid()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )  # fmt: skip
        worker = cls(process)
        try:
            async with asyncio.timeout(_START_LIMIT_S):
                first = await worker._receive()
        except (TimeoutError, _WorkerLost) as error:
            await worker.kill()
            first = {"error": "it took too long" if isinstance(error, TimeoutError) else "it ended"}
        except BaseException:
            await worker.kill()
            raise
        if "error" in first:
            await worker.kill()
            raise MathleteError(
                f"answers cannot be compared, the worker does not start: {first['error']}; "
                "check that math-verify is installed and that memory is free"
            )
        return worker

    async def ask(self, gold: str, answer: str, directed: bool, limit_s: float) -> dict[str, Any]:
        """Compare one pair. After `TimeoutError` or `_WorkerLost` the worker is of no more use."""
        assert self._process.stdin is not None
        data = json.dumps({"gold": gold, "answer": answer, "directed": directed}).encode()
        async with asyncio.timeout(limit_s):
            try:
                self._process.stdin.write(struct.pack(">I", len(data)) + data)
                await self._process.stdin.drain()
            except OSError:
                raise _WorkerLost from None
            return await self._receive()

    async def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        try:
            size = struct.unpack(">I", await self._process.stdout.readexactly(4))[0]
            reply: dict[str, Any] = json.loads(await self._process.stdout.readexactly(size))
        except (asyncio.IncompleteReadError, OSError, ValueError):
            raise _WorkerLost from None
        return reply

    async def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


class Verifier:
    """Compares answers: `async with Verifier() as verifier: await verifier.equal("1/2", "0.5")`.

    Workers are started when the first comparison needs one. `limit_s` is the time one comparison
    may take in its worker, `memory_mib` the address space of a worker. Every result is kept for
    the pair. An answer that once used up the limit against one that is fine is not compared again
    with other candidates (only with the gold answer), so it slows a vote down once and not for
    every class. May be used by any number of tasks of one event loop.
    """

    def __init__(
        self, *, limit_s: float = 2.0, workers: int | None = None, memory_mib: int = 2048
    ) -> None:
        self._limit_s = limit_s
        self._memory_mib = memory_mib
        self._slots = asyncio.Semaphore(workers or min(4, os.cpu_count() or 1))
        self._idle: list[_Worker] = []
        self._results: OrderedDict[_Pair, bool] = OrderedDict()
        self._fine: set[str] = set()  # answers that took part in a comparison that ended
        self._slow: set[str] = set()  # answers that used up the limit against one that is fine
        self._running: dict[_Pair, asyncio.Task[bool]] = {}
        self.stats = VerifierStats()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(worker.kill() for worker in self._idle))
        self._idle.clear()

    async def equal(self, one: str, other: str) -> bool:
        """Whether two answers have the same value; symmetric.

        Takes at most `limit_s` once a worker is free. False where that cannot be decided; raises
        `MathleteError` only when no worker can be started at all.
        """
        return await self._decide(one, other, directed=False)

    async def correct(self, problem: Problem, answer: str | None) -> bool | None:
        """Whether `answer` is right; None when the problem has no gold answer.

        An answer outside the problem's answer space is wrong. Unlike `equal` this knows which is
        the gold answer: "2x + z = 1" is right where that is "1", not the other way round.
        """
        if problem.answer is None:
            return None
        gold = admit(problem.space, problem.answer) or problem.answer
        given = None if answer is None else admit(problem.space, answer)
        if given is None:
            return False
        if problem.space.kind in ("integer", "text"):
            return gold == given
        return await self._decide(gold, given, directed=True)

    async def classes(self, answers: Sequence[str]) -> list[list[int]]:
        """Group equal answers: lists of indices, in order of each group's first answer.

        An answer is compared with the first of each group only.
        """
        groups: list[list[int]] = []
        for index, answer in enumerate(answers):
            place = await self.find([answers[group[0]] for group in groups], answer)
            if place is None:
                groups.append([index])
            else:
                groups[place].append(index)
        return groups

    async def find(self, representatives: Sequence[str], answer: str) -> int | None:
        """The index of the first representative equal to `answer`; cheap comparisons come first."""
        quick = [quick_equal(one, answer) for one in representatives]
        if True in quick:
            return quick.index(True)
        for index, told in enumerate(quick):
            if told is None and await self.equal(representatives[index], answer):
                return index
        return None

    async def _decide(self, gold: str, answer: str, *, directed: bool) -> bool:
        quick = quick_equal(gold, answer)
        if quick is not None:
            self.stats.quick += 1
            return quick
        one, other = latex_pair(gold, answer)
        pair = (one, other, True) if directed else (min(one, other), max(one, other), False)
        if pair in self._results:
            self.stats.cached += 1
            self._results.move_to_end(pair)
            return self._results[pair]
        if not directed and self._slow & {one, other}:
            self.stats.undecided["slow before"] += 1
            return False
        if pair not in self._running:
            task = asyncio.create_task(self._compare(pair))
            self._running[pair] = task
            task.add_done_callback(lambda _: self._running.pop(pair, None))
        # shielded: another task may wait for the same pair, and the worker must be heard out
        return await asyncio.shield(self._running[pair])

    async def _compare(self, pair: _Pair) -> bool:
        async with self._slots:
            reply = await self._ask(pair)
        sides = set(pair[:2])
        if "error" in reply:
            self.stats.undecided[reply["error"]] += 1
            if sides & self._fine:
                self._slow |= sides - self._fine
        else:
            self.stats.algebra += 1
            self._fine |= sides
        for memory in (self._fine, self._slow):
            if len(memory) > _CACHE_SIZE:
                memory.clear()
        if len(self._results) > _CACHE_SIZE:
            self._results.popitem(last=False)
        self._results[pair] = reply.get("equal") is True
        return self._results[pair]

    async def _ask(self, pair: _Pair) -> dict[str, Any]:
        if self._idle:
            worker = self._idle.pop()
        else:
            worker = await _Worker.start(self._memory_mib)
            self.stats.workers_started += 1
        healthy = False
        try:
            reply = await worker.ask(*pair, self._limit_s)
            # after a MemoryError nothing is certain about the state of a library
            healthy = reply.get("error") != "MemoryError"
        except TimeoutError:
            reply = {"error": "time"}
        except _WorkerLost:
            reply = {"error": "crash"}
        finally:
            if healthy:
                self._idle.append(worker)
            else:
                await worker.kill()
        return reply


def equal_pairs(pairs: Iterable[tuple[str, str]], *, limit_s: float = 2.0) -> list[bool]:
    """`Verifier.equal` for many pairs, from code that has no event loop."""

    async def compare() -> list[bool]:
        async with Verifier(limit_s=limit_s) as verifier:
            return await asyncio.gather(*(verifier.equal(*pair) for pair in pairs))

    return asyncio.run(compare())
