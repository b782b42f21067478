"""A job is published once: its index entry, and the manifests that mend it."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from model_store import deletion, durable, errors, job_index, publishing
from tests.unit.model_store.disturbing import Store, in_processes, manifest_of


def test_one_job_delivered_to_many_processes_at_once_gets_one_version(store: Store) -> None:
    def publish(number: int) -> tuple[int, bool]:
        published = store.publish()
        return published.version, published.first

    answers = in_processes(8, publish)

    assert len({version for version, _ in answers}) == 1
    assert [first for _, first in answers].count(True) == 1
    assert store.versions_of("job-1") == [answers[0][0]]


def test_a_second_delivery_answers_with_the_same_version_and_leaves_no_draft(store: Store) -> None:
    first, second = store.publish(), store.publish()

    assert (second.version, second.first, second.manifest) == (first.version, False, first.manifest)
    assert durable.entries(store.volume.tmp("iris")) == []


def test_a_job_whose_version_was_deleted_is_not_published_again(store: Store) -> None:
    store.publish()
    deletion.delete_version(store.volume, "iris", 1)

    again = store.publish()

    assert (again.version, again.manifest, again.first) == (1, None, False)
    assert store.volume.versions("iris") == []


def test_a_lost_index_entry_is_mended_from_the_manifests(store: Store) -> None:
    store.publish(job_id="other")
    store.publish()
    (store.volume.by_job("iris") / "job-1").unlink()

    version = publishing.existing_version(store.volume, "iris", "job-1", store.verifier, "2026-05-01T09:59:00Z")

    assert version == 2
    assert job_index.look_up(store.volume, "iris", "job-1") == 2


def test_versions_older_than_the_job_are_not_searched(store: Store) -> None:
    store.publish()
    (store.volume.by_job("iris") / "job-1").unlink()

    assert publishing.existing_version(store.volume, "iris", "job-1", store.verifier, "2026-05-01T12:00:00") is None


def test_a_publisher_that_died_before_its_index_entry_is_found_by_its_mark(store: Store) -> None:
    store.publish()
    (store.volume.by_job("iris") / "job-1").unlink()
    job_index.mark_publishing(store.volume, "iris", "job-1")
    job_index.mark_publishing(store.volume, "iris", "job-1")

    assert publishing.existing_version(store.volume, "iris", "job-1", store.verifier, "2026-05-02T00:00:00Z") == 1


def test_an_index_entry_that_points_at_another_jobs_version_is_mended(store: Store) -> None:
    store.publish(job_id="other")
    entry = store.volume.by_job("iris") / "job-1"
    entry.write_bytes(b'{"version": 1}')

    assert publishing.existing_version(store.volume, "iris", "job-1", store.verifier) is None
    assert store.publish().version == 2


@pytest.mark.parametrize("content", [b"", b"[]", b'{"version"'])
def test_an_unreadable_index_entry_is_replaced(store: Store, content: bytes) -> None:
    store.publish(job_id="other")
    (store.volume.by_job("iris") / "job-1").write_bytes(content)

    assert store.publish().version == 2
    assert job_index.look_up(store.volume, "iris", "job-1") == 2


def test_an_unsigned_folder_that_claims_a_job_counts_for_nothing(store: Store) -> None:
    store.publish(job_id="other")
    hostile = store.volume.model("iris") / "v00000002"
    hostile.mkdir()
    (hostile / "manifest.json").write_bytes(manifest_of(version=2).encode())
    unreadable = store.volume.model("iris") / "v00000003"
    unreadable.mkdir()
    (unreadable / "manifest.json").write_bytes(b"{")

    assert publishing.existing_version(store.volume, "iris", "job-1", store.verifier) is None
    assert store.publish().version == 4


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_a_special_file_where_a_job_is_looked_up_blocks_nobody(store: Store, kind: str) -> None:
    store.publish(job_id="other")
    hostile = store.volume.model("iris") / "v00000002"
    hostile.mkdir()
    for place in (hostile / "manifest.json", store.volume.by_job("iris") / "job-1"):
        match kind:
            case "pipe":
                os.mkfifo(place)
            case "link":
                place.symlink_to("/etc/hostname")
            case "folder":
                if place.parent == hostile:
                    place.mkdir()

    assert publishing.existing_version(store.volume, "iris", "job-1", store.verifier) is None
    assert store.publish().version == 3


def test_a_disk_error_is_not_a_missing_index_entry(store: Store) -> None:
    store.publish()
    (store.volume.by_job("iris") / "job-1").unlink()
    (store.volume.by_job("iris") / "job-1").mkdir()

    with pytest.raises(IsADirectoryError):
        publishing.existing_version(store.volume, "iris", "job-1", store.verifier)


def test_an_index_entry_nobody_can_keep_is_given_up_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.publish()

    def spoilt(tmp: Path, target: Path, data: bytes) -> bool:
        target.write_bytes(b"?")
        return False

    monkeypatch.setattr(durable, "create_once", spoilt)

    with pytest.raises(errors.Contended):
        job_index.claim(store.volume, "iris", "job-2", 1)


def test_an_entry_made_in_between_wins(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.publish()

    def overtaken(tmp: Path, target: Path, data: bytes) -> bool:
        target.write_bytes(b'{"version": 1}')
        return False

    monkeypatch.setattr(durable, "create_once", overtaken)

    assert job_index.claim(store.volume, "iris", "job-2", 7) == 1


def test_finding_a_job_among_many_versions_reads_only_newer_ones(store: Store) -> None:
    now = datetime.now(UTC).isoformat()
    for number in range(3):
        store.publish(job_id=f"old-{number}", created_at="2020-01-01T00:00:00Z")
    (store.volume.by_job("iris") / "old-0").unlink()
    seen = []
    original = job_index.origin_of
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job_index, "origin_of", lambda *args: seen.append(args[2]) or original(*args))
        assert publishing.existing_version(store.volume, "iris", "new", store.verifier, now) is None

    assert seen == [3]


def test_a_manifest_of_unknown_age_is_searched(store: Store) -> None:
    store.publish(created_at="yesterday")
    (store.volume.by_job("iris") / "job-1").unlink()

    assert publishing.existing_version(store.volume, "iris", "job-1", store.verifier, "2027-01-01T00:00:00Z") == 1
