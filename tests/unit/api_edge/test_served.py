"""What the protocols tell of a model is told within one deadline, whatever it takes to learn it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from api.app import Gateway, create_app
from api.ledger import Ledger
from api.protocols.open_inference_grpc import framing
from api.protocols.open_inference_grpc import open_inference_pb2 as grpc
from api.state import State
from wire import messages, settings, topology
from wire.async_client import AsyncRpcClient
from wire.memory import MemoryBroker
from wire.server import Request, RpcServer

PATHS = ["/v2/models/m", "/v2/models/m/versions/champion", "/v2/models/m/ready", "/v1/models/m/metadata"]
DEADLINE_S = 1.0


@pytest.fixture
def memory() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
async def rpc(memory: MemoryBroker) -> AsyncIterator[AsyncRpcClient]:
    made = memory.async_client("api", "api")
    await made.start()
    assert await made.wait_connected(5)
    yield made
    await made.close()


@pytest.fixture
async def app(rpc: AsyncRpcClient, tmp_path: Path) -> AsyncIterator[Gateway]:
    config = settings.Settings(ledger=settings.Ledger(url=f"sqlite:///{tmp_path}/ledger.sqlite3"))
    app = create_app(config)
    ledger = Ledger(config.ledger)
    ledger.migrate()
    app.state.gateway = State(config, rpc, ledger, None)  # type: ignore[arg-type]
    yield app
    ledger.close()


@pytest.fixture
def serve(memory: MemoryBroker) -> Iterator[Callable[[float], RpcServer]]:
    """Puts a predictor behind the questions that takes so many seconds for each."""
    started: list[RpcServer] = []
    over = threading.Event()

    def start(each_s: float) -> RpcServer:
        def handle(request: Request) -> messages.Message:
            over.wait(each_s)
            if request.kind == messages.GetVersion.TYPE:
                return messages.VersionDetail(model="m", version=2, aliases=("champion",), manifest={})
            alias = messages.AliasSummary(alias="champion", version=2, previous=1, revision=3, changed_at="")
            return messages.ModelDetail(model="m", aliases=(alias,), versions=())

        server = memory.server("predictor", "one")
        server.serve(topology.MODELS, handle, prefetch=1)
        server.start()
        assert server.wait_ready(5)
        started.append(server)
        return server

    yield start
    over.set()
    for server in started:
        server.stop(5)


async def ask(app: Gateway, method: str, path: str, **options: object) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=30) as client:
        return await client.request(method, path, **options)  # type: ignore[arg-type]


def within(seconds: float) -> dict[str, str]:
    return {"X-Request-Timeout-Ms": str(int(seconds * 1000))}


@pytest.mark.parametrize("path", PATHS)
async def test_two_questions_share_one_deadline(app: Gateway, serve: Callable[[float], RpcServer], path: str) -> None:
    serve(0.7 * DEADLINE_S)
    answer = await ask(app, "GET", path, headers=within(DEADLINE_S))
    assert answer.status_code == 504, "each alone is in time, and both together are not"


@pytest.mark.parametrize("path", PATHS)
async def test_there_is_time_for_both_where_they_are_quick(
    app: Gateway, serve: Callable[[float], RpcServer], path: str
) -> None:
    serve(0.0)
    answer = await ask(app, "GET", path, headers=within(20))
    assert answer.status_code == 200, answer.text


async def test_grpc_has_one_deadline_too(app: Gateway, serve: Callable[[float], RpcServer]) -> None:
    serve(0.7 * DEADLINE_S)
    headers = {"content-type": "application/grpc", "grpc-timeout": f"{int(DEADLINE_S * 1000)}m"}
    for call, message in (
        ("ModelReady", grpc.ModelReadyRequest(name="m")),
        ("ModelMetadata", grpc.ModelMetadataRequest(name="m")),
    ):
        body = framing.body(message.SerializeToString())
        path = f"/inference.GRPCInferenceService/{call}"
        answer = await ask(app, "POST", path, headers=headers, content=body)
        assert answer.headers["grpc-status"] == "4", call


async def test_a_broker_that_says_nothing_is_not_waited_for_longer(
    app: Gateway, memory: MemoryBroker, serve: Callable[[float], RpcServer]
) -> None:
    serve(0.0)
    memory.freeze()
    for path in ("/models/m", PATHS[0]):
        answer = await ask(app, "GET", path, headers=within(0.1))
        assert answer.status_code == 504, "a wait of its own would end as 503, later"
    memory.thaw()
    answer = await ask(app, "GET", PATHS[0], headers=within(20))
    assert answer.status_code == 200, answer.text
