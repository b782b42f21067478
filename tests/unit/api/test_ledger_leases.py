"""The ledger from the worker's side: one lease, fenced; one end; nothing that falls behind it."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from api.ledger import Ledger, rows
from api.ledger.leases import Ended
from tests.jobs import all_at_once, new_job
from wire import errors

FELL = errors.InternalError("it fell").to_body()
VERSION = Ended("succeeded", result={"model": "churn", "version": 1})


def accepted(ledger: Ledger, **changed: object) -> rows.Job:
    return ledger.jobs.accept(new_job(**changed), queued_limit=1000)


def taken(ledger: Ledger, **changed: object) -> rows.Job:
    job = ledger.leases.take(accepted(ledger, **changed).job_id, "w1")
    assert job is not None
    return job


def now(ledger: Ledger, job: rows.Watched) -> rows.Job:
    return ledger.jobs.find(job.job_id, owner=None)


def test_taking_a_lease_counts_an_attempt_and_excludes_others(ledger: Ledger) -> None:
    job = taken(ledger)
    assert (job.attempts, job.epoch, job.holder, job.confirmed, job.status) == (1, 1, "w1", True, "queued")
    assert ledger.leases.take(job.job_id, "w2") is None


def test_ten_deliveries_of_one_job_give_one_lease(ledger: Ledger) -> None:
    job = accepted(ledger)
    outcomes = all_at_once(*(partial(ledger.leases.take, job.job_id, f"w{n}") for n in range(10)))
    assert sum(outcome is not None for outcome in outcomes) == 1
    assert now(ledger, job).attempts == 1


def test_unknown_job_has_no_lease(ledger: Ledger) -> None:
    assert ledger.leases.take("0" * 32, "w") is None


def test_lease_that_is_asked_for_again_is_the_same_one_while_it_is_held(ledger: Ledger) -> None:
    job = ledger.leases.take(accepted(ledger).job_id, "w1")
    assert job is not None
    assert ledger.leases.take(job.job_id, "w1") == job
    assert ledger.leases.finish(job.job_id, job.epoch, Ended("cancelled"))
    assert ledger.leases.take(job.job_id, "w1") is None


def test_the_request_of_an_attempt_names_the_job_and_the_attempt(ledger: Ledger) -> None:
    job = taken(ledger)
    request = job.train_request()
    assert (request.job_id, request.attempt, request.model) == (job.job_id, 1, "churn")


def test_renewal_moves_the_beat_and_tells_of_a_cancel(ledger: Ledger) -> None:
    first, second = taken(ledger), taken(ledger)
    ledger.jobs.request_cancel(second.job_id, owner=None)
    renewed = ledger.leases.renew([(first.job_id, first.epoch), (second.job_id, second.epoch)])
    assert not renewed[first.job_id].cancel_requested
    assert renewed[second.job_id].cancel_requested
    assert now(ledger, first).beat == first.beat + 1
    assert ledger.leases.cancels([first.job_id, second.job_id]) == {second.job_id}


def test_lost_lease_is_missing_in_the_renewal_and_changes_nothing_any_more(ledger: Ledger) -> None:
    old = taken(ledger)
    assert ledger.leases.expire(old, FELL, limit=3) is not None
    new = ledger.leases.take(old.job_id, "w2")
    assert new is not None
    stale = (old.job_id, old.epoch)
    assert ledger.leases.renew([stale]) == {}
    assert not ledger.leases.progress(*stale, fraction=0.5, stage="fit", message="")
    assert not ledger.leases.finish(*stale, VERSION)
    assert not ledger.leases.give_back(old)
    assert not ledger.leases.release(old, cancelled=True)
    assert ledger.leases.fail_attempt(*stale, FELL, limit=3) is None
    assert now(ledger, old) == new


def test_first_progress_makes_the_job_running(ledger: Ledger) -> None:
    job = taken(ledger)
    assert ledger.leases.progress(job.job_id, job.epoch, fraction=0.25, stage="fit", message="fold 1 of 4")
    running = now(ledger, job)
    assert (running.status, running.fraction, running.stage, running.message) == ("running", 0.25, "fit", "fold 1 of 4")
    assert running.started_ms is not None


def test_lease_given_back_does_not_count(ledger: Ledger) -> None:
    job = taken(ledger)
    assert ledger.leases.give_back(job)
    back = now(ledger, job)
    assert (back.attempts, back.holder, back.confirmed, back.enqueues) == (0, None, False, 2)
    again = ledger.leases.take(job.job_id, "w2")
    assert again is not None
    assert (again.attempts, again.epoch) == (1, 2)


def test_running_job_stays_running_between_two_attempts(ledger: Ledger) -> None:
    job = taken(ledger)
    ledger.leases.progress(job.job_id, job.epoch, fraction=0.5, stage="fit", message="")
    failed = ledger.leases.fail_attempt(job.job_id, job.epoch, FELL, limit=3)
    assert failed is not None
    assert (failed.status, failed.holder, failed.settle_due, failed.error_code) == ("running", None, False, None)
    assert ledger.jobs.position(failed) is None


def test_third_failure_waits_to_be_settled_and_remembers_why(ledger: Ledger) -> None:
    job = taken(ledger)
    for attempt in (1, 2):
        failed = ledger.leases.fail_attempt(job.job_id, job.epoch, FELL, limit=3)
        assert failed is not None
        assert (failed.attempts, failed.settle_due) == (attempt, False)
        again = ledger.leases.take(job.job_id, "w")
        assert again is not None
        job = again
    failed = ledger.leases.fail_attempt(job.job_id, job.epoch, FELL, limit=3)
    assert failed is not None
    assert (failed.attempts, failed.settle_due, failed.error_code) == (3, True, "internal_error")
    assert [one.job_id for one in ledger.watching.to_settle(9)] == [job.job_id]
    assert ledger.watching.waiting(9) == []
    settling = ledger.leases.take(job.job_id, "w")
    assert settling is not None
    assert (settling.attempts, settling.must_settle) == (3, True)
    expired = ledger.leases.expire(settling, errors.StorageFull().to_body(), limit=3)
    assert expired is not None
    assert (expired.attempts, expired.error_code) == (3, "internal_error")


def test_lease_is_taken_away_only_if_it_stood_still(ledger: Ledger) -> None:
    job = taken(ledger)
    ledger.leases.renew([(job.job_id, job.epoch)])
    assert ledger.leases.expire(job, FELL, limit=3) is None
    assert ledger.leases.expire(now(ledger, job), FELL, limit=3) is not None


@pytest.mark.parametrize(
    "ended",
    [VERSION, Ended("failed", error=FELL, dead=True), Ended("cancelled")],
    ids=lambda ended: ended.status,
)
def test_end_is_written_once_with_its_event(ledger: Ledger, ended: Ended) -> None:
    job = taken(ledger)
    assert ledger.leases.finish(job.job_id, job.epoch, ended)
    for other in (VERSION, Ended("failed", error=FELL), Ended("cancelled")):
        assert not ledger.leases.finish(job.job_id, job.epoch, other)
    assert not ledger.leases.progress(job.job_id, job.epoch, fraction=1, stage="late", message="")
    final = now(ledger, job)
    assert (final.status, final.holder, final.dead_letter) == (ended.status, None, "due" if ended.dead else "")
    last = ledger.jobs.events(job.job_id, after=0, limit=9)[-1]
    assert last.name == ended.status
    said = msgspec.json.decode(last.data)
    assert said.get("result") == ended.result
    assert (said.get("error") or {}).get("code") == (ended.error.code if ended.error else None)


def test_of_many_ends_at_once_one_wins(ledger: Ledger) -> None:
    job = taken(ledger)
    ledger.leases.progress(job.job_id, job.epoch, fraction=0.5, stage="fit", message="")
    ends = (VERSION, Ended("failed", error=FELL), Ended("cancelled"))
    finishing = [partial(ledger.leases.finish, job.job_id, job.epoch, end) for end in ends * 3]
    expiring = [partial(ledger.leases.expire, now(ledger, job), FELL, limit=1)]
    cancelling = [partial(ledger.jobs.request_cancel, job.job_id, owner=None)]
    outcomes = all_at_once(*finishing, *expiring, *cancelling)
    assert not any(isinstance(outcome, Exception) for outcome in outcomes)
    assert sum(outcome is True for outcome in outcomes[:9]) + (outcomes[9] is not None) == 1
    terminal = [event for event in ledger.jobs.events(job.job_id, after=0, limit=99) if event.name in rows.ENDED]
    assert len(terminal) == (1 if outcomes[9] is None else 0)


def test_events_have_no_gaps_when_many_write_at_once(ledger: Ledger) -> None:
    job = taken(ledger)
    steps = [
        partial(ledger.leases.progress, job.job_id, job.epoch, fraction=n / 8, stage="fit", message="")
        for n in range(8)
    ]
    all_at_once(*steps)
    assert [event.sequence for event in ledger.jobs.events(job.job_id, after=0, limit=99)] == list(range(1, 10))


def test_released_lease_stays_to_be_settled(ledger: Ledger) -> None:
    job = taken(ledger)
    assert ledger.leases.release(job, cancelled=True)
    waiting = ledger.watching.to_settle(9)
    assert [(one.job_id, one.cancel_requested) for one in waiting] == [(job.job_id, True)]
    again = ledger.leases.take(job.job_id, "w")
    assert again is not None
    assert ledger.leases.release(again, cancelled=False)
    assert ledger.watching.to_settle(9)[0].cancel_requested


def test_only_one_reaper_may_publish_again(ledger: Ledger) -> None:
    job = accepted(ledger)
    outcomes = all_at_once(*(partial(ledger.leases.requeue, job) for _ in range(6)))
    assert sorted(outcomes) == [False] * 5 + [True]


def test_watching_tells_held_waiting_and_settling_apart(ledger: Ledger) -> None:
    waiting, held = accepted(ledger), taken(ledger)
    given_back = taken(ledger)
    ledger.leases.give_back(given_back)
    ledger.jobs.request_cancel(given_back.job_id, owner=None)
    assert [job.job_id for job in ledger.watching.waiting(9)] == [waiting.job_id]
    assert [job.job_id for job in ledger.watching.held(9)] == [held.job_id]
    assert [job.job_id for job in ledger.watching.to_settle(9)] == [given_back.job_id]


def test_watching_reads_nothing_large(ledger: Ledger) -> None:
    waiting = accepted(ledger)
    (seen,) = ledger.watching.waiting(9)
    assert (seen.number, seen.request_id) == (waiting.number, waiting.request_id)
    assert not hasattr(seen, "request")


def due_letter(ledger: Ledger) -> rows.Watched:
    job = taken(ledger)
    ledger.leases.finish(job.job_id, job.epoch, Ended("failed", error=FELL, dead=True))
    (due,) = ledger.watching.dead_letters_due(9)
    return due


def test_dead_letter_is_claimed_once_though_many_try(ledger: Ledger) -> None:
    due = due_letter(ledger)
    outcomes = all_at_once(*(partial(ledger.watching.claim_dead_letter, due) for _ in range(5)))
    assert sorted(outcomes) == [False] * 4 + [True]
    ledger.watching.dead_letter_ended(due, "sent")
    assert ledger.watching.dead_letters_due(9) == []
    assert (now(ledger, due).dead_letter, now(ledger, due).holder) == ("sent", None)


def test_dead_letter_that_was_claimed_and_not_sent_stays_due(ledger: Ledger) -> None:
    due = due_letter(ledger)
    assert due.holder is None
    assert ledger.watching.claim_dead_letter(due)
    (again,) = ledger.watching.dead_letters_due(9)
    assert again.holder is not None
    assert ledger.watching.held(9) == []
    assert ledger.watching.claim_dead_letter(again)
    assert not ledger.watching.claim_dead_letter(again)
