"""The calls about jobs that no worker has yet, through a real HTTP server, broker and ledger."""

from __future__ import annotations

import httpx

from api.state import Caller, current_caller
from tests.integration.jobs.replica import BODY, CSV, TYPE, Replica


def test_jobs_are_listed_by_pages(client: httpx.Client) -> None:
    ids = [client.post("/train", json={**BODY, "model": "paged"}).json()["job_id"] for _ in range(3)]
    first = client.get("/jobs", params={"model": "paged", "limit": 2}).json()
    assert [job["job_id"] for job in first["jobs"]] == [ids[2], ids[1]]
    rest = client.get("/jobs", params={"model": "paged", "limit": 2, "cursor": first["next_cursor"]}).json()
    assert [job["job_id"] for job in rest["jobs"]] == [ids[0]]
    assert rest["next_cursor"] is None
    assert client.get("/jobs", params={"status": "running", "model": "paged"}).json()["jobs"] == []
    for bad in ({"cursor": "x"}, {"limit": 0}, {"limit": 201}, {"status": "withdrawn"}):
        assert client.get("/jobs", params=bad).status_code == 422


def test_unknown_jobs_are_404_on_every_call(client: httpx.Client) -> None:
    for job_id in ("0" * 32, "nonsense", "0" * 31 + "G"):
        assert client.get(f"/jobs/{job_id}").status_code == 404
        assert client.get(f"/jobs/{job_id}/events").status_code == 404
        assert client.post(f"/jobs/{job_id}/cancel").status_code == 404


def test_what_others_own_is_404(client: httpx.Client, replicas: list[Replica]) -> None:
    job_id = client.post("/train", json=BODY).json()["job_id"]
    dataset_id = client.post("/datasets", content=CSV, headers=TYPE).json()["dataset_id"]
    replica = replicas[1]
    replica.app.dependency_overrides[current_caller] = lambda: Caller("eve", frozenset({"train"}))
    try:
        for path in (f"/jobs/{job_id}", f"/jobs/{job_id}/events", f"/datasets/{dataset_id}"):
            assert replica.client.get(path).status_code == 404
        assert replica.client.post(f"/jobs/{job_id}/cancel").status_code == 404
        assert replica.client.delete(f"/datasets/{dataset_id}").status_code == 404
        assert replica.client.post("/train", json={**BODY, "dataset": {"id": dataset_id}}).status_code == 404
        assert replica.client.get("/jobs").json()["jobs"] == replica.client.get("/datasets").json()["datasets"] == []
    finally:
        replica.app.dependency_overrides.clear()


def test_cancel_of_a_waiting_job_is_done_at_once_and_harmless_twice(client: httpx.Client) -> None:
    job_id = client.post("/train", json=BODY).json()["job_id"]
    for _ in range(2):
        answer = client.post(f"/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
