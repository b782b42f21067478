"""The folder of datasets: swept beside uploads, by its own clock, and also where it is full."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.datasets.files import DatasetFolder
from api.jobs.sweeping import Sweeper
from api.ledger import Ledger
from api.offline.folder import OutputFolder
from wire.retention import Retention

OUT_OF_ROOM = OSError(errno.ENOSPC, "No space left on device")
TYPE = {"content-type": "text/csv"}
DAY_S = 24 * 3600


@pytest.fixture
def folder(tmp_path: Path) -> DatasetFolder:
    return DatasetFolder(tmp_path / "datasets")


def out_of_room(*_: Any, **__: Any) -> Any:
    raise OUT_OF_ROOM


def test_a_draft_whose_upload_ends_meanwhile_is_passed_over(
    folder: DatasetFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    drafts = [folder.draft() for _ in range(3)]
    for draft in drafts:
        draft.touch()
        os.utime(draft, (1, 1))
    real = Path.stat

    def stat(path: Path, **more: Any) -> os.stat_result:
        if path == drafts[1]:
            path.unlink(missing_ok=True)
        return real(path, **more)

    monkeypatch.setattr(Path, "stat", stat)
    folder.empty_trash()
    assert list(drafts[0].parent.iterdir()) == []


def test_the_age_of_a_draft_is_not_told_by_the_processs_clock(
    folder: DatasetFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh, old = folder.draft(), folder.draft()
    for draft in (fresh, old):
        draft.touch()
    os.utime(old, (time.time() - DAY_S - 60,) * 2)
    real = time.time
    for ahead_s in (25 * 3600, -25 * 3600):
        monkeypatch.setattr(time, "time", lambda ahead_s=ahead_s: real() + ahead_s)
        folder.empty_trash()
        assert (fresh.exists(), old.exists()) == (True, False)
        old.touch()
        os.utime(old, (real() - DAY_S - 60,) * 2)


def test_what_one_part_of_a_sweep_fails_with_keeps_no_other_waiting(
    lite: Ledger, folder: DatasetFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(folder, "empty_trash", fail)
    monkeypatch.setattr(folder, "ids", fail)
    outputs = OutputFolder(tmp_path / "outputs")
    outputs.file("a" * 32, "output.csv").parent.mkdir(parents=True)
    Sweeper(lite, folder, outputs, Retention()).sweep()
    assert outputs.job_ids() == set()


@pytest.mark.parametrize("step", ["mkdir", "open"])
async def test_an_upload_onto_a_full_volume_is_507(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(Path, step, out_of_room)
    answer = await client.post("/datasets", content=b"a\n1\n", headers=TYPE)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")


async def test_an_upload_whose_own_folder_has_no_room_is_507_and_leaves_nothing(
    client: httpx.AsyncClient, folder: DatasetFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.mkdir

    def mkdir(path: Path, **more: Any) -> None:
        if path.name != ".tmp":
            raise OUT_OF_ROOM
        real(path, **more)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    answer = await client.post("/datasets", content=b"a\n1\n", headers=TYPE)
    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert [path for path in folder.root.rglob("*") if path.is_file()] == []
    assert (await client.get("/datasets")).json()["datasets"] == []


@pytest.mark.parametrize("step", ["mkdir", "rename"])
async def test_a_dataset_on_a_full_volume_can_be_deleted(
    client: httpx.AsyncClient, folder: DatasetFolder, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    stored = (await client.post("/datasets", content=b"a\n1\n", headers=TYPE)).json()["dataset_id"]
    monkeypatch.setattr(Path, step, out_of_room)
    assert (await client.delete(f"/datasets/{stored}")).status_code == 204
    assert folder.ids() == []


def test_the_trash_is_emptied_and_stays(folder: DatasetFolder) -> None:
    (folder.root / ("0" * 32)).mkdir(parents=True)
    folder.remove("0" * 32)
    folder.empty_trash()
    trash = folder.root / ".trash"
    assert (trash.is_dir(), list(trash.iterdir())) == (True, [])
