"""A process killed before any change it makes to the volume, and another that runs in between."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from model_store import aliases, cleanup, deletion, durable, errors, settling
from model_store.publishing import Published
from tests.unit.model_store.disturbing import (
    Store,
    before_each_step,
    count_steps,
    in_processes,
    interrupted_before,
    killed_before,
    outcome_of,
    run_and_die,
)

FIRST = "0"


def settle(store: Store, job_id: str) -> int:
    return settling.settle(store.volume, "iris", job_id, store.verifier)


def test_a_publisher_killed_at_any_step_leaves_old_or_new_and_the_next_delivery_ends_it(store: Store) -> None:
    store.publish(job_id=FIRST)
    step = 0
    while True:
        step += 1
        job_id = f"job-{step}"
        died = killed_before(step, lambda job_id=job_id: store.publish(job_id=job_id))

        assert len(store.versions_of(job_id)) <= 1
        version = store.publish(job_id=job_id).version
        assert store.versions_of(job_id) == [version]
        if not died:
            break
    assert step > 30
    cleanup.clean(store.volume)
    assert durable.entries(store.volume.tmp("iris")) == []
    assert store.volume.versions("iris") == sorted(set(store.volume.versions("iris")))


def test_a_job_settled_after_its_publisher_was_killed_has_one_version_or_none_for_ever(store: Store) -> None:
    store.publish(job_id=FIRST)
    answers, step = set(), 0
    while True:
        step += 1
        job_id = f"job-{step}"
        died = killed_before(step, lambda job_id=job_id: store.publish(job_id=job_id))

        version = settle(store, job_id)
        answers.add(bool(version))
        assert store.versions_of(job_id) == ([version] if version else [])
        later = outcome_of(lambda job_id=job_id: store.publish(job_id=job_id))
        if version:
            assert later.version == version
        else:
            assert isinstance(later, errors.JobTombstoned)
        assert store.versions_of(job_id) == ([version] if version else [])
        if not died:
            break
    assert answers == {True, False}


def consistent(store: Store, job_id: str, published: Any, settled: int) -> None:
    if settled:
        assert isinstance(published, Published)
        assert published.version == settled
        assert store.versions_of(job_id) == [settled]
    else:
        assert isinstance(published, errors.JobTombstoned)
        assert store.versions_of(job_id) == []


def test_a_version_of_a_publisher_that_died_during_the_settlement_goes_with_the_tombstone(store: Store) -> None:
    store.publish(job_id=FIRST)

    def die_before_the_index_entry(number: int, name: str) -> None:
        if name == "link":
            os.kill(os.getpid(), signal.SIGKILL)

    def publish() -> None:
        with before_each_step(die_before_the_index_entry):
            store.publish()

    def appear(number: int, name: str) -> None:
        if name == "link":
            run_and_die(publish)
            assert store.versions_of("job-1") == [2]

    with before_each_step(appear):
        assert settle(store, "job-1") == 0
    assert store.versions_of("job-1") == []


def test_a_settlement_at_any_step_of_a_publish_agrees_with_it(store: Store) -> None:
    store.publish(job_id=FIRST)
    steps = count_steps(lambda: store.publish(job_id="count"))
    answers = set()
    for step in range(1, steps + 1):
        job_id = f"job-{step}"
        published, settled = interrupted_before(
            step, lambda job_id=job_id: store.publish(job_id=job_id), lambda job_id=job_id: settle(store, job_id)
        )
        answers.add(bool(settled))
        consistent(store, job_id, published, settled)
    assert answers == {True, False}


def test_a_publish_at_any_step_of_a_settlement_agrees_with_it(store: Store) -> None:
    store.publish(job_id=FIRST)
    steps = count_steps(lambda: settle(store, "count"))
    answers = set()
    for step in range(1, steps + 1):
        job_id = f"job-{step}"
        settled, published = interrupted_before(
            step, lambda job_id=job_id: settle(store, job_id), lambda job_id=job_id: store.publish(job_id=job_id)
        )
        answers.add(bool(settled))
        consistent(store, job_id, published, settled)
    assert answers == {True, False}


def test_settlers_and_publishers_racing_in_processes_agree(store: Store) -> None:
    for number in range(10):
        job_id = f"job-{number}"

        def act(who: int, job_id: str = job_id) -> Any:
            return settle(store, job_id) if who % 2 else store.publish(job_id=job_id).version

        outcomes = in_processes(4, act)
        versions = {0 if isinstance(outcome, errors.JobTombstoned) else outcome for outcome in outcomes}
        assert len(versions) == 1
        assert store.versions_of(job_id) == [version for version in versions if version]


def test_a_second_delivery_at_any_step_of_a_publish_gets_the_same_version(store: Store) -> None:
    store.publish(job_id=FIRST)
    steps = count_steps(lambda: store.publish(job_id="count"))
    for step in range(1, steps + 1):
        job_id = f"job-{step}"
        mine, theirs = interrupted_before(
            step, lambda job_id=job_id: store.publish(job_id=job_id), lambda job_id=job_id: store.publish(job_id=job_id)
        )
        assert mine.version == theirs.version
        assert [mine.first, theirs.first].count(True) == 1
        assert store.versions_of(job_id) == [mine.version]


def test_a_clean_up_at_any_step_of_a_publish_disturbs_nothing(store: Store) -> None:
    store.publish(job_id=FIRST)
    steps = count_steps(lambda: store.publish(job_id="count"))
    for step in range(1, steps + 1):
        job_id = f"job-{step}"
        published, _ = interrupted_before(
            step, lambda job_id=job_id: store.publish(job_id=job_id), lambda: cleanup.clean(store.volume)
        )
        assert store.versions_of(job_id) == [published.version]


def test_a_reader_at_any_step_of_a_publish_sees_nothing_or_a_sound_version(store: Store) -> None:
    steps = count_steps(lambda: store.publish(model="count"))
    for step in range(1, steps + 1):
        model = f"model-{step}"

        def look(model: str = model) -> Any:
            return [store.read(model, version).manifest.version for version in store.volume.versions(model)]

        _, seen = interrupted_before(step, lambda model=model: store.publish(model=model), look)
        assert seen in ([], [1])


def test_an_orphaned_second_version_of_a_job_is_retired_at_the_next_start(store: Store) -> None:
    """A publisher stalls before its rename, loses to another delivery, renames, and dies."""
    renames = 0

    def stall_then_die(number: int, name: str) -> None:
        nonlocal renames
        renames += name == "rename"
        if name == "rename" and renames == 1:
            store.publish()
        elif name == "rename" and renames == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    def publish() -> None:
        with before_each_step(stall_then_die):
            store.publish()

    run_and_die(publish)
    assert store.versions_of("job-1") == [1, 2]
    assert store.publish().version == 2

    assert cleanup.clean(store.volume).retired == 1
    assert store.versions_of("job-1") == [2]


def test_a_deletion_killed_at_any_step_has_happened_or_not(store: Store) -> None:
    step = 0
    while True:
        step += 1
        version = store.publish(job_id=f"job-{step}").version
        died = killed_before(step, lambda version=version: deletion.delete_version(store.volume, "iris", version))
        if store.volume.has_version("iris", version):
            assert store.read(version=version)
        else:
            with pytest.raises((errors.NoSuchVersion, errors.NoSuchModel)):
                store.read(version=version)
            cleanup.clean(store.volume)
            assert durable.entries(store.volume.version("iris", version)) == ["deleted"]
        again = store.publish(job_id=f"job-{step}")
        assert (again.version, again.first) == (version, False)
        if not died:
            break
    assert step > 5


def test_an_alias_move_killed_at_any_step_has_happened_or_not_and_the_next_goes_on(store: Store) -> None:
    for number in (1, 2):
        store.publish(job_id=f"job-{number}")
    step = 0
    while True:
        step += 1
        alias = f"alias-{step}"
        aliases.move_alias(store.volume, "iris", alias, 1)
        died = killed_before(step, lambda alias=alias: aliases.move_alias(store.volume, "iris", alias, 2))
        seen = aliases.read_alias(store.volume, "iris", alias).version
        assert seen in (1, 2)
        assert aliases.move_alias(store.volume, "iris", alias, 2).version == 2
        assert aliases.read_alias(store.volume, "iris", alias) == aliases.history(store.volume, "iris", alias)[0]
        if not died:
            break
    assert step > 5


def test_two_moves_of_one_alias_at_any_step_are_one_after_the_other(store: Store) -> None:
    for number in (1, 2, 3):
        store.publish(job_id=f"job-{number}")

    def move(alias: str, version: int) -> Any:
        return aliases.move_alias(store.volume, "iris", alias, version, expected=1)

    aliases.move_alias(store.volume, "iris", "count", 1)
    steps = count_steps(lambda: move("count", 2))
    for step in range(1, steps + 1):
        alias = f"alias-{step}"
        aliases.move_alias(store.volume, "iris", alias, 1)
        mine, theirs = interrupted_before(step, lambda alias=alias: move(alias, 2), lambda alias=alias: move(alias, 3))
        won = [outcome for outcome in (mine, theirs) if not isinstance(outcome, errors.StaleAlias)]
        assert len(won) == 1
        assert aliases.read_alias(store.volume, "iris", alias).version == won[0].version


def test_aliases_moved_by_many_processes_lose_no_change(store: Store) -> None:
    for number in range(1, 9):
        store.publish(job_id=f"job-{number}")

    outcomes = in_processes(8, lambda who: aliases.move_alias(store.volume, "iris", "champion", who + 1).revision)

    assert sorted(outcomes) == list(range(1, 9))
    newest = aliases.history(store.volume, "iris", "champion")[0]
    assert aliases.read_alias(store.volume, "iris", "champion") == newest
    assert newest.revision == 8


def test_drafts_of_a_killed_process_go_at_the_next_start_and_those_of_a_living_one_stay(store: Store) -> None:
    mine = store.draft(job_id="alive")
    run_and_die(lambda: store.draft(job_id="dead"))
    foreign = store.volume.tmp("iris") / "job-9.000000000000.1.1.aa"
    foreign.mkdir()
    assert len(durable.entries(store.volume.tmp("iris"))) == 3

    assert cleanup.clean(store.volume).removed == 1
    assert sorted(durable.entries(store.volume.tmp("iris"))) == sorted([mine.name, foreign.name])

    os.utime(foreign, (0, 0))
    os.utime(mine, (0, 0))
    assert cleanup.clean(store.volume).removed == 1
    assert durable.entries(store.volume.tmp("iris")) == [mine.name]
