"""What lies on the disk before and after: every file of a stage's home by its content, and what is around it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from urllib.parse import unquote

import psutil

from tests.faults.stage import PROCESSES, Stage

_ALWAYS_WRITTEN = ("logs", "ledger", "nginx", "tmp", "run")
"""Folders of the home whose files grow and go by themselves: a new name counts, another content does not."""
_ROTATED = re.compile(r"(logs/[^/]+\.log)\.[0-9]+")
"""What the supervisor calls a full log: no news where the log was there."""
_BROKER = "broker"
"""RabbitMQ names its files as it likes: here, as around the home, only the names that were sent count."""


def tree(stage: Stage) -> dict[str, str]:
    """Every path of the home, and of the folder that holds only the home, with a digest of what it is."""
    home = stage.layout.home
    found = {}
    for folder, folders, files in os.walk(home.parent):
        if folder == str(home):
            folders.remove(_BROKER)
        for name in (*folders, *files):
            path = os.path.relpath(Path(folder, name), home)
            found[path] = "" if _is_written(path) else _digest(Path(folder, name))
    return found


def changes(before: dict[str, str], after: dict[str, str], allowed: Collection[str]) -> list[str]:
    """What came, went or has another content, but in the folders ``allowed``."""
    inside = tuple(f"{folder}/" for folder in allowed)
    found = []
    for path in sorted(before.keys() | after.keys()):
        if f"{path}/".startswith(inside) or before.get(path) == after.get(path):
            continue
        if (old := _ROTATED.fullmatch(path)) and old[1] in before:
            continue
        if path not in before:
            found.append(f"{path} came")
        elif path in after:
            found.append(f"{path} is another")
        elif not (_is_written(path) or ".tmp" in path.split("/")):
            found.append(f"{path} is gone")
    return found


def around(stage: Stage, names: Iterable[str]) -> dict[str, str]:
    """Which pieces of the names exist in the folders above, in the broker's and where a process stands."""
    pieces = {piece for name in names for text in (name, unquote(name)) for piece in re.split(r"[/\\]", text)}
    folders = {*stage.layout.home.parent.parents, stage.layout.broker, Path("/etc")}
    folders |= {Path(psutil.Process(stage.pid(name)).cwd()) for name in PROCESSES}
    paths = (folder / piece for folder in folders for piece in pieces - {"", ".", ".."})
    return {str(path): _digest(path) for path in paths if os.path.lexists(path)}


def _is_written(path: str) -> bool:
    return path.partition("/")[0] in _ALWAYS_WRITTEN


def _digest(path: Path) -> str:
    try:
        if path.is_symlink():
            return f"link to {path.readlink()}"
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
    except FileNotFoundError:
        return "gone"
