"""Accepting a job while the broker or the ledger fail in the middle of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.jobs import accepting, streams
from api.keys.callers import LOCAL
from api.ledger.rows import Job
from api.state import State
from tests.jobs import new_job
from wire import errors


def unavailable(*_: object, **__: object) -> Any:
    raise errors.LedgerUnavailable


def entries(state: State) -> list[str]:
    """The audit log, oldest first."""
    return [entry.action for entry in reversed(state.ledger.audit.page(before=None, limit=9))]


async def unconfirmed(*_: object, **__: object) -> None:
    raise errors.BrokerUnavailable


async def test_confirmed_job_is_accepted_though_the_ledger_went_away(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker keeps the message, so the job will run; the mark only spares the reaper work."""
    monkeypatch.setattr(state.ledger.jobs, "confirm", unavailable)
    job = await accepting.accept(state, new_job(), LOCAL)
    assert state.ledger.jobs.find(job.job_id, owner=None).status == "queued"


async def test_job_a_worker_got_is_accepted_though_its_confirm_was_lost(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = new_job()

    async def publish(*_: object, **__: object) -> None:
        state.ledger.leases.take(new.job_id, "w1")
        raise errors.BrokerUnavailable

    monkeypatch.setattr(state.rpc, "publish", publish)
    assert (await accepting.accept(state, new, LOCAL)).job_id == new.job_id


async def test_unconfirmed_job_is_withdrawn_and_the_same_key_makes_it_live(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = new_job(idempotency_key="k")
    with monkeypatch.context() as patched:
        patched.setattr(state.rpc, "publish", unconfirmed)
        with pytest.raises(errors.BrokerUnavailable):
            await accepting.accept(state, new, LOCAL)
    with pytest.raises(errors.JobNotFound):
        state.ledger.jobs.find(new.job_id, owner=None)
    again = await accepting.accept(state, new_job(idempotency_key="k"), LOCAL)
    assert again.job_id == new.job_id
    assert state.ledger.jobs.find(new.job_id, owner=None).confirmed
    assert (await accepting.accept(state, new_job(idempotency_key="k"), LOCAL)).job_id == new.job_id
    assert entries(state) == ["train.accepted", "job.withdrawn", "train.accepted"]
    assert {entry.target for entry in state.ledger.audit.page(before=None, limit=9)} == {f"{new.job_id} {new.model}"}


class Frozen:
    """A broker that is asked by two requests before it answers either: which of them it keeps is the test's."""

    def __init__(self, *kept: int) -> None:
        self._kept = kept
        self._asked = 0
        self._refused = asyncio.Event()
        self._both = asyncio.Event()

    async def publish(self, *_: object, **__: object) -> None:
        turn = self._asked
        self._asked += 1
        if self._asked == 2:
            self._both.set()
        await asyncio.wait_for(self._both.wait(), 10)
        if turn not in self._kept:
            raise errors.BrokerUnavailable
        await asyncio.wait_for(self._refused.wait(), 10)

    async def ask(self, state: State) -> Job | errors.WarrenError:
        try:
            return await accepting.accept(state, new_job(idempotency_key="k"), LOCAL)
        except errors.WarrenError as error:
            self._refused.set()
            return error


async def test_two_requests_of_one_key_are_both_refused_and_no_accepted_job_is_withdrawn(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Frozen()
    monkeypatch.setattr(state.rpc, "publish", broker.publish)
    answers = await asyncio.gather(broker.ask(state), broker.ask(state))
    assert [type(answer) for answer in answers] == [errors.BrokerUnavailable] * 2
    (left,) = state.ledger.watching.waiting(9)
    assert not left.confirmed, "a reaper publishes it"
    assert entries(state) == ["train.accepted"]


@pytest.mark.parametrize("kept", [0, 1])
async def test_job_of_a_kept_message_is_accepted_though_its_twin_was_refused_and_the_ledger_went_away(
    state: State, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    broker = Frozen(kept)
    monkeypatch.setattr(state.rpc, "publish", broker.publish)
    monkeypatch.setattr(state.ledger.jobs, "confirm", unavailable)
    answers = await asyncio.gather(broker.ask(state), broker.ask(state))
    (accepted,) = (answer for answer in answers if isinstance(answer, Job))
    assert sum(isinstance(answer, errors.BrokerUnavailable) for answer in answers) == 1
    assert state.ledger.jobs.find(accepted.job_id, owner=None).status == "queued"


async def test_event_stream_outlives_an_absent_ledger_and_long_histories(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "BATCH", 3)
    monkeypatch.setattr(streams, "POLL_S", 0.01)
    job = state.ledger.jobs.accept(new_job(), queued_limit=9)
    lease = state.ledger.leases.take(job.job_id, "w1")
    assert lease is not None
    for step in range(6):
        state.ledger.leases.progress(job.job_id, lease.epoch, fraction=step / 10, stage="fit", message=str(step))
    all_streams = streams.EventStreams(state.ledger.jobs, 1, state.stopping, state.keyring.lives)
    watcher = all_streams.open(job.job_id, 0, LOCAL)
    frames = all_streams.frames(watcher)
    assert await anext(frames) == b"retry: 1000\n\n"
    for number in range(1, 8):
        assert (await anext(frames)).startswith(b"id: %d\n" % number)
    with monkeypatch.context() as patched:
        patched.setattr(state.ledger.jobs, "events", unavailable)
        patched.setattr(state.ledger.jobs, "event_counts", unavailable)
        patched.setattr(streams, "HEARTBEAT_S", 0.05)
        watcher.bell.set()
        assert await anext(frames) == b": alive\n\n"
    state.ledger.jobs.request_cancel(job.job_id, owner=None)
    assert b"event: cancelling" in await anext(frames)
    state.stopping.set()
    assert [frame async for frame in frames] == []
    all_streams.close(watcher)
