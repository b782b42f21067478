"""The ledger from the sweeper's side: whose outputs are kept."""

from __future__ import annotations

import uuid

import pytest

from api.ledger import Ledger, jobs
from api.ledger.leases import Ended
from tests.jobs import new_job
from wire import errors

ERROR = errors.ErrorBody("internal_error", "no")


def waiting(ledger: Ledger) -> str:
    return ledger.jobs.accept(new_job(kind="predict"), queued_limit=1000).job_id


def held(ledger: Ledger) -> tuple[str, int]:
    job_id = waiting(ledger)
    taken = ledger.leases.take(job_id, "w")
    assert taken is not None
    return job_id, taken.epoch


def ended(ledger: Ledger, how: Ended) -> str:
    job_id, epoch = held(ledger)
    ledger.leases.finish(job_id, epoch, how)
    return job_id


def ended_ms(ledger: Ledger, job_id: str) -> int:
    found = ledger.jobs.find(job_id, owner=None).ended_ms
    assert found is not None
    return found


def test_outputs_of_live_jobs_and_of_fresh_successes_are_kept(ledger: Ledger) -> None:
    live = {waiting(ledger), held(ledger)[0]}
    succeeded = ended(ledger, Ended("succeeded", result={"rows": 1}))
    others = [ended(ledger, how) for how in (Ended("cancelled"), Ended("failed", error=ERROR))]
    withdrawn = waiting(ledger)
    ledger.jobs.withdraw(ledger.jobs.find(withdrawn, owner=None))
    asked = [*live, succeeded, *others, withdrawn, "0" * 32]
    at_ms = ended_ms(ledger, succeeded)
    assert ledger.jobs.keeping(asked, at_ms) == {*live, succeeded}
    assert ledger.jobs.keeping(asked, at_ms + 1) == live


def test_only_jobs_that_were_asked_about_are_named(ledger: Ledger) -> None:
    asked, _ = waiting(ledger), waiting(ledger)
    assert ledger.jobs.keeping([asked], 0) == {asked}
    assert ledger.jobs.keeping([], 0) == set()


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_more_jobs_than_one_query_takes_are_all_looked_up(ledger: Ledger, beyond: int) -> None:
    live = {waiting(ledger) for _ in range(3)}
    first, last, middle = live
    unknown = [uuid.uuid4().hex for _ in range(2 * jobs._CHUNK + beyond - len(live))]
    half = len(unknown) // 2
    assert ledger.jobs.keeping([first, *unknown[:half], middle, *unknown[half:], last], 0) == live
