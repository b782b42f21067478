"""Progress bars on a terminal's standard error.

Between a command's progress and rich, which no other module knows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class RichBar:
    """One bar."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        """``task`` is the bar's own in ``progress``."""
        self._progress = progress
        self._task = task

    def to(self, done: float, description: str = "") -> None:
        """So much is done now; a new ``description`` replaces the old one."""
        if description:
            self._progress.update(self._task, completed=done, description=description)
        else:
            self._progress.update(self._task, completed=done)

    def by(self, more: float) -> None:
        """So much more is done now."""
        self._progress.advance(self._task, more)


@contextlib.contextmanager
def shown(description: str, total: float | None, unit: str) -> Iterator[RichBar]:
    """A bar while the block runs; its last state stays on the screen."""
    with Progress(*_columns(unit), console=Console(stderr=True)) as progress:
        # Text of the gateway is text, whatever brackets it holds.
        yield RichBar(progress, progress.add_task(description, total=total))


def _columns(unit: str) -> list[ProgressColumn]:
    text = TextColumn("{task.description}", markup=False)
    if unit == "bytes":
        return [text, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()]
    return [text, BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeElapsedColumn()]
