"""Large versions are loaded one at a time, after room was made, and not at all where they alone are too large."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from model_store import reading
from predictor import loaded, room
from predictor import registry as registering
from predictor.loaded import LoadedVersion
from predictor.registry import Registry
from tests.rabbit import wait_until
from tests.unit.predictor.artefacts import Shelf, classifier, regression
from tests.unit.predictor.loading import count_loads, soon
from wire import errors
from wire.deadlines import Deadline

PADDING_BYTES = 800_000


@pytest.fixture(autouse=True)
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LARGE_BYTES", PADDING_BYTES)


def publish(shelf: Shelf, model: str, padding: int = PADDING_BYTES) -> int:
    """Publish a version; its reckoned bytes."""
    graph = classifier(padding=padding)
    shelf.publish(graph, model, classes=[0, 1])
    return room.cost_bytes("onnx", len(graph))


@dataclass
class Held:
    """A load that has begun and goes on once ``go`` is set."""

    pool: ThreadPoolExecutor
    go: threading.Event
    first: Future[LoadedVersion]


@contextmanager
def held(registry: Registry, loads: list[int], go: threading.Event) -> Iterator[Held]:
    """While the large version 1 of "a" is being loaded."""
    with ThreadPoolExecutor(4) as pool:
        try:
            first = pool.submit(registry.get, "a", 1, soon())
            wait_until(lambda: loads, "the load has begun")
            yield Held(pool, go, first)
        finally:
            go.set()


def hold_large(monkeypatch: pytest.MonkeyPatch, go: threading.Event) -> list[int]:
    """Delays the loads of large versions; gives the number of those that have begun, one entry each."""
    begun: list[int] = []
    prepare = loaded.prepare

    def delayed(artefact: Any) -> Any:
        if room.served_bytes(artefact.manifest) >= room.LARGE_BYTES:
            begun.append(artefact.manifest.version)
            assert go.wait(15)
        return prepare(artefact)

    monkeypatch.setattr(registering, "prepare", delayed)
    return begun


def test_large_versions_are_loaded_one_after_the_other_and_small_ones_meanwhile(
    shelf: Shelf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(shelf, "a")
    publish(shelf, "b")
    shelf.publish(regression(), "small")
    go = threading.Event()
    loads = hold_large(monkeypatch, go)
    with held(registry, loads, go) as load:
        second = load.pool.submit(registry.get, "b", 1, soon())
        with pytest.raises(errors.DeadlineExceeded):
            registry.get("b", 1, Deadline.after(0.05))
        assert registry.get("small", 1, soon()).version == 1
        assert len(loads) == 1
        go.set()
        assert (load.first.result(15).model, second.result(15).model) == ("a", "b")


def test_who_waited_in_vain_for_a_turn_says_nothing_about_the_version(
    shelf: Shelf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(shelf, "a")
    publish(shelf, "b")
    go = threading.Event()
    loads = hold_large(monkeypatch, go)
    with held(registry, loads, go):
        with pytest.raises(errors.DeadlineExceeded, match="Another large version"):
            registry.get("b", 1, Deadline.after(0.05))
        go.set()
        assert registry.get("b", 1, soon()).model == "b"


def test_who_has_more_time_takes_over_from_who_had_less(
    shelf: Shelf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(shelf, "a")
    publish(shelf, "b")
    go = threading.Event()
    loads = hold_large(monkeypatch, go)
    with held(registry, loads, go) as load:
        hasty = load.pool.submit(registry.get, "b", 1, Deadline.after(3))
        wait_until(lambda: ("b", 1) in registry._loading, "the hasty one is to load it")
        patient = load.pool.submit(registry.get, "b", 1, soon())
        assert isinstance(hasty.exception(15), errors.DeadlineExceeded)
        go.set()
        assert patient.result(15).model == "b"


def test_room_is_made_before_a_large_version_is_loaded(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    cost_bytes = max(publish(shelf, model) for model in ("a", "b", "c"))
    registry = Registry(shelf.volume, shelf.verifier, int(cost_bytes * 2.5))
    there: list[list[tuple[str, int]]] = []
    prepare = loaded.prepare

    def noting(artefact: Any) -> Any:
        there.append(registry.loaded())
        return prepare(artefact)

    monkeypatch.setattr(registering, "prepare", noting)
    for model in ("a", "b", "c"):
        registry.get(model, 1, soon())
    assert there == [[], [("a", 1)], [("b", 1)]]
    assert registry.loaded() == [("b", 1), ("c", 1)]


def test_a_large_version_that_was_altered_unloads_nobody(shelf: Shelf) -> None:
    cost_bytes = max(publish(shelf, model) for model in ("a", "b"))
    shelf.spoil(1, "b")
    registry = Registry(shelf.volume, shelf.verifier, int(cost_bytes * 1.5))
    registry.get("a", 1, soon())
    with pytest.raises(errors.ModelCorrupt):
        registry.get("b", 1, soon())
    assert registry.loaded() == [("a", 1)]


def test_a_version_that_alone_is_over_the_bound_is_refused_by_its_setting_and_remembered(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost_bytes = publish(shelf, "a")
    shelf.publish(regression(), "small")
    registry = Registry(shelf.volume, shelf.verifier, cost_bytes - 1)
    registry.get("small", 1, soon())
    loads = count_loads(monkeypatch)
    looks = 0
    read_manifest = reading.read_manifest

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal looks
        looks += 1
        return read_manifest(*arguments, **options)

    monkeypatch.setattr(reading, "read_manifest", counted)
    for _ in range(3):
        with pytest.raises(errors.TooLarge, match="WARREN_PREDICT__MEMORY_BYTES"):
            registry.get("a", 1, soon())
    assert (looks, loads) == (1, [])
    assert registry.loaded() == [("small", 1)]
    assert Registry(shelf.volume, shelf.verifier, cost_bytes).get("a", 1, soon()).model == "a"
