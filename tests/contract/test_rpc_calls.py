"""Calls are answered, refused or given up in time, on RabbitMQ and on the broker in memory alike."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from tests.contract.serving import listed, serving, until_ready
from tests.rabbit import eventually
from wire import errors, logs, messages, topology
from wire.deadlines import Deadline
from wire.server import Request

if TYPE_CHECKING:
    from tests.contract.conftest import Bench


class TestCalls:
    async def test_a_call_is_answered_by_whoever_serves_the_queue(self, bench: Bench) -> None:
        serving(bench, topology.MODELS, listed)
        async with bench.async_client() as client:
            answer = await client.call(
                topology.MODELS, messages.ListModels(), messages.ModelList, deadline=Deadline.after(5)
            )
        assert answer == messages.ModelList(models=())

    def test_a_thread_calls_the_same_way(self, bench: Bench) -> None:
        serving(bench, topology.MODELS, listed)
        answer = bench.client().call(
            topology.MODELS, messages.ListModels(), messages.ModelList, deadline=Deadline.after(5)
        )
        assert answer == messages.ModelList(models=())

    async def test_what_the_handler_sees_is_what_was_sent(self, bench: Bench) -> None:
        seen: list[Request] = []
        serving(bench, topology.PREDICT, lambda request: (seen.append(request), request.reply_raw(b"ok", "raw"))[0])
        async with bench.async_client() as client:
            answer = await client.call_raw(
                topology.PREDICT, b"\x00rows", "predict.batch", deadline=Deadline.after(5), request_id="r-1"
            )
        (request,) = seen
        assert (request.kind, request.body, request.request_id) == ("predict.batch", b"\x00rows", "r-1")
        assert not request.redelivered
        assert request.deadline is not None
        assert 0 < request.deadline.remaining_s <= 5
        assert (answer.kind, answer.body, answer.headers) == ("raw", b"ok", {"request_id": "r-1"})

    async def test_the_request_id_travels_by_itself(self, bench: Bench) -> None:
        seen: list[str] = []
        serving(bench, topology.MODELS, lambda request: seen.append(logs.request_id_var.get()) or listed(request))
        token = logs.request_id_var.set("from-context")
        try:
            async with bench.async_client() as client:
                await client.call(
                    topology.MODELS, messages.ListModels(), messages.ModelList, deadline=Deadline.after(5)
                )
        finally:
            logs.request_id_var.reset(token)
        assert seen == ["from-context"]

    async def test_each_of_many_calls_at_once_gets_its_own_answer(self, bench: Bench) -> None:
        serving(
            bench, topology.PREDICT, lambda request: request.reply_raw(request.body, "echo"), prefetch=32, threads=4
        )
        async with bench.async_client() as client:
            bodies = [str(number).encode() for number in range(300)]
            answers = await asyncio.gather(
                *(client.call_raw(topology.PREDICT, body, "k", deadline=Deadline.after(10)) for body in bodies)
            )
        assert [answer.body for answer in answers] == bodies

    async def test_an_error_of_the_handler_arrives_as_itself(self, bench: Bench) -> None:
        def decline(_request: Request) -> None:
            raise errors.ModelNotFound("no churn here", errors=[errors.FieldError("model", "unknown")], hint="train it")

        serving(bench, topology.MODELS, decline)
        async with bench.async_client() as client:
            with pytest.raises(errors.ModelNotFound, match="no churn here") as caught:
                await client.call(
                    topology.MODELS, messages.ListModels(), messages.ModelList, deadline=Deadline.after(5)
                )
        assert caught.value.errors == (errors.FieldError("model", "unknown"),)
        assert caught.value.hint == "train it"

    async def test_a_defect_of_the_handler_arrives_without_details(self, bench: Bench) -> None:
        serving(bench, topology.MODELS, lambda _request: 1 / 0)
        async with bench.async_client() as client:
            with pytest.raises(errors.InternalError) as caught:
                await client.call(
                    topology.MODELS, messages.ListModels(), messages.ModelList, deadline=Deadline.after(5)
                )
        assert "division" not in caught.value.message

    async def test_an_answer_of_another_kind_is_an_internal_error(self, bench: Bench) -> None:
        serving(bench, topology.MODELS, lambda _request: messages.Deleted())
        async with bench.async_client() as client:
            with pytest.raises(errors.InternalError):
                await client.call(
                    topology.MODELS, messages.ListModels(), messages.ModelList, deadline=Deadline.after(5)
                )

    async def test_an_unreadable_answer_is_an_internal_error(self, bench: Bench) -> None:
        serving(bench, topology.MODELS, lambda request: request.reply_raw(b"{", messages.ModelList.TYPE))
        async with bench.async_client() as client:
            with pytest.raises(errors.InternalError):
                await client.call(
                    topology.MODELS, messages.ListModels(), messages.ModelList, deadline=Deadline.after(5)
                )

    async def test_an_unreadable_request_is_answered_and_kept_for_people(self, bench: Bench) -> None:
        serving(bench, topology.MODELS, listed)
        async with bench.async_client() as client:
            answer = await client.call_raw(topology.MODELS, b"{", "models.list", deadline=Deadline.after(5))
            assert answer.kind == messages.Failure.TYPE
            assert messages.Failure.decode(answer.body).error.code == "malformed_body"
            await until_ready(client, topology.DEAD, 1)

    async def test_a_handler_serves_on_after_an_unreadable_request(self, bench: Bench) -> None:
        serving(bench, topology.MODELS, listed)
        async with bench.async_client() as client:
            await client.call_raw(topology.MODELS, b"{", "models.list", deadline=Deadline.after(5))
            await client.call(topology.MODELS, messages.ListModels(), messages.ModelList, deadline=Deadline.after(5))


class TestNobodyAnswers:
    async def test_a_missing_queue_is_unroutable_at_once(self, bench: Bench) -> None:
        bench.delete_queue(topology.PREDICT)
        async with bench.async_client() as client:
            with pytest.raises(errors.Unroutable):
                await client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(30))

    async def test_a_queue_nobody_serves_ends_with_the_deadline(self, bench: Bench) -> None:
        async with bench.async_client() as client:
            with pytest.raises(errors.DeadlineExceeded):
                await client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(0.2))

    async def test_a_request_nobody_took_in_time_leaves_the_queue(self, bench: Bench) -> None:
        async with bench.async_client() as client:
            with pytest.raises(errors.DeadlineExceeded):
                await client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(0.1))
            await until_ready(client, topology.PREDICT, 0)

    async def test_a_deadline_in_the_past_sends_nothing(self, bench: Bench) -> None:
        async with bench.async_client() as client:
            with pytest.raises(errors.DeadlineExceeded):
                await client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(0))
            assert await client.queue_state(topology.PREDICT) == (0, 0)

    async def test_a_full_queue_is_overloaded_at_once(self, bench: Bench) -> None:
        bench.delete_queue(topology.PREDICT)
        bench.declare_queue(topology.PREDICT, {"x-max-length": 1, "x-overflow": "reject-publish"})
        async with bench.async_client() as client:
            await client.publish(topology.PREDICT, b"fills it")
            with pytest.raises(errors.Overloaded):
                await client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(30))
            with pytest.raises(errors.Overloaded):
                await client.publish(topology.PREDICT, b"one more")

    async def test_an_expired_request_never_reaches_the_handler(self, bench: Bench) -> None:
        handled: list[bytes] = []
        release = threading.Event()

        def slow(request: Request) -> None:
            handled.append(request.body)
            release.wait(10)

        serving(bench, topology.PREDICT, slow, prefetch=2)
        async with bench.async_client() as client:
            first = asyncio.create_task(client.call_raw(topology.PREDICT, b"1", "k", deadline=Deadline.after(30)))
            await eventually(lambda: handled == [b"1"], "the first is handled")
            with pytest.raises(errors.DeadlineExceeded):
                await client.call_raw(topology.PREDICT, b"late", "k", deadline=Deadline.after(0.1))
            # The server counts from the arrival, a moment later than the client.
            there = Deadline.after(2)
            await eventually(lambda: there.expired, "the request has expired there too")
            third = asyncio.create_task(client.call_raw(topology.PREDICT, b"3", "k", deadline=Deadline.after(30)))
            release.set()
            await eventually(lambda: handled == [b"1", b"3"], "the third is handled")
            for call in (first, third):
                call.cancel()

    async def test_an_abandoned_call_leaves_nothing_behind(self, bench: Bench) -> None:
        async with bench.async_client() as client:
            call = asyncio.create_task(client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(5)))
            await until_ready(client, topology.PREDICT, 1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
