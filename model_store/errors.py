"""What the model volume says when the answer is no; services map it to ``wire.errors``.

The tree::

    StoreError
    ├── BadName            a name, version or file name that cannot be one
    ├── NoSuchModel        no version of it is there
    ├── NoSuchVersion      never published, or deleted
    ├── NoSuchAlias
    ├── NoSuchFile         the version has no file of this name
    ├── VersionAliased     an alias names the version, so it stays
    ├── StaleAlias         the alias is not where the caller thought
    ├── TooManyAliases     the model has as many as one may have
    ├── Corrupt            the folder fails verification; it is never served
    ├── TooLarge           sound, but over the reader's own limit
    ├── NoSpace            the volume is full
    ├── JobTombstoned      this job may publish no more
    └── Contended          too many others changed the same thing at once

Any other ``OSError`` (read-only mount, input/output error) passes through as it is.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of an OSError that mean: there is no room."""


class StoreError(Exception):
    """Something on the model volume is not as asked for."""


class BadName(StoreError):
    """A name that can name nothing on the volume; the message says what is allowed."""


class NoSuchModel(StoreError):
    """No version of this model is there."""


class NoSuchVersion(StoreError):
    """This version was never published, or it was deleted."""


class NoSuchAlias(StoreError):
    """The model has no alias of this name."""


class NoSuchFile(StoreError):
    """The version has no file of this name."""


class VersionAliased(StoreError):
    """Aliases name this version; ``aliases`` has their names."""

    def __init__(self, aliases: Sequence[str]) -> None:
        self.aliases = tuple(aliases)
        super().__init__(f"named by {', '.join(aliases)}")


class StaleAlias(StoreError):
    """The alias names ``current`` (0: it does not exist), which is not what was expected."""

    def __init__(self, current: int) -> None:
        self.current = current
        super().__init__(f"the alias names version {current}" if current else "the alias does not exist")


class TooManyAliases(StoreError):
    """The model has as many aliases as one may have, lately deleted ones included."""


class Corrupt(StoreError):
    """The stored bytes are not what was signed; ``reason`` is one sentence without input in it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class TooLarge(StoreError):
    """The artefact is sound, but larger than the reader takes."""


class NoSpace(StoreError):
    """The volume has no room left (blocks, inodes, quota or file size)."""


class JobTombstoned(StoreError):
    """The job was settled without a version, so none may ever appear."""


class Contended(StoreError):
    """Others changed the same thing on every try; trying later is right."""


@contextmanager
def full_volume_named() -> Iterator[None]:
    """Turn the operating system's ways to say "full" into NoSpace."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise NoSpace("the model volume is full") from error
        raise
