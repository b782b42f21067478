"""Publishing: whole or not at all, each number once."""

from __future__ import annotations

import errno
import os
import signal
import stat
import time
from pathlib import Path

import msgspec
import pytest

from model_store import cleanup, durable, errors, numbering, publishing
from tests.unit.model_store.disturbing import FILES, Store, before_each_step, in_processes, manifest_of, run_and_die


def test_a_published_version_reads_back_whole(store: Store) -> None:
    published = store.publish()

    artefact = store.read(version=published.version)

    assert (published.version, published.first) == (1, True)
    assert artefact.manifest == published.manifest
    assert artefact.files == {name: data for name, data in FILES.items() if name != "model.joblib"}
    assert artefact.manifest.size_bytes == sum(map(len, FILES.values()))
    assert store.volume.models() == ["iris"]


def test_a_manifest_that_nobody_could_read_is_not_published(store: Store) -> None:
    with pytest.raises(errors.TooLarge):
        store.publish(classes=["x" * 9_000_000, "y"])
    assert store.volume.numbers("iris") == durable.entries(store.volume.tmp("iris")) == []
    assert durable.entries(store.volume.model("iris") / "by-job") == []


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


def test_publishers_at_once_do_not_sign_for_the_same_number(store: Store) -> None:
    def publish(number: int) -> int:
        tries = 0

        def count(_step: int, name: str) -> None:
            nonlocal tries
            tries += name == "rename"

        with before_each_step(count):
            store.publish(job_id=f"job-{number}")
        return tries

    assert in_processes(20, publish) == [1] * 20


def test_a_reservation_is_passed_over_while_its_owner_lives_and_is_cleared_up_afterwards(store: Store) -> None:
    store.volume.prepare("iris")
    with numbering.reserved(store.volume, "iris") as first:
        assert store.publish(job_id="job-1").version == first + 1
        assert cleanup.clean(store.volume).removed == 0

    def die() -> None:
        with numbering.reserved(store.volume, "iris"):
            os.kill(os.getpid(), signal.SIGKILL)

    run_and_die(die)
    assert store.publish(job_id="job-2").version == first + 2
    run_and_die(die)
    assert durable.entries(store.volume.tmp("iris")) == ["number-00000004"]
    assert cleanup.clean(store.volume).removed == 1
    assert durable.entries(store.volume.tmp("iris")) == []


def test_a_number_that_was_taken_while_it_was_being_reserved_is_passed_over(store: Store) -> None:
    store.volume.prepare("iris")

    def be_faster(_number: int, name: str) -> None:
        if name == "symlink" and not store.volume.numbers("iris"):
            (store.volume.version("iris", 1)).mkdir()

    with before_each_step(be_faster), numbering.reserved(store.volume, "iris") as number:
        assert number == 2


def test_a_reservation_whose_repeated_request_failed_counts_as_made(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    symlink = os.symlink

    def twice(source: str, target: Path) -> None:
        symlink(source, target)
        symlink(source, target)

    monkeypatch.setattr(os, "symlink", twice)

    assert store.publish().version == 1


def test_a_volume_without_symbolic_links_needs_no_reservation(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_source: str, _target: Path) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "symlink", refuse)

    assert [store.publish(job_id=f"job-{number}").version for number in range(2)] == [1, 2]


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


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_volume_is_said_at_every_step_and_nothing_partial_stays(store: Store, code: int) -> None:
    store.publish(job_id="other")
    step, names_seen = 0, ("open", "write", "fsync", "link", "symlink", "mkdir", "rename")
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
