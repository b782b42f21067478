"""What each role does when the broker itself fails: stopped and started, frozen, in alarm.

Lost connections, missing and full queues and absent consumers are in tests/contract, which runs
them on both brokers; these need RabbitMQ's own commands.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.rabbit import Rabbit, eventually, wait_until
from wire import errors, messages, settings, topology
from wire.async_client import AsyncRpcClient
from wire.client import RpcClient
from wire.deadlines import Deadline
from wire.server import Request, RpcServer


@contextlib.asynccontextmanager
async def replica(broker: settings.Broker) -> AsyncIterator[AsyncRpcClient]:
    client = AsyncRpcClient(broker, "api", "replica")
    await client.start()
    assert await client.wait_connected(15)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
def worker(broker: settings.Broker) -> Iterator[RpcClient]:
    client = RpcClient(broker, "worker", "worker")
    client.start()
    assert client.wait_connected(15)
    yield client
    client.close()


@pytest.fixture
def gate() -> threading.Event:
    """The predictor answers while this is set."""
    event = threading.Event()
    event.set()
    return event


@pytest.fixture
def predictor(broker: settings.Broker, gate: threading.Event) -> Iterator[RpcServer]:
    def answer(request: Request) -> None:
        assert gate.wait(60)
        request.reply_raw(b"answer", "k")

    server = RpcServer(broker, "predictor", "predictor")
    server.serve(topology.PREDICT, answer, prefetch=2, threads=2)
    server.start()
    assert server.wait_ready(15)
    yield server
    gate.set()
    server.stop(10)


async def call(client: AsyncRpcClient, seconds: float = 30) -> bytes:
    answer = await client.call_raw(topology.PREDICT, b"", "k", deadline=Deadline.after(seconds))
    return answer.body


async def refused_within(seconds: float, client: AsyncRpcClient) -> None:
    """A call and a publish both fail as BrokerUnavailable in this time, far before the deadline."""
    started = time.monotonic()
    with pytest.raises(errors.BrokerUnavailable):
        await call(client)
    with pytest.raises(errors.BrokerUnavailable):
        await client.publish(topology.JOBS, b"")
    assert time.monotonic() - started < seconds


async def test_a_stopped_broker_is_unavailable_at_once_and_everybody_comes_back_by_himself(
    rabbitmq: Rabbit, broker: settings.Broker, predictor: RpcServer, worker: RpcClient, gate: threading.Event
) -> None:
    async with replica(broker) as client:
        gate.clear()
        pending = asyncio.create_task(call(client, 60))
        with worker.stream(topology.TRAIN, messages.ListModels()) as stream:
            await eventually(lambda: worker.queue_state(topology.TRAIN).messages == 1, "the stream's request waits")
            with rabbitmq.stopped():
                # The node ends every connection: what was open fails ...
                with pytest.raises(errors.BrokerUnavailable):
                    await pending
                with pytest.raises(errors.BrokerUnavailable):
                    await asyncio.to_thread(stream.next, 15)
                # ... and what is new fails without waiting.
                await eventually(lambda: not (client.connected or worker.connected or predictor.connected), "all lost")
                await refused_within(broker.confirm_timeout_s, client)
                with pytest.raises(errors.BrokerUnavailable):
                    await client.queue_state(topology.PREDICT)
                with pytest.raises(errors.BrokerUnavailable):
                    worker.publish(topology.JOBS, b"")
                with pytest.raises(errors.BrokerUnavailable):
                    worker.broadcast(topology.STOP, messages.StopTraining(job_id="j"))
                with pytest.raises(errors.BrokerUnavailable):
                    worker.stream(topology.TRAIN, messages.ListModels())
        gate.set()
        assert await client.wait_connected(20)
        assert await asyncio.to_thread(worker.wait_connected, 20)
        await eventually(lambda: predictor.ready, "the server is back", 20)
        assert await call(client) == b"answer"
        worker.publish(topology.JOBS, b"")


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that is stopped, every thread of it, which takes a moment."""

    def stopped() -> bool:
        states = [stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
        return {*states} == {"T"}

    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(stopped, "the process is stopped")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_a_frozen_broker_is_unavailable_after_the_time_for_a_confirm(
    rabbitmq: Rabbit, broker: settings.Broker, predictor: RpcServer
) -> None:
    hasty = broker.model_copy(update={"confirm_timeout_s": 1.0})
    async with replica(hasty) as client:
        with frozen(rabbitmq.node.pid):
            await asyncio.gather(*(refused_within(10, client) for _ in range(3)))
            with pytest.raises(errors.BrokerUnavailable):
                await client.queue_state(topology.PREDICT)
            await eventually(lambda: not client.connected, "the mute connection is dropped")
        await eventually(lambda: client.connected and predictor.ready, "everybody is back")
        assert await call(client) == b"answer"


async def test_an_alarm_refuses_publishers_at_once_and_leaves_consumers_alone(
    rabbitmq: Rabbit, broker: settings.Broker, predictor: RpcServer
) -> None:
    hasty = broker.model_copy(update={"blocked_timeout_s": 2.0})
    async with replica(hasty) as client:
        with rabbitmq.alarm():
            await eventually_refused(client)
            await refused_within(broker.confirm_timeout_s, client)
            assert await client.queue_state(topology.PREDICT) == (0, 1)
            # A connection that stays blocked is dropped after blocked_timeout_s and opened anew ...
            await eventually(lambda: not client.blocked, "the blocked connection is dropped")
            # ... which does not end the alarm.
            assert await client.wait_connected(15)
            await refused_within(broker.confirm_timeout_s, client)
        await eventually_accepted(client)
        assert await call(client) == b"answer"


async def test_a_reply_that_an_alarm_stops_is_sent_when_it_is_over(
    rabbitmq: Rabbit, broker: settings.Broker, predictor: RpcServer, gate: threading.Event
) -> None:
    async with replica(broker) as client:
        gate.clear()
        pending = asyncio.create_task(call(client, 60))
        await eventually(lambda: client_sees(broker, 0), "the request is taken")
        with rabbitmq.alarm():
            async with replica(broker) as other:
                await eventually_refused(other)
            gate.set()
            await eventually(lambda: predictor.blocked, "the reply is stopped")
            assert not pending.done()
        assert await pending == b"answer"


async def test_a_publisher_that_was_blocked_for_a_moment_goes_on_with_the_same_connection(
    rabbitmq: Rabbit, broker: settings.Broker
) -> None:
    async with replica(broker) as client:
        with rabbitmq.alarm():
            await eventually_refused(client)
        await eventually(lambda: not client.blocked, "the alarm is over")
        await client.publish(topology.JOBS, b"")
        await client.close()


async def test_closing_does_not_wait_for_a_broker_in_alarm(rabbitmq: Rabbit, broker: settings.Broker) -> None:
    patient = broker.model_copy(update={"connect_timeout_s": 10.0})
    with rabbitmq.alarm():
        async with replica(patient) as client:
            await eventually_refused(client)
            started = time.monotonic()
        assert time.monotonic() - started < 5


async def eventually_refused(client: AsyncRpcClient) -> None:
    """Publish until the alarm, which the broker raises a moment after the command, is felt."""
    deadline = Deadline.after(30)
    while not client.blocked:
        assert not deadline.expired, "no alarm was felt"
        with contextlib.suppress(errors.BrokerUnavailable):
            await client.publish(topology.JOBS, b"")
        await asyncio.sleep(0.01)


async def eventually_accepted(client: AsyncRpcClient) -> None:
    deadline = Deadline.after(30)
    while True:
        try:
            await client.publish(topology.JOBS, b"")
        except errors.BrokerUnavailable:
            assert not deadline.expired, "still refused"
            await asyncio.sleep(0.01)
        else:
            return


def client_sees(broker: settings.Broker, ready: int) -> bool:
    """Whether the predict queue has this many messages that nobody has taken."""
    client = RpcClient(broker, "api", "looker")
    client.start()
    try:
        wait_until(lambda: client.connected, "it is connected")
        return client.queue_state(topology.PREDICT).messages == ready
    finally:
        client.close()
