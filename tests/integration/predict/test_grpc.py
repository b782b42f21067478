"""The Open Inference Protocol over gRPC in a replica, asked as Nginx asks: codes, keys, deadlines, limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import anyio.to_thread
import grpc
import httpx
import pytest

from api.keys import making
from api.keys.callers import LOCAL
from api.protocols.open_inference_grpc import framing
from api.protocols.open_inference_grpc import open_inference_pb2 as messages
from tests.integration.predict.conftest import OpenReplica, Replica, until
from tests.integration.predict.scripted import ScriptedPredictor
from wire import settings

Code = grpc.StatusCode
_CODES = {code.value[0]: code for code in Code}


class Client:
    """Calls of the service, as Nginx hands them on."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def ask(self, name: str, message: Any, **given: str) -> httpx.Response:
        """One call; a message that is bytes goes as it is, and ``given`` are headers."""
        body = message if isinstance(message, bytes) else framing.body(message.SerializeToString())
        fields = {"content-type": "application/grpc", "te": "trailers"}
        fields |= {key.replace("_", "-"): value for key, value in given.items()}
        return await self._client.post(f"/inference.GRPCInferenceService/{name}", content=body, headers=fields)

    async def call(self, name: str, message: Any, **given: str) -> Any:
        answer = await self.ask(name, message, **given)
        assert (answer.status_code, answer.headers["grpc-status"]) == (200, "0"), answer.headers
        assert answer.headers["content-type"] == "application/grpc"
        return getattr(messages, f"{name}Response").FromString(bytes(framing.message(answer.content)))

    async def refused(self, name: str, message: Any, **given: str) -> tuple[Code, str]:
        answer = await self.ask(name, message, **given)
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["content-type"] == "application/grpc"
        return _CODES[int(answer.headers["grpc-status"])], unquote(answer.headers["grpc-message"])


Open = Callable[..., Any]


@pytest.fixture
def opened(open_replica: OpenReplica) -> Open:
    """Opens a replica and a client of it."""

    @asynccontextmanager
    async def open_(keys: Any = "off", **predict: Any) -> AsyncIterator[tuple[Replica, Client]]:
        async with open_replica(api=settings.Api(keys=keys), **predict) as replica:
            yield replica, Client(replica.client)

    return open_


def infer(*numbers: float, model: str = "m", **more: Any) -> messages.ModelInferRequest:
    message = messages.ModelInferRequest(model_name=model, **more)
    tensor = message.inputs.add(name="x", datatype="FP64", shape=[len(numbers), 1])
    tensor.contents.fp64_contents.extend(numbers)
    return message


async def test_it_answers_what_the_other_doors_answer(opened: Open, predictor: ScriptedPredictor) -> None:
    async with opened() as (replica, client):
        told = await client.call("ModelInfer", infer(1, 2, id="7"))
        assert (told.model_name, told.model_version, told.id) == ("m", "7", "7")
        assert list(told.outputs[0].contents.int64_contents) == [1, 2]
        assert (await client.call("ServerLive", messages.ServerLiveRequest())).live
        assert not (await client.call("ServerReady", messages.ServerReadyRequest())).ready, "no trainer is there"
        server = await client.call("ServerMetadata", messages.ServerMetadataRequest())
        assert (server.name, list(server.extensions)) == ("warren", ["model_repository", "statistics"])
        assert replica.held == 0


async def test_the_request_id_and_the_times_are_beside_the_answer(opened: Open, predictor: ScriptedPredictor) -> None:
    async with opened() as (_, client):
        for name, message in (("ModelInfer", infer(1)), ("ServerLive", messages.ServerLiveRequest())):
            answer = await client.ask(name, message, x_request_id="mine-1")
            assert answer.headers["x-request-id"] == "mine-1"
            assert ("server-timing" in answer.headers) is (name == "ModelInfer")


async def test_errors_are_codes_with_a_sentence(opened: Open, predictor: ScriptedPredictor) -> None:
    async with opened() as (_, client):
        assert await client.refused("ModelInfer", infer(1, model="missing")) == (
            Code.NOT_FOUND,
            "There is no model of this name.",
        )
        code, said = await client.refused("ModelInfer", messages.ModelInferRequest(model_name="m"))
        assert (code, "inputs must hold from 1 to 4096 tensors" in said) == (Code.INVALID_ARGUMENT, True)
        code, said = await client.refused("ModelInfer", framing.body(b"\xff\xff\xff"))
        assert (code, "not a ModelInferRequest" in said) == (Code.INVALID_ARGUMENT, True)
        code, said = await client.refused("ModelReady", framing.body(b"\xff\xff\xff"))
        assert (code, "not a ModelReadyRequest" in said) == (Code.INVALID_ARGUMENT, True)
        code, said = await client.refused("ModelInfer", infer(1), x_request_timeout_ms="never")
        assert (code, "X-Request-Timeout-Ms" in said) == (Code.INVALID_ARGUMENT, True)
        many = messages.ModelInferRequest(model_name="m", raw_input_contents=[bytes(8)])
        many.inputs.add(name="x", datatype="FP64", shape=[10_001, 1])
        assert (await client.refused("ModelInfer", many))[0] is Code.RESOURCE_EXHAUSTED
        assert (await client.refused("ModelInfer", b"\x0a" * (8 * 1024 * 1024 + 1)))[0] is Code.RESOURCE_EXHAUSTED
        assert (await client.refused("ServerLive", b"\x0a" * (1024 * 1024)))[0] is Code.RESOURCE_EXHAUSTED


async def test_what_is_no_call_is_told_from_one(opened: Open, predictor: ScriptedPredictor) -> None:
    async with opened() as (_, client):
        for name in ("ModelInfer", "ServerLive"):
            squeezed = await client.refused(name, b"\x01" + framing.body(b"x")[1:])
            assert (squeezed[0], "compressed" in squeezed[1]) == (Code.UNIMPLEMENTED, True)
            for body in (b"", b"\0\0", framing.body(b"x") * 2, framing.body(b"xy")[:-1]):
                code, said = await client.refused(name, body)
                assert (code, "message" in said) == (Code.INVALID_ARGUMENT, True)
            code, said = await client.refused(name, infer(1), content_type="application/json")
            assert (code, "application/grpc" in said) == (Code.UNIMPLEMENTED, True)
        for name in ("ModelInfer", "ModelReady"):
            message = infer(1) if name == "ModelInfer" else messages.ModelReadyRequest(name="m")
            code, said = await client.refused(name, message, grpc_timeout="soon")
            assert (code, "grpc-timeout" in said) == (Code.INVALID_ARGUMENT, True)
        assert (await client.refused("ModelStreamInfer", b""))[0] is Code.NOT_FOUND, "Nginx asks for no other call"


async def test_a_model_is_not_ready_without_predictors_and_predictions_say_so(opened: Open) -> None:
    async with opened() as (_, client):
        ready = await client.call("ModelReady", messages.ModelReadyRequest(name="m"))
        assert not ready.ready
        assert (await client.refused("ModelMetadata", messages.ModelMetadataRequest(name="m")))[0] is Code.UNAVAILABLE
        assert (await client.refused("ModelInfer", infer(1)))[0] is Code.UNAVAILABLE
        assert (await client.refused("ModelReady", messages.ModelReadyRequest(name="UP")))[0] is Code.NOT_FOUND


async def test_keys_are_asked_for_as_over_http(opened: Open, predictor: ScriptedPredictor) -> None:
    def made(ledger: Any, owner: str, scope: str) -> dict[str, str]:
        text = making.create(ledger, making.Wanted(owner, frozenset({scope}), 1), LOCAL)[1]
        return {"authorization": f"Bearer {text}"}

    async with opened(keys="required") as (replica, client):
        ledger = replica.app.state.gateway.ledger
        predicts = await anyio.to_thread.run_sync(made, ledger, "ann", "predict")
        trains = await anyio.to_thread.run_sync(made, ledger, "bob", "train")
        assert list((await client.call("ModelInfer", infer(4), **predicts)).outputs[0].shape) == [1]
        for given in ({}, {"authorization": "Bearer wk_aaaaaaaa_" + "a" * 43}, {"x_api_key": "hunter2"}):
            code, said = await client.refused("ModelInfer", infer(1), **given)
            assert (code, "hunter2" in said) == (Code.UNAUTHENTICATED, False)
            code, _ = await client.refused("ModelReady", messages.ModelReadyRequest(name="m"), **given)
            assert code is Code.UNAUTHENTICATED
        code, said = await client.refused("ModelInfer", infer(1), **trains)
        assert (code, "scope predict" in said) == (Code.PERMISSION_DENIED, True)
        code, _ = await client.refused("ModelReady", messages.ModelReadyRequest(name="UP"), **trains)
        assert code is Code.NOT_FOUND, "every key may ask"
        assert (await client.call("ServerLive", messages.ServerLiveRequest())).live


async def test_a_key_over_its_rate_is_told_so_with_a_time(opened: Open, predictor: ScriptedPredictor) -> None:
    def made(ledger: Any) -> dict[str, str]:
        text = making.create(ledger, making.Wanted("ann", frozenset({"predict"}), 1, rate_per_s=0.01), LOCAL)[1]
        return {"authorization": f"Bearer {text}"}

    async with opened(keys="required") as (replica, client):
        key = await anyio.to_thread.run_sync(made, replica.app.state.gateway.ledger)
        assert list((await client.call("ModelInfer", infer(4), **key)).outputs[0].shape) == [1]
        for name, message in (("ModelInfer", infer(4)), ("ModelReady", messages.ModelReadyRequest(name="m"))):
            assert await client.refused(name, message, **key) == (
                Code.RESOURCE_EXHAUSTED,
                "This API key asks more often than it may; try again later. It may make 0.01 calls a second.",
            )
            answer = await client.ask(name, message, **key)
            assert 90 < int(answer.headers["retry-after"]) <= 100
        assert (await client.call("ServerLive", messages.ServerLiveRequest(), **key)).live


async def test_deadlines_are_the_clients_and_ours(opened: Open, predictor: ScriptedPredictor) -> None:
    predictor.gate.clear()
    async with opened(deadline_ms=300) as (replica, client):
        for given in ({}, {"grpc_timeout": "100m"}, {"grpc_timeout": "20S", "x_request_timeout_ms": "50"}):
            code, said = await client.refused("ModelInfer", infer(1), **given)
            assert (code, "deadline" in said.lower()) == (Code.DEADLINE_EXCEEDED, True)
        patient = asyncio.create_task(client.call("ModelInfer", infer(5), grpc_timeout="99H"))
        await until(lambda: _is(replica.held == 1), "the patient call waits")
        predictor.gate.set()
        assert list((await patient).outputs[0].contents.int64_contents) == [5], "its own deadline was longer"
        await until(lambda: _is(replica.held == 0), "nobody waits")


async def _is(value: bool) -> bool:
    return value
