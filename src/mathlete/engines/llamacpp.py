"""The embedded engine: llama.cpp's server, started and stopped here, its caches steered here."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import secrets
import shutil
import signal
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from mathlete.engines import machine
from mathlete.engines.base import Completion, OnText, Sampling
from mathlete.engines.client import ClientSettings, OpenAIEngine
from mathlete.engines.draft import Draft
from mathlete.engines.gguf import Header, fingerprint, read_header
from mathlete.engines.retry import Retry
from mathlete.engines.slots import Slot, SlotTable, file_name
from mathlete.errors import EngineError, UsageError

_DEFAULT_SLOTS = 16
_DEFAULT_CONTEXT = 4096
_LEAST_CONTEXT = 1024
_LOADING_S = 600.0
_STOPPING_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaSettings:
    """What a llama.cpp server is given; None is sized to the machine by `fit`.

    `slots` is how many completions are decoded together; `context` is tokens for each slot;
    `prefix_cache_bytes` bounds the files with saved prefixes.
    """

    slots: int | None = None
    context: int | None = None
    threads: int | None = None
    prefix_cache_bytes: int = 512 << 20


@dataclass(frozen=True, slots=True)
class Fit:
    """Settings that a model and this machine allow."""

    slots: int
    context: int
    threads: int


def fit(settings: LlamaSettings, header: Header, model_bytes: int, free_bytes: int) -> Fit:
    """Size slots and context so that their caches take at most half the memory beside the model.

    What is given explicitly is kept. Raises `UsageError` when even that cannot fit.
    """
    trained = header.context_length or settings.context or _DEFAULT_CONTEXT
    if settings.context is not None and settings.context > trained:
        raise UsageError(
            f"context {settings.context}: the model was trained on {trained} tokens; "
            f"set at most {trained}"
        )
    for name, value in (("concurrency", settings.slots), ("context", settings.context)):
        if value is not None and value < 1:
            raise UsageError(f"{name} {value}: must be at least 1")
    slots = settings.slots or _DEFAULT_SLOTS
    context = settings.context or min(trained, _DEFAULT_CONTEXT)
    per_token = max(1, header.kv_bytes_per_token)
    room = max(0, free_bytes - model_bytes)
    tokens = room // 2 // per_token
    if settings.context is None and slots * context > tokens:
        context = max(min(trained, _LEAST_CONTEXT), min(context, tokens // slots // 256 * 256))
    if settings.slots is None and slots * context > tokens:
        slots = max(1, tokens // context)
    if slots * context * per_token > room:
        raise UsageError(
            f"{slots} slots of {context} tokens need {slots * context * per_token >> 20} MiB, and "
            f"{room >> 20} MiB are free beside the model: set a smaller context or concurrency"
        )
    return Fit(slots, context, settings.threads or machine.cores())


class LlamaServer:
    """One llama.cpp server process on the loopback, with a random key and a private folder.

    The folder and the process are gone after `stop`, and also when this process is killed.
    """

    def __init__(self, model: Path, name: str, size: Fit) -> None:
        self.model, self.name, self.size = model, name, size
        self.key = secrets.token_hex(16)
        self.url = ""
        self.folder = Path()
        self._process: asyncio.subprocess.Process | None = None
        self._log: deque[str] = deque(maxlen=40)
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the supervisor process; None when not started."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start it and wait until the model is loaded.

        Raises `UsageError` when xllamacpp is not installed, and `EngineError` with the end of the
        server's log when it cannot start.
        """
        if importlib.util.find_spec("xllamacpp") is None:
            raise UsageError(
                'the embedded engine needs llama.cpp: pip install "mathlete[local]" '
                "(or give a server's URL as --model)"
            )
        self.folder = Path(tempfile.mkdtemp(prefix="mathlete-llamacpp-"))
        try:
            await self._spawn()
            self.url = await self._address()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the server and remove its folder. Safe to call twice, and when it is dead."""
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), _STOPPING_S)
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
            self._reader = None
        if self.folder != Path():
            shutil.rmtree(self.folder, ignore_errors=True)

    def death(self) -> EngineError | None:
        """Why the server is of no use any more; None while it lives."""
        code = self._process.returncode if self._process else None
        if code is None:
            return None
        return EngineError(f"the llama.cpp server ended (exit code {code}): {self.last_words()}")

    def last_words(self) -> str:
        """The end of its log on one line."""
        lines = [line.split(" ", 2)[-1].strip() for line in self._log if line.strip()]
        return " | ".join(lines[-6:])[-600:] or "it logged nothing"

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "mathlete.engines.llamacpp_server"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        config = {
            "model": str(self.model.absolute()),
            "name": self.name,
            "key": self.key,
            "folder": str(self.folder),
            "slots": self.size.slots,
            "context": self.size.context,
            "threads": self.size.threads,
        }
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self._reader = asyncio.create_task(self._read_log(self._process.stderr))
        with contextlib.suppress(ConnectionError):  # it died at once: said by `_address`
            self._process.stdin.write(json.dumps(config).encode() + b"\n")
            await self._process.stdin.drain()

    async def _address(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), _LOADING_S)
        except TimeoutError:
            raise EngineError(
                f"llama.cpp loads {self.model} for over {_LOADING_S:.0f} s: {self.last_words()}"
            ) from None
        reply = json.loads(line or b"{}")
        if "url" in reply:
            return str(reply["url"])
        if "missing" in reply:
            raise UsageError(
                f'xllamacpp cannot be loaded ({reply["missing"]}): pip install "mathlete[local]"'
            )
        assert self._reader is not None
        await asyncio.wait([self._reader], timeout=2)
        raise EngineError(f"llama.cpp cannot serve {self.model}: {self.last_words()}")

    async def _read_log(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # longer than the buffer
                continue
            if not line:
                return
            self._log.append(line.decode("utf-8", "replace").rstrip())


class LlamaCppEngine(OpenAIEngine):
    """A GGUF model on this machine's llama.cpp.

    Equal prompts are read once (`prepare`), and a trace that goes on after a tool's output costs
    only the new tokens: each request is pinned to the slot that knows most of its prompt.
    Entering it raises `ModelMissing` for a file that is no whole GGUF, before anything is started.
    """

    def __init__(
        self, model: Path, settings: LlamaSettings | None = None, name: str | None = None
    ) -> None:
        self._given = settings or LlamaSettings()
        header = read_header(model)
        size = fit(self._given, header, model.stat().st_size, machine.free_memory())
        full_name = f"{name or model.stem}-{fingerprint(model)}"
        self.server = LlamaServer(model, full_name, size)
        self._preparing: dict[str, asyncio.Task[None]] = {}
        super().__init__(
            "http://127.0.0.1",
            full_name,
            ClientSettings(
                concurrency=size.slots,
                context=size.context,
                key=self.server.key,
                retry=Retry(attempts=4, longest_s=2.0),
            ),
        )
        self._table = SlotTable(size.slots, self._given.prefix_cache_bytes)

    async def __aenter__(self) -> Self:
        await self.server.start()
        self.api = self.server.url + "/v1"
        try:
            return await super().__aenter__()
        except BaseException:
            await self.server.stop()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._preparing.values():
            task.cancel()
        await asyncio.gather(*self._preparing.values(), return_exceptions=True)
        await super().__aexit__(kind, error, trace)
        await self.server.stop()

    async def generate(
        self, prompt: str, sampling: Sampling, on_text: OnText | None = None
    ) -> Completion:
        """As `OpenAIEngine.generate`, in the slot that has to read least."""
        if prompt in self._preparing:
            await asyncio.shield(self._preparing[prompt])
        draft = Draft(sampling, on_text)
        async with self._slot(prompt) as slot:
            try:
                return await self._complete(prompt, sampling, draft, {"id_slot": slot.number})
            finally:
                slot.text = prompt + draft.text

    async def prepare(self, prompt: str) -> None:
        """Read `prompt` once and save what was computed; later requests that begin so start there.

        A prompt that does not fit raises `ContextTooLong`.
        """
        if self._table.has(prompt):
            return
        task = self._preparing.get(prompt)
        if task is None:
            task = asyncio.create_task(self._prepare(prompt))
            self._preparing[prompt] = task
            task.add_done_callback(lambda _: self._preparing.pop(prompt, None))
        await asyncio.shield(task)

    async def _prepare(self, prompt: str) -> None:
        async with self._slot(prompt) as slot:
            nothing = Sampling(max_tokens=0, temperature=0.0)
            draft = Draft(Sampling(max_tokens=1), None)
            pinned = {"id_slot": slot.number, "n_predict": 0}
            await self._complete(prompt, nothing, draft, pinned)
            slot.text = prompt
            name = file_name(prompt)
            reply = await self._slot_action(slot, "save", name)
            if reply is not None:
                for old in self._table.save(prompt, int(reply.get("n_written", 0))):
                    (self.server.folder / old).unlink(missing_ok=True)

    @asynccontextmanager
    async def _slot(self, prompt: str) -> AsyncIterator[Slot]:
        """Wait for a free slot, the best one for `prompt`, with a saved prefix restored."""
        async with self._free:
            plan = self._table.take(prompt)
            slot = plan.slot
            try:
                if plan.restore is not None:
                    text = self._table.text(plan.restore)
                    slot.text = ""
                    if await self._slot_action(slot, "restore", plan.restore) is None:
                        self._table.forget(plan.restore)
                    else:
                        slot.text = text
                yield slot
            finally:
                self._table.release(slot)

    async def _slot_action(self, slot: Slot, action: str, name: str) -> dict[str, Any] | None:
        """Save or restore a slot; None when the server could not (a full disk, say)."""
        url = f"{self.server.url}/slots/{slot.number}?action={action}"
        try:
            async with self._opened().post(url, json={"filename": name}) as response:
                reply = await response.json(content_type=None)
                return reply if response.status == 200 else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            self._look_alive()
            return None

    def _look_alive(self) -> None:
        death = self.server.death()
        if death is not None:
            raise death


__all__ = ["Fit", "LlamaCppEngine", "LlamaServer", "LlamaSettings", "fit"]
