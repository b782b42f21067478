"""The reaper with a clock of the test's own: what stands still comes back, what moves is left alone."""

from __future__ import annotations

import pytest

from api.jobs.reaper import Reaper
from api.ledger import Ledger, rows
from tests.jobs import new_job
from tests.unit.api.shop import away
from wire import errors


class World:
    """A reaper, its clock, and a jobs queue of which only the length is known."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.now_s = 1000.0
        self.in_queue: int | None = 0
        self.broker_keeps = True
        self.published: list[str] = []
        self.reaper = self.new_reaper()

    def new_reaper(self) -> Reaper:
        return Reaper(
            self.ledger,
            enqueue=self.enqueue,
            queued_messages=self.count,
            clock=lambda: self.now_s,
            stale_s=15,
            attempts=3,
        )

    def enqueue(self, job_id: str, _: str) -> bool:
        self.published.append(job_id)
        if self.broker_keeps:
            self.ledger.jobs.confirm(job_id)
        return self.broker_keeps

    def count(self) -> int:
        if self.in_queue is None:
            raise errors.BrokerUnavailable
        return self.in_queue

    def look_for(self, seconds: float) -> None:
        """Look every second for so long."""
        end = self.now_s + seconds
        self.reaper.look()
        while self.now_s < end:
            self.now_s += 1
            self.reaper.look()

    def look_in_vain(self, times: int) -> None:
        """Look every second while the ledger is away."""
        for _ in range(times):
            self.now_s += 1
            with pytest.raises(errors.LedgerUnavailable):
                self.reaper.look()

    def accepted(self, *, confirmed: bool = True) -> rows.Job:
        job = self.ledger.jobs.accept(new_job(), queued_limit=99)
        if confirmed:
            self.ledger.jobs.confirm(job.job_id)
        return job

    def taken(self) -> rows.Job:
        job = self.ledger.leases.take(self.accepted().job_id, "w1")
        assert job is not None
        return job

    def find(self, job: rows.Job) -> rows.Job:
        return self.ledger.jobs.find(job.job_id, owner=None)


@pytest.fixture
def world(ledger: Ledger) -> World:
    return World(ledger)


def test_lease_that_stands_still_becomes_the_next_attempt(world: World) -> None:
    job = world.taken()
    world.look_for(14)
    assert world.find(job).holder == "w1"
    world.look_for(1)
    assert (world.find(job).holder, world.find(job).attempts) == (None, 1)
    assert world.published == [job.job_id]
    again = world.ledger.leases.take(job.job_id, "w2")
    assert again is not None
    assert again.attempts == 2


def test_renewed_lease_is_left_alone_for_ever(world: World) -> None:
    job = world.taken()
    for _ in range(10):
        world.look_for(5)
        assert world.ledger.leases.renew([(job.job_id, job.epoch)])
    assert world.published == []


def test_jump_of_the_clock_between_two_looks_takes_nothing_that_was_renewed(world: World) -> None:
    job = world.taken()
    world.look_for(1)
    world.ledger.leases.renew([(job.job_id, job.epoch)])
    world.now_s += 100_000
    world.reaper.look()
    assert world.find(job).holder == "w1"


@pytest.mark.parametrize("what", ["nothing looked", "no look succeeded"])
def test_time_in_which_nobody_could_renew_takes_no_lease(
    world: World, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.taken()
    world.look_for(3)
    if what == "nothing looked":
        world.now_s += 20
    else:
        away(monkeypatch, world.ledger.watching, "held", 20)
        world.look_in_vain(20)
    world.look_for(10)
    assert world.find(job).holder == "w1"
    assert world.ledger.leases.renew([(job.job_id, job.epoch)])
    world.look_for(14)
    assert (world.find(job).holder, world.published) == ("w1", [])
    world.look_for(2)
    assert (world.find(job).holder, world.published) == (None, [job.job_id])


def test_ledger_that_could_only_be_read_leaves_the_holder_time_to_renew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.taken()
    world.look_for(14)
    away(monkeypatch, world.ledger.leases, "expire", 1)
    world.look_in_vain(1)
    world.look_for(14)
    assert world.find(job).holder == "w1"
    world.look_for(2)
    assert world.find(job).holder is None


def test_queue_is_not_known_to_be_empty_while_nobody_looked(world: World) -> None:
    world.accepted()
    world.look_for(3)
    world.now_s += 20
    world.look_for(10)
    assert world.published == []


def test_new_reaper_believes_only_what_it_has_seen_itself(world: World) -> None:
    job = world.taken()
    world.look_for(10)
    world.reaper = world.new_reaper()
    world.look_for(10)
    assert world.find(job).holder == "w1"


def test_third_lost_lease_waits_to_be_settled_and_is_not_published(world: World) -> None:
    job = world.taken()
    for worker in ("w2", "w3"):
        world.look_for(16)
        assert world.ledger.leases.take(job.job_id, worker) is not None
    world.published.clear()
    world.look_for(40)
    assert (world.find(job).settle_due, world.find(job).attempts) == (True, 3)
    assert world.published == []
    assert [one.job_id for one in world.ledger.watching.to_settle(9)] == [job.job_id]


def test_two_reapers_bring_a_job_back_once(world: World) -> None:
    job = world.taken()
    other = world.new_reaper()
    for _ in range(16):
        world.now_s += 1
        world.reaper.look()
        other.look()
    assert world.published == [job.job_id]


def test_job_whose_message_was_never_confirmed_is_published(world: World) -> None:
    job = world.accepted(confirmed=False)
    world.in_queue = 5
    world.look_for(14)
    assert world.published == []
    world.look_for(2)
    assert world.published == [job.job_id]
    assert world.find(job).confirmed
    world.look_for(60)
    assert world.published == [job.job_id]


def test_job_whose_message_was_dropped_while_it_was_withdrawn_is_published_while_others_wait(world: World) -> None:
    job = world.accepted(confirmed=False)
    world.ledger.jobs.withdraw(job)
    assert world.ledger.leases.take(job.job_id, "w1") is None
    assert world.ledger.jobs.confirm(job.job_id)
    world.in_queue = 5
    world.look_for(17)
    assert world.published == [job.job_id]


def test_broker_that_keeps_nothing_is_asked_again(world: World) -> None:
    job = world.accepted(confirmed=False)
    world.broker_keeps = False
    world.look_for(50)
    assert world.published == [job.job_id] * 3


def test_confirmed_job_waits_while_its_message_may_be_in_the_queue(world: World) -> None:
    world.accepted()
    world.in_queue = 1
    world.look_for(100)
    world.in_queue = None
    world.look_for(100)
    assert world.published == []


def test_confirmed_job_comes_back_when_the_queue_is_empty_for_long(world: World) -> None:
    job = world.accepted()
    world.in_queue = 1
    world.look_for(30)
    world.in_queue = 0
    world.look_for(14)
    assert world.published == []
    world.look_for(2)
    assert world.published == [job.job_id]


def test_queue_that_fills_again_starts_the_time_anew(world: World) -> None:
    world.accepted()
    for _ in range(5):
        world.in_queue = 0
        world.look_for(10)
        world.in_queue = 3
        world.look_for(2)
    assert world.published == []


def test_withdrawn_and_ended_jobs_are_none_of_its_business(world: World) -> None:
    withdrawn, cancelled = world.accepted(confirmed=False), world.accepted()
    world.ledger.jobs.withdraw(withdrawn)
    world.ledger.jobs.request_cancel(cancelled.job_id, owner=None)
    world.look_for(60)
    assert world.published == []


def test_lost_lease_of_a_job_to_be_cancelled_goes_to_settling(world: World) -> None:
    job = world.taken()
    world.ledger.jobs.request_cancel(job.job_id, owner=None)
    world.look_for(20)
    assert world.published == []
    assert [one.job_id for one in world.ledger.watching.to_settle(9)] == [job.job_id]
