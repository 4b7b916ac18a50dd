"""Landlock: which files a process may touch, and no TCP, abstract sockets or signals outside.

Source: the kernel's Documentation/userspace-api/landlock.rst. Only rights that the running
kernel's ABI knows are handled; what an old ABI lacks, seccomp and the namespaces stop.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable

from mathlete.sandbox.inside import kernel

_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_REFER = 1 << 13
_TRUNCATE = 1 << 14
_IOCTL_DEV = 1 << 15
_FIRST_ABI = (1 << 13) - 1

READ = _EXECUTE | _READ_FILE | _READ_DIR
_MAKE_DIR, _MAKE_REG = 1 << 7, 1 << 8
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
SCRATCH = (
    _READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE
    | _MAKE_DIR | _MAKE_REG | _REMOVE_DIR | _REMOVE_FILE
)  # fmt: skip
DEVICE = _READ_FILE | _WRITE_FILE | _TRUNCATE

_ON_FILES = _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV

_NET = 0b11  # bind and connect of TCP
_SCOPES = 0b11  # abstract unix sockets, signals


class _RulesetAttr(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi() -> int:
    """The kernel's Landlock ABI; raises `OSError` where there is none."""
    return kernel.call("landlock_create_ruleset", None, ctypes.c_size_t(0), 1)


def _handled(version: int) -> tuple[int, int, int]:
    files = _FIRST_ABI
    if version >= 2:
        files |= _REFER
    if version >= 3:
        files |= _TRUNCATE
    if version >= 5:
        files |= _IOCTL_DEV
    return files, _NET if version >= 4 else 0, _SCOPES if version >= 6 else 0


def create(rules: Iterable[tuple[str, int]]) -> int:
    """Make a ruleset that allows only `rules` (path, rights); returns its descriptor.

    A path that does not exist is left out: what is not there needs no rule.
    """
    files, net, scopes = _handled(abi())
    attr = _RulesetAttr(files, net, scopes)
    size = 24 if scopes else 16 if net else 8
    ruleset = kernel.call("landlock_create_ruleset", ctypes.byref(attr), ctypes.c_size_t(size), 0)
    for path, rights in rules:
        add(ruleset, path, rights & files)
    return ruleset


def add(ruleset: int, path: str, rights: int) -> None:
    """Allow `rights` beneath `path`."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _ON_FILES
        rule = _PathBeneath(rights, fd)
        kernel.call("landlock_add_rule", ruleset, 1, ctypes.byref(rule), 0)
    finally:
        os.close(fd)


def restrict(ruleset: int) -> None:
    """Put the caller and its children under the ruleset, for good."""
    kernel.call("landlock_restrict_self", ruleset, 0)
