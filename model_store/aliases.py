"""Aliases: names that move between versions, each move a compare-and-swap with a history.

``aliases/<alias>.json`` is what predictors read, once per batch. Every change first appears as
``aliases/.log/<alias>.<revision>.json``, made exclusively: of two movers of one revision one
wins, and whoever finds a revision in the log that the alias does not show yet carries it out.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from model_store import durable, errors, names
from model_store.volume import Volume

HISTORY = 20
"""How many changes of an alias are kept."""

_MAX_BYTES = 4096
_STALE_TRIES = 3
_MOVE_TRIES = 16


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """An alias after a change.

    ``version`` 0: it was deleted. ``previous`` 0: it named nothing before. ``revision`` counts
    its changes from 1; ``changed_at`` is ISO 8601 UTC; ``by`` says who asked.
    """

    alias: str = ""
    version: int
    revision: int
    previous: int
    changed_at: str
    by: str = ""


def read_alias(volume: Volume, model: str, alias: str) -> Alias:
    """What the alias names now. Raises errors.NoSuchModel, NoSuchAlias, Corrupt."""
    path = _path(volume, model, alias)
    for _ in range(_STALE_TRIES):
        try:
            return _parse(_read(path), alias)
        except OSError as error:
            # On NFS a file that was replaced under our hands is stale once, then new.
            if error.errno == errno.ESTALE:
                continue
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                break
            if error.errno == errno.ELOOP:
                raise errors.Corrupt("the alias is a link") from error
            raise
    if not volume.versions(model):
        raise errors.NoSuchModel(f"no model {model}")
    raise errors.NoSuchAlias(f"{model} has no alias {alias}")


def newest(volume: Volume, model: str, alias: str) -> Alias | None:
    """The state after the last change, which the next one starts from: shown already or not, deleted or not.

    None for an alias that never was. Raises errors.Corrupt, BadName.
    """
    shown = _shown(_path(volume, model, alias), alias)
    return _later(volume.aliases(model) / ".log", alias, shown) or shown


class Pointer:
    """One alias that is read again and again: the path is built once, the content parsed when it differs.

    Raises errors.BadName where the names can be none.
    """

    def __init__(self, volume: Volume, model: str, alias: str) -> None:
        self._path = str(_path(volume, model, alias))
        self._alias = alias
        self._seen: tuple[bytes, int] = (b"", 0)

    def version(self) -> int:
        """The version the file names now; 0 where ``read_alias`` has to say what is the matter."""
        try:
            data = _read(self._path)
            seen, version = self._seen
            if data != seen:
                version = _parse(data, self._alias).version
                self._seen = (data, version)
        except (OSError, errors.Corrupt):
            return 0
        return version


def list_aliases(volume: Volume, model: str) -> list[Alias]:
    """Every alias of a model, by name; none for a model that is not there.

    One whose file is spoilt is where its log says. Raises errors.Corrupt for one without a log.
    """
    found = []
    for entry in durable.entries(volume.aliases(model)):
        if entry.endswith(".json"):
            with suppress(errors.NoSuchAlias, errors.NoSuchModel, errors.BadName):
                found.append(_read_or_logged(volume, model, entry.removesuffix(".json")))
    return [alias for alias in found if alias.version]


def _read_or_logged(volume: Volume, model: str, alias: str) -> Alias:
    try:
        return read_alias(volume, model, alias)
    except errors.Corrupt:
        logged = newest(volume, model, alias)
        if logged is None:
            raise
        return logged


def naming(volume: Volume, model: str, version: int) -> list[str]:
    """The aliases that name this version."""
    return [alias.alias for alias in list_aliases(volume, model) if alias.version == version]


def move_alias(
    volume: Volume, model: str, alias: str, version: int, *, expected: int | None = None, by: str = ""
) -> Alias:
    """Point the alias at a version that is there; the alias afterwards.

    ``expected`` is the version it must name now (0: none yet), None for any. An alias that
    names the version already stays as it is, so a repeated move is harmless. Raises
    errors.NoSuchModel, NoSuchVersion, StaleAlias, NoSpace, Contended.
    """
    volume.require(model, version)
    with errors.full_volume_named():
        volume.prepare(model)
        return _change(volume, model, alias, version, expected, by)


def delete_alias(volume: Volume, model: str, alias: str, *, by: str = "") -> Alias:
    """Remove the alias; its last state, version 0. Raises errors.NoSuchModel, NoSuchAlias."""
    with suppress(errors.Corrupt):
        read_alias(volume, model, alias)
    with errors.full_volume_named():
        return _change(volume, model, alias, 0, None, by)


def rollback(
    volume: Volume,
    model: str,
    alias: str = names.CHAMPION,
    *,
    by: str = "",
    ready: Callable[[int], object] = lambda _version: None,
) -> Alias:
    """Point the alias at the version it named before. Raises errors.NoSuchVersion when there is none.

    ``ready`` is called with that version before the move, however long it takes: where the alias moved
    meanwhile, it stays and errors.StaleAlias is raised.
    """
    now = read_alias(volume, model, alias)
    if not now.previous:
        raise errors.NoSuchVersion(f"{alias} of {model} named no version before")
    ready(now.previous)
    return move_alias(volume, model, alias, now.previous, expected=now.version, by=by)


def history(volume: Volume, model: str, alias: str) -> list[Alias]:
    """The changes of an alias, newest first, at most HISTORY of them."""
    log = volume.aliases(model) / ".log"
    found = []
    for revision in sorted(_revisions(log, alias), reverse=True)[:HISTORY]:
        try:
            found.append(_parse(_read(_log_path(log, alias, revision)), alias))
        except (FileNotFoundError, errors.Corrupt):
            continue
    return found


def _change(volume: Volume, model: str, alias: str, version: int, expected: int | None, by: str) -> Alias:
    log = volume.aliases(model) / ".log"
    for _ in range(_MOVE_TRIES):
        now = _carry_out(volume, model, alias)
        current, revision = (now.version, now.revision) if now else (0, 0)
        if now and current == version:
            return now
        if expected is not None and expected != current:
            raise errors.StaleAlias(current)
        changed_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        new = Alias(alias=alias, version=version, revision=revision + 1, previous=current, changed_at=changed_at, by=by)
        if durable.create_once(volume.tmp(model), _log_path(log, alias, revision + 1), msgspec.json.encode(new)):
            _carry_out(volume, model, alias)
            _forget_old(log, alias)
            return new
    raise errors.Contended("the alias keeps moving")


def _carry_out(volume: Volume, model: str, alias: str) -> Alias | None:
    """Make the alias show its newest revision; that revision.

    Repeated until nothing newer is there, so a mover that was held up for long cannot leave
    an older state behind.
    """
    log, path = volume.aliases(model) / ".log", _path(volume, model, alias)
    shown = _shown(path, alias)
    while (later := _later(log, alias, shown)) is not None:
        shown = later
        if shown.version:
            durable.replace_file(volume.tmp(model), path, msgspec.json.encode(shown))
        else:
            durable.remove_file(path)
    return shown


def _later(log: Path, alias: str, shown: Alias | None) -> Alias | None:
    """The newest revision in the log, None when it is no newer than ``shown``."""
    newest = max(_revisions(log, alias), default=0)
    if newest <= (shown.revision if shown else 0):
        return None
    return _parse(_read(_log_path(log, alias, newest)), alias)


def _shown(path: Path, alias: str) -> Alias | None:
    try:
        return _parse(_read(path), alias)
    except (OSError, errors.Corrupt):
        return None


def _forget_old(log: Path, alias: str) -> None:
    for revision in sorted(_revisions(log, alias))[:-HISTORY]:
        _log_path(log, alias, revision).unlink(missing_ok=True)


def _revisions(log: Path, alias: str) -> list[int]:
    parts = [entry.split(".") for entry in durable.entries(log)]
    return [int(part[1]) for part in parts if len(part) == 3 and part[0] == alias and part[1].isdigit()]


def _log_path(log: Path, alias: str, revision: int) -> Path:
    return log / f"{names.check_alias(alias)}.{revision:08d}.json"


def _path(volume: Volume, model: str, alias: str) -> Path:
    return volume.aliases(model) / f"{names.check_alias(alias)}.json"


def _read(path: Path | str) -> bytes:
    return durable.read_small(path, _MAX_BYTES)


def _parse(data: bytes, alias: str) -> Alias:
    try:
        found = msgspec.json.decode(data, type=Alias)
    except ValueError as error:
        raise errors.Corrupt("the alias cannot be read") from error
    return msgspec.structs.replace(found, alias=alias)
