"""What a predictor tells about the volume and about itself, through RabbitMQ."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from model_store import aliases
from predictor.service import PredictorService
from tests.rabbit import wait_until
from tests.unit.predictor.artefacts import Shelf, classifier, regression
from wire import build, errors, messages, settings, topology
from wire.async_client import AsyncRpcClient
from wire.deadlines import Deadline
from wire.server import Request, RpcServer

TEN_S = 10.0


@pytest.fixture
def heard(broker: settings.Broker) -> Iterator[list[messages.Message]]:
    """What a trainer hears of predictors."""
    seen: list[messages.Message] = []

    def note(request: Request) -> None:
        kind = messages.PredictorAlive if request.kind == messages.PredictorAlive.TYPE else messages.PredictorGone
        seen.append(kind.decode(request.body))

    server = RpcServer(broker, "trainer", "listener")
    server.subscribe(topology.PRESENCE, note)
    server.start()
    assert server.wait_ready(15)
    yield seen
    server.stop(5)


async def test_models_are_listed_by_name(shelf: Shelf, service: PredictorService, client: AsyncRpcClient) -> None:
    for model in ("beta", "alpha", "beta"):
        shelf.publish(regression(), model)
    shelf.publish(regression(), "lonely", champion=False)
    answer = await client.call(
        topology.MODELS, messages.ListModels(), messages.ModelList, deadline=Deadline.after(TEN_S)
    )
    assert answer.models == (
        messages.ModelSummary("alpha", 1, 1, 1),
        messages.ModelSummary("beta", 2, 2, 2),
        messages.ModelSummary("lonely", 0, 1, 1),
    )


async def test_a_model_shows_its_versions_newest_first(
    shelf: Shelf, service: PredictorService, client: AsyncRpcClient
) -> None:
    shelf.publish(regression())
    shelf.spoil(shelf.publish(regression()), file="manifest.json")
    shelf.publish(classifier(), classes=[0, 1])
    aliases.move_alias(shelf.volume, "m", "canary", 1, by="somebody")
    detail = await client.call(
        topology.MODELS, messages.GetModel(model="m"), messages.ModelDetail, deadline=Deadline.after(TEN_S)
    )
    assert [(each.version, each.runtime) for each in detail.versions] == [(3, "onnx"), (2, "corrupt"), (1, "onnx")]
    assert detail.versions[0].task == "classification"
    assert detail.versions[0].size_bytes > len(classifier())
    assert {each.alias: (each.version, each.previous) for each in detail.aliases} == {
        "champion": (3, 2),
        "canary": (1, 0),
    }


async def test_a_version_shows_its_manifest(shelf: Shelf, service: PredictorService, client: AsyncRpcClient) -> None:
    shelf.publish(classifier(), classes=["no", "yes"], metrics={"accuracy": 0.9})
    detail = await client.call(
        topology.MODELS,
        messages.GetVersion(model="m", version=1),
        messages.VersionDetail,
        deadline=Deadline.after(TEN_S),
    )
    assert detail.aliases == ("champion",)
    assert detail.manifest["metrics"] == {"accuracy": 0.9}
    assert detail.manifest["classes"] == ["no", "yes"]
    assert detail.manifest["features"]["columns"][0]["name"] == "a"
    assert detail.manifest["files"]["model.onnx"]["size_bytes"] == len(classifier())


async def test_a_file_is_read_in_pieces(shelf: Shelf, service: PredictorService, client: AsyncRpcClient) -> None:
    graph = classifier(padding=5000)
    shelf.publish(graph, classes=[0, 1])
    pieces = []
    for offset in range(0, len(graph), 1000):
        asked = messages.ReadFile(model="m", version=1, file="model.onnx", offset=offset, size_bytes=1000)
        piece = await client.call(topology.MODELS, asked, messages.FilePiece, deadline=Deadline.after(TEN_S))
        assert (piece.total_bytes, piece.sha256) == (len(graph), hashlib.sha256(graph).hexdigest())
        pieces.append(piece.data)
    assert b"".join(pieces) == graph


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        (messages.GetModel(model="unknown"), errors.ModelNotFound),
        (messages.GetModel(model="../.."), errors.BadInput),
        (messages.GetVersion(model="unknown", version=1), errors.ModelNotFound),
        (messages.GetVersion(model="m", version=9), errors.VersionNotFound),
        (messages.GetVersion(model="m", version=0), errors.BadInput),
        (messages.GetVersion(model="m", version=2), errors.ModelCorrupt),
        (messages.ReadFile(model="m", version=1, file="other.onnx", offset=0, size_bytes=1), errors.NotFound),
        (messages.ReadFile(model="m", version=1, file="../x", offset=0, size_bytes=1), errors.BadInput),
        (messages.ReadFile(model="m", version=1, file="model.onnx", offset=-1, size_bytes=1), errors.BadInput),
        (messages.Deleted(), errors.MalformedBody),
    ],
)
async def test_what_is_not_there_is_said(
    shelf: Shelf,
    service: PredictorService,
    client: AsyncRpcClient,
    asked: messages.Message,
    kind: type[errors.WarrenError],
) -> None:
    shelf.publish(regression())
    shelf.spoil(shelf.publish(regression()), file="manifest.json")
    with pytest.raises(kind):
        await client.call(topology.MODELS, asked, messages.ModelDetail, deadline=Deadline.after(TEN_S))


async def test_presence_is_said_at_once_again_and_at_the_end(
    heard: list[messages.Message], start_service: Callable[[], PredictorService]
) -> None:
    service = start_service()
    alive = messages.PredictorAlive(predictor_id=service.predictor_id)
    wait_until(lambda: heard.count(alive) >= 3, "three signs of life")
    service.stop(5)
    wait_until(lambda: heard[-1] == messages.PredictorGone(predictor_id=service.predictor_id), "the last sign")


async def test_champions_are_loaded_before_anybody_asks(
    shelf: Shelf, start_service: Callable[[], PredictorService]
) -> None:
    shelf.publish(regression(), "one")
    shelf.publish(regression(), "two")
    shelf.publish(regression(), "lonely", champion=False)
    assert start_service().registry.loaded() == [("one", 1), ("two", 1)]


def test_a_predictor_is_ready_when_it_serves_and_sees_the_volume(shelf: Shelf, service: PredictorService) -> None:
    url = f"http://127.0.0.1:{service.metrics_port}/readyz"
    assert httpx.get(url, trust_env=False).status_code == 200
    shelf.volume.root.rename(Path(shelf.volume.root).with_name("elsewhere"))
    answer = httpx.get(url, trust_env=False)
    assert answer.status_code == 503
    assert "models" in answer.json()["reasons"]
    service.stop(5)
    assert "broker" in service.lacking()


async def test_a_predictor_tells_how_it_is(
    service: PredictorService, client: AsyncRpcClient, config: settings.Settings
) -> None:
    ask = partial(client.call, topology.MODELS, messages.Examine(), messages.Examined)
    told = await ask(deadline=Deadline.after(TEN_S))
    assert (told.process, told.build) == (service.predictor_id, build.BUILD)
    assert told.volume.readable
    assert 0 < told.volume.free_bytes <= told.volume.size_bytes
    assert {"python", "numpy", "onnxruntime"} <= told.libraries.keys()
    shutil.rmtree(config.paths.models)
    told = await ask(deadline=Deadline.after(TEN_S))
    assert told.volume == messages.VolumeState(readable=False, writable=False, free_bytes=0, size_bytes=0)
