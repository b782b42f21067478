"""One offline prediction followed in this process: how it ends, and that nothing else is left of it.

The broker is wire's own in memory; ledger, folder and files are real.
"""

from __future__ import annotations

import json
import resource
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.jobs import following, task
from api.jobs.views import view
from api.offline import window as windows
from api.offline.folder import CSV, Summary
from tests.rabbit import wait_until
from tests.unit.api_offline.shop import DATASET, Shop
from tests.unit.api_offline.test_window import echo
from wire import errors, messages, settings, topology
from wire.row_blocks import Block, Refused


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(task, "_RETRY_PAUSE_S", 0.01)
    monkeypatch.setattr(following, "POLL_S", 0.02)
    monkeypatch.setattr(windows, "POLL_S", 0.02)
    shop = Shop(tmp_path)
    yield shop
    shop.close()


def test_a_job_ends_with_one_whole_output(shop: Shop) -> None:
    job = shop.run(shop.accepted())
    assert (job.status, job.attempts) == ("succeeded", 1)
    assert json.loads(job.result or "") == {
        "model": "m",
        "version": 7,
        "rows": 4,
        "refused": 1,
        "columns": ["prediction", "error"],
        "csv_bytes": shop.folder.file(job.job_id, CSV).stat().st_size,
        "parquet_bytes": 4,
    }
    assert shop.folder.file(job.job_id, CSV).read_text() == "prediction,error\n1,\n2,\n,x must be a number\n3,\n"
    assert len(shop.left()) == 3
    shown = view(job)
    assert (shown.kind, shown.version, shown.dataset.id, shown.links.output) == (
        "predict",
        7,
        DATASET,
        f"/jobs/{job.job_id}/output",
    )
    fractions = [
        json.loads(e.data)["progress"]["fraction"] for e in shop.ledger.jobs.events(job.job_id, after=0, limit=99)
    ]
    assert fractions == sorted(fractions)


def test_an_output_that_was_published_before_a_crash_is_the_output(shop: Shop) -> None:
    job = shop.accepted()
    summary = Summary(model="m", version=7, rows=1, refused=0, columns=(), csv_bytes=1, parquet_bytes=1)
    shop.folder.publish(shop.folder.draft(job.job_id, 0), job.job_id, summary)
    assert shop.run(job).status == "succeeded"
    assert shop.tables.asked == []


@pytest.mark.parametrize("error", [errors.BadInput("The table has no rows."), errors.StorageFull()])
def test_what_the_trainer_cannot_read_ends_the_job_at_once(shop: Shop, error: errors.WarrenError) -> None:
    shop.tables.failure = error
    job = shop.run(shop.accepted())
    assert (job.status, job.error_code, job.error_message, job.attempts) == ("failed", error.code, error.message, 1)
    assert shop.left() == []


def test_a_dataset_that_the_trainer_does_not_see_costs_attempts(shop: Shop) -> None:
    shop.tables.failure = errors.DatasetNotFound()
    job = shop.run(shop.accepted())
    assert (job.status, job.attempts, job.holder) == ("running", 1, None)
    job = shop.run(job)
    assert (job.status, job.error_code, job.dead_letter) == ("failed", "dataset_not_found", "due")
    assert shop.left() == []


def test_a_version_that_is_gone_ends_the_job_at_once(shop: Shop) -> None:
    shop.say = lambda _rows, _request: errors.VersionNotFound()
    job = shop.run(shop.accepted())
    assert (job.status, job.error_code) == ("failed", "version_not_found")


def test_a_defect_is_tried_again_and_then_a_dead_letter(shop: Shop) -> None:
    shop.say = lambda _rows, _request: errors.InternalError()
    job = shop.run(shop.accepted())
    assert (job.status, job.attempts, job.holder) == ("running", 1, None)
    job = shop.run(job)
    assert (job.status, job.attempts, job.dead_letter) == ("failed", 2, "due")
    assert shop.left() == []


def test_a_dataset_without_one_row_to_predict_is_bad_input(shop: Shop) -> None:
    shop.tables.blocks = [Block(1, b"[]", b"", (Refused(0, "age must be a number"),))]
    job = shop.run(shop.accepted())
    assert (job.status, job.error_code) == ("failed", "bad_input")
    assert "age must be a number" in (job.error_message or "")


def test_rows_that_are_missing_from_the_draft_are_a_defect(shop: Shop) -> None:
    shop.tables.said_rows = 99
    job = shop.run(shop.accepted())
    assert (job.status, job.attempts, job.holder) == ("running", 1, None)


def test_a_cancel_ends_a_job_that_waits_for_predictors(shop: Shop) -> None:
    gate = threading.Event()
    shop.say = lambda found, request: (gate.wait(20), echo(found, request))[1]
    job = shop.accepted()
    thread = threading.Thread(target=shop.run, args=(job,))
    thread.start()
    wait_until(lambda: shop.predictor.seen, "a block is being computed")
    shop.ledger.jobs.request_cancel(job.job_id, owner=None)
    shop.keeper._renewed_at = float("inf")
    wait_until(lambda: (shop.keeper.look(), not thread.is_alive())[1], "the job has ended", 5)
    gate.set()
    assert shop.find(job).status == "cancelled"
    assert shop.left() == []
    wait_until(lambda: shop.tables.stopped == [job.job_id], "the trainer was told")


def test_a_cancel_that_nobody_asked_for_costs_an_attempt(shop: Shop) -> None:
    shop.tables.failure = errors.Cancelled()
    job = shop.run(shop.accepted())
    assert (job.status, job.attempts, job.holder, told_to_stop(shop)) == ("running", 1, None, [])
    shop.tables.failure = None
    assert shop.run(job).status == "succeeded"


def test_a_worker_that_lost_its_lease_leaves_its_successor_alone(shop: Shop) -> None:
    job = shop.accepted()

    def take_over() -> None:
        shop.ledger.leases.expire(shop.find(job), errors.InternalError().to_body(), limit=9)
        assert shop.ledger.leases.take(job.job_id, "w2") is not None
        raise errors.Cancelled

    shop.tables.before = take_over
    shop.run(job)
    assert (shop.find(job).holder, shop.find(job).attempts, told_to_stop(shop)) == ("w2", 2, [])


def told_to_stop(shop: Shop) -> list[str]:
    """The jobs whose work the trainer was told to end: all that was said before a last word of our own."""
    shop.rpc.broadcast(topology.STOP, messages.StopTraining(job_id="last"))
    wait_until(lambda: "last" in shop.tables.stopped, "the last word is heard")
    return shop.tables.stopped[: shop.tables.stopped.index("last")]


def test_a_worker_that_stops_gives_the_job_back(shop: Shop) -> None:
    gate = threading.Event()
    shop.say = lambda found, request: (gate.wait(20), echo(found, request))[1]
    job = shop.accepted()
    thread = threading.Thread(target=shop.run, args=(job,))
    thread.start()
    wait_until(lambda: shop.predictor.seen, "a block is being computed")
    shop.stopping.set()
    thread.join(10)
    gate.set()
    assert (shop.find(job).status, shop.find(job).attempts, shop.find(job).holder) == ("running", 0, None)
    assert shop.left() == []


def test_trainers_that_stop_cost_no_attempt(shop: Shop) -> None:
    job = shop.accepted()
    for _ in range(3):
        shop.tables.failure = errors.Stopping()
        job = shop.run(job)
        assert (job.holder, job.attempts, shop.left(), told_to_stop(shop)) == (None, 0, [], [])
        shop.tables.stopped.clear()
    shop.tables.failure = None
    job = shop.run(job)
    assert (job.status, job.attempts) == ("succeeded", 1)


def test_a_lost_lease_ends_the_attempt_and_changes_nothing(shop: Shop) -> None:
    gate = threading.Event()
    shop.say = lambda found, request: (gate.wait(20), echo(found, request))[1]
    job = shop.accepted()
    thread = threading.Thread(target=shop.run, args=(job,))
    thread.start()
    wait_until(lambda: shop.predictor.seen, "a block is being computed")
    shop.ledger.leases.expire(shop.find(job), errors.InternalError().to_body(), limit=9)
    wait_until(lambda: (shop.keeper.look(), not thread.is_alive())[1], "the attempt has ended", 5)
    gate.set()
    assert (shop.find(job).status, shop.find(job).holder) == ("running", None)


def test_progress_that_cannot_be_stored_does_not_end_the_job(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> bool:
        raise errors.LedgerUnavailable

    monkeypatch.setattr(shop.ledger.leases, "progress", away)
    assert shop.run(shop.accepted()).status == "succeeded"


def test_a_full_volume_ends_the_job_with_its_own_code(shop: Shop) -> None:
    many = b"[" + b",".join([b"[1]"] * 500) + b"]"
    shop.tables.blocks = [Block(500, many) for _ in range(800)]
    job = shop.accepted()
    size = 1024 * 1024
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    shop.say = lambda found, _request: b'"predictions":' + json.dumps(["x" * 20] * len(found)).encode()
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * size, before[1]))
    try:
        job = shop.run(job)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (job.status, job.error_code, job.attempts) == ("failed", "storage_full", 1)
    assert shop.left() == []


def test_an_output_beyond_the_bound_of_a_draft_ends_the_job_as_bad_input(shop: Shop) -> None:
    bound = settings.Bulk(draft_bytes=2_000)
    shop.attempts.config = shop.attempts.config.model_copy(update={"bulk": bound})
    shop.say = lambda found, _request: b'"predictions":' + json.dumps(["x" * 1_000] * len(found)).encode()
    job = shop.run(shop.accepted())
    assert (job.status, job.error_code, job.attempts) == ("failed", "bad_input", 1)
    assert "2000 bytes" in (job.error_message or "")
    assert shop.left() == []


def test_a_folder_that_cannot_be_written_is_tried_again(shop: Shop) -> None:
    shop.folder.root.write_text("not a folder")
    job = shop.run(shop.accepted())
    assert (job.status, job.attempts) == ("queued", 1)
