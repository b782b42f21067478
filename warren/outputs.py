"""Files that are written here: whole under their name, or not at all; what is no plain file is written to.

Between an answer that is streamed, or a command's results, and a disk.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, put in the place of ``path`` at the end; what fails before leaves that as it was.

    A link stays, and leads to the new file. A pipe or a device is written to as it is.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    path = path.resolve()
    draft = path.with_name(f"{path.name}.part")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def format_of(path: Path) -> str:
    """``parquet`` for a file that is called so, else ``csv``."""
    return "parquet" if path.suffix.lower() in (".parquet", ".pq") else "csv"
