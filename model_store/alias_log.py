"""An alias's states, and the log of its changes: ``aliases/.log/<alias>.<revision>.json``, each made exclusively."""

from __future__ import annotations

from pathlib import Path

import msgspec

from model_store import durable, errors, names
from model_store.volume import Volume

HISTORY = 20
"""How many changes of an alias are kept."""

_MAX_BYTES = 4096


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """An alias after a change.

    ``version`` 0: it was deleted. ``previous`` 0: it named nothing before. ``revision`` counts
    its changes from 1; ``changed_at`` is ISO 8601 UTC; ``by`` says who asked, ``asked`` by which request.
    """

    alias: str = ""
    version: int
    revision: int
    previous: int
    changed_at: str
    by: str = ""
    asked: str = ""


def read(path: Path | str) -> bytes:
    """The bytes of a state. Raises OSError."""
    return durable.read_small(path, _MAX_BYTES)


def parse(data: bytes, alias: str) -> Alias:
    """The state of this alias from its bytes. Raises errors.Corrupt."""
    try:
        found = msgspec.json.decode(data, type=Alias)
    except ValueError as error:
        raise errors.Corrupt("the alias cannot be read") from error
    return msgspec.structs.replace(found, alias=alias)


def folder(volume: Volume, model: str) -> Path:
    """The folder of the log."""
    return volume.aliases(model) / ".log"


def path(log: Path, alias: str, revision: int) -> Path:
    """The file of one change. Raises errors.BadName."""
    return log / f"{names.check_alias(alias)}.{revision:08d}.json"


def revisions(log: Path) -> dict[str, list[int]]:
    """The revisions of every alias."""
    found: dict[str, list[int]] = {}
    for entry in durable.entries(log):
        part = entry.split(".")
        if len(part) == 3 and part[1].isdigit():
            found.setdefault(part[0], []).append(int(part[1]))
    return found


def later(log: Path, alias: str, shown: Alias | None) -> Alias | None:
    """The newest revision in the log, None when it is no newer than ``shown``."""
    newest = max(revisions(log).get(alias, []), default=0)
    if newest <= (shown.revision if shown else 0):
        return None
    return parse(read(path(log, alias, newest)), alias)


def history(volume: Volume, model: str, alias: str) -> list[Alias]:
    """The changes of an alias, newest first, at most HISTORY of them."""
    log = folder(volume, model)
    found = []
    for revision in sorted(revisions(log).get(alias, []), reverse=True)[:HISTORY]:
        try:
            found.append(parse(read(path(log, alias, revision)), alias))
        except (FileNotFoundError, errors.Corrupt):
            continue
    return found


def made(volume: Volume, model: str, alias: str, asked: str) -> Alias | None:
    """The change that this request has made already, among those that are kept; None where it has not."""
    return next((one for one in history(volume, model, alias) if asked and one.asked == asked), None)


def forget_old(log: Path, alias: str) -> None:
    """Drop what is beyond HISTORY."""
    for revision in sorted(revisions(log).get(alias, []))[:-HISTORY]:
        path(log, alias, revision).unlink(missing_ok=True)
