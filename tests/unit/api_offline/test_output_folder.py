"""One output per job, whole or not at all, whoever else works on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.datasets.files import DatasetFolder
from api.jobs.sweeping import Sweeper
from api.ledger import Ledger
from api.ledger.leases import Ended
from api.offline.folder import CSV, PARQUET, OutputFolder, Summary, is_full
from api.offline.order import KIND
from tests.jobs import new_job
from wire import settings
from wire.retention import Retention

JOB = "0" * 31 + "1"
OTHER = "0" * 31 + "2"


@pytest.fixture
def folder(tmp_path: Path) -> OutputFolder:
    return OutputFolder(tmp_path / "predictions")


def summary(rows: int = 1) -> Summary:
    return Summary(
        model="m", version=1, rows=rows, refused=0, columns=("prediction", "error"), csv_bytes=1, parquet_bytes=1
    )


def filled(folder: OutputFolder, job_id: str = JOB, epoch: int = 1, text: str = "a\n") -> Path:
    draft = folder.draft(job_id, epoch)
    for name in (CSV, PARQUET, "rows.blocks"):
        (draft / name).write_text(text)
    return draft


def test_an_output_appears_whole(folder: OutputFolder) -> None:
    draft = filled(folder)
    assert folder.find(JOB) is None
    folder.publish(draft, JOB, summary(3))
    assert folder.find(JOB) == summary(3)
    assert sorted(path.name for path in folder.file(JOB, CSV).parent.iterdir()) == [CSV, PARQUET, "summary.json"]
    assert not draft.exists()


def test_a_second_attempt_leaves_the_first_output(folder: OutputFolder) -> None:
    folder.publish(filled(folder, text="first\n"), JOB, summary())
    folder.publish(filled(folder, epoch=2, text="second\n"), JOB, summary(2))
    assert folder.file(JOB, CSV).read_text() == "first\n"
    assert folder.find(JOB) == summary()


def test_a_new_attempt_takes_away_older_drafts_and_no_others(folder: OutputFolder) -> None:
    old, other = filled(folder), filled(folder, OTHER)
    new = folder.draft(JOB, 2)
    assert (old.exists(), new.exists(), other.exists()) == (False, True, True)
    folder.drop(JOB, 1)
    folder.clear(JOB, 1)
    assert new.exists()
    folder.clear(JOB, 2)
    assert not new.exists()


def test_an_attempt_that_lost_its_draft_publishes_nothing(folder: OutputFolder) -> None:
    draft = filled(folder)
    folder.draft(JOB, 2)
    with pytest.raises(FileNotFoundError):
        folder.publish(draft, JOB, summary())
    assert folder.find(JOB) is None


def test_only_a_full_volume_is_full() -> None:
    assert is_full(OSError(28, "no space"))
    assert not is_full(OSError(13, "denied"))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(settings.Ledger(url=f"sqlite:///{tmp_path}/ledger.sqlite3"))
    ledger.migrate()
    return ledger


def test_a_sweep_keeps_outputs_of_fresh_successes_and_drafts_of_live_jobs(
    ledger: Ledger, folder: OutputFolder, tmp_path: Path
) -> None:
    kept, failed, live = (ledger.jobs.accept(new_job(kind=KIND), queued_limit=9).job_id for _ in range(3))
    for job_id, ended in ((kept, Ended("succeeded", result={})), (failed, Ended("cancelled"))):
        job = ledger.leases.take(job_id, "w")
        assert job is not None
        ledger.leases.finish(job_id, job.epoch, ended)
        folder.publish(filled(folder, job_id), job_id, summary())
    draft, forgotten = filled(folder, live), filled(folder, failed, 2)
    folder.publish(filled(folder, OTHER), OTHER, summary())

    Sweeper(ledger, DatasetFolder(tmp_path / "none"), folder, Retention()).sweep()
    assert folder.job_ids() == {kept, live}
    assert (draft.exists(), forgotten.exists()) == (True, False)

    Sweeper(ledger, DatasetFolder(tmp_path / "none"), folder, Retention(outputs_days=1e-9)).sweep()
    assert folder.job_ids() == {live}
    ledger.close()
