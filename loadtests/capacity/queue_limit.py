"""How many messages one RabbitMQ queue takes: publishers and consumers that cost next to nothing.

From a private node to ``model.Queue``. A queue is one Erlang process, so it has a limit of its
own, which real clients seldom reach. Frames are encoded once and sent again and again, and what
comes back is only counted: all deliveries and all confirms of a run have the same length
(AMQP 0-9-1, sections 2.3.5 and 4.2).
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pika import BasicProperties, frame, spec

from deploy.native.broker import HOST, Node, Ports
from loadtests.capacity.model import Queue

REQUEST_BYTES = 180
"""Size of one prediction in a message: its row, its item in the header."""
WINDOW = 200
"""Messages a publisher has unconfirmed, and a consumer unacknowledged, at most."""
BURST = 50
"""Messages a publisher sends at once."""
RUN_S, SETTLE_S = 3.0, 0.5
"""Seconds of counting, and of running before."""

_CONFIRM_BYTES = 21
# Whether the queue's process has a scheduler, sampled every millisecond or two.
_SAMPLE = """
[Q] = [Q || Q <- rabbit_amqqueue:list(<<"/">>), element(4, amqqueue:get_name(Q)) =:= <<"NAME">>],
P = amqqueue:get_pid(Q),
S = [begin timer:sleep(1), {status, X} = erlang:process_info(P, status), X end || _ <- lists:seq(1, 600)],
length([X || X <- S, X =:= running]) / length(S).
"""


class _Link:
    """A connection with one channel, spoken by hand, and the queue it is about."""

    def __init__(self, port: int, queue: str) -> None:
        self._queue = queue
        self.socket = socket.create_connection((HOST, port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""
        self.socket.sendall(frame.ProtocolHeader().marshal())
        self._expect(spec.Connection.Start)
        start = spec.Connection.StartOk({}, "PLAIN", "\0guest\0guest", "en_US")
        self._ask(0, start, spec.Connection.Tune)
        self._say(0, spec.Connection.TuneOk(16, 131_072, 0))
        self._ask(0, spec.Connection.Open("/"), spec.Connection.OpenOk)
        self._ask(1, spec.Channel.Open(), spec.Channel.OpenOk)
        self._ask(1, spec.Queue.Declare(queue=queue), spec.Queue.DeclareOk)

    def publishes(self) -> None:
        """Ask for confirms."""
        self._ask(1, spec.Confirm.Select(), spec.Confirm.SelectOk)

    def consumes(self) -> None:
        """Ask for deliveries."""
        self._ask(1, spec.Basic.Qos(prefetch_count=WINDOW), spec.Basic.QosOk)
        self._ask(1, spec.Basic.Consume(queue=self._queue, consumer_tag="c"), spec.Basic.ConsumeOk)

    def _say(self, channel: int, method: Any) -> None:
        self.socket.sendall(frame.Method(channel, method).marshal())

    def _ask(self, channel: int, method: Any, answer: Any) -> None:
        self._say(channel, method)
        self._expect(answer)

    def _expect(self, kind: Any) -> None:
        while True:
            used, found = frame.decode_frame(self._rest)
            if not used:
                self._rest += self.socket.recv(65_536)
                continue
            self._rest = self._rest[used:]
            if isinstance(found, frame.Method) and isinstance(found.method, kind):
                return


def _properties() -> Any:
    """What a batch's message carries."""
    return BasicProperties(
        content_type="application/octet-stream",
        correlation_id="0123456789abcdef0123456789abcdef",
        reply_to="reply.api.0123456789abcdef",
        expiration="2000",
        type="predict.batch",
        delivery_mode=1,
    )


def _content(body: bytes) -> bytes:
    header = frame.Header(1, len(body), _properties()).marshal()
    return bytes(header + frame.Body(1, body).marshal())


def _publish(link: _Link, message: bytes, stop: threading.Event) -> None:
    sent = confirmed = 0
    burst, rest = message * BURST, b""
    while not stop.is_set():
        if sent - confirmed <= WINDOW - BURST:
            link.socket.sendall(burst)
            sent += BURST
            continue
        rest += link.socket.recv(65_536)
        whole = len(rest) // _CONFIRM_BYTES * _CONFIRM_BYTES
        if whole:
            (confirmed,) = struct.unpack_from(">Q", rest, whole - _CONFIRM_BYTES + 11)
            rest = rest[whole:]


def _consume(link: _Link, size: int, counts: list[int], place: int, stop: threading.Event) -> None:
    received = acknowledged = 0
    while not stop.is_set():
        received += len(link.socket.recv(262_144))
        counts[place] = received // size
        if counts[place] > acknowledged:
            acknowledged = counts[place]
            link.socket.sendall(frame.Method(1, spec.Basic.Ack(acknowledged, multiple=True)).marshal())


def _quietly(stop: threading.Event, action: Any, *args: Any) -> threading.Thread:
    def run() -> None:
        try:
            action(*args, stop)
        except OSError:
            # The end of a run closes sockets under their readers.
            if not stop.is_set():
                raise

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _run(node: Node, requests: int, pairs: int) -> tuple[float, float]:
    """Messages a second through the queue, and the queue process's share of a core meanwhile."""
    # A queue of its own: what a run before left unacknowledged would be delivered first, and has another size.
    name = f"limit-{requests}-{pairs}"
    content = _content(b"x" * (REQUEST_BYTES * requests))
    message = frame.Method(1, spec.Basic.Publish(exchange="", routing_key=name)).marshal() + content
    delivered = frame.Method(1, spec.Basic.Deliver("c", 1, False, "", name)).marshal() + content
    stop, counts = threading.Event(), [0] * pairs
    links = [_Link(node.ports.amqp, name) for _ in range(2 * pairs)]
    for consumer, publisher in zip(links[:pairs], links[pairs:], strict=True):
        consumer.consumes()
        publisher.publishes()
    threads = [_quietly(stop, _consume, link, len(delivered), counts, at) for at, link in enumerate(links[:pairs])]
    threads += [_quietly(stop, _publish, link, message) for link in links[pairs:]]
    time.sleep(SETTLE_S)
    before, started_at = sum(counts), time.monotonic()
    time.sleep(RUN_S)
    rate = (sum(counts) - before) / (time.monotonic() - started_at)
    share = float(node.ctl("eval", _SAMPLE.replace("NAME", name)).strip()) if pairs > 1 and requests == 1 else 0.0
    stop.set()
    for link in links:
        link.socket.close()
    for thread in threads:
        thread.join(5)
    return rate, share


@contextmanager
def _node(home: Path) -> Iterator[Node]:
    node = Node(home, Ports.free())
    node.start()
    try:
        node.wait_ready()
        yield node
    finally:
        node.stop()


def measure(home: Path) -> Queue:
    """What one queue takes on this machine. Raises BrokerError."""
    with _node(home) as node:
        connection, _ = _run(node, 1, 1)
        single, share = _run(node, 1, 2)
        batched, _ = _run(node, Queue.BATCH, 2)
    return Queue(single, batched, connection, share)
