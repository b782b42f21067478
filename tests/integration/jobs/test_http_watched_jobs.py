"""Jobs watched over HTTP while a real worker follows them."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from api.ledger import Ledger, rows
from tests.integration.jobs.conftest import Gateway
from tests.integration.jobs.replica import BODY, CSV, TYPE, Replica
from tests.integration.jobs.trainer_double import TrainerDouble
from tests.integration.jobs.worker_process import WorkerProcess
from tests.rabbit import wait_until
from wire import settings


def test_failed_and_succeeded_jobs_say_why_and_what(
    client: httpx.Client, gateway: Gateway, trainer: TrainerDouble, worker: WorkerProcess, ledger: Ledger
) -> None:
    good, bad = (client.post("/train", json={**BODY, "model": model}).json()["job_id"] for model in ("good", "input"))
    for job_id in (good, bad):
        gateway.wait_ended(ledger.jobs.find(job_id, owner=None))
    shown = client.get(f"/jobs/{good}").json()
    assert (shown["status"], shown["result"]["version"], shown["progress"]["fraction"]) == ("succeeded", 1, 1.0)
    assert shown["created_at"] <= shown["started_at"] <= shown["ended_at"]
    assert "error" not in shown
    assert "queue_position" not in shown
    shown = client.get(f"/jobs/{bad}").json()
    assert shown["error"] == {"code": "training_failed", "message": "The target has a single class."}


def events_of(answer: httpx.Response) -> list[tuple[int, str, dict[str, Any]]]:
    found = []
    for block in answer.text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] not in (":", ""))
        if "id" in lines:
            found.append((int(lines["id"]), lines["event"], json.loads(lines["data"])))
    return found


def test_event_stream_ends_after_the_end_and_is_replayed_from_any_replica(
    client: httpx.Client, replicas: list[Replica], trainer: TrainerDouble, worker: WorkerProcess, ledger: Ledger
) -> None:
    gate = trainer.gate("slow")
    job_id = client.post("/train", json={**BODY, "model": "slow"}).json()["job_id"]
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(client.get, f"/jobs/{job_id}/events")
        trainer.wait_for(job_id)
        wait_until(lambda: ledger.jobs.find(job_id, owner=None).fraction >= 0.5, "it is half done", 20)
        gate.set()
        answer = watching.result(30)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = events_of(answer)
    assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
    assert (events[0][1], events[1][1], events[-1][1]) == ("queued", "running", "succeeded")
    assert events[-1][2]["result"]["version"] == 1
    fractions = [said["progress"]["fraction"] for _, _, said in events]
    assert fractions == sorted(fractions)
    replay = replicas[1].client.get(f"/jobs/{job_id}/events", headers={"last-event-id": "1"})
    assert events_of(replay) == events[1:]
    last = str(events[-1][0])
    assert client.get(f"/jobs/{job_id}/events", headers={"last-event-id": last}).status_code == 204
    assert client.get(f"/jobs/{job_id}/events", headers={"last-event-id": "x"}).status_code == 422


def test_event_streams_have_a_bound_and_give_their_place_back(
    client: httpx.Client,
    replicas: list[Replica],
    trainer: TrainerDouble,
    worker: WorkerProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("api.jobs.streams.HEARTBEAT_S", 0.2)
    trainer.gate("slow")
    job_id = client.post("/train", json={**BODY, "model": "slow"}).json()["job_id"]
    path = f"/jobs/{job_id}/events"
    with client.stream("GET", path) as one, client.stream("GET", path), client.stream("GET", path):
        assert client.get(path).status_code == 429
        lines = one.iter_lines()
        wait_until(lambda: next(lines) == ": alive", "a heartbeat comes")
    wait_until(lambda: replicas[0].streams == 0, "the places are free again")
    client.post(f"/jobs/{job_id}/cancel")
    assert events_of(client.get(path))[-1][1] == "cancelled"


def test_upload_without_a_trainer_is_described_later_by_the_worker(
    client: httpx.Client, config: settings.Settings, worker: WorkerProcess
) -> None:
    told = client.post("/datasets", content=CSV + b"4,late\n", headers=TYPE).json()
    assert told["rows"] is None
    assert told["columns"] is None
    double = TrainerDouble(config.broker).start()
    try:
        path = f"/datasets/{told['dataset_id']}"
        wait_until(lambda: client.get(path).json()["rows"] == 2, "the worker has it described", 30)
    finally:
        double.stop()


def test_stopping_replica_ends_its_streams(config: settings.Settings, ledger: Ledger) -> None:
    replica = Replica(config).start()
    job_id = replica.client.post("/train", json=BODY).json()["job_id"]
    ended = threading.Event()

    def watch() -> None:
        httpx.get(f"{replica.url}/jobs/{job_id}/events", timeout=30, trust_env=False)
        ended.set()

    thread = threading.Thread(target=watch)
    thread.start()
    wait_until(lambda: hasattr(replica.app.state, "event_streams") and replica.streams == 1, "the stream is open")
    replica.app.state.gateway.stopping.set()
    assert ended.wait(10)
    thread.join(10)
    replica.stop()
    assert ledger.jobs.find(job_id, owner=None).status in rows.LIVE
