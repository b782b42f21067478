"""Verified reading: from a version's folder to bytes in memory that are what was signed.

A predictor reads here, and loads only from the bytes it got: each file is opened once, without
following links and without waiting on a pipe, read up to its signed size, and hashed as read.
Anything in the folder that the manifest does not list makes the version invalid.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from model_store import durable, errors, names
from model_store.manifest import MAX_BYTES, PEOPLE_ONLY, FileEntry, Manifest, decode
from model_store.signing import SIGNATURE_MAX_BYTES, Verifier
from model_store.volume import Volume

_BLOCK_BYTES = 1024 * 1024
_POLL_S = 0.02
_NOT_A_FILE = (errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.ENODEV)

T = TypeVar("T")


@dataclass(frozen=True)
class Artefact:
    """A verified version in memory: its manifest, and the bytes of each file by name."""

    manifest: Manifest
    files: dict[str, bytes]


@dataclass(frozen=True)
class Piece:
    """A part of a file: its bytes, the whole file's size in bytes and SHA-256 (lower hex)."""

    data: bytes
    total_bytes: int
    sha256: str


def read(
    volume: Volume,
    model: str,
    version: int,
    verifier: Verifier,
    max_bytes: int,
    *,
    skip: tuple[str, ...] = PEOPLE_ONLY,
    wait_s: float = 0.0,
) -> Artefact:
    """Read and verify a version; files named in ``skip`` are checked for presence and size only.

    ``wait_s`` bounds how long a version that is not there is looked for again: on NFS a name
    made elsewhere appears late. Raises errors.NoSuchModel, NoSuchVersion, Corrupt, TooLarge.
    """

    def once() -> Artefact:
        with _folder(volume, model, version) as folder:
            manifest = _manifest(folder, model, version, verifier)
            _check_listing(folder, manifest)
            wanted = {name: entry for name, entry in manifest.files.items() if name not in skip}
            if sum(entry.size_bytes for entry in wanted.values()) > max_bytes:
                raise errors.TooLarge(f"version {version} of {model} is over {max_bytes} bytes")
            return Artefact(manifest, {name: _verified(folder, name, entry) for name, entry in wanted.items()})

    return _patiently(volume, model, version, wait_s, once)


def read_manifest(volume: Volume, model: str, version: int, verifier: Verifier, *, wait_s: float = 0.0) -> Manifest:
    """The verified manifest alone. Raises errors.NoSuchModel, NoSuchVersion, Corrupt."""

    def once() -> Manifest:
        with _folder(volume, model, version) as folder:
            return _manifest(folder, model, version, verifier)

    return _patiently(volume, model, version, wait_s, once)


def peek(volume: Volume, model: str, version: int) -> bytes:
    """The bytes of a manifest, not verified: to look for something, never to believe it.

    Raises OSError when there is none, errors.Corrupt when it is no plain file.
    """
    with _folder(volume, model, version) as folder, _opened(folder, names.MANIFEST, None) as descriptor:
        return _read_up_to(descriptor, MAX_BYTES)


def read_piece(
    volume: Volume, model: str, version: int, file: str, verifier: Verifier, *, offset: int, size_bytes: int
) -> Piece:
    """At most ``size_bytes`` of one file from ``offset``, for handing it out.

    With the first piece (offset 0) the whole file's digest is checked; the receiver checks
    ``sha256`` over what it got. Raises errors.NoSuchModel, NoSuchVersion, NoSuchFile, Corrupt.
    """
    names.check_file(file)

    def once() -> Piece:
        with _folder(volume, model, version) as folder:
            entry = _manifest(folder, model, version, verifier).files.get(file)
            if entry is None:
                raise errors.NoSuchFile(f"version {version} of {model} has no such file")
            with _opened(folder, file, entry.size_bytes) as descriptor:
                if offset == 0:
                    _check_digest(descriptor, file, entry)
                data = os.pread(descriptor, max(0, size_bytes), offset)
            return Piece(data, entry.size_bytes, entry.sha256)

    return _patiently(volume, model, version, 0.0, once)


def _patiently(volume: Volume, model: str, version: int, wait_s: float, once: Callable[[], T]) -> T:
    names.check_model(model)
    names.check_version(version)
    give_up_at = time.monotonic() + wait_s
    while True:
        try:
            return once()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESTALE):
                raise
            late = time.monotonic() >= give_up_at
            if late and error.errno == errno.ESTALE:
                raise
            # The marker comes before the files go, so a version deleted under our hands shows it.
            if late or volume.is_deleted(model, version):
                raise _absent(volume, model, version) from None
        time.sleep(min(_POLL_S * (0.5 + random.random()), max(0.0, give_up_at - time.monotonic())))  # noqa: S311
        # Listing the parent makes an NFS client ask again for a name it remembers as missing.
        durable.entries(volume.model(model))


def _absent(volume: Volume, model: str, version: int) -> errors.StoreError:
    if volume.has_version(model, version):
        return errors.Corrupt("a file of the version is missing")
    return volume.missing(model, version)


@contextmanager
def _folder(volume: Volume, model: str, version: int) -> Iterator[int]:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    opened: list[int] = []
    try:
        opened.append(os.open(volume.root, os.O_RDONLY | os.O_DIRECTORY))
        for name in (model, names.version_folder(version)):
            opened.append(os.open(name, flags, dir_fd=opened[-1]))
        yield opened[-1]
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            raise errors.Corrupt("a link or special file stands where a folder or file should") from error
        raise
    finally:
        for descriptor in opened:
            os.close(descriptor)


@contextmanager
def _opened(folder: int, name: str, size_bytes: int | None) -> Iterator[int]:
    """A regular file of this folder alone, of this size when one is given."""
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise errors.Corrupt(f"{name} is not a regular file")
        # A second name is a way to change the content from outside the folder.
        if status.st_nlink != 1:
            raise errors.Corrupt(f"{name} has a second name elsewhere")
        if size_bytes is not None and status.st_size != size_bytes:
            raise errors.Corrupt(f"{name} has another size than was signed")
        yield descriptor
    finally:
        os.close(descriptor)


def _read_up_to(descriptor: int, limit_bytes: int) -> bytes:
    blocks: list[bytes] = []
    # One byte more shows a file that grew; room for all that a manifest may be is not always there.
    left = min(limit_bytes, os.fstat(descriptor).st_size + 1)
    while left > 0 and (block := os.read(descriptor, left)):
        blocks.append(block)
        left -= len(block)
    return b"".join(blocks)


def _manifest(folder: int, model: str, version: int, verifier: Verifier) -> Manifest:
    _list(folder)
    with _opened(folder, names.MANIFEST, None) as descriptor:
        data = _read_up_to(descriptor, MAX_BYTES + 1)
    with _opened(folder, names.SIGNATURE, None) as descriptor:
        signature = _read_up_to(descriptor, SIGNATURE_MAX_BYTES + 1)
    if len(data) > MAX_BYTES or len(signature) > SIGNATURE_MAX_BYTES:
        raise errors.Corrupt("the manifest or its signature is over its limit")
    verifier.check(data, signature)
    manifest = decode(data)
    # A signed folder put in another place is a replay, not this version.
    if (manifest.model, manifest.version) != (model, version):
        raise errors.Corrupt("the manifest belongs to another version")
    return manifest


def _list(folder: int) -> set[str]:
    present = set(os.listdir(folder))
    if names.DELETED in present:
        raise FileNotFoundError(errno.ENOENT, "the version was deleted")
    return present


def _check_listing(folder: int, manifest: Manifest) -> None:
    listed = {*manifest.files, names.MANIFEST, names.SIGNATURE}
    if _list(folder) - listed:
        raise errors.Corrupt("the folder holds something that was not signed")
    for name, entry in manifest.files.items():
        with _opened(folder, name, entry.size_bytes):
            pass


def _verified(folder: int, name: str, entry: FileEntry) -> bytes:
    with _opened(folder, name, entry.size_bytes) as descriptor:
        data = _read_up_to(descriptor, entry.size_bytes)
    if len(data) != entry.size_bytes or hashlib.sha256(data).hexdigest() != entry.sha256:
        raise errors.Corrupt(f"{name} is not what was signed")
    return data


def _check_digest(descriptor: int, name: str, entry: FileEntry) -> None:
    digest, at = hashlib.sha256(), 0
    while block := os.pread(descriptor, _BLOCK_BYTES, at):
        digest.update(block)
        at += len(block)
    if digest.hexdigest() != entry.sha256:
        raise errors.Corrupt(f"{name} is not what was signed")
