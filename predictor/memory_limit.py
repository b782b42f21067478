"""How much memory a predictor may take: what its container or machine has, less what others in it need.

At the start of ``main``, before anything is loaded. A load that needs more then fails by itself, as too large, in a
process that goes on; without a limit of its own the kernel would end the whole process, and the next one at the same
version.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MARGIN: Final = 0.1
"""Share of the memory that stays free of the limit, because a container pays for it and the limit does not count it:
files in /tmp (64 MiB at most), page tables, what waits in sockets, the process of the health check."""

UNTOUCHED_BYTES: Final = 200 * 2**20
"""What the limit counts and the memory does not: of the 253 MB that an idle predictor may write to, 207 were never
written, above all in the stacks of its threads, 8 MiB each."""

_V1 = ("memory", "memory.limit_in_bytes")
_V2 = ("", "memory.max")


def apply() -> None:
    """Limit the private memory of this process (RLIMIT_DATA), where anything says how much there is.

    Not its address space: that holds what is only reserved and the files that are mapped.
    """
    there = available_bytes(Path("/proc"), Path("/sys/fs/cgroup"))
    if there is not None:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes(there, soft, hard), hard))


def limit_bytes(there: int, *limits: int) -> int:
    """What a process may take of the memory there is, and never more than the limits it has (-1: none)."""
    return min(int(there * (1 - MARGIN)) + UNTOUCHED_BYTES, *(each for each in limits if each >= 0), 2**62)


def available_bytes(proc: Path, control_groups: Path) -> int | None:
    """The least of what the machine has and what this process's control groups allow; None when neither says it."""
    return min([*_machine(proc / "meminfo"), *_allowed(proc / "self" / "cgroup", control_groups)], default=None)


def _machine(meminfo: Path) -> Iterator[int]:
    for line in _lines(meminfo):
        name, _, size = line.partition(":")
        if name == "MemTotal":
            yield int(size.split()[0]) * 1024


def _allowed(own: Path, control_groups: Path) -> Iterator[int]:
    """Each limit from this process's group up to the root, which in a container is the container's."""
    for line in _lines(own):
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        below, name = _V1 if controllers else _V2
        group = Path(path.lstrip("/"))
        for each in (group, *group.parents):
            yield from (int(limit) for limit in _lines(control_groups / below / each / name) if limit.isdigit())


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
