"""GET /diagnosis, with parts that are there, missing, slow, of another release, or short of disk."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import Gateway, create_app
from api.diagnosis import checks
from api.diagnosis.checks import Check
from api.ledger import Ledger
from api.state import State
from wire import build, errors, messages, settings, topology
from wire.memory import MemoryBroker
from wire.server import Request, RpcServer

GIB = 1024**3
Serve = Callable[..., RpcServer]
Answer = messages.Examined | Exception


@pytest.fixture
def memory() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
def config(tmp_path: Path) -> settings.Settings:
    return settings.Settings(
        ledger=settings.Ledger(url=f"sqlite:///{tmp_path}/ledger.sqlite3"),
        paths=settings.Paths(datasets=tmp_path / "datasets"),
    )


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """How fast this machine is says nothing here."""
    monkeypatch.setattr("api.diagnosis.parts.SLOW_MS", 60_000.0)
    for bound in ("checks.LOOK_S", "peers.LOOK_S", "peers.SKEW_S"):
        monkeypatch.setattr(f"api.diagnosis.{bound}", 30.0)


@pytest.fixture
async def app(patient: None, memory: MemoryBroker, config: settings.Settings) -> AsyncIterator[Gateway]:
    app = create_app(config)
    rpc = memory.async_client("api", "api")
    await rpc.start()
    assert await rpc.wait_connected(5)
    ledger = Ledger(config.ledger)
    ledger.migrate()
    state = State(config, rpc, ledger, None)  # type: ignore[arg-type]
    state.migrated.set()
    app.state.gateway = state
    yield app
    await rpc.close()
    ledger.close()


@pytest.fixture
def serve(memory: MemoryBroker) -> Iterator[Serve]:
    """Puts a process behind queues; it answers every question with what it is given."""
    started: list[RpcServer] = []

    def start(answer: Answer, *queues: str) -> RpcServer:
        def handle(request: Request) -> messages.Message:
            messages.Examine.decode(request.body)
            if isinstance(answer, Exception):
                raise answer
            return answer

        role: topology.Role = "predictor" if topology.MODELS in queues else "trainer"
        server = memory.server(role, "one")
        for queue in queues:
            server.serve(queue, handle, prefetch=1)
        server.start()
        assert server.wait_ready(5)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop(1)


def examined(process: str = "host-1", **changed: Any) -> messages.Examined:
    volume = messages.VolumeState(readable=True, writable=True, free_bytes=50 * GIB, size_bytes=100 * GIB)
    told = {"process": process, "at_ms": int(time.time() * 1000), "build": build.BUILD, "volume": volume}
    return messages.Examined(**(told | changed))


async def ask(app: Gateway, **headers: str) -> dict[str, Any]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        answer = await client.get("/diagnosis", headers=headers)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def noticed(condition: Callable[[], bool]) -> None:
    """Wait until the connection has heard of a fault."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the condition is another object's
            await asyncio.sleep(0.01)


def by_name(told: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in told["checks"]}


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of whoever runs the tests says nothing here."""
    monkeypatch.setattr("api.datasets.files.DatasetFolder.room", lambda _self: (50 * GIB, 100 * GIB))


async def test_a_whole_gateway_is_well(app: Gateway, serve: Serve, roomy: None) -> None:
    serve(examined("host-1"), topology.PREDICT, topology.MODELS, topology.BULK)
    serve(examined("host-2"), topology.PREDICT, topology.MODELS)
    serve(examined("host-3"), topology.JOBS)
    serve(examined("host-4"), topology.TRAIN, topology.INSPECT, topology.CHANGES)
    told = await ask(app, **{"x-forwarded-proto": "http"})
    found = by_name(told)
    assert told["status"] == "ok", told
    assert {check["status"] for check in found.values()} == {"ok"}
    assert {"nginx", "broker", "ledger", "datasets folder", "model volume", "trainer host-4"} <= found.keys()
    assert {"predictor host-1", "predictor host-2"} <= found.keys()
    assert found["predictors"]["detail"].startswith("2 serve warren.predict.v1, 0 messages")
    assert found["model volume"]["detail"] == "can be written to, 50.0 GiB free (50%)"
    assert told["versions"]["build"] == build.BUILD
    assert told["at"].endswith("Z")


async def test_what_is_missing_is_named_with_what_to_do(app: Gateway, roomy: None) -> None:
    told = await ask(app)
    found = by_name(told)
    assert told["status"] == "failed"
    for name in ("predictors", "workers", "trainers", "trainers for changes", "predictor", "trainer"):
        assert found[name]["status"] == "failed"
        assert "tart" in found[name]["mend"], name
    assert found["nginx"]["status"] == "warning"
    assert found["ledger"]["status"] == found["broker"]["status"] == "ok"


async def test_trainers_that_all_train_are_there(app: Gateway, serve: Serve, roomy: None) -> None:
    serve(examined(), topology.CHANGES)
    found = by_name(await ask(app))
    assert (found["trainers"]["status"], found["trainers"]["detail"]) == ("ok", "all are training, 0 messages wait")


async def test_a_broker_that_is_away_or_in_alarm_is_told_apart(app: Gateway, memory: MemoryBroker) -> None:
    rpc = app.state.gateway.rpc
    memory.raise_alarm()
    rpc.broadcast(topology.STOP, b"{}", "train.stop")
    await noticed(lambda: rpc.blocked)
    assert "short of memory or disk" in by_name(await ask(app))["broker"]["detail"]
    memory.stop()
    await noticed(lambda: not rpc.connected)
    assert "is not connected" in by_name(await ask(app))["broker"]["detail"]


async def test_processes_tell_of_other_code_other_clocks_and_volumes(app: Gateway, serve: Serve) -> None:
    blind = messages.VolumeState(readable=False, writable=False, free_bytes=0, size_bytes=0)
    serve(examined("old", build="0000000000", volume=blind), topology.MODELS)
    late = int(time.time() * 1000) - 60_000
    full = messages.VolumeState(readable=True, writable=True, free_bytes=GIB, size_bytes=100 * GIB)
    serve(examined("late", at_ms=late, volume=full), topology.CHANGES)
    told = await ask(app)
    checks_of_old = [check for check in told["checks"] if check["name"] == "predictor old"]
    assert [check["status"] for check in checks_of_old] == ["warning", "failed"]
    assert "runs code 0000000000" in checks_of_old[0]["detail"]
    assert "cannot read the model volume" in checks_of_old[1]["detail"]
    found = by_name(told)
    assert re.search(r"clock is [6-9]\d\.\d s away", found["trainer late"]["detail"])
    assert found["model volume"]["status"] == "failed"
    assert "WARREN_RETENTION__VERSIONS_PER_MODEL" in found["model volume"]["mend"]


async def test_a_trainer_that_cannot_write_is_told(app: Gateway, serve: Serve) -> None:
    closed = messages.VolumeState(readable=True, writable=False, free_bytes=0, size_bytes=0)
    serve(examined(volume=closed), topology.CHANGES)
    assert "cannot write" in by_name(await ask(app))["model volume"]["detail"]


async def test_a_process_that_fails_is_a_finding(app: Gateway, serve: Serve) -> None:
    serve(errors.InternalError("hunter2"), topology.MODELS)
    assert by_name(await ask(app))["predictor"]["status"] == "failed"


async def test_a_ledger_that_is_not_ready_slow_or_older_is_told(
    app: Gateway, monkeypatch: pytest.MonkeyPatch, roomy: None
) -> None:
    state = app.state.gateway
    monkeypatch.setattr("api.diagnosis.parts.SLOW_MS", -1.0)
    assert by_name(await ask(app))["ledger"]["status"] == "warning"
    monkeypatch.setattr(state.ledger, "revisions", lambda: ("0001", "0002"))
    assert "this replica wants 0002" in by_name(await ask(app))["ledger"]["detail"]
    state.ledger.close()
    monkeypatch.setattr(state.ledger, "ping", _away)
    assert by_name(await ask(app))["ledger"]["status"] == "failed"
    state.migrated.clear()
    assert "not prepared" in by_name(await ask(app))["ledger"]["detail"]


def _away() -> None:
    raise errors.LedgerUnavailable


async def test_a_datasets_folder_that_takes_no_file_is_told_without_its_path(
    app: Gateway, config: settings.Settings
) -> None:
    config.paths.datasets.write_text("a file")
    found = by_name(await ask(app))["datasets folder"]
    assert found["status"] == "failed"
    assert str(config.paths.datasets) not in str(found)


async def test_keys_are_said_to_be_needed(app: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    state = app.state.gateway
    keyed = state.settings.model_copy(update={"api": settings.Api(keys="required")})
    monkeypatch.setattr(state, "settings", keyed)
    assert by_name(await ask(app))["replica"]["detail"].endswith("keys are needed")


async def test_a_look_is_bounded_and_a_defect_of_ours_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never() -> list[Check]:
        await asyncio.Event().wait()
        return []

    async def broken() -> list[Check]:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(checks, "LOOK_S", 0.05)
    assert "did not answer" in (await checks.look("x", never(), "Wait."))[0].detail
    found = (await checks.look("x", broken(), "Look."))[0]
    assert (found.status, "hunter2" in found.detail) == ("failed", False)
    assert checks.worst([]) == "ok"


@pytest.mark.parametrize(("free", "status"), [(50, "ok"), (5, "warning"), (1, "failed")])
def test_a_disk_is_judged_by_its_free_share(free: int, status: str) -> None:
    check = checks.room("disk", free * GIB, 100 * GIB, "is there", "Free some.")
    assert check.status == status
    assert bool(check.mend) is (status != "ok")
    assert checks.room("disk", 0, 0, "is there", "").status == "failed"
