"""What a server consumes: from one queue of the broker to the threads that work on it.

Comes in: deliveries, on the I/O thread. Goes out: calls of the handler, on threads of its own,
so that computing never delays a heartbeat; but what a service knows to take only milliseconds is
done where it arrived (docs/decisions/0015). Each subscription has a channel to itself, so that
what the broker refuses on one (a missing queue closes the channel, 404) leaves the others alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue as queues
import threading
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import pika
from pika.channel import Channel

from wire import errors, links, logs, messages, telemetry
from wire.deadlines import Deadline
from wire.outbox import Outbox
from wire.requests import Request

Handler: TypeAlias = Callable[[Request], messages.Message | None]
"""Works on one request; its answer, or None where it replied by itself or nobody asked."""

Shortcut: TypeAlias = Callable[[Request], Handler | None]
"""Asked on the I/O thread about every request: a handler to call right there, or None, and the request
goes to the handler's threads. It may do the work already; it and its handler end within a few
milliseconds and wait for nobody. Where it raises, the threads meet the same error and report it."""

INBOX_BOUND = 10_000
"""Messages an inbox queue holds; the oldest go first when its process does not keep up."""

_State = Literal["closed", "idle", "starting", "consuming", "stopping"]


class Subscription:
    """One source of deliveries, its handler and its threads. Made by RpcServer."""

    def __init__(
        self,
        outbox: Outbox,
        source: Source,
        handler: Handler,
        *,
        prefetch: int,
        threads: int,
        longest_pause_s: float,
        changed: Callable[[], None],
        shortcut: Shortcut | None = None,
        confirmed: bool = True,
    ) -> None:
        self._outbox = outbox
        self._confirmed = confirmed
        self._source = source
        self._handler = handler
        self._prefetch = prefetch
        self._longest_pause_s = longest_pause_s
        self._changed = changed
        self._shortcut = shortcut
        self._state: _State = "closed"
        self._wanted = True
        self._draining = False
        self._failures = 0
        self._tag = ""
        self._timer: asyncio.TimerHandle | None = None
        self._connection: links.Connection | None = None
        self._channel: Channel | None = None
        # Bounded by the prefetch: the broker sends no more than that unacknowledged.
        self._waiting: queues.SimpleQueue[Request | None] = queues.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{source.name}-{number}", daemon=True)
            for number in range(threads)
        ]

    def pause(self) -> None:
        """Take no more deliveries, also after a reconnect; those already here are worked on.

        Takes effect in the order of calls: a request acknowledged after ``pause`` is not followed
        by another.
        """
        self._outbox.submit(lambda: self._want(False))

    def resume(self) -> None:
        """Take deliveries again."""
        self._outbox.submit(lambda: self._want(True))

    @property
    def ready(self) -> bool:
        """Whether the broker does what is wanted: sends deliveries, or none."""
        return self._state == "consuming" if self._wanted else self._state in ("closed", "idle")

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def drain(self) -> None:
        """Take no more deliveries.

        Of what no thread has begun, requests with a deadline are still answered; the others, which
        may take minutes, go back to the queue.
        """
        self._draining = True
        self.pause()

    def join(self, deadline: Deadline) -> None:
        """After ``drain``: let the threads end when nothing is left, and wait for them until ``deadline``."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join(deadline.remaining_s)

    # ------------------------------------------------------------------ on the I/O thread

    def link_up(self, connection: links.Connection) -> None:
        """The consuming connection is open."""
        self._connection = connection
        self._open()

    def link_down(self) -> None:
        """It is gone; what no thread has begun will be delivered again, to somebody."""
        self._connection = None
        if self._timer is not None:
            self._timer.cancel()
        self._lost()

    def _lost(self) -> None:
        self._state, self._channel = "closed", None
        dropped: list[Request | None] = []
        with contextlib.suppress(queues.Empty):
            while True:
                dropped.append(self._waiting.get_nowait())
        # A None is a thread's sign to end, and stays.
        for _ in range(dropped.count(None)):
            self._waiting.put(None)
        self._changed()

    def _open(self) -> None:
        if self._connection is not None and self._connection.is_open:
            links.open_channel(self._connection, self._prepare, self._refused)

    def _refused(self) -> None:
        """The broker closed the channel: the queue is missing, or a right. Try again, ever more rarely."""
        self._lost()
        self._failures += 1
        delay_s = links.pause_s(self._failures, self._longest_pause_s)
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._open)

    def _prepare(self, channel: Channel) -> None:
        channel.add_on_cancel_callback(lambda _frame: channel.close())
        channel.basic_qos(prefetch_count=self._prefetch, callback=_ignore)
        self._source.declare(channel)
        self._channel, self._state = channel, "idle"
        self._apply()

    def _want(self, wanted: bool) -> None:
        self._wanted = wanted
        self._apply()
        self._changed()

    def _apply(self) -> None:
        """Move one step towards what is wanted; each answer of the broker calls this again."""
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        if self._wanted and self._state == "idle":
            self._state = "starting"
            self._tag = channel.basic_consume(
                self._source.queue, self._on_message, callback=lambda _frame: self._reached("consuming")
            )
        elif not self._wanted and self._state == "consuming":
            self._state = "stopping"
            channel.basic_cancel(self._tag, callback=lambda _frame: self._reached("idle"))

    def _reached(self, state: Literal["consuming", "idle"]) -> None:
        self._state = state
        self._failures = 0
        logs.log("rpc.subscribed" if state == "consuming" else "rpc.unsubscribed", queue=self._source.name)
        self._apply()
        self._changed()

    def _on_message(self, channel: Channel, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
        request = Request(self._outbox, channel, method, properties, body, confirmed=self._confirmed)
        handler: Handler | None = None
        if self._shortcut is not None:
            with contextlib.suppress(Exception):
                handler = self._shortcut(request)
        if handler is None:
            self._waiting.put(request)
        else:
            self._begin(request, handler)

    # ------------------------------------------------------------------ on the handler threads

    def _work(self) -> None:
        while (request := self._waiting.get()) is not None:
            if not request.stale:
                self._begin(request, self._handler)

    # ------------------------------------------------------------------ on either

    def _begin(self, request: Request, handler: Handler) -> None:
        if request.deadline is not None and request.deadline.expired:
            telemetry.rpc_expired.labels(self._source.name).inc()
            request.ack()
        elif self._draining and request.deadline is None:
            request.give_back()
        else:
            self._handle(request, handler)

    def _handle(self, request: Request, handler: Handler) -> None:
        token = logs.request_id_var.set(request.request_id)
        outcome = "done"
        reply: messages.Message | None
        try:
            reply = handler(request)
        except errors.WarrenError as error:
            outcome, reply = error.code, messages.Failure(error=error.to_body())
            if isinstance(error, errors.MalformedBody):
                self._dead_letter(request, error)
        except Exception:
            outcome, reply = errors.InternalError.code, messages.Failure(error=errors.InternalError().to_body())
            logs.log("rpc.failed", level="ERROR", exc_info=True, queue=self._source.name, kind=request.kind)
        finally:
            logs.request_id_var.reset(token)
        telemetry.count_handled(self._source.name, outcome)
        request.finish(reply)

    def _dead_letter(self, request: Request, error: errors.MalformedBody) -> None:
        name = self._source.name
        telemetry.rpc_dead_lettered.labels(name).inc()
        logs.log(
            "rpc.dead_lettered",
            level="WARNING",
            queue=name,
            kind=request.kind,
            correlation_id=request.correlation_id,
            size_bytes=len(request.body),
            reason=error.message,
        )
        request.dead_letter(name, error.message)


class Source:
    """A shared queue, declared by nobody here."""

    def __init__(self, queue: str) -> None:
        self.name = queue
        self.queue = queue

    def declare(self, channel: Channel) -> None:
        """Nothing: the broker's definitions hold the shared queues."""


class InboxSource(Source):
    """An exclusive queue of this process behind a fanout exchange, new for every channel."""

    def __init__(self, exchange: str, new_name: Callable[[], str]) -> None:
        super().__init__("")
        self.name = exchange
        self._new_name = new_name

    def declare(self, channel: Channel) -> None:
        """Declare and bind the queue; what was sent while there was none is lost, as fanouts are."""
        self.queue = self._new_name()
        arguments = {"x-max-length": INBOX_BOUND}
        channel.queue_declare(self.queue, exclusive=True, auto_delete=False, arguments=arguments, callback=_ignore)
        channel.queue_bind(self.queue, self.name, routing_key="", callback=_ignore)


def _ignore(_frame: object) -> None:
    """Makes pika wait for the answer before it sends the channel's next command."""
