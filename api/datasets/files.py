"""The folder of datasets: ``<root>/<dataset id>/data.<kind>``, written here, read by trainers.

Between an upload's bytes and the volume the trainer reads. A file appears whole or not at all:
it is written and synced under ``.tmp`` and then renamed; it goes by a rename into ``.trash``.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from pathlib import Path

from api.ledger.rows import Kind

_ID = re.compile(r"[0-9a-f]{32}")
_TMP, _TRASH = ".tmp", ".trash"
_FORGOTTEN_S = 24 * 3600


class DatasetFolder:
    """The files of all datasets. Methods block and raise OSError."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def draft(self) -> Path:
        """A path of its own for an upload; its folder exists."""
        folder = self.root / _TMP
        folder.mkdir(parents=True, exist_ok=True)
        return folder / secrets.token_hex(16)

    def put(self, draft: Path, dataset_id: str, kind: Kind) -> None:
        """Move a synced draft to its place; where the content is there already, drop the draft."""
        folder = self.root / dataset_id
        folder.mkdir(exist_ok=True)
        place = folder / f"data.{kind}"
        if place.exists():
            draft.unlink()
        else:
            draft.rename(place)
            _sync(folder)
            _sync(self.root)

    def remove(self, dataset_id: str) -> None:
        """Take a dataset's folder away; its files are freed by ``empty_trash``."""
        trash = self.root / _TRASH
        trash.mkdir(exist_ok=True)
        try:
            (self.root / dataset_id).rename(trash / f"{dataset_id}-{secrets.token_hex(8)}")
        except FileNotFoundError:
            return

    def empty_trash(self) -> None:
        """Free what was removed, and drafts of a day ago whose process died."""
        shutil.rmtree(self.root / _TRASH, ignore_errors=True)
        too_old = time.time() - _FORGOTTEN_S
        for draft in self.root.glob(f"{_TMP}/*"):
            if draft.stat().st_mtime < too_old:
                draft.unlink(missing_ok=True)

    def room(self) -> tuple[int, int]:
        """Bytes that are free to this process, and all bytes, after a file was made and removed."""
        probe = self.draft()
        probe.touch(exist_ok=False)
        probe.unlink()
        status = os.statvfs(self.root)
        return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize

    def ids(self) -> list[str]:
        """Every dataset whose folder is there."""
        if not self.root.is_dir():
            return []
        return sorted(entry.name for entry in self.root.iterdir() if _ID.fullmatch(entry.name))


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
