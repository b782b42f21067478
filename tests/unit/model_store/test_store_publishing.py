"""Publishing: whole or not at all, once per job, each number once."""

from __future__ import annotations

import errno
import os
import stat
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from model_store import deletion, durable, errors, job_index, publishing
from tests.unit.model_store.disturbing import FILES, Store, before_each_step, in_processes, manifest_of


def test_a_published_version_reads_back_whole(store: Store) -> None:
    published = store.publish()

    artefact = store.read(version=published.version)

    assert (published.version, published.first) == (1, True)
    assert artefact.manifest == published.manifest
    assert artefact.files == {name: data for name, data in FILES.items() if name != "model.joblib"}
    assert artefact.manifest.size_bytes == sum(map(len, FILES.values()))
    assert store.volume.models() == ["iris"]


def test_folders_are_open_to_readers_and_files_are_not_writable_by_them(store: Store) -> None:
    before = os.umask(0o077)
    try:
        folder = store.volume.version("iris", store.publish().version)
    finally:
        os.umask(before)

    for path in (folder, *folder.parents[:1], folder.parent / "aliases", folder.parent / "by-job"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o755, path
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o644, path


def test_versions_of_one_name_increase_as_integers(store: Store) -> None:
    assert [store.publish(job_id=f"job-{n}").version for n in range(12)] == list(range(1, 13))
    assert store.volume.versions("iris") == list(range(1, 13))


def test_fifty_processes_publish_on_one_name_at_once(store: Store) -> None:
    def publish(number: int) -> int:
        return store.publish(job_id=f"job-{number}").version

    versions = in_processes(50, publish)

    assert sorted(versions) == list(range(1, 51))
    for number, version in enumerate(versions):
        assert store.read(version=version).manifest.job_id == f"job-{number}"
    assert durable.entries(store.volume.tmp("iris")) == []


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


def test_a_file_in_the_place_of_the_next_version_is_stepped_over(store: Store) -> None:
    store.publish(job_id="other")
    target = store.volume.model("iris") / "v00000002"

    def disturb(number: int, name: str) -> None:
        if name == "rename" and not target.exists():
            target.write_bytes(b"")

    with before_each_step(disturb):
        published = store.publish()

    assert published.version == 3


def test_a_publisher_that_always_loses_gives_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_TRIES", 3)

    def be_faster(number: int, name: str) -> None:
        if name == "rename":
            (store.volume.model("iris") / f"v{len(store.volume.numbers('iris')) + 1:08d}" / "x").mkdir(parents=True)

    with before_each_step(be_faster), pytest.raises(errors.Contended):
        store.publish()
    assert durable.entries(store.volume.tmp("iris")) == []


def test_a_rename_whose_repeated_request_failed_counts_as_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def twice(path: Path, target: Path) -> Path:
        rename(path, target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", twice)

    assert store.publish().version == 1


def test_a_draft_that_vanished_is_an_error(store: Store) -> None:
    def vanish(number: int, name: str) -> None:
        if name == "rename":
            for path in store.volume.tmp("iris").iterdir():
                durable.discard_tree(path)

    with before_each_step(vanish), pytest.raises(FileNotFoundError):
        store.publish()


def test_a_link_whose_repeated_request_failed_counts_as_made(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", twice)

    assert store.publish().first


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


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_volume_is_said_at_every_step_and_nothing_partial_stays(store: Store, code: int) -> None:
    store.publish(job_id="other")
    step, names_seen = 0, ("open", "write", "fsync", "link", "mkdir", "rename")
    while True:
        step += 1
        job_id = f"job-{step}"
        made_full = False

        def fill(number: int, name: str, at: int = step) -> None:
            nonlocal made_full
            if number == at and name in names_seen:
                made_full = True
                raise OSError(code, "full")
            if number == at:
                made_full = name != ""

        try:
            with before_each_step(fill):
                store.publish(job_id=job_id)
        except errors.NoSpace:
            pass
        if not made_full:
            break
        assert len(store.versions_of(job_id)) <= 1
        assert store.publish(job_id=job_id).version in store.versions_of(job_id)
    assert step > 20
    assert [name for name in durable.entries(store.volume.tmp("iris")) if "job" not in name] == []


def test_another_disk_error_passes_through(store: Store) -> None:
    def fail(number: int, name: str) -> None:
        if name == "fsync":
            raise OSError(errno.EIO, "input/output error")

    with before_each_step(fail), pytest.raises(OSError, match="input/output"):
        store.publish()


@pytest.mark.parametrize("spoil", ["symlink", "hardlink", "folder", "fifo", "name"])
def test_a_draft_with_anything_but_plain_files_is_refused(store: Store, spoil: str, tmp_path: Path) -> None:
    draft = store.draft()
    outside = tmp_path / "outside"
    outside.write_bytes(b"x")
    match spoil:
        case "symlink":
            (draft / "extra.json").symlink_to(outside)
        case "hardlink":
            (draft / "extra.json").hardlink_to(outside)
        case "folder":
            (draft / "extra.json").mkdir()
        case "fifo":
            os.mkfifo(draft / "extra.json")
        case "name":
            (draft / "Extra File").write_bytes(b"")

    with pytest.raises((errors.StoreError, OSError)):
        publishing.publish(store.volume, draft, manifest_of(), store.signer, store.verifier)

    assert store.volume.versions("iris") == []
    assert durable.entries(store.volume.tmp("iris")) == []


def test_a_draft_without_the_served_file_is_refused(store: Store) -> None:
    with pytest.raises(errors.Corrupt, match=r"model\.skops"):
        store.publish(runtime="skops")


def test_everything_is_on_disk_before_it_has_a_name(store: Store) -> None:
    """The order that survives a power cut: file data, its folder, the name, the name's folder, the index."""
    trace: list[tuple[str, str]] = []
    fsync, rename, link = os.fsync, os.rename, os.link

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            os, "fsync", lambda fd: trace.append(("fsync", str(Path(f"/proc/self/fd/{fd}").readlink()))) or fsync(fd)
        )
        patch.setattr(os, "rename", lambda a, b: trace.append(("rename", str(b))) or rename(a, b))
        patch.setattr(os, "link", lambda a, b: trace.append(("link", str(b))) or link(a, b))
        store.publish()

    at = trace.index(("rename", str(store.volume.version("iris", 1))))
    entry = trace.index(("link", str(store.volume.by_job("iris") / "job-1")))
    synced = [Path(path).name for action, path in trace[:at] if action == "fsync"]
    assert {*FILES, "manifest.json", "manifest.sig"} <= set(synced)
    assert synced[-1].startswith("job-1.")
    assert ("fsync", str(store.volume.model("iris"))) in trace[at:entry]
    assert ("fsync", str(store.volume.by_job("iris"))) in trace[entry:]


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


def test_the_volumes_clock_is_its_own(store: Store) -> None:
    store.volume.prepare("iris")

    assert abs(durable.clock_s(store.volume.tmp("iris")) - time.time()) < 60


def test_a_manifest_keeps_what_was_put_in(store: Store) -> None:
    published = store.publish(report={"confusion": [[1, 0], [0, 1]]}, score=0.5, scoring="accuracy", classes=["a", "b"])

    stored = msgspec.json.decode((store.volume.version("iris", 1) / "manifest.json").read_bytes())

    assert published.manifest is not None
    assert published.manifest.served_file == "model.onnx"
    assert stored["report"] == {"confusion": [[1, 0], [0, 1]]}
    assert stored["version"] == 1
