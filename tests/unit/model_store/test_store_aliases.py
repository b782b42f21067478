"""Aliases: where they point, how they move, and where they did before."""

from __future__ import annotations

import errno
import os

import pytest

from model_store import aliases, deletion, durable, errors
from model_store.aliases import HISTORY
from tests.unit.model_store.disturbing import Store, before_each_step, move


def test_an_alias_says_where_it_points_and_where_it_did_before(three: Store) -> None:
    move(three, 1, expected=0)
    moved = move(three, 2, expected=1)

    assert (moved.version, moved.previous, moved.revision, moved.by) == (2, 1, 2, "tester")
    assert aliases.read_alias(three.volume, "iris", "champion") == moved
    assert [state.version for state in aliases.history(three.volume, "iris", "champion")] == [2, 1]


@pytest.mark.parametrize("expected", [0, 2, 99])
def test_an_alias_that_is_elsewhere_than_expected_does_not_move(three: Store, expected: int) -> None:
    move(three, 1)

    with pytest.raises(errors.StaleAlias) as caught:
        move(three, 3, expected=expected)

    assert caught.value.current == 1
    assert aliases.read_alias(three.volume, "iris", "champion").version == 1


def test_expecting_a_version_of_an_alias_that_is_not_there_is_stale(three: Store) -> None:
    with pytest.raises(errors.StaleAlias, match="does not exist"):
        move(three, 3, expected=1)


def test_moving_an_alias_to_where_it_is_changes_nothing(three: Store) -> None:
    first = move(three, 2, expected=0)

    assert move(three, 2, expected=0) == first


def test_an_alias_names_only_versions_that_are_there(three: Store) -> None:
    with pytest.raises(errors.NoSuchVersion):
        move(three, 4)
    with pytest.raises(errors.NoSuchModel):
        aliases.move_alias(three.volume, "none", "champion", 1)
    with pytest.raises(errors.BadName):
        move(three, 1, alias="../x")


def test_rolling_back_returns_to_the_version_before(three: Store) -> None:
    for version in (1, 3):
        move(three, version)

    assert aliases.rollback(three.volume, "iris").version == 1
    assert aliases.rollback(three.volume, "iris").version == 3


def test_nothing_to_roll_back_to_is_said(three: Store) -> None:
    with pytest.raises(errors.NoSuchAlias):
        aliases.rollback(three.volume, "iris")
    move(three, 1)
    with pytest.raises(errors.NoSuchVersion):
        aliases.rollback(three.volume, "iris")
    move(three, 2)
    deletion.delete_version(three.volume, "iris", 1)
    with pytest.raises(errors.NoSuchVersion):
        aliases.rollback(three.volume, "iris")


def test_a_deleted_alias_is_gone_and_counts_on_when_it_returns(three: Store) -> None:
    move(three, 1)
    gone = aliases.delete_alias(three.volume, "iris", "champion")
    assert (gone.version, gone.previous, gone.revision) == (0, 1, 2)
    with pytest.raises(errors.NoSuchAlias):
        aliases.read_alias(three.volume, "iris", "champion")
    with pytest.raises(errors.NoSuchAlias):
        aliases.delete_alias(three.volume, "iris", "champion")

    assert move(three, 2, expected=0).revision == 3


def test_a_model_that_is_not_there_has_no_aliases(store: Store) -> None:
    with pytest.raises(errors.NoSuchModel):
        aliases.read_alias(store.volume, "none", "champion")
    assert aliases.list_aliases(store.volume, "none") == []
    assert aliases.history(store.volume, "none", "champion") == []


def test_aliases_are_listed_by_name(three: Store) -> None:
    move(three, 2, alias="b")
    move(three, 1, alias="a")
    (three.volume.aliases("iris") / "Not An Alias.json").write_bytes(b"")
    (three.volume.aliases("iris") / "note.txt").write_bytes(b"")

    assert [(state.alias, state.version) for state in aliases.list_aliases(three.volume, "iris")] == [
        ("a", 1),
        ("b", 2),
    ]


def test_a_long_history_is_bounded(three: Store) -> None:
    for number in range(HISTORY + 5):
        move(three, 1 + number % 2)

    assert len(aliases.history(three.volume, "iris", "champion")) == HISTORY
    assert len(durable.entries(three.volume.aliases("iris") / ".log")) == HISTORY


def test_an_unreadable_entry_of_the_history_is_left_out(three: Store) -> None:
    move(three, 1)
    move(three, 2)
    (three.volume.aliases("iris") / ".log" / "champion.00000001.json").write_bytes(b"?")

    assert [state.version for state in aliases.history(three.volume, "iris", "champion")] == [2]


@pytest.mark.parametrize("spoil", ["garbage", "link"])
def test_a_spoilt_alias_is_corrupt_and_the_next_move_mends_it(three: Store, spoil: str) -> None:
    move(three, 1)
    path = three.volume.aliases("iris") / "champion.json"
    path.unlink()
    if spoil == "garbage":
        path.write_bytes(b"?")
    else:
        path.symlink_to("/etc/hostname")
    with pytest.raises(errors.Corrupt):
        aliases.read_alias(three.volume, "iris", "champion")
    assert aliases.naming(three.volume, "iris", 1) == ["champion"]

    move(three, 2, expected=1)

    assert aliases.read_alias(three.volume, "iris", "champion").version == 2


@pytest.mark.parametrize("logged", [True, False])
def test_a_spoilt_alias_can_be_deleted(three: Store, logged: bool) -> None:
    move(three, 1)
    (three.volume.aliases("iris") / "champion.json").write_bytes(b"{")
    if not logged:
        (three.volume.aliases("iris") / ".log" / "champion.00000001.json").unlink()
        with pytest.raises(errors.Corrupt):
            aliases.naming(three.volume, "iris", 2)

    assert aliases.delete_alias(three.volume, "iris", "champion").version == 0

    assert aliases.naming(three.volume, "iris", 1) == []
    assert deletion.delete_model(three.volume, "iris") == [1, 2, 3]


def test_an_alias_without_its_log_is_believed(three: Store) -> None:
    move(three, 1)
    for path in (three.volume.aliases("iris") / ".log").iterdir():
        path.unlink()

    assert move(three, 2, expected=1).revision == 2


def test_an_alias_replaced_under_a_readers_hands_is_read_again(three: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    move(three, 1)
    read, failures = os.read, [2]

    def sometimes(descriptor: int, count: int) -> bytes:
        if failures[0]:
            failures[0] -= 1
            raise OSError(errno.ESTALE, "stale file handle")
        return read(descriptor, count)

    monkeypatch.setattr(os, "read", sometimes)
    assert aliases.read_alias(three.volume, "iris", "champion").version == 1

    failures[0] = 9
    with pytest.raises(errors.NoSuchAlias):
        aliases.read_alias(three.volume, "iris", "champion")


def test_a_pointer_reads_the_alias_anew_every_time(three: Store) -> None:
    pointer = aliases.Pointer(three.volume, "iris", "champion")
    assert pointer.version() == 0
    for version in (1, 2, 2):
        move(three, version)
        assert pointer.version() == version
    path = three.volume.aliases("iris") / "champion.json"
    path.write_bytes(b"{}")
    assert pointer.version() == 0
    path.unlink()
    assert pointer.version() == 0


def test_a_disk_error_is_not_a_missing_alias(three: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    move(three, 1)

    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "read", broken)
    with pytest.raises(OSError, match="input/output"):
        aliases.read_alias(three.volume, "iris", "champion")


def test_an_alias_that_never_stands_still_is_given_up_on(three: Store) -> None:
    log = three.volume.aliases("iris") / ".log"

    def overtake(number: int, name: str) -> None:
        if name == "link":
            revision = len(durable.entries(log)) + 1
            state = b'{"version":%d,"revision":%d,"previous":0,"changed_at":""}' % (1 + revision % 2, revision)
            (log / f"champion.{revision:08d}.json").write_bytes(state)

    with before_each_step(overtake), pytest.raises(errors.Contended):
        move(three, 3)
