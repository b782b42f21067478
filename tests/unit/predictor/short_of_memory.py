"""Loads a large graph with too little memory, again and again with more, as a predictor does.

Run as ``python -m tests.unit.predictor.short_of_memory MODELS PUBLIC_KEY SMALL LARGE``. Says as one JSON list how
each load of LARGE ended and what SMALL, loaded anew each time, answered after it; the last load has no limit.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from model_store.signing import Verifier
from model_store.volume import Volume
from predictor.loaded import empty_rows
from predictor.registry import Registry
from tests.unit.predictor.loading import soon
from wire import errors, held_memory

_MORE_BYTES = [4 * 2**20, 10 * 2**20, 16 * 2**20, 24 * 2**20]
"""Beyond what the process has: too little for LARGE, which fails in another place each time."""


def main() -> None:
    """Load and tell."""
    held_memory.share_arenas(map_large=False)
    models, key, small, large = sys.argv[1:]
    registry = Registry(Volume(Path(models)), Verifier(Path(key)), 2**30)
    registry.get(small, 1, soon())
    told = []
    for more_bytes in [*_MORE_BYTES, None]:
        held_memory.collect()
        limit = resource.RLIM_INFINITY if more_bytes is None else private_bytes() + more_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
        try:
            registry.announced(large, 1, soon(), wait_s=0)
            code = "loaded"
        except errors.WarrenError as error:
            code = error.code
        registry.forget(small)
        held = registry.get(small, 1, soon())
        rows = empty_rows(held.schema, 1)
        told.append((code, held.runtime.predict(rows.numbers, rows.texts).labels.tolist()))
    print(json.dumps(told), file=sys.__stdout__)


def private_bytes() -> int:
    """What this process may write to, as RLIMIT_DATA counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmData")).split()[1])


if __name__ == "__main__":
    main()
