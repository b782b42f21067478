"""Which number a publisher tries: one that nobody else is making a version for.

The rename decides who has a number; this only keeps publishers from signing for the same one. A link
``.tmp/number-00000012`` says whose it is, and a dead publisher's counts for nothing. A number whose
publisher died may stay free for ever, and of two in the same moment the higher may appear first: numbers are
unique and rise with time, without a promise for each moment and with gaps.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from model_store import durable, names, owners
from model_store.volume import Volume

_UNKNOWN = (errno.EPERM, errno.EOPNOTSUPP)
"""What a file system says that has no symbolic links."""


@contextmanager
def reserved(volume: Volume, model: str) -> Iterator[int]:
    """The next number that is free and that nobody alive has reserved, while the block lasts. Raises OSError."""
    number = max(volume.numbers(model), default=0) + 1
    while not _reserve(volume, model, names.check_version(number)):
        number += 1
    try:
        yield number
    finally:
        _link(volume, model, number).unlink(missing_ok=True)


def owner(path: Path) -> str:
    """The name that holds the tag of who made ``path`` in ``.tmp``."""
    with suppress(OSError):
        return os.readlink(path)  # noqa: PTH115
    return path.name


def _reserve(volume: Volume, model: str, number: int) -> bool:
    link = _link(volume, model, number)
    own = durable.temporary_name(Path(), "number").name
    try:
        os.symlink(own, link)  # noqa: PTH211
    except FileExistsError:
        # NFS may answer so although it was this call that made the link.
        if owner(link) != own and not owners.is_dead(owner(link)):
            return False
        # Whoever else sees this does the same, and the rename decides between them.
    except OSError as error:
        if error.errno not in _UNKNOWN:
            raise
    if os.path.lexists(volume.version(model, number)):
        link.unlink(missing_ok=True)
        return False
    return True


def _link(volume: Volume, model: str, number: int) -> Path:
    return volume.tmp(model) / f"number-{number:08d}"
