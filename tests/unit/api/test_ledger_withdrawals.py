"""Jobs whose message no broker kept, on both databases: who may take them back, and what a repeat finds."""

from __future__ import annotations

from functools import partial

import pytest

from api.ledger import Ledger, rows
from tests.jobs import all_at_once
from tests.unit.api.test_ledger_jobs import accept
from wire import errors


def test_withdrawn_job_is_shown_to_nobody_and_dropped_by_workers(ledger: Ledger) -> None:
    job = accept(ledger)
    assert ledger.jobs.withdraw(job).status == "withdrawn"
    with pytest.raises(errors.JobNotFound):
        ledger.jobs.find(job.job_id, owner=None)
    assert ledger.jobs.page(owner=None, model=None, status=None, before=None, limit=9)[0] == []
    assert ledger.leases.take(job.job_id, "w") is None


def test_withdrawn_job_is_live_again_with_the_same_key(ledger: Ledger) -> None:
    job = accept(ledger, idempotency_key="k")
    ledger.jobs.withdraw(job)
    again = accept(ledger, idempotency_key="k")
    assert (again.job_id, again.status, again.confirmed) == (job.job_id, "queued", False)
    assert ledger.leases.take(job.job_id, "w") is not None


def test_withdrawn_job_stays_refused_to_another_body(ledger: Ledger) -> None:
    ledger.jobs.withdraw(accept(ledger, idempotency_key="k"))
    with pytest.raises(errors.BadInput):
        accept(ledger, idempotency_key="k", body_digest="d2")


def test_confirmed_job_cannot_be_withdrawn(ledger: Ledger) -> None:
    job = accept(ledger)
    assert ledger.jobs.confirm(job.job_id)
    assert ledger.jobs.withdraw(job).status == "queued"


def test_job_a_worker_has_taken_cannot_be_withdrawn(ledger: Ledger) -> None:
    job = accept(ledger)
    ledger.leases.take(job.job_id, "w")
    assert ledger.jobs.withdraw(job).status == "queued"


def test_job_that_two_requests_publish_is_withdrawn_by_neither(ledger: Ledger) -> None:
    both = [accept(ledger, idempotency_key="k") for _ in range(2)]
    for one in both:
        left = ledger.jobs.withdraw(one)
        assert (left.status, left.accepted) == ("queued", False)
    assert ledger.leases.take(both[0].job_id, "w") is not None


def test_repeat_withdraws_no_job_that_was_accepted_before(ledger: Ledger) -> None:
    """Its message got lost, a reaper asks for it again, and the broker is away for both."""
    first = accept(ledger, idempotency_key="k")
    ledger.jobs.confirm(first.job_id)
    assert ledger.leases.requeue(ledger.jobs.find(first.job_id, owner=None))
    assert ledger.jobs.withdraw(accept(ledger, idempotency_key="k")).status == "queued"


def test_request_that_comes_at_the_moment_of_a_withdrawal_has_a_live_job(ledger: Ledger) -> None:
    for turn in range(10):
        first = accept(ledger, idempotency_key=f"k{turn}")
        again, left = all_at_once(
            partial(accept, ledger, idempotency_key=f"k{turn}"), partial(ledger.jobs.withdraw, first)
        )
        assert isinstance(again, rows.Job), again
        assert isinstance(left, rows.Job), left
        assert ledger.jobs.find(first.job_id, owner=None).status == again.status == "queued"


def test_job_withdrawn_behind_a_look_is_live_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another replica inserts the same key and withdraws it between this one's look and its insert."""
    looks = iter([None])
    real = ledger.jobs._by_key
    ledger.jobs.withdraw(accept(ledger, idempotency_key="k"))
    monkeypatch.setattr(ledger.jobs, "_by_key", lambda *asked: next(looks, real(*asked)))
    assert accept(ledger, idempotency_key="k").status == "queued"


def test_confirm_of_a_twin_request_lifts_a_withdrawal(ledger: Ledger) -> None:
    job = accept(ledger, idempotency_key="k")
    ledger.jobs.withdraw(job)
    assert ledger.jobs.confirm(job.job_id)
    lifted = ledger.jobs.find(job.job_id, owner=None)
    assert (lifted.status, lifted.confirmed) == ("queued", False)
