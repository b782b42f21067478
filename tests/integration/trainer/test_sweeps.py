"""Sweeps: what killed trainers left, and versions beyond the limit; what goes wrong is tried again later."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from model_store import aliases, cleanup
from model_store.volume import Volume
from tests.integration.trainer.peers import WAIT_S, publish
from tests.rabbit import wait_until
from trainer.service import TrainerService
from trainer.sweeping import Sweeper
from wire import settings
from wire.client import RpcClient
from wire.retention import Retention

Start = Callable[..., TrainerService]

FEW = Retention(versions_per_model=2, sweep_s=0.2)


@pytest.fixture
def rpc(broker: settings.Broker) -> Iterator[RpcClient]:
    client = RpcClient(broker, "trainer", "sweeper")
    client.start()
    assert client.wait_connected(WAIT_S)
    yield client
    client.close()


@pytest.fixture
def four(trainer: TrainerService, volume: Volume, config: settings.Settings) -> TrainerService:
    """A trainer with versions 1 (champion) to 4, all of them old."""
    for number in range(4):
        version = publish(config, f"job-{number}")
        os.utime(volume.version("iris", version), (0, 0))
    aliases.move_alias(volume, "iris", "champion", 1)
    return trainer


def test_versions_beyond_the_limit_go_and_what_an_alias_names_stays(
    four: TrainerService, volume: Volume, rpc: RpcClient
) -> None:
    Sweeper(volume, rpc, FEW).sweep()

    assert volume.versions("iris") == [1, 4]


def test_a_version_that_has_just_appeared_stays(
    four: TrainerService, config: settings.Settings, volume: Volume, rpc: RpcClient
) -> None:
    publish(config, "job-4")

    Sweeper(volume, rpc, Retention(versions_per_model=1)).sweep()

    assert volume.versions("iris") == [1, 5]


def test_a_version_that_got_an_alias_meanwhile_stays_and_the_others_go(
    four: TrainerService, volume: Volume, rpc: RpcClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    aliases.move_alias(volume, "iris", "canary", 2)
    monkeypatch.setattr("model_store.deletion.excess_versions", lambda *_: [2, 3])

    Sweeper(volume, rpc, FEW).sweep()

    assert volume.versions("iris") == [1, 2, 4]


def test_a_sweeper_that_is_closed_deletes_no_more(four: TrainerService, volume: Volume, rpc: RpcClient) -> None:
    sweeper = Sweeper(volume, rpc, FEW)
    sweeper.start()
    wait_until(lambda: volume.versions("iris") == [1, 4], "the first sweep is done")
    sweeper.close(WAIT_S)

    Sweeper.sweep(sweeper)

    assert not sweeper._thread.is_alive()
    assert sweeper._delete("iris", 4) is False


def test_a_sweep_that_fails_is_followed_by_the_next(
    volume: Volume, rpc: RpcClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume.prepare("iris")
    debris = volume.tmp("iris") / "job-1.000000000000.1.1.aa"
    debris.mkdir()
    os.utime(debris, (0, 0))
    clean, failures = cleanup.clean, [2]

    def sometimes(volume: Volume) -> cleanup.Cleaned:
        if failures[0]:
            failures[0] -= 1
            raise OSError("input/output error")
        return clean(volume)

    monkeypatch.setattr(cleanup, "clean", sometimes)
    sweeper = Sweeper(volume, rpc, FEW)
    sweeper.start()
    try:
        wait_until(lambda: not debris.exists(), "the third sweep has cleaned")
    finally:
        sweeper.close(WAIT_S)


def test_a_trainer_sweeps_when_it_starts(start_trainer: Start, volume: Volume) -> None:
    volume.prepare("iris")
    debris = volume.tmp("iris") / "job-1.000000000000.1.1.aa"
    debris.mkdir()
    os.utime(debris, (0, 0))

    start_trainer()

    wait_until(lambda: not debris.exists(), "the debris is gone")
