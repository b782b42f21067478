"""POST /train through a real HTTP server, broker and ledger."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from api.ledger import Ledger
from tests.integration.jobs.conftest import ready_messages
from tests.integration.jobs.replica import BODY, Replica, fields
from tests.rabbit import Rabbit, wait_until
from wire import settings, topology


def test_training_is_accepted_once_the_broker_keeps_it(
    client: httpx.Client, replicas: list[Replica], rabbitmq: Rabbit, config: settings.Settings
) -> None:
    answer = client.post("/train", json=BODY)
    assert answer.status_code == 202
    told = answer.json()
    assert answer.headers["location"] == told["links"]["self"] == f"/jobs/{told['job_id']}"
    assert told["status"] == "queued"
    assert ready_messages(rabbitmq, config, topology.JOBS) == 1
    for replica in replicas:
        job = replica.client.get(f"/jobs/{told['job_id']}").json()
        assert (job["status"], job["queue_position"], job["attempts"]) == ("queued", 1, 0)
        assert (job["dataset"], job["target"], job["estimator"]) == ({"sample": "iris"}, "target", "auto")


def test_same_key_and_body_is_one_job_on_any_replica(replicas: list[Replica]) -> None:
    headers = {"idempotency-key": "one job"}
    assert replicas[0].client.post("/train", json=BODY, headers=headers).status_code == 422
    headers = {"idempotency-key": "one-job"}

    def send(index: int) -> httpx.Response:
        return replicas[index % 2].client.post("/train", json=BODY, headers=headers)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["job_id"] for answer in answers}) == 1
    spaced = json.dumps(dict(reversed(BODY.items())), indent=3)
    again = replicas[1].client.post("/train", content=spaced, headers={**headers, "content-type": "application/json"})
    assert again.json()["job_id"] == answers[0].json()["job_id"]
    other = replicas[1].client.post("/train", json={**BODY, "model": "other"}, headers=headers)
    assert (other.status_code, fields(other)) == (422, ["Idempotency-Key"])


@pytest.mark.parametrize(
    ("changed", "places"),
    [
        ({"model": "Bad Name"}, ["model"]),
        ({"model": None}, ["model"]),
        ({"dataset": {}}, ["dataset"]),
        ({"dataset": {"sample": "iris", "id": "0" * 32}}, ["dataset"]),
        ({"dataset": {"sample": "titanic"}}, ["dataset.sample"]),
        ({"dataset": {"id": "../../etc/passwd"}}, ["dataset.id"]),
        ({"dataset": {"rows": []}}, ["dataset.rows"]),
        ({"dataset": {"rows": [{"a": [1]}]}}, ["dataset.rows[0][...]"]),
        ({"dataset": {"rows": [{"a": 1, "b": 2}]}}, ["target"]),
        ({"dataset": {"rows": [{"target": 2}]}}, ["dataset"]),
        ({"target": "species"}, ["target"]),
        ({"estimator": "LogisticRegresion"}, ["estimator"]),
        ({"estimator": "LogisticRegression", "params": {"C": -1}}, ["params.C"]),
        ({"estimator": "LogisticRegression", "search": {"space": {"C": []}}}, ["search.space.C"]),
        ({"validation": {"holdout": 0.9}}, ["validation.holdout"]),
        ({"validation": {"order_by": "target"}}, ["validation.order_by"]),
        ({"promote": "sometimes"}, ["promote"]),
        ({"surprise": 1}, ["body"]),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_training_that_cannot_be_is_refused_at_once_with_its_place(
    client: httpx.Client, changed: dict[str, Any], places: list[str]
) -> None:
    answer = client.post("/train", json={**BODY, **changed})
    assert (answer.status_code, fields(answer)) == (422, places)


def test_bodies_that_are_no_json_have_their_own_statuses(client: httpx.Client) -> None:
    json_type = {"content-type": "application/json"}
    assert client.post("/train", content=b"{", headers=json_type).status_code == 400
    assert client.post("/train", content=b'{"model": NaN}', headers=json_type).status_code == 400
    assert client.post("/train", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    big = b'{"model":"' + b"a" * (8 * 1024 * 1024) + b'"}'
    assert client.post("/train", content=big, headers=json_type).status_code == 413


def test_unknown_dataset_is_404(client: httpx.Client) -> None:
    answer = client.post("/train", json={**BODY, "dataset": {"id": "0" * 32}})
    assert (answer.status_code, answer.json()["code"]) == (404, "dataset_not_found")


def test_rows_become_a_dataset_and_only_its_id_travels(
    client: httpx.Client, config: settings.Settings, ledger: Ledger
) -> None:
    body = {**BODY, "dataset": {"rows": [{"a": 1, "target": "x"}, {"a": None, "target": "ü"}]}}
    job = ledger.jobs.find(client.post("/train", json=body).json()["job_id"], owner=None)
    path = config.paths.datasets / str(job.dataset_id) / "data.jsonl"
    assert path.read_bytes() == '{"a":1,"target":"x"}\n{"a":null,"target":"ü"}\n'.encode()
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:32] == job.dataset_id
    assert client.post("/train", json=body).status_code == 202
    assert client.delete(f"/datasets/{job.dataset_id}").status_code == 409


def test_too_many_waiting_jobs_are_429(client: httpx.Client, replicas: list[Replica]) -> None:
    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda _: client.post("/train", json=BODY).status_code, range(200)))
    answer = client.post("/train", json=BODY)
    assert set(first) == {202}
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1


def test_broker_under_alarm_is_503_at_once_and_the_same_key_is_good_later(
    client: httpx.Client, rabbitmq: Rabbit, config: settings.Settings, ledger: Ledger
) -> None:
    headers = {"idempotency-key": "alarm"}
    with rabbitmq.alarm():
        client.post("/train", json=BODY)  # the broker tells a publisher of its alarm when it publishes
        answer = client.post("/train", json=BODY, headers=headers)
        assert answer.status_code == 503
        assert "retry-after" in answer.headers
        assert answer.elapsed.total_seconds() < config.broker.confirm_timeout_s, "it waited for a confirm"
    assert ledger.jobs.page(owner=None, model=None, status="queued", before=None, limit=9)[0] == []

    def accepted() -> bool:
        return client.post("/train", json=BODY, headers=headers).status_code == 202

    wait_until(accepted, "the broker accepts again", 20)
    (job,) = ledger.jobs.page(owner=None, model=None, status="queued", before=None, limit=9)[0]
    assert job.idempotency_key == "alarm"


def test_queue_that_is_missing_is_503_and_the_job_is_withdrawn(
    client: httpx.Client, rabbitmq: Rabbit, config: settings.Settings, ledger: Ledger
) -> None:
    with rabbitmq.channel(config.broker.vhost) as channel:
        channel.queue_unbind(topology.JOBS, topology.JOBS, topology.JOBS)
        answer = client.post("/train", json=BODY)
        channel.queue_bind(topology.JOBS, topology.JOBS, topology.JOBS)
    assert (answer.status_code, answer.json()["code"]) == (503, "unroutable")
    assert ledger.jobs.page(owner=None, model=None, status="queued", before=None, limit=9)[0] == []
