"""The folder of datasets: ``<root>/<dataset id>/data.<kind>``, written here, read by trainers.

Between an upload's bytes and the volume the trainer reads. A file appears whole or not at all:
it is written and synced under ``.tmp`` and then renamed; it goes by a rename into ``.trash``, where there is room.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from api.ledger.rows import Kind
from wire import errors

_ID = re.compile(r"[0-9a-f]{32}")
_TMP, _TRASH = ".tmp", ".trash"
_FORGOTTEN_S = 24 * 3600
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def needing_room() -> Iterator[None]:
    """What writes to the volume. Raises errors.StorageFull where that has no room left."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise errors.StorageFull("The volume for datasets has no room left.") from error
        raise


class DatasetFolder:
    """The files of all datasets. Methods block and raise OSError."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def draft(self) -> Path:
        """A path of its own for an upload; its folder exists. Raises errors.StorageFull."""
        folder = self.root / _TMP
        with needing_room():
            folder.mkdir(parents=True, exist_ok=True)
        return folder / secrets.token_hex(16)

    def put(self, draft: Path, dataset_id: str, kind: Kind) -> None:
        """Move a synced draft to its place; where the content is there already, drop the draft.

        Raises errors.StorageFull.
        """
        folder = self.root / dataset_id
        place = folder / f"data.{kind}"
        with needing_room():
            folder.mkdir(exist_ok=True)
            if place.exists():
                draft.unlink()
            else:
                draft.rename(place)
                _sync(folder)
                _sync(self.root)

    def remove(self, dataset_id: str) -> None:
        """Take a dataset's folder away; its files are freed by ``empty_trash``, or at once where that needs room."""
        folder, trash = self.root / dataset_id, self.root / _TRASH
        try:
            trash.mkdir(exist_ok=True)
            folder.rename(trash / f"{dataset_id}-{secrets.token_hex(8)}")
        except FileNotFoundError:
            return
        except OSError:
            shutil.rmtree(folder)

    def empty_trash(self) -> None:
        """Free what was removed, and drafts of a day ago whose process died. Needs no room."""
        for removed in (self.root / _TRASH).glob("*"):
            shutil.rmtree(removed, ignore_errors=True)
        drafts = self.root / _TMP
        if not drafts.is_dir():
            return
        # The volume's own clock: files compare with no other.
        os.utime(drafts)
        too_old = drafts.stat().st_mtime - _FORGOTTEN_S
        for draft in drafts.glob("*"):
            with suppress(FileNotFoundError):  # its upload has just ended
                if draft.stat().st_mtime < too_old:
                    draft.unlink()

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
