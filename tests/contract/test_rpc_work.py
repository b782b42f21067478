"""Work that a server has taken is answered, given back or done once, on RabbitMQ and on the broker in memory alike."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from tests.contract.serving import listed, until_ready
from tests.rabbit import connects, eventually, wait_until
from wire import messages, topology
from wire.deadlines import Deadline
from wire.server import Request

if TYPE_CHECKING:
    from tests.contract.conftest import Bench


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
        before = connects("sleeper-")
        bench.close_connections("sleeper")
        wait_until(lambda: connects("sleeper-") >= before + 2, "both connections were lost and are back")
        wait_until(lambda: server.connected and server.ready, "it could take deliveries again")
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
