"""API keys through two real replicas: what belongs to whom, and how fast a key ends."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from api.keys import making
from api.keys.callers import LOCAL
from api.ledger import Ledger
from tests.integration.jobs.replica import BODY, CSV, TYPE, Replica
from tests.rabbit import wait_until
from wire import logs, settings, telemetry


@pytest.fixture(scope="module")
def keyed(config: settings.Settings, ledger: Ledger) -> Iterator[list[Replica]]:
    """Two replicas that need keys."""
    required = config.model_copy(update={"api": settings.Api(keys="required"), "keys": settings.Keys(refresh_s=0.2)})
    both = [Replica(required).start() for _ in range(2)]
    yield both
    for replica in both:
        replica.stop()


@pytest.fixture
def admin(keyed: list[Replica], ledger: Ledger) -> Iterator[httpx.Client]:
    """The first replica, asked by an admin whose key was made on the ledger itself."""
    key, text = making.create(ledger, making.Wanted("boss", frozenset({"admin"}), 1), LOCAL)
    with asked_with(keyed[0], text) as client:
        yield client
    making.revoke(ledger, key.prefix, LOCAL)


Open = Callable[[httpx.Client], httpx.Client]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Closes clients with the test."""
    with ExitStack() as stack:
        yield stack.enter_context


def asked_with(replica: Replica, key: str) -> httpx.Client:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.Client(base_url=replica.url, headers=headers, timeout=30, trust_env=False)


def new_key(admin: httpx.Client, owner: str, *scopes: str) -> dict[str, str]:
    answer = admin.post("/keys", json={"owner": owner, "scopes": list(scopes or ("train",))})
    assert answer.status_code == 201, answer.text
    made: dict[str, str] = answer.json()
    return made


def test_what_another_owns_is_404_on_every_verb_and_an_admins_to_see(
    admin: httpx.Client, keyed: list[Replica], opened: Open
) -> None:
    ann, eve = (opened(asked_with(keyed[1], new_key(admin, owner)["key"])) for owner in ("ann", "eve"))
    job_id = ann.post("/train", json=BODY).json()["job_id"]
    dataset_id = ann.post("/datasets", content=CSV, headers=TYPE).json()["dataset_id"]
    for method, path in (
        ("GET", f"/jobs/{job_id}"),
        ("GET", f"/jobs/{job_id}/events"),
        ("POST", f"/jobs/{job_id}/cancel"),
        ("GET", f"/datasets/{dataset_id}"),
        ("DELETE", f"/datasets/{dataset_id}"),
    ):
        assert eve.request(method, path).status_code == 404, path
    assert eve.post("/train", json={**BODY, "dataset": {"id": dataset_id}}).status_code == 404
    assert eve.get("/jobs").json()["jobs"] == eve.get("/datasets").json()["datasets"] == []
    assert [job["job_id"] for job in ann.get("/jobs").json()["jobs"]] == [job_id]
    assert job_id in [job["job_id"] for job in admin.get("/jobs").json()["jobs"]]
    assert admin.get(f"/jobs/{job_id}").status_code == 200
    assert ann.post(f"/jobs/{job_id}/cancel").json()["status"] == "cancelled"


def test_an_idempotency_key_belongs_to_its_owner(admin: httpx.Client, keyed: list[Replica], opened: Open) -> None:
    first, second = (opened(asked_with(keyed[0], new_key(admin, owner)["key"])) for owner in ("owner-1", "owner-2"))
    headers = {"idempotency-key": "the-same"}
    mine = first.post("/train", json=BODY, headers=headers)
    theirs = second.post("/train", json={**BODY, "model": "other"}, headers=headers)
    assert (mine.status_code, theirs.status_code) == (202, 202)
    assert mine.json()["job_id"] != theirs.json()["job_id"]
    assert first.post("/train", json=BODY, headers=headers).json()["job_id"] == mine.json()["job_id"]


def test_a_key_is_replaced_without_a_gap_and_ends_on_every_replica(admin: httpx.Client, keyed: list[Replica]) -> None:
    old = new_key(admin, "shop", "predict")
    with asked_with(keyed[1], old["key"]) as before:
        assert before.get("/jobs").status_code == 403
        new = new_key(admin, "shop", "train")
        refused = admin.post("/keys", json={"owner": "shop", "scopes": ["predict"]})
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        with asked_with(keyed[1], new["key"]) as after:
            assert after.get("/jobs").status_code == 200, "known at once on the other replica"
        assert admin.delete(f"/keys/{old['prefix']}").status_code == 204
        assert admin.delete(f"/keys/{old['prefix']}").status_code == 204
        with asked_with(keyed[0], old["key"]) as here:
            assert here.get("/jobs").status_code == 401, "ends at once where it was revoked"
        wait_until(lambda: before.get("/jobs").status_code == 401, "the key ends on the other replica")
    assert admin.delete("/keys/zzzzzzzz").status_code == 404
    listed = {key["prefix"]: key for key in admin.get("/keys", params={"limit": 200}).json()["keys"]}
    assert (listed[old["prefix"]]["state"], listed[new["prefix"]]["state"]) == ("revoked", "live")
    assert "key" not in listed[new["prefix"]]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"owner": "ann"},
        {"owner": "Ann Smith", "scopes": ["train"]},
        {"owner": "ann", "scopes": []},
        {"owner": "ann", "scopes": ["root"]},
        {"owner": "ann", "scopes": ["train"], "days": 0},
        {"owner": "ann", "scopes": ["train"], "key": "wk_mine"},
    ],
)
def test_a_key_that_cannot_be_is_refused(admin: httpx.Client, body: dict[str, object]) -> None:
    assert admin.post("/keys", json=body).status_code == 422


def test_every_change_is_in_the_audit_log_with_its_request(admin: httpx.Client, keyed: list[Replica]) -> None:
    made = new_key(admin, "auditee")
    with asked_with(keyed[0], made["key"]) as client:
        job_id = client.post("/train", json=BODY, headers={"x-request-id": "r-train"}).json()["job_id"]
        client.post(f"/jobs/{job_id}/cancel", headers={"x-request-id": "r-cancel"})
        client.post(f"/jobs/{job_id}/cancel", headers={"x-request-id": "r-cancel"})
        dataset_id = client.post("/datasets", content=CSV + b"3,z\n", headers=TYPE).json()["dataset_id"]
        assert client.delete(f"/datasets/{dataset_id}").status_code == 204
    entries = admin.get("/audit", params={"limit": 100}).json()["entries"]
    mine = [(entry["action"], entry["target"]) for entry in entries if entry["key"] == made["prefix"]]
    assert mine == [
        ("dataset.deleted", dataset_id),
        ("dataset.stored", dataset_id),
        ("job.cancelled", job_id),
        ("train.accepted", f"{job_id} {BODY['model']}"),
    ]
    assert {entry["actor"] for entry in entries if entry["key"] == made["prefix"]} == {"auditee"}
    (trained,) = (entry for entry in entries if entry["request_id"] == "r-train")
    assert trained["action"] == "train.accepted"
    first = admin.get("/audit", params={"limit": 1}).json()
    rest = admin.get("/audit", params={"limit": 1, "cursor": first["next_cursor"]}).json()
    assert [first["entries"][0], rest["entries"][0]] == entries[:2]
    assert admin.get("/audit", params={"cursor": "x"}).status_code == 422
    assert admin.get("/keys", params={"limit": 1}).json()["next_cursor"].isdecimal()


def test_no_key_is_in_any_log_line_answer_or_metric(admin: httpx.Client, keyed: list[Replica]) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logs.JsonFormatter())
    logging.getLogger().addHandler(handler)
    levels = {name: logging.getLogger(name).level for name in ("", "warren")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        key = new_key(admin, "whisper", "train")["key"]
        secret = key.split("_", 2)[2]
        answers = []
        with asked_with(keyed[0], key) as client:
            for method, path in (("GET", "/jobs"), ("POST", "/keys"), ("GET", "/nothing")):
                answers.append(client.request(method, path, headers={"x-request-id": "r-whisper"}))
            answers.append(client.post("/train", json={**BODY, "model": key}))
            sent = {"accept": key, "content-type": "application/json"}
            answers.append(client.post("/train", content=f'{{"model": "{key}"', headers=sent))
            answers.append(client.get("/jobs", headers={"authorization": f"Bearer {key}x"}))
        answers.append(admin.get("/keys"))
        answers.append(admin.get("/audit"))
    finally:
        logging.getLogger().removeHandler(handler)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    assert [answer.status_code for answer in answers] == [200, 403, 404, 422, 400, 401, 200, 200]
    assert "r-whisper" in written.getvalue()
    assert secret not in written.getvalue()
    assert not [answer.url for answer in answers if secret in answer.text + str(answer.headers)]
    metrics = telemetry.render()[0].decode()
    assert "warren_keys_refused_total" in metrics
    assert secret not in metrics
