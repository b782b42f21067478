"""Deletion and cleaning up: what may go, what stays, and what is never used again."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from model_store import aliases, cleanup, deletion, durable, errors, settling
from tests.unit.model_store.disturbing import FILES, Store, before_each_step, move


def test_a_version_an_alias_names_stays(three: Store) -> None:
    move(three, 2)

    with pytest.raises(errors.VersionAliased) as caught:
        deletion.delete_version(three.volume, "iris", 2)

    assert caught.value.aliases == ("champion",)
    assert three.read(version=2)


def test_a_deleted_version_is_gone_at_once_and_its_number_is_never_used_again(three: Store) -> None:
    deletion.delete_version(three.volume, "iris", 3)

    with pytest.raises(errors.NoSuchVersion):
        three.read(version=3)
    with pytest.raises(errors.NoSuchVersion):
        deletion.delete_version(three.volume, "iris", 3)
    assert three.volume.versions("iris") == [1, 2]
    assert three.publish(job_id="job-4").version == 4


def test_a_deleted_versions_bytes_stay_for_whoever_has_them_open_until_the_grace_is_over(three: Store) -> None:
    deletion.delete_version(three.volume, "iris", 3)
    cleanup.clean(three.volume)
    assert len(durable.entries(three.volume.trash("iris"))) == 1

    for path in three.volume.trash("iris").iterdir():
        os.utime(path, (0, 0))
    cleanup.clean(three.volume)

    assert durable.entries(three.volume.trash("iris")) == []


def test_a_deleted_model_is_gone_and_goes_on_counting_when_it_is_made_anew(three: Store) -> None:
    move(three, 2)

    assert deletion.delete_model(three.volume, "iris") == [1, 2, 3]

    assert three.volume.models() == []
    with pytest.raises(errors.NoSuchModel):
        three.read(version=2)
    with pytest.raises(errors.NoSuchModel):
        aliases.read_alias(three.volume, "iris", "champion")
    with pytest.raises(errors.NoSuchModel):
        deletion.delete_model(three.volume, "iris")
    assert three.publish(job_id="job-4").version == 4
    assert three.publish(job_id="job-2").first is False


def test_deleting_a_model_goes_on_past_an_alias_that_went_by_itself(
    three: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    move(three, 2)
    named = aliases.list_aliases(three.volume, "iris")
    aliases.delete_alias(three.volume, "iris", "champion")
    monkeypatch.setattr(aliases, "list_aliases", lambda *_: named)

    assert deletion.delete_model(three.volume, "iris") == [1, 2, 3]


@pytest.mark.parametrize("spoil", ["manifest.json", "manifest.sig", "everything"])
def test_a_corrupt_version_can_be_deleted(three: Store, spoil: str) -> None:
    folder = three.volume.version("iris", 3)
    for path in folder.iterdir():
        if spoil in (path.name, "everything"):
            path.unlink()

    deletion.delete_version(three.volume, "iris", 3)

    assert durable.entries(folder) == ["deleted"]


def test_a_manifest_with_a_hostile_job_id_can_be_deleted(three: Store) -> None:
    (three.volume.version("iris", 3) / "manifest.json").write_bytes(b'{"job_id": "../../x"}')

    deletion.delete_version(three.volume, "iris", 3)

    assert three.volume.versions("iris") == [1, 2]


def test_a_full_volume_can_be_emptied(three: Store) -> None:
    (three.volume.by_job("iris") / "job-3").unlink()

    def full(number: int, name: str) -> None:
        if name in ("mkdir", "write", "link"):
            raise OSError(errno.ENOSPC, "full")

    with before_each_step(full):
        deletion.delete_version(three.volume, "iris", 3)

    assert durable.entries(three.volume.version("iris", 3)) == ["deleted"]
    assert durable.entries(three.volume.trash("iris")) == []


def test_deleting_on_a_nearly_full_volume_makes_room_at_once(three: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    deletion.delete_version(three.volume, "iris", 3)
    assert len(durable.entries(three.volume.trash("iris"))) == 1
    status = os.statvfs(three.volume.root)
    full = os.statvfs_result((*status[:3], status.f_blocks, status.f_blocks // 20, *status[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: full)

    deletion.delete_version(three.volume, "iris", 2)

    assert durable.entries(three.volume.trash("iris")) == []
    assert durable.entries(three.volume.version("iris", 2)) == ["deleted"]


def test_the_oldest_versions_without_an_alias_are_in_excess_and_the_one_to_roll_back_to_goes_last(
    three: Store,
) -> None:
    for number in (4, 5):
        three.publish(job_id=f"job-{number}")
    move(three, 1)
    move(three, 3)
    age(three, 1, 2, 3, 4, 5)

    assert deletion.excess_versions(three.volume, "iris", 5) == []
    assert deletion.excess_versions(three.volume, "iris", 3) == [2, 4]
    assert deletion.excess_versions(three.volume, "iris", 1) == [2, 4, 5, 1]


def test_a_version_that_its_trainer_may_be_about_to_promote_is_not_in_excess(three: Store) -> None:
    move(three, 1)
    age(three, 1, 2)

    assert deletion.excess_versions(three.volume, "iris", 1) == [2]
    age(three, 3)
    assert deletion.excess_versions(three.volume, "iris", 1) == [2, 3]


def age(store: Store, *versions: int) -> None:
    """Make versions old."""
    for version in versions:
        os.utime(store.volume.version("iris", version), (0, 0))


def test_a_version_with_an_alias_is_not_retired_as_an_orphan(three: Store) -> None:
    move(three, 2)
    (three.volume.by_job("iris") / "job-2").write_bytes(b'{"version": 1}')

    assert cleanup.clean(three.volume).retired == 0
    assert three.read(version=2)


def test_a_clean_up_indexes_what_is_not_and_steps_over_what_it_cannot_read(three: Store) -> None:
    (three.volume.by_job("iris") / "job-2").unlink()
    (three.volume.version("iris", 3) / "manifest.json").write_bytes(b"?")

    assert cleanup.clean(three.volume).mended == 1
    assert settling.settle(three.volume, "iris", "job-2", three.verifier) == 2


def test_old_marks_entries_and_numbers_are_forgotten(three: Store) -> None:
    for version in (1, 2):
        deletion.delete_version(three.volume, "iris", version)
    settling.settle(three.volume, "iris", "cancelled", three.verifier)
    by_job = three.volume.by_job("iris")
    (by_job / "job-7.publishing").write_bytes(b"")
    (by_job / "job-8").write_bytes(b"?")
    for path in (*by_job.iterdir(), three.volume.version("iris", 1)):
        os.utime(path, (0, 0))

    cleanup.clean(three.volume)

    assert sorted(durable.entries(by_job)) == ["job-3"]
    assert three.volume.numbers("iris") == [2, 3]


def test_what_vanishes_during_a_clean_up_is_not_old(tmp_path: Path) -> None:
    assert not cleanup._older(tmp_path / "gone", 1e12)


@pytest.mark.parametrize("moment", ["rename", "unlink"])
def test_a_draft_whose_owner_wakes_while_it_is_cleaned_away_is_a_whole_version_or_none(
    store: Store, moment: str
) -> None:
    draft = store.draft().rename(store.volume.tmp("iris") / "job-1.000000000000.1.1.aa")
    os.utime(draft, (0, 0))

    def wake(number: int, name: str) -> None:
        if name == moment:
            with suppress(FileNotFoundError):
                draft.rename(store.volume.version("iris", 1))

    with before_each_step(wake):
        cleanup.clean(store.volume)

    assert store.volume.numbers("iris") == ([1] if moment == "rename" else [])
    assert durable.entries(store.volume.version("iris", 1)) == (sorted(FILES) if moment == "rename" else [])
    assert durable.entries(store.volume.tmp("iris")) == []
