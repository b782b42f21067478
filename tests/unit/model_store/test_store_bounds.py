"""What callers can make on the volume has a bound, and what nobody uses goes."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

import pytest

from model_store import aliases, cleanup, deletion, durable, errors, publishing, settling
from tests.unit.model_store.disturbing import Store, count_steps, interrupted_before, manifest_of, move

FEW = 3


@pytest.fixture
def full(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A model with as many aliases as it may have."""
    monkeypatch.setattr(aliases, "MAX_ALIASES", FEW)
    store.publish()
    store.publish(job_id="job-2")
    for number in range(FEW):
        move(store, 1, alias=f"a{number}")
    return store


def age_the_log(store: Store) -> None:
    for path in (store.volume.aliases("iris") / ".log").iterdir():
        os.utime(path, (0, 0))


def logged(store: Store) -> set[str]:
    return {entry.split(".")[0] for entry in durable.entries(store.volume.aliases("iris") / ".log")}


def test_a_model_has_a_bounded_number_of_aliases_and_always_room_for_its_champion(full: Store) -> None:
    with pytest.raises(errors.TooManyAliases, match="at most 3"):
        move(full, 1, alias="more")
    assert move(full, 2, alias="a0").version == 2
    assert move(full, 1).version == 1


def test_a_deleted_alias_counts_until_no_change_can_be_under_way(full: Store) -> None:
    aliases.delete_alias(full.volume, "iris", "a0")
    with pytest.raises(errors.TooManyAliases):
        move(full, 1, alias="more")
    assert move(full, 1, alias="a0").revision == 3

    aliases.delete_alias(full.volume, "iris", "a0")
    age_the_log(full)

    assert move(full, 1, alias="more").revision == 1
    assert logged(full) == {"a1", "a2", "more"}


def test_changes_of_an_alias_that_was_deleted_long_ago_are_forgotten(full: Store) -> None:
    gone = aliases.delete_alias(full.volume, "iris", "a0")
    aliases.delete_alias(full.volume, "iris", "a1")
    age_the_log(full)
    # Deleted by a process that was killed before it removed the file.
    (full.volume.aliases("iris") / "a0.json").write_bytes(b'{"version":1,"revision":1,"previous":0,"changed_at":""}')
    recent = full.volume.aliases("iris") / ".log" / f"a1.{gone.revision:08d}.json"
    os.utime(recent)

    cleanup.clean(full.volume)

    assert logged(full) == {"a1", "a2"}
    assert [state.alias for state in aliases.list_aliases(full.volume, "iris")] == ["a2"]
    os.utime(recent, (0, 0))
    (full.volume.aliases("iris") / ".log" / "Not An Alias.1.json").write_bytes(b"?")
    recent.write_bytes(b"?")
    os.utime(recent, (0, 0))
    cleanup.clean(full.volume)
    assert "a1" in logged(full)


def clean(store: Store) -> cleanup.Cleaned:
    return cleanup.clean(store.volume, index_keep_s=0)


def test_a_model_that_never_had_a_version_goes_when_nothing_remembers_its_jobs(store: Store) -> None:
    assert settling.settle(store.volume, "iris", "job-1", store.verifier) == 0
    cleanup.clean(store.volume)
    assert store.volume.folders() == ["iris"]
    os.utime(store.volume.by_job("iris") / "job-1", (0, 0))

    clean(store)

    assert store.volume.folders() == []
    assert store.publish().version == 1


def test_a_model_stays_while_a_training_or_a_number_is_there(three: Store) -> None:
    draft = three.draft("wine")
    deletion.delete_model(three.volume, "iris")

    clean(three)

    assert draft.is_dir()
    assert three.volume.folders() == ["iris", "wine"]
    assert three.volume.numbers("iris") == [3]


def test_a_training_that_begins_at_any_step_of_a_clean_up_publishes(store: Store) -> None:
    store.volume.prepare("count")
    steps = count_steps(lambda: clean(store))
    assert steps > 5
    for step in range(1, steps + 1):
        model = f"model-{step}"
        store.volume.prepare(model)
        _, draft = interrupted_before(step, lambda: clean(store), lambda model=model: store.draft(model))
        manifest = manifest_of(model)
        assert publishing.publish(store.volume, draft, manifest, store.signer, store.verifier).version == 1
        shutil.rmtree(store.volume.model(model))


def test_a_clean_up_at_any_step_of_a_training_loses_nothing(store: Store) -> None:
    steps = count_steps(lambda: store.publish("count"))
    for step in range(1, steps + 1):
        model = f"model-{step}"
        published, _ = interrupted_before(step, lambda model=model: store.publish(model), lambda: clean(store))
        assert published.version == 1
        assert store.read(model)


def test_a_job_is_settled_beside_a_clean_up_or_when_it_is_asked_again(store: Store) -> None:
    steps = count_steps(lambda: settle(store, "count"))
    for step in range(1, steps + 1):
        model = f"model-{step}"
        interrupted_before(step, lambda model=model: settle(store, model), lambda: clean(store))
        assert settle(store, model) == 0
        assert durable.entries(store.volume.by_job(model)) == ["job-1"]


def settle(store: Store, model: str) -> int | None:
    """None where it has to be asked again."""
    with suppress(FileNotFoundError):
        return settling.settle(store.volume, model, "job-1", store.verifier)
    return None


def test_two_clean_ups_that_remove_one_model_are_no_failure(store: Store) -> None:
    store.volume.model("iris").mkdir()
    steps = count_steps(lambda: clean(store))
    for step in range(1, steps + 1):
        store.volume.model("iris").mkdir()
        mine, theirs = interrupted_before(step, lambda: clean(store), lambda: clean(store))
        assert mine.failed == theirs.failed == {}
