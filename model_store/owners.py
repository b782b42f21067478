"""Who made a temporary name: the tag that lets a restarted trainer clear up after a killed one.

The tag names a process so that it can be told, on the same machine, whether it still lives;
about a process anywhere else nothing is claimed.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path

_STARTED = 19
"""Index of the start time among the fields of /proc/<pid>/stat after the command's name (proc(5))."""


def tag() -> str:
    """The name of this process in three parts: machine, process id, start."""
    pid = os.getpid()
    return f"{_machine()}.{pid}.{_started(pid)}"


def is_dead(name: str) -> bool | None:
    """Whether the process tagged in ``<anything>.<tag>.<random>`` has ended; None: it ran elsewhere."""
    parts = name.rsplit(".", 4)
    if len(parts) != 5 or parts[1] != _machine() or not parts[2].isdigit():
        return None
    return _started(int(parts[2])) != parts[3]


@lru_cache(maxsize=1)
def _machine() -> str:
    """This boot of this machine and this process namespace: where process ids mean something."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return hashlib.sha256(f"{boot} {Path('/proc/self/ns/pid').readlink()}".encode()).hexdigest()[:12]


def _started(pid: int) -> str:
    """When the process started, in clock ticks since boot; empty when there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # A zombie still has an entry, but will write nothing more.
    return "" if fields[0] == "Z" else fields[_STARTED]
