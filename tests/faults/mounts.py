"""File systems of a stack's own, which root can mount: small ones, and one that can be cut off from who writes."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SMALL_INODES = 6_000


def in_memory(folder: Path, size_mb: int) -> None:
    """Put the folder on a memory file system of that size."""
    options = f"size={size_mb}m,nr_inodes={_SMALL_INODES},mode=0755"
    _run("mount", "-t", "tmpfs", "-o", options, "tmpfs", folder)


def on_disk(folder: Path, size_mb: int) -> None:
    """Put the folder on an ext4 of that size, which lies in a file beside it."""
    image = folder.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(size_mb * 2**20)
    _run("mkfs.ext4", "-q", image)
    _run("mount", "-o", "loop", image, folder)
    folder.chmod(0o755)


def suspend(folder: Path) -> None:
    """Let every write to the folder wait, as for a server that cannot be reached. Until ``resume``, nothing fails."""
    _run("fsfreeze", "--freeze", folder)


def resume(folder: Path) -> None:
    """Let go on whoever waits."""
    _run("fsfreeze", "--unfreeze", folder)


def unmount(folder: Path) -> None:
    """Take the file system away."""
    _run("umount", "--lazy", folder)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)
