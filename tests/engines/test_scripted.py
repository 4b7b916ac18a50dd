"""The public fake: as an engine, and as a program that other processes can talk to."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mathlete.engines.base import Engine, Sampling
from mathlete.engines.client import OpenAIEngine
from mathlete.engines.scripted import Reply, Rule, ScriptedEngine
from mathlete.errors import ContextTooLong, EngineError


async def test_rules_seeds_and_limits() -> None:
    engine = ScriptedEngine(
        script=[Rule("sum", ["It is 3.", "It is 4.", "It is 5."]), Rule("", ["No idea at all."])]
    )
    typed: Engine = engine
    async with typed:
        pieces: list[str] = []
        other = await typed.generate("?", Sampling(), pieces.append)
        assert (other.text, "".join(pieces), other.finish) == ("No idea at all.",) * 2 + ("stop",)
        said = {s: (await typed.generate("sum", Sampling(seed=s))).text for s in range(20)}
        assert len(set(said.values())) == 3
        assert (await typed.generate("sum", Sampling(seed=7))).text == said[7]
        cut = await typed.generate("?", Sampling(max_tokens=2, logprobs=True))
        assert (cut.text, cut.finish, cut.logprobs) == ("No idea", "length", (-0.5, -0.5))
        stopped = await typed.generate("?", Sampling(stop=("all", "idea")))
        assert (stopped.text, stopped.finish, stopped.stop_text) == ("No ", "stop", "idea")
        await typed.prepare("sum")
    assert len(engine.calls) == 24
    assert engine.prepared == ["sum"]


async def test_a_function_as_script() -> None:
    def script(prompt: str, sampling: Sampling) -> str | Reply:
        if "break" in prompt:
            return Reply(error=EngineError("broken"))
        return prompt.upper()

    engine = ScriptedEngine(script=script, context=4)
    assert (await engine.generate("a b", Sampling())).text == "A B"
    with pytest.raises(EngineError, match="broken"):
        await engine.generate("break", Sampling())
    with pytest.raises(ContextTooLong):
        await engine.generate("a b c d", Sampling())
    assert (await engine.generate("a b c", Sampling())).finish == "length"
    assert [call.outcome for call in engine.calls] == ["done", "failed", "failed", "done"]


async def test_an_unexpected_prompt_is_an_error_of_the_test() -> None:
    with pytest.raises(LookupError, match="no rule matches"):
        await ScriptedEngine(script=[Rule("x", ["y"])]).generate("z", Sampling())


async def test_latency_concurrency_and_cancelling() -> None:
    engine = ScriptedEngine(
        script=[Rule("", ["a b c"], latency_s=0.02, token_s=0.01)], concurrency=2
    )
    done = await asyncio.gather(*(engine.generate(str(i), Sampling()) for i in range(5)))
    assert engine.most_in_flight == 2
    assert all(0.04 <= completion.seconds < 2 for completion in done)
    task = asyncio.create_task(engine.generate("x", Sampling()))
    await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (engine.calls[-1].outcome, engine.in_flight) == ("cancelled", 0)


async def test_as_a_program(tmp_path: Path) -> None:
    log, rules = tmp_path / "log.jsonl", tmp_path / "rules.json"
    rules.write_text(json.dumps([{"pattern": "two", "texts": ["2"]}]))
    command = [sys.executable, "-m", "mathlete.engines.scripted", "--log", str(log)]
    command += ["--rules", str(rules), "--say", "something else", "--fault", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        async with OpenAIEngine(url) as engine:
            assert (await engine.generate("two", Sampling())).text == "2"
            assert (await engine.generate("three", Sampling())).text == "something else"
        process.send_signal(signal.SIGINT)
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    outcomes = [(entry["prompt"], entry["outcome"]) for entry in entries]
    assert outcomes == [
        *(("two", "running"), ("two", "error")),
        *(("two", "running"), ("two", "done")),
        *(("three", "running"), ("three", "done")),
    ]
