"""Reading: every spoilt byte, file and folder is noticed, and nothing makes a reader wait or guess."""

from __future__ import annotations

import errno
import os
import random
import shutil
import socket
import threading
import time
from pathlib import Path

import pytest

from model_store import deletion, errors, publishing, reading, signing
from tests.unit.model_store.disturbing import FILES, Store, manifest_of


@pytest.fixture
def folder(store: Store) -> Path:
    store.publish()
    return store.volume.version("iris", 1)


def test_a_thousand_single_bit_flips_are_all_noticed(store: Store, folder: Path) -> None:
    rng = random.Random(20)
    names = sorted(path.name for path in folder.iterdir())
    for trial in range(1000):
        path = folder / names[trial % len(names)]
        whole = path.read_bytes()
        at, bit = rng.randrange(len(whole)), 1 << rng.randrange(8)
        path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
        with pytest.raises(errors.Corrupt):
            store.read(skip=())
        path.write_bytes(whole)
    assert store.read(skip=())


def test_truncations_at_many_offsets_are_noticed_for_every_file(store: Store, folder: Path) -> None:
    for path in folder.iterdir():
        whole = path.read_bytes()
        for cut in {0, 1, len(whole) // 2, len(whole) - 1, *range(0, len(whole), max(1, len(whole) // 10))}:
            path.write_bytes(whole[:cut])
            with pytest.raises(errors.Corrupt):
                store.read()
        path.write_bytes(whole + b"\n")
        with pytest.raises(errors.Corrupt):
            store.read()
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["extra.json", ".hidden", "model.onnx.bak", "more/"])
def test_anything_that_was_not_signed_makes_the_version_invalid(store: Store, folder: Path, name: str) -> None:
    (folder / name).mkdir() if name.endswith("/") else (folder / name).write_bytes(b"")

    with pytest.raises(errors.Corrupt, match="not signed"):
        store.read()


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", "model.onnx", "model.joblib"])
def test_a_missing_file_makes_the_version_invalid(store: Store, folder: Path, name: str) -> None:
    (folder / name).unlink()

    with pytest.raises(errors.Corrupt, match="missing"):
        store.read()


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", "model.onnx", "model.joblib"])
@pytest.mark.parametrize("kind", ["symlink", "hardlink", "fifo", "folder", "socket"])
def test_a_special_file_is_refused_and_blocks_nobody(
    store: Store, folder: Path, name: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copy(folder / name, elsewhere)
    (folder / name).unlink()
    match kind:
        case "symlink":
            (folder / name).symlink_to(elsewhere)
        case "hardlink":
            (folder / name).hardlink_to(elsewhere)
        case "fifo":
            os.mkfifo(folder / name)
        case "folder":
            (folder / name).mkdir()
        case "socket":
            monkeypatch.chdir(folder)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(name)

    with pytest.raises(errors.Corrupt):
        store.read()


def test_a_linked_version_folder_is_refused(store: Store, folder: Path) -> None:
    (folder.parent / "v00000002").symlink_to(folder)
    with pytest.raises(errors.Corrupt):
        store.read(version=2)

    (store.volume.root / "other").symlink_to(folder.parent)
    with pytest.raises(errors.Corrupt):
        store.read(model="other")


def test_a_file_in_the_place_of_a_version_is_refused(store: Store, folder: Path) -> None:
    (folder.parent / "v00000002").write_bytes(b"")

    with pytest.raises(errors.Corrupt):
        store.read(version=2)


@pytest.mark.parametrize("into", [("iris", 2), ("other", 1)])
def test_a_sound_folder_in_another_place_is_a_replay(store: Store, folder: Path, into: tuple[str, int]) -> None:
    store.volume.prepare("other")
    shutil.copytree(folder, store.volume.version(*into))

    with pytest.raises(errors.Corrupt, match="another version"):
        store.read(*into)


def test_swapped_files_between_two_versions_are_noticed(store: Store, folder: Path) -> None:
    draft = store.draft(job_id="job-2", files={**FILES, "model.onnx": b"other" * 50})
    publishing.publish(store.volume, draft, manifest_of(job_id="job-2"), store.signer, store.verifier)
    other = store.volume.version("iris", 2)
    for name in ("model.onnx", "manifest.json", "manifest.sig"):
        mine, theirs = (folder / name).read_bytes(), (other / name).read_bytes()
        (folder / name).write_bytes(theirs)
        (other / name).write_bytes(mine)
        for version in (1, 2):
            with pytest.raises(errors.Corrupt):
                store.read(version=version)
        (folder / name).write_bytes(mine)
        (other / name).write_bytes(theirs)


def test_another_key_is_refused(store: Store, folder: Path, tmp_path: Path) -> None:
    _, public = signing.generate_keys(tmp_path / "other")

    with pytest.raises(errors.Corrupt, match="not trusted"):
        reading.read(store.volume, "iris", 1, signing.Verifier(public), 10**6)


def test_a_signed_manifest_of_another_schema_or_shape_is_refused(store: Store, folder: Path) -> None:
    sound = (folder / "manifest.json").read_bytes()
    bad = (
        sound.replace(b'"schema":1', b'"schema":2'),
        b"[]",
        b"[" * 100_000,
        sound.replace(b"model.joblib", b"../other/xy"),
        sound[:-1] + b"\n" * (8 * 1024 * 1024) + b"}",
    )
    for data in bad:
        (folder / "manifest.json").write_bytes(data)
        (folder / "manifest.sig").write_bytes(store.signer.sign(data))
        with pytest.raises(errors.Corrupt):
            store.read()


def test_an_oversized_or_odd_signature_is_refused(store: Store, folder: Path) -> None:
    for data in (b" " * 5000, b"{}", b'{"key_id":"00","signature":"AA=="}', b"\xff"):
        (folder / "manifest.sig").write_bytes(data)
        with pytest.raises(errors.Corrupt):
            store.read()


def test_an_artefact_over_the_readers_limit_is_too_large_not_corrupt(store: Store, folder: Path) -> None:
    needed = sum(len(data) for name, data in FILES.items() if name != "model.joblib")

    assert reading.read(store.volume, "iris", 1, store.verifier, needed)
    with pytest.raises(errors.TooLarge):
        reading.read(store.volume, "iris", 1, store.verifier, needed - 1)


def test_a_file_that_shrinks_while_it_is_read_is_noticed(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_check_listing", lambda *_: (folder / "model.onnx").write_bytes(b""))

    with pytest.raises(errors.Corrupt):
        store.read()


@pytest.mark.parametrize(
    ("model", "version", "kind"),
    [("iris", 2, errors.NoSuchVersion), ("none", 1, errors.NoSuchModel), ("iris", 0, errors.BadName)],
)
def test_what_is_not_there_is_named(
    store: Store, folder: Path, model: str, version: int, kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        store.read(model, version)
    with pytest.raises(kind):
        reading.read_manifest(store.volume, model, version, store.verifier)


def test_a_version_that_appears_late_is_found_within_the_wait(store: Store) -> None:
    """A name made on another machine shows up late on NFS."""
    appearing = threading.Timer(0.15, store.publish)
    appearing.start()

    artefact = store.read(wait_s=20)

    appearing.join()
    assert artefact.manifest.version == 1


def test_the_wait_for_a_version_ends(store: Store) -> None:
    started = time.monotonic()

    with pytest.raises(errors.NoSuchModel):
        store.read(wait_s=0.1)

    assert time.monotonic() - started >= 0.1


def test_a_stale_handle_is_tried_again_and_never_called_corrupt(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fstat, stale = os.fstat, [3]

    def sometimes(descriptor: int) -> os.stat_result:
        if stale[0]:
            stale[0] -= 1
            raise OSError(errno.ESTALE, "stale file handle")
        return fstat(descriptor)

    monkeypatch.setattr(os, "fstat", sometimes)
    assert store.read(wait_s=20)

    stale[0] = 1
    with pytest.raises(OSError, match="stale"):
        store.read()


def test_a_disk_error_is_not_called_corrupt(store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "read", broken)

    with pytest.raises(OSError, match="input/output"):
        store.read()


def test_a_version_deleted_while_it_is_read_is_gone_not_corrupt(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = reading._check_listing

    def deleted_first(*args: object) -> None:
        deletion.delete_version(store.volume, "iris", 1)
        check(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "_check_listing", deleted_first)

    with pytest.raises((errors.NoSuchModel, errors.NoSuchVersion)):
        store.read(wait_s=20)


def test_a_file_is_handed_out_in_pieces(store: Store, folder: Path) -> None:
    data, offset = b"", 0
    while True:
        piece = reading.read_piece(
            store.volume, "iris", 1, "model.joblib", store.verifier, offset=offset, size_bytes=50
        )
        data, offset = data + piece.data, offset + len(piece.data)
        if offset >= piece.total_bytes:
            break

    assert data == FILES["model.joblib"]
    manifest = reading.read_manifest(store.volume, "iris", 1, store.verifier)
    assert piece.sha256 == manifest.files["model.joblib"].sha256
    past_end = reading.read_piece(store.volume, "iris", 1, "model.joblib", store.verifier, offset=10**6, size_bytes=-1)
    assert past_end.data == b""


def test_a_spoilt_file_is_not_handed_out(store: Store, folder: Path) -> None:
    (folder / "model.joblib").write_bytes(b"x" * len(FILES["model.joblib"]))

    with pytest.raises(errors.Corrupt):
        reading.read_piece(store.volume, "iris", 1, "model.joblib", store.verifier, offset=0, size_bytes=1)


@pytest.mark.parametrize(
    ("file", "kind"),
    [("model.skops", errors.NoSuchFile), ("manifest.json", errors.NoSuchFile), ("../aliases", errors.BadName)],
)
def test_only_the_artefacts_files_are_handed_out(store: Store, folder: Path, file: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        reading.read_piece(store.volume, "iris", 1, file, store.verifier, offset=0, size_bytes=1)
