"""What this machine (or container) has: cores to compute on, memory that is free."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def cores() -> int:
    """Cores that this process may use: affinity, and the container's CPU quota."""
    usable = len(os.sched_getaffinity(0))
    try:
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        usable = min(usable, max(1, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max"
        pass
    return max(1, usable)


def free_memory() -> int:
    """Bytes that can be taken without swapping, in the machine and in the container."""
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        free = min(free, limit - used)
    except (OSError, ValueError):
        pass
    return max(0, free)
