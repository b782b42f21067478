"""A full volume: jobs end on it, and it is cleaned."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from model_store import cleanup, durable, errors, job_index, reserve, settling
from tests.unit.model_store.disturbing import Store, run_and_die

OUT_OF_ROOM = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def full(store: Store, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A volume on which nothing can be made until six files of the reserve are gone."""
    store.publish()
    reserve.fill(store.volume)
    folder = store.volume.root / reserve.FOLDER
    real = os.open

    def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_CREAT and len(durable.entries(folder)) > reserve.FILES - 6:
            raise OUT_OF_ROOM
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", opened)
    return store


def test_a_job_ends_on_a_full_volume(full: Store) -> None:
    with pytest.raises(errors.NoSpace):
        full.publish(job_id="job-2")

    assert settling.settle(full.volume, "iris", "job-2", full.verifier) == job_index.TOMBSTONE

    assert job_index.look_up(full.volume, "iris", "job-2") == job_index.TOMBSTONE
    with pytest.raises(errors.JobTombstoned):
        full.publish(job_id="job-2")


def test_a_full_volume_whose_reserve_is_used_up_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.publish()
    reserve.fill(store.volume)

    def refused(_tmp: Path, _target: Path, _data: bytes) -> bool:
        raise OUT_OF_ROOM

    monkeypatch.setattr(durable, "create_once", refused)
    with pytest.raises(errors.NoSpace):
        settling.settle(store.volume, "iris", "job-2", store.verifier)
    assert not reserve.release(store.volume)


def test_the_reserve_is_made_once_and_again_after_use(store: Store) -> None:
    assert reserve.fill(store.volume) == reserve.FILES
    assert reserve.fill(store.volume) == 0
    sizes = {path.stat().st_size for path in (store.volume.root / reserve.FOLDER).iterdir()}
    assert sizes == {reserve.FILE_BYTES}
    assert reserve.release(store.volume)
    assert reserve.fill(store.volume) == 1
    assert store.volume.folders() == []


def test_a_nearly_full_volume_keeps_its_last_room(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(store.volume), "is_nearly_full", lambda _self: True)
    assert reserve.fill(store.volume) == 0


def test_two_who_use_the_reserve_at_once_take_two_files(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve.fill(store.volume)
    (store.volume.root / reserve.FOLDER / "000").unlink()
    real = durable.entries
    monkeypatch.setattr(durable, "entries", lambda folder: ["000", *real(folder)])
    assert reserve.release(store.volume)
    assert len(real(store.volume.root / reserve.FOLDER)) == reserve.FILES - 2


def test_a_full_volume_is_cleaned(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.publish()
    run_and_die(lambda: store.draft(job_id="job-2"))
    real = os.open

    def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_CREAT:
            raise OUT_OF_ROOM
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", opened)
    assert cleanup.clean(store.volume).removed == 1
    assert durable.entries(store.volume.tmp("iris")) == []


def test_the_folders_clock_is_the_volumes(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert abs(durable.touch_clock_s(tmp_path) - (tmp_path / "file").stat().st_mtime) < 5
