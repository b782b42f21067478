"""Deletion: a version goes at once for readers, its bytes a while later.

The marker ``deleted`` appears in the version's folder first; then its files move to ``.trash``,
where whoever still has them open can finish. The folder stays with the marker, so the number is
never given to another artefact, and a predictor that remembers the old one is not mistaken.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from model_store import aliases, durable, errors, job_index, names
from model_store.volume import Volume

FRESH_S = 300.0
"""Seconds for which a new version is in nobody's excess: its trainer may be about to name it."""


def delete_version(volume: Volume, model: str, version: int) -> None:
    """Delete a version that no alias names.

    Raises errors.NoSuchModel, NoSuchVersion, VersionAliased.
    """
    volume.require(model, version)
    used_by = aliases.naming(volume, model, version)
    if used_by:
        raise errors.VersionAliased(used_by)
    _retire(volume, model, version)


def delete_model(volume: Volume, model: str, *, by: str = "") -> list[int]:
    """Delete every alias and version of a model; the versions that went.

    The folder stays with the numbers and the jobs that were used, so a model made anew under
    this name goes on counting. Raises errors.NoSuchModel.
    """
    versions = volume.versions(model)
    if not versions:
        raise errors.NoSuchModel(f"no model {model}")
    for alias in aliases.list_aliases(volume, model):
        with suppress(errors.NoSuchAlias):
            aliases.delete_alias(volume, model, alias.alias, by=by)
    for version in versions:
        _retire(volume, model, version)
    return versions


def retire_unclaimed(volume: Volume, model: str, version: int) -> bool:
    """Delete a version whose job has another one or none; False when an alias names it."""
    if aliases.naming(volume, model, version):
        return False
    _retire(volume, model, version)
    return True


def excess_versions(volume: Volume, model: str, keep: int) -> list[int]:
    """The versions over ``keep``, oldest first, that may be deleted.

    What an alias names is never among them, nor what is younger than FRESH_S; what an alias named
    just before goes last, so that a rollback stays possible.
    """
    versions = volume.versions(model)
    named = aliases.list_aliases(volume, model)
    current = {alias.version for alias in named}
    before = {alias.previous for alias in named}
    free = [version for version in versions if version not in current]
    ordered = [v for v in free if v not in before] + [v for v in free if v in before]
    excess = ordered[: max(0, len(versions) - keep)]
    if not excess:
        return []
    fresh_from = durable.touch_clock_s(volume.model(model)) - FRESH_S
    return [version for version in excess if volume.version(model, version).stat().st_mtime < fresh_from]


def finish_retiring(volume: Volume, model: str, version: int) -> None:
    """Move what is left of a deleted version out of its folder."""
    folder = volume.version(model, version)
    left = [name for name in durable.entries(folder) if name != names.DELETED]
    if not left:
        return
    away = _away(volume, model, folder.name)
    for name in left:
        if away is None:
            durable.discard_tree(folder / name)
        else:
            with suppress(FileNotFoundError):
                (folder / name).rename(away / name)
    durable.sync_folder(folder)


def _away(volume: Volume, model: str, name: str) -> Path | None:
    """A folder in the trash; None where room is short, so that deleting makes some at once.

    Readers cope with files that vanish; the trash only spares them the trouble.
    """
    trash = volume.trash(model)
    if volume.is_nearly_full():
        for old in durable.entries(trash):
            durable.discard_tree(trash / old)
        return None
    try:
        with errors.full_volume_named():
            return durable.make_folder(durable.temporary_name(trash, name))
    except errors.NoSpace:
        return None


def _retire(volume: Volume, model: str, version: int) -> None:
    folder = volume.version(model, version)
    volume.prepare(model)
    _remember_job(volume, model, version)
    _mark(folder)
    durable.sync_folder(folder)
    finish_retiring(volume, model, version)


def _remember_job(volume: Volume, model: str, version: int) -> None:
    """After the manifest is gone, the index alone knows that the job had its version."""
    origin = job_index.origin_of(volume, model, version)
    if origin is not None:
        with suppress(errors.BadName, errors.NoSpace), errors.full_volume_named():
            job_index.claim(volume, model, origin.job_id, version)


def _mark(folder: Path) -> None:
    """Make the marker out of a file that is there: that needs no room, and is one step."""
    for name in (names.SIGNATURE, names.MANIFEST, *durable.entries(folder)):
        with suppress(FileNotFoundError):
            (folder / name).rename(folder / names.DELETED)
            return
    durable.write_file(folder / names.DELETED, b"")
