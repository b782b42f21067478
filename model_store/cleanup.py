"""Clean-up at a trainer's start and with every sweep: what crashes and deletions left behind.

Safe beside living publishers, settlers and readers on any machine: it does only what they would
do themselves, and removes bytes only when nobody can be using them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from model_store import aliases, deletion, durable, errors, job_index, numbering, owners
from model_store.volume import Volume

GRACE_S = 300.0
"""Seconds an unowned draft or a deleted file is left alone: longer than any load takes."""

INDEX_KEEP_S = 90 * 86_400.0
"""Seconds the entry of a job and the number of a deleted version are kept at least."""


@dataclass(frozen=True)
class Cleaned:
    """What a clean-up did: folders and files removed, index entries mended, versions retired.

    ``failed``: by model, what it stopped at there; the others were cleaned all the same.
    """

    removed: int
    mended: int
    retired: int
    failed: dict[str, Exception]


def clean(volume: Volume, grace_s: float = GRACE_S, index_keep_s: float = INDEX_KEEP_S) -> Cleaned:
    """Clean every model. Ages are judged by the volume's own clock."""
    removed = mended = retired = 0
    failed: dict[str, Exception] = {}
    # First what makes room: a full volume is cleaned as well, and the rest needs some.
    for model in volume.folders():
        with _noted(failed, volume, model):
            now = durable.touch_clock_s(volume.model(model))
            removed += _empty_tmp(volume.tmp(model), now - grace_s)
            removed += _empty(volume.trash(model), now - grace_s)
    for model in volume.folders():
        with _noted(failed, volume, model):
            volume.prepare(model)
            now = durable.touch_clock_s(volume.model(model))
            more_mended, more_retired = _reconcile(volume, model)
            mended, retired = mended + more_mended, retired + more_retired
            removed += _forget(volume, model, now - grace_s, now - index_keep_s) + _remove_unused(volume, model)
    return Cleaned(removed, mended, retired, failed)


@contextmanager
def _noted(failed: dict[str, Exception], volume: Volume, model: str) -> Iterator[None]:
    """One model's trouble keeps nobody from cleaning the next."""
    try:
        yield
    except (OSError, errors.StoreError) as error:
        # One that is not there was unused, and another trainer's clean-up was faster.
        if volume.model(model).is_dir():
            failed[model] = error


def _reconcile(volume: Volume, model: str) -> tuple[int, int]:
    """Finish deletions, index what is not, and retire a job's second version."""
    mended = retired = 0
    for version in volume.numbers(model):
        if volume.is_deleted(model, version):
            deletion.finish_retiring(volume, model, version)
            continue
        origin = job_index.origin_of(volume, model, version)
        if origin is None:
            continue
        held = job_index.look_up(volume, model, origin.job_id)
        if held is None:
            held = job_index.claim(volume, model, origin.job_id, version)
            mended += 1
        if held != version and deletion.retire_unclaimed(volume, model, version):
            retired += 1
    return mended, retired


def _empty_tmp(tmp: Path, before_s: float) -> int:
    removed = 0
    for path in _entries(tmp):
        dead = owners.is_dead(numbering.owner(path))
        if dead or (dead is None and _older(path, before_s)):
            # An owner that was only frozen may wake now: the draft is renamed by one of the two.
            with suppress(FileNotFoundError):
                durable.discard_tree(path.rename(durable.temporary_name(tmp, "gone")))
                removed += 1
    return removed


def _empty(trash: Path, before_s: float) -> int:
    old = [path for path in _entries(trash) if _older(path, before_s)]
    for path in old:
        durable.discard_tree(path)
    return len(old)


def _forget(volume: Volume, model: str, marks_before_s: float, before_s: float) -> int:
    """Drop marks, entries and numbers nothing can ask for any more."""
    removed = aliases.forget_deleted(volume, model, before_s)
    for path in _entries(volume.by_job(model)):
        is_mark = "." in path.name
        if _older(path, marks_before_s if is_mark else before_s) and (is_mark or _is_history(volume, model, path)):
            path.unlink(missing_ok=True)
            removed += 1
    # The highest number stays for ever: the next one is counted from it.
    for version in volume.numbers(model)[:-1]:
        folder = volume.version(model, version)
        if volume.is_deleted(model, version) and _older(folder, before_s):
            folder.rename(durable.temporary_name(volume.trash(model), folder.name))
            removed += 1
    return removed


def _remove_unused(volume: Volume, model: str) -> bool:
    """Remove the folders of a model of which nothing is left: no draft, no job and no number.

    Where one is not empty, the rest stay. Who begins at this moment makes them again.
    """
    if volume.numbers(model):
        return False
    aliased = volume.aliases(model)
    folders = (volume.tmp(model), volume.trash(model), volume.by_job(model), aliased / ".log", aliased)
    with suppress(OSError):
        for folder in (*folders, volume.model(model)):
            folder.rmdir()
        return True
    return False


def _is_history(volume: Volume, model: str, entry: Path) -> bool:
    held = job_index.look_up(volume, model, entry.name)
    return held is None or held == job_index.TOMBSTONE or not volume.has_version(model, held)


def _entries(folder: Path) -> list[Path]:
    return [folder / name for name in durable.entries(folder)]


def _older(path: Path, before_s: float) -> bool:
    try:
        return path.lstat().st_mtime < before_s
    except FileNotFoundError:
        return False
