"""A request that is repeated under its Idempotency-Key after what it names is gone: the same job all the same."""

from __future__ import annotations

from typing import Any

import httpx

from api.keys.callers import LOCAL
from api.offline import order as orders
from api.state import State
from tests.jobs import new_dataset, new_job
from wire import errors

KEYED = {"idempotency-key": "k"}
GONE = "d" * 32


async def test_training_whose_data_is_gone_is_still_its_job(state: State, client: httpx.AsyncClient) -> None:
    dataset = new_dataset()
    state.ledger.datasets.place(dataset, owner=LOCAL.owner, put=lambda: None)
    body = {"model": "good", "dataset": {"id": dataset.dataset_id}, "target": "target"}
    first = await client.post("/train", json=body, headers=KEYED)
    assert first.status_code == 202
    state.ledger.jobs.request_cancel(first.json()["job_id"], owner=None)
    state.ledger.datasets.delete(dataset.dataset_id, owner=None)
    again = await client.post("/train", json=body, headers=KEYED)
    assert (again.status_code, again.json()["job_id"]) == (202, first.json()["job_id"])
    assert (await client.post("/train", json=body)).status_code == 404
    other = await client.post("/train", json={**body, "model": "other"}, headers=KEYED)
    assert other.status_code == 422


async def test_training_that_was_refused_is_checked_again(state: State, client: httpx.AsyncClient) -> None:
    """Its job was withdrawn, so there is none yet."""
    dataset = new_dataset()
    state.ledger.datasets.place(dataset, owner=LOCAL.owner, put=lambda: None)
    body = {"model": "good", "dataset": {"id": dataset.dataset_id}, "target": "target"}
    accepted = state.ledger.jobs.find((await client.post("/train", json=body)).json()["job_id"], owner=None)
    refused = new_job(idempotency_key="k", body_digest=accepted.body_digest, dataset_id=dataset.dataset_id)
    state.ledger.jobs.withdraw(state.ledger.jobs.accept(refused, queued_limit=9))
    state.ledger.datasets.condemn(dataset.dataset_id, errors.ErrorBody("bad_input", "no header"))
    assert (await client.post("/train", json=body, headers=KEYED)).status_code == 422


async def test_prediction_of_a_dataset_is_still_its_job_while_no_predictor_answers(
    state: State, client: httpx.AsyncClient
) -> None:
    body: dict[str, Any] = {"model": "m", "dataset": {"id": GONE}}
    asked = orders.BatchBody(model="m", dataset=orders.UploadChoice(id=GONE))
    order = orders.Order(model="m", version=7, dataset_id=GONE, features={})
    new = new_job(
        kind=orders.KIND,
        model="m",
        request=order.encode(),
        body_digest=orders.digest(asked),
        idempotency_key="k",
        owner=LOCAL.owner,
    )
    job = state.ledger.jobs.accept(new, queued_limit=9)
    again = await client.post("/batch-predictions", json=body, headers=KEYED)
    assert (again.status_code, again.json()["job_id"]) == (202, job.job_id)
    assert state.ledger.jobs.find(job.job_id, owner=None).confirmed, "its message was published, as it was missing"
    assert (await client.post("/batch-predictions", json=body)).status_code == 404
