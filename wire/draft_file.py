"""A file of an offline prediction's draft, which can't grow until the volume is full.

Written by a trainer or a worker. A table of kilobytes can unfold to terabytes on its way into an output, and the
volume may be the one of the ledger, the broker and the models.
"""

from __future__ import annotations

import io
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from wire import errors

_PART: Final = re.compile(r"\.[0-9]+")
KEPT_BYTES: Final = 1024 * 1024 * 1024
"""Bytes of the volume that drafts leave free, on small ones a tenth: RabbitMQ takes nothing below 200 MB."""


class DraftFile(io.BufferedWriter):
    """A new file that takes no more than the rest of its draft's bytes, and none of the room that is kept free.

    Files that end in a number are parts of somebody's, and count for nobody else.
    """

    def __init__(self, path: Path, most_bytes: int) -> None:
        """``most_bytes`` bounds the whole draft. Raises FileExistsError and OSError."""
        self._left = most_bytes - _size(path.parent)
        self._most_bytes = most_bytes
        super().__init__(io.FileIO(path, "xb"))

    def write(self, data: Any, /) -> int:
        """Append. Raises errors.BadInput, errors.StorageFull and OSError."""
        size = memoryview(data).nbytes
        self._left -= size
        if self._left < 0:
            raise errors.BadInput(
                f"The rows and the output of this prediction take more than {self._most_bytes} bytes.",
                hint="Carry fewer columns, or split the dataset.",
            )
        volume = os.fstatvfs(self.fileno())
        kept = min(KEPT_BYTES, volume.f_blocks * volume.f_frsize // 10)
        if volume.f_bavail * volume.f_frsize - size < kept:
            raise errors.StorageFull("The volume for outputs has no room left.")
        return super().write(data)


def _size(draft: Path) -> int:
    size = 0
    for entry in draft.iterdir():
        if _PART.fullmatch(entry.suffix):
            continue  # of a trainer that was killed, or that has the same request
        with suppress(FileNotFoundError):  # another trainer, with the same request, has just named its file
            size += entry.stat().st_size
    return size
