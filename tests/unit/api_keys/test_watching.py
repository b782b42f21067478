"""Event streams of callers with keys: how long they go on, and how many places an owner may hold."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable

import httpx
import pytest

from api.app import Gateway
from api.jobs import streams
from api.keys import keyring as module
from api.keys import making
from api.keys.callers import LOCAL, Caller
from api.keys.keyring import Keyring
from api.ledger import Ledger
from tests.jobs import new_job
from tests.rabbit import eventually
from tests.unit.api_keys.conftest import MakeKey, bearer, raw
from wire import errors

Ending = Callable[[str], None]


@pytest.fixture(params=["revoked", "expired"])
def ending(request: pytest.FixtureRequest, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Ending:
    """Ends a key that lives for a day."""

    def end(key: str) -> None:
        if request.param == "revoked":
            making.revoke(ledger, key.split("_")[1], LOCAL)
        else:
            later_ms = module.now_ms() + 86_400_001
            monkeypatch.setattr(module, "now_ms", lambda: later_ms)

    return end


async def test_a_stream_ends_with_its_key_and_brings_nothing_more(
    keyring: Keyring, make_key: MakeKey, ledger: Ledger, ending: Ending
) -> None:
    key = make_key("ann", "train")
    caller = await keyring.ask(raw(key), "train")
    job = ledger.jobs.accept(new_job(owner="ann"), queued_limit=9)
    open_streams = streams.EventStreams(ledger.jobs, 1, asyncio.Event(), keyring.lives)
    watcher = open_streams.open(job.job_id, 0, caller)
    frames = open_streams.frames(watcher)
    assert [await anext(frames) for _ in range(2)][1].startswith(b"id: 1\n")
    ending(key)
    await keyring.refresh()
    ledger.jobs.request_cancel(job.job_id, owner="ann")
    watcher.bell.set()
    with pytest.raises(StopAsyncIteration):
        await anext(frames)
    open_streams.close(watcher)


async def test_a_clients_stream_ends_once_the_replica_knows_that_the_key_has(
    client: httpx.AsyncClient, app: Gateway, make_key: MakeKey, ledger: Ledger, ending: Ending
) -> None:
    key = make_key("ann", "train")
    job = ledger.jobs.accept(new_job(owner="ann"), queued_limit=9)
    path = f"/jobs/{job.job_id}/events"
    watching = asyncio.create_task(client.get(path, headers=bearer(key)))
    await eventually(lambda: hasattr(app.state, "event_streams"), "the stream is open")
    ending(key)
    await app.state.gateway.keyring.refresh()
    async with asyncio.timeout(30):
        assert (await watching).status_code == 200
    assert (await client.get(path, headers=bearer(key))).status_code == 401


def take_all(open_streams: streams.EventStreams, caller: Caller) -> list[streams.Watcher]:
    """Every place that the caller may have."""
    taken: list[streams.Watcher] = []
    with contextlib.suppress(errors.Overloaded):
        while True:
            taken.append(open_streams.open("0" * 32, 0, caller))
    return taken


async def test_owners_who_take_all_they_may_leave_places_for_others(ledger: Ledger) -> None:
    open_streams = streams.EventStreams(ledger.jobs, 200, asyncio.Event(), lambda _: True)
    callers = [Caller(owner, frozenset({"train"}), f"key of {owner}") for owner in ("ann", "bob", "cid", "dan")]
    taken = [take_all(open_streams, caller) for caller in callers]
    assert [len(watchers) for watchers in taken] == [100, 50, 25, 12]
    assert take_all(open_streams, Caller("ann", frozenset({"train"}), "her other key")) == []
    for watcher in itertools.chain(*taken):
        open_streams.close(watcher)


async def test_without_keys_nobody_is_left_places_for(ledger: Ledger) -> None:
    open_streams = streams.EventStreams(ledger.jobs, 5, asyncio.Event(), lambda _: True)
    watchers = take_all(open_streams, LOCAL)
    assert len(watchers) == 5
    for watcher in watchers:
        open_streams.close(watcher)
