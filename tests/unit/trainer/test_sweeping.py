"""Sweeps: one thing that is bad keeps nothing else from being cleaned; the broker is wire's own in memory."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any

import pytest

from model_store import cleanup, durable, reserve
from tests.unit.model_store.disturbing import Store, move
from trainer.announce import Announcer, Presence
from trainer.changes import Changes
from trainer.sweeping import Sweeper
from wire import settings, topology
from wire.client import RpcClient
from wire.memory import MemoryBroker
from wire.retention import Retention

ONE = Retention(versions_per_model=1)
QUOTA = OSError(errno.EDQUOT, "Disk quota exceeded")


@pytest.fixture
def sweeper(three: Store, broker: MemoryBroker, rpc: RpcClient) -> Iterator[Sweeper]:
    """Of a volume with three old versions of iris and of wine, and a trainer in charge of it."""
    for number in (1, 2, 3):
        three.publish("wine", f"job-{number}")
        for model in ("iris", "wine"):
            os.utime(three.volume.version(model, number), (0, 0))
    server = broker.server("trainer", "in-charge")
    changes = Changes(three.volume, three.verifier, Announcer(rpc, Presence(settings.Settings())), 1.0)
    server.serve(topology.CHANGES, changes.handle, prefetch=1)
    server.start()
    assert server.wait_ready(10)
    yield Sweeper(three.volume, rpc, ONE)
    server.stop(1)


def refuse_new_files(monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            raise QUOTA
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", opened)


def test_old_versions_go_although_a_quota_leaves_no_room_for_the_reserve(
    three: Store, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve.fill(three.volume)
    assert reserve.release(three.volume)
    (three.volume.by_job("iris") / "job-1").unlink()
    refuse_new_files(monkeypatch)

    sweeper.sweep()

    assert three.volume.versions("iris") == three.volume.versions("wine") == [3]


def test_a_file_of_the_reserve_that_could_not_be_written_is_not_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_descriptor: int, _data: object) -> int:
        raise QUOTA

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", refused)
        assert reserve.fill(store.volume) == 0
    assert durable.entries(store.volume.root / reserve.FOLDER) == []
    assert reserve.fill(store.volume) == reserve.FILES


@pytest.mark.parametrize("logged", [True, False])
def test_an_alias_that_is_spoilt_keeps_no_other_model_from_its_limit(
    three: Store, sweeper: Sweeper, logged: bool
) -> None:
    move(three, 1)
    (three.volume.aliases("iris") / "champion.json").write_bytes(b"{")
    if not logged:
        (three.volume.aliases("iris") / ".log" / "champion.00000001.json").unlink()

    sweeper.sweep()

    assert three.volume.versions("wine") == [3]
    assert three.volume.versions("iris") == ([1] if logged else [1, 2, 3])


def test_a_clean_up_names_the_model_it_stopped_at_and_cleans_the_next(
    three: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (three.volume.by_job("iris") / "job-1").unlink()
    three.publish("wine", "job-4")
    old = three.volume.by_job("wine") / "job-9.publishing"
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    refuse_new_files(monkeypatch)

    cleaned = cleanup.clean(three.volume)

    assert cleaned.failed == {"iris": QUOTA}
    assert not old.exists()
