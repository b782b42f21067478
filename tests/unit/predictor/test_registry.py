"""A version is loaded once, kept while there is room, and refused with its reason."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from model_store import deletion, names, reading
from predictor import loaded, metrics, room
from predictor import registry as registering
from predictor.registry import Registry
from tests.rabbit import wait_until
from tests.unit.predictor.artefacts import NUMBERS, Shelf, classifier, regression
from tests.unit.predictor.loading import count_loads, soon
from wire import errors
from wire.deadlines import Deadline


def cost_bytes(graph: bytes) -> int:
    return room.cost_bytes("onnx", len(graph))


def test_a_version_is_loaded_once_and_kept(shelf: Shelf, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.publish(regression())
    loads = count_loads(monkeypatch)
    assert registry.get("m", 1, soon()) is registry.get("m", 1, soon())
    assert loads == [1]
    assert metrics.loaded_versions._value.get() == 1
    assert metrics.loaded_bytes._value.get() == cost_bytes(regression())


def test_many_who_ask_at_once_share_one_load(shelf: Shelf, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.publish(regression())
    hold = threading.Event()
    loads = count_loads(monkeypatch, hold)
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(registry.get, "m", 1, soon()) for _ in range(8)]
        wait_until(lambda: loads, "the load has begun")
        with pytest.raises(errors.DeadlineExceeded):
            registry.get("m", 1, Deadline.after(0.01))
        hold.set()
        assert len({id(each.result(15)) for each in asked}) == 1
    assert loads == [1]


def test_many_who_ask_for_a_corrupt_version_share_one_failure(
    shelf: Shelf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = shelf.publish(regression(), files={"samples.json": b"{}"})
    hold = threading.Event()
    loads = count_loads(monkeypatch, hold)
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(registry.get, "m", version, soon()) for _ in range(4)]
        wait_until(lambda: loads, "the load has begun")
        hold.set()
        found = [each.exception(15) for each in asked]
    assert all(isinstance(error, errors.ModelCorrupt) for error in found)
    assert loads == [version]


def test_an_unknown_name_or_number_is_said_at_once(shelf: Shelf, registry: Registry) -> None:
    shelf.publish(regression())
    started_at = time.monotonic()
    with pytest.raises(errors.ModelNotFound):
        registry.get("unknown", 1, soon())
    with pytest.raises(errors.VersionNotFound):
        registry.get("m", 2, soon())
    with pytest.raises(errors.BadInput):
        registry.get("../m", 1, soon())
    with pytest.raises(errors.BadInput):
        registry.get("m", -1, soon())
    assert time.monotonic() - started_at < 5


def test_a_version_that_appears_late_is_waited_for(shelf: Shelf, registry: Registry) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(registry.announced, "m", 1, soon(), wait_s=10)
        shelf.publish(regression())
        assert asked.result(15).version == 1


def test_patience_in_vain_is_remembered_until_the_version_appears(shelf: Shelf, registry: Registry) -> None:
    shelf.publish(regression())
    with pytest.raises(errors.VersionNotFound):
        registry.get("m", 2, soon(), wait_s=0.05)
    with pytest.raises(errors.VersionNotFound):
        registry.get("m", 2, soon(), wait_s=100)
    shelf.publish(regression())
    assert registry.get("m", 2, soon(), wait_s=100).version == 2


def test_a_corrupt_version_is_refused_without_reading_it_again(
    shelf: Shelf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = shelf.publish(regression())
    shelf.spoil(version)
    reads = 0
    read = reading.read

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal reads
        reads += 1
        return read(*arguments, **options)

    monkeypatch.setattr(reading, "read", counted)
    for _ in range(3):
        with pytest.raises(errors.ModelCorrupt):
            registry.get("m", version, soon())
    assert reads == 1
    assert metrics.corrupt_versions._value.get() == 1
    monkeypatch.setattr(registering, "REMEMBER_S", 0.0)
    shelf.spoil(version)
    registry._failures.clear()
    assert registry.get("m", version, soon()).version == version
    assert metrics.corrupt_versions._value.get() == 0


def test_a_failure_is_looked_at_again_after_a_while(
    shelf: Shelf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registering, "REMEMBER_S", 0.0)
    version = shelf.publish(regression())
    shelf.spoil(version)
    with pytest.raises(errors.ModelCorrupt):
        registry.get("m", version, soon())
    shelf.spoil(version)
    assert registry.get("m", version, soon()).version == version


def test_an_announcement_tries_what_failed_before(shelf: Shelf, registry: Registry) -> None:
    version = shelf.publish(regression())
    shelf.spoil(version)
    with pytest.raises(errors.ModelCorrupt):
        registry.get("m", version, soon())
    shelf.spoil(version)
    assert registry.announced("m", version, soon(), wait_s=0).version == version


def test_remembered_failures_are_bounded(shelf: Shelf, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registering, "MAX_REMEMBERED", 2)
    for _ in range(3):
        version = shelf.publish(regression())
        shelf.spoil(version)
        with pytest.raises(errors.ModelCorrupt):
            registry.get("m", version, soon())
    assert [key[1] for key in registry._failures] == [2, 3]
    registry.forget("m", 2)
    registry.forget("m")
    assert not registry._failures


def test_the_least_recently_used_version_goes_when_memory_ends(shelf: Shelf) -> None:
    graph = classifier(padding=800_000)
    for _ in range(3):
        shelf.publish(graph, classes=[0, 1])
    small = Registry(shelf.volume, shelf.verifier, int(cost_bytes(graph) * 2.5))
    first = small.get("m", 1, soon())
    small.get("m", 2, soon())
    small.get("m", 1, soon())
    small.get("m", 3, soon())
    assert small.loaded() == [("m", 1), ("m", 3)]
    assert small.get("m", 1, soon()) is first


def test_an_unloaded_version_still_answers_who_holds_it(shelf: Shelf, registry: Registry) -> None:
    shelf.publish(regression())
    held = registry.get("m", 1, soon())
    registry.forget("m", 1)
    assert registry.loaded() == []
    rows = loaded.empty_rows(NUMBERS, 2)
    assert held.runtime.predict(rows.numbers, rows.texts).labels.tolist() == [0.0, 0.0]


def test_a_version_beyond_the_memory_bound_is_refused(shelf: Shelf) -> None:
    shelf.publish(classifier(padding=80_000), classes=[0, 1])
    with pytest.raises(errors.TooLarge):
        Registry(shelf.volume, shelf.verifier, 10_000).get("m", 1, soon())


def test_a_load_that_needs_too_much_memory_fails_alone(
    shelf: Shelf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.publish(regression())

    def exhausted(_artefact: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(registering, "prepare", exhausted)
    with pytest.raises(errors.TooLarge):
        registry.get("m", 1, soon())


def test_a_load_that_failed_holds_nothing_of_the_version(
    shelf: Shelf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.publish(regression())
    read: list[weakref.ref[Any]] = []

    def exhausted(artefact: Any) -> Any:
        read.append(weakref.ref(artefact))
        raise MemoryError

    monkeypatch.setattr(registering, "prepare", exhausted)
    gc.disable()
    try:
        with suppress(errors.TooLarge):
            registry.get("m", 1, soon())
        assert [each() for each in read] == [None]
    finally:
        gc.enable()


def test_a_defect_in_a_load_is_an_internal_error_for_those_who_wait(
    shelf: Shelf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.publish(regression())

    def defective(_artefact: Any) -> Any:
        raise RuntimeError("a defect")

    monkeypatch.setattr(registering, "prepare", defective)
    with pytest.raises(RuntimeError):
        registry.get("m", 1, soon())
    with pytest.raises(errors.InternalError):
        registry.get("m", 1, soon())


def test_a_volume_that_fails_is_an_internal_error(
    shelf: Shelf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.publish(regression())

    def failing(*_arguments: Any, **_options: Any) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(reading, "read", failing)
    with pytest.raises(errors.InternalError, match="volume"):
        registry.get("m", 1, soon())


def test_a_deleted_version_is_served_no_more(shelf: Shelf, registry: Registry) -> None:
    shelf.publish(regression())
    shelf.publish(regression())
    assert registry.get("m", 1, soon()).version == 1
    deletion.delete_version(shelf.volume, "m", 1)
    with pytest.raises(errors.VersionNotFound):
        registry.get("m", 1, soon())
    assert registry.loaded() == []


def test_a_version_deleted_while_it_was_loaded_is_not_served(
    shelf: Shelf, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.publish(regression())
    shelf.publish(regression())
    read = reading.read

    def read_then_delete(*arguments: Any, **options: Any) -> Any:
        artefact = read(*arguments, **options)
        deletion.delete_version(shelf.volume, "m", 1)
        return artefact

    monkeypatch.setattr(reading, "read", read_then_delete)
    with pytest.raises(errors.VersionNotFound):
        registry.get("m", 1, soon())


def test_a_version_put_back_from_a_backup_is_loaded_anew(shelf: Shelf, registry: Registry) -> None:
    shelf.publish(regression())
    first = registry.get("m", 1, soon())
    signature = shelf.volume.version("m", 1) / names.SIGNATURE
    content = signature.read_bytes()
    signature.unlink()
    signature.write_bytes(content)
    again = registry.get("m", 1, soon())
    assert again is not first
