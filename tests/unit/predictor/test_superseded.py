"""What is unloaded when a newer version of a model comes."""

from __future__ import annotations

import pytest

from predictor import registry as registering
from predictor import room
from predictor.registry import Registry
from tests.unit.predictor.artefacts import Shelf, regression
from tests.unit.predictor.loading import soon


class Clock:
    """A monotonic clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(registering, "time", made)
    return made


def filled(shelf: Shelf) -> Registry:
    """Two versions of m and one of n, published and loaded."""
    for model in ("m", "m", "m", "n"):
        shelf.publish(regression(), model=model)
    registry = Registry(shelf.volume, shelf.verifier, 10**8, superseded_s=300)
    for model, version in (("n", 1), ("m", 1), ("m", 2)):
        registry.get(model, version, soon())
    return registry


def test_older_versions_nobody_asked_for_go_when_a_newer_one_comes(shelf: Shelf, clock: Clock) -> None:
    registry = filled(shelf)
    clock.now += 299
    registry.get("m", 2, soon())
    clock.now += 1
    registry.get("m", 3, soon())
    assert registry.loaded() == [("n", 1), ("m", 2), ("m", 3)]


def test_asking_by_the_short_way_counts_as_asking(shelf: Shelf, clock: Clock) -> None:
    registry = filled(shelf)
    clock.now += 299
    assert registry.at_hand("m", 1) is not None
    clock.now += 1
    registry.get("m", 3, soon())
    assert registry.loaded() == [("n", 1), ("m", 1), ("m", 3)]


def test_a_newer_version_stays_when_an_older_one_comes(shelf: Shelf, clock: Clock) -> None:
    registry = filled(shelf)
    registry.get("m", 3, soon())
    registry.forget("m", 1)
    clock.now += 3_000
    registry.get("m", 1, soon())
    assert registry.loaded() == [("n", 1), ("m", 2), ("m", 3), ("m", 1)]


def test_small_versions_count_for_what_they_take(shelf: Shelf) -> None:
    for _ in range(3):
        shelf.publish(regression())
    registry = Registry(shelf.volume, shelf.verifier, int(2.5 * room.VERSION_BYTES))
    for version in (1, 2, 3):
        registry.get("m", version, soon())
    assert registry.loaded() == [("m", 2), ("m", 3)]
