"""Every call by every kind of key: the table is complete, and what it says is what happens."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
from starlette.routing import BaseRoute, Route

from api.app import create_app
from api.keys.callers import SCOPES, granted
from api.keys.policies import POLICIES, policy_of
from api.protocols.open_inference_grpc.infer import MODEL_INFER
from tests.source_tree import CHECKOUT
from tests.unit.api_keys.conftest import MakeKey, bearer
from wire.settings import Settings

BODY = {"model": "m", "instances": [[1]]}
OPEN = [call for call, policy in POLICIES.items() if policy == "open"]
GUARDED = [call for call, policy in POLICIES.items() if policy != "open"]


def calls(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Every method and template of the application's routes, also of the routers it includes."""
    for route in routes:
        included = getattr(route, "original_router", None)
        if included is not None:
            yield from calls(included.routes)
        else:
            assert isinstance(route, Route), f"{route} is of a kind whose policy nobody checks"
            yield from ((method, route.path) for method in route.methods or ())


def filled(path: str) -> str:
    return re.sub(r"\{\w+\}", "1", path)


def test_every_call_has_a_policy_and_no_policy_is_without_a_call() -> None:
    app = create_app(Settings())
    routed = set(calls(app.routes))
    described = {(method.upper(), path) for path, item in app.openapi()["paths"].items() for method in item}
    # OpenAPI has no words for gRPC.
    assert routed | described | {("POST", MODEL_INFER.route)} == POLICIES.keys()


def test_the_page_says_what_the_table_says() -> None:
    page = (CHECKOUT / "docs" / "security.md").read_text()
    table = re.findall(r"^\| `([A-Z]+) (/[^ `]*)` \| (\w+) \|$", page, re.MULTILINE)
    assert {(method, path): policy for method, path, policy in table} == POLICIES


def test_a_call_that_was_forgotten_is_for_admins() -> None:
    assert policy_of("PATCH", "/models/{model}") == "admin"


def assert_is_refused_in_its_form(path: str, answer: httpx.Response) -> None:
    """Clients of another protocol read no errors but their own."""
    media, key, said = "application/problem+json", "code", "unauthenticated"
    if path.startswith("/inference."):
        assert (answer.headers["content-type"], answer.content) == ("application/grpc", b""), path
        return
    if path.startswith(("/v1", "/v2")):
        media, key, said = "application/json", "error", "This call needs a valid API key."
    elif path.startswith("/mlflow"):
        media, key, said = "application/json", "error_code", "UNAUTHENTICATED"
    assert answer.headers["content-type"] == media, path
    assert answer.json()[key].startswith(said), path


def status_of(answer: httpx.Response) -> int:
    """HTTP's status; for an answer of gRPC the one that its code stands for."""
    return {"16": 401, "7": 403}.get(answer.headers.get("grpc-status", ""), answer.status_code)


async def test_a_guarded_call_takes_a_key_with_its_scope(client: httpx.AsyncClient, make_key: MakeKey) -> None:
    keys = {scope: make_key(f"owner-of-{scope}", scope) for scope in sorted(SCOPES)}
    wrong = ({}, bearer("wk_aaaaaaaa_" + "a" * 43), {"x-api-key": "hunter2"}, {"authorization": "Basic d2s6d2s="})
    for method, path in GUARDED:
        call, needed = f"{method} {path}", POLICIES[method, path]
        for sent in wrong:
            answer = await client.request(method, filled(path), headers=sent, json=BODY)
            assert status_of(answer) == 401, call
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert_is_refused_in_its_form(path, answer)
            assert "hunter2" not in answer.text
        for scope, key in keys.items():
            answer = await client.request(method, filled(path), headers=bearer(key), json=BODY)
            allowed = needed == "any" or needed in granted({scope})
            assert (status_of(answer) == 403) is not allowed, f"{call} with {scope}: {answer.text}"
            assert status_of(answer) != 401, call
            assert key.split("_", 2)[2] not in answer.text


async def test_an_open_call_takes_none(client: httpx.AsyncClient) -> None:
    for method, path in OPEN:
        if path not in ("/readyz", "/v2/health/ready"):  # ask the broker; their own tests have no key
            answer = await client.request(method, path.replace("{asset}", "swagger-ui.css"))
            assert answer.status_code == 200, path


async def test_the_document_says_what_each_call_needs(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"].keys() == {"bearer", "header"}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            policy = policy_of(method.upper(), path)
            statuses = operation["responses"].keys()
            assert ("401" in statuses) is (policy != "open"), path
            assert ("403" in statuses) is (policy not in ("open", "any")), path
            assert operation["security"] == ([] if policy == "open" else [{"bearer": []}, {"header": []}])
            if policy != "open":
                assert "ledger_unavailable" in operation["responses"]["503"]["description"]
    assert "wk_aaaaaaaa" not in json.dumps(document)


def test_the_document_of_a_gateway_without_keys_says_they_are_optional() -> None:
    document = create_app(Settings()).openapi()
    assert document["paths"]["/train"]["post"]["security"][0] == {}
