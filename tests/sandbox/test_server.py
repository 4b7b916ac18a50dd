"""The HTTP server, with a real sandbox behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from mathlete.errors import UsageError
from mathlete.sandbox import Limits, Sandbox
from mathlete.sandbox.server import ServerLimits, serve

KEY = {"Authorization": "Bearer sesame"}


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    sandbox = Sandbox(Limits(wall_s=5, memory_mib=128), ready=1, concurrency=2)
    limits = ServerLimits(sessions=3, waiting=3, idle_s=1.0, timeout_s=4)
    task = asyncio.create_task(
        serve(sandbox, port=0, key="sesame", limits=limits, on_ready=url.set_result)
    )
    async with aiohttp.ClientSession(await url, headers=KEY) as client:
        yield client
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def post(client: aiohttp.ClientSession, path: str, **body: object) -> tuple[int, dict]:
    async with client.post(path, json=body) as answer:
        return answer.status, await answer.json()


async def test_sessions_keep_their_names(client: aiohttp.ClientSession) -> None:
    _, made = await post(client, "/sessions", seed=3)
    path = f"/sessions/{made['session']}/run"
    await post(client, path, code="x = 20")
    status, result = await post(client, path, code="x + 1")
    assert (status, result["status"], result["text"]) == (200, "ok", "21\n")
    _, late = await post(client, path, code="while True: pass", timeout_s=0.2)
    assert (late["status"], late["state_lost"]) == ("timeout", False)
    async with client.delete(f"/sessions/{made['session']}") as answer:
        assert answer.status == 200
    assert (await post(client, path, code="x"))[0] == 404


async def test_the_key_is_needed(client: aiohttp.ClientSession) -> None:
    for headers in ({}, {"Authorization": "Bearer open"}):
        async with aiohttp.ClientSession(client._base_url, headers=headers) as stranger:
            assert (await post(stranger, "/run_code", code="1"))[0] == 401
            async with stranger.get("/health") as answer:
                assert "seccomp" in (await answer.json())["layers"]


async def test_run_code_answers_as_sandbox_fusion(client: aiohttp.ClientSession) -> None:
    _, good = await post(
        client, "/run_code", code="print(int(input()) + 1)\n99", stdin="41\n", language="python"
    )
    assert good["status"] == "Success"
    assert good["run_result"]["status"] == "Finished"
    assert (good["run_result"]["return_code"], good["run_result"]["stdout"]) == (0, "42\n")
    _, bad = await post(client, "/run_code", code="1 / 0")
    assert (bad["status"], bad["run_result"]["return_code"]) == ("Failed", 1)
    assert "ZeroDivisionError" in bad["run_result"]["stderr"]
    _, late = await post(client, "/run_code", code="while True: pass", run_timeout=0.2)
    assert (late["status"], late["run_result"]["status"]) == ("Failed", "TimeLimitExceeded")
    _, other = await post(client, "/run_code", code="int main(){}", language="cpp")
    assert other["status"] == "SandboxError"
    assert "'cpp' not supported" in other["message"]


async def test_too_much_is_refused_not_queued(client: aiohttp.ClientSession) -> None:
    names = [(await post(client, "/sessions"))[1]["session"] for _ in range(3)]
    async with client.post("/sessions", json={}) as answer:
        assert answer.status == 429
        assert answer.headers["Retry-After"] == "1"
    path = f"/sessions/{names[0]}/run"
    sleeps = [post(client, path, code="import time; time.sleep(0.1)") for _ in range(8)]
    statuses = [status for status, _ in await asyncio.gather(*sleeps)]
    assert statuses.count(200) == 3
    assert statuses.count(429) == 5


async def test_idle_sessions_end(client: aiohttp.ClientSession) -> None:
    _, made = await post(client, "/sessions")
    await asyncio.sleep(2.0)
    assert (await post(client, f"/sessions/{made['session']}/run", code="1"))[0] == 404


async def test_a_client_that_hangs_up_ends_its_block(client: aiohttp.ClientSession) -> None:
    _, made = await post(client, "/sessions")
    path = f"/sessions/{made['session']}/run"
    await post(client, path, code="x = 1")
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(post(client, path, code="while True: pass"), 0.3)
    status, result = await asyncio.wait_for(post(client, path, code="x"), 2)
    assert (status, result["text"]) == (200, "1\n")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not JSON"),
        (b"[]", "send a JSON object"),
        (b"{}", "no field 'code'"),
        (b'{"code": 5}', "must be a str"),
        (b'{"code": "1", "run_timeout": -1}', "must be positive"),
    ],
)
async def test_bad_requests(client: aiohttp.ClientSession, body: bytes, message: str) -> None:
    async with client.post("/run_code", data=body) as answer:
        assert answer.status == 400
        assert message in (await answer.json())["error"]


async def test_no_open_door_without_a_key() -> None:
    with pytest.raises(UsageError, match="there is no key: set MATHLETE_SANDBOX_KEY"):
        await serve(Sandbox(), host="0.0.0.0", port=0)
