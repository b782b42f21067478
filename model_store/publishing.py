"""Publishing: from a finished draft to one visible, signed, immutable version.

The name decides, no lock does: ``rename`` onto a folder that is not empty fails, so of all
publishers of a number one gets it and the others take the next. That they seldom try the same
one is ``numbering``'s work. Everything is on disk before
the name is, and the name is before the job's index entry, which decides between two deliveries
of one job.
"""

from __future__ import annotations

import errno
import hashlib
import os
import random
import stat
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from model_store import deletion, drafts, durable, errors, job_index, names, numbering, reading
from model_store.drafts import draft
from model_store.manifest import MAX_BYTES, FileEntry, Manifest
from model_store.signing import SIGNATURE_MAX_BYTES, Signer, Verifier
from model_store.volume import Volume

__all__ = ["Published", "draft", "existing_version", "publish", "published"]

_TRIES = 500
_PAUSE_S = 0.002
_BLOCK_BYTES = 1024 * 1024
_NUMBER_BYTES = 32
"""More than a version's number takes in its manifest."""
_TAKEN = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


@dataclass(frozen=True)
class Published:
    """A job's version. ``first``: this call made it. ``manifest`` None: it was deleted since."""

    version: int
    manifest: Manifest | None
    first: bool


def existing_version(
    volume: Volume, model: str, job_id: str, verifier: Verifier, since: str | None = None
) -> int | None:
    """The version the job has published, or None: to be asked before the work begins.

    ``since`` is when the job was submitted (ISO 8601). Raises errors.JobTombstoned.
    """
    version = job_index.find(volume, model, job_id, verifier, since)
    if version == job_index.TOMBSTONE:
        raise errors.JobTombstoned(f"job {job_id} was settled without a version")
    return version


def publish(
    volume: Volume, folder: Path, manifest: Manifest, signer: Signer, verifier: Verifier, since: str | None = None
) -> Published:
    """Make the draft ``folder`` the next version of ``manifest.model``, once for its job.

    Fills the manifest's ``version`` and ``files`` from what lies in the folder. The draft is
    gone afterwards, also after an error. A job that has its version already gets that one.
    Raises errors.JobTombstoned, NoSpace, Contended, Corrupt (the draft is not whole), TooLarge (the
    manifest), BadName; OSError when the volume fails.
    """
    model, job_id = names.check_model(manifest.model), names.check_job(manifest.job_id)
    try:
        with errors.full_volume_named():
            version = existing_version(volume, model, job_id, verifier, since)
            if version is not None:
                return published(volume, model, version, verifier)
            sealed = _seal(folder, manifest)
            # The draft keeps the model's folder, but a sweep may have taken others while the draft was being made.
            volume.prepare(model)
            job_index.mark_publishing(volume, model, job_id)
            sealed = _take_number(volume, folder, sealed, signer)
            winner = job_index.claim(volume, model, job_id, sealed.version)
            if winner != sealed.version:
                deletion.retire_unclaimed(volume, model, sealed.version)
            job_index.clear_mark(volume, model, job_id)
    finally:
        drafts.discard(folder)
    if winner == sealed.version:
        return Published(winner, sealed, first=True)
    if winner == job_index.TOMBSTONE:
        raise errors.JobTombstoned(f"job {job_id} was settled without a version")
    return published(volume, model, winner, verifier)


def published(volume: Volume, model: str, version: int, verifier: Verifier) -> Published:
    """A version a job has published before, as a later delivery sees it. Raises errors.Corrupt."""
    try:
        return Published(version, reading.read_manifest(volume, model, version, verifier), first=False)
    except (errors.NoSuchModel, errors.NoSuchVersion):
        return Published(version, None, first=False)


def _seal(folder: Path, manifest: Manifest) -> Manifest:
    """Put every file on disk and into the manifest. Raises errors.TooLarge where nobody could read that."""
    entries = {name: _sealed_file(folder / names.check_file(name)) for name in durable.entries(folder)}
    if manifest.served_file not in entries:
        raise errors.Corrupt(f"the draft has no {manifest.served_file}")
    sealed = msgspec.structs.replace(manifest, files=entries)
    if len(sealed.encode()) > MAX_BYTES - _NUMBER_BYTES:
        raise errors.TooLarge(
            f"what is said of this model is over {MAX_BYTES // 2**20} MiB, its classes and categories included; "
            "choose a target and columns of shorter texts"
        )
    return sealed


def _sealed_file(path: Path) -> FileEntry:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
            raise errors.Corrupt(f"{path.name} in the draft is not a plain file")
        digest = hashlib.sha256()
        while block := os.read(descriptor, _BLOCK_BYTES):
            digest.update(block)
        os.fchmod(descriptor, durable.FILE_MODE)
        os.fsync(descriptor)
        return FileEntry(status.st_size, digest.hexdigest())
    finally:
        os.close(descriptor)


def _take_number(volume: Volume, folder: Path, manifest: Manifest, signer: Signer) -> Manifest:
    """Sign for the next number and rename onto it, until nobody else was faster."""
    folder.chmod(durable.FOLDER_MODE)
    for _ in range(_TRIES):
        with numbering.reserved(volume, manifest.model) as number:
            numbered = msgspec.structs.replace(manifest, version=number)
            if _appears(volume, folder, numbered, signer):
                durable.sync_folder(volume.model(manifest.model))
                return numbered
        time.sleep(_PAUSE_S * random.random())  # noqa: S311
    raise errors.Contended("other publishers took every number that was tried")


def _appears(volume: Volume, folder: Path, manifest: Manifest, signer: Signer) -> bool:
    data = manifest.encode()
    signature = signer.sign(data)
    for name, content in ((names.MANIFEST, data), (names.SIGNATURE, signature)):
        (folder / name).unlink(missing_ok=True)
        durable.write_file(folder / name, content)
    durable.sync_folder(folder)
    target = volume.version(manifest.model, manifest.version)
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno in _TAKEN:
            return False
        # NFS may repeat a request whose first copy was done: then the target is our own.
        if error.errno == errno.ENOENT and _holds(target, signature):
            return True
        raise
    return True


def _holds(target: Path, signature: bytes) -> bool:
    try:
        return durable.read_small(target / names.SIGNATURE, SIGNATURE_MAX_BYTES) == signature
    except OSError:
        return False
