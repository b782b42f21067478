"""How often a key may ask: the bucket by itself, on the keyring, and in every form of an answer."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import httpx
import pytest

from api import problems, refusals
from api.app import Gateway
from api.keys import keyring as module
from api.keys import making, rates
from api.keys.callers import LOCAL
from api.keys.keyring import Keyring
from api.keys.policies import POLICIES, policy_of
from api.ledger import Ledger
from api.predict.batches import Answer
from tests.unit.api_keys.conftest import MakeKey, bearer, raw
from tests.unit.api_keys.test_policies import BODY, filled
from wire import errors, settings

TOO_OFTEN = "This API key asks more often than it may; try again later."


def taken(rate_per_s: float, cost: int, asked_at_s: list[float]) -> int:
    """How many calls of those that are asked for pass."""
    level, passed = rates.FULL, 0
    for at_s in asked_at_s:
        level, wait_s = rates.take(level, rate_per_s, cost, at_s)
        passed += wait_s == 0
    return passed


@pytest.mark.parametrize("rate_per_s", [0.5, 1, 7, 50, 1000])
@pytest.mark.parametrize("replicas", [1, 2, 3, 8])
def test_who_asks_too_often_gets_its_rate_and_a_seconds_worth_at_once(rate_per_s: float, replicas: int) -> None:
    share = rate_per_s / replicas
    asked_at_s = [step / (10 * share) for step in range(10_000)]
    lasted_s = asked_at_s[-1]
    at_once = max(rate_per_s, replicas) / replicas
    # A bucket that holds a single call is full until it is asked again, and loses what would have come meanwhile.
    least = 0.9 if share <= 1 else 1.0
    assert least * share * lasted_s <= taken(rate_per_s, replicas, asked_at_s) <= share * lasted_s + at_once + 1


@pytest.mark.parametrize("rate_per_s", [0.5, 1, 7, 50])
def test_who_keeps_to_its_rate_is_never_refused(rate_per_s: float) -> None:
    asked_at_s = [1.001 * step / rate_per_s for step in range(1000)]
    assert taken(rate_per_s, 1, asked_at_s) == 1000


def test_a_seconds_worth_at_once_and_not_one_more() -> None:
    assert taken(20, 1, [5.0] * 30) == 20
    assert taken(0.1, 1, [5.0] * 30) == 1
    assert taken(20, 2, [5.0] * 30) == 10, "one of two replicas that take turns"


def test_an_idle_bucket_never_holds_more_than_a_second() -> None:
    level, _ = rates.take(rates.FULL, 5, 1, 0.0)
    level, _ = rates.take(level, 5, 1, 1e6)
    assert level.calls == 4


def test_the_wait_is_the_time_until_the_next_call_passes() -> None:
    level, _ = rates.take(rates.FULL, 0.5, 1, 0.0)
    level, wait_s = rates.take(level, 0.5, 1, 0.5)
    assert wait_s == pytest.approx(1.5)
    assert rates.take(level, 0.5, 1, 0.5 + wait_s)[1] == 0
    assert rates.take(level, 5e-324, 1, 0.5)[1] == math.inf


def test_a_refused_call_takes_nothing_and_a_clock_that_stands_gives_nothing() -> None:
    level, _ = rates.take(rates.FULL, 1, 1, 10.0)
    for _ in range(100):
        level, wait_s = rates.take(level, 1, 1, 10.0)
        assert wait_s == 1
    assert rates.take(level, 1, 1, 9.0)[1] == 1, "nor does one that goes back"


def test_more_replicas_than_calls_still_let_calls_pass() -> None:
    level, wait_s = rates.take(rates.FULL, 1, 4, 0.0)
    assert wait_s == 0
    assert rates.take(level, 1, 4, 0.0)[1] == 4


@pytest.mark.parametrize(
    ("said", "cost"),
    [(b"", 1), (b"0", 1), (b"1", 1), (b"2", 2), (b"8", 8), (b"9999", 1000), (b"99999", 1), (b"-2", 1), (b"x", 1)],
)
def test_what_a_call_stands_for_is_what_nginx_says(said: bytes, cost: int) -> None:
    assert rates.cost_of({rates.SHARED_BY: said}) == cost
    assert rates.cost_of({}) == 1


@pytest.mark.parametrize(("wait_s", "said"), [(0.01, "1"), (1.0, "1"), (1.2, "2"), (7.0, "7"), (math.inf, "86400")])
def test_retry_after_is_in_whole_seconds_and_bounded(wait_s: float, said: str) -> None:
    assert problems.extra_headers(refusals.RateLimited(wait_s)) == {"retry-after": said}


async def test_a_key_over_its_rate_is_refused_and_others_are_not(
    keyring: Keyring, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited, other, free = make_key("ann", rate_per_s=3), make_key("ann", rate_per_s=3), make_key("bob")
    stands_at_s = module.time.monotonic()
    await keyring.ask(raw(limited))
    with monkeypatch.context() as patch:
        patch.setattr(module.time, "monotonic", lambda: stands_at_s)
        for _ in range(2):
            keyring.admit(raw(limited))
        with pytest.raises(refusals.RateLimited) as refused:
            keyring.admit(raw(limited))
    assert 0 < refused.value.wait_s <= 1 / 3
    assert "3 calls a second" in refused.value.hint
    for _ in range(3):
        keyring.admit(raw(other))
    for _ in range(1000):
        keyring.admit(raw(free))


async def test_a_call_that_may_not_be_made_costs_nothing(keyring: Keyring, make_key: MakeKey) -> None:
    key = make_key("ann", rate_per_s=1)
    for _ in range(5):
        with pytest.raises(errors.Forbidden):
            await keyring.ask(raw(key), "admin")
        with pytest.raises(errors.Unauthenticated):
            await keyring.ask(raw(key[:-4] + "AAAA"))
    assert keyring.admit(raw(key)).owner == "ann"


async def test_a_reload_of_the_keys_fills_no_bucket(
    keyring: Keyring, ledger: Ledger, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key("ann", rate_per_s=1)
    stands_at_s = module.time.monotonic()
    await keyring.ask(raw(key))
    make_key("bob")
    before = keyring._entries
    await keyring.refresh()
    assert keyring._entries is not before
    with monkeypatch.context() as patch:
        patch.setattr(module.time, "monotonic", lambda: stands_at_s)
        with pytest.raises(refusals.RateLimited):
            keyring.admit(raw(key))


async def test_replicas_that_take_turns_share_a_rate(
    config: settings.Settings, ledger: Ledger, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key("ann", rate_per_s=40)
    both = [Keyring(config, ledger.keys, asyncio.Event()) for _ in range(2)]
    for keyring in both:
        await keyring.refresh()
    sent = {**raw(key), b"x-warren-replicas": b"2"}
    passed = 0
    stands_at_s = module.time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr(module.time, "monotonic", lambda: stands_at_s)
        for number in range(400):
            try:
                both[number % 2].admit(sent)
            except refusals.RateLimited:
                continue
            passed += 1
    assert passed == 40
    for keyring in both:
        await keyring.close()


async def test_every_guarded_call_is_counted_and_refused_in_its_form(
    client: httpx.AsyncClient, app: Gateway, ledger: Ledger
) -> None:
    """One call spends the rate; every other one is then refused, whatever it is."""
    rate_per_s = 1e-6
    _, key = making.create(ledger, making.Wanted("boss", frozenset({"admin"}), 1, rate_per_s), LOCAL)
    assert (await client.get("/keys", headers=bearer(key))).status_code == 200
    for (method, path), policy in POLICIES.items():
        if policy == "open":
            continue
        answer = await client.request(method, filled(path), headers=bearer(key), json=BODY)
        assert answer.headers["retry-after"] == "86400", path
        if path.startswith("/inference."):
            assert (answer.headers["grpc-status"], answer.headers["grpc-message"].startswith(TOO_OFTEN)) == ("8", True)
            continue
        assert answer.status_code == 429, path
        media, told = answer.headers["content-type"], answer.json()
        if path.startswith(("/v1", "/v2")):
            assert (media, told["error"].startswith(TOO_OFTEN)) == ("application/json", True), path
        elif path.startswith("/mlflow"):
            assert (told["error_code"], told["message"].startswith(TOO_OFTEN)) == ("REQUEST_LIMIT_EXCEEDED", True)
        else:
            assert (media, told["code"]) == ("application/problem+json", "rate_limited"), path
    assert (await client.get("/livez", headers=bearer(key))).status_code == 200


async def test_a_key_that_is_new_to_a_replica_is_counted_once(
    client: httpx.AsyncClient, app: Gateway, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key("ann", rate_per_s=0.01)
    monkeypatch.setattr(app.state.gateway, "coalescer", _Answering())
    answers = [(await client.post("/predict", headers=bearer(key), json=BODY)).status_code for _ in range(4)]
    assert answers == [200, 429, 429, 429]


class _Answering:
    """A coalescer that answers at once."""

    def submit(self, exchange: Any) -> None:
        exchange.answer(Answer(1, memoryview(b'"predictions":[1]'), 0.0, 0.0))


def test_the_document_of_every_guarded_call_has_the_429(app: Gateway) -> None:
    for path, item in app.openapi()["paths"].items():
        for method, operation in item.items():
            if policy_of(method.upper(), path) == "open":
                continue
            answer = operation["responses"]["429"]
            assert "rate_limited" in answer["description"], path
            assert "Retry-After" in answer["headers"], path


async def test_the_rate_of_a_key_is_asked_for_shown_and_bounded(client: httpx.AsyncClient, make_key: MakeKey) -> None:
    admin = bearer(make_key("boss", "admin"))

    async def made(**asked: Any) -> httpx.Response:
        body = {"owner": f"owner-{len(made_rates)}", "scopes": ["predict"], **asked}
        made_rates.append(asked)
        return await client.post("/keys", headers=admin, json=body)

    made_rates: list[dict[str, Any]] = []
    shown = [(await made(**asked)).json()["rate_per_s"] for asked in ({}, {"rate_per_s": None}, {"rate_per_s": 2.5})]
    assert shown == [None, None, 2.5]
    for wrong in (0, -1, 100_001, "5", True):
        assert (await made(rate_per_s=wrong)).status_code == 422, wrong
    listed = (await client.get("/keys", headers=admin)).json()["keys"]
    assert [key["rate_per_s"] for key in listed] == [2.5, None, None, None]
    entries = (await client.get("/audit", headers=admin)).json()["entries"]
    assert entries[0]["target"].endswith("predict 2.5/s")
    schema = (await client.get("/openapi.json")).json()["components"]["schemas"]["KeyBody"]["properties"]["rate_per_s"]
    assert {"type": "null"} in schema["anyOf"], json.dumps(schema)


async def test_without_a_number_the_setting_says_and_null_is_no_limit(
    config: settings.Settings, client: httpx.AsyncClient, app: Gateway, make_key: MakeKey
) -> None:
    app.state.gateway.settings = config.model_copy(update={"keys": settings.Keys(rate_per_s=9)})
    admin = bearer(make_key("boss", "admin"))
    for asked, got in (({}, 9), ({"rate_per_s": None}, None), ({"rate_per_s": 4}, 4)):
        body = {"owner": f"owner-{got}".lower(), "scopes": ["predict"], **asked}
        assert (await client.post("/keys", headers=admin, json=body)).json()["rate_per_s"] == got
