"""Becomes a child program that cannot outlive its trainer: ``python -m trainer.leash <parent pid>
<address space bytes, 0: no cap> <program> <argument>…``.

Stands between the trainer and what it runs. A process can ask for its own end only by itself,
and between fork and exec of a program with threads nothing may be asked; so this one asks, then
replaces itself.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_NICENESS = 10
_OOM_SCORE = "500"


def main(arguments: list[str]) -> None:
    """Take the leash and run the program in this process."""
    parent, memory_bytes, program = int(arguments[0]), int(arguments[1]), arguments[2:]
    die_with(parent)
    # Predictions come first: on a busy machine for the processor, on a full one for the memory.
    os.nice(_NICENESS)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    os.execv(program[0], program)  # noqa: S606 - there is no shell in it


def die_with(parent: int) -> None:
    """Have this process killed when its parent ends. Raises SystemExit when that has happened already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
