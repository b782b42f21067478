"""What a replica has predicted, by model and version: how often, and where the time went.

Beside the exchanges, which note every answer here; protocols show it to clients that ask for it.
Counts are this replica's since it started, as its metrics are.
"""

from __future__ import annotations

import time
from typing import Final

from api.predict.batches import Answer
from api.predict.envelope import Asked

MOST: Final = 1024
"""Versions that are remembered; beyond, the one that answered first is forgotten."""


class Figures:
    """Counts and seconds of one version. ``batches`` is fractional: each request counts its share of its batch."""

    __slots__ = ("batches", "fail_s", "failed", "inference_s", "last_at", "queue_s", "rows", "succeeded", "success_s")

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self.succeeded = self.failed = self.rows = 0
        self.success_s = self.fail_s = self.queue_s = self.inference_s = self.batches = self.last_at = 0.0


class Statistics:
    """All versions of a replica. For one event loop."""

    def __init__(self) -> None:
        """Nothing was asked yet."""
        self._figures: dict[tuple[str, int], Figures] = {}
        self._serving: dict[tuple[str, str], int] = {}

    def succeeded(self, asked: Asked, answer: Answer, seconds: float) -> None:
        """A request was answered, ``seconds`` after it arrived."""
        key = asked.model, answer.version
        figures = self._figures.get(key)
        if figures is None:
            figures = self._figures[key] = Figures()
            if len(self._figures) > MOST:
                del self._figures[next(iter(self._figures))]
        if not asked.version:
            self._serving[asked.model, asked.alias] = answer.version
            if len(self._serving) > MOST:
                del self._serving[next(iter(self._serving))]
        figures.succeeded += 1
        figures.rows += answer.rows
        figures.success_s += seconds
        figures.queue_s += answer.queue_s
        figures.inference_s += answer.inference_s
        figures.batches += answer.share
        figures.last_at = time.time()

    def failed(self, asked: Asked, seconds: float) -> None:
        """A request got an error; it counts where its version is one that has answered before."""
        version = asked.version or self._serving.get((asked.model, asked.alias), 0)
        figures = self._figures.get((asked.model, version))
        if figures is not None:
            figures.failed += 1
            figures.fail_s += seconds

    def of(self, model: str | None = None, version: int = 0) -> dict[tuple[str, int], Figures]:
        """The figures of all versions, of those of a model, or of one of them."""
        return {
            key: figures for key, figures in self._figures.items() if model in (None, key[0]) and version in (0, key[1])
        }
