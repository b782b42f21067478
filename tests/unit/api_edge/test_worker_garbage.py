"""What a replica's process does with garbage: gunicorn's worker collects it whenever it reports."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from api.serve import Worker


class Ring:
    """Refers to itself: only the collector can free it."""

    def __init__(self) -> None:
        self.ring = self


@pytest.fixture
def reporting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    worker: Worker = Worker.__new__(Worker)
    monkeypatch.setattr(worker, "notify", lambda: None)
    gc.disable()
    yield worker
    gc.enable()
    gc.unfreeze()


def test_a_ring_is_gone_after_the_next_report(reporting: Worker) -> None:
    for _ in range(3):
        gone = weakref.ref(Ring())
        asyncio.run(reporting.callback_notify())
        assert gone() is None


def test_what_starting_made_is_frozen_once_and_nothing_later(reporting: Worker) -> None:
    asyncio.run(reporting.callback_notify())
    frozen = gc.get_freeze_count()
    assert frozen
    kept = [Ring() for _ in range(100)]
    asyncio.run(reporting.callback_notify())
    assert gc.get_freeze_count() <= frozen
    assert kept
