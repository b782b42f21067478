"""The page of calls and the document behind it: whole, made once, and nobody else's."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator

import httpx
import pytest

from api.app import Gateway, create_app
from api.routes.docs import ASSETS
from wire.settings import Settings


@pytest.fixture
def app() -> Gateway:
    return create_app(Settings())


@pytest.fixture
async def client(app: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


async def test_the_docs_page_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "http" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for asset, kind in ASSETS.items():
        assert f"/docs/{asset}" in page.text
        answer = await client.get(f"/docs/{asset}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
    assert "/openapi.json" in (await client.get("/docs/start.js")).text
    assert (await client.get("/docs/other.js")).status_code == 404


async def test_no_address_makes_the_docs_page_show_another_document(client: httpx.AsyncClient) -> None:
    script = (await client.get("/docs/start.js")).text
    (options,) = re.findall(r"SwaggerUIBundle\(\{(.*)\}\)", script)
    assert re.findall(r"(\w+)(?:: [^,]+)?(?:, |$)", options) == ["spec", "dom_id", "deepLinking", "validatorUrl"]
    assert re.findall(r"fetch\(([^)]*)\)", script) == ['"/openapi.json"']
    bundle = (await client.get("/docs/swagger-ui-bundle.js")).text
    assert re.findall(r"queryConfigEnabled:([^,]+),", bundle) == ["!1"], "?url= and ?configUrl= are read only with it"
    plain = await client.get("/docs")
    asked = await client.get(
        "/docs", params={"url": "//x/spec.json", "configUrl": "//x/c.json", "queryConfigEnabled": 1}
    )
    assert asked.content == plain.content
    policy = plain.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "connect-src 'self'"} <= set(policy)


async def test_the_document_is_made_once_and_not_on_the_loop(
    client: httpx.AsyncClient, app: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_by: list[threading.Thread] = []
    make = app.openapi
    monkeypatch.setattr(app, "openapi", lambda: (made_by.append(threading.current_thread()), make())[1])
    answers = await asyncio.gather(*(client.get("/openapi.json") for _ in range(20)))
    assert {answer.content for answer in answers} == {app.document_json}
    assert len(made_by) == 1
    assert made_by[0] is not threading.current_thread()


async def test_the_document_describes_every_call_and_every_problem(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert "post" in document["paths"]["/predict"]
    for path, item in document["paths"].items():
        for method, operation in item.items():
            named = f"{method} {path}"
            statuses = set(operation["responses"])
            assert "500" in statuses, named
            assert operation["summary"], named
            foreign = path.startswith(("/v1", "/v2", "/mlflow"))
            if "requestBody" in operation:
                assert ({"400", "413", "415"} if foreign else {"400", "413", "415", "422"}) <= statuses, named
            media = "application/json" if foreign else "application/problem+json"
            for status, answer in operation["responses"].items():
                if int(status) >= 400 and not (path == "/readyz" and status == "503"):
                    assert list(answer["content"]) == [media], named
                assert not (foreign and status == "422"), named
    text = json.dumps(document)
    for part in text.split('"#/components/schemas/')[1:]:
        assert part.split('"')[0] in document["components"]["schemas"]
    assert "x-components" not in text
