"""What is published, streamed and told to everybody arrives, on RabbitMQ and on the broker in memory alike."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pika
import pytest

from tests.contract.serving import listed, serving
from tests.rabbit import wait_until
from wire import errors, messages, replies, topology
from wire.server import Request

if TYPE_CHECKING:
    from tests.contract.conftest import Bench


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
