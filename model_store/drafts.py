"""Drafts: the private folders in which versions are made, and who owns them.

A draft's name says which process made it, so that a restarted trainer removes at once what its
killed predecessor left, and never what a living one is writing.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from functools import lru_cache
from pathlib import Path

from model_store import durable, errors, names
from model_store.volume import Volume

_STARTED = 19
"""Index of the start time among the fields of /proc/<pid>/stat after the command's name (proc(5))."""


def draft(volume: Volume, model: str, job_id: str) -> Path:
    """A new empty folder for this job's artefact, on the volume itself, private to its owner.

    Raises errors.NoSpace.
    """
    with errors.full_volume_named():
        volume.prepare(model)
        pid = os.getpid()
        name = f"{names.check_job(job_id)}.{_machine()}.{pid}.{_started(pid)}.{secrets.token_hex(8)}"
        folder = volume.tmp(model) / name
        folder.mkdir(mode=0o700)
        return folder


def touch(folder: Path) -> None:
    """Say that the draft's owner lives; to be repeated while the child works."""
    os.utime(folder)


def discard(folder: Path) -> None:
    """Remove a draft and everything in it."""
    durable.discard_tree(folder)


def owner_is_dead(name: str) -> bool | None:
    """Whether the process that made the draft of this name has ended; None: it ran elsewhere."""
    parts = name.split(".")
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
