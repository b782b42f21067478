"""Every change has its entry, whatever fails behind it; what changed nothing has none."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from api.app import Gateway
from api.ledger import Ledger
from tests.unit.api_keys.conftest import MakeKey, bearer
from wire import errors, topology
from wire.memory import MemoryBroker

ROWS = [{"a": 1, "target": "x"}, {"a": 2, "target": "y"}]
BODY: dict[str, Any] = {"model": "good", "dataset": {"rows": ROWS}, "target": "target"}
CSV = b"a,target\n1,x\n2,y\n"
TYPE = {"content-type": "text/csv"}


@pytest.fixture
async def ann(app: Gateway, client: httpx.AsyncClient, make_key: MakeKey) -> httpx.AsyncClient:
    """Asks with a key of ann's."""
    assert await app.state.gateway.rpc.wait_connected(10)
    client.headers.update(bearer(make_key("ann", "train")))
    return client


def entries(ledger: Ledger) -> list[tuple[str, str]]:
    """What ann did, oldest first."""
    return [
        (entry.action, entry.target)
        for entry in reversed(ledger.audit.page(before=None, limit=99))
        if entry.actor == "ann"
    ]


async def test_a_training_with_rows_stores_a_dataset_and_a_repeat_changes_nothing(
    ann: httpx.AsyncClient, ledger: Ledger
) -> None:
    answers = [await ann.post("/train", json=BODY, headers={"idempotency-key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    ((job,), _) = ledger.jobs.page(owner="ann", model=None, status=None, before=None, limit=9)
    assert entries(ledger) == [("dataset.stored", job.dataset_id), ("train.accepted", f"{job.job_id} good")]


async def test_what_a_refused_training_leaves_is_told(
    ann: httpx.AsyncClient, ledger: Ledger, app: Gateway, broker: MemoryBroker
) -> None:
    broker.delete_queue(topology.JOBS)
    assert (await ann.post("/train", json=BODY)).status_code == 503
    (dataset,) = ledger.datasets.page(owner="ann", before=None, limit=9)[0]
    told = entries(ledger)
    assert [action for action, _ in told] == ["dataset.stored", "train.accepted", "job.withdrawn"]
    assert (told[0][1], told[1][1]) == (dataset.dataset_id, told[2][1])


async def test_a_job_whose_replica_ends_behind_its_insert_has_its_entry(
    ann: httpx.AsyncClient, ledger: Ledger, app: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def end(*_: object, **__: object) -> None:
        raise RuntimeError("as good as killed")

    monkeypatch.setattr(app.state.gateway.rpc, "publish", end)
    body = {**BODY, "dataset": {"sample": "iris"}}
    assert (await ann.post("/train", json=body)).status_code == 500
    (job,) = ledger.watching.waiting(9)
    assert entries(ledger) == [("train.accepted", f"{job.job_id} good")]


async def test_an_upload_whose_description_fails_has_its_entry(
    ann: httpx.AsyncClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise errors.LedgerUnavailable

    monkeypatch.setattr("api.datasets.storing.describe", away)
    assert (await ann.post("/datasets", content=CSV, headers=TYPE)).status_code == 503
    (dataset,) = ledger.datasets.page(owner="ann", before=None, limit=9)[0]
    assert entries(ledger) == [("dataset.stored", dataset.dataset_id)]


async def test_an_upload_that_no_trainer_can_read_is_stored_and_deleted(
    ann: httpx.AsyncClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise errors.BadInput("Line 3 has another number of cells.")

    monkeypatch.setattr("api.datasets.storing._inspect", refuse)
    assert (await ann.post("/datasets", content=CSV, headers=TYPE)).status_code == 422
    assert [action for action, _ in entries(ledger)] == ["dataset.stored", "dataset.deleted"]


async def test_a_job_is_cancelled_once_and_a_dataset_deleted_once(ann: httpx.AsyncClient, ledger: Ledger) -> None:
    dataset_id = (await ann.post("/datasets", content=CSV, headers=TYPE)).json()["dataset_id"]
    body = {**BODY, "dataset": {"id": dataset_id}}
    job_id = (await ann.post("/train", json=body)).json()["job_id"]
    assert (await ann.delete(f"/datasets/{dataset_id}")).status_code == 409
    for _ in range(2):
        assert (await ann.post(f"/jobs/{job_id}/cancel")).status_code == 200
    assert [(await ann.delete(f"/datasets/{dataset_id}")).status_code for _ in range(2)] == [204, 404]
    assert entries(ledger) == [
        ("dataset.stored", dataset_id),
        ("train.accepted", f"{job_id} good"),
        ("job.cancelled", job_id),
        ("dataset.deleted", dataset_id),
    ]


async def test_what_cannot_be_told_is_not_done(
    ann: httpx.AsyncClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_id = (await ann.post("/datasets", content=CSV, headers=TYPE)).json()["dataset_id"]
    job_id = (await ann.post("/train", json={**BODY, "dataset": {"id": dataset_id}})).json()["job_id"]

    def away(*_: object) -> None:
        raise errors.LedgerUnavailable

    monkeypatch.setattr("api.ledger.audit.write", away)
    assert (await ann.post(f"/jobs/{job_id}/cancel")).status_code == 503
    assert (await ann.post("/train", json=BODY)).status_code == 503
    assert (await ann.post("/datasets", content=CSV + b"3,z\n", headers=TYPE)).status_code == 503
    assert [job.status for job in ledger.jobs.page(owner="ann", model=None, status=None, before=None, limit=9)[0]] == [
        "queued"
    ]
    assert len(ledger.datasets.page(owner="ann", before=None, limit=9)[0]) == 1
