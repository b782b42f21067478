"""What a process holds: garbage that refers to itself is collected regularly, and freed memory goes back.

Beneath the services' ``main``. Left alone, Python collects after so many new objects, which a process that answers
a few requests a minute makes in an hour; and glibc keeps what each thread has ever freed. Either looks like a leak.
"""

from __future__ import annotations

import ctypes
import gc
import threading
from typing import Final

COLLECT_S: Final = 15.0
"""Seconds between two collections; with what starting made set aside, one takes some milliseconds."""

_COLLECT_AFTER: Final = 20_000
"""Objects made and not yet gone before a collection; Python's 700 is less than one batch of requests makes."""
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_MAPPED_BYTES: Final = 128 * 1024


def settle() -> None:
    """What was made so far stays, so the garbage collector need not walk it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def collect_until(ended: threading.Event) -> None:
    """Wait until a process is told to end; meanwhile what was made since ``settle`` is collected."""
    settle()
    while not ended.wait(COLLECT_S):
        gc.collect()


def give_back() -> None:
    """Have glibc keep little of what is freed; for processes to which a page fault costs nothing.

    Blocks of 128 KiB and more go back to the system at once (mallopt(3): setting the threshold also ends its growth),
    and threads share two arenas instead of having one each. Programs that are started later are as ever. Without
    glibc this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
        mallopt(_M_ARENA_MAX, 2)
