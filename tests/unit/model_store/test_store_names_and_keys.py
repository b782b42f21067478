"""Names that become paths, keys, and the shape of the volume."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed448
from hypothesis import given
from hypothesis import strategies as st

from model_store import drafts, durable, errors, names, owners, publishing, settling, signing
from model_store.volume import Volume
from tests.unit.model_store.disturbing import Store, in_processes

BAD_NAMES = ["", ".", "..", "a/b", "../x", "A", "a b", "-a", "_a", ".a", "a\n", "a\0", "é", "a" * 65, None, 3]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("check", [names.check_model, names.check_alias, names.check_job, names.check_file])
def test_a_name_that_is_not_plain_is_refused(check: Any, name: Any) -> None:
    if check is names.check_job and name == "A":
        assert check(name) == "A"
        return
    with pytest.raises(errors.BadName):
        check(name)


@given(st.text(max_size=70))
def test_whatever_passes_as_a_model_name_is_one_plain_path_part(name: str) -> None:
    try:
        names.check_model(name)
    except errors.BadName:
        return
    assert Path("/volume") / name == Path(os.path.normpath(f"/volume/{name}"))
    assert Path(name).name == name


@pytest.mark.parametrize("version", [0, -1, 100_000_000, True, 1.0, "1", None])
def test_a_version_is_a_positive_integer(version: Any) -> None:
    with pytest.raises(errors.BadName):
        names.version_folder(version)


@pytest.mark.parametrize(
    ("folder", "number"),
    [("v00000012", 12), ("v00000000", None), ("v12", None), ("v000000120", None), ("x", None), ("v00000012\n", None)],
)
def test_only_a_version_folder_spells_a_number(folder: str, number: int | None) -> None:
    assert names.version_number(folder) == number


def test_ten_comes_after_nine(store: Store) -> None:
    for number in range(10):
        store.publish(job_id=f"job-{number}")

    assert store.volume.versions("iris")[-1] == 10


def test_only_named_folders_with_versions_are_models(store: Store) -> None:
    store.publish()
    (store.volume.root / "README.md").write_bytes(b"")
    (store.volume.root / "file").write_bytes(b"")
    publishing.draft(store.volume, "in-work", "job-2")

    assert store.volume.folders() == ["in-work", "iris"]
    assert store.volume.models() == ["iris"]
    assert Volume(store.volume.root / "none").models() == []


def test_a_volume_that_takes_files_is_writable(store: Store) -> None:
    store.volume.check_writable()
    with pytest.raises(OSError, match="No such file"):
        Volume(store.volume.root / "none").check_writable()


def test_a_job_of_an_unknown_model_can_be_settled(store: Store) -> None:
    assert settling.settle(store.volume, "new", "job-1", store.verifier) == 0
    assert settling.settle(store.volume, "new", "job-1", store.verifier) == 0
    assert store.volume.models() == []
    with pytest.raises(errors.JobTombstoned):
        store.publish(model="new")


def test_keys_are_made_once_and_the_private_one_is_private(tmp_path: Path) -> None:
    private, public = signing.generate_keys(tmp_path / "secrets")
    before = private.read_bytes(), public.read_bytes()
    signing.generate_keys(tmp_path / "secrets")
    public.unlink()
    signing.generate_keys(tmp_path / "secrets")
    signing._write_new(private, b"another", 0o600)

    assert (private.read_bytes(), public.read_bytes()) == before
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(public.stat().st_mode) == 0o644


def test_keys_made_by_many_processes_at_once_are_one_pair(tmp_path: Path) -> None:
    in_processes(6, lambda _: signing.generate_keys(tmp_path) and None)

    signer, verifier = signing.Signer(tmp_path / "signing.key"), signing.Verifier(tmp_path / "signing.pub")
    verifier.check(b"data", signer.sign(b"data"))
    assert sorted(durable.entries(tmp_path)) == ["signing.key", "signing.pub"]


def test_old_versions_stay_readable_while_keys_rotate(tmp_path: Path) -> None:
    pairs = [signing.generate_keys(tmp_path / name) for name in ("old", "new")]
    both = tmp_path / "both.pub"
    both.write_bytes(b"".join(public.read_bytes() for _, public in pairs))

    for private, _ in pairs:
        signing.Verifier(both).check(b"data", signing.Signer(private).sign(b"data"))


def test_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    key = ed448.Ed448PrivateKey.generate()
    private, public = tmp_path / "key", tmp_path / "pub"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    with pytest.raises(ValueError, match="Ed25519"):
        signing.Signer(private)
    with pytest.raises(ValueError, match="Ed25519"):
        signing.Verifier(public)
    public.write_bytes(b"")
    with pytest.raises(ValueError, match="no public key"):
        signing.Verifier(public)


def test_a_draft_of_a_process_whose_number_was_given_to_another_is_nobodys(store: Store) -> None:
    name = store.draft().name
    job, machine, pid, started, rest = name.split(".")

    assert owners.is_dead(name) is False
    assert owners.is_dead(".".join((job, machine, pid, str(int(started) - 1), rest))) is True
    assert owners.is_dead(".".join((job, machine, "4194305", started, rest))) is True
    assert owners.is_dead("clock.0123") is None


def test_a_zombie_owns_nothing(store: Store) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        assert owners._started(child) == ""
    finally:
        os.waitpid(child, 0)


def test_a_touched_draft_is_young(store: Store) -> None:
    draft = store.draft()
    os.utime(draft, (0, 0))

    drafts.touch(draft)

    assert draft.stat().st_mtime > 0


def test_a_file_that_could_not_be_written_leaves_no_name(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"")
    with pytest.raises(FileExistsError):
        durable.write_file(tmp_path / "there", b"x")

    assert not durable.remove_file(tmp_path / "gone")
    durable.discard_tree(tmp_path / "there")
    assert durable.entries(tmp_path) == []


def test_a_volume_tells_its_room_and_whether_it_can_be_read(tmp_path: Path) -> None:
    volume = Volume(tmp_path)
    free, size = volume.room()
    assert 0 < free <= size
    assert volume.is_readable()
    assert not Volume(tmp_path / "nowhere").is_readable()
