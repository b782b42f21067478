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
_own = ctypes.CDLL(None)
_mallopt, _malloc_trim = getattr(_own, "mallopt", None), getattr(_own, "malloc_trim", None)


def settle(*, busy: bool = True) -> None:
    """What was made so far stays, so the garbage collector need not walk it again and again.

    ``busy``: a process that answers thousands of requests a second, whose collections are to be rare.
    """
    gc.collect()
    gc.freeze()
    if busy:
        gc.set_threshold(_COLLECT_AFTER)


def collect() -> None:
    """Free what was made since ``settle`` and only refers to itself; freed pages go back to the system (glibc)."""
    gc.collect()
    if _malloc_trim is not None:
        _malloc_trim(0)


def collect_until(ended: threading.Event, *, busy: bool = True) -> None:
    """Settle and wait until a process is told to end; meanwhile ``collect``."""
    settle(busy=busy)
    while not ended.wait(COLLECT_S):
        collect()


def share_arenas(*, map_large: bool = True) -> None:
    """Have threads share two of glibc's arenas; each would have one of its own, and what it ever freed.

    ``map_large``, for processes to which a page fault costs nothing: blocks of 128 KiB and more go back at once, too
    (mallopt(3): setting the threshold ends its growth). Programs that are started later are as ever.
    """
    if _mallopt is None:
        return
    _mallopt(_M_ARENA_MAX, 2)
    if map_large:
        _mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
