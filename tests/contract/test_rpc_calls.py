"""What clients and servers promise each other, on RabbitMQ and on the broker in memory alike."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pika
import pytest

from tests.rabbit import eventually, wait_until
from wire import errors, logs, messages, replies, topology
from wire.async_client import AsyncRpcClient
from wire.deadlines import Deadline
from wire.server import Request

if TYPE_CHECKING:
    from tests.contract.conftest import Bench


def listed(request: Request) -> messages.Message:
    messages.ListModels.decode(request.body)
    return messages.ModelList(models=())


def serving(bench: Bench, queue: str, handler: object, **options: int) -> None:
    server = bench.server()
    server.serve(queue, handler, **({"prefetch": 2} | options))  # type: ignore[arg-type]
    bench.start(server)


async def until_ready(client: AsyncRpcClient, queue: str, count: int) -> None:
    """Wait until this many messages are ready in a queue."""
    deadline = Deadline.after(15)
    while (await client.queue_state(queue)).messages != count:
        assert not deadline.expired, f"{queue} never had {count} messages ready"


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
            first = asyncio.create_task(client.call_raw(topology.PREDICT, b"1", "k", deadline=Deadline.after(5)))
            await eventually(lambda: handled == [b"1"], "the first is handled")
            with pytest.raises(errors.DeadlineExceeded):
                await client.call_raw(topology.PREDICT, b"late", "k", deadline=Deadline.after(0.1))
            # The server counts from the arrival, a moment later than the client.
            there = Deadline.after(0.3)
            await eventually(lambda: there.expired, "the request has expired there too")
            third = asyncio.create_task(client.call_raw(topology.PREDICT, b"3", "k", deadline=Deadline.after(5)))
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


class TestPublishing:
    async def test_a_published_message_is_in_the_queue_when_the_call_returns(self, bench: Bench) -> None:
        async with bench.async_client() as client:
            await client.publish(topology.JOBS, b"{}", kind="job", headers={"request_id": "r"})
            assert await client.queue_state(topology.JOBS) == (1, 0)

    async def test_given_properties_travel_and_are_not_changed(self, bench: Bench) -> None:
        seen: list[Request] = []
        serving(bench, topology.JOBS, seen.append)
        own = pika.BasicProperties(type="task", correlation_id="job-1", headers={"request_id": "r-9"})
        async with bench.async_client() as client:
            await client.publish(topology.JOBS, b"{}", properties=own)
        wait_until(lambda: seen, "the message arrives")
        assert (seen[0].kind, seen[0].correlation_id, seen[0].request_id) == ("task", "job-1", "r-9")
        assert own.message_id is None
        assert own.delivery_mode is None

    async def test_publishing_to_nowhere_is_unroutable(self, bench: Bench) -> None:
        async with bench.async_client() as client:
            with pytest.raises(errors.Unroutable):
                await client.publish(topology.JOBS, b"", routing_key="nobody")

    def test_a_thread_publishes_the_same_way(self, bench: Bench) -> None:
        client = bench.client()
        client.publish(topology.JOBS, b"{}", kind="job")
        assert client.queue_state(topology.JOBS) == (1, 0)
        with pytest.raises(errors.Unroutable):
            client.publish(topology.JOBS, b"", routing_key="nobody")

    async def test_a_missing_queue_has_neither_messages_nor_consumers(self, bench: Bench) -> None:
        async with bench.async_client() as client:
            assert await client.queue_state("warren.nothing.v1") == (0, 0)
            assert await client.queue_state(topology.JOBS) == (0, 0)

    async def test_consumers_are_counted(self, bench: Bench) -> None:
        serving(bench, topology.PREDICT, listed)
        serving(bench, topology.PREDICT, listed)
        async with bench.async_client() as client:
            assert await client.queue_state(topology.PREDICT) == (0, 2)


class TestStreams:
    def test_progress_and_result_arrive_in_order(self, bench: Bench) -> None:
        def train(request: Request) -> messages.Message:
            for step in range(3):
                request.reply(messages.TrainProgress(job_id="j", fraction=step / 3, stage="fit"))
            return messages.Deleted()

        serving(bench, topology.TRAIN, train, prefetch=1)
        with bench.client().stream(topology.TRAIN, messages.ListModels(), request_id="r-2") as stream:
            got = [stream.next(5) for _ in range(4)]
        assert [one.kind for one in got] == ["train.progress"] * 3 + ["deleted"]
        assert replies.read(got[2], messages.TrainProgress).fraction == pytest.approx(2 / 3)
        assert got[0].headers["request_id"] == "r-2"

    def test_silence_is_a_passed_deadline_and_the_stream_goes_on(self, bench: Bench) -> None:
        go = threading.Event()

        def train(_request: Request) -> messages.Message:
            go.wait(10)
            return messages.Deleted()

        serving(bench, topology.TRAIN, train, prefetch=1)
        with bench.client().stream(topology.TRAIN, messages.ListModels()) as stream:
            with pytest.raises(errors.DeadlineExceeded):
                stream.next(0.05)
            go.set()
            assert stream.next(5).kind == "deleted"

    def test_a_stream_to_nowhere_is_unroutable(self, bench: Bench) -> None:
        bench.delete_queue(topology.TRAIN)
        with bench.client().stream(topology.TRAIN, messages.ListModels()) as stream:
            for _ in range(2):
                with pytest.raises(errors.Unroutable):
                    stream.next(5)

    def test_a_stream_fails_when_its_connection_is_lost(self, bench: Bench) -> None:
        serving(bench, topology.TRAIN, lambda request: request.reply(messages.Deleted()), prefetch=1)
        client = bench.client(name="cut-off")
        with client.stream(topology.TRAIN, messages.ListModels()) as stream:
            assert stream.next(5).kind == "deleted"
            bench.close_connections("cut-off")
            with pytest.raises(errors.BrokerUnavailable):
                stream.next(15)


class TestFanouts:
    def test_everybody_behind_an_exchange_is_told(self, bench: Bench) -> None:
        seen: list[str] = []
        for name in ("one", "two"):
            server = bench.server(name=name)
            server.subscribe(topology.ANNOUNCE, lambda request, name=name: seen.append(name))
            bench.start(server)
        bench.client("trainer").broadcast(topology.ANNOUNCE, messages.ForgetVersion(model="m"))
        wait_until(lambda: sorted(seen) == ["one", "two"], "both hear it")

    def test_everybody_behind_an_exchange_replies_to_a_gathering(self, bench: Bench) -> None:
        for name in ("one", "two"):
            server = bench.server(name=name)
            server.subscribe(
                topology.ANNOUNCE,
                lambda request, name=name: messages.VersionLoaded(predictor_id=name, model="m", version=1),
                threads=2,
            )
            bench.start(server)
        with bench.client("trainer").gather(
            topology.ANNOUNCE, messages.LoadVersion(model="m", version=1), request_id="r"
        ) as gathered:
            got = {replies.read(gathered.next(5), messages.VersionLoaded).predictor_id for _ in range(2)}
        assert got == {"one", "two"}

    def test_a_fanout_without_receivers_is_no_error(self, bench: Bench) -> None:
        client = bench.client("trainer")
        client.broadcast(topology.ANNOUNCE, messages.ForgetVersion(model="m"))
        gathered = client.gather(topology.ANNOUNCE, messages.LoadVersion(model="m", version=1))
        with gathered, pytest.raises(errors.DeadlineExceeded):
            gathered.next(0.1)

    def test_an_inbox_is_bound_again_after_a_reconnect(self, bench: Bench) -> None:
        seen: list[bytes] = []
        server = bench.server(name="inbox-owner")
        server.subscribe(topology.ANNOUNCE, lambda request: seen.append(request.body))
        bench.start(server)
        bench.close_connections("inbox-owner")
        client = bench.client("trainer")

        def heard() -> bool:
            client.broadcast(topology.ANNOUNCE, messages.ForgetVersion(model="m"))
            return bool(seen)

        wait_until(heard, "the inbox hears again")


class TestAcknowledgement:
    async def test_work_of_a_lost_server_goes_to_another_marked_as_redelivered(self, bench: Bench) -> None:
        taken, forever = threading.Event(), threading.Event()
        doomed, heir = bench.server(name="doomed"), bench.server(name="heir")

        def stuck(_request: Request) -> None:
            taken.set()
            forever.wait(30)

        doomed.serve(topology.PREDICT, stuck, prefetch=1)
        bench.start(doomed, drain_s=0)
        marks: list[bool] = []
        heir.serve(topology.PREDICT, lambda r: marks.append(r.redelivered) or r.reply_raw(b"done", "k"), prefetch=1)
        async with bench.async_client() as client:
            call = asyncio.create_task(client.call_raw(topology.PREDICT, b"x", "k", deadline=Deadline.after(20)))
            await eventually(taken.is_set, "the first server takes it")
            await asyncio.to_thread(bench.start, heir)
            await asyncio.to_thread(doomed.stop, 0)
            assert (await call).body == b"done"
        assert marks == [True]
        forever.set()

    async def test_early_acknowledged_work_does_not_come_back(self, bench: Bench) -> None:
        taken, forever = threading.Event(), threading.Event()
        server = bench.server(name="early")

        def early(request: Request) -> None:
            request.ack()
            taken.set()
            forever.wait(30)

        server.serve(topology.TRAIN, early, prefetch=1)
        bench.start(server, drain_s=0)
        client = bench.client()
        with client.stream(topology.TRAIN, messages.ListModels()):
            await eventually(taken.is_set, "it is taken")
            await asyncio.to_thread(server.stop, 0)
            assert client.queue_state(topology.TRAIN) == (0, 0)
        forever.set()

    def test_after_pause_and_acknowledgement_no_other_request_comes(self, bench: Bench) -> None:
        started, go = threading.Semaphore(0), threading.Semaphore(0)
        server = bench.server("trainer")

        def train(request: Request) -> messages.Message:
            subscription.pause()
            request.ack()
            started.release()
            assert go.acquire(timeout=10)
            subscription.resume()
            return messages.Deleted()

        subscription = server.serve(topology.TRAIN, train, prefetch=1)
        bench.start(server)
        client = bench.client()
        with client.stream(topology.TRAIN, messages.ListModels()) as first:
            assert started.acquire(timeout=10)
            with client.stream(topology.TRAIN, messages.ListModels()) as second:
                wait_until(lambda: client.queue_state(topology.TRAIN) == (1, 0), "the second waits in the queue")
                go.release()
                assert first.next(5).kind == "deleted"
                assert started.acquire(timeout=10)
                go.release()
                assert second.next(5).kind == "deleted"

    def test_a_paused_subscription_stays_paused_after_a_reconnect(self, bench: Bench) -> None:
        server = bench.server("trainer", name="sleeper")
        subscription = server.serve(topology.TRAIN, listed, prefetch=1)
        bench.start(server)
        subscription.pause()
        client = bench.client()
        wait_until(lambda: client.queue_state(topology.TRAIN).consumers == 0, "it is paused")
        bench.close_connections("sleeper")
        wait_until(lambda: not server.connected, "the connection is lost")
        wait_until(lambda: server.connected and server.ready, "the connection is back")
        assert client.queue_state(topology.TRAIN).consumers == 0
        subscription.resume()
        wait_until(lambda: client.queue_state(topology.TRAIN).consumers == 1, "it takes deliveries again")

    def test_one_of_several_changes_things_at_a_time(self, bench: Bench) -> None:
        seen: list[str] = []
        servers = []
        for name in ("one", "two"):
            server = bench.server("trainer", name=name)
            server.serve(topology.CHANGES, lambda r, name=name: seen.append(name) or messages.Deleted(), prefetch=1)
            servers.append(bench.start(server))
        client = bench.client()

        def change() -> None:
            message = messages.DeleteModel(model="m")
            client.call(topology.CHANGES, message, messages.Deleted, deadline=Deadline.after(5))

        for _ in range(5):
            change()
        assert seen == ["one"] * 5
        servers[0].stop(5)
        change()
        assert seen[-1] == "two"


class TestStopping:
    async def test_a_stopping_server_answers_what_it_has(self, bench: Bench) -> None:
        begun, go = threading.Semaphore(0), threading.Event()

        def slow(request: Request) -> None:
            begun.release()
            go.wait(10)
            request.reply_raw(request.body, "k")

        server = bench.server()
        server.serve(topology.PREDICT, slow, prefetch=2)
        async with bench.async_client() as client:
            calls = [
                asyncio.create_task(client.call_raw(topology.PREDICT, body, "k", deadline=Deadline.after(20)))
                for body in (b"1", b"2")
            ]
            await until_ready(client, topology.PREDICT, 2)
            await asyncio.to_thread(bench.start, server)
            await eventually(lambda: begun.acquire(blocking=False), "the first is begun")
            await until_ready(client, topology.PREDICT, 0)
            stopping = asyncio.create_task(asyncio.to_thread(server.stop, 10))
            go.set()
            assert [answer.body for answer in await asyncio.gather(*calls)] == [b"1", b"2"]
            await stopping
            assert await client.queue_state(topology.PREDICT) == (0, 0)

    def test_long_work_that_was_not_begun_goes_back_to_the_queue(self, bench: Bench) -> None:
        begun, go = threading.Event(), threading.Event()

        def train(_request: Request) -> messages.Message:
            begun.set()
            go.wait(10)
            return messages.Deleted()

        server = bench.server("trainer")
        server.serve(topology.TRAIN, train, prefetch=2)
        bench.start(server)
        client = bench.client()
        with client.stream(topology.TRAIN, messages.ListModels()) as first:
            assert begun.wait(10)
            with client.stream(topology.TRAIN, messages.ListModels()):
                wait_until(lambda: client.queue_state(topology.TRAIN).messages == 0, "both are taken")
                stopping = threading.Thread(target=server.stop, args=(10,))
                stopping.start()
                wait_until(lambda: client.queue_state(topology.TRAIN).consumers == 0, "it takes no more")
                go.set()
                stopping.join(15)
                assert first.next(5).kind == "deleted"
                wait_until(lambda: client.queue_state(topology.TRAIN).messages == 1, "the second is back")

    def test_a_server_waits_for_a_queue_that_is_missing(self, bench: Bench) -> None:
        bench.delete_queue(topology.MODELS)
        server = bench.server()
        server.serve(topology.MODELS, listed, prefetch=1)
        server.start()
        bench.stack.callback(server.stop, 5)
        assert not server.wait_ready(0.3)
        bench.declare_queue(topology.MODELS, {})
        assert server.wait_ready(15)

    def test_a_server_comes_back_to_a_queue_that_was_deleted_under_it(self, bench: Bench) -> None:
        server = bench.server()
        server.serve(topology.MODELS, listed, prefetch=1)
        bench.start(server)
        bench.delete_queue(topology.MODELS)
        wait_until(lambda: not server.ready, "it notices")
        bench.declare_queue(topology.MODELS, {})
        wait_until(lambda: server.ready, "it is back")

    def test_stopping_and_closing_twice_is_harmless(self, bench: Bench) -> None:
        server = bench.server()
        server.serve(topology.MODELS, listed, prefetch=1)
        bench.start(server).stop(1)
        bench.client().close()


class TestLostConnections:
    async def test_every_open_call_fails_when_the_connection_is_lost(self, bench: Bench) -> None:
        async with bench.async_client(name="lost") as client:
            calls = [
                asyncio.create_task(client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(60)))
                for _ in range(20)
            ]
            await until_ready(client, topology.PREDICT, 20)
            await asyncio.to_thread(bench.close_connections, "lost")
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {errors.BrokerUnavailable}

    async def test_a_client_calls_again_after_a_reconnect(self, bench: Bench) -> None:
        serving(bench, topology.MODELS, listed)
        async with bench.async_client(name="phoenix") as client:
            await asyncio.to_thread(bench.close_connections, "phoenix")
            await eventually(lambda: not client.connected, "the connection is lost")
            assert await client.wait_connected(15)
            await client.call(topology.MODELS, messages.ListModels(), messages.ModelList, deadline=Deadline.after(5))

    async def test_a_server_serves_again_after_a_reconnect(self, bench: Bench) -> None:
        server = bench.server(name="phoenix")
        server.serve(topology.MODELS, listed, prefetch=1)
        bench.start(server)
        await asyncio.to_thread(bench.close_connections, "phoenix")
        await eventually(lambda: not server.connected, "the connection is lost")
        await eventually(lambda: server.ready, "the connection is back")
        async with bench.async_client() as client:
            await client.call(topology.MODELS, messages.ListModels(), messages.ModelList, deadline=Deadline.after(5))

    async def test_a_reply_is_sent_again_when_the_publishing_connection_was_lost(self, bench: Bench) -> None:
        begun, go = threading.Event(), threading.Event()

        def slow(request: Request) -> None:
            begun.set()
            go.wait(10)
            request.reply_raw(b"kept", "k")

        server = bench.server(name="mute")
        server.serve(topology.PREDICT, slow, prefetch=1)
        bench.start(server)
        async with bench.async_client() as client:
            call = asyncio.create_task(client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(30)))
            await eventually(begun.is_set, "it is begun")
            await asyncio.to_thread(bench.close_publishing, "mute")
            await eventually(lambda: not server.connected, "the publishing connection is lost")
            go.set()
            assert (await call).body == b"kept"

    async def test_a_reply_to_a_requester_that_is_gone_is_dropped(self, bench: Bench) -> None:
        begun, go = threading.Event(), threading.Event()

        def slow(request: Request) -> None:
            begun.set()
            go.wait(10)
            request.reply_raw(b"", "k")

        serving(bench, topology.PREDICT, slow, prefetch=1)
        async with bench.async_client(name="leaver") as client:
            call = asyncio.create_task(client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(30)))
            await eventually(begun.is_set, "it is begun")
        with pytest.raises(errors.BrokerUnavailable):
            await call
        go.set()
        async with bench.async_client() as client:
            answer = await client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(10))
        assert answer.kind == "k"
