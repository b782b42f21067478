"""Settling: the end of a job as the volume sees it, once and for all.

A worker asks before it calls a job cancelled or failed: whoever comes first, the publisher with
a version or the settler with a tombstone, makes the job's index entry, and the other one yields.
"""

from __future__ import annotations

from model_store import deletion, errors, job_index, reserve
from model_store.signing import Verifier
from model_store.volume import Volume


def settle(volume: Volume, model: str, job_id: str, verifier: Verifier, since: str | None = None) -> int:
    """The job's version, or 0: it has none and none will ever appear.

    A job has to end on a full volume too: then the room that was kept back is used.
    Raises errors.NoSpace, BadName.
    """
    while True:
        try:
            with errors.full_volume_named():
                return _settled(volume, model, job_id, verifier, since)
        except errors.NoSpace:
            if not reserve.release(volume):
                raise


def _settled(volume: Volume, model: str, job_id: str, verifier: Verifier, since: str | None) -> int:
    volume.prepare(model)
    found = job_index.find(volume, model, job_id, verifier, since)
    if found is None:
        found = job_index.claim(volume, model, job_id, job_index.TOMBSTONE)
    if found == job_index.TOMBSTONE:
        # A publisher may have renamed between our look and our tombstone, and then died.
        for version in job_index.published_by(volume, model, job_id, verifier):
            deletion.retire_unclaimed(volume, model, version)
        job_index.clear_mark(volume, model, job_id)
    return found
