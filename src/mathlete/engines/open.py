"""From what the user gave as `--model` to an engine, and why that one."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mathlete.engines.base import Engine
from mathlete.errors import ModelMissing, UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """Which model, and how much of it.

    `model`: nothing (the embedded one), a packaged model's name, a `.gguf` file, or a server's
    URL, whose model is `model_name`. `concurrency`: completions at once. `context`: tokens that
    prompt and completion may take together. None leaves it to the engine.
    """

    model: str | None = None
    model_name: str | None = None
    concurrency: int | None = None
    context: int | None = None


class Row(NamedTuple):
    """A line of `mathlete doctor`: what is given as `--model`, and what that leads to."""

    model: str
    engine: str
    state: str
    remedy: str


class _Route(NamedTuple):
    matches: Callable[[str], bool]
    opens: Callable[[EngineSpec], Engine]


def open_engine(spec: EngineSpec) -> Engine:
    """The engine for `spec`; enter it to start or reach it.

    Raises `UsageError` for what is no model, and `ModelMissing` for a file that is none or a
    packaged model that cannot be fetched.
    """
    model = spec.model or ""
    for route in _ROUTES:
        if route.matches(model):
            return route.opens(spec)
    if Path(model).exists():
        raise UsageError(
            f"{model}: neither a .gguf file nor a URL; serve it (with vLLM, say) and give the "
            "server's URL as --model"
        )
    from mathlete.engines.weights import nearest

    near = nearest(model)
    raise ModelMissing(
        f"no model {model!r}"
        + (f" (did you mean {near!r}?)" if near else "")
        + ": give nothing, a .gguf file, or the URL of a server (vLLM, SGLang, llama.cpp, …)"
    )


def describe() -> list[Row]:
    """What each kind of `--model` would use on this machine."""
    from mathlete.engines.weights import DEFAULT, PACKAGED, cache_folder, local_path

    local = importlib.util.find_spec("xllamacpp") is not None
    weights = PACKAGED[DEFAULT]
    try:
        path = local_path(weights)
    except UsageError as error:
        return [Row("(nothing)", DEFAULT, "wrong setting", str(error))]
    llama = f"llama.cpp (xllamacpp {_version('xllamacpp')})" if local else "llama.cpp"
    remedy = "" if local else 'pip install "mathlete[local]"'
    state = f"ready: {path}" if path else f"fetched on first use into {cache_folder()}"
    rows = [
        Row("(nothing)", f"{llama}, {DEFAULT}", state if local else "not installed", remedy),
        Row("FILE.gguf", llama, "ready" if local else "not installed", remedy),
    ]
    keys = [name for name in ("MATHLETE_API_KEY", "OPENAI_API_KEY") if os.environ.get(name)]
    key = f"ready, key from {keys[0]}" if keys else "ready, no key set"
    rows.append(Row("http(s)://…", "any OpenAI-compatible server", key, ""))
    return rows


def _open_embedded(spec: EngineSpec) -> Engine:
    from mathlete.engines.models_cli import progress_bar
    from mathlete.engines.weights import DEFAULT, ensure

    name = spec.model or DEFAULT
    _need_local()
    with progress_bar() as progress:
        path = ensure(name, progress)
    return _open_llama(path, spec, name)


def _open_file(spec: EngineSpec) -> Engine:
    _need_local()
    return _open_llama(Path(spec.model or "").expanduser(), spec, None)


def _open_llama(path: Path, spec: EngineSpec, name: str | None) -> Engine:
    from mathlete.engines.llamacpp import LlamaCppEngine, LlamaSettings

    if spec.model_name is not None:
        raise UsageError(f"--model-name {spec.model_name}: only a server has several models")
    return LlamaCppEngine(
        path, LlamaSettings(slots=spec.concurrency, context=spec.context), name=name
    )


def _open_server(spec: EngineSpec) -> Engine:
    from mathlete.engines.client import ClientSettings, OpenAIEngine

    concurrency = 32 if spec.concurrency is None else spec.concurrency
    settings = ClientSettings(concurrency=concurrency, context=spec.context)
    return OpenAIEngine(spec.model or "", spec.model_name, settings)


def _need_local() -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        raise UsageError(
            'the embedded engine needs llama.cpp: pip install "mathlete[local]" '
            "(or give a server's URL as --model)"
        )


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


def _is_packaged(model: str) -> bool:
    from mathlete.engines.weights import PACKAGED

    return model == "" or model in PACKAGED


_ROUTES = (
    _Route(_is_packaged, _open_embedded),
    _Route(lambda model: model.startswith(("http://", "https://")), _open_server),
    _Route(lambda model: model.lower().endswith(".gguf"), _open_file),
)
"""The first that matches opens the engine. A further engine is one more line."""
