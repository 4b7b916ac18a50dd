"""Every hostile snippet, with every set of layers that this machine can emulate."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from corpus import CASES

from mathlete.sandbox.layers import MECHANISMS

DRIVER = Path(__file__).with_name("hostile_driver.py")

WITHOUT = {
    "all layers": (),
    "no namespaces": ("namespaces",),
    "no landlock": ("landlock",),
    "no namespaces, no landlock": ("namespaces", "landlock"),
    "no seccomp": ("seccomp",),
}
USERS = ("root", "user") if os.geteuid() == 0 else ("user",)
SETTINGS = [f"{user}: {name}" for user in USERS for name in WITHOUT]

# Gives this Python to another user even where root's home is closed, in a mount namespace that
# ends with the command.
_AS_NOBODY = """
mount --bind {prefix} {hold} && mount -t tmpfs -o mode=755 tmpfs {home} &&
mkdir -p {prefix} && mount --bind {hold} {prefix} &&
exec setpriv --reuid=65534 --regid=65534 --clear-groups -- "$@"
"""


def as_nobody(tmp: Path) -> list[str]:
    """The words to put before a command that shall run unprivileged; skips where that fails."""
    if not (shutil.which("unshare") and shutil.which("setpriv")):
        pytest.skip("unshare and setpriv (util-linux) are needed to become another user")
    base = Path(sys.base_prefix).resolve()
    closed = [folder for folder in (base, *base.parents) if not folder.stat().st_mode & 0o001]
    if not closed:
        return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    hold = tmp / "hold"
    hold.mkdir(exist_ok=True)
    script = _AS_NOBODY.format(prefix=base, hold=hold, home=closed[-1])
    return ["unshare", "-m", "sh", "-c", script, "sh"]


@functools.cache
def outcomes(setting: str, tmp: Path) -> dict[str, dict[str, Any]]:
    """Name → what the driver found; "layers" and "left" for the whole run."""
    user, _, name = setting.partition(": ")
    layers = [layer for layer in MECHANISMS if layer not in WITHOUT[name]]
    command = [sys.executable, str(DRIVER), ",".join(layers)]
    if user == "user" and os.geteuid() == 0:
        command = as_nobody(tmp) + command
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    found: dict[str, dict[str, Any]] = {}
    for line in done.stdout.splitlines():
        record = json.loads(line)
        found[record["name"] if "name" in record else next(iter(record))] = record
    assert done.returncode == 0, done.stderr
    return found


@pytest.fixture(scope="module")
def tmp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hostile")


def test_the_corpus_is_large_enough() -> None:
    assert len(CASES) >= 90


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("name", CASES)
def test_contained(setting: str, name: str, tmp: Path) -> None:
    record = outcomes(setting, tmp)[name]
    assert record["wrong"] == [], record


@pytest.mark.parametrize("setting", SETTINGS)
def test_nothing_is_left_behind(setting: str, tmp: Path) -> None:
    left = outcomes(setting, tmp)["left"]["left"]
    assert left == {"processes": [], "touched": [], "outside": True}


@pytest.mark.parametrize("setting", SETTINGS)
def test_layers_that_were_switched_off_are_not_claimed(setting: str, tmp: Path) -> None:
    active = outcomes(setting, tmp)["layers"]["layers"]
    assert not set(active) & set(WITHOUT[setting.partition(": ")[2]])
    if "namespaces" not in active and "landlock" not in active:
        assert "filesystem" not in active
