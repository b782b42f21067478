"""One job, one version: who published for a job, decided by one exclusive create.

``by-job/<job_id>`` holds ``{"version": n}``, or 0 as a tombstone: settled without a version.
The file is made once, whole, and whoever makes it decides. Before a version appears under its
name, its publisher leaves ``by-job/<job_id>.publishing``; a process that finds this mark and no
entry looks through every manifest, so a publisher that died in between is found at once. Where
neither is left but entries are fewer than versions (files lost by hand or by a restore), the
manifests of versions newer than the job are the truth.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from model_store import durable, errors, names, reading
from model_store.signing import Verifier
from model_store.volume import Volume

TOMBSTONE = 0
"""What the entry of a job holds that may never publish."""

_MARK = ".publishing"
_SKEW = timedelta(minutes=1)
_CLAIM_TRIES = 16
_ENTRY_BYTES = 256


class _Entry(msgspec.Struct, frozen=True):
    version: int


class _Origin(msgspec.Struct, frozen=True):
    job_id: str
    created_at: str = ""


def look_up(volume: Volume, model: str, job_id: str) -> int | None:
    """What the index says: a version, TOMBSTONE, or None when it has no readable entry."""
    entry = _entry(volume, model, job_id)
    try:
        return msgspec.json.decode(durable.read_small(entry, _ENTRY_BYTES), type=_Entry).version
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise


def find(volume: Volume, model: str, job_id: str, verifier: Verifier, since: str | None = None) -> int | None:
    """The job's version, TOMBSTONE, or None: neither yet. Mends the index from the manifests.

    ``since`` is the ISO 8601 time the job was submitted: older versions cannot be its own.
    The version may have been deleted since; its number still answers for the job.
    """
    held = look_up(volume, model, job_id)
    if held is not None and not _belongs_elsewhere(volume, model, held, job_id):
        return held
    if held is not None:
        durable.remove_file(_entry(volume, model, job_id))
    marked = _mark(volume, model, job_id).exists()
    if marked or _entries_are_missing(volume, model):
        for version in published_by(volume, model, job_id, verifier, since=None if marked else since):
            return claim(volume, model, job_id, version)
    return None


def claim(volume: Volume, model: str, job_id: str, version: int) -> int:
    """Enter ``version`` (or TOMBSTONE) for the job unless there is an entry; what it holds then."""
    data = msgspec.json.encode(_Entry(version))
    for _ in range(_CLAIM_TRIES):
        held = look_up(volume, model, job_id)
        if held is not None:
            return held
        if durable.create_once(volume.tmp(model), _entry(volume, model, job_id), data):
            return version
        if look_up(volume, model, job_id) is None:
            durable.remove_file(_entry(volume, model, job_id))
    raise errors.Contended("the job's index entry keeps changing")


def mark_publishing(volume: Volume, model: str, job_id: str) -> None:
    """Leave the mark that a version of this job may appear at any moment."""
    mark = _mark(volume, model, job_id)
    with suppress(FileExistsError):
        durable.write_file(mark, b"")
    durable.sync_folder(mark.parent)


def clear_mark(volume: Volume, model: str, job_id: str) -> None:
    """Take the mark away; the entry speaks now."""
    _mark(volume, model, job_id).unlink(missing_ok=True)


def published_by(
    volume: Volume, model: str, job_id: str, verifier: Verifier, since: str | None = None
) -> Iterator[int]:
    """The versions whose verified manifest names the job, newest first, from ``since`` on."""
    oldest = _moment(since)
    for version in reversed(volume.versions(model)):
        origin = origin_of(volume, model, version)
        if origin is None:
            continue
        made = _moment(origin.created_at)
        if oldest is not None and made is not None and made < oldest - _SKEW:
            return
        if origin.job_id == job_id and _is_sound(volume, model, version, verifier):
            yield version


def origin_of(volume: Volume, model: str, version: int) -> _Origin | None:
    """The job and time a manifest claims, not verified; None when it cannot be read."""
    try:
        return msgspec.json.decode(reading.peek(volume, model, version), type=_Origin)
    except (OSError, ValueError, RecursionError, errors.Corrupt):
        return None


def _entries_are_missing(volume: Volume, model: str) -> bool:
    """Whether some version has no entry: each has its own, so they cannot be fewer."""
    entries = [name for name in durable.entries(volume.by_job(model)) if not name.endswith(_MARK)]
    return len(entries) < len(volume.numbers(model))


def _is_sound(volume: Volume, model: str, version: int, verifier: Verifier) -> bool:
    try:
        reading.read_manifest(volume, model, version, verifier)
    except errors.StoreError:
        return False
    return True


def _belongs_elsewhere(volume: Volume, model: str, version: int, job_id: str) -> bool:
    if version == TOMBSTONE or not volume.has_version(model, version):
        return False
    origin = origin_of(volume, model, version)
    return origin is not None and origin.job_id != job_id


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _entry(volume: Volume, model: str, job_id: str) -> Path:
    return volume.by_job(model) / names.check_job(job_id)


def _mark(volume: Volume, model: str, job_id: str) -> Path:
    return volume.by_job(model) / (names.check_job(job_id) + _MARK)
