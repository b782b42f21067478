"""Drafts: the private folders in which versions are made."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from model_store import durable, errors, names
from model_store.volume import Volume

_TRIES = 3


def draft(volume: Volume, model: str, job_id: str) -> Path:
    """A new empty folder for this job's artefact, on the volume itself, private to its owner.

    Raises errors.NoSpace, BadName.
    """
    names.check_job(job_id)
    with errors.full_volume_named():
        # A sweep may be removing the folders of a model that was never published.
        for _ in range(_TRIES):
            with suppress(FileNotFoundError):
                return _made(volume, model, job_id)
        return _made(volume, model, job_id)


def _made(volume: Volume, model: str, job_id: str) -> Path:
    volume.prepare(model)
    folder = durable.temporary_name(volume.tmp(model), job_id)
    folder.mkdir(mode=0o700)
    return folder


def touch(folder: Path) -> None:
    """Say that the draft's owner lives; to be repeated while the child works."""
    os.utime(folder)


def discard(folder: Path) -> None:
    """Remove a draft and everything in it."""
    durable.discard_tree(folder)
