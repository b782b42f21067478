"""What callers can make on the volume has a bound, and what nobody uses goes."""

from __future__ import annotations

import os

import pytest

from model_store import aliases, cleanup, durable, errors
from tests.unit.model_store.disturbing import Store, move

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
