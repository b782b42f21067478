"""Room kept back on the volume, so that a full one still takes what has to be written: the end of a job.

A trainer fills it while there is room; settling gives it away file by file when there is none. Each
file holds a block and an inode, whichever of them is short.
"""

from __future__ import annotations

import os
from contextlib import suppress

from model_store import durable, errors
from model_store.volume import Volume

FOLDER = ".reserve"
"""Where the files lie, beside the models; no model can have this name."""

FILES = 128
"""How many there are: settling a job takes about two, and a new model's folders six more."""

FILE_BYTES = 4096
"""The size of each: a block of every usual file system."""


def fill(volume: Volume) -> int:
    """Make the files that are missing, as far as there is room for more than them; how many were made. Raises OSError.

    A quota may be used up on a volume that seems to have room.
    """
    made = 0
    with suppress(errors.NoSpace), errors.full_volume_named():
        folder = durable.make_folder(volume.root / FOLDER)
        missing = {f"{number:03}" for number in range(FILES)} - {*durable.entries(folder)}
        if not missing or volume.is_nearly_full():
            return 0
        for name in sorted(missing):
            # Not synced: after a power cut the next sweep makes them again. Not zeros: they might take no room.
            with suppress(FileExistsError):
                durable.write_file(folder / name, os.urandom(FILE_BYTES), lasting=False)
                made += 1
    return made


def release(volume: Volume) -> bool:
    """Give one file's room back; False when there is none left."""
    folder = volume.root / FOLDER
    for name in durable.entries(folder):
        with suppress(FileNotFoundError):
            (folder / name).unlink()
            return True
    return False
