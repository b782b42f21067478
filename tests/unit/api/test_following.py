"""One job followed in this process: what the worker does when ledger, broker or trainer fail it.

The broker is wire's own in memory; the ledger is a real one, made to be away where a test says so.
"""

from __future__ import annotations

import msgspec
import pytest

from api.jobs import following, task
from api.jobs.following import Follower
from api.jobs.leases import Held, LeaseKeeper
from api.jobs.task import LedgerGone
from tests.jobs import too_large
from tests.rabbit import wait_until
from tests.unit.api.shop import Shop, away, unheard
from wire import errors, messages, settings, topology


def test_end_is_written_when_the_ledger_is_back(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.trainer()
    away(monkeypatch, shop.ledger.leases, "finish", 5)
    assert shop.run(shop.accepted()).status == "succeeded"


def test_lease_is_tried_again_while_the_ledger_is_away(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.trainer()
    away(monkeypatch, shop.ledger.leases, "take", 3)
    job = shop.run(shop.accepted())
    assert (job.status, shop.acknowledged) == ("succeeded", [job.job_id])


def test_lease_whose_commit_was_not_heard_is_kept(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.trainer()
    unheard(monkeypatch, shop.ledger.leases, "take")
    job = shop.run(shop.accepted())
    assert (job.status, job.attempts, job.epoch) == ("succeeded", 1, 1)


def test_message_that_comes_twice_to_one_worker_is_followed_once(shop: Shop) -> None:
    gate = shop.trainer().gate("slow")
    job = shop.accepted("slow")
    thread = shop.begin(job)
    shop.wait_status(job, "running")
    shop.run(job)
    assert (shop.keeper.count, shop.acknowledged) == (1, [job.job_id] * 2)
    gate.set()
    thread.join(15)
    assert (shop.find(job).status, shop.find(job).epoch) == ("succeeded", 1)


def test_message_is_not_acknowledged_without_a_lease(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "LEDGER_TRIES", 2)
    away(monkeypatch, shop.ledger.leases, "take", 99)
    with pytest.raises(LedgerGone):
        shop.run(shop.accepted())
    assert shop.acknowledged == []


def test_stopping_worker_takes_no_new_job(shop: Shop) -> None:
    shop.stopping.set()
    job = shop.accepted()
    with pytest.raises(LedgerGone):
        shop.run(job)
    assert (shop.find(job).attempts, shop.acknowledged) == (0, [])


def test_end_that_cannot_be_written_is_left_to_the_reaper(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.trainer()
    monkeypatch.setattr(task, "LEDGER_TRIES", 2)
    away(monkeypatch, shop.ledger.leases, "finish", 99)
    job = shop.accepted()
    with pytest.raises(LedgerGone):
        shop.run(job)
    assert (shop.find(job).status, shop.keeper.count) == ("running", 0)
    assert str(shop.find(job).holder).startswith("w1/")


def test_progress_that_cannot_be_stored_ends_no_training(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.trainer()
    away(monkeypatch, shop.ledger.leases, "progress", 99)
    job = shop.run(shop.accepted())
    assert (job.status, job.started_ms) == ("succeeded", None)


@pytest.mark.parametrize("noticed_by", ["progress", "renewal"])
def test_worker_that_lost_its_lease_leaves_the_job_alone(shop: Shop, noticed_by: str) -> None:
    trainer = shop.trainer()
    trainer.gate("slow")
    job = shop.accepted("slow")
    thread = shop.begin(job)
    shop.wait_status(job, "running")
    if noticed_by == "progress":
        wait_until(lambda: shop.find(job).fraction == 0.5, "it is half done")
    assert shop.ledger.leases.expire(shop.find(job), errors.InternalError().to_body(), limit=3) is not None
    if noticed_by == "renewal":
        shop.keeper.look()
        shop.keeper.look()
    else:
        trainer.gates["slow"].set()
    thread.join(10)
    left = shop.find(job)
    assert (left.status, left.holder, left.attempts) == ("running", None, 1)


def test_a_lease_that_progress_finds_lost_is_said_to_be(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    job = shop.ledger.leases.take(shop.accepted().job_id, "w1")
    assert job is not None
    assert shop.ledger.leases.expire(job, errors.InternalError().to_body(), limit=3) is not None
    held = Held(job)
    follower = Follower(shop.rpc, shop.ledger.leases, settings.Train(), held, shop.stopping)
    follower._progress(messages.TrainProgress(job_id=job.job_id, fraction=0.5, stage="fitting"))
    assert held.lost
    assert [said for said in caplog.messages if said.startswith("lease.lost")]
    assert not [said for said in caplog.messages if said.startswith("job.progressed")]


def test_renewals_bring_the_news_of_a_cancel(shop: Shop) -> None:
    trainer = shop.trainer()
    trainer.gate("slow")
    job = shop.accepted("slow")
    thread = shop.begin(job)
    shop.wait_status(job, "running")
    shop.ledger.jobs.request_cancel(job.job_id, owner=None)
    shop.keeper.look()
    thread.join(10)
    assert shop.find(job).status == "cancelled"


def test_between_renewals_only_cancels_are_asked_for(shop: Shop) -> None:
    keeper = LeaseKeeper(shop.ledger.leases, 3600)
    job = shop.ledger.leases.take(shop.accepted().job_id, "w1")
    assert job is not None
    keeper.look()
    with keeper.hold(job) as held:
        keeper.look()
        assert not held.cancel
        shop.ledger.jobs.request_cancel(job.job_id, owner=None)
        keeper.look()
        assert held.cancel
    assert shop.find(job).beat == job.beat


def test_request_that_got_lost_is_sent_again(shop: Shop) -> None:
    job = shop.accepted()
    thread = shop.begin(job, lost_s=3)
    wait_until(lambda: shop.rpc.queue_state(topology.TRAIN).messages == 1, "the request waits")
    with shop.broker.lock:
        shop.broker.queues[topology.TRAIN].ready.clear()
    shop.trainer()
    thread.join(30)
    assert (shop.find(job).status, shop.find(job).attempts) == ("succeeded", 1)


def test_request_that_got_lost_is_sent_again_though_others_wait(shop: Shop) -> None:
    trainer = shop.trainer(threads=1)
    gate = trainer.gate("slow")
    jobs = [shop.accepted(model) for model in ("forgotten", "slow", "good", "good")]
    threads = [shop.begin(jobs[0], lost_s=4.5)]
    trainer.wait_for(jobs[0].job_id)
    threads.append(shop.begin(jobs[1]))
    shop.wait_status(jobs[1], "running")
    threads += [shop.begin(jobs[2]), shop.begin(jobs[3], lost_s=3)]  # the trainer holds one, the queue the other
    wait_until(lambda: len(shop.waiting()) > 1, "a request is sent again")
    assert (len(shop.waiting()), jobs[0].job_id in shop.waiting()) == (2, True)
    gate.set()
    for thread in threads:
        thread.join(30)
    assert [(shop.find(job).status, shop.find(job).attempts) for job in jobs] == [("succeeded", 1)] * 4
    asked = [request.job_id for request in trainer.requests]
    assert [asked.count(job.job_id) for job in jobs[:2]] == [2, 1]


def test_queue_that_refuses_for_ever_fails_the_attempts(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "REFUSALS", 2)
    job = shop.accepted()
    shop.broker._bindings.pop((topology.TRAIN, topology.TRAIN))
    left = shop.run(job)
    assert (left.status, left.attempts, left.holder, left.confirmed) == ("queued", 1, None, True)


def test_queue_that_refuses_for_a_moment_fails_nothing(shop: Shop) -> None:
    shop.trainer()
    removed = shop.broker._bindings.pop((topology.TRAIN, topology.TRAIN))
    job = shop.accepted()
    thread = shop.begin(job)
    wait_until(lambda: shop.find(job).attempts == 1, "the job is leased")
    shop.broker._bindings[(topology.TRAIN, topology.TRAIN)] = removed
    thread.join(15)
    assert (shop.find(job).status, shop.find(job).attempts) == ("succeeded", 1)


def test_broker_that_goes_and_comes_costs_no_attempt(shop: Shop) -> None:
    trainer = shop.trainer()
    gate = trainer.gate("slow")
    job = shop.accepted("slow")
    thread = shop.begin(job)
    shop.wait_status(job, "running")
    shop.broker.close_connections()
    trainer.wait_for(job.job_id, 2)
    gate.set()
    thread.join(15)
    assert (shop.find(job).status, shop.find(job).attempts) == ("succeeded", 1)


def test_worker_that_stops_while_the_broker_is_away_gives_the_job_back(shop: Shop) -> None:
    trainer = shop.trainer()
    trainer.gate("slow")
    job = shop.accepted("slow")
    thread = shop.begin(job)
    shop.wait_status(job, "running")
    shop.broker.down = True
    shop.broker.close_connections()
    wait_until(lambda: not shop.rpc.connected, "the broker is away")
    shop.stopping.set()
    thread.join(10)
    left = shop.find(job)
    assert (left.holder, left.attempts, left.confirmed) == (None, 0, False)
    shop.broker.down = False


def test_garbled_answers_fail_the_attempt(shop: Shop) -> None:
    shop.trainer()
    job = shop.run(shop.accepted("garbled"))
    assert (job.status, job.attempts, job.holder) == ("queued", 1, None)


def test_dataset_that_one_trainer_does_not_see_costs_an_attempt(shop: Shop) -> None:
    shop.trainer().failures = [errors.DatasetNotFound()]
    job = shop.run(shop.accepted())
    assert (job.status, job.attempts, job.holder) == ("queued", 1, None)
    job = shop.run(job)
    assert (job.status, job.attempts) == ("succeeded", 2)


def test_dataset_that_no_trainer_sees_ends_the_job_with_a_dead_letter(shop: Shop) -> None:
    trainer = shop.trainer()
    trainer.failures = [errors.DatasetNotFound() for _ in range(3)]
    job = shop.accepted()
    attempts = [shop.run(job).attempts for _ in range(3)]
    job = shop.find(job)
    assert (attempts, job.status, job.error_code, job.dead_letter) == ([1, 2, 3], "failed", "dataset_not_found", "due")
    assert trainer.tombstones == {job.job_id}


def test_dataset_that_cannot_be_read_ends_the_job_at_once(shop: Shop) -> None:
    shop.trainer().failures = [errors.BadInput("The table has no rows.")]
    job = shop.run(shop.accepted())
    assert (job.status, job.error_code, job.attempts, job.dead_letter) == ("failed", "bad_input", 1, "")


def test_request_that_no_message_holds_ends_the_job_at_once(shop: Shop) -> None:
    job = shop.run(shop.accepted(request=too_large()))
    assert (job.status, job.error_code, job.attempts, job.dead_letter) == ("failed", "too_large", 1, "")


def test_cancel_nobody_asked_us_for_is_settled(shop: Shop) -> None:
    trainer = shop.trainer()
    job = shop.run(shop.accepted("unasked"))
    assert (job.status, trainer.tombstones) == ("cancelled", {job.job_id})


def test_job_that_cannot_be_settled_stays_to_be(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.jobs.ending.SETTLE_S", 0.1)
    trainer = shop.trainer()
    trainer.settling.clear()
    job = shop.run(shop.accepted("unasked"))
    assert (job.status, job.holder, job.cancel_requested) == ("queued", None, True)
    trainer.settling.set()

    def settled() -> bool:
        shop.task.settle(job.job_id)
        return shop.find(job).status == "cancelled"

    wait_until(settled, "the job is settled")
    shop.task.settle(job.job_id)  # too late, harmless


@pytest.mark.parametrize("last_words", ["garbled", "none"])
def test_published_version_is_told_of_though_the_trainer_says_nothing_of_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, last_words: str
) -> None:
    monkeypatch.setattr("api.jobs.ending._LAST_WORDS_S", 0.0)
    trainer = shop.trainer()
    job = shop.ledger.leases.take(shop.accepted("good").job_id, "w0")
    assert job is not None
    shop.ledger.jobs.request_cancel(job.job_id, owner=None)
    shop.ledger.leases.release(job, cancelled=True)
    trainer.versions[job.job_id] = 7
    shop.broker._bindings.pop((topology.TRAIN, topology.TRAIN))
    if last_words == "none":
        shop.stopping.set()
    shop.task.settle(job.job_id)
    ended = shop.find(job)
    result = msgspec.json.decode(ended.result or "")
    assert (ended.status, result["version"], result["promoted"]) == ("succeeded", 7, False)
