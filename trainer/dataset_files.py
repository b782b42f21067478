"""Where a dataset's file is: from a dataset's id or sample name to a path for the child process."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

from trainer.spec import DataKind
from wire import errors, messages

_ID = re.compile(r"[0-9a-f]{32}")
_KINDS: tuple[DataKind, ...] = ("csv", "parquet", "jsonl")
_POLL_S = 0.1

LATE_S = 3.0
"""Seconds a dataset is looked for: on NFS a file written by a replica shows up late."""


def locate(datasets: Path, reference: messages.DatasetRef, late_s: float = LATE_S) -> tuple[DataKind, str]:
    """The format and the path of a dataset; a sample has no path. Raises errors.DatasetNotFound."""
    if reference.id is None:
        return "sample", ""
    folder = dataset_folder(datasets, reference.id)
    give_up_at = time.monotonic() + late_s
    while True:
        for kind in _KINDS:
            path = folder / f"data.{kind}"
            if path.is_file():
                return kind, str(path)
        if time.monotonic() >= give_up_at:
            raise errors.DatasetNotFound
        time.sleep(_POLL_S * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret


def dataset_folder(datasets: Path, dataset_id: str) -> Path:
    """The folder of an upload. Raises errors.DatasetNotFound for what cannot be an id."""
    if not _ID.fullmatch(dataset_id):
        raise errors.DatasetNotFound
    return datasets / dataset_id
