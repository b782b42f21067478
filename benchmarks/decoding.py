"""``python -m benchmarks.decoding``: JSON rows into float64, by Warren's decoder and by parsers alone, in turn.

Milliseconds for 10,000 rows, the median of some turns; all of them must give the same numbers.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import orjson
import simdjson
from numpy.typing import NDArray

from tables import plain

ROWS = 10_000
WIDTHS = (4, 30)
_TURNS = 15

Numbers = NDArray[np.float64]


def _bare(text: bytes, width: int) -> Numbers:
    """The SIMD parser alone: the fastest that is thinkable, and says nothing about a row of wrong length."""
    parsed: Any = simdjson.Parser().parse(text)
    return np.frombuffer(parsed.as_buffer(of_type="d"), dtype=np.float64).reshape(-1, width).copy()


def _ours(text: bytes, width: int) -> Numbers:
    found = plain.numbers(text[1:-1], width)
    if found is None:
        raise ValueError("the decoder of plain numbers refused plain numbers")
    return found


WAYS: tuple[tuple[str, Callable[[bytes, int], Numbers]], ...] = (
    ("pysimdjson alone", _bare),
    ("Warren's decoder", _ours),
    ("orjson and NumPy", lambda text, _width: np.array(orjson.loads(text), dtype=np.float64)),
    ("msgspec and NumPy", lambda text, _width: np.array(msgspec.json.decode(text), dtype=np.float64)),
)


def measure(width: int, rows: int = ROWS, turns: int = _TURNS) -> dict[str, float]:
    """Milliseconds of each way. Raises AssertionError where the numbers differ."""
    table = np.random.default_rng(7).normal(size=(rows, width)).round(6)
    text = orjson.dumps(table, option=orjson.OPT_SERIALIZE_NUMPY)
    took: dict[str, list[float]] = {name: [] for name, _ in WAYS}
    for _ in range(turns):
        for name, decode in WAYS:
            began_at = time.perf_counter()
            found = decode(text, width)
            took[name].append(1000 * (time.perf_counter() - began_at))
            np.testing.assert_array_equal(found, table)
    return {name: statistics.median(times) for name, times in took.items()}


def main() -> int:
    """Print a table."""
    found = {width: measure(width) for width in WIDTHS}
    sys.stdout.write(
        f"| ms for {ROWS:,} rows | {' | '.join(f'{width} numbers' for width in WIDTHS)} |\n|---|---|---|\n"
    )
    for name, _ in WAYS:
        sys.stdout.write(f"| {name} | {' | '.join(f'{found[width][name]:.1f}' for width in WIDTHS)} |\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
