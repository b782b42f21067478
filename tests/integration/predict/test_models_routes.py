"""GET and changes under /models: asked of whoever knows, with its errors and in bounded pieces."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

import pytest

from api.downloads import PIECE_BYTES, BrokenOff
from tests.integration.predict.conftest import OpenReplica, Replica
from wire import errors, messages, settings, topology
from wire.server import Request, RpcServer

CONTENT = bytes(range(256)) * 10_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Store:
    """A predictor's reads and a trainer's changes, answered from memory; ``changes`` remembers."""

    def __init__(self, broker: settings.Broker) -> None:
        self.changes: list[messages.Message] = []
        self.content = CONTENT
        self.pieces: list[tuple[int, int]] = []
        self.predictor = RpcServer(broker, "predictor", "reads")
        self.predictor.serve(topology.MODELS, self._read, prefetch=4)
        self.trainer = RpcServer(broker, "trainer", "changes")
        self.trainer.serve(topology.CHANGES, self._change, prefetch=1)

    def _read(self, request: Request) -> messages.Message:
        if request.kind == messages.ListModels.TYPE:
            return messages.ModelList(models=(messages.ModelSummary("m", 2, 2, 2),))
        if request.kind == messages.GetModel.TYPE:
            if messages.GetModel.decode(request.body).model != "m":
                raise errors.ModelNotFound
            alias = messages.AliasSummary("champion", 2, 1, 3, "2026-11-22T10:00:00Z")
            line = messages.VersionSummary(2, "2026-11-22T10:00:00Z", "auto", "classification", 0.9, "f1", "onnx", 9)
            return messages.ModelDetail(model="m", aliases=(alias,), versions=(line,))
        if request.kind == messages.GetVersion.TYPE:
            asked = messages.GetVersion.decode(request.body)
            if asked.version != 2:
                raise errors.VersionNotFound
            return messages.VersionDetail(model="m", version=2, aliases=("champion",), manifest={"metrics": {"f1": 1}})
        piece = messages.ReadFile.decode(request.body)
        self.pieces.append((piece.offset, piece.size_bytes))
        data = self.content[piece.offset : piece.offset + piece.size_bytes]
        return messages.FilePiece(data=data, total_bytes=len(CONTENT), sha256=SHA256)

    def _change(self, request: Request) -> messages.Message:
        kinds = (
            messages.SetAlias, messages.DeleteAlias, messages.Rollback, messages.DeleteVersion, messages.DeleteModel
        )  # fmt: skip
        kind = next(kind for kind in kinds if request.kind == kind.TYPE)
        change = kind.decode(request.body)
        self.changes.append(change)
        if isinstance(change, messages.DeleteVersion) and change.version == 2:
            raise errors.VersionInUse
        if isinstance(change, messages.DeleteVersion | messages.DeleteModel):
            return messages.Deleted()
        return messages.AliasState(model="m", alias="champion", version=1, previous=2, revision=4)


@pytest.fixture
def store(broker: settings.Broker) -> Iterator[Store]:
    store = Store(broker)
    for server in (store.predictor, store.trainer):
        server.start()
        assert server.wait_ready(15)
    yield store
    for server in (store.predictor, store.trainer):
        server.stop(5)


async def test_models_and_versions_are_read(open_replica: OpenReplica, store: Store) -> None:
    async with open_replica() as replica:
        listed = await replica.client.get("/models")
        model = await replica.client.get("/models/m")
        version = await replica.client.get("/models/m/versions/2")
        unknown = await replica.client.get("/models/other")
        missing = await replica.client.get("/models/m/versions/3")
    assert listed.json() == {"models": [{"model": "m", "champion": 2, "versions": 2, "latest": 2}]}
    assert model.json()["aliases"][0] == {
        "alias": "champion", "version": 2, "previous": 1, "revision": 3, "changed_at": "2026-11-22T10:00:00Z"
    }  # fmt: skip
    assert model.json()["versions"][0]["runtime"] == "onnx"
    assert version.json() == {"model": "m", "version": 2, "aliases": ["champion"], "manifest": {"metrics": {"f1": 1}}}
    assert (unknown.status_code, unknown.json()["code"]) == (404, "model_not_found")
    assert (missing.status_code, missing.json()["code"]) == (404, "version_not_found")


async def test_changes_are_asked_of_the_trainer(open_replica: OpenReplica, store: Store) -> None:
    async with open_replica() as replica:
        moved = await replica.client.put("/models/m/aliases/champion", json={"version": 1, "expected": 2})
        rolled = await replica.client.post("/models/m/rollback", headers={"X-Request-Timeout-Ms": "5000"})
        answers = [
            await replica.client.delete("/models/m/aliases/beta"),
            await replica.client.delete("/models/m/versions/1"),
            await replica.client.delete("/models/m"),
        ]
        in_use = await replica.client.delete("/models/m/versions/2")
    state = {"model": "m", "alias": "champion", "version": 1, "previous": 2, "revision": 4}
    assert (moved.json(), rolled.json()) == (state, state)
    assert [(answer.status_code, answer.content) for answer in answers] == [(204, b"")] * 3
    assert (in_use.status_code, in_use.json()["code"]) == (409, "version_in_use")
    assert store.changes == [
        messages.SetAlias(model="m", alias="champion", version=1, expected=2, by="local"),
        messages.Rollback(model="m", by="local"),
        messages.DeleteAlias(model="m", alias="beta", by="local"),
        messages.DeleteVersion(model="m", version=1, by="local"),
        messages.DeleteModel(model="m", by="local"),
        messages.DeleteVersion(model="m", version=2, by="local"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/models/Bad", None, 422),
        ("GET", "/models/m%0A", None, 422),
        ("GET", "/models/m/versions/0", None, 422),
        ("GET", "/models/m/versions/2/files/manifest.json", None, 404),
        ("GET", "/models/m/versions/2/files/..%2Fmodel.onnx", None, 404),
        ("PUT", "/models/m/aliases/Bad", {"version": 1}, 422),
        ("PUT", "/models/m/aliases/a", {"version": 0}, 422),
        ("PUT", "/models/m/aliases/a", {"version": 1, "force": True}, 422),
        ("DELETE", "/models/m/versions/x", None, 422),
    ],
)
async def test_bad_names_go_nowhere(
    open_replica: OpenReplica, store: Store, method: str, path: str, body: object, status: int
) -> None:
    async with open_replica() as replica:
        answer = await replica.client.request(method, path, json=body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert store.changes == []


async def test_without_anybody_to_ask_the_answer_is_503(open_replica: OpenReplica) -> None:
    async with open_replica() as replica:
        read = await replica.client.get("/models")
        change = await replica.client.delete("/models/m")
    assert (read.status_code, change.status_code) == (503, 503)
    assert (read.json()["code"], change.json()["code"]) == ("unroutable", "unroutable")


async def test_a_file_arrives_in_bounded_pieces_with_size_and_digest(open_replica: OpenReplica, store: Store) -> None:
    async with open_replica() as replica:
        answer = await replica.client.get("/models/m/versions/2/files/model.onnx")
    assert answer.content == CONTENT
    assert int(answer.headers["content-length"]) == len(CONTENT)
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert store.pieces == [(offset, PIECE_BYTES) for offset in range(0, len(CONTENT), PIECE_BYTES)]


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"x", CONTENT[:-9]], ids=["changed", "short"])
async def test_a_file_that_is_not_what_its_manifest_says_never_arrives_whole(
    open_replica: OpenReplica, store: Store, content: bytes
) -> None:
    store.content = content
    received = 0
    async with open_replica() as replica:
        with pytest.raises(BrokenOff):
            received = await _download(replica)
    assert received < len(CONTENT)


async def _download(replica: Replica) -> int:
    received = 0
    async with replica.client.stream("GET", "/models/m/versions/2/files/model.onnx") as answer:
        async for piece in answer.aiter_bytes():
            received += len(piece)
    return received
