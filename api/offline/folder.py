"""The folder of outputs: ``<root>/<job id>/output.csv`` and its kin, written by workers and trainers.

Between a job's attempts and those who fetch its output. An attempt has a draft of its own below ``.tmp``
and publishes it by one rename, which refuses where the job has an output already: so there is one per
job, and it is whole.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path

import msgspec

CSV, PARQUET, SUMMARY = "output.csv", "output.parquet", "summary.json"
"""The files of an output."""

_TMP = ".tmp"
_ID = re.compile(r"[0-9a-f]{32}")
_DRAFT = re.compile(r"([0-9a-f]{32})-([0-9]{1,12})")
_EVERY = 10**12
_THERE = (errno.ENOTEMPTY, errno.EEXIST)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What the output holds: rows, those among them without an answer, and the sizes of its files."""

    model: str
    version: int
    rows: int
    refused: int
    columns: tuple[str, ...]
    csv_bytes: int
    parquet_bytes: int


class OutputFolder:
    """All outputs. Methods block and raise OSError."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def draft_name(self, job_id: str, epoch: int) -> str:
        """The name of an attempt's draft; every lease has a number of its own."""
        return f"{job_id}-{epoch}"

    def draft(self, job_id: str, epoch: int) -> Path:
        """A new, empty draft; those of the job's earlier attempts are gone."""
        self.clear(job_id, epoch)
        folder = self.root / _TMP / self.draft_name(job_id, epoch)
        folder.mkdir(parents=True)
        return folder

    def clear(self, job_id: str, epoch: int) -> None:
        """Take away the drafts of a job up to this lease's; what still writes there ends by itself."""
        for folder in (self.root / _TMP).glob(f"{job_id}-*"):
            match = _DRAFT.fullmatch(folder.name)
            if match is not None and int(match[2]) <= epoch:
                shutil.rmtree(folder, ignore_errors=True)

    def drop(self, job_id: str, epoch: int) -> None:
        """Take away one draft, if it is there."""
        shutil.rmtree(self.root / _TMP / self.draft_name(job_id, epoch), ignore_errors=True)

    def publish(self, draft: Path, job_id: str, summary: Summary) -> None:
        """Make a draft the job's output, unless it has one, which says the same."""
        with (draft / SUMMARY).open("wb") as file:
            file.write(msgspec.json.encode(summary))
            file.flush()
            os.fsync(file.fileno())
        for entry in list(draft.iterdir()):
            if entry.name not in (CSV, PARQUET, SUMMARY):
                entry.unlink()
        _sync(draft)
        try:
            draft.rename(self.root / job_id)
        except OSError as error:
            if error.errno not in _THERE:
                raise
        _sync(self.root)

    def find(self, job_id: str) -> Summary | None:
        """What the job's output holds, None where it has none."""
        try:
            return msgspec.json.decode((self.root / job_id / SUMMARY).read_bytes(), type=Summary)
        except FileNotFoundError:
            return None

    def file(self, job_id: str, name: str) -> Path:
        """Where a file of a job's output is."""
        return self.root / job_id / name

    def job_ids(self) -> set[str]:
        """Every job that has an output or drafts here."""
        found = {entry.name for entry in _entries(self.root) if _ID.fullmatch(entry.name)}
        return found | {match[1] for entry in _entries(self.root / _TMP) if (match := _DRAFT.fullmatch(entry.name))}

    def remove(self, job_id: str) -> None:
        """Take away a job's output and drafts."""
        self.clear(job_id, _EVERY)
        shutil.rmtree(self.root / job_id, ignore_errors=True)


def is_full(error: OSError) -> bool:
    """Whether an error says that the volume has no room left."""
    return error.errno in _FULL


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
