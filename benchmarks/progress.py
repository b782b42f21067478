"""The line that says what is being measured, how much is done, and how long the rest takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Self, TextIO

from benchmarks import plan


def bar(done_s: float, total_s: float, elapsed_s: float) -> str:
    """A bar with the minutes left. ``done_s`` and ``total_s`` are planned seconds, ``elapsed_s`` real ones.

    The rest is foretold at the pace so far, or as planned while too little is done to know a pace.
    """
    pace = elapsed_s / done_s if done_s > 60 else 1.0
    share = done_s / total_s if total_s else 1.0
    left_min = (total_s - done_s) * pace / 60
    return f"[{'#' * int(30 * share):30}] {share:4.0%} {left_min:3.0f} min left"


class Progress:
    """Written over itself on a terminal; a line per block elsewhere, so that a log stays readable."""

    def __init__(self, blocks: Sequence[plan.Block], out: TextIO = sys.stderr) -> None:
        self._total_s = plan.seconds(blocks)
        self._done_s = 0.0
        self._began = time.monotonic()
        self._out = out
        self._text = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._out.write("\n")

    def say(self, text: str) -> None:
        """What is going on now."""
        line = f"{bar(self._done_s, self._total_s, time.monotonic() - self._began)}  {text}"
        if self._out.isatty():
            self._out.write(f"\r\033[K{line}")
        elif (head := text.split(":")[0]) != self._text:
            self._text = head
            self._out.write(line + "\n")
        self._out.flush()

    def done(self, seconds: float) -> None:
        """So many planned seconds are behind us."""
        self._done_s += seconds
