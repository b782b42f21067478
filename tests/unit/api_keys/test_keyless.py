"""A gateway without keys answers this machine's programs, and no web page that a browser on it shows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from api.app import Gateway, create_app
from api.keys import keyless
from api.keys.keyless import Keyless
from api.keys.policies import POLICIES
from api.protocols.open_inference_grpc.infer import MODEL_INFER
from tests.unit.api_keys.conftest import MakeKey, bearer
from tests.unit.api_keys.test_policies import filled, status_of
from wire import errors
from wire.settings import Api, Ledger, Settings

HERE = "localhost:8080"
ELSEWHERE = (
    {"host": "evil.example:8080"},
    {"host": HERE, "origin": "https://evil.example"},
    {"host": HERE, "sec-fetch-site": "cross-site"},
)


def client_of(api: Api, tmp_path: Path) -> httpx.AsyncClient:
    app = create_app(Settings(api=api, ledger=Ledger(url=f"sqlite:///{tmp_path}/ledger.sqlite3")))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url=f"http://{HERE}")


@pytest.fixture
async def guarded(app: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{HERE}") as client:
        yield client


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(Api(), tmp_path) as client:
        yield client


def passes(hosts: str = "", **headers: str) -> bool:
    given = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    try:
        Keyless(hosts).check(given)
    except errors.Forbidden:
        return False
    return True


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.8.9.1", "[::1]", "[::1]:8080", ""]
)
def test_this_machine_is_answered(host: str) -> None:
    assert passes(host=host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "evil.localhost",
        "localhost.", "10.0.0.7", "0.0.0.0:8080", "[::ffff:127.0.0.1]", "[::1", "127.0.0.1@evil.example", "\xff",
    ],
)  # fmt: skip
def test_another_name_may_be_a_page_whose_name_leads_here(host: str) -> None:
    assert not passes(host=host)


def test_names_that_are_set_are_answered_too() -> None:
    names = "warren.lan, Other.lan,"
    assert passes(names, host="WARREN.lan:8080", origin="https://other.lan")
    assert not passes(names, host="x.warren.lan")
    assert passes("warren.lan:8080,[fe80::1]", host="warren.lan:8080", origin="http://[fe80::1]")
    assert not passes(names, host="", origin="")


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:8080", "https://[::1]:1"])
def test_a_page_of_this_machine_is_answered(origin: str) -> None:
    assert passes(host=HERE, origin=origin, sec_fetch_site="same-origin")
    assert passes(host=HERE, origin=origin)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "file://", "chrome-extension://abc"])
def test_a_page_of_anybody_elses_is_not(origin: str) -> None:
    assert not passes(host=HERE, origin=origin)


def test_made_up_names_take_no_memory() -> None:
    guard = Keyless()
    for number in range(3 * keyless.MAX_KNOWN):
        with pytest.raises(errors.Forbidden):
            guard.check({b"host": b"x%d.example" % number})
    assert len(guard._known) <= keyless.MAX_KNOWN
    guard.check({b"host": b"localhost"})


async def test_every_call_that_would_need_a_key_is_refused(client: httpx.AsyncClient) -> None:
    for method, path in [call for call, policy in POLICIES.items() if policy != "open"]:
        for headers in ELSEWHERE:
            answer = await client.request(method, filled(path), headers=headers)
            assert status_of(answer) == 403, f"{method} {path} with {headers}: {answer.text}"
            assert "evil" not in answer.text
        if path != MODEL_INFER.route:
            continue
        assert status_of(await client.post(path)) != 403


async def test_a_refusal_has_the_form_of_its_path_and_says_what_to_do(client: httpx.AsyncClient) -> None:
    for path in ("/models/m/rollback", "/predict"):
        told = (await client.post(path, headers=ELSEWHERE[0])).json()
        assert (told["status"], told["code"]) == (403, "forbidden")
        assert "WARREN_API__HOSTS" in told["hint"]
        assert "another site" in (await client.post(path, headers=ELSEWHERE[2])).json()["detail"]
    assert (await client.get("/v2/models/m", headers=ELSEWHERE[0])).json()["error"].startswith("Without API keys")
    refused = await client.post("/mlflow/m/invocations", headers=ELSEWHERE[1])
    assert refused.json()["error_code"] == "PERMISSION_DENIED"


async def test_health_and_documentation_are_for_everybody(client: httpx.AsyncClient) -> None:
    for headers in ELSEWHERE:
        for path in ("/livez", "/v2/health/live", "/docs", "/openapi.json"):
            assert (await client.get(path, headers=headers)).status_code == 200, path


async def test_where_keys_are_needed_any_host_will_do(guarded: httpx.AsyncClient, make_key: MakeKey) -> None:
    key = bearer(make_key("ann", "predict"))
    for headers in ELSEWHERE:
        told = (await guarded.post("/predict", headers=headers | key)).json()
        assert told["code"] == "unsupported_media_type"
        assert (await guarded.get("/keys", headers=headers | key)).json()["detail"].startswith("This API key")


async def test_names_of_the_settings_reach_both_doors(tmp_path: Path) -> None:
    headers = {"host": "warren.lan", "origin": "https://warren.lan"}
    async with client_of(Api(hosts="warren.lan"), tmp_path) as client:
        assert json.loads((await client.post("/predict", headers=headers)).content)["code"] == "unsupported_media_type"
        assert (await client.get("/models", headers=headers)).status_code == 500, "there is no broker in this test"
