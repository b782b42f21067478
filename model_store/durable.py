"""File operations that survive a power cut, and the ones that let exactly one of many win.

Everything the trainer writes to the volume goes through here: data first, then the name, each
followed by an fsync of what must last. An fsync that failed is never tried again on the same
file, because the kernel may have dropped the pages already; the file is removed instead.
"""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from model_store import owners

FILE_MODE = 0o644
"""Readable by the predictors' users, writable by the trainer's alone."""
FOLDER_MODE = 0o755
"""Likewise for folders."""


def write_file(path: Path, data: bytes, *, lasting: bool = True) -> None:
    """Create ``path`` with ``data``, on disk before returning if ``lasting``; removed again when that fails."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, FILE_MODE)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fchmod(descriptor, FILE_MODE)
        if lasting:
            os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            path.unlink()
        raise
    finally:
        os.close(descriptor)


def read_small(path: Path | str, max_bytes: int) -> bytes:
    """At most ``max_bytes`` of a file, without following a link or waiting on a pipe. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        return os.read(descriptor, max_bytes)
    finally:
        os.close(descriptor)


def entries(folder: Path) -> list[str]:
    """The names in a folder, sorted; none for a folder that is not there."""
    try:
        # Ten times as fast as Path.iterdir, and asked for in every publish.
        return sorted(os.listdir(folder))  # noqa: PTH208
    except FileNotFoundError:
        return []


def sync_folder(path: Path) -> None:
    """Make the names in a folder last."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> Path:
    """Make one folder (its parent exists), whatever the umask; one that is there is fine."""
    if not path.is_dir():
        with suppress(FileExistsError):
            path.mkdir(FOLDER_MODE)
            path.chmod(FOLDER_MODE)
            sync_folder(path.parent)
    return path


def temporary_name(tmp: Path, what: str) -> Path:
    """A path in ``tmp`` nobody else has, tagged with this process."""
    return tmp / f"{what}.{owners.tag()}.{secrets.token_hex(8)}"


def create_once(tmp: Path, target: Path, data: bytes) -> bool:
    """Make ``target`` appear whole, for one of all callers; True for that one.

    A hard link is exclusive on NFS too. The reply to a repeated request may say "exists"
    although the first one made the link: the link count of the own file tells.
    """
    own = temporary_name(tmp, target.name)
    write_file(own, data)
    try:
        try:
            os.link(own, target)
            made = True
        except FileExistsError:
            made = own.stat().st_nlink > 1
        if made:
            sync_folder(target.parent)
        return made
    finally:
        own.unlink()


def replace_file(tmp: Path, target: Path, data: bytes) -> None:
    """Put ``data`` in the place of ``target`` at once, for readers old or new."""
    own = temporary_name(tmp, target.name)
    write_file(own, data)
    own.replace(target)
    sync_folder(target.parent)


def remove_file(path: Path) -> bool:
    """Remove a name; True when it was there."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    sync_folder(path.parent)
    return True


def discard_tree(path: Path) -> None:
    """Remove a folder or file nobody reads, as far as possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def clock_s(tmp: Path) -> float:
    """The time of the volume's own clock, in seconds: ages of files compare with this alone."""
    probe = temporary_name(tmp, "clock")
    write_file(probe, b"")
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def touch_clock_s(folder: Path) -> float:
    """The same from the folder's own time, which is set to now; needs no room."""
    os.utime(folder)
    return folder.stat().st_mtime
