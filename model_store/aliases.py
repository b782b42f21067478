"""Aliases: names that move between versions, each move a compare-and-swap with a history.

``aliases/<alias>.json`` is what predictors read, once per batch. Every change first appears in the
log, made exclusively: of two movers of one revision one wins, and whoever finds a revision in the
log that the alias does not show yet carries it out.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from model_store import alias_log, durable, errors, names
from model_store.alias_log import HISTORY, Alias, history
from model_store.volume import Volume

__all__ = [
    "HISTORY", "Alias", "Pointer", "delete_alias", "forget_deleted", "history", "list_aliases", "move_alias", "naming",
    "newest", "read_alias", "rollback",
]  # fmt: skip

MAX_ALIASES = 100
"""Most aliases of a model besides champion; deleted ones count while their changes are kept."""

DELETED_KEEP_S = 3600.0
"""Seconds for which the changes of a deleted alias are kept at least: longer than any change takes."""

_STALE_TRIES = 3
_MOVE_TRIES = 16


def read_alias(volume: Volume, model: str, alias: str) -> Alias:
    """What the alias names now. Raises errors.NoSuchModel, NoSuchAlias, Corrupt."""
    path = _path(volume, model, alias)
    for _ in range(_STALE_TRIES):
        try:
            return alias_log.parse(alias_log.read(path), alias)
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
    return alias_log.later(alias_log.folder(volume, model), alias, shown) or shown


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
            data = alias_log.read(self._path)
            seen, version = self._seen
            if data != seen:
                version = alias_log.parse(data, self._alias).version
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
    volume: Volume, model: str, alias: str, version: int, *, expected: int | None = None, by: str = "", asked: str = ""
) -> Alias:
    """Point the alias at a version that is there; the alias afterwards.

    ``expected`` is the version it must name now (0: none yet), None for any. An alias that
    names the version already stays as it is, so a repeated move is harmless. Raises
    errors.NoSuchModel, NoSuchVersion, StaleAlias, TooManyAliases, NoSpace, Contended.
    """
    volume.require(model, version)
    with errors.full_volume_named():
        volume.prepare(model)
        return _change(volume, model, alias, version, expected, by, asked)


def delete_alias(volume: Volume, model: str, alias: str, *, by: str = "", asked: str = "") -> Alias:
    """Remove the alias; its last state, version 0. Raises errors.NoSuchModel, NoSuchAlias.

    A request (``asked``) that comes a second time makes no second change, here and in ``rollback``.
    """
    if made := alias_log.made(volume, model, alias, asked):
        return made
    with suppress(errors.Corrupt):
        read_alias(volume, model, alias)
    with errors.full_volume_named():
        return _change(volume, model, alias, 0, None, by, asked)


def rollback(
    volume: Volume,
    model: str,
    alias: str = names.CHAMPION,
    *,
    by: str = "",
    asked: str = "",
    ready: Callable[[int], object] = lambda _version: None,
) -> Alias:
    """Point the alias at the version it named before. Raises errors.NoSuchVersion when there is none.

    ``ready`` is called with that version before the move, however long it takes: where the alias moved
    meanwhile, it stays and errors.StaleAlias is raised.
    """
    if made := alias_log.made(volume, model, alias, asked):
        return made
    now = read_alias(volume, model, alias)
    if not now.previous:
        raise errors.NoSuchVersion(f"{alias} of {model} named no version before")
    ready(now.previous)
    return move_alias(volume, model, alias, now.previous, expected=now.version, by=by, asked=asked)


def forget_deleted(volume: Volume, model: str, before_s: float) -> int:
    """Drop the changes of aliases that were deleted before then; how many aliases those are."""
    log, forgotten = alias_log.folder(volume, model), 0
    for alias, revisions in alias_log.revisions(log).items():
        try:
            last = alias_log.path(log, alias, max(revisions))
            if last.stat().st_mtime >= before_s or alias_log.parse(alias_log.read(last), alias).version:
                continue
            _carry_out(volume, model, alias)
        except (FileNotFoundError, errors.Corrupt, errors.BadName):
            continue
        for revision in revisions:
            alias_log.path(log, alias, revision).unlink(missing_ok=True)
        forgotten += 1
    return forgotten


def _change(volume: Volume, model: str, alias: str, version: int, expected: int | None, by: str, asked: str) -> Alias:
    log = alias_log.folder(volume, model)
    for _ in range(_MOVE_TRIES):
        now = _carry_out(volume, model, alias)
        current, revision = (now.version, now.revision) if now else (0, 0)
        if now and current == version:
            return now
        if expected is not None and expected != current:
            raise errors.StaleAlias(current)
        if now is None and version and alias != names.CHAMPION:
            _require_room(volume, model)
        new = Alias(
            alias=alias,
            version=version,
            revision=revision + 1,
            previous=current,
            changed_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            by=by,
            asked=asked,
        )
        if durable.create_once(volume.tmp(model), alias_log.path(log, alias, revision + 1), msgspec.json.encode(new)):
            _carry_out(volume, model, alias)
            alias_log.forget_old(log, alias)
            return new
    raise errors.Contended("the alias keeps moving")


def _require_room(volume: Volume, model: str) -> None:
    """Raise errors.TooManyAliases where a name more is one too many."""
    if _count(volume, model) >= MAX_ALIASES:
        forget_deleted(volume, model, durable.touch_clock_s(volume.aliases(model)) - DELETED_KEEP_S)
        if _count(volume, model) >= MAX_ALIASES:
            raise errors.TooManyAliases(f"a model has at most {MAX_ALIASES} aliases")


def _count(volume: Volume, model: str) -> int:
    folder = volume.aliases(model)
    shown = {entry.removesuffix(".json") for entry in durable.entries(folder) if entry.endswith(".json")}
    return len((shown | alias_log.revisions(alias_log.folder(volume, model)).keys()) - {names.CHAMPION})


def _carry_out(volume: Volume, model: str, alias: str) -> Alias | None:
    """Make the alias show its newest revision; that revision.

    Repeated until nothing newer is there, so a mover that was held up for long cannot leave
    an older state behind.
    """
    log, path = alias_log.folder(volume, model), _path(volume, model, alias)
    shown = _shown(path, alias)
    while (later := alias_log.later(log, alias, shown)) is not None:
        shown = later
        if shown.version:
            durable.replace_file(volume.tmp(model), path, msgspec.json.encode(shown))
        else:
            durable.remove_file(path)
    return shown


def _shown(path: Path, alias: str) -> Alias | None:
    try:
        return alias_log.parse(alias_log.read(path), alias)
    except (OSError, errors.Corrupt):
        return None


def _path(volume: Volume, model: str, alias: str) -> Path:
    return volume.aliases(model) / f"{names.check_alias(alias)}.json"
