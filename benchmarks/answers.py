r"""Extraction, comparison and voting against published numbers and against math-verify.

    python benchmarks/answers.py ../shared/data

Takes about two minutes on two cores. Every line is one row of the table in docs/answers.md: what
was measured, ours, the peer's number in the same run or the published one.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mathlete.answers.equal import Verifier
from mathlete.answers.extract import extract_answer
from mathlete.answers.normalize import normalize
from mathlete.answers.number import number
from mathlete.answers.vote import tally
from mathlete.problem import AnswerSpace, Problem

_ANSWER_FIELD = re.compile(r'"answer"\s*:\s*"?((?:[^"\\\n}]|\\.|\}(?!\s*$))*)')
REAL = AnswerSpace("real")
EXPRESSION = AnswerSpace("expression")


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a JSON lines file, gzipped or not."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as lines:
        yield from map(json.loads, lines)


def show(what: str, ours: str, other: str) -> None:
    """One row of the table."""
    print(f"| {what} | {ours} | {other} |", flush=True)


def percent(right: list[bool]) -> str:
    """A share with its standard error, both in percent."""
    share = statistics.fmean(right)
    return f"{100 * share:.2f} ± {100 * (share * (1 - share) / len(right)) ** 0.5:.2f}"


async def right(verifier: Verifier, gold: Any, answer: str | None, space: AnswerSpace) -> bool:
    """Whether `answer` is right, as `evaluate` decides it."""
    return bool(await verifier.correct(Problem("?", str(gold), space), answer))


async def greedy(verifier: Verifier, name: str, path: Path, published: str) -> None:
    """Greedy outputs that end in "The answer is …"."""
    graded = [
        await right(verifier, row["gold"], extract_answer(row["output"][0]), REAL)
        for row in rows(path)
    ]
    show(f"{name}, greedy", percent(graded), published)


async def self_consistency(verifier: Verifier, path: Path) -> None:
    """40 samples each, the most common answer wins (arXiv 2203.11171)."""
    graded = []
    for row in rows(path):
        answers = [(i, extract_answer(text)) for i, text in enumerate(row["output"])]
        ballot = await tally(REAL, verifier, [(i, a) for i, a in answers if a is not None])
        leader = ballot.leader.answer if ballot.leader else None
        graded.append(await right(verifier, row["gold"], leader, REAL))
    show("AddSub, code-davinci-001, self-consistency (40)", percent(graded), "67.8 published")


async def tora(verifier: Verifier, path: Path) -> None:
    """Tool-integrated traces of ToRA-70B on GSM8K; last box, else last number."""
    graded = [
        await right(
            verifier, row["gt"], extract_answer(row["code"][0], last_number=True), EXPRESSION
        )
        for row in rows(path)
    ]
    show("GSM8K, ToRA-70B", percent(graded), "84.3 published")


async def abel(verifier: Verifier, path: Path, published: str) -> None:
    """Greedy chains of thought of Abel on GSM8K, and agreement with its own grading."""
    found = list(rows(path))
    graded = [
        await right(
            verifier, row["gold"], extract_answer(row["response"], last_number=True), EXPRESSION
        )
        for row in found
    ]
    agree = [ours == row["result"] for ours, row in zip(graded, found, strict=True)]
    show(f"GSM8K, Abel {path.name[6:-9]}", percent(graded), published)
    show("  agreement with its own grading", percent(agree), "")


async def qwen(verifier: Verifier, path: Path) -> None:
    """100 MATH problems with 8 solutions each: majority, any right, and single grades."""
    majority, anyone, agree = [], [], []
    for row in rows(path):
        answers = [extract_answer(text) for text in row["code"]]
        grades = [await right(verifier, row["gt"], answer, EXPRESSION) for answer in answers]
        agree += [ours == bool(theirs) for ours, theirs in zip(grades, row["score"], strict=True)]
        votes = [(i, a) for i, a in enumerate(answers) if a is not None]
        leader = (await tally(EXPRESSION, verifier, votes)).leader
        majority.append(await right(verifier, row["gt"], leader and leader.answer, EXPRESSION))
        anyone.append(any(grades))
    show("MATH, Qwen2.5 example, majority of 8", percent(majority), "93 recomputed by the source")
    show("MATH, Qwen2.5 example, any of 8", percent(anyone), "96 recomputed by the source")
    show("  agreement with its own grading of 800", percent(agree), "")


async def zeroeval(verifier: Verifier, folder: Path) -> None:
    """MATH level 5 answers of chat models; the source compares the first number on each side."""
    golds = {row["id"]: row["answer"] for row in rows(folder / "problems.jsonl.gz")}
    for model, published in (
        ("o1-mini-2024-09-12", "89.32 published"),
        ("gpt-4o-2024-08-06", "55.34 published"),
        ("Qwen2.5-7B-Instruct", "51.46 published"),
    ):
        graded = []
        for row in rows(folder / f"{model}.jsonl.gz"):
            field = _ANSWER_FIELD.findall(row["output"][0])
            answer = field[-1].replace("\\\\", "\\") if field else None
            graded.append(await right(verifier, golds[row["id"]], answer, EXPRESSION))
        show(f"MATH level 5, {model}", percent(graded), published)


async def openmath(verifier: Verifier, folder: Path) -> None:
    """Extraction from outputs that run on into invented further questions."""
    same = []
    for path in sorted(folder.glob("output-rs*.jsonl")):
        for row in rows(path):
            ours, theirs = extract_answer(row["generation"]), row["predicted_answer"]
            same.append(ours == theirs or (ours or "").strip() == (theirs or "").strip())
    show("NeMo-Skills outputs, same answer extracted", percent(same), "")


def with_math_verify(pairs: list[tuple[str, str]]) -> tuple[list[bool], float]:
    """The peer: math-verify in this process with its own time limits; verdicts and seconds."""
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    verify(parse("$x+1$"), parse("$1+x$"))
    started = time.perf_counter()
    verdicts = [verify(parse(f"${gold}$"), parse(f"${answer}$")) for gold, answer in pairs]
    return verdicts, time.perf_counter() - started


async def with_mathlete(pairs: list[tuple[str, str]]) -> tuple[list[bool], float, float]:
    """Ours with one worker and empty caches; verdicts, seconds, the share without algebra."""
    normalize.cache_clear()
    number.cache_clear()
    async with Verifier(workers=1) as verifier:
        await verifier.equal("x+1", "1+x")  # starts the worker, as the peer was warmed up
        started = time.perf_counter()
        verdicts = [await right(verifier, gold, answer, EXPRESSION) for gold, answer in pairs]
        seconds = time.perf_counter() - started
        stats = verifier.stats
        return verdicts, seconds, stats.quick / (stats.quick + stats.algebra)


async def speed(path: Path) -> None:
    """800 comparisons of a gold answer with a sampled one, five rounds in turn with the peer."""
    pairs = []
    for row in rows(path):
        answers = [extract_answer(text) for text in row["code"]]
        pairs += [(str(row["gt"]), answer) for answer in answers if answer]
    rounds = [(*await with_mathlete(pairs), *with_math_verify(pairs)) for _ in range(5)]
    ours, _, quick, peer, _ = rounds[0]
    rate = statistics.median(len(pairs) / r[1] for r in rounds)
    peer_rate = statistics.median(len(pairs) / r[4] for r in rounds)
    ratios = sorted(r[4] / r[1] for r in rounds)
    show("comparisons a second, one worker", f"{rate:.0f}", f"{peer_rate:.0f} math-verify")
    show(
        "  ratio, median (lowest, highest)",
        f"{ratios[2]:.1f} ({ratios[0]:.1f}, {ratios[4]:.1f})",
        "",
    )
    show("  decided without algebra", f"{100 * quick:.1f} %", "")
    agree = sum(a == b for a, b in zip(ours, peer, strict=True))
    show("  same verdict", f"{agree} of {len(pairs)}", "")


async def bomb() -> None:
    """A tower of powers beside twenty ordinary comparisons."""
    async with Verifier(workers=2) as verifier:
        await asyncio.gather(*(verifier.equal(f"x^{i}", f"x*x^{i - 1}") for i in (2, 3)))
        started = time.perf_counter()

        async def ordinary(i: int) -> float:
            assert await verifier.equal(f"y^2-{i}", f"-{i}+y*y")
            return time.perf_counter() - started

        last, _ = await asyncio.gather(
            asyncio.gather(*(ordinary(i) for i in range(20))),
            verifier.equal("9^{9^{9^9}}", "7x"),
        )
        seconds = time.perf_counter() - started
        show("9^{9^{9^9}} against 7x, seconds", f"{seconds:.2f}", "2 the limit")
        show("  last of 20 others beside it, seconds", f"{max(last):.2f}", "")


async def main(data: Path) -> None:
    """Print the table."""
    print("| measured | ours | other |\n|---|---|---|")
    outputs = data / "sampled_outputs"
    wang = outputs / "wang2022_self_consistency"
    async with Verifier() as verifier:
        for name, file, published in (
            ("AddSub, code-davinci-001", "addsub_davinci001_greedy.jsonl", "57.2 published"),
            ("GSM8K, code-davinci-001", "gsm8k_davinci001_greedy.jsonl.gz", "14.6 published"),
            ("SVAMP, code-davinci-001", "svamp_davinci001_greedy.jsonl.gz", "39.8 published"),
        ):
            await greedy(verifier, name, wang / file, published)
        await self_consistency(verifier, wang / "addsub_davinci001_sc40.jsonl.gz")
        await tora(verifier, outputs / "tora" / "tora-70b-v1.0_gsm8k.jsonl.gz")
        await abel(verifier, outputs / "abel" / "gsm8k_7b.jsonl.gz", "59.74 published")
        await abel(verifier, outputs / "abel" / "gsm8k_70b.jsonl.gz", "83.62 published")
        await qwen(verifier, outputs / "qwen_rm8" / "math_cot_100.jsonl.gz")
        await zeroeval(verifier, outputs / "zeroeval_math_l5")
        await openmath(verifier, outputs / "openmath_samples")
    await speed(outputs / "qwen_rm8" / "math_cot_100.jsonl.gz")
    await bomb()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/answers.py FOLDER_OF_PUBLIC_DATA")
    asyncio.run(main(Path(sys.argv[1])))
