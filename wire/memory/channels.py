"""Channels to the broker in memory, with the part of pika's interface that wire uses.

Between wire's subscriptions, publishers and inboxes and the queues of wire.memory. Commands come
from the connection's own event loop and are carried out at once; answers and deliveries go back
to it, soon.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pika
from pika import exceptions, spec

from wire import topology
from wire.memory.queues import Consumer, MemoryQueue, StoredMessage, stored

if TYPE_CHECKING:
    from wire.memory.connections import MemoryConnection

_Callback = Callable[..., object]


class MemoryChannel:
    """A channel of one connection."""

    def __init__(self, connection: MemoryConnection) -> None:
        self.is_open = True
        self._connection = connection
        self._broker = connection.broker
        self._tags = itertools.count(1)
        self._published = itertools.count(1)
        self._prefetch = 0
        self._consumers: dict[str, tuple[Consumer, MemoryQueue, _Callback, bool]] = {}
        self._unacknowledged: dict[int, tuple[Consumer, MemoryQueue, StoredMessage]] = {}
        self._outcomes: list[tuple[int, bool]] = []
        self._on_close: list[_Callback] = []
        self._on_return: _Callback = _ignore
        self._on_cancel: _Callback = _ignore
        self._on_confirm: _Callback = _ignore

    def add_on_close_callback(self, callback: _Callback) -> None:
        """Tell of the end of the channel."""
        self._on_close.append(callback)

    def add_on_return_callback(self, callback: _Callback) -> None:
        """Tell of messages that reached no queue."""
        self._on_return = callback

    def add_on_cancel_callback(self, callback: _Callback) -> None:
        """Tell of consumers whose queue was deleted."""
        self._on_cancel = callback

    def confirm_delivery(self, ack_nack_callback: _Callback, callback: _Callback) -> None:
        """Confirm what is published from now on."""
        self._on_confirm = ack_nack_callback
        self._answer(callback)

    def queue_declare(
        self,
        queue: str,
        passive: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: dict[str, Any] | None = None,
        callback: _Callback | None = None,
    ) -> None:
        """Declare a queue of this connection, or look at any queue (passive; 404 closes the channel)."""
        with self._broker.lock:
            found = self._broker.queues.get(queue)
            if found is None and passive:
                self._refuse(404, f"NOT_FOUND - no queue '{queue}'")
                return
            if found is None:
                found = self._broker.queues[queue] = MemoryQueue(queue, arguments or {}, self._connection)
            found.drop_expired()
            counts = SimpleNamespace(message_count=len(found.ready), consumer_count=len(found.consumers))
        self._answer(callback or _ignore, counts)

    def queue_bind(self, queue: str, exchange: str, routing_key: str, callback: _Callback) -> None:
        """Bind a queue."""
        with self._broker.lock:
            self._broker.bind(exchange, routing_key, queue)
        self._answer(callback)

    def basic_qos(self, prefetch_count: int, callback: _Callback) -> None:
        """Bound what each consumer of this channel holds."""
        self._prefetch = prefetch_count
        self._answer(callback)

    def basic_consume(
        self, queue: str, on_message_callback: _Callback, auto_ack: bool = False, callback: _Callback | None = None
    ) -> str:
        """Take messages from a queue (404 closes the channel)."""
        tag = f"consumer-{next(self._tags)}"
        with self._broker.lock:
            found = self._broker.queues.get(queue)
            if found is None:
                self._refuse(404, f"NOT_FOUND - no queue '{queue}'")
                return tag
            consumer = Consumer(tag, self._deliver, 0 if auto_ack else self._prefetch)
            self._consumers[tag] = (consumer, found, on_message_callback, auto_ack)
            self._answer(callback or _ignore)
            found.consumers.append(consumer)
            found.dispatch()
        return tag

    def basic_cancel(self, consumer_tag: str, callback: _Callback) -> None:
        """Take no more."""
        with self._broker.lock:
            consumer, queue, _, _ = self._consumers.pop(consumer_tag)
            queue.consumers.remove(consumer)
            queue.dispatch()
        self._answer(callback)

    def basic_publish(
        self, exchange: str, routing_key: str, body: bytes, properties: pika.BasicProperties, mandatory: bool
    ) -> None:
        """Publish, or hold it back while the broker is frozen or an alarm lasts, of which it tells."""
        if not self.is_open:
            raise exceptions.ChannelWrongStateError("Channel is closed.")
        message = stored(routing_key, body, properties)
        number = next(self._published)
        with self._broker.lock:
            if not (self._broker.alarm or self._broker.frozen):
                self._publish(exchange, message, number, mandatory)
                return
            self._connection.held.append(lambda: self._publish(exchange, message, number, mandatory))
            if self._broker.alarm:
                self._connection.soon(self._connection.on_blocked, self._connection, None)

    def basic_ack(self, delivery_tag: int) -> None:
        """The work is done."""
        with self._broker.lock:
            self._release(delivery_tag)[1].dispatch()

    def basic_reject(self, delivery_tag: int, requeue: bool) -> None:
        """The work is not done; ``requeue`` is always true here."""
        with self._broker.lock:
            _, queue, message = self._release(delivery_tag)
            queue.put_back(message)
            queue.dispatch()

    def close(self) -> None:
        """End the channel; what it held goes back to the queues."""
        self._refuse(200, "closed by the client")

    def end(self, error: Exception) -> None:
        """End the channel, on its loop, under the broker's lock."""
        self.is_open = False
        queues = []
        for consumer, queue, _, _ in self._consumers.values():
            queue.consumers.remove(consumer)
            queues.append(queue)
        for _, queue, message in reversed(self._unacknowledged.values()):
            queue.put_back(message)
            queues.append(queue)
        self._consumers.clear()
        self._unacknowledged.clear()
        self._connection.channels.remove(self)
        for queue in queues:
            queue.dispatch()
        for callback in self._on_close:
            callback(self, error)

    def queue_deleted(self, queue: MemoryQueue) -> None:
        """The queue is gone: cancel its consumers here."""
        for tag, (_, consumed, _, _) in tuple(self._consumers.items()):
            if consumed is queue:
                del self._consumers[tag]
                self._connection.soon(self._on_cancel, SimpleNamespace(method=SimpleNamespace(consumer_tag=tag)))

    def _publish(self, exchange: str, message: StoredMessage, number: int, mandatory: bool) -> None:
        if len(message.body) > topology.MAX_MESSAGE_BYTES:
            self._refuse(406, "PRECONDITION_FAILED - message size is larger than configured max size")
            return
        targets = self._broker.route(exchange, message.routing_key)
        if targets is None:
            self._refuse(404, f"NOT_FOUND - no exchange '{exchange}'")
            return
        if not targets and mandatory:
            self._connection.soon(self._on_return, self, None, message.properties, message.body)
        accepted = [queue.accept(message) for queue in targets]
        self._outcomes.append((number, all(accepted)))
        self._connection.soon(self._confirm)

    def _confirm(self) -> None:
        """Confirm what was accepted since the last time, several at once where nothing was refused."""
        with self._broker.lock:
            outcomes, self._outcomes = self._outcomes, []
        if len(outcomes) > 1 and all(accepted for _, accepted in outcomes):
            self._on_confirm(SimpleNamespace(method=spec.Basic.Ack(outcomes[-1][0], multiple=True)))
            return
        for number, accepted in outcomes:
            kind = spec.Basic.Ack if accepted else spec.Basic.Nack
            self._on_confirm(SimpleNamespace(method=kind(number, multiple=False)))

    def _deliver(self, consumer: Consumer, queue: MemoryQueue, message: StoredMessage) -> None:
        tag = next(self._tags)
        _, _, callback, auto_ack = self._consumers[consumer.tag]
        self._unacknowledged[tag] = (consumer, queue, message)
        if auto_ack:
            self._release(tag)
        method = SimpleNamespace(delivery_tag=tag, redelivered=message.redelivered)
        self._connection.soon(self._hand_over, consumer.tag, callback, method, message)

    def _hand_over(self, tag: str, callback: _Callback, method: SimpleNamespace, message: StoredMessage) -> None:
        if tag in self._consumers:
            callback(self, method, message.properties, message.body)
        elif self.is_open:
            # As pika does with what was under way when the consumer was cancelled.
            self.basic_reject(method.delivery_tag, requeue=True)

    def _release(self, tag: int) -> tuple[Consumer, MemoryQueue, StoredMessage]:
        entry = self._unacknowledged.pop(tag)
        entry[0].unacknowledged -= 1
        return entry

    def _refuse(self, code: int, text: str) -> None:
        self._connection.soon(self._end_alone, exceptions.ChannelClosedByBroker(code, text))

    def _end_alone(self, error: Exception) -> None:
        if self.is_open:
            with self._broker.lock:
                self.end(error)

    def _answer(self, callback: _Callback, method: object = None) -> None:
        def answer() -> None:
            self._connection.soon(self._if_open, callback, SimpleNamespace(method=method))

        with self._broker.lock:
            self._connection.held.append(answer) if self._broker.frozen else answer()

    def _if_open(self, callback: _Callback, frame: object) -> None:
        if self.is_open:
            callback(frame)


def _ignore(*_args: object) -> None:
    """Nobody asked to be told."""
