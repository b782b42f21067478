"""Aliases, deletions and settlements through a real broker, beside a training that goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from model_store import aliases
from model_store.volume import Volume
from tests.integration.trainer.peers import WAIT_S, Predictor, Worker, champion, publish
from tests.rabbit import Rabbit, wait_until
from trainer.service import TrainerService
from wire import build, errors, messages, replies, settings, topology

Start = Callable[..., TrainerService]


@pytest.fixture
def three(trainer: TrainerService, worker: Worker, config: settings.Settings) -> Worker:
    """A worker beside a trainer with versions 1 (champion), 2 and 3."""
    for number in (1, 2, 3):
        publish(config, f"job-{number}")
    aliases.move_alias(Volume(config.paths.models), "iris", "champion", 1)
    return worker


def set_alias(worker: Worker, version: int, alias: str = "champion", **fields: int) -> messages.AliasState:
    change = messages.SetAlias(model="iris", alias=alias, version=version, by="tester", **fields)
    return worker.change(change, messages.AliasState)


def test_an_alias_moves_and_moves_back(three: Worker, volume: Volume) -> None:
    moved = set_alias(three, 2, expected=1)
    assert (moved.version, moved.previous, moved.revision) == (2, 1, 2)

    back = three.change(messages.Rollback(model="iris"), messages.AliasState)

    assert (back.version, back.previous) == (1, 2)
    assert champion(volume) == 1


def test_an_alias_moves_only_from_where_it_was_expected(three: Worker, volume: Volume) -> None:
    with pytest.raises(errors.StaleChampion):
        set_alias(three, 2, expected=3)
    with pytest.raises(errors.StaleChampion):
        set_alias(three, 2, alias="canary", expected=3)

    assert set_alias(three, 1, expected=3).version == 1
    assert champion(volume) == 1


def test_an_alias_is_made_and_removed(three: Worker) -> None:
    assert set_alias(three, 3, alias="canary", expected=0).revision == 1

    gone = three.change(messages.DeleteAlias(model="iris", alias="canary"), messages.AliasState)

    assert (gone.version, gone.previous) == (0, 3)
    with pytest.raises(errors.AliasNotFound):
        three.change(messages.DeleteAlias(model="iris", alias="canary"), messages.AliasState)


REFUSED = (
    (messages.SetAlias(model="none", alias="champion", version=1), errors.ModelNotFound),
    (messages.SetAlias(model="iris", alias="champion", version=9), errors.VersionNotFound),
    (messages.SetAlias(model="iris", alias="../x", version=1), errors.BadInput),
    (messages.SetAlias(model="../x", alias="champion", version=1), errors.BadInput),
    (messages.SetAlias(model="iris", alias="champion", version=0), errors.BadInput),
    (messages.Rollback(model="iris"), errors.VersionNotFound),
    (messages.DeleteVersion(model="iris", version=1), errors.VersionInUse),
    (messages.DeleteVersion(model="iris", version=9), errors.VersionNotFound),
    (messages.DeleteModel(model="none"), errors.ModelNotFound),
    (messages.ListModels(), errors.MalformedBody),
)


def test_a_change_that_cannot_be_made_says_why(three: Worker, volume: Volume) -> None:
    for change, kind in REFUSED:
        with pytest.raises(kind):
            three.change(change, messages.AliasState)

    assert champion(volume) == 1
    assert volume.versions("iris") == [1, 2, 3]


def test_what_is_no_change_goes_to_the_dead_letters(
    trainer: TrainerService, worker: Worker, rabbitmq: Rabbit, broker: settings.Broker
) -> None:
    with pytest.raises(errors.MalformedBody):
        worker.change(messages.ListModels(), messages.AliasState)

    with rabbitmq.channel(broker.vhost) as channel:
        wait_until(lambda: channel.basic_get(topology.DEAD, auto_ack=True)[0] is not None, "a dead letter")


def test_a_change_without_a_deadline_is_made_too(three: Worker, volume: Volume) -> None:
    change = messages.SetAlias(model="iris", alias="champion", version=3)
    with three.rpc.stream(topology.CHANGES, change) as stream:
        assert replies.read(stream.next(WAIT_S), messages.AliasState).version == 3


def test_a_version_that_fails_verification_gets_no_alias(three: Worker, volume: Volume) -> None:
    path = volume.version("iris", 2) / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"Fake", b"Evil"))

    with pytest.raises(errors.ModelCorrupt):
        set_alias(three, 2)
    assert champion(volume) == 1


def test_an_alias_moves_only_after_every_predictor_has_the_version(
    three: Worker, volume: Volume, start_predictor: Callable[[str], Predictor], trainer: TrainerService
) -> None:
    predictor = start_predictor("one")
    wait_until(lambda: trainer._presence.present() == {"one"}, "it is known")

    set_alias(three, 2)

    assert predictor.loaded == [("iris", 2)]
    assert predictor.champion_at_load == [1]


def test_an_alias_that_predictors_refuse_as_corrupt_stays(
    three: Worker, volume: Volume, start_predictor: Callable[[str], Predictor], trainer: TrainerService
) -> None:
    start_predictor("one").error = errors.ModelCorrupt("the samples come out differently")
    wait_until(lambda: trainer._presence.present() == {"one"}, "it is known")

    with pytest.raises(errors.ModelCorrupt, match="samples"):
        set_alias(three, 2)

    assert champion(volume) == 1


def test_predictors_hear_of_what_was_deleted(
    three: Worker, volume: Volume, start_predictor: Callable[[str], Predictor]
) -> None:
    predictor = start_predictor("one")

    three.change(messages.DeleteVersion(model="iris", version=3), messages.Deleted)
    assert volume.versions("iris") == [1, 2]
    three.change(messages.DeleteModel(model="iris"), messages.Deleted)

    assert volume.models() == []
    wait_until(lambda: predictor.forgotten == [("iris", 3), ("iris", 0)], "both are forgotten")


def test_a_job_is_settled_with_its_version_or_for_ever_without(three: Worker, volume: Volume) -> None:
    settled = three.change(messages.Settle(model="iris", job_id="job-2"), messages.Settled)
    assert (settled.version, settled.metrics) == (2, {"accuracy": 0.5})

    three.change(messages.DeleteVersion(model="iris", version=2), messages.Deleted)
    settled = three.change(messages.Settle(model="iris", job_id="job-2"), messages.Settled)
    assert (settled.version, settled.metrics) == (2, {})

    settled = three.change(messages.Settle(model="iris", job_id="never"), messages.Settled)
    assert settled.version == 0
    with pytest.raises(errors.Cancelled):
        three.train(job_id="never")


def test_changes_and_settlements_do_not_wait_for_a_training(three: Worker, volume: Volume, tmp_path: Path) -> None:
    request = three.request(wait_for=str(tmp_path / "go"))
    with three.training(request) as training:
        training.until("reading")
        set_alias(three, 2)
        settled = three.change(messages.Settle(model="iris", job_id=request.job_id), messages.Settled)
        (tmp_path / "go").touch()
        with pytest.raises(errors.Cancelled):
            training.done()

    assert settled.version == 0
    assert volume.versions("iris") == [1, 2, 3]


def test_of_many_trainers_one_makes_the_changes_and_another_takes_over(
    start_trainer: Start, worker: Worker, volume: Volume, rabbitmq: Rabbit, broker: settings.Broker
) -> None:
    first, _second = start_trainer(), start_trainer()
    worker.train()
    worker.train(better=False)
    assert worker.rpc.queue_state(topology.CHANGES).consumers == 2

    first.stop()

    assert set_alias(worker, 2).version == 2
    assert champion(volume) == 2


def test_the_trainer_in_charge_tells_how_it_and_the_volume_are(
    trainer: TrainerService, worker: Worker, config: settings.Settings
) -> None:
    told = worker.change(messages.Examine(), messages.Examined)
    assert (told.build, told.volume.readable, told.volume.writable) == (build.BUILD, True, True)
    assert 0 < told.volume.free_bytes <= told.volume.size_bytes
    config.paths.models.rename(config.paths.models.with_name("elsewhere"))
    told = worker.change(messages.Examine(), messages.Examined)
    assert told.volume == messages.VolumeState(readable=False, writable=False, free_bytes=0, size_bytes=0)
