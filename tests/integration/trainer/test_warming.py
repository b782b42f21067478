"""Predictors load a version before it is champion; who is silent or spoilt holds up nobody for long."""

from __future__ import annotations

import time
from collections.abc import Callable

from model_store.volume import Volume
from tests.integration.trainer.peers import Predictor, Worker, champion
from tests.rabbit import wait_until
from trainer.service import TrainerService
from wire import errors, messages, settings

Start = Callable[..., TrainerService]


def test_a_version_is_loaded_by_every_predictor_before_it_is_champion(
    start_trainer: Start, start_predictor: Callable[[str], Predictor], worker: Worker, volume: Volume
) -> None:
    predictors = [start_predictor(name) for name in ("one", "two")]
    service = start_trainer()
    wait_until(lambda: service._presence.present() == {"one", "two"}, "both are known")

    done = worker.train()

    assert done.promoted
    for predictor in predictors:
        assert ("iris", 1) in predictor.loaded
        assert predictor.champion_at_load[0] == 0


def test_a_predictor_that_fell_silent_is_waited_for_no_longer_than_it_counts_as_present(
    start_trainer: Start, start_predictor: Callable[[str], Predictor], worker: Worker, config: settings.Settings
) -> None:
    frozen, sound = start_predictor("frozen"), start_predictor("sound")
    patient = config.train.model_copy(update={"warm_wait_s": 60})
    service = start_trainer(config=config.model_copy(update={"train": patient}))
    wait_until(lambda: service._presence.present() == {"frozen", "sound"}, "both are known")
    frozen.fall_silent()
    started = time.monotonic()

    assert worker.train().promoted

    assert time.monotonic() - started < patient.warm_wait_s
    assert ("iris", 1) in sound.loaded


def test_a_predictor_that_left_is_not_waited_for(
    trainer: TrainerService, start_predictor: Callable[[str], Predictor]
) -> None:
    predictor = start_predictor("leaving")
    wait_until(lambda: trainer._presence.present() == {"leaving"}, "it is known")

    predictor.leave()

    wait_until(lambda: trainer._presence.present() == set(), "it is not waited for")


def test_a_version_a_predictor_finds_corrupt_is_not_promoted(
    start_trainer: Start, start_predictor: Callable[[str], Predictor], worker: Worker, volume: Volume
) -> None:
    start_predictor("sound")
    start_predictor("strict").error = errors.ModelCorrupt("a file is not what was signed")
    service = start_trainer()
    wait_until(lambda: len(service._presence.present()) == 2, "both are known")

    done = worker.train()

    assert (done.version, done.promoted) == (1, False)
    assert done.promotion_reason == "a file is not what was signed"
    assert champion(volume) == 0


def test_a_predictor_without_room_does_not_keep_a_version_from_being_promoted(
    start_trainer: Start, start_predictor: Callable[[str], Predictor], worker: Worker
) -> None:
    start_predictor("small").error = errors.TooLarge()
    start_trainer()

    assert worker.train().promoted


def test_an_answer_that_is_none_and_signs_of_an_unknown_kind_are_passed_over(
    start_trainer: Start, start_predictor: Callable[[str], Predictor], worker: Worker, config: settings.Settings
) -> None:
    hasty = config.train.model_copy(update={"warm_wait_s": 1})
    start_trainer(config=config.model_copy(update={"train": hasty}))
    odd, sound = start_predictor("odd"), start_predictor("sound")
    odd.crashes = True
    odd.say(messages.ForgetVersion(model="iris"))

    assert worker.train().promoted

    wait_until(lambda: ("iris", 1) in sound.loaded, "it has loaded it")
