"""One AMQP connection that comes back: beneath every client and server, on both sides of the broker.

Comes in: settings and somebody who wants to know when the connection opens and closes. Goes
out: an open pika connection, again and again. pika allows one thread per connection, so
everything here runs on the event loop that called ``start``; other threads use the loop's
``call_soon_threadsafe``. pika's exceptions end here.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import pika
from pika import exceptions
from pika.channel import Channel

from wire import errors, express, logs, settings, telemetry

_FIRST_PAUSE_S = 0.1
RECEIVE_BYTES = 256 * 1024
"""Most bytes taken off a socket at once; what came for one batch of thousands of rows is a few such pieces."""
_STABLE_S = 2.0
"""A connection that lived this long is worth an immediate attempt when it is lost."""


class Connection(express.ExpressConnection):
    """pika's connection with one write per message, at once, few and large reads, and with ``abort``.

    pika sends each frame with a system call of its own, after asking the event loop whether it
    may. A message here is one send in the same turn of the loop; only what the socket does not
    take goes pika's way. Measured under uvloop, alternating: a fifth less CPU time per single call.
    pika reads 4 KiB at a time and again until nothing is there; here one read takes what came, and
    what did not fit wakes the loop again.
    """

    def _proto_connection_made(self, transport: Any) -> None:
        transport._MAX_RECV_BYTES = RECEIVE_BYTES
        # Reached by any read, so there is no second one that only finds nothing.
        transport._MAX_CONSUME_BYTES = 1
        super()._proto_connection_made(transport)

    def _output_marshaled_frames(self, marshaled_frames: Sequence[bytes]) -> None:
        data: Any = b"".join(marshaled_frames)
        self.bytes_sent += len(data)
        self.frames_sent += len(marshaled_frames)
        transport: Any = self._transport
        if transport._sock is not None and not transport.get_write_buffer_size():
            # Full, or broken: pika then meets the same and knows what to do.
            with contextlib.suppress(OSError):
                data = memoryview(data)[transport._sock.send(data) :]
        if data:
            self._adapter_emit_data(data)

    def abort(self) -> None:
        """Drop the connection without asking the broker, which does not listen while it blocks us."""
        self._terminate_stream(exceptions.ConnectionClosedByClient(320, "aborted"))


class Listener(Protocol):
    """Who uses a link; called on its event loop."""

    def link_opened(self, connection: Connection) -> None:
        """The connection is open; open channels on it."""

    def link_closed(self, error: errors.BrokerUnavailable) -> None:
        """The connection is gone, and every channel with it."""

    def link_blocked(self) -> None:
        """A broker alarm stopped what this connection publishes."""

    def link_unblocked(self) -> None:
        """The alarm is over."""


Connect = Callable[
    [settings.Broker, str, Callable[[Any], None], Callable[[Any, Any], None], Callable[[Any, Any], None]],
    Connection,
]
"""Starts connecting: (broker, name, on_open, on_open_error, on_close). ``wire.memory`` has another."""


def connect(
    broker: settings.Broker,
    name: str,
    on_open: Callable[[Any], None],
    on_open_error: Callable[[Any, Any], None],
    on_close: Callable[[Any, Any], None],
) -> Connection:
    """Start connecting to RabbitMQ on the running loop; ``name`` is what the broker shows.

    Raises OSError when the password file cannot be read.
    """
    password = broker.password_file.read_text().strip() if broker.password_file else "guest"
    parameters = pika.ConnectionParameters(
        host=broker.host,
        port=broker.port,
        virtual_host=broker.vhost,
        credentials=pika.PlainCredentials(broker.user, password),
        heartbeat=broker.heartbeat_s,
        blocked_connection_timeout=broker.blocked_timeout_s,
        socket_timeout=broker.connect_timeout_s,
        stack_timeout=broker.connect_timeout_s,
        connection_attempts=1,
        client_properties={"connection_name": name},
    )
    return Connection(
        parameters,
        on_open_callback=on_open,
        on_open_error_callback=on_open_error,
        on_close_callback=on_close,
        custom_ioloop=asyncio.get_running_loop(),
    )


def open_channel(connection: Connection, opened: Callable[[Channel], object], failed: Callable[[], object]) -> None:
    """Open a channel; ``failed`` is called if it closes later while the connection stays.

    A channel closes alone when the broker refuses a command on it: 404 for a name that does not
    exist, 403 for a right that lacks, 406 for other arguments.
    """

    def closed(_channel: Channel, reason: Exception) -> None:
        if connection.is_open:
            logs.log("broker.lost", level="WARNING", reason=f"channel closed: {type(reason).__name__}: {reason}")
            failed()

    connection.channel(on_open_callback=opened).add_on_close_callback(closed)


def pause_s(failures: int, longest_s: float) -> float:
    """Seconds to wait before the next attempt after so many failures: doubling, bounded, jittered by half."""
    longest = min(longest_s, _FIRST_PAUSE_S * 2.0 ** min(failures, 16))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 (spreads load, guards nothing)


class Link:
    """A connection that is opened, and opened again whenever it is lost, until ``close``."""

    def __init__(self, broker: settings.Broker, name: str, listener: Listener, connect: Connect = connect) -> None:
        self.blocked = False
        self._broker = broker
        self._name = name
        self._listener = listener
        self._connect = connect
        self._connection: Connection | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended: asyncio.Future[None] | None = None
        self._open_since: float | None = None
        self._failures = 0

    def start(self) -> None:
        """Begin to connect on the running loop; returns at once."""
        self._loop = asyncio.get_running_loop()
        self._attempt()

    async def close(self) -> None:
        """Close the connection for good; waits at most the connect timeout for the broker's answer."""
        self._ended = self._loop.create_future()
        if self._timer is not None:
            self._timer.cancel()
        if self._connection is None:
            return
        self._connection.close()
        if not self.blocked:
            await asyncio.wait([self._ended], timeout=self._broker.connect_timeout_s)
        if self._connection is not None:
            self._connection.abort()
            await asyncio.wait([self._ended], timeout=self._broker.connect_timeout_s)

    def renew(self) -> None:
        """Drop the connection and open a new one after a pause: a channel on it failed, or it is mute."""
        if self._connection is not None and self._connection.is_open and self._ended is None:
            self._open_since = None
            self._connection.abort()

    def _attempt(self) -> None:
        self._timer = None
        try:
            self._connection = self._connect(self._broker, self._name, self._opened, self._failed, self._closed)
        except OSError as error:
            self._failed(None, error)

    def _opened(self, connection: Connection) -> None:
        connection.add_on_connection_blocked_callback(self._on_blocked)
        connection.add_on_connection_unblocked_callback(self._on_unblocked)
        self._open_since = self._loop.time()
        telemetry.broker_connects.labels(self._name).inc()
        telemetry.broker_connected.labels(self._name).set(1)
        logs.log("broker.connected", connection=self._name)
        self._listener.link_opened(connection)

    def _failed(self, _connection: Connection | None, error: BaseException) -> None:
        logs.log("broker.lost", level="WARNING", connection=self._name, reason=describe(error))
        self._again()

    def _closed(self, _connection: Connection, error: BaseException) -> None:
        self._set_blocked(False)
        telemetry.broker_connected.labels(self._name).set(0)
        if self._ended is None:
            logs.log("broker.lost", level="WARNING", connection=self._name, reason=describe(error))
        self._listener.link_closed(errors.BrokerUnavailable())
        self._again()

    def _again(self) -> None:
        self._connection = None
        if self._ended is not None:
            self._ended.set_result(None)
            return
        stable = self._open_since is not None and self._loop.time() - self._open_since >= _STABLE_S
        self._open_since = None
        self._failures = 0 if stable else self._failures + 1
        delay_s = 0.0 if stable else pause_s(self._failures, self._broker.reconnect_max_s)
        self._timer = self._loop.call_later(delay_s, self._attempt)

    def _on_blocked(self, _connection: Connection, _frame: object) -> None:
        logs.log("broker.blocked", level="WARNING", connection=self._name)
        self._set_blocked(True)
        self._listener.link_blocked()

    def _on_unblocked(self, _connection: Connection, _frame: object) -> None:
        logs.log("broker.unblocked", connection=self._name)
        self._set_blocked(False)
        self._listener.link_unblocked()

    def _set_blocked(self, blocked: bool) -> None:
        self.blocked = blocked
        telemetry.broker_blocked.labels(self._name).set(int(blocked))


def describe(error: BaseException) -> str:
    """One line about a lost connection: the kind of error, without addresses or credentials."""
    return type(error).__name__
