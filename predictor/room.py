"""What a version takes in a predictor's memory, and whose turn it is to load a large one.

Beneath the registry: from a manifest to the bytes that are reckoned with, and a lock around loads that take so much
memory that two of them at once might be too many.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from model_store.manifest import Manifest
from wire import errors
from wire.deadlines import Deadline

VERSION_BYTES: Final = 2**19
"""What a loaded version takes beside its served file: 0.36 MB were measured for a session of onnxruntime with a graph
of 3 kB and what belongs to it. Without it a bound on artefacts would let thousands of small versions fill a machine."""

BYTES_IN_MEMORY: Final = {"onnx": 4.4, "skops": 1.0}
"""What each byte of a served file takes in memory, once it was loaded and predicted, and freed memory went back.

Measured: a forest of 60 trees and 6 million nodes, 108 MB, took 465 MB; forests of 10 trees 4.3 to 5.7 times their
2 to 10 MB; a graph of matrices (18 MB) its size, and 4.5 times that once it had computed 1,000 rows; a forest and
neighbours of scikit-learn's (37 and 42 MB) theirs. Not counted: while a graph's forest is loaded, it takes 20 times
its file."""

LARGE_BYTES: Final = 4 * 2**20
"""A served file from which on versions are loaded one at a time: eight smaller forests at once, one for each handler
thread, take up to 640 MB while they are loaded."""


def served_bytes(manifest: Manifest) -> int:
    """The size of the file that a version is served from; 0 where there is none, which no load lets pass."""
    entry = manifest.files.get(manifest.served_file)
    return 0 if entry is None else entry.size_bytes


def cost_bytes(runtime: str, size_bytes: int) -> int:
    """What a version with a served file of this size is reckoned to take in memory."""
    return int(size_bytes * BYTES_IN_MEMORY[runtime]) + VERSION_BYTES


def bounded_cost_bytes(manifest: Manifest, memory_bytes: int) -> int:
    """The same for the version of a manifest. Raises TooLarge where it alone is over the bound."""
    cost = cost_bytes(manifest.runtime, served_bytes(manifest))
    if cost > memory_bytes:
        raise errors.TooLarge(
            f"This version would take about {cost} bytes of a predictor's memory, and all that it keeps may take "
            f"{memory_bytes} (WARREN_PREDICT__MEMORY_BYTES)."
        )
    return cost


class LargeLoads:
    """Lets large versions be loaded one after the other. For any number of threads."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    @contextmanager
    def turn(self, size_bytes: int, deadline: Deadline) -> Iterator[None]:
        """Inside, no other large version is loaded; a small one never waits. Raises DeadlineExceeded."""
        if size_bytes < LARGE_BYTES:
            yield
            return
        if not self._turn.acquire(timeout=deadline.remaining_s):
            raise errors.DeadlineExceeded("Another large version was still being loaded.")
        try:
            yield
        finally:
            self._turn.release()
